"""Leases as reply attributes of a vendor, quickly: rendered once with a placeholder, then filled in for each login."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

from ipam.kinds import Kind
from ipam.lease import Lease
from radius.errors import Unencodable
from radius.grant import Access, Grant, Rendered
from radius.vendors.base import VendorProfile

# What of a grant each kind of lease is.
_FIELD = {
    Kind.V4: "ipv4_address",
    Kind.V6_NA: "ipv6_address",
    Kind.V6_PREFIX: "ipv6_prefix",
    Kind.PD: "ipv6_delegated",
    Kind.SVLAN: "vlan_id",
    Kind.CVLAN: "inner_vlan_id",
}
_POOL_FIELD = {
    Kind.V4: "ipv4_pool",
    Kind.V6_NA: "ipv6_address_pool",
    Kind.V6_PREFIX: "ipv6_pool",
    Kind.PD: "ipv6_delegated_pool",
}
LEASED = frozenset(_FIELD)
"""The kinds that a login can be told of."""

_SOURCES = frozenset(_FIELD.values())
_WIDTH = {Kind.V4: 4, Kind.V6_NA: 16, Kind.V6_PREFIX: 16, Kind.PD: 16}
# Placeholders that are valid and occur nowhere else: of documentation prefixes.
_HOLD_V4 = IPv4Address("203.0.113.77").packed
_HOLD_V6 = IPv6Address("2001:db8:5ad:f00d::").packed
_PAIRED = frozenset({Kind.SVLAN, Kind.CVLAN})  # said together, in texts of varying length

_Template = tuple[bytes, int, bytes]  # what stands before the value, its octets, what stands behind


class LeaseAttributes:
    """Renders leases, with what has been learned of each vendor."""

    def __init__(self) -> None:
        self._templates: dict[tuple[str, bool], dict[tuple[Kind, int], _Template | None]] = {}
        self._said: dict[tuple[str, bool, Kind], bool] = {}

    def says(self, profile: VendorProfile, access: Access, kind: Kind) -> bool:
        """Tell whether NASes of that vendor can be told of a lease of that kind."""
        key = (profile.name, access is Access.PPP, kind)
        found = self._said.get(key)
        if found is None:
            found = kind in LEASED and _FIELD[kind] not in profile.unsaid(_sample(access, kind))
            self._said[key] = found
        return found

    def octets(self, profile: VendorProfile, access: Access, leases: Sequence[Lease]) -> bytes:
        """Return the attributes of leases. Raises Unencodable for an address that no subscriber may have."""
        octets = b""
        way = (profile.name, access is Access.PPP)
        templates = self._templates.get(way)
        if templates is None:
            templates = self._templates[way] = {}
        for lease in leases:
            unit = lease.unit
            key = (lease.kind, unit.length)
            if key not in templates:
                templates[key] = _template(profile, access, *key)
            template = templates[key]
            if template is None:
                return b"".join([each.octets for each in self.rendered(profile, access, leases)])
            before, width, after = template
            octets += before + unit.value.to_bytes(width, "big") + after
        return octets

    def rendered(
        self, profile: VendorProfile, access: Access, leases: Sequence[Lease]
    ) -> tuple[Rendered, ...]:
        """Return the attributes of leases one by one, as an explanation shows them."""
        values: dict[str, Any] = {
            _FIELD[each.kind]: _value(each.kind, each.unit.value, each.unit.length) for each in leases
        }
        said = _addresses(profile, replace(Grant(access=access), **values))
        return tuple(Rendered(each.oid, each.octets, "lease") for each in said)


def without_pools(grant: Grant, leased: frozenset[Kind]) -> Grant:
    """Return a grant that names no pool of the NAS where there is a lease of ours instead."""
    fields = [_POOL_FIELD[kind] for kind in leased if kind in _POOL_FIELD]
    named: dict[str, Any] = {name: None for name in fields if getattr(grant, name) is not None}
    return replace(grant, **named) if named else grant


def _value(kind: Kind, value: int, length: int) -> IPv4Address | IPv6Address | IPv6Network | int:
    if kind is Kind.V4:
        return IPv4Address(value)
    if kind is Kind.V6_NA:
        return IPv6Address(value)
    return value if kind in _PAIRED else IPv6Network((value, length))


def _sample(access: Access, kind: Kind) -> Grant:
    value = 100 if kind in _PAIRED else int.from_bytes(_placeholder(kind, 64), "big")
    values: dict[str, Any] = {_FIELD[kind]: _value(kind, value, 64)}
    if kind is Kind.CVLAN:
        values["vlan_id"] = 100
    return replace(Grant(access=access), **values)


def _placeholder(kind: Kind, length: int) -> bytes:
    if kind is Kind.V4:
        return _HOLD_V4
    shift = 128 - length
    return (int.from_bytes(_HOLD_V6, "big") >> shift << shift).to_bytes(16, "big")


def _template(profile: VendorProfile, access: Access, kind: Kind, length: int) -> _Template | None:
    """Return what is around the value; None where that cannot be told."""
    width = _WIDTH.get(kind)
    if width is None:
        return None
    held = _placeholder(kind, length)
    values: dict[str, Any] = {_FIELD[kind]: _value(kind, int.from_bytes(held, "big"), length)}
    sample = replace(Grant(access=access), **values)
    try:
        octets = b"".join(each.octets for each in _addresses(profile, sample))
    except Unencodable:
        return None
    if octets.count(held) != 1:
        return None
    before, _, after = octets.partition(held)
    return before, width, after


def _addresses(profile: VendorProfile, grant: Grant) -> tuple[Rendered, ...]:
    return tuple(each for each in profile.render(grant) if each.source in _SOURCES)
