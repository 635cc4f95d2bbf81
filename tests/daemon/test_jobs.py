"""Jobs outlive a restart, and no packet is sent before its job is on disk."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.aaa.coa.job import Intent, JobState, Kind, Outcome, read_intent
from daemon.store import jobs
from daemon.store.jobs import JobRow, Search
from radius.packet import attribute
from tests.daemon.coa_stack import CHANGE, DISCONNECT, FAST, CoaStack
from tests.daemon.conftest import Store
from tests.twins.dae import DaeTwin, ack, silence, told


def row(number: int, finished_at: float | None = None, **more: object) -> JobRow:
    base = JobRow(number, "demo", "lab", f"S{number}", number, "waiting", 10.0, finished_at, b"{}")
    return base._replace(**more)  # type: ignore[arg-type]


async def save(store: Store, *rows: JobRow) -> None:
    async def execute(connection: AsyncConnection) -> None:
        await jobs.save(connection, rows)

    await store.writer.commit(execute)


def test_rows_are_rewritten_found_and_pruned(store: Store) -> None:
    async def scenario() -> None:
        async with store.running():
            await save(store, row(1), row(2), row(3))
            await save(store, row(2, 20.0, state="finished", detail=b'{"x":1}'), row(3, 30.0))
            assert await jobs.read_unfinished(store.engine) == [row(1)]
            assert await jobs.read_last_id(store.engine) == 3
            found = await jobs.search_finished(store.engine, Search(tenant="demo"))
            assert [each.id for each in found] == [3, 2]
            assert found[1].detail == b'{"x":1}'
            assert await jobs.search_finished(store.engine, Search(subscriber="S1")) == []
            gone: list[int] = []

            async def prune(connection: AsyncConnection) -> None:
                gone.append(await jobs.prune(connection, 100.0))

            await store.writer.commit(prune)
            assert gone == [1]
            assert await jobs.read_last_id(store.engine) == 3, "a number is never used twice"
            assert [each.id for each in await jobs.read_unfinished(store.engine)] == [1]

    asyncio.run(scenario())


def test_unfinished_jobs_are_taken_up_after_a_restart(tmp_path: Path) -> None:
    async def before() -> int:
        stack = CoaStack(Store(tmp_path / "edge.db"))
        async with stack.running():
            stack.nas(await DaeTwin(otherwise=silence).start())
            stack.engine.submit(stack.session(1), CHANGE)
            stack.engine.submit(stack.session(2), DISCONNECT)
            lost = stack.engine.submit(stack.session(3), DISCONNECT)
            raw = Intent(kind=Kind.CHANGE, attributes=attribute(11, b"x"), reason="relay", retries=False)
            stack.engine.submit(stack.session(4), raw)
            await stack.settle_until(lambda: lost.state is JobState.WAITING)
            return lost.id

    async def after(lost: int) -> None:
        store = Store(tmp_path / "edge.db")
        stack = CoaStack(store)
        changed, ended, raw = stack.session(1), stack.session(2), stack.session(4)
        assert (raw.uid, stack._seq) == (3, 3)
        stack.sessions._by_uid[4] = stack.sessions._by_uid.pop(3)  # as its row would say
        raw.uid = 4
        async with stack.running():
            twin = await DaeTwin(told(lambda _: stack.stop(ended))).start()
            twin.otherwise = told(lambda request: stack.stop(ended) if request.code == 40 else None)
            stack.nas(twin)
            assert [job.kind for job in stack.engine.jobs()] == ["change", "disconnect"]
            first, second = (stack.engine.find(uid) for uid in (1, 2))
            assert first is not None
            assert second is not None
            assert first.intent == CHANGE
            assert await stack.end(second) is Outcome.VERIFIED
            await stack.settle_until(lambda: first.state is JobState.VERIFYING)
            assert changed.applied == FAST
            assert not any(request.find(11) for request in twin.requests), "nobody waits for that any more"
            assert stack.engine.submit(changed, DISCONNECT).id > lost + 1
            await store.writer.drain()
            found = await jobs.search_finished(store.engine, Search(subscriber="S3"))
            assert [(each.id, json.loads(each.detail)["outcome"]) for each in found] == [(lost, "no-session")]
            assert read_intent(found[0]) == DISCONNECT
        assert stack.faults == []

    asyncio.run(after(asyncio.run(before())))


def test_a_row_that_cannot_be_read_keeps_nobody_from_starting(store: Store) -> None:
    async def scenario() -> None:
        stack = CoaStack(store)
        session = stack.session()
        async with store.running():
            await save(store, row(5, session_uid=session.uid, detail=b'{"kind":"from-the-future"}'))
        stack = CoaStack(store)
        stack.session()
        async with stack.running():
            assert stack.engine.jobs() == []
            await store.writer.drain()
            assert await jobs.read_unfinished(store.engine) == []

    asyncio.run(scenario())


def test_nothing_is_sent_while_the_job_cannot_be_stored(store: Store) -> None:
    async def scenario() -> None:
        stack = CoaStack(store)
        async with stack.running():
            twin = await DaeTwin().start()
            stack.nas(twin)
            async with store.engine.connect() as other:  # somebody holds the write lock beyond the timeout
                await (await other.execution_options(writes=True)).begin()
                job = stack.engine.submit(stack.session(), CHANGE)
                while not stack.engine._book.failing:
                    await asyncio.sleep(0.01)
                assert twin.datagrams == []
                await other.rollback()
            await stack.settle_until(lambda: job.state is JobState.VERIFYING)
            assert len(twin.datagrams) == 1
        assert stack.faults == []

    asyncio.run(scenario())


def test_many_jobs_are_stored_in_few_commits(store: Store) -> None:
    async def scenario() -> None:
        stack = CoaStack(store)
        async with stack.running():
            stack.nas(await DaeTwin(otherwise=ack).start())
            stack.storm = True
            for number in range(1, 1001):
                stack.engine.submit(stack.session(number), CHANGE)
            await store.writer.drain()
            assert len(await jobs.read_unfinished(store.engine)) == 1000
            assert len(store.commits) <= 12

    asyncio.run(scenario())
