"""What an operator says beside an export: what its pools and VRFs are called here, and who its owners are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from ipam.imports.records import (
    Imported,
    LeaseRecord,
    PrefixRecord,
    RangeRecord,
    ReservationRecord,
)
from ipam.kinds import Kind

_POOL_FIELDS = ("name", "vrf", "kind")
_SECTIONS = ("pools", "vrfs", "owners")

_Named = TypeVar("_Named", PrefixRecord, RangeRecord, ReservationRecord, LeaseRecord)
_Pooled = TypeVar("_Pooled", RangeRecord, ReservationRecord, LeaseRecord)
_Owned = TypeVar("_Owned", ReservationRecord, LeaseRecord)


class BadMapping(ValueError):
    """A mapping that cannot be used; says where and what is expected."""


@dataclass(frozen=True, slots=True)
class PoolNames:
    """What a pool is here; empty: as it is in the export."""

    name: str = ""
    vrf: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """Names in the export, and what they are here. `vrf` is that of what names none.

    `owners` are ids of subscribers.
    """

    pools: Mapping[str, PoolNames] = field(default_factory=dict)
    vrfs: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    vrf: str = ""

    def vrf_of_pool(self, pool: str) -> str:
        """Return the VRF that is said for a pool, empty for none."""
        known = self.pools.get(pool)
        return "" if known is None else known.vrf


def read(document: Any, vrf: str = "") -> Names:
    """Return what a document (of YAML or JSON) says. Raises BadMapping."""
    said = {} if document is None else document
    if not isinstance(said, dict) or any(name not in _SECTIONS for name in said):
        raise BadMapping(f"expected the sections {', '.join(_SECTIONS)}, each with what stands in the export")
    return Names(
        pools={name: _pool(name, each) for name, each in _section(said, "pools").items()},
        vrfs={name: _text("vrfs", name, each) for name, each in _section(said, "vrfs").items()},
        owners={name: _text("owners", name, each) for name, each in _section(said, "owners").items()},
        vrf=vrf,
    )


def _section(said: dict[str, Any], name: str) -> dict[str, Any]:
    found = said.get(name) or {}
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found):
        raise BadMapping(
            f"{name}: expected `name in the export: what it is here`; quote names that are numbers"
        )
    return found


def _text(section: str, name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise BadMapping(f"{section}.{name}: expected a text, got {value!r}")
    return value


def _pool(name: str, said: Any) -> PoolNames:
    fields = {"name": said} if isinstance(said, str) else said
    if not isinstance(fields, dict) or any(each not in _POOL_FIELDS for each in fields):
        raise BadMapping(f"pools.{name}: expected a name, or {', '.join(_POOL_FIELDS)}")
    texts = {each: _text(f"pools.{name}", each, value) for each, value in fields.items()}
    if texts.get("kind", Kind.V4) not in tuple(Kind):
        kinds = (Kind.V4, Kind.V6_NA, Kind.V6_PREFIX, Kind.PD)
        raise BadMapping(f"pools.{name}.kind: expected one of {', '.join(kinds)}, got {texts['kind']!r}")
    return PoolNames(**texts)


def applied(imported: Imported, mapping: Names) -> Imported:
    """Return everything under the names that it has here."""
    ranges = [_kind(each, mapping) for each in imported.ranges] if mapping.pools else imported.ranges
    return Imported(
        prefixes=_in_vrf(imported.prefixes, mapping),
        ranges=_in_vrf(_in_pool(ranges, mapping), mapping),
        reservations=_in_vrf(_in_pool(_owned(imported.reservations, mapping), mapping), mapping),
        leases=_in_vrf(_in_pool(_owned(imported.leases, mapping), mapping), mapping),
        notes=imported.notes,
    )


def _kind(record: RangeRecord, mapping: Names) -> RangeRecord:
    known = mapping.pools.get(record.pool)
    return record if known is None or not known.kind else replace(record, kind=known.kind)


def _in_pool(records: Iterable[_Pooled], mapping: Names) -> tuple[_Pooled, ...]:
    if not mapping.pools:
        return tuple(records)
    found: list[_Pooled] = []
    for each in records:
        known = mapping.pools.get(each.pool)
        if known is not None:
            vrf = known.vrf or each.vrf
            each = replace(each, pool=known.name or each.pool, vrf=vrf)  # noqa: PLW2901 - the same record
        found.append(each)
    return tuple(found)


def _in_vrf(records: Iterable[_Named], mapping: Names) -> tuple[_Named, ...]:
    if not mapping.vrfs and not mapping.vrf:
        return tuple(records)
    found: list[_Named] = []
    for each in records:
        vrf = mapping.vrfs.get(each.vrf, each.vrf) or mapping.vrf
        found.append(each if vrf == each.vrf else replace(each, vrf=vrf))
    return tuple(found)


def _owned(records: Iterable[_Owned], mapping: Names) -> tuple[_Owned, ...]:
    if not mapping.owners:
        return tuple(records)
    found: list[_Owned] = []
    for each in records:
        subscriber = mapping.owners.get(each.owner)
        found.append(each if subscriber is None else replace(each, subscriber=subscriber))
    return tuple(found)
