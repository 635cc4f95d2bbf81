"""What the platform was last told of a session: enough to know what is news.

It needs no place of its own in the store. A session's row is written together with the events about it, so what
the row says has been told.
"""

from __future__ import annotations

from typing import NamedTuple

from daemon.aaa.counters import Totals
from daemon.aaa.session import Closed, Session, State


class End(NamedTuple):
    """How a session has ended, and what it had used."""

    at: float
    by: Closed
    cause: str | None
    totals: Totals
    session_time_s: int


class Told(NamedTuple):
    """A session without what changes with every interim. `key` is where it is: NAS, box and Acct-Session-Id."""

    key: bytes
    subscriber: str
    tracked: tuple[bytes | None, ...]
    suspect: bool
    end: End | None


def told_of(session: Session) -> Told:
    """Return what is told of a session as it is now."""
    end = None
    if session.closed_at is not None:
        end = End(
            session.closed_at,
            session.closed_by,
            session.terminate_cause,
            session.counters.totals,
            session.session_time_s,
        )
    return Told(
        session.key, session.subscriber, session.latest, end is None and session.state is State.SUSPECT, end
    )
