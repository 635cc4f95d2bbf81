"""Streams by cursor, long-poll and server-sent events, through a real server; the commands on the admin socket."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.api import outbox as outbox_api
from daemon.store.outbox_rows import OUTBOX
from daemon.sync.outbox.model import Acked, Delivery, Later, Receipt, Stream
from tests.daemon.sinks.counter import Counter, counter, following
from tests.daemon.sinks.stage import Edge, until

SESSIONS = "/outbox/sessions/events"


class SinkTwin:
    """A sink that takes everything, or nothing."""

    name = "twin"
    streams = frozenset({Stream.SESSIONS})
    portions = 1

    def __init__(self) -> None:
        self.failing = ""
        self.taken: list[int] = []

    async def deliver(self, delivery: Delivery) -> Receipt:
        if self.failing:
            return Later(self.failing)
        self.taken += range(delivery.first, delivery.last + 1)
        return Acked(delivery.last)


async def prune(edge: Edge, upto: int) -> None:
    async def gone(connection: AsyncConnection) -> None:
        await connection.execute(delete(OUTBOX).where(OUTBOX.c.stream == "sessions", OUTBOX.c.seq <= upto))

    await edge.store.writer.commit(gone)


async def noticed(edge: Edge, seq: int) -> None:
    async def seen() -> bool:
        return edge.outbox.head(Stream.SESSIONS) >= seq

    await until(seen, 5.0)


def users(page: Any) -> list[str]:
    return [each["data"]["username"] for each in page["items"]]


def test_a_stream_is_read_by_cursor_to_its_end(tmp_path: Path) -> None:
    async def scene() -> None:
        async with counter(tmp_path) as open_:
            names = [f"u{i:03d}" for i in range(450)]
            await open_.edge.happen(*names)
            await noticed(open_.edge, 450)
            found: list[str] = []
            params: dict[str, Any] = {"limit": 200}
            more = True
            while more:
                page = (await open_.get(SESSIONS, **params)).json()
                found += users(page)
                more, params["cursor"] = page["more"], page["next_cursor"]
            assert found == names
            end = (await open_.get(SESSIONS, **params)).json()
            assert (end["items"], end["next_cursor"], end["last_seq"]) == ([], params["cursor"], 450)
            same = (await open_.get("/events", stream="sessions", limit=3)).json()
            assert users(same) == names[:3]
            assert {each["source"] for each in same["items"]} == {"pop7"}
            assert users((await open_.get(SESSIONS, last=2)).json()) == names[-2:]
            assert users((await open_.get(SESSIONS, from_seq=449)).json()) == names[-2:]
            assert users((await open_.get(SESSIONS, type="session.ended")).json()) == []

    asyncio.run(scene())


def test_a_long_poll_returns_with_the_first_event(tmp_path: Path) -> None:
    async def scene() -> None:
        async with counter(tmp_path) as open_:
            start = (await open_.get(SESSIONS)).json()["next_cursor"]
            waiting = asyncio.create_task(open_.get(SESSIONS, cursor=start, wait=20))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            began = time.monotonic()
            await open_.edge.happen("alice")
            assert users((await waiting).json()) == ["alice"]
            assert time.monotonic() - began < 2.0
            empty = (await open_.get(SESSIONS, cursor=(await waiting).json()["next_cursor"], wait=0.3)).json()
            assert (empty["items"], empty["more"]) == ([], False)

    asyncio.run(scene())


def test_who_has_gone_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    polls: list[asyncio.Task[Any]] = []
    poll = outbox_api._Following._poll

    async def watched(*args: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        polls.append(task)
        return await poll(*args)

    monkeypatch.setattr(outbox_api._Following, "_poll", watched)

    async def scene() -> None:
        async with counter(tmp_path) as open_:
            with pytest.raises(httpx.ReadTimeout):
                async with open_.client() as client:
                    await client.get(SESSIONS, params={"wait": 60}, timeout=0.3)

            async def ended() -> bool:
                return bool(polls) and polls[0].done()

            await until(ended, 5.0)

    asyncio.run(scene())


def test_events_are_followed_and_resumed_by_their_id(tmp_path: Path) -> None:
    async def scene() -> None:
        async with counter(tmp_path) as open_, open_.client() as client:
            await open_.edge.happen("a", "b", "c")
            await noticed(open_.edge, 3)
            async with following(client, SESSIONS) as follower:
                assert [(await follower.event())["seq"] for _ in range(2)] == [1, 2]
                last = follower.last_id
            await open_.edge.happen("d")
            async with following(client, f"{SESSIONS}?cursor=none-of-ours", last) as follower:
                assert [(await follower.event())["seq"] for _ in range(2)] == [3, 4]
                await open_.edge.happen("e")
                assert (await follower.event())["data"] == {"username": "e"}

    asyncio.run(scene())


def test_a_follower_that_has_gone_costs_nothing_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_api, "MOST_FOLLOWERS", 1)
    monkeypatch.setattr(outbox_api, "KEEP_ALIVE_S", 0.2)

    async def scene() -> None:
        async with counter(tmp_path) as open_, open_.client() as client, open_.client() as other:
            await open_.edge.happen("a")
            await noticed(open_.edge, 1)
            async with following(client, SESSIONS) as follower:
                await follower.event()
                second = await other.get(SESSIONS, headers={"Accept": "text/event-stream"})
                assert (second.status_code, second.headers["retry-after"]) == (503, "30")

            async def free() -> bool:
                async with other.stream("GET", SESSIONS, headers={"Accept": "text/event-stream"}) as response:
                    return response.status_code == 200

            await until(free, 5.0)

    asyncio.run(scene())


def test_a_follower_that_reads_slowly_is_not_buffered_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with counter(tmp_path) as open_:
            host, port = open_.url.removeprefix("http://").removesuffix("/api/v1").split(":")
            reads = 0
            log = open_.edge.outbox.logs[Stream.SESSIONS]
            read = type(log).read

            async def counted(self: Any, after: int, limit: int) -> Any:
                nonlocal reads
                reads += 1
                return await read(self, after, limit)

            await open_.edge.happen(*(f"{i}-{'x' * 2000}" for i in range(5000)))
            await noticed(open_.edge, 5000)
            type(log).read = counted  # type: ignore[assignment,method-assign]
            try:
                reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
                head = f"GET /api/v1{SESSIONS} HTTP/1.1\r\nHost: x\r\nX-Api-Key: all\r\n"
                writer.write(f"{head}Accept: text/event-stream\r\n\r\n".encode())
                await asyncio.sleep(2.0)
                assert 0 < reads < 40, "of the 51 that it takes"
                writer.close()
                await writer.wait_closed()
                del reader
            finally:
                type(log).read = read  # type: ignore[method-assign]

    asyncio.run(scene())


def test_a_tenant_sees_its_own_events_and_its_cursor_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_api, "KEEP_ALIVE_S", 0.2)

    async def scene() -> None:
        async with counter(tmp_path) as open_:
            for tenant in ("demo", "rival", "demo", "rival"):
                await open_.edge.happen(f"of-{tenant}", tenant=tenant)
            await open_.edge.happen(*["foreign"] * 600, tenant="rival")
            await noticed(open_.edge, 604)
            page = (await open_.get(SESSIONS, "demo")).json()
            assert users(page) == ["of-demo"] * 2
            assert "of-rival" in users((await open_.get(SESSIONS)).json())
            again = (await open_.get(SESSIONS, "all", cursor=page["next_cursor"])).json()
            assert again["items"] == [], "the cursor has gone over what was not shown"
            assert set(users((await open_.get(SESSIONS, tenant="demo")).json())) == {"of-demo"}
            for asked in ("rival", "nobody"):
                assert (await open_.get(SESSIONS, "demo", tenant=asked)).status_code == 404
            async with open_.client("demo") as client, following(client, SESSIONS) as follower:
                assert [(await follower.event())["tenant_id"] for _ in range(2)] == ["demo"] * 2
                kept_alive = await follower.block()
                assert list(kept_alive) == ["id"]
                await open_.edge.happen("new", tenant="rival")
                assert list(await follower.block()) == ["id"], "no word of it"
                await open_.edge.happen("mine")
                assert (await follower.event())["data"] == {"username": "mine"}

    asyncio.run(scene())


def test_each_route_asks_for_its_scope(tmp_path: Path) -> None:
    async def scene() -> None:
        async with counter(tmp_path, SinkTwin()) as open_:
            assert (await open_.get(SESSIONS, "nobody")).status_code == 401
            assert (await open_.get(SESSIONS, "blind")).status_code == 403
            assert (await open_.get("/events", "blind", stream="sessions")).status_code == 403
            assert (await open_.get("/outbox/audit/events", "demo")).status_code == 403
            assert (await open_.get("/outbox/audit/events", "all")).status_code == 200
            assert (await open_.get("/outbox", "demo")).status_code == 403, "it is about the whole edge"
            for key in ("demo", "rival"):
                async with open_.client(key) as client:
                    refused = await client.post("/outbox/twin/sessions/replay", json={"from_seq": 1})
                    assert refused.status_code == 403

    asyncio.run(scene())


@pytest.mark.parametrize(
    "params",
    [
        {"cursor": "x"},
        {"cursor": "é"},
        {"cursor": "!" * 200},
        {"last": 3, "from_seq": 1},
        {"from_seq": 0},
        {"limit": 0},
        {"limit": 1001},
        {"wait": 61},
        {"wait": "nan"},
    ],
)
def test_what_cannot_be_asked_is_told(tmp_path: Path, params: dict[str, Any]) -> None:
    async def scene() -> None:
        async with counter(tmp_path) as open_:
            assert (await open_.get(SESSIONS, **params)).status_code == 422
            assert (await open_.get("/outbox/gossip/events")).status_code == 422

    asyncio.run(scene())


def test_a_cursor_before_what_is_kept_is_gone_and_the_answer_says_where_to_go_on(tmp_path: Path) -> None:
    async def scene() -> None:
        async with counter(tmp_path) as open_, open_.client() as client:
            await open_.edge.happen("a", "b", "c", "d")
            await noticed(open_.edge, 4)
            old = (await open_.get(SESSIONS, limit=1)).json()["next_cursor"]
            end = (await open_.get(SESSIONS)).json()["next_cursor"]
            await prune(open_.edge, 2)
            gone = await open_.get(SESSIONS, cursor=old)
            assert gone.status_code == 410
            assert gone.json()["code"] == "gone"
            assert "3 to 4 are kept" in gone.json()["message"]
            where = gone.json()["details"][0]
            assert users((await open_.get(SESSIONS, cursor=where["oldest_cursor"])).json()) == ["c", "d"]
            assert users((await open_.get(SESSIONS, cursor=where["latest_cursor"])).json()) == []
            assert users((await open_.get(SESSIONS)).json()) == ["c", "d"], "without one, all that is kept"
            headers = {"Accept": "text/event-stream", "Last-Event-ID": old}
            assert (await client.get(SESSIONS, headers=headers)).status_code == 410
            await prune(open_.edge, 4)
            assert (await open_.get(SESSIONS, cursor=where["oldest_cursor"])).status_code == 410
            assert (await open_.get(SESSIONS, cursor=end)).status_code == 200
            assert (await open_.get(SESSIONS, from_seq=99)).status_code == 410

    asyncio.run(scene())


def test_a_cursor_of_another_numbering_is_gone(tmp_path: Path) -> None:
    async def scene() -> None:
        (tmp_path / "other").mkdir()
        async with counter(tmp_path / "other") as other:
            await other.edge.happen("a")
            await noticed(other.edge, 1)
            foreign = (await other.get(SESSIONS)).json()["next_cursor"]
        async with counter(tmp_path) as open_:
            await open_.edge.happen("a")
            await noticed(open_.edge, 1)
            assert (await open_.get(SESSIONS, cursor=foreign)).status_code == 410

    asyncio.run(scene())


def test_the_status_tells_how_far_each_sink_is(tmp_path: Path) -> None:
    async def scene() -> None:
        sink = SinkTwin()
        async with counter(tmp_path, sink) as open_:
            await open_.edge.happen("a", "b")
            await open_.edge.delivered()
            sink.failing = "closed for today"
            await open_.edge.happen("c")

            async def failed() -> bool:
                return bool(open_.edge.outbox.backlog()[0].failing)

            await until(failed, 5.0)
            page = (await open_.get("/outbox")).json()
            assert page["count"] == len(page["items"]) == len(open_.edge.outbox.logs)
            (view,) = [each for each in page["items"] if each["stream"] == "sessions"]
            (far,) = view["sinks"]
            assert (view["last_seq"], far["acked_seq"], far["backlog"]) == (3, 2, 1)
            assert (far["sink"], far["failing"]) == ("twin", "closed for today")
            assert far["oldest_at"] == 1.8e9
            shown = await open_.command("status")
            assert shown.exit_code == 7, shown.output
            (line,) = [each for each in shown.output.splitlines() if "sessions" in each]
            assert "twin" in line
            assert max(map(len, shown.output.splitlines())) <= 100

    asyncio.run(scene())


def test_a_replay_delivers_again_from_a_number_or_a_time(tmp_path: Path) -> None:
    async def scene() -> None:
        sink = SinkTwin()
        async with counter(tmp_path, sink) as open_, open_.client() as client:
            await open_.edge.happen(*"abcdefgh")
            await open_.edge.delivered()
            path = "/outbox/twin/sessions/replay"
            done = await client.post(path, json={"from_seq": 6})
            assert done.json() == {"sink": "twin", "stream": "sessions", "from_seq": 6}
            await until(lambda: replayed(sink, [6, 7, 8]), 5.0)
            done = await client.post(path, json={"since": 1.8e9 + 3})
            assert done.json()["from_seq"] == 4, done.text
            await until(lambda: replayed(sink, [6, 7, 8, 4, 5, 6, 7, 8]), 5.0)
            answers = [
                ({"from_seq": 10}, 409),
                ({"since": 1.9e9}, 409),
                ({}, 422),
                ({"from_seq": 1, "since": 1.0}, 422),
                ({"from_seq": 0}, 422),
            ]
            for body, status in answers:
                assert (await client.post(path, json=body)).status_code == status, body
            assert (
                await client.post("/outbox/nobody/sessions/replay", json={"from_seq": 1})
            ).status_code == 404
            assert (await client.post("/outbox/twin/leases/replay", json={"from_seq": 1})).status_code == 404
            again = await open_.command("replay", "twin", "sessions", "--from", "8")
            assert (again.exit_code, again.output) == (0, "twin gets sessions again from 8 on.\n")
            for words, code in (
                (["replay", "twin", "sessions"], 2),
                (["replay", "twin", "sessions", "--from", "1", "--since", "1h"], 2),
                (["replay", "nobody", "sessions", "--from", "1"], 4),
            ):
                assert (await open_.command(*words)).exit_code == code, words

    async def replayed(sink: SinkTwin, wanted: list[int]) -> bool:
        return sink.taken[8:] == wanted

    asyncio.run(scene())


def test_a_tail_shows_the_newest_and_goes_on(tmp_path: Path) -> None:
    async def scene() -> None:
        async with counter(tmp_path) as open_:
            names = [f"user{i}" for i in range(30)]
            await open_.edge.happen(*names)
            await noticed(open_.edge, 30)
            shown = await open_.command("tail", "sessions")
            lines = shown.output.splitlines()
            assert shown.exit_code == 0, shown.output
            assert len(lines) == 21
            assert "user29" in lines[-1]
            assert max(map(len, lines)) <= 100
            page = json.loads(
                (await open_.command("tail", "sessions", "--from", "29", "--output", "json")).output
            )
            assert users(page) == names[-2:]
            assert (await open_.command("tail", "sessions", "--type", "none.such")).output == "None.\n"
            assert (await open_.command("tail", "gossip")).exit_code == 2

    asyncio.run(scene())


def test_following_prints_one_envelope_a_line(tmp_path: Path) -> None:
    async def scene(open_: Counter) -> None:
        import sys

        await open_.edge.happen("before")
        await noticed(open_.edge, 1)
        await open_.command("status")  # writes the settings
        code = (
            f"import click; from daemon.cli.outbox import group; group(obj={str(tmp_path / 'edge.toml')!r})"
        )
        words = [sys.executable, "-c", code, "tail", "sessions", "--follow", "--output", "json"]
        process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            first = json.loads(await asyncio.wait_for(process.stdout.readline(), 20.0))
            assert first["data"] == {"username": "before"}
            await open_.edge.happen("after")
            second = json.loads(await asyncio.wait_for(process.stdout.readline(), 20.0))
            assert (second["data"], second["seq"]) == ({"username": "after"}, 2)
        finally:
            process.terminate()
            await process.communicate()

    async def run() -> None:
        async with counter(tmp_path) as open_:
            await scene(open_)

    asyncio.run(run())
