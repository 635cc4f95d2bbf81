"""Large snapshots are read by a process beside: the same rows come of it, and its end is no end of the feed."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from daemon.store.feed_rows import Place
from daemon.store.schema import OBJECT
from daemon.store.seal import Sealer
from daemon.sync.feed.canonical import canonical
from daemon.sync.feed.intake import Intake
from daemon.sync.feed.model import Applied, Item, Lines, Op, Position, SnapshotUnreadable
from daemon.sync.feed.wire import item_json
from daemon.sync.feed.worker import Setup
from daemon.sync.feed.workshop import Beside, Here
from tests.daemon.feed.stage import KEY, KINDS, Edge, Platform, dictionary, line, plan
from tests.twins.clock import ClockTwin

PLACE = Place("main", 1, "demo")


def provider(subscribers: int) -> Platform:
    platform = Platform()
    platform.put("plan", "home", plan())
    for number in range(subscribers):
        platform.put("subscriber", f"s{number:05d}", line(f"user{number}"))
    return platform


def test_a_process_beside_reads_as_we_do() -> None:
    async def scenario() -> None:
        items = [
            *provider(120).all(),
            Item("teapot", "x", 5, Op.PUT, {}),
            Item("plan", "y", 6, Op.PUT, {"a": 1}),
        ]
        intake = Intake("demo", KINDS, Sealer(KEY), dictionary())
        here = Here(intake, Sealer(KEY), ClockTwin())
        lines = b"".join(canonical(item_json(item)) + b"\n" for item in items)
        for given in (items, Lines(lines, 2, 1)):
            beside = Beside(Setup(PLACE, KINDS, KEY))
            await beside.give(given, 5.0)
            await beside.give(items[:3], 6.0)
            there, again = await beside.take(), await beside.take()
            await beside.close()
            ours = await here.rows(given, PLACE, 5.0)
            assert len(there.objects) == 121
            assert [each[:5] for each in again.objects] == [each[:5] for each in ours.objects[:3]]
            sealed = OBJECT.c.keys().index("body")  # with another nonce each time
            assert [each[:sealed] + each[sealed + 1 :] for each in there.objects] == [
                each[:sealed] + each[sealed + 1 :] for each in ours.objects
            ]
            assert there.nacks == ours.nacks
            assert len(there.nacks) == 2

    asyncio.run(scenario())


def test_a_large_snapshot_goes_through_the_process_and_survives_its_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        platform = provider(3000)
        platform.put("subscriber", "twin", line("user7"))
        async with Edge(tmp_path / "edge.db", beside=True).running() as edge:
            staging = await edge.feed.snapshot("e1", platform.rev)
            items, killed = platform.all(), 0
            for start in range(0, len(items), 250):
                await staging.add(items[start : start + 250], str(start))
                workshop = staging._workshop
                if isinstance(workshop, Beside) and workshop._process is not None and not killed:
                    killed = workshop._process.pid
                    os.kill(killed, signal.SIGKILL)
            assert killed
            done = await staging.finish(platform.trailer())
            assert isinstance(done, Applied)
            assert done.position == Position("e1", platform.rev)
            assert [(each.id, each.code) for each in done.nacks] == [("twin", "taken")]
            assert len(edge.index.tenants["demo"].subscribers) == 3000
            assert (await edge.feed.digests()).root == platform.root()

    asyncio.run(scenario())


def page(items: list[Item], first: int = 2) -> Lines:
    return Lines(b"".join(canonical(item_json(item)) + b"\n" for item in items), first, 1)


def test_lines_go_through_the_process_as_they_came_and_survive_its_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        platform = provider(3000)
        async with Edge(tmp_path / "edge.db", beside=True).running() as edge:
            staging = await edge.feed.snapshot("e1", platform.rev)
            items, killed = platform.all(), 0
            for start in range(0, len(items), 250):
                await staging.add_lines(page(items[start : start + 250]), str(start))
                workshop = staging._workshop
                if isinstance(workshop, Beside) and workshop._process is not None and not killed:
                    killed = workshop._process.pid
                    os.kill(killed, signal.SIGKILL)
            assert killed
            assert isinstance(await staging.finish(platform.trailer()), Applied)
            assert len(edge.index.tenants["demo"].subscribers) == 3000
            assert (await edge.feed.digests()).root == platform.root()

    asyncio.run(scenario())


@pytest.mark.parametrize("beside", [False, True])
def test_nothing_behind_a_line_that_is_no_item_becomes_durable(tmp_path: Path, beside: bool) -> None:
    async def scenario() -> None:
        platform = provider(1500)
        items = platform.all()
        async with Edge(tmp_path / "edge.db", beside=beside).running() as edge:
            staging = await edge.feed.snapshot("e1", platform.rev)
            await staging.add_lines(page(items[:1200]), "one")
            broken = page(items[1200:1300])

            async def go_on() -> None:
                await staging.add_lines(broken._replace(octets=broken.octets + b"{,\n"), "two")
                await staging.add_lines(page(items[1300:1400]), "three")

            with pytest.raises(SnapshotUnreadable, match=r"line 102.*expected JSON"):
                await go_on()
            with pytest.raises(SnapshotUnreadable):
                await staging.finish(platform.trailer())
            again = await edge.feed.snapshot("e1", platform.rev)
            assert again.resume_at == "one"
            await again.add_lines(page(items[1200:]), "end")
            assert isinstance(await again.finish(platform.trailer()), Applied)
            assert (await edge.feed.digests()).root == platform.root()

    asyncio.run(scenario())
