"""The edge dials out: snapshot, changes by poll and stream, acknowledgements, digests, epochs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from daemon.sync.feed.model import Position
from daemon.sync.feed.pull_options import PullState, Skew
from tests.daemon.sync_feeds.stage import (
    FEED,
    Told,
    feed_at,
    fill,
    line,
    options,
    running,
    same,
    served,
    source,
    until,
)
from tests.twins.platform import Platform

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["poll", "stream"])


@STREAM
def test_a_snapshot_is_read_and_changes_are_followed(tmp_path: Path, stream: bool) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 250)
        async with feed_at(tmp_path) as feed, platform.serving() as port:
            pulled = source(feed, options(port, stream=stream))
            async with running(pulled):
                await same(feed, platform)
                assert (pulled.status.snapshots, pulled.status.pages, pulled.status.items) == (1, 3, 251)
                for number in range(40):
                    platform.put("plan", f"p{number}", {"download": "1M", "upload": f"{number + 1}M"})
                    platform.book.elsewhere(number % 3)
                    platform.delete("subscriber", f"S{number:05}")
                    await asyncio.sleep(0.001)
                await same(feed, platform)
                await until(lambda: feed.position == Position(platform.book.epoch, platform.book.rev))
                assert pulled.status.state is PullState.FOLLOWING
                status = await feed.status()
                assert status.head == platform.book.rev
                assert status.contact_at is not None
        assert pulled.status.snapshots == 1
        assert pulled.status.state is PullState.STOPPED

    asyncio.run(run())


def test_writes_go_on_while_a_snapshot_is_read(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED, page_items=20)
        fill(platform, 200)

        def write(page: int) -> None:
            platform.put("subscriber", f"S{page * 20:05}", line(page * 20, vlan_id=7))
            platform.delete("subscriber", f"S{page * 20 + 30:05}")
            platform.put("subscriber", f"T{page}", line(9000 + page))

        platform.on_page = write
        async with (
            feed_at(tmp_path) as feed,
            platform.serving() as port,
            running(source(feed, options(port))),
        ):
            await same(feed, platform)

    asyncio.run(run())


def test_it_is_acknowledged_how_far_and_with_which_refusals(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 5)
        async with (
            feed_at(tmp_path) as feed,
            platform.serving() as port,
            running(source(feed, options(port))),
        ):
            await same(feed, platform)
            platform.put("subscriber", "S00001", line(1, access_mode="maybe"))
            await until(lambda: platform.heard.nacks)
            await until(lambda: platform.heard.acks[-1]["applied_rev"] == platform.book.rev)
        said = platform.heard.acks[-1]
        assert said["epoch"] == platform.book.epoch
        assert said["digest_root"] == platform.root().hex()
        assert [(each["kind"], each["id"], each["code"]) for each in said["nacks"]] == [
            ("subscriber", "S00001", "unknown-word")
        ]
        assert platform.heard.hellos[0]["feeds"] == {FEED: None}

    asyncio.run(run())


@STREAM
def test_after_compaction_a_snapshot_replaces_what_was_missed_and_the_old_serves_meanwhile(
    tmp_path: Path, stream: bool
) -> None:
    async def run() -> None:
        platform = Platform(FEED, page_items=10)
        fill(platform, 50)
        async with feed_at(tmp_path) as feed, platform.serving() as port:
            async with running(source(feed, options(port, stream=stream))):
                await same(feed, platform)
            for number in range(20):
                platform.delete("subscriber", f"S{number:05}")
            platform.book.compact()
            counts: list[int] = []
            platform.on_page = lambda _page: counts.append(len(served(feed)))
            async with running(source(feed, options(port, stream=stream))):
                await same(feed, platform)
        assert set(counts) == {50}
        assert platform.heard.requests["snapshot"] == 6 + 4

    asyncio.run(run())


@STREAM
def test_a_platform_that_was_restored_has_another_epoch_and_is_read_anew(
    tmp_path: Path, stream: bool
) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 30)
        backup = platform.book.backup()
        async with (
            feed_at(tmp_path) as feed,
            platform.serving() as port,
            running(source(feed, options(port, stream=stream))),
        ):
            await same(feed, platform)
            platform.put("plan", "gone-after-the-restore", {"download": "1M", "upload": "1M"})
            await same(feed, platform)
            platform.restore(backup)
            platform.put("plan", "another", {"download": "1M", "upload": "1M"})
            await same(feed, platform)
            assert {each.kind: each.objects for each in (await feed.status()).kinds}["plan"] == 2

    asyncio.run(run())


def test_only_the_buckets_that_differ_are_read_again(tmp_path: Path) -> None:
    async def run() -> None:
        platform, told = Platform(FEED), Told()
        fill(platform, 300)
        async with feed_at(tmp_path) as feed, platform.serving() as port:
            pulled = source(feed, options(port, digests_s=0.2), told=told)
            async with running(pulled):
                await same(feed, platform)
                platform.book.corrupt("subscriber", "S00007", line(7, vlan_id=99))
                platform.book.corrupt("subscriber", "S00009", line(9, vlan_id=98))
                await same(feed, platform)
                await until(lambda: pulled.status.repairs == 2)
        assert (platform.heard.requests["objects"], platform.heard.requests["snapshot"]) == (2, 4)
        assert "feed-repaired" in [kind for kind, _ in told]

    asyncio.run(run())


def test_the_platform_may_ask_for_a_comparison(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 10)
        async with (
            feed_at(tmp_path) as feed,
            platform.serving() as port,
            running(source(feed, options(port))),
        ):
            await same(feed, platform)
            await until(lambda: platform.heard.acks)
            before = platform.heard.requests["digests"]
            platform.want_check = True
            platform.put("plan", "p", {"download": "1M", "upload": "1M"})
            await until(lambda: platform.heard.requests["digests"] > before)

    asyncio.run(run())


def test_an_operator_can_have_everything_read_again_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 10)
        async with feed_at(tmp_path) as feed, platform.serving() as port:
            pulled = source(feed, options(port, wait_s=60.0, stream=False))
            async with running(pulled):
                await same(feed, platform)
                await until(lambda: pulled.status.state is PullState.FOLLOWING)
                pulled.resync()
                await until(lambda: pulled.status.snapshots == 2, 2.0)

    asyncio.run(run())


def test_after_a_snapshot_changes_are_read_from_where_it_began_and_not_from_the_first_hello(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 10)
        async with feed_at(tmp_path) as feed, platform.serving() as port:
            pulled = source(feed, options(port))
            async with running(pulled):
                await same(feed, platform)
                platform.put("subscriber", "S00001", line(1, vlan_id=7))
                await same(feed, platform)
                platform.book.compact()
                pulled.resync()
                await until(lambda: pulled.status.snapshots == 2)
                platform.put("subscriber", "S00002", line(2, vlan_id=8))
                await same(feed, platform)
            assert pulled.status.snapshots == 2

    asyncio.run(run())


def test_a_restart_goes_on_with_the_snapshot_where_it_was(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED, page_items=10)
        fill(platform, 99)
        stopped = asyncio.Event()
        platform.on_page = lambda page: stopped.set() if page == 5 else None
        async with platform.serving() as port:
            async with feed_at(tmp_path) as feed, running(source(feed, options(port))):
                await stopped.wait()
                assert feed.position is None
            asked = platform.heard.requests["snapshot"]
            async with feed_at(tmp_path) as feed, running(source(feed, options(port))):
                await same(feed, platform)
        assert len(platform.readings) == 1
        assert platform.heard.requests["snapshot"] - asked <= 6

    asyncio.run(run())


def test_a_cursor_that_the_platform_has_forgotten_begins_a_snapshot_anew(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED, page_items=10)
        fill(platform, 100)
        stopped = asyncio.Event()
        platform.on_page = lambda page: stopped.set() if page == 5 else None
        async with feed_at(tmp_path) as feed, platform.serving() as port:
            async with running(source(feed, options(port))):
                await stopped.wait()
            platform.readings.clear()
            platform.delete("subscriber", "S00000")
            pulled = source(feed, options(port))
            async with running(pulled):
                await same(feed, platform)
            assert pulled.status.refused == {}

    asyncio.run(run())


def test_clocks_that_are_apart_are_told_and_change_nothing_else(tmp_path: Path) -> None:
    async def run() -> None:
        platform, told = Platform(FEED), Told()
        fill(platform, 3)
        async with feed_at(tmp_path) as feed, platform.serving() as port:
            pulled = source(feed, options(port), told=told)
            async with running(pulled):
                await same(feed, platform)
                for ahead_s, found in ((10.0, Skew.WARN), (-3600.0, Skew.ALARM), (0.0, Skew.FINE)):
                    platform.clock_ahead_s = ahead_s
                    await asyncio.sleep(0.06)
                    platform.put("subscriber", "S00001", line(1, vlan_id=int(ahead_s + 3601)))
                    await until(lambda found=found: pulled.status.skew is found)
                    assert pulled.status.skew_s == pytest.approx(ahead_s, abs=1.0)
                await same(feed, platform)
        assert [fields["reason"] for kind, fields in told if kind == "feed-clock-skew"] == [
            "warn",
            "alarm",
            "fine",
        ]

    asyncio.run(run())


def test_a_platform_that_wants_a_newer_edge_is_not_read(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 3)
        platform.min_version = "1.10"
        async with feed_at(tmp_path) as feed, platform.serving() as port:
            pulled = source(feed, options(port))
            async with running(pulled):
                await until(lambda: "wants version 1.10" in pulled.status.error)
                assert feed.position is None
                platform.min_version = "1.2"
                await same(feed, platform)

    asyncio.run(run())


def test_a_platform_that_holds_no_polls_is_not_asked_without_pause(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 3)

        async def at_once(_seconds: float) -> bool:
            platform.closing = True
            return False

        platform._wait = at_once  # type: ignore[method-assign]
        async with (
            feed_at(tmp_path) as feed,
            platform.serving() as port,
            running(source(feed, options(port, stream=False))),
        ):
            await same(feed, platform)
            before = platform.heard.requests["changes"]
            await asyncio.sleep(1.0)
            assert platform.heard.requests["changes"] - before < 10

    asyncio.run(run())


def test_a_source_is_nothing_without_its_platform_and_catches_up_when_it_is_back(tmp_path: Path) -> None:
    async def run() -> None:
        platform, told = Platform(FEED), Told()
        fill(platform, 3)
        async with AsyncExitStack() as stack:
            feed = await stack.enter_async_context(feed_at(tmp_path))
            async with platform.serving() as port:
                pulled = source(feed, options(port), told=told)
                await stack.enter_async_context(running(pulled))
                await same(feed, platform)
            platform.put("subscriber", "written-meanwhile", line(4711))
            await until(lambda: pulled.status.failures >= 3)
            assert pulled.status.next_try_at is not None
            assert pulled.status.connected_at is None
            assert len(served(feed)) == 3
            async with platform.serving(port):
                await same(feed, platform)
                await until(lambda: not pulled.status.failures)
        kinds = [kind for kind, _ in told if kind in ("feed-connected", "feed-lost")]
        assert kinds[0] == "feed-connected"
        assert "feed-connected" in kinds[kinds.index("feed-lost") :]

    asyncio.run(run())
