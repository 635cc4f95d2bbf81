"""Definitions on a real store, with logins beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon import events
from daemon.events import Events
from daemon.leases.addresses import Addresses, AddressOptions
from daemon.leases.definitions import Definitions
from daemon.replica.index import Index
from daemon.replica.pools import UNIT_LENGTHS, PoolSpec, canonical, range_space
from daemon.replica.records import Record, Tenant
from daemon.store.writer import Writer
from ipam.address import read_unit
from ipam.history import Party
from ipam.kinds import STATES, Cause, Kind, LeaseState
from ipam.lease import Bundle, Conflict, Exhausted, Request, Wanted
from ipam.model import Match, Pool, Problem, Selector
from ipam.restore import faults
from tests.daemon.conftest import Store
from tests.daemon.stack import subscriber
from tests.twins.clock import ClockTwin

TENANT = "demo"


def pool(name: str, kind: Kind = Kind.V4, **settings: Any) -> Pool:
    """Return a pool without ranges, with short times."""
    times = {"hold_s": 30.0, "quarantine_s": 50.0, "min_reuse_s": 10.0, "tentative_s": 20.0}
    settings = {"unit_length": UNIT_LENGTHS[kind], "vrf": "", **times, **settings}
    return Pool(tenant=TENANT, name=name, kind=kind, ranges=(), **settings)


def spec(name: str, *ranges: str, kind: Kind = Kind.V4, **settings: Any) -> PoolSpec:
    """Return a pool as the platform's data have it."""
    space = range_space(kind)
    return PoolSpec(
        pool=pool(name, kind, **settings), ranges=tuple(canonical(space, each) for each in ranges)
    )


def selector(name: str, *pools: str, kind: Kind = Kind.V4, priority: int = 10, **match: Any) -> Selector:
    return Selector(
        name=name, priority=priority, match=Match(tenant=TENANT, **match), pools=((kind, tuple(pools)),)
    )


def fixed(name: str, address: str, **fields: Any) -> Record:
    """Return a subscriber with a fixed address; its id is the name in capitals."""
    return subscriber(name, None, ipv4_address=IPv4Address(address), **fields)


def _unlogged(_event: str, /, **_fields: object) -> None:
    """Log nothing."""


