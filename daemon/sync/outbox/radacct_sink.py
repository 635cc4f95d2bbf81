"""Sessions into a radacct table, one row for each, as platforms read it that FreeRADIUS wrote for.

An event only says which sessions to look at; their rows become what the sessions are now. Delivering again, or late,
therefore changes nothing. New rows go in one short transaction after the other, so that the order of their ids is the
order of their commits: importers read by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.store import radacct_rows
from daemon.store.radacct_rows import Minted
from daemon.store.writer import Writer
from daemon.sync.outbox.model import Acked, Delivery, Event, Later, Receipt, Stream
from daemon.sync.outbox.radacct_merge import RadacctRow, SessionFacts, cut, merge, new_row, shown_id
from daemon.sync.outbox.radacct_rejects import RejectTable, add_each, look_at_rejects
from daemon.sync.outbox.radacct_table import RadacctTable, TableUnusable, look, short

_STATEMENT_S = 10
_MINUTE_S = 60.0
_MYSQL_ROW_ERRORS = frozenset(
    {1264, 1292, 1366, 1406, 3819, 4025}
)  # out of range, too long, a CHECK that failed


class Finder(Protocol):
    """Says which sessions events are about."""

    @property
    def settled_seq(self) -> int:
        """Up to which record of the journal every session is folded."""

    async def facts(self, events: Sequence[Event]) -> Mapping[int, Sequence[SessionFacts]]:
        """Return the sessions of each event by its number, as they are now."""

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
    cut: int = 0  # texts too long for their column
    refused: int = 0  # rows that the database does not take, whatever is tried


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
        self._held: dict[int, float] = {}  # sessions of unknown logins, since when
        self._room, self._room_at = float(options.new_rows_per_min), clock.monotonic()

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
            through = await (
                self._reject(events) if delivery.stream is Stream.AUTH_REJECTS else self._take(events)
            )
        except StoreUnavailable as error:
            return Later(str(error))
        except TableUnusable as error:
            return Later(str(error), _MINUTE_S)
        except (OSError, SQLAlchemyError, TimeoutError) as error:
            self._table = self._rejects = None  # its shape may be another when it is back
            return Later(_said(error))
        if through is None:
            return Later("as many new rows as a minute may have are there", 2.0)
        return Acked(through + base)

    async def _reject(self, events: Sequence[Event]) -> int:
        """Write refused logins; return the number of the last event."""
        if self._rejects is None:
            self._rejects = await look_at_rejects(self._engine, self._options.table)
        self.counts.refused += await add_each(
            self._engine, self._rejects, events, self._finder.nas_address, _is_of_a_row
        )
        return events[-1].seq

    async def _take(self, events: Sequence[Event]) -> int | None:
        """Write the sessions of events in their order; return the number of the last event done, None for none."""
        if self._table is None:
            self._table = RadacctTable(await look(self._engine, self._options.table))
        found = await self._finder.facts(events)
        wanted = {each.uid: each for sessions in found.values() for each in sessions if self._is_due(each)}
        minted = await radacct_rows.find(self._store, self.name, list(wanted))
        room = self._refill()
        fresh = [uid for uid in wanted if uid not in minted]
        barred = frozenset(fresh[room:])
        todo = {uid: each for uid, each in wanted.items() if uid not in barred}
        if todo:
            await self._write(todo, minted)
        self._room -= min(len(fresh), room)
        through = None
        for event in events:
            if any(each.uid in barred for each in found.get(event.seq, ())):
                break
            through = event.seq
        return through

    def _is_due(self, facts: SessionFacts) -> bool:
        """Tell whether a session may have its row: an importer skips rows of unknown logins for good."""
        if facts.known:
            self._held.pop(facts.uid, None)
            return True
        since = self._held.setdefault(facts.uid, self._clock.monotonic())
        return self._clock.monotonic() - since >= self._options.hold_s or facts.closed_at is not None

    def _refill(self) -> int:
        now, most = self._clock.monotonic(), self._options.new_rows_per_min
        self._room = min(float(most), self._room + (now - self._room_at) * most / _MINUTE_S)
        self._room_at = now
        return int(self._room)

    async def _write(self, todo: Mapping[int, SessionFacts], minted: Mapping[int, Minted]) -> None:
        fresh = await self._mint([each for uid, each in todo.items() if uid not in minted])
        known = {**minted, **fresh}
        try:
            await self._transaction(todo, known)
        except DBAPIError as error:
            if not _is_of_a_row(error):
                raise
            for uid, facts in todo.items():  # one that the database refuses does not keep the others
                await self._write_one(uid, facts, known)

    async def _write_one(self, uid: int, facts: SessionFacts, known: Mapping[int, Minted]) -> None:
        try:
            await self._transaction({uid: facts}, known)
        except DBAPIError as error:
            if not _is_of_a_row(error):
                raise
            self.counts.refused += 1
            self._log("radacct-row-refused", sink=self.name, session=uid, why=_said(error))

    async def _mint(self, facts: Sequence[SessionFacts]) -> dict[int, Minted]:
        """Give sessions their keys and keep them, before the table has any of it: a crash between changes nothing."""
        if not facts:
            return {}
        assert self._table is not None
        table = self._table
        async with self._engine.begin() as connection:
            await short(connection, table.shape.mysql, _STATEMENT_S)
            adopted = await self._adoptable(connection, facts)
            pairs = [(each.acct_session_id, each.username) for each in facts]
            taken = await table.taken(connection, pairs) if self._options.distinct_ids else []
        found: dict[int, Minted] = {}
        mine: set[str] = set()  # ids that sessions of this very run show
        for each in facts:
            old = adopted.get(each.uid)
            if old is not None:
                self.counts.adopted += 1
                found[each.uid] = Minted(each.uid, old.acctuniqueid, old.acctsessionid)
                continue
            others = [row for row in taken if row[2] == each.acct_session_id and row[0] != each.unique_id()]
            clash = any(is_open or username == each.username for _, username, _, is_open in others)
            clash = self._options.distinct_ids and (clash or each.acct_session_id in mine)
            mine.add(each.acct_session_id)
            self.counts.renamed += clash
            shown = shown_id(each, clash, table.shape.widths.get("acctsessionid"))
            found[each.uid] = Minted(each.uid, each.unique_id(), shown)

        async def save(connection: AsyncConnection) -> None:
            await radacct_rows.save(connection, self.name, list(found.values()))

        await self._writer.commit(save)
        return found

    async def _adoptable(
        self, connection: AsyncConnection, facts: Sequence[SessionFacts]
    ) -> dict[int, RadacctRow]:
        """Return open rows that FreeRADIUS wrote for sessions whose Start we have not seen, by session."""
        assert self._table is not None
        lost = {
            (each.username, each.acct_session_id, each.nas_address): each.uid
            for each in facts
            if not each.start_seen
        }
        if not lost:
            return {}
        rows = await self._table.open_of(connection, list(lost))
        ours = await radacct_rows.known(self._store, self.name, [row.acctuniqueid for row in rows.values()])
        return {
            lost[name]: row for name, row in rows.items() if name in lost and row.acctuniqueid not in ours
        }

    async def _transaction(self, todo: Mapping[int, SessionFacts], known: Mapping[int, Minted]) -> None:
        assert self._table is not None
        table, shape = self._table, self._table.shape
        async with self._engine.begin() as connection:
            await short(connection, shape.mysql, _STATEMENT_S)
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
                row, shortened = cut(row, shape.widths)
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


def _is_of_a_row(error: DBAPIError) -> bool:
    """Tell whether a database refused a row for what it says, which asking again does not change."""
    if isinstance(error, (DataError, IntegrityError)):
        return True
    codes: tuple[object, ...] = getattr(error.orig, "args", ())
    return bool(codes) and codes[0] in _MYSQL_ROW_ERRORS


def _said(error: Exception) -> str:
    """Return what a database said, without statement and values."""
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return lines[0][:200] if lines else type(error).__name__
