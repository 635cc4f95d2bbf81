"""Keeps sessions: writes changed ones to the store, closes after reboots, forgets and prunes the old.

Session rows lag behind the journal by a few seconds, and a mark says how far they go: at start, the records
after it are folded in again. Folding a record a second time changes nothing, so rows newer than the mark do
no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.aaa.accounting import Accounting
from daemon.aaa.nas import Clients
from daemon.aaa.session_codec import from_row, to_row
from daemon.aaa.sessions import SessionTable
from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.store import journal, session_rows
from daemon.store.session_rows import APPLIED_SEQ
from daemon.store.writer import Writer
from radius import vendors
from radius.packet import decode

_SLICE = 100  # rows in one transaction: an acknowledgement waits for no more than these
_PRUNE_EVERY_S = 60.0
_REPEATS_S = 30.0  # a NAS gives up well before that
_REPEATS_MOST = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are kept, in seconds; `memory_s` is for closed sessions in memory."""

    memory_s: float
    closed_s: float
    journal_s: float


class Keeper:
    """Owns the path of sessions to and from the store."""

    def __init__(
        self,
        engine: AsyncEngine,
        writer: Writer,
        sessions: SessionTable,
        accounting: Accounting,
        clock: Clock,
        retention: Retention,
        flush_s: float,
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._sessions = sessions
        self._accounting = accounting
        self._clock = clock
        self._retention = retention
        self._flush_s = flush_s
        self._applied_seq = 0

    async def restore(self, clients: Clients, remember: Callable[[journal.Record], None]) -> int:
        """Read the sessions back and fold in what the journal has beyond them; return how many records that were.

        `remember` is given every record of the last half minute, so that repeats of them are recognised.
        """
        at = self._clock.wall()
        sessions = self._sessions
        sessions.forgotten_before = at - self._retention.memory_s
        for row in await session_rows.read_recent(self._engine, sessions.forgotten_before):
            sessions.add(from_row(row))
        self._applied_seq = int(await session_rows.read_mark(self._engine, APPLIED_SEQ) or 0)
        sessions.folded_seq = self._applied_seq
        standard = vendors.find("standard")
        assert standard is not None
        folded = 0
        recent = await journal.seq_before(self._engine, at - _REPEATS_S, _REPEATS_MOST)
        async for batch in journal.read(self._engine, min(self._applied_seq, recent)):
            for numbered in batch:
                record = numbered.record
                if numbered.seq > recent:
                    remember(record)
                if numbered.seq <= self._applied_seq:
                    continue
                client = clients.get(record.tenant, record.nas)
                profile = standard if client is None else client.profile
                self._accounting.fold(numbered.seq, record, decode(record.octets), profile)
                folded += 1
            while sessions.rebooting:
                sessions.close_some(_SLICE)
            await self._work_off_late()
        return folded

    async def run(self) -> None:
        """Keep for ever; to be started once."""
        pruned_at = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._flush_s)
            await self._close_rebooted()
            await self._work_off_late()
            try:
                await self.flush()
                if self._clock.monotonic() - pruned_at > _PRUNE_EVERY_S:
                    pruned_at = self._clock.monotonic()
                    await self._prune()
            except StoreUnavailable:
                continue  # the writer has counted it; the rows stay dirty

    async def _close_rebooted(self) -> None:
        while self._sessions.rebooting:
            self._sessions.close_some(_SLICE)
            await asyncio.sleep(0)

    async def _work_off_late(self) -> None:
        """Fold in packets so late that their sessions had to be looked up in the store."""
        late = self._accounting.late
        while late:
            report = late[0]  # stays in the queue until it is folded in, so that the mark does not pass it
            if self._sessions.find(report) is None:
                rows = await session_rows.find_by_acct_session_id(self._engine, report.acct_session_id)
                for row in rows:
                    self._sessions.add(from_row(row))
            self._sessions.apply(report)
            late.popleft()

    async def flush(self) -> None:
        """Write all sessions that changed, in slices, then move the mark up to where the rows now go.

        Raises StoreUnavailable; then the sessions stay dirty.
        """
        sessions = self._sessions
        settled = min([sessions.settled_seq, *(late.seq - 1 for late in self._accounting.late)])
        waiting = list(sessions.dirty)
        for start in range(0, len(waiting), _SLICE):
            batch = waiting[start : start + _SLICE]
            sessions.dirty.difference_update(batch)
            rows = [to_row(session) for session in batch]

            async def save(connection: AsyncConnection, rows: list[session_rows.SessionRow] = rows) -> None:
                await session_rows.save(connection, rows)

            try:
                await self._writer.commit(save)
            except StoreUnavailable:
                sessions.dirty.update(batch)
                raise
        if settled > self._applied_seq:

            async def mark(connection: AsyncConnection) -> None:
                await session_rows.save_mark(connection, APPLIED_SEQ, settled)

            await self._writer.commit(mark)
            self._applied_seq = settled

    async def _prune(self) -> None:
        at = self._clock.wall()
        while self._sessions.forget(at - self._retention.memory_s, _SLICE):  # noqa: ASYNC110 - not a wait
            await asyncio.sleep(0)  # let requests in between the slices
        gone: list[int] = []

        async def prune(connection: AsyncConnection) -> None:
            gone.append(
                await journal.prune(connection, at - self._retention.journal_s, self._applied_seq)
                + await session_rows.prune_closed(connection, at - self._retention.closed_s)
            )

        await self._writer.commit(prune)
        while gone[-1]:
            await self._clock.sleep(0.05)
            await self._writer.commit(prune)
