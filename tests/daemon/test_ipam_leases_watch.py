"""Alarms of pools, what `status` says of addresses, and their metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from daemon.api import lease_gauges
from daemon.leases.watch import Alarm, alarm_of
from daemon.metrics import RequestCounts
from ipam.kinds import Cause, Kind, PoolState
from ipam.lease import Bundle
from ipam.model import Pool
from tests.daemon.ipam_leases_stage import Counter, counter
from tests.daemon.test_ipam_leases import online, take

Story = Callable[[Counter], Awaitable[None]]
POOL = Pool(tenant="demo", vrf="", name="v4", kind=Kind.V4, unit_length=32, ranges=())
NO_WAIT: dict[str, Any] = {"sticky": False, "quarantine_s": 0.0, "min_reuse_s": 0.0}


def run(directory: Path, story: Story, **settings: Any) -> None:
    async def everything() -> None:
        async with counter(directory, **settings) as stage:
            await story(stage)

    asyncio.run(everything())


def told(stage: Counter) -> list[tuple[str, object]]:
    """Return the alarms of the IPv4 pool so far, with what was free."""
    found = stage.play.events("pool-low", "pool-critical", "pool-recovered")
    return [(each.kind, dict(each.fields)["free"]) for each in found if dict(each.fields)["pool"] == "v4"]


def release(stage: Counter, bundle: Bundle) -> None:
    clock = stage.play.clock
    stage.play.edge.addresses.book.release(bundle.id, Cause.STOP, clock.monotonic(), clock.wall())


def test_each_crossing_of_a_threshold_is_told_once(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        taken: list[Bundle] = []
        for number in range(64):
            taken.append(take(stage, f"S{number}"))
            stage.watch.turn()
        for bundle in taken[:60]:
            release(stage, bundle)
            stage.watch.turn()
        assert told(stage) == [
            ("pool-low", 12),
            ("pool-critical", 3),
            ("pool-low", 5),
            ("pool-recovered", 15),
        ]
        assert stage.watch.alarm("demo", "v4") is Alarm.NONE

    run(tmp_path, story, v4="203.0.113.0/26", **NO_WAIT)


def test_a_pool_at_the_edge_does_not_alarm_with_every_login(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        for number in range(51):
            take(stage, f"S{number}")
        for number in range(50):
            bundle = take(stage, f"T{number}")
            stage.watch.turn()
            release(stage, bundle)
            stage.watch.turn()
        assert told(stage) == [("pool-low", 12)]

    run(tmp_path, story, v4="203.0.113.0/26", **NO_WAIT)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100), st.sampled_from(Alarm))
def test_an_alarm_is_never_lower_than_the_thresholds_say_and_settles_at_once(
    one: float, two: float, free: float, before: Alarm
) -> None:
    critical, low = sorted((one, two))
    pool = replace(POOL, low_percent=low, critical_percent=critical)
    order = list(Alarm)
    fresh, after = alarm_of(pool, free, Alarm.NONE), alarm_of(pool, free, before)
    assert order.index(after) >= order.index(fresh)
    assert alarm_of(pool, free, after) is after
    assert fresh is (
        Alarm.CRITICAL
        if critical > 0 and free <= critical
        else Alarm.LOW
        if low > 0 and free <= low
        else Alarm.NONE
    )


def test_a_pool_that_drains_or_is_gone_does_not_alarm(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        register = stage.play.edge.addresses.register
        for number in range(8):
            take(stage, f"S{number}")
        shelf = register.shelves["demo", "v4"]
        register.redefine(replace(shelf.pool, state=PoolState.DRAINING))
        stage.watch.turn()
        assert told(stage) == []
        register.redefine(replace(shelf.pool, state=PoolState.ACTIVE))
        stage.watch.turn()
        assert told(stage) == [("pool-critical", 0)]
        del register.shelves["demo", "v4"]
        stage.watch.turn()
        assert stage.watch.alarm("demo", "v4") is Alarm.NONE

    run(tmp_path, story)


def test_status_says_what_is_not_as_usual(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        stage.watch.turn()
        assert stage.watch.degraded() == []
        for number in range(8):
            take(stage, f"S{number}")
        stage.watch.turn()
        assert stage.watch.degraded() == [
            "pools with hardly an address left: demo/v4; see `ipam usage`",
        ]
        addresses = stage.play.edge.addresses
        addresses.strangers, addresses.problems = 3, ("pool v4: its counters are wrong",)
        addresses.register.ledger.most = 1
        assert any("address book: pool v4: its counters" in each for each in stage.watch.degraded())
        assert any("3 stored leases are of no pool here" in each for each in stage.watch.degraded())
        assert any("no new lease begins until they are" in each for each in stage.watch.degraded())

    run(tmp_path, story)


def test_status_says_that_the_store_refuses_and_that_it_is_over(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        async def execute(statement: str) -> None:
            await stage.play.edge.writer.commit(lambda each: _run(each, statement))

        async def _run(connection: Any, statement: str) -> None:
            await connection.execute(text(statement))

        addresses = stage.play.edge.addresses
        await execute("ALTER TABLE ipam_event RENAME TO away")
        take(stage, "S1")
        await stage.play.until(lambda: addresses.lessor.failing is not None)
        assert "no new login with an address is answered: no such table" in stage.watch.degraded()[0]
        answer = await stage.ask("POST", "/leases/203.0.113.0/release")
        assert (answer.status_code, answer.json()["retryable"]) == (503, True)
        assert _numbers(stage)["lease_store_failing"] == {(): 1.0}
        await execute("ALTER TABLE away RENAME TO ipam_event")
        await stage.play.until(lambda: addresses.lessor.failing is None)
        stage.watch.turn()
        assert stage.watch.degraded() == []

    run(tmp_path, story)


def _numbers(stage: Counter) -> dict[str, Any]:
    edge = stage.play.edge
    families = lease_gauges.gauges(edge.addresses, stage.watch)
    families |= lease_gauges.counters(edge.addresses, RequestCounts(), edge.events)
    return {name: read() for name, (_, _, read) in families.items()}


def test_metrics_tell_states_sizes_and_what_waits_without_anybodys_name(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        await online(stage)
        take(stage, "S1")
        numbers = _numbers(stage)
        assert numbers["pool_slots"]["demo", "v4", "v4", "bound"] == 1
        assert numbers["pool_slots"]["demo", "v4", "v4", "tentative"] == 1
        assert numbers["pool_slots"]["demo", "v4", "v4", "free"] == 6
        assert numbers["pool_size"]["demo", "pd", "pd"] == 256
        assert numbers["leases_waiting"][()] >= 1
        assert numbers["lease_bundles"] == {(): 2.0}
        assert numbers["lease_history_events"][()] >= 2
        assert numbers["pools_in_alarm"] == {("low",): 0.0, ("critical",): 0.0}
        for number in range(6):
            take(stage, f"T{number}")
        stage.watch.turn()
        assert _numbers(stage)["pools_in_alarm"] == {("low",): 0.0, ("critical",): 1.0}
        labels = str([list(each) for each in numbers.values()])
        assert "A1" not in labels
        assert "203.0" not in labels

    run(tmp_path, story)


def test_refusals_are_counted_by_reason_from_the_beginning(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        requests, edge = RequestCounts(), stage.play.edge
        requests.add(1, "bng-1", "reject", "pool-exhausted")
        requests.add(1, "bng-2", "reject", "pool-exhausted")
        requests.add(1, "bng-1", "reject", "bad-password")
        (_, labels, read) = lease_gauges.counters(edge.addresses, requests, edge.events)["lease_refusals"]
        assert labels == ("reason",)
        assert read()[("pool-exhausted",)] == 2
        assert read()[("address-conflict",)] == 0
        assert ("bad-password",) not in read()

    run(tmp_path, story)


@pytest.mark.parametrize("percent", [0.0, 100.0])
def test_without_a_threshold_there_is_no_alarm(percent: float) -> None:
    pool = replace(POOL, low_percent=0.0, critical_percent=0.0)
    assert alarm_of(pool, percent, Alarm.NONE) is Alarm.NONE
