"""Accounting of logins to devices: from packet to row to answer, and who is logged in."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.aaa.endpoint import Port
from daemon.aaa.staff import accounting as staff_accounting
from daemon.aaa.staff.accounting import StaffRecord, StaffSession, StaffSessions
from daemon.store import staff_rows
from daemon.store.staff_rows import StaffSearch
from radius import exchange
from radius.codes import AcctStatus, Attr, Code
from radius.exchange import Request
from radius.packet import Packet, attribute
from tests.daemon.conftest import Store
from tests.daemon.stack import T0, clear, nas
from tests.daemon.staff_stack import StaffStack
from tests.twins.nas import NasTwin

START, STOP, INTERIM = AcctStatus.START, AcctStatus.STOP, AcctStatus.INTERIM_UPDATE
ON = AcctStatus.ACCOUNTING_ON
DAY_S = 86_400.0


def number(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(4, "big"))


def login(status: int, session: bytes = b"81a00001", user: bytes = b"root", extra: bytes = b"") -> bytes:
    """Return the attributes of an accounting packet as RouterOS sends them for a login."""
    out = number(Attr.ACCT_STATUS_TYPE, status) + attribute(Attr.ACCT_SESSION_ID, session)
    return out + attribute(Attr.USER_NAME, user) + attribute(Attr.NAS_IDENTIFIER, b"core1") + extra


class Running(StaffStack):
    """A stack on a store that runs."""

    def __init__(self, store: Store) -> None:
        super().__init__(writer=store.writer)
        self.store = store

    async def answers(self, twin: NasTwin, *requests: Request) -> list[Packet]:
        """Send, wait for the disk, return the verified answers."""
        sent = self.wires[Port.STAFF_ACCT].sent
        sent.clear()
        for request in requests:
            assert twin.send(request) == [], "nothing is answered before it is durable"
        await self.store.writer.drain()
        by_identifier = {request.identifier: request for request in requests}
        return [exchange.check_reply(by_identifier[octets[1]], octets, twin.key) for octets, _ in sent]

    async def take(self, twin: NasTwin, *packets: bytes) -> None:
        """Have these accounted, one after the other, each answered."""
        for packet in packets:
            (reply,) = await self.answers(twin, twin.account(packet))
            assert reply.code == Code.ACCOUNTING_RESPONSE

    async def log(self, wanted: StaffSearch | None = None) -> list[StaffRecord]:
        """Return the stored records, newest first."""
        return await staff_accounting.search(self.store.engine, wanted or StaffSearch())

    def who(self) -> list[StaffSession]:
        """Return who is logged in now."""
        return self.accounting.sessions.now(self.at)


@asynccontextmanager
async def running(store: Store) -> AsyncIterator[Running]:
    async with store.running():
        yield Running(store)


def test_each_packet_is_a_row_before_it_is_answered(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.nas()
            calling = attribute(Attr.CALLING_STATION_ID, b"198.51.100.7") + attribute(
                Attr.NAS_PORT_ID, b"ssh"
            )
            await edge.take(twin, login(START, extra=calling))
            edge.at += 60
            ended = number(Attr.ACCT_SESSION_TIME, 60) + number(Attr.ACCT_TERMINATE_CAUSE, 1)
            await edge.take(twin, login(STOP, extra=ended))
            stop, start = await edge.log()
            assert (start.seq, stop.seq) == (1, 2)
            assert (start.status, start.staff, start.username, start.nas) == ("start", "ROOT", "root", "lab")
            assert (start.source, start.calling_station_id, start.port) == (
                "127.0.0.1",
                "198.51.100.7",
                "ssh",
            )
            assert (start.at, start.event_at, start.nas_identifier) == (T0, T0, "core1")
            assert (stop.status, stop.session_time_s, stop.terminate_cause) == ("stop", 60, "user-request")
            assert edge.reasons() == {"opened": 1, "closed": 1}

    asyncio.run(scenario())


def test_a_record_is_on_disk_when_its_answer_leaves(store: Store, tmp_path: Path) -> None:
    """Another connection, which sees only what is committed, looks at the moment of sending."""
    seen: list[int] = []

    async def scenario() -> None:
        async with running(store) as edge:
            wire = edge.wires[Port.STAFF_ACCT]

            def send(datagrams: list[tuple[bytes, bytes]]) -> None:
                with closing(sqlite3.connect(tmp_path / "edge.db")) as other:
                    seen.extend(other.execute("select count(*) from staff_record").fetchone())
                wire.sent += datagrams

            wire.send = send  # type: ignore[method-assign] # the same wire, with eyes
            await edge.take(edge.nas(), login(START))

    asyncio.run(scenario())
    assert seen == [1]


def test_who_is_logged_in_follows_start_interim_and_stop(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.nas()
            await edge.take(twin, login(START), login(START, b"81a00002", b"guest"))
            edge.at += 300
            await edge.take(twin, login(INTERIM))
            sessions = {each.session_id: each for each in edge.who()}
            assert sessions["81a00001"].started_at == T0
            assert sessions["81a00001"].heard_at == T0 + 300
            assert sessions["81a00002"].staff == "GUEST"
            await edge.take(twin, login(STOP))
            assert [each.session_id for each in edge.who()] == ["81a00002"]

    asyncio.run(scenario())


def test_a_reboot_ends_the_logins_of_that_box_only(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            first, second = edge.nas("127.0.0.1"), edge.nas("127.0.0.2")
            await edge.take(first, login(START))
            await edge.take(second, login(START))
            edge.at += 5
            await edge.take(
                first, number(Attr.ACCT_STATUS_TYPE, ON) + attribute(Attr.NAS_IDENTIFIER, b"core1")
            )
            assert [each.source for each in edge.who()] == ["127.0.0.2"]
            assert [each.status for each in await edge.log()] == ["accounting-on", "start", "start"]

    asyncio.run(scenario())


def test_pam_radius_with_its_pids_and_odd_names_is_followed(store: Store) -> None:
    """Its session number is a pid and soon used again; the names it gives differ from those of the login."""

    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.nas()
            odd = attribute(Attr.NAS_IP_ADDRESS, b"\x7f\0\0\1")
            accept = twin.ask(
                twin.login(
                    "root",
                    "Kanarie-password-77c1",
                    odd + attribute(Attr.NAS_IDENTIFIER, b"sshd"),
                    message=False,
                )
            )
            assert accept is not None
            await edge.take(twin, login(START, b"00004711", extra=odd))
            edge.at += 10
            await edge.take(twin, login(STOP, b"00004711", extra=odd))
            edge.at += 10
            await edge.take(twin, login(START, b"00004711", b"guest", extra=odd))
            (session,) = edge.who()
            assert (session.staff, session.started_at) == ("GUEST", T0 + 20)
            await edge.take(twin, login(STOP, b"00004711", b"root", extra=odd))
            assert [each.staff for each in edge.who()] == ["GUEST"], "the Stop of another ends nothing"

    asyncio.run(scenario())


def test_who_is_logged_in_is_known_again_after_a_restart(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.nas()
            await edge.take(twin, login(START, b"1"), login(START, b"2"), login(START, b"3"))
            edge.at += 60
            await edge.take(twin, login(STOP, b"2"), login(INTERIM, b"3"))
            before = edge.who()
            assert {each.session_id for each in before} == {"1", "3"}
            after = Running(store)
            await after.accounting.restore(store.engine, T0 + 60)
            assert after.who() == before
            await after.take(after.nas(), login(STOP, b"1"))
            assert (await after.log(StaffSearch(limit=1)))[0].seq == 6, "numbers go on"

    asyncio.run(scenario())


def test_a_login_not_heard_of_for_days_is_forgotten_before_and_after_a_restart(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            await edge.take(edge.nas(), login(START))
            edge.at += 7 * DAY_S + 1
            assert edge.who() == []
            after = Running(store)
            await after.accounting.restore(store.engine, edge.at)
            assert after.accounting.sessions.now(T0) == []

    asyncio.run(scenario())


def test_records_are_found_by_staff_nas_and_time_newest_first(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            lab, edge_nas = edge.nas(), edge.nas("10.9.0.1")
            await edge.take(lab, login(START, b"1"))
            edge.at += 100
            await edge.take(edge_nas, login(START, b"2"), login(START, b"3", b"guest"))
            edge.at += 100
            await edge.take(lab, login(STOP, b"1"), login(START, b"4", b"device-local"))

            async def found(wanted: StaffSearch) -> list[str]:
                return [each.session_id for each in await edge.log(wanted)]

            assert await found(StaffSearch()) == ["4", "1", "3", "2", "1"]
            assert await found(StaffSearch(staff="ROOT")) == ["1", "2", "1"]
            assert await found(StaffSearch(staff="ROOT", nas="edge")) == ["2"]
            assert await found(StaffSearch(since=T0 + 100)) == ["4", "1", "3", "2"]
            assert await found(StaffSearch(limit=2)) == ["4", "1"]
            assert await found(StaffSearch(tenant="other")) == []
            assert (await edge.log())[0].staff == "", "a user of the device's own is nobody of ours"

    asyncio.run(scenario())


def test_pruning_goes_by_age_and_never_gives_a_number_twice(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.nas()
            for session in range(5):
                await edge.take(twin, login(START, b"%d" % session))
                edge.at += DAY_S
            await edge.accounting.prune(T0 + 2 * DAY_S)
            assert [each.seq for each in await edge.log()] == [5, 4, 3]
            await edge.accounting.prune(T0 + 99 * DAY_S)
            assert [each.seq for each in await edge.log()] == [5]
            assert await staff_rows.read_last_seq(store.engine) == 5

    asyncio.run(scenario())


def test_a_long_log_is_read_back_and_pruned_in_pages(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            records = [replace(RECORD, seq=each, at=T0 + each) for each in range(1, 1202)]

            async def write(connection: AsyncConnection) -> None:
                for record in records:
                    await staff_rows.save(connection, staff_accounting.to_row(record))

            await store.writer.commit(write)
            read = [row.seq async for row in staff_rows.read_since(store.engine, T0 + 101)]
            assert read == list(range(101, 1202))
            await edge.accounting.prune(T0 + 1101)
            assert len(await edge.log(StaffSearch(limit=5000))) == 101

    asyncio.run(scenario())


# --- what is refused -------------------------------------------------------------------------------------


def test_while_the_disk_refuses_nothing_is_acknowledged(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            edge.accounting._max_pending = 1
            twin = edge.nas()
            assert twin.ask(twin.status(), twin.acct) is not None
            async with store.engine.connect() as other:
                await (await other.execution_options(writes=True)).begin()
                request = twin.account(login(START))
                assert await edge.answers(twin, request) == []
                assert edge.accounting.failing is not None
                assert twin.ask(twin.status(), twin.acct) is None, "the NAS shall use another server"
                assert edge.who() == []
                await other.rollback()
            assert len(await edge.answers(twin, request)) == 1, "the repeat is tried afresh"
            assert edge.accounting.failing is None
            assert twin.ask(twin.status(), twin.acct) is not None
            assert len(await edge.log()) == 1

    asyncio.run(scenario())


def test_a_repeat_is_stored_once_and_answered_alike(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.nas()
            request = twin.account(login(START))
            assert twin.send(request) == twin.send(request) == []
            await store.writer.drain()
            ((first, _),) = edge.wires[Port.STAFF_ACCT].sent
            assert twin.send(request) == [first]
            assert len(await edge.log()) == 1

    asyncio.run(scenario())


def test_what_is_not_authentic_or_not_accounting_is_neither_stored_nor_answered(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin, stranger = edge.nas(), edge.nas(secret=b"another")
            assert await edge.answers(stranger, stranger.account(login(START))) == []
            request = exchange.accounting_request(7, login(START), twin.key, message=True)
            spoilt = bytearray(request.octets)
            spoilt[30] ^= 1
            assert twin.send(bytes(spoilt), twin.acct) == []
            assert twin.send(twin.account(login(99))) == []
            assert twin.send(twin.account(attribute(Attr.USER_NAME, b"root"))) == []
            assert twin.send(twin.login("root", "x"), twin.acct) == []
            unsigned = attribute(Attr.MESSAGE_AUTHENTICATOR, bytes(16))
            assert twin.send(twin.account(login(START, extra=unsigned))) == []
            assert await edge.log() == []
            assert edge.reasons() == {
                "bad-request-authenticator": 2,
                "bad-message-authenticator": 1,
                "bad-status-type": 2,
                "wrong-port": 1,
            }
            assert len(await edge.answers(twin, request)) == 1, "unspoilt and signed, it is taken"

    asyncio.run(scenario())


def test_both_secrets_are_valid_during_a_rotation(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            edge.index.put(nas(secret=clear("new-secret"), previous_secret=clear("testing123")))
            for secret in (b"new-secret", b"testing123"):
                twin = edge.nas(secret=secret)
                await edge.take(twin, login(START, secret))
                chap = attribute(1, b"root") + exchange.chap(7, b"x", os.urandom(16))
                reply = twin.ask(twin.request(chap, message=False))
                assert reply is not None, "signed with the secret that this box uses"

    asyncio.run(scenario())


def test_proxy_state_is_echoed(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.nas()
            (reply,) = await edge.answers(
                twin, twin.account(login(START, extra=attribute(Attr.PROXY_STATE, b"one")))
            )
            assert reply.all(Attr.PROXY_STATE) == [b"one"]

    asyncio.run(scenario())


def test_more_than_can_wait_are_dropped(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            edge.accounting._max_pending = 2
            twin = edge.nas()
            requests = [twin.account(login(START, b"%d" % each)) for each in range(4)]
            assert len(await edge.answers(twin, *requests)) == 2
            assert edge.reasons()["journal-full"] == 2
            assert len(await edge.answers(twin, *requests[2:])) == 2, "they are taken when asked again"

    asyncio.run(scenario())


def test_a_password_in_accounting_is_in_no_file(store: Store, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.nas()
            secret = b"Kanarie-accounting"
            extra = attribute(Attr.USER_PASSWORD, secret) + attribute(Attr.CHAP_PASSWORD, secret[:17])
            await edge.take(twin, login(START, extra=extra), login(STOP, extra=extra))
            assert "Kanarie" not in repr(await edge.log()) + repr(edge.who())
            octets = b"".join(path.read_bytes() for path in tmp_path.iterdir())
            assert b"81a00001" in octets
            assert b"Kanarie" not in octets

    asyncio.run(scenario())


def test_octets_that_are_no_text_are_kept_readable(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            await edge.take(edge.nas(), login(START, b"\xff\x1b[0m", b"r\xf6\xf6t"))
            (record,) = await edge.log()
            assert "\x1b" in record.session_id
            assert record.staff == ""
            assert len(edge.who()) == 1

    asyncio.run(scenario())


# --- following, by itself ----------------------------------------------------------------------------------

RECORD = StaffRecord(
    seq=1,
    at=T0,
    tenant="demo",
    nas="lab",
    staff="ROOT",
    status="start",
    event_at=T0,
    username="root",
    session_id="1",
    source="192.0.2.1",
    nas_identifier="",
    calling_station_id="",
    port="",
    session_time_s=None,
    terminate_cause=None,
)
STOPPED = replace(RECORD, status="stop", at=T0 + 5, event_at=T0 + 5)
HEARD = replace(RECORD, status="interim-update", at=T0 + 90, event_at=T0 + 90, session_time_s=90)


@pytest.mark.parametrize(
    ("records", "effects", "left"),
    [
        ((RECORD, STOPPED), ["opened", "closed"], 0),
        ((STOPPED, RECORD), ["closed", "late"], 0),
        ((STOPPED, replace(RECORD, event_at=T0 + 9)), ["closed", "opened"], 1),
        ((HEARD,), ["recovered"], 1),
        ((HEARD, RECORD), ["recovered", "opened"], 1),
        ((RECORD, HEARD), ["opened", "updated"], 1),
        ((replace(RECORD, event_at=T0 + 9), RECORD), ["opened", "late"], 1),
        ((replace(RECORD, event_at=T0 + 9), STOPPED), ["opened", "late"], 1),
        ((RECORD, replace(STOPPED, username="guest")), ["opened", "late"], 1),
        ((RECORD, replace(RECORD, username="guest", event_at=T0 + 1)), ["opened", "opened"], 1),
        ((RECORD, replace(RECORD, source="192.0.2.2")), ["opened", "opened"], 2),
        ((RECORD, replace(RECORD, tenant="other")), ["opened", "opened"], 2),
        ((replace(RECORD, session_id=""),), ["no-session-id"], 0),
        ((replace(RECORD, status="tunnel-start"),), ["journaled"], 0),
        ((RECORD, replace(RECORD, status="accounting-off", event_at=T0 + 1)), ["opened", "reboot"], 0),
        ((RECORD, replace(RECORD, status="accounting-on", event_at=T0 - 1)), ["opened", "reboot"], 1),
    ],
)
def test_records_in_any_order_leave_nobody_logged_in_for_ever(
    records: tuple[StaffRecord, ...], effects: list[str], left: int
) -> None:
    sessions = StaffSessions(DAY_S, 100)
    assert [sessions.apply(each) for each in records] == effects
    assert len(sessions.now(T0)) == left


def test_a_session_first_heard_of_in_an_interim_began_when_it_says() -> None:
    sessions = StaffSessions(DAY_S, 100)
    sessions.apply(HEARD)
    assert sessions.now(T0 + 90)[0].started_at == T0


def test_memory_is_bounded_and_the_longest_silent_goes_first() -> None:
    sessions = StaffSessions(DAY_S, 3)
    for each in range(3):
        sessions.apply(replace(RECORD, session_id=str(each)))
    sessions.apply(replace(HEARD, session_id="0"))
    sessions.apply(replace(RECORD, session_id="3"))
    assert {each.session_id for each in sessions.now(T0)} == {"0", "2", "3"}
    for each in range(50):
        sessions.apply(replace(STOPPED, session_id=str(each)))
    assert sessions.now(T0) == []
    assert len(sessions._ended) == 3


def test_a_record_and_its_row_are_the_same() -> None:
    odd = replace(HEARD, username='r"\x00ö\\', terminate_cause="user-request", session_time_s=0)
    for record in (RECORD, odd):
        assert staff_accounting.from_row(staff_accounting.to_row(record)) == record


def test_boxes_of_one_entry_have_their_sessions_apart(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            edge.index.put(nas(id="wide", prefixes=(ip_network("10.0.0.0/8"),), vendor="standard"))
            for address in ("10.1.0.1", "10.1.0.2"):
                await edge.take(edge.nas(address), login(START, b"4711"))
            await edge.take(edge.nas("10.1.0.1"), login(STOP, b"4711"))
            assert [each.source for each in edge.who()] == ["10.1.0.2"]

    asyncio.run(scenario())
