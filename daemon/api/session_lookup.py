"""Which session a name means: Acct-Session-Id, user name or subscriber; the number of a session begins with #.

User names and the ids of a NAS are numbers more often than not, so a bare number is never taken for ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fastapi import HTTPException

from daemon.aaa.session import Session
from daemon.aaa.session_codec import from_row, text
from daemon.api.listing import sliced
from daemon.api.lookup import of_one_tenant, tenants
from daemon.api.services import Services
from daemon.store import session_rows

_NUMBER = re.compile(r"#([0-9]{1,20})")
_MOST_LISTED = 10


async def find_any(services: Services, name: str, tenant: str | None) -> Session:
    """Return the session with that number, the newest with that Acct-Session-Id, or the live one of a user.

    Closed sessions are found by number while they are in memory, by Acct-Session-Id from the store, too. Raises
    HTTPException: 404 for none, 409 where the name means several.
    """
    known = _numbered(services, name, tenant)
    if known is not None:
        return known
    octets = name.encode()
    by_id = [
        each
        async for each in sliced(services.aaa.sessions.snapshot())
        if each.acct_session_id == octets and tenant in (None, each.tenant)
    ]
    of_users = _of_users(services, name, tenant)
    if not by_id and not of_users:
        rows = await session_rows.find_by_acct_session_id(services.engine, octets)
        by_id = [from_row(row) for row in rows if tenant in (None, row.tenant)]
    missing = f"no session has the Acct-Session-Id {name}, none that lives is of such a user{_hint(name)}"
    of_one_tenant([*by_id, *of_users], _tenant, name, missing)
    newest = sorted(by_id, key=lambda each: each.started_at)[-1:]
    return _agreed(name, newest, of_users, most=1)[0]


def find_live(services: Services, name: str, tenant: str | None) -> list[Session]:
    """Return the live sessions that a name means: one by number or Acct-Session-Id, all of a user or subscriber.

    Raises HTTPException: 404 for none, 409 where the name means different sessions, or those of several tenants.
    """
    missing = f"no live session has the Acct-Session-Id, user or subscriber {name}{_hint(name)}"
    known = _numbered(services, name, tenant)
    if known is not None:
        if known.closed_at is not None:
            raise HTTPException(404, f"session {name} has closed")
        return [known]
    live, octets = services.aaa.sessions.live, name.encode()
    by_id = [each for owner in _owners(services, tenant) for each in live.of_acct_session_id(owner, octets)]
    of_users = _of_users(services, name, tenant)
    of_one_tenant([*by_id, *of_users], _tenant, name, missing)
    return _agreed(name, by_id, of_users, most=None if of_users else 1)


def _numbered(services: Services, name: str, tenant: str | None) -> Session | None:
    """Return the session whose number is written as name; None for a name. Raises HTTPException 404."""
    number = _NUMBER.fullmatch(name)
    if number is None:
        return None
    known = services.aaa.sessions.find_uid(int(number[1]))
    if known is None or tenant not in (None, known.tenant):
        raise HTTPException(404, f"no session has the number {name}")
    return known


def _of_users(services: Services, name: str, tenant: str | None) -> list[Session]:
    """Return the live sessions under a user name or of a subscriber. Raises HTTPException."""
    live = services.aaa.sessions.live
    owners = _owners(services, tenant)
    by_username = [each for owner in owners for each in live.of_username(owner, name)]
    by_subscriber = [each for owner in owners for each in live.of_subscriber(owner, name)]
    everybody = [*by_username, *by_subscriber]
    if not everybody:
        return []
    of_one_tenant(everybody, _tenant, name, "")
    return _agreed(name, by_username, by_subscriber)


def _agreed(
    name: str, some: Sequence[Session], others: Sequence[Session], most: int | None = None
) -> list[Session]:
    """Return what two ways to read a name have found, at least one. Raises HTTPException 409 where they differ."""
    found = {each.uid: each for each in (*some, *others)}
    differ = some and others and {each.uid for each in some} != {each.uid for each in others}
    if differ or (most is not None and len(found) > most):
        raise HTTPException(409, f"{name} means several sessions: {_listed(found.values())}; give the number")
    return list(found.values())


def _listed(sessions: Iterable[Session]) -> str:
    said = [
        f"#{each.uid} (user {each.username}, subscriber {each.subscriber or 'none'}, "
        f"Acct-Session-Id {text(each.acct_session_id)}, at {each.nas})"
        for each in sessions
    ]
    more = f" and {len(said) - _MOST_LISTED} more" if len(said) > _MOST_LISTED else ""
    return ", ".join(said[:_MOST_LISTED]) + more


def _owners(services: Services, tenant: str | None) -> list[str]:
    return [each.tenant.id for each in tenants(services, tenant)]


def _tenant(session: Session) -> str:
    return session.tenant


def _hint(name: str) -> str:
    return f"; the number of a session is written '#{name}', or --uid {name}" if name.isdecimal() else ""
