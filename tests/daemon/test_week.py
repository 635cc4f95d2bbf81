"""A week without a link, in virtual time: the whole daemon on real sockets and a real store, its platform away."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from config.load import load
from daemon.app import Edge
from radius.codes import AcctStatus, Attr, Code
from radius.packet import attribute
from tests.e2e.central import FEED, fill, line
from tests.e2e.nas import Nas, number
from tests.twins.clock import ClockTwin, settle
from tests.twins.platform import Platform, _Quiet

ROOT = Path(__file__).parents[2]
DAY = 86_400.0
STEP = 3600.0  # between two interims
DAYS = 8
A_DAY = 6_000_000_000  # octets that a session moves; 5 GB of them are in the allowance


class Leaps(ClockTwin):
    """A clock that leaps: whoever sleeps wakes once, however long the leap was, as after a machine's suspend."""

    async def leap(self, seconds: float) -> None:
        self._now += seconds
        due = [woken for at, _, woken in self._sleepers if at <= self._now and not woken.done()]
        self._sleepers = [each for each in self._sleepers if each[0] > self._now and not each[2].done()]
        self._sleepers.sort()
        for woken in due:
            woken.set_result(None)
        await settle()


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class House:
    """An edge with its platform and its receiver, which may be away.

    Virtual time ends about now: the receiver compares the times at which it is asked with its own clock.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Leaps(time.time() - DAYS * DAY - 900)
        self.platform = Platform(FEED, beat_s=0.05)
        self.platform.clock_ahead_s = self.clock.wall() - time.time()
        fill(self.platform, 5)
        plan = {"access": "ppp", "download": "100M", "upload": "20M", "interim_interval_s": int(STEP)}
        quota = {
            "name": "daily",
            "octets": "5GB",
            "window": "day",
            "then": {"download": "2M", "upload": "1M"},
        }
        self.platform.book.put("plan", "home", plan | {"allowances": [quota]})
        self.central, self.sink = (free_port(socket.SOCK_STREAM) for _ in range(2))
        self.auth, self.acct = (free_port(socket.SOCK_DGRAM) for _ in range(2))
        (directory / "edge.toml").write_text(
            f"""
