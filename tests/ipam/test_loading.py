"""The book at a start: read page by page, it is what it was, however its slots lie."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ipam import store
from ipam.address import read_unit
from ipam.book import Book
from ipam.history import Party
from ipam.kinds import Cause, Kind, Order
from ipam.lease import Bundle, Standing, Wanted
from ipam.loading import load
from ipam.model import Pool, Reservation
from ipam.register import Register
from ipam.restore import faults, restore
from ipam.schema import METADATA
from ipam.steward import Steward
from tests.ipam.pools import TENANT, fixed, pool, request, units, v4

AT = 1_800_000_000.0
HOME = pool("home", Kind.V4, "10.0.0.0/24", "10.2.0.0/24", exclusions=((0x0A000009, 0x0A00000B),))
SHUFFLED = pool("delegated", Kind.PD, "2001:db8::/40", order=Order.SHUFFLED, key=b"k")
POOLS = (HOME, SHUFFLED)
BOTH = (v4("home"), Wanted(Kind.PD, ("delegated",)))


class Edge:
    """A register with its book, and where it is stored."""

    def __init__(self, engine: AsyncEngine, pools: tuple[Pool, ...]) -> None:
        self.engine = engine
        self.register = Register("edge", 1)
        self.book = Book(self.register)
        self.steward = Steward(self.register, self.book)
        for each in pools:
            self.register.add_pool(each)

    def take(self, owner: str, *wanted: Wanted, now: float = 0.0) -> Bundle:
        party = Party(owner, "bng-1", f"line of {owner}", "")
        got = self.book.take(owner, request(*wanted, party=party), now, AT + now)
        assert isinstance(got, Bundle), got
        return got

    async def write(self) -> None:
        batch = self.register.batch()
        if batch is not None:
            async with self.engine.begin() as connection:
                await store.save_batch(connection, batch)
            self.register.ledger.confirm()

    def standings(self) -> set[Standing]:
        return {
            self.book.standing(shelf, cell, 0.0, AT)
            for shelf in self.register.shelves.values()
            for cell in shelf.allocator.all_cells()
        }


def bundles(edge: Edge) -> set[tuple[object, ...]]:
    """Return the bundles with their slots, sessions and times."""
    return {
        (live.id, live.key, live.session, live.due, *(tenure.unit for *_, tenure in live.members))
        for live in edge.book.bundles()
    }


def with_store(where: Path, scenario: Callable[[AsyncEngine], Awaitable[None]]) -> None:
    async def run() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{where / 'ipam.db'}")
        async with engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        try:
            await scenario(engine)
        finally:
            await engine.dispose()

    asyncio.run(run())


async def loaded(engine: AsyncEngine, page_rows: int, *pools: Pool) -> tuple[Edge, int]:
    again = Edge(engine, pools or POOLS)
    async with engine.connect() as connection:
        return again, await load(connection, again.register, again.book, 0.0, page_rows)


async def live_through(edge: Edge, chance: random.Random) -> None:
    """Let some come, stay, go and come back; set something aside far beyond what was used."""
    for far in ("10.0.0.200", "10.0.0.201", "10.0.0.202"):
        edge.steward.reserve(Reservation(tenant=TENANT, vrf="", unit=read_unit(far), owner=far), AT)
    for number in range(60):
        now = float(number)
        wanted = chance.choice((BOTH, (v4("home"),), (fixed(f"203.0.113.{number}"), v4("home"))))
        bundle = edge.take(f"owner{chance.randrange(40)}", *wanted, now=now)
        if chance.random() < 0.7:
            edge.book.bind(bundle.id, f"s{number}", now, AT + now)
        if chance.random() < 0.4:
            edge.book.release(bundle.id, Cause.STOP, now, AT + now)
        edge.book.expire_due(now, AT + now, 100)
        if number % 7 == 0:
            await edge.write()
    await edge.write()


@pytest.mark.parametrize("page_rows", [1, 3, 1000])
def test_pages_of_any_size_make_the_same_book_as_all_rows_at_once(tmp_path: Path, page_rows: int) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        edge = Edge(engine, POOLS)
        await live_through(edge, random.Random(page_rows))
        again, strangers = await loaded(engine, page_rows)
        whole = Edge(engine, POOLS)
        async with engine.connect() as connection:
            restore(whole.register, whole.book, await store.load_rows(connection), 0.0)
        assert strangers == 0
        assert faults(again.register) == ()
        assert again.standings() == whole.standings()
        named = {(each.unit, each.owner, each.state, each.session, each.party) for each in again.standings()}
        for each in edge.standings():
            assert not each.session or (each.unit, each.owner, each.state, each.session, each.party) in named
        assert bundles(again) == bundles(whole)

    with_store(tmp_path, scenario)


def test_nobody_gets_what_is_leased_after_a_start(tmp_path: Path) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        edge = Edge(engine, POOLS)
        await live_through(edge, random.Random(7))
        again, _ = await loaded(engine, 5)
        live = [member for each in again.book.bundles() for member in each.members]
        held = [str(tenure.unit) for _, _, tenure in live]
        for number in range(40):
            held += units(again.take(f"new{number}", *BOTH))
        assert len(held) - len(set(held)) == sum(tenure.claims - 1 for *_, tenure in set(live))
        assert faults(again.register) == ()

    with_store(tmp_path, scenario)


def test_a_bundle_of_two_pools_is_one_again(tmp_path: Path) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        edge = Edge(engine, POOLS)
        bundle = edge.take("ann", *BOTH)
        edge.book.bind(bundle.id, "s1", 1.0, AT)
        await edge.write()
        again, _ = await loaded(engine, 1)
        assert len(again.book) == 1
        assert again.book.expire_due(99.0, AT + 99, 10) == 0  # it has its whole lease time again
        assert again.book.release(bundle.id, Cause.STOP, 99.0, AT, session="s1") is not None
        for name in ("home", "delegated"):
            usage = again.register.utilisation(TENANT, name)
            assert usage is not None
            assert (usage.bound, usage.held) == (0, 1)

    with_store(tmp_path, scenario)


def test_an_owner_of_two_waiting_slots_gets_the_later_one_back(tmp_path: Path) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        edge = Edge(engine, POOLS)
        await write_two_ended_leases(edge)
        again, _ = await loaded(engine, 1)
        assert units(again.take("ann", v4("home"))) == ["10.0.0.1"]

    with_store(tmp_path, scenario)


async def write_two_ended_leases(edge: Edge) -> None:
    """Store two slots that say that they are kept for the same owner, as two nodes may have written them."""
    for owner in ("ann", "bob"):
        bundle = edge.take(owner, v4("home"))
        edge.book.release(bundle.id, Cause.STOP, 1.0, AT + (1 if owner == "ann" else 2))
    batch = edge.register.batch()
    assert batch is not None
    rows = tuple(row._replace(owner="ann") for row in batch.rows)
    async with edge.engine.begin() as connection:
        await store.save_batch(connection, batch._replace(rows=rows))


def test_slots_of_a_pool_that_is_gone_are_counted(tmp_path: Path) -> None:
    async def scenario(engine: AsyncEngine) -> None:
        edge = Edge(engine, POOLS)
        for number in range(5):
            edge.take(f"owner{number}", *BOTH)
        await edge.write()
        again, strangers = await loaded(engine, 2, HOME)
        assert strangers == 5
        assert len(again.book) == 5
        assert faults(again.register) == ()

    with_store(tmp_path, scenario)


def test_who_and_where_is_asked_only_when_a_lease_begins() -> None:
    register = Register("edge", 1)
    register.add_pool(HOME)
    book = Book(register)
    asked: list[str] = []

    def party() -> Party:
        asked.append("asked")
        return Party("ann", "bng-1", "line 1", "02:00:00:00:00:01")

    first = book.take("ann", request(v4("home")), 0.0, AT, party)
    again = book.take("ann", request(v4("home")), 1.0, AT, party)
    assert isinstance(first, Bundle)
    assert isinstance(again, Bundle)
    assert asked == ["asked"]
    assert again.id == first.id
    batch = register.batch()
    assert batch is not None
    assert batch.rows[0][14:18] == ("ann", "bng-1", "line 1", "02:00:00:00:00:01")
