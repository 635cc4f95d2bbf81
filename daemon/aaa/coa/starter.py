"""Starts the turns of CoA jobs: as fast as the pace allows, one at a time for each session, changes after a storm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from daemon.aaa.coa.job import Job, JobState
from daemon.aaa.coa.pace import Pace, PaceOptions
from daemon.aaa.coa.queue import Hold, Lane, Queue
from daemon.aaa.coa.timers import Timer, Timers
from daemon.clock import Clock

_STORM_LOOK_S = 1.0
_STORM_OVER_LOOK_S = 30.0


class Starter:
    """Takes jobs that are queued and calls `start` for each when its time has come; `release` ends its turn."""

    def __init__(
        self, options: PaceOptions, hold: Hold, clock: Clock, timers: Timers, start: Callable[[Job], None]
    ) -> None:
        self._pace = Pace(options, clock.monotonic())
        self._hold = hold
        self._clock = clock
        self._timers = timers
        self._start = start
        self._queue = Queue()
        self._under_way: dict[int, list[Job]] = {}  # by session, with what waits for the end of its turn
        self._wake = asyncio.Event()
        self._alarm: Timer | None = None

    def put(self, job: Job) -> None:
        """Take in a job that is queued."""
        self._queue.put(job)
        self._wake.set()

    async def run(self) -> None:
        """Start turns for ever."""
        while True:
            self._wake.clear()
            next_at = self._dispatch(self._clock.monotonic())
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = None if next_at == inf else self._timers.at(next_at, self._wake.set)
            await self._wake.wait()

    def release(self, job: Job, heard: bool | None) -> bool | None:
        """Note that a turn has ended; `heard` and what is returned are those of `Pace.finish`."""
        for behind in self._under_way.pop(job.session_uid, ()):
            if behind.state is JobState.QUEUED:
                self._queue.put(behind)
        self._wake.set()
        return self._pace.finish(job.box, heard, self._clock.monotonic())

    def _dispatch(self, now: float) -> float:
        """Start what may start; return when there may be more, as monotonic seconds."""
        soonest = self._look_at_storm(now)
        for lane in Lane:
            if lane is Lane.CHANGES and self._queue.has(lane) and self._hold.look(now):
                return min(soonest, now + _STORM_LOOK_S)
            waiting = self._queue.boxes(lane)
            while waiting:
                overall_at = self._pace.overall_ready_at(now)
                if overall_at > now:
                    return min(soonest, overall_at)
                still = []
                for box in waiting:
                    ready_at = self._pace.ready_at(box, now)
                    soonest = min(soonest, ready_at) if ready_at > now else soonest
                    job = self._queue.take(box, lane) if ready_at <= now else None
                    if job is not None:
                        self._begin(job, now)
                        still.append(box)
                waiting = still
        return soonest

    def _look_at_storm(self, now: float) -> float:
        """Find out whether a storm is over, though nothing waits for that; return when to look again."""
        if self._hold.storm:
            self._hold.look(now)
        return now + _STORM_OVER_LOOK_S if self._hold.storm else inf

    def _begin(self, job: Job, now: float) -> None:
        behind = self._under_way.get(job.session_uid)
        if behind is not None:  # never two requests at once for a session
            behind.append(job)
            return
        self._under_way[job.session_uid] = []
        self._pace.start(job.box, now)
        self._start(job)
