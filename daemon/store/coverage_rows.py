"""When this edge was there to write things down: one row for each run, its end moved on as long as it goes on."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Column, Float, Index, Integer, Table, Text, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.store.schema import METADATA

COVERAGE = Table(
    "coverage",
    METADATA,
    Column("run", Integer, primary_key=True, autoincrement=True),
    Column("node", Text, nullable=False),
    Column("start_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
)
Index("coverage_by_last_at", COVERAGE.c.last_at)


class Run(NamedTuple):
    """A time in which things were written down, epoch seconds."""

    run: int
    node: str
    start_at: float
    last_at: float


async def begin(connection: AsyncConnection, node: str, at: float) -> int:
    """Add a run that begins now; return its number."""
    done = await connection.execute(insert(COVERAGE).values(node=node, start_at=at, last_at=at))
    key = done.inserted_primary_key
    assert key is not None, "the database numbers the rows"
    return int(key[0])


async def beat(connection: AsyncConnection, run: int, at: float) -> None:
    """Say that a run was still alive; a clock that went back takes nothing away."""
    mine = update(COVERAGE).where(COVERAGE.c.run == run, COVERAGE.c.last_at < at)
    await connection.execute(mine.values(last_at=at))


async def runs(connection: AsyncConnection, since: float) -> list[Run]:
    """Return the runs that lasted until `since` or longer, and the one before them, in their order."""
    earlier = select(COVERAGE.c.run).where(COVERAGE.c.last_at < since)
    before = earlier.order_by(COVERAGE.c.last_at.desc()).limit(1).scalar_subquery()
    query = select(COVERAGE).where((COVERAGE.c.last_at >= since) | (COVERAGE.c.run == before))
    return [Run(*row) for row in await connection.execute(query.order_by(COVERAGE.c.run))]


async def first_start(connection: AsyncConnection) -> float | None:
    """Return when the first run began that is known, None for none."""
    first: float | None = (await connection.execute(select(func.min(COVERAGE.c.start_at)))).scalar()
    return first
