"""Sinks whose files come late or change: the daemon starts, the sink says what is missing, and goes on by itself."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from config.load import load
from daemon.app import Edge
from daemon.clock import SystemClock
from daemon.store.state_dir import hold
from daemon.sync.outbox.model import Acked, Later, Receipt
from daemon.sync.outbox.nats_sink import NatsOptions, NatsSink
from daemon.sync.outbox.platform_sink import PlatformOptions, PlatformSink
from tests.daemon.sinks.stage import free_port
from tests.daemon.sinks.test_platform import delivery
from tests.daemon.sync_feeds.test_link import Authority


class Platform:
    """A platform over TLS that wants a certificate, and takes everything."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self.port = 0
        self.shown: list[int] = []  # serial numbers of certificates, one a connection

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._authority.issue("localhost"))
        context.load_verify_locations(self._authority.file)
        context.verify_mode = ssl.CERT_REQUIRED
        server = await asyncio.start_server(self._answer, "127.0.0.1", self.port, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield f"https://localhost:{self.port}"
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.shown.append(int(writer.get_extra_info("peercert")["serialNumber"], 16))
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
                told = json.loads(await reader.readexactly(int(lengths[0].split(b":")[1])))
                answer = json.dumps({"acked_seq": told["last_seq"], "hash": told["hash"]}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()


def sink_of(url: str, home: Path) -> PlatformSink:
    files = {"ca_file": "ca.pem", "certificate_file": "pop7.pem", "key_file": "pop7.key"}
    return PlatformSink(
        PlatformOptions(base_url=url, **{name: str(home / file) for name, file in files.items()}),  # type: ignore[arg-type]
        time.time,
    )


async def told(sink: Any) -> Receipt:
    found: Receipt = await sink.deliver(delivery(1, 1))
    return found


def test_files_that_are_missing_are_named_and_read_as_soon_as_they_are_there(tmp_path: Path) -> None:
    async def scene() -> None:
        home, issued = tmp_path / "home", tmp_path / "issued"
        home.mkdir()
        issued.mkdir()
        authority = Authority(issued)
        certificate, key = authority.issue("pop7")
        async with Platform(authority).open() as url:
            sink = sink_of(url, home)
            for file in (authority.file, certificate, key):
                answer = await told(sink)
                assert isinstance(answer, Later)
                assert f"there is no {home / file.name}" in answer.detail
                (home / file.name).write_bytes(b"not PEM")
                answer = await told(sink)
                assert isinstance(answer, Later)
                assert "expected is PEM" in answer.detail or "there is no" in answer.detail
                (home / file.name).write_bytes(file.read_bytes())
            assert await told(sink) == Acked(1)
            await sink.close()

    asyncio.run(scene())


def test_a_renewed_certificate_is_shown_from_the_next_delivery_on(tmp_path: Path) -> None:
    async def scene() -> None:
        authority = Authority(tmp_path)
        platform = Platform(authority)
        authority.issue("pop7")
        async with platform.open() as url:
            sink = sink_of(url, tmp_path)
            assert await told(sink) == Acked(1)
            assert await told(sink) == Acked(1)
            assert len(platform.shown) == 1, "a connection is used again"
            authority.issue("pop7")
            assert await told(sink) == Acked(1)
            assert len(set(platform.shown)) == 2
            await sink.close()

    asyncio.run(scene())


def test_after_tls_has_failed_the_files_are_read_again(tmp_path: Path) -> None:
    async def scene() -> None:
        folders = [tmp_path / name for name in ("ours", "other")]
        for each in folders:
            each.mkdir()
        ours, other = map(Authority, folders)
        ours.issue("pop7")
        platform = Platform(other)
        async with platform.open() as url:
            sink = sink_of(url, folders[0])
            answer = await told(sink)
            assert isinstance(answer, Later)
            assert "certificate" in answer.detail.lower()
            held = sink._clients._current
            assert held is not None
            assert held.stale
            assert isinstance(await told(sink), Later)
            assert sink._clients._current is not held
            await sink.close()

    asyncio.run(scene())


@pytest.mark.skipif(find_spec("nats") is None, reason="nats-py is not installed")
def test_credentials_for_nats_that_are_missing_are_named(tmp_path: Path) -> None:
    async def scene() -> None:
        file = tmp_path / "edge.creds"
        sink = NatsSink(NatsOptions(servers=("nats://127.0.0.1:9",), credentials_file=str(file)))
        answer = await told(sink)
        assert isinstance(answer, Later)
        assert str(file) in answer.detail
        assert "No such file" in answer.detail
        file.write_bytes(b"nothing of use")
        assert isinstance(await told(sink), Later)
        await sink.close()

    asyncio.run(scene())


def test_the_daemon_starts_and_stops_while_the_files_of_a_sink_are_missing(tmp_path: Path) -> None:
    settings = tmp_path / "edge.toml"
    settings.write_text(
        f"""
[edge]
state_dir = "{tmp_path}/state"
[radius]
auth_listen = ["127.0.0.1:{free_port()}"]
acct_listen = ["127.0.0.1:{free_port()}"]
[api]
listen = "127.0.0.1:{free_port()}"
[sinks.central]
target = "platform"
url = "https://127.0.0.1:9/"
ca = "{tmp_path}/missing.pem"
"""
    )

    async def scene() -> None:
        edge = Edge(load(settings, {}), {}, SystemClock())
        try:
            await edge.start()
            assert edge.status().ready
            edge._exchange.outbox.devices.stored = None  # type: ignore[assignment,method-assign]
            edge._events.add("nas-silent", tenant="demo", nas="lab")
        finally:
            await edge.stop()
        assert not (tmp_path / "state" / "admin.sock").exists(), "a step that fails does not keep the next"
        hold(tmp_path / "state").close()  # the next daemon may have it

    asyncio.run(scene())
