"""The logs behind the streams: rows of the outbox, audit, history of leases; `logs_accounting` has the journal."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa.telling import rfc3339
from daemon.errors import StoreUnavailable
from daemon.store import audit_pages, history_pages, outbox_pages
from daemon.store.outbox_pages import DROPPED, OutboxRow
from daemon.sync.outbox.envelope import NOTHING, body_text
from daemon.sync.outbox.model import Event, Stream, Urgency
from ipam import store as lease_store
from ipam.history import HistoryEvent

_URGENCIES = {each.value: each for each in Urgency}
ROWS = (Stream.SESSIONS, Stream.AUTH_REJECTS, Stream.QUOTA, Stream.DEVICES)
"""The streams that are rows of the outbox."""


class RowLog:
    """A stream whose events are rows of the outbox."""

    def __init__(self, engine: AsyncEngine, stream: Stream) -> None:
        self._engine = engine
        self.stream = stream

    async def last_seq(self) -> int:
        """Return the highest number given out; rows may be pruned, numbers are not."""
        rows = await outbox_pages.streams(self._engine)
        return next((row.last_seq for row in rows if row.stream == self.stream), 0)

    async def read(self, after_seq: int, limit: int) -> list[Event]:
        """Return up to `limit` events after a number, in order."""
        rows = await outbox_pages.read(self._engine, self.stream, after_seq, limit)
        return without_holes([_of_row(row) for row in rows], self.stream)


def fact_of_row(row: OutboxRow) -> bytes:
    """Return the 32 octets that stand for a row in the chain of hashes; they outlive its being dropped."""
    if row.type.endswith(DROPPED):
        return row.body
    head = "\0".join((repr(row.at), row.type, row.urgency, row.tenant, row.correlation))
    return sha256(head.encode() + b"\0" + row.body).digest()


def _of_row(row: OutboxRow) -> Event:
    body = NOTHING if row.type.endswith(DROPPED) else row.body.decode()
    urgency = _URGENCIES[row.urgency]
    return Event(row.seq, row.at, row.type, urgency, row.tenant, row.correlation, body, fact_of_row(row))


class AuditLog:
    """The audit table as a stream."""

    stream = Stream.AUDIT

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def last_seq(self) -> int:
        """Return the highest number that is in the table."""
        return await audit_pages.last_id(self._engine)

    async def read(self, after_seq: int, limit: int) -> list[Event]:
        """Return up to `limit` events after a number, in order."""
        events = []
        for row in await audit_pages.after(self._engine, after_seq, limit):
            fact = sha256("\0".join(map(repr, row)).encode()).digest()
            data = {name: getattr(row, name) for name in ("actor", "action", "subject", "reason", "result")}
            urgency, kind = Urgency.A, f"audit.{row.action}"
            body = body_text(data)
            events.append(Event(row.id, row.at, kind, urgency, row.tenant, str(row.id), body, fact))
        return without_holes(events, self.stream)


class LeaseLog:
    """Every change of every address by this node, from the history that it keeps; the hash of its chain is the fact."""

    stream = Stream.LEASES

    def __init__(self, engine: AsyncEngine, book: str) -> None:
        self._engine = engine
        self._book = book

    async def last_seq(self) -> int:
        """Return the number of the newest change of our own book. Raises StoreUnavailable."""
        try:
            async with self._engine.connect() as connection:
                return (await lease_store.chain_end(connection, self._book)).seq
        except (SQLAlchemyError, OSError) as error:
            raise StoreUnavailable(type(error).__name__) from error

    async def read(self, after_seq: int, limit: int) -> list[Event]:
        """Return up to `limit` changes after a number, in order. Raises StoreUnavailable."""
        try:
            async with self._engine.connect() as connection:
                found = await history_pages.chain_page(connection, self._book, after_seq, b"", limit)
        except (SQLAlchemyError, OSError) as error:
            raise StoreUnavailable(type(error).__name__) from error
        return without_holes([_of_change(each) for each in found], self.stream)


def _of_change(event: HistoryEvent) -> Event:
    change = event.change
    data: dict[str, Any] = {
        name: value for name, value in change._asdict().items() if name not in ("at", "tenant")
    }
    data |= {"book": event.book, "at": rfc3339(change.at), "hash": event.hash.hex()}
    name = change.cause or change.new
    correlation = change.session or str(change.lease_id)
    kind = f"lease.{name}"
    body = body_text(data)
    return Event(event.seq, change.at, kind, Urgency.A, change.tenant, correlation, body, event.hash)


def without_holes(events: Sequence[Event], stream: Stream) -> list[Event]:
    """Return events with something in the place of those that are missing between them, so that numbers are dense.

    Only a clock that was set back makes such holes: what looks old is pruned before what is older by number.
    """
    found: list[Event] = []
    for event in events:
        while found and found[-1].seq + 1 < event.seq:
            seq, at = found[-1].seq + 1, found[-1].at
            found.append(Event(seq, at, f"{stream}.pruned", Urgency.C, "", "", NOTHING, bytes(32)))
        found.append(event)
    return found
