"""Leases, history and definitions in SQLite and, where it is installed, PostgreSQL."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ipam import definition_rows, store
from ipam.address import read_unit
from ipam.block_rows import blocks_of, claim_block, release_block, save_blocks, take_over_block
from ipam.blocks import divide, gain_block, lose_block, outdated
from ipam.book import Book
from ipam.history import Chain, broken
from ipam.kinds import Cause, Kind, LeaseState, Order, Shortage
from ipam.lease import Bundle, Exhausted, Wanted
from ipam.model import Match, Pool, Reservation, Selector, Vrf
from ipam.register import Register
from ipam.restore import faults, restore
from ipam.schema import EVENT, LEASE, METADATA
from ipam.tree import Prefix
from tests.ipam.pools import TENANT, fixed, pool, request, v4
from tests.ipam.postgres import bin_dir, postgresql

AT = 1_800_000_000.0
HOME = pool("home", Kind.V4, "10.0.0.0/28")
DELEGATED = pool("delegated", Kind.PD, "2001:db8::/40", order=Order.SHUFFLED, key=b"k")
BOTH = (v4("home"), Wanted(Kind.PD, ("delegated",)))


@pytest.fixture(scope="session")
def server() -> Iterator[str | None]:
    """The URL of a PostgreSQL server, None where it or its driver is not installed."""
    where = bin_dir()
    if where is None or find_spec("asyncpg") is None:
        yield None
        return
    with postgresql(where) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'ipam.db'}"
    return shared(request.getfixturevalue("server"))


def shared(server: str | None) -> str:
    if server is None:
        pytest.skip("PostgreSQL or asyncpg is not installed")
    return server


@asynccontextmanager
async def database(url: str) -> AsyncIterator[AsyncEngine]:
    """Yield an engine on a database that has the tables, empty."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.drop_all)
        await connection.run_sync(METADATA.create_all)
    try:
        yield engine
    finally:
        await engine.dispose()


def with_database(url: str, scenario: Callable[[AsyncEngine], Awaitable[None]]) -> None:
    async def run() -> None:
        async with database(url) as engine:
            await scenario(engine)

    asyncio.run(run())


class Edge:
    """A register and its book on a database."""

    def __init__(self, engine: AsyncEngine, name: str = "edge") -> None:
        self.engine = engine
        self.name = name
        self.now = 0.0

    async def start(self, *pools: Pool, divided: bool = False) -> Edge:
        async with self.engine.begin() as connection:
            boot = await store.next_boot(connection, self.name, AT)
            self.register = Register(self.name, boot, await store.chain_end(connection, self.name))
            self.book = Book(self.register)
            for each in pools:
                self.register.add_pool(each, divided=divided)
            if not divided:
                restore(self.register, self.book, await store.load_rows(connection), self.now)
        return self

    async def write(self) -> bool:
        """Store what waits; False where blocks were lost instead."""
        batch = self.register.batch()
        if batch is None:
            return True
        try:
            async with self.engine.begin() as connection:
                await store.save_batch(connection, batch)
        except store.Fenced as fenced:
            self.register.ledger.refuse()
            for fence in fenced.lost:
                lose_block(self.register, self.book, fence.tenant, fence.pool, fence.block, self.now, AT)
            return False
        self.register.ledger.confirm()
        return True

    def take(self, owner: str, *wanted: Wanted) -> Bundle:
        got = self.book.take(owner, request(*wanted), self.now, AT)
        assert isinstance(got, Bundle), got
        return got


def test_what_was_stored_is_there_after_a_restart(url: str) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        edge = await Edge(engine).start(HOME, DELEGATED)
        live = edge.take("ann", *BOTH, fixed("203.0.113.0/29"))
        gone = edge.take("bob", *BOTH)
        assert await edge.write()
        assert edge.book.durable(live)
        edge.book.bind(live.id, "s1", 1.0, AT + 1)
        edge.book.release(gone.id, Cause.STOP, 2.0, AT + 2)
        assert await edge.write()
        again = await Edge(engine).start(HOME, DELEGATED)
        assert faults(again.register) == ()
        assert again.book.bundles_of(TENANT, "ann") == (live.id,)
        assert [lease.unit for lease in again.take("bob", *BOTH).leases] == [
            lease.unit for lease in gone.leases
        ]
        usage = again.register.utilisation(TENANT, "home")
        assert usage is not None
        assert (usage.bound, usage.tentative, usage.free) == (1, 1, 14)
        assert again.take("cy", v4("home")).id > live.id

    with_database(url, scenario)


