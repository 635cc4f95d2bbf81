"""Tasks are watched: their end is seen, reported, and answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from daemon.supervise import State, Supervisor
from tests.twins.clock import ClockTwin, settle


class Stage:
    """A supervisor on a clock twin, and what it reported."""

    def __init__(self) -> None:
        self.clock = ClockTwin()
        self.events: list[tuple[str, dict[str, object]]] = []
        self.supervisor = Supervisor(self.clock, self._note)

    def _note(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))


def play(scene: Callable[[Stage], Awaitable[None]]) -> Stage:
    stage = Stage()

    async def whole() -> None:
        await scene(stage)
        await stage.supervisor.stop(1.0)

    asyncio.run(whole())
    return stage


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def broken() -> None:
    raise ValueError("no such thing")


def test_a_failed_task_is_reported_with_name_error_and_traceback() -> None:
    async def scene(stage: Stage) -> None:
        stage.supervisor.start("feed", broken)
        await settle()
        (state,) = stage.supervisor.status()
        assert (state.name, state.state, state.error) == ("feed", State.PAUSED, "ValueError: no such thing")

    (event, fields) = play(scene).events[0]
    assert event == "task-failed"
    assert isinstance(fields.pop("exc_info"), ValueError)
    assert fields == {
        "name": "feed",
        "error": "ValueError: no such thing",
        "critical": False,
        "restart_in_s": 1.0,
    }


def test_pauses_double_up_to_thirty_seconds() -> None:
    async def scene(stage: Stage) -> None:
        stage.supervisor.start("feed", broken)
        await stage.clock.advance(1 + 2 + 4 + 8 + 16 + 30 + 29)

    assert [fields["restart_in_s"] for _, fields in play(scene).events] == [1, 2, 4, 8, 16, 30, 30]


def test_a_task_that_was_well_for_long_starts_again_after_the_first_pause() -> None:
    async def scene(stage: Stage) -> None:
        lasts = iter((0.0, 0.0, 40.0, 0.0))

        async def works_a_while() -> None:
            await stage.clock.sleep(next(lasts, 1_000.0))
            raise OSError

        stage.supervisor.start("feed", works_a_while)
        await stage.clock.advance(1 + 2 + 40 + 1 + 2)
        assert stage.supervisor.status()[0].restarts == 4
        assert stage.supervisor.status()[0].state is State.RUNNING

    assert [fields["restart_in_s"] for _, fields in play(scene).events] == [1, 2, 1, 2]


def test_a_return_of_an_eternal_task_is_a_failure() -> None:
    async def scene(stage: Stage) -> None:
        stage.supervisor.start("api", lambda: asyncio.sleep(0))
        await settle()

    assert play(scene).events[0][1]["error"] == "returned"


def test_a_cancellation_from_within_is_a_failure() -> None:
    async def scene(stage: Stage) -> None:
        async def waits_for_cancelled() -> None:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            future.cancel()
            await future

        stage.supervisor.start("feed", waits_for_cancelled)
        await settle()
        assert stage.supervisor.status()[0].state is State.PAUSED

    assert play(scene).events[0][1]["error"] == "CancelledError"


def test_a_critical_task_ends_the_daemon_and_is_not_restarted() -> None:
    async def scene(stage: Stage) -> None:
        stage.supervisor.start("writer", broken, critical=True)
        stage.supervisor.start("feed", forever)
        assert await asyncio.wait_for(stage.supervisor.wait_failed(), 1.0) == "writer"
        await stage.clock.advance(100)
        assert stage.supervisor.status()[0].state is State.FAILED

    assert [(name, fields["critical"]) for name, fields in play(scene).events] == [("task-failed", True)]


def test_wait_failed_waits_while_only_others_fail() -> None:
    async def scene(stage: Stage) -> None:
        stage.supervisor.start("feed", broken, restart=False)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stage.supervisor.wait_failed(), 0.02)
        assert stage.supervisor.status()[0].state is State.FAILED

    assert len(play(scene).events) == 1


def test_stop_cancels_in_reverse_order_one_after_the_other() -> None:
    ended: list[str] = []

    async def scene(stage: Stage) -> None:
        async def runs(name: str) -> None:
            try:
                await forever()
            finally:
                await asyncio.sleep(0)
                ended.append(name)

        for name in ("store", "sessions", "api"):
            stage.supervisor.start(name, partial(runs, name))
        await settle()
        assert await stage.supervisor.stop(1.0) == ()
        assert {each.state for each in stage.supervisor.status()} == {State.STOPPED}

    assert play(scene).events == []
    assert ended == ["api", "sessions", "store"]


def test_an_error_while_stopping_is_no_failure() -> None:
    async def scene(stage: Stage) -> None:
        async def stumbles() -> None:
            try:
                await forever()
            finally:
                raise OSError("socket was closed")

        stage.supervisor.start("api", stumbles, critical=True)
        await settle()

    assert play(scene).events == []


def test_a_task_that_does_not_end_is_named_and_the_others_still_stop() -> None:
    async def scene(stage: Stage) -> None:
        release = asyncio.Event()

        async def stubborn() -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        stage.supervisor.start("store", forever)
        stage.supervisor.start("api", stubborn)
        await settle()
        assert await stage.supervisor.stop(0.02) == ("api",)
        assert [each.state for each in stage.supervisor.status()] == [State.STOPPED, State.RUNNING]
        release.set()
        await settle()

    assert play(scene).events == [("task-stuck", {"name": "api"})]


def test_a_spawned_task_runs_and_its_exception_is_reported() -> None:
    done: list[str] = []

    async def scene(stage: Stage) -> None:
        async def short() -> None:
            done.append("yes")

        stage.supervisor.spawn(short(), "reload")
        stage.supervisor.spawn(broken(), "trace")
        await settle()
        assert stage.supervisor.status() == ()

    ((event, fields),) = play(scene).events
    assert done == ["yes"]
    assert (event, fields["name"], fields["error"]) == ("task-failed", "trace", "ValueError: no such thing")


def test_a_spawned_task_is_cancelled_by_stop_even_before_its_first_step() -> None:
    async def scene(stage: Stage) -> None:
        stage.supervisor.spawn(forever(), "early")
        assert await stage.supervisor.stop(1.0) == ()
        stage.supervisor.spawn(forever(), "late")

    assert play(scene).events == []


def test_names_are_taken_once_and_nothing_starts_after_stop() -> None:
    async def scene(stage: Stage) -> None:
        stage.supervisor.start("api", forever)
        with pytest.raises(ValueError, match="api"):
            stage.supervisor.start("api", forever)
        await stage.supervisor.stop(1.0)
        with pytest.raises(RuntimeError, match="stopping"):
            stage.supervisor.start("late", forever)

    play(scene)
