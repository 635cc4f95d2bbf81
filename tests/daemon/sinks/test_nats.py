"""Events in JetStream on a real nats-server: each is acknowledged, and none is twice in the stream."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from daemon.sync.outbox.model import Acked, Delivery, Later, Stream
from daemon.sync.outbox.nats_sink import NatsOptions, NatsSink
from tests.daemon.sinks.stage import EDGE, TOKEN, Edge, event, free_port, until

nats = pytest.importorskip("nats")
pytestmark = pytest.mark.skipif(shutil.which("nats-server") is None, reason="no nats-server is installed")


class Server:
    """A nats-server with JetStream, its data in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://{TOKEN}@127.0.0.1:{self.port}"

    async def start(self) -> None:
        words = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), "--auth", TOKEN, "-js"]
        words += ["-sd", str(self.directory / "jetstream")]
        with (self.directory / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log)
        await until(self._answers, 10.0)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    async def messages(self, stream: str = "DOTMAC_EDGE") -> list[Any]:
        """Return all that the stream keeps, in order."""
        client = await nats.connect(self.url)
        try:
            jetstream = client.jetstream()
            count = (await jetstream.stream_info(stream)).state.messages
            return [await jetstream.get_msg(stream, seq) for seq in range(1, count + 1)]
        finally:
            await client.close()


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Server]:
    server = Server(directory)
    await server.start()
    try:
        yield server
    finally:
        server.kill()


def sink_to(server: Server, **more: Any) -> NatsSink:
    options: dict[str, Any] = {"create": True, "timeout_s": 5.0, "streams": frozenset({Stream.SESSIONS})}
    return NatsSink(NatsOptions(servers=(server.url,), **(options | more)))


def delivery(first: int, count: int) -> Delivery:
    events = [event(seq) for seq in range(first, first + count)]
    chain = bytes(32)
    for each in events:
        chain = sha256(chain + each.fact).digest()
    return Delivery(
        edge="pop 7.north",
        stream=Stream.AUTH_REJECTS,
        incarnation="one",
        first=first,
        last=first + count - 1,
        before_hash=bytes(32),
        hash=chain,
        events=events,
    )


def test_an_event_is_a_message_with_its_number_and_hash(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path) as server:
            sink = sink_to(server, pipelined=4)
            run = delivery(1, 9)
            assert await sink.deliver(run) == Acked(9)
            found = await server.messages()
            assert [each.headers["Nats-Msg-Id"] for each in found] == [
                f"one:auth-rejects:{i}" for i in range(1, 10)
            ]
            assert {each.subject for each in found} == {"dotmac.edge.pop%207%2Enorth.auth-rejects"}
            assert [json.loads(each.data)["seq"] for each in found] == list(range(1, 10))
            assert found[-1].headers["Dotmac-Hash"] == run.hash.hex()
            await sink.close()

    asyncio.run(scene())


def test_what_comes_again_within_the_window_is_kept_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path) as server:
            sink = sink_to(server)
            assert await sink.deliver(delivery(1, 40)) == Acked(40)
            assert await sink.deliver(delivery(21, 40)) == Acked(60)
            assert len(await server.messages()) == 60
            await sink.close()

    asyncio.run(scene())


def test_behind_the_window_it_comes_twice_and_the_numbers_show_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path) as server:
            sink = sink_to(server, duplicates_s=0.1)
            assert await sink.deliver(delivery(1, 5)) == Acked(5)
            await asyncio.sleep(1.0)  # the server's own window
            assert await sink.deliver(delivery(1, 6)) == Acked(6)
            await sink.close()
            watermark, taken = 0, []
            for each in await server.messages():  # what whoever consumes has to do
                seq = int(each.headers["Dotmac-Seq"])
                if seq <= watermark:
                    continue
                assert seq == watermark + 1
                watermark = seq
                taken.append(seq)
            assert len(await server.messages()) == 11
            assert taken == [1, 2, 3, 4, 5, 6]

    asyncio.run(scene())


