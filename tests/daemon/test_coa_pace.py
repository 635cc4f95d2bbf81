"""How fast CoA goes, and that timers and queues do what they say."""

from __future__ import annotations

import asyncio
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from daemon.aaa.coa.pace import Bucket, Pace, PaceOptions
from daemon.aaa.coa.timers import Timers
from daemon.supervise import Supervisor
from tests.twins.clock import ClockTwin

A, B = b"a", b"b"


@given(st.floats(0.1, 1000), st.integers(1, 100), st.lists(st.floats(0, 5), max_size=60))
def test_a_bucket_gives_no_more_than_its_rate_and_size(per_s: float, size: int, waits: list[float]) -> None:
    now, taken = 50.0, 0
    bucket = Bucket(per_s, size, now)
    for wait in waits:
        now += wait
        while bucket.ready_at(now) <= now:
            bucket.take(now)
            taken += 1
    assert taken <= size + (now - 50.0) * per_s + 1e-3


@given(st.floats(0.1, 1000), st.integers(1, 10))
def test_a_bucket_is_ready_when_it_says(per_s: float, size: int) -> None:
    bucket = Bucket(per_s, size, 0.0)
    for _ in range(size):
        bucket.take(0.0)
    ready_at = bucket.ready_at(0.0)
    assert bucket.ready_at(ready_at) == ready_at


def test_places_in_flight_are_limited_for_each_box_and_for_all() -> None:
    pace = Pace(PaceOptions(nas_in_flight=2, overall_in_flight=3), 0.0)
    pace.start(A, 0.0)
    pace.start(A, 0.0)
    assert (pace.ready_at(A, 0.0), pace.ready_at(B, 0.0)) == (inf, 0.0)
    pace.start(B, 0.0)
    assert pace.ready_at(B, 0.0) == inf
    pace.finish(A, True, 0.0)
    assert pace.ready_at(B, 0.0) == 0.0


def test_a_box_is_suspect_after_silences_in_a_row_and_well_after_one_answer() -> None:
    pace = Pace(PaceOptions(suspect_after=3, probe_s=10.0), 0.0)

    def turn(heard: bool | None) -> bool | None:
        pace.start(A, 0.0)
        return pace.finish(A, heard, 0.0)

    assert [turn(heard) for heard in (False, False, True, False, False, None, False)] == [None] * 6 + [True]
    assert pace.suspects() == (A,)
    assert pace.ready_at(A, 0.0) == 10.0
    assert pace.ready_at(B, 0.0) == 0.0
    pace.start(A, 10.0)
    assert pace.ready_at(A, 30.0) == inf, "one at a time"
    assert pace.finish(A, True, 30.0) is False
    assert pace.ready_at(A, 30.0) == 30.0


def test_boxes_of_which_nothing_is_remembered_are_dropped() -> None:
    pace = Pace(PaceOptions(), 0.0)
    for number in range(5000):
        now = number * 1.0
        pace.start(b"%d" % number, now)
        pace.finish(b"%d" % number, number != 0, now)
    assert len(pace._lanes) < 1500
    assert b"0" in pace._lanes, "its silence is remembered"


def run_timers(scenario: object) -> None:
    async def everything() -> None:
        clock = ClockTwin()
        supervisor = Supervisor(clock, lambda *_, **__: None)
        await scenario(clock, Timers(clock, supervisor.spawn))  # type: ignore[operator]
        await supervisor.stop(1.0)

    asyncio.run(everything())


def test_timers_fire_in_order_at_their_time_and_not_after_a_cancel() -> None:
    async def scenario(clock: ClockTwin, timers: Timers) -> None:
        fired: list[tuple[str, float]] = []

        def note(name: str) -> None:
            fired.append((name, clock.monotonic() - 1000.0))

        timers.at(1005.0, lambda: note("late"))
        timers.at(1001.0, lambda: note("early"))
        timers.at(1003.0, lambda: note("never")).cancel()
        timers.at(1002.0, lambda: timers.at(1002.5, lambda: note("chained")) and None)
        await clock.advance(10)
        assert fired == [("early", 1.0), ("chained", 2.5), ("late", 5.0)]

    run_timers(scenario)


def test_many_short_waits_do_not_pile_up_sleepers() -> None:
    async def scenario(clock: ClockTwin, timers: Timers) -> None:
        timers.at(5000.0, lambda: None)
        for _ in range(500):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting = asyncio.create_task(timers.wait(2.0, future))
            await asyncio.sleep(0)
            future.set_result(None)
            assert await waiting
            await clock.advance(0.5)
        assert clock.sleepers < 5
        assert len(timers._heap) < 100

    run_timers(scenario)


def test_a_wait_ends_with_its_time_and_leaves_the_future_alone() -> None:
    async def scenario(clock: ClockTwin, timers: Timers) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = asyncio.create_task(timers.wait(2.0, future))
        await clock.advance(1.9)
        assert not waiting.done()
        await clock.advance(0.2)
        assert await waiting is False
        assert not future.done()

    run_timers(scenario)
