"""What lies around a value on the wire: the tag of RFC 2868 and the hiding by the shared secret."""

from __future__ import annotations

import os
from dataclasses import dataclass

from radius import hiding
from radius.definitions import AttributeDef, Type
from radius.errors import Unencodable
from radius.values import SIZES

HIGHEST_TAG = 0x1F
TAGGED_INTEGER = 4  # octets, the highest is the tag


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """What hides values: the shared secret and the Request Authenticator."""

    secret: bytes
    authenticator: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """The octets of a value; `hidden` where no key was there to reveal them."""

    octets: bytes
    tag: int | None = None
    hidden: bool = False


def unwrap(octets: bytes, definition: AttributeDef, key: Key | None) -> Opened:
    """Return the octets of the value without tag and hiding. Tag zero means none (RFC 2868 section 3.1).

    Raises Malformed where the hidden octets cannot be what the definition says.
    """
    tag: int | None = None
    if definition.has_tag and definition.encrypt != 2:
        tag, octets = _split_tag(octets, definition)
    elif definition.has_tag and len(octets) % hiding.BLOCK == 3:
        # Tag, salt, blocks. Without the tag the size tells; the salt's first octet does not always.
        tag, octets = octets[0] if octets[0] <= HIGHEST_TAG else None, octets[1:]
    if definition.encrypt and key is None:
        return Opened(octets, tag or None, hidden=True)
    if definition.encrypt and key is not None:
        octets = _reveal(octets, definition, key)
    return Opened(octets, tag or None)


def wrap(
    octets: bytes, definition: AttributeDef, tag: int | None, key: Key | None, salt: bytes | None
) -> bytes:
    """Return the octets of the attribute: with tag, hidden.

    A new salt is drawn where none is given. Raises Unencodable where the definition takes no tag, the tag is
    above 31, the octets are too many, or a key is missing.
    """
    if tag is not None and not definition.has_tag:
        raise Unencodable(definition.name, "it takes no tag")
    if tag is not None and not 0 <= tag <= HIGHEST_TAG:
        raise Unencodable(definition.name, f"a tag from 1 to {HIGHEST_TAG} expected, not {tag}")
    if definition.encrypt:
        if key is None:
            raise Unencodable(definition.name, "the shared secret and an authenticator are needed to hide it")
        octets = _hide(octets, definition, key, salt)
        return bytes((tag or 0,)) + octets if definition.has_tag else octets
    return _add_tag(octets, definition, tag) if definition.has_tag else octets


def _split_tag(octets: bytes, definition: AttributeDef) -> tuple[int | None, bytes]:
    """Text may come without a tag, then its first octet is above 31 (RFC 2868 section 3.3)."""
    if not octets or octets[0] > HIGHEST_TAG:
        return None, octets
    if definition.type is Type.INTEGER:
        return (octets[0], b"\0" + octets[1:]) if len(octets) == TAGGED_INTEGER else (None, octets)
    size = definition.length or SIZES.get(definition.type)
    if size is not None and len(octets) != size + 1:
        return None, octets
    return octets[0], octets[1:]


def _add_tag(octets: bytes, definition: AttributeDef, tag: int | None) -> bytes:
    if definition.type is Type.INTEGER:
        if octets[0]:
            raise Unencodable(definition.name, "a number up to 16777215 expected beside the tag")
        return bytes((tag or 0,)) + octets[1:]
    if tag is None and definition.type not in SIZES and octets and octets[0] > HIGHEST_TAG:
        return octets
    return bytes((tag or 0,)) + octets


def _reveal(octets: bytes, definition: AttributeDef, key: Key) -> bytes:
    if definition.encrypt == 2:
        return hiding.reveal_salted(octets, key.secret, key.authenticator)
    reveal = hiding.reveal_password if definition.encrypt == 1 else hiding.ascend_reveal
    # NULs at the end are padding unless the dictionary says how many octets belong to the value.
    return reveal(octets, key.secret, key.authenticator).ljust(definition.length or 0, b"\0")


def _hide(octets: bytes, definition: AttributeDef, key: Key, salt: bytes | None) -> bytes:
    try:
        if definition.encrypt == 1:
            return hiding.hide_password(octets, key.secret, key.authenticator)
        if definition.encrypt == 2:
            return hiding.hide_salted(octets, key.secret, key.authenticator, salt or new_salt())
        return hiding.ascend_hide(octets, key.secret, key.authenticator)
    except Unencodable as error:
        raise Unencodable(definition.name, error.why, error.remedy) from None


def new_salt() -> bytes:
    """Return a random salt with its high bit set (RFC 2868 section 3.5)."""
    first, second = os.urandom(2)
    return bytes((first | 0x80, second))
