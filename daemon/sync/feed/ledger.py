"""What a feed has on disk, and in memory in step with it: its state, how many objects, the digests of its buckets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.clock import Clock
from daemon.store import feed_rows
from daemon.store.feed_rows import FeedRow, Known, NackRow, ObjectRow, Place, full_row
from daemon.store.writer import Writer
from daemon.sync.feed.digest import Buckets
from daemon.sync.feed.slices import Slices, give_way
from daemon.sync.feed.state import State, of_row, to_row

_CONTACT_S = 10.0  # how old a stored contact may be

_Name = tuple[str, str]  # kind, id


@dataclass(frozen=True, slots=True)
class Change:
    """Rows that change together; of each object that is named, what was stored before, and in which bucket it is."""

    known: Mapping[_Name, Known]
    buckets: Mapping[_Name, int] = field(default_factory=dict)
    puts: Sequence[ObjectRow] = ()
    nacks: Sequence[NackRow] = ()
    gone: Sequence[_Name] = ()


@dataclass(slots=True)
class Counts:
    """Objects of each kind, and those that are refused."""

    objects: dict[str, int] = field(default_factory=dict)
    nacks: dict[str, int] = field(default_factory=dict)


class Ledger:
    """The rows of one feed; all that changes them goes through here, and memory follows once it is durable."""

    def __init__(self, name: str, tenant: str, engine: AsyncEngine, writer: Writer, clock: Clock) -> None:
        self.name = name
        self.tenant = tenant
        self.engine = engine
        self.writer = writer
        self.clock = clock
        self.turn = (
            asyncio.Lock()
        )  # held by whoever changes rows of the feed, from looking to having changed them
        self.state = State()
        self.counts = Counts()
        self.waiting = 0  # refused objects that are tried again when others have changed
        self.contact_at: float | None = None
        self._contact_stored_at = 0.0
        self._buckets: Buckets | None = None

    @property
    def place(self) -> Place:
        """The generation that is served."""
        return Place(self.name, self.state.generation, self.tenant)

    def at(self, generation: int) -> Place:
        """Return the place of a generation."""
        return Place(self.name, generation, self.tenant)

    async def restore(self, row: FeedRow | None) -> None:
        """Take over what is stored; a feed that is new gets its row. Raises StoreUnavailable."""
        if row is None:
            await self.save(self.state)
        else:
            self.state, self.contact_at = of_row(row), row.contact_at
        await self.recount()

    async def recount(self) -> None:
        """Count the objects that are served anew; digests are made anew when they are asked for."""
        self.counts = Counts(*await feed_rows.count(self.engine, self.place))
        self.waiting = await feed_rows.count_waiting(self.engine, self.place)
        self._buckets = None

    def take_buckets(self, buckets: Buckets) -> None:
        """Take digests that somebody else has made of what is served."""
        self._buckets = buckets

    async def buckets(self) -> Buckets:
        """Return the digests of what has come; from the rows at the first time, then kept up."""
        if self._buckets is None:
            buckets = Buckets()
            slices = Slices(self.clock.monotonic)
            async for bucket, digest in feed_rows.digests(self.engine, self.place):
                buckets.toggle(bucket, digest)
                if slices.due():
                    await slices.give_way()
            self._buckets = buckets
        return self._buckets

    async def save(self, state: State) -> None:
        """Store another state. Raises StoreUnavailable."""
        await self.commit(state, Change({}), self.place)

    async def commit(self, state: State, change: Change, place: Place) -> None:
        """Make a state and rows of a generation durable, in one transaction. Raises StoreUnavailable."""
        at = self.clock.wall()
        row = to_row(self.name, self.tenant, state, self.contact_at)
        puts = [full_row(place, each, at) for each in change.puts]
        if puts:
            await give_way()

        async def write(connection: AsyncConnection) -> None:
            await feed_rows.delete_objects(connection, place, change.gone)
            cleared = [(each.kind, each.id) for each in change.puts if _nacked(change, each)]
            await feed_rows.delete_objects(connection, place, cleared, nacks_only=True)
            await feed_rows.save_objects(connection, puts)
            await feed_rows.save_nacks(connection, place, change.nacks)
            await feed_rows.save_feed(connection, row)

        await self.writer.commit(write)
        self._contact_stored_at = self.clock.monotonic()
        self.state = replace(state, head=self.state.head, skew_s=self.state.skew_s)
        if place == self.place:
            slices = Slices(self.clock.monotonic)
            for _ in self._follow(change):
                if slices.due():
                    await slices.give_way()

    def _follow(self, change: Change) -> Iterator[None]:
        """Bring counts and digests to what is stored now; a pause after each object."""
        for kind, key in change.gone:
            self._swap(kind, change.known.get((kind, key)), None)
            self._toggle(change, kind, key, b"")
            yield
        for put in change.puts:
            self._swap(put.kind, change.known.get((put.kind, put.id)), Known(put.digest, None))
            self._toggle(change, put.kind, put.id, put.digest)
            yield
        for nack in change.nacks:
            old = change.known.get((nack.kind, nack.id))
            self._swap(nack.kind, old, Known(old.object if old else None, nack.digest))
            self._toggle(change, nack.kind, nack.id, nack.digest)
            yield

    def _swap(self, kind: str, old: Known | None, new: Known | None) -> None:
        for counts, place in ((self.counts.objects, 0), (self.counts.nacks, 1)):
            before = old is not None and old[place] is not None
            after = new is not None and new[place] is not None
            counts[kind] = counts.get(kind, 0) + after - before

    def _toggle(self, change: Change, kind: str, key: str, digest: bytes) -> None:
        if self._buckets is None:
            return
        bucket = change.buckets[kind, key]
        self._buckets.toggle(bucket, _came(change.known.get((kind, key))))
        self._buckets.toggle(bucket, digest)

    async def contact(self, at: float) -> None:
        """Note that the platform was heard of; stored now and then, and with everything else."""
        first, self.contact_at = self.contact_at is None, at
        if first or self.clock.monotonic() - self._contact_stored_at >= _CONTACT_S:
            self._contact_stored_at = self.clock.monotonic()
            await self.writer.commit(lambda connection: feed_rows.touch(connection, self.name, at))

    def heard(self, head: int | None, skew_s: float | None) -> None:
        """Note what the platform said of itself; stored with the next state."""
        self.state = replace(
            self.state,
            head=self.state.head if head is None else head,
            skew_s=self.state.skew_s if skew_s is None else skew_s,
        )


def _came(known: Known | None) -> bytes:
    """Return the digest of what has come of an object: of what is refused, where something is."""
    if known is None:
        return b""
    return (known.object or b"") if known.nack is None else known.nack


def _nacked(change: Change, put: ObjectRow) -> bool:
    known = change.known.get((put.kind, put.id))
    return known is not None and known.nack is not None
