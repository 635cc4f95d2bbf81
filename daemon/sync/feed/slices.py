"""Work in the event loop in slices so small that nobody waits for it noticeably."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")

SLICE_S = 0.0003
_MOST = 64  # steps, where the clock stands still


async def give_way() -> None:
    """Let the others have a turn, also those whose datagram came just now.

    What the network has brought is only seen once everything has had its turn that was due before: so it takes a
    second one until it has been answered.
    """
    await asyncio.sleep(0)
    await asyncio.sleep(0)


class Slices:
    """Counts the time since others last had a turn; `due` says when they shall have one."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began = monotonic()
        self._steps = 0

    def due(self) -> bool:
        """Tell, after each step, whether the slice is over."""
        self._steps += 1
        return self._steps >= _MOST or self._monotonic() - self._began >= SLICE_S

    async def give_way(self) -> None:
        """Let the others have a turn, and begin the next slice."""
        await give_way()
        self._began = self._monotonic()
        self._steps = 0

    async def each(self, items: Iterable[_Item], work: Callable[[_Item], object]) -> None:
        """Do `work` on each item."""
        for item in items:
            work(item)
            if self.due():
                await self.give_way()

    async def exhaust(self, steps: Iterator[_Item | None]) -> list[_Item]:
        """Run a generator that pauses with None to its end; return what else it yielded."""
        found: list[_Item] = []
        for each in steps:
            if each is not None:
                found.append(each)
            if self.due():
                await self.give_way()
        return found
