"""Killed before and after each commit, a feed starts with what it served, and ends where it was going."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from daemon.sync.feed.digest import Buckets
from tests.daemon.feed.crash import run, stages
from tests.daemon.feed.stage import Edge, Platform

ROOT = Path(__file__).parents[3]


def is_a_stage(edge: Edge, platforms: list[Platform]) -> bool:
    """Tell whether exactly one whole stage is served: never a part of one, never a mixture."""
    shown = {
        key: each.vlan_id
        for key, each in (edge.index.tenants["demo"].subscribers if edge.index.tenants else {}).items()
    }
    wanted = [
        {
            key: body.get("vlan_id")
            for (kind, key), (_, _, body) in each.objects.items()
            if kind == "subscriber" and key != "odd"
        }
        for each in platforms
    ]
    return shown in [{}, *wanted]


async def restarted(path: Path) -> None:
    platforms = stages()

    async def first_look(edge: Edge) -> None:
        assert is_a_stage(edge, platforms), path
        position = edge.feed.position
        ours = (await edge.feed.digests()).buckets
        if position is None:
            assert ours == Buckets().digests()
        else:
            (same,) = (each for each in platforms if (each.epoch, each.rev) == position)
            assert ours == same.buckets()

    async def last_look(edge: Edge) -> None:
        assert (await edge.feed.digests()).buckets == platforms[2].buckets()
        assert is_a_stage(edge, platforms[2:])
        assert [each.id for each in await edge.feed.nacks()] == ["odd"]
        await edge.feed._ledger.recount()
        assert (await edge.feed.digests()).buckets == platforms[2].buckets()

    await run(path, None, first_look, last_look)


def test_no_commit_is_a_bad_moment_to_be_killed(tmp_path: Path) -> None:
    whole = tmp_path / "whole.db"
    commits = asyncio.run(run(whole, None))
    assert commits > 8
    command = [sys.executable, "-m", "tests.daemon.feed.crash", str(tmp_path), "0", str(commits)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=300)
    places = sorted(tmp_path.glob("*/edge.db"))
    assert len(places) == 2 * commits
    for path in places:
        asyncio.run(restarted(path))
