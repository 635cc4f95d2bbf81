"""Peaks of pools: what is kept of them, over restarts, steps of the clock and disks that refuse."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from daemon.errors import StoreUnavailable
from daemon.leases.samples import KEEP_S, Samples
from daemon.store import sample_rows
from daemon.store.sample_rows import DAY_S, HOUR_S, MINUTES_S, SAMPLE, Sample, SampleRow
from tests.daemon.conftest import Store
from tests.daemon.definitions_stage import TENANT, Stage
from tests.ipam.postgres import bin_dir, postgresql

Scenario = Callable[["Sampling"], Awaitable[None]]
MIDNIGHT = 1_800_057_600.0  # 2027-01-16T00:00:00Z


class Sampling:
    """A book of leases with one pool of 256 addresses, and its samples."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.samples = Samples(stage.addresses)
        stage.clock.jump(MIDNIGHT - stage.clock.wall())

    async def pass_time(self, seconds: float, *, minutes: int = 1) -> None:
        """Let time pass with a look every so many minutes."""
        for _ in range(int(seconds // (60 * minutes))):
            self.stage.clock._now += 60.0 * minutes
            await self.samples.turn()

    def online(self, *owners: str) -> None:
        for each in owners:
            self.stage.login(each, "home")

    async def restart(self, *, end: bool = False) -> None:
        """Crash and start again, or end in good order."""
        if end:
            await self.samples.flush()
        await self.stage.settle()
        await self.stage.restart()
        self.samples = Samples(self.stage.addresses)

    async def stored(self, width: int, pool: str = "home") -> list[Sample]:
        async with self.stage.engine.connect() as connection:
            return await sample_rows.load(connection, TENANT, pool, width, 0, 1 << 40)


def play(store: Store, scenario: Scenario) -> None:
    async def run() -> None:
        async with store.running():
            stage = Stage(store.engine)
            async with stage.running():
                await stage.writer.commit(create)
                await stage.add("home", "192.0.2.0/24", hold_s=7200.0)
                await scenario(Sampling(stage))

    asyncio.run(run())


async def create(connection: AsyncConnection) -> None:
    await connection.run_sync(lambda sync: SAMPLE.create(sync, checkfirst=True))


def used(samples: list[Sample]) -> list[tuple[float, int]]:
    """Return seconds since the midnight and the peaks."""
    return [(each.at - MIDNIGHT, each.used_peak) for each in samples]


# --- peaks -----------------------------------------------------------------------------------------


def test_the_highest_use_of_each_stretch_is_kept(store: Store) -> None:
    async def scenario(sampling: Sampling) -> None:
        await sampling.pass_time(HOUR_S)
        sampling.online("a", "b", "c")
        await sampling.pass_time(300)
        for each in "abc":
            sampling.stage.logout(each)
        sampling.stage.expire(3 * HOUR_S)
        await sampling.pass_time(600)
        assert used(await sampling.stored(DAY_S)) == [(0.0, 3)]
        assert used(await sampling.stored(HOUR_S)) == [(0.0, 0), (3600.0, 3), (14400.0, 0)]
        fives = dict(used(await sampling.stored(MINUTES_S)))
        assert (fives[3300.0], fives[3600.0], fives[3900.0]) == (0, 3, 3)
        assert 5_400.0 not in fives  # nobody looked

    play(store, scenario)


def test_what_waits_after_a_lease_is_used_and_told_apart(store: Store) -> None:
    async def scenario(sampling: Sampling) -> None:
        sampling.online("a", "b", "c")
        sampling.stage.logout("a")
        await sampling.pass_time(60)
        assert await sampling.stored(DAY_S) == [Sample(int(MIDNIGHT), 3, 1, 2, 256)]

    play(store, scenario)


def test_fixed_addresses_have_no_samples(store: Store) -> None:
    async def scenario(sampling: Sampling) -> None:
        sampling.stage.login("a", unit="198.51.100.7")
        await sampling.pass_time(60)
        async with sampling.stage.engine.connect() as connection:
            pools = set((await connection.execute(select(SAMPLE.c.pool))).scalars())
        assert pools == {"home"}

    play(store, scenario)


# --- restarts and clocks ---------------------------------------------------------------------------


@pytest.mark.parametrize("end", [False, True])
def test_the_peak_of_a_day_goes_on_after_a_restart(store: Store, end: bool) -> None:
    async def scenario(sampling: Sampling) -> None:
        sampling.online("a", "b", "c")
        await sampling.pass_time(60)
        for each in "abc":
            sampling.stage.logout(each)
        sampling.stage.expire(3 * HOUR_S)
        await sampling.restart(end=end)
        sampling.online("a")
        await sampling.pass_time(60)
        (day,) = await sampling.stored(DAY_S)
        assert (day.used_peak, day.bound_peak) == (3, 3)
        sampling.online("b", "c", "d", "e")
        await sampling.pass_time(60)
        (day,) = await sampling.stored(DAY_S)
        assert (day.used_peak, day.bound_peak) == (5, 5)

    play(store, scenario)


def test_an_end_in_good_order_loses_nothing_of_the_last_minutes(store: Store) -> None:
    async def scenario(sampling: Sampling) -> None:
        sampling.online("a")
        await sampling.pass_time(60)
        assert await sampling.stored(MINUTES_S) == []
        await sampling.restart(end=True)
        assert used(await sampling.stored(MINUTES_S)) == [(0.0, 1)]

    play(store, scenario)


def test_a_clock_that_is_set_back_counts_no_day_twice(store: Store) -> None:
    async def scenario(sampling: Sampling) -> None:
        sampling.online("a", "b")
        await sampling.pass_time(600)
        sampling.stage.clock.jump(-DAY_S)
        await sampling.pass_time(600)
        sampling.online("c")
        sampling.stage.clock.jump(DAY_S)
        await sampling.pass_time(600)
        assert used(await sampling.stored(DAY_S)) == [(-DAY_S, 2), (0.0, 3)]
        assert len(await sampling.stored(HOUR_S)) == 2

    play(store, scenario)


def test_a_clock_that_was_far_ahead_does_little_harm(store: Store) -> None:
    """What is old by the wrong clock is pruned by the time, not all at once."""

    async def scenario(sampling: Sampling) -> None:
        sampling.online("a")
        await sampling.pass_time(3 * DAY_S, minutes=60)
        before = len(await sampling.stored(HOUR_S))
        sampling.stage.clock.jump(30 * 365 * DAY_S)
        await sampling.pass_time(60)
        sampling.stage.clock.jump(-30 * 365 * DAY_S)
        await sampling.pass_time(60)
        kept = [each for each in await sampling.stored(HOUR_S) if each.at < MIDNIGHT + 4 * DAY_S]
        assert len(kept) >= before - 4

    play(store, scenario)


def test_old_peaks_go_in_the_end(store: Store) -> None:
    async def scenario(sampling: Sampling) -> None:
        old = [
            SampleRow(
                width, int(MIDNIGHT) - KEEP_S[width] - number * width, TENANT, "home", "edge", 1, 0, 1, 9
            )
            for width in (MINUTES_S, HOUR_S, DAY_S)
            for number in range(-1, 7)
        ]
        await sampling.stage.writer.commit(lambda connection: sample_rows.save(connection, old))
        await sampling.pass_time(120)
        for width in (MINUTES_S, HOUR_S, DAY_S):
            first = (await sampling.stored(width))[0].at
            assert MIDNIGHT - KEEP_S[width] < first <= MIDNIGHT - KEEP_S[width] + width, width

    play(store, scenario)


def test_a_pool_that_goes_leaves_its_last_peak(store: Store) -> None:
    async def scenario(sampling: Sampling) -> None:
        await sampling.stage.add("other", "198.51.100.0/24")
        await sampling.pass_time(60)
        await sampling.stage.definitions.pools.delete(TENANT, "other")
        await sampling.pass_time(60)
        assert len(await sampling.stored(MINUTES_S, "other")) == 1
        assert len(await sampling.stored(DAY_S, "other")) == 1

    play(store, scenario)


# --- the store -------------------------------------------------------------------------------------


def test_peaks_wait_for_a_disk_that_is_full(store: Store) -> None:
    async def scenario(sampling: Sampling) -> None:
        sampling.online("a", "b")
        async with sampling.stage.full_disk("pool_sample"):
            for _ in range(10):
                sampling.stage.clock._now += 60
                with pytest.raises(StoreUnavailable):
                    await sampling.samples.turn()
        for each in "ab":
            sampling.stage.logout(each)
        sampling.stage.expire(3 * HOUR_S)
        await sampling.pass_time(60)
        assert used(await sampling.stored(DAY_S)) == [(0.0, 2)]
        assert used(await sampling.stored(MINUTES_S))[:2] == [(0.0, 2), (300.0, 2)]
        assert sampling.samples.dropped == 0

    play(store, scenario)


def test_nothing_is_written_for_a_day_that_has_not_risen(store: Store) -> None:
    async def scenario(sampling: Sampling) -> None:
        sampling.online("a")
        await sampling.pass_time(60)
        async with sampling.stage.full_disk("pool_sample"):
            await sampling.pass_time(180)  # would be refused
            with pytest.raises(StoreUnavailable):
                await sampling.pass_time(60)  # five minutes are over

    play(store, scenario)


def test_the_days_of_one_pool_are_found_without_those_of_all_others(store: Store) -> None:
    async def scenario(sampling: Sampling) -> None:
        async with sampling.stage.engine.connect() as connection:
            query = sample_rows._summed(TENANT, "home", DAY_S, 0, 1).compile(
                dialect=connection.dialect, compile_kwargs={"literal_binds": True}
            )
            found = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")
            plans = [str(row) for row in found]
        assert "pool_sample_by_pool" in plans[0]

    play(store, scenario)


async def _merged(engine: AsyncEngine) -> None:
    """Two nodes write the same day, one of them in two runs."""

    def row(node: str, used_peak: int, held: int, bound: int, size: int) -> SampleRow:
        return SampleRow(DAY_S, int(MIDNIGHT), "t", "home", node, used_peak, held, bound, size)

    async with engine.begin() as connection:
        await create(connection)
        await sample_rows.save(connection, [row("one", 10, 4, 6, 100), row("two", 7, 0, 7, 50)])
        await sample_rows.save(connection, [row("one", 8, 1, 7, 120)])
        found = await sample_rows.load(connection, "t", "home", DAY_S, MIDNIGHT, MIDNIGHT + 1)
        assert found == [Sample(int(MIDNIGHT), 17, 4, 14, 170)]
        assert await sample_rows.load(connection, "t", "home", HOUR_S, 0, MIDNIGHT * 2) == []
        assert await sample_rows.prune(connection, DAY_S, MIDNIGHT) == 0
        assert await sample_rows.prune(connection, DAY_S, MIDNIGHT + 1) == 2
        assert (await connection.execute(select(func.count()).select_from(SAMPLE))).scalar() == 0


def test_rows_rise_and_nodes_are_summed_in_sqlite(tmp_path: Path) -> None:
    asyncio.run(_on(f"sqlite+aiosqlite:///{tmp_path / 'edge.db'}"))


@pytest.mark.skipif(bin_dir() is None, reason="there is no PostgreSQL server here")
def test_rows_rise_and_nodes_are_summed_in_postgresql(tmp_path: Path) -> None:
    where = bin_dir()
    assert where is not None
    with postgresql(where) as url:
        asyncio.run(_on(url))


async def _on(url: str) -> None:
    engine = create_async_engine(url)
    try:
        await _merged(engine)
    finally:
        await engine.dispose()
