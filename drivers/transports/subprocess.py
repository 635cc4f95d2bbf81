"""Commands on this machine, also inside a network namespace: for Linux targets that are not behind SSH."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import Sequence
from contextlib import suppress

from drivers.errors import Phase, TimedOut, Unreachable
from drivers.target import Opening
from drivers.transports.stream import Completed


class LocalRunner:
    """Runs each command as a process of its own, ended with its children when its time is over."""

    def __init__(self, opening: Opening, namespace: str = "") -> None:
        self._opening = opening
        self._prefix = ("ip", "netns", "exec", namespace) if namespace else ()
        self._groups: set[int] = set()

    async def run(
        self, command: Sequence[str], *, stdin: str = "", timeout_s: float | None = None
    ) -> Completed:
        """Return how the command ended; TimedOut after it was ended by us, Unreachable if it is not there."""
        target = self._opening.target
        limit = timeout_s if timeout_s is not None else target.deadlines.command_s
        line = shlex.join(command)
        self._opening.transcript.sent(f"{line}\n{stdin}")
        try:
            process = await asyncio.create_subprocess_exec(
                *self._prefix,
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise Unreachable(
                f"{command[0]}: {error.strerror}", phase=Phase.COMMAND, device=target.name
            ) from error
        self._groups.add(process.pid)
        try:
            async with asyncio.timeout(limit):
                stdout, stderr = await process.communicate(stdin.encode())
        except TimeoutError:
            raise TimedOut(
                f"{command[0]} did not end within {limit:g} s", phase=Phase.COMMAND, device=target.name
            ) from None
        finally:
            if process.returncode is None:
                self._end(process.pid)
                await process.wait()
            self._groups.discard(process.pid)
        said, wrong = stdout.decode(errors="replace"), stderr.decode(errors="replace")
        self._opening.transcript.received(said + wrong)
        return Completed(line, process.returncode or 0, said, wrong)

    @staticmethod
    def _end(group: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)

    async def close(self) -> None:
        """Nothing is held open."""

    def abort(self) -> None:
        """End what still runs."""
        for group in self._groups:
            self._end(group)
