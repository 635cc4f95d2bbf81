"""Time as drivers see it: an injected clock, so that tests and emulators can bring their own."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Clock(Protocol):
    """What a driver asks about time."""

    def now(self) -> float:
        """Return monotonic seconds; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        ...


class LoopClock:
    """The clock of the running event loop."""

    __slots__ = ()

    def now(self) -> float:
        """Return the loop's monotonic seconds."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Sleep in the event loop."""
        await asyncio.sleep(seconds)
