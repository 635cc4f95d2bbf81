"""The outbox put together: its streams, who carries them where, what is kept, what gives way on a full disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.aaa.rejects import REJECTS, Rejects
from daemon.aaa.report import Belief
from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.store import outbox_rows, size
from daemon.store.outbox_rows import NewEvent
from daemon.store.size import Room
from daemon.store.writer import Writer
from daemon.sync.outbox.devices import Devices
from daemon.sync.outbox.heads import Heads
from daemon.sync.outbox.logs import ROWS, AuditLog, LeaseLog, RowLog
from daemon.sync.outbox.logs_accounting import AccountingLog, ProfileOf, SessionOf
from daemon.sync.outbox.marks import Marks
from daemon.sync.outbox.model import Incarnation, Log, OutboxSink, Stream
from daemon.sync.outbox.pressure import Pressure, PressureOptions, Valves
from daemon.sync.outbox.retention import Retention
from daemon.sync.outbox.shipper import ShipOptions, Shipper, Tell
from daemon.sync.outbox.squeeze import Squeeze

_REJECTS_S = 5.0
_AT_ONCE = 500  # rows in a transaction
_SLICE = 25  # events that are written down in one go: half a millisecond
_LOOK_S = 30.0  # commits that nobody told of are seen so late at the most
_DAY_S = 86_400.0


class Mark(NamedTuple):
    """How far a sink has acknowledged a stream. `acked_seq` is a number of the log; `base_seq` and `incarnation`
    are the numbering in which this sink is told it: on the wire it is `acked_seq - base_seq`."""

    sink: str
    stream: Stream
    incarnation: str
    base_seq: int
    acked_seq: int
    hash: bytes
    acked_at: float


class Backlog(NamedTuple):
    """What a sink has yet to acknowledge of a stream: how many events, about how many octets, and since when.

    `oldest_at` is the epoch second of the first of them, None where there is none or it is not known yet.
    `failing` says why the last delivery did not go through, empty while all is well.
    """

    sink: str
    stream: Stream
    events: int
    octets: int
    oldest_at: float | None
    failing: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxOptions:
    """What the settings say. `keep_s` is how long events are kept after they were acknowledged."""

    keep_s: float = 7 * _DAY_S
    ship: ShipOptions = field(default_factory=ShipOptions)
    pressure: PressureOptions = field(default_factory=PressureOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the events come from, and what is needed to read them.

    `applied_seq` is how far the stored sessions have the journal. `accept` opens and shuts accounting; `spare` says
    whether what is acknowledged of the journal shall go early.
    """

    leases: AsyncEngine  # the store of leases: our own, or the one that nodes share
    book: str  # the name of this node in their history
    profile_of: ProfileOf
    session_of: SessionOf
    belief: Callable[[], Belief]
    applied_seq: Callable[[], int]
    accept: Callable[[bool], None]
    spare: Callable[[bool], None]
    rejects: Rejects


