"""Accounting of logins to devices: one row for each acknowledged packet, append-only, numbered for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store.schema import STAFF_RECORD

_PAGE = 500


class StaffRow(NamedTuple):
    """One row; `at` is when the packet came, epoch seconds, `detail` is JSON made and read by `aaa`.

    `staff` is the id of the member of staff, empty where the packet named nobody we know.
    """

    seq: int
    at: float
    tenant: str
    nas: str
    staff: str
    status: str
    detail: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffSearch:
    """Which rows to look for; None leaves a field open. `since` is epoch seconds."""

    tenant: str | None = None
    staff: str | None = None
    nas: str | None = None
    since: float | None = None
    limit: int = 100


async def save(connection: AsyncConnection, row: StaffRow) -> None:
    """Add a row; its number must be new."""
    await connection.execute(insert(STAFF_RECORD), row._asdict())


async def search(engine: AsyncEngine, wanted: StaffSearch) -> list[StaffRow]:
    """Return rows, newest first."""
    query = select(STAFF_RECORD).order_by(STAFF_RECORD.c.seq.desc()).limit(wanted.limit)
    for column in ("tenant", "staff", "nas"):
        value = getattr(wanted, column)
        if value is not None:
            query = query.where(STAFF_RECORD.c[column] == value)
    if wanted.since is not None:
        query = query.where(STAFF_RECORD.c.at >= wanted.since)
    async with engine.connect() as connection:
        return [StaffRow(*row) for row in await connection.execute(query)]


async def read_since(engine: AsyncEngine, at: float) -> AsyncIterator[StaffRow]:
    """Yield the rows that came at that time or later, in the order in which they came."""
    query = select(STAFF_RECORD).where(STAFF_RECORD.c.at >= at).order_by(STAFF_RECORD.c.seq).limit(_PAGE)
    seq = 0
    while True:
        async with engine.connect() as connection:
            rows = (await connection.execute(query.where(STAFF_RECORD.c.seq > seq))).all()
        if not rows:
            return
        for row in rows:
            yield StaffRow(*row)
        seq = rows[-1].seq


async def read_last_seq(engine: AsyncEngine) -> int:
    """Return the highest number given out, 0 where there is none yet."""
    async with engine.connect() as connection:
        return int((await connection.execute(select(func.max(STAFF_RECORD.c.seq)))).scalar() or 0)


async def prune(connection: AsyncConnection, before: float) -> int:
    """Delete some of the rows that came before that time; return how many went.

    Bounded work: called again while it returns more than 0. The newest row stays: it says which numbers are used up.
    """
    newest = select(func.max(STAFF_RECORD.c.seq)).scalar_subquery()
    old = (
        select(STAFF_RECORD.c.seq).where(STAFF_RECORD.c.at < before, STAFF_RECORD.c.seq < newest).limit(_PAGE)
    )
    return int((await connection.execute(delete(STAFF_RECORD).where(STAFF_RECORD.c.seq.in_(old)))).rowcount)
