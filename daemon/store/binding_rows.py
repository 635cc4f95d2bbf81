"""Bindings of subscribers in the store: one row for each subscriber that is tied to something."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store.schema import BINDING


class BindingRow(NamedTuple):
    """One row; `detail` None deletes it."""

    tenant: str
    subscriber: str
    learned_at: float
    detail: bytes | None


async def save(connection: AsyncConnection, rows: list[BindingRow]) -> None:
    """Write rows, each in place of an earlier one."""
    for row in rows:
        if row.detail is None:
            mine = (BINDING.c.tenant == row.tenant) & (BINDING.c.subscriber == row.subscriber)
            await connection.execute(delete(BINDING).where(mine))
            continue
        statement = insert(BINDING).values(**row._asdict())
        await connection.execute(
            statement.on_conflict_do_update(
                index_elements=[BINDING.c.tenant, BINDING.c.subscriber],
                set_={"learned_at": row.learned_at, "detail": row.detail},
            )
        )


async def read_all(engine: AsyncEngine) -> list[BindingRow]:
    """Return every row."""
    async with engine.connect() as connection:
        columns = (BINDING.c.tenant, BINDING.c.subscriber, BINDING.c.learned_at, BINDING.c.detail)
        return [BindingRow(*row) for row in await connection.execute(select(*columns))]
