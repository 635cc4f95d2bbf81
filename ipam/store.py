"""Leases and their history in a database: one transaction for each batch, and loading at start.

A connection of SQLite or PostgreSQL is passed in; whoever opened the transaction commits it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import delete, func, insert, select, tuple_
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ipam.history import GENESIS, Chain, Change, HistoryEvent
from ipam.ledger import Batch, Fence, LeaseRow, new_row
from ipam.schema import ANCHOR, BLOCK, BOOT, EVENT, LEASE
from ipam.wide import WideInsert

_LEASE_KEY = ("tenant", "pool", "slot")
_LEASE_COLUMNS = tuple(LEASE.c.keys())
_EVENT_COLUMNS = tuple(EVENT.c.keys())
_PAGE = 5_000
_CHUNK = 1_000

_Item = TypeVar("_Item")


class Fenced(Exception):
    """A batch has slots of blocks that this node does not own any more; nothing of it may be stored."""

    def __init__(self, lost: tuple[Fence, ...]) -> None:
        super().__init__(
            "blocks are owned by another node: " + ", ".join(f"{each.pool}/{each.block}" for each in lost)
        )
        self.lost = lost


def _upsert(of: Any) -> Any:
    statement = of(LEASE)
    changes = {name: statement.excluded[name] for name in _LEASE_COLUMNS if name not in _LEASE_KEY}
    return statement.on_conflict_do_update(index_elements=list(_LEASE_KEY), set_=changes)


_SQLITE_UPSERT = WideInsert(_upsert(sqlite_insert))
_SQLITE_EVENT = WideInsert(insert(EVENT))


async def next_boot(connection: AsyncConnection, node: str, at: float) -> int:
    """Return a number that no start of any node had before."""
    done = await connection.execute(insert(BOOT).values(node=node, at=at))
    key = done.inserted_primary_key
    assert key is not None, "the database numbers the rows"
    return int(key[0])


async def save_batch(connection: AsyncConnection, batch: Batch) -> None:
    """Write events and slots of one batch. Raises Fenced; then the transaction must be rolled back."""
    if batch.fences:
        await _check_fences(connection, batch)
    rows = sorted(batch.rows)  # by their key, for two nodes must not lock rows crosswise
    if connection.dialect.name == "sqlite":
        await _SQLITE_EVENT.write(connection, batch.events, _flat_events)
        await _SQLITE_UPSERT.write(connection, rows)
        return
    for events in _chunks(batch.events):
        values = [dict(zip(_EVENT_COLUMNS, _event_values(each), strict=True)) for each in events]
        await connection.execute(insert(EVENT), values)
    for some in _chunks(rows):
        values = [dict(zip(_LEASE_COLUMNS, row, strict=True)) for row in some]
        await connection.execute(_upsert(postgresql_insert), values)


def _chunks(of: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Yield parts that PostgreSQL stores well within its time limit for a statement."""
    return (of[start : start + _CHUNK] for start in range(0, len(of), _CHUNK))


def _event_values(event: HistoryEvent) -> tuple[Any, ...]:
    return tuple(_flat_events((event,)))


def _flat_events(events: Sequence[HistoryEvent]) -> list[Any]:
    """Return the values of the columns of events, one after the other."""
    values: list[Any] = []
    for book, seq, change, _, own in events:
        values += (book, seq)
        values += change
        values.append(own)
    return values


async def _check_fences(connection: AsyncConnection, batch: Batch) -> None:
    """See that each block is still this node's, and let nobody take it before the transaction is over."""
    key = tuple_(BLOCK.c.tenant, BLOCK.c.pool, BLOCK.c.first_slot, BLOCK.c.generation)
    mine = select(BLOCK.c.tenant, BLOCK.c.pool, BLOCK.c.first_slot, BLOCK.c.generation)
    mine = mine.where(BLOCK.c.owner == batch.book).order_by(*key).with_for_update(read=True)
    ours: set[Fence] = set()
    for some in _chunks(sorted(batch.fences)):
        ours.update(Fence(*row) for row in await connection.execute(mine.where(key.in_(some))))
    lost = tuple(each for each in batch.fences if each not in ours)
    if lost:
        raise Fenced(lost)


async def chain_end(connection: AsyncConnection, book: str) -> Chain:
    """Return where a book's chain ends in the store: what to begin a register with, and what `settle` asks for."""
    last = select(EVENT.c.seq, EVENT.c.hash).where(EVENT.c.book == book).order_by(EVENT.c.seq.desc()).limit(1)
    found = (await connection.execute(last)).first()
    if found is None:
        anchor = select(ANCHOR.c.seq, ANCHOR.c.hash).where(ANCHOR.c.book == book)
        found = (await connection.execute(anchor)).first()
    return Chain(book, 0, GENESIS) if found is None else Chain(book, int(found[0]), bytes(found[1]))


