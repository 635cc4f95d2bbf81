"""Accounting of logins to devices: verified, one row on disk, then the answer; and who is logged in now.

Packets are few, so that each is a row of its own, readable by itself. Sessions are followed in memory by folding the
rows in their order; at start the rows of the last days are folded again.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.aaa import authentic
from daemon.aaa.accounting_packet import reply_to
from daemon.aaa.endpoint import Endpoint, Waiting
from daemon.aaa.nas import Client
from daemon.aaa.reasons import Drop
from daemon.aaa.report import Belief, event_time
from daemon.aaa.staff.access import find
from daemon.errors import StoreUnavailable
from daemon.metrics import RequestCounts
from daemon.store import staff_rows
from daemon.store.staff_rows import StaffRow, StaffSearch
from daemon.store.writer import Writer
from radius.authenticator import Key, sign_reply
from radius.codes import AcctStatus, Attr, Code, TerminateCause
from radius.packet import Packet
from radius.udp import source

_ACCOUNTING_REQUEST = int(Code.ACCOUNTING_REQUEST)
_ACCOUNTING_RESPONSE = int(Code.ACCOUNTING_RESPONSE)
_VERSION = 1
_STATUSES = {int(status): status.name.lower().replace("_", "-") for status in AcctStatus}
_STOP = _STATUSES[AcctStatus.STOP]
_START = _STATUSES[AcctStatus.START]
_OF_SESSIONS = (_START, _STOP, _STATUSES[AcctStatus.INTERIM_UPDATE])
_OF_BOXES = (_STATUSES[AcctStatus.ACCOUNTING_ON], _STATUSES[AcctStatus.ACCOUNTING_OFF])
_CAUSES = {int(cause): cause.slug for cause in TerminateCause}

Place = tuple[str, str, str, str]
"""Tenant, NAS, source address and Acct-Session-Id: what names a session while it lasts.

NAS-Identifier and NAS-IP-Address are not in it: pam_radius puts the service's name and 127.0.0.1 there.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffRecord:
    """One accounting packet of a login. `at` is when it came, `event_at` when it happened, epoch seconds.

    `staff` and `session_id` are empty where the packet named nobody we know, or no session.
    """

    seq: int
    at: float
    tenant: str
    nas: str
    staff: str
    status: str
    event_at: float
    username: str
    session_id: str
    source: str
    nas_identifier: str
    calling_station_id: str
    port: str
    session_time_s: int | None
    terminate_cause: str | None


