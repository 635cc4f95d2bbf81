"""The database engine: SQLite in WAL mode that is durable at every commit."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_BACKSTOP = 8


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
            f"wal_autocheckpoint={_BACKSTOP * wal_checkpoint_pages}",  # `checkpoint` below comes first
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


def checkpoint(path: Path, restart_above_pages: int) -> bool:
    """Move the write-ahead log into the database file, beside the writer; False where that was not possible now.

    Blocks, so call it in a thread. A log that is longer than `restart_above_pages` is begun anew, for which the
    writer waits a moment; without that, a busy writer would make it grow for ever.
    """
    try:
        with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as connection:
            _, in_log, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if in_log > restart_above_pages:
                connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    except sqlite3.Error:  # locked or full; the next one will do
        return False
    return True
