"""Usage in the store: written with its sessions, so that no crash, repeat or failed write counts twice or loses."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.aaa.session import Closed, Report, Session
from daemon.aaa.session_codec import from_row, to_row
from daemon.aaa.sessions import SessionTable
from daemon.aaa.usage import UsageBook
from daemon.errors import StoreUnavailable
from daemon.replica.rules import Window
from daemon.store import session_rows, usage_rows
from daemon.store.schema import MARK, SESSION, USAGE
from daemon.store.session_rows import APPLIED_SEQ
from daemon.store.usage_rows import UsageRow
from tests.daemon.conftest import Store
from tests.daemon.usage_lines import INTERIM, LAGOS, START, STOP, Line, at

MORNING = at("2026-03-11T08:00:00")
EVENING = at("2026-03-11T23:00:00")


class Fate(Enum):
    """What happens to a flush after some of its slices."""

    DONE = auto()
    REFUSED = auto()  # the store fails once, the daemon goes on
    CRASH = auto()


@dataclass
class Edge:
    """A daemon's sessions and usage over one store; the journal outlives it."""

    store: Store
    journal: list[Report] = field(default_factory=list)
    table: SessionTable = field(default_factory=SessionTable)
    book: UsageBook = field(default_factory=lambda: UsageBook(300.0))
    now: float = MORNING
    dice: random.Random = field(default_factory=lambda: random.Random(1))

    def hear(self, report: Report) -> None:
        self.journal.append(report._replace(seq=len(self.journal) + 1))
        self.now = max(self.now, report.heard_at)
        self.table.apply(self.journal[-1])

    def conclude_all(self) -> None:
        for session in self.table.snapshot():
            self.table.conclude(session, Closed.GHOST, "ghost")

    async def start(self) -> None:
        """Forget everything in memory and come up from the store and the journal."""
        self.table, self.book = SessionTable(), UsageBook(300.0)
        for row in await session_rows.read_recent(self.store.engine, 0.0):
            self.table.add(from_row(row))
        assert self.book.load(await usage_rows.read_all(self.store.engine)) == 0
        for report in self.journal[int(await session_rows.read_mark(self.store.engine, APPLIED_SEQ) or 0) :]:
            self.table.apply(report)

    async def flush(self, fate: Fate = Fate.DONE, slices: int = 0) -> None:
        """Count and write dirty sessions in slices of two, as far as fate lets it."""
        waiting, settled = sorted(self.table.dirty, key=lambda each: each.uid), self.table.settled_seq
        self.dice.shuffle(waiting)
        for number, first in enumerate(range(0, len(waiting), 2)):
            if fate is Fate.CRASH and number == slices:
                await self.start()
                return
            if not await self.write(
                waiting[first : first + 2], refused=fate is Fate.REFUSED and number == slices
            ):
                return
        if fate is Fate.CRASH:
            await self.start()
            return
        await self.store.writer.commit(
            lambda connection: session_rows.save_mark(connection, APPLIED_SEQ, settled)
        )

    async def write(self, batch: list[Session], *, refused: bool = False) -> bool:
        """Count and write some sessions in one transaction, which the store may refuse in its midst."""
        for session in batch:
            self.book.count(session, LAGOS, 1, self.now)
        taken = self.book.take(batch)
        self.table.dirty.difference_update(taken.sessions)
        rows = [to_row(session) for session in taken.sessions]

        async def save(connection: AsyncConnection) -> None:
            await session_rows.save(connection, rows)
            await usage_rows.save(connection, taken.rows)
            if refused:
                raise OSError("no space left")

        try:
            await self.store.writer.commit(save)
        except StoreUnavailable:
            self.table.dirty.update(taken.sessions)
            self.book.give_back(taken)
        return not refused


def said(journal: list[Report]) -> dict[str, tuple[int, int, int]]:
    """Return what all sessions of each subscriber come to, from the records alone."""
    table = SessionTable()
    for report in journal:
        table.apply(report)
    out: dict[str, tuple[int, int, int]] = {}
    for session in table:
        upload, download, seconds = out.get(session.subscriber, (0, 0, 0))
        totals = session.counters.totals
        out[session.subscriber] = (
            upload + totals.upload_octets,
            download + totals.download_octets,
            seconds + session.session_time_s,
        )
    return out


def found(book: UsageBook, window: Window, *subscribers: str) -> dict[str, tuple[int, int, int]]:
    out: dict[str, tuple[int, int, int]] = {}
    for name in subscribers:
        usage = book.find("demo", name)
        if usage is not None:
            tally = usage.tally(window)
            out[name] = tally.upload_octets, tally.download_octets, tally.seconds
    return out


async def emptied(connection: AsyncConnection) -> None:
    for table in (SESSION, USAGE, MARK):
        await connection.execute(delete(table))


