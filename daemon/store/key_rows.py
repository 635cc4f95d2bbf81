"""Keys and clients of the API: a hash of each secret, what it may do, until when, how often it was used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Float, LargeBinary, Table, Text, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store.schema import METADATA

API_KEY = Table(
    "api_key",
    METADATA,
    Column("id", Text, primary_key=True),  # the public part
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),  # key, or client: that asks for tokens with it
    Column("hash", LargeBinary, nullable=False),  # SHA-256 of a secret of 256 random bits
    Column("scopes", Text, nullable=False),  # separated by spaces
    Column("tenant", Text, nullable=False),  # empty: all of them
    Column("rate_per_s", Float),
    Column("created_at", Float, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("last_used_at", Float),
    Column("uses", BigInteger, nullable=False),
    Column("refusals", BigInteger, nullable=False),
    Column("parent", Text, nullable=False),  # id of the key that made it; empty: no key did
)


class KeyRow(NamedTuple):
    """One key. Times are epoch seconds; an empty `tenant` is all of them, no `rate_per_s` no limit."""

    id: str
    name: str
    kind: str
    hash: bytes
    scopes: str
    tenant: str
    rate_per_s: float | None
    created_at: float
    created_by: str
    expires_at: float | None
    revoked_at: float | None = None
    last_used_at: float | None = None
    uses: int = 0
    refusals: int = 0
    parent: str = ""


class Use(NamedTuple):
    """What has come of a key since it was last written down."""

    id: str
    uses: int
    refusals: int
    last_used_at: float | None


async def save(connection: AsyncConnection, row: KeyRow) -> None:
    """Add a key; its id must be new."""
    await connection.execute(insert(API_KEY).values(**row._asdict()))


async def load(engine: AsyncEngine) -> list[KeyRow]:
    """Return all keys, those that are revoked or over too, the oldest first."""
    async with engine.connect() as connection:
        rows = await connection.execute(select(API_KEY).order_by(API_KEY.c.created_at, API_KEY.c.id))
        return [KeyRow(*row) for row in rows]


async def revoke(connection: AsyncConnection, keys: Sequence[str], at: float) -> None:
    """Note that keys have not been good since an epoch second."""
    one = update(API_KEY).where(API_KEY.c.id == bindparam("key"), API_KEY.c.revoked_at.is_(None))
    if keys:
        await connection.execute(one.values(revoked_at=at), [{"key": each} for each in keys])


async def add_uses(connection: AsyncConnection, uses: Sequence[Use]) -> None:
    """Add to the counts of keys."""
    if not uses:
        return
    statement = (
        update(API_KEY)
        .where(API_KEY.c.id == bindparam("key"))
        .values(
            uses=API_KEY.c.uses + bindparam("more"),
            refusals=API_KEY.c.refusals + bindparam("refused"),
            last_used_at=bindparam("used_at"),
        )
    )
    values = [
        {"key": each.id, "more": each.uses, "refused": each.refusals, "used_at": each.last_used_at}
        for each in uses
    ]
    await connection.execute(statement, values)
