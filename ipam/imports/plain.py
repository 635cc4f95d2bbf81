"""A plain CSV: address or prefix, status, owner, description, and optionally pool, VRF and end of the lease."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, tzinfo
from enum import StrEnum

from ipam.imports import parse
from ipam.imports.collector import Collector
from ipam.imports.records import (
    Block,
    Imported,
    LeaseRecord,
    PrefixRecord,
    PrefixState,
    Refused,
    ReservationRecord,
    Source,
    Standing,
)
from ipam.imports.tables import Row, note_columns, rows

_BLOCK = ("address", "prefix", "block", "range")
_COLUMNS = frozenset({*_BLOCK, "status", "owner", "description", "pool", "vrf", "until", "circuit", "nas"})


class _Status(StrEnum):
    """What a row may be."""

    POOL = "pool"  # every address of the block or range belongs to the pool
    FREE = "free"  # one unit of the pool
    LEASED = "leased"  # one unit of the pool with an owner
    FIXED = "fixed"
    RESERVED = "reserved"
    DISABLED = "disabled"
    DECLINED = "declined"
    CONTAINER = "container"
    ACTIVE = "active"
    DEPRECATED = "deprecated"


_WORDS = {
    "static": _Status.FIXED,
    "available": _Status.FREE,
    "dynamic": _Status.LEASED,
    "excluded": _Status.DISABLED,
}
_PREFIXES = frozenset({_Status.CONTAINER, _Status.ACTIVE, _Status.DEPRECATED})
_OWNED = frozenset({_Status.LEASED, _Status.FIXED})
_POOLED = frozenset({_Status.POOL, _Status.FREE, _Status.LEASED})


def read(sources: Iterable[Source], zone: tzinfo = UTC) -> Imported | Refused:
    """Return what the rows say; complete or refused. `zone` counts for an `until` that names none.

    The block stands in a column address, prefix, block or range: an address, a prefix without host bits, or two
    addresses with a hyphen between them.
    """
    collector = Collector()
    for source in sources:
        for spot, row in enumerate(rows(source, collector, (_BLOCK, ("status",)))):
            if spot == 0:
                note_columns(row, _COLUMNS, collector)
            _take(row, zone, collector)
    return collector.finish()


def _take(row: Row, zone: tzinfo, collector: Collector) -> None:
    ends = _ends(row.get(*_BLOCK))
    status = _status(row.get("status"))
    until = parse.moment(row.get("until"), zone)
    if ends is None:
        expected = "an address, a prefix without host bits, or FIRST-LAST"
        collector.problem(row.finding("address", expected, got=row.get(*_BLOCK)))
    if status is None:
        collector.problem(row.finding("status", ", ".join((*_Status, *_WORDS))))
        return
    if until is None:
        collector.problem(row.finding("until", "a time such as 2026-01-31 12:00:00, or epoch seconds"))
    if status in _OWNED and not row.get("owner"):
        collector.problem(row.finding("owner", f"an owner of what is {status.value}"))
    if status in _POOLED and not row.get("pool"):
        collector.problem(row.finding("pool", f"the pool of what is {status.value}"))
    if ends is None or until is None or (status in _OWNED and not row.get("owner")):
        return
    if status in _PREFIXES:
        _prefix(row, ends, PrefixState(status.value), collector)
    elif status in _POOLED:
        _pooled(row, ends, status, until, collector)
    else:
        _reservation(row, ends, Standing(status.value), collector)


def _prefix(row: Row, ends: tuple[Block, Block], state: PrefixState, collector: Collector) -> None:
    prefix, last = ends
    if prefix != last:
        collector.problem(row.finding("status", "a status of ranges", "write a prefix"))
        return
    record = PrefixRecord(
        prefix=prefix,
        vrf=row.get("vrf"),
        state=state,
        description=row.get("description"),
        file=row.file,
        line=row.line,
    )
    collector.prefix(record)


def _pooled(row: Row, ends: tuple[Block, Block], status: _Status, until: float, collector: Collector) -> None:
    first, last = ends
    pool, vrf = row.get("pool"), row.get("vrf")
    if status is _Status.POOL:
        lowest = type(first)((int(first.network_address), first.max_prefixlen))
        highest = type(last)((int(last.broadcast_address), last.max_prefixlen))
        collector.range(pool, vrf, lowest, highest, row.file, row.line)
        return
    if first != last:
        collector.problem(row.finding("status", "pool for a range", got=status.value))
        return
    collector.unit(pool, vrf, first, row.file, row.line)
    if status is _Status.LEASED:
        record = LeaseRecord(
            block=first,
            owner=row.get("owner"),
            until=None if until in (0.0, parse.NEVER) else until,
            pool=pool,
            vrf=vrf,
            circuit=row.get("circuit"),
            nas=row.get("nas"),
            file=row.file,
            line=row.line,
        )
        collector.lease(record)


def _reservation(row: Row, ends: tuple[Block, Block], standing: Standing, collector: Collector) -> None:
    record = ReservationRecord(
        block=ends[0],
        last=ends[1],
        standing=standing,
        owner=row.get("owner"),
        pool=row.get("pool"),
        vrf=row.get("vrf"),
        description=row.get("description"),
        file=row.file,
        line=row.line,
    )
    collector.reservation(record)


def _ends(text: str) -> tuple[Block, Block] | None:
    first, hyphen, last = text.partition("-")
    if not hyphen:
        block = parse.block(text)
        return (block, block) if block else None
    ends = parse.block(first), parse.block(last)
    if ends[0] is None or ends[1] is None or "/" in text:
        return None
    in_order = ends[0].version == ends[1].version and int(ends[0].network_address) <= int(
        ends[1].network_address
    )
    return (ends[0], ends[1]) if in_order else None


def _status(text: str) -> _Status | None:
    word = text.lower()
    try:
        return _WORDS.get(word) or _Status(word)
    except ValueError:
        return None
