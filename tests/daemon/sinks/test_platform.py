"""Events reach the reference receiver exactly once, whatever breaks in between."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from daemon.sync.outbox.model import Acked, Delivery, Diverged, Event, Expected, Later, Stream
from tests.daemon.sinks.stage import EDGE, KEY, TOKEN, Edge, Link, Receiver, copy_database, event, platform
from tests.ipam.postgres import bin_dir, postgresql

POSTGRES = bin_dir()
ANSWERS = (403, 500, 302, 200, 409)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of the receiver."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/events.db"
        return
    if POSTGRES is None:
        pytest.skip("no PostgreSQL server is installed")
    with postgresql(POSTGRES) as url:
        yield url


@asynccontextmanager
async def started(receiver: Receiver) -> AsyncIterator[Receiver]:
    await receiver.start()
    try:
        yield receiver
    finally:
        receiver.kill()


async def rows(database: str, sql: str) -> list[tuple[Any, ...]]:
    """Return what the receiver has stored."""
    engine = create_async_engine(database)
    try:
        async with engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(sql))]
    finally:
        await engine.dispose()


async def names(database: str, incarnation: str = "%") -> list[str]:
    """Return the user names of the stored events of incarnations, in order."""
    found = await rows(
        database, f"SELECT body FROM event WHERE incarnation LIKE '{incarnation}' ORDER BY incarnation, seq"
    )
    return [json.loads(body)["data"]["username"] for (body,) in found]


def delivery(
    first: int, count: int, *, before: bytes = bytes(32), incarnation: str = "one", **more: Any
) -> Delivery:
    """Return a run of events of sessions, whose names tell their numbers."""
    events = [event(seq, **more) for seq in range(first, first + count)]
    return Delivery(
        edge=EDGE,
        stream=Stream.SESSIONS,
        incarnation=incarnation,
        first=first,
        last=first + count - 1,
        before_hash=before,
        hash=hash_after(before, events),
        events=events,
    )


def hash_after(before: bytes, events: list[Event]) -> bytes:
    for each in events:
        before = sha256(before + each.fact).digest()
    return before


def test_the_rules_of_the_watermark(database: str, tmp_path: Path) -> None:
    async def scene() -> None:
        async with started(Receiver(tmp_path, database)) as receiver:
            sink = platform(receiver.url)
            whole = delivery(1, 10)
            assert await sink.deliver(delivery(5, 2)) == Expected(1), "a gap at the start"
            assert await sink.deliver(whole) == Acked(10)
            assert await sink.deliver(whole) == Acked(10), "a pure duplicate"
            assert await sink.deliver(delivery(1, 4)) == Expected(11), (
                "an old one: the hash of the next decides"
            )
            assert await sink.deliver(delivery(12, 2, before=whole.hash)) == Expected(11), "a gap"
            assert await sink.deliver(delivery(1, 13)) == Acked(13), "an overlap"
            seqs = await rows(database, "SELECT seq FROM event ORDER BY seq")
            assert [seq for (seq,) in seqs] == list(range(1, 14)), "each once"
            reached = hash_after(bytes(32), [event(seq) for seq in range(1, 14)])
            assert await sink.deliver(delivery(14, 1, before=reached)) == Acked(14)
            assert isinstance(await sink.deliver(delivery(15, 1, before=whole.hash)), Diverged)
            assert isinstance(await sink.deliver(delivery(1, 14, name="other")), Diverged)
            assert await sink.deliver(delivery(10, 7, name="other")) == Expected(15), (
                "an overlap of other events"
            )
            await sink.close()

    asyncio.run(scene())


def test_another_incarnation_begins_at_one_and_the_old_one_is_kept_for_audit(
    database: str, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with started(Receiver(tmp_path, database)) as receiver:
            sink = platform(receiver.url)
            assert await sink.deliver(delivery(1, 3)) == Acked(3)
            assert await sink.deliver(delivery(2, 1, incarnation="two")) == Expected(1)
            assert await rows(database, "SELECT * FROM watermark_past") == [], "nothing of it came yet"
            assert await sink.deliver(delivery(1, 2, incarnation="two")) == Acked(2)
            assert await rows(database, "SELECT incarnation, acked_seq FROM watermark_past") == [("one", 3)]
            assert await rows(database, "SELECT incarnation, acked_seq FROM watermark") == [("two", 2)]
            late = await sink.deliver(delivery(4, 1, before=delivery(1, 3).hash))
            assert isinstance(late, Diverged), "an incarnation that has ended never comes back"
            await sink.close()

    asyncio.run(scene())


def test_a_record_that_is_told_again_under_another_number_is_known_by_what_it_is(
    database: str, tmp_path: Path
) -> None:
    def records(incarnation: str) -> Delivery:
        data = {"nas": "lab", "box": "192.0.2.1", "acct_session_id": "s1", "octets_from_subscriber": 1 << 40}
        events = [event(seq, **data)._replace(type="accounting.interim") for seq in (1, 2)]
        last = hash_after(bytes(32), events)
        return Delivery(
            edge=EDGE,
            stream=Stream.ACCOUNTING,
            incarnation=incarnation,
            first=1,
            last=2,
            before_hash=bytes(32),
            hash=last,
            events=events,
        )

    async def scene() -> None:
        async with started(Receiver(tmp_path, database)) as receiver:
            sink = platform(receiver.url)
            for incarnation in ("one", "two"):
                assert await sink.deliver(records(incarnation)) == Acked(2)
            assert await rows(database, "SELECT count(*) FROM event") == [(4,)]
            told = await rows(database, "SELECT session, octets_from_subscriber FROM accounting_record")
            assert told == [("s1", 1 << 40)] * 2
            await sink.close()

    asyncio.run(scene())


def test_a_receiver_killed_after_its_commit_before_its_answer_takes_nothing_twice(
    database: str, tmp_path: Path
) -> None:
    async def scene() -> None:
        receiver = Receiver(tmp_path, database)
        link = Link(receiver)
        async with started(receiver), link.open():
            async with Edge(tmp_path / "edge.db", [platform(link.url)]).running() as edge:
                wanted = [f"u{i:03d}" for i in range(300)]
                await edge.happen(*wanted[:100])
                await edge.delivered()
                for start in (100, 150, 200):
                    link.on_answer = receiver.kill
                    await edge.happen(*wanted[start : start + 50])
                    while link.on_answer is not None:
                        await asyncio.sleep(0.01)
                    assert edge.outbox.backlog()[0].events > 0, "the answer was lost"
                    await receiver.start()
                    await edge.delivered()
                await edge.happen(*wanted[250:])
                await edge.delivered()
            assert await names(database) == wanted

    asyncio.run(scene())


def test_a_receiver_restored_from_an_older_copy_is_told_again_what_it_lost(tmp_path: Path) -> None:
    async def scene() -> None:
        file, old = tmp_path / "events.db", tmp_path / "old.db"
        receiver = Receiver(tmp_path, f"sqlite+aiosqlite:///{file}")
        async with started(receiver), Edge(tmp_path / "edge.db", [platform(receiver.url)]).running() as edge:
            wanted = [f"u{i:03d}" for i in range(260)]
            await edge.happen(*wanted[:70])
            await edge.delivered()
            copy_database(file, old)
            await edge.happen(*wanted[70:200])
            await edge.delivered()
            receiver.kill()
            copy_database(old, file)
            await receiver.start()
            await edge.happen(*wanted[200:])
            await edge.delivered()
            assert await names(receiver.database) == wanted

    asyncio.run(scene())


@pytest.mark.skipif(POSTGRES is None, reason="no PostgreSQL server is installed")
def test_a_receiver_restored_from_an_older_dump_is_told_again_what_it_lost(tmp_path: Path) -> None:
    assert POSTGRES is not None

    def tool(name: str, directory: str, *more: str, given: str | None = None) -> str:
        words = [str(POSTGRES / name), "-h", directory, "-U", "edge", *more]
        return subprocess.run(words, input=given, capture_output=True, text=True, check=True).stdout

    async def scene(url: str) -> None:
        directory = url.partition("host=")[2]
        receiver = Receiver(tmp_path, url)
        async with started(receiver), Edge(tmp_path / "edge.db", [platform(receiver.url)]).running() as edge:
            wanted = [f"u{i:03d}" for i in range(200)]
            await edge.happen(*wanted[:60])
            await edge.delivered()
            dump = tool("pg_dump", directory, "--clean", "postgres")
            await edge.happen(*wanted[60:150])
            await edge.delivered()
            receiver.kill()
            tool("psql", directory, "-q", "-v", "ON_ERROR_STOP=1", "postgres", given=dump)
            assert len(await names(url)) == 60
            await receiver.start()
            await edge.happen(*wanted[150:])
            await edge.delivered()
            assert await names(url) == wanted

    with postgresql(POSTGRES) as url:
        asyncio.run(scene(url))


def test_an_edge_that_was_set_back_is_found_out_and_begins_another_incarnation(tmp_path: Path) -> None:
    async def scene() -> None:
        disk, image = tmp_path / "edge.db", tmp_path / "image.db"
        receiver = Receiver(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/events.db")
        async with started(receiver):
            async with Edge(disk, [platform(receiver.url)]).running() as edge:
                await edge.happen(*(f"first{i}" for i in range(30)))
                await edge.delivered()
                copy_database(disk, image)
                await edge.happen(*(f"lost{i}" for i in range(30)))
                await edge.delivered()
            copy_database(image, disk)
            async with Edge(disk, [platform(receiver.url)]).running() as edge:
                later = [f"later{i}" for i in range(45)]
                await edge.happen(*later)
                await edge.delivered()
                ((old, new),) = [
                    (past[0], now[0])
                    for past in await rows(receiver.database, "SELECT incarnation FROM watermark_past")
                    for now in await rows(receiver.database, "SELECT incarnation FROM watermark")
                ]
                assert edge.outbox.incarnation(Stream.SESSIONS).name == new != old
                assert len(await names(receiver.database, old)) == 60
                assert await names(receiver.database, new) == later

    asyncio.run(scene())


def test_what_is_not_signed_by_the_edge_is_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        receiver = Receiver(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/events.db")
        async with started(receiver):
            for wrong in (
                platform(receiver.url, signing_key="guessed"),
                platform(receiver.url, signing_key=""),
            ):
                refused = await wrong.deliver(delivery(1, 3))
                assert isinstance(refused, Later)
                assert "401" in refused.detail
                assert "signing key" in refused.detail, "the remedy"
                await wrong.close()
            old = platform(receiver.url)
            old._wall = lambda: 1_000_000_000.0
            assert "set the clock" in str(await old.deliver(delivery(1, 3)))
            assert await rows(receiver.database, "SELECT * FROM event") == []
            await old.close()

    asyncio.run(scene())


def test_a_request_that_was_changed_on_the_way_or_recorded_is_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        receiver = Receiver(
            tmp_path, f"sqlite+aiosqlite:///{tmp_path}/events.db", {EDGE: KEY, "pop8": KEY + "8"}
        )
        async with started(receiver):
            sink = platform(receiver.url)
            request = await sink._made(delivery(1, 2), 1, bytes(32))
            body, headers = request.body, sink._headers(request)
            url = f"{receiver.url}/v1/edge/streams/sessions/events"
            async with httpx.AsyncClient() as client:

                async def status(content: bytes = body, to: str = url, **changed: str) -> int:
                    said = httpx.Headers(headers)
                    said.update({name.replace("_", "-"): value for name, value in changed.items()})
                    return (await client.post(to, content=content, headers=said)).status_code

                assert await status(body[:-1] + bytes([body[-1] ^ 1])) == 401
                assert await status(x_dotmac_timestamp=str(int(headers["X-Dotmac-Timestamp"]) + 1)) == 401
                assert await status(x_dotmac_edge="pop8") == 401
                assert await status(x_dotmac_edge="pop9") == 401
                assert await status(to=url.replace("sessions", "leases")) == 422
                assert await status() == 200
            await sink.close()

    asyncio.run(scene())


def test_secrets_are_in_no_text(tmp_path: Path) -> None:
    """The server gives back all it was told, as a careless one does."""

    async def careless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        status = statuses.pop(0)
        head = b'{"diverged": "%b"}' % head.lower().partition(b"authorization: ")[2].split(b"\r\n")[0]
        answer = b"HTTP/1.1 %d x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
            status,
            len(head),
            head,
        )
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def scene() -> None:
        server = await asyncio.start_server(careless, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        sink = platform(f"http://127.0.0.1:{port}")
        said = [repr(sink), repr(sink._options)]
        for status in ANSWERS:
            answer = await sink.deliver(delivery(1, 1))
            assert isinstance(answer, Diverged if status == 409 else Later)
            said.append(str(answer))
        server.close()
        said.append(str(await sink.deliver(delivery(1, 1))))
        await sink.close()
        assert "403" in said[2]
        assert "bearer ***" in said[2]
        assert "nothing is dropped" in said[2]
        assert [each for each in said if TOKEN in each or KEY in each] == []

    statuses = list(ANSWERS)
    asyncio.run(scene())


class Answering:
    """A platform that answers as it is told to."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.heads: list[bytes] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        self.heads.append(head)
        await reader.readexactly(length)
        answer = self._answers.pop(0)
        if answer:
            writer.write(answer)
            await writer.drain()
        else:
            await reader.read()  # silent until the asker has gone
        writer.close()
        await writer.wait_closed()
        self._over.release()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        self._over = asyncio.Semaphore(0)
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/edge/"
        for _ in self.heads:
            await self._over.acquire()
        server.close()


