"""Sessions in a radacct table that FreeRADIUS made: PostgreSQL and MariaDB, both as Debian ships them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from daemon.sync.outbox.model import Acked, Later, Stream
from tests.daemon.conftest import Store
from tests.daemon.radacct.stage import NOW, Database, Stage, database, lines, play
from tests.daemon.test_sessions import INTERIM, START, STOP, Line

ADDRESS = b"\xc0\x00\x02\x07"


def began_by_freeradius(
    table: Database, began_at: float, updated_at: float | None = None, **counters: float
) -> None:
    """Write the open row of a session of alice, `0000`, as FreeRADIUS does."""
    numbers = {"acctinputoctets": 7000, "acctoutputoctets": 8000, "acctsessiontime": 10, **counters}
    began, updated = table.at(began_at), table.at(began_at if updated_at is None else updated_at)
    table.run(
        "INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, "
        f"acctupdatetime, {', '.join(numbers)}) VALUES ('0000', 'freeradius', 'alice', '127.0.0.1', "
        f"{began}, {updated}, {', '.join(f'{each:.0f}' for each in numbers.values())});"
    )


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def table(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A server with FreeRADIUS's tables."""
    with database(request.param) as made:
        yield made


def test_a_session_is_one_row_from_start_to_stop_with_the_times_of_its_events(
    table: Database, store: Store
) -> None:
    async def acts(made: Stage) -> None:
        (line,) = lines(1)
        assert await made.deliver(made.report(line, START, 0, address=ADDRESS)) == Acked(1)
        begun = made.database.rows(
            f"acctsessionid, username, {table.epoch('acctstarttime')}, {table.epoch('acctupdatetime')}, "
            "acctsessiontime, calledstationid"
        )
        assert begun == [["0000", "alice", f"{NOW - 600:.0f}", f"{NOW - 600:.0f}", "0", ""]]
        assert await made.deliver(made.report(line, INTERIM, 300, 5_000_000_000, address=ADDRESS)) == Acked(2)
        live = f"acctinputoctets, acctoutputoctets, acctsessiontime, {table.epoch('acctupdatetime')}"
        assert made.database.rows(live, "acctstoptime IS NULL") == [
            ["5000000000", "25000000000", "300", f"{NOW - 300:.0f}"]
        ]
        assert made.database.value("framedipaddress").startswith("192.0.2.7")
        await made.deliver(made.report(line, STOP, 420, 6_000_000_000, address=None))
        ended = f"{table.epoch('acctstoptime')}, acctterminatecause, acctinputoctets"
        assert made.database.rows(ended) == [[f"{NOW - 180:.0f}", "User-Request", "6000000000"]]
        assert made.database.value("framedipaddress").startswith("192.0.2.7"), (
            "the last address that was known"
        )
        assert made.database.value("nasipaddress").startswith("127.0.0.1"), "where the platform has its NAS"
        assert (made.sink.counts.inserted, made.sink.counts.updated) == (1, 2)

    play(table, store, acts)


