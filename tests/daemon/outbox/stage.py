"""An outbox on a real store, and a receiver that keeps the exactly-once rule."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from hashlib import sha256
from random import Random
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.aaa.rejects import Rejects
from daemon.aaa.report import Belief
from daemon.aaa.session import Report
from daemon.store import outbox_rows
from daemon.store.outbox_rows import NewEvent
from daemon.store.size import Room
from daemon.sync.outbox.model import Acked, Delivery, Diverged, Expected, Receipt, Stream
from daemon.sync.outbox.outbox import Outbox, OutboxOptions, Sources
from daemon.sync.outbox.pressure import Level
from radius import vendors
from radius.vendors.base import VendorProfile
from tests.daemon.outbox.conftest import PlacedStore as Store
from tests.daemon.stack import T0, Stack
from tests.twins.clock import ClockTwin

Value = TypeVar("Value")

BELIEF = Belief(skew_s=300.0, delay_s=86_400.0)


class Receiver:
    """A sink that is its own receiver: highest number and effects change together, as in one transaction.

    `answers` are given instead of delivering, the first first; `lose_answers` loses that many after the effect.
    """

    def __init__(self, streams: Iterable[Stream] = Stream, name: str = "platform") -> None:
        self.name = name
        self.streams = frozenset(streams)
        self.portions = 1
        self.marks: dict[tuple[Stream, str], tuple[int, bytes]] = {}
        self.events: dict[tuple[Stream, str, int], Any] = {}
        self.answers: list[Receipt] = []
        self.lose_answers = 0
        self.deliveries: list[Delivery] = []

    async def deliver(self, delivery: Delivery) -> Receipt:
        await asyncio.sleep(0)
        self.deliveries.append(delivery)
        if self.answers:
            return self.answers.pop(0)
        receipt = self.take(delivery)
        if self.lose_answers:
            self.lose_answers -= 1
            raise ConnectionResetError("lost after the effect")
        return receipt

    def take(self, delivery: Delivery) -> Receipt:
        """The rule of the receiver."""
        key = delivery.stream, delivery.incarnation
        acked, held = self.marks.get(key, (0, bytes(32)))
        assert [each.seq for each in delivery.events] == list(
            range(delivery.events[0].seq, delivery.events[0].seq + len(delivery.events))
        )
        if delivery.last < acked:
            return Acked(acked)
        if delivery.last == acked:
            return Acked(acked) if delivery.hash == held else Diverged("another hash")
        if delivery.first != acked + 1:
            return Expected(acked + 1)
        if delivery.before_hash != held:
            return Diverged("another hash before")
        for number, event in enumerate(delivery.events, delivery.first):
            held = sha256(held + event.fact).digest()
            assert (*key, number) not in self.events, "no effect comes about twice"
            self.events[(*key, number)] = event
        assert held == delivery.hash
        self.marks[key] = delivery.last, held
        return Acked(delivery.last)

    def image(self) -> tuple[Any, Any]:
        return dict(self.marks), dict(self.events)

    def restore(self, image: tuple[Any, Any]) -> None:
        self.marks, self.events = dict(image[0]), dict(image[1])

    def of(self, stream: Stream) -> list[Any]:
        """Return the events of a stream in the order of their log."""
        return sorted(
            (event for key, event in self.events.items() if key[0] is stream), key=lambda each: each.seq
        )


def sources(store: Store, stack: Stack | None = None, **more: Any) -> Sources:
    standard = vendors.find("mikrotik")
    assert standard is not None

    def profile_of(_tenant: str, _nas: str) -> VendorProfile:
        return standard

    def session_of(report: Report) -> int | None:
        found = None if stack is None else stack.sessions.find(report)
        return None if found is None else found.uid

    base: dict[str, Any] = {
        "leases": store.engine,
        "book": "edge",
        "profile_of": profile_of,
        "session_of": session_of,
        "belief": lambda: BELIEF,
        "applied_seq": lambda: 0,
        "accept": lambda _taken: None,
        "spare": lambda _wanted: None,
        "rejects": Rejects(),
    }
    return Sources(**(base | more))


class Stage:
    """An outbox with its tasks."""

    def __init__(self, store: Store, *sinks: Any, options: OutboxOptions | None = None, **more: Any) -> None:
        self.store = store
        self.clock = ClockTwin(T0)
        self.told: list[tuple[str, dict[str, object]]] = []
        self.room = Room(0, 1 << 40)
        stack = more.pop("stack", None)
        self.outbox = Outbox(
            "pop7",
            store.engine,
            store.writer,
            self.clock,
            sources(store, stack, **more),
            sinks,
            lambda kind, /, **fields: self.told.append((kind, fields)),
            store.path,
            options or OutboxOptions(),
            self.measure,
            Random(7),
        )

    async def measure(self) -> Room:
        return self.room

    async def through(self, work: Coroutine[Any, Any, Value]) -> Value:
        """Run something to its end; time passes while it sleeps."""
        task = asyncio.ensure_future(work)
        async with asyncio.timeout(30):
            while not task.done():
                if self.clock.sleepers:
                    await self.clock.advance(0.01)
                await asyncio.sleep(0.0005)
        return task.result()

    async def pressed(self, used_octets: int, free_octets: int = 1_000) -> Level:
        """Return the level that such a room leads to, once what it asks for is done."""
        self.room = Room(used_octets, free_octets)
        return await self.through(self.outbox.pressure.turn())

    async def drain(self, stream: Stream, sink: str = "platform") -> None:
        """Deliver until there is nothing left."""
        await self.outbox._heads.look()
        shipper = self.outbox._shippers[sink, stream]
        async with asyncio.timeout(60):
            while True:
                turn = asyncio.ensure_future(shipper.turn())
                while not turn.done():
                    if self.clock.sleepers:
                        await self.clock.advance(60.0)
                    await asyncio.sleep(0.001)
                with contextlib.suppress(ConnectionResetError):
                    if not turn.result():
                        return


@asynccontextmanager
async def stage(store: Store, *sinks: Any, **more: Any) -> AsyncIterator[Stage]:
    found = Stage(store, *sinks, **more)
    await found.outbox.open()
    yield found


def new(number: int, kind: str = "device.nas-silent", urgency: str = "A") -> NewEvent:
    return NewEvent(T0 + number, kind, urgency, "demo", f"c{number}", b'{"n":%d}' % number)


async def append(store: Store, stream: Stream, *events: NewEvent) -> None:
    async def save(connection: AsyncConnection) -> None:
        await outbox_rows.append(connection, stream, events)

    await store.writer.commit(save)
