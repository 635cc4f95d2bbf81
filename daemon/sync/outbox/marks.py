"""How far every sink has acknowledged every stream: kept in memory and on disk, with hashes to replay from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from hashlib import sha256

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.clock import Clock
from daemon.store import audit_rows, outbox_pages, outbox_rows
from daemon.store.audit_rows import Entry
from daemon.store.outbox_pages import MarkRow
from daemon.store.outbox_rows import new_incarnation
from daemon.store.writer import Writer
from daemon.sync.outbox.model import Event, Incarnation, Log, Stream

GENESIS = bytes(32)
"""The hash before the first event of an incarnation."""
_PAGE = 500
_SLICE = 200  # hashes made in one go: a quarter of a millisecond
ACTOR = "outbox"


def chain(before: bytes, events: Iterable[Event]) -> bytes:
    """Return the hash of the chain after events that follow a hash."""
    for event in events:
        before = sha256(before + event.fact).digest()
    return before


async def links(before: bytes, events: Sequence[Event]) -> list[bytes]:
    """Return the hash of the chain after each event that follows a hash; others have their turns meanwhile."""
    found = []
    for number, event in enumerate(events, 1):
        before = sha256(before + event.fact).digest()
        found.append(before)
        if number % _SLICE == 0:
            await asyncio.sleep(0)
    return found


class Marks:
    """The marks of all sinks. Only the shipper of a sink and stream moves its mark."""

    def __init__(self, engine: AsyncEngine, writer: Writer, clock: Clock) -> None:
        self._engine = engine
        self._writer = writer
        self._clock = clock
        self.rows: dict[tuple[str, Stream], MarkRow] = {}
        self.streams: dict[Stream, Incarnation] = {}

    async def open(self, streams: Iterable[Stream]) -> None:
        """Read what is on disk, and make the rows of streams that have none. Raises StoreUnavailable."""
        wanted = list(streams)

        async def make(connection: AsyncConnection) -> None:
            for stream in wanted:
                await outbox_rows.open_stream(connection, stream, new_incarnation())

        await self._writer.commit(make)
        for row in await outbox_pages.streams(self._engine):
            if row.stream in wanted:
                self.streams[Stream(row.stream)] = Incarnation(row.incarnation, row.base_seq)
        for mark in await outbox_pages.marks(self._engine):
            if mark.stream in wanted:
                self.rows[mark.sink, Stream(mark.stream)] = mark

    async def begin(self, sink: str, stream: Stream) -> MarkRow:
        """Return the mark of a sink, made where it carries a stream for the first time."""
        held = self.rows.get((sink, stream))
        if held is not None:
            return held
        name, base = self.streams[stream]
        row = MarkRow(sink, stream.value, name, base, base, GENESIS, 0.0)
        await self._save(row, keep=False)
        return row

    async def acked(self, row: MarkRow, *, keep: bool) -> MarkRow:
        """Make it durable how far a sink is; `keep` its hash to replay from. Raises StoreUnavailable."""
        row = row._replace(acked_at=self._clock.wall())
        await self._save(row, keep=keep)
        return row

    async def _save(self, row: MarkRow, *, keep: bool) -> None:
        async def save(connection: AsyncConnection) -> None:
            await outbox_pages.save_mark(connection, row)
            if keep:
                await outbox_pages.save_hash(connection, row)

        await self._writer.commit(save)
        self.rows[row.sink, Stream(row.stream)] = row

    async def moved(self, row: MarkRow, action: str, why: str, by: str = ACTOR) -> None:
        """Move a mark for another reason than an acknowledgement, and note who did and why in the audit."""
        entry = Entry(self._clock.wall(), by, action, "", f"{row.sink}/{row.stream}", why, str(row.acked_seq))

        async def save(connection: AsyncConnection) -> None:
            await outbox_pages.save_mark(connection, row)
            await audit_rows.save(connection, entry)

        await self._writer.commit(save)
        self.rows[row.sink, Stream(row.stream)] = row

    async def anew(self, row: MarkRow, base_seq: int, why: str) -> MarkRow:
        """Begin another numbering for a sink after a number of the log; return its mark.

        The stream as others read it begins anew as well, unless that has happened since the old numbering began.
        """
        stream = Stream(row.stream)
        fresh = row._replace(
            incarnation=new_incarnation(), base_seq=base_seq, acked_seq=base_seq, hash=GENESIS
        )
        of_all = self.streams[stream].name == row.incarnation
        entry = Entry(
            self._clock.wall(),
            ACTOR,
            "outbox.incarnation",
            "",
            f"{row.sink}/{row.stream}",
            why,
            fresh.incarnation,
        )

        async def save(connection: AsyncConnection) -> None:
            await outbox_pages.save_mark(connection, fresh)
            if of_all:
                await outbox_pages.begin(connection, row.stream, fresh.incarnation, base_seq)
            await audit_rows.save(connection, entry)

        await self._writer.commit(save)
        self.rows[row.sink, stream] = fresh
        if of_all:
            self.streams[stream] = Incarnation(fresh.incarnation, base_seq)
        return fresh

    async def hash_at(self, row: MarkRow, log: Log, seq: int) -> bytes | None:
        """Return the hash of a sink's chain at a number of the log up to its mark; None where it is not kept."""
        if seq == row.acked_seq:
            return row.hash
        kept = await outbox_pages.hash_before(self._engine, row, seq)
        at, held = (row.base_seq, GENESIS) if kept is None else kept
        return await follow(log, at, held, seq)


async def follow(log: Log, at: int, before: bytes, until: int) -> bytes | None:
    """Return the hash at number `until` of a chain that has `before` at `at`; None where events are missing."""
    while at < until:
        events = await log.read(at, min(_PAGE, until - at))
        if not events or events[0].seq != at + 1:
            return None
        before = chain(before, events)
        at = events[-1].seq
    return before
