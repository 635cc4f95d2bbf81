"""The single writer: what has gathered is committed in one transaction, then everybody is told.

A producer hands in a `Work`. Its rows become durable together with those of all others that came while the
last commit was under way, so that thousands of records a second cost a handful of disk flushes. A work that
fails does not take the others with it: they are tried again one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.errors import StoreUnavailable


class Work(Protocol):
    """Rows to write; exactly one of `committed` and `failed` is called afterwards, in the event loop."""

    async def write(self, connection: AsyncConnection) -> None:
        """Execute statements; the writer owns the transaction."""

    def committed(self) -> None:
        """The rows are on disk."""

    def failed(self, error: StoreUnavailable) -> None:
        """Nothing of this work was stored."""


class _Once:
    """A work made of one coroutine function, for `Writer.commit`."""

    def __init__(self, execute: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        self._execute = execute
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def write(self, connection: AsyncConnection) -> None:
        await self._execute(connection)

    def committed(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def failed(self, error: StoreUnavailable) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Writer:
    """Owns the only connection that writes; `observe` is told the seconds and the outcome of each commit."""

    def __init__(
        self, engine: AsyncEngine, monotonic: Callable[[], float], observe: Callable[[float, bool], None]
    ) -> None:
        self._engine = engine
        self._monotonic = monotonic
        self._observe = observe
        self._works: list[Work] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.last_error: str | None = None

    def add(self, work: Work) -> None:
        """Let `work` be part of the next transaction."""
        self._works.append(work)
        self._idle.clear()
        self._wake.set()

    async def commit(self, execute: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Run `execute` in the next transaction and return once that is durable.

        Raises StoreUnavailable when it is not; then nothing of it is stored.
        """
        work = _Once(execute)
        self.add(work)
        await work.done

    async def drain(self) -> None:
        """Return when nothing waits to be written."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write for ever; to be started once, as a critical task."""
        async with self._engine.connect() as reading:
            connection = await reading.execution_options(writes=True)
            while True:
                await self._wake.wait()
                self._wake.clear()
                works, self._works = self._works, []
                if works:
                    await self._write(connection, works)
                if not self._works:
                    self._idle.set()

    async def _write(self, connection: AsyncConnection, works: list[Work]) -> None:
        error = await self._transaction(connection, works)
        if error is None:
            for work in works:
                work.committed()
        elif len(works) == 1:
            works[0].failed(error)
        else:
            for work in works:
                await self._write(connection, [work])

    async def _transaction(self, connection: AsyncConnection, works: list[Work]) -> StoreUnavailable | None:
        began = self._monotonic()
        try:
            async with connection.begin():
                for work in works:
                    await work.write(connection)
        except Exception as reason:  # noqa: BLE001 - one bad row, of whatever kind, must not end all writing
            lines = str(getattr(reason, "orig", None) or reason).splitlines()
            self.last_error = lines[0] if lines else type(reason).__name__
            self._observe(self._monotonic() - began, False)
            return StoreUnavailable(self.last_error)
        self.last_error = None
        self._observe(self._monotonic() - began, True)
        return None
