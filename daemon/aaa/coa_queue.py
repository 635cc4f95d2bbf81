"""Jobs that may start, by box: urgent ones first, boxes in turn."""

from __future__ import annotations

from collections import deque

from daemon.aaa.coa_job import Job, JobState


class Queue:
    """Holds jobs; one that is taken up elsewhere meanwhile is passed over when its turn comes."""

    def __init__(self) -> None:
        self._urgent: dict[bytes, deque[Job]] = {}
        self._bulk: dict[bytes, deque[Job]] = {}

    @property
    def bulk(self) -> bool:
        """Tell whether there are jobs that are not urgent."""
        return bool(self._bulk)

    def put(self, job: Job) -> None:
        """Add a job at the end of its box's queue."""
        lanes = self._urgent if job.urgent else self._bulk
        lanes.setdefault(job.box, deque()).append(job)

    def boxes(self, urgent: bool) -> list[bytes]:
        """Return the boxes that have jobs, the one served longest ago first."""
        return list(self._urgent if urgent else self._bulk)

    def take(self, box: bytes, urgent: bool) -> Job | None:
        """Return the next job of a box, None where there is none; the box goes to the end of the row."""
        lanes = self._urgent if urgent else self._bulk
        lane = lanes.pop(box, None)
        while lane:
            job = lane.popleft()
            if job.state is not JobState.QUEUED:
                continue
            if lane:
                lanes[box] = lane
            return job
        return None
