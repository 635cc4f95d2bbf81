"""One definition at a time: stored first, then in force. What all kinds of definitions have in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.errors import StoreUnavailable
from daemon.events import Events
from daemon.leases.addresses import Addresses
from daemon.replica.index import Index

Value = TypeVar("Value")

Spawn = Callable[[Coroutine[Any, Any, object], str], None]
"""Runs a short-lived task to its end; the name is for its reports."""


class Desk:
    """Where every change of a definition queues.

    `doubtful`: a commit failed, and it is not known whether the store has the change: it is to be read again.
    """

    def __init__(
        self, addresses: Addresses[Any], index: Index, events: Events, spawn: Spawn, block_slots: int
    ) -> None:
        self.addresses = addresses
        self.index = index
        self.events = events
        self.block_slots = block_slots
        self.doubtful = False
        self._lock = asyncio.Lock()
        self._spawn = spawn

    @property
    def shared(self) -> bool:
        """Whether other nodes change the same definitions."""
        return self.addresses.options.shared

    async def alone(self, operation: Callable[[], Coroutine[Any, Any, Value]]) -> Value:
        """Run an operation while no other runs. It comes to its end even where its caller gives up."""

        done: asyncio.Future[Value] = asyncio.get_running_loop().create_future()

        async def locked() -> None:
            try:
                async with self._lock:
                    value = await operation()
            except BaseException as error:  # told to who asked; a task of its own has nobody to tell
                if not done.done():
                    done.set_exception(_told(error))
                if not isinstance(error, Exception):
                    raise
            else:
                if not done.done():
                    done.set_result(value)

        self._spawn(locked(), "definitions")
        return await done

    async def commit(self, write: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Make rows durable. Raises StoreUnavailable."""
        try:
            await self.addresses.writer.commit(write)
        except StoreUnavailable:
            self.doubtful = True
            raise

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Read the store. Raises StoreUnavailable, whatever the database or its driver raises."""
        try:
            async with self.addresses.engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise StoreUnavailable(str(error).partition("\n")[0]) from error

    async def stored(self, serial: int | None) -> None:
        """Return once a change of leases is on disk, too. Raises StoreUnavailable."""
        if serial:
            await self.addresses.lessor.stored(serial)


def _told(error: BaseException) -> Exception:
    """Return an error that a future may have: the daemon stops, or what was raised."""
    return error if isinstance(error, Exception) else StoreUnavailable("the daemon stops")
