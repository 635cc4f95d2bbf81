"""Everything between this edge and its platform, put together: feeds and their sources, the outbox and its sinks."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import cast

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa.assembly import RequestPath
from daemon.clock import Clock
from daemon.events import Events
from daemon.leases.retention import Retention
from daemon.replica.codec import KINDS
from daemon.replica.contact import AgePolicy
from daemon.replica.index import Index, Key
from daemon.replica.store import Unreadable
from daemon.store.writer import Writer
from daemon.sync.feed.feed import FeedOptions, ReplicaFeed, Surroundings
from daemon.sync.feed.feeds import Feeds
from daemon.sync.feed.intake import SCHEMA
from daemon.sync.feed.model import FeedSource, FeedStatus
from daemon.sync.feed.pull_options import PullOptions
from daemon.sync.feed.signing import Keys
from daemon.sync.feed.staleness import Staleness
from daemon.sync.feed.wire_answers import Hello
from daemon.sync.freeradius.sql_options import SqlOptions
from daemon.sync.load import unrenderable
from daemon.sync.outbox.model import OutboxSink, Stream
from daemon.sync.outbox.nats_sink import NatsOptions, NatsSink
from daemon.sync.outbox.outbox import Outbox, OutboxOptions
from daemon.sync.outbox.platform_sink import PlatformOptions, PlatformSink
from daemon.sync.outbox.radacct_engine import open_table_engine
from daemon.sync.outbox.radacct_sessions import SessionFinder
from daemon.sync.outbox.radacct_sink import RadacctOptions, RadacctSink
from daemon.sync.outbox.sources import sources_of
from daemon.sync.owners import Owners
from radius.dictionary import Dictionary


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPlan:
    """A feed with its source; None: it is pushed to us. `keys` are what it may be signed with."""

    feed: FeedOptions
    keys: Keys
    ages: AgePolicy
    source: PullOptions | SqlOptions | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePlan:
    """A radacct table; `url` is that of its database, with the driver."""

    options: RadacctOptions
    url: str = field(repr=False)


SinkPlan = PlatformOptions | NatsOptions | DatabasePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeOptions:
    """What the settings say of all of it; `database` is the file of our store."""

    edge: str
    version: str
    database: Path
    feeds: tuple[FeedPlan, ...] = ()
    sinks: tuple[SinkPlan, ...] = ()
    outbox: OutboxOptions = field(default_factory=OutboxOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The parts of the daemon that it stands on. `key` seals secrets; `leases` is the store of this node's leases."""

    index: Index
    engine: AsyncEngine
    writer: Writer
    clock: Clock
    events: Events
    dictionary: Dictionary
    path: RequestPath
    key: bytes = field(repr=False)
    leases: AsyncEngine
    book: str
    note: Callable[..., None]
    on_change: Callable[[Sequence[Key]], None]


