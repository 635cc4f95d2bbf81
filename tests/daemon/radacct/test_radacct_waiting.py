"""Sessions that wait for their row in a radacct table: at the pace of an importer, or for their login to be known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import select

from daemon.store import radacct_rows
from daemon.store.outbox_rows import RADACCT_SESSION
from daemon.store.radacct_rows import Minted
from daemon.sync.outbox.model import Acked, Later
from tests.daemon.conftest import Store
from tests.daemon.radacct.stage import NOW, Database, Stage, database, lines, play
from tests.daemon.stack import subscriber
from tests.daemon.test_sessions import INTERIM, START, STOP, Line


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def table(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A server with FreeRADIUS's tables."""
    with database(request.param) as made:
        yield made


@asynccontextmanager
async def timer(made: Stage) -> AsyncIterator[None]:
    """Let the tasks of the sink run meanwhile."""
    tasks = [asyncio.ensure_future(run()) for _, run in made.sink.tasks()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def pass_time(made: Stage, seconds: float) -> None:
    """Let time pass in the steps of the sink's timer, which finishes each before the next."""
    end = made.clock.monotonic() + seconds
    while made.clock.monotonic() < end:
        await made.clock.advance(min(2.0, end - made.clock.monotonic()))
        async with asyncio.timeout(10):
            while not made.clock.sleepers:
                await asyncio.sleep(0.001)


async def kept(made: Stage) -> list[tuple[int, str, float | None]]:
    """Return number, key and since when it waits of every session that the store has keys of."""
    c = RADACCT_SESSION.c
    async with made.store.engine.connect() as connection:
        rows = await connection.execute(select(c.session_uid, c.unique_id, c.closed_at))
        return [(row[0], row[1], row[2]) for row in rows]


def test_a_storm_is_acknowledged_at_once_and_its_rows_come_at_the_pace(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        storm = [made.report(each, START, 0) for each in lines(25)]
        assert await made.deliver(*storm) == Acked(25)
        assert len(made.database.rows()) == 10
        async with timer(made):
            await pass_time(made, 31)
            assert len(made.database.rows()) == 15
            for _ in range(4):
                await pass_time(made, 31)
        assert len(made.database.rows()) == 25
        assert len(made.sink.waiting) == 0
        assert all(since is None and key for _, key, since in await kept(made))

    play(table, store, acts, new_rows_per_min=10)


def test_a_session_that_has_its_row_is_brought_up_to_date_however_many_wait(
    table: Database, store: Store
) -> None:
    async def acts(made: Stage) -> None:
        old = Line(session_id=b"old", began=NOW - 600)
        await made.deliver(made.report(old, START, 0))
        storm = [made.report(each, START, 0) for each in lines(60)]
        events = [*storm, made.report(old, INTERIM, 300, 4242)]
        assert await made.deliver(*events) == Acked(events[-1].seq)
        assert made.database.rows("acctinputoctets", "acctsessionid = 'old'") == [["4242"]]
        assert len(made.database.rows()) == 10

    play(table, store, acts, new_rows_per_min=10)


def test_who_waits_is_there_again_after_a_restart_as_it_is_then(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        storm = [made.report(each, START, 0) for each in lines(5)]
        assert await made.deliver(*storm) == Acked(5)
        assert len(made.database.rows()) == 2
        for each in lines(5):
            made.report(each, STOP, 300, 7)
        await made.keep()
        made.sessions._by_uid.clear()
        made.again()
        async with timer(made):
            await pass_time(made, 3)
            await pass_time(made, 61)
            await pass_time(made, 61)
        assert sorted(made.database.rows())[2:] == [[f"000{n}", "7", "User-Request"] for n in (2, 3, 4)]

    play(table, store, acts, new_rows_per_min=2)


def test_what_may_wait_is_bounded_and_the_rest_is_not_acknowledged(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        made.sink.waiting._most = 5
        storm = [made.report(each, START, 0) for each in lines(20)]
        assert await made.deliver(*storm) == Acked(15)
        assert isinstance(await made.deliver(*storm[15:]), Later)
        made.clock._now += 60
        assert await made.deliver(*storm[15:]) == Acked(20)

    play(table, store, acts, new_rows_per_min=10)


def test_a_login_that_becomes_known_has_its_row_at_the_next_delivery_or_soon(
    table: Database, store: Store
) -> None:
    async def acts(made: Stage) -> None:
        sold, never = Line(session_id=b"s", username="sold"), Line(session_id=b"n", username="never")
        sold.began = never.began = NOW - 600
        assert await made.deliver(made.report(sold, START, 0, subscriber="S2")) == Acked(1)
        await made.deliver(made.report(never, START, 0, subscriber=""))
        assert made.database.rows() == []
        made.index.put(subscriber("sold", "secret", id="S2"))
        (other,) = lines(1)
        await made.deliver(made.report(other, START, 0))
        assert made.database.rows("username") == [["sold"], ["alice"]]
        async with timer(made):
            await pass_time(made, 60)
            assert len(made.database.rows()) == 2
            await pass_time(made, 64)
        assert made.database.rows("username") == [["sold"], ["alice"], ["never"]]
        assert len(made.sink.waiting) == 0

    play(table, store, acts)


def test_a_held_session_that_ends_waits_no_longer(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        line = Line(began=NOW - 600, username="new")
        await made.deliver(made.report(line, START, 0, subscriber=""))
        made.report(line, STOP, 300, 9, subscriber="")
        async with timer(made):
            await pass_time(made, 3)
        assert made.database.rows() == [["0001", "9", "User-Request"]]
        assert len(made.sink.waiting) == 0

    play(table, store, acts)


def test_a_session_that_waits_in_vain_is_counted_and_forgotten(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        await made.deliver(*[made.report(each, START, 0) for each in lines(3)])
        assert len(made.sink.waiting) == 2
        made.sessions._by_uid.clear()
        async with timer(made):
            await pass_time(made, 61)
            await pass_time(made, 61)
        assert (made.sink.counts.gone, len(made.sink.waiting)) == (2, 0)

    play(table, store, acts, new_rows_per_min=1)


def test_a_database_that_is_away_keeps_who_waits_waiting(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        await made.deliver(*[made.report(each, START, 0) for each in lines(3)])
        table.run("ALTER TABLE radacct RENAME TO away;")
        async with timer(made):
            await pass_time(made, 61)
            table.run("ALTER TABLE away RENAME TO radacct;")
            for _ in range(4):
                await pass_time(made, 31)
        assert len(made.database.rows()) == 3

    play(table, store, acts, new_rows_per_min=2)


def test_keys_of_sessions_that_are_gone_are_forgotten_by_the_timer(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        await made.deliver(made.report(lines(1)[0], START, 0))
        live = next(iter(made.sessions.snapshot())).uid
        old = [Minted(number, f"{number:032x}", "x") for number in range(1, 1200)]
        await made.store.writer.commit(lambda c: radacct_rows.save(c, "central", old))
        async with timer(made):
            await pass_time(made, 605)
        assert [row[0] for row in await kept(made)] == [live], "the one in memory is not stored yet"

    play(table, store, acts)


def test_no_session_that_waits_has_ended_before_the_time_that_is_told(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        assert made.sink.waiting.since is None
        await made.deliver(*[made.report(each, STOP, 100) for each in lines(3)])
        assert made.sink.waiting.since == NOW - 500

    play(table, store, acts, new_rows_per_min=1)
