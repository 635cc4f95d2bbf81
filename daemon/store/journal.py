"""The accounting journal: every record that we acknowledge, verbatim, in order, for ever numbered.

A record is the packet as it came (any attribute, any length), who sent it and whom we took it for. All records
of one group commit are one row: appending costs about what a bare log file costs, and there is one recovery
path. Sequence numbers are dense: they are given when the row is written, and a failed commit uses none up.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.errors import StoreUnavailable
from daemon.store.schema import JOURNAL
from daemon.store.writer import Writer

_HEAD = struct.Struct(">HdBBBB")
_HEAD_OCTETS = _HEAD.size
_PAGE = 200
_FIRST_ROWS = 4  # of a page: a row of a busy edge has hundreds of records

Context = TypeVar("Context")


class Record(NamedTuple):
    """One acknowledged accounting packet. `at` is when it came, epoch seconds; `peer` as `radius.udp` has it.

    One that had to give way (`elide`) has no octets, and nobody's names but the tenant's: it only has its number.
    """

    at: float
    peer: bytes
    tenant: str
    nas: str
    subscriber: str  # empty where nobody was found
    octets: bytes

    @property
    def elided(self) -> bool:
        """Whether a newer record says all that this one said, and only its number is left."""
        return not self.octets


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
    return [record for record, _ in entries(records)]


def entries(records: bytes, skip: int = 0) -> Iterator[tuple[Record, bytes]]:
    """Yield each record of a row but the first `skip`, and how it lies there."""
    begin, end = 0, len(records)
    while begin < end:
        size, at, of_peer, of_tenant, of_nas, of_subscriber = _HEAD.unpack_from(records, begin)
        peer = begin + _HEAD_OCTETS
        tenant = peer + of_peer
        nas = tenant + of_tenant
        subscriber = nas + of_nas
        octets = subscriber + of_subscriber
        after = octets + size
        if skip:
            skip -= 1
        else:
            record = Record(
                at,
                records[peer:tenant],
                records[tenant:nas].decode(),
                records[nas:subscriber].decode(),
                records[subscriber:octets].decode(),
                records[octets:after],
            )
            yield record, records[begin:after]
        begin = after


def fact_of(record: Record, packed: bytes | None = None) -> bytes:
    """Return the 32 octets that stand for a record in a chain of hashes; they outlive its eliding."""
    if record.elided:
        return record.peer
    return sha256(pack(record) if packed is None else packed).digest()


def elide(record: Record, packed: bytes | None = None) -> Record:
    """Return what is left of a record whose place is all that is needed of it."""
    return Record(record.at, fact_of(record, packed), record.tenant, "", "", b"")


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
        self.full = False  # there is no room on the disk: nothing more is taken
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
        """Take a record; False when too many wait already or the disk is full, then it is not taken."""
        if self.full or len(self._contexts) >= self._max_pending:
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
    newest = select(JOURNAL.c.last_seq).order_by(JOURNAL.c.first_seq.desc()).limit(1)
    async with engine.connect() as connection:
        return int((await connection.execute(newest)).scalar() or 0)


async def read(engine: AsyncEngine, after_seq: int = 0) -> AsyncIterator[list[Numbered]]:
    """Yield the records with a higher number than `after_seq`, in order, a row's worth at a time."""
    start = await _row_of(engine, after_seq + 1)
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


class Told(NamedTuple):
    """A record with its number and the octets that stand for it in a chain of hashes."""

    seq: int
    record: Record
    fact: bytes


class Row(NamedTuple):
    """A row of the journal: the records numbered `first_seq` to `last_seq`, as `entries` reads them."""

    first_seq: int
    last_seq: int
    records: bytes

    def skip(self, after_seq: int) -> int:
        """Return how many of its records are not after a number."""
        return max(0, after_seq + 1 - self.first_seq)


async def rows(engine: AsyncEngine, after_seq: int, most: int) -> list[Row]:
    """Return the rows with `most` records after a number, or all there are; the price does not depend on how many."""
    holding = select(JOURNAL.c.first_seq).where(JOURNAL.c.first_seq <= after_seq + 1)
    first = func.coalesce(holding.order_by(JOURNAL.c.first_seq.desc()).limit(1).scalar_subquery(), 0)
    columns = select(JOURNAL.c.first_seq, JOURNAL.c.last_seq, JOURNAL.c.records).order_by(JOURNAL.c.first_seq)
    found: list[Row] = []
    query, wanted = columns.where(JOURNAL.c.first_seq >= first).limit(_FIRST_ROWS), _FIRST_ROWS
    async with engine.connect() as connection:
        while True:
            fresh = [Row(*row) for row in (await connection.execute(query)).all()]
            found += [row for row in fresh if row.last_seq > after_seq]
            if (
                len(fresh) < wanted
                or sum(row.last_seq - max(after_seq, row.first_seq - 1) for row in found) >= most
            ):
                return found
            wanted = min(wanted * 2, _PAGE)
            query = columns.where(JOURNAL.c.first_seq > fresh[-1].first_seq).limit(wanted)


async def page(engine: AsyncEngine, after_seq: int, most: int) -> list[Told]:
    """Return up to `most` records after a number, in order."""
    found: list[Told] = []
    for row in await rows(engine, after_seq, most):
        skip = row.skip(after_seq)
        for seq, (record, packed) in enumerate(entries(row.records, skip), row.first_seq + skip):
            found.append(Told(seq, record, fact_of(record, packed)))
            if len(found) == most:
                return found
    return found


async def _row_of(engine: AsyncEngine, seq: int) -> int:
    """Return the first number of the row that holds `seq`, or of the last one before."""
    holding = select(JOURNAL.c.first_seq).where(JOURNAL.c.first_seq <= seq)
    async with engine.connect() as connection:
        newest = holding.order_by(JOURNAL.c.first_seq.desc()).limit(1)
        return int((await connection.execute(newest)).scalar() or 0)


async def elide_some(connection: AsyncConnection, seqs: Sequence[int]) -> tuple[int, int, int]:
    """Elide those of `seqs`, which are sorted, that lie in the row of the first of them.

    Returns the last number of that row, how many records were elided, and how many octets that saves. They must be
    applied to sessions: a start does not fold them in again.
    """
    holding = select(JOURNAL.c.first_seq).where(JOURNAL.c.first_seq <= seqs[0])
    newest = holding.order_by(JOURNAL.c.first_seq.desc()).limit(1).scalar_subquery()
    query = select(JOURNAL.c.first_seq, JOURNAL.c.last_seq, JOURNAL.c.records)
    row = (await connection.execute(query.where(JOURNAL.c.first_seq == newest))).first()
    if row is None or row.last_seq < seqs[0]:
        return seqs[0], 0, 0  # it was pruned
    these = frozenset(seqs[: bisect_right(seqs, row.last_seq)])
    parts, gone = [], 0
    for seq, (record, packed) in enumerate(entries(row.records), row.first_seq):
        if seq in these and not record.elided:
            gone += 1
            parts.append(pack(elide(record, packed)))
        else:
            parts.append(packed)
    records = b"".join(parts)
    if gone:
        mine = JOURNAL.c.first_seq == row.first_seq
        await connection.execute(update(JOURNAL).where(mine).values(records=records))
    return int(row.last_seq), gone, len(row.records) - len(records)
