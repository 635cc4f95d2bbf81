"""NetBox exports of prefixes, IP ranges and IP addresses: CSV of any version, JSON of the API."""

from __future__ import annotations

from collections.abc import Iterable

from ipam.imports import parse
from ipam.imports.collector import Collector
from ipam.imports.records import (
    Block,
    Imported,
    PrefixRecord,
    PrefixState,
    Refused,
    ReservationRecord,
    Source,
    Standing,
)
from ipam.imports.tables import Row, note_columns, rows

_COMMON = frozenset({"id", "vrf", "tenant", "status", "role", "description"})
_PREFIX = _COMMON | {"prefix", "is_pool", "pool", "site", "scope"}
_ADDRESS = _COMMON | {
    "address",
    "ip_address",
    "dns_name",
    "assigned_object",
    "assigned",
    "parent",
    "interface",
}
_RANGE = _COMMON | {"start_address", "end_address", "size"}
_NEEDS = (("prefix", "start_address", "address", "ip_address"),)
_TRUE = frozenset({"true", "yes", "1"})
_GLOBAL = "global"  # how exports for people write that there is no VRF
# NetBox lets its operators add states; one that is not here is refused, not guessed.
_STANDING = {
    "active": Standing.FIXED,
    "reserved": Standing.RESERVED,
    "deprecated": Standing.DISABLED,
}
_DYNAMIC = frozenset({"dhcp", "slaac"})


def read(sources: Iterable[Source]) -> Imported | Refused:
    """Return prefixes, ranges as pools, and addresses as reservations; complete or refused.

    Which kind a file is follows from its columns: `prefix`, `start_address` or `address`. A range that is in use
    becomes a pool by the name of its role, its description, or its two ends.
    """
    collector = Collector()
    for source in sources:
        for spot, row in enumerate(rows(source, collector, _NEEDS)):
            known = _known(row)
            if spot == 0:
                note_columns(row, known, collector)
            if known is _PREFIX:
                _prefix(row, collector)
            elif known is _RANGE:
                _range(row, collector)
            else:
                _address(row, collector)
    return collector.finish()


def _known(row: Row) -> frozenset[str]:
    if row.has("start_address"):
        return _RANGE
    if row.has("address", "ip_address"):
        return _ADDRESS
    return _PREFIX


def _vrf(row: Row) -> str:
    vrf = row.get("vrf")
    return "" if vrf.lower() == _GLOBAL else vrf


def _prefix(row: Row, collector: Collector) -> None:
    prefix = parse.network(row.get("prefix"))
    if prefix is None:
        collector.problem(row.finding("prefix", "a prefix such as 192.0.2.0/24"))
    try:
        state = PrefixState(row.get("status").lower() or PrefixState.ACTIVE)
    except ValueError:
        collector.problem(row.finding("status", ", ".join(PrefixState), "change the state of the prefix"))
        return
    if prefix is None:
        return
    record = PrefixRecord(
        prefix=prefix,
        vrf=_vrf(row),
        state=state,
        whole=row.get("is_pool", "pool").lower() in _TRUE,
        tenant=row.get("tenant"),
        site=row.get("site", "scope"),
        role=row.get("role"),
        description=row.get("description"),
        file=row.file,
        line=row.line,
    )
    collector.prefix(record)


def _address(row: Row, collector: Collector) -> None:
    block = parse.host(row.get("address", "ip_address"))
    status = row.get("status").lower() or "active"
    if block is None:
        got = row.get("address", "ip_address")
        collector.problem(row.finding("address", "an address such as 192.0.2.1/24", got=got))
    if status in _DYNAMIC:
        collector.note(
            row.finding("status", "a fixed address", "who has a dynamic one is known to its server only")
        )
        return
    if status not in _STANDING:
        expected = ", ".join((*_STANDING, *sorted(_DYNAMIC)))
        collector.problem(row.finding("status", expected, "change the state of the address"))
        return
    if block is None:
        return
    owner = row.get("dns_name", "assigned_object", "parent", "interface", "description")
    record = ReservationRecord(
        block=block,
        last=block,
        standing=_STANDING[status],
        owner=owner,
        vrf=_vrf(row),
        description=row.get("description"),
        file=row.file,
        line=row.line,
    )
    collector.reservation(record)


def _range(row: Row, collector: Collector) -> None:
    first, last = parse.host(row.get("start_address")), parse.host(row.get("end_address"))
    status = row.get("status").lower() or "active"
    if first is None:
        collector.problem(row.finding("start_address", "an address"))
    if last is None:
        collector.problem(row.finding("end_address", "an address"))
    if status not in _STANDING:
        collector.problem(row.finding("status", ", ".join(_STANDING), "change the state of the range"))
        return
    if first is None or last is None:
        return
    if first.version != last.version or int(first.network_address) > int(last.network_address):
        collector.problem(row.finding("end_address", f"an address from {first.network_address} on"))
        return
    _take_range(row, first, last, _STANDING[status], collector)


def _take_range(row: Row, first: Block, last: Block, standing: Standing, collector: Collector) -> None:
    name = f"{first.network_address}-{last.network_address}"
    if standing is Standing.FIXED:
        pool = row.get("role", "description") or name
        collector.range(pool, _vrf(row), first, last, row.file, row.line)
        return
    record = ReservationRecord(
        block=first,
        last=last,
        standing=standing,
        owner=row.get("role"),
        vrf=_vrf(row),
        description=row.get("description"),
        file=row.file,
        line=row.line,
    )
    collector.reservation(record)
