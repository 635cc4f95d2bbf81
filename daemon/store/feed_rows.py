"""Rows of feeds: their position, the objects of each generation, and objects that are refused.

A snapshot gathers in a generation of its own beside the one that is served; the row of the feed says which that is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Insert, Select, Table, delete, func, literal, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store.schema import FEED, NACK, OBJECT
from ipam.wide import WideInsert

LOCAL = "local"
"""The feed of what operators load: its objects have generation 0 and no number of a platform."""

_AT_ONCE = 250  # names in one statement
FullRow = tuple[Any, ...]
"""The values of all columns of the table of objects, in their order."""


class FeedRow(NamedTuple):
    """How far a feed is, and the generation that is served; 0: none yet. `detail` is JSON of its owner."""

    name: str
    tenant: str
    epoch: str
    rev: int
    generation: int
    contact_at: float | None
    detail: bytes


class ObjectRow(NamedTuple):
    """One object of a generation; `extra` are sealed fields that this version does not know."""

    kind: str
    id: str
    body: bytes
    rev: int
    bucket: int
    digest: bytes
    extra: bytes | None


class NackRow(NamedTuple):
    """An object that is refused; `body` is what came, sealed, where it may be right one day by itself."""

    kind: str
    id: str
    rev: int
    at: float
    code: str
    detail: str
    bucket: int
    digest: bytes
    body: bytes | None


class Place(NamedTuple):
    """A generation of a feed; all of its objects are of one tenant."""

    feed: str
    generation: int
    tenant: str


class Known(NamedTuple):
    """What is stored of an object: digests of the object and of what was refused, None where there is none."""

    object: bytes | None
    nack: bytes | None


async def read_feeds(engine: AsyncEngine) -> list[FeedRow]:
    """Return all feeds."""
    async with engine.connect() as connection:
        return [FeedRow(*row) for row in await connection.execute(select(FEED).order_by(FEED.c.name))]


def _replacing(table: Table) -> Insert:
    """Return what inserts rows of a table, or replaces those of the same key."""
    statement = insert(table)
    changes = {each.name: statement.excluded[each.name] for each in table.c if not each.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=changes)


_SAVE_FEED = _replacing(FEED)


async def save_feed(connection: AsyncConnection, row: FeedRow) -> None:
    """Insert or replace the row of a feed."""
    await connection.execute(_SAVE_FEED, [row._asdict()])


async def touch(connection: AsyncConnection, name: str, contact_at: float) -> None:
    """Note when the platform of a feed was last heard of."""
    await connection.execute(update(FEED).where(FEED.c.name == name).values(contact_at=contact_at))


_SAVE_OBJECTS = WideInsert(_replacing(OBJECT))
_SAVE_NACKS = WideInsert(_replacing(NACK))


def full_row(place: Place, row: ObjectRow, at: float) -> FullRow:
    """Return an object of a generation with the values of all columns; `at` is when it was loaded, epoch seconds."""
    kind, key, body, rev, bucket, digest, extra = row
    return (place.feed, place.generation, place.tenant, kind, key, body, at, rev, bucket, digest, extra)


async def save_objects(connection: AsyncConnection, rows: Sequence[FullRow]) -> None:
    """Insert or replace objects; nothing but the driver is between them and the database, for there may be many."""
    await _SAVE_OBJECTS.write(connection, rows)


async def save_nacks(connection: AsyncConnection, place: Place, rows: Sequence[NackRow]) -> None:
    """Insert or replace refused objects."""
    full = [(place.feed, place.tenant, row.kind, row.id, place.generation, *row[2:]) for row in rows]
    await _SAVE_NACKS.write(connection, full)


async def delete_objects(
    connection: AsyncConnection, place: Place, keys: Sequence[tuple[str, str]], *, nacks_only: bool = False
) -> None:
    """Delete objects, by kind and id, and what is refused of them; or that alone."""
    for kind, ids in _by_kind(keys):
        for table in (NACK,) if nacks_only else (NACK, OBJECT):
            await connection.execute(delete(table).where(*of_place(table, place, kind), table.c.id.in_(ids)))


async def keep_last_good(
    connection: AsyncConnection, served: Place, staged: Place, keys: Sequence[tuple[str, str]]
) -> None:
    """Copy what is served of objects that were refused into the generation that gathers.

    Where a feed is new, what operators have loaded is what is served. Nothing is put in the place of what is there.
    """
    columns = [each for each in OBJECT.c if each.name not in ("feed", "generation", "rev")]
    names = ["feed", "generation", "rev", *(each.name for each in columns)]
    # Its number may be of another epoch, where it would say nothing.
    fixed = (literal(staged.feed), literal(staged.generation), literal(0))
    for kind, ids in _by_kind(keys):
        for source in (served, Place(LOCAL, 0, served.tenant)):
            there = select(*fixed, *columns).where(*of_place(OBJECT, source, kind), OBJECT.c.id.in_(ids))
            await connection.execute(insert(OBJECT).from_select(names, there).on_conflict_do_nothing())


async def read_objects(engine: AsyncEngine, place: Place, keys: Sequence[tuple[str, str]]) -> list[ObjectRow]:
    """Return objects by kind and id, those that are there."""
    found: list[ObjectRow] = []
    columns = [OBJECT.c[name] for name in ObjectRow._fields]
    async with engine.connect() as connection:
        for kind, ids in _by_kind(keys):
            query = select(*columns).where(*of_place(OBJECT, place, kind), OBJECT.c.id.in_(ids))
            found += [ObjectRow(*row) for row in await connection.execute(query)]
    return found


async def in_bucket(engine: AsyncEngine, place: Place, bucket: int) -> dict[tuple[str, str], Known]:
    """Return what is stored of the objects of one bucket."""
    found: dict[tuple[str, str], Known] = {}
    async with engine.connect() as connection:
        for table in (OBJECT, NACK):
            query = select(table.c.kind, table.c.id, table.c.digest)
            query = query.where(*of_place(table, place), table.c.bucket == bucket)
            for kind, key, digest in await connection.execute(query):
                had = found.get((kind, key), Known(None, None))
                found[kind, key] = had._replace(**{"object" if table is OBJECT else "nack": digest})
    return found


async def read_nacks(engine: AsyncEngine, place: Place, most: int = 10_000) -> list[NackRow]:
    """Return refused objects in the order of their keys."""
    query = select(*(NACK.c[name] for name in NackRow._fields)).where(*of_place(NACK, place))
    async with engine.connect() as connection:
        return [
            NackRow(*row)
            for row in await connection.execute(query.order_by(NACK.c.kind, NACK.c.id).limit(most))
        ]


async def count(engine: AsyncEngine, place: Place) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many objects there are by kind, and how many are refused."""
    found: list[dict[str, int]] = []
    async with engine.connect() as connection:
        for table in (OBJECT, NACK):
            query = select(table.c.kind, func.count()).where(*of_place(table, place)).group_by(table.c.kind)
            found.append(dict(tuple(row) for row in await connection.execute(query)))
    return found[0], found[1]


