"""Emulated command lines: echo, prompts, modes, paging, questions and faults. A vendor fills in `handle`."""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod

from drivers.emulator.faults import Faults
from drivers.emulator.server import Wire


class SessionEnded(Exception):
    """Raised inside `handle` to log the session out."""


class CliSession:
    """One logged-in session. `mode` and `memory` are the vendor's to use."""

    def __init__(self, wire: Wire, number: int) -> None:
        self.wire = wire
        self.number = number
        self.mode = ""
        self.memory: dict[str, str] = {}
        self.page_lines = 0
        self._left = b""

    def write(self, text: str) -> None:
        """Send text with the line ends of a terminal."""
        self.wire.write(text.replace("\n", "\r\n").encode())

    async def key(self) -> str:
        """Return the next character that is typed; SessionEnded when the client is gone."""
        while not self._left:
            octets = await self.wire.read()
            if not octets:
                raise SessionEnded
            self._left = octets
        typed, self._left = self._left[:1], self._left[1:]
        return typed.decode("latin-1")

    async def line(self, faults: Faults | None = None) -> str:
        """Return the next line, echoed as the faults want it; `faults` None: no echo, as for a password."""
        typed = ""
        while (key := await self.key()) not in "\r\n":
            if faults is None or not faults.slow_echo_s:  # what has arrived is echoed at once
                here = re.match(rb"[^\r\n]*", self._left)
                assert here is not None
                key += here.group().decode("latin-1")
                self._left = self._left[here.end() :]
            typed += key
            if faults is None or faults.echo == "none":
                continue
            if faults.slow_echo_s:
                await asyncio.sleep(faults.slow_echo_s)
            self.write("#" * len(key) if faults.echo == "wrong" else key)
        if self._left[:1] == b"\n":
            self._left = self._left[1:]
        self.write("\n")
        return typed

    async def ask(self, question: str, *, hidden: bool = False) -> str:
        """Ask and return the answer line."""
        self.write(question)
        return await self.line(None if hidden else Faults())


class CliDevice(ABC):
    """One emulated device, shared by its sessions. Faults may be changed at any time."""

    more = "--More--"

    def __init__(self, hostname: str) -> None:
        self.hostname = hostname
        self.faults = Faults()
        self.commands: list[str] = []  # every line that arrived, for tests
        self._sessions = 0

    @abstractmethod
    def prompt(self, session: CliSession) -> str:
        """Return the prompt of the session's mode."""

    @abstractmethod
    async def handle(self, session: CliSession, line: str) -> str:
        """Execute one line and return what the device prints, without the prompt."""

    def ended(self, session: CliSession) -> None:
        """Take note of the end of a session: locks go, candidates go."""
        del session

    async def subsystem(self, name: str, wire: Wire) -> None:
        """Refuse subsystems."""
        del name
        wire.end(1)

    async def shell(self, wire: Wire) -> None:
        """Serve one session."""
        self._sessions += 1
        session = CliSession(wire, self._sessions)
        try:
            session.write(self.faults.banner + "\n" + self.prompt(session))
            while True:
                line = (await session.line(self.faults)).strip()
                await self._answer(session, line)
                session.write(self.prompt(session))
        except SessionEnded:
            pass
        finally:
            self.ended(session)

    async def _answer(self, session: CliSession, line: str) -> None:
        if not line:
            return
        self.commands.append(line)
        if self.faults.strikes("cut_before", line):
            session.wire.cut()
            raise SessionEnded
        if self.faults.strikes("hang_at", line):
            while await session.wire.read():
                pass
            raise SessionEnded
        said = "" if self.faults.strikes("lie_at", line) else await self.handle(session, line)
        if self.faults.strikes("cut_after", line):
            session.wire.cut()
            raise SessionEnded
        if self.faults.late_s:
            await asyncio.sleep(self.faults.late_s)
        if self.faults.noise:
            session.write(f"{self.faults.noise}\n")
        await self._print(session, said)

    async def _print(self, session: CliSession, text: str) -> None:
        lines = text.splitlines()
        if not session.page_lines:
            session.write("".join(f"{line}\n" for line in lines))
            return
        for number, line in enumerate(lines, 1):
            session.write(f"{line}\n")
            if number % session.page_lines == 0 and number < len(lines):
                session.write(self.more)
                await session.key()
                session.write("\r" + " " * len(self.more) + "\r")
