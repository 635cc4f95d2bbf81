"""The audit: who asked or changed what, when and by which reference. Rows are added and, when old, deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Float, Index, Integer, Table, Text, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store.schema import METADATA

AUDIT = Table(
    "audit",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("result", Text, nullable=False),
    sqlite_autoincrement=True,  # a number is never given out again, so that a row that is gone shows
)
Index("audit_by_at", AUDIT.c.at)
_PAGE = 500


class Entry(NamedTuple):
    """What is written. `actor` is who, `reason` the reference that was given, `tenant` empty for all of them."""

    at: float
    actor: str
    action: str
    tenant: str
    subject: str
    reason: str
    result: str


class AuditRow(NamedTuple):
    """An entry with its number."""

    id: int
    at: float
    actor: str
    action: str
    tenant: str
    subject: str
    reason: str
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSearch:
    """Which rows to look for; None leaves a field open. `since` and `until` are epoch seconds."""

    actor: str | None = None
    action: str | None = None
    tenant: str | None = None
    since: float | None = None
    until: float | None = None
    limit: int = 100
    offset: int = 0


async def save(connection: AsyncConnection, entry: Entry) -> None:
    """Add a row."""
    await connection.execute(insert(AUDIT).values(**entry._asdict()))


async def search(engine: AsyncEngine, wanted: AuditSearch) -> tuple[list[AuditRow], int]:
    """Return rows, newest first, and how many there are in all."""
    where = [
        AUDIT.c[name] == value
        for name in ("actor", "action", "tenant")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.since is not None:
        where.append(AUDIT.c.at >= wanted.since)
    if wanted.until is not None:
        where.append(AUDIT.c.at <= wanted.until)
    query = select(AUDIT).where(*where).order_by(AUDIT.c.id.desc()).limit(wanted.limit).offset(wanted.offset)
    async with engine.connect() as connection:
        rows = [AuditRow(*row) for row in await connection.execute(query)]
        count = (await connection.execute(select(func.count()).select_from(AUDIT).where(*where))).scalar()
    return rows, int(count or 0)


async def prune(connection: AsyncConnection, before: float, through_seq: int | None = None) -> int:
    """Delete some of the rows from before that epoch second; return how many went.

    None beyond number `through_seq`, where one is given: those behind it have yet to be told.
    """
    old = select(AUDIT.c.id).where(AUDIT.c.at < before).limit(_PAGE)
    if through_seq is not None:
        old = old.where(AUDIT.c.id <= through_seq)
    return int((await connection.execute(delete(AUDIT).where(AUDIT.c.id.in_(old)))).rowcount)
