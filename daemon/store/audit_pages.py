"""The audit a page at a time, in the order of its numbers."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.store.audit_rows import AUDIT, AuditRow


async def last_id(engine: AsyncEngine) -> int:
    """Return the highest number in the table, 0 for none."""
    async with engine.connect() as connection:
        return int((await connection.execute(select(func.max(AUDIT.c.id)))).scalar() or 0)


async def after(engine: AsyncEngine, last: int, limit: int) -> list[AuditRow]:
    """Return up to `limit` rows after a number, in order."""
    query = select(AUDIT).where(AUDIT.c.id > last).order_by(AUDIT.c.id).limit(limit)
    async with engine.connect() as connection:
        return [AuditRow(*row) for row in await connection.execute(query)]
