"""The durable copy of the replica: one row for each object, secrets sealed."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import case, delete, func, select, tuple_
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.replica.codec import RecordUnreadable, dump, kind_of, load, tenant_of
from daemon.replica.index import Index, Key
from daemon.replica.records import Record, Tenant
from daemon.store.feed_rows import LOCAL, FeedRow, read_feeds
from daemon.store.schema import FEED, OBJECT
from daemon.store.seal import Sealer

_SLICE = 1000
_ORDER = {"tenant": 0, "plan": 1, "nas": 2, "subscriber": 3, "staff": 4, "pool": 5, "selector": 6}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored object that could not be read; everything else is served. `feed` is what has brought it."""

    tenant: str
    kind: str
    id: str
    why: str
    feed: str = LOCAL


async def save(connection: AsyncConnection, records: Iterable[Record], seal: Sealer, at: float) -> None:
    """Insert or replace records that operators loaded."""
    rows = [
        {
            "feed": LOCAL,
            "generation": 0,
            "tenant": tenant_of(record),
            "kind": kind_of(record),
            "id": record.id,
            "body": dump(record, seal),
            "loaded_at": at,
            "rev": 0,
            "bucket": 0,
            "digest": b"",
        }
        for record in records
    ]
    if not rows:
        return
    statement = insert(OBJECT)
    statement = statement.on_conflict_do_update(
        index_elements=list(OBJECT.primary_key),
        set_={"body": statement.excluded.body, "loaded_at": statement.excluded.loaded_at},
    )
    await connection.execute(statement, rows)


async def remove(connection: AsyncConnection, keys: Sequence[Key]) -> None:
    """Delete objects that operators loaded, by key."""
    columns = tuple_(OBJECT.c.tenant, OBJECT.c.kind, OBJECT.c.id)
    mine = (OBJECT.c.feed == LOCAL) & (OBJECT.c.generation == 0)
    for start in range(0, len(keys), 200):
        await connection.execute(delete(OBJECT).where(mine, columns.in_(keys[start : start + 200])))


async def restore(engine: AsyncEngine, index: Index, seal: Sealer) -> list[Unreadable]:
    """Put every stored object that is served into the index; return those that cannot be read, which stop nobody else.

    Of a feed that is its generation that its row names; what operators had loaded of the kinds that the feed brings
    is served no longer. Their keys are in `index.unreadable`, until they are put or removed.
    """
    unreadable: list[Unreadable] = []
    feeds = await read_feeds(engine)
    for feed in feeds:
        if feed.tenant not in index.tenants:  # it may bring no object of the tenant itself
            index.put(Tenant(id=feed.tenant))
    owned = {(feed.tenant, kind) for feed in feeds for kind in owned_kinds(feed)}
    order = case(_ORDER, value=OBJECT.c.kind, else_=9)
    served = OBJECT.outerjoin(FEED, FEED.c.name == OBJECT.c.feed)
    query = select(OBJECT.c.kind, OBJECT.c.body, OBJECT.c.tenant, OBJECT.c.id, OBJECT.c.feed).select_from(
        served
    )
    query = query.where(OBJECT.c.generation == func.coalesce(FEED.c.generation, 0)).order_by(order)
    gc.disable()  # a million records are made and none dies: collecting meanwhile finds nothing
    try:
        async with engine.connect() as connection:
            result = await connection.stream(query.execution_options(yield_per=_SLICE))
            async for row in result:
                if row.feed == LOCAL and (row.tenant, row.kind) in owned:
                    continue
                try:
                    index.put(load(row.kind, row.body, seal))
                except RecordUnreadable as reason:
                    unreadable.append(Unreadable(row.tenant, row.kind, row.id, reason.why, row.feed))
                except KeyError:
                    why = "its tenant is not there"
                    unreadable.append(Unreadable(row.tenant, row.kind, row.id, why, row.feed))
            newest = await connection.execute(select(func.max(OBJECT.c.loaded_at)))
            index.loaded_at = newest.scalar()
            index.unreadable.update((each.tenant, each.kind, each.id) for each in unreadable)
    finally:
        gc.enable()
    return unreadable


def owned_kinds(feed: FeedRow) -> tuple[str, ...]:
    """Return the kinds of its tenant that a feed brings; none before its first snapshot."""
    if not feed.generation:
        return ()
    try:
        return tuple(json.loads(feed.detail)["kinds"])
    except (ValueError, TypeError, KeyError):
        return ()
