"""The history of leases a page at a time, latest first, each page at a bounded price.

Events of an address are found by their index. Of a subscriber or pool there is none, since each index would cost
every event; so the events of a book are read backwards, a window of numbers for each page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from ipam.history import Change, HistoryEvent
from ipam.schema import EVENT

WINDOW = 20_000
"""How many events one page looks at without an index."""
_SLACK = 5_000  # events that a clock which was set back may have out of turn


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySearch:
    """Which events; None leaves a field open. `since` and `until` are epoch seconds, both included."""

    tenant: str | None = None
    vrf: str | None = None
    pool: str | None = None
    subscriber: str | None = None
    since: float | None = None
    until: float | None = None
    limit: int = 100


class At(NamedTuple):
    """Where a page of one address ended: the last event on it."""

    at: float
    book: str
    seq: int


class Found(NamedTuple):
    """Events, latest first; `reached` is the number from which the next page goes down, None where all was read."""

    events: list[HistoryEvent]
    reached: int | None


def _fields(wanted: HistorySearch) -> list[Any]:
    found = [
        EVENT.c[name] == value
        for name in ("tenant", "vrf", "pool", "subscriber")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.since is not None:
        found.append(EVENT.c.at >= wanted.since)
    if wanted.until is not None:
        found.append(EVENT.c.at <= wanted.until)
    return found


async def of_address(
    connection: AsyncConnection, addresses: list[str], wanted: HistorySearch, after: At | None
) -> list[HistoryEvent]:
    """Return up to `wanted.limit` events of addresses, latest first, those after a place in that order."""
    order = (EVENT.c.at, EVENT.c.book, EVENT.c.seq)
    query = select(EVENT).where(EVENT.c.address.in_(addresses), *_fields(wanted))
    if after is not None:
        query = query.where(EVENT.c.at <= after.at, tuple_(*order) < tuple(after))
    query = query.order_by(*(each.desc() for each in order)).limit(wanted.limit)
    return [_event(row) for row in await connection.execute(query)]


async def of_book(connection: AsyncConnection, book: str, wanted: HistorySearch, below: int | None) -> Found:
    """Return up to `wanted.limit` events of a book whose number is below `below`, latest first.

    Looks at `WINDOW` events at the most.
    """
    mine, seq = EVENT.c.book == book, EVENT.c.seq
    first = (await connection.execute(select(func.min(seq)).where(mine))).scalar()
    if first is None:
        return Found([], None)
    if below is None:
        below = await _above(connection, book, int(first), wanted.until)
    low = max(below - WINDOW, int(first))
    window = seq.between(low, below - 1)
    query = select(EVENT).where(mine, window, *_fields(wanted)).order_by(seq.desc()).limit(wanted.limit)
    events = [_event(row) for row in await connection.execute(query)]
    if len(events) == wanted.limit:
        return Found(events, events[-1].seq)
    if low == first:
        return Found(events, None)
    if wanted.since is not None:
        newest = select(func.max(EVENT.c.at)).where(mine, seq.between(max(low - _SLACK, int(first)), low))
        latest = (await connection.execute(newest)).scalar()
        if latest is not None and latest < wanted.since:
            return Found(events, None)
    return Found(events, low)


async def _above(connection: AsyncConnection, book: str, first: int, until: float | None) -> int:
    """Return a number above all events up to an epoch second: a search by halves, and some for a clock set back."""
    mine, seq = EVENT.c.book == book, EVENT.c.seq
    last = int((await connection.execute(select(func.max(seq)).where(mine))).scalar() or first)
    if until is None:
        return last + 1
    low, high = first, last + 1
    while low < high:
        middle = (low + high) // 2
        found = await connection.execute(select(EVENT.c.at).where(mine, seq >= middle).order_by(seq).limit(1))
        at = found.scalar()
        if at is not None and at <= until:
            low = middle + 1
        else:
            high = middle
    return min(low + _SLACK, last + 1)


async def chain_page(
    connection: AsyncConnection, book: str, after: int, before: bytes, most: int
) -> list[HistoryEvent]:
    """Return the next events of a book's chain after a number, each with the hash before it, `before` at first."""
    query = select(EVENT).where(EVENT.c.book == book, EVENT.c.seq > after).order_by(EVENT.c.seq).limit(most)
    found: list[HistoryEvent] = []
    for row in await connection.execute(query):
        event = _event(row)._replace(prev_hash=before)
        before = event.hash
        found.append(event)
    return found


def _event(row: Any) -> HistoryEvent:
    book, seq, *fields, own = row
    return HistoryEvent(book, seq, Change._make(fields), b"", bytes(own))
