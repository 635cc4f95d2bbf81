"""Signatures of batches and of what a snapshot says of itself: Ed25519 (RFC 8032) over canonical JSON."""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from daemon.sync.feed.canonical import canonical
from daemon.sync.feed.model import Batch, Json, Trailer

PREFIX = "ed25519:"
_UNSIGNED = frozenset({"key", "sig"})


def signed_octets(said: Mapping[str, Json]) -> bytes:
    """Return the octets that a signature of a batch or trailer, as it is on the wire, is about: all but itself."""
    return canonical({name: value for name, value in said.items() if name not in _UNSIGNED})


def sign(said: Mapping[str, Json], key: Ed25519PrivateKey) -> bytes:
    """Return the signature of a batch or trailer, 64 octets."""
    return key.sign(signed_octets(said))


class Keys:
    """The public keys that a feed may be signed with, by name.

    Without any key, and where signatures are not required, nothing is looked at.
    """

    def __init__(self, keys: Mapping[str, bytes], *, required: bool) -> None:
        """`keys` are the 32 octets of each by its name after `ed25519:`. Raises ValueError for another size."""
        self._keys = {
            f"{PREFIX}{name}": Ed25519PublicKey.from_public_bytes(octets) for name, octets in keys.items()
        }
        self._required = required

    @property
    def required(self) -> bool:
        """Whether nothing is taken that is not signed."""
        return self._required

    def refuse(self, signed: Batch | Trailer) -> str | None:
        """Return why what came is not taken as that of the platform; None where it is."""
        if not signed.key and not signed.signature:
            return "it is not signed, and this feed has to be" if self._required else None
        if not self._keys and not self._required:
            return None
        key = self._keys.get(signed.key)
        if key is None:
            return f"it is signed by {signed.key[:60] or 'a key without name'}, which is not known here"
        try:
            key.verify(signed.signature, signed.signed)
        except InvalidSignature:
            return f"its signature by {signed.key[:60]} is not of what came"
        return None


NO_KEYS = Keys({}, required=False)
"""Nothing is signed."""
