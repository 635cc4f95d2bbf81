"""How single values of the feed are read: rates, addresses, times, texts; each says what it expects.

Pydantic's own reading is not used: it takes 5 for an IPv4 address, and `true` for 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from radius import rates
from radius.line import canonical_mac

_Value = TypeVar("_Value")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}")
_DIGITS = re.compile(r"[0-9]{1,18}")
_YEAR_2200 = 7_258_118_400

ID_FORM = "an id: 1 to 128 letters, digits and . _ : @ + -, the first a letter or digit"


def wrong(slug: str, expected: str, hint: str = "") -> PydanticCustomError:
    """Return the error that a reader raises: `slug` is stable, `expected` and `hint` are for people."""
    return PydanticCustomError(slug, "{expected}", {"expected": expected, "hint": hint})


def read_id(value: object) -> str | None:
    """Return an object id as text, None where it is none; whole numbers are ids too."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def text(most: int, *, least: int = 1) -> Callable[[object], str]:
    """Return a reader of texts of `least` to `most` octets in UTF-8 without control characters."""
    expected = f"a text of {least} to {most} octets"

    def read(value: object) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)  # YAML and JSON numbers without fraction: user names and passwords of digits
        if not isinstance(value, str):
            raise wrong("not-text", expected, "put it in quotes" if isinstance(value, (bool, float)) else "")
        if value.isascii():
            size = len(value)
        else:
            try:
                size = len(value.encode())
            except UnicodeEncodeError:
                raise wrong("not-text", expected, "it holds half a character (a lone surrogate)") from None
        if not least <= size <= most:
            raise wrong("bad-length", expected)
        if not value.isprintable() and any(each < " " or "\x7f" <= each < "\xa0" for each in value):
            raise wrong("control-character", f"{expected}, without control characters")
        return value

    return read


def identity(most: int) -> Callable[[object], str]:
    """Return a reader of texts that something is looked up by: no white space around them."""
    read_text = text(most)

    def read(value: object) -> str:
        given = read_text(value)
        if given[0].isspace() or given[-1].isspace():
            raise wrong("white-space", "no white space at either end", "take the white space away")
        return given

    return read


def whole(least: int, most: int, what: str = "a whole number") -> Callable[[object], int]:
    """Return a reader of whole numbers, also as text."""
    expected = f"{what}, {least} to {most}"

    def read(value: object) -> int:
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise wrong("bad-number", expected)
        return value

    return read


def flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise wrong("not-a-flag", "true or false")
    return value


def one_of(words: tuple[str, ...]) -> Callable[[object], str]:
    """Return a reader of words from a closed set; upper and lower case are the same."""

    def read(value: object) -> str:
        if isinstance(value, str) and value.lower() in words:
            return value.lower()
        raise wrong("unknown-word", f"one of {', '.join(words)}")

    return read


def rate(value: object) -> int:
    """Read a rate as text into bit/s."""
    if not isinstance(value, str):
        hint = ""
        if isinstance(value, int) and not isinstance(value, bool):
            hint = (
                f'a bare number has no unit: write "{value}M" or "{value}k", or use the field ending in _kbps'
            )
        raise wrong("bad-rate", rates.ACCEPTED, hint)
    try:
        return rates.parse(value)
    except ValueError:
        raise wrong("bad-rate", rates.ACCEPTED) from None


def mac(value: object) -> str:
    """Read a MAC address, in any usual notation, into its canonical form."""
    found = canonical_mac(value) if isinstance(value, str) else None
    if found is None:
        raise wrong("bad-mac", "a MAC address such as aa:bb:cc:dd:ee:ff")
    return found


def ipv4_address(value: object) -> IPv4Address:
    """Read an IPv4 address that a subscriber or server can have."""
    try:
        address = IPv4Address(value) if isinstance(value, str) else None
    except AddressValueError:
        address = None
    if address is None:
        raise wrong("bad-address", "an IPv4 address such as 203.0.113.10", _mask_hint(value))
    if address.is_unspecified or address.is_multicast or int(address) == 0xFFFFFFFF:
        raise wrong("bad-address", "an address that a host can have")
    return address


def ipv6_address(value: object) -> IPv6Address:
    """Read an IPv6 address that a subscriber or server can have."""
    try:
        address = IPv6Address(value) if isinstance(value, str) else None
    except AddressValueError:
        address = None
    if address is None or address.scope_id is not None:
        raise wrong("bad-address", "an IPv6 address such as 2001:db8::10", _mask_hint(value))
    if address.is_unspecified or address.is_multicast:
        raise wrong("bad-address", "an address that a host can have")
    return address


