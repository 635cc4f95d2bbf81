"""Loading the whole book at start: page by page, so that beside the book there is never more than a page of rows."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import Select, bindparam, select, tuple_
from sqlalchemy.dialects.sqlite.aiosqlite import dialect as sqlite_dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from ipam.book import Book
from ipam.ledger import BRIEF, Brief, LeaseRow, new_row
from ipam.register import Register
from ipam.restore import Restoring, know_fixed
from ipam.schema import LEASE

_PAGE = 10_000
_OF_POOL = LEASE.c.tenant == bindparam("tenant"), LEASE.c.pool == bindparam("pool")
_BRIEF_PAGE: Select[Any] = (
    select(*(LEASE.c[name] for name in BRIEF))
    .where(*_OF_POOL, LEASE.c.slot > bindparam("after"))
    .order_by(LEASE.c.slot)
    .limit(bindparam("most"))
)
_SQLITE_PAGE = _BRIEF_PAGE.compile(dialect=sqlite_dialect(paramstyle="named"))


async def load(
    connection: AsyncConnection, register: Register, book: Book, now: float, page_rows: int = _PAGE
) -> int:
    """Take up every slot that is stored; return how many are of no pool of this node.

    Pools must be there already. Blocks the event loop for a page at a time.
    """
    restoring = Restoring(register, book, now)
    with _uncollected():
        async for tenant, pool in _pools(connection):
            shelf = register.find(tenant, pool)
            if shelf is None:  # of fixed units, which must be known first, or of a pool that is gone
                know_fixed(register, await _rows_of(connection, tenant, pool))
            async for page in _pages(connection, tenant, pool, page_rows):
                restoring.take(tenant, pool, page)
        return restoring.finish()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector away, which would walk all of it again and again, for longer than it takes."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


async def _pools(connection: AsyncConnection) -> AsyncIterator[tuple[str, str]]:
    """Yield every pool that has a slot stored; each costs one look into the index, however many slots it has."""
    key = tuple_(LEASE.c.tenant, LEASE.c.pool)
    pools = select(LEASE.c.tenant, LEASE.c.pool).order_by(LEASE.c.tenant, LEASE.c.pool).limit(1)
    found = (await connection.execute(pools)).first()
    while found is not None:
        yield found[0], found[1]
        found = (await connection.execute(pools.where(key > tuple_(found[0], found[1])))).first()


async def _rows_of(connection: AsyncConnection, tenant: str, pool: str) -> list[LeaseRow]:
    query = select(LEASE).where(*_OF_POOL)
    found = await connection.execute(query, {"tenant": tenant, "pool": pool})
    return [new_row(LeaseRow, tuple(row)) for row in found]


async def _pages(
    connection: AsyncConnection, tenant: str, pool: str, most: int
) -> AsyncIterator[Sequence[Brief]]:
    """Yield the slots of a pool in their order."""
    after = -1
    while True:
        page = await _page(connection, {"tenant": tenant, "pool": pool, "after": after, "most": most})
        if page:
            yield page
        if len(page) < most:
            return
        after = page[-1][0]


async def _page(connection: AsyncConnection, values: dict[str, Any]) -> Sequence[Brief]:
    if connection.dialect.name == "sqlite":  # its driver's own tuples, which takes a third less time
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None, "the connection is open"
        values = {**_SQLITE_PAGE.params, **values}
        return cast("Sequence[Brief]", await driver.execute_fetchall(str(_SQLITE_PAGE), values))
    found = await connection.execute(_BRIEF_PAGE, values)
    return cast("Sequence[Brief]", [tuple(row) for row in found])
