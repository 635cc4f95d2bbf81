"""Job rows: work for a NAS that may take several tries, one row for each job, rewritten as it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Select, delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store.schema import JOB

_PAGE = 2000


class JobRow(NamedTuple):
    """One row of the job table; `detail` is JSON made and read by the owner of the job."""

    id: int
    tenant: str
    nas: str
    subscriber: str
    session_uid: int
    state: str
    created_at: float
    finished_at: float | None
    detail: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which finished jobs to look for; None leaves a field open."""

    tenant: str | None = None
    nas: str | None = None
    subscriber: str | None = None
    session_uid: int | None = None
    limit: int = 100
    offset: int = 0


async def save(connection: AsyncConnection, rows: Sequence[JobRow]) -> None:
    """Insert rows, or change what can change of those that are there."""
    if not rows:
        return
    statement = insert(JOB)
    changes = {name: statement.excluded[name] for name in ("state", "finished_at", "detail")}
    await connection.execute(
        statement.on_conflict_do_update(index_elements=[JOB.c.id], set_=changes),
        [row._asdict() for row in rows],
    )


async def read_unfinished(engine: AsyncEngine) -> list[JobRow]:
    """Return the jobs that are not finished, oldest first."""
    return await _rows(engine, select(JOB).where(JOB.c.finished_at.is_(None)).order_by(JOB.c.id))


async def read_last_id(engine: AsyncEngine) -> int:
    """Return the highest number that a job has, 0 where there is none."""
    async with engine.connect() as connection:
        return int((await connection.execute(select(func.max(JOB.c.id)))).scalar() or 0)


async def search_finished(engine: AsyncEngine, search: Search) -> list[JobRow]:
    """Return a page of the finished jobs, latest first."""
    query = _matching(select(JOB), search).order_by(JOB.c.finished_at.desc(), JOB.c.id.desc())
    return await _rows(engine, query.limit(search.limit).offset(search.offset))


async def count_finished(engine: AsyncEngine, search: Search) -> int:
    """Return how many finished jobs there are on all pages."""
    query = _matching(select(func.count()).select_from(JOB), search)
    async with engine.connect() as connection:
        return int((await connection.execute(query)).scalar_one())


def _matching(query: Select[Any], search: Search) -> Select[Any]:
    query = query.where(JOB.c.finished_at.is_not(None))
    for column in ("tenant", "nas", "subscriber", "session_uid"):
        wanted = getattr(search, column)
        if wanted is not None:
            query = query.where(JOB.c[column] == wanted)
    return query


async def prune(connection: AsyncConnection, finished_before: float) -> int:
    """Delete some of the jobs finished before that time; return how many went.

    The job with the highest number stays, so that no number is used twice.
    """
    newest = select(func.max(JOB.c.id)).scalar_subquery()
    old = select(JOB.c.id).where(JOB.c.finished_at < finished_before, JOB.c.id < newest).limit(_PAGE)
    return int((await connection.execute(delete(JOB).where(JOB.c.id.in_(old)))).rowcount)


async def _rows(engine: AsyncEngine, query: Select[Any]) -> list[JobRow]:
    async with engine.connect() as connection:
        return [JobRow(*row) for row in await connection.execute(query)]
