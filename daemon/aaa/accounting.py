"""Accounting-Requests: verified, journaled, folded into sessions, and only then answered (RFC 2866 section 4.1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address
from math import inf
from typing import NamedTuple

from daemon.aaa import authentic, policy, report, token
from daemon.aaa.accounting_packet import NEVER_KEPT, reply_to, without_passwords
from daemon.aaa.attachment import of_session, own_of, same_equipment, same_mac
from daemon.aaa.endpoint import Endpoint, Waiting
from daemon.aaa.identity import find as find_subscriber
from daemon.aaa.interim_queue import Gathered, InterimQueue
from daemon.aaa.lease_keeping import LeaseKeeping
from daemon.aaa.nas import Client
from daemon.aaa.reasons import Drop
from daemon.aaa.report import Belief
from daemon.aaa.reservations import Permit, Reservations, caller_of
from daemon.aaa.session import NO_LINE, Closed, Report, Session, State
from daemon.aaa.sessions import Effect, Reboot, SessionTable, place
from daemon.aaa.storm import Storm
from daemon.errors import StoreUnavailable
from daemon.leases.cgnat_ingest import Ingest, PortReport
from daemon.metrics import RequestCounts
from daemon.replica.index import Index
from daemon.replica.rules import SimultaneousMode
from daemon.store.journal import Journal, Record
from radius import port_ranges
from radius.authenticator import Key, sign_reply
from radius.codes import AcctStatus, Attr, Code
from radius.packet import Packet
from radius.port_ranges import Reading, may_report
from radius.udp import Datagram, source_octets
from radius.vendors.base import VendorProfile

_ACCOUNTING_REQUEST = int(Code.ACCOUNTING_REQUEST)
_ACCOUNTING_RESPONSE = int(Code.ACCOUNTING_RESPONSE)
_IPV4_OCTETS = 4
_STATUS_TYPE = int(Attr.ACCT_STATUS_TYPE)
_SESSION_ID = int(Attr.ACCT_SESSION_ID)
_CLASS = int(Attr.CLASS)
_INTERIM = int(AcctStatus.INTERIM_UPDATE)
_INTERIM_WAIT_S = 1.0  # below the time after which a NAS repeats
_INTERIMS_MOST = 50_000
_INTERIMS_AT_ONCE = 512  # at least a commit's worth; more would fill the journal's queue and be dropped
_OF_SESSIONS = (int(AcctStatus.START), int(AcctStatus.STOP), int(AcctStatus.INTERIM_UPDATE))
_OF_BOXES = (int(AcctStatus.ACCOUNTING_ON), int(AcctStatus.ACCOUNTING_OFF))
_KNOWN = frozenset(int(status) for status in AcctStatus)


class Late(NamedTuple):
    """A report whose session must be looked for in the store, where it came from, and the ports it told of."""

    report: Report
    peer: bytes
    ports: Reading | None


class Pending:
    """A record on its way to the disk, and what its answer needs."""

    __slots__ = ("client", "others", "packet", "record", "signer", "waiting")

    def __init__(self, record: Record, packet: Packet, client: Client, signer: Key, waiting: Waiting) -> None:
        self.record = record
        self.packet = packet
        self.client = client
        self.signer = signer
        self.waiting = waiting
        self.others: list[Pending] = []  # interims that this one stands for, answered with it


OnSession = Callable[[str, Session, str], None]
"""(kind, session, text): something about a session that others act on."""


class Accounting:
    """What the accounting port does. `belief` may be changed while it runs.

    `late` holds reports whose session may have been forgotten in memory, each with where it came from; the
    keeper of sessions works it off.
    """

    def __init__(
        self,
        index: Index,
        reservations: Reservations,
        sessions: SessionTable,
        counts: RequestCounts,
        belief: Belief,
        on_fault: Callable[[int], None],
        on_session: OnSession,
        on_box: Callable[[bytes, float], None],
        monotonic: Callable[[], float],
        storm: Storm,
        leases: LeaseKeeping,
        port_blocks: Ingest,
    ) -> None:
        """`on_session` is told of "simultaneous-kicked" (this session must end) and "session-reopened".

        `on_box` is told the `place` of a box that has ended a session, which is a sign of life, and when.
        """
        self.on_fault = on_fault
        self.on_session = on_session
        self._on_box = on_box
        self._index = index
        self._reservations = reservations
        self._sessions = sessions
        self._counts = counts
        self.belief = belief
        self._monotonic = monotonic
        self._storm = storm
        self._leases = leases
        self._port_blocks = port_blocks
        self.interims: InterimQueue[Pending] = InterimQueue(_INTERIM_WAIT_S, _INTERIMS_MOST)
        self.unpermitted: set[tuple[str, str]] = set()  # subscribers of new sessions without a permit of ours
        self.late: deque[Late] = deque()
        self.failing: str | None = None  # why the store refuses, while it does
        self.refusal = Drop.JOURNAL_FULL  # why the journal does not take a record: that, or the disk is full
        self.journal: Journal[Pending]

    def turn(self) -> None:
        """A batch begins."""
        if len(self.interims):
            self.journal_interims()

    def journal_interims(self) -> None:
        """Journal interims that were held back: as many as the disk has time for, and those that waited too long."""
        room = _INTERIMS_AT_ONCE - self.journal.pending
        if room > 0 or not self._storm.active:
            due = self.interims.take_due(inf, max(room, 1))
        else:
            due = self.interims.take_due(self._monotonic(), _INTERIMS_AT_ONCE)
        self._journal(due)

    def _journal(self, due: list[Gathered[Pending]]) -> None:
        for gathered in due:
            pending = gathered.newest
            pending.others = gathered.others
            if not self.journal.append(pending.record, pending):
                self._forget(pending, self.refusal)

    def release_interims(self) -> None:
        """Journal all that was held back: the daemon stops."""
        self._journal(self.interims.take_all())

    def _forget(self, pending: Pending, reason: Drop) -> None:
        """Let the NAS ask again, for this record and for those that it stands for."""
        for each in (pending, *pending.others):
            waiting = each.waiting
            waiting.endpoint.duplicates.forget(waiting.key, waiting.authenticator)
            self._counts.add(_ACCOUNTING_REQUEST, each.client.label, "drop", reason)

    def answer(
        self, endpoint: Endpoint, client: Client, packet: Packet, peer: bytes, key: bytes, at: float
    ) -> bytes | None:
        """Take a record; the answer follows when it is on disk. A Status-Server is answered at once."""
        if packet.code != _ACCOUNTING_REQUEST:
            return self._status(client, packet, peer)
        signer = authentic.accounting_signer(client, packet, peer)
        if not isinstance(signer, Key):
            self._counts.add(_ACCOUNTING_REQUEST, client.label, "drop", signer)
            return None
        status = packet.find_int(_STATUS_TYPE)
        if status not in _KNOWN:
            self._counts.add(_ACCOUNTING_REQUEST, client.label, "drop", Drop.BAD_STATUS_TYPE)
            return None
        octets = packet.octets
        for kind in NEVER_KEPT:
            if kind in packet.spots:
                octets = without_passwords(packet)
        nas = client.nas
        record = Record(at, peer, nas.tenant, nas.id, self._subscriber(packet, client, at), octets)
        waiting = Waiting(endpoint, peer, key, packet.authenticator)
        pending = Pending(record, packet, client, signer, waiting)
        if status == _INTERIM and self._storm.active and self.journal.pending >= _INTERIMS_AT_ONCE:
            origin = f"{nas.tenant}\0{nas.id}\0{record.subscriber}\0".encode() + source_octets(peer)
            if self.interims.put(origin, packet, pending, self._monotonic()):
                endpoint.duplicates.keep(key, packet.authenticator, b"")
                return None
        if not self.journal.append(record, pending):
            self._counts.add(_ACCOUNTING_REQUEST, client.label, "drop", self.refusal)
            return None
        endpoint.duplicates.keep(key, packet.authenticator, b"")
        return None

    def _status(self, client: Client, packet: Packet, peer: bytes) -> bytes | None:
        """Answer a Status-Server, unless nothing can be stored: another server shall be asked (RFC 5997 4.2)."""
        signer = authentic.status_signer(client, packet, peer, Code.ACCESS_REQUEST)
        if isinstance(signer, Key) and (self.failing is not None or self.refusal is Drop.DISK_FULL):
            signer = Drop.STORE_UNAVAILABLE
        if not isinstance(signer, Key):
            self._counts.add(packet.code, client.label, "drop", signer)
            return None
        self._counts.add(packet.code, client.label, "accept", "status")
        return sign_reply(_ACCOUNTING_RESPONSE, packet.identifier, packet.authenticator, b"", signer)

    def _subscriber(self, packet: Packet, client: Client, at: float) -> str:
        """Return whom the session belongs to: whom the Class token was issued for, else whom the packet names."""
        value = packet.find(_CLASS)
        uid = token.read(value)
        permit = self._reservations.find(uid) if uid is not None else None
        if permit is not None and value is not None:
            issued = permit.subscriber
            if issued.tenant == client.nas.tenant and token.belongs(value, issued.id):
                return issued.id
        subscriber, _ = find_subscriber(packet, client)
        if subscriber is None:
            return ""
        if uid is not None and value is not None and not token.belongs(value, subscriber.id):
            return ""  # let in as somebody else, or as a stranger in the garden who used this name
        if uid is None and self._reservations.remembers:
            permit = self._reservations.recall(caller_of(client.nas, packet), at)
            if permit is not None and permit.stranger:
                return ""
        return subscriber.id

    def on_durable(self, first_seq: int, batch: list[Pending]) -> None:
        """The records are on disk: fold them into sessions and answer."""
        self.failing = None
        by_endpoint: dict[Endpoint, list[Datagram]] = {}
        counts = self._counts.requests
        for seq, pending in enumerate(batch, first_seq):
            effect = self.fold(seq, pending.record, pending.packet, pending.client.profile)
            counts[(_ACCOUNTING_REQUEST, pending.client.label, "ack", effect)] += 1
            for each in (pending, *pending.others) if pending.others else (pending,):
                endpoint = each.waiting.endpoint
                datagram = endpoint.finish(each.waiting, reply_to(each.packet, each.signer))
                if datagram is not None:
                    by_endpoint.setdefault(endpoint, []).append(datagram)
            for each in pending.others:
                counts[(_ACCOUNTING_REQUEST, each.client.label, "ack", "coalesced")] += 1
        for endpoint, datagrams in by_endpoint.items():
            endpoint.socket.send(datagrams)
        if len(self.interims):
            self.journal_interims()

    def on_lost(self, batch: list[Pending], error: StoreUnavailable) -> None:
        """The records could not be stored: no answer, the NAS will ask again."""
        self.failing = str(error)
        for pending in batch:
            self._forget(pending, Drop.STORE_UNAVAILABLE)

    def fold(self, seq: int, record: Record, packet: Packet, profile: VendorProfile) -> str:
        """Fold one stored record into the sessions; return what it did, as a slug. Used again at start.

        The record is on disk and stays so: a fault of ours in folding it stops neither its answer nor a start.
        """
        try:
            return self._fold(seq, record, packet, profile)
        except Exception:  # noqa: BLE001 - see above; it is counted and logged
            self.on_fault(_ACCOUNTING_REQUEST)
            return Drop.INTERNAL_ERROR

    def _fold(self, seq: int, record: Record, packet: Packet, profile: VendorProfile) -> str:
        status = packet.find_int(_STATUS_TYPE)
        sessions = self._sessions
        if status in _OF_SESSIONS and _SESSION_ID in packet.spots:
            told = report.read(seq, record, packet, profile, self.belief)
            ports = port_ranges.read(packet, profile.name) if may_report(packet, profile.name) else None
            if not sessions.knows(told):
                self.late.append(Late(told, record.peer, ports))
                return "late"
            effect, session = self.take_in(told, record.peer, ports)
            sessions.reported(session, packet.octets)
            return effect
        sessions.folded_seq = max(sessions.folded_seq, seq)
        if status in _OF_BOXES:
            at = report.event_time(packet, record.at, self.belief)
            box = report.box_of(packet, record.peer)
            sessions.reboot(Reboot(seq, record.tenant, record.nas, box, at))
            return "reboot"
        return "journaled" if status not in _OF_SESSIONS else "no-session-id"

    def take_in(self, told: Report, peer: bytes, ports: Reading | None) -> tuple[Effect, Session]:
        """Fold a report from that peer into its session, and see to what follows from it."""
        effect, session = self._sessions.apply(told)
        if ports is not None:
            self._take_ports(session, told, ports)
        if not session.source or effect is Effect.REOPENED:
            session.source = source_octets(peer)
        if effect is Effect.OPENED or effect is Effect.RECOVERED:
            self._begun(session, told)
        elif effect is Effect.REOPENED:
            self._reopened(session)
            self._leases.heard(session)
        elif effect is Effect.UPDATED:
            self._leases.heard(session)
        elif effect is Effect.CLOSED:
            self._on_box(place(session.tenant, session.nas, session.box), told.heard_at)
        return effect, session

    def _take_ports(self, session: Session, told: Report, ports: Reading) -> None:
        """Note which ports of a carrier-grade NAT a session has, as its NAS reports it."""
        octets = session.ipv4_octets or b""
        inside = IPv4Address(octets) if len(octets) == _IPV4_OCTETS and any(octets) else None
        self._port_blocks.take(
            PortReport(
                told.seq,
                session.tenant,
                session.nas,
                session.uid,
                session.subscriber,
                inside,
                told.at,
                ports,
                session.closed_at,
            )
        )

    def _begun(self, session: Session, told: Report) -> None:
        """Tie a session that has just begun to its permit: what it was given, and whom it leaves no room."""
        permit = self._permit_of(session, told)
        self._leases.begun(session, permit)
        if permit is None:  # what it was given is not known: it is looked at before the data change
            if session.subscriber:
                self.unpermitted.add((session.tenant, session.subscriber))
            return
        self._reservations.begin(permit)
        if session.applied is None:
            session.applied = permit.prepared.grant
            session.applied_reason = permit.reason
        session.stranger = session.stranger or (permit.stranger and not session.subscriber)
        shown = permit.attachment
        if shown is not None and session.line == NO_LINE:
            session.line = shown.circuit, shown.remote
        enforced = permit.mode not in policy.ONLY_TOLD
        if permit.limit is not None and enforced and session.closed_at is None:
            self._make_room(session, permit, permit.limit)

    def _make_room(self, session: Session, permit: Permit, limit: int) -> None:
        """End what is too many now that a session has begun: its equipment's old ones, else perhaps others.

        Only now it is known who of several logins at the same moment has come to be a session.
        """
        mine = permit.attachment or of_session(session)
        live = [
            each
            for each in self._sessions.live.of_subscriber(session.tenant, session.subscriber)
            if each.state is State.ACTIVE and each is not session
        ]
        live.sort(key=_started_at)
        same = own_of(mine, [of_session(each) for each in live])
        own = [each for each, is_own in zip(live, same, strict=True) if is_own]
        taken_over = own[: max(0, len(live) + 1 - limit)]
        for old in taken_over:
            self._sessions.conclude(old, Closed.TAKEN_OVER, "port-preempted")
        if permit.mode is SimultaneousMode.KICK_OLD:
            others = [each for each in live if each not in own]
            for old in others[: max(0, len(live) + 1 - limit - len(taken_over))]:
                self._reservations.kicked(session.tenant, session.subscriber, session.heard_at)
                self.on_session("simultaneous-kicked", old, f"session {session.uid} has taken its place")

    def _reopened(self, session: Session) -> None:
        """Act on a session that we had given up: it goes on, unless another of that MAC has taken its place."""
        self.on_session("session-reopened", session, f"heard of again after {session.reopened_from}")
        live = self._sessions.live.of_subscriber(session.tenant, session.subscriber)
        if session.reopened_from is Closed.TAKEN_OVER and self._too_many(session, len(live)):
            mine = of_session(session)
            for other in live:
                if other is not session and same_mac(mine, of_session(other)):
                    self.on_session(
                        "simultaneous-kicked", session, f"session {other.uid} had taken its place"
                    )
                    return

    def _too_many(self, session: Session, online: int) -> bool:
        """Tell whether so many are more than a session's subscriber may have, and that is not only told."""
        tenant = self._index.tenants.get(session.tenant)
        subscriber = None if tenant is None else tenant.subscribers.get(session.subscriber)
        plan = None if tenant is None or subscriber is None else tenant.plans.get(subscriber.plan or "")
        if subscriber is None or plan is None or plan.rules.simultaneous_mode in policy.ONLY_TOLD:
            return False
        limit = subscriber.simultaneous_use or plan.rules.simultaneous_use
        return limit is not None and online > limit

    def _permit_of(self, session: Session, told: Report) -> Permit | None:
        """Return the permit of a new session: by our Class token, else what its caller was told, or a reservation."""
        if told.uid is not None:
            permit = self._reservations.find(told.uid)
            if permit is not None and permit.subscriber.tenant == session.tenant:
                return permit
            return None
        station = session.find(Attr.CALLING_STATION_ID) or b""
        caller = session.tenant, session.nas, session.username, station
        permit = self._reservations.recall(caller, told.heard_at)
        if permit is not None and permit.subscriber.id == session.subscriber:
            return permit
        held = self._reservations.held(session.tenant, session.subscriber, told.heard_at)
        held = [each for each in held if each.nas == session.nas]
        mine = of_session(session)
        own = (each for each in held if each.attachment and same_equipment(mine, each.attachment))
        return next(own, held[0] if held else None)


def _started_at(session: Session) -> float:
    return session.started_at
