"""The CoA engine with everything below it: a store on disk, a table of sessions, and NAS twins on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

from daemon.aaa import token
from daemon.aaa.coa.client import CoaClient
from daemon.aaa.coa.engine import CoaEngine
from daemon.aaa.coa.hooks import CoaOptions, Hooks
from daemon.aaa.coa.job import Intent, Job, Kind
from daemon.aaa.coa.ladder import Kick
from daemon.aaa.coa.timers import Timers
from daemon.aaa.nas import Client, Clients
from daemon.aaa.session import TRACKED, Report, Session
from daemon.aaa.sessions import SessionTable, place
from daemon.replica.index import Index
from daemon.replica.records import Nas, Tenant
from daemon.supervise import Supervisor
from radius.codes import Attr
from radius.exchange import Schedule
from radius.grant import Grant, Rate
from radius.packet import attribute, header
from tests.daemon.conftest import Store
from tests.daemon.stack import nas as a_nas
from tests.twins.clock import ClockTwin
from tests.twins.dae import DaeTwin

START, STOP, INTERIM = 1, 2, 3
SLOW = Grant(rate=Rate(download_bps=10_000_000, upload_bps=2_000_000))
FAST = Grant(rate=Rate(download_bps=100_000_000, upload_bps=20_000_000))
CHANGE = Intent(kind=Kind.CHANGE, wanted=FAST, reason="plan-changed")
DISCONNECT = Intent(kind=Kind.DISCONNECT, reason="suspended")
QUICK = Schedule(first_s=1.0, longest_s=4.0, most_sends=3, give_up_s=10.0)


def report(number: int, status: int, seq: int, at: float, nas: str = "lab", **more: Any) -> Report:
    """Return what an accounting packet of session `number` says."""
    session_id, box = b"%08d" % number, bytes((4, 127, 0, 0, 1))
    fields: dict[str, Any] = {
        "seq": seq,
        "key": place("demo", nas, box) + b"\0" + session_id,
        "tenant": "demo",
        "nas": nas,
        "box": box,
        "acct_session_id": session_id,
        "status": status,
        "at": at,
        "heard_at": at,
        "began_at": at if status == START else None,
        "username": f"user{number}",
        "subscriber": f"S{number}",
        "class_octets": None,
        "uid": token.read(None),
        "session_time_s": None,
        "sample": None,
        "ipv6_octets": None,
        "tracked": (bytes((10, 0, 0, number % 256)),) + (None,) * (len(TRACKED) - 1),
        "terminate_cause": "admin-reset" if status == STOP else None,
    }
    return Report(**(fields | more))


class CoaStack:
    """The engine and what it lives on; time moves only by `settle_until`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = ClockTwin()
        self.sessions = SessionTable()
        self.supervisor = Supervisor(self.clock, lambda *_, **fields: self.faults.append(fields))
        self.faults: list[dict[str, object]] = []
        self.timers = Timers(self.clock, self.supervisor.spawn)
        self.client = CoaClient(self.clock, self.timers, Random(1), QUICK)
        self.twins: list[DaeTwin] = []
        self.index = Index()
        self.index.put(Tenant(id="demo"))
        self.clients = Clients(self.index)
        self.applied: list[tuple[int, Grant]] = []
        self.gone: list[int] = []
        self.events: list[tuple[str, dict[str, str | int | float]]] = []
        self.storm = False
        self.kick: Kick | None = None
        self.options = CoaOptions()
        self.engine: CoaEngine
        self._seq = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CoaStack]:
        """Run the store and the engine meanwhile."""
        async with self.store.running():
            self.engine = CoaEngine(
                self.client,
                self.sessions,
                self.store.writer,
                self.clock,
                self.timers,
                Random(2),
                self.supervisor.spawn,
                self._hooks(),
                self.options,
            )
            await self.engine.load(self.store.engine)
            self.supervisor.start("coa", self.engine.run)
            try:
                yield self
                await self.store.writer.drain()
            finally:
                self.client.close()
                await self.supervisor.stop(1.0)
                for twin in self.twins:
                    await twin.stop()

    def _hooks(self) -> Hooks:
        return Hooks(
            find=self._find,
            on_applied=self._on_applied,
            on_gone=lambda session: self.gone.append(session.uid),
            on_event=lambda kind, _session, /, **fields: self.events.append((kind, fields)),
            storm_active=lambda: self.storm,
            kick=self.kick,
        )

    def _find(self, tenant: str, name: str) -> Client | None:
        self.clients.turn()
        return self.clients.get(tenant, name)

    def _on_applied(self, session: Session, grant: Grant) -> None:
        session.applied = grant
        self.applied.append((session.uid, grant))

    def nas(self, twin: DaeTwin, name: str = "lab", **fields: Any) -> Nas:
        """Add a NAS entry for a twin."""
        self.twins.append(twin)
        base = {"id": name, "coa_address": twin.address, "coa_port": twin.port}
        entry = a_nas(**(base | fields))
        self.index.put(entry)
        return entry

    def session(self, number: int = 1, applied: Grant | None = SLOW, nas: str = "lab") -> Session:
        """Return a live session of a NAS."""
        self._seq += 1
        _, session = self.sessions.apply(report(number, START, self._seq, self.clock.wall(), nas))
        session.applied = applied
        return session

    def stop(self, session: Session) -> None:
        """Let the NAS say that the session has ended."""
        self._seq += 1
        number = int(session.acct_session_id)
        self.sessions.apply(report(number, STOP, self._seq, self.clock.wall() + 1, session.nas))

    def account(self, session: Session, attributes: bytes = b"") -> None:
        """Let an accounting packet of the session come in."""
        attributes = attribute(Attr.ACCT_SESSION_ID, session.acct_session_id) + attributes
        self.sessions.reported(session, header(4, 1, 20 + len(attributes), bytes(16)) + attributes)

    async def settle_until(
        self, done: Callable[[], bool], most_s: float = 30.0, step_s: float = 0.25
    ) -> None:
        """Let time pass in steps until `done`; what is on the wire and on the disk has its real time."""
        passed = 0.0
        while not done():
            for _ in range(5):
                await asyncio.sleep(0.001)
                if done():
                    return
            if passed >= most_s:  # no more time passes, but a slow disk may have
                for _ in range(500):
                    await asyncio.sleep(0.01)
                    if done():
                        return
            assert passed < most_s, f"not within {most_s} s"
            await self.clock.advance(step_s)
            passed += step_s

    async def settle(self) -> None:
        """Let what needs no time come to its end."""
        for _ in range(15):
            await asyncio.sleep(0.001)

    async def end(self, job: Job, most_s: float = 120.0) -> str:
        """Let time pass until the job is finished, and return how."""
        await self.settle_until(lambda: job.ended.done(), most_s)
        return job.ended.result()


def with_options(stack: CoaStack, **changes: Any) -> None:
    """Change options before the engine starts."""
    stack.options = replace(stack.options, **changes)
