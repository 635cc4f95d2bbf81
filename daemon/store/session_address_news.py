"""What there is to write of the addresses of sessions, and when these end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.store.session_addresses import (
    INTERFACE_ID,
    KINDS,
    SESSION_ADDRESS,
    AddressRow,
    Other,
    Reporting,
    rows_of,
    save,
)


class News(NamedTuple):
    """What is to be written of some sessions: rows, and when they ended (None: they live) by session number."""

    rows: list[AddressRow]
    ends: list[tuple[int, float | None]]


class Written:
    """What the store has of live sessions already: a row is written when there is news, not for each interim."""

    def __init__(self, tracked: Sequence[int]) -> None:
        """`tracked` names the attributes of `session.tracked()`."""
        self._tracked = tuple(tracked)
        self._spots = tuple(self._tracked.index(kind) for kind in (*KINDS, INTERFACE_ID))
        self._known: dict[int, tuple[object, list[Other]]] = {}

    def __len__(self) -> int:
        """How many sessions are remembered."""
        return len(self._known)

    def take(self, sessions: Iterable[Reporting], others_of: Callable[[Reporting], Iterable[Other]]) -> News:
        """Return what to write of sessions that have changed. Call `give_back` where it could not be written.

        `others_of` gives the values that a session reported and that are not its latest.
        """
        news = News([], [])
        for session in sessions:
            latest, times = session.tracked()
            now = [latest[spot] for spot in self._spots]
            others = list(others_of(session))
            mark = (now, session.closed_at, session.subscriber)
            known = self._known.get(session.uid)
            values = [
                (self._tracked[spot], value, times[spot])
                for spot in self._spots
                if (value := latest[spot]) is not None
            ]
            if session.closed_at is None:
                self._known[session.uid] = (mark, values)
            else:
                self._known.pop(session.uid, None)
            if known is None or others or known[0] != mark:
                # What it had at its last row is told again, with the time of the last report of it.
                before = () if known is None else known[1]
                news.rows.extend(rows_of(session, self._tracked, (*others, *before)))
            if known is None or session.closed_at is not None:
                # It may have more rows than these, and may have been taken to be over before.
                news.ends.append((session.uid, session.closed_at))
        return news

    def give_back(self, sessions: Iterable[Reporting]) -> None:
        """Forget what was taken of sessions: nothing of it is in the store."""
        for session in sessions:
            self._known.pop(session.uid, None)


_SET_END = (
    update(SESSION_ADDRESS)
    .where(
        SESSION_ADDRESS.c.uid == bindparam("of"),
        SESSION_ADDRESS.c.closed_at.is_distinct_from(bindparam("ended")),
    )
    .values(closed_at=bindparam("ended"))
)


async def save_news(connection: AsyncConnection, news: News) -> None:
    """Write rows, and the end of their sessions into every row of these: of addresses that they had before, too."""
    await save(connection, news.rows)
    if news.ends:
        await connection.execute(_SET_END, [{"of": uid, "ended": at} for uid, at in news.ends])
