"""Which sessions events are about, as radacct has to say them: from memory, else from the store.

What a row says is the session as it is now, not the event: events that are told again, or late, change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa.session import CONCLUDED, Session
from daemon.aaa.session_codec import from_row
from daemon.aaa.sessions import SessionTable
from daemon.replica.index import Index
from daemon.store import session_rows
from daemon.sync.outbox.model import Event
from daemon.sync.outbox.radacct_merge import SessionFacts, cause_name
from radius.codes import Attr

_NAS_IP, _NAS_IPV6 = int(Attr.NAS_IP_ADDRESS), int(Attr.NAS_IPV6_ADDRESS)
_V6_OCTETS = 16


class SessionFinder:
    """Finds the sessions of events of the streams `accounting` and `sessions`."""

    def __init__(self, engine: AsyncEngine, sessions: SessionTable, index: Index) -> None:
        self._engine = engine
        self._sessions = sessions
        self._index = index

    @property
    def settled_seq(self) -> int:
        """Return up to which number of the accounting stream every record is part of its session."""
        return self._sessions.settled_seq

    async def facts(self, events: Sequence[Event]) -> dict[int, list[SessionFacts]]:
        """Return the sessions that each event is about, by its number; none for what is about no session."""
        uids = {event.seq: uid for event in events if (uid := _uid(event)) is not None}
        known = await self._by_uid(set(uids.values()))
        found: dict[int, list[SessionFacts]] = {}
        for event in events:
            if event.seq in uids:
                session = known.get(uids[event.seq])
                sessions = [] if session is None else [session]
            else:
                sessions = await self._of_record(event)
            found[event.seq] = [facts_of(each, self._index) for each in sessions]
        return found

    def nas_address(self, event: Event) -> str | None:
        """Return the one address of the NAS that an event names, None where it has several or is not known."""
        tenant = self._index.tenants.get(event.tenant)
        nas = None if tenant is None else tenant.nases.get(str(event.data.get("nas")))
        if nas is None or len(nas.prefixes) != 1 or nas.prefixes[0].num_addresses != 1:
            return None
        return str(nas.prefixes[0].network_address)

    async def _by_uid(self, uids: set[int]) -> dict[int, Session]:
        found = {uid: session for uid in uids if (session := self._sessions.find_uid(uid)) is not None}
        rows = await session_rows.find_by_uids(self._engine, sorted(uids - found.keys()))
        return {row.uid: from_row(row) for row in rows} | found

    async def _of_record(self, event: Event) -> list[Session]:
        """Return the sessions of a record that was not in memory when the event was read: all of that name there."""
        name, nas = event.data.get("acct_session_id"), event.data.get("nas")
        if not name:
            return []
        rows = await session_rows.find_by_acct_session_id(self._engine, str(name).encode())
        mine = [row for row in rows if (row.tenant, row.nas) == (event.tenant, nas)]
        return [self._sessions.find_uid(row.uid) or from_row(row) for row in mine]


def _uid(event: Event) -> int | None:
    return int(event.correlation) if event.correlation.isdigit() else None


def facts_of(session: Session, index: Index) -> SessionFacts:
    """Return a session in the words of radacct."""
    tenant = index.tenants.get(session.tenant)
    ipv4, ipv6_address, ipv6_prefix, delegated = session.addresses
    interface = session.find(Attr.FRAMED_INTERFACE_ID)
    return SessionFacts(
        uid=session.uid,
        nas_address=nas_address(session, index),
        acct_session_id=_text(session.acct_session_id) or "",
        username=session.username,
        known=bool(session.subscriber) and tenant is not None and session.subscriber in tenant.subscribers,
        start_seen=session.start_seen,
        started_at=session.started_at,
        updated_at=session.updated_at,
        closed_at=session.closed_at,
        concluded=session.closed_by in CONCLUDED,
        session_time_s=session.session_time_s,
        acct_input_octets=session.counters.totals.upload_octets,
        acct_output_octets=session.counters.totals.download_octets,
        nas_port_id=_text(session.find(Attr.NAS_PORT_ID)),
        called_station_id=_text(session.find(Attr.CALLED_STATION_ID)),
        calling_station_id=_text(session.find(Attr.CALLING_STATION_ID)),
        terminate_cause=cause_name(session.terminate_cause),
        framed_ip_address=None if ipv4 is None or len(ipv4) != 4 else str(IPv4Address(ipv4)),
        framed_ipv6_address=None if ipv6_address is None else str(IPv6Address(ipv6_address)),
        framed_ipv6_prefix=_prefix(ipv6_prefix),
        framed_interface_id=None if interface is None else interface.hex(":", 2),
        delegated_ipv6_prefix=_prefix(delegated),
        class_=None if session.class_octets is None else "0x" + session.class_octets.hex(),
    )


def nas_address(session: Session, index: Index) -> str:
    """Return the address under which the platform knows the NAS of a session.

    That is the one address of its entry; where an entry stands for many, what the box says of itself, else where
    its packets come from.
    """
    tenant = index.tenants.get(session.tenant)
    nas = None if tenant is None else tenant.nases.get(session.nas)
    if nas is not None and len(nas.prefixes) == 1 and nas.prefixes[0].num_addresses == 1:
        return str(nas.prefixes[0].network_address)
    kind, value = session.box[:1], session.box[1:]
    if kind and kind[0] in (0, _NAS_IP, _NAS_IPV6) and len(value) in (4, 16):
        return str(ip_address(value))
    return str(ip_address(session.source)) if session.source else "0.0.0.0"


def _prefix(octets: bytes | None) -> str | None:
    """Return an IPv6 prefix of RFC 3162 section 2.3; None where it is none."""
    if octets is None or len(octets) < 2:
        return None
    length = octets[1]
    return str(
        IPv6Network((octets[2:].ljust(_V6_OCTETS, b"\0")[:_V6_OCTETS], min(length, 128)), strict=False)
    )


def _text(octets: bytes | None) -> str | None:
    return None if octets is None else octets.decode("utf-8", "backslashreplace").replace("\0", "")