def test_what_is_delivered_again_changes_nothing(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        events = [made.report(each, INTERIM, 300, 10 * number) for number, each in enumerate(lines(20))]
        assert await made.deliver(*events) == Acked(20)
        before = made.database.rows("*")
        assert await made.deliver(*events[5:]) == Acked(20)
        assert made.database.rows("*") == before
        assert made.sink.counts.updated == 0

    play(table, store, acts)


def test_a_session_id_that_a_nas_uses_again_is_a_new_row_and_the_old_one_stays(
    table: Database, store: Store
) -> None:
    async def acts(made: Stage) -> None:
        old, again = Line(began=NOW - 9000), Line(began=NOW - 600)
        await made.deliver(made.report(old, START, 0), made.report(old, STOP, 600, 111))
        await made.deliver(made.report(again, START, 0), made.report(again, INTERIM, 300, 222))
        rows = made.database.rows("acctsessionid, acctinputoctets, acctstoptime IS NULL")
        assert [row[1] for row in rows] == ["111", "222"]
        assert rows[0][0] == "0001"
        assert rows[1][0].startswith("0001~"), "the platform takes two rows of one login with one id for one"
        assert len({row[0] for row in made.database.rows("acctuniqueid")}) == 2

    play(table, store, acts)


def test_distinct_ids_can_be_switched_off(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        for box in (b"\x04lab", b"\x04lac"):
            await made.deliver(made.report(Line(began=NOW - 600, box=box), START, 0))
        assert [row[0] for row in made.database.rows("acctsessionid")] == ["0001", "0001"]

    play(table, store, acts, distinct_ids=False)


def test_two_boxes_with_one_session_id_are_two_in_the_active_view(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        events = [made.report(Line(began=NOW - 600, box=box), START, 0) for box in (b"\x04lab", b"\x04lac")]
        await made.deliver(*events)
        assert len({row[0] for row in made.database.rows("acctsessionid", "acctstoptime IS NULL")}) == 2

    play(table, store, acts)


def test_a_session_open_at_the_cutover_is_adopted_and_not_doubled(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        began_by_freeradius(table, NOW - 590)
        (line,) = lines(1)
        await made.deliver(made.report(line, INTERIM, 300, 9000))
        assert made.database.rows("acctuniqueid, acctinputoctets") == [["freeradius", "9000"]]
        assert made.database.value(table.epoch("acctstarttime")) == f"{NOW - 600:.0f}"
        await made.deliver(made.report(line, STOP, 400, 9500))
        assert made.database.rows("acctuniqueid, acctterminatecause") == [["freeradius", "User-Request"]]
        assert made.sink.counts.adopted == 1

    play(table, store, acts)


@pytest.mark.parametrize(
    "ghost",
    [
        {"began_at": NOW - 60 * 86_400},
        {"began_at": NOW - 600, "acctinputoctets": 500_000_000_000},
        {"began_at": NOW - 600, "acctoutputoctets": 900_000_000_000},
        {"began_at": NOW - 600, "acctsessiontime": 4_000_000},
    ],
)
def test_an_open_row_of_an_older_session_with_the_same_id_is_left_alone(
    table: Database, store: Store, ghost: dict[str, float]
) -> None:
    async def acts(made: Stage) -> None:
        began_by_freeradius(table, **ghost)
        before = made.database.rows("*")
        (line,) = lines(1)
        await made.deliver(made.report(line, INTERIM, 300, 9000), made.report(line, STOP, 400, 9500))
        assert made.database.rows("*", "acctuniqueid = 'freeradius'") == before
        ((shown, octets, cause),) = made.database.rows(where="acctuniqueid <> 'freeradius'")
        assert shown.startswith("0000~")
        assert (octets, cause) == ("9500", "User-Request")
        assert made.sink.counts.adopted == 0

    play(table, store, acts)


@pytest.mark.parametrize(("quiet_s", "adopted"), [(30_000, 0), (900, 1)])
def test_where_a_nas_tells_no_session_time_only_a_row_that_was_kept_up_is_adopted(
    table: Database, store: Store, quiet_s: int, adopted: int
) -> None:
    async def acts(made: Stage) -> None:
        began_by_freeradius(table, NOW - 40_000, updated_at=NOW - 600 - quiet_s, acctinputoctets=0)
        table.run("UPDATE radacct SET acctoutputoctets = 0;")
        (line,) = lines(1)
        await made.deliver(made.report(line, INTERIM, 0))
        assert (made.sink.counts.adopted, made.sink.counts.inserted) == (adopted, 1 - adopted)

    play(table, store, acts)


def test_a_row_that_the_platform_gave_up_is_opened_by_newer_evidence_and_a_real_stop_is_final(
    table: Database, store: Store
) -> None:
    async def acts(made: Stage) -> None:
        (line,) = lines(1)
        await made.deliver(made.report(line, START, 0))
        table.run(
            f"UPDATE radacct SET acctstoptime = {table.at(NOW - 500)}, acctterminatecause = 'Ghost-Reaped';"
        )
        await made.deliver(made.report(line, INTERIM, 300, 50))
        assert made.database.rows(where="acctstoptime IS NULL") == [["0000", "50", ""]]
        await made.deliver(made.report(line, STOP, 400, 60))
        await made.deliver(made.report(line, INTERIM, 350, 55))
        assert made.database.rows(where="acctstoptime IS NOT NULL") == [["0000", "60", "User-Request"]]

    play(table, store, acts)


def test_an_unknown_login_waits_for_its_line_to_be_sold_but_not_for_ever(
    table: Database, store: Store
) -> None:
    async def acts(made: Stage) -> None:
        line = Line(began=NOW - 600, username="new")
        event = made.report(line, START, 0, subscriber="")
        assert await made.deliver(event) == Acked(1)
        assert made.database.rows() == []
        made.clock._now += 130
        await made.deliver(made.event(int(event.correlation)))
        assert [row[0] for row in made.database.rows("username")] == ["new"]

    play(table, store, acts)


def test_a_session_that_memory_has_forgotten_comes_from_the_store(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        (line,) = lines(1)
        event = made.report(line, STOP, 300, 77)
        await made.keep()
        made.sessions._by_uid.clear()
        assert await made.deliver(event) == Acked(1)
        by_name = made.event(None, {"acct_session_id": "0000", "nas": "lab"})
        assert await made.deliver(by_name) == Acked(2)
        assert made.database.rows() == [["0000", "77", "User-Request"]]

    play(table, store, acts)


def test_records_that_are_not_folded_yet_wait(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        (line,) = lines(1)
        event = made.report(line, START, 0)
        made.sessions.folded_seq = 0
        assert isinstance(await made.deliver(event), Later)
        assert await made.deliver(event, stream=Stream.SESSIONS) == Acked(1)

    play(table, store, acts)


def test_texts_too_long_for_their_column_are_cut_and_counted(table: Database, store: Store) -> None:
    if not table.mysql:
        table.run("ALTER TABLE radacct ALTER COLUMN username TYPE varchar(64);")

    async def acts(made: Stage) -> None:
        line = Line(began=NOW - 600, username="u" * 200)
        await made.deliver(made.report(line, START, 0))
        assert made.database.rows("username") == [["u" * 64]]
        assert made.sink.counts.cut == 1

    play(table, store, acts)


def test_no_time_is_in_the_future_of_the_database_and_none_is_missing(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        line = Line(began=NOW + 86_400)
        await made.deliver(made.report(line, START, 0))
        clock = "NOW()" if table.mysql else "clock_timestamp()"
        assert made.database.rows(
            "acctsessionid", f"acctupdatetime <= {clock} AND acctstarttime <= {clock}"
        ) == [["0001"]]

    play(table, store, acts)


def test_a_database_that_is_away_or_has_another_table_is_asked_again_later(
    store: Store, table: Database
) -> None:
    async def acts(made: Stage) -> None:
        (line,) = lines(1)
        event = made.report(line, START, 0)
        table.run("ALTER TABLE radacct RENAME TO away;")
        refused = await made.deliver(event)
        table.run("ALTER TABLE away RENAME TO radacct;")
        assert isinstance(refused, Later)
        assert "radacct" in refused.detail
        assert await made.deliver(event) == Acked(1)

    play(table, store, acts)


def test_a_row_that_the_database_refuses_keeps_no_other(table: Database, store: Store) -> None:
    rule = "ALTER TABLE radacct ADD CONSTRAINT odd CHECK (username <> 'bad');"

    async def acts(made: Stage) -> None:
        table.run(rule)
        try:
            good, bad = lines(2)
            bad.username = "bad"
            assert await made.deliver(made.report(good, START, 0), made.report(bad, START, 0)) == Acked(2)
        finally:
            table.run("ALTER TABLE radacct DROP CONSTRAINT odd;")
        assert [row[0] for row in made.database.rows("username")] == ["alice"]
        assert made.sink.counts.refused == 1
        assert made.said[0]["event"] == "radacct-row-refused"

    play(table, store, acts)
