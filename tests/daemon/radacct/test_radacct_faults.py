"""What a NAS, a database or a network does that it should not: no other session suffers for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.aaa.session import TRACKED, Session
from daemon.aaa.telling import news_of
from daemon.replica.index import Index
from daemon.store import radacct_rows, session_rows
from daemon.sync.outbox import radacct_engine, radacct_sessions
from daemon.sync.outbox.model import Acked, Event, Later, Stream, Urgency
from daemon.sync.outbox.radacct_merge import SessionFacts
from radius.codes import Attr
from tests.daemon.conftest import Store
from tests.daemon.radacct.stage import NOW, Database, Stage, database, lines, play
from tests.daemon.test_sessions import INTERIM, START, STOP, Line


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def table(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A server with FreeRADIUS's tables."""
    with database(request.param) as made:
        yield made


def only(made: Stage) -> Session:
    (session,) = made.sessions.snapshot()
    return session


def tell(made: Stage, session: Session, kind: Attr, value: bytes) -> None:
    """Let the NAS have said that of a session."""
    latest = list(session.latest)
    latest[TRACKED.index(kind)] = value
    session._latest = tuple(latest)


def told(made: Stage, session: Session) -> Event:
    """Return the event of the stream `sessions` that tells of a session."""
    session.told, news = news_of(session)
    made.seq += 1
    last = news[-1]
    return Event(made.seq, NOW, last.type, Urgency.A, last.tenant, last.correlation, last.body.decode(), b"")


async def forget(made: Stage) -> None:
    """Let memory and store have no session any more."""
    made.sessions._by_uid.clear()

    async def prune(connection: AsyncConnection) -> None:
        assert await session_rows.prune_closed(connection, NOW + 10)

    await made.store.writer.commit(prune)


def test_texts_with_nul_and_numbers_beyond_their_column_are_written_all_the_same(
    table: Database, store: Store
) -> None:
    async def acts(made: Stage) -> None:
        nul = Line(session_id=b"a\0b", began=NOW - 600, username="ali\0ce")
        great = Line(session_id=b"great", began=NOW - 600)
        good = Line(session_id=b"good", began=NOW - 600)
        made.report(nul, START, 0)
        for kind in (Attr.NAS_PORT_ID, Attr.CALLED_STATION_ID, Attr.CALLING_STATION_ID):
            tell(made, only(made), kind, b"p\0q\xff")
        events = [
            made.report(nul, STOP, 300, 5),
            made.report(great, INTERIM, 300, (1 << 64) - 10),
            made.report(good, START, 0),
        ]
        assert await made.deliver(*events) == Acked(events[-1].seq)
        assert made.database.rows("username, acctsessionid, acctinputoctets") == [
            ["alice", "ab", "5"],
            ["alice", "great", str((1 << 63) - 1)],
            ["alice", "good", "0"],
        ]
        assert (
            made.database.rows("nasportid, callingstationid")[0]
            == [r"pq\\xff" if table.mysql else r"pq\xff"] * 2
        )
        assert made.sink.counts.refused == 0
        before = made.database.rows("*")
        assert await made.deliver(*events) == Acked(events[-1].seq)
        assert made.database.rows("*") == before

    play(table, store, acts)


