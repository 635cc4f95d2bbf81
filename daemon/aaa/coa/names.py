"""The ways to name a session to its NAS, best first, and none that might hit another session (RFC 5176 section 3)."""

from __future__ import annotations

import asyncio
from typing import Protocol

from daemon.aaa.coa.wire import Identification, identifications
from daemon.aaa.live import Live
from daemon.aaa.session import Session
from radius.errors import Unencodable


class Sessions(Protocol):
    """What CoA asks the table of sessions; `aaa.sessions.SessionTable` answers."""

    def closing(self, uid: int) -> asyncio.Future[None]:
        """Return a future that is done when the session is closed, or not known."""

    def reporting(self, uid: int) -> asyncio.Future[bytes]:
        """Return a future that gets the octets of the next accounting packet of the session."""

    def find_uid(self, uid: int) -> Session | None:
        """Return the session with this number."""

    @property
    def live(self) -> Live:
        """The sessions that live, by whom and what they are of."""


class Names:
    """Knows which attributes each NAS took last."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._took: dict[tuple[str, str], tuple[int, ...]] = {}

    def took(self, session: Session, chosen: Identification) -> None:
        """The NAS of the session has found it by that."""
        self._took[(session.tenant, session.nas)] = chosen.kinds

    def of(self, session: Session, sets: tuple[tuple[int, ...], ...]) -> list[Identification]:
        """Return the ways to name a session: what its NAS took last comes first, among those as exact.

        A user and an address, or a user and a MAC, are used only where no other live session has them: a
        subscriber who has come back would lose the new session. Raises Unencodable where no way is left.
        """
        took = self._took.get((session.tenant, session.nas))
        found = identifications(session, sets)
        if not all(each.is_exact for each in found):
            others = self._others(session)
            found = tuple(
                each
                for each in found
                if each.is_exact or not any(each.may_name(session, other) for other in others)
            )
        if not found:
            raise Unencodable("Acct-Session-Id", "is empty, and nothing else is this session's alone")
        return sorted(found, key=lambda each: (not each.is_exact, each.kinds != took))

    def _others(self, session: Session) -> set[Session]:
        """Return the other live sessions of the user, the subscriber or the address."""
        live, tenant = self._sessions.live, session.tenant
        others = {*live.of_username(tenant, session.username)}
        if session.subscriber:
            others.update(live.of_subscriber(tenant, session.subscriber))
        if session.ipv4_octets is not None:
            others.update(live.of_address(tenant, session.ipv4_octets))
        others.discard(session)
        return others
