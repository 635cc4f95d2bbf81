"""A radacct table that FreeRADIUS made, in PostgreSQL, MySQL or MariaDB: its rows read and written as they are.

Columns and their widths are those that the table has. Times go through the functions of the database, so that its
own time zone holds, as it does for FreeRADIUS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    bindparam,
    extract,
    func,
    insert,
    inspect,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.errors import DaemonError
from daemon.sync.outbox.radacct_engine import begun
from daemon.sync.outbox.radacct_merge import COLUMNS, TIMES, RadacctRow

_NEEDED = frozenset(
    {"radacctid", "acctsessionid", "acctuniqueid", "username", "nasipaddress", *TIMES, "acctsessiontime"}
    | {"acctinputoctets", "acctoutputoctets", "acctterminatecause", "framedipaddress"}
)
_LOCK = 3_281_601_276  # of this table's writers in PostgreSQL, so that the order of ids is that of commits
_INTS = frozenset({"acctinterval", "acctsessiontime", "acctinputoctets", "acctoutputoctets"})


class TableUnusable(DaemonError):
    """The table is not one that sessions can be written into; the text says what is missing."""

    slug = "radacct-unusable"


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as it is: its columns by our names, how many characters the narrow ones take, how much the numbers."""

    table: Table
    names: tuple[str, ...]
    widths: Mapping[str, int]
    mosts: Mapping[str, int]
    mysql: bool

    def column(self, name: str) -> Column[Any]:
        """Return a column by our name of it."""
        return self.table.c["class" if name == "class_" else name]


async def look(engine: AsyncEngine, name: str) -> Shape:
    """Return the shape of a table, `schema.table` or `table`. Raises TableUnusable, and what the database raises."""
    table = await reflected(engine, name)
    if table is None:
        raise TableUnusable(f"there is no table {name} with the columns of FreeRADIUS's radacct")
    names = tuple(each for each in COLUMNS if ("class" if each == "class_" else each) in table.c)
    lacking = _NEEDED - set(table.c.keys())
    if lacking:
        raise TableUnusable(f"{name} lacks {', '.join(sorted(lacking))}")
    shape = Shape(table, names, {}, {}, engine.dialect.name != "postgresql")
    widths = {
        each: length
        for each in names
        if isinstance(kind := shape.column(each).type, String) and (length := kind.length) is not None
    }
    mosts = {
        each: most for each in names if (most := _most(shape.column(each))) is not None and each not in TIMES
    }
    return Shape(table, names, widths, mosts, shape.mysql)


def _most(column: Column[Any]) -> int | None:
    """Return the greatest number that a column surely takes, None where it is no column of whole numbers."""
    kind = column.type
    if not isinstance(kind, Integer):
        return None
    if isinstance(kind, BigInteger):
        return (1 << 63) - 1
    return (1 << 15) - 1 if isinstance(kind, SmallInteger) else (1 << 31) - 1


async def reflected(engine: AsyncEngine, name: str) -> Table | None:
    """Return a table as the database has it, `schema.table` or `table`; None where there is none."""
    schema, _, bare = name.rpartition(".")
    async with begun(engine) as connection:
        return await connection.run_sync(_reflect, bare, schema or None)


def _reflect(connection: Any, name: str, schema: str | None) -> Table | None:
    if not inspect(connection).has_table(name, schema=schema):
        return None
    return Table(name, MetaData(), schema=schema, autoload_with=connection, resolve_fks=False)


