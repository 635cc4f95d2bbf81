"""Emulated devices that take one command for each SSH channel: a shell's or a RouterOS console's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncssh

from drivers.emulator.faults import Faults
from drivers.emulator.server import SshEmulator, Wire


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed and how it ended."""

    stdout: str = ""
    stderr: str = ""
    status: int = 0


Execute = Callable[[str, Wire], Awaitable[Said]]  # command line, and where its standard input comes from


class _NoShell:
    """Refuses interactive sessions."""

    async def shell(self, wire: Wire) -> None:
        wire.end(1)

    async def subsystem(self, name: str, wire: Wire) -> None:
        del name
        wire.end(1)


class CommandEmulator(SshEmulator):
    """An SSH server that hands every command to `execute`. `admit_with` may be asked about logins instead.

    Faults strike by the whole command line; see `Faults`.
    """

    def __init__(
        self,
        execute: Execute,
        users: Mapping[str, str],
        faults: Faults,
        *,
        admit_with: Callable[[str, str], bool] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(_NoShell(), users, **more)
        self._execute = execute
        self._admit_with = admit_with
        self.faults = faults
        self.commands: list[str] = []

    def admit(self, user: str, password: str) -> bool:
        """Return whether this login is right, and count it."""
        if self._admit_with is None:
            return super().admit(user, password)
        self.attempts += 1
        return self._admit_with(user, password)

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        line = process.command or ""
        self.commands.append(line)
        with suppress(asyncssh.Error, OSError):
            if self.faults.strikes("cut_before", line):
                Wire(process).cut()
                return
            if self.faults.strikes("hang_at", line):
                await process.wait_closed()
                return
            said = Said() if self.faults.strikes("lie_at", line) else await self._execute(line, Wire(process))
            if self.faults.strikes("cut_after", line):
                Wire(process).cut()
                return
            await asyncio.sleep(self.faults.late_s)
            process.stdout.write(f"{self.faults.banner}{said.stdout}".encode())
            process.stderr.write(said.stderr.encode())
            process.exit(said.status)


def in_shell(environment: Mapping[str, str]) -> Execute:
    """Return what runs each command in a real shell with this environment: for programs, files and timers."""

    async def execute(line: str, stdin: Wire) -> Said:
        process = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            line,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environment),
        )
        assert process.stdout is not None
        assert process.stderr is not None
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(_feed(stdin, process.stdin))
            stdout, stderr = await asyncio.gather(process.stdout.read(), process.stderr.read())
            status = await process.wait()
            feeding.cancel()
        return Said(stdout.decode(), stderr.decode(), status)

    return execute


async def _feed(wire: Wire, into: asyncio.StreamWriter | None) -> None:
    """Pass on what the client sends, up to its end; a client that never ends its input is no harm."""
    assert into is not None
    with suppress(OSError):
        while octets := await wire.read():
            into.write(octets)
            await into.drain()
        into.close()
