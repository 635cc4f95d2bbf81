"""Attribute values: octets to Python values and text, and back, for each type of RFC 8044.

| types                                   | Python value                                   |
|-----------------------------------------|------------------------------------------------|
| string                                  | str                                            |
| octets, abinary, struct, containers     | bytes                                          |
| integer, byte, short, integer64, signed | int                                            |
| date                                    | int, seconds since 1970 UTC                    |
| ipaddr, ipv6addr, combo-ip              | IPv4Address, IPv6Address                       |
| ipv4prefix, ipv6prefix                  | IPv4Network, IPv6Network                       |
| ifid, ether                             | str, `0:0:0:1` and `02:00:5e:00:53:01`         |
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)

from radius import abinary
from radius.definitions import AttributeDef, Type
from radius.errors import Malformed, Unencodable

Value = int | str | bytes | IPv4Address | IPv6Address | IPv4Network | IPv6Network

INTEGERS: dict[Type, tuple[int, int, int]] = {  # octets, least, most
    Type.BYTE: (1, 0, 0xFF),
    Type.SHORT: (2, 0, 0xFFFF),
    Type.INTEGER: (4, 0, 0xFFFFFFFF),
    Type.DATE: (4, 0, 0xFFFFFFFF),
    Type.SIGNED: (4, -0x80000000, 0x7FFFFFFF),
    Type.INTEGER64: (8, 0, 0xFFFFFFFFFFFFFFFF),
}
SIZES: dict[Type, int] = {kind: size for kind, (size, _, _) in INTEGERS.items()} | {
    Type.IPADDR: 4,
    Type.IPV6ADDR: 16,
    Type.IPV4PREFIX: 6,
    Type.IFID: 8,
    Type.ETHER: 6,
}
ADDRESSES = {4: Type.IPADDR, 6: Type.IPV6ADDR}
PREFIXES = {4: Type.IPV4PREFIX, 6: Type.IPV6PREFIX}
READERS: dict[Type, Callable[[bytes], Value]] = {
    Type.IPADDR: IPv4Address,
    Type.IPV6ADDR: IPv6Address,
    Type.IFID: lambda octets: ":".join(f"{group:x}" for group in struct.unpack("!4H", octets)),
    Type.ETHER: lambda octets: octets.hex(":"),
}
IFID = re.compile(r"[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){3}", re.IGNORECASE)
ETHER = re.compile(r"[0-9a-f]{2}(?:[:-]?[0-9a-f]{2}){5}|(?:[0-9a-f]{4}\.){2}[0-9a-f]{4}", re.IGNORECASE)
BAD_VALUE = "bad-attribute-value"


def decode(octets: bytes, definition: AttributeDef) -> Value:
    """Return the value in `octets`, which bear neither tag nor hiding any more.

    IPv6 prefixes are read leniently: a body too short for its prefix length counts as zeros, host bits are
    cleared. Raises Malformed("bad-attribute-value") where the octets do not fit the type.
    """
    kind, size = definition.type, len(octets)
    fixed = definition.length or SIZES.get(kind)
    if fixed is not None and size != fixed:
        raise _malformed(definition, f"{size} octets, {fixed} expected")
    if kind in INTEGERS:
        return int.from_bytes(octets, "big", signed=kind is Type.SIGNED)
    reader = READERS.get(kind)
    if reader is not None:
        return reader(octets)
    match kind:
        case Type.STRING:
            return _text(octets, definition)
        case Type.COMBO_IP:
            return _either_address(octets, definition)
        case Type.IPV6PREFIX:
            return _ipv6_prefix(octets, definition)
        case Type.IPV4PREFIX:
            return _ipv4_prefix(octets, definition)
        case _:
            return octets


def encode(value: Value, definition: AttributeDef) -> bytes:
    """Return the octets of a Python value, without tag and hiding.

    IPv6 prefixes are sent whole, 18 octets, host bits zero (RFC 8044 section 3.10). Raises Unencodable,
    which says what type and range was expected.
    """
    kind = definition.type
    if kind in INTEGERS:
        return _encode_integer(value, definition)
    octets: bytes | None = None
    if isinstance(value, str):
        octets = _encode_str(value, definition)
    elif isinstance(value, bytes):
        octets = value if kind in EXPECTED_BYTES else None
    elif isinstance(value, IPv4Address | IPv6Address):
        octets = value.packed if kind in (ADDRESSES[value.version], Type.COMBO_IP) else None
    elif isinstance(value, IPv4Network | IPv6Network) and kind is PREFIXES[value.version]:
        octets = bytes((0, value.prefixlen)) + value.network_address.packed
    if octets is None:
        raise _expected(definition, value)
    if definition.length is not None and len(octets) != definition.length:
        raise Unencodable(definition.name, f"{len(octets)} octets, exactly {definition.length} expected")
    return octets


def parse(text: str, definition: AttributeDef) -> Value:
    """Return the Python value that `text` means; the reverse of `text`.

    Integers: a name of the dictionary in any case, decimal, or 0x. Octets: 0x and hex digits, or text taken
    as UTF-8. Dates: ISO 8601, UTC unless it says otherwise, or seconds. Raises Unencodable.
    """
    kind = definition.type
    if kind is Type.STRING:
        return text
    text = text.strip()
    try:
        if kind in INTEGERS:
            return _parse_integer(text, definition)
        match kind:
            case Type.IPADDR:
                return IPv4Address(text)
            case Type.IPV6ADDR:
                return IPv6Address(text)
            case Type.COMBO_IP:
                return ip_address(text)
            case Type.IPV4PREFIX:
                return IPv4Network(text, strict=False)
            case Type.IPV6PREFIX:
                return IPv6Network(text, strict=False)
            case Type.IFID | Type.ETHER:
                return decode(encode(text, definition), definition)
            case Type.ABINARY if not text.startswith("0x"):
                return abinary.parse(text)
            case _:
                return bytes.fromhex(text[2:]) if text[:2] in ("0x", "0X") else _utf8(text, definition)
    except ValueError as error:
        if kind is Type.ABINARY:
            raise Unencodable(definition.name, str(error)) from None
        raise _expected(definition, text) from None


def text(value: Value, definition: AttributeDef) -> str:
    """Return a value as text that `parse` understands.

    Integers are shown by the name that the dictionary gives them, octets as 0x, dates as ISO 8601 in UTC.
    """
    if isinstance(value, bytes):
        shown = abinary.text(value) if definition.type is Type.ABINARY else None
        return shown or "0x" + value.hex()
    if isinstance(value, int) and definition.type is Type.DATE:
        return datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, int):
        name = definition.value_names.get(value)
        if name is not None:
            return name
        # Some dictionaries name one number with the digits of another.
        return f"{value:#x}" if str(value) in definition.value_numbers else str(value)
    return str(value)


EXPECTED: dict[Type, str] = {
    Type.STRING: "text (str)",
    Type.IPADDR: "an IPv4 address",
    Type.IPV6ADDR: "an IPv6 address",
    Type.COMBO_IP: "an IPv4 or IPv6 address",
    Type.IPV4PREFIX: "an IPv4 prefix such as 192.0.2.0/24",
    Type.IPV6PREFIX: "an IPv6 prefix such as 2001:db8::/56",
    Type.IFID: "an interface identifier such as 0:0:0:1",
    Type.ETHER: "a MAC address such as 02:00:5e:00:53:01",
    Type.DATE: "seconds since 1970 from 0 to 4294967295, or a date such as 2026-01-31T12:00:00Z",
}
EXPECTED_BYTES = frozenset(Type) - frozenset(EXPECTED) - frozenset(INTEGERS)


def _expected(definition: AttributeDef, given: object) -> Unencodable:
    """Say what would fit; the value itself only where it is no secret."""
    kind = definition.type
    if kind in EXPECTED:
        what = EXPECTED[kind]
    elif kind in INTEGERS:
        what = "an integer from {} to {}".format(*INTEGERS[kind][1:])
        if definition.value_numbers:
            some = list(definition.value_numbers)[:8]
            what += f", or a name: {', '.join(some)}" + (" ..." if len(definition.value_numbers) > 8 else "")
    else:
        what = "octets (bytes, or 0x and hex digits)"
    shown = "" if definition.sensitive else f", not {str(given)[:80]!r}"
    return Unencodable(definition.name, f"{what} expected{shown}")


def _malformed(definition: AttributeDef, detail: str) -> Malformed:
    return Malformed(BAD_VALUE, f"{definition.name}: {detail}")


def _encode_integer(value: Value, definition: AttributeDef) -> bytes:
    size, least, most = INTEGERS[definition.type]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _expected(definition, value)
    return value.to_bytes(size, "big", signed=least < 0)


def _parse_integer(text: str, definition: AttributeDef) -> int:
    number = definition.value_numbers.get(text)
    if number is None and definition.value_numbers:
        lower = text.lower()
        number = next((n for name, n in definition.value_numbers.items() if name.lower() == lower), None)
    if number is not None:
        return number
    _, least, most = INTEGERS[definition.type]
    if definition.type is Type.DATE and not text.isdecimal():
        moment = datetime.fromisoformat(text)
        number = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    else:
        number = int(text, 16) if text[:2] in ("0x", "0X") else int(text)
    if not least <= number <= most:
        raise ValueError(text)
    return number


def _utf8(text: str, definition: AttributeDef) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        raise Unencodable(definition.name, "text that UTF-8 can carry expected") from None


def _encode_str(value: str, definition: AttributeDef) -> bytes | None:
    match definition.type:
        case Type.STRING:
            return _utf8(value, definition)
        case Type.IFID if IFID.fullmatch(value):
            return struct.pack("!4H", *(int(group, 16) for group in value.split(":")))
        case Type.ETHER if ETHER.fullmatch(value):
            return bytes.fromhex(re.sub(r"[:.-]", "", value))
        case _:
            return None


def _text(octets: bytes, definition: AttributeDef) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise _malformed(definition, "UTF-8 expected") from None


def _either_address(octets: bytes, definition: AttributeDef) -> IPv4Address | IPv6Address:
    if len(octets) not in (4, 16):
        raise _malformed(definition, f"{len(octets)} octets, 4 or 16 expected")
    return ip_address(octets)


def _ipv4_prefix(octets: bytes, definition: AttributeDef) -> IPv4Network:
    bits = octets[1] & 0x3F  # the two high bits are reserved, RFC 8044 section 3.11
    if bits > 32:
        raise _malformed(definition, f"prefix length {bits}, 0 to 32 expected")
    return IPv4Network((octets[2:], bits), strict=False)


def _ipv6_prefix(octets: bytes, definition: AttributeDef) -> IPv6Network:
    if not 2 <= len(octets) <= 18:
        raise _malformed(definition, f"{len(octets)} octets, 2 to 18 expected")
    if octets[1] > 128:
        raise _malformed(definition, f"prefix length {octets[1]}, 0 to 128 expected")
    return IPv6Network((octets[2:].ljust(16, b"\0"), octets[1]), strict=False)