async def count_waiting(engine: AsyncEngine, place: Place) -> int:
    """Return how many refused objects are to be tried again when others have changed."""
    query = select(func.count()).where(*of_place(NACK, place), NACK.c.body.is_not(None))
    async with engine.connect() as connection:
        return int((await connection.execute(query)).scalar_one())


async def read_waiting(engine: AsyncEngine, place: Place, most: int) -> list[NackRow]:
    """Return refused objects that are to be tried again when others have changed."""
    query = select(*(NACK.c[name] for name in NackRow._fields))
    query = query.where(*of_place(NACK, place), NACK.c.body.is_not(None)).order_by(NACK.c.rev).limit(most)
    async with engine.connect() as connection:
        return [NackRow(*row) for row in await connection.execute(query)]


async def digests(engine: AsyncEngine, place: Place) -> AsyncIterator[tuple[int, bytes]]:
    """Yield bucket and digest of everything that has come: of refused objects, what came last."""
    async with engine.connect() as connection:
        for query in came(place):
            narrow = query.with_only_columns(*list(query.selected_columns)[2:])
            async for row in await connection.stream(narrow.execution_options(yield_per=200)):
                yield row[0], row[1]


def came(place: Place) -> tuple[Select[Any], Select[Any]]:
    """Return queries for kind, id, bucket and digest of what has come: objects that are not refused, and refused."""
    refused = NACK.alias("refused")
    newer = select(refused.c.id).where(
        *of_place(refused, place), refused.c.kind == OBJECT.c.kind, refused.c.id == OBJECT.c.id
    )
    columns = ("kind", "id", "bucket", "digest")
    return (
        select(*(OBJECT.c[name] for name in columns)).where(*of_place(OBJECT, place), ~newer.exists()),
        select(*(NACK.c[name] for name in columns)).where(*of_place(NACK, place)),
    )


