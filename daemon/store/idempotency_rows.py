"""Idempotency keys: what was asked under each, how the request names what it makes, and what was answered."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Column, Float, Index, Integer, LargeBinary, Table, Text, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.store.schema import METADATA

IDEMPOTENCY = Table(
    "idempotency",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("what", Text, nullable=False),  # the kind of request
    Column("digest", Text, nullable=False),  # of the request
    Column("name", Text, nullable=False),  # of what the request makes
    Column("begun_at", Float, nullable=False),
    Column("status", Integer),  # of the answer; none: there is none yet
    Column("body", LargeBinary),
)
Index("idempotency_by_begun_at", IDEMPOTENCY.c.begun_at)
_PRUNE_MOST = 500


class KeyRow(NamedTuple):
    """One key. `begun_at` is epoch seconds; `status` and `body` are None until there is an answer."""

    key: str
    what: str
    digest: str
    name: str
    begun_at: float
    status: int | None = None
    body: bytes | None = None


async def find(connection: AsyncConnection, key: str) -> KeyRow | None:
    """Return what is known of a key."""
    row = (await connection.execute(select(IDEMPOTENCY).where(IDEMPOTENCY.c.key == key))).first()
    return None if row is None else KeyRow(*row)


async def begin(connection: AsyncConnection, row: KeyRow, forget_before: float) -> None:
    """Note that a request begins; keys from before an epoch second are forgotten, some at a time."""
    old = select(IDEMPOTENCY.c.key).where(IDEMPOTENCY.c.begun_at < forget_before).limit(_PRUNE_MOST)
    await connection.execute(delete(IDEMPOTENCY).where(IDEMPOTENCY.c.key.in_(old)))
    await connection.execute(delete(IDEMPOTENCY).where(IDEMPOTENCY.c.key == row.key))
    await connection.execute(insert(IDEMPOTENCY).values(**row._asdict()))


async def answer(connection: AsyncConnection, key: str, status: int, body: bytes) -> None:
    """Note what was answered."""
    mine = update(IDEMPOTENCY).where(IDEMPOTENCY.c.key == key)
    await connection.execute(mine.values(status=status, body=body))


async def answers(connection: AsyncConnection, what: str, since: float) -> list[bytes]:
    """Return the bodies of successes of one kind of request that began at an epoch second or later."""
    query = select(IDEMPOTENCY.c.body).where(
        IDEMPOTENCY.c.begun_at >= since, IDEMPOTENCY.c.what == what, IDEMPOTENCY.c.status < 300
    )
    return [bytes(row.body) for row in await connection.execute(query) if row.body is not None]
