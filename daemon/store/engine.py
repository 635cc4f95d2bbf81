"""The database engine: SQLite in WAL mode that is durable at every commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine


def open_engine(path: Path, *, busy_timeout_s: float, wal_checkpoint_pages: int) -> AsyncEngine:
    """Return an engine on the SQLite file at `path`; the directory must exist.

    `synchronous=FULL` makes a commit wait for the disk. Transactions start with BEGIN IMMEDIATE, so that a
    writer never has to upgrade a read transaction and fail half-way.
    """
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}",
        connect_args={"timeout": busy_timeout_s},
        hide_parameters=True,  # else the rows of a failed statement would be in its error text
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: Any) -> None:  # the driver's own connection type
        connection.isolation_level = None  # SQLAlchemy's begin event below starts transactions
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            f"wal_autocheckpoint={wal_checkpoint_pages}",
            "temp_store=MEMORY",
            "cache_size=-65536",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        if connection.get_execution_options().get("writes", False):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


async def checkpoint(connection: AsyncConnection) -> None:
    """Move what is in the write-ahead log into the database file without making a writer wait."""
    await connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
