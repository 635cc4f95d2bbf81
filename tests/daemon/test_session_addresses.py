"""Every address that a session reported is kept, in whatever order its packets came, and after its row is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select

from daemon.aaa.session import TRACKED, Session
from daemon.store import schema, session_addresses
from daemon.store.session_address_news import Written
from daemon.store.session_addresses import SESSION_ADDRESS, AddressRow, Other, rows_of
from radius.codes import Attr
from tests.daemon.conftest import Store
from tests.daemon.test_sessions import INTERIM, START, STOP, T0, Line

FIRST, SECOND = b"\xc0\0\2\1", b"\xc0\0\2\2"
PREFIX = b"\0\x40" + bytes.fromhex("20010db800010002")
DELEGATED = b"\0\x38" + bytes.fromhex("20010db8ff000000")


def report(line: Line, status: int, after_s: int, **values: bytes) -> object:
    tracked = tuple(values.get(Attr(kind).name.lower()) for kind in TRACKED)
    return line.report(status, after_s)._replace(tracked=tracked)


def session_of(*reports: object) -> Session:
    made = Session(reports[0], 77)  # type: ignore[arg-type]
    for each in reports:
        made.fold(each, each.status == START, each.status == STOP)  # type: ignore[attr-defined]
    return made


def none(_session: object) -> list[Other]:
    return []


def brief(rows: list[AddressRow]) -> list[tuple[str, str, float, float, float | None]]:
    return [
        (each.kind, f"{each.address}/{each.length}", each.first_at - T0, each.last_at - T0, each.closed_at)
        for each in rows
    ]


def test_each_kind_of_address_has_its_row() -> None:
    line = Line()
    session = session_of(
        report(
            line,
            START,
            0,
            framed_ip_address=FIRST,
            framed_ipv6_prefix=PREFIX,
            framed_interface_id=bytes.fromhex("0200000000000007"),
            framed_ipv6_address=bytes.fromhex("20010db8000100020000000000000009"),
            delegated_ipv6_prefix=DELEGATED,
            calling_station_id=b"02-00-00-00-00-01",
            nas_port_id=b"eth 1/2:100",
        )
    )
    rows = rows_of(session, TRACKED)
    assert {(each.kind, each.address, each.length) for each in rows} == {
        ("framed-ip-address", "192.0.2.1", 32),
        ("framed-ipv6-prefix", "2001:db8:1:2::", 64),
        ("framed-interface-id", "2001:db8:1:2:200::7", 128),
        ("framed-ipv6-address", "2001:db8:1:2::9", 128),
        ("delegated-ipv6-prefix", "2001:db8:ff00::", 56),
    }
    assert {(each.uid, each.subscriber, each.username, each.circuit, each.mac) for each in rows} == {
        (77, "S1", "alice", "eth 1/2:100", "02-00-00-00-00-01")
    }


@pytest.mark.parametrize(
    "values",
    [
        {"framed_ip_address": bytes(4)},
        {"framed_ip_address": b"\xff\xff\xff\xfe"},
        {"framed_ip_address": b"\1\2\3"},
        {"framed_ipv6_prefix": b"\0\x81" + bytes(16)},
        {"framed_ipv6_prefix": b"\0\x40"},
        {"framed_ipv6_address": bytes(16)},
        {"framed_interface_id": bytes(8)},
    ],
)
def test_what_is_no_address_has_no_row(values: dict[str, bytes]) -> None:
    assert rows_of(session_of(report(Line(), START, 0, **values)), TRACKED) == []


def test_host_bits_that_a_nas_left_in_a_prefix_are_dropped() -> None:
    odd = b"\0\x38" + bytes.fromhex("20010db8ff0000ff0000000000000001")
    (row,) = rows_of(session_of(report(Line(), START, 0, delegated_ipv6_prefix=odd)), TRACKED)
    assert (row.address, row.length) == ("2001:db8:ff00::", 56)


def test_a_row_is_written_for_news_and_not_for_each_interim() -> None:
    line, written = Line(), Written(TRACKED)
    session = session_of(report(line, START, 0, framed_ip_address=FIRST))
    assert len(written.take([session], none).rows) == 1
    session.fold(report(line, INTERIM, 300, framed_ip_address=FIRST), False, False)  # type: ignore[arg-type]
    assert written.take([session], none) == ([], [])
    session.fold(report(line, INTERIM, 600, framed_ip_address=SECOND), False, False)  # type: ignore[arg-type]
    assert brief(written.take([session], none).rows) == [
        ("framed-ip-address", "192.0.2.2/32", 600, 600, None),
        ("framed-ip-address", "192.0.2.1/32", 300, 300, None),
    ]
    session.fold(report(line, STOP, 900, framed_ip_address=SECOND), False, True)  # type: ignore[arg-type]
    (row,) = [each for each in written.take([session], none).rows if each.last_at == T0 + 900]
    assert (row.address, row.closed_at, len(written)) == ("192.0.2.2", T0 + 900, 0)


def test_what_could_not_be_written_comes_again() -> None:
    written = Written(TRACKED)
    session = session_of(report(Line(), START, 0, framed_ip_address=FIRST))
    assert written.take([session], none).rows
    written.give_back([session])
    assert written.take([session], none).rows


def test_values_between_two_rows_are_told_too() -> None:
    written = Written(TRACKED)
    session = session_of(report(Line(), START, 0, framed_ip_address=SECOND))
    rows, _ends = written.take([session], lambda _: [(int(Attr.FRAMED_IP_ADDRESS), FIRST, T0 - 50)])
    assert {each.address for each in rows} == {"192.0.2.1", "192.0.2.2"}


def test_the_first_and_the_last_report_stay_whatever_is_written_again(store: Store) -> None:
    line = Line()
    early = rows_of(session_of(report(line, START, 0, framed_ip_address=FIRST)), TRACKED)
    late = rows_of(session_of(report(line, STOP, 900, framed_ip_address=FIRST)), TRACKED)

    async def go() -> list[tuple[float, float, float | None]]:
        async with store.running():
            async with store.engine.begin() as connection:
                await connection.run_sync(schema.METADATA.create_all)
                for rows in (late, early, late):
                    await session_addresses.save(connection, rows)
            async with store.engine.connect() as connection:
                found = (await connection.execute(select(SESSION_ADDRESS))).all()
            async with store.engine.begin() as connection:
                assert await session_addresses.prune(connection, T0 + 900) == 0
                assert await session_addresses.prune(connection, T0 + 901) == 1
                assert await session_addresses.prune(connection, T0 + 901) == 0
        return [(row.first_at, row.last_at, row.closed_at) for row in found]

    assert asyncio.run(go()) == [(T0, T0 + 900, T0 + 900)]


def test_a_look_up_reads_only_rows_of_its_time(store: Store, tmp_path: Path) -> None:
    async def go() -> str:
        async with store.running(), store.engine.begin() as connection:
            await connection.run_sync(schema.METADATA.create_all)
            query = session_addresses._of_units({"192.0.2.1": {32}}, None, None).where(
                SESSION_ADDRESS.c.started_at <= T0
            )
            text = str(query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True}))
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")
            return str(plan.all())

    assert "session_address_by_address (address=? AND started_at<?)" in asyncio.run(go())
