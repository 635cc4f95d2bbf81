"""Nodes on a real PostgreSQL, each behind a network of its own, with subscribers who remember what they were told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from weakref import WeakKeyDictionary

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from daemon.clock import SystemClock
from daemon.leases import shared_book
from daemon.leases.addresses import Addresses, AddressOptions
from daemon.leases.definitions_copy import DefinitionsCopy
from daemon.leases.nodes import NodeOptions, Nodes
from daemon.leases.shared_store import SharedWriter
from daemon.store.engine import open_engine, open_shared_engine
from daemon.store.migrate import ADDRESS_BOOK, EVERYTHING, migrate
from daemon.store.writer import Writer
from ipam.address import read_unit
from ipam.block_rows import save_blocks
from ipam.blocks import divide, is_remote
from ipam.definition_rows import save_pool, save_selector
from ipam.history import Party
from ipam.kinds import Cause, Kind
from ipam.lease import Bundle, Conflict, Exhausted, Request, Sighting, Wanted
from ipam.model import Match, Pool, Selector
from tests.ipam.pools import TENANT, pool, request, v4
from tests.twins.proxy import Proxy

BLOCK_SLOTS = 4
_migrating: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def _migrate_alone(engine: AsyncEngine, wanted: str = EVERYTHING) -> None:
    """Migrate as every daemon does: alone in its process, because alembic keeps what it is doing in globals."""
    async with _migrating.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await migrate(engine, wanted)


shared_book.migrate = _migrate_alone  # type: ignore[attr-defined]


class SteppedClock(SystemClock):
    """The machine's clock, with steps, and running faster by a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.stepped_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() * self.factor

    def wall(self) -> float:
        return super().wall() + self.stepped_s

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.factor)


class Subscribers:
    """What subscribers were told, and since when each knows that its address is not its own any more.

    `free_at`: when nobody uses an address any more, by the one true time.
    """

    def __init__(self, reuse_s: float) -> None:
        self.reuse_s = reuse_s
        self.using: dict[str, tuple[str, str]] = {}  # address -> owner, node
        self.log: list[str] = []

    def told(self, node: str, owner: str, address: str) -> None:
        other = self.using.get(address)
        self.log.append(f"{node}: {address} -> {owner}")
        assert other is None or other[0] == owner, (
            f"{address} is told to {owner} by {node} while {other} has it: {self.log[-30:]}"
        )
        self.using[address] = owner, node

    def done(self, address: str, owner: str) -> None:
        if address in self.using and self.using[address][0] == owner:
            del self.using[address]
            self.log.append(f"{address} done by {owner}")


