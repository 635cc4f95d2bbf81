"""Sessions into a radacct table, one row for each, as platforms read it that FreeRADIUS wrote for.

An event only says which sessions to look at; their rows become what the sessions are now. Delivering again, or late,
therefore changes nothing. New rows go in one short transaction after the other, so that the order of their ids is the
order of their commits: importers read by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.store import radacct_rows
from daemon.store.radacct_rows import Minted
from daemon.store.writer import Writer
from daemon.sync.outbox.model import Acked, Delivery, Event, Later, Receipt, Stream
from daemon.sync.outbox.radacct_engine import ANSWER_S, begun, is_of_a_row, said
from daemon.sync.outbox.radacct_merge import RadacctRow, SessionFacts, fit, merge, new_row
from daemon.sync.outbox.radacct_mint import Mint
from daemon.sync.outbox.radacct_rejects import RejectTable, add_each, look_at_rejects
from daemon.sync.outbox.radacct_table import RadacctTable, TableUnusable, look
from daemon.sync.outbox.radacct_waiting import Pace, Waiting

_MINUTE_S = 60.0
_TURN_S = 2.0  # between two looks at who waits
_PAUSE_S = 15.0  # after one that failed
_AT_ONCE = 200  # new rows in one transaction
_PRUNE_S = 600.0


class Finder(Protocol):
    """Says which sessions events are about."""

    @property
    def settled_seq(self) -> int:
        """Up to which record of the journal every session is folded."""

    async def facts(self, events: Sequence[Event]) -> Mapping[int, Sequence[SessionFacts]]:
        """Return the sessions of each event by its number, as they are now."""

    async def of_uids(self, uids: Sequence[int]) -> Mapping[int, SessionFacts]:
        """Return sessions by their numbers, those that are kept."""

    def is_live(self, uid: int) -> bool:
        """Tell whether a session is in memory; then the store may not have it yet."""

    @property
    def unsaid(self) -> int:
        """How many sessions could not be said in the words of radacct."""

    def nas_address(self, event: Event) -> str | None:
        """Return the address of the NAS that an event names, None where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RadacctOptions:
    """What the settings say. A session of an unknown login waits `hold_s` for the login to become known.

    `post_auth`: refused logins go to the table radpostauth, which lies beside radacct.
    """

    name: str
    table: str = "radacct"
    distinct_ids: bool = True
    new_rows_per_min: int = 400
    hold_s: float = 120.0
    post_auth: bool = False


@dataclass(slots=True)
class RadacctCounts:
    """What happened since the start."""

    inserted: int = 0
    updated: int = 0
    adopted: int = 0
    renamed: int = 0  # Acct-Session-Ids that another session had there
    cut: int = 0  # texts too long for their column, numbers too great
    refused: int = 0  # rows that the database does not take, whatever is tried
    gone: int = 0  # sessions that waited for their row, and are not kept any more


