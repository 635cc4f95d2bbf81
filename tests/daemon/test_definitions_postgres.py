"""Definitions in a store that two nodes share: slots have one number for both, and both learn of every change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from daemon.errors import StoreUnavailable
from daemon.replica.pools import PoolSpec
from daemon.store.migrate import ADDRESS_BOOK, migrate
from ipam.address import read_unit
from ipam.kinds import LeaseState, PoolState
from ipam.model import Pool, Reservation, Vrf
from ipam.schema import BLOCK
from tests.daemon.definitions_stage import TENANT, Stage, pool, pools_of, slugs, spec
from tests.ipam.postgres import bin_dir, postgresql


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    where = bin_dir()
    if where is None:
        pytest.skip("no PostgreSQL server is installed")
    with postgresql(where) as found:
        yield found


async def _later(*stages: Stage) -> None:
    """Let the time pass after which a node asks the store what others have defined."""
    for stage in stages:
        stage.clock._now += 6.0
        await stage.definitions.turn()


def _pool(stage: Stage, name: str) -> Pool:
    return stage.addresses.register.shelves[TENANT, name].pool


def test_two_nodes_that_define_at_once_agree_about_every_slot(url: str) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            engines = [create_async_engine(url) for _ in range(2)]
            for engine in engines:
                stack.push_async_callback(engine.dispose)
            await migrate(engines[0], ADDRESS_BOOK)
            one, two = [
                await stack.enter_async_context(Stage(engine, shared=True, node=f"n{number}").running())
                for number, engine in enumerate(engines)
            ]
            await one.add("home", "192.0.2.0/27")
            await _later(two)
            assert _pool(two, "home") == _pool(one, "home")
            grown = await asyncio.gather(
                one.definitions.pools.resize(TENANT, "home", ["198.51.100.0/27"]),
                two.definitions.pools.resize(TENANT, "home", ["203.0.113.0/28"]),
            )
            assert all(isinstance(each, Pool) for each in grown), grown
            await _later(one, two)
            assert _pool(one, "home") == _pool(two, "home")
            spans = sorted((each.first_slot, each.slots) for each in _pool(one, "home").ranges)
            assert [first for first, _ in spans] == [0, 32, spans[1][0] + spans[1][1]]
            assert await _blocks(one) == [(first, first + 15) for first in range(0, 80, 16)]
            refused = await two.definitions.pools.add(pool("home"), ["10.0.0.0/24"])
            assert slugs(refused) == ["pool-exists"]
            await _rest(one, two)

    async def _rest(one: Stage, two: Stage) -> None:
        await two.definitions.pools.set_state(TENANT, "home", PoolState.DRAINING)
        await one.definitions.pools.resize(TENANT, "home", remove=["192.0.2.0/27"])
        unit = read_unit("2001:db8::7")
        kept = await one.definitions.reservations.reserve(
            Reservation(tenant=TENANT, vrf="", unit=unit, owner="ALICE")
        )
        assert isinstance(kept, Reservation)
        await one.definitions.prefixes.save_vrf(Vrf(tenant=TENANT, name="office"))
        await _later(one, two)
        assert _pool(one, "home") == _pool(two, "home")
        assert _pool(one, "home").state is PoolState.DRAINING
        assert len(_pool(one, "home").ranges) == 2
        assert await _blocks(one) == [(first, first + 15) for first in range(32, 80, 16)]
        assert two.state("2001:db8::7") is LeaseState.RESERVED
        assert [each.name for each in two.definitions.prefixes.vrfs()] == ["", "office"]
        assert await one.definitions.pools.delete(TENANT, "home") == ()
        await _later(two)
        assert (TENANT, "home") not in two.addresses.register.shelves
        assert await _blocks(one) == []

    asyncio.run(run())


def test_of_two_pools_that_overlap_one_is_refused_whichever_node_is_first(url: str) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            engines = [create_async_engine(url) for _ in range(2)]
            for engine in engines:
                stack.push_async_callback(engine.dispose)
            await migrate(engines[0], ADDRESS_BOOK)
            stages = [
                await stack.enter_async_context(Stage(engine, shared=True, node=f"o{number}").running())
                for number, engine in enumerate(engines)
            ]
            made = await asyncio.gather(
                *(
                    stage.definitions.pools.add(pool(f"pool-{stage.node}"), ["10.9.0.0/24"])
                    for stage in stages
                )
            )
            assert sorted(type(each).__name__ for each in made) == ["Pool", "tuple"]
            assert slugs(next(each for each in made if isinstance(each, tuple))) == ["overlap"]
            await _later(*stages)
            assert pools_of(stages[0]) == pools_of(stages[1]) != {}

    asyncio.run(run())


def test_the_same_data_on_two_nodes_make_one_pool(url: str) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            engines = [create_async_engine(url) for _ in range(2)]
            for engine in engines:
                stack.push_async_callback(engine.dispose)
            await migrate(engines[0], ADDRESS_BOOK)
            stages = [
                await stack.enter_async_context(Stage(engine, shared=True, node=f"m{number}").running())
                for number, engine in enumerate(engines)
            ]
            for wanted in (
                spec("data", "192.0.2.64/27", "192.0.2.96/28"),
                spec("data", "192.0.2.96/27"),
            ):
                await asyncio.gather(*(_load(stage, wanted) for stage in stages))
                for _ in range(8):
                    await asyncio.gather(*(_later(stage) for stage in stages))
                assert _pool(stages[0], "data") == _pool(stages[1], "data")
                assert [stage.definitions.problems for stage in stages] == [(), ()]
            assert sum(each.slots for each in _pool(stages[0], "data").ranges) == 32

    async def _load(stage: Stage, wanted: PoolSpec) -> None:
        with suppress(StoreUnavailable):  # the other was first; it is tried again
            await stage.load(wanted)

    asyncio.run(run())


async def _blocks(stage: Stage) -> list[tuple[int, int]]:
    async with stage.engine.connect() as connection:
        rows = await connection.execute(
            select(BLOCK.c.first_slot, BLOCK.c.last_slot).order_by(BLOCK.c.first_slot)
        )
        return [(row.first_slot, row.last_slot) for row in rows]
