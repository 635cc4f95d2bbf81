"""What an import of an address book has added and not opened yet: pools, and ranges of pools that were there before.

A row stands from before the pool is defined until it serves, so that an import that was cut off is known to the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Double, Integer, Table, Text, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ipam.schema import METADATA

IMPORT = Table(
    "ipam_import",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("pool", Text, primary_key=True),
    Column("first_slot", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("begun_at", Double, nullable=False),
)

WHOLE = -1
"""The first slot that stands for a pool as a whole."""


class Unopened(NamedTuple):
    """A pool, or a range of it named by its first slot, that waits for the end of its import."""

    tenant: str
    pool: str
    first_slot: int = WHOLE


async def load(connection: AsyncConnection, tenant: str) -> set[Unopened]:
    """Return what of a tenant waits."""
    columns = IMPORT.c.tenant, IMPORT.c.pool, IMPORT.c.first_slot
    return {
        Unopened(*row) for row in await connection.execute(select(*columns).where(IMPORT.c.tenant == tenant))
    }


async def save(connection: AsyncConnection, some: Iterable[Unopened], at: float) -> None:
    """Note what is about to be added."""
    for each in some:
        await remove(connection, [each])
        await connection.execute(insert(IMPORT).values(**each._asdict(), begun_at=at))


async def remove(connection: AsyncConnection, some: Iterable[Unopened]) -> None:
    """Forget what serves now, or is not there."""
    for each in some:
        mine = [IMPORT.c[name] == value for name, value in each._asdict().items()]
        await connection.execute(delete(IMPORT).where(*mine))
