"""Refused logins into a radpostauth table, as FreeRADIUS writes them; never with a password.

One row for each event: a login that was refused several times within some seconds is one. The table has no key of
ours, so what is delivered again after a crash is there twice; whoever counts refusals reads the stream instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Column, String, bindparam, func, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.sync.outbox.model import Event
from daemon.sync.outbox.radacct_table import TableUnusable, reflected

REPLY = "Access-Reject"
_NAME = "radpostauth"
_NEEDED = frozenset({"username", "pass", "reply", "authdate"})
_SOME = ("nasipaddress", "callingstationid")  # where the table has them; the event knows no more

AddressOf = Callable[[Event], str | None]
"""The address of the NAS that an event is about, None where it is not known."""


class RejectTable:
    """A radpostauth table as it is: its columns in whatever case, and how many characters they take."""

    def __init__(self, columns: dict[str, Column[Any]], *, mysql: bool) -> None:
        self._columns = {name: columns[name] for name in (*sorted(_NEEDED), *_SOME) if name in columns}
        self._widths = {
            name: column.type.length
            for name, column in self._columns.items()
            if isinstance(column.type, String) and column.type.length
        }
        when: Any = bindparam("v_authdate")
        written: dict[Any, Any] = {
            column: bindparam(f"v_{name}") for name, column in self._columns.items() if name != "authdate"
        }
        written[self._columns["authdate"]] = func.from_unixtime(when) if mysql else func.to_timestamp(when)
        self._insert = insert(columns["username"].table).values(written)

    async def add(self, connection: AsyncConnection, events: Sequence[Event], address_of: AddressOf) -> None:
        """Add a row for each event that says something."""
        rows = [self._row(each, address_of(each)) for each in events if len(each.body) > len("{}")]
        if rows:
            await connection.execute(self._insert, rows)

    def _row(self, event: Event, address: str | None) -> dict[str, object]:
        said = event.data
        values: dict[str, object] = {
            "username": said.get("identity") or "",
            "pass": "",
            "reply": REPLY,
            "authdate": event.at,
            "nasipaddress": address or self._nothing("nasipaddress"),
            "callingstationid": said.get("calling_station_id") or self._nothing("callingstationid"),
        }
        return {f"v_{name}": self._fitting(name, values[name]) for name in self._columns}

    def _nothing(self, name: str) -> str | None:
        column = self._columns.get(name)
        return None if column is None or column.nullable else ""

    def _fitting(self, name: str, value: object) -> object:
        if not isinstance(value, str):
            return value
        return value.replace("\0", "")[: self._widths.get(name)]  # PostgreSQL takes no NUL


async def look_at_rejects(engine: AsyncEngine, radacct: str) -> RejectTable:
    """Return the radpostauth table beside a radacct table. Raises TableUnusable, and what the database raises."""
    schema = radacct.rpartition(".")[0]
    name = f"{schema}.{_NAME}" if schema else _NAME
    table = await reflected(engine, name)
    if table is None:
        raise TableUnusable(
            f"there is no table {name}: make it with FreeRADIUS's schema, or set post_auth = false"
        )
    columns = {column.name.lower(): column for column in table.c}
    if lacking := _NEEDED - columns.keys():
        raise TableUnusable(f"{name} lacks {', '.join(sorted(lacking))}")
    return RejectTable(columns, mysql=engine.dialect.name != "postgresql")


async def add_each(
    engine: AsyncEngine,
    table: RejectTable,
    events: Sequence[Event],
    address_of: AddressOf,
    is_of_a_row: Callable[[DBAPIError], bool],
) -> int:
    """Add rows in one transaction, or one by one where the database refuses some; return how many it refused."""
    try:
        async with engine.begin() as connection:
            await table.add(connection, events, address_of)
    except DBAPIError as error:
        if not is_of_a_row(error):
            raise
    else:
        return 0
    refused = 0
    for event in events:
        try:
            async with engine.begin() as connection:
                await table.add(connection, [event], address_of)
        except DBAPIError as error:
            if not is_of_a_row(error):
                raise
            refused += 1
    return refused
