"""The database of a radacct table: an engine that never waits for ever, and which of its errors are of a row.

The database is somebody else's and far away. Whatever hangs is given up: a connect, a statement, a lock; and on our
side, where the network swallows everything, a whole transaction, with its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import func, make_url, select, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

CONNECT_S = 5.0
COMMAND_S = 15.0
ANSWER_S = 25.0  # of a whole transaction
_STATEMENT_S = 10
_CONNECTIONS = 2  # sessions and refused logins
_ROW_STATES = ("22", "23")  # SQL: data exception, integrity constraint violation
_MYSQL_ROW_ERRORS = frozenset(
    {1264, 1265, 1267, 1270, 1271, 1292, 1300, 1366, 1367, 1406, 1441, 1690, 3819, 3988, 4025}
)  # out of range, too long, no such value or character, a CHECK that failed


def open_table_engine(url: str) -> AsyncEngine:
    """Return an engine on a database of somebody else's; `url` names its driver. Nothing is connected."""
    parsed = make_url(url)
    given: dict[str, Any] = {"connect_timeout": CONNECT_S}
    if parsed.get_backend_name() == "postgresql":
        given = {
            "timeout": CONNECT_S,
            "command_timeout": COMMAND_S,
            "server_settings": {"application_name": "dotmac-edge"},
        }
    return create_async_engine(
        parsed,
        hide_parameters=True,  # else names and addresses of subscribers would be in error texts
        pool_size=_CONNECTIONS,
        max_overflow=0,
        pool_pre_ping=True,
        pool_timeout=CONNECT_S,
        connect_args=given,
    )


@asynccontextmanager
async def begun(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Yield a connection in a transaction; raises TimeoutError after ANSWER_S, and the connection is closed then.

    A statement that is cancelled leaves its connection in no known state; SQLAlchemy throws such a one away.
    """
    async with asyncio.timeout(ANSWER_S), engine.begin() as connection:
        await _short(connection, engine.dialect.name != "postgresql")
        yield connection


async def _short(connection: AsyncConnection, mysql: bool) -> None:
    """Give up on statements of this transaction that take longer: a lock of somebody else must not keep us."""
    if mysql:
        await connection.execute(text(f"SET SESSION innodb_lock_wait_timeout = {_STATEMENT_S}"))
    else:
        await connection.execute(select(func.set_config("statement_timeout", f"{_STATEMENT_S}s", True)))


def is_of_a_row(error: Exception) -> bool:
    """Tell whether a row was refused for what it says, which asking again does not change."""
    if isinstance(error, (DataError, IntegrityError)):
        return True
    if not isinstance(error, DBAPIError):  # a driver could not even write it
        return isinstance(error, (ValueError, OverflowError))
    cause: BaseException | None = error.orig
    while cause is not None:  # asyncpg's own error lies below the one that SQLAlchemy makes of it
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str) and state.startswith(_ROW_STATES):
            return True
        if isinstance(cause, (ValueError, OverflowError)):
            return True
        code = cause.args[0] if cause.args else None
        if isinstance(code, int) and code in _MYSQL_ROW_ERRORS:
            return True
        cause = cause.__cause__
    return False


def said(error: Exception) -> str:
    """Return what a database said, without statement and values."""
    lines = str(getattr(error, "orig", None) or error).splitlines()
    if not lines and isinstance(error, TimeoutError):
        return f"the database has not answered for {ANSWER_S:.0f} s"
    return lines[0][:200] if lines else type(error).__name__