@pytest.mark.parametrize("logins", [1, 3, 85, 600])
def test_a_batch_of_any_size_is_stored_as_a_whole(url: str, logins: int) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        wide = pool("home", Kind.V4, "10.0.0.0/16")
        edge = await Edge(engine).start(wide)
        for number in range(logins):
            edge.take(f"owner{number}", v4("home"))
        assert await edge.write()
        for number in range(0, logins, 2):
            edge.book.bind(edge.take(f"owner{number}", v4("home")).id, f"s{number}", 1.0, AT + number)
        assert await edge.write()
        async with engine.connect() as connection:
            assert await check(connection, Chain("edge")) is None
            assert (await store.chain_end(connection, "edge")).seq == logins + (logins + 1) // 2
            stored = {
                (row.slot, row.owner, row.state, row.session) for row in await store.load_rows(connection)
            }
        bound = {True: ("bound", "s{}"), False: ("tentative", "")}
        expected = {
            (n, f"owner{n}", bound[n % 2 == 0][0], bound[n % 2 == 0][1].format(n)) for n in range(logins)
        }
        assert stored == expected
        again = await Edge(engine).start(wide)
        assert faults(again.register) == ()
        assert len(again.book) == logins

    with_database(url, scenario)


def test_the_chain_of_events_holds_in_the_store_and_shows_what_was_altered(url: str) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        edge = await Edge(engine).start(HOME)
        for number in range(6):
            taken = edge.take(f"owner{number}", v4("home"))
            edge.book.bind(taken.id, f"s{number}", 1.0, AT + number + 0.123456789)
            await edge.write()
        async with engine.begin() as connection:
            assert await check(connection, Chain("edge")) is None
            assert await store.prune(connection, "edge", AT + 2.0, most=1000) == 5
            assert await check(connection, await store.kept_from(connection, "edge")) is None
            assert (await store.chain_end(connection, "edge")).seq == 12
            await connection.execute(update(EVENT).where(EVENT.c.seq == 9).values(owner="mallory"))
            assert await check(connection, await store.kept_from(connection, "edge")) == 9

    with_database(url, scenario)


async def check(connection: AsyncConnection, after: Chain) -> int | None:
    events = [event async for event in store.events_of(connection, "edge", after)]
    assert events
    return broken(events, Chain(after.book, after.seq, after.hash))


def test_the_history_of_an_address_is_found_latest_first(url: str) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        edge = await Edge(engine).start(
            pool("one", Kind.V4, "10.0.0.1", hold_s=0, quarantine_s=0, min_reuse_s=0)
        )
        for number, owner in enumerate(("ann", "bob")):
            taken = edge.book.take(owner, request(v4("one")), 0.0, AT + 10 * number)
            assert isinstance(taken, Bundle)
            edge.book.release(taken.id, Cause.STOP, 0.0, AT + 10 * number + 5)
        await edge.write()
        async with engine.connect() as connection:
            found = await store.history_of(connection, TENANT, "", "10.0.0.1", AT + 12, most=2)
            assert [(event.change.owner, event.change.cause) for event in found] == [
                ("bob", Cause.LOGIN),
                ("ann", Cause.STOP),
            ]
            assert await store.history_of(connection, TENANT, "other", "10.0.0.1", AT + 99, most=2) == []

    with_database(url, scenario)


