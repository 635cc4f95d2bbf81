"""A provider in one process: the request path, the CoA engine and the data feed on a store, and BNG twins.

Packets and the disk take their real, short time; everything that waits does so on a clock that the play moves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from config.settings import Settings
from daemon import options
from daemon.aaa.assembly import Options, RequestPath
from daemon.aaa.endpoint import Port
from daemon.aaa.leasing import Held, text_reader
from daemon.aaa.session import Session, State
from daemon.events import Event, Events
from daemon.leases.addresses import Addresses, AddressOptions
from daemon.metrics import RequestCounts
from daemon.replica.index import Index
from daemon.replica.store import restore
from daemon.store.engine import open_engine
from daemon.store.migrate import migrate
from daemon.store.seal import Sealer
from daemon.store.writer import Writer
from daemon.supervise import Supervisor
from daemon.sync.apply import Apply
from daemon.sync.load import DataLoader, LoadRequest
from radius.codes import Code
from radius.dictionary import Dictionary, shipped
from tests.twins.bng import BngTwin, CpeTwin
from tests.twins.clock import ClockTwin

T0 = 1_800_000_000.0  # Friday, 2027-01-15 08:00 UTC
PASSWORD = "wonderland"
Body = dict[str, Any]

_SEAL = bytes(range(32))
_REAL_TURNS = 400  # of a millisecond: how long packets and disk may take without time passing
_dictionary: list[Dictionary] = []


def _shipped() -> Dictionary:
    """Return the dictionaries, which take a second to read, once for all plays."""
    if not _dictionary:
        _dictionary.append(shipped())
    return _dictionary[0]


class Edge:
    """One run of the daemon's inner parts on a store; a restart makes another."""

    def __init__(self, file: Path, clock: ClockTwin, faults: list[object]) -> None:
        settings = Settings()
        self.index = Index()
        self.engine = open_engine(file, busy_timeout_s=1.0, wal_checkpoint_pages=1000)
        self.writer = Writer(self.engine, clock.monotonic, lambda _seconds, _durable: None)
        self.supervisor = Supervisor(clock, lambda event, /, **fields: faults.append((event, fields)))
        self.events = Events(10_000, clock.wall, lambda _event, /, **_fields: None, clock.monotonic)
        self.addresses: Addresses[Held] = Addresses(self.engine, self.writer, clock, AddressOptions())
        self.path = RequestPath(
            self.index,
            self.engine,
            self.writer,
            clock,
            RequestCounts(),
            self.events,
            self.supervisor.spawn,
            _prompt(options.request_path(settings)),
            replace(options.enforcement(settings, {}), sweep_s=60.0),
            self.addresses,
            text_reader(_shipped()),
            lambda address, code: faults.append(("stranger", address, code)),
            lambda code: faults.append(("fault", code)),
        )
        changed = self.path.enforcement.reconciler.changed
        apply = Apply(self.index, self.writer, Sealer(_SEAL), clock, changed)
        self.loader = DataLoader(self.index, apply, _shipped())
        self._clock = clock

    async def start(self, ports: tuple[int, int]) -> None:
        """Come up as the daemon does, but for its API."""
        await migrate(self.engine)
        self.supervisor.start("writer", self.writer.run)
        await restore(self.engine, self.index, Sealer(_SEAL))
        self.path.listen(Port.AUTH, [("127.0.0.1", ports[0])])
        self.path.listen(Port.ACCT, [("127.0.0.1", ports[1])])
        await self.addresses.restore()
        await self.path.restore()
        enforcement = self.path.enforcement
        for name, run in (
            ("sessions", self.path.keeper.run),
            ("tend", self.path.tend),
            ("coa", enforcement.engine.run),
            ("reconcile", enforcement.reconciler.run),
            ("reap", lambda: enforcement.reaper.run(self._clock)),
        ):
            self.supervisor.start(name, run)
        self.path.start()

    async def stop(self) -> None:
        """Go down in order; nothing that was acknowledged is lost."""
        self.path.stop()
        await self.writer.drain()
        await self.path.keeper.flush()
        self.path.enforcement.client.close()
        await self.supervisor.stop(2.0)
        self.path.close()
        await self.engine.dispose()

    def ports(self) -> tuple[int, int]:
        """Return where it listens, for logins and for accounting."""
        auth, acct = (endpoint.socket.port for endpoint in self.path.endpoints)
        return auth, acct


def _prompt(usual: Options) -> Options:
    """Return options with timers as planned, so that a play can name them, and rejects at once."""
    return replace(usual, defaults=replace(usual.defaults, spread=0.0), reject_delay_s=0.0)


