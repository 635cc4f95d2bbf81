"""Stored leases a page at a time, to be compared with the book in memory."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from ipam.ledger import LeaseRow
from ipam.schema import LEASE

_KEY = (LEASE.c.tenant, LEASE.c.pool)


async def pools(connection: AsyncConnection) -> list[tuple[str, str]]:
    """Return tenant and name of every pool that has rows, each found by one step in the primary key."""
    found: list[tuple[str, str]] = []
    while True:
        query = select(*_KEY).order_by(*_KEY).limit(1)
        if found:
            query = query.where(tuple_(*_KEY) > found[-1])
        row = (await connection.execute(query)).first()
        if row is None:
            return found
        found.append((row.tenant, row.pool))


async def page(connection: AsyncConnection, tenant: str, pool: str, after: int, most: int) -> list[LeaseRow]:
    """Return the rows of a pool in the order of their slots, those after a slot."""
    query = select(LEASE).where(LEASE.c.tenant == tenant, LEASE.c.pool == pool, LEASE.c.slot > after)
    return [LeaseRow._make(row) for row in await connection.execute(query.order_by(LEASE.c.slot).limit(most))]


async def rows(
    connection: AsyncConnection, tenant: str, pool: str, slots: Iterable[int]
) -> dict[int, LeaseRow]:
    """Return the rows of some slots, by slot."""
    query = select(LEASE).where(LEASE.c.tenant == tenant, LEASE.c.pool == pool, LEASE.c.slot.in_(list(slots)))
    return {row.slot: LeaseRow._make(row) for row in await connection.execute(query)}
