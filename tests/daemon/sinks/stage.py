"""An edge's outbox on a real store, the reference receiver as a process of its own, and a link that can be cut."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.aaa.rejects import Rejects
from daemon.aaa.report import Belief
from daemon.clock import SystemClock
from daemon.store import outbox_rows
from daemon.store.outbox_rows import NewEvent
from daemon.sync.outbox.model import Event, OutboxSink, Stream, Urgency
from daemon.sync.outbox.nats_sink import NatsSink
from daemon.sync.outbox.outbox import Outbox, OutboxOptions, Sources
from daemon.sync.outbox.platform_sink import PlatformOptions, PlatformSink
from daemon.sync.outbox.shipper import ShipOptions
from radius.vendors import PROFILES
from tests.daemon.conftest import Store

ROOT = Path(__file__).parents[3]
EDGE = "pop7"
KEY = "signing-canary-7f3a"
TOKEN = "token-canary-91bd"
_STARTS_S = 20.0


class Receiver:
    """The example in the documentation, run as it says."""

    def __init__(self, directory: Path, database: str, keys: dict[str, str] | None = None) -> None:
        self.database = database
        self.log = directory / "receiver.log"
        self.port = free_port()
        self._keys = {EDGE: KEY} if keys is None else keys
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it, and return when it answers."""
        words = [sys.executable, str(ROOT / "docs/examples/receiver.py")]
        words += ["--database", self.database, "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                words, env=os.environ | {"RECEIVER_KEYS": json.dumps(self._keys)}, stdout=log, stderr=log
            )
        await until(self._answers, _STARTS_S)

    async def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{self.url}/docs")).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


class Link:
    """A TCP connection that can be cut: what the receiver says is lost, or nothing gets there."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self.port = 0
        self.requests = 0
        self.on_answer: Callable[[], None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Link]:
        """Listen meanwhile."""
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _carry(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            far, on = await asyncio.open_connection("127.0.0.1", self._receiver.port)
        except OSError:
            back.transport.abort()
            return
        try:
            await asyncio.gather(self._forth(near, on), self._answer(far, back))
        except OSError:
            pass
        finally:
            on.transport.abort()
            back.transport.abort()

    async def _forth(self, near: asyncio.StreamReader, on: asyncio.StreamWriter) -> None:
        while octets := await near.read(65536):
            on.write(octets)
        on.transport.abort()

    async def _answer(self, far: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while octets := await far.read(65536):
            if self.on_answer is not None:
                then, self.on_answer = self.on_answer, None
                then()  # it has committed, and the edge does not hear of it
                break
            self.requests += 1
            back.write(octets)
        back.transport.abort()


class Edge:
    """One run of the outbox over the store at a path."""

    def __init__(self, path: Path, sinks: Sequence[OutboxSink]) -> None:
        self.store = Store(path)
        self._sinks = sinks
        self.told: list[str] = []
        store, standard = self.store, PROFILES[0]
        sources = Sources(
            leases=store.engine,
            book=EDGE,
            profile_of=lambda _tenant, _nas: standard,
            session_of=lambda _report: None,
            belief=lambda: Belief(300.0, 60.0),
            applied_seq=lambda: 0,
            accept=lambda _open: None,
            spare=lambda _wanted: None,
            rejects=Rejects(100),
        )
        self.outbox = Outbox(
            EDGE,
            store.engine,
            store.writer,
            SystemClock(),
            sources,
            sinks,
            self._tell,
            path,
            OutboxOptions(
                ship=ShipOptions(linger_s=0.01, most_events=50, first_pause_s=0.05, longest_pause_s=0.1)
            ),
        )

    def _tell(self, kind: str, /, **fields: object) -> None:
        self.told.append(f"{kind} {fields}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Edge]:
        """Run it meanwhile."""
        async with self.store.running():
            await self.outbox.open()
            tasks = [asyncio.create_task(run()) for _, run in self.outbox.tasks()]  # type: ignore[arg-type]
            try:
                yield self
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                for sink in self._sinks:
                    if isinstance(sink, PlatformSink | NatsSink):
                        await sink.close()

    async def happen(self, *names: str, stream: Stream = Stream.SESSIONS, tenant: str = "demo") -> None:
        """Let something happen, one event for each name."""

        async def save(connection: AsyncConnection) -> None:
            events = [
                NewEvent(
                    1.8e9 + i, "session.started", "A", tenant, name, json.dumps({"username": name}).encode()
                )
                for i, name in enumerate(names)
            ]
            await outbox_rows.append(connection, stream, events)

        await self.store.writer.commit(save)
        self.outbox.committed()

    async def delivered(self, within_s: float = 15.0) -> None:
        """Return when everything is acknowledged."""

        async def done() -> bool:
            await self.outbox._heads.look()
            return all(each.events == 0 for each in self.outbox.backlog())

        await until(done, within_s, lambda: str(self.outbox.backlog()))


def platform(url: str, **more: Any) -> PlatformSink:
    """Return the platform at a URL as a sink for sessions."""
    options = {"signing_key": KEY, "token": TOKEN, "streams": frozenset({Stream.SESSIONS}), "timeout_s": 5.0}
    return PlatformSink(PlatformOptions(base_url=url, **(options | more)), time.time)


def event(number: int, name: str = "", tenant: str = "demo", **data: Any) -> Event:
    """Return an event of a log."""
    body = {"username": name or f"user{number}"} | data
    fact = json.dumps(body).encode()
    return Event(
        number, 1.8e9 + number, "session.started", Urgency.A, tenant, f"s{number}", json.dumps(body), fact
    )


def copy_database(here: Path, there: Path) -> None:
    """Copy a SQLite database as `.backup` does."""
    there.unlink(missing_ok=True)
    for path in (there.with_name(f"{there.name}-wal"), there.with_name(f"{there.name}-shm")):
        path.unlink(missing_ok=True)
    with closing(sqlite3.connect(here)) as old, closing(sqlite3.connect(there)) as new:
        old.backup(new)


async def until(
    what: Callable[[], Awaitable[bool]], within_s: float, said: Callable[[], str] = lambda: ""
) -> None:
    """Return when something is so; fails where it is not within a time."""
    end = time.monotonic() + within_s
    while not await what():
        assert time.monotonic() < end, f"not within {within_s} s: {said()}"
        await asyncio.sleep(0.02)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
