"""When pools run out: from histories that were made, over the API, the metrics and the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from click.testing import Result
from fastapi import APIRouter

from daemon.api.ipam_forecast import add_forecasts
from daemon.api.ipam_forecast_gauges import gauges
from daemon.cli.ipam_forecast import forecast as command
from daemon.leases.samples_outlook import Outlooks, grown, usable
from daemon.store import sample_rows
from daemon.store.sample_rows import DAY_S, SAMPLE, SampleRow
from ipam.forecast import Confidence, Driver, Forecast, Outlook, TooLittleData
from ipam.kinds import Kind, PoolState
from ipam.model import range_of
from ipam.register import Register
from ipam.resize import drain, grow, set_state
from tests.daemon.conftest import Store
from tests.daemon.definitions_stage import TENANT, Stage, pool
from tests.daemon.ipam_leases_stage import Counter, counter
from tests.daemon.test_ipam_leases import take

Story = Callable[["Pools"], Awaitable[None]]
TODAY = 20_850
AT = TODAY * DAY_S + 43_200.0


class Pools:
    """A pool of 4,096 addresses with a history, and its outlook."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.outlooks = Outlooks(stage.addresses)
        stage.clock.jump(AT - stage.clock.wall())

    async def remember(self, used: Iterable[int | None], *, held: int = 0, name: str = "home") -> None:
        """Store the peaks of the days up to yesterday, None for a day without."""
        await store_days(self.stage.writer.commit, name, used, held)

    async def look(self, name: str = "home") -> Forecast:
        made = await self.outlooks.look(TENANT, name)
        assert made is not None
        assert isinstance(made.forecast, Forecast), made.forecast
        return made.forecast


async def store_days(commit: Any, name: str, used: Iterable[int | None], held: int = 0) -> None:
    known = list(used)
    rows = [
        SampleRow(
            DAY_S, (TODAY - len(known) + spot) * DAY_S, TENANT, name, "edge", each, held, each - held, 4096
        )
        for spot, each in enumerate(known)
        if each is not None
    ]

    async def write(connection: Any) -> None:
        await connection.run_sync(lambda sync: SAMPLE.create(sync, checkfirst=True))
        await sample_rows.save(connection, rows)

    await commit(write)


def play(store: Store, story: Story) -> None:
    async def run() -> None:
        async with store.running():
            stage = Stage(store.engine)
            async with stage.running():
                await stage.writer.commit(
                    lambda each: each.run_sync(lambda sync: SAMPLE.create(sync, checkfirst=True))
                )
                await stage.add("home", "192.0.0.0/20", hold_s=3600.0)
                await story(Pools(stage))

    asyncio.run(run())


def history(days: int, slope: float, *, start: float = 2_000, week: float = 150, seed: int = 1) -> list[int]:
    """Return peaks with a weekly rhythm and chance."""
    chance = Random(seed)
    return [
        round(start + slope * day + (week if (TODAY - days + day) % 7 in (1, 2) else 0) + chance.gauss(0, 15))
        for day in range(days)
    ]


# --- histories -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_growth_with_a_weekly_rhythm_is_seen_to_its_end(store: Store, seed: int) -> None:
    async def story(pools: Pools) -> None:
        await pools.remember(history(120, 10.0, seed=seed))
        found = await pools.look()
        # 2,000 + 10 x 120 = 3,200 now; a busy day has 150 more, so 4,096 are reached after 75 to 82 days
        assert found.seconds is not None
        assert 72 * DAY_S < found.seconds < 85 * DAY_S
        assert (found.outlook, found.driver) == (Outlook.GROWING, Driver.SUBSCRIBERS)
        assert found.confidence is Confidence.HIGH
        assert found.earliest_s is not None
        assert found.latest_s is not None
        assert found.earliest_s <= found.seconds <= found.latest_s

    play(store, story)


def test_days_of_an_outage_move_nothing(store: Store) -> None:
    async def story(pools: Pools) -> None:
        used: list[int | None] = list(history(120, 10.0))
        used[100:103] = [40, None, None]  # nobody was online, then the daemon was down
        used[60] = 4_090  # and a storm in which everything was held
        await pools.remember(used)
        found = await pools.look()
        assert found.seconds is not None
        assert 72 * DAY_S < found.seconds < 85 * DAY_S

    play(store, story)


