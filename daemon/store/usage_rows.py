"""Usage rows: written together with the session rows they were counted from, read at start.

`save` takes a connection, so that the keeper can put both in one transaction; `aaa.usage` says why it must.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store.schema import USAGE
from ipam.wide import WideInsert

_PAGE = 2000


def _upsert() -> WideInsert:
    statement = insert(USAGE)
    changes = {name: statement.excluded[name] for name in ("updated_at", "detail")}
    keys = [USAGE.c.tenant, USAGE.c.subscriber]
    return WideInsert(statement.on_conflict_do_update(index_elements=keys, set_=changes))


_UPSERT = _upsert()


class UsageRow(NamedTuple):
    """One row of the usage table; `detail` is JSON made and read by `aaa.usage`."""

    tenant: str
    subscriber: str
    updated_at: float
    detail: bytes


async def save(connection: AsyncConnection, rows: Sequence[UsageRow]) -> None:
    """Insert rows, or replace those that are there."""
    await _UPSERT.write(connection, rows)


async def read_all(engine: AsyncEngine) -> list[UsageRow]:
    """Return what is known of every subscriber."""
    async with engine.connect() as connection:
        return [UsageRow(*row) for row in await connection.execute(select(USAGE))]


async def prune(connection: AsyncConnection, updated_before: float) -> int:
    """Delete some of the rows that last changed before that event time; return how many went."""
    key = tuple_(USAGE.c.tenant, USAGE.c.subscriber)
    old = select(USAGE.c.tenant, USAGE.c.subscriber).where(USAGE.c.updated_at < updated_before).limit(_PAGE)
    return int((await connection.execute(delete(USAGE).where(key.in_(old)))).rowcount)
