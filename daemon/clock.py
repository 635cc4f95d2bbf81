"""Time: the one place that reads a clock. Everything else is given a `Clock`, or the time itself."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the daemon asks about time; tests bring their own."""

    def monotonic(self) -> float:
        """Return seconds that never go back; only differences mean something."""
        ...

    def wall(self) -> float:
        """Return seconds since the epoch; may jump when the system's time is corrected."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds, at once but not before other tasks had a turn for 0 or less."""
        ...


class SystemClock:
    """The clock of the machine. Monotonic time is CLOCK_MONOTONIC, which systemd counts in as well."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Return CLOCK_MONOTONIC in seconds."""
        return time.monotonic()  # noqa: TID251 - here is the clock

    def wall(self) -> float:
        """Return seconds since the epoch."""
        return time.time()  # noqa: TID251 - here is the clock

    async def sleep(self, seconds: float) -> None:
        """Sleep in the event loop."""
        await asyncio.sleep(seconds)
