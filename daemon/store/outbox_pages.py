"""The outbox read and kept: pages of its rows, how far sinks have acknowledged, what may go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store.outbox_rows import OUTBOX, OUTBOX_HASH, OUTBOX_MARK, OUTBOX_STREAM

DROPPED = ".dropped"
"""How the type of a row ends whose event had to give way; its body is the fact that it was."""
_PAGE = 500


class OutboxRow(NamedTuple):
    """One row of the outbox; see `outbox_rows.OUTBOX`."""

    seq: int
    at: float
    type: str
    urgency: str
    tenant: str
    correlation: str
    body: bytes


class StreamRow(NamedTuple):
    """One stream: the name of its numbering, where that begins, and the last number of its rows."""

    stream: str
    incarnation: str
    base_seq: int
    last_seq: int


class MarkRow(NamedTuple):
    """How far a sink has acknowledged a stream, and in which numbering it is told it."""

    sink: str
    stream: str
    incarnation: str
    base_seq: int
    acked_seq: int
    hash: bytes
    acked_at: float


_COLUMNS = tuple(OUTBOX.c[name] for name in ("seq", "at", "type", "class", "tenant", "correlation", "body"))


async def read(engine: AsyncEngine, stream: str, after_seq: int, limit: int) -> list[OutboxRow]:
    """Return up to `limit` rows of a stream after a number, in order."""
    query = select(*_COLUMNS).where(OUTBOX.c.stream == stream, OUTBOX.c.seq > after_seq)
    async with engine.connect() as connection:
        return [
            OutboxRow(*row) for row in await connection.execute(query.order_by(OUTBOX.c.seq).limit(limit))
        ]


async def streams(engine: AsyncEngine) -> list[StreamRow]:
    """Return all streams."""
    async with engine.connect() as connection:
        return [StreamRow(*row) for row in await connection.execute(select(OUTBOX_STREAM))]


async def begin(connection: AsyncConnection, stream: str, incarnation: str, base_seq: int) -> None:
    """Let a stream be numbered anew: by that name, from after that number of its log."""
    mine = OUTBOX_STREAM.c.stream == stream
    await connection.execute(
        update(OUTBOX_STREAM).where(mine).values(incarnation=incarnation, base_seq=base_seq)
    )


async def marks(engine: AsyncEngine) -> list[MarkRow]:
    """Return how far every sink is that was ever configured."""
    async with engine.connect() as connection:
        return [MarkRow(*row) for row in await connection.execute(select(OUTBOX_MARK))]


async def save_mark(connection: AsyncConnection, row: MarkRow) -> None:
    """Note how far a sink is."""
    statement = upsert(OUTBOX_MARK).values(row._asdict())
    changes = {name: value for name, value in row._asdict().items() if name not in ("sink", "stream")}
    keys = [OUTBOX_MARK.c.sink, OUTBOX_MARK.c.stream]
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes))


async def save_hash(connection: AsyncConnection, row: MarkRow) -> None:
    """Keep the hash of the chain at a mark."""
    found = {name: getattr(row, name) for name in ("sink", "stream", "incarnation", "hash")}
    await connection.execute(
        upsert(OUTBOX_HASH).values(found | {"seq": row.acked_seq}).on_conflict_do_nothing()
    )


async def hash_before(engine: AsyncEngine, mark: MarkRow, seq: int) -> tuple[int, bytes] | None:
    """Return the last number up to `seq` whose hash is kept for a sink and its numbering, and the hash."""
    table = OUTBOX_HASH.c
    query = select(table.seq, table.hash).where(
        table.sink == mark.sink,
        table.stream == mark.stream,
        table.incarnation == mark.incarnation,
        table.seq <= seq,
    )
    async with engine.connect() as connection:
        row = (await connection.execute(query.order_by(table.seq.desc()).limit(1))).first()
    return None if row is None else (int(row.seq), bytes(row.hash))


async def prune_hashes(connection: AsyncConnection, sink: str, stream: str, below_seq: int) -> int:
    """Delete kept hashes of a sink below a number of the log, but for the last of them; return how many went."""
    table = OUTBOX_HASH.c
    mine = (table.sink == sink, table.stream == stream, table.seq < below_seq)
    last = select(func.max(table.seq)).where(*mine).scalar_subquery()
    return int((await connection.execute(delete(OUTBOX_HASH).where(*mine, table.seq < last))).rowcount)


async def prune(
    connection: AsyncConnection, stream: str, through_seq: int, before_at: float, after_at: float = math.inf
) -> int:
    """Delete some of the oldest rows of a stream: up to a number, and older than an epoch second.

    What is dated after `after_at` is taken for old: a clock was wrong, and it must not hold back all behind it.
    Stops at the first that is to be kept; returns how many went.
    """
    page = select(OUTBOX.c.seq, OUTBOX.c.at).where(OUTBOX.c.stream == stream)
    rows = (await connection.execute(page.order_by(OUTBOX.c.seq).limit(_PAGE))).all()
    last = 0
    for row in rows:
        if row.seq > through_seq or before_at <= row.at <= after_at:
            break
        last = row.seq
    if not last:
        return 0
    gone = delete(OUTBOX).where(OUTBOX.c.stream == stream, OUTBOX.c.seq <= last)
    return int((await connection.execute(gone)).rowcount)


async def droppable(engine: AsyncEngine, stream: str, after_seq: int, most: int) -> list[OutboxRow]:
    """Return up to `most` rows of class C of a stream after a number, that were not dropped yet, oldest first."""
    query = select(*_COLUMNS).where(
        OUTBOX.c.stream == stream,
        OUTBOX.c.seq > after_seq,
        OUTBOX.c["class"] == "C",
        OUTBOX.c.type.not_like(f"%{DROPPED}"),
    )
    async with engine.connect() as connection:
        return [OutboxRow(*row) for row in await connection.execute(query.order_by(OUTBOX.c.seq).limit(most))]


async def drop(connection: AsyncConnection, stream: str, facts: Sequence[tuple[int, bytes]]) -> None:
    """Let rows, given with their facts, keep their number and nothing else."""
    for seq, fact in facts:
        where = (OUTBOX.c.stream == stream, OUTBOX.c.seq == seq)
        values = {"type": stream + DROPPED, "correlation": "", "body": fact}
        await connection.execute(update(OUTBOX).where(*where).values(values))
