"""How far back the edge's own records of who had what go."""

from __future__ import annotations

from sqlalchemy import func, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.store.audit_rows import AUDIT
from daemon.store.cgnat_rows import BLOCK
from daemon.store.session_addresses import SESSION_ADDRESS

_AGES = (SESSION_ADDRESS.c.closed_at, BLOCK.c.until, AUDIT.c.at)  # each has an index


async def oldest(connection: AsyncConnection) -> float | None:
    """Return the epoch second by which the oldest record that may go one day is as old as it is; None for none."""
    rows = await connection.execute(union_all(*(select(func.min(age)) for age in _AGES)))
    return min((at for (at,) in rows if at is not None), default=None)
