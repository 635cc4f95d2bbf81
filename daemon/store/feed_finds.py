"""What is stored of very many objects, found with few statements that are put into words only once.

The driver is called as it is: what SQLAlchemy does for a statement and for each row costs more than finding it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, select
from sqlalchemy.dialects.sqlite.aiosqlite import dialect
from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.store.feed_rows import Known, Place
from daemon.store.schema import NACK, OBJECT


class Stored(NamedTuple):
    """A stored object to show."""

    id: str
    body: bytes


class _Ready:
    """A query as the driver takes it."""

    def __init__(self, query: Select[Any]) -> None:
        compiled = query.compile(dialect=dialect())
        self._text = str(compiled)
        self._names = tuple(compiled.positiontup or ())
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    async def all(self, engine: AsyncEngine, values: dict[str, object]) -> list[tuple[Any, ...]]:
        """Return all rows. Errors are those of the driver."""
        async with engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None, "the connection is open"
            given = self._fixed | values
            rows = await driver.execute_fetchall(self._text, [given[name] for name in self._names])
            return list(rows)


def _mine(table: Any, generation: str) -> tuple[Any, ...]:
    return (
        table.c.feed == bindparam("feed"),
        table.c.generation == bindparam(generation),
        table.c.tenant == bindparam("tenant"),
    )


def _named(table: Any, width: int) -> _Ready:
    """Return a query for the digests of objects of one kind; `width` ids, of which some may be the same."""
    names: list[Any] = [bindparam(f"id{place}") for place in range(width)]
    query = select(table.c.id, table.c.digest)
    return _Ready(query.where(*_mine(table, "now"), table.c.kind == bindparam("kind"), table.c.id.in_(names)))


def _other() -> _Ready:
    """Return a query for objects that are not alike in an earlier generation, or not there."""
    before = OBJECT.alias("before")
    alike = select(before.c.id).where(
        *_mine(before, "before"),
        before.c.kind == OBJECT.c.kind,
        before.c.id == OBJECT.c.id,
        before.c.digest == OBJECT.c.digest,
    )
    query = select(OBJECT.c.id, OBJECT.c.body).where(
        *_mine(OBJECT, "now"),
        OBJECT.c.kind == bindparam("kind"),
        OBJECT.c.id > bindparam("after"),
        ~alike.exists(),
    )
    return _Ready(query.order_by(OBJECT.c.id).limit(bindparam("most")))


_WIDTHS = (1, 16, 256)
_OBJECTS, _NACKS = ({width: _named(table, width) for width in _WIDTHS} for table in (OBJECT, NACK))
_OTHER = _other()


async def find(
    engine: AsyncEngine, place: Place, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Known]:
    """Return what is stored of objects; those of which nothing is are not in it."""
    ids: dict[str, list[str]] = {}
    for kind, key in keys:
        ids.setdefault(kind, []).append(key)
    found: dict[tuple[str, str], Known] = {}
    for kind, names in ids.items():
        for start in range(0, len(names), _WIDTHS[-1]):
            some = names[start : start + _WIDTHS[-1]]
            width = next(each for each in _WIDTHS if each >= len(some))
            some += some[-1:] * (width - len(some))
            values = _place(place) | {"kind": kind} | {f"id{at}": key for at, key in enumerate(some)}
            for key, digest in await _OBJECTS[width].all(engine, values):
                found[kind, key] = Known(digest, None)
            for key, digest in await _NACKS[width].all(engine, values):
                found[kind, key] = found.get((kind, key), Known(None, None))._replace(nack=digest)
    return found


async def differing(
    engine: AsyncEngine, served: Place, staged: Place, kind: str, after: str, most: int
) -> list[Stored]:
    """Return the next objects of a generation, by id, that differ from what was served before or are new."""
    assert (served.feed, served.tenant) == (staged.feed, staged.tenant), "generations of one feed"
    values = _place(staged) | {"before": served.generation, "kind": kind, "after": after, "most": most}
    return [Stored(*row) for row in await _OTHER.all(engine, values)]


def _place(place: Place) -> dict[str, object]:
    return {"feed": place.feed, "now": place.generation, "tenant": place.tenant}
