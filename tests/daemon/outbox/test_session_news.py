"""What is told of sessions and allowances: once each, with the rows that make it so."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.aaa.session import Closed
from daemon.errors import StoreUnavailable
from daemon.replica.records import Plan
from daemon.replica.rules import Allowance, Rules, Window
from daemon.store import outbox_pages, session_rows, usage_rows
from daemon.store.session_rows import APPLIED_SEQ, read_mark
from radius.codes import Attr
from radius.packet import attribute
from tests.daemon.outbox.conftest import PlacedStore
from tests.daemon.stack import T0, subscriber
from tests.daemon.test_accounting import Running, record, running
from tests.effort import effort
from tests.twins.clock import settle

START, STOP, INTERIM = 1, 2, 3


async def told(edge: Running, stream: str = "sessions") -> list[tuple[str, dict[str, Any]]]:
    rows = await outbox_pages.read(edge.store.engine, stream, 0, 10_000)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    return [(row.type, json.loads(row.body)) for row in rows]


async def names(edge: Running) -> list[str]:
    return [name.removeprefix("session.") for name, _ in await told(edge)]


def ip(text: str) -> bytes:
    return attribute(Attr.FRAMED_IP_ADDRESS, bytes(map(int, text.split("."))))


async def hear(edge: Running, *records: bytes) -> None:
    twin = edge.stack.nas()
    for each in records:
        await edge.answers(twin, twin.account(each))
        await edge.keeper._work_off_late()


def test_a_session_is_told_once_when_it_starts_changes_and_ends(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            edge.stack.at = T0 + 1000
            await hear(edge, record(START))
            await edge.keeper.flush()
            await hear(edge, record(INTERIM, after_s=60, upload=10, extra=ip("10.0.0.1")))
            await edge.keeper.flush()
            for minute in range(2, 6):
                await hear(
                    edge, record(INTERIM, after_s=60 * minute, upload=minute << 33, extra=ip("10.0.0.1"))
                )
                await edge.keeper.flush()
            await hear(edge, record(STOP, after_s=400, upload=5 << 33, extra=ip("10.0.0.1")))
            await edge.keeper.flush()
            await edge.keeper.flush()
            found = await told(edge)
            assert [name for name, _ in found] == ["session.started", "session.updated", "session.ended"]
            assert found[1][1]["changed"] == ["framed_ip_address"]
            end = found[2][1]
            assert end["octets_from_subscriber"] == 5 << 33
            assert (end["ended_by"], end["session_time_s"], end["nas"]) == ("stop", 400, "lab")
            assert (end["framed_ip_address"], end["subscriber_id"]) == ("10.0.0.1", "ALICE")

    asyncio.run(scenario())


def test_a_conclusion_that_was_wrong_is_told_as_reopened_and_a_late_stop_as_a_correction(
    store: PlacedStore,
) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            edge.stack.at = T0 + 5000
            await hear(edge, record(START), record(INTERIM, after_s=60, upload=10))
            await edge.keeper.flush()
            (session,) = edge.stack.sessions
            edge.stack.sessions.suspect(session, T0 + 900)
            await edge.keeper.flush()
            edge.stack.sessions.conclude(session, Closed.GHOST, "ghost")
            await edge.keeper.flush()
            await hear(edge, record(INTERIM, after_s=1200, upload=30))
            await edge.keeper.flush()
            edge.stack.sessions.conclude(session, Closed.GHOST, "ghost")
            await edge.keeper.flush()
            await hear(edge, record(STOP, after_s=1300, upload=50))
            await edge.keeper.flush()
            assert await names(edge) == ["started", "suspect", "ended", "reopened", "ended", "ended"]
            last = (await told(edge))[-1][1]
            assert (last["corrects"], last["octets_from_subscriber"], last["ended_by"]) == (True, 50, "stop")

    asyncio.run(scenario())


def test_a_restart_tells_nothing_again_and_everything_that_was_not_told(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            edge.stack.at = T0 + 900
            await hear(edge, record(START), record(START, session=b"0002"))
            await edge.keeper.flush()
            await hear(edge, record(INTERIM, after_s=60, upload=10, extra=ip("10.0.0.9")))
            again = Running(store)  # what was not flushed is only in the journal
            again.stack.at = T0 + 900
            assert await again.keeper.restore(again.stack.clients, lambda _: None) == 1
            await again.keeper.flush()
            third = Running(store)
            third.stack.at = T0 + 900
            await third.keeper.restore(third.stack.clients, lambda _: None)
            third.stack.sessions.dirty.update(third.stack.sessions)
            await third.keeper.flush()
            found = await told(third)
            assert sorted(name for name, _ in found) == [
                "session.started",
                "session.started",
                "session.updated",
            ]

    asyncio.run(scenario())


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_a_slice_that_fails_and_is_tried_again_tells_once(store: PlacedStore, fails: int) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            edge.stack.at = T0 + 900
            await hear(edge, record(START), record(START, session=b"0002"))
            commit, left = store.writer.commit, fails

            async def failing(execute: Callable[[AsyncConnection], Awaitable[None]]) -> None:
                nonlocal left
                left -= 1
                if left >= 0:
                    raise StoreUnavailable("disk full")
                await commit(execute)

            store.writer.commit = failing  # type: ignore[method-assign]
            for _ in range(fails):
                with pytest.raises(StoreUnavailable):
                    await edge.keeper.flush()
                await hear(edge, record(INTERIM, after_s=60 * (fails - left), upload=10))
            await edge.keeper.flush()
            await edge.keeper.flush()
            assert sorted(await names(edge)) == ["started", "started"]

    asyncio.run(scenario())


def test_two_flushes_at_once_tell_once(store: PlacedStore) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            edge.stack.at = T0 + 900
            await hear(edge, record(START))
            gate, commit = asyncio.Event(), store.writer.commit

            async def slow(execute: Callable[[AsyncConnection], Awaitable[None]]) -> None:
                await gate.wait()
                await commit(execute)

            store.writer.commit = slow  # type: ignore[method-assign]
            flushes = [asyncio.ensure_future(edge.keeper.flush())]
            await settle()
            await hear(edge, record(INTERIM, after_s=60, upload=10))
            flushes.append(asyncio.ensure_future(edge.keeper.flush()))
            await settle()
            gate.set()
            await asyncio.gather(*flushes)
            assert await names(edge) == ["started"]

    asyncio.run(scenario())


@settings(
    max_examples=effort(8, 40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 1 << 30))
def test_whatever_fails_the_events_tell_the_life_that_the_rows_have(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Random reports, conclusions, failing slices and restarts; each kind only follows where it may."""
    dice = random.Random(seed)
    may = {
        "": {"started"},
        "live": {"updated", "suspect", "ended"},
        "ended": {"ended", "reopened"},
    }

    async def scenario() -> None:
        store = PlacedStore(tmp_path_factory.mktemp("lives") / "edge.db")
        async with running(store) as edge:
            here = edge
            for step in range(25):
                here.stack.at = T0 + 60 * step + 30
                session = b"%04d" % dice.randrange(3)
                status = dice.choice((START, INTERIM, INTERIM, INTERIM, STOP))
                extra = ip(f"10.0.0.{dice.randrange(3)}")
                await hear(here, record(status, session=session, after_s=60 * step, upload=step, extra=extra))
                deed = dice.random()
                if deed < 0.1:
                    for each in here.stack.sessions.snapshot():
                        here.stack.sessions.conclude(each, Closed.GHOST, "ghost")
                elif deed < 0.5:
                    await here.keeper.flush()
                elif deed < 0.6:
                    at, here = here.stack.at, Running(store)
                    here.stack.at = at
                    here.journal.last_seq = edge.journal.last_seq
                    await here.keeper.restore(here.stack.clients, lambda _: None)
                edge = here
            await here.keeper.flush()
            at_end: dict[str, str] = {}
            for name, data in await told(here):
                kind, uid = name.removeprefix("session."), data["session_id"]
                state = at_end.get(uid, "")
                assert kind in may[state], (seed, uid, state, kind)
                at_end[uid] = "ended" if kind == "ended" else "live"
            rows = {
                str(row.uid): "live" if row.closed_at is None else "ended"
                for row in await session_rows.read_recent(store.engine, 0.0)
            }
            assert at_end == rows
            assert await read_mark(store.engine, APPLIED_SEQ) == here.journal.last_seq

    asyncio.run(scenario())


