"""Keeps CoA jobs in the store: rows are written in slices, and no packet is sent before its job is durable."""

from __future__ import annotations

import asyncio
from itertools import islice

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.aaa.coa.job import Job, to_row
from daemon.aaa.coa.timers import Timers
from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.store import jobs
from daemon.store.jobs import JobRow
from daemon.store.writer import Writer

_SLICE = 100  # rows in one transaction: an acknowledgement of accounting waits for no more than these
_AGAIN_S = 1.0


class _Slice:
    """Some rows on their way to the disk; a `Work` of the writer."""

    def __init__(self, book: JobBook, rows: list[JobRow]) -> None:
        self._book = book
        self._rows = rows

    async def write(self, connection: AsyncConnection) -> None:
        await jobs.save(connection, self._rows)

    def committed(self) -> None:
        self._book.written(self._rows)

    def failed(self, _error: StoreUnavailable) -> None:
        self._book.refused(self._rows)


class JobBook:
    """Writes what it is given, the newest state of each job, and tells when it is on disk.

    While the store refuses, rows are kept and tried again; nothing that waits for them goes on.
    """

    def __init__(self, writer: Writer, clock: Clock, timers: Timers) -> None:
        self._writer = writer
        self._clock = clock
        self._timers = timers
        self._urgent: dict[int, JobRow] = {}  # somebody waits for these
        self._dirty: dict[int, JobRow] = {}
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._writing: set[int] = set()
        self.failing = False

    def note(self, job: Job) -> None:
        """Write the job as it is now, soon."""
        self.note_row(to_row(job), urgent=job.urgent)

    def note_row(self, row: JobRow, *, urgent: bool = False) -> None:
        """Write a row, soon; an urgent one before all others."""
        if urgent or row.id in self._urgent:
            self._dirty.pop(row.id, None)
            self._urgent[row.id] = row
        else:
            self._dirty[row.id] = row
        self._write()

    async def durable(self, job: Job) -> None:
        """Return once all that was noted of the job is on disk."""
        while job.id in self._dirty or job.id in self._urgent or job.id in self._writing:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(job.id, []).append(future)
            await future

    def _write(self) -> None:
        if self._writing or self.failing or not (self._urgent or self._dirty):
            return
        rows = [self._urgent.pop(number) for number in list(islice(self._urgent, _SLICE))]
        rows += [self._dirty.pop(number) for number in list(islice(self._dirty, _SLICE - len(rows)))]
        self._writing = {row.id for row in rows}
        self._writer.add(_Slice(self, rows))

    def written(self, rows: list[JobRow]) -> None:
        """The rows are on disk."""
        self._writing = set()
        for row in rows:
            for future in self._waiting.pop(row.id, ()):
                if not future.done():
                    future.set_result(None)
        self._write()

    def refused(self, rows: list[JobRow]) -> None:
        """The rows were not stored: try again in a while, with what is newer where there is something."""
        self._writing = set()
        for row in rows:
            if row.id not in self._urgent:
                self._dirty.setdefault(row.id, row)
        self.failing = True
        self._timers.at(self._clock.monotonic() + _AGAIN_S, self._again)

    def _again(self) -> None:
        self.failing = False
        self._write()
