"""An emulated accel-ppp: its TCP command line with its silences, sessions that take time to end, a reload."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from drivers.emulator.faults import Faults

# Stands in for the accel-cmd program: same options, same way of talking to the daemon, same exit codes.
ACCEL_CMD = """#!/usr/bin/env -S python3 -I -S
import getopt, socket, sys
given, words = getopt.getopt(sys.argv[1:], "46nvH:p:P:t:")
options = dict(given)
host, port = options.get("-H", "localhost"), int(options.get("-p", "2001"))
try:
    link = socket.create_connection((host, port))
except OSError:
    sys.stderr.write(f'Connection to "{host}:{port}" failed\\n')
    sys.exit(3)
first = options["-P"] + "\\n" if "-P" in options else ""
link.sendall(f"{first}{' '.join(words)}\\nexit\\n".encode())
while octets := link.recv(65536):
    sys.stdout.buffer.write(octets)
"""
_COLUMNS = ("ifname", "username", "calling-sid", "ip", "type", "state", "uptime", "sid")
_KEYS = {"username": "username", "ip": "ip", "csid": "calling-sid", "sid": "sid", "if": "ifname"}


@dataclass(slots=True)
class Subscriber:
    """One session; `ip` empty while it has no IPv4 address."""

    sid: str
    username: str
    ip: str = ""
    state: str = "active"
    stubborn: bool = False  # does not end softly

    def cell(self, column: str) -> str:
        """Return what a column shows."""
        told = {"sid": self.sid, "username": self.username, "ip": self.ip, "state": self.state}
        fixed = {"ifname": f"ppp{self.sid[-1]}", "calling-sid": "02:00:00:00:00:01", "type": "pppoe"}
        return {**fixed, "uptime": "00:10:00", **told}.get(column, "")


class AccelDevice:
    """The daemon. `config` is its file, `loaded` what it read last. `lie_at`: says nothing, does nothing."""

    def __init__(self, config: Path, *, version: str = "1.12.0", password: str = "") -> None:
        self.config = config
        self.loaded = config.read_text()
        self.version = version
        self.password = password
        self.faults = Faults()
        self.sessions: list[Subscriber] = []
        self.commands: list[str] = []
        self.ending_s = 0.2  # how long a session is shown as finishing
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known = not self.password
        try:
            while line := (await reader.readline()).decode().strip():
                if not known:
                    known = line == self.password
                    if not known:
                        break  # without a word
                elif line == "exit":
                    break
                else:
                    writer.write(self._answer(line).replace("\n", "\r\n").encode())
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            with suppress(ConnectionError):
                writer.close()
                await writer.wait_closed()

    def _answer(self, line: str) -> str:
        self.commands.append(line)
        if self.faults.strikes("lie_at", line):
            return ""
        match line.split():
            case ["show", "version"]:
                return f"{self.version}\n"
            case ["show", "stat"]:
                return f"uptime: 1.02:03:04\ncpu: 0%\nsessions:\n  active: {len(self.sessions)}\n"
            case ["show", "loaded-config"]:
                return self.loaded
            case ["show", "sessions", *rest]:
                return self._table(rest)
            case ["terminate", *rest]:
                return self._terminate(rest)
            case ["reload"]:
                return self._reload()
        return "command unknown\n"

    def _reload(self) -> str:
        text = self.config.read_text()
        first = next((each for each in text.splitlines() if each.strip() and each[0] != "#"), "")
        if not first.startswith("[") or "broken" in text:
            return "failed\n"
        self.loaded = text
        return ""

    def _table(self, rest: list[str]) -> str:
        columns, test = list(_COLUMNS[:-1]), lambda each: True  # noqa: ARG005 - one shape with the next
        chosen: Callable[[Subscriber], bool] = test
        if rest and rest[0] not in {"match", "order"}:
            columns = rest.pop(0).split(",")
        for each in columns:
            if each not in _COLUMNS:
                return f"unknown column {each}\n"
        if rest[:1] == ["match"] and len(rest) == 3:
            name, pattern = rest[1], re.compile(rest[2])
            chosen = lambda each: pattern.search(each.cell(name)) is not None  # noqa: E731
        rows = [[each.cell(column) for column in columns] for each in self.sessions if chosen(each)]
        widths = [max(map(len, (name, *cells))) for name, *cells in zip(columns, *rows, strict=True)]
        lines = ["|".join(f" {name.center(width)} " for name, width in zip(columns, widths, strict=True))]
        lines.append("+".join("-" * (width + 2) for width in widths))
        lines += [
            "|".join(f" {cell:<{width}} " for cell, width in zip(row, widths, strict=True)) for row in rows
        ]
        return "".join(f"{line}\n" for line in lines)

    def _terminate(self, rest: list[str]) -> str:
        hard = rest[-1:] == ["hard"]
        if rest[-1:] in (["hard"], ["soft"]):
            rest = rest[:-1]
        if len(rest) != 2 or rest[0] not in _KEYS:
            return "syntax error\n"
        for each in self.sessions:
            # as the daemon does: a session without an IPv4 address is hit by any address
            if each.cell(_KEYS[rest[0]]) == rest[1] or (rest[0] == "ip" and not each.ip):
                if hard or not each.stubborn:
                    each.state, each.ip = "finish", ""
                    asyncio.get_running_loop().call_later(self.ending_s, self._gone, each)
                break
        return ""

    def _gone(self, session: Subscriber) -> None:
        if session in self.sessions:
            self.sessions.remove(session)
