"""Typed values to the octets of attributes, ready to stand in a packet."""

from __future__ import annotations

import re
from collections.abc import Sequence

from radius import values
from radius.definitions import AttributeDef, Dictionary, Type, unknown
from radius.envelope import Key, wrap
from radius.errors import Unencodable
from radius.formats import join_tlv, wire
from radius.values import Value

RAW_NAME = re.compile(r"attr-(\d+(?:\.\d+)*)", re.IGNORECASE)
Members = Sequence[tuple[AttributeDef | str, "Value | Members"]]


def encode(
    attribute: AttributeDef | str,
    value: Value | Members,
    dictionary: Dictionary,
    *,
    tag: int | None = None,
    secret: bytes | None = None,
    authenticator: bytes | None = None,
    salt: bytes | None = None,
) -> bytes:
    """Return one or more attributes in wire form, headers included.

    `attribute` is a definition, a name, or `Attr-26.9.250` for any number with octets as they are. `value` is
    the Python value of the type, its text, or, for a TLV, a sequence of (attribute, value). Hidden attributes
    need `secret` and `authenticator`, the Request Authenticator (16 zeros inside accounting, CoA and Disconnect
    requests); a `salt` is drawn where none is given. Long values are split where their format allows it. Raises
    Unencodable, which says what would fit.
    """
    definition = find(attribute, dictionary) if isinstance(attribute, str) else attribute
    key = Key(secret, authenticator) if secret is not None and authenticator is not None else None
    body = _body(definition, value, dictionary, tag, key, salt)
    if not body:
        raise Unencodable(
            definition.name, "an empty value has no place in a packet", "leave the attribute out"
        )
    return wire(definition, body, dictionary)


def find(name: str, dictionary: Dictionary) -> AttributeDef:
    """Return the definition of `name`, or of the numbers in `Attr-...`; raises Unencodable with near names."""
    definition = dictionary.by_name(name)
    if definition is not None:
        return definition
    match = RAW_NAME.fullmatch(name)
    if match is not None:
        oid = tuple(map(int, match[1].split(".")))
        if all(number < 1 << 32 for number in oid):
            return unknown(oid)
    near = dictionary.suggest(name)
    raise Unencodable(name, "no such attribute", f"did you mean {' or '.join(near)}?" if near else "")


def _body(
    definition: AttributeDef,
    value: Value | Members,
    dictionary: Dictionary,
    tag: int | None,
    key: Key | None,
    salt: bytes | None,
) -> bytes:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        octets = _members(definition, value, dictionary, key, salt)
    elif isinstance(value, str):
        octets = values.encode(values.parse(value, definition), definition)
    else:
        octets = values.encode(value, definition)
    return wrap(octets, definition, tag, key, salt)


def _members(
    definition: AttributeDef, members: Members, dictionary: Dictionary, key: Key | None, salt: bytes | None
) -> bytes:
    if definition.type is not Type.TLV:
        raise Unencodable(definition.name, "one value expected: only a tlv has members")
    octets = b""
    for name, value in members:
        member = find(name, dictionary) if isinstance(name, str) else name
        if member.oid[:-1] != definition.oid:
            raise Unencodable(definition.name, f"{member.name} is no member of it")
        octets += join_tlv(member, member.oid[-1], _body(member, value, dictionary, None, key, salt))
    return octets
