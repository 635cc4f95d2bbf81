"""The only place that starts tasks: each has a name, is watched, and its end is never missed.

An eternal task that ends, for whatever reason, is reported and started again after a pause that doubles from
1 s to 30 s; a critical one is not started again, it makes `wait_failed` return so that the daemon can end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from daemon.clock import Clock

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0  # a task that ran this long was well: its next pause is the first again
_LAST_TURN_S = 0.2  # for those that are left when the time to stop is over


class State(StrEnum):
    """What an eternal task is doing."""

    RUNNING = "running"
    PAUSED = "paused"  # ended, and will be started again
    FAILED = "failed"  # ended for good
    STOPPED = "stopped"  # by us


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """One eternal task as an operator sees it; `error` is that of its last unwanted end."""

    name: str
    state: State = State.RUNNING
    critical: bool = False
    restarts: int = 0
    error: str | None = None


class OnEvent(Protocol):
    """Told of `task-failed` and `task-stuck`, with fields that a log can take."""

    def __call__(self, event: str, /, **fields: object) -> None: ...


class Supervisor:
    """Starts, watches and stops the tasks of one daemon."""

    def __init__(self, clock: Clock, on_event: OnEvent) -> None:
        self._clock = clock
        self._on_event = on_event
        self._states: dict[str, TaskState] = {}
        self._tasks: dict[asyncio.Task[None], str] = {}  # in the order of their start
        self._failed = asyncio.Event()
        self._failed_name = ""
        self._stopping = False

    def start(
        self,
        name: str,
        coroutine_function: Callable[[], Awaitable[object]],
        *,
        restart: bool = True,
        critical: bool = False,
    ) -> None:
        """Start an eternal task.

        `critical` outweighs `restart`. Raises ValueError for a name in use, RuntimeError after `stop`.
        """
        if self._stopping:
            raise RuntimeError(f"{name} cannot be started: the daemon is stopping")
        if name in self._states:
            raise ValueError(f"there is a task {name} already")
        self._states[name] = TaskState(name=name, critical=critical)
        self._add(self._watch(name, coroutine_function, restart=restart and not critical), name)

    def spawn(self, coroutine: Coroutine[Any, Any, object], name: str) -> None:
        """Run a short-lived task to its end; an exception is reported. After `stop` nothing is run."""
        if self._stopping:
            coroutine.close()
            return
        task = self._add(self._run_once(name, coroutine), name)
        # A task cancelled before its first step never gets to its coroutine, which would warn of that.
        task.add_done_callback(lambda _: coroutine.close())

    async def wait_failed(self) -> str:
        """Return, once a critical task has ended, the name of the first that did."""
        await self._failed.wait()
        return self._failed_name

    def status(self) -> tuple[TaskState, ...]:
        """Return the eternal tasks in the order of their start."""
        return tuple(self._states.values())

    async def stop(self, timeout_s: float) -> tuple[str, ...]:
        """Cancel every task, the last started first, each after the one before has ended.

        Once `timeout_s` is over all that are left are cancelled together; returns the names of those that
        do not end even then, each reported as `task-stuck`.
        """
        self._stopping = True
        me = asyncio.current_task()
        left = [task for task in reversed(self._tasks) if task is not me]
        try:
            async with asyncio.timeout(timeout_s):
                for task in left:
                    task.cancel()
                    await asyncio.wait((task,))
        except TimeoutError:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_LAST_TURN_S)
        stuck = tuple(self._tasks[task] for task in left if not task.done())
        for name, was in self._states.items():
            if name not in stuck and was.state is not State.FAILED:
                self._states[name] = replace(was, state=State.STOPPED)
        for name in stuck:
            self._on_event("task-stuck", name=name)
        return stuck

    def _add(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine, name=name)  # noqa: TID251 - here they are started
        self._tasks[task] = name
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[None]) -> None:
        if not self._stopping:
            self._tasks.pop(task, None)

    async def _watch(
        self, name: str, coroutine_function: Callable[[], Awaitable[object]], *, restart: bool
    ) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            began = self._clock.monotonic()
            error = await _end_of(coroutine_function)
            if self._stopping:
                return
            if self._clock.monotonic() - began >= LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            self._say(name, error, pause_s if restart else None)
            if not restart:
                return
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            was = self._states[name]
            self._states[name] = replace(was, state=State.RUNNING, restarts=was.restarts + 1)

    def _say(self, name: str, error: BaseException | None, pause_s: float | None) -> None:
        was = self._states[name]
        text = _text(error)
        state = State.FAILED if pause_s is None else State.PAUSED
        self._states[name] = replace(was, state=state, error=text)
        if was.critical and not self._failed.is_set():
            self._failed_name = name
            self._failed.set()
        self._on_event(
            "task-failed",
            name=name,
            error=text,
            critical=was.critical,
            restart_in_s=pause_s,
            exc_info=error,
        )

    async def _run_once(self, name: str, coroutine: Coroutine[Any, Any, object]) -> None:
        error = await _end_of(lambda: coroutine)
        if error is not None and not self._stopping:
            self._on_event("task-failed", name=name, error=_text(error), exc_info=error)


async def _end_of(coroutine_function: Callable[[], Awaitable[object]]) -> BaseException | None:
    """Return what it raised, None where it returned. Only a cancellation of ourselves goes through."""
    task = asyncio.current_task()
    assert task is not None
    try:
        await coroutine_function()
    except asyncio.CancelledError as error:
        if task.cancelling():
            raise
        return error  # something that it waited for was cancelled: as unwanted an end as any
    except Exception as error:  # noqa: BLE001 - the guard around every task
        return error
    return None


def _text(error: BaseException | None) -> str:
    if error is None:
        return "returned"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
