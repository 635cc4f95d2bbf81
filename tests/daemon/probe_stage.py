"""A register of addresses with its conflict probes, in time that a test moves; the wire is a twin."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from ipaddress import ip_network
from typing import Any

from daemon.leases.probe import InUse, Method, NotAsked, Outcome, Query, Silent
from daemon.leases.prober import ProbeOptions, Prober, Reach
from daemon.leases.probing import Found, Probing
from ipam.address import read_unit
from ipam.book import Book
from ipam.history import Party
from ipam.kinds import Cause, LeaseState
from ipam.lease import Bundle, Wanted
from ipam.ledger import Batch
from ipam.model import Pool
from ipam.register import Register
from ipam.steward import Steward
from tests.ipam.pools import TENANT, Disk, request
from tests.twins.clock import ClockTwin, settle

STRANGER = "02:00:00:00:00:66"
AHEAD_S = 10.0


class WireTwin:
    """Answers as it is told: by address a MAC or a NotAsked, else silence; each takes `takes_s`."""

    def __init__(self, clock: ClockTwin) -> None:
        self.there: dict[str, str | NotAsked] = {}
        self.takes_s = 1.0
        self.asked: list[tuple[float, str]] = []
        self.stopped = False
        self._clock = clock

    async def ask(self, query: Query) -> Outcome:
        self.asked.append((self._clock.monotonic(), str(query.address)))
        await self._clock.sleep(self.takes_s)
        found = self.there.get(str(query.address))
        if found is None:
            return Silent((Method.ARP,))
        return found if isinstance(found, NotAsked) else InUse(found, Method.ARP, 0.001)

    async def stop(self) -> None:
        self.stopped = True


def options(**settings: Any) -> ProbeOptions:
    """Return settings for 192.0.2.0/24, enabled, ten a second."""
    reach = Reach(interface="edge0", prefixes=(ip_network("192.0.2.0/24"),))
    fields: dict[str, Any] = {"enabled": True, "reaches": (reach,), "ahead_s": AHEAD_S, "burst": 1}
    return ProbeOptions(**(fields | settings))


class ProbeStage:
    """Pools, their book, and probes of what is about to come free."""

    def __init__(self, *pools: Pool, disk: Disk | None = None, **settings: Any) -> None:
        self.clock = ClockTwin()
        self.wire = WireTwin(self.clock)
        self.disk = disk or Disk()
        self.register = Register("edge", self.disk.next_boot(), self.disk.chain_end("edge"))
        for each in pools:
            self.register.add_pool(each)
        self.book = Book(self.register)
        self.steward = Steward(self.register, self.book)
        self.prober = Prober(options(**settings), self.wire, self.clock)
        self.found: list[Found] = []
        self.tasks: list[asyncio.Task[object]] = []
        self.probing = Probing(self.steward, self.prober, self.clock, self.spawn, self.found.append)

    def spawn(self, coroutine: Coroutine[Any, Any, object], name: str) -> None:
        self.tasks.append(asyncio.create_task(coroutine, name=name))

    async def wait(self, seconds: float) -> None:
        """Let time pass as the daemon does: look ahead and expire once a second."""
        for _ in range(round(seconds)):
            self.probing.turn()
            await settle()
            self.book.expire_due(self.clock.monotonic(), self.clock.wall(), 100_000)
            await self.clock.advance(1.0)
            await settle()
        assert [task.exception() for task in self.tasks if task.done() and task.exception()] == []

    def login(self, owner: str, *wanted: Wanted, mac: str = "") -> Bundle:
        """Log in and begin a session."""
        party = Party(owner, "bng-1", "", mac)
        now, at = self.clock.monotonic(), self.clock.wall()
        got = self.book.take(owner, request(*wanted, party=party), now, at)
        assert isinstance(got, Bundle), got
        self.book.bind(got.id, f"session of {owner}", now, at)
        return got

    def logout(self, bundle: Bundle) -> None:
        self.book.release(bundle.id, Cause.STOP, self.clock.monotonic(), self.clock.wall())

    def state(self, address: str) -> LeaseState:
        place = self.register.locate(TENANT, "", read_unit(address))
        assert place is not None
        shelf, slot = place
        cell = shelf.allocator.cell_at(slot)
        return LeaseState.FREE if cell < 0 else list(LeaseState)[shelf.allocator.states[cell]]

    def store(self) -> Batch | None:
        """Write what has changed to the disk; return it."""
        batch = self.register.batch()
        if batch is not None:
            self.disk.write(batch)
            self.register.ledger.confirm()
        return batch

    def asked(self) -> Mapping[str, float]:
        """Return what was asked, with the time of the first question."""
        times: dict[str, float] = {}
        for at, address in self.wire.asked:
            times.setdefault(address, at)
        return times
