"""Digests of objects, of buckets of objects and of all of them: equal where both sides have the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from daemon.sync.feed.canonical import canonical
from daemon.sync.feed.model import BUCKETS, Json

SIZE = 16
NOTHING = bytes(SIZE)
"""The digest of a bucket without objects."""


def object_digest(kind: str, key: str, schema: int, body: Json) -> bytes:
    """Return the first 16 octets of the SHA-256 of `[kind, id, schema, body]` in canonical JSON."""
    return sha256(canonical([kind, key, schema, body])).digest()[:SIZE]


def bucket_of(kind: str, key: str) -> int:
    """Return which of the 256 buckets an object is in."""
    return sha256(f"{kind}/{key}".encode("utf-8", "surrogatepass")).digest()[0]


def root_of(buckets: Sequence[bytes]) -> bytes:
    """Return the SHA-256 over the digests of all buckets in their order."""
    return sha256(b"".join(buckets)).digest()


class Buckets:
    """The digests of all buckets; an object that comes or goes is one exclusive or."""

    __slots__ = ("_sums",)

    def __init__(self, sums: Iterable[int] = ()) -> None:
        self._sums = list(sums) or [0] * BUCKETS

    def toggle(self, bucket: int, digest: bytes) -> None:
        """Add the digest of an object, or take it out again. An empty digest is that of nothing."""
        self._sums[bucket] ^= int.from_bytes(digest, "big")

    def digests(self) -> tuple[bytes, ...]:
        """Return the digest of each bucket, 16 octets."""
        return tuple(each.to_bytes(SIZE, "big") for each in self._sums)

    def copy(self) -> Buckets:
        """Return a copy that goes its own way."""
        return Buckets(self._sums)
