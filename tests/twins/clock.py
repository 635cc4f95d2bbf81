"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

_TURNS = 20  # of the event loop, for what a woken task does until it sleeps again


class ClockTwin:
    """Implements `daemon.clock.Clock`; `advance` wakes sleepers in the order in which their time comes."""

    def __init__(self, wall: float = 1_800_000_000.0) -> None:
        self._now = 1_000.0
        self._wall_ahead = wall - self._now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    def monotonic(self) -> float:
        """Return seconds; only `advance` moves them."""
        return self._now

    def wall(self) -> float:
        """Return seconds since the epoch, in step with `monotonic`, but for jumps."""
        return self._now + self._wall_ahead

    async def sleep(self, seconds: float) -> None:
        """Return when the clock was advanced that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._numbers), woken))
        await woken

    @property
    def sleepers(self) -> int:
        """How many tasks sleep now; cancelled ones do not count."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Let time pass. A woken task runs at its own time, and may sleep again within the same advance."""
        end = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            self._now = due
            woken.set_result(None)
            await settle()
        self._now = end

    def jump(self, seconds: float) -> None:
        """Correct the wall clock, as NTP does; monotonic time does not notice."""
        self._wall_ahead += seconds


async def settle() -> None:
    """Give every task that can run its turns."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
