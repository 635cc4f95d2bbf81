"""The database engines: SQLite in WAL mode that is durable at every commit, and a PostgreSQL that nodes share."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from daemon.clock import Clock
from daemon.errors import DaemonError

_BACKSTOP = 8
_DRIVER = "asyncpg"
_IDLE_MS = 10_000
_CONNECTIONS = 4  # the writer, the loop of the nodes, the definitions, a lookup


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


class StoreUnusable(DaemonError):
    """The settings name a shared store that this installation cannot use; the text says what to do."""

    slug = "store-unusable"


def open_shared_engine(
    url: str,
    *,
    name: str,
    connect_timeout_s: float = 3.0,
    statement_timeout_s: float = 5.0,
    answer_timeout_s: float = 30.0,
) -> AsyncEngine:
    """Return an engine on the PostgreSQL database at `postgresql://USER:PASSWORD@HOST/NAME`; nothing is connected.

    `name` is what the database shows of its connections. Whatever hangs is given up: a connect, a statement, a
    lock; and on our side, where the network swallows everything, the wait for an answer, which may be that to a
    hundred thousand rows. Raises StoreUnusable.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreUnusable(
            "ipam.shared_store is no URL of a database, expected postgresql://USER:PASSWORD@HOST/NAME"
        ) from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise StoreUnusable(
            f"ipam.shared_store names a {parsed.get_backend_name()} database, expected "
            "postgresql://USER:PASSWORD@HOST/NAME"
        )
    if find_spec(_DRIVER) is None:
        raise StoreUnusable(
            f"ipam.shared_store needs the Python package {_DRIVER}: "
            "pip install 'dotmac-edge[postgresql]', or take the setting out"
        )
    limit_ms = str(int(statement_timeout_s * 1000))
    return create_async_engine(
        parsed.set(drivername=f"postgresql+{_DRIVER}"),
        hide_parameters=True,
        pool_pre_ping=True,
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_timeout=connect_timeout_s,
        connect_args={
            "timeout": connect_timeout_s,
            "command_timeout": answer_timeout_s,
            "server_settings": {
                "application_name": name,
                "statement_timeout": limit_ms,
                "lock_timeout": limit_ms,
                # A node that dies in a transaction keeps its locks so long; one whose loop is busy must not lose them.
                "idle_in_transaction_session_timeout": str(_IDLE_MS),
            },
        },
    )


async def keep_short(path: Path, pages: int, clock: Clock) -> None:
    """Keep the log of the database at `path` short for ever; above `pages` it is begun anew."""
    while True:
        await clock.sleep(1.0)
        await asyncio.to_thread(checkpoint, path, pages)


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