class Exchange:
    """All of it. `restore` before anything is served, then run `tasks`."""

    def __init__(self, options: ExchangeOptions, house: House) -> None:
        """Raises ValueError for a feed or sink that cannot be as the settings have it; nothing is connected."""
        self._house = house
        self._tell = cast("Callable[..., object]", house.events.add)
        self._random = Random()  # noqa: S311 - spreads retries; nothing secret
        self.owners = Owners()
        self.feeds = Feeds([each.feed for each in options.feeds], self._surroundings())
        self.keys = {each.feed.name: each.keys for each in options.feeds}
        self.ages = {each.feed.name: each.ages for each in options.feeds}
        self.sources = {
            each.feed.name: self._source(self.feeds.get(each.feed.name), each, options)
            for each in options.feeds
        }
        self.staleness = Staleness(
            {name: (self.feeds.get(name), ages) for name, ages in self.ages.items()},
            house.index,
            house.clock,
            self._tell,
            house.on_change,
        )
        self.statuses: list[FeedStatus] = []  # as of the last `look`
        self._engines: list[AsyncEngine] = []
        self.sinks: list[OutboxSink] = [self._sink(each) for each in options.sinks]
        self.outbox = Outbox(
            options.edge,
            house.engine,
            house.writer,
            house.clock,
            sources_of(house.path, house.leases, house.book),
            self.sinks,
            self._tell,
            options.database,
            options.outbox,
        )
        house.path.keeper.acknowledged_through = self.outbox.acknowledged_accounting
        house.path.keeper.wanted_since = self._sessions_wanted_since
        house.events.listeners.append(self.outbox.devices.heard)

    def _surroundings(self) -> Surroundings:
        house = self._house
        return Surroundings(
            index=house.index,
            engine=house.engine,
            writer=house.writer,
            key=house.key,
            clock=house.clock,
            dictionary=house.dictionary,
            owners=self.owners,
            on_change=house.on_change,
            unrenderable=unrenderable,
        )

    def _source(self, feed: ReplicaFeed, plan: FeedPlan, options: ExchangeOptions) -> FeedSource | None:
        house, given = self._house, plan.source
        if isinstance(given, PullOptions):
            from daemon.sync.feed.pull import PullSource  # noqa: PLC0415 - httpx, where it is needed

            kinds = {kind: (SCHEMA, SCHEMA) for kind in KINDS if kind in plan.feed.kinds}
            hello = Hello(options.edge, options.version, secrets.token_hex(8), kinds)
            return PullSource(feed, given, hello, house.clock, self._random.random, self._tell, plan.keys)
        if isinstance(given, SqlOptions):
            from daemon.sync.freeradius.sql_source import SqlSource  # noqa: PLC0415 - only where it is used

            return SqlSource(feed, given, house.dictionary, house.clock, self._random.random)
        return None

    def _sink(self, plan: SinkPlan) -> OutboxSink:
        house = self._house
        if isinstance(plan, PlatformOptions):
            return PlatformSink(plan, house.clock.wall)
        if isinstance(plan, NatsOptions):
            return NatsSink(plan)
        engine = open_table_engine(plan.url)
        self._engines.append(engine)
        finder = SessionFinder(house.engine, house.path.sessions, house.index)
        return RadacctSink(plan.options, engine, house.engine, house.writer, finder, house.clock, house.note)

    async def restore(self, unreadable: Sequence[Unreadable]) -> None:
        """Take over what the store has of feeds and outbox. Raises StoreUnavailable."""
        await self.feeds.restore(unreadable)
        await self.outbox.open()

    def tasks(self) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
        """Return what is to run for ever, by name."""
        found: list[tuple[str, Callable[[], Awaitable[object]]]] = [*self.feeds.tasks(), *self.outbox.tasks()]
        found += [(source.name, source.run) for source in self.sources.values() if source is not None]
        for sink in self.sinks:
            if isinstance(sink, RadacctSink):
                found += sink.tasks()
        if self.ages:
            found.append(("staleness", self.staleness.run))
        return found

    def _sessions_wanted_since(self) -> float | None:
        """Return since when a radacct table has not had the sessions that ended, None where it has all of them."""
        tables = {sink.name: sink for sink in self.sinks if isinstance(sink, RadacctSink)}
        times = [
            each.oldest_at or 0.0  # not known yet: none may go
            for each in self.outbox.backlog()
            if each.sink in tables and each.stream is not Stream.AUTH_REJECTS and each.events
        ]
        times += [since for sink in tables.values() if (since := sink.waiting.since) is not None]
        return min(times, default=None)

    async def look(self) -> None:
        """Bring `statuses` up to date, for who cannot wait when it asks: a scrape."""
        self.statuses = await self.feeds.status()

    def guard(self, retention: Retention) -> None:
        """Let nothing of audit and leases be pruned that a sink has not acknowledged."""
        acknowledged = self.outbox.retention.acknowledged
        retention.audit_through = lambda: acknowledged(Stream.AUDIT)
        retention.leases_through = lambda: acknowledged(Stream.LEASES)

    def degraded(self) -> list[str]:
        """Return what is not well, a sentence each."""
        return [*self.feeds.degraded(), *self.outbox.degraded()]

    async def stop(self) -> None:
        """Store what is gathered in memory. Raises StoreUnavailable."""
        await self.outbox.flush()

    async def close(self) -> None:
        """Let go of connections and processes."""
        await self.feeds.close()
        for sink in self.sinks:
            if isinstance(sink, (PlatformSink, NatsSink)):
                await sink.close()
        for engine in self._engines:
            await engine.dispose()