def http(status: int, body: bytes = b"", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d x" % status, b"Connection: close", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


@pytest.mark.parametrize(
    ("answer", "receipt"),
    [
        (http(503, b"", b"Retry-After: 7"), 7.0),
        (
            http(
                429,
                b"",
                b"Date: Sun, 06 Nov 1994 08:49:37 GMT",
                b"Retry-After: Sun, 06 Nov 1994 08:50:07 GMT",
            ),
            30.0,
        ),
        (http(425), None),
        (http(408), None),
        (http(500, b"<html>"), None),
        (http(404), None),
        (http(301, b"", b"Location: /"), None),
        (http(200, b"ok"), None),
        (http(200, b'{"acked_seq": true, "hash": ""}'), None),
        (http(409, b'{"expected": 0}'), None),
        (http(409, b"[]"), None),
        (b"SSH-2.0-x\r\n", None),
        (b"HTTP/1.1 200 x\r\nContent-Length: 100\r\n\r\n{", None),
        (b"", None),
    ],
)
def test_whatever_is_no_clear_answer_is_for_later(answer: bytes, receipt: float | None) -> None:
    async def scene() -> None:
        async with Answering(answer).open() as url:
            sink = platform(url, timeout_s=0.5)
            found = await sink.deliver(delivery(1, 2))
            assert isinstance(found, Later), found
            assert (found.after_s, bool(found.detail)) == (receipt, True)
            await sink.close()

    asyncio.run(scene())


def test_a_watermark_is_believed_where_the_hash_is_ours() -> None:
    run = delivery(11, 10)
    inside = hash_after(bytes(32), list(run.events[:4]))

    async def answer(acked: int, there: bytes) -> Any:
        body = json.dumps({"acked_seq": acked, "hash": there.hex()}).encode()
        async with Answering(http(200, body)).open() as url:
            sink = platform(url)
            try:
                return await sink.deliver(run)
            finally:
                await sink.close()

    async def scene() -> None:
        assert await answer(20, run.hash) == Acked(20)
        assert isinstance(await answer(20, inside), Diverged)
        assert await answer(14, inside) == Acked(14), "the beginning of it"
        assert isinstance(await answer(14, run.hash), Diverged)
        assert isinstance(await answer(10, run.before_hash), Later), "none of it"
        assert await answer(31, run.hash) == Expected(32), (
            "more than we have told: the next run shows whose they are"
        )
        assert await answer(3, run.hash) == Expected(4)

    asyncio.run(scene())


def test_what_is_too_large_is_sent_in_halves() -> None:
    run = delivery(1, 5)
    first = hash_after(bytes(32), list(run.events[:2]))
    two = json.dumps({"acked_seq": 2, "hash": first.hex()}).encode()

    async def scene() -> None:
        platform_ = Answering(http(413), http(200, two), http(503))
        async with platform_.open() as url:
            sink = platform(url)
            assert await sink.deliver(run) == Acked(2), "what was taken counts, though the rest was not"
            keys = [
                head.lower().partition(b"idempotency-key: ")[2].split(b"\r\n")[0] for head in platform_.heads
            ]
            assert keys == [b"one:sessions:1-5", b"one:sessions:1-2", b"one:sessions:3-4"]
            assert platform_.heads[0].startswith(b"POST /edge/v1/edge/streams/sessions/events HTTP/1.1\r\n")
            await sink.close()

    asyncio.run(scene())


def test_one_event_that_is_too_large_waits_and_says_so() -> None:
    async def scene() -> None:
        async with Answering(http(413, b"no")).open() as url:
            sink = platform(url)
            found = await sink.deliver(delivery(1, 1))
            assert isinstance(found, Later)
            assert "raise its limit" in found.detail
            await sink.close()

    asyncio.run(scene())


@pytest.mark.parametrize("url", ["", "platform.example", "ftp://platform.example", "http://"])
def test_an_unusable_url_is_told_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        platform(url)


def test_a_password_in_the_url_is_told_at_the_start_and_not_shown() -> None:
    with pytest.raises(ValueError, match="set the token") as refused:
        platform(f"https://edge:{TOKEN}@platform.example")
    assert TOKEN not in str(refused.value)


def test_a_key_with_a_line_feed_is_told_at_the_start_and_not_shown() -> None:
    with pytest.raises(ValueError, match="printable") as refused:
        platform("https://platform.example", signing_key=f"{KEY}\n")
    assert KEY not in str(refused.value)
