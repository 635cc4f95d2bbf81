"""The journal as the stream of accounting: each record decoded when somebody reads it, never before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa import report
from daemon.aaa.report import Belief
from daemon.aaa.session import Report
from daemon.store import journal
from daemon.store.journal import Record
from daemon.sync.outbox import accounting_text
from daemon.sync.outbox.envelope import NOTHING, body_text
from daemon.sync.outbox.model import Event, Stream, Urgency
from radius.codes import AcctStatus
from radius.errors import Malformed
from radius.packet import decode
from radius.vendors.base import VendorProfile

SUPERSEDED = "accounting.superseded"
_SLICE = 16  # records read before others have their turns: a quarter of a millisecond
_TYPES = {
    int(AcctStatus.START): "accounting.start",
    int(AcctStatus.STOP): "accounting.stop",
    int(AcctStatus.INTERIM_UPDATE): "accounting.interim",
    int(AcctStatus.ACCOUNTING_ON): "accounting.on",
    int(AcctStatus.ACCOUNTING_OFF): "accounting.off",
}
_OTHER = "accounting.other"
_A, _B = Urgency.A, Urgency.B  # looking a member up costs as much as a field
_INTERIM = int(AcctStatus.INTERIM_UPDATE)
_OF_SESSIONS = (int(AcctStatus.START), int(AcctStatus.STOP), _INTERIM)

ProfileOf = Callable[[str, str], VendorProfile]
"""(tenant, NAS): how its packets are read; the standard's where the NAS is not in the data any more."""
SessionOf = Callable[[Report], int | None]
"""The number of the session that a report is about, None where it is not in memory."""


class AccountingLog:
    """Every acknowledged accounting record."""

    stream = Stream.ACCOUNTING

    def __init__(
        self,
        engine: AsyncEngine,
        profile_of: ProfileOf,
        session_of: SessionOf,
        belief: Callable[[], Belief],
    ) -> None:
        self._engine = engine
        self._profile_of = profile_of
        self._session_of = session_of
        self._belief = belief

    async def last_seq(self) -> int:
        """Return the number of the last record on disk."""
        return await journal.read_last_seq(self._engine)

    async def read(self, after_seq: int, limit: int) -> list[Event]:
        """Return up to `limit` records after a number, in order; others have their turns meanwhile."""
        found: list[Event] = []
        belief = self._belief()
        for row in await journal.rows(self._engine, after_seq, limit):
            skip = row.skip(after_seq)
            for seq, (record, packed) in enumerate(journal.entries(row.records, skip), row.first_seq + skip):
                found.append(self._event(seq, record, journal.fact_of(record, packed), belief))
                if len(found) == limit:
                    return found
                if len(found) % _SLICE == 0:
                    await asyncio.sleep(0)
        return found

    def _event(self, seq: int, record: Record, fact: bytes, belief: Belief) -> Event:
        if not record.octets:
            return Event(seq, record.at, SUPERSEDED, Urgency.B, record.tenant, "", NOTHING, fact)
        try:
            packet = decode(record.octets)
        except Malformed:  # cannot be: it was decoded before it was kept
            raw = body_text({"nas": record.nas, "octets": record.octets.hex()})
            return Event(seq, record.at, "accounting.unreadable", Urgency.A, record.tenant, "", raw, fact)
        profile = self._profile_of(record.tenant, record.nas)
        read = report.read(seq, record, packet, profile, belief)
        status = read.status
        session = None
        if status in _OF_SESSIONS and read.acct_session_id:
            session = self._session_of(read)
        correlation = "" if session is None else str(session)
        body = accounting_text.body_of(record, packet, read, profile.usage(packet), correlation)
        urgency = _B if status == _INTERIM else _A
        return Event(
            seq, read.at, _TYPES.get(status, _OTHER), urgency, record.tenant, correlation, body, fact
        )
