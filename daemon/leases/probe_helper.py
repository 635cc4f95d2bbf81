"""The daemon's side of the helper process: started when it is needed first, and anew when it has died.

Every wait has an end. What cannot be answered is a NotAsked, never an exception.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final, cast

from daemon.clock import Clock
from daemon.leases.probe import NotAsked, Outcome, Query, Why, query_line, read_outcome

COMMAND: Final = (sys.executable, "-P", "-m", "daemon.leases.probe_worker")
_GRACE_S = 10.0  # beside what a probe takes: to load scapy on a busy machine
_START_S = 10.0
_STOP_S = 2.0
_PAUSE_S = 10.0  # between two starts, so that a helper that dies at once is not started all the time
_MOST_SAID = 2000


class _Process(asyncio.SubprocessProtocol):
    """One run of the helper, and who waits for an outcome from it."""

    def __init__(self) -> None:
        self.waiting: dict[int, asyncio.Future[Outcome]] = {}
        self.gone = asyncio.Event()
        self._rest = b""
        self._said = b""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Give outcomes to who waits; keep the end of what is said on standard error."""
        if fd != 1:
            self._said = (self._said + data)[-_MOST_SAID:]
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                number, outcome = read_outcome(line)
            except (ValueError, KeyError, TypeError):
                continue  # who waits for it is told that nothing came
            future = self.waiting.pop(number, None)
            if future is not None and not future.done():
                future.set_result(outcome)

    def process_exited(self) -> None:
        """There is nothing of it any more."""
        self.gone.set()
        self.fail()

    def fail(self) -> None:
        """Tell everybody who waits that it has ended."""
        for future in self.waiting.values():
            if not future.done():
                future.set_result(NotAsked(Why.HELPER_ENDED, self.said))
        self.waiting.clear()

    @property
    def said(self) -> str:
        """The last line on standard error."""
        return self._said.decode(errors="replace").strip().rpartition("\n")[2]


class Helper:
    """Asks through a process of its own. `starts` counts how often it was started."""

    def __init__(self, clock: Clock, command: tuple[str, ...] = COMMAND) -> None:
        self._clock = clock
        self._command = command
        self._process: _Process | None = None
        self._transport: asyncio.SubprocessTransport | None = None
        self._starting = asyncio.Lock()
        self._left: set[_Process] = set()  # killed, and perhaps not gone yet
        self._not_before = float("-inf")
        self._last_said = ""
        self._last_number = 0
        self.starts = 0

    async def ask(self, query: Query) -> Outcome:
        """Return what came of a query that has no `fault`, at the latest ten seconds after its own longest time."""
        started = await self._running()
        if isinstance(started, NotAsked):
            return started
        self._last_number += query.count  # so that no two rounds have the same number
        number = self._last_number
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        started.waiting[number] = future
        assert self._transport is not None
        pipe = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))
        pipe.write(query_line(number, query))
        try:
            async with asyncio.timeout(query.longest_s + _GRACE_S):
                return await future
        except TimeoutError:
            if self._process is started:
                self._kill()
            return NotAsked(Why.HELPER_SILENT)
        finally:
            started.waiting.pop(number, None)

    async def _running(self) -> _Process | NotAsked:
        async with self._starting:
            if self._process is not None and not self._process.gone.is_set():
                return self._process
            if self._process is not None:
                self._last_said = self._process.said
                self._kill()
            now = self._clock.monotonic()
            if now < self._not_before:
                return NotAsked(Why.HELPER_ENDED, self._last_said)
            self._not_before = now + _PAUSE_S
            try:
                async with asyncio.timeout(_START_S):
                    return await self._start()
            except (OSError, TimeoutError) as error:
                return NotAsked(Why.HELPER_ENDED, str(error) or "it did not start in time")

    async def _start(self) -> _Process:
        # Neither secrets nor the service manager's socket are its business, and Ctrl-C is for the daemon.
        environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
        self.starts += 1
        self._transport, self._process = await asyncio.get_running_loop().subprocess_exec(
            _Process, *self._command, env=environ, start_new_session=True
        )
        return self._process

    def _kill(self) -> None:
        """End the process at once; the next question starts another."""
        if self._transport is not None and self._process is not None:
            self._transport.close()  # kills, and closes the pipes
            self._process.fail()
            self._left = {each for each in (*self._left, self._process) if not each.gone.is_set()}
        self._transport = None
        self._process = None

    async def stop(self) -> None:
        """End the process, in order if it can, within four seconds."""
        process, transport = self._process, self._transport
        if process is not None and transport is not None:
            pipe = transport.get_pipe_transport(0)
            if pipe is not None:
                pipe.close()
            await _gone(process)
            self._kill()
        for each in tuple(self._left):
            await _gone(each)


async def _gone(process: _Process) -> None:
    try:
        async with asyncio.timeout(_STOP_S):
            await process.gone.wait()
    except TimeoutError:
        return
