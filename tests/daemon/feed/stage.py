"""A feed on a real store, and a platform in memory that keeps a log as the protocol says."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.clock import Clock
from daemon.replica.codec import export
from daemon.replica.index import Index, Key
from daemon.replica.store import restore
from daemon.store.engine import open_engine
from daemon.store.migrate import migrate
from daemon.store.seal import Sealer
from daemon.store.writer import Writer
from daemon.sync.apply import Apply
from daemon.sync.feed.brake import USUAL, BrakeOptions
from daemon.sync.feed.digest import Buckets, bucket_of, object_digest, root_of
from daemon.sync.feed.feed import FeedOptions, ReplicaFeed, Surroundings
from daemon.sync.feed.feeds import Feeds
from daemon.sync.feed.model import Applied, Batch, Item, Op, Refused, Trailer
from daemon.sync.feed.signing import NO_KEYS, Keys
from daemon.sync.load import DataLoader, unrenderable
from daemon.sync.owners import Owners
from radius.dictionary import Dictionary, shipped
from tests.twins.clock import ClockTwin

KEY = bytes(range(32))
KINDS = frozenset({"plan", "nas", "subscriber", "pool", "selector"})
_dictionary: list[Dictionary] = []


def dictionary() -> Dictionary:
    """Return the dictionaries, which take a second to read, once."""
    if not _dictionary:
        _dictionary.append(shipped())
    return _dictionary[0]


def plan(**body: Any) -> dict[str, Any]:
    return {"download": "100M", "upload": "20M"} | body


def line(name: str, **body: Any) -> dict[str, Any]:
    return {"username": name, "password": f"secret-of-{name}", "access_mode": "active", "plan": "home"} | body


@dataclass
class Platform:
    """The platform: objects, a log of changes, revisions of which some concern others."""

    feed: str = "main"
    epoch: str = "e1"
    rev: int = 0
    least: int = 0
    objects: dict[tuple[str, str], tuple[int, int, Any]] = field(default_factory=dict)  # rev, schema, body
    log: list[Item] = field(default_factory=list)

    def put(self, kind: str, key: str, body: Any, schema: int = 1, min_reader: int = 1) -> None:
        self.rev += 1
        self.objects[kind, key] = (self.rev, schema, copy.deepcopy(body))
        self.log.append(Item(kind, key, self.rev, Op.PUT, body, schema, min_reader))

    def delete(self, kind: str, key: str) -> None:
        self.rev += 1
        self.objects.pop((kind, key), None)
        self.log.append(Item(kind, key, self.rev, Op.DELETE, None))

    def changes(self, after: int, limit: int = 1000) -> Batch:
        news = [each for each in self.log if each.rev > after]
        some = news[:limit]
        to = some[-1].rev if len(news) > limit else self.rev
        return self.batch(after, to, some)

    def batch(self, after: int, to: int, items: Iterable[Item]) -> Batch:
        return Batch(feed=self.feed, epoch=self.epoch, after=after, to=to, head=self.rev, items=tuple(items))

    def all(self) -> list[Item]:
        return [
            Item(kind, key, rev, Op.PUT, body, schema)
            for (kind, key), (rev, schema, body) in sorted(self.objects.items())
        ]

    def trailer(self) -> Trailer:
        counts: dict[str, int] = {}
        for kind, _ in self.objects:
            counts[kind] = counts.get(kind, 0) + 1
        return Trailer(counts=counts, digests=self.buckets())

    def buckets(self) -> tuple[bytes, ...]:
        buckets = Buckets()
        for (kind, key), (_, schema, body) in self.objects.items():
            buckets.toggle(bucket_of(kind, key), object_digest(kind, key, schema, body))
        return buckets.digests()

    def root(self) -> bytes:
        return root_of(self.buckets())


class Edge:
    """One run of an edge: its index, a feed and the loader of operators on one database."""

    def __init__(
        self,
        path: Path,
        clock: Clock | None = None,
        kinds: frozenset[str] = KINDS,
        brake: BrakeOptions = USUAL,
        keys: Keys = NO_KEYS,
        beside: bool = False,
        commits: Any = None,
        name: str = "main",
    ) -> None:
        self.clock = ClockTwin() if clock is None else clock
        self.engine = open_engine(path, busy_timeout_s=5.0, wal_checkpoint_pages=1000)
        self.writer = Writer(self.engine, self.clock.monotonic, lambda _seconds, _durable: None)
        if commits is not None:
            commits(self.writer)
        self.index = Index()
        self.told: list[Key] = []
        self.owners = Owners()
        self.around = Surroundings(
            index=self.index,
            engine=self.engine,
            writer=self.writer,
            key=KEY,
            clock=self.clock,
            dictionary=dictionary(),
            owners=self.owners,
            on_change=self.told.extend,
            unrenderable=unrenderable,
        )
        options = FeedOptions(name=name, tenant="demo", kinds=kinds, keys=keys, brake=brake, beside=beside)
        self.feeds = Feeds([options], self.around)
        self.apply = Apply(self.index, self.writer, Sealer(KEY), self.clock, self._changed, self.owners)
        self.loader = DataLoader(self.index, self.apply, dictionary())

    def _changed(self, keys: Sequence[Key]) -> None:
        self.told.extend(keys)
        self.feeds.noticed(keys)

    @property
    def feed(self) -> ReplicaFeed:
        return self.feeds.get("main")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Edge]:
        await migrate(self.engine)
        task = asyncio.create_task(self.writer.run())
        try:
            await self.feeds.restore(await restore(self.engine, self.index, Sealer(KEY)))
            yield self
        finally:
            await self.feeds.close()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.engine.dispose()

    def records(self) -> dict[tuple[str, str], Any]:
        """Return what is served, as data files have it."""
        said = [export(each, secrets=True) for each in self.index.records()]
        return {(each["kind"], each["id"]): each["body"] for each in said if each["kind"] != "tenant"}

    async def load(self, platform: Platform, page: int = 1000) -> Applied | Refused:
        """Read a snapshot of a platform that stands still."""
        staging = await self.feed.snapshot(platform.epoch, platform.rev)
        items = platform.all()
        for start in range(0, len(items), page):
            await staging.add(items[start : start + page], str(start + page))
        return await staging.finish(platform.trailer())

    async def follow(self, platform: Platform) -> Applied | Refused:
        """Read the changes since our position."""
        position = self.feed.position
        assert position is not None
        return await self.feed.apply(platform.changes(position.rev))

    async def tidy(self) -> None:
        while await self.feed.tidy():
            pass


def served(platform: Platform, edge: Edge) -> bool:
    """Tell whether an edge serves what the platform has, by user names."""
    wanted = {key for kind, key in platform.objects if kind == "subscriber"}
    known = edge.index.tenants["demo"].subscribers
    return wanted == set(known)


__all__ = ["Edge", "Platform", "line", "plan", "served"]
