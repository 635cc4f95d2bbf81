"""A network that does everything wrong, and a platform that is compacted and restored: in the end both are equal."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from daemon.sync.feed.backoff import Backoff
from daemon.sync.feed.pull_options import PullState
from daemon.sync.feed.signing import Keys
from tests.daemon.sync_feeds.stage import FEED, feed_at, fill, line, options, running, same, source, until
from tests.twins.fault_proxy import Fault, FaultProxy
from tests.twins.platform import Platform

_STORMS = (Fault.S409, Fault.S410, Fault.S429, Fault.S503)


def write(platform: Platform, chance: random.Random) -> None:
    """Commit something that may happen."""
    what = chance.random()
    number = chance.randrange(120)
    name = f"S{number:05}"
    if what < 0.55:
        platform.put("subscriber", name, line(number, vlan_id=chance.randrange(1, 4000)))
    elif what < 0.85:
        platform.delete("subscriber", name)
    elif what < 0.95:
        platform.book.elsewhere(chance.randrange(4))
        platform.tell()
    elif what < 0.98:
        platform.book.compact(platform.book.rev - chance.randrange(10))
    else:
        backup = platform.book.backup()
        platform.put("subscriber", name, line(number, vlan_id=4001))
        platform.restore(backup)


@pytest.mark.parametrize("stream", [False, True], ids=["poll", "stream"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_the_network_does_both_sides_are_equal_in_the_end(
    tmp_path: Path, seed: int, stream: bool
) -> None:
    async def run() -> None:
        key = Ed25519PrivateKey.generate()
        keys = Keys({"k1": key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)}, required=True)
        platform = Platform(FEED, key=key, page_items=25, beat_s=0.1, reading_s=0.5)
        chance = random.Random(seed)
        fill(platform, 100)

        def jump(ahead_s: float) -> None:
            platform.clock_ahead_s = ahead_s

        async with (
            feed_at(tmp_path, keys=keys) as feed,
            platform.serving() as port,
            FaultProxy(port, seed=seed, odds=0.3, on_clock=jump, slow_s=0.2) as proxy,
        ):
            wanted = options(proxy.port, stream=stream, wait_s=0.2, digests_s=0.5, limit=5)
            pulled = source(feed, wanted, keys=keys, seed=seed)
            async with running(pulled):
                until_at = time.monotonic() + 5.0
                while time.monotonic() < until_at:
                    write(platform, chance)
                    await asyncio.sleep(chance.random() * 0.02)
                await same(feed, platform, 30.0)
                proxy.odds = 0.0
                await until(lambda: pulled.status.state is PullState.FOLLOWING and not pulled.status.failures)
                await same(feed, platform)
            assert len(proxy.done) > 5, proxy.done

    asyncio.run(run())


@pytest.mark.parametrize("stream", [False, True], ids=["poll", "stream"])
@pytest.mark.parametrize("fault", [each for each in Fault if each is not Fault.CLOCK])
def test_one_fault_is_got_over(tmp_path: Path, fault: Fault, stream: bool) -> None:
    async def run() -> None:
        platform = Platform(FEED, beat_s=0.1)
        fill(platform, 10)
        async with (
            feed_at(tmp_path) as feed,
            platform.serving() as port,
            FaultProxy(port, slow_s=0.3) as proxy,
        ):
            pulled = source(feed, options(proxy.port, stream=stream, wait_s=0.3))
            async with running(pulled):
                await same(feed, platform)
                proxy.order(fault, only="/changes")
                for number in range(5):
                    platform.put("subscriber", f"S{number:05}", line(number, vlan_id=7))
                    await asyncio.sleep(0.02)
                await until(lambda: proxy.done[fault])
                platform.put("subscriber", "last", line(4711))
                await same(feed, platform)
        assert pulled.status.snapshots == 1  # none of these is a reason to read everything again

    asyncio.run(run())


def test_a_storm_of_answers_that_are_not_so_costs_no_snapshot(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 10)
        async with feed_at(tmp_path) as feed, platform.serving() as port, FaultProxy(port) as proxy:
            pulled = source(feed, options(proxy.port, wait_s=0.1))
            async with running(pulled):
                await same(feed, platform)
                proxy.order(*_STORMS * 5, only="/changes")
                proxy.drop()
                await until(lambda: sum(proxy.done.values()) == 20)
                platform.put("subscriber", "last", line(4711))
                await same(feed, platform)
        assert platform.heard.requests["snapshot"] == 1

    asyncio.run(run())


def test_a_snapshot_over_a_bad_line_goes_on_page_by_page(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED, page_items=20)
        fill(platform, 200)
        faults = (Fault.CUT, Fault.LENGTH, Fault.TRUNCATE, Fault.REFUSE, Fault.S503)
        async with (
            feed_at(tmp_path) as feed,
            platform.serving() as port,
            FaultProxy(port, seed=4, odds=0.4, faults=faults) as proxy,
        ):
            pulled = source(feed, options(proxy.port))
            async with running(pulled):
                await same(feed, platform, 60.0)
        assert pulled.status.refused == {}
        # A first page that was lost was a snapshot of its own; of what went on there is one.
        assert sum(each.next_page > 1 for each in platform.readings.values()) == 1
        assert sum(proxy.done.values()) > 3

    asyncio.run(run())


def test_a_herd_that_comes_back_is_spread_and_snapshots_stay_limited(tmp_path: Path) -> None:
    """Many edges lose their platform in the same moment, and all need a snapshot when it is back."""
    count, most = 12, 2

    async def run() -> None:
        platform = Platform(FEED, most_snapshots=count, page_items=60)
        fill(platform, 100)
        at_once: list[int] = []

        def look(_page: int) -> None:
            now = time.monotonic()
            at_once.append(
                sum(now - each.touched < platform.reading_s for each in platform.readings.values())
            )

        async with AsyncExitStack() as stack:
            feeds = []
            async with feed_at(tmp_path):
                pass  # makes the tables, which takes longer than to copy them
            for number in range(count):
                place = tmp_path / str(number)
                place.mkdir()
                shutil.copy(tmp_path / "edge.db", place)
                feeds.append(await stack.enter_async_context(feed_at(place)))
            port = await stack.enter_async_context(platform.serving())
            wanted = options(port, {"answer_s": 10.0}, backoff=Backoff(0.3, 1.0))
            sources = [source(feed, wanted, seed=number) for number, feed in enumerate(feeds)]
            await stack.enter_async_context(running(*sources))
            await asyncio.gather(*(same(feed, platform, 60.0, 0.5) for feed in feeds))
            platform.on_page, platform.most_snapshots = look, most
            first, began = len(platform.heard.times), time.monotonic()
            platform.restore(platform.book.backup())  # another epoch: everyone has to read everything
            await asyncio.gather(*(same(feed, platform, 60.0, 0.5) for feed in feeds))
            took_s = time.monotonic() - began
            asked = [at - began for at, what in platform.heard.times[first:] if what == "snapshot"]
            assert max(at_once) <= most
            assert all(each.status.snapshots == 2 for each in sources)
            # What was sent away with Retry-After comes back spread: never all of them in the same tenth of a second.
            tenths = [
                sum(begin <= 10 * each < begin + 1 for each in asked)
                for begin in range(10, int(10 * took_s) + 1)
            ]
            assert max(tenths, default=0) < count
            assert len(asked) < 15 * count

    asyncio.run(run())
