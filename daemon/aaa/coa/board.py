"""The jobs at work: which one a session has, which follows it, which is asked beside it; and those ended lately."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from itertools import islice

from daemon.aaa.coa.job import Job, JobState, JobView, view

_RECENT = 1000


class Board:
    """Holds the jobs. `current`, `following` and `beside` are by session; only the engine puts jobs there.

    A job beside the current one is a single question of somebody who waits for its answer.
    """

    def __init__(self) -> None:
        self.current: dict[int, Job] = {}
        self.following: dict[int, Job] = {}
        self.beside: dict[int, Job] = {}
        self._by_id: dict[int, Job] = {}  # the oldest first
        self._counts: Counter[str] = Counter()
        self._recent: deque[Job] = deque(maxlen=_RECENT)

    def put(self, job: Job) -> None:
        """Take in a job, once or again."""
        if job.id not in self._by_id:
            self._by_id[job.id] = job
            self._counts[job.state] += 1

    def move(self, job: Job, state: JobState) -> None:
        """Let a job be in another state."""
        if job.id in self._by_id:
            self._counts[job.state] -= 1
            self._counts[state] += 1
        job.state = state

    def end(self, job: Job) -> Job | None:
        """Let a job go that is finished; return the one that follows it, if it was the current one."""
        self.move(job, JobState.FINISHED)
        if self._by_id.pop(job.id, None) is not None:
            self._counts[JobState.FINISHED] -= 1
        self._recent.append(job)
        for jobs in (self.following, self.beside):
            if jobs.get(job.session_uid) is job:
                del jobs[job.session_uid]
        if self.current.get(job.session_uid) is not job:
            return None
        del self.current[job.session_uid]
        return self.following.pop(job.session_uid, None)

    def newest(self, session_uid: int) -> Job | None:
        """Return what a session is to become last."""
        return self.following.get(session_uid) or self.current.get(session_uid)

    def counts(self) -> Counter[str]:
        """Return how many jobs are at work, by state."""
        return +self._counts

    def __len__(self) -> int:
        return len(self._by_id)

    def views(self, at: float, *, finished: bool, limit: int | None, offset: int) -> list[JobView]:
        """Return jobs at work, oldest first, or ended lately, latest first, as they are at the epoch time `at`."""
        jobs: Iterable[Job] = reversed(self._recent) if finished else self._by_id.values()
        stop = None if limit is None else offset + limit
        return [view(job, at) for job in islice(jobs, offset, stop)]
