"""The CoA engine: makes live sessions what they are wanted to be, and does not rest before they are.

There is one job for each session at a time. It is on disk before its first packet, it is paced, its effect is
looked for, and it is tried again until the session matches, is closed, or is wanted otherwise. A job that gets
nowhere stays visible as `waiting`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import replace
from math import inf
from random import Random

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa.coa_book import JobBook
from daemon.aaa.coa_client import CoaClient
from daemon.aaa.coa_hooks import CoaOptions, Hooks
from daemon.aaa.coa_job import (
    Answered,
    Intent,
    Job,
    JobState,
    JobView,
    Kind,
    Outcome,
    finished_row,
    from_row,
    view,
)
from daemon.aaa.coa_ladder import Ladder, Next, Sessions, Turn
from daemon.aaa.coa_pace import Pace
from daemon.aaa.coa_queue import Queue
from daemon.aaa.coa_target import target_of
from daemon.aaa.coa_timers import Spawn, Timer, Timers
from daemon.aaa.coa_verify import Verifier
from daemon.aaa.session import Session
from daemon.aaa.sessions import place
from daemon.clock import Clock
from daemon.store import jobs
from daemon.store.jobs import JobRow
from daemon.store.writer import Writer

_RECENT = 1000
_STORM_LOOK_S = 1.0
_SILENT = (Outcome.TIMEOUT, Outcome.UNREACHABLE)


class CoaEngine:
    """The engine; `run` is an eternal task. Everything happens in the event loop.

    `counts` are finished jobs by NAS, kind, outcome and cause; `requests` what was sent, by answer.
    """

    def __init__(
        self,
        client: CoaClient,
        sessions: Sessions,
        writer: Writer,
        clock: Clock,
        timers: Timers,
        random: Random,
        spawn: Spawn,
        hooks: Hooks,
        options: CoaOptions | None = None,
    ) -> None:
        self._options = options = options or CoaOptions()
        self._sessions = sessions
        self._clock = clock
        self._timers = timers
        self._random = random
        self._spawn = spawn
        self._hooks = hooks
        self._book = JobBook(writer, clock, timers)
        self._ladder = Ladder(client, sessions, clock, random, hooks.kick)
        self._verifier = Verifier(
            sessions, timers, clock, closed_s=options.verify_s, changed_s=options.verify_change_s
        )
        self._pace = Pace(options.pace, clock.monotonic())
        self._queue = Queue()
        self._current: dict[int, Job] = {}  # by session
        self._next: dict[int, Job] = {}  # what follows a job that is under way
        self._recent: deque[Job] = deque(maxlen=_RECENT)
        self._last_id = 0
        self._wake = asyncio.Event()
        self._alarm: Timer | None = None
        self.counts: Counter[tuple[str, str, str, str]] = Counter()

    @property
    def requests(self) -> Counter[tuple[str, str, str, str]]:
        """How many requests were sent, by NAS, kind (`probe` and `kick` too), answer and cause."""
        return self._ladder.counts

    async def load(self, engine: AsyncEngine) -> int:
        """Take up the jobs that were not finished; return how many. To be called once, with the sessions loaded."""
        self._last_id = await jobs.read_last_id(engine)
        rows = await jobs.read_unfinished(engine)
        for row in rows:
            self._resume(row)
        return len(rows)

    def _resume(self, row: JobRow) -> None:
        session = self._sessions.find_uid(row.session_uid)
        if session is None:
            self._bury(row, Outcome.NO_SESSION)
            return
        try:
            job = from_row(row, session, place(session.tenant, session.nas, session.box))
        except (ValueError, KeyError, TypeError):  # written by another version
            self._bury(row, Outcome.FAILED)
            return
        older = self._current.get(session.uid)
        if older is not None:
            self._finish(older, Outcome.SUPERSEDED)
        self._begin(job)
        if not job.intent.retries:  # whoever asked is not there any more
            self._finish(job, Outcome.UNABLE, note="restart")

    def _bury(self, row: JobRow, outcome: Outcome) -> None:
        """Finish a job that cannot be taken up."""
        self._book.note_row(finished_row(row, outcome, "restart", self._clock.wall()))
        self.counts[(row.nas, "", outcome, "restart")] += 1

    async def ask(self, session: Session, intent: Intent) -> Answered:
        """Submit and return what the NAS says to the next try, or that it says nothing; the job may go on.

        A session that has closed before is answered as such, without a word to the NAS.
        """
        return await asyncio.shield(self.submit(session, intent).answered)

    def submit(self, session: Session, intent: Intent) -> Job:
        """Let a session become what `intent` says; returns its job, or one at work that wants the same.

        A newer intent takes the place of one that waits, and follows one that is under way. Only a Disconnect
        that somebody asked for urgently stands against changes: the next login makes them anyway. This takes
        some 20 microseconds; whoever has thousands lets others have their turn in between.
        """
        current = self._current.get(session.uid)
        if current is None:
            return self._begin(self._new(session, intent))
        newest = self._next.get(session.uid, current)
        stands = newest.urgent and newest.intent.kind is Kind.DISCONNECT
        if newest.intent.same(intent) or (stands and intent.kind is Kind.CHANGE and not intent.urgent):
            if intent.retries and not newest.intent.retries and newest.intent.same(intent):
                newest.intent = replace(newest.intent, retries=True)
            if intent.urgent:
                newest.urgent = True
                self._hurry(newest)
            return newest
        job = self._new(session, intent)
        if current.state in (JobState.QUEUED, JobState.WAITING):
            self._finish(current, Outcome.SUPERSEDED)
            return self._begin(job)
        if newest is not current:
            self._finish(newest, Outcome.SUPERSEDED)
        self._next[session.uid] = job
        self._book.note(job)
        if not current.overtaken.done():
            current.overtaken.set_result(None)
        return job

    def jobs(self, *, finished: bool = False) -> list[JobView]:
        """Return the jobs at work, oldest first; with `finished` those that ended lately, latest first."""
        at = self._clock.wall()
        if finished:
            return [view(job, at) for job in reversed(self._recent)]
        at_work = sorted((*self._current.values(), *self._next.values()), key=lambda job: job.id)
        return [view(job, at) for job in at_work]

    def job_counts(self) -> Counter[str]:
        """Return how many jobs are at work, by state."""
        return Counter(str(job.state) for job in (*self._current.values(), *self._next.values()))

    def find(self, session_uid: int) -> Job | None:
        """Return the newest job at work for a session."""
        return self._next.get(session_uid) or self._current.get(session_uid)

    def hurry(self, box: bytes) -> None:
        """Try again at once what a box (see `aaa.sessions.place`) did not answer; it has been heard of again."""
        for job in list(self._current.values()):
            if job.box == box and job.outcome in _SILENT:
                self._hurry(job)

    def hurry_nas(self, tenant: str, nas: str) -> None:
        """Try again at once what the boxes of a NAS entry did not answer."""
        for box in {job.box for job in self._current.values() if (job.tenant, job.nas) == (tenant, nas)}:
            self.hurry(box)

    async def run(self) -> None:
        """Start turns for ever, as fast as the pace allows."""
        while True:
            self._wake.clear()
            next_at = self._dispatch()
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = None if next_at == inf else self._timers.at(next_at, self._wake.set)
            await self._wake.wait()

    def _new(self, session: Session, intent: Intent) -> Job:
        self._last_id += 1
        box = place(session.tenant, session.nas, session.box)
        return Job(self._last_id, session, intent, box, self._clock.wall())

    def _begin(self, job: Job) -> Job:
        self._current[job.session_uid] = job
        job.closing = self._sessions.closing(job.session_uid)
        job.closing.add_done_callback(lambda _: self._closed(job))
        self._book.note(job)
        self._enqueue(job)
        return job

    def _enqueue(self, job: Job) -> None:
        job.state = JobState.QUEUED
        job.next_at = None
        self._queue.put(job)
        self._wake.set()

    def _hurry(self, job: Job) -> None:
        if job.state is JobState.WAITING:
            if job.timer is not None:
                job.timer.cancel()
            self._enqueue(job)
        elif job.state is JobState.QUEUED and self._current.get(job.session_uid) is job:
            self._queue.put(job)  # once more, at the urgent end: the first that comes up counts
            self._wake.set()

    def _closed(self, job: Job) -> None:
        """The session of a job has closed; one under way sees that itself."""
        if job.state in (JobState.QUEUED, JobState.WAITING) and self._current.get(job.session_uid) is job:
            self._finish(job, *_gone(job))

    def _dispatch(self) -> float:
        """Start what may start; return when there may be more, as monotonic seconds."""
        now = self._clock.monotonic()
        soonest = inf
        for urgent in (True, False):
            if not urgent and self._queue.bulk and self._hooks.storm_active():
                return min(soonest, now + _STORM_LOOK_S)
            waiting = self._queue.boxes(urgent)
            while waiting:
                overall_at = self._pace.overall_ready_at(now)
                if overall_at > now:
                    return min(soonest, overall_at)
                still = []
                for box in waiting:
                    ready_at = self._pace.ready_at(box, now)
                    soonest = min(soonest, ready_at) if ready_at > now else soonest
                    job = self._queue.take(box, urgent) if ready_at <= now else None
                    if job is not None:
                        self._start(job, now)
                        still.append(box)
                waiting = still
        return soonest

    def _start(self, job: Job, now: float) -> None:
        job.state = JobState.RUNNING
        self._pace.start(job.box, now)
        self._spawn(self._work(job), f"coa-{job.id}")

    async def _work(self, job: Job) -> None:
        heard: bool | None = None
        try:
            try:
                await self._book.durable(job)
                turn = await self._turn(job)
                heard = turn.heard
            finally:
                self._release(job, heard)
            if turn.next is Next.CHECK:
                job.state = JobState.VERIFYING
                job.outcome, job.cause = turn.outcome, turn.cause
                job.answer()
                turn = await self._verifier.check(job, turn)
        except Exception:
            job.attempts += 1
            self._settle(job, Turn(next=Next.LATER, outcome=Outcome.FAILED, note="internal-error"))
            raise
        self._settle(job, turn)

    async def _turn(self, job: Job) -> Turn:
        session = job.session
        if session.closed_at is not None:
            outcome, note = _gone(job)
            return Turn(next=Next.DONE, outcome=outcome, note=note)
        entry = self._hooks.find(job.tenant, job.nas)
        if entry is None:
            return Turn(next=Next.DONE, outcome=Outcome.UNABLE, note="no-nas")
        target = target_of(entry.nas, session.box, self._hooks.source_of(session)) if entry.nas.coa else None
        turn = await self._ladder.climb(job, entry, target)
        if job.rung is Kind.CHANGE and turn.outcome.ok and job.intent.wanted is not None:
            self._hooks.on_applied(session, job.intent.wanted)
        elif turn.outcome is Outcome.NO_SESSION and turn.cause is not None:
            self._hooks.on_gone(session)
        return turn

    def _release(self, job: Job, heard: bool | None) -> None:
        change = self._pace.finish(job.box, heard, self._clock.monotonic())
        if change is not None:
            kind = "coa-nas-suspect" if change else "coa-nas-back"
            self._hooks.on_event(kind, job.session, nas=job.nas)
            if not change:
                self.hurry(job.box)
        self._wake.set()

    def _settle(self, job: Job, turn: Turn) -> None:
        """Do what follows from a turn."""
        job.outcome, job.cause, job.note = turn.outcome, turn.cause, turn.note
        lower = self._ladder.below(job.rung) if turn.next is Next.DOWN else None
        if turn.next is Next.DONE:
            self._finish(job, turn.outcome, turn.note)
        elif job.session.closed_at is not None:
            self._finish(job, *_gone(job))
        elif job.overtaken.done():
            self._finish(job, Outcome.SUPERSEDED)
        elif lower is not None and not job.intent.attributes:
            job.rung = lower
            self._book.note(job)
            self._enqueue(job)
        elif not job.intent.retries or job.intent.attributes:
            self._finish(job, turn.outcome, turn.note)
        else:
            self._wait(job)

    def _wait(self, job: Job) -> None:
        options = self._options
        doubled = options.first_retry_s * 2.0 ** min(max(job.attempts, 1) - 1, 20)
        delay_s = min(doubled, options.longest_retry_s) * (1 + self._random.uniform(-0.1, 0.1))
        if job.rung is Kind.KICK:
            job.rung = Kind.DISCONNECT
        job.state = JobState.WAITING
        job.next_at = self._clock.wall() + delay_s
        job.timer = self._timers.at(self._clock.monotonic() + delay_s, lambda: self._enqueue(job))
        job.answer()
        self._book.note(job)
        if job.attempts == options.most_attempts:
            self._tell(job)

    def _finish(self, job: Job, outcome: Outcome, note: str = "") -> None:
        if job.timer is not None:
            job.timer.cancel()
        job.outcome, job.note = outcome, note
        job.state = JobState.FINISHED
        job.finished_at = self._clock.wall()
        job.next_at = None
        job.end()
        self._ladder.forget(job)
        self._book.note(job)
        self._recent.append(job)
        self.counts[(job.nas, job.intent.kind, outcome, job.cause_slug)] += 1
        self._tell(job)
        if self._next.get(job.session_uid) is job:
            del self._next[job.session_uid]
        elif self._current.get(job.session_uid) is job:
            del self._current[job.session_uid]
            newer = self._next.pop(job.session_uid, None)
            if newer is not None:
                self._begin(newer)

    def _tell(self, job: Job) -> None:
        self._hooks.on_event(
            "coa-outcome",
            job.session,
            job=job.id,
            nas=job.nas,
            kind=job.intent.kind,
            rung=job.rung,
            state=job.state,
            outcome=job.outcome,
            cause=job.cause_slug,
            note=job.note,
            reason=job.intent.reason,
            why=job.intent.why,
            attempts=job.attempts,
        )


def _gone(job: Job) -> tuple[Outcome, str]:
    """Return how a job ends whose session has closed: a Disconnect that was sent has then done its work."""
    if job.rung is not Kind.CHANGE and job.attempts:
        return Outcome.VERIFIED, ""
    return Outcome.NO_SESSION, "closed"
