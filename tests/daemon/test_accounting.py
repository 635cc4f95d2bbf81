"""Accounting from packet to disk to answer."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from daemon.aaa.accounting import Pending
from daemon.aaa.endpoint import Port
from daemon.aaa.keeper import Keeper, Retention
from daemon.aaa.session import State
from daemon.aaa.session_codec import framed_ip
from daemon.clock import SystemClock
from daemon.leases.cgnat_ingest import Ingest
from daemon.store import journal
from daemon.store.journal import Journal, read_last_seq
from radius import exchange
from radius.codes import AcctStatus, Attr, Code
from radius.exchange import Request
from radius.packet import Packet, attribute
from tests.daemon.conftest import Store
from tests.daemon.stack import T0, Stack
from tests.twins.nas import NasTwin


def number(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(4, "big"))


def record(status: int, session: bytes = b"0001", after_s: int = 0, upload: int = 0, **more: bytes) -> bytes:
    out = number(Attr.ACCT_STATUS_TYPE, status) + attribute(Attr.ACCT_SESSION_ID, session)
    out += attribute(Attr.USER_NAME, more.get("user", b"alice")) + attribute(Attr.NAS_IDENTIFIER, b"bras1")
    out += number(Attr.EVENT_TIMESTAMP, int(T0) + after_s)
    if status != AcctStatus.START:
        out += number(Attr.ACCT_SESSION_TIME, after_s) + number(Attr.ACCT_INPUT_OCTETS, upload % (1 << 32))
        out += number(Attr.ACCT_INPUT_GIGAWORDS, upload >> 32) + number(
            Attr.ACCT_OUTPUT_OCTETS, upload * 2 % (1 << 32)
        )
    return out + more.get("extra", b"")


class Running:
    """A stack on a store that runs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.stack = Stack()
        accounting = self.stack.accounting
        self.journal: Journal[Pending] = Journal(
            store.writer,
            lambda: self.stack.at,
            accounting.on_durable,
            accounting.on_lost,
            max_batch=64,
            max_pending=500,
        )
        accounting.journal = self.journal
        self.keeper = Keeper(
            store.engine,
            store.writer,
            self.stack.index,
            self.stack.books,
            accounting,
            SystemClock(),
            Retention(memory_s=3600, closed_s=86_400, journal_s=86_400, jobs_s=86_400),
            2.0,
            Ingest(),
        )

    async def answers(self, twin: NasTwin, *requests: Request) -> list[Packet]:
        """Send, wait for the disk, return the verified answers."""
        wire = self.stack.wires[Port.ACCT]
        wire.sent.clear()
        for request in requests:
            assert twin.send(request) == [], "nothing is answered before it is durable"
        await self.store.writer.drain()
        by_identifier = {request.identifier: request for request in requests}
        return [exchange.check_reply(by_identifier[octets[1]], octets, twin.key) for octets, _ in wire.sent]


@asynccontextmanager
async def running(store: Store) -> AsyncIterator[Running]:
    async with store.running():
        yield Running(store)


def test_a_record_is_answered_after_it_is_on_disk(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            (reply,) = await edge.answers(twin, twin.account(record(AcctStatus.START)))
            assert reply.code == Code.ACCOUNTING_RESPONSE
            assert await read_last_seq(store.engine) == 1
            (session,) = edge.stack.sessions
            assert (session.username, session.subscriber, session.state) == ("alice", "ALICE", State.ACTIVE)

    asyncio.run(scenario())


def test_a_session_is_followed_through_and_counts_beyond_four_gib(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            address = attribute(Attr.FRAMED_IP_ADDRESS, bytes((100, 64, 0, 7)))
            stop = number(Attr.ACCT_TERMINATE_CAUSE, 2)
            edge.stack.at = T0 + 700
            replies = await edge.answers(
                twin,
                twin.account(record(1, extra=address)),
                twin.account(record(3, after_s=300, upload=6 << 30)),
                twin.account(record(2, after_s=600, upload=7 << 30, extra=stop)),
            )
            assert len(replies) == 3
            (session,) = edge.stack.sessions
            assert session.counters.totals.upload_octets == 7 << 30
            assert framed_ip(session) == "100.64.0.7"
            assert (session.started_at, session.closed_at) == (T0, T0 + 600)
            assert session.terminate_cause == "lost-carrier"

    asyncio.run(scenario())


def test_a_repeat_is_answered_again_and_stored_once(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            request = twin.account(record(1))
            twin.send(request)
            assert twin.send(request) == [], "still on its way to the disk"
            await store.writer.drain()
            ((first, _),) = edge.stack.wires[Port.ACCT].sent
            assert twin.send(request) == [first]
            assert await read_last_seq(store.engine) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda octets: octets[:-1] + bytes((octets[-1] ^ 1,)), "bad-request-authenticator"),
        (lambda octets: octets[:30], "bad-length"),
    ],
)
def test_what_is_not_authentic_is_neither_stored_nor_answered(
    store: Store, spoil: object, reason: str
) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            octets = spoil(twin.account(record(1)).octets)  # type: ignore[operator] # a lambda above
            assert twin.send(octets, twin.acct) == []
            await store.writer.drain()
            assert await read_last_seq(store.engine) == 0
            assert edge.stack.reasons() == {reason: 1}

    asyncio.run(scenario())


