"""A feed that the settings name no longer: what it has brought is given to the operators, or goes."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.replica.codec import kind_of, tenant_of
from daemon.replica.index import Key
from daemon.replica.records import Tenant
from daemon.store import feed_forget, feed_rows
from daemon.store.feed_rows import FeedRow, Place
from daemon.store.writer import Writer
from daemon.sync.apply import TYPES
from daemon.sync.feed.feed import Surroundings
from daemon.sync.feed.slices import Slices

_ROWS = 300  # of one transaction


class Forgotten(NamedTuple):
    """A feed that is no more: of which tenant it was, how many objects it had, and whether they stay."""

    feed: str
    tenant: str
    objects: int
    kept: bool


async def forget(around: Surroundings, row: FeedRow, kinds: tuple[str, ...], *, keep: bool) -> Forgotten:
    """End a feed; whoever is served goes on being served where its objects are kept. Raises StoreUnavailable.

    Its row goes in one transaction, between the copies and the clearing away: an end in the middle of it leaves the
    feed as it was, or rows that nobody looks at.
    """
    engine, writer = around.engine, around.writer
    place = Place(row.name, row.generation, row.tenant)
    async with around.owners.turn:
        counts, _ = await feed_rows.count(engine, place)
        await _clear_local(writer, row.tenant, kinds)
        if keep:
            for kind in kinds:
                await _copy(around, place, kind)
        await writer.commit(lambda rows: feed_forget.drop_feed(rows, row.name))
        around.owners.give_back(row.name)
        if not keep:
            await _hide(around, row.tenant, frozenset(kinds))
    await _clear(writer, row.name)
    return Forgotten(row.name, row.tenant, sum(counts.values()), keep)


async def _clear_local(writer: Writer, tenant: str, kinds: tuple[str, ...]) -> None:
    """Delete what operators had loaded before the feed came, and copies of an attempt that was cut short."""
    gone = _ROWS

    async def some(rows: AsyncConnection) -> None:
        nonlocal gone
        gone = await feed_rows.purge_local(rows, tenant, kinds, _ROWS)

    while gone >= _ROWS:
        await writer.commit(some)


async def _copy(around: Surroundings, place: Place, kind: str) -> None:
    after = ""
    while (last := await feed_forget.last_of(around.engine, place, kind, after, _ROWS)) is not None:
        start, end = after, last

        async def some(rows: AsyncConnection) -> None:
            await feed_forget.copy(rows, place, kind, start, end)  # noqa: B023 - awaited below

        await around.writer.commit(some)
        after = last


async def _clear(writer: Writer, name: str) -> None:
    gone = _ROWS

    async def some(rows: AsyncConnection) -> None:
        nonlocal gone
        gone = await feed_rows.purge(rows, name, [], _ROWS)

    while gone >= _ROWS:
        await writer.commit(some)


async def _hide(around: Surroundings, tenant: str, kinds: frozenset[str]) -> None:
    """Take the objects out of what is served, those that name others first."""
    index = around.index
    names = list(TYPES)
    doomed: list[Key] = [
        (tenant, kind_of(each), each.id)
        for each in list(index.records())
        if tenant_of(each) == tenant and kind_of(each) in kinds
    ]
    doomed.sort(key=lambda key: -names.index(key[1]))
    index.begin_load()
    try:
        await Slices(around.clock.monotonic).each(doomed, lambda key: _remove(around, key))
    finally:
        index.loaded_at = around.clock.wall()
        around.on_change(doomed)
        index.end_load()


def _remove(around: Surroundings, key: Key) -> None:
    tenant, kind, name = key
    if kind == "tenant":
        around.index.put(Tenant(id=tenant))  # others of its objects may stay
    else:
        around.index.remove(TYPES[kind], tenant, name)
