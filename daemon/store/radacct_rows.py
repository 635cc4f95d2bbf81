"""What was minted for sessions in a radacct table: their key there, and the Acct-Session-Id that it shows.

A session that was acknowledged and waits for its row has a row here too: its `closed_at` says since when, and is
empty once there is nothing to wait for. So what waits is there again after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store.outbox_rows import RADACCT_SESSION as T
from daemon.store.schema import SESSION

_MOST = 500
_PRUNED = 5_000  # candidates in one look
_NONE = ""  # the key of a session that has waited from the first
_KEY = (T.c.sink, T.c.session_uid)


class Minted(NamedTuple):
    """The keys of one session."""

    session_uid: int
    unique_id: str
    shown_id: str


async def find(engine: AsyncEngine, sink: str, uids: Sequence[int]) -> dict[int, Minted]:
    """Return what was minted for these sessions."""
    found: dict[int, Minted] = {}
    async with engine.connect() as connection:
        for start in range(0, len(uids), _MOST):
            mine = (T.c.sink == sink) & T.c.session_uid.in_(uids[start : start + _MOST])
            query = select(T.c.session_uid, T.c.unique_id, T.c.shown_id).where(mine, T.c.unique_id != _NONE)
            for row in await connection.execute(query):
                found[row.session_uid] = Minted(*row)
    return found


async def known(engine: AsyncEngine, sink: str, unique_ids: Sequence[str]) -> set[str]:
    """Return which of these keys are of sessions of ours."""
    found: set[str] = set()
    async with engine.connect() as connection:
        for start in range(0, len(unique_ids), _MOST):
            mine = (T.c.sink == sink) & T.c.unique_id.in_(unique_ids[start : start + _MOST])
            found |= {row[0] for row in await connection.execute(select(T.c.unique_id).where(mine))}
    return found


async def save(connection: AsyncConnection, sink: str, minted: Sequence[Minted]) -> None:
    """Keep the keys of sessions; those that have some keep them."""
    rows = [{"sink": sink, **each._asdict()} for each in minted]
    if rows:
        statement = insert(T)
        keys = {name: statement.excluded[name] for name in ("unique_id", "shown_id")}
        await connection.execute(
            statement.on_conflict_do_update(index_elements=_KEY, set_=keys, where=T.c.unique_id == _NONE),
            rows,
        )


async def wait(connection: AsyncConnection, sink: str, since: Mapping[int, float]) -> None:
    """Note that sessions wait for their rows, each since some time (epoch seconds)."""
    rows = [
        {"sink": sink, "session_uid": uid, "unique_id": _NONE, "shown_id": "", "closed_at": at}
        for uid, at in since.items()
    ]
    if rows:
        statement = insert(T)
        at = {"closed_at": statement.excluded.closed_at}
        await connection.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=at), rows)


async def waiting(engine: AsyncEngine, sink: str) -> dict[int, float]:
    """Return the sessions that wait for their rows and since when, the first one first."""
    query = select(T.c.session_uid, T.c.closed_at).where(T.c.sink == sink, T.c.closed_at.is_not(None))
    async with engine.connect() as connection:
        found = await connection.execute(query.order_by(T.c.closed_at))
        return {row.session_uid: float(row.closed_at) for row in found}


async def drop_waiting(connection: AsyncConnection, sink: str, uids: Sequence[int]) -> None:
    """Forget that sessions wait; what was minted for them stays."""
    for start in range(0, len(uids), _MOST):
        mine = (T.c.sink == sink) & T.c.session_uid.in_(uids[start : start + _MOST])
        await connection.execute(delete(T).where(mine, T.c.unique_id == _NONE))
        await connection.execute(update(T).where(mine).values(closed_at=None))


async def prune(connection: AsyncConnection, sink: str, spared: Callable[[int], bool]) -> int:
    """Drop some keys of sessions that the store does not have any more; return how many went.

    `spared` names sessions that are not in the store yet.
    """
    stored = select(SESSION.c.uid).where(SESSION.c.uid == T.c.session_uid)
    gone = select(T.c.session_uid).where(T.c.sink == sink, ~stored.exists()).limit(_PRUNED)
    uids = [row[0] for row in (await connection.execute(gone)).all() if not spared(row[0])][:_MOST]
    if uids:
        await connection.execute(delete(T).where(T.c.sink == sink, T.c.session_uid.in_(uids)))
    return len(uids)
