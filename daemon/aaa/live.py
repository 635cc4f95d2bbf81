"""Finds live sessions by whom and what they are of: subscriber, user name, address, Acct-Session-Id."""

from __future__ import annotations

from daemon.aaa.session import Session

_Key = tuple[str, str | bytes]
_Table = dict[_Key, tuple[Session, ...]]


class Live:
    """Tables of live sessions; only `aaa.sessions` changes them."""

    __slots__ = ("_addresses", "_ids", "_subscribers", "_usernames")

    def __init__(self) -> None:
        self._subscribers: _Table = {}
        self._usernames: _Table = {}
        self._addresses: _Table = {}
        self._ids: _Table = {}

    def add(self, session: Session) -> None:
        """Take in a session that lives."""
        for table, key in self._places(session):
            table[key] = (*table.get(key, ()), session)

    def remove(self, session: Session) -> None:
        """Forget a session; to be called while it is as it was when it was added."""
        for table, key in self._places(session):
            rest = tuple(each for each in table.get(key, ()) if each is not session)
            if rest:
                table[key] = rest
            else:
                table.pop(key, None)

    def _places(self, session: Session) -> list[tuple[_Table, _Key]]:
        tenant = session.tenant
        places: list[tuple[_Table, _Key]] = [(self._ids, (tenant, session.acct_session_id))]
        if session.subscriber:
            places.append((self._subscribers, (tenant, session.subscriber)))
        if session.username:
            places.append((self._usernames, (tenant, session.username)))
        address = session.ipv4_octets
        if address is not None:
            places.append((self._addresses, (tenant, address)))
        return places

    def of_subscriber(self, tenant: str, subscriber: str) -> tuple[Session, ...]:
        """Return the live sessions of a subscriber, oldest first."""
        return self._subscribers.get((tenant, subscriber), ())

    def of_username(self, tenant: str, username: str) -> tuple[Session, ...]:
        """Return the live sessions under a user name."""
        return self._usernames.get((tenant, username), ())

    def of_address(self, tenant: str, address: bytes) -> tuple[Session, ...]:
        """Return the live sessions with an IPv4 address, four octets."""
        return self._addresses.get((tenant, address), ())

    def of_acct_session_id(self, tenant: str, acct_session_id: bytes) -> tuple[Session, ...]:
        """Return the live sessions with an Acct-Session-Id, which several boxes may use."""
        return self._ids.get((tenant, acct_session_id), ())