@pytest.mark.parametrize(("slope", "outlook"), [(0.0, Outlook.STABLE), (-5.0, Outlook.SHRINKING)])
def test_what_does_not_grow_surely_does_not_run_out(store: Store, slope: float, outlook: Outlook) -> None:
    async def story(pools: Pools) -> None:
        await pools.remember(history(120, slope))
        found = await pools.look()
        assert (found.outlook, found.seconds, found.confidence) == (outlook, None, Confidence.HIGH)

    play(store, story)


def test_growth_of_long_ago_says_nothing(store: Store) -> None:
    async def story(pools: Pools) -> None:
        await pools.remember([*history(400, 4.0, start=400), *history(180, 0.0)])
        assert (await pools.look()).outlook is Outlook.STABLE

    play(store, story)


def test_the_day_that_is_not_over_and_days_of_a_wrong_clock_do_not_count(store: Store) -> None:
    async def story(pools: Pools) -> None:
        await pools.remember([*history(60, 10.0), 5])
        before = await pools.look()
        ahead = SampleRow(DAY_S, (TODAY + 4_000) * DAY_S, TENANT, "home", "edge", 4_000, 0, 4_000, 4_096)
        await pools.stage.writer.commit(lambda each: sample_rows.save(each, [ahead]))
        assert await pools.look() == before

    play(store, story)


# --- what can be used ------------------------------------------------------------------------------


def test_what_is_excluded_disabled_or_drains_cannot_be_used(store: Store) -> None:
    async def story(pools: Pools) -> None:
        stage = pools.stage
        shelf = stage.addresses.register.shelves[TENANT, "home"]
        assert usable(shelf) == 4_096
        await stage.definitions.pools.exclude(TENANT, "home", ["192.0.0.0-192.0.0.15"])
        assert usable(shelf) == 4_080
        await stage.definitions.pools.resize(TENANT, "home", ["192.0.16.0/24"])
        assert usable(shelf) == 4_336
        await stage.definitions.pools.drain(TENANT, "home", ["192.0.0.0/20"])
        assert usable(shelf) == 256
        await pools.remember(history(60, 0.0))
        assert (await pools.look()).outlook is Outlook.CRITICAL

    play(store, story)


def test_a_divided_pool_is_as_large_as_all_nodes_have_it() -> None:
    made = replace(pool("home"), exclusions=((0xC0000200, 0xC0000203),))
    made = replace(made, ranges=(range_of("192.0.2.0/24", made),))
    shelf = Register("edge", 1).add_pool(made, divided=True)
    assert sum(shelf.allocator.counts) == 0
    assert usable(shelf) == 252
    assert grown(made, ["192.0.3.0/24"]) == 256


def test_pools_that_give_out_nothing_have_no_outlook(store: Store) -> None:
    async def story(pools: Pools) -> None:
        await pools.stage.add("old", "198.51.100.0/24")
        await pools.stage.add("pd", "2001:db8::/32", kind=Kind.PD)
        pools.stage.login("alice", unit="203.0.113.7")  # a fixed one
        await pools.remember(history(30, 10.0))
        await pools.outlooks.refresh()
        assert {name for _, name in pools.outlooks.known} == {"home", "old", "pd"}
        await pools.stage.definitions.pools.set_state(TENANT, "old", PoolState.DRAINING)
        await pools.stage.definitions.pools.delete(TENANT, "pd")
        await pools.outlooks.refresh()
        assert {name for _, name in pools.outlooks.known} == {"home"}

    play(store, story)


# --- metrics ---------------------------------------------------------------------------------------


def test_metrics_say_what_prometheus_can_compare(store: Store) -> None:
    async def story(pools: Pools) -> None:
        stage = pools.stage
        await stage.add("flat", "198.51.100.0/24")
        await stage.add("young", "203.0.113.0/24")
        await pools.remember(history(90, 10.0))
        await pools.remember([10] * 90, name="flat")
        await pools.remember([10] * 3, name="young")
        await pools.outlooks.refresh()
        read = gauges(pools.outlooks, stage.clock.wall)
        when = read["pool_exhaustion_seconds_forecast"][2]
        first = when()
        assert first[TENANT, "flat"] == float("inf")
        assert (TENANT, "young") not in first
        stage.clock._now += 3_600
        assert when()[TENANT, "home"] == first[TENANT, "home"] - 3_600
        low = read["pool_exhaustion_seconds_forecast_low"][2]()
        high = read["pool_exhaustion_seconds_forecast_high"][2]()
        assert low[TENANT, "home"] <= when()[TENANT, "home"] <= high[TENANT, "home"]
        assert read["pool_forecast_confidence"][2]() == {(TENANT, "home"): 2.0, (TENANT, "flat"): 2.0}

    play(store, story)