async def load_rows(connection: AsyncConnection) -> list[LeaseRow]:
    """Return every slot that is stored."""
    return _rows(await connection.execute(select(LEASE)))


async def load_block_rows(
    connection: AsyncConnection, tenant: str, pool: str, first_slot: int, last_slot: int
) -> list[LeaseRow]:
    """Return the stored slots of one block."""
    statement = select(LEASE).where(
        LEASE.c.tenant == tenant, LEASE.c.pool == pool, LEASE.c.slot.between(first_slot, last_slot)
    )
    return _rows(await connection.execute(statement))


def _rows(found: Iterable[Any]) -> list[LeaseRow]:
    return [new_row(LeaseRow, row) for row in found]


async def forget_slots(
    connection: AsyncConnection, tenant: str, pool: str, first_slot: int, last_slot: int
) -> int:
    """Delete the slots of a range that was taken away; their history stays. Returns how many there were."""
    statement = delete(LEASE).where(
        LEASE.c.tenant == tenant, LEASE.c.pool == pool, LEASE.c.slot.between(first_slot, last_slot)
    )
    return int((await connection.execute(statement)).rowcount)


# --- history ---------------------------------------------------------------------------------------


async def history_of(
    connection: AsyncConnection, tenant: str, vrf: str, address: str, until: float, most: int
) -> list[HistoryEvent]:
    """Return the last `most` events of an address up to `until` (epoch seconds), latest first.

    `address` is canonical text as `ipam.address.text` writes it. The previous hash is left empty: `events_of` has it.
    """
    statement = (
        select(EVENT)
        .where(EVENT.c.address == address, EVENT.c.at <= until, EVENT.c.tenant == tenant, EVENT.c.vrf == vrf)
        .order_by(EVENT.c.at.desc(), EVENT.c.seq.desc())
        .limit(most)
    )
    return [_event(row, b"") for row in await connection.execute(statement)]


async def events_of(connection: AsyncConnection, book: str, after: Chain) -> AsyncIterator[HistoryEvent]:
    """Yield a book's events after a place in its chain, in order, each with the hash before it."""
    seq, before = after.seq, after.hash
    while True:
        page = select(EVENT).where(EVENT.c.book == book, EVENT.c.seq > seq).order_by(EVENT.c.seq).limit(_PAGE)
        rows = (await connection.execute(page)).all()
        for row in rows:
            event = _event(row, before)
            seq, before = event.seq, event.hash
            yield event
        if len(rows) < _PAGE:
            return


def _event(row: Any, before: bytes) -> HistoryEvent:
    book, seq, *fields, own = row
    return HistoryEvent(book, seq, Change._make(fields), before, bytes(own))


async def kept_from(connection: AsyncConnection, book: str) -> Chain:
    """Return where the kept part of a chain begins: what `events_of` and `history.broken` start with."""
    anchor = select(ANCHOR.c.seq, ANCHOR.c.hash).where(ANCHOR.c.book == book)
    found = (await connection.execute(anchor)).first()
    return Chain(book) if found is None else Chain(book, int(found[0]), bytes(found[1]))


async def prune(
    connection: AsyncConnection, book: str, before_at: float, most: int, through_seq: int | None = None
) -> int:
    """Delete up to `most` of the oldest events, all before that event time; return how many went.

    None beyond number `through_seq`, where one is given: those behind it have yet to be told. Only from the beginning
    of the chain: a later event with an earlier time stays until all before it may go. The hash of the last one that
    went is kept, so that the rest can still be verified.
    """
    young = select(func.min(EVENT.c.seq)).where(EVENT.c.book == book, EVENT.c.at >= before_at)
    first_young = (await connection.execute(young)).scalar()
    old = select(EVENT.c.seq, EVENT.c.hash).where(EVENT.c.book == book).order_by(EVENT.c.seq).limit(most)
    if first_young is not None:
        old = old.where(EVENT.c.seq < first_young)
    if through_seq is not None:
        old = old.where(EVENT.c.seq <= through_seq)
    rows = (await connection.execute(old)).all()
    if not rows:
        return 0
    last_seq, last_hash = rows[-1]
    await connection.execute(delete(ANCHOR).where(ANCHOR.c.book == book))
    await connection.execute(insert(ANCHOR).values(book=book, seq=last_seq, hash=last_hash))
    await connection.execute(delete(EVENT).where(EVENT.c.book == book, EVENT.c.seq <= last_seq))
    return len(rows)
