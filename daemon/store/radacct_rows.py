"""What was minted for sessions in a radacct table: their key there, and the Acct-Session-Id that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store.outbox_rows import RADACCT_SESSION as T
from daemon.store.schema import SESSION

_MOST = 500


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
            for row in await connection.execute(
                select(T.c.session_uid, T.c.unique_id, T.c.shown_id).where(mine)
            ):
                found[row.session_uid] = Minted(*row)
    return found


async def known(engine: AsyncEngine, sink: str, unique_ids: Sequence[str]) -> set[str]:
    """Return which of these keys are of sessions of ours."""
    if not unique_ids:
        return set()
    mine = (T.c.sink == sink) & T.c.unique_id.in_(unique_ids)
    async with engine.connect() as connection:
        return {row[0] for row in await connection.execute(select(T.c.unique_id).where(mine))}


async def save(connection: AsyncConnection, sink: str, minted: Sequence[Minted]) -> None:
    """Keep the keys of sessions; those that are there stay."""
    rows = [{"sink": sink, **each._asdict()} for each in minted]
    if rows:
        await connection.execute(insert(T).on_conflict_do_nothing(), rows)


async def prune(connection: AsyncConnection) -> int:
    """Drop some keys of sessions that the store does not have any more; return how many went."""
    gone = select(T.c.sink, T.c.session_uid).where(T.c.session_uid.not_in(select(SESSION.c.uid))).limit(_MOST)
    rows = (await connection.execute(gone)).all()
    for row in rows:
        await connection.execute(delete(T).where(T.c.sink == row.sink, T.c.session_uid == row.session_uid))
    return len(rows)