def metered() -> list[Any]:
    rules = Rules(allowances=(Allowance(name="daily", most=1_000, window=Window.DAY),))
    return [Plan(tenant="demo", id="metered", rules=rules), subscriber("mia", "x", plan="metered")]


def test_an_allowance_is_told_when_it_is_reached_and_when_a_new_window_restores_it(
    store: PlacedStore,
) -> None:
    async def scenario() -> None:
        async with running(store) as edge:
            for each in metered():
                edge.stack.index.put(each)
            edge.keeper._clock = edge.stack  # type: ignore[assignment]
            for minute, upload in ((1, 100), (2, 300), (3, 400), (4, 500)):
                edge.stack.at = T0 + 60 * minute
                await hear(edge, record(INTERIM, after_s=60 * minute, upload=upload, user=b"mia"))
                await edge.keeper.flush()
            found = await told(edge, "quota")
            assert [name for name, _ in found] == ["quota.allowance-reached"]
            assert found[0][1] | {"used": 0} == {
                "subscriber_id": "MIA",
                "allowance": "daily",
                "window": "day",
                "measure": "octets",
                "used": 0,
                "limit": 1_000,
            }
            again = Running(store)
            for each in metered():
                again.stack.index.put(each)
            again.stack.at = T0 + 300
            again.keeper._clock = again.stack  # type: ignore[assignment]
            await again.keeper.restore(again.stack.clients, lambda _: None)
            again.keeper.look_at_quota("demo", "MIA")
            await again.keeper.flush()
            assert len(await told(again, "quota")) == 1, "a restart tells nothing again"
            assert b'"told":["daily"]' in (await usage_rows.read_all(store.engine))[0].detail
            again.stack.at = T0 + 100_000
            again.keeper.look_at_quota("demo", "MIA")
            await again.keeper.flush()
            assert [name for name, _ in await told(again, "quota")][1:] == ["quota.allowance-restored"]
            again.keeper.look_at_quota("demo", "MIA")
            await again.keeper.flush()
            assert len(await told(again, "quota")) == 2

    asyncio.run(scenario())
