"""How full pools were: the highest use in each five minutes, hour and day (UTC), one row for each pool and node.

Rows only ever rise, so it does not matter how often one is written, nor in how many runs of the daemon a day was.
A database of SQLite or PostgreSQL is passed in; nodes that share one have rows of their own, which are summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    Select,
    Table,
    Text,
    case,
    delete,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.dialects.sqlite.aiosqlite import dialect as sqlite_dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from ipam.schema import METADATA

MINUTES_S: Final = 300
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
WIDTHS: Final = (MINUTES_S, HOUR_S, DAY_S)

_NUMBER = BigInteger().with_variant(Integer, "sqlite")

# In the order of time, so that what is written in one minute lies side by side.
SAMPLE = Table(
    "pool_sample",
    METADATA,
    Column("width", Integer, primary_key=True, autoincrement=False),  # seconds
    Column("at", _NUMBER, primary_key=True, autoincrement=False),  # the epoch second at which it begins
    Column("tenant", Text, primary_key=True),
    Column("pool", Text, primary_key=True),
    Column("node", Text, primary_key=True),
    Column("used_peak", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),  # part of that
    Column("bound_peak", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
_LONG = SAMPLE.c.width >= literal(HOUR_S, literal_execute=True)
Index(
    "pool_sample_by_pool",
    SAMPLE.c.tenant,
    SAMPLE.c.pool,
    SAMPLE.c.width,
    SAMPLE.c.at,
    sqlite_where=_LONG,
    postgresql_where=_LONG,
)


class SampleRow(NamedTuple):
    """The peaks of one pool in `width` seconds from the epoch second `at`, as far as its slots are this node's.

    `used_peak` is what no new owner could get, `held` the part of it that was kept after a lease had ended,
    `bound_peak` the most leases of sessions and logins, `size` the slots that were not disabled at the last look.
    """

    width: int
    at: int
    tenant: str
    pool: str
    node: str
    used_peak: int
    held: int
    bound_peak: int
    size: int


class Sample(NamedTuple):
    """The peaks of a pool on all nodes together; nodes that peak at different times count as if at once."""

    at: int
    used_peak: int
    held: int
    bound_peak: int
    size: int


def _upsert(of: Any) -> Any:
    statement = of(SAMPLE)
    new, old = statement.excluded, SAMPLE.c
    higher = new.used_peak > old.used_peak
    return statement.on_conflict_do_update(
        index_elements=[each.name for each in SAMPLE.primary_key],
        set_={
            "used_peak": case((higher, new.used_peak), else_=old.used_peak),
            "held": case((higher, new.held), else_=old.held),
            "bound_peak": case((new.bound_peak > old.bound_peak, new.bound_peak), else_=old.bound_peak),
            "size": new.size,
        },
    )


_SQLITE_UPSERT = str(_upsert(sqlite_insert).compile(dialect=sqlite_dialect()))


async def save(connection: AsyncConnection, rows: Sequence[SampleRow]) -> None:
    """Insert rows; of those that are there the peaks rise."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql(_SQLITE_UPSERT, list(rows))
    else:
        values = [each._asdict() for each in sorted(rows)]  # nodes must not lock rows crosswise
        await connection.execute(_upsert(postgresql_insert), values)


async def load(
    connection: AsyncConnection, tenant: str, pool: str, width: int, since: float, until: float
) -> list[Sample]:
    """Return the peaks of a pool that begin from epoch second `since` on and before `until`, in their order."""
    rows = await connection.execute(_summed(tenant, pool, width, since, until))
    return [Sample(*map(int, row)) for row in rows]


def _summed(tenant: str, pool: str, width: int, since: float, until: float) -> Select[Any]:
    columns = SAMPLE.c
    sums = (func.sum(each) for each in (columns.used_peak, columns.held, columns.bound_peak, columns.size))
    wanted = [
        columns.tenant == tenant,
        columns.pool == pool,
        columns.at >= int(since),
        columns.at < int(until),
    ]
    if width >= HOUR_S:
        # Written so that SQLite, which knows nothing of how many rows there are, has no choice but the right index.
        wanted += [columns.width + 0 == width, columns.width >= width, _LONG]
    else:
        wanted.append(columns.width == width)
    return select(columns.at, *sums).where(*wanted).group_by(columns.at).order_by(columns.at)


async def prune(connection: AsyncConnection, width: int, before: float) -> int:
    """Delete the oldest rows of a width where they began before an epoch second; return how many went.

    Those of one time go at once, and no others: a clock that is far ahead by mistake does little harm.
    """
    oldest = (await connection.execute(select(func.min(SAMPLE.c.at)).where(SAMPLE.c.width == width))).scalar()
    if oldest is None or oldest >= before:
        return 0
    gone = delete(SAMPLE).where(SAMPLE.c.width == width, SAMPLE.c.at == oldest)
    return int((await connection.execute(gone)).rowcount)