[edge]
name = "pop7"
state_dir = "{directory}/state"
[radius]
auth_listen = ["127.0.0.1:{self.auth}"]
acct_listen = ["127.0.0.1:{self.acct}"]
reject_delay_s = 0
[feeds.{FEED}]
source = "pull"
tenant = "demo"
url = "http://127.0.0.1:{self.central}"
plain_http = true
degraded_unknown = "reject"
[sinks.platform]
target = "platform"
url = "http://127.0.0.1:{self.sink}"
plain_http = true
signing_secret = "env:SECRET"
"""
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Edge]:
        port = free_port(socket.SOCK_STREAM)
        environ = {"SECRET": "s3cret", "DOTMAC_EDGE_API__LISTEN": f"127.0.0.1:{port}"}
        edge = Edge(load(self.directory / "edge.toml", environ), environ, self.clock)
        await edge.start()
        try:
            yield edge
        finally:
            stopping = asyncio.ensure_future(edge.stop())
            while not stopping.done():
                await self.clock.leap(1.0)
                await asyncio.sleep(0.002)

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator[None]:
        """Run the receiver of the documentation."""
        spec = importlib.util.spec_from_file_location("receiver", ROOT / "docs/examples/receiver.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with contextlib.ExitStack() as stack:
            sys.modules["receiver"] = module
            stack.callback(sys.modules.pop, "receiver")
            spec.loader.exec_module(module)
            app = module.application(f"sqlite+aiosqlite:///{self.directory}/events.db", {"pop7": "s3cret"})
            server = _Quiet(uvicorn.Config(app, port=self.sink, log_config=None, ws="none"))
            task = asyncio.ensure_future(server.serve())
            while not server.started:
                await asyncio.sleep(0.005)
            try:
                yield
            finally:
                server.should_exit = True
                await task

    async def until(self, done: Any, most_s: float = 60.0, step_s: float = 2.0) -> None:
        end = time.monotonic() + most_s
        while not done():
            assert time.monotonic() < end, "it did not come about"
            await self.clock.leap(step_s)
            await asyncio.sleep(0.02)

    def received(self, stream: str) -> list[tuple[int, Any]]:
        with closing(sqlite3.connect(self.directory / "events.db")) as database:
            rows = database.execute("select seq, body from event where stream = ? order by seq", (stream,))
            return [(seq, json.loads(body)) for seq, body in rows]


def age_of(edge: Edge) -> str:
    return str(edge._index.tenants["demo"].contact.age)


def waiting(edge: Edge) -> dict[str, int]:
    """Return how many events the platform has not acknowledged, by stream."""
    return {each.stream.value: each.events for each in edge._exchange.outbox.backlog()}


async def ask(nas: Nas, port: int, request: Any) -> Any:
    return await asyncio.to_thread(nas.ask, port, request)


async def login(nas: Nas, house: House, name: str) -> Any:
    return await ask(nas, house.auth, nas.login(name.encode(), f"pw-{name}".encode()))


async def report(nas: Nas, house: House, session: str, status: AcctStatus, seconds: int, octets: int) -> None:
    said = attribute(Attr.USER_NAME, b"u1") + number(Attr.ACCT_SESSION_TIME, seconds)
    said += number(Attr.ACCT_OUTPUT_OCTETS, octets & 0xFFFF_FFFF)
    said += number(Attr.ACCT_OUTPUT_GIGAWORDS, octets >> 32)
    assert await ask(nas, house.acct, nas.record(session, said, status)) is not None


def test_a_week_without_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path)

    async def week() -> None:
        clock = house.clock
        async with house.running() as edge:
            async with house.platform.serving(house.central):
                await house.until(lambda: edge._exchange.feeds.get(FEED).position is not None)
                await house.until(lambda: age_of(edge) == "fresh")
                known_at = clock.wall() + 60  # when the contact is on disk, too
                await house.until(lambda: clock.wall() > known_at)
            ages: list[tuple[str, float]] = []
            gone_at = clock.wall()
            with Nas(house) as nas:  # type: ignore[arg-type]
                for day in range(DAYS):
                    answer = await login(nas, house, "u1")
                    assert answer.code == Code.ACCESS_ACCEPT, f"day {day}"
                    assert (await login(nas, house, "sold-since")).code == Code.ACCESS_REJECT
                    session = f"day{day}"
                    await report(nas, house, session, AcctStatus.START, 0, 0)
                    steps = int(DAY / STEP)
                    for step in range(1, steps):
                        await clock.leap(STEP)
                        octets = A_DAY * step // steps
                        await report(nas, house, session, AcctStatus.INTERIM_UPDATE, int(step * STEP), octets)
                        age = age_of(edge)
                        if not ages or ages[-1][0] != age:
                            ages.append((age, (clock.wall() - gone_at) / DAY))
                    await clock.leap(STEP)
                    await report(nas, house, session, AcctStatus.STOP, int(DAY), A_DAY)
            assert [age for age, _ in ages] == ["stale", "degraded", "isolated"]
            assert [round(at) for _, at in ages] == [0, 1, 7]
            told = [(each.kind, each.reason) for each in edge._events.newest_first(10_000, kind="data-older")]
            assert [reason for _, reason in told[:3]] == ["isolated", "degraded", "stale"]
            reached = edge._events.newest_first(10_000, kind="allowance-reached")
            assert len(reached) >= DAYS - 1
            await house.until(lambda: waiting(edge)["accounting"] == DAYS * (steps + 1))
        began, cpu = time.monotonic(), time.process_time()
        async with house.running() as edge:
            assert time.process_time() - cpu < 10
            await house.until(lambda: age_of(edge) == "isolated")
            with Nas(house) as nas:  # type: ignore[arg-type]
                assert (await login(nas, house, "u1")).code == Code.ACCESS_ACCEPT
            house.platform.book.put("subscriber", "sold-since", line("sold-since"))
            house.platform.clock_ahead_s = clock.wall() - time.time()
            async with house.receiving(), house.platform.serving(house.central):
                await house.until(lambda: age_of(edge) == "fresh")
                await house.until(lambda: not any(waiting(edge).values()))
                with Nas(house) as nas:  # type: ignore[arg-type]
                    assert (await login(nas, house, "sold-since")).code == Code.ACCESS_ACCEPT
        assert time.monotonic() - began < 60

    asyncio.run(week())
    accounting = house.received("accounting")
    assert [seq for seq, _ in accounting] == list(range(1, len(accounting) + 1))
    at = [each["occurred_at"] for _, each in accounting]
    assert at == sorted(at)
    assert len(accounting) == DAYS * (int(DAY / STEP) + 1)
    sessions = [each["type"] for _, each in house.received("sessions")]
    assert sessions.count("session.started") == DAYS
    assert sessions.count("session.stopped") + sessions.count("session.ended") == DAYS
    assert len(house.received("quota")) >= DAYS - 1
    refused = house.received("auth-rejects")
    assert {each["data"]["identity"] for _, each in refused} == {"sold-since"}
