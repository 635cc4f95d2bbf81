"""Looks for the effect of what a NAS has acknowledged: a yes that changes nothing is no success."""

from __future__ import annotations

from dataclasses import replace

from daemon.aaa.coa_job import Job, Kind, Outcome
from daemon.aaa.coa_ladder import Next, Sessions, Turn
from daemon.aaa.coa_timers import Timers
from daemon.aaa.coa_wire import Shown, shown
from daemon.clock import Clock
from radius.errors import RadiusError
from radius.packet import decode

SETTLE_S = 2.0
"""Accounting that comes this soon after the answer may have been sent before it."""


class Verifier:
    """Waits for the Stop after a Disconnect, and for the next accounting packet after a CoA."""

    def __init__(
        self, sessions: Sessions, timers: Timers, clock: Clock, *, closed_s: float, changed_s: float
    ) -> None:
        self._sessions = sessions
        self._timers = timers
        self._clock = clock
        self._closed_s = closed_s
        self._changed_s = changed_s

    async def check(self, job: Job, turn: Turn) -> Turn:
        """Return the turn with what was seen: done, or down where the effect did not show."""
        if job.rung is Kind.CHANGE:
            return await self._changed(job, turn)
        # The Stop may have come before the answer; then this does not wait.
        await self._timers.wait(self._closed_s, job.closing)
        if job.closing.done():
            return replace(turn, next=Next.DONE, outcome=Outcome.VERIFIED)
        return replace(turn, next=Next.DOWN, outcome=Outcome.UNVERIFIED)

    async def _changed(self, job: Job, turn: Turn) -> Turn:
        acked_at = self._clock.monotonic()
        while True:
            left_s = acked_at + self._changed_s - self._clock.monotonic()
            report = self._sessions.reporting(job.session_uid)
            try:
                await self._timers.wait(left_s, report, job.closing, job.overtaken)
                octets = report.result() if report.done() else None
            finally:
                report.cancel()
            if octets is None:
                return replace(turn, next=Next.DONE)
            state = _read(turn, octets)
            if state is Shown.EQUAL:
                return replace(turn, next=Next.DONE, outcome=Outcome.VERIFIED)
            if state is Shown.ABSENT or job.closing.done():
                return replace(turn, next=Next.DONE)
            if self._clock.monotonic() - acked_at >= SETTLE_S:
                return replace(turn, next=Next.DOWN, outcome=Outcome.UNVERIFIED)


def _read(turn: Turn, octets: bytes) -> Shown:
    try:
        return shown(turn.sent, decode(octets))
    except RadiusError:
        return Shown.ABSENT
