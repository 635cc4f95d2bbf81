"""Idempotency keys by themselves: one act for each key, whatever fails, and for a day."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fastapi import HTTPException, Request, Response
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.api.idempotency import KEPT_S, Idempotency, Once
from daemon.api.models import Model
from daemon.errors import StoreUnavailable
from daemon.store.idempotency_rows import IDEMPOTENCY
from tests.daemon.conftest import Store
from tests.twins.clock import ClockTwin


class Made(Model):
    """What an act answers."""

    number: int
    name: str


class Stage:
    """Keys on a store, and an act that counts how often it was done."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = ClockTwin()
        self.keys = Idempotency(store.engine, store.writer, self.clock)
        self.done = 0
        self.names: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.raises: Exception | None = None
        self.in_transaction = False

    async def act(self, once: Once) -> Made:
        self.names.append(once.name)
        await self.gate.wait()
        if self.raises is not None:
            raise self.raises
        self.done += 1
        made = Made(number=self.done, name=once.name)
        if self.in_transaction:
            await self.store.writer.commit(lambda each: once.keep(each, made))
        return made

    async def ask(self, key: str = "key-0001", body: bytes = b'{"a": 1}', path: str = "/things") -> Response:
        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": body, "more_body": False}

        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
        return await self.keys.once(Request(scope, receive), key, "thing", self.act)


def run(store: Store, story: Callable[[Stage], Awaitable[None]]) -> None:
    async def create(connection: AsyncConnection) -> None:
        def table(sync: Connection) -> None:
            IDEMPOTENCY.create(sync, checkfirst=True)

        await connection.run_sync(table)

    async def everything() -> None:
        async with store.running():
            await store.writer.commit(create)
            await story(Stage(store))

    asyncio.run(everything())


async def refused(asked: Awaitable[Response]) -> HTTPException:
    with pytest.raises(HTTPException) as caught:
        await asked
    return caught.value


def test_an_act_is_done_once_for_each_key(store: Store) -> None:
    async def story(stage: Stage) -> None:
        first, again, other = [await stage.ask(key) for key in ("key-0001", "key-0001", "key-0002")]
        assert first.body == again.body != other.body
        assert stage.done == 2

    run(store, story)


@pytest.mark.parametrize(
    ("body", "path"), [(b'{"a": 2}', "/things"), (b'{"a": 1}', "/others"), (b"", "/things")]
)
def test_a_key_of_another_request_is_refused(store: Store, body: bytes, path: str) -> None:
    async def story(stage: Stage) -> None:
        await stage.ask()
        assert (await refused(stage.ask(body=body, path=path))).status_code == 422
        assert stage.done == 1

    run(store, story)


def test_a_key_is_refused_for_another_request_while_the_first_is_under_way(store: Store) -> None:
    async def story(stage: Stage) -> None:
        stage.gate.clear()
        first = asyncio.create_task(stage.ask())
        await asyncio.sleep(0.02)
        assert (await refused(stage.ask(body=b"{}"))).status_code == 422
        stage.gate.set()
        assert (await first).status_code == 200

    run(store, story)


def test_who_repeats_while_the_first_is_under_way_waits_for_its_answer(store: Store) -> None:
    async def story(stage: Stage) -> None:
        stage.gate.clear()
        tasks = [asyncio.create_task(stage.ask()) for _ in range(5)]
        await asyncio.sleep(0.02)
        assert not any(each.done() for each in tasks)
        stage.gate.set()
        assert len({bytes((await each).body) for each in tasks}) == 1
        assert stage.done == 1

    run(store, story)


def test_a_failure_of_ours_is_no_answer_and_the_repeat_has_the_same_name(store: Store) -> None:
    async def story(stage: Stage) -> None:
        stage.raises = StoreUnavailable("disk full")
        with pytest.raises(StoreUnavailable):
            await stage.ask()
        stage.raises = HTTPException(503, "later")
        assert (await refused(stage.ask())).status_code == 503
        stage.raises = None
        assert (await stage.ask()).status_code == 200
        assert len(set(stage.names)) == 1
        assert len(stage.names) == 3

    run(store, story)


def test_a_waiting_repeat_tries_itself_where_the_first_fails(store: Store) -> None:
    async def story(stage: Stage) -> None:
        stage.gate.clear()
        stage.raises = StoreUnavailable("disk full")
        first, second = asyncio.create_task(stage.ask()), asyncio.create_task(stage.ask())
        await asyncio.sleep(0.02)
        stage.gate.set()
        with pytest.raises(StoreUnavailable):
            await first
        stage.raises = None
        done = await asyncio.gather(second, return_exceptions=True)
        assert isinstance(done[0], Response | StoreUnavailable)
        assert len(set(stage.names)) == 1

    run(store, story)


def test_an_asker_who_goes_away_leaves_the_key_free(store: Store) -> None:
    async def story(stage: Stage) -> None:
        stage.gate.clear()
        first = asyncio.create_task(stage.ask())
        await asyncio.sleep(0.02)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        stage.gate.set()
        assert (await stage.ask()).status_code == 200
        assert len(set(stage.names)) == 1

    run(store, story)


def test_a_refusal_is_an_answer(store: Store) -> None:
    async def story(stage: Stage) -> None:
        stage.raises = HTTPException(409, "nothing is free")
        await refused(stage.ask())
        stage.raises = None
        again = await refused(stage.ask())
        assert (again.status_code, again.detail) == (409, "nothing is free")
        assert len(stage.names) == 1

    run(store, story)


def test_the_answer_can_be_stored_in_the_transaction_of_the_fact(store: Store) -> None:
    async def story(stage: Stage) -> None:
        stage.in_transaction = True
        first = await stage.ask()
        commits = len(store.commits)
        again = await stage.ask()
        assert again.body == first.body
        assert stage.done == 1
        assert len(store.commits) == commits, "a repeat writes nothing"
        assert commits == 3, "the table, the key, fact and answer together, and nothing after that"

    run(store, story)


def test_a_key_is_forgotten_after_a_day(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await stage.ask()
        await stage.clock.advance(KEPT_S - 1)
        await stage.ask()
        assert stage.done == 1
        await stage.clock.advance(2)
        await stage.ask(body=b"{}")
        assert stage.done == 2
        assert len(set(stage.names)) == 2, "what was made under it a day ago is not found again"

    run(store, story)
