"""Accounting-Requests: verified, journaled, folded into sessions, and only then answered (RFC 2866 section 4.1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from daemon.aaa import report, token
from daemon.aaa.endpoint import Endpoint, Waiting
from daemon.aaa.identity import find as find_subscriber
from daemon.aaa.nas import Client
from daemon.aaa.reasons import Drop
from daemon.aaa.report import Belief
from daemon.aaa.session import Report
from daemon.aaa.sessions import Reboot, SessionTable
from daemon.errors import StoreUnavailable
from daemon.metrics import RequestCounts
from daemon.replica.index import Index
from daemon.store.journal import Journal, Record
from radius.authenticator import (
    ZERO16,
    Key,
    message_is_authentic,
    request_is_authentic,
    sign_plain_reply,
    sign_reply,
)
from radius.codes import AcctStatus, Attr, Code
from radius.packet import HEADER, Packet, attribute
from radius.udp import Datagram
from radius.vendors.base import VendorProfile

_ACCOUNTING_REQUEST = int(Code.ACCOUNTING_REQUEST)
_ACCOUNTING_RESPONSE = int(Code.ACCOUNTING_RESPONSE)
_STATUS_SERVER = int(Code.STATUS_SERVER)
_STATUS_TYPE = int(Attr.ACCT_STATUS_TYPE)
_SESSION_ID = int(Attr.ACCT_SESSION_ID)
_CLASS = int(Attr.CLASS)
_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)
_PROXY_STATE = int(Attr.PROXY_STATE)
_NEVER_KEPT = (int(Attr.USER_PASSWORD), int(Attr.CHAP_PASSWORD))
_OF_SESSIONS = (int(AcctStatus.START), int(AcctStatus.STOP), int(AcctStatus.INTERIM_UPDATE))
_OF_BOXES = (int(AcctStatus.ACCOUNTING_ON), int(AcctStatus.ACCOUNTING_OFF))
_KNOWN = frozenset(int(status) for status in AcctStatus)


class Pending:
    """A record on its way to the disk, and what its answer needs."""

    __slots__ = ("client", "packet", "record", "signer", "waiting")

    def __init__(self, record: Record, packet: Packet, client: Client, signer: Key, waiting: Waiting) -> None:
        self.record = record
        self.packet = packet
        self.client = client
        self.signer = signer
        self.waiting = waiting


class Accounting:
    """What the accounting port does. `belief` may be changed while it runs.

    `late` holds reports whose session may have been forgotten in memory; the keeper of sessions works it off.
    """

    def __init__(
        self,
        index: Index,
        issued: token.Issued,
        sessions: SessionTable,
        counts: RequestCounts,
        belief: Belief,
        on_fault: Callable[[int], None],
    ) -> None:
        self._on_fault = on_fault
        self._index = index
        self._issued = issued
        self._sessions = sessions
        self._counts = counts
        self.belief = belief
        self.late: deque[Report] = deque()
        self.failing: str | None = None  # why the store refuses, while it does
        self.journal: Journal[Pending]

    def turn(self) -> None:
        """A batch begins."""

    def answer(
        self, endpoint: Endpoint, client: Client, packet: Packet, peer: bytes, key: bytes, at: float
    ) -> bytes | None:
        """Take a record; the answer follows when it is on disk. A Status-Server is answered at once."""
        if packet.code != _ACCOUNTING_REQUEST:
            return self._status(client, packet)
        signer = self._authentic(client, packet, peer)
        if signer is None:
            return None
        if packet.find_int(_STATUS_TYPE) not in _KNOWN:
            self._counts.add(_ACCOUNTING_REQUEST, client.label, "drop", Drop.BAD_STATUS_TYPE)
            return None
        octets = packet.octets
        for kind in _NEVER_KEPT:
            if kind in packet.spots:
                octets = _without_passwords(packet)
        nas = client.nas
        record = Record(at, peer, nas.tenant, nas.id, self._subscriber(packet, client), octets)
        waiting = Waiting(endpoint, peer, key, packet.authenticator)
        if not self.journal.append(record, Pending(record, packet, client, signer, waiting)):
            self._counts.add(_ACCOUNTING_REQUEST, client.label, "drop", Drop.JOURNAL_FULL)
            return None
        endpoint.duplicates.keep(key, packet.authenticator, b"")
        return None

    def _authentic(self, client: Client, packet: Packet, peer: bytes) -> Key | None:
        """Return the key that verifies the request, None for a drop."""
        drop = Drop.BAD_REQUEST_AUTHENTICATOR
        for signer in client.keys_for(peer):
            if request_is_authentic(packet, signer):
                if _MESSAGE_AUTHENTICATOR in packet.spots and not message_is_authentic(
                    packet, signer, ZERO16
                ):
                    drop = Drop.BAD_MESSAGE_AUTHENTICATOR
                    break
                client.prefer(peer, signer)
                return signer
        self._counts.add(packet.code, client.label, "drop", drop)
        return None

    def _status(self, client: Client, packet: Packet) -> bytes | None:
        """Answer a Status-Server with Accounting-Response, unless records cannot be stored: then the NAS
        shall turn to another server (RFC 5997 section 4.2)."""
        drop: Drop | None = None
        if packet.code != _STATUS_SERVER:
            drop = Drop.WRONG_PORT if packet.code == int(Code.ACCESS_REQUEST) else Drop.UNKNOWN_CODE
        elif _MESSAGE_AUTHENTICATOR not in packet.spots:
            drop = Drop.NO_MESSAGE_AUTHENTICATOR
        elif self.failing is not None:
            drop = Drop.STORE_UNAVAILABLE
        else:
            for signer in client.keys:
                if message_is_authentic(packet, signer, packet.authenticator):
                    self._counts.add(packet.code, client.label, "accept", "status")
                    return sign_reply(
                        _ACCOUNTING_RESPONSE, packet.identifier, packet.authenticator, b"", signer
                    )
            drop = Drop.BAD_MESSAGE_AUTHENTICATOR
        self._counts.add(packet.code, client.label, "drop", drop)
        return None

    def _subscriber(self, packet: Packet, client: Client) -> str:
        """Return whom the session belongs to: whom the Class token was issued for, else whom the packet names."""
        value = packet.find(_CLASS)
        uid = token.read(value)
        issued = self._issued.find(uid) if uid is not None else None
        mine = issued is not None and issued.tenant == client.nas.tenant
        if mine and issued is not None and value is not None and token.belongs(value, issued.id):
            return issued.id
        subscriber, _ = find_subscriber(packet, client)
        return "" if subscriber is None else subscriber.id

    def on_durable(self, first_seq: int, batch: list[Pending]) -> None:
        """The records are on disk: fold them into sessions and answer."""
        self.failing = None
        by_endpoint: dict[Endpoint, list[Datagram]] = {}
        counts = self._counts.requests
        for seq, pending in enumerate(batch, first_seq):
            effect = self.fold(seq, pending.record, pending.packet, pending.client.profile)
            counts[(_ACCOUNTING_REQUEST, pending.client.label, "ack", effect)] += 1
            endpoint = pending.waiting.endpoint
            datagram = endpoint.finish(pending.waiting, reply_to(pending.packet, pending.signer))
            if datagram is not None:
                by_endpoint.setdefault(endpoint, []).append(datagram)
        for endpoint, datagrams in by_endpoint.items():
            endpoint.socket.send(datagrams)

    def on_lost(self, batch: list[Pending], error: StoreUnavailable) -> None:
        """The records could not be stored: no answer, the NAS will ask again."""
        self.failing = str(error)
        for pending in batch:
            waiting = pending.waiting
            waiting.endpoint.duplicates.forget(waiting.key, waiting.authenticator)
            self._counts.add(_ACCOUNTING_REQUEST, pending.client.label, "drop", Drop.STORE_UNAVAILABLE)

    def fold(self, seq: int, record: Record, packet: Packet, profile: VendorProfile) -> str:
        """Fold one stored record into the sessions; return what it did, as a slug. Used again at start.

        The record is on disk and stays so: a fault of ours in folding it stops neither its answer nor a start.
        """
        try:
            return self._fold(seq, record, packet, profile)
        except Exception:  # noqa: BLE001 - see above; it is counted and logged
            self._on_fault(_ACCOUNTING_REQUEST)
            return Drop.INTERNAL_ERROR

    def _fold(self, seq: int, record: Record, packet: Packet, profile: VendorProfile) -> str:
        status = packet.find_int(_STATUS_TYPE)
        sessions = self._sessions
        if status in _OF_SESSIONS and _SESSION_ID in packet.spots:
            told = report.read(seq, record, packet, profile, self.belief)
            if not sessions.knows(told):
                self.late.append(told)
                return "late"
            return sessions.apply(told)[0]
        sessions.folded_seq = max(sessions.folded_seq, seq)
        if status in _OF_BOXES:
            at = report.event_time(packet, record.at, self.belief)
            box = report.box_of(packet, record.peer)
            sessions.reboot(Reboot(seq, record.tenant, record.nas, box, at))
            return "reboot"
        return "journaled" if status not in _OF_SESSIONS else "no-session-id"


def reply_to(packet: Packet, signer: Key) -> bytes:
    """Return the Accounting-Response. It has no Message-Authenticator: peers disagree on how it would be computed."""
    attributes = b""
    if _PROXY_STATE in packet.spots:
        attributes = b"".join(attribute(_PROXY_STATE, value) for value in packet.all(_PROXY_STATE) if value)
    return sign_plain_reply(_ACCOUNTING_RESPONSE, packet.identifier, packet.authenticator, attributes, signer)


def _without_passwords(packet: Packet) -> bytes:
    """Return the packet without password attributes, which RFC 2866 section 4.1 forbids in accounting."""
    kept = b"".join(
        bytes((kind, len(value) + 2)) + value
        for kind, value in packet.attributes()
        if kind not in _NEVER_KEPT
    )
    length = HEADER + len(kept)
    return packet.octets[:2] + length.to_bytes(2, "big") + packet.authenticator + kept
