"""Addresses, prefixes, VLANs and port blocks as numbers, and as text.

An address is its space and an integer; how long a prefix is belongs to the pool, never to the identity.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from socket import AF_INET6, inet_ntop
from typing import Any, Final, NamedTuple, cast

from ipam.kinds import BITS, Space

_PORT_BITS = 16
_AF_INET6: Final = int(AF_INET6)
_IPV4: Final = Space.IPV4
_IPV6: Final = Space.IPV6


class Unit(NamedTuple):
    """What one lease is of: the first number, and a prefix length (of a port block: how many ports)."""

    space: Space
    value: int
    length: int

    @property
    def last(self) -> int:
        """The last number of it."""
        if self.space is Space.PORTS:
            return self.value + self.length - 1
        return self.value + (1 << (BITS[self.space] - self.length)) - 1

    def __str__(self) -> str:
        address = text(self.space, self.value)
        return address if self.length == BITS[self.space] else f"{address}/{self.length}"


# As calling the class, in half the time.
new_unit: Final = cast("Callable[[type[Unit], tuple[Any, ...]], Unit]", tuple.__new__)


class Malformed(ValueError):
    """Text that is no address, prefix or range; `given` is the text, `expected` says what would be right."""

    def __init__(self, given: str, expected: str) -> None:
        super().__init__(f"{given!r} is not {expected}")
        self.given = given
        self.expected = expected


def text(space: Space, value: int) -> str:
    """Return the canonical text (RFC 5952 for IPv6); of a port block `address:first port`."""
    if space is _IPV4:
        return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
    if space is _IPV6:
        return inet_ntop(_AF_INET6, value.to_bytes(16, "big"))
    if space is Space.PORTS:
        return f"{text(_IPV4, value >> _PORT_BITS)}:{value & 0xFFFF}"
    return str(value)


def read_address(given: str) -> tuple[Space, int]:
    """Return space and number of an IPv4 or IPv6 address. Raises Malformed."""
    try:
        address = ipaddress.ip_address(given.strip())
    except ValueError as reason:
        raise Malformed(given, "an IPv4 or IPv6 address") from reason
    return (Space.IPV4 if address.version == 4 else Space.IPV6), int(address)


def read_unit(given: str) -> Unit:
    """Return an address (`192.0.2.1`) or a prefix (`2001:db8:0:100::/56`). Raises Malformed."""
    try:
        network = ipaddress.ip_network(given.strip())
    except ValueError as reason:
        raise Malformed(given, "an address or a prefix without host bits") from reason
    space = Space.IPV4 if network.version == 4 else Space.IPV6
    return Unit(space, int(network.network_address), network.prefixlen)


def read_number(space: Space, given: str) -> int:
    """Return the number that `text` wrote. Raises Malformed."""
    if space in (Space.IPV4, Space.IPV6):
        found, value = read_address(given)
        if found is not space:
            raise Malformed(given, f"an {space} address")
        return value
    if space is Space.PORTS:
        outside, colon, port = given.rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:
            raise Malformed(given, "an address and a port")
        return read_number(Space.IPV4, outside) << _PORT_BITS | int(port)
    if not given.isascii() or not given.isdigit() or int(given) >> BITS[space]:
        raise Malformed(given, "a VLAN id of 0 to 4095")
    return int(given)


def read_span(space: Space, given: str) -> tuple[int, int]:
    """Return the first and the last number of a prefix, of `first-last`, or of one number. Raises Malformed."""
    first_text, dash, last_text = given.partition("-")
    if dash:
        first, last = read_number(space, first_text.strip()), read_number(space, last_text.strip())
        if last < first:
            raise Malformed(given, "a range that ends after it begins")
        return first, last
    if "/" in given and space in (Space.IPV4, Space.IPV6):
        unit = read_unit(given)
        if unit.space is not space:
            raise Malformed(given, f"a range of {space}")
        return unit.value, unit.last
    value = read_number(space, given.strip())
    return value, value
