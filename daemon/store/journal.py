"""The accounting journal: every record that we acknowledge, verbatim, in order, for ever numbered.

A record is the packet as it came (any attribute, any length), who sent it and whom we took it for. All records
of one group commit are one row: appending costs about what a bare log file costs, and there is one recovery
path. Sequence numbers are dense: they are given when the row is written, and a failed commit uses none up.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.errors import StoreUnavailable
from daemon.store.schema import JOURNAL
from daemon.store.writer import Writer

_HEAD = struct.Struct(">HdBBBB")
_PAGE = 200

Context = TypeVar("Context")


class Record(NamedTuple):
    """One acknowledged accounting packet. `at` is when it came, epoch seconds; `peer` as `radius.udp` has it."""

    at: float
    peer: bytes
    tenant: str
    nas: str
    subscriber: str  # empty where nobody was found
    octets: bytes


@dataclass(frozen=True, slots=True)
class Numbered:
    """A record as read back, with its sequence number."""

    seq: int
    record: Record


def pack(record: Record) -> bytes:
    """Return a record as it lies in a journal row; names above 255 octets are cut (they are ids of ours)."""
    tenant = record.tenant.encode()[:255]
    nas = record.nas.encode()[:255]
    subscriber = record.subscriber.encode()[:255]
    head = _HEAD.pack(len(record.octets), record.at, len(record.peer), len(tenant), len(nas), len(subscriber))
    return b"".join((head, record.peer, tenant, nas, subscriber, record.octets))


def unpack(records: bytes) -> list[Record]:
    """Return the records of one journal row."""
    out = []
    spot, end = 0, len(records)
    while spot < end:
        size, at, *lengths = _HEAD.unpack_from(records, spot)
        spot += _HEAD.size
        parts = []
        for length in (*lengths, size):
            parts.append(records[spot : spot + length])
            spot += length
        peer, tenant, nas, subscriber, octets = parts
        out.append(Record(at, peer, tenant.decode(), nas.decode(), subscriber.decode(), octets))
    return out


class Journal(Generic[Context]):
    """Appends records and tells `on_durable(first sequence number, their contexts)` when they are on disk.

    A context is whatever the caller wants back with the record. `on_lost` gets the contexts of records that
    could not be stored: they must not be acknowledged.
    """

    def __init__(
        self,
        writer: Writer,
        wall: Callable[[], float],
        on_durable: Callable[[int, list[Context]], None],
        on_lost: Callable[[list[Context], StoreUnavailable], None],
        *,
        max_batch: int,
        max_pending: int,
    ) -> None:
        self._writer = writer
        self._wall = wall
        self._on_durable = on_durable
        self._on_lost = on_lost
        self._max_batch = max_batch
        self._max_pending = max_pending
        self._packed: list[bytes] = []
        self._contexts: list[Context] = []
        self._writing: list[Context] = []
        self._row = b""
        self._queued = False
        self.last_seq = 0

    @property
    def pending(self) -> int:
        """How many records wait for the disk."""
        return len(self._contexts) + len(self._writing)

    def append(self, record: Record, context: Context) -> bool:
        """Take a record; False when too many wait already, then it is not taken."""
        if len(self._contexts) >= self._max_pending:
            return False
        self._packed.append(pack(record))
        self._contexts.append(context)
        if not self._queued:
            self._queued = True
            self._writer.add(self)
        return True

    async def write(self, connection: AsyncConnection) -> None:
        """Write what has gathered, as one row (called by the writer, also when it tries again)."""
        if not self._writing:
            self._take()
        await connection.execute(
            insert(JOURNAL),
            {
                "first_seq": self.last_seq + 1,
                "last_seq": self.last_seq + len(self._writing),
                "written_at": self._wall(),
                "records": self._row,
            },
        )

    def _take(self) -> None:
        size = self._max_batch
        self._row = b"".join(self._packed[:size])
        self._writing = self._contexts[:size]
        del self._packed[:size]
        del self._contexts[:size]

    def committed(self) -> None:
        """The row is durable: number its records and hand them on."""
        contexts, first = self._writing, self.last_seq + 1
        self.last_seq += len(contexts)
        self._next()
        self._on_durable(first, contexts)

    def failed(self, error: StoreUnavailable) -> None:
        """The row is not stored; its senders will ask again."""
        if not self._writing:  # the transaction did not even begin
            self._take()
        contexts = self._writing
        self._next()
        self._on_lost(contexts, error)

    def _next(self) -> None:
        self._writing = []
        self._queued = bool(self._contexts)
        if self._queued:
            self._writer.add(self)


async def read_last_seq(engine: AsyncEngine) -> int:
    """Return the highest sequence number given out, 0 for an empty journal."""
    async with engine.connect() as connection:
        return int((await connection.execute(select(func.max(JOURNAL.c.last_seq)))).scalar() or 0)


async def read(engine: AsyncEngine, after_seq: int = 0) -> AsyncIterator[list[Numbered]]:
    """Yield the records with a higher number than `after_seq`, in order, a row's worth at a time."""
    async with engine.connect() as connection:
        holding = select(func.max(JOURNAL.c.first_seq)).where(JOURNAL.c.first_seq <= after_seq + 1)
        start = int((await connection.execute(holding)).scalar() or 0)
    columns = select(JOURNAL.c.first_seq, JOURNAL.c.last_seq, JOURNAL.c.records)
    while True:
        async with engine.connect() as connection:
            page = columns.where(JOURNAL.c.first_seq >= start).order_by(JOURNAL.c.first_seq).limit(_PAGE)
            rows = (await connection.execute(page)).all()
        if not rows:
            return
        for row in rows:
            start = row.last_seq + 1
            if row.last_seq > after_seq:
                yield [
                    Numbered(seq, record)
                    for seq, record in enumerate(unpack(row.records), row.first_seq)
                    if seq > after_seq
                ]


async def seq_before(engine: AsyncEngine, written_after: float, most: int) -> int:
    """Return the number before the first record written after that time, going back at most `most` records."""
    columns = (
        select(JOURNAL.c.first_seq, JOURNAL.c.written_at).order_by(JOURNAL.c.first_seq.desc()).limit(_PAGE)
    )
    oldest = await read_last_seq(engine) + 1
    floor = max(1, oldest - most)
    async with engine.connect() as connection:
        while oldest > floor:
            rows = (await connection.execute(columns.where(JOURNAL.c.first_seq < oldest))).all()
            for row in rows:
                if row.written_at <= written_after:
                    return oldest - 1
                oldest = row.first_seq
            if not rows:
                break
    return max(0, oldest - 1)


async def prune(connection: AsyncConnection, written_before: float, through_seq: int) -> int:
    """Delete some of the oldest rows that are both old enough and applied; return how many went.

    Bounded work: called again while it returns more than 0.
    """
    columns = select(JOURNAL.c.first_seq, JOURNAL.c.last_seq, JOURNAL.c.written_at)
    rows = (await connection.execute(columns.order_by(JOURNAL.c.first_seq).limit(_PAGE))).all()
    newest = (await connection.execute(select(func.max(JOURNAL.c.first_seq)))).scalar()
    last = None
    for row in rows:
        if row.first_seq == newest:
            break  # it says which numbers are used up
        if row.written_at >= written_before or row.last_seq > through_seq:
            break
        last = row.first_seq
    if last is None:
        return 0
    result = await connection.execute(delete(JOURNAL).where(JOURNAL.c.first_seq <= last))
    return int(result.rowcount)