class Node:
    """One daemon's part of it, which can be killed and started again."""

    def __init__(
        self, name: str, url: str, directory: Path, subscribers: Subscribers, **options: float
    ) -> None:
        self.name = name
        self.url = url
        self.directory = directory
        self.directory.mkdir(exist_ok=True)
        self.subscribers = subscribers
        self.clock = SteppedClock()
        given = {"beat_s": 0.1, "compare_s": 0.2, "ahead_s": 1.0} | options
        self.options = NodeOptions(block_slots=BLOCK_SLOTS, **given)
        self.kicked: list[str] = []
        self.restored = 0
        self.events: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.alive = False
        self.faults: list[BaseException | None] = []
        self.waiting: set[asyncio.Future[bool]] = set()
        self.sessions: dict[str, tuple[int, str, str]] = {}  # name -> bundle, owner, address
        self._numbers = 0
        self.conflicts: list[str] = []

    async def start(self) -> None:
        """Start, as `daemon.app` does."""
        self.local = open_engine(self.directory / "edge.db", busy_timeout_s=5, wal_checkpoint_pages=1000)
        await _migrate_alone(self.local)
        self.local_writer = Writer(self.local, self.clock.monotonic, lambda *_: None)
        self.engine = open_shared_engine(
            self.url, name=self.name, connect_timeout_s=1.0, statement_timeout_s=1.0, answer_timeout_s=1.0
        )
        self.writer = SharedWriter(self.engine, self.name, self.clock.monotonic, lambda *_: None)
        self.addresses: Addresses[tuple[Bundle, asyncio.Future[bool]]] = Addresses(
            self.engine,
            self.writer,
            self.clock,
            AddressOptions(node=self.name, shared=True, hint="here"),
            DefinitionsCopy(self.local, self.local_writer),
        )
        self.addresses.notes.serve(self._hear, lambda name, _: self.conflicts.append(name))
        self.addresses.serve(lambda done: self._answer(done, True), lambda done: self._answer(done, False))
        self.tasks = [asyncio.create_task(each()) for each in (self.local_writer.run, self.writer.run)]
        for task in self.tasks:
            task.add_done_callback(self._ended)
        await self.addresses.restore()
        if self.addresses.away is None:
            self.settle()
        self.nodes = Nodes(self.addresses, self.options, self._on_restored, self._on_lost, None, self._note)
        self.tasks += [asyncio.create_task(each()) for each in (self.nodes.run, self._turns)]
        for task in self.tasks[2:]:
            task.add_done_callback(self._ended)
        self.alive = True

    async def kill(self) -> None:
        """End at once; nothing is finished."""
        self.alive = False
        for future in list(self.waiting):  # a dead daemon sends nothing
            future.set_result(False)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for engine in (self.engine, self.local):
            with contextlib.suppress(Exception):
                await engine.dispose()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that is there for ever has ended; by itself that is a fault."""
        if not task.cancelled() and task.exception() is not None:
            self.faults.append(task.exception())

    def _note(self, event: str, **fields: object) -> None:
        self.events.append(f"{event} {fields}")

    async def _on_restored(self) -> None:
        self.restored += 1
        self.settle()

    def settle(self) -> None:
        """Let the book agree with the sessions: those that are over were released meanwhile."""
        now, at = self.clock.monotonic(), self.clock.wall()
        for live in self.addresses.book.bundles():
            if live.session.isdigit() and live.session not in self.sessions:
                self.addresses.book.release(live.id, Cause.STOP, now, at)
        self.addresses.notes.clear()
        self.addresses.notes.beginning = True
        for name, (bundle, _, _) in list(self.sessions.items()):
            known = self.addresses.book.find(bundle)
            if known is not None and not known.session:
                self.addresses.book.bind(bundle, name, now, at)
            elif known is None:  # its login was elsewhere, or its block is another node's now
                self._hear(name)
        self.addresses.notes.beginning = False

    def begin(self, owner: str, address: str) -> str:
        """A session begins whose login was at another node; return its name here."""
        self._numbers += 1
        name = str(self._numbers)
        self.sessions[name] = 0, owner, address
        self._hear(name)
        return name

    def _hear(self, name: str) -> None:
        """A session reports its address, as `aaa.lease_keeping` takes it."""
        _, owner, address = self.sessions[name]
        addresses, now, at = self.addresses, self.clock.monotonic(), self.clock.wall()
        unit, party = read_unit(address), Party(owner)
        seen = addresses.steward.observe(TENANT, "", unit, owner, name, now, at, party)
        bundle = seen.bundle_id
        if seen.sighting is Sighting.KNOWN:
            live = addresses.book.find(bundle)
            if live is None or live.session:
                exact = Request(tenant=TENANT, wanted=(Wanted(Kind.V4, unit=unit),), party=party)
                taken = addresses.book.take(owner, exact, now, at)
                assert isinstance(taken, Bundle)
                bundle = taken.id
            addresses.book.bind(bundle, name, now, at)
        elif seen.sighting is Sighting.FOREIGN:
            place = addresses.register.locate(TENANT, "", unit)
            if place is not None:
                addresses.notes.add((TENANT, "shared", place[1]), name, owner, party, name)
        elif seen.sighting is Sighting.CONFLICT:
            self.conflicts.append(name)
        self.sessions[name] = bundle, owner, address

    def _on_lost(self, names: tuple[str, ...]) -> None:
        """Sessions are disconnected: their subscribers do not use the addresses any more."""
        self.kicked += names
        for name in names:
            _, owner, address = self.sessions.pop(name, (0, "", ""))
            self.addresses.notes.drop(name)
            self.subscribers.done(address, owner)

    async def _turns(self) -> None:
        while True:
            self.addresses.turn(lambda name: name in self.sessions or is_remote(name))
            await asyncio.sleep(0.05)

    def _answer(self, done: list[tuple[Bundle, asyncio.Future[bool]]], stored: bool) -> None:
        for _, future in done:
            if not future.done():
                future.set_result(stored)

    async def login(
        self, owner: str, *pools: str, start_at: Node | None = None
    ) -> str | Exhausted | Conflict | None:
        """Log in; return the address that the subscriber was told, why there is none, None: no answer.

        `start_at`: the node to which the accounting goes, if it is another one.
        """
        if not self.alive:
            return None
        now, at = self.clock.monotonic(), self.clock.wall()
        asked = request(v4(*(pools or ("shared",))), party=Party(owner))
        taken = self.addresses.book.take(owner, asked, now, at)
        if not isinstance(taken, Bundle):
            return taken
        if not self.addresses.book.durable(taken):
            future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self.waiting.add(future)
            future.add_done_callback(self.waiting.discard)
            self.addresses.lessor.wait(taken, (taken, future))
            if not await future:
                return None
        address = str(taken.leases[0].unit).partition("/")[0]
        self.subscribers.told(self.name, owner, address)
        if start_at is not None:
            start_at.begin(owner, address)
            return address
        self._numbers += 1
        name = str(self._numbers)
        if self.addresses.book.bind(taken.id, name, self.clock.monotonic(), self.clock.wall()) is None:
            self.subscribers.done(address, owner)
            return None
        self.sessions[name] = taken.id, owner, address
        return address

    def stop_session(self, name: str) -> None:
        """A session ends."""
        bundle, owner, address = self.sessions.pop(name)
        self.subscribers.done(address, owner)
        self.addresses.notes.drop(name)
        self.addresses.book.release(bundle, Cause.STOP, self.clock.monotonic(), self.clock.wall())

    async def until(self, what: str, seconds: float = 10.0) -> None:
        """Wait until an expression about this node is true."""
        async with asyncio.timeout(seconds):
            while not eval(what, {"self": self, "shelf": self.addresses.register.find(TENANT, "shared")}):
                await asyncio.sleep(0.01)


def socket_of(url: str) -> str:
    """Return the path of the server's socket."""
    return parse_qs(urlsplit(url).query)["host"][0] + "/.s.PGSQL.5432"


