"""Jobs that may start, by box: urgent ones first, then those that end what may not be online, boxes in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum

from daemon.aaa.coa.job import Intent, Job, JobState, Kind

MOST_HELD_S = 600.0
"""How long after the beginning of a storm changes are held back: a storm that does not end is something else."""

_CHANGED = "data-changed"  # the end of a session is then only the way to change it


class Lane(IntEnum):
    """What goes before what."""

    URGENT = 0
    ENDS = 1  # who may not be online any more loses the session in a storm, too
    CHANGES = 2


def lane_of(job: Job) -> Lane:
    """Return the lane of a job; a change that has become a Disconnect is still a change."""
    if job.urgent:
        return Lane.URGENT
    return Lane.ENDS if _rejected(job.intent) else Lane.CHANGES


def _rejected(intent: Intent) -> bool:
    return intent.kind is Kind.DISCONNECT and intent.reason != _CHANGED


class Queue:
    """Holds jobs; one that is taken up elsewhere meanwhile is passed over when its turn comes."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, dict[bytes, deque[Job]]] = {lane: {} for lane in Lane}

    def has(self, lane: Lane) -> bool:
        """Tell whether there are jobs in a lane."""
        return bool(self._lanes[lane])

    def put(self, job: Job) -> None:
        """Add a job at the end of its box's queue."""
        self._lanes[lane_of(job)].setdefault(job.box, deque()).append(job)

    def boxes(self, lane: Lane) -> list[bytes]:
        """Return the boxes that have jobs, the one served longest ago first."""
        return list(self._lanes[lane])

    def take(self, box: bytes, lane: Lane) -> Job | None:
        """Return the next job of a box, None where there is none; the box goes to the end of the row."""
        boxes = self._lanes[lane]
        jobs = boxes.pop(box, None)
        while jobs:
            job = jobs.popleft()
            if job.state is not JobState.QUEUED:
                continue
            if jobs:
                boxes[box] = jobs
            return job
        return None


class Hold:
    """Holds changes back while subscribers come back in a storm, for ten minutes of it at the longest."""

    def __init__(self, storm_active: Callable[[], bool]) -> None:
        self._storm_active = storm_active
        self._since: float | None = None

    @property
    def storm(self) -> bool:
        """Whether there was a storm at the last look: somebody has to look whether it is over."""
        return self._since is not None

    def look(self, now: float) -> bool:
        """Tell whether changes wait; `now` is monotonic seconds."""
        if not self._storm_active():
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since < MOST_HELD_S
