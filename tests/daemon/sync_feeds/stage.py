"""Sources against the reference platform over real sockets, with times short enough for a test."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from daemon.clock import Clock, SystemClock
from daemon.replica.index import Index
from daemon.replica.store import restore
from daemon.store.engine import open_engine
from daemon.store.migrate import migrate
from daemon.store.seal import Sealer
from daemon.store.writer import Writer
from daemon.sync.feed.backoff import Backoff
from daemon.sync.feed.brake import BrakeOptions
from daemon.sync.feed.feed import FeedOptions, ReplicaFeed, Surroundings
from daemon.sync.feed.feeds import Feeds
from daemon.sync.feed.model import Feed
from daemon.sync.feed.pace import Pace
from daemon.sync.feed.pull import PullSource
from daemon.sync.feed.pull_options import LinkOptions, PullOptions
from daemon.sync.feed.signing import NO_KEYS, Keys
from daemon.sync.feed.wire_answers import Hello
from daemon.sync.owners import Owners
from radius.dictionary import Dictionary, shipped
from tests.twins.platform import Platform

FEED = "demo/pop7"
KEY = bytes(range(32))
KINDS = ("subscriber", "plan")
FREE = BrakeOptions(percent=100)
HELLO = Hello(edge="pop7", version="1.2.3", boot="b1", kinds={"subscriber": (1, 1), "plan": (1, 1)})

Told = list[tuple[str, dict[str, Any]]]


def line(number: int, **body: Any) -> dict[str, Any]:
    """Return a subscriber as a platform has it."""
    given = {
        "username": f"u{number}",
        "password": f"secret-of-{number}",
        "access_mode": "active",
        "plan": "home",
    }
    return given | body


@cache
def dictionary() -> Dictionary:
    """Return the dictionaries, which take a second to read, once."""
    return shipped()


@asynccontextmanager
async def feed_at(path: Path, *, name: str = FEED, **of: Any) -> AsyncIterator[ReplicaFeed]:
    """Run a feed on a store in `path`, as after a start of the daemon."""
    async with feeds_at(path, name=name, **of) as feeds:
        yield feeds.get(name)


@asynccontextmanager
async def feeds_at(
    path: Path,
    *,
    name: str = FEED,
    keys: Keys = NO_KEYS,
    brake: BrakeOptions = FREE,
    kinds: Iterable[str] = KINDS,
) -> AsyncIterator[Feeds]:
    """Run all feeds of the settings, which are one, on a store in `path`."""
    clock = SystemClock()
    engine = open_engine(path / "edge.db", busy_timeout_s=5.0, wal_checkpoint_pages=1000)
    writer = Writer(engine, clock.monotonic, lambda _seconds, _durable: None)
    index = Index()
    around = Surroundings(
        index=index,
        engine=engine,
        writer=writer,
        key=KEY,
        clock=clock,
        dictionary=dictionary(),
        owners=Owners(),
        on_change=lambda _keys: None,
        unrenderable=None,
    )
    feeds = Feeds(
        [FeedOptions(name=name, tenant="demo", kinds=frozenset(kinds), keys=keys, brake=brake, beside=False)],
        around,
    )
    await migrate(engine)
    task = asyncio.create_task(writer.run())
    try:
        await feeds.restore(await restore(engine, index, Sealer(KEY)))
        yield feeds
    finally:
        await feeds.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.dispose()


def served(feed: ReplicaFeed) -> set[str]:
    """Return the ids of the subscribers that are served."""
    known = feed._around.index.tenants.get("demo")
    return set() if known is None else set(known.subscribers)


def options(port: int, link: dict[str, Any] | None = None, **of: Any) -> PullOptions:
    """Return options for a platform on this machine."""
    linked: dict[str, Any] = {
        "url": f"http://127.0.0.1:{port}",
        "plain": True,
        "answer_s": 2.0,
        "pace": Pace(grace_s=0.5, least_octets_per_s=1000.0),
    }
    given: dict[str, Any] = {
        "wait_s": 1.0,
        "idle_s": 3.0,
        "ack_s": 0.05,
        "brake_pause_s": 0.05,
        "backoff": Backoff(0.02, 0.1),
    }
    return PullOptions(link=LinkOptions(**(linked | (link or {}))), **(given | of))


def source(
    feed: Feed,
    wanted: PullOptions,
    *,
    clock: Clock | None = None,
    told: Told | None = None,
    keys: Keys = NO_KEYS,
    seed: int = 1,
    **of: Any,
) -> PullSource:
    """Return a source; what it tells goes to `told`."""
    kept: Told = [] if told is None else told

    def tell(kind: str, /, *, tenant: str = "", reason: str = "", **fields: object) -> None:
        kept.append((kind, fields | {"tenant": tenant, "reason": reason}))

    chance = random.Random(seed)
    return PullSource(feed, wanted, HELLO, clock or SystemClock(), chance.random, tell, keys, **of)


@asynccontextmanager
async def running(*sources: PullSource) -> AsyncIterator[None]:
    """Run sources meanwhile; one that ends by itself fails the test."""
    tasks = [asyncio.create_task(each.run()) for each in sources]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def until(found: Callable[[], object], within_s: float = 30.0) -> None:
    """Wait for something to be so."""
    async with asyncio.timeout(within_s):
        while not found():
            await asyncio.sleep(0.01)


async def same(feed: Feed, platform: Platform, within_s: float = 40.0, every_s: float = 0.02) -> None:
    """Wait until a feed has what the platform has; digests say so."""
    async with asyncio.timeout(within_s):
        while True:
            position = feed.position
            if (
                position is not None
                and position.epoch == platform.book.epoch
                and (await feed.digests()).root == platform.root()
            ):
                return
            await asyncio.sleep(every_s)


def fill(platform: Platform, count: int) -> None:
    """Give a platform subscribers."""
    platform.book.put("plan", "home", {"download": "100M", "upload": "20M"})
    for number in range(count):
        platform.book.put("subscriber", f"S{number:05}", line(number))
    platform.tell()
