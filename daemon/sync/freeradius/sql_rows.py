"""The tables of FreeRADIUS's SQL schema, read in one snapshot: who is in them, sorted by user name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Inspector,
    Integer,
    LargeBinary,
    Select,
    String,
    TableClause,
    cast,
    column,
    func,
    inspect,
    literal,
    select,
    table,
    union_all,
)
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

_CHUNK = 100
CHECK, REPLY, GROUP = 0, 1, 2
_NAS = (
    "nasname",
    "shortname",
    "type",
    "secret",
    "coa_port",
    "require_message_authenticator",
    "limit_proxy_state",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What the tables are called; a name may have its schema before a dot. Empty: there is no such table."""

    radcheck: str = "radcheck"
    radreply: str = "radreply"
    radusergroup: str = "radusergroup"
    radgroupcheck: str = "radgroupcheck"
    radgroupreply: str = "radgroupreply"
    nas: str = "nas"
    staff_check: str = ""  # of logins to the devices themselves, such as radcheck_admin
    staff_reply: str = ""
    schema: str = ""  # for all names without one of their own


class UserRow(NamedTuple):
    """One row about a user: `table` is CHECK, REPLY or GROUP; of a group, `attribute` is its name."""

    key: bytes  # what rows of one user have in common
    table: int
    username: str
    order: int  # the priority of a group
    attribute: str
    op: str | None
    value: str | None


class GroupRow(NamedTuple):
    """One row of a group."""

    table: int
    group: str
    attribute: str
    op: str | None
    value: str | None


NasRow = Mapping[str, Any]  # the columns that there are, by name
Mark = tuple[Any, ...]  # differs where rows have come or gone


def open_tables(url: str, *, connect_timeout_s: float) -> AsyncEngine:
    """Return an engine for a database that others own: one connection, nothing but reading.

    Raises ArgumentError for a URL that is none.
    """
    connect: dict[str, object] = {"timeout": connect_timeout_s}
    if url.startswith("mysql"):
        connect = {
            "connect_timeout": connect_timeout_s,
            "init_command": "SET SESSION TRANSACTION READ ONLY",
            "charset": "utf8mb4",
        }
    return create_async_engine(
        url,
        connect_args=connect,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        hide_parameters=True,
        isolation_level="REPEATABLE READ",
        execution_options={"postgresql_readonly": True},
    )