@st.composite
def records(draw: st.DrawFn) -> list[Report]:
    """The records of some sessions of two subscribers: repeated, out of order, with and without their Starts."""
    out: list[Report] = []
    for number in range(draw(st.integers(2, 5))):
        line = Line(MORNING + 60 * number, b"%d" % number, draw(st.sampled_from(["S1", "S2"])))
        if draw(st.booleans()):
            out.append(line.report(START, 0))
        after_s, upload = 0, 0
        for step, octets in draw(
            st.lists(st.tuples(st.integers(1, 600), st.integers(0, 1 << 31)), max_size=5)
        ):
            after_s, upload = after_s + step, upload + octets
            report = line.report(INTERIM, after_s, upload)
            if report.sample is not None and draw(
                st.booleans()
            ):  # a NAS that wraps, told late, is a correction
                sample = report.sample._replace(upload_octets=upload % (1 << 32), gigawords=False)
                report = report._replace(sample=sample)
            out.append(report)
        out.append(line.report(STOP, after_s + 30, upload + 7))
    dice = random.Random(draw(st.integers(0, 1 << 32)))
    out += dice.choices(out, k=len(out) // 2)
    dice.shuffle(out)
    return out


FLUSHES = st.lists(st.tuples(st.sampled_from(Fate), st.integers(0, 3)), max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reports=records(), seed=st.integers(0, 1 << 32), data=st.data())
def test_all_that_was_said_is_counted_once_whatever_crashes_repeats_and_fails(
    tmp_path: Path, reports: list[Report], seed: int, data: st.DataObject
) -> None:
    async def live() -> None:
        async with Store(tmp_path / "edge.db").running() as store:
            await store.writer.commit(emptied)
            edge = Edge(store, dice=random.Random(seed))
            for report in reports:
                edge.hear(report)
                for fate, slices in data.draw(FLUSHES):
                    await edge.flush(fate, slices)
            await edge.flush()
            expected = said(edge.journal)
            assert found(edge.book, Window.TOTAL, "S1", "S2") == expected
            await edge.start()
            assert found(edge.book, Window.TOTAL, "S1", "S2") == expected
            await edge.flush()
            for window in (Window.DAY, Window.WEEK, Window.MONTH, Window.TOTAL):
                assert found(edge.book, window, "S1", "S2") == expected, "all of it was on one day"

    asyncio.run(live())


def test_a_refused_write_is_made_good_by_the_next_of_that_subscriber(store: Store) -> None:
    """The trap: a refused write leaves a sum in memory, and the next writes that sum for another session."""

    async def live() -> None:
        async with store.running():
            edge = Edge(store)
            for number in range(2):
                line = Line(MORNING, b"%d" % number)
                edge.hear(line.report(START, 0))
                edge.hear(line.report(INTERIM, 600, 1000))
            first, second = edge.table.snapshot()
            await edge.write([first], refused=True)
            await edge.write([second])
            await edge.start()
            await edge.flush()
            assert found(edge.book, Window.TOTAL, "S1") == {"S1": (2000, 6000, 1200)}

    asyncio.run(live())


def test_windows_go_on_after_a_restart_where_they_were(store: Store) -> None:
    async def live() -> None:
        async with store.running():
            edge, line = Edge(store), Line(EVENING)
            edge.hear(line.report(START, 0))
            edge.hear(line.report(INTERIM, 1800, 600))
            await edge.flush()
            await edge.start()
            edge.hear(line.report(INTERIM, 7200, 1500))
            await edge.flush(Fate.CRASH, 0)
            await edge.flush()
            assert found(edge.book, Window.DAY, "S1") == {"S1": (600, 1800, 3600)}
            assert found(edge.book, Window.WEEK, "S1") == {"S1": (1500, 4500, 7200)}

    asyncio.run(live())


def test_a_gap_that_was_wrong_is_taken_back_after_a_restart_too(store: Store) -> None:
    async def live() -> None:
        async with store.running():
            edge, line = Edge(store), Line(MORNING)
            edge.hear(line.report(START, 0))
            edge.hear(line.report(INTERIM, 600, 1000))
            edge.conclude_all()
            await edge.flush()
            await edge.start()
            usage = edge.book.find("demo", "S1")
            assert usage is not None
            assert usage.month.gap == "lost-stop"
            edge.hear(line.report(STOP, 900, 1200))
            await edge.flush()
            await edge.start()
            usage = edge.book.find("demo", "S1")
            assert usage is not None
            assert usage.month.gap == ""

    asyncio.run(live())


def test_a_row_is_replaced_and_the_old_are_pruned(store: Store) -> None:
    async def live() -> None:
        async with store.running():
            rows = [
                UsageRow("demo", "S1", 10.0, b"one"),
                UsageRow("demo", "S2", 20.0, b"two"),
                UsageRow("other", "S1", 5.0, b"three"),
            ]
            await store.writer.commit(lambda connection: usage_rows.save(connection, rows))
            newer = [UsageRow("demo", "S1", 30.0, b"four")]
            await store.writer.commit(lambda connection: usage_rows.save(connection, newer))
            assert sorted(await usage_rows.read_all(store.engine)) == [newer[0], rows[1], rows[2]]
            gone: list[int] = []

            async def prune(connection: AsyncConnection) -> None:
                gone.append(await usage_rows.prune(connection, 25.0))

            await store.writer.commit(prune)
            assert gone == [2]
            assert await usage_rows.read_all(store.engine) == newer

    asyncio.run(live())