@pytest.mark.parametrize(
    "bad",
    [
        "CHECK (username <> 'bad')",  # class 23
        "username varchar(2)",  # class 22: too long, where the width is not known to us
        "acctinputoctets smallint",
        "UNIQUE (username)",
    ],
)
def test_every_kind_of_refusal_is_of_its_row_only(table: Database, store: Store, bad: str) -> None:
    async def acts(made: Stage) -> None:
        first, odd, last = Line(session_id=b"1", username="a"), Line(session_id=b"2"), Line(session_id=b"3")
        last.username, odd.username = "c", "a" if "UNIQUE" in bad else "bad"
        for line in (first, odd, last):
            line.began = NOW - 600
        events = [
            made.report(each, INTERIM, 300, 70_000 if each is odd else 5) for each in (first, odd, last)
        ]
        assert await made.deliver(made.event(None)) == Acked(events[-1].seq + 1)  # the shape is known now
        column = bad.split(maxsplit=1)[0]
        if column in ("CHECK", "UNIQUE"):
            change, back = f"ADD CONSTRAINT odd {bad}", "DROP CONSTRAINT odd"
        elif table.mysql:
            change = f"MODIFY {bad} DEFAULT NULL"
            back = f"MODIFY {column} {'varchar(64)' if column == 'username' else 'bigint(20)'} DEFAULT NULL"
        else:
            change = f"ALTER {column} TYPE {bad.split()[1]}"
            back = f"ALTER {column} TYPE {'text' if column == 'username' else 'bigint'}"
        table.run(f"ALTER TABLE radacct {change};")
        try:
            assert await made.deliver(*events) == Acked(events[-1].seq)
            assert made.database.rows("username") == [["a"], ["c"]]
        finally:
            table.run("DELETE FROM radacct;")
            table.run(f"ALTER TABLE radacct {back};")
        assert made.sink.counts.refused == 1
        assert [each["event"] for each in made.said] == ["radacct-row-refused"]

    play(table, store, acts)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 15, 17, 19, 40])
def test_addresses_of_any_length_keep_no_session_back(table: Database, store: Store, length: int) -> None:
    async def acts(made: Stage) -> None:
        first, second = lines(2)
        made.report(first, START, 0)
        session = only(made)
        for kind in TRACKED:
            tell(made, session, Attr(kind), b"\xfe" * length)
        session.source = b"\x01" * length
        session.nas = "many"
        session.box = b"\x20" + b"\x01" * length
        events = [made.event(session.uid), made.report(second, START, 0)]
        assert await made.deliver(*events) == Acked(events[-1].seq)
        found = made.database.rows(
            "acctsessionid, framedipv6address IS NULL OR framedipv6address IS NOT NULL"
        )
        assert [row[0] for row in found] == ["0000", "0001"]

    play(table, store, acts)


