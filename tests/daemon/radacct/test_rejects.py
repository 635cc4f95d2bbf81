"""Refused logins in a radpostauth table that FreeRADIUS made."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from daemon.aaa.rejects import Rejects
from daemon.sync.outbox.model import Acked, Event, Later, Stream, Urgency
from tests.daemon.conftest import Store
from tests.daemon.radacct.stage import NOW, Database, Stage, database, play

CANARY = "canary-password"


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def table(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A server with FreeRADIUS's tables."""
    with database(request.param) as made:
        yield made


def refused(seq: int, identity: str, **data: object) -> Event:
    body = {"nas": "lab", "identity": identity, "calling_station_id": "02:00:00:00:00:01", "count": 3} | data
    return Event(seq, NOW - 60, "auth.rejected", Urgency.C, "demo", identity, json.dumps(body), b"")


def rows(made: Stage, columns: str) -> list[list[str]]:
    return [
        line.split("\t")
        for line in made.database.run(f"SELECT {columns} FROM radpostauth ORDER BY id").splitlines()
    ]


def emptied(table: Database) -> None:
    table.run("DELETE FROM radpostauth;")


def test_a_refused_login_is_a_row_with_its_time_and_no_password(table: Database, store: Store) -> None:
    emptied(table)

    async def acts(made: Stage) -> None:
        events = [refused(1, "alice", password=CANARY), refused(2, "mallory\0" + "x" * 200)]
        dropped = Event(3, NOW, "auth-rejects.dropped", Urgency.C, "demo", "", "{}", b"")
        assert await made.deliver(*events, dropped, stream=Stream.AUTH_REJECTS) == Acked(3)
        found = rows(made, f"username, pass, reply, {table.epoch('authdate')}")
        assert [each[1:3] for each in found] == [["", "Access-Reject"]] * 2
        assert [each[3].split(".")[0] for each in found] == [f"{NOW - 60:.0f}"] * 2
        assert found[0][0] == "alice"
        assert found[1][0] == ("mallory" + "x" * 200)[: 64 if table.mysql else None]
        assert CANARY not in table.run("SELECT * FROM radpostauth")

    play(table, store, acts, post_auth=True)


def test_station_and_nas_are_told_where_the_table_has_columns_for_them(table: Database, store: Store) -> None:
    emptied(table)
    kind = "varchar(15) NOT NULL DEFAULT ''" if table.mysql else "inet"
    more = "ADD COLUMN CallingStationId varchar(50), " if table.mysql else ""
    table.run(f"ALTER TABLE radpostauth {more}ADD COLUMN nasipaddress {kind};")

    async def acts(made: Stage) -> None:
        events = [refused(1, "alice"), refused(2, "bob", nas="nobody", calling_station_id="")]
        assert await made.deliver(*events, stream=Stream.AUTH_REJECTS) == Acked(2)
        first, second = rows(made, "username, callingstationid, nasipaddress")
        assert first[:2] == ["alice", "02:00:00:00:00:01"]
        assert first[2].startswith("127.0.0.1")
        assert second[0] == "bob"
        assert "127.0.0.1" not in second[2]

    try:
        play(table, store, acts, post_auth=True)
    finally:
        less = "DROP COLUMN CallingStationId, " if table.mysql else ""
        table.run(f"ALTER TABLE radpostauth {less}DROP COLUMN nasipaddress;")


def test_a_row_that_is_refused_keeps_no_other_and_a_table_that_is_away_waits(
    table: Database, store: Store
) -> None:
    emptied(table)

    async def acts(made: Stage) -> None:
        table.run("ALTER TABLE radpostauth ADD CONSTRAINT odd CHECK (username <> 'bad');")
        try:
            events = [refused(1, "bad"), refused(2, "good")]
            assert await made.deliver(*events, stream=Stream.AUTH_REJECTS) == Acked(2)
        finally:
            table.run("ALTER TABLE radpostauth DROP CONSTRAINT odd;")
        assert rows(made, "username") == [["good"]]
        assert made.sink.counts.refused == 1
        made.sink._rejects = None
        table.run("ALTER TABLE radpostauth RENAME TO away;")
        answer = await made.deliver(refused(3, "later"), stream=Stream.AUTH_REJECTS)
        table.run("ALTER TABLE away RENAME TO radpostauth;")
        assert isinstance(answer, Later)
        assert "radpostauth" in answer.detail

    play(table, store, acts, post_auth=True)


def test_without_the_option_nobody_is_told_of_refused_logins(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        assert Stream.AUTH_REJECTS not in made.sink.streams

    play(table, store, acts)
    assert len(Rejects()) == 0