async def losses(
    engine: AsyncEngine, served: Place, staged: Place, owned: Sequence[str]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return by kind how many objects that are served are not in the generation that gathers, and of how many.

    What operators have loaded of the kinds that the feed owns is served until then, and counts.
    """
    gone: dict[str, int] = {}
    of: dict[str, int] = {}
    async with engine.connect() as connection:
        for source, kinds in _served(served, owned):
            mine = (*of_place(OBJECT, source), *kinds)
            for counts, query in (
                (of, select(OBJECT.c.kind, func.count()).where(*mine)),
                (gone, select(OBJECT.c.kind, func.count()).where(*mine, ~twin(staged).exists())),
            ):
                for kind, number in await connection.execute(query.group_by(OBJECT.c.kind)):
                    counts[kind] = counts.get(kind, 0) + number
    return gone, of


async def vanished(
    engine: AsyncEngine, served: Place, staged: Place, owned: Sequence[str], kind: str, after: str, most: int
) -> list[str]:
    """Return the next ids of a kind, in order, that are served and not in the generation that gathers."""
    found: set[str] = set()
    async with engine.connect() as connection:
        for source, kinds in _served(served, owned):
            query = select(OBJECT.c.id).where(
                *of_place(OBJECT, source, kind), *kinds, OBJECT.c.id > after, ~twin(staged).exists()
            )
            found.update((await connection.execute(query.order_by(OBJECT.c.id).limit(most))).scalars())
    return sorted(found)[:most]


async def purge(connection: AsyncConnection, name: str, keep: Sequence[int], most: int) -> int:
    """Delete some rows of a feed's generations other than those to keep; return how many went."""
    gone = 0
    bounds = [-1, *sorted(set(keep)), 2**62]
    for low, high in pairwise(bounds):  # ranges, so that nothing that is kept is looked at
        for table in (OBJECT, NACK):
            if gone < most:
                old = (table.c.feed == name, table.c.generation > low, table.c.generation < high)
                gone += await _delete_some(connection, table, old, most - gone)
    return gone


async def _delete_some(
    connection: AsyncConnection, table: Table, rows: tuple[ColumnElement[bool], ...], most: int
) -> int:
    some = select(*table.primary_key).where(*rows).limit(most)
    done = await connection.execute(delete(table).where(tuple_(*table.primary_key).in_(some)))
    return int(done.rowcount)


async def purge_local(connection: AsyncConnection, tenant: str, kinds: Sequence[str], most: int) -> int:
    """Delete some objects of kinds that a feed brings now and that operators had loaded; return how many went."""
    mine = (*of_place(OBJECT, Place(LOCAL, 0, tenant)), OBJECT.c.kind.in_(kinds))
    return await _delete_some(connection, OBJECT, mine, most)


async def forget_digests(connection: AsyncConnection, place: Place, keys: Sequence[tuple[str, str]]) -> None:
    """Make the digests of objects those of nothing, so that a comparison with the platform brings them again."""
    for kind, ids in _by_kind(keys):
        await connection.execute(
            update(OBJECT).where(*of_place(OBJECT, place, kind), OBJECT.c.id.in_(ids)).values(digest=b"")
        )


async def forget_unread(connection: AsyncConnection, place: Place, code: str) -> None:
    """Make digests those of nothing: of objects that have fields put aside, and of those refused with this code.

    So a comparison with the platform brings them again, to a version that may know what they say.
    """
    aside = update(OBJECT).where(*of_place(OBJECT, place), OBJECT.c.extra.is_not(None))
    await connection.execute(aside.values(digest=b""))
    await connection.execute(
        update(NACK).where(*of_place(NACK, place), NACK.c.code == code).values(digest=b"")
    )


def of_place(table: Any, place: Place, kind: str | None = None) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of the rows of a generation, or of its objects of one kind."""
    mine = (
        table.c.feed == place.feed,
        table.c.generation == place.generation,
        table.c.tenant == place.tenant,
    )
    return mine if kind is None else (*mine, table.c.kind == kind)


def _served(served: Place, owned: Sequence[str]) -> tuple[tuple[Place, tuple[ColumnElement[bool], ...]], ...]:
    """Return where what is served lies: in the feed's generation, and in what operators have loaded of its kinds."""
    return (served, ()), (Place(LOCAL, 0, served.tenant), (OBJECT.c.kind.in_(owned),))


def twin(place: Place, *, alike: bool = False) -> Select[Any]:
    """Return a query for the object of the same key in another generation, or only for one that is alike."""
    other = OBJECT.alias("other")
    query = select(other.c.id).where(
        *of_place(other, place), other.c.kind == OBJECT.c.kind, other.c.id == OBJECT.c.id
    )
    return query.where(other.c.digest == OBJECT.c.digest) if alike else query


def _by_kind(keys: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield ids by kind, not too many at once for one statement."""
    grouped: dict[str, list[str]] = {}
    for kind, key in keys:
        grouped.setdefault(kind, []).append(key)
    for kind, ids in grouped.items():
        for start in range(0, len(ids), _AT_ONCE):
            yield kind, ids[start : start + _AT_ONCE]
