"""Late packets whose sessions are only in the store, and what cannot be folded in."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import update

from daemon.aaa.session import Closed, State
from daemon.replica.records import Nas
from daemon.store.schema import SESSION
from daemon.store.session_rows import APPLIED_SEQ, read_mark
from radius.codes import Attr
from radius.packet import attribute
from tests.daemon.conftest import Store
from tests.daemon.stack import T0
from tests.daemon.test_accounting import Running, record, running
from tests.twins.clock import ClockTwin


async def forgotten(edge: Running, *sessions: bytes) -> None:
    """Let sessions come and go, so long ago that only the store knows them."""
    twin = edge.stack.nas()
    edge.stack.at = T0 + 700
    for session in sessions:
        await edge.answers(twin, twin.account(record(1, session=session)))
        await edge.answers(twin, twin.account(record(2, session=session, after_s=600, upload=9)))
    await edge.keeper.flush()
    assert edge.stack.sessions.forget(T0 + 50_000, 10) == len(sessions)
    edge.stack.at = T0 + 60_000


async def spoil(edge: Running, session: bytes) -> None:
    """Make the row of a session unreadable."""
    async with edge.store.engine.connect() as connection:
        connection = await connection.execution_options(writes=True)
        broken = update(SESSION).where(SESSION.c.acct_session_id == session).values(detail=b"{}")
        await connection.execute(broken)
        await connection.commit()


def test_a_late_packet_that_cannot_be_folded_in_is_counted_and_holds_up_nothing(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            await forgotten(edge, b"0001", b"0002")
            await spoil(edge, b"0001")
            twin = edge.stack.nas()
            late = [
                twin.account(record(3, session=name, after_s=300, upload=5)) for name in (b"0001", b"0002")
            ]
            assert len(await edge.answers(twin, *late)) == 2
            await edge.keeper._work_off_late()
            assert not edge.stack.accounting.late
            (fault,) = edge.stack.faults
            assert "KeyError" in fault
            (session,) = edge.stack.sessions
            assert (session.acct_session_id, session.state) == (b"0002", State.CLOSED)

    asyncio.run(scenario())


def test_a_late_packet_of_a_session_nobody_knew_ties_it_to_its_login_and_its_source(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            accept = twin.ask(twin.login("alice", "wonderland"))
            assert accept is not None
            echoed = attribute(Attr.CLASS, accept.find(Attr.CLASS) or b"")
            lost = twin.account(record(3, after_s=300, upload=5, extra=echoed))  # its Start was lost
            unknown = twin.account(record(3, session=b"0002", after_s=300, upload=5))
            assert len(await edge.answers(twin, lost, unknown)) == 2
            await edge.keeper._work_off_late()
            first, second = edge.stack.sessions
            assert first.applied is not None
            assert first.applied.rate is not None
            assert first.source == second.source == bytes((127, 0, 0, 1))
            assert (second.applied, edge.stack.accounting.unpermitted) == (None, {("demo", "ALICE")})

    asyncio.run(scenario())


def test_a_nas_whose_object_cannot_be_read_is_not_taken_for_one_that_is_gone(store: Store) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            twin = edge.stack.nas()
            edge.keeper._clock = clock = ClockTwin(T0)
            await edge.answers(twin, twin.account(record(1)), twin.account(record(1, session=b"0002")))
            edge.stack.index.remove(Nas, "demo", "lab")
            unreadable: list[set[tuple[str, str, str]]] = [
                {("demo", "nas", "lab")},
                {("demo", "tenant", "demo")},
                set(),
            ]
            for keys in unreadable:
                edge.stack.index.unreadable = keys
                await edge.keeper.close_of_removed()
                await clock.advance(1799)
                await edge.keeper.close_of_removed()
                assert {session.closed_by for session in edge.stack.sessions} == {Closed.NOT}
                await clock.advance(2)
            await edge.keeper.close_of_removed()
            assert {session.closed_by for session in edge.stack.sessions} == {Closed.NAS_REMOVED}
            assert [kind for kind, _, _ in edge.stack.told] == ["session-ghost-closed"] * 2

    asyncio.run(scenario())


@pytest.mark.parametrize("waiting", [1, 3])
def test_the_mark_stays_below_the_first_late_packet_until_it_is_folded_in(store: Store, waiting: int) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            names = [b"%04d" % number for number in range(waiting)]
            await forgotten(edge, *names)
            before = await read_mark(store.engine, APPLIED_SEQ)
            assert before == 2 * waiting
            twin = edge.stack.nas()
            for name in names:
                await edge.answers(twin, twin.account(record(3, session=name, after_s=300, upload=5)))
            await edge.answers(twin, twin.account(record(1, session=b"new", after_s=60_000)))
            await edge.keeper.flush()
            assert await read_mark(store.engine, APPLIED_SEQ) == before
            await edge.keeper._work_off_late()
            await edge.keeper.flush()
            assert await read_mark(store.engine, APPLIED_SEQ) == 3 * waiting + 1

    asyncio.run(scenario())
