"""What a feed costs the daemon's own process: CPU for each object, and the longest that its event loop was held.

    python bench/feed_cost.py [--users 20000] [--via lines|items] [--profile PART]

One daemon's store, index and feed with nothing else in the process. Prints one JSON line: microseconds of CPU for
each object, by the whole process and by the thread of the event loop, for the parts of a first snapshot, a second
one in which every subscriber differs, and batches; and how many slices of the loop took how long, by its own CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import asyncio.events
import cProfile
import gc
import json
import pstats
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from feed import lines
from feed_server import item

from daemon.clock import SystemClock
from daemon.replica.index import Index
from daemon.replica.store import restore
from daemon.store.engine import open_engine
from daemon.store.migrate import migrate
from daemon.store.seal import Sealer
from daemon.store.writer import Writer
from daemon.sync.feed.feed import FeedOptions, ReplicaFeed, Surroundings
from daemon.sync.feed.feeds import Feeds
from daemon.sync.feed.model import Batch, Lines, Refused
from daemon.sync.load import unrenderable
from daemon.sync.owners import Owners
from radius.dictionary import shipped

_KEY = bytes(range(32))
_BOUNDS_MS = (0.25, 0.5, 1.0, 2.0, 5.0)


class Cost:
    """CPU of parts, and of slices of the event loop."""

    def __init__(self, profiled: str) -> None:
        self.parts: dict[str, dict[str, object]] = {}
        self._profiled = profiled
        self._slices: Counter[str] = Counter()
        self._longest = 0.0
        self._run = asyncio.events.Handle._run  # noqa: SLF001 - where all slices go through
        asyncio.events.Handle._run = self._timed()  # type: ignore[method-assign,assignment]  # noqa: SLF001

    def _timed(self) -> Callable[[asyncio.Handle], None]:
        run = self._run

        def timed(handle: asyncio.Handle) -> None:
            began = time.thread_time()
            run(handle)
            took_ms = (time.thread_time() - began) * 1000
            self._longest = max(self._longest, took_ms)
            for bound in _BOUNDS_MS:
                if took_ms <= bound:
                    self._slices[f"<={bound}"] += 1
                    return
            self._slices["more"] += 1

        return timed

    @asynccontextmanager
    async def part(self, name: str, objects: int) -> AsyncIterator[None]:
        """Count what is done meanwhile."""
        await asyncio.sleep(0)  # the slice that has prepared it is over
        self._slices.clear()
        self._longest = 0.0
        profile = cProfile.Profile() if name == self._profiled else None
        if profile is not None:
            profile.enable()
        process, thread, wall = time.process_time(), time.thread_time(), time.monotonic()
        yield
        process, thread = time.process_time() - process, time.thread_time() - thread
        wall = time.monotonic() - wall
        if profile is not None:
            profile.disable()
            pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(45)
        self.parts[name] = {
            "process_us": round(process / objects * 1e6, 1),
            "loop_us": round(thread / objects * 1e6, 1),
            "wall_us": round(wall / objects * 1e6, 1),
            "slices_ms": dict(sorted(self._slices.items())),
            "longest_ms": round(self._longest, 2),
        }


@asynccontextmanager
async def feed_in(directory: Path) -> AsyncIterator[ReplicaFeed]:
    """Run a feed on a store in a directory."""
    clock = SystemClock()
    engine = open_engine(directory / "edge.db", busy_timeout_s=5.0, wal_checkpoint_pages=1000)
    writer = Writer(engine, clock.monotonic, lambda _seconds, _durable: None)
    index = Index()
    around = Surroundings(
        index=index, engine=engine, writer=writer, key=_KEY, clock=clock, dictionary=shipped(),
        owners=Owners(), on_change=lambda _keys: None, unrenderable=unrenderable,
    )  # fmt: skip
    kinds = frozenset({"plan", "nas", "subscriber"})
    feeds = Feeds([FeedOptions(name="main", tenant="bench", kinds=kinds)], around)
    await migrate(engine)
    task = asyncio.create_task(writer.run())
    try:
        await feeds.restore(await restore(engine, index, Sealer(_KEY)))
        yield feeds.get("main")
    finally:
        await feeds.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.dispose()


async def snapshot(cost: Cost, feed: ReplicaFeed, users: int, number: int, via: str) -> None:
    """Read a snapshot of all subscribers, each other than in the one before."""
    staging = await feed.snapshot(f"e{number}", 1)
    pages = list(chunks(list(lines(users, number)), 500))
    if via == "items":
        given = [[item(line, 1) for line in page] for page in pages]
    else:
        raw = ["".join(f"{line}\n" for line in page).encode() for page in pages]
    async with cost.part(f"stage{number}", users):
        for place in range(len(pages)):
            if via == "items":
                await staging.add(given[place], str(place))
            else:
                await staging.add_lines(Lines(raw[place], 2, 1), str(place))
    async with cost.part(f"finish{number}", users):
        done = await staging.finish(None)
    if isinstance(done, Refused) or done.nacks:
        raise SystemExit(repr(done)[:500])


async def batches(cost: Cost, feed: ReplicaFeed, users: int) -> None:
    """Apply changes of all subscribers, a thousand at a time."""
    given = [[item(line, 0) for line in page] for page in chunks(list(lines(users, 9)), 1000)]
    async with cost.part("batches", users):
        for page in given:
            at = feed.position
            assert at is not None
            items = tuple(each._replace(rev=at.rev + 1 + place) for place, each in enumerate(page))
            to = at.rev + len(items)
            done = await feed.apply(
                Batch(feed="main", epoch=at.epoch, after=at.rev, to=to, head=to, items=items)
            )
            if isinstance(done, Refused) or done.nacks:
                raise SystemExit(repr(done)[:500])


def chunks(found: list[str], size: int) -> Iterator[list[str]]:
    """Yield a list in pieces."""
    for start in range(0, len(found), size):
        yield found[start : start + size]


async def measure(users: int, via: str, profiled: str) -> dict[str, object]:
    """Return what each part cost."""
    cost = Cost(profiled)
    gc.collect()  # as the daemon does
    gc.freeze()
    gc.set_threshold(10_000, 1000, 1000)
    with tempfile.TemporaryDirectory(prefix="feed-cost-") as name:
        async with feed_in(Path(name)) as feed:
            await snapshot(cost, feed, users, 1, via)
            await snapshot(cost, feed, users, 2, via)
            await batches(cost, feed, min(users, 20_000))
    return dict(cost.parts)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--via", choices=("lines", "items"), default="lines")
    parser.add_argument("--profile", default="", metavar="PART")
    given = parser.parse_args()
    print(json.dumps(asyncio.run(measure(given.users, given.via, given.profile))))


if __name__ == "__main__":
    main()