_IN_DETAIL = tuple(name for name in StaffRecord.__dataclass_fields__ if name not in StaffRow._fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffSession:
    """Somebody who is logged in to a device, as far as accounting tells; times in epoch seconds."""

    tenant: str
    nas: str
    staff: str
    username: str
    session_id: str
    source: str
    calling_station_id: str
    port: str
    started_at: float
    heard_at: float


class StaffSessions:
    """Who is logged in now: bounded, whatever a NAS sends. A session not heard of for `keep_s` is forgotten."""

    def __init__(self, keep_s: float, most: int) -> None:
        self.keep_s = keep_s
        self._most = most
        self._open: OrderedDict[Place, StaffSession] = OrderedDict()  # the one heard of longest ago first
        self._ended: OrderedDict[Place, float] = OrderedDict()  # when; a Start may come after its Stop

    def now(self, at: float) -> list[StaffSession]:
        """Return the sessions at epoch seconds `at`, latest start first."""
        for place, session in list(self._open.items()):
            if session.heard_at < at - self.keep_s:
                del self._open[place]
        return sorted(self._open.values(), key=lambda session: -session.started_at)

    def apply(self, record: StaffRecord) -> str:
        """Fold one record in; return what it did, as a slug."""
        if record.status in _OF_BOXES:
            self._end_box(record)
            return "reboot"
        if record.status not in _OF_SESSIONS:
            return "journaled"
        if not record.session_id:
            return "no-session-id"
        place = (record.tenant, record.nas, record.source, record.session_id)
        known = self._open.get(place)
        if record.status == _STOP:
            return self._end(place, known, record)
        if record.event_at <= self._ended.get(place, float("-inf")):
            return "late"
        if record.status != _START and known is not None and known.username == record.username:
            self._keep(place, replace(known, heard_at=record.at))
            return "updated"
        if known is not None and record.event_at < known.started_at:
            return "late"
        self._keep(place, _opened(record))
        return "opened" if record.status == _START else "recovered"

    def _keep(self, place: Place, session: StaffSession) -> None:
        self._open[place] = session
        self._open.move_to_end(place)
        if len(self._open) > self._most:
            self._open.popitem(last=False)

    def _end(self, place: Place, known: StaffSession | None, record: StaffRecord) -> str:
        """End a session, unless its number is another's by now: a process number is soon used again."""
        if known is not None and (known.username != record.username or record.event_at < known.started_at):
            return "late"
        self._open.pop(place, None)
        self._ended[place] = record.event_at
        self._ended.move_to_end(place)
        if len(self._ended) > self._most:
            self._ended.popitem(last=False)
        return "closed"

    def _end_box(self, record: StaffRecord) -> None:
        """End what ran on a box before it began or ended accounting."""
        box = (record.tenant, record.nas, record.source)
        for place, session in list(self._open.items()):
            if place[:3] == box and session.started_at < record.event_at:
                del self._open[place]


class StaffAccounting:
    """What the accounting port of staff does. `belief` may be changed while it runs."""

    def __init__(
        self,
        writer: Writer,
        counts: RequestCounts,
        belief: Belief,
        on_fault: Callable[[int], None],
        *,
        keep_sessions_s: float = 7 * 86_400.0,
        most_sessions: int = 10_000,
        max_pending: int = 1_000,
    ) -> None:
        self._writer = writer
        self._counts = counts
        self._on_fault = on_fault
        self._pending = 0
        self._max_pending = max_pending
        self.belief = belief
        self.sessions = StaffSessions(keep_sessions_s, most_sessions)
        self.last_seq = 0
        self.failing: str | None = None  # why the store refuses, while it does

    async def restore(self, engine: AsyncEngine, at: float) -> None:
        """Bring back the numbers and who is logged in, as the store has it at epoch seconds `at`."""
        self.last_seq = await staff_rows.read_last_seq(engine)
        async for row in staff_rows.read_since(engine, at - self.sessions.keep_s):
            self._fold(from_row(row))

    async def prune(self, before: float) -> None:
        """Delete the records that came before that time, a few at a time; raises StoreUnavailable."""
        gone = [1]

        async def some(connection: AsyncConnection) -> None:
            gone.append(await staff_rows.prune(connection, before))

        while gone[-1]:
            await self._writer.commit(some)

    def turn(self) -> None:
        """A batch begins: nothing is kept between two."""

    def answer(
        self, endpoint: Endpoint, client: Client, packet: Packet, peer: bytes, key: bytes, at: float
    ) -> bytes | None:
        """Take a record; the answer follows when it is on disk. A Status-Server is answered at once."""
        if packet.code != _ACCOUNTING_REQUEST:
            return self._status(client, packet, peer)
        signer = authentic.accounting_signer(client, packet, peer)
        if isinstance(signer, Drop):
            self._drop(packet.code, client, signer)
            return None
        status = _STATUSES.get(packet.find_int(Attr.ACCT_STATUS_TYPE) or 0)
        if status is None:
            self._drop(packet.code, client, Drop.BAD_STATUS_TYPE)
            return None
        if self._pending >= self._max_pending:
            self._drop(packet.code, client, Drop.JOURNAL_FULL)
            return None
        self.last_seq += 1
        record = read(self.last_seq, at, status, packet, client, peer, self.belief)
        waiting = Waiting(endpoint, peer, key, packet.authenticator)
        self._pending += 1
        self._writer.add(_Kept(self, record, packet, client.label, signer, waiting))
        endpoint.duplicates.keep(key, packet.authenticator, b"")
        return None

    def _status(self, client: Client, packet: Packet, peer: bytes) -> bytes | None:
        """Answer a Status-Server with Accounting-Response, unless records cannot be stored (RFC 5997 section 4.2)."""
        signer = authentic.status_signer(client, packet, peer, Code.ACCESS_REQUEST)
        if isinstance(signer, Key) and self.failing is not None:
            signer = Drop.STORE_UNAVAILABLE
        if isinstance(signer, Drop):
            self._drop(packet.code, client, signer)
            return None
        self._counts.add(packet.code, client.label, "accept", "status")
        return sign_reply(_ACCOUNTING_RESPONSE, packet.identifier, packet.authenticator, b"", signer)

    def _drop(self, code: int, client: Client, reason: Drop) -> None:
        self._counts.add(code, client.label, "drop", reason)

    def stored(self, kept: _Kept) -> None:
        """The record is on disk: follow its session and answer."""
        self._pending -= 1
        self.failing = None
        effect = self._fold(kept.record)
        self._counts.add(_ACCOUNTING_REQUEST, kept.label, "ack", effect)
        endpoint = kept.waiting.endpoint
        datagram = endpoint.finish(kept.waiting, reply_to(kept.packet, kept.signer))
        if datagram is not None:
            endpoint.socket.send([datagram])

    def lost(self, kept: _Kept, error: StoreUnavailable) -> None:
        """The record could not be stored: no answer, the NAS will ask again."""
        self._pending -= 1
        self.failing = str(error)
        waiting = kept.waiting
        waiting.endpoint.duplicates.forget(waiting.key, waiting.authenticator)
        self._counts.add(_ACCOUNTING_REQUEST, kept.label, "drop", Drop.STORE_UNAVAILABLE)

    def _fold(self, record: StaffRecord) -> str:
        try:
            return self.sessions.apply(record)
        except Exception:  # noqa: BLE001 - the record is on disk: a fault of ours stops neither its answer nor a start
            self._on_fault(_ACCOUNTING_REQUEST)
            return Drop.INTERNAL_ERROR


class _Kept:
    """A record on its way to the disk, and what its answer needs: a `Work` of the writer."""

    __slots__ = ("_accounting", "label", "packet", "record", "signer", "waiting")

    def __init__(
        self,
        accounting: StaffAccounting,
        record: StaffRecord,
        packet: Packet,
        label: str,
        signer: Key,
        waiting: Waiting,
    ) -> None:
        self._accounting = accounting
        self.record = record
        self.packet = packet
        self.label = label
        self.signer = signer
        self.waiting = waiting

    async def write(self, connection: AsyncConnection) -> None:
        await staff_rows.save(connection, to_row(self.record))

    def committed(self) -> None:
        self._accounting.stored(self)

    def failed(self, error: StoreUnavailable) -> None:
        self._accounting.lost(self, error)


async def search(engine: AsyncEngine, wanted: StaffSearch) -> list[StaffRecord]:
    """Return stored records, newest first."""
    return [from_row(row) for row in await staff_rows.search(engine, wanted)]


def read(
    seq: int, at: float, status: str, packet: Packet, client: Client, peer: bytes, belief: Belief
) -> StaffRecord:
    """Return the record in a packet. Only the attributes named here are kept, so that no password can be."""
    staff = find(packet, client)
    cause = packet.find_int(Attr.ACCT_TERMINATE_CAUSE) if status == _STOP else None
    number = packet.find_int(Attr.NAS_PORT)
    return StaffRecord(
        seq=seq,
        at=at,
        tenant=client.nas.tenant,
        nas=client.nas.id,
        staff="" if staff is None else staff.id,
        status=status,
        event_at=event_time(packet, at, belief),
        username=packet.find_text(Attr.USER_NAME) or "",
        session_id=packet.find_text(Attr.ACCT_SESSION_ID) or "",
        source=str(source(peer)[0]),
        nas_identifier=packet.find_text(Attr.NAS_IDENTIFIER) or "",
        calling_station_id=packet.find_text(Attr.CALLING_STATION_ID) or "",
        port=packet.find_text(Attr.NAS_PORT_ID) or ("" if number is None else str(number)),
        session_time_s=packet.find_int(Attr.ACCT_SESSION_TIME),
        terminate_cause=None if cause is None else _CAUSES.get(cause, str(cause)),
    )


def to_row(record: StaffRecord) -> StaffRow:
    """Return the row of a record."""
    detail: dict[str, Any] = {"v": _VERSION} | {name: getattr(record, name) for name in _IN_DETAIL}
    octets = json.dumps(detail, separators=(",", ":")).encode()
    return StaffRow(record.seq, record.at, record.tenant, record.nas, record.staff, record.status, octets)


def from_row(row: StaffRow) -> StaffRecord:
    """Return the record in a row."""
    detail: dict[str, Any] = json.loads(row.detail)
    columns = row._asdict()
    del columns["detail"]
    return StaffRecord(**columns, **{name: detail[name] for name in _IN_DETAIL})


def _opened(record: StaffRecord) -> StaffSession:
    """Return the session that a Start, or the first Interim-Update that was heard, tells of."""
    return StaffSession(
        tenant=record.tenant,
        nas=record.nas,
        staff=record.staff,
        username=record.username,
        session_id=record.session_id,
        source=record.source,
        calling_station_id=record.calling_station_id,
        port=record.port,
        started_at=record.event_at - (record.session_time_s or 0),
        heard_at=record.at,
    )
