"""Large snapshots are read by a process beside: the same rows come of it, and its end is no end of the feed."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from daemon.store.seal import Sealer
from daemon.sync.feed.intake import Intake
from daemon.sync.feed.model import Applied, Item, Op, Position
from daemon.sync.feed.worker import Setup
from daemon.sync.feed.workshop import Beside
from tests.daemon.feed.stage import KEY, KINDS, Edge, Platform, dictionary, line, plan


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
        beside = Beside(Setup("demo", KINDS, KEY))
        await beside.give(items[:60])
        await beside.give(items[60:])
        there = [*await beside.take(), *await beside.take()]
        await beside.close()
        here = [intake.read(item) for item in items]
        for ours, theirs in zip(here, there, strict=True):
            assert ours[:5] == theirs[:5]  # kind, id, rev, bucket, digest
            assert ours.refuse == theirs.refuse
            assert (ours.body is None) == (theirs.body is None)
        assert sum(each.refuse is not None for each in there) == 2

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
