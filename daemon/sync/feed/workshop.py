"""Who reads the items of a snapshot and looks at it as a whole: a process of its own, or small slices of ours."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from typing import Protocol

from daemon.clock import Clock
from daemon.errors import DaemonError
from daemon.store.feed_rows import Place
from daemon.store.seal import Sealer
from daemon.sync.feed import census
from daemon.sync.feed.intake import Intake, Made
from daemon.sync.feed.model import Item, Lines, SnapshotUnreadable
from daemon.sync.feed.rows import Rows
from daemon.sync.feed.slices import Slices, give_way
from daemon.sync.feed.wire_json import Malformed
from daemon.sync.feed.wire_lines import items_of
from daemon.sync.feed.worker import HEADER, Page, Setup, pack


class WorkshopLost(DaemonError):
    """The process beside us has ended; what it was given has to be given to another one."""

    slug = "feed-worker-lost"


Given = Sequence[Item] | Lines


class Workshop(Protocol):
    """Reads items: what is given is answered in the same order."""

    async def give(self, items: Given, at: float) -> None:
        """Hand over items to read; their rows are as of `at`, epoch seconds."""

    async def take(self) -> Rows:
        """Return the rows of what was given first, of each object the last.

        Raises WorkshopLost, and SnapshotUnreadable where a line is no item.
        """

    async def census(self, task: census.Task) -> census.Census:
        """Look at a whole snapshot. Raises WorkshopLost."""

    async def close(self) -> None:
        """Let go of everything."""


class Here:
    """Reads items in the event loop, in slices."""

    def __init__(self, intake: Intake, seal: Sealer, clock: Clock) -> None:
        self._intake = intake
        self._seal = seal
        self._slices = Slices(clock.monotonic)

    async def read(self, items: Sequence[Item]) -> list[Made]:
        """Read items."""
        made: list[Made] = []
        await self._slices.each(items, lambda item: made.append(self._intake.read(item)))
        return made

    async def rows(self, given: Given, place: Place, at: float) -> Rows:
        """Return the rows of items in a generation, of each object the last. Raises SnapshotUnreadable."""
        newest: dict[tuple[str, str], Made] = {}

        def read(item: Item | Malformed) -> None:
            if isinstance(item, Malformed):
                raise SnapshotUnreadable(str(item))
            made = self._intake.read(item)._replace(record=None)
            newest[made.kind, made.id] = made

        await self._slices.each(items_of(given) if isinstance(given, Lines) else given, read)
        rows = Rows([], [])
        await self._slices.each(newest.values(), lambda made: rows.take(made, place, at))
        return rows

    async def census(self, task: census.Task) -> census.Census:
        """Look at a whole snapshot in a thread."""
        return await asyncio.to_thread(census.take, task, self._seal)

    async def give(self, items: Given, at: float) -> None:
        """Keep nothing: see `rows`."""

    async def take(self) -> Rows:
        """Never called: see `rows`."""
        raise WorkshopLost("nothing was given")

    async def close(self) -> None:
        """There is nothing to let go of."""


class Beside:
    """Reads items in a process of its own, which is there from the first need until `close`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._process: Process | None = None

    async def give(self, items: Given, at: float) -> None:
        """Send items; they are read while we do something else."""
        with contextlib.suppress(OSError):  # that it has ended shows where its answer is missing
            await self._send(Page(items if isinstance(items, Lines) else list(map(tuple, items)), at))

    async def take(self) -> Rows:
        """Return the rows of what was given first."""
        rows = Rows([], [])
        while (frame := await self._receive()) is not None:
            if isinstance(frame, Malformed):
                raise SnapshotUnreadable(str(frame))
            assert isinstance(frame, tuple)
            rows.objects.extend(frame[0])
            rows.nacks.extend(frame[1])
            await give_way()
        return rows

    async def census(self, task: census.Task) -> census.Census:
        """Have a whole snapshot looked at."""
        with contextlib.suppress(OSError):
            await self._send(task)
        answer = await self._receive()
        assert isinstance(answer, census.Census)
        return answer

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def _send(self, value: object) -> None:
        if self._process is None:
            arguments = (sys.executable, "-m", "daemon.sync.feed.worker")
            self._process = await asyncio.create_subprocess_exec(*arguments, stdin=PIPE, stdout=PIPE)
            await self._write(self._process, self._setup)
        await self._write(self._process, value)

    async def _write(self, process: Process, value: object) -> None:
        assert process.stdin is not None, "it was made with pipes"
        process.stdin.write(pack(value))
        await process.stdin.drain()

    async def _receive(self) -> object:
        process = self._process
        if process is None or process.stdout is None:
            raise WorkshopLost("the process that reads snapshots could not be started")
        try:
            header = await process.stdout.readexactly(HEADER)
            octets = await process.stdout.readexactly(int.from_bytes(header, "big"))
        except (asyncio.IncompleteReadError, OSError):
            await self.close()
            raise WorkshopLost("the process that reads snapshots has ended") from None
        return pickle.loads(octets)  # noqa: S301 - a process of our own has made it