class Stage:
    """One node: a book, its definitions and the data; `restart` is what a crash and a start would leave."""

    def __init__(self, engine: AsyncEngine, *, shared: bool = False, node: str = "edge") -> None:
        self.engine = engine
        self.clock = ClockTwin()
        self.shared, self.node = shared, node
        self.index = Index()
        self.index.put(Tenant(id=TENANT, name="Demo"))
        self.tasks: list[asyncio.Task[object]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Stage]:
        """Run the writer, read back what is stored, converge."""
        await self._begin()
        try:
            yield self
        finally:
            await self._end()

    async def _begin(self) -> None:
        self.writer = Writer(self.engine, self.clock.monotonic, lambda _seconds, _durable: None)
        self._task = asyncio.create_task(self.writer.run())
        options = AddressOptions(node=self.node, shared=self.shared)
        self.addresses: Addresses[object] = Addresses(self.engine, self.writer, self.clock, options)
        self.addresses.serve(lambda _: None, lambda _: None)
        await self.addresses.restore()
        self.events = Events(1000, self.clock.wall, _unlogged, self.clock.monotonic)
        if "definition-refused" not in self.events.counts:  # not yet in daemon.events.KINDS
            events._NAMES |= {"definition-refused"}
            self.events.counts["definition-refused"] = 0
        self.definitions = Definitions(self.addresses, self.index, self.events, self.spawn, 16)
        await self.definitions.start()

    async def _end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def restart(self) -> None:
        """Forget everything that is not on disk, and start again."""
        await self._end()
        await self._begin()

    def spawn(self, coroutine: Coroutine[Any, Any, object], name: str) -> None:
        self.tasks.append(asyncio.create_task(coroutine, name=name))

    # --- the data --------------------------------------------------------------------------------

    async def load(self, *records: Record, gone: Sequence[tuple[type[Record], str]] = ()) -> None:
        """Change the data as a load does, and let the definitions converge."""
        keys = [(TENANT, _kind(type(each)), each.id) for each in records]
        keys += [(TENANT, _kind(kind), key) for kind, key in gone]
        self.index.begin_load()
        for each in records:
            self.index.put(each)
        for kind, key in gone:
            self.index.remove(kind, TENANT, key)
        self.definitions.changed(keys)
        self.index.end_load()
        await self.definitions.turn()

    # --- operators -------------------------------------------------------------------------------

    async def add(self, name: str, *ranges: str, kind: Kind = Kind.V4, **settings: Any) -> Pool:
        made = await self.definitions.pools.add(pool(name, kind, **settings), ranges)
        assert isinstance(made, Pool), made
        return made

    # --- logins ----------------------------------------------------------------------------------

    def take(
        self, owner: str, *pools: str, kind: Kind = Kind.V4, unit: str = ""
    ) -> Bundle | Exhausted | Conflict:
        wanted = Wanted(kind, unit=read_unit(unit)) if unit else Wanted(kind, pools)
        request = Request(tenant=TENANT, wanted=(wanted,), party=Party(owner))
        return self.addresses.book.take(owner, request, self.clock.monotonic(), self.clock.wall())

    def login(self, owner: str, *pools: str, kind: Kind = Kind.V4, unit: str = "") -> str:
        """Log in and begin a session; return the address."""
        got = self.take(owner, *pools, kind=kind, unit=unit)
        assert isinstance(got, Bundle), got
        self.addresses.book.bind(got.id, owner, self.clock.monotonic(), self.clock.wall())
        return str(got.leases[0].unit)

    def logout(self, owner: str) -> None:
        for bundle in self.addresses.book.bundles_of(TENANT, owner):
            self.addresses.book.release(bundle, Cause.STOP, self.clock.monotonic(), self.clock.wall())

    def expire(self, seconds: float) -> None:
        """Let time pass for the book."""
        self.clock._now += seconds  # nobody sleeps
        book = self.addresses.book
        while book.expire_due(self.clock.monotonic(), self.clock.wall(), 10_000, lambda _name: True):
            pass

    def state(self, address: str, vrf: str = "") -> LeaseState:
        place = self.addresses.register.locate(TENANT, vrf, read_unit(address))
        assert place is not None, f"{address} is no slot"
        cell = place[0].allocator.cell_at(place[1])
        return LeaseState.FREE if cell < 0 else STATES[place[0].allocator.states[cell]]

    @asynccontextmanager
    async def full_disk(self, table: str) -> AsyncIterator[None]:
        """Let the store refuse to write to a table."""

        async def begin(connection: AsyncConnection) -> None:
            for change in ("INSERT", "UPDATE", "DELETE"):
                await connection.execute(
                    text(
                        f"CREATE TRIGGER full_{change} BEFORE {change} ON {table} "
                        f"BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
                    )
                )

        async def end(connection: AsyncConnection) -> None:
            for change in ("INSERT", "UPDATE", "DELETE"):
                await connection.execute(text(f"DROP TRIGGER full_{change}"))

        await self.writer.commit(begin)
        try:
            yield
        finally:
            await self.writer.commit(end)

    async def settle(self) -> None:
        """Return when everything that has changed is on disk."""
        while self.addresses.register.ledger.waiting:
            self.addresses.lessor.wake()
            await asyncio.sleep(0)
            await self.writer.drain()


def _kind(made: type[Record]) -> str:
    names = {"PoolSpec": "pool", "SelectorSpec": "selector", "Subscriber": "subscriber", "Plan": "plan"}
    return names[made.__name__]


def slugs(answer: object) -> list[str]:
    """Return the slugs of what was refused; fails where it was done."""
    assert isinstance(answer, tuple), answer
    assert all(isinstance(each, Problem) for each in answer), answer
    return [each.slug for each in answer]


def said(answer: object) -> str:
    """Return the sentences of a refusal."""
    assert isinstance(answer, tuple), answer
    return "; ".join(each.text for each in answer)


def names(answer: object) -> list[str]:
    """Return whom a refusal is about."""
    assert isinstance(answer, tuple), answer
    return [name for each in answer for name in each.names]


Scenario = Callable[[Stage], Awaitable[None]]


def play(store: Store, scenario: Scenario) -> None:
    """Run a scenario on a store; at the end the book must be sound, and a restart must give the same pools."""

    async def run() -> None:
        async with store.running():
            stage = Stage(store.engine)
            async with stage.running():
                await scenario(stage)
                assert faults(stage.addresses.register) == ()
                before = pools_of(stage)
                await stage.settle()
                await stage.restart()
                assert faults(stage.addresses.register) == ()
                assert pools_of(stage) == before
            assert [task.exception() for task in stage.tasks if task.done() and task.exception()] == []

    asyncio.run(run())


def pools_of(stage: Stage) -> dict[str, Pool]:
    shelves = stage.addresses.register.shelves.values()
    return {each.pool.name: each.pool for each in shelves if each.pool.kind is not Kind.FIXED}