class Outbox:
    """All of it, wired. `open` before anything is served, then run `tasks`.

    `committed` is to be told of every commit of the writers, as `Writer` tells its `observe`; `devices.heard` is
    to be among the listeners of the daemon's events.
    """

    def __init__(
        self,
        edge: str,
        engine: AsyncEngine,
        writer: Writer,
        clock: Clock,
        sources: Sources,
        sinks: Sequence[OutboxSink],
        tell: Tell,
        database: Path,
        options: OutboxOptions,
        measure: Callable[[], Awaitable[Room | None]] | None = None,
        random: Random | None = None,
    ) -> None:
        """`tell` is `Events.add`; `measure` says how much room there is, where it is not the file at `database`."""
        self.edge = edge
        self._writer = writer
        self._clock = clock
        self._sources = sources
        self._sinks = sinks
        self._tell = tell
        self._database = database
        self._options = options
        self._random = random or Random()  # noqa: S311 - spreads retries; nothing secret
        logs: list[Log] = [RowLog(engine, stream) for stream in ROWS]
        logs += [
            AccountingLog(engine, sources.profile_of, sources.session_of, sources.belief),
            LeaseLog(sources.leases, sources.book),
            AuditLog(engine),
        ]
        self.logs: Mapping[Stream, Log] = {log.stream: log for log in logs}
        self.devices = Devices()
        self._marks = Marks(engine, writer, clock)
        self._flushing = asyncio.Lock()
        self._heads = Heads(self.logs, clock, options.ship.linger_s)
        self._squeeze = Squeeze(engine, writer, clock, sources.profile_of, sources.belief)
        carried = [(sink.name, stream) for sink in sinks for stream in sorted(sink.streams)]
        self.retention = Retention(writer, clock, self.logs, self._marks.rows, carried, options.keep_s)
        valves = Valves(
            sample=self._sample,
            accept=sources.accept,
            spare=self._spare,
            squeeze=self._make_room,
            drop=self._drop_oldest,
        )
        self.pressure = Pressure(clock, measure or self._measure, options.pressure, valves, tell)
        self._shippers: dict[tuple[str, Stream], Shipper] = {}

    async def open(self) -> None:
        """Make the streams' rows, read the marks. Before anything is served. Raises StoreUnavailable."""
        await self._marks.open(self.logs)
        await self._heads.look_at(foreign=False)  # a store that is away shall not keep us from starting
        for sink in self._sinks:
            for stream in sorted(sink.streams):
                mark = await self._marks.begin(sink.name, stream)
                self._shippers[sink.name, stream] = Shipper(
                    self.edge,
                    sink,
                    self.logs[stream],
                    self._heads,
                    self._marks,
                    mark,
                    self._clock,
                    self._random,
                    self._tell,
                    self._options.ship,
                )

    def committed(self, _seconds: float = 0.0, durable: bool = True) -> None:
        """Something was committed, perhaps to a stream."""
        if durable:
            self._heads.committed()

    def tasks(self) -> Sequence[tuple[str, Callable[[], Awaitable[None]]]]:
        """Return what is to run for ever, by name."""
        found: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("outbox-heads", self._heads.run),
            ("outbox-heads-leases", self._heads.run_foreign),
            ("outbox-gather", self._gather),
            ("outbox-retention", self.retention.run),
            ("outbox-retention-leases", self.retention.run_foreign),
            ("outbox-pressure", self.pressure.run),
        ]
        found += [(f"outbox-{name}-{stream}", each.run) for (name, stream), each in self._shippers.items()]
        return found

    async def _gather(self) -> None:
        """Store what is gathered in memory, for ever: refused logins and what happens to devices."""
        turns = 0
        while True:
            await self._clock.sleep(1.0)
            turns += 1
            with contextlib.suppress(StoreUnavailable):
                await self.flush(rejects=turns % _REJECTS_S == 0)
            if turns % _LOOK_S == 0:
                self._heads.committed()

    async def flush(self, *, rejects: bool = True) -> None:
        """Store what is gathered in memory. Raises StoreUnavailable; refused logins are lost then, events are not."""
        async with self._flushing:  # else two would store the same
            left = (
                len(self._sources.rejects) if rejects else 0
            )  # those that come meanwhile are for the next time
            while True:
                found = await self._found()
                refused, left = await self._refused(left, _AT_ONCE - len(found))
                await self._store(found, refused)
                if not left and len(found) < _AT_ONCE:
                    return

    async def _found(self) -> list[NewEvent]:
        """Return the oldest events of devices, as many as a transaction may have."""
        found: list[NewEvent] = []
        while len(found) < _AT_ONCE:
            some = self.devices.waiting(min(_SLICE, _AT_ONCE - len(found)), len(found))
            if not some:
                break
            found += some
            await asyncio.sleep(0)
        return found

    async def _refused(self, left: int, most: int) -> tuple[list[NewEvent], int]:
        """Return up to `most` events of refused logins, of the first `left`, and how many of those are left."""
        gathered, found = self._sources.rejects, list[NewEvent]()
        while left and len(found) < most:
            before = len(gathered)
            found += gathered.take(min(_SLICE, left, most - len(found)))
            left = max(0, left - (before - len(gathered)))
            await asyncio.sleep(0)
        return found, left

    async def _store(self, found: list[NewEvent], refused: list[NewEvent]) -> None:
        if not found and not refused:
            return

        async def save(connection: AsyncConnection) -> None:
            await outbox_rows.append(connection, Stream.DEVICES, found)
            await outbox_rows.append(connection, REJECTS, refused)

        try:
            await self._writer.commit(save)
        except StoreUnavailable:
            self._sources.rejects.dropped += len(refused)
            raise
        self.devices.stored(len(found))

    def incarnation(self, stream: Stream) -> Incarnation:
        """Return the numbering of a stream as the API tells it (a sink may still be in an older one: see `Mark`)."""
        return self._marks.streams[stream]

    def head(self, stream: Stream) -> int:
        """Return the highest number of a stream's log that is durable, as last seen; 0 for none. Reads nothing."""
        return self._heads.last(stream)

    async def wait(self, stream: Stream, after_seq: int, timeout_s: float) -> bool:
        """Return True as soon as a stream's log has more than `after_seq`, False when `timeout_s` is over first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._heads.last(stream) <= after_seq:
                    await self._heads.wait(stream, after_seq)
        return self._heads.last(stream) > after_seq

    def marks(self) -> list[Mark]:
        """Return how far every sink is with every stream that it carries."""
        return [Mark(name, stream, *self._marks.rows[name, stream][2:]) for name, stream in self._shippers]

    def backlog(self) -> list[Backlog]:
        """Return what is not acknowledged, by sink and stream."""
        found = []
        for (name, stream), each in self._shippers.items():
            events = max(0, self._heads.last(stream) - each.mark.acked_seq)
            octets = round(events * each.mean_octets)
            oldest = each.oldest_at if events else None
            found.append(Backlog(name, stream, events, octets, oldest, each.failing))
        return found

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many events gave way since the start, by class; of class B those that a newer one replaces."""
        return {
            "A": self.devices.dropped,
            "B": self._squeeze.elided,
            "C": self._squeeze.dropped + self._sources.rejects.dropped,
        }

    async def replay(self, sink: str, stream: Stream, from_seq: int, by: str) -> int:
        """Let a sink deliver again from a number of its wire on; return the first that it will.

        `by` is who asked, for the audit. Raises KeyError for no such sink or stream of it, ValueError for a number
        that was not acknowledged yet or is not kept any more (the text says which are).
        """
        return await self._shippers[sink, stream].replay(from_seq, by)

    def acknowledged_accounting(self) -> int | None:
        """Return up to where the journal may be pruned for all sinks; None where nobody is told of it."""
        return self.retention.acknowledged(Stream.ACCOUNTING)

    def degraded(self) -> list[str]:
        """Return what is not well, a sentence each."""
        said = self.pressure.degraded()
        for each in self.backlog():
            if each.failing:
                said.append(f"{each.stream} does not reach {each.sink}: {each.failing}")
        return said

    def _sample(self, one_in: int) -> None:
        self._sources.rejects.one_in = one_in

    def _spare(self, wanted: bool) -> None:
        self.retention.hurried = wanted
        self._sources.spare(wanted)

    async def _measure(self) -> Room | None:
        return await asyncio.to_thread(size.measure, self._database)

    async def _make_room(self, again: bool) -> bool:
        """Coalesce interims that nobody has acknowledged, of sessions that are stored; True where there is more."""
        if again:
            self._squeeze.again()
        await self._squeeze.interims(self._acked(Stream.ACCOUNTING), self._sources.applied_seq())
        return self._squeeze.more

    async def _drop_oldest(self) -> int:
        gone = 0
        for stream in ROWS:
            gone += await self._squeeze.drop_oldest(stream, self._acked(stream))
        return gone

    def _acked(self, stream: Stream) -> int:
        """Return up to where all sinks have acknowledged a stream, 0 where none carries it."""
        return self.retention.acknowledged(stream) or 0