def test_a_session_that_cannot_be_said_is_counted_and_the_others_go_on(
    table: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = radacct_sessions.facts_of

    def odd(session: Session, index: Index) -> SessionFacts:
        if session.acct_session_id == b"0000":
            raise ValueError("no such thing has been seen yet")
        return said(session, index)

    monkeypatch.setattr(radacct_sessions, "facts_of", odd)

    async def acts(made: Stage) -> None:
        first, second = lines(2)
        events = [made.report(first, START, 0)]
        events.append(made.report(second, START, 0))
        assert await made.deliver(*events) == Acked(2)
        assert [row[0] for row in made.database.rows()] == ["0001"]
        assert made.said == [{"event": "radacct-session-unsaid", "sink": "central", "sessions": 1}]

    play(table, store, acts)


def test_a_session_that_is_not_kept_any_more_is_written_from_what_its_event_says(
    table: Database, store: Store
) -> None:
    async def acts(made: Stage) -> None:
        (line,) = lines(1)
        made.report(line, STOP, 300, 77, address=b"\xc0\x00\x02\x07")
        session = only(made)
        tell(made, session, Attr.FRAMED_IPV6_PREFIX, b"\0\x40" + bytes.fromhex("20010db800010000"))
        tell(made, session, Attr.FRAMED_INTERFACE_ID, b"\0\0\0\0\0\0\0\x01")
        await made.keep()
        session.told = None
        event = told(made, session)
        assert await made.deliver(event, stream=Stream.SESSIONS) == Acked(event.seq)
        columns = (
            "acctsessionid, username, acctinputoctets, acctoutputoctets, acctterminatecause, framedipaddress, "
            f"framedipv6prefix, framedinterfaceid, {table.epoch('acctstarttime')}, {table.epoch('acctstoptime')}"
        )
        as_kept = made.database.rows(columns)
        table.run("DELETE FROM radacct;")
        await forget(made)
        assert await made.deliver(event, stream=Stream.SESSIONS) == Acked(event.seq)
        assert made.database.rows(columns) == as_kept
        assert as_kept[0][:5] == ["0000", "alice", "77", "385", "User-Request"]
        odd = event._replace(seq=event.seq + 1, body=json.dumps({"session_id": "x"}))
        assert await made.deliver(odd, stream=Stream.SESSIONS) == Acked(odd.seq)
        assert made.sink._finder.unsaid == 1

    play(table, store, acts)


def test_two_streams_at_once_give_a_session_one_row(table: Database, store: Store) -> None:
    count = 12

    async def acts(made: Stage) -> None:
        began = table.at(NOW - 590)
        for number in range(count):
            table.run(
                "INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, "
                "acctupdatetime, acctinputoctets, acctoutputoctets, acctsessiontime) VALUES "
                f"('{number:04d}', 'freeradius{number}', 'alice', '127.0.0.1', {began}, {began}, 7000, 8000, 10);"
            )
        records = [made.report(each, INTERIM, 300, 9000) for each in lines(count)]
        news = [made.event(int(each.correlation)) for each in records]

        async def carry(events: list[Event], stream: Stream) -> None:
            for each in events:
                assert await made.deliver(each, stream=stream) == Acked(each.seq)

        await asyncio.gather(carry(records, Stream.ACCOUNTING), carry(news, Stream.SESSIONS))
        assert [row[0][:10] for row in made.database.rows("acctuniqueid")] == ["freeradius"] * count

    play(table, store, acts)


def test_keys_that_somebody_else_has_kept_meanwhile_are_used(table: Database, store: Store) -> None:
    async def acts(made: Stage) -> None:
        (line,) = lines(1)
        event = made.report(line, START, 0)
        kept = radacct_rows.Minted(int(event.correlation), "f" * 32, "other")
        coin = made.sink._mint.coin

        async def late(*given: object) -> object:
            await made.store.writer.commit(lambda c: radacct_rows.save(c, "central", [kept]))
            return await coin(*given)  # type: ignore[arg-type]

        made.sink._mint.coin = late  # type: ignore[method-assign, assignment]
        await made.deliver(event)
        assert made.database.rows("acctuniqueid, acctsessionid") == [["f" * 32, "other"]]

    play(table, store, acts)


@contextmanager
def silent(table: Database) -> Iterator[None]:
    """Let the server take what it is sent, and answer nothing."""
    asked = parse_qs(urlsplit(table.url).query)
    if table.mysql:
        socket = asked["unix_socket"][0]
        said = subprocess.run(
            ["pgrep", "-f", "--", f"--socket={socket}"], capture_output=True, text=True, check=True
        )
        stopped = [int(each) for each in said.stdout.split()]
    else:
        main = int((Path(asked["host"][0]) / "data" / "postmaster.pid").read_text().split()[0])
        said = subprocess.run(["pgrep", "-P", str(main)], capture_output=True, text=True, check=True)
        stopped = [main, *map(int, said.stdout.split())]
    for each in stopped:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in stopped:
            os.kill(each, signal.SIGCONT)


def test_a_database_that_stops_answering_is_given_up_and_comes_back(
    table: Database, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def acts(made: Stage) -> None:
        first, second = lines(2)
        await made.deliver(made.report(first, START, 0))
        event = made.report(second, START, 0)
        began = time.monotonic()
        with silent(table):
            answer = await asyncio.wait_for(made.deliver(event), 15)
        assert isinstance(answer, Later)
        assert time.monotonic() - began < 12
        assert await made.deliver(event) == Acked(event.seq)
        assert [row[0] for row in made.database.rows()] == ["0000", "0001"]

    monkeypatch.setattr(radacct_engine, "ANSWER_S", 2.0)
    play(table, store, acts)


def test_errors_tell_nothing_of_subscribers(table: Database, store: Store) -> None:
    engine = radacct_engine.open_table_engine(table.url)
    assert engine.sync_engine.hide_parameters
