"""FreeRADIUS' radippool: SQL dumps of MySQL and PostgreSQL, and CSV, of versions 3 and 4."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, tzinfo
from enum import StrEnum

from ipam.imports import parse
from ipam.imports.collector import Collector
from ipam.imports.records import (
    Block,
    Finding,
    Imported,
    LeaseRecord,
    Refused,
    ReservationRecord,
    Source,
    Standing,
)
from ipam.imports.sql_dump import table_rows
from ipam.imports.sql_tokens import BrokenDump
from ipam.imports.tables import Row, begin, note_columns, rows

TABLE = "radippool"
_COLUMNS = frozenset(
    {
        "id",
        "pool_name",
        "framedipaddress",
        "address",
        "nasipaddress",
        "gateway",
        "calledstationid",
        "callingstationid",
        "expiry_time",
        "username",
        "owner",
        "pool_key",
        "status",
        "counter",
    }
)
_NEEDS = (("pool_name",), ("framedipaddress", "address"))
_SQL = (
    "create",
    "insert",
    "replace",
    "copy",
    "--",
    "/*",
    "set",
    "begin",
    "start",
    "drop",
    "lock",
    "pragma",
    "\\",
)


class _Status(StrEnum):
    """The states of the table of version 4; version 3 has dynamic addresses only."""

    DYNAMIC = "dynamic"
    STATIC = "static"
    DECLINED = "declined"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Options:
    """`zone`: of times without one; `vrf_of`: the VRF of a pool's name; `table`: where it is not radippool."""

    zone: tzinfo = UTC
    vrf_of: Callable[[str], str] = lambda _pool: ""
    table: str = TABLE


def read(sources: Iterable[Source], options: Options | None = None) -> Imported | Refused:
    """Return the pools as ranges, and who has or last had an address as leases; complete or refused.

    A lease whose time has run out is one as well: its `until` lies in the past, so that owners get back what
    they had. Addresses that are static, declined or disabled are reservations.
    """
    chosen = options or Options()
    collector = Collector()
    for source in sources:
        for spot, row in enumerate(_rows(source, chosen, collector)):
            if spot == 0:
                note_columns(row, _COLUMNS, collector)
            _take(row, chosen, collector)
    return collector.finish()


def _rows(source: Source, options: Options, collector: Collector) -> Iterator[Row]:
    first, whole = begin(source)
    if not first.lstrip().lower().startswith(_SQL):
        yield from rows(whole, collector, _NEEDS)
        return
    try:
        for each in table_rows(whole, options.table):
            yield Row(source.name, each.line, each.columns, tuple(value or "" for value in each.values))
    except BrokenDump as error:
        collector.problem(
            Finding(
                file=source.name,
                line=error.line,
                field="",
                got=error.got,
                expected=error.expected,
                remedy=error.remedy,
            )
        )


def _take(row: Row, options: Options, collector: Collector) -> None:
    block = parse.block(row.get("framedipaddress", "address"))
    pool = row.get("pool_name")
    until = parse.moment(row.get("expiry_time"), options.zone)
    status = _status(row.get("status"))
    if block is None:
        field = "address" if row.has("address") else "framedipaddress"
        collector.problem(row.finding(field, "an address or a prefix"))
    if not pool:
        collector.problem(row.finding("pool_name", "the name of a pool"))
    if until is None:
        collector.problem(
            row.finding("expiry_time", "a time such as 2026-01-31 12:00:00, NULL or epoch seconds")
        )
    if status is None:
        collector.problem(row.finding("status", ", ".join(_Status)))
    if block is None or not pool or until is None or status is None:
        return
    vrf = options.vrf_of(pool)
    collector.unit(pool, vrf, block, row.file, row.line)
    if status is _Status.DYNAMIC:
        _lease(row, block, pool, vrf, until, collector)
    else:
        owner = _owner(row)
        standing = {
            _Status.STATIC: Standing.FIXED if owner else Standing.RESERVED,
            _Status.DECLINED: Standing.DECLINED,
            _Status.DISABLED: Standing.DISABLED,
        }[status]
        record = ReservationRecord(
            block=block,
            last=block,
            standing=standing,
            owner=owner,
            pool=pool,
            vrf=vrf,
            file=row.file,
            line=row.line,
        )
        collector.reservation(record)


def _lease(row: Row, block: Block, pool: str, vrf: str, until: float, collector: Collector) -> None:
    owner = _owner(row)
    if not owner or until == 0.0:
        return  # free, and nobody to keep it for
    record = LeaseRecord(
        block=block,
        owner=owner,
        until=None if until == parse.NEVER else until,
        pool=pool,
        vrf=vrf,
        key=_key(row),
        circuit=row.get("callingstationid"),
        nas=row.get("nasipaddress", "gateway"),
        file=row.file,
        line=row.line,
    )
    collector.lease(record)


def _owner(row: Row) -> str:
    return row.get("owner", "username") or row.get("callingstationid") or _key(row)


def _key(row: Row) -> str:
    key = row.get("pool_key")
    return "" if key == "0" else key  # version 3 writes 0 for a free address


def _status(text: str) -> _Status | None:
    try:
        return _Status(text.lower()) if text else _Status.DYNAMIC
    except ValueError:
        return None