def address(value: object) -> IPv4Address | IPv6Address:
    """Read an address of either family."""
    if isinstance(value, str):
        return ipv6_address(value) if ":" in value else ipv4_address(value)
    raise wrong("bad-address", "an IPv4 or IPv6 address")


def ipv6_prefix(value: object) -> IPv6Network:
    """Read an IPv6 prefix."""
    found = _network(value, "an IPv6 prefix such as 2001:db8:1000::/56")
    if not isinstance(found, IPv6Network) or "/" not in str(value):
        raise wrong("bad-prefix", "an IPv6 prefix such as 2001:db8:1000::/56")
    return found


def prefix(value: object) -> IPv4Network | IPv6Network:
    """Read a prefix of either family; an address alone is the prefix of that one address."""
    return _network(value, "an address or prefix such as 192.0.2.1, 198.51.100.0/24 or 2001:db8::/32")


def _network(value: object, expected: str) -> IPv4Network | IPv6Network:
    if not isinstance(value, str) or "%" in value:
        raise wrong("bad-prefix", expected)
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        meant = ip_network(value, strict=False)
    except ValueError:
        raise wrong("bad-prefix", expected) from None
    raise wrong("host-bits", "a prefix without bits beyond its length", f"the prefix it lies in is {meant}")


def _mask_hint(value: object) -> str:
    """Say so where an address came with a prefix length, as interfaces are written."""
    given = value.partition("/")[0] if isinstance(value, str) and "/" in value else ""
    try:
        return f"leave out the length: {ip_address(given)}" if given else ""
    except ValueError:
        return ""


def moment(value: object) -> float:
    """Read a time into epoch seconds: ISO 8601 with its zone, or epoch seconds themselves."""
    expected = "a time such as 2026-12-31T23:59:59Z, or epoch seconds"
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    elif isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            value = _number(value)
        else:
            if at.tzinfo is None:
                raise wrong("no-zone", expected, "say the zone: Z for UTC, or an offset such as +01:00")
            value = at.timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise wrong("bad-time", expected)
    if not 0 <= value <= _YEAR_2200:
        hint = "is it in milliseconds?" if value > _YEAR_2200 else ""
        raise wrong("bad-time", f"{expected}, from 1970 to 2200", hint)
    return float(value)


def _number(given: str) -> float | None:
    try:
        return float(given) if given[:1].isdigit() else None
    except ValueError:
        return None


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _schema(kind: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **more})


RATE = Annotated[int, PlainValidator(rate), _schema("string", examples=["100M", "2.5 Gbit/s"])]
KBPS = Annotated[int, PlainValidator(whole(1, 10**12, "kbit/s")), _schema("integer", minimum=1)]
MAC = Annotated[str, PlainValidator(mac), _schema("string", examples=["00:53:00:aa:bb:cc"])]
IPV4 = Annotated[IPv4Address, PlainValidator(ipv4_address), _schema("string", format="ipv4")]
IPV6 = Annotated[IPv6Address, PlainValidator(ipv6_address), _schema("string", format="ipv6")]
ADDRESS = Annotated[IPv4Address | IPv6Address, PlainValidator(address), _schema("string")]
IPV6_PREFIX = Annotated[
    IPv6Network, PlainValidator(ipv6_prefix), _schema("string", examples=["2001:db8:1000::/56"])
]
PREFIX = Annotated[
    IPv4Network | IPv6Network, PlainValidator(prefix), _schema("string", examples=["192.0.2.0/24"])
]
MOMENT = Annotated[
    float,
    PlainValidator(moment),
    WithJsonSchema({"type": ["string", "number"], "examples": ["2026-12-31T23:59:59Z", 1798761599]}),
]
NAME = Annotated[str, PlainValidator(text(128)), _schema("string", maxLength=128)]
LABEL = Annotated[str, PlainValidator(identity(247)), _schema("string", minLength=1, maxLength=247)]
IDENTITY = Annotated[str, PlainValidator(identity(253)), _schema("string", minLength=1, maxLength=253)]
PASSWORD = Annotated[str, PlainValidator(text(512)), _schema("string", minLength=1, maxLength=512)]
FLAG = Annotated[bool, PlainValidator(flag), _schema("boolean")]
VLAN = Annotated[int, PlainValidator(whole(1, 4094)), _schema("integer", minimum=1, maximum=4094)]
SECONDS = Annotated[int, PlainValidator(whole(1, 2**32 - 1, "seconds")), _schema("integer", minimum=1)]
LIST = BeforeValidator(_listed)  # before a list: a single value is a list of one
