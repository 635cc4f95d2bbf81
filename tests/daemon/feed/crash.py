"""A program that ends itself by SIGKILL before or after one of its commits: what `test_feed_crash` starts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.store.writer import Writer
from daemon.sync.feed.brake import BrakeOptions
from daemon.sync.feed.model import Applied
from tests.daemon.feed.stage import Edge, Platform, dictionary, line, plan


class Ends:
    """Ends the process at the commit of a number; `after` it, or before."""

    def __init__(self, number: int, *, after: bool) -> None:
        self.left = number
        self._after = after

    def attach(self, writer: Writer) -> None:
        """Count the commits of a writer."""
        commit = writer.commit

        async def counted(execute: Callable[[AsyncConnection], Awaitable[None]]) -> None:
            self.left -= 1
            if self.left < 0 and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            await commit(execute)
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        writer.commit = counted  # type: ignore[method-assign]


def stages() -> list[Platform]:
    """Return the platform as it is at a snapshot, after a batch, and at another snapshot of another epoch."""
    first = Platform()
    first.put("plan", "home", plan())
    for number in range(290):
        first.put("subscriber", f"s{number:03d}", line(f"user{number}"))
    second = Platform(rev=first.rev, objects=dict(first.objects))
    for number in range(20):
        second.put("subscriber", f"s{number:03d}", line(f"user{number}", vlan_id=7))
    second.delete("subscriber", "s289")
    second.put("subscriber", "odd", line("odd", vlan_id=5000))
    third = Platform(epoch="e2", rev=3, objects=dict(second.objects))
    third.put("subscriber", "new", line("new"))
    third.delete("subscriber", "s288")
    return [first, second, third]


Look = Callable[[Edge], Awaitable[None]]


async def nothing(_edge: Edge) -> None:
    """Look at nothing."""


async def run(path: Path, ends: Ends | None, first_look: Look = nothing, last_look: Look = nothing) -> int:
    """Go through all stages from wherever the database is; return how many commits that took."""
    count = Ends(1 << 30, after=True) if ends is None else ends
    before = count.left
    first, second, third = stages()
    async with Edge(path, commits=count.attach, brake=BrakeOptions(objects=100)).running() as edge:
        await first_look(edge)
        position = edge.feed.position
        if position is None:
            assert isinstance(await snapshot(edge, first), Applied)
        if (position := edge.feed.position) is not None and position.epoch == "e1":
            if position.rev < second.rev:
                await edge.feed.apply(second.changes(position.rev))
            assert isinstance(await snapshot(edge, third), Applied)
        await edge.tidy()
        await last_look(edge)
    return before - count.left


async def snapshot(edge: Edge, platform: Platform) -> object:
    """Read a snapshot in pages, from where it was left."""
    items = platform.all()
    staging = await edge.feed.snapshot(platform.epoch, platform.rev)
    for start in range(int(staging.resume_at or 0), len(items), 150):
        await staging.add(items[start : start + 150], str(start + 150))
    return await staging.finish(platform.trailer())


def main(directory: Path, numbers: range) -> None:
    """For each number, run in a process of its own that ends before, then one that ends after, that commit."""
    dictionary()
    for number in numbers:
        for after in (False, True):
            path = directory / f"{number}-{after:d}" / "edge.db"
            path.parent.mkdir()
            child = os.fork()
            if child == 0:
                asyncio.run(run(path, Ends(number, after=after)))
                os._exit(0)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), range(int(sys.argv[2]), int(sys.argv[3])))
