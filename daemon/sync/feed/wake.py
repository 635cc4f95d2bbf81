"""Waiting that somebody else can end: an operator does not wait for the end of a poll."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Woken(Exception):
    """The wait was ended: its time was over, or somebody rang."""


class Wake:
    """One who waits. A ring that comes when nobody waits ends the next wait at once."""

    def __init__(self) -> None:
        self._rung = False
        self._timeout: asyncio.Timeout | None = None

    def ring(self) -> None:
        """End the wait that there is, or the next one."""
        self._rung = True
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def held(self, within_s: float | None = None) -> AsyncIterator[None]:
        """Wait inside. Raises Woken once it rings, or after `within_s`."""
        try:
            async with asyncio.timeout(0 if self._rung else within_s) as self._timeout:
                yield
        except TimeoutError:
            raise Woken from None
        finally:
            self._timeout = None
            self._rung = False