def test_a_server_killed_on_the_way_gets_everything_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path) as server:
            sink = sink_to(server, pipelined=16)
            wanted = [f"u{i:04d}" for i in range(2000)]
            async with Edge(tmp_path / "edge.db", [sink]).running() as edge:
                for start in range(0, 2000, 500):
                    await edge.happen(*wanted[start : start + 500])
                    await until(partial(acked_some, edge, start), 10.0)
                    server.kill()
                    await asyncio.sleep(0.2)
                    await server.start()
                await edge.delivered(30.0)
            found = await server.messages()
            assert [json.loads(each.data)["data"]["username"] for each in found] == wanted
            assert {each.subject for each in found} == {f"dotmac.edge.{EDGE}.sessions"}

    async def acked_some(edge: Edge, before: int) -> bool:
        return edge.outbox.marks()[0].acked_seq > before

    asyncio.run(scene())


def test_a_lost_acknowledgement_leaves_what_is_before_it(tmp_path: Path) -> None:
    """The link swallows what the server says from some message on."""

    async def scene() -> None:
        async with serving(tmp_path) as server:
            swallow = asyncio.Event()

            async def carry(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
                far, on = await asyncio.open_connection("127.0.0.1", server.port)

                async def forth() -> None:
                    while octets := await near.read(65536):
                        if b"one:auth-rejects:31\r\n" in octets:
                            cut, _, rest = octets.partition(b"one:auth-rejects:31\r\n")
                            on.write(cut + b"one:auth-rejects:31\r\n")
                            await asyncio.sleep(0.3)
                            swallow.set()
                            octets = rest
                        on.write(octets)
                    on.close()

                async def answer() -> None:
                    while octets := await far.read(65536):
                        if not swallow.is_set():
                            back.write(octets)
                    back.close()

                await asyncio.gather(forth(), answer())

            link = await asyncio.start_server(carry, "127.0.0.1", 0)
            port = link.sockets[0].getsockname()[1]
            url = f"nats://{TOKEN}@127.0.0.1:{port}"
            sink = NatsSink(NatsOptions(servers=(url,), create=True, timeout_s=2.0, pipelined=8))
            assert await sink.deliver(delivery(1, 20)) == Acked(20)
            found = await sink.deliver(delivery(21, 20))
            assert found == Acked(30), found
            link.close()
            assert len(await server.messages()) > 30, "the server has more, which is not known"
            await sink.close()
            straight = sink_to(server)
            assert await straight.deliver(delivery(31, 10)) == Acked(40)
            assert len(await server.messages()) == 40
            await straight.close()

    asyncio.run(scene())


def test_what_cannot_be_is_for_later_and_says_why(tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(tmp_path) as server:
            missing = sink_to(server, create=False)
            absent = await missing.deliver(delivery(1, 1))
            assert isinstance(absent, Later)
            assert "dotmac.edge.>" in absent.detail
            await missing.close()
            small = sink_to(server, most_octets=2000)
            full = await small.deliver(delivery(1, 20))
            assert isinstance(full, Acked)
            assert 0 < full.seq < 20, "what is full refuses, and drops nothing that it has acknowledged"
            more = await small.deliver(delivery(full.seq + 1, 1))
            assert isinstance(more, Later)
            assert "exceeded" in more.detail
            await small.close()
            stranger = NatsSink(NatsOptions(servers=(server.url.replace(TOKEN, f"{TOKEN}x"),), timeout_s=3.0))
            refused = await stranger.deliver(delivery(1, 1))
            assert isinstance(refused, Later)
            assert "uthorization" in refused.detail
            await stranger.close()
        gone = await sink_to(server, timeout_s=2.0).deliver(delivery(1, 1))
        assert isinstance(gone, Later)
        said = [absent, more, refused, gone, missing, missing._options]
        assert [str(each) for each in said if TOKEN in f"{each!r} {each}"] == []

    asyncio.run(scene())


@pytest.mark.parametrize("wrong", [{"servers": ()}, {"prefix": "a..b"}, {"prefix": ">"}, {"pipelined": 0}])
def test_unusable_options_are_told_at_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="nats"):
        NatsSink(NatsOptions(**({"servers": ("nats://127.0.0.1",)} | wrong)))
