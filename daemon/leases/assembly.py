"""The address work of a daemon put together: the book, its definitions, and everything that looks after them."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.events import Events
from daemon.leases import clock_quality
from daemon.leases.addresses import Addresses, AddressOptions
from daemon.leases.cgnat import Cgnat
from daemon.leases.cgnat_places import Places
from daemon.leases.coverage import BEAT_S, Coverage
from daemon.leases.definitions import Definitions
from daemon.leases.definitions_copy import DefinitionsCopy
from daemon.leases.export import Exporter
from daemon.leases.lessor import Context
from daemon.leases.next_available import NextAvailable
from daemon.leases.nodes import NodeOptions, Nodes
from daemon.leases.probe_helper import Helper
from daemon.leases.prober import ProbeOptions, Prober
from daemon.leases.probing import Found, Probing, Spawn
from daemon.leases.retention import Retention
from daemon.leases.samples import Samples
from daemon.leases.samples_outlook import Outlooks
from daemon.leases.shared_store import SharedWriter
from daemon.leases.watch import Watch
from daemon.leases.who_had import WhoHad
from daemon.replica.index import Index, Key
from daemon.store.writer import Writer

_TURN_S = 1.0

Log = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOptions:
    """What the settings say. `shared` is the engine and writer of a database that several nodes share."""

    addresses: AddressOptions
    nodes: NodeOptions
    probe: ProbeOptions
    shared: tuple[AsyncEngine, SharedWriter] | None
    name: str  # of this edge, for signed exports
    version: str
    state_dir: Path
    history_s: float  # how long it is kept who had what


class AddressWork(Generic[Context]):
    """The parts, wired. `restore` before the sessions are read back, `start` after; then run `tasks`."""

    def __init__(
        self,
        engine: AsyncEngine,
        writer: Writer,
        index: Index,
        clock: Clock,
        events: Events,
        spawn: Spawn,
        log: Log,
        options: WorkOptions,
    ) -> None:
        self._clock = clock
        self._events = events
        self._own = engine
        self.shared = options.shared
        node = options.addresses.node
        leases = (engine, writer) if options.shared is None else options.shared
        copy = None if options.shared is None else DefinitionsCopy(engine, writer)
        self.addresses: Addresses[Context] = Addresses(*leases, clock, options.addresses, copy)
        self.definitions = Definitions(self.addresses, index, events, spawn, options.nodes.block_slots)
        self.offers = NextAvailable(self.addresses, self.definitions.reservations)
        self.watch = Watch(self.addresses, events.add, clock.monotonic)
        self.coverage = Coverage(writer, node)
        self.cgnat = Cgnat(engine, writer, node, Places(self.addresses, index).problems)
        self.who_had = WhoHad(engine, leases[0], self.coverage, node, self.cgnat)
        self.exporter = Exporter(leases[0], options.state_dir, options.name, options.version)
        self.samples = Samples(self.addresses)
        self.outlooks = Outlooks(self.addresses)
        self.prober = Prober(options.probe, Helper(clock), clock)
        self.retention = Retention(writer, leases[1], self.cgnat, node, clock, options.history_s)
        self.spawn = spawn
        self._probing: Probing | None = None
        self.nodes: Nodes | None = None
        self._log = log
        self._options = options
        self.on_lost: Callable[[tuple[str, ...]], None] = _ignore  # names of sessions
        self.on_restored: Callable[[], object] = _nothing

    async def restore(self) -> None:
        """Read the book back. Raises StoreUnavailable, but not for a shared store that is away."""
        await self.coverage.begin(self._clock.wall())
        await self.cgnat.load()
        await self.addresses.restore()

    async def start(self) -> None:
        """Converge with the data, once sessions are there, too."""
        if self.shared is not None:
            self.nodes = Nodes(
                self.addresses,
                self._options.nodes,
                self._begin_anew,
                self._lost,
                self.definitions.set_aside,
                self._log,
            )
        if self.addresses.away is None:
            await self.definitions.start()
            await self.offers.resume(self._own)
        if self._options.probe.enabled and self._options.probe.reaches:
            self._probing = Probing(
                self.addresses.steward, self.prober, self._clock, self.spawn, self._tell_found
            )

    async def _begin_anew(self) -> None:
        """The shared store is back, and with it the book: bring everything else in line before a lease begins."""
        await self.definitions.start()
        self.on_restored()
        await self.offers.resume(self._own)

    def tasks(self) -> Sequence[tuple[str, Callable[[], Awaitable[None]]]]:
        """Return what is to run for ever, by name."""
        found: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("addresses", self._run),
            ("coverage", self._beat),
            ("pool-samples", self.samples.run),
            ("pool-forecasts", self.outlooks.run),
            ("history", self.retention.run),
        ]
        if self.nodes is not None:
            found.append(("nodes", self.nodes.run))
        return found

    def _lost(self, names: tuple[str, ...]) -> None:
        self.on_lost(names)

    def changed(self, keys: Sequence[Key]) -> None:
        """The data have changed."""
        self.definitions.changed(keys)

    async def _run(self) -> None:
        """Follow the data, watch thresholds, probe what is about to be given out, for ever."""
        while True:
            await self._clock.sleep(_TURN_S)
            with contextlib.suppress(StoreUnavailable):  # counted by the writer; tried again
                await self.definitions.turn()
            self.watch.turn()
            if self._probing is not None:
                self._probing.turn()

    async def _beat(self) -> None:
        """Note that the edge is alive, and how good its clock is, for ever."""
        while True:
            self.addresses.register.clock_quality = clock_quality.read().quality
            await self._clock.sleep(BEAT_S)
            with contextlib.suppress(StoreUnavailable):
                await self.coverage.beat(self._clock.wall())

    def _tell_found(self, found: Found) -> None:
        self._events.add(
            "address-conflict",
            tenant=found.tenant,
            reason="still-used-by-last-owner" if found.kept_for else "probe-answered",
            pool=found.pool,
            address=str(found.unit),
            mac=found.mac,
            method=str(found.method),
        )

    def degraded(self) -> list[str]:
        """Return what is not well, a sentence each."""
        said = [*self.watch.degraded(), *self.cgnat.problems]
        said += [each.text for each in self.definitions.problems]
        if self.nodes is not None:
            said += self.nodes.problems
        return said

    async def close(self) -> None:
        """Let go of the shared store."""
        if self.shared is not None:
            await self.shared[0].dispose()

    async def stop(self) -> None:
        """Come to an end in order: what was seen is written."""
        await self.prober.stop()
        with contextlib.suppress(StoreUnavailable):
            await self.samples.flush()
            await self.coverage.beat(self._clock.wall())


def _ignore(_names: object) -> None:
    return None


def _nothing() -> None:
    return None
