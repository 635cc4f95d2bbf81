"""Looks for the effect of what a NAS has acknowledged: a yes that changes nothing is no success."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from daemon.aaa.coa.job import Job, Kind, Outcome
from daemon.aaa.coa.ladder import Next, Turn
from daemon.aaa.coa.names import Sessions
from daemon.aaa.coa.timers import Timer, Timers
from daemon.aaa.coa.wire import Shown, shown
from daemon.clock import Clock
from radius.errors import RadiusError
from radius.packet import decode

SETTLE_S = 2.0
"""Accounting that comes this soon after the answer may have been sent before it."""


class Verifier:
    """Waits for the Stop after a Disconnect, and for the next accounting packet after a CoA.

    Thousands wait at once, some for a quarter of an hour: each is a few callbacks, and no task.
    """

    def __init__(
        self, sessions: Sessions, timers: Timers, clock: Clock, *, closed_s: float, changed_s: float
    ) -> None:
        self._sessions = sessions
        self._timers = timers
        self._clock = clock
        self._closed_s = closed_s
        self._changed_s = changed_s

    def watch(self, job: Job, turn: Turn, then: Callable[[Turn], None]) -> None:
        """Call `then` once, with what was seen: done, or down where the effect did not show."""
        changed = job.rung is Kind.CHANGE
        watch = _Watch(self._sessions, self._clock.monotonic, job, turn, then)
        # The Stop may have come before the answer; then this is over in the next turn of the loop.
        watch.begin(self._timers, self._changed_s if changed else self._closed_s, changed=changed)


class _Watch:
    """One effect that is awaited."""

    __slots__ = ("_began", "_job", "_now", "_report", "_sessions", "_then", "_timer", "_turn")

    def __init__(
        self,
        sessions: Sessions,
        now: Callable[[], float],
        job: Job,
        turn: Turn,
        then: Callable[[Turn], None],
    ) -> None:
        self._sessions = sessions
        self._now = now
        self._job = job
        self._turn = turn
        self._then: Callable[[Turn], None] | None = then
        self._report: asyncio.Future[bytes] | None = None
        self._timer: Timer | None = None
        self._began = now()

    def begin(self, timers: Timers, most_s: float, *, changed: bool) -> None:
        """Wait for `most_s`."""
        if changed:
            self._listen()
            self._job.overtaken.add_done_callback(self._over)
        self._job.closing.add_done_callback(self._over)
        self._timer = timers.at(self._began + most_s, self._late)

    def _listen(self) -> None:
        self._report = self._sessions.reporting(self._job.session_uid)
        self._report.add_done_callback(self._reported)

    def _late(self) -> None:
        if self._report is None:
            self._end(replace(self._turn, next=Next.DOWN, outcome=Outcome.UNVERIFIED))
        else:
            self._end(replace(self._turn, next=Next.DONE))

    def _over(self, _: object) -> None:
        """The session has closed, or something newer is wanted of it; its last packet may show the change."""
        report = self._report
        seen = report is None or (report.done() and _read(self._turn, report.result()) is Shown.EQUAL)
        if seen:
            self._end(replace(self._turn, next=Next.DONE, outcome=Outcome.VERIFIED))
        else:
            self._end(replace(self._turn, next=Next.DONE))

    def _reported(self, report: asyncio.Future[bytes]) -> None:
        if self._then is None or report.cancelled():
            return
        state = _read(self._turn, report.result())
        if state is Shown.EQUAL:
            self._end(replace(self._turn, next=Next.DONE, outcome=Outcome.VERIFIED))
        elif state is Shown.ABSENT or self._job.closing.done():
            self._end(replace(self._turn, next=Next.DONE))
        elif self._now() - self._began >= SETTLE_S:
            self._end(replace(self._turn, next=Next.DOWN, outcome=Outcome.UNVERIFIED))
        else:
            self._listen()

    def _end(self, turn: Turn) -> None:
        then, self._then = self._then, None
        if then is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._job.closing.remove_done_callback(self._over)
        self._job.overtaken.remove_done_callback(self._over)
        if self._report is not None:
            self._report.cancel()
        then(turn)


def _read(turn: Turn, octets: bytes) -> Shown:
    try:
        return shown(turn.sent, decode(octets))
    except RadiusError:
        return Shown.ABSENT
