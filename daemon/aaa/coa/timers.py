"""Timers on a `Clock`: call something at a time, or wait for futures no longer than a time.

A `Clock` can only sleep, so a short-lived task sleeps until the earliest timer; there are no more of them than
there were ever earlier timers at once.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

from daemon.clock import Clock

Spawn = Callable[[Coroutine[Any, Any, object], str], None]
"""Starts a short-lived task under a name; `Supervisor.spawn`."""

_FEW = 64


class Timer:
    """One call to come; `cancel` may be called at any time."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Do not call any more."""
        self.call = None


class Timers:
    """Keeps the timers of one owner. All of it runs in the event loop."""

    def __init__(self, clock: Clock, spawn: Spawn) -> None:
        self._clock = clock
        self._spawn = spawn
        self._heap: list[tuple[float, int, Timer]] = []
        self._sleeping: list[float] = []  # when the tasks that sleep will wake, a heap
        self._numbers = count()
        self._crowded = _FEW

    def at(self, when: float, call: Callable[[], None]) -> Timer:
        """Call `call` once the monotonic clock says `when`; a time that has passed is soon."""
        timer = Timer(call)
        if len(self._heap) > self._crowded:
            self._sweep()
        heapq.heappush(self._heap, (when, next(self._numbers), timer))
        self._arm()
        return timer

    async def wait(self, seconds: float, *futures: asyncio.Future[Any]) -> bool:
        """Return True when one of `futures` is done, False after `seconds`. The futures stay as they are."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake(_: object = None) -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self.at(self._clock.monotonic() + seconds, wake)
        for future in futures:
            future.add_done_callback(wake)
        try:
            await woken
        finally:
            timer.cancel()
            for future in futures:
                future.remove_done_callback(wake)
        return any(future.done() for future in futures)

    def _sweep(self) -> None:
        """Throw out cancelled timers, which otherwise stay until their time comes."""
        self._heap = [entry for entry in self._heap if entry[2].call is not None]
        heapq.heapify(self._heap)
        self._crowded = max(_FEW, 2 * len(self._heap))

    def _arm(self) -> None:
        while self._heap and self._heap[0][2].call is None:
            heapq.heappop(self._heap)
        if self._heap and (not self._sleeping or self._heap[0][0] < self._sleeping[0]):
            when = self._heap[0][0]
            heapq.heappush(self._sleeping, when)
            self._spawn(self._sleep_until(when), "coa-timer")

    async def _sleep_until(self, when: float) -> None:
        try:
            await self._clock.sleep(when - self._clock.monotonic())
        finally:
            self._sleeping.remove(when)
            heapq.heapify(self._sleeping)
        try:
            self._call_due()
        finally:
            self._arm()

    def _call_due(self) -> None:
        now = self._clock.monotonic()
        while self._heap and (self._heap[0][0] <= now or self._heap[0][2].call is None):
            timer = heapq.heappop(self._heap)[2]
            call, timer.call = timer.call, None
            if call is not None:
                call()
