"""Which sessions events are about, as radacct has to say them: from memory, else from the store.

What a row says is the session as it is now, not the event: events that are told again, or late, change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa.session import CONCLUDED, Session
from daemon.aaa.session_codec import from_row
from daemon.aaa.sessions import SessionTable
from daemon.replica.index import Index
from daemon.replica.records import Nas
from daemon.store import session_rows
from daemon.sync.outbox.model import Event
from daemon.sync.outbox.radacct_merge import SessionFacts, cause_name, plain
from radius.codes import Attr

_NAS_IP, _NAS_IPV6 = int(Attr.NAS_IP_ADDRESS), int(Attr.NAS_IPV6_ADDRESS)
_V6_OCTETS, _INTERFACE_OCTETS = 16, 8
_NOWHERE = "0.0.0.0"


class SessionFinder:
    """Finds the sessions of events of the streams `accounting` and `sessions`."""

    def __init__(self, engine: AsyncEngine, sessions: SessionTable, index: Index) -> None:
        self._engine = engine
        self._sessions = sessions
        self._index = index
        self.unsaid = 0  # sessions that could not be said in the words of radacct

    @property
    def settled_seq(self) -> int:
        """Return up to which number of the accounting stream every record is part of its session."""
        return self._sessions.settled_seq

    async def facts(self, events: Sequence[Event]) -> dict[int, list[SessionFacts]]:
        """Return the sessions that each event is about, by its number; none for what is about no session.

        A session that is not kept any more is what its event says of it. One that cannot be said is counted in
        `unsaid`, and left out.
        """
        uids = {event.seq: uid for event in events if (uid := _uid(event)) is not None}
        known = await self._by_uid(set(uids.values()))
        found: dict[int, list[SessionFacts]] = {}
        for event in events:
            uid = uids.get(event.seq)
            if uid is None:
                found[event.seq] = self._said(await self._of_record(event))
            elif uid in known:
                found[event.seq] = self._said([known[uid]])
            else:
                found[event.seq] = self._told(event)
        return found

    async def of_uids(self, uids: Sequence[int]) -> dict[int, SessionFacts]:
        """Return sessions by their numbers; what is not kept any more, or cannot be said, is missing."""
        known = await self._by_uid(set(uids))
        return {each.uid: each for each in self._said(list(known.values()))}

    def is_live(self, uid: int) -> bool:
        """Tell whether a session is in memory; then the store may not have it yet."""
        return self._sessions.find_uid(uid) is not None

    def _said(self, sessions: Sequence[Session]) -> list[SessionFacts]:
        found = []
        for each in sessions:
            try:
                found.append(facts_of(each, self._index))
            except Exception:  # noqa: BLE001 - whatever a NAS has sent, the sessions behind it go on
                self.unsaid += 1
        return found

    def _told(self, event: Event) -> list[SessionFacts]:
        if not event.type.startswith("session."):
            return []
        try:
            return [facts_of_event(event, self._index)]
        except (KeyError, TypeError, ValueError):
            self.unsaid += 1
            return []

    def _restored(self, row: session_rows.SessionRow) -> Session | None:
        try:
            return from_row(row)
        except Exception:  # noqa: BLE001 - a row that cannot be read does not keep the others
            self.unsaid += 1
            return None

    def nas_address(self, event: Event) -> str | None:
        """Return the one address of the NAS that an event names, None where it has several or is not known."""
        tenant = self._index.tenants.get(event.tenant)
        return _only_address(None if tenant is None else tenant.nases.get(str(event.data.get("nas"))))

    async def _by_uid(self, uids: set[int]) -> dict[int, Session]:
        found = {uid: session for uid in uids if (session := self._sessions.find_uid(uid)) is not None}
        rows = await session_rows.find_by_uids(self._engine, sorted(uids - found.keys()))
        return {row.uid: each for row in rows if (each := self._restored(row)) is not None} | found

    async def _of_record(self, event: Event) -> list[Session]:
        """Return the sessions of a record that was not in memory when the event was read: all of that name there."""
        name, nas = event.data.get("acct_session_id"), event.data.get("nas")
        if not name:
            return []
        rows = await session_rows.find_by_acct_session_id(self._engine, str(name).encode())
        mine = [row for row in rows if (row.tenant, row.nas) == (event.tenant, nas)]
        sessions = [self._sessions.find_uid(row.uid) or self._restored(row) for row in mine]
        return [each for each in sessions if each is not None]


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
        username=plain(session.username),
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
        framed_ipv6_address=_ipv6(ipv6_address),
        framed_ipv6_prefix=_prefix(ipv6_prefix),
        framed_interface_id=_interface(interface),
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
    only = _only_address(nas)
    if only is not None:
        return only
    kind, value = session.box[:1], session.box[1:]
    if kind and kind[0] in (0, _NAS_IP, _NAS_IPV6) and len(value) in (4, 16):
        return str(ip_address(value))
    return str(ip_address(session.source)) if len(session.source) in (4, 16) else _NOWHERE


def facts_of_event(event: Event, index: Index) -> SessionFacts:
    """Return a session as an event of the stream `sessions` tells it. Raises KeyError, TypeError and ValueError."""
    said = event.data
    tenant = index.tenants.get(event.tenant)
    nas = None if tenant is None else tenant.nases.get(str(said["nas"]))
    ended, interface = said.get("ended_at"), said.get("framed_interface_id")
    subscriber = said.get("subscriber_id")
    texts = {
        name: None if said.get(name) is None else plain(str(said[name]))
        for name in ("nas_port_id", "called_station_id", "calling_station_id", "framed_ip_address")
    }
    return SessionFacts(
        uid=int(said["session_id"]),
        nas_address=_only_address(nas) or _address(str(said.get("box"))) or _NOWHERE,
        acct_session_id=plain(str(said["acct_session_id"])),
        username=plain(str(said["username"])),
        known=tenant is not None and subscriber in tenant.subscribers,
        start_seen=bool(said["start_seen"]),
        started_at=_epoch(said["started_at"]),
        updated_at=_epoch(said["updated_at"]),
        closed_at=None if ended is None else _epoch(ended),
        concluded=said.get("ended_by") in CONCLUDED,
        session_time_s=int(said["session_time_s"]),
        acct_input_octets=int(said["octets_from_subscriber"]),
        acct_output_octets=int(said["octets_to_subscriber"]),
        terminate_cause=cause_name(said.get("terminate_cause")),
        framed_ipv6_address=_address(str(said.get("framed_ipv6_address"))),
        framed_ipv6_prefix=said.get("framed_ipv6_prefix"),
        framed_interface_id=None if interface is None else _interface(bytes.fromhex(interface)),
        delegated_ipv6_prefix=said.get("delegated_ipv6_prefix"),
        of_event=True,
        **texts,
    )


def _epoch(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _address(said: str) -> str | None:
    try:
        return str(ip_address(said))
    except ValueError:
        return None


def _only_address(nas: Nas | None) -> str | None:
    """Return the one address of a NAS, None where its entry stands for many."""
    if nas is None or len(nas.prefixes) != 1 or nas.prefixes[0].num_addresses != 1:
        return None
    return str(nas.prefixes[0].network_address)


def _ipv6(octets: bytes | None) -> str | None:
    return None if octets is None or len(octets) != _V6_OCTETS else str(IPv6Address(octets))


def _interface(octets: bytes | None) -> str | None:
    """Return an interface id of RFC 3162 section 2.2; None where it is none."""
    return None if octets is None or len(octets) != _INTERFACE_OCTETS else octets.hex(":", 2)


def _prefix(octets: bytes | None) -> str | None:
    """Return an IPv6 prefix of RFC 3162 section 2.3; None where it is none."""
    if octets is None or not 2 <= len(octets) <= 2 + _V6_OCTETS or octets[1] > 8 * _V6_OCTETS:
        return None
    return str(IPv6Network((octets[2:].ljust(_V6_OCTETS, b"\0"), octets[1]), strict=False))


def _text(octets: bytes | None) -> str | None:
    return None if octets is None else octets.decode("utf-8", "backslashreplace").replace("\0", "")