def test_outlooks_are_made_again_each_hour_and_a_store_that_fails_ends_nothing(store: Store) -> None:
    async def story(pools: Pools) -> None:
        task = asyncio.create_task(pools.outlooks.run())
        clock = pools.stage.clock
        for _ in range(200):
            await asyncio.sleep(0.005)
            if pools.outlooks.known and clock.sleepers:
                break
        (first,) = pools.outlooks.known.values()
        assert isinstance(first.forecast, TooLittleData)
        await pools.remember(history(60, 10.0))
        await clock.advance(4_000)
        for _ in range(200):
            await asyncio.sleep(0.005)
            if pools.outlooks.known[TENANT, "home"].at > first.at:
                break
        assert isinstance(pools.outlooks.known[TENANT, "home"].forecast, Forecast)
        assert not task.done()
        task.cancel()

    play(store, story)


# --- API and command line --------------------------------------------------------------------------


def asked(
    directory: Path, story: Callable[[Counter, Outlooks], Awaitable[None]], v4: str = "192.0.0.0/20"
) -> None:
    """Tell a story with the routes; the pools are `v4` and `pd`."""

    async def everything() -> None:
        async with counter(directory, v4, hold_s=7200.0) as stage:
            stage.play.clock.jump(AT - stage.play.clock.wall())
            outlooks = Outlooks(stage.play.edge.addresses)
            router = APIRouter(prefix="/api/v1")
            add_forecasts(router, stage.services, stage.play.edge.addresses, outlooks)
            stage.app.include_router(router)
            await remember(stage, [], "v4")
            await story(stage, outlooks)

    asyncio.run(everything())


async def remember(stage: Counter, used: Iterable[int | None], name: str = "v4", held: int = 0) -> None:
    await store_days(stage.play.edge.writer.commit, name, used, held)


def test_a_forecast_is_answered_with_what_it_is_made_of(tmp_path: Path) -> None:
    async def story(stage: Counter, outlooks: Outlooks) -> None:
        await remember(stage, history(90, 10.0), held=300)
        found = await stage.get("/pools/v4/forecast")
        assert (found["outlook"], found["driver"], found["confidence"]) == ("growing", "subscribers", "high")
        assert len(found["points"]) == 90
        assert found["points"][-1]["day"] == TODAY - 1
        assert found["trend"]["slope"] == pytest.approx(10, abs=0.5)
        assert sum(1 for each in found["trend"]["season"] if each > 100) == 2
        assert (found["size"], found["changed"]) == (4096, None)
        assert found["year_size"] > 2_900 + 3_650
        fewer = await stage.get("/pools/v4/forecast", history_days=14)
        assert len(fewer["points"]) == 14
        assert (await stage.ask("GET", "/pools/none/forecast")).status_code == 404
        assert (await stage.ask("GET", "/pools/v4/forecast", history_days=3)).status_code == 422

    asked(tmp_path, story)


def test_another_hold_and_more_ranges_are_tried(tmp_path: Path) -> None:
    async def story(stage: Counter, outlooks: Outlooks) -> None:
        await remember(stage, history(90, 10.0), held=400)
        now = await stage.get("/pools/v4/forecast")
        shorter = (await stage.get("/pools/v4/forecast", hold_s=3600))["changed"]
        assert shorter["seconds"] == pytest.approx(now["seconds"] + 20 * DAY_S, abs=4 * DAY_S)
        more = (await stage.get("/pools/v4/forecast", add="192.0.16.0/24,192.0.17.0-192.0.17.255"))["changed"]
        assert more["size"] == 4096 + 512
        assert more["seconds"] == pytest.approx(now["seconds"] + 51 * DAY_S, abs=4 * DAY_S)
        wrong = await stage.ask("GET", "/pools/v4/forecast", add="192.0.2.1/24")
        assert wrong.status_code == 422
        assert wrong.json()["message"].startswith("add: ")

    asked(tmp_path, story)


