"""Connections without end: strangers that hold many of them, also silent handshakes, lock out nobody."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from daemon.api.connections import Connections, most_of
from daemon.api.security.options import PortOptions, TlsOptions
from daemon.api.security.tls import Tls
from tests.daemon.api_security.test_doors import desk
from tests.daemon.api_security.test_port import Authority, port
from tests.daemon.conftest import Store
from tests.twins.clock import ClockTwin

HALF = b"GET /livez HTTP/1.1\r\nX: "


async def opened(
    number: int, count: int, first: bytes = b"", source: str = "127.0.0.1"
) -> list[socket.socket]:
    """Open connections that say no more than this."""
    found = []
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", number), 5, source_address=(source, 0))
        with suppress(ConnectionError):
            sock.sendall(first)
        found.append(sock)
        await asyncio.sleep(0)
    return found


async def status(number: int, **more: Any) -> int:
    async with httpx.AsyncClient(verify=more.pop("verify", False)) as client:
        scheme = "https" if more.pop("tls", False) else "http"
        return (await client.get(f"{scheme}://127.0.0.1:{number}/who", **more)).status_code


def still_open(socks: list[socket.socket]) -> int:
    """Count the connections that nobody has ended."""
    count = 0
    for sock in socks:
        sock.setblocking(False)
        try:
            count += bool(sock.recv(1))
        except BlockingIOError:
            count += 1
        except ConnectionError:
            pass
    return count


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("first", [b"", HALF], ids=["silent", "half a request"])
def test_a_stranger_with_many_connections_locks_out_nobody(
    store: Store, tmp_path: Path, loop: Any, first: bytes
) -> None:
    async def go() -> None:
        limits = PortOptions(connections=100, strangers=16)
        async with desk(store, tmp_path) as made, port(made.app, limits=limits) as number:
            key = await made.key()
            socks = await opened(number, 150, first, "127.0.0.9")
            assert await status(number, headers=key) == 200
            async with asyncio.timeout(5):
                while still_open(socks) > 16:
                    await asyncio.sleep(0.02)
            assert still_open(socks) == 16
            for sock in socks:
                sock.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(go())


def test_many_strangers_lock_out_nobody_and_who_is_known_keeps_its_connection(
    store: Store, tmp_path: Path
) -> None:
    async def go() -> None:
        limits = PortOptions(connections=40, strangers=16)
        async with desk(store, tmp_path) as made, port(made.app, limits=limits) as number:
            key = await made.key()
            async with httpx.AsyncClient() as client:
                where = f"http://127.0.0.1:{number}/who"
                assert (await client.get(where, headers=key)).status_code == 200
                (mine,) = list(client._transport._pool.connections)  # type: ignore[attr-defined]
                socks = [
                    each for n in range(2, 12) for each in await opened(number, 12, HALF, f"127.0.0.{n}")
                ]
                assert (await client.get(where, headers=key)).status_code == 200
                assert client._transport._pool.connections == [mine]  # type: ignore[attr-defined]
            assert await status(number, headers=key) == 200
            for sock in socks:
                sock.close()

    asyncio.run(go())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_silent_handshakes_are_counted_and_have_a_time(store: Store, tmp_path: Path, loop: Any) -> None:
    async def go() -> None:
        authority = Authority("ours")
        ca = authority.trust(tmp_path)
        public, private = authority.write(tmp_path, "edge")
        tls = Tls(TlsOptions(certificate=public, key=private), ClockTwin())
        limits = PortOptions(connections=100, strangers=16, header_s=0.5)
        async with desk(store, tmp_path) as made, port(made.app, tls, limits) as number:
            key, trust = await made.key(), ssl.create_default_context(cafile=str(ca))
            before = _descriptors()
            socks = await opened(number, 150, source="127.0.0.9")
            assert await status(number, tls=True, verify=trust, headers=key) == 200
            assert _descriptors() - before < 150 + 30
            async with asyncio.timeout(5):
                while still_open(socks):
                    await asyncio.sleep(0.02)
            assert await status(number, tls=True, verify=trust, headers=key) == 200
            for sock in socks:
                sock.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(go())


def test_who_is_one_too_many_is_told_when_to_come_back(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        limits = PortOptions(connections=4)
        async with desk(store, tmp_path) as made:
            asked, go_on = asyncio.Semaphore(0), asyncio.Event()

            @made.app.get("/slow")
            async def slow() -> None:
                asked.release()
                await go_on.wait()

            key = await made.key()
            async with port(made.app, limits=limits) as number, httpx.AsyncClient() as client:
                where = f"http://127.0.0.1:{number}"
                busy = [asyncio.create_task(client.get(f"{where}/slow", headers=key)) for _ in range(4)]
                for _ in busy:
                    await asked.acquire()
                refused = await client.get(f"{where}/who", headers=key)
                assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
                assert (refused.json()["code"], refused.json()["retryable"]) == ("too-many-connections", True)
                go_on.set()
                assert {each.status_code for each in await asyncio.gather(*busy)} == {200}
                assert (await client.get(f"{where}/who", headers=key)).status_code == 200

    asyncio.run(go())


def test_connections_leave_descriptors_for_the_rest_of_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert most_of(1000) == 1024 - 256 - 32
    assert most_of(100) == 100
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert most_of(100_000) == 100_000


def test_connections_that_are_gone_are_forgotten() -> None:
    held = Connections(4, 2)
    ended: list[int] = []
    made = [held.add(f"2001:db8::{n}", lambda n=n: ended.append(n)) for n in range(3)]  # type: ignore[misc]
    assert ended == [0]  # of one /64
    made[1].let_in()
    other = [held.add("192.0.2.1", lambda: ended.append(99)) for _ in range(2)]
    assert (len(held), ended) == (5, [0])
    for each in (*made, *other, *other):
        held.gone(each)
    assert (len(held), held._ended, held._strangers) == (0, 0, {})
