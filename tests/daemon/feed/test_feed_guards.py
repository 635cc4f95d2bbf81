"""What a feed must not do to those online: lose them in slices, forget to show them, keep the edge from starting."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from daemon.replica.records import AccessMode
from daemon.store import feed_rows
from daemon.sync.feed.feed import FeedOptions
from daemon.sync.feed.feeds import Feeds
from daemon.sync.feed.model import Applied, Refusal, Refused
from daemon.sync.owners import Owners
from tests.daemon.feed.stage import KINDS, Edge, Platform, line, plan
from tests.daemon.feed.test_feed import provider


def large(subscribers: int, nases: int) -> Platform:
    platform = Platform()
    platform.put("plan", "home", plan())
    for number in range(nases):
        platform.put("nas", f"n{number}", {"prefixes": [f"10.0.0.{number}/32"], "secret": "testing123"})
    for number in range(subscribers):
        platform.put("subscriber", f"s{number}", line(f"user{number}"))
    return platform


def drop(platform: Platform, kind: str, most: int) -> None:
    for key in sorted(each for each in platform.objects if each[0] == kind)[:most]:
        del platform.objects[key]
    platform.rev += 1


@pytest.mark.parametrize(("kind", "most"), [("nas", 8), ("subscriber", 60)])
def test_more_than_half_of_a_kind_is_held_however_few_there_are(tmp_path: Path, kind: str, most: int) -> None:
    async def scenario() -> None:
        async with Edge(tmp_path / "edge.db").running() as edge:
            platform = large(90, 10)
            await edge.load(platform)
            drop(platform, kind, most)
            done = await edge.load(platform)
            assert isinstance(done, Refused)
            assert done.why is Refusal.BRAKE
            served = edge.index.tenants["demo"]
            assert (len(served.nases), len(served.subscribers)) == (10, 90)

    asyncio.run(scenario())


def test_snapshots_in_a_row_take_no_more_in_an_hour_than_one_may(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Edge(tmp_path / "edge.db").running() as edge:
            platform = large(1000, 1)
            await edge.load(platform)
            done: Applied | Refused | None = None
            for _ in range(5):
                drop(platform, "subscriber", 60)
                done = await edge.load(platform)
            assert isinstance(done, Refused)
            assert done.why is Refusal.BRAKE
            assert len(edge.index.tenants["demo"].subscribers) == 940

    asyncio.run(scenario())


def test_what_was_stored_and_not_shown_is_shown_with_the_next_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with Edge(tmp_path / "edge.db").running() as edge:
            platform = provider()
            await edge.load(platform)
            platform.put("subscriber", "s0", line("user0", access_mode="reject"))
            show = edge.feed._changing._show

            async def fails(*_: object) -> None:
                raise OperationalError("select", {}, Exception("disk I/O error"))

            with monkeypatch.context() as broken:
                broken.setattr(show, "change", fails)
                with pytest.raises(OperationalError):
                    await edge.follow(platform)
            platform.put("subscriber", "s1", line("user1", access_mode="reject"))
            await edge.follow(platform)
            served = edge.index.tenants["demo"].subscribers
            assert [served[each].access_mode for each in ("s0", "s1")] == [AccessMode.REJECT] * 2

    asyncio.run(scenario())


def test_a_count_that_fails_keeps_nothing_from_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with Edge(tmp_path / "edge.db").running() as edge:
            platform = provider()
            await edge.load(platform)
            platform.put("subscriber", "dup", line("user1"))
            await edge.follow(platform)
            platform.put("subscriber", "s0", line("user0", access_mode="reject"))

            async def fails(*_: object) -> int:
                raise OperationalError("select", {}, Exception("disk I/O error"))

            with monkeypatch.context() as broken:
                broken.setattr(feed_rows, "count_waiting", fails)
                with pytest.raises(OperationalError):
                    await edge.follow(platform)
            assert edge.index.tenants["demo"].subscribers["s0"].access_mode is AccessMode.REJECT

    asyncio.run(scenario())


def test_a_feed_with_another_name_goes_on_serving_what_the_old_one_brought(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Edge(tmp_path / "edge.db").running() as edge:
            await edge.load(provider())
        renamed = Edge(tmp_path / "edge.db")
        renamed.around = replace(renamed.around, owners=Owners())
        renamed.feeds = Feeds([FeedOptions(name="renamed", tenant="demo", kinds=KINDS)], renamed.around)
        async with renamed.running():
            assert set(renamed.index.tenants["demo"].subscribers) == {"s0", "s1", "s2"}
            assert renamed.feeds.left == {}
            feed = renamed.feeds.get("renamed")
            assert feed.position is None
        again = Edge(tmp_path / "edge.db")
        again.around = replace(again.around, owners=Owners())
        again.feeds = Feeds([FeedOptions(name="renamed", tenant="demo", kinds=KINDS)], again.around)
        async with again.running():
            assert set(again.index.tenants["demo"].subscribers) == {"s0", "s1", "s2"}

    asyncio.run(scenario())


def test_a_load_too_large_to_be_told_one_by_one_says_that_anything_may_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.sync.feed.show._TOLD_MOST", 5)

    async def scenario() -> None:
        async with Edge(tmp_path / "edge.db").running() as edge:
            await edge.load(large(20, 1))
            assert ("demo", "tenant", "demo") in edge.told

    asyncio.run(scenario())


def test_the_first_contact_is_kept_over_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Edge(tmp_path / "edge.db").running() as edge:
            await edge.load(provider())
            await edge.feed.contact(None, None, 1.0, 1_800_000_000.0)
        async with Edge(tmp_path / "edge.db").running() as edge:
            assert edge.feed.contact_at == 1_800_000_000.0

    asyncio.run(scenario())
