"""The CoA engine: makes live sessions what they are wanted to be, and does not rest before they are.

There is one job for each session at a time, and at most one question of the platform beside it. It is on disk
before its first packet, it is paced, its effect is looked for, and it is tried again until the session matches,
is closed, or is wanted otherwise. A job that gets nowhere stays visible as `waiting`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from random import Random

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa.coa.board import Board
from daemon.aaa.coa.book import JobBook
from daemon.aaa.coa.client import CoaClient
from daemon.aaa.coa.hooks import CoaOptions, Hooks, tell
from daemon.aaa.coa.job import (
    Answered,
    Intent,
    Job,
    JobState,
    JobView,
    Kind,
    Outcome,
    alike,
    finished_row,
    from_row,
)
from daemon.aaa.coa.ladder import Ladder, Next, Turn
from daemon.aaa.coa.names import Sessions
from daemon.aaa.coa.queue import Hold
from daemon.aaa.coa.repeats import Repeats
from daemon.aaa.coa.starter import Starter
from daemon.aaa.coa.target import target_of
from daemon.aaa.coa.timers import Spawn, Timers
from daemon.aaa.coa.verify import Verifier
from daemon.aaa.coa.wire import ErrorCause
from daemon.aaa.session import Session
from daemon.aaa.sessions import place
from daemon.clock import Clock
from daemon.store import jobs
from daemon.store.jobs import JobRow
from daemon.store.writer import Writer

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
        self._starter = Starter(options.pace, Hold(hooks.storm_active), clock, timers, self._start)
        self._repeats = Repeats(self._ladder.lives)
        self._board = Board()
        self._last_id = 0
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
        if not job.intent.retries:  # whoever asked is not there any more
            self._bury(row, Outcome.UNABLE)
            return
        older = self._board.current.get(session.uid)
        if older is not None:
            self._finish(older, Outcome.SUPERSEDED)
        self._begin(job)

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
        that somebody asked for urgently stands against changes: the next login makes them anyway. An intent
        that is tried once is asked beside one that lasts. What has just failed waits before it is tried again.
        This takes some 20 microseconds; whoever has thousands lets others have their turn in between.
        """
        current = self._board.current.get(session.uid)
        if current is None:
            return self._begin(self._new(session, intent))
        newest = self._board.following.get(session.uid, current)
        stands = newest.urgent and newest.intent.kind is Kind.DISCONNECT
        if newest.intent.same(intent) or (stands and intent.kind is Kind.CHANGE and not intent.urgent):
            return self._join(newest, intent)
        if newest.intent.retries and not intent.retries:
            return self._ask_beside(session, intent)
        job = self._new(session, intent)
        job.inherit(newest)
        if current.state in (JobState.QUEUED, JobState.WAITING):
            self._finish(current, Outcome.SUPERSEDED)
            return self._begin(job)
        if newest is not current:
            self._finish(newest, Outcome.SUPERSEDED)
        self._board.following[session.uid] = job
        self._board.put(job)
        self._book.note(job)
        current.overtake()
        return job

    def _join(self, job: Job, intent: Intent) -> Job:
        """Let a job at work do for an intent, too: with its timers, and as lastingly and urgently as it wants."""
        now = job.intent
        if now.same(intent):
            job.intent = replace(
                now, wanted=intent.wanted, may_end=intent.may_end, retries=now.retries or intent.retries
            )
        if intent.urgent:
            job.urgent = True
            self._hurry(job)
        return job

    def _ask_beside(self, session: Session, intent: Intent) -> Job:
        """Ask once, without a change to the job that lasts; one such question at a time."""
        beside = self._board.beside.get(session.uid)
        if beside is not None and beside.intent.same(intent):
            return beside
        job = self._new(session, intent)
        self._board.put(job)
        self._follow_session(job)
        if beside is not None:
            job.cause = ErrorCause.RESOURCES_UNAVAILABLE
            self._finish(job, Outcome.NAKED, "busy")
            return job
        self._board.beside[session.uid] = job
        self._book.note(job)
        self._enqueue(job)
        return job

    def withdraw(self, session_uid: int, reasons: Collection[str] | None = None) -> None:
        """The session is as the data want it again: do not go on with what lasts and nobody waits for.

        With `reasons`, only with a job for one of these. A change that the NAS may have made without telling us
        is undone: a job then says once more what the session has.
        """
        job = self._board.newest(session_uid)
        if job is None or job.urgent or not job.intent.retries or job.state is JobState.VERIFYING:
            return
        intent, applied = job.intent, job.session.applied
        if reasons is not None and intent.reason not in reasons:
            return
        if applied is not None and intent.wanted is not None and alike(intent.wanted, applied):
            return  # it says what is so, or the NAS has taken it and its effect did not show
        under_way = job.state is JobState.RUNNING
        perhaps_changed = self._ladder.unsure(session_uid) or (under_way and job.rung is Kind.CHANGE)
        if applied is not None and perhaps_changed:
            back = Intent(
                kind=Kind.CHANGE, reason=intent.reason, why="went back", wanted=applied, may_end=False
            )
            self.submit(job.session, back)
        elif under_way:
            job.overtake()
        else:
            self._finish(job, Outcome.SUPERSEDED)

    def jobs(self, *, finished: bool = False, limit: int | None = None, offset: int = 0) -> list[JobView]:
        """Return the jobs at work, oldest first; with `finished` those that ended lately, latest first."""
        return self._board.views(self._clock.wall(), finished=finished, limit=limit, offset=offset)

    def job_counts(self) -> Counter[str]:
        """Return how many jobs are at work, by state."""
        return self._board.counts()

    def find(self, session_uid: int) -> Job | None:
        """Return the newest job at work for a session."""
        return self._board.newest(session_uid)

    def hurry(self, box: bytes) -> None:
        """Try again at once what a box (see `aaa.sessions.place`) did not answer; it has been heard of again."""
        for job in list(self._board.current.values()):
            if job.box == box and job.outcome in _SILENT:
                self._hurry(job)

    def hurry_nas(self, tenant: str, nas: str) -> None:
        """Try again at once what the boxes of a NAS entry did not answer."""
        for job in list(self._board.current.values()):
            if (job.tenant, job.nas) == (tenant, nas) and job.outcome in _SILENT:
                self._hurry(job)

    async def run(self) -> None:
        """Start turns for ever, as fast as the pace allows."""
        await self._starter.run()

    def _new(self, session: Session, intent: Intent) -> Job:
        self._last_id += 1
        box = place(session.tenant, session.nas, session.box)
        return Job(self._last_id, session, intent, box, self._clock.wall())

    def _begin(self, job: Job) -> Job:
        self._board.current[job.session_uid] = job
        self._board.put(job)
        self._follow_session(job)
        wait_s = self._repeats.wait_s(job.session_uid, job.intent, self._clock.monotonic())
        if wait_s:
            job.note = "failed-before"
            self._sleep(job, wait_s)
        else:
            self._enqueue(job)
        self._book.note(job)
        return job

    def _follow_session(self, job: Job) -> None:
        job.closing = self._sessions.closing(job.session_uid)
        job.on_closed = partial(self._closed, job)
        job.closing.add_done_callback(job.on_closed)

    def _enqueue(self, job: Job) -> None:
        self._board.move(job, JobState.QUEUED)
        job.next_at = None
        self._starter.put(job)

    def _hurry(self, job: Job) -> None:
        if job.state is JobState.WAITING:
            if job.timer is not None:
                job.timer.cancel()
            self._enqueue(job)
        elif job.state is JobState.QUEUED and self._board.current.get(job.session_uid) is job:
            self._starter.put(job)  # once more, at the urgent end: the first that comes up counts

    def _closed(self, job: Job, _closing: object) -> None:
        """The session of a job has closed; one under way sees that itself."""
        if job.state in (JobState.QUEUED, JobState.WAITING):
            self._finish(job, *job.gone())

    def _start(self, job: Job) -> None:
        self._board.move(job, JobState.RUNNING)
        current = self._board.current.get(job.session_uid, job)
        if current is not job and current.state is JobState.VERIFYING and current.rung is Kind.CHANGE:
            current.overtake()  # accounting will show what is now set beside it
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
        except Exception:
            job.attempts += 1
            self._settle(job, Turn(next=Next.LATER, outcome=Outcome.FAILED, note="internal-error"))
            raise
        if turn.next is Next.CHECK:
            self._board.move(job, JobState.VERIFYING)
            job.outcome, job.cause = turn.outcome, turn.cause
            job.answer()
            self._verifier.watch(job, turn, partial(self._settle, job))
        else:
            self._settle(job, turn)

    async def _turn(self, job: Job) -> Turn:
        session = job.session
        if session.closed_at is not None:
            outcome, note = job.gone()
            return Turn(next=Next.DONE, outcome=outcome, note=note)
        entry = self._hooks.find(job.tenant, job.nas)
        if entry is None:
            return Turn(next=Next.DONE, outcome=Outcome.UNABLE, note="no-nas")
        target = target_of(entry.nas, session.box, self._hooks.source_of(session)) if entry.nas.coa else None
        wanted = job.intent.wanted  # the timers of the intent may change while the NAS is asked
        turn = await self._ladder.climb(job, entry, target)
        if job.rung is Kind.CHANGE and turn.outcome.ok and wanted is not None:
            self._hooks.on_applied(session, wanted)
        elif turn.outcome is Outcome.NO_SESSION and turn.cause is not None:
            self._hooks.on_gone(session)
        return turn

    def _release(self, job: Job, heard: bool | None) -> None:
        change = self._starter.release(job, heard)
        if change is not None:
            kind = "coa-nas-suspect" if change else "coa-nas-back"
            self._hooks.on_event(kind, job.session, nas=job.nas)
            if not change:
                self.hurry(job.box)

    def _settle(self, job: Job, turn: Turn) -> None:
        """Do what follows from a turn."""
        job.outcome, job.cause, job.note = turn.outcome, turn.cause, turn.note
        lower = self._ladder.below(job.rung) if turn.next is Next.DOWN else None
        if turn.next is Next.DONE:
            self._finish(job, turn.outcome, turn.note)
        elif job.session.closed_at is not None:
            self._finish(job, *job.gone())
        elif job.overtaken.done():
            self._finish(job, Outcome.SUPERSEDED)
        elif lower is Kind.DISCONNECT and not job.intent.may_end:
            self._finish(job, turn.outcome or Outcome.UNABLE, turn.note)
        elif lower is not None and not job.intent.attributes:
            job.rung = lower
            self._enqueue(job)
            self._book.note(job)
        elif not job.intent.retries or job.intent.attributes:
            self._finish(job, turn.outcome, turn.note)
        else:
            self._wait(job)

    def _wait(self, job: Job) -> None:
        options = self._options
        doubled = options.first_retry_s * 2.0 ** min(max(job.attempts, 1) - 1, 20)
        if job.rung is Kind.KICK:
            job.rung = Kind.DISCONNECT
        self._sleep(job, min(doubled, options.longest_retry_s) * (1 + self._random.uniform(-0.1, 0.1)))
        job.answer()
        self._book.note(job)
        if job.attempts == options.most_attempts:
            tell(self._hooks.on_event, job)

    def _sleep(self, job: Job, delay_s: float) -> None:
        self._board.move(job, JobState.WAITING)
        job.next_at = self._clock.wall() + delay_s
        job.timer = self._timers.at(self._clock.monotonic() + delay_s, partial(self._enqueue, job))

    def _finish(self, job: Job, outcome: Outcome, note: str = "") -> None:
        if job.timer is not None:
            job.timer.cancel()
        if job.on_closed is not None:
            job.closing.remove_done_callback(job.on_closed)
            job.on_closed = None
        job.outcome, job.note = outcome, note
        job.finished_at = self._clock.wall()
        job.next_at = None
        follows = self._board.end(job)
        job.end()
        self._ladder.forget(job)
        self._repeats.ended(job, self._clock.monotonic())
        self._book.note(job)
        self.counts[(job.nas, job.intent.kind, outcome, job.cause_slug)] += 1
        tell(self._hooks.on_event, job)
        if follows is not None:
            follows.inherit(job)
            self._begin(follows)
