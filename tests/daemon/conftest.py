"""A store in a temporary directory, with its writer running."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.store.engine import open_engine
from daemon.store.migrate import migrate
from daemon.store.writer import Writer


class Store:
    """An engine on a file, and the writer on it."""

    def __init__(self, path: Path) -> None:
        self.engine: AsyncEngine = open_engine(path, busy_timeout_s=1.0, wal_checkpoint_pages=1000)
        self.commits: list[bool] = []
        self.writer = Writer(
            self.engine, time.monotonic, lambda _seconds, durable: self.commits.append(durable)
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Store]:
        """Migrate, run the writer meanwhile, close."""
        await migrate(self.engine)
        task = asyncio.create_task(self.writer.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.engine.dispose()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store that is not running yet: `async with store.running()`."""
    return Store(tmp_path / "edge.db")