class Play:
    """What a playbook is told with. `data` are the objects that the provider has sent last, by kind and id."""

    def __init__(self, directory: Path, at: float) -> None:
        self.clock = ClockTwin(at)
        self.faults: list[object] = []
        self.data: dict[tuple[str, str], Body] = {}
        self.bngs: list[BngTwin] = []
        self._file = directory / "edge.db"
        self.edge = Edge(self._file, self.clock, self.faults)

    @property
    def path(self) -> RequestPath:
        """The request path of now."""
        return self.edge.path

    async def bng(self, name: str = "bng-1", host: str = "127.0.0.1", **body: Any) -> BngTwin:
        """Return a new BNG that is in the provider's data."""
        twin = await BngTwin(host, self.clock.wall).begin()
        twin.auth_port, twin.acct_port = self.edge.ports()
        self.bngs.append(twin)
        base = {"address": host, "secret": "testing123", "vendor": "mikrotik", "coa_port": twin.port}
        await self.provide("nas", name, **(base | body))
        return twin

    async def provide(self, kind: str, identifier: str, **changes: Any) -> None:
        """Send one object again as a provider would, with these fields changed; None takes a field away."""
        body = self.data.get((kind, identifier), {}) | changes
        self.data[(kind, identifier)] = {name: value for name, value in body.items() if value is not None}
        await self._load(kind, identifier)

    async def _load(self, kind: str, identifier: str) -> None:
        said: Body = {"kind": kind, "id": identifier, "body": self.data[(kind, identifier)]}
        if kind != "tenant":
            said["tenant"] = "demo"
        await self.edge.loader.load(LoadRequest(octets=json.dumps([said]).encode(), name="provider.json"))

    async def connect(self, bng: BngTwin, cpe: CpeTwin) -> Session:
        """Log equipment in, which must succeed, and return its session."""
        reply = await bng.login(cpe)
        assert reply.code == Code.ACCESS_ACCEPT, self.last_reason()
        await self.until(lambda: self.find(cpe) is not None and not bng.unanswered)
        session = self.find(cpe)
        assert session is not None
        return session

    def find(self, cpe: CpeTwin) -> Session | None:
        """Return the live session of equipment, as the daemon knows it."""
        live = self.path.sessions.live.of_acct_session_id("demo", cpe.session_id)
        return next((each for each in live if each.username == cpe.username), None)

    def last_reason(self) -> str:
        """Return the reason of the latest refusal of a login."""
        return next(each.reason for each in self.path.trace.newest_first() if each.reason)

    async def until(self, done: Callable[[], bool], most_s: float = 60.0, step_s: float = 0.25) -> None:
        """Let packets fly and time pass until `done`."""
        passed = 0.0
        while not done():
            for _ in range(5):
                await asyncio.sleep(0.001)
                if done():
                    return
            assert passed < most_s, f"not within {most_s} s"
            await self.clock.advance(step_s)
            passed += step_s

    async def pass_time(self, seconds: float, step_s: float = 1.0) -> None:
        """Let time pass, with a moment for packets and the disk in every step."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            await self.clock.advance(min(step_s, end - self.clock.monotonic()))
            await asyncio.sleep(0.002)

    async def settled(self) -> None:
        """Let time pass until every session was told what it should be; the effect is awaited after that."""
        await self.until(
            lambda: not self.deviating() and not self.path.keeper.counted and not self._changing()
        )

    async def confirmed(self, bng: BngTwin, cpe: CpeTwin) -> None:
        """Let equipment report once more, and time pass until no change waits for its effect."""
        await self.pass_time(5)
        bng.interim(cpe)
        await self.until(lambda: not self.path.enforcement.reconciler.deviations)

    def _changing(self) -> bool:
        for job in self.path.enforcement.engine.jobs():
            session = self.path.sessions.find_uid(job.session)
            watched = job.state == "verifying" and job.rung == "change"
            if not watched or session is None or session.closed_at is not None:
                return True
        return False

    def deviating(self) -> list[str]:
        """Return whose sessions were not told what they should be; looks at all of them now."""
        reconciler = self.path.enforcement.reconciler
        for session in self.path.sessions.snapshot():
            if session.state is not State.CLOSED:
                reconciler.look(session)
        found = [
            self.path.sessions.find_uid(uid) for uid, each in reconciler.deviations.items() if each.found
        ]
        return [session.username for session in found if session is not None]

    def events(self, *kinds: str) -> list[Event]:
        """Return the events so far, oldest first, of these kinds or all."""
        found = self.edge.events.since(0)
        return [each for each in found if not kinds or each.kind in kinds]

    def story(self, *kinds: str) -> list[tuple[str, str]]:
        """Return kind and reason of the events so far."""
        return [(each.kind, each.reason) for each in self.events(*kinds)]

    async def restart(self) -> None:
        """Stop the daemon and start it again on its store, with nobody to send it data."""
        ports = self.edge.ports()
        await self.edge.stop()
        self.edge = Edge(self._file, self.clock, self.faults)
        await self.edge.start(ports)


@asynccontextmanager
async def play(directory: Path, at: float = T0) -> AsyncIterator[Play]:
    """Run a provider with a tenant, a garden, two plans and the subscriber alice."""
    play = Play(directory, at)
    await play.edge.start((0, 0))
    garden = {"address_list": "garden", "rate": {"download": "1M", "upload": "1M"}}
    try:
        await play.provide("tenant", "demo", timezone="UTC", garden=garden)
        await play.provide("plan", "basic", download="20M", upload="4M", address_list="full")
        await play.provide("plan", "fast", download="100M", upload="20M", address_list="full")
        await play.provide(
            "subscriber", "A1", username="alice", password=PASSWORD, access_mode="active", plan="basic"
        )
        yield play
        assert play.faults == []
    finally:
        await play.edge.stop()
        for twin in play.bngs:
            await twin.end()