class RadacctTable:
    """Statements for one table, inside a transaction of the caller's."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._insert = insert(shape.table).values(self._values(shape.names))
        changing = tuple(
            each for each in shape.names if each not in ("acctuniqueid", "acctsessionid", "nasipaddress")
        )
        mine = shape.table.c.acctuniqueid == bindparam("key")
        self._update = update(shape.table).where(mine).values(self._values(changing))
        self._changing = changing

    def _values(self, names: Sequence[str]) -> dict[Column[Any], Any]:
        return {self.shape.column(each): self._written(each) for each in names}

    def _written(self, name: str) -> Any:
        value: Any = bindparam(f"v_{name}")
        if name in TIMES:
            return func.from_unixtime(value) if self.shape.mysql else func.to_timestamp(value)
        return value

    async def now(self, connection: AsyncConnection) -> float:
        """Return the clock of the database, epoch seconds."""
        asked = (
            func.unix_timestamp(func.now(6)) if self.shape.mysql else extract("epoch", func.clock_timestamp())
        )
        return float((await connection.execute(select(asked))).scalar_one())

    async def serialise(self, connection: AsyncConnection) -> None:
        """Be the only writer of ours until the end of the transaction."""
        if not self.shape.mysql:
            await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))

    async def find(self, connection: AsyncConnection, unique_ids: Sequence[str]) -> dict[str, RadacctRow]:
        """Return the rows with these keys, locked."""
        mine = self.shape.table.c.acctuniqueid.in_(unique_ids)
        rows = await connection.execute(self._select().where(mine).with_for_update())
        return {row.acctuniqueid: row for row in map(self._row, rows)}

    async def open_of(
        self, connection: AsyncConnection, names: Sequence[tuple[str, str]]
    ) -> list[RadacctRow]:
        """Return open rows of these (user name, Acct-Session-Id), the newest first."""
        c = self.shape.table.c
        query = self._select().where(tuple_(c.username, c.acctsessionid).in_(names), c.acctstoptime.is_(None))
        found = await connection.execute(query.order_by(c.radacctid.desc()).with_for_update())
        return [self._row(each) for each in found]

    async def taken(
        self, connection: AsyncConnection, sessions: Sequence[tuple[str, str]]
    ) -> list[tuple[str, str, str, bool]]:
        """Return (key, user name, Acct-Session-Id, open) of rows that show one of these (id, user name) pairs' ids."""
        c = self.shape.table.c
        columns = (c.acctuniqueid, c.username, c.acctsessionid, c.acctstoptime.is_(None))
        query = select(*columns).where(c.acctsessionid.in_({each[0] for each in sessions}))
        return [(row[0], row[1] or "", row[2], bool(row[3])) for row in await connection.execute(query)]

    async def insert(self, connection: AsyncConnection, rows: Sequence[RadacctRow]) -> None:
        """Add rows."""
        if rows:
            await connection.execute(self._insert, [self._bound(row, self.shape.names) for row in rows])

    async def update(self, connection: AsyncConnection, rows: Sequence[RadacctRow]) -> None:
        """Change rows that are there, all but their keys."""
        if rows:
            bound = [self._bound(row, self._changing) | {"key": row.acctuniqueid} for row in rows]
            await connection.execute(self._update, bound)

    def _bound(self, row: RadacctRow, names: Sequence[str]) -> dict[str, object]:
        return {f"v_{name}": self._given(name, getattr(row, name)) for name in names}

    def _given(self, name: str, value: object) -> object:
        if value == "" and not isinstance(self.shape.column(name).type, String):
            return None  # an address column takes no empty text
        if value is None and not self.shape.column(name).nullable and name not in TIMES:
            return 0 if name in _INTS else ""
        return value

    def _select(self) -> Any:
        shown = []
        for name in self.shape.names:
            column = self.shape.column(name)
            asked = func.unix_timestamp(column) if self.shape.mysql else extract("epoch", column)
            shown.append((asked if name in TIMES else column).label(name))
        return select(*shown)

    def _row(self, found: Any) -> RadacctRow:
        said = found._asdict()
        for name, value in said.items():
            if name in TIMES:
                said[name] = None if value is None else float(value)
            elif name not in _INTS:
                said[name] = None if value is None else str(value)
        return RadacctRow(**{**said, "username": said["username"] or ""})
