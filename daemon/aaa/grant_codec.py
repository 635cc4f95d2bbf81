"""A grant as JSON and back: what a session was given must be known again after a restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from radius.grant import Access, Burst, Grant, Rate, Route

_EMPTY = Grant()
_NAMES = tuple(each.name for each in fields(Grant))
_Json = Any


def to_json(grant: Grant) -> dict[str, _Json]:
    """Return what a grant says; fields that say nothing are left out."""
    said: dict[str, _Json] = {}
    for name in _NAMES:
        value = getattr(grant, name)
        if value != getattr(_EMPTY, name):
            said[name] = _plain(value)
    return said


def from_json(said: dict[str, _Json]) -> Grant:
    """Return the grant that `to_json` gave; fields that are not known any more are passed over."""
    held = {name: _READERS.get(name, _same)(value) for name, value in said.items() if name in _NAMES}
    return Grant(**held)


def _plain(value: object) -> _Json:
    if isinstance(value, Rate):
        return [value.download_bps, value.upload_bps]
    if isinstance(value, Burst):
        return [_plain(value.rate), _plain(value.threshold), value.seconds]
    if isinstance(value, Route):
        return [str(value.prefix), None if value.gateway is None else str(value.gateway), value.metric]
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, (int, bool, str)) or value is None else str(value)


def _same(value: _Json) -> _Json:
    return value


def _rate(value: _Json) -> Rate:
    return Rate(download_bps=value[0], upload_bps=value[1])


def _burst(value: _Json) -> Burst:
    return Burst(rate=_rate(value[0]), threshold=_rate(value[1]), seconds=value[2])


def _routes(value: _Json) -> tuple[Route, ...]:
    return tuple(
        Route(
            prefix=ip_network(prefix), gateway=None if gateway is None else ip_address(gateway), metric=metric
        )
        for prefix, gateway, metric in value
    )


_READERS: dict[str, Callable[[_Json], Any]] = {
    "access": Access,
    "rate": _rate,
    "burst": _burst,
    "committed": _rate,
    "services": tuple,
    "routes": _routes,
    "ipv4_address": IPv4Address,
    "ipv4_netmask": IPv4Address,
    "ipv6_address": IPv6Address,
    "ipv6_prefix": IPv6Network,
    "ipv6_delegated": IPv6Network,
    "dns4": lambda value: tuple(IPv4Address(each) for each in value),
    "dns6": lambda value: tuple(IPv6Address(each) for each in value),
}
