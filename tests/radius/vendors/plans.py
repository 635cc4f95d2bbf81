"""The plan that every golden test renders: 100/20 Mbit/s with burst, in two ways to get addresses."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from radius.codes import Code
from radius.dictionary import Dictionary, shipped
from radius.grant import Burst, Grant, Rate, Rendered, Route
from radius.packet import Packet, decode, header
from radius.tree import decode as read_attributes
from radius.vendors import find
from radius.vendors.base import VendorProfile

RATE = Rate(download_bps=100_000_000, upload_bps=20_000_000)
BURST = Burst(rate=Rate(download_bps=150_000_000, upload_bps=30_000_000), threshold=RATE, seconds=10)
COMMITTED = Rate(download_bps=10_000_000, upload_bps=2_000_000)

FIXED = Grant(
    rate=RATE,
    burst=BURST,
    ipv4_address=IPv4Address("203.0.113.10"),
    ipv4_netmask=IPv4Address("255.255.255.255"),
    ipv4_pool="POOL-RES",
    ipv6_prefix=IPv6Network("2001:db8:a:1::/64"),
    ipv6_pool="V6-RES",
    ipv6_delegated=IPv6Network("2001:db8:1000::/56"),
    ipv6_delegated_pool="PD-RES",
    routes=(
        Route(prefix=IPv4Network("198.51.100.0/29")),
        Route(prefix=IPv6Network("2001:db8:2000::/56"), metric=10),
    ),
    dns4=(IPv4Address("192.0.2.53"), IPv4Address("192.0.2.54")),
    dns6=(IPv6Address("2001:db8::53"),),
    session_timeout_s=86_400,
    idle_timeout_s=1_800,
    interim_interval_s=600,
)
POOLS = replace(
    FIXED, ipv4_address=None, ipv4_netmask=None, ipv6_prefix=None, ipv6_delegated=None, routes=(), burst=None
)


def profile_of(name: str) -> VendorProfile:
    """Return the profile of that name, which exists."""
    profile = find(name)
    assert profile is not None
    return profile


def reply(rendered: tuple[Rendered, ...]) -> Packet:
    """Return an Access-Accept with the attributes."""
    return packet(Code.ACCESS_ACCEPT, rendered)


def packet(code: Code, rendered: tuple[Rendered, ...]) -> Packet:
    """Return a packet with the attributes."""
    body = b"".join(each.octets for each in rendered)
    return decode(header(code, 1, 20 + len(body), bytes(16)) + body)


@cache
def dictionary() -> Dictionary:
    """Return the dictionary that ships with the package."""
    return shipped()


def told(rendered: tuple[Rendered, ...], code: Code = Code.ACCESS_ACCEPT) -> list[str]:
    """Return the attributes as `Name = value`, read with the shipped dictionary from a packet."""
    found = read_attributes(packet(code, rendered), dictionary())
    assert not any(each.invalid for each in found)
    return [each.text() for each in found]


def octets(rendered: tuple[Rendered, ...]) -> list[str]:
    """Return the attributes as hexadecimal digits."""
    return [each.octets.hex() for each in rendered]
