"""The end of a feed: its objects become those of operators, or go."""

from __future__ import annotations

from sqlalchemy import delete, func, literal, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store.feed_rows import LOCAL, Place, of_place
from daemon.store.schema import FEED, OBJECT

_OTHERWISE = {"feed": LOCAL, "generation": 0, "rev": 0, "bucket": 0, "digest": b"", "extra": None}


async def copy(connection: AsyncConnection, served: Place, kind: str, after: str, until: str) -> None:
    """Copy objects of a kind, by id above `after` and up to `until`, to those that operators have loaded."""
    values = [
        literal(_OTHERWISE[each.name], each.type) if each.name in _OTHERWISE else each for each in OBJECT.c
    ]
    some = select(*values).where(*of_place(OBJECT, served, kind), OBJECT.c.id > after, OBJECT.c.id <= until)
    await connection.execute(insert(OBJECT).prefix_with("OR REPLACE").from_select(list(OBJECT.c), some))


async def last_of(engine: AsyncEngine, served: Place, kind: str, after: str, most: int) -> str | None:
    """Return the last of the next ids of a kind, in order; None where there are no more."""
    some = select(OBJECT.c.id).where(*of_place(OBJECT, served, kind), OBJECT.c.id > after)
    page = some.order_by(OBJECT.c.id).limit(most).subquery()
    async with engine.connect() as connection:
        found: str | None = (await connection.execute(select(func.max(page.c.id)))).scalar()
        return found


async def drop_feed(connection: AsyncConnection, name: str) -> None:
    """Delete the row of a feed: none of its objects is served after that."""
    await connection.execute(delete(FEED).where(FEED.c.name == name))
