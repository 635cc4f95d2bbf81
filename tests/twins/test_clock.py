"""The clock twin, and that the real clock keeps the same promises."""

from __future__ import annotations

import asyncio

from daemon.clock import Clock, SystemClock
from tests.twins.clock import ClockTwin, settle


def test_sleepers_wake_in_the_order_of_their_time() -> None:
    async def scene() -> list[tuple[str, float]]:
        clock, woken = ClockTwin(), []

        async def sleeper(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append((name, clock.monotonic() - 1_000.0))

        tasks = [asyncio.create_task(sleeper(n, s)) for n, s in (("c", 3), ("a", 1), ("b", 2), ("late", 9))]
        await clock.advance(5)
        tasks[-1].cancel()
        await asyncio.wait(tasks)
        return woken

    assert asyncio.run(scene()) == [("a", 1.0), ("b", 2.0), ("c", 3.0)]


def test_a_task_that_sleeps_again_wakes_again_within_one_advance() -> None:
    async def scene() -> int:
        clock, turns = ClockTwin(), 0

        async def ticker() -> None:
            nonlocal turns
            while True:
                await clock.sleep(1)
                turns += 1

        task = asyncio.create_task(ticker())
        await clock.advance(10.5)
        task.cancel()
        await asyncio.wait((task,))
        return turns

    assert asyncio.run(scene()) == 10


def test_a_cancelled_sleeper_is_not_woken() -> None:
    async def scene() -> tuple[int, int]:
        clock = ClockTwin()
        task = asyncio.create_task(clock.sleep(1))
        await settle()
        before = clock.sleepers
        task.cancel()
        await asyncio.wait((task,))
        await clock.advance(2)
        return before, clock.sleepers

    assert asyncio.run(scene()) == (1, 0)


def test_a_jump_moves_the_wall_clock_only() -> None:
    clock = ClockTwin(wall=1_700_000_000.0)
    clock.jump(-60)
    assert (clock.wall(), clock.monotonic()) == (1_699_999_940.0, 1_000.0)


def test_the_system_clock_is_a_clock() -> None:
    clock: Clock = SystemClock()
    began = clock.monotonic()
    asyncio.run(clock.sleep(0))
    assert clock.monotonic() >= began
    assert clock.wall() > 1_700_000_000