def test_a_refused_write_leaves_nothing_behind_and_the_next_has_all_of_it(url: str) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        edge = await Edge(engine).start(HOME)
        taken = edge.take("ann", v4("home"))
        batch = edge.register.batch()
        assert batch is not None
        async with engine.connect() as connection:
            await store.save_batch(connection, batch)
            await connection.rollback()  # the disk was full
        async with engine.connect() as connection:
            end = await store.chain_end(connection, "edge")
        assert not edge.register.ledger.settle(end.seq)
        edge.take("bob", v4("home"))
        assert await edge.write()
        assert edge.book.durable(taken)
        async with engine.connect() as connection:
            assert {row.owner for row in await store.load_rows(connection)} == {"ann", "bob"}

    with_database(url, scenario)


def test_the_database_itself_refuses_a_second_owner_of_an_address(url: str) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        for name in ("one", "two"):
            edge = await Edge(engine, name).start(pool(name, Kind.V4, "10.0.0.1"))
            edge.take("ann", v4(name))
            if name == "one":
                await edge.write()
            else:
                with pytest.raises((IntegrityError, sqlite3.IntegrityError)):  # of SQLite the driver's own
                    await edge.write()

    with_database(url, scenario)


def test_definitions_read_back_as_they_were_written(url: str) -> None:
    nat = pool("nat", Kind.CGN_BLOCK, "203.0.113.0/24", unit_length=1000, site="north")
    odd = replace(DELEGATED, exclusions=((2**127, 2**127 + 5),), fallbacks=("a", "b"))
    attribute = Match(tenant=TENANT, plan="gold", attribute=("realm", "x"))
    selector = Selector(
        name="s", priority=3, match=attribute, pools=((Kind.V4, ("a", "b")), (Kind.PD, ("c",)))
    )
    reservation = Reservation(tenant=TENANT, vrf="v", unit=read_unit("2001:db8::1"), owner="ann", name="her")
    prefix = Prefix(tenant=TENANT, vrf="v", unit=read_unit("10.0.0.0/8"), role="infra", site="n", name="all")
    vrf = Vrf(tenant=TENANT, name="v", distinguisher="65000:1")

    async def scenario(engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            for _ in range(2):
                for each in (nat, odd):
                    await definition_rows.save_pool(connection, each)
                await definition_rows.save_selector(connection, selector)
                await definition_rows.save_reservation(connection, reservation)
                await definition_rows.save_prefix(connection, prefix)
                await definition_rows.save_vrf(connection, vrf)
            assert await definition_rows.load_pools(connection) == [odd, nat]
            assert await definition_rows.load_selectors(connection) == [selector]
            assert await definition_rows.load_reservations(connection) == [reservation]
            assert await definition_rows.load_prefixes(connection) == [prefix]
            assert await definition_rows.load_vrfs(connection) == [vrf]
            assert await definition_rows.delete_pool(connection, TENANT, "nat")
            assert await definition_rows.delete_selector(connection, TENANT, "s")
            assert await definition_rows.delete_prefix(connection, TENANT, "v", prefix.unit)
            assert await definition_rows.delete_reservation(connection, TENANT, "v", reservation.unit)
            assert await definition_rows.load_pools(connection) == [odd]

    with_database(url, scenario)


def test_blocks_have_one_owner_each_and_a_generation_for_each_owner(url: str) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await save_blocks(connection, TENANT, "home", divide(16, 8))
            one = await claim_block(connection, TENANT, "home", "north", AT)
            two = await claim_block(connection, TENANT, "home", "south", AT)
            assert one is not None
            assert two is not None
            assert (one.first_slot, one.last_slot, two.first_slot) == (0, 7, 8)
            assert await claim_block(connection, TENANT, "home", "south", AT) is None
            assert not await release_block(connection, one, "south")
            assert await release_block(connection, one, "north")
            taken = await take_over_block(connection, two, "south", "north", AT)
            assert taken is not None
            assert taken.generation == two.generation + 1
            assert await take_over_block(connection, two, "south", "north", AT) is None
            assert await blocks_of(connection, "north") == [taken]

    with_database(url, scenario)


def test_a_node_that_lost_its_block_cannot_store_a_lease_of_it(url: str) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        north = await Edge(engine, "north").start(HOME, divided=True)
        async with engine.begin() as connection:
            await save_blocks(connection, TENANT, "home", divide(16, 8))
            block = await claim_block(connection, TENANT, "home", "north", AT)
        assert block is not None
        gain_block(north.register, north.book, block, (), 0.0, AT)
        kept = north.take("ann", v4("home"))
        assert await north.write()
        lost = north.take("bob", v4("home"))
        async with engine.begin() as connection:
            assert await take_over_block(connection, block, "north", "south", AT) is not None
            assert outdated(north.register, [block]) == ()
            assert outdated(north.register, await blocks_of(connection, "north")) == ((TENANT, "home", 0),)
        assert not await north.write()
        assert not north.book.durable(lost)
        assert not north.book.stands(kept.id)
        got = north.book.take("cy", request(v4("home")), 0.0, AT)
        assert isinstance(got, Exhausted)
        assert got.reason is Shortage.NO_BLOCK
        async with engine.connect() as connection:
            rows = await store.load_block_rows(connection, TENANT, "home", 0, 7)
            assert [(row.owner, row.state) for row in rows] == [("ann", LeaseState.TENTATIVE)]
            assert await store.forget_slots(connection, TENANT, "home", 0, 7) == 1

    with_database(url, scenario)


def test_nodes_that_look_for_a_block_at_once_get_different_ones(server: str | None) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await save_blocks(connection, TENANT, "home", divide(400, 10))

        async def claim(node: str) -> list[int]:
            mine = []
            for _ in range(5):
                async with engine.begin() as connection:
                    block = await claim_block(connection, TENANT, "home", node, AT)
                    await asyncio.sleep(random.random() * 0.01)
                assert block is not None
                mine.append(block.first_slot)
            return mine

        claimed = await asyncio.gather(*(claim(f"node{number}") for number in range(8)))
        every = [first for mine in claimed for first in mine]
        assert len(every) == len(set(every)) == 40

    with_database(shared(server), scenario)


def test_two_nodes_on_one_database_never_tell_an_address_twice(server: str | None) -> None:
    """Both allocate at once; blocks are taken over at random, and whoever lost one finds out by its write."""

    async def scenario(engine: AsyncEngine) -> None:
        chance = random.Random(7)
        async with engine.begin() as connection:
            await save_blocks(connection, TENANT, "home", divide(16, 2))
        told: dict[str, str] = {}

        async def claim_or_take_over(edge: Edge, other: str) -> None:
            async with engine.begin() as connection:
                block = await claim_block(connection, TENANT, "home", edge.name, AT)
                theirs = await blocks_of(connection, other)
                if block is None and theirs and chance.random() < 0.3:
                    block = await take_over_block(connection, chance.choice(theirs), other, edge.name, AT)
                rows = (
                    []
                    if block is None
                    else await store.load_block_rows(
                        connection, TENANT, "home", block.first_slot, block.last_slot
                    )
                )
            if block is not None:
                gain_block(edge.register, edge.book, block, rows, edge.now, AT)

        async def run(name: str, other: str) -> None:
            edge = await Edge(engine, name).start(HOME, divided=True)
            for number in range(60):
                owner = f"{name}{number % 12}"
                got = edge.book.take(owner, request(v4("home")), edge.now, AT)
                if isinstance(got, Exhausted):
                    await claim_or_take_over(edge, other)
                    continue
                while not await edge.write():
                    pass
                if edge.book.durable(got):
                    # No lease ends here, so whoever was told an address has it for good.
                    assert told.setdefault(str(got.leases[0].unit), owner) == owner

        await asyncio.gather(run("north", "south"), run("south", "north"))
        assert len(told) == 16
        async with engine.connect() as connection:
            rows = [row for row in await store.load_rows(connection) if row.state == LeaseState.TENTATIVE]
            assert {row.address: row.owner for row in rows} == told
            for name in ("north", "south"):
                events = [event async for event in store.events_of(connection, name, Chain(name))]
                assert broken(events, Chain(name)) is None

    with_database(shared(server), scenario)


def test_rows_and_columns_have_the_same_order() -> None:
    from ipam.history import Change
    from ipam.ledger import LeaseRow

    assert LEASE.c.keys() == list(LeaseRow._fields)
    assert EVENT.c.keys() == ["book", "seq", *Change._fields, "hash"]