class Schema:
    """The tables that are there, with the columns they have."""

    def __init__(
        self, names: Tables, columns: Mapping[str, frozenset[str]], *, fold: bool, postgresql: bool
    ) -> None:
        self._names = names
        self._postgresql = postgresql
        self._columns = columns  # by our name of the table, in lower case
        self._fold = fold  # user names are the same in upper and lower case

    @classmethod
    async def look(cls, connection: AsyncConnection, names: Tables, *, fold: bool) -> Schema:
        """Look which columns there are. Raises NoSuchTableError for a table that is named and is not there."""

        def columns(sync: Any) -> dict[str, frozenset[str]]:
            inspector: Inspector = inspect(sync)
            found: dict[str, frozenset[str]] = {}
            for ours in _TABLES:
                name, schema = _split(names, ours)
                if name:
                    listed = inspector.get_columns(name, schema=schema)
                    if not listed:
                        raise NoSuchTableError(name)
                    found[ours] = frozenset(each["name"].lower() for each in listed)
            return found

        found = await connection.run_sync(columns)
        return cls(names, found, fold=fold, postgresql=connection.dialect.name == "postgresql")

    def has(self, ours: str) -> bool:
        """Tell whether a table is there, by our name of it."""
        return ours in self._columns

    async def mark(self, connection: AsyncConnection) -> Mark:
        """Return the highest id and the number of rows of each table: other ones tell of a change."""
        asked: list[ColumnElement[Any]] = []
        for ours, columns in self._columns.items():
            source = self._table(ours)
            asked.append(select(func.count()).select_from(source).scalar_subquery())
            if "id" in columns:
                asked.append(select(func.max(source.c.id)).scalar_subquery())
        return tuple((await connection.execute(select(*asked))).one())

    async def groups(self, connection: AsyncConnection) -> list[GroupRow]:
        """Return the rows of all groups, by table, group and id."""
        rows: list[GroupRow] = []
        for kind, ours in ((CHECK, "radgroupcheck"), (REPLY, "radgroupreply")):
            if not self.has(ours):
                continue
            source = self._table(ours)
            asked = select(source.c.groupname, source.c.attribute, source.c.op, source.c.value)
            found = await connection.execute(asked.order_by(source.c.id))
            rows += [GroupRow(kind, *each) for each in found]
        return rows

    async def nases(self, connection: AsyncConnection) -> list[NasRow]:
        """Return the rows of NASes, with the columns that there are."""
        if not self.has("nas"):
            return []
        source = self._table("nas")
        wanted: list[ColumnElement[Any]] = [column(name) for name in _NAS if name in self._columns["nas"]]
        found = await connection.execute(select(*wanted).select_from(source).order_by(source.c.id))
        return [dict(each) for each in found.mappings()]

    async def users(self, connection: AsyncConnection) -> AsyncIterator[list[UserRow]]:
        """Yield the rows of all users in chunks, those of one user together: checks, replies, groups."""
        parts = [
            self._rows(CHECK, "radcheck"),
            self._rows(REPLY, "radreply"),
            self._memberships(),
        ]
        async for chunk in self._stream(connection, [part for part in parts if part is not None]):
            yield chunk

    async def staff(self, connection: AsyncConnection) -> AsyncIterator[list[UserRow]]:
        """Yield the rows of staff as `users` does; nothing where there are no such tables."""
        parts = [self._rows(CHECK, "staff_check"), self._rows(REPLY, "staff_reply")]
        there = [part for part in parts if part is not None]
        if there:
            async for chunk in self._stream(connection, there):
                yield chunk

    async def _stream(
        self, connection: AsyncConnection, parts: list[Select[Any]]
    ) -> AsyncIterator[list[UserRow]]:
        both = union_all(*parts).subquery("users")
        c = both.c
        asked = select(c.k, c.t, c.username, c.prio, c.attribute, c.op, c.value).order_by(
            c.k, c.t, c.prio, c.id
        )
        result = await connection.stream(asked.execution_options(yield_per=_CHUNK))
        try:
            async for chunk in result.partitions(_CHUNK):
                yield [UserRow(bytes(row[0]), *row[1:]) for row in chunk]
        finally:
            await result.close()

    def _rows(self, kind: int, ours: str) -> Select[Any] | None:
        if not self.has(ours):
            return None
        source = self._table(ours)
        c = source.c
        return select(
            self._key(c.username).label("k"),
            literal(kind, Integer).label("t"),
            c.username.label("username"),
            literal(0, Integer).label("prio"),
            c.id.label("id"),
            c.attribute.label("attribute"),
            c.op.label("op"),
            c.value.label("value"),
        )

    def _memberships(self) -> Select[Any] | None:
        if not self.has("radusergroup"):
            return None
        c = self._table("radusergroup").c
        # Old schemas have no id here; then groups of one priority come in the order of their names.
        own = c.id if "id" in self._columns["radusergroup"] else literal(0, Integer)
        return select(
            self._key(c.username).label("k"),
            literal(GROUP, Integer).label("t"),
            c.username.label("username"),
            c.priority.label("prio"),
            own.label("id"),
            c.groupname.label("attribute"),
            cast(literal(""), String(2)).label("op"),
            cast(literal(""), String(2)).label("value"),
        )

    def _key(self, username: ColumnElement[str]) -> ColumnElement[bytes]:
        name = func.lower(username) if self._fold else username
        # As octets, since each database sorts texts in its own way.
        if self._postgresql:
            return func.convert_to(name, "UTF8", type_=LargeBinary)
        return cast(name, LargeBinary)

    def _table(self, ours: str) -> TableClause:
        name, schema = _split(self._names, ours)
        return table(name, *(column(each) for each in self._columns[ours]), schema=schema)


_TABLES = (
    "radcheck",
    "radreply",
    "radusergroup",
    "radgroupcheck",
    "radgroupreply",
    "nas",
    "staff_check",
    "staff_reply",
)


def _split(names: Tables, ours: str) -> tuple[str, str | None]:
    """Return the name of a table and its schema."""
    schema, dot, name = str(getattr(names, ours)).rpartition(".")
    return name, schema if dot else names.schema or None