def test_while_the_disk_refuses_nothing_is_acknowledged_and_logins_go_on(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            await edge.answers(twin, twin.account(record(1)))
            async with store.engine.connect() as other:
                await (await other.execution_options(writes=True)).begin()
                request = twin.account(record(3, after_s=300, upload=5))
                assert await edge.answers(twin, request) == []
                assert edge.stack.accounting.failing is not None
                assert twin.ask(twin.login("alice", "wonderland")) is not None
                assert twin.ask(twin.status(), twin.acct) is None, "the NAS shall use another server"
                await other.rollback()
            assert len(await edge.answers(twin, request)) == 1, "the repeat is tried afresh"
            assert edge.stack.accounting.failing is None
            assert edge.stack.reasons()["store-unavailable"] == 2

    asyncio.run(scenario())


def test_any_attribute_of_any_length_is_kept_and_passwords_are_not(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            odd = attribute(87, b"x" * 253) + attribute(26, os.urandom(200)) + attribute(240, b"?") * 20
            await edge.answers(twin, twin.account(record(1, extra=odd)))
            await edge.answers(twin, twin.account(record(3, extra=attribute(2, b"p" * 16) + odd)))
            stored = [each.record async for batch in journal.read(store.engine) for each in batch]
            assert all(odd in each.octets for each in stored)
            assert b"p" * 16 not in stored[1].octets

    asyncio.run(scenario())


def test_a_reboot_closes_the_boxes_sessions_off_the_request_path(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            edge.stack.at = T0 + 100
            starts = [twin.account(record(1, session=b"%04d" % i)) for i in range(50)]
            assert len(await edge.answers(twin, *starts)) == 50
            on = number(40, AcctStatus.ACCOUNTING_ON) + attribute(Attr.NAS_IDENTIFIER, b"bras1")
            assert len(await edge.answers(twin, twin.account(on + number(55, int(T0) + 90)))) == 1
            assert edge.stack.sessions.rebooting
            while edge.stack.sessions.rebooting:
                edge.stack.sessions.close_some(7)
            assert {session.terminate_cause for session in edge.stack.sessions} == {"nas-reboot"}

    asyncio.run(scenario())


def test_the_class_token_names_the_subscriber_even_under_another_name(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            accept = twin.ask(twin.login("alice", "wonderland"))
            assert accept is not None
            token = attribute(Attr.CLASS, accept.find(Attr.CLASS) or b"")
            await edge.answers(twin, twin.account(record(1, user=b"anonymous", extra=token)))
            (session,) = edge.stack.sessions
            assert (session.username, session.subscriber) == ("anonymous", "ALICE")

    asyncio.run(scenario())


def test_sessions_come_back_after_a_restart_from_rows_and_journal_together(store: Store) -> None:
    async def scenario() -> None:
        at = time.time()
        async with store.running():
            edge = Running(store)
            edge.stack.at = at
            twin = edge.stack.nas()
            shift = int(at - T0)
            first = [twin.account(record(1, session=b"%04d" % i, after_s=shift)) for i in range(20)]
            await edge.answers(twin, *first)
            await edge.keeper.flush()
            later = [twin.account(record(1, session=b"%04d" % i, after_s=shift)) for i in range(20, 30)]
            later.append(twin.account(record(2, session=b"0003", after_s=shift)))
            await edge.answers(twin, *later)  # never flushed: a crash
            before = {s.acct_session_id: (s.uid, s.state, s.started_at) for s in edge.stack.sessions}

            again = Running(store)
            again.stack.clients.turn()
            again.journal.last_seq = await read_last_seq(store.engine)
            assert await again.keeper.restore(again.stack.clients, lambda _numbered: None) == 11
            after = {s.acct_session_id: (s.uid, s.state, s.started_at) for s in again.stack.sessions}
            assert after == before
            assert len(again.stack.sessions) == 30

    asyncio.run(scenario())


def test_a_packet_later_than_memory_finds_its_session_in_the_store(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            edge.stack.at = T0 + 700
            await edge.answers(twin, twin.account(record(1)), twin.account(record(2, after_s=600, upload=9)))
            await edge.keeper.flush()
            assert edge.stack.sessions.forget(T0 + 50_000, 10) == 1
            edge.stack.at = T0 + 60_000
            await edge.answers(twin, twin.account(record(3, after_s=300, upload=5)))
            assert len(edge.stack.sessions) == 0
            await edge.keeper._work_off_late()
            (session,) = edge.stack.sessions
            assert session.state is State.CLOSED
            assert session.counters.totals.upload_octets == 9

    asyncio.run(scenario())


def test_a_record_without_a_session_id_is_kept_and_acknowledged(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            assert len(await edge.answers(twin, twin.account(number(40, 1) + attribute(1, b"alice")))) == 1
            assert edge.stack.reasons() == {"no-session-id": 1}
            assert len(edge.stack.sessions) == 0

    asyncio.run(scenario())


def test_an_unknown_status_type_is_dropped(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            assert await edge.answers(twin, twin.account(number(40, 99))) == []
            assert edge.stack.reasons() == {"bad-status-type": 1}

    asyncio.run(scenario())