def test_all_pools_are_listed_by_when_they_run_out(tmp_path: Path) -> None:
    async def story(stage: Counter, outlooks: Outlooks) -> None:
        await remember(stage, history(90, 0.0), "v4")
        await outlooks.refresh()
        listed = await stage.get("/forecasts")
        assert [each["pool"] for each in listed["items"]] == ["v4", "pd"]
        await remember(stage, history(90, 1.0, start=100, week=5), "pd")  # of 256
        await outlooks.refresh()
        listed = await stage.get("/forecasts")
        assert [(each["pool"], each["outlook"]) for each in listed["items"]] == [
            ("pd", "growing"),
            ("v4", "stable"),
        ]
        assert listed["items"][0]["points"] == []

    asked(tmp_path, story)


def test_samples_are_read_back(tmp_path: Path) -> None:
    async def story(stage: Counter, outlooks: Outlooks) -> None:
        await remember(stage, [7, 8, None, 9])
        page = await stage.get("/pools/v4/samples", width="1d", since=AT - 10 * DAY_S)
        assert [each["used_peak"] for each in page["items"]] == [7, 8, 9]
        assert (await stage.ask("GET", "/pools/v4/samples", width="5m", since=0)).status_code == 422

    asked(tmp_path, story)


async def say(stage: Counter, folder: Path, *arguments: str) -> Result:
    return await stage.command(folder, cast("Any", command), *arguments)


def test_the_command_draws_and_says_when_and_why(tmp_path: Path) -> None:
    async def story(stage: Counter, outlooks: Outlooks) -> None:
        await remember(stage, history(90, 10.0))
        done = await say(stage, tmp_path, "v4", "--add", "192.0.16.0/20")
        assert done.exit_code == 0, done.output
        assert max(map(len, done.output.splitlines())) <= 110
        for text in (
            "####",
            "****",
            "Pool v4: 0 of 4,096 addresses are taken now",
            "It runs out in 1",
            ", on 20",
            "Why: more subscribers are online at once (+",
            "Confidence: high, from the peaks of 90 days.",
            "To last a year it should have ",
            "With 192.0.16.0/20 (8,192 addresses in all) it would run out in ",
        ):
            assert text in done.output, text
        made = await say(stage, tmp_path, "v4", "--output", "json")
        assert json.loads(made.output)["outlook"] == "growing"

    asked(tmp_path, story)


def test_of_a_pool_that_drains_it_is_said_what_is_taken_still(tmp_path: Path) -> None:
    async def story(stage: Counter, outlooks: Outlooks) -> None:
        addresses = stage.play.edge.addresses
        await remember(stage, history(90, 10.0))
        for number in range(3):
            take(stage, f"S{number}")
        grow(addresses.register, "demo", "v4", "192.0.64.0/24")
        drain(addresses.register, "demo", "v4", 0)
        said = (await say(stage, tmp_path, "v4")).output
        assert "Ranges of pool v4 drain: without them it has 256 addresses." in said
        assert "Pool v4: 3 addresses are taken now, in all its ranges, 0 of them held" in said
        await outlooks.refresh()
        set_state(addresses.register, "demo", "v4", PoolState.DRAINING)
        said = (await say(stage, tmp_path, "v4")).output
        expected = (
            "Pool v4 drains: 3 of its addresses are taken still, 0 of them held after a lease, and none is"
        )
        assert said.startswith(expected)
        assert len(said.splitlines()) == 1
        listed = (await say(stage, tmp_path)).output.splitlines()
        assert any("v4" in line and "drains" in line for line in listed)

    asked(tmp_path, story)


def test_the_command_says_in_words_that_too_little_is_known(tmp_path: Path) -> None:
    async def story(stage: Counter, outlooks: Outlooks) -> None:
        await remember(stage, [9] * 6)
        done = await say(stage, tmp_path, "v4")
        assert done.exit_code == 0, done.output
        assert "the peaks of 6 days are known and 7 are needed. Ask again in a day." in done.output
        assert "#" not in done.output

    asked(tmp_path, story)


def test_the_command_lists_all_pools(tmp_path: Path) -> None:
    async def story(stage: Counter, outlooks: Outlooks) -> None:
        await remember(stage, history(90, 10.0))
        await outlooks.refresh()
        done = await say(stage, tmp_path)
        assert done.exit_code == 0, done.output
        assert "v4" in done.output.splitlines()[1]
        assert "too little is known yet" in done.output
        assert max(map(len, done.output.splitlines())) <= 100
        wrong = await say(stage, tmp_path, "--hold", "1h")
        assert wrong.exit_code == 2
        assert (await say(stage, tmp_path, "none")).exit_code == 4

    asked(tmp_path, story)
