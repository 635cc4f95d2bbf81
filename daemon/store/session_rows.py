"""Session rows: written in slices by the keeper of sessions, read at start and when somebody looks back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Select, delete, or_, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store.schema import MARK, SESSION
from ipam.wide import WideInsert

APPLIED_SEQ = "sessions-applied-seq"
_PAGE = 2000
# What names a session stays as it is, so that its indexes need no second look.
_NEVER_CHANGES = ("uid", "tenant", "nas", "box", "acct_session_id", "username")


def _upsert() -> WideInsert:
    statement = insert(SESSION)
    changes = {name: statement.excluded[name] for name in SESSION.c.keys() if name not in _NEVER_CHANGES}  # noqa: SIM118
    return WideInsert(statement.on_conflict_do_update(index_elements=[SESSION.c.uid], set_=changes))


_UPSERT = _upsert()


class SessionRow(NamedTuple):
    """One row of the session table; `detail` is JSON made and read by `aaa.session_codec`."""

    uid: int
    tenant: str
    nas: str
    box: bytes
    acct_session_id: bytes
    username: str
    framed_ip_address: str | None
    state: str
    started_at: float
    updated_at: float
    closed_at: float | None
    detail: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which closed sessions to look for; None leaves a field open."""

    username: str | None = None
    framed_ip_address: str | None = None
    nas: str | None = None
    tenant: str | None = None
    limit: int = 100


async def save(connection: AsyncConnection, rows: Sequence[SessionRow]) -> None:
    """Insert rows, or change what can change of those that are there."""
    await _UPSERT.write(connection, rows)


async def save_mark(connection: AsyncConnection, name: str, value: float) -> None:
    """Set a named number."""
    statement = insert(MARK).values(name=name, value=value)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=[MARK.c.name], set_={"value": value})
    )


async def read_mark(engine: AsyncEngine, name: str) -> float | None:
    """Return a named number, None where it was never set."""
    async with engine.connect() as connection:
        value = (await connection.execute(select(MARK.c.value).where(MARK.c.name == name))).scalar()
    return None if value is None else float(value)


async def read_recent(engine: AsyncEngine, closed_after: float) -> list[SessionRow]:
    """Return the open sessions and those closed after that time."""
    query = select(SESSION).where(or_(SESSION.c.closed_at.is_(None), SESSION.c.closed_at > closed_after))
    return await _rows(engine, query)


async def find_by_acct_session_id(engine: AsyncEngine, acct_session_id: bytes) -> list[SessionRow]:
    """Return every stored session of that Acct-Session-Id, on whatever NAS."""
    return await _rows(engine, select(SESSION).where(SESSION.c.acct_session_id == acct_session_id))


async def find_by_uids(engine: AsyncEngine, uids: Sequence[int]) -> list[SessionRow]:
    """Return the stored sessions with these numbers."""
    found: list[SessionRow] = []
    for start in range(0, len(uids), _PAGE):
        found += await _rows(engine, select(SESSION).where(SESSION.c.uid.in_(uids[start : start + _PAGE])))
    return found


async def search_closed(engine: AsyncEngine, search: Search) -> list[SessionRow]:
    """Return closed sessions, latest first."""
    query = select(SESSION).where(SESSION.c.closed_at.is_not(None))
    for column in ("username", "framed_ip_address", "nas", "tenant"):
        wanted = getattr(search, column)
        if wanted is not None:
            query = query.where(SESSION.c[column] == wanted)
    return await _rows(engine, query.order_by(SESSION.c.started_at.desc()).limit(search.limit))


async def prune_closed(connection: AsyncConnection, closed_before: float) -> int:
    """Delete some of the sessions closed before that time; return how many went."""
    old = select(SESSION.c.uid).where(SESSION.c.closed_at < closed_before).limit(_PAGE)
    return int((await connection.execute(delete(SESSION).where(SESSION.c.uid.in_(old)))).rowcount)


async def _rows(engine: AsyncEngine, query: Select[Any]) -> list[SessionRow]:
    async with engine.connect() as connection:
        return [SessionRow(*row) for row in await connection.execute(query)]
