"""Late packets whose sessions are only in the store, and what cannot be folded in."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import update

from daemon.aaa.session import State
from daemon.store.schema import SESSION
from daemon.store.session_rows import APPLIED_SEQ, read_mark
from tests.daemon.conftest import Store
from tests.daemon.stack import T0
from tests.daemon.test_accounting import Running, record, running


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
