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
from daemon.aaa.quota_told import QuotaTold
from daemon.aaa.session import TRACKED, Closed, Session
from daemon.aaa.session_codec import from_row, to_row
from daemon.aaa.standing import Books
from daemon.aaa.telling import QUOTA, SESSIONS, news_of, quota_news
from daemon.aaa.usage import Balance, Taken, balances
from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.leases.cgnat_ingest import Ingest
from daemon.leases.settled_clock import SettledClock
from daemon.replica.index import Index
from daemon.replica.rules import NO_RULES
from daemon.store import (
    binding_rows,
    jobs,
    journal,
    outbox_rows,
    session_address_news,
    session_rows,
    usage_rows,
)
from daemon.store.session_address_news import Written
from daemon.store.session_rows import APPLIED_SEQ
from daemon.store.writer import Writer
from radius import vendors
from radius.codes import Code
from radius.packet import decode

_SLICE = 100  # rows in one transaction: an acknowledgement waits for no more than these
_PRUNE_EVERY_S = 60.0
_DAY_S = 86_400.0
_USAGE_S = 400 * _DAY_S  # of subscribers that are gone: longer than any window but the total
_REPEATS_S = 30.0  # a NAS gives up well before that
_REPEATS_MOST = 100_000
_SPARED_S = 3600.0
_MISSED = 3  # reports of a session whose NAS is gone from the data
_INTERIM_S = 600.0  # between them, where it is not known what the session was granted


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long things are kept, in seconds; `memory_s` is for closed sessions in memory."""

    memory_s: float
    closed_s: float
    journal_s: float
    jobs_s: float  # finished CoA jobs


class Keeper:
    """Owns the path of sessions to and from the store."""

    def __init__(
        self,
        engine: AsyncEngine,
        writer: Writer,
        index: Index,
        books: Books,
        accounting: Accounting,
        clock: Clock,
        retention: Retention,
        flush_s: float,
        port_blocks: Ingest,
    ) -> None:
        """`counted` gathers the subscribers whose use of allowances has been counted since somebody took them.

        `applied_seq` is how far the stored sessions have the journal. `acknowledged_through` says up to where
        everybody who is told of its records has acknowledged them, None where nobody is told; `wanted_since` since
        when ended sessions are still to be told, None for none. `spare`: the disk fills, and what is acknowledged
        is dropped after an hour.
        """
        self._engine = engine
        self._writer = writer
        self._index = index
        self._books = books
        self._sessions = books.sessions
        self.unreadable = 0  # rows of bindings and usage that could not be read at the start
        self.counted: set[tuple[str, str]] = set()
        self._accounting = accounting
        self._clock = clock
        self._retention = retention
        self._flush_s = flush_s
        self._port_blocks = port_blocks
        self._addresses: Written = Written(TRACKED)
        self._saving = asyncio.Lock()  # what is news is compared with what was told before
        self._quota = QuotaTold(self._used_up)
        self.acknowledged_through: Callable[[], int | None] = _all_acknowledged
        self.wanted_since: Callable[[], float | None] = _all_acknowledged
        self.applied_seq = 0
        self.spare = False
        self._settled = SettledClock()
        self._missing: dict[tuple[str, str], float] = {}  # NASes of live sessions that are gone, since when

    async def restore(self, clients: Clients, remember: Callable[[journal.Record], None]) -> int:
        """Read the sessions back and fold in what the journal has beyond them; return how many records that were.

        `remember` is given every record of the last half minute, so that repeats of them are recognised.
        """
        at = self._clock.wall()
        sessions = self._sessions
        sessions.forgotten_before = at - self._retention.memory_s
        self.unreadable = self._books.bindings.restore(await binding_rows.read_all(self._engine))
        usages = await usage_rows.read_all(self._engine)
        self.unreadable += self._books.usage.load(usages)
        self._quota.load(usages)
        for row in await session_rows.read_recent(self._engine, sessions.forgotten_before):
            sessions.add(from_row(row))
        self.applied_seq = int(await session_rows.read_mark(self._engine, APPLIED_SEQ) or 0)
        sessions.folded_seq = self.applied_seq
        await self._port_blocks.restore(self._engine, self.applied_seq, at)
        standard = vendors.find("standard")
        assert standard is not None
        folded = 0
        recent = await journal.seq_before(self._engine, at - _REPEATS_S, _REPEATS_MOST)
        async for batch in journal.read(self._engine, min(self.applied_seq, recent)):
            for numbered in batch:
                record = numbered.record
                if record.elided:  # it is in the stored sessions
                    continue
                if numbered.seq > recent:
                    remember(record)
                if numbered.seq <= self.applied_seq:
                    continue
                client = clients.get(record.tenant, record.nas)
                profile = standard if client is None else client.profile
                self._accounting.fold(numbered.seq, record, decode(record.octets), profile)
                folded += 1
            while sessions.rebooting:
                sessions.close_some(_SLICE)
            await self._work_off_late()
        self._port_blocks.settle(self._ended_at, sessions.folded_seq)
        return folded

    def _ended_at(self, uid: int) -> float | None:
        """Return when a session ended, None for one that is live; what is forgotten here ended before that."""
        session = self._sessions.find_uid(uid)
        return self._sessions.forgotten_before if session is None else session.closed_at

    async def run(self) -> None:
        """Keep for ever; to be started once."""
        pruned_at = usage_pruned_at = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._flush_s)
            await self._work_off_late()
            try:
                await self.flush()
                now = self._clock.monotonic()
                if now - pruned_at > _PRUNE_EVERY_S:
                    pruned_at = now
                    await self.close_of_removed()
                    await self._forget()
                    if self._settled.settled(self._clock.wall(), now):
                        await self._prune()
                if now - usage_pruned_at > _DAY_S and self._settled.settled(self._clock.wall(), now):
                    usage_pruned_at = now
                    await self._prune_usage()
            except StoreUnavailable:
                continue  # the writer has counted it; the rows stay dirty

    async def _work_off_late(self) -> None:
        """Fold in packets so late that their sessions had to be looked up in the store.

        One that cannot be folded in is a fault of ours, counted as `Accounting.fold` does; its record stays in
        the journal, and those behind it are not held up. A store that cannot be read is asked again later.
        """
        late = self._accounting.late
        while late:
            # It stays in the queue until it is folded in, so that the mark does not pass it.
            report, peer, ports = late[0]
            rows: list[session_rows.SessionRow] = []
            if self._sessions.find(report) is None:
                rows = await session_rows.find_by_acct_session_id(self._engine, report.acct_session_id)
            try:
                for row in rows:
                    self._sessions.add(from_row(row))
                self._accounting.take_in(report, peer, ports)
            except Exception:  # noqa: BLE001 - see above
                self._accounting.on_fault(int(Code.ACCOUNTING_REQUEST))
            late.popleft()

    async def close_of_removed(self) -> None:
        """Close sessions of NASes that the data do not have any more, once no report of them came for long.

        A NAS that was given another name goes on to tell of them, and takes them with it (`aaa.sessions`).
        """
        if self._index.loading:
            return
        at, now, sessions = self._clock.wall(), self._clock.monotonic(), self._sessions
        before, self._missing = self._missing, {}
        for key in list(sessions.boxes()):
            tenant, nas = key.decode("utf-8", "replace").split("\0", 2)[:2]
            if self._has(tenant, nas):
                continue
            since = self._missing[tenant, nas] = before.get((tenant, nas), now)
            for number, session in enumerate(list(sessions.boxes().get(key, ())), 1):
                quiet_s = min(at - session.heard_at, now - since)
                late = quiet_s > _MISSED * self._interim_s(session)
                if late and sessions.conclude(session, Closed.NAS_REMOVED, "lost-service"):
                    why = "its NAS is not in the data any more"
                    self._accounting.on_session("session-ghost-closed", session, why)
                if number % _SLICE == 0:
                    await asyncio.sleep(0)

    def _has(self, tenant: str, nas: str) -> bool:
        """Tell whether the data have a NAS, be it one that could not be read."""
        unreadable = self._index.unreadable
        if (tenant, "nas", nas) in unreadable or (tenant, "tenant", tenant) in unreadable:
            return True
        known = self._index.tenants.get(tenant)
        return known is not None and nas in known.nases

    @staticmethod
    def _interim_s(session: Session) -> float:
        told = None if session.applied is None else session.applied.interim_interval_s
        return max(session.interim_s, float(told or _INTERIM_S))

    async def flush(self) -> None:
        """Write all sessions that changed, in slices, then move the mark up to where the rows now go.

        Raises StoreUnavailable; then the sessions stay dirty.
        """
        sessions = self._sessions
        settled = sessions.settled_seq
        if self._accounting.late:  # queued in the order of their numbers
            settled = min(settled, self._accounting.late[0].report.seq - 1)
        await self._port_blocks.flush(self._writer, settled)
        waiting = list(sessions.dirty)
        for start in range(0, len(waiting), _SLICE):
            await self._save_batch(waiting[start : start + _SLICE])
        while self._books.usage.dirty:
            async with self._saving:
                await self._save(self._books.usage.take_some(_SLICE))
        await self._save_bindings()
        if settled > self.applied_seq:

            async def mark(connection: AsyncConnection) -> None:
                await session_rows.save_mark(connection, APPLIED_SEQ, settled)

            await self._writer.commit(mark)
            self.applied_seq = settled

    def _count(self, session: Session) -> None:
        """Add what a session has used since its last row to its subscriber's windows."""
        tenant = self._index.tenants.get(session.tenant)
        if tenant is None:
            return
        subscriber = tenant.subscribers.get(session.subscriber)
        plan = None if subscriber is None else tenant.plans.get(subscriber.plan or "")
        rules = NO_RULES if plan is None else plan.rules
        month_day = None if plan is None else rules.month_day
        at, now = self._clock.wall(), self._clock.monotonic()
        self._books.usage.count(session, tenant.zone, month_day, at, now)
        if rules.allowances and session.closed_at is None:
            self.counted.add((session.tenant, session.subscriber))

    async def _save_batch(self, batch: list[Session]) -> None:
        """Write some sessions, and what has to be written with them."""
        async with self._saving:
            # What another slice has taken along is written already.
            batch = [each for each in batch if each in self._sessions.dirty]
            for session in batch:
                self._count(session)
            await self._save(self._books.usage.take(batch))

    async def _save(self, taken: Taken) -> None:
        """Write session rows, usage rows and what is news in them, in one transaction.

        `aaa.usage` says why the rows must be together; events are there exactly if what they tell of is.
        """
        sessions = self._sessions
        sessions.dirty.difference_update(taken.sessions)
        rows = [to_row(session) for session in taken.sessions]
        news = [(session, *news_of(session)) for session in taken.sessions]
        told = [event for _, _, events in news for event in events]
        usages, turned = self._quota.turn(taken.rows)
        at = self._clock.wall()
        quota = [event for each in turned for event in quota_news(each, at)]
        others = {session.uid: session.others for session in taken.sessions if session.others}
        for session in taken.sessions:
            session.others = []
        shown = self._addresses.take(taken.sessions, lambda session: others.get(session.uid, ()))

        async def save(connection: AsyncConnection) -> None:
            await session_rows.save(connection, rows)
            await session_address_news.save_news(connection, shown)
            await usage_rows.save(connection, usages)
            await outbox_rows.append(connection, SESSIONS, told)
            await outbox_rows.append(connection, QUOTA, quota)

        try:
            await self._writer.commit(save)
        except StoreUnavailable:
            sessions.dirty.update(taken.sessions)
            self._addresses.give_back(taken.sessions)
            for session in taken.sessions:
                session.others = [*others.get(session.uid, ()), *session.others]
            self._books.usage.give_back(taken)
            raise
        for session, now, _ in news:
            session.told = now
        self._quota.done(turned)

    def _used_up(self, tenant: str, subscriber: str) -> tuple[Balance, ...] | None:
        """Return the allowances of a subscriber that are used up, None where it or its plan is not in the data."""
        known = self._index.tenants.get(tenant)
        found = None if known is None else known.subscribers.get(subscriber)
        plan = None if known is None or found is None else known.plans.get(found.plan or "")
        if known is None or found is None or plan is None:
            return None
        usage = self._books.usage.find(tenant, subscriber)
        held = balances(usage, plan.rules, found.bonus_octets, self._clock.wall(), known.zone)
        return tuple(each for each in held if each.acts)

    def look_at_quota(self, tenant: str, subscriber: str) -> None:
        """Something but its traffic may have changed what a subscriber has left: tell with the next flush."""
        if self._books.usage.find(tenant, subscriber) is not None:
            self._books.usage.dirty.setdefault((tenant, subscriber), ())

    async def _save_bindings(self) -> None:
        rows = self._books.bindings.rows()
        if not rows:
            return

        async def save(connection: AsyncConnection) -> None:
            await binding_rows.save(connection, rows)

        try:
            await self._writer.commit(save)
        except StoreUnavailable:
            self._books.bindings.put_back(rows)
            raise

    async def _prune_usage(self) -> None:
        """Drop what subscribers used who have not been online for so long that no window is left."""
        before = self._clock.wall() - _USAGE_S
        self._books.usage.forget(before)
        gone = [1]

        async def prune(connection: AsyncConnection) -> None:
            gone.append(await usage_rows.prune(connection, before))

        while gone[-1]:
            await self._writer.commit(prune)

    async def _forget(self) -> None:
        at = self._clock.wall()
        while self._sessions.forget(at - self._retention.memory_s, _SLICE):  # noqa: ASYNC110 - not a wait
            await asyncio.sleep(0)  # let requests in between the slices

    async def _prune(self) -> None:
        """Drop what is old from the store; what the journal has of the last days cannot be had back."""
        at = self._clock.wall()
        gone: list[int] = []
        acknowledged = self.acknowledged_through()
        through, journal_s = self.applied_seq, self._retention.journal_s
        if acknowledged is not None:
            through = min(through, acknowledged)
            journal_s = min(journal_s, _SPARED_S) if self.spare else journal_s
        wanted, closed_before = self.wanted_since(), at - self._retention.closed_s
        closed_before = closed_before if wanted is None else min(closed_before, wanted)

        async def prune(connection: AsyncConnection) -> None:
            gone.append(
                await journal.prune(connection, at - journal_s, through)
                + await session_rows.prune_closed(connection, closed_before)
                + await jobs.prune(connection, at - self._retention.jobs_s)
            )

        await self._writer.commit(prune)
        while gone[-1]:
            await self._clock.sleep(0.05)
            await self._writer.commit(prune)


def _all_acknowledged() -> None:
    return None