@asynccontextmanager
async def network(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """Yield a network to the database, and the URL that goes through it."""
    async with Proxy(socket_of(url)) as proxy:
        yield proxy, f"postgresql://edge@127.0.0.1:{proxy.port}/postgres"


async def define(url: str, *pools: Pool) -> None:
    """Begin with an empty store that has some pools, and a selector for the first."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        await connection.exec_driver_sql("CREATE SCHEMA public")
    await migrate(engine, ADDRESS_BOOK)
    async with engine.begin() as connection:
        for each in pools:
            await save_pool(connection, each)
            for part in each.ranges:
                blocks = [
                    (part.first_slot + a, part.first_slot + b) for a, b in divide(part.slots, BLOCK_SLOTS)
                ]
                await save_blocks(connection, each.tenant, each.name, blocks)
        if pools:
            match = Match(tenant=TENANT)
            await save_selector(
                connection,
                Selector(name="all", priority=1, match=match, pools=((Kind.V4, (pools[0].name,)),)),
            )
    await engine.dispose()


def shared(last: int = 31, **settings: float) -> Pool:
    """Return the pool `shared` of 10.0.0.0 to 10.0.0.`last`."""
    times = {"hold_s": 0.0, "quarantine_s": 0.0, "min_reuse_s": 0.3, "sticky": False, "lease_s": 100.0}
    return pool("shared", Kind.V4, f"10.0.0.0-10.0.0.{last}", **(times | settings))