class RadacctSink:
    """An `OutboxSink` for one table."""

    def __init__(
        self,
        options: RadacctOptions,
        engine: AsyncEngine,
        store: AsyncEngine,
        writer: Writer,
        finder: Finder,
        clock: Clock,
        log: Callable[..., None],
    ) -> None:
        """`engine` is that of the table, `store` and `writer` are ours: what was minted for a session is kept there."""
        self.name = options.name
        rejects = {Stream.AUTH_REJECTS} if options.post_auth else set()
        self.streams = frozenset({Stream.ACCOUNTING, Stream.SESSIONS} | rejects)
        self.portions = 1
        self.counts = RadacctCounts()
        self._options = options
        self._engine = engine
        self._store = store
        self._writer = writer
        self._finder = finder
        self._clock = clock
        self._log = log
        self._table: RadacctTable | None = None
        self._rejects: RejectTable | None = None
        self._busy = asyncio.Lock()  # streams deliver at once: a session has its keys and its row once
        self._mint = Mint(options.name, store, writer, distinct_ids=options.distinct_ids)
        self._pace = Pace(options.new_rows_per_min, clock)
        self.waiting = Waiting(options.name, store, writer, clock, options.hold_s)
        self._unsaid = 0  # as last told

    def tasks(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """Return what is to run for ever, by name."""
        return [(f"radacct-{self.name}", self.run)]

    async def run(self) -> None:
        """Write the rows of those who wait, and forget keys of sessions that are gone, for ever."""
        pruned_at = self._clock.monotonic()
        pause_s = _TURN_S
        while True:
            await self._clock.sleep(pause_s)
            pause_s = _TURN_S
            try:
                async with self._busy:
                    await self.waiting.load()
                    while len(self.waiting) and await self._drain(await self._looked_at()) == _AT_ONCE:
                        pass
                if self._clock.monotonic() - pruned_at > _PRUNE_S:
                    pruned_at = self._clock.monotonic()
                    await self._prune()
            except (StoreUnavailable, TableUnusable, OSError, SQLAlchemyError, TimeoutError):
                self._table = None  # the deliveries say what is wrong
                pause_s = _PAUSE_S

    async def _prune(self) -> None:
        gone = [1]

        async def prune(connection: AsyncConnection) -> None:
            gone.append(await radacct_rows.prune(connection, self.name, self._finder.is_live))

        while gone[-1]:
            await self._writer.commit(prune)

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Bring the rows of the sessions that events are about up to date."""
        events = list(delivery.events)
        base = delivery.first - events[0].seq if events else 0
        if delivery.stream is Stream.ACCOUNTING:
            settled = self._finder.settled_seq
            events = [each for each in events if each.seq <= settled]
        if not events:
            return Later("the sessions of these records are not folded yet", 0.2)
        try:
            if delivery.stream is Stream.AUTH_REJECTS:
                async with asyncio.timeout(ANSWER_S):
                    through: int | None = await self._reject(events)
            else:
                async with self._busy:
                    through = await self._take(events)
        except StoreUnavailable as error:
            return Later(str(error))
        except TableUnusable as error:
            return Later(str(error), _MINUTE_S)
        except (OSError, SQLAlchemyError, TimeoutError) as error:
            self._table = self._rejects = None  # its shape may be another when it is back
            return Later(said(error))
        if through is None:
            return Later("as many sessions as may wait for a new row do so", 2.0)
        return Acked(through + base)

    async def _reject(self, events: Sequence[Event]) -> int:
        """Write refused logins; return the number of the last event."""
        if self._rejects is None:
            self._rejects = await look_at_rejects(self._engine, self._options.table)
        self.counts.refused += await add_each(
            self._engine, self._rejects, events, self._finder.nas_address, is_of_a_row
        )
        return events[-1].seq

    async def _looked_at(self) -> RadacctTable:
        if self._table is None:
            self._table = RadacctTable(await look(self._engine, self._options.table))
        return self._table

    async def _take(self, events: Sequence[Event]) -> int | None:
        """Write the sessions of events, or let them wait for their row; return the last event done, None for none.

        What has its row is brought up to date at once, however many new ones there are.
        """
        table = await self._looked_at()
        await self.waiting.load()
        found = await self._finder.facts(events)
        self._tell_unsaid()
        wanted = {each.uid: each for sessions in found.values() for each in sessions}
        minted = await radacct_rows.find(self._store, self.name, list(wanted))
        todo = {uid: each for uid, each in wanted.items() if uid in minted or each.of_event}
        await self._write(table, todo, minted)
        await self._drain(table)
        waits = [each for uid, each in wanted.items() if uid not in todo and uid not in self.waiting.queue]
        due = [each for each in waits if self.waiting.is_due(each)]
        room = self._pace.room
        await self._write(table, {each.uid: each for each in due[:room]}, {})
        self.waiting.promote(due[room:])
        queued = [each for each in due[room:] if each.uid not in self.waiting.queue]
        barred = await self.waiting.add(queued, [each for each in waits if not self.waiting.is_due(each)])
        through = None
        for event in events:
            if any(each.uid in barred for each in found.get(event.seq, ())):
                break
            through = event.seq
        return through

    async def _drain(self, table: RadacctTable) -> int:
        """Write rows of those who wait, as many as the pace allows; return how many those were."""
        if not len(self.waiting):
            return 0
        room = min(self._pace.room, _AT_ONCE)
        queue, held = self.waiting.next(room)
        found = await self._finder.of_uids([*queue, *held])
        self._tell_unsaid()
        gone = [uid for uid in (*queue, *held) if uid not in found]
        self.counts.gone += len(gone)
        await self.waiting.done(gone)
        self.waiting.promote([found[uid] for uid in held if uid in found and self.waiting.is_due(found[uid])])
        turn, _ = self.waiting.next(room)
        todo = {uid: found[uid] for uid in turn if uid in found}
        await self._write(table, todo, await radacct_rows.find(self._store, self.name, list(todo)))
        return len(todo)

    def _tell_unsaid(self) -> None:
        more, self._unsaid = self._finder.unsaid - self._unsaid, self._finder.unsaid
        if more:
            self._log("radacct-session-unsaid", sink=self.name, sessions=more)

    async def _write(
        self, table: RadacctTable, todo: Mapping[int, SessionFacts], minted: Mapping[int, Minted]
    ) -> None:
        """Write rows. New ones take from the pace, and nobody waits for them any more."""
        if not todo:
            return
        known = dict(minted)
        await self._write_some(table, todo, known)
        self._pace.take(len(todo.keys() - minted.keys()))
        await self.waiting.done(list(todo))

    async def _write_some(
        self, table: RadacctTable, todo: Mapping[int, SessionFacts], known: dict[int, Minted]
    ) -> None:
        """Write rows, in ever smaller parts where the database refuses one: that one does not keep the others."""
        try:
            fresh = [each for uid, each in todo.items() if uid not in known]
            if fresh:
                coined = await self._mint.coin(self._engine, table, fresh)
                known |= coined.keys
                self.counts.adopted += coined.adopted
                self.counts.renamed += coined.renamed
            await self._transaction(table, todo, known)
        except (SQLAlchemyError, ValueError, OverflowError) as error:
            if not is_of_a_row(error):
                raise
            uids = list(todo)
            if len(uids) == 1:
                self.counts.refused += 1
                self._log("radacct-row-refused", sink=self.name, session=uids[0], why=said(error))
                return
            middle = len(uids) // 2
            for part in (uids[:middle], uids[middle:]):
                await self._write_some(table, {uid: todo[uid] for uid in part}, known)

    async def _transaction(
        self, table: RadacctTable, todo: Mapping[int, SessionFacts], known: Mapping[int, Minted]
    ) -> None:
        shape = table.shape
        async with begun(self._engine) as connection:
            await table.serialise(connection)
            now = await table.now(connection)
            there = await table.find(connection, [known[uid].unique_id for uid in todo])
            new: list[RadacctRow] = []
            changed: list[RadacctRow] = []
            cuts = 0
            for uid, facts in todo.items():
                names = known[uid]
                old = there.get(names.unique_id)
                row = (
                    merge(old, facts, now)
                    if old is not None
                    else new_row(facts, names.unique_id, names.shown_id, now)
                )
                row, shortened = fit(row, shape.widths, shape.mosts)
                cuts += shortened
                if old is None:
                    new.append(row)
                elif row != old:
                    changed.append(row)
            await table.insert(connection, new)
            await table.update(connection, changed)
        self.counts.inserted += len(new)
        self.counts.updated += len(changed)
        self.counts.cut += cuts
