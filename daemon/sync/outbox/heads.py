"""How far each log goes, looked at after commits: whoever waits for more is woken, and nobody has to poll."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.sync.outbox.model import Log, Stream

FOREIGN = frozenset({Stream.LEASES})
"""Streams whose log may lie in a store that is not ours: nothing else waits for one that is away."""


class Heads:
    """The last number of every log. `committed` may be called as often as one likes."""

    def __init__(self, logs: Mapping[Stream, Log], clock: Clock, linger_s: float) -> None:
        self._logs = logs
        self._clock = clock
        self._linger_s = linger_s
        self._dirty = {foreign: asyncio.Event() for foreign in (False, True)}
        self._risen: dict[Stream, asyncio.Event] = {stream: asyncio.Event() for stream in logs}
        self._last: dict[Stream, int] = dict.fromkeys(logs, 0)

    def last(self, stream: Stream) -> int:
        """Return the last number as it was seen lately."""
        return self._last[stream]

    def committed(self) -> None:
        """Something was written, perhaps to a log."""
        for each in self._dirty.values():
            each.set()

    async def look(self) -> None:
        """Look at all logs, and wake who waits for those that have grown."""
        await self.look_at(foreign=False)
        await self.look_at(foreign=True)

    async def look_at(self, *, foreign: bool) -> None:
        """Look at the logs that are ours or, if `foreign`, at those that may not be."""
        for stream, log in self._logs.items():
            if (stream in FOREIGN) is not foreign:
                continue
            with contextlib.suppress(StoreUnavailable):  # looked at again after the next commit
                last = await log.last_seq()
                if last > self._last[stream]:
                    self._last[stream] = last
                    self.nudge(stream)

    async def run(self) -> None:
        """Look at our own logs after commits, for ever; what comes within the linger is seen in one look."""
        await self._run(foreign=False)

    async def run_foreign(self) -> None:
        """Look at the others, as `run` does: apart, for their store may be slow or away."""
        await self._run(foreign=True)

    async def _run(self, *, foreign: bool) -> None:
        dirty = self._dirty[foreign]
        while True:
            await dirty.wait()
            await self._clock.sleep(self._linger_s)
            dirty.clear()
            await self.look_at(foreign=foreign)

    def nudge(self, stream: Stream) -> None:
        """Wake who waits for a log, for another reason than more of it."""
        risen, self._risen[stream] = self._risen[stream], asyncio.Event()
        risen.set()

    async def wait(self, stream: Stream, after_seq: int) -> None:
        """Return at once where a log has more than `after_seq`, else with the next rise or nudge."""
        if self._last[stream] <= after_seq:
            await self._risen[stream].wait()
