"""The HTTPS side of the emulated RouterOS, and both sides together."""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import b64decode
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from drivers.emulator.commands import CommandEmulator
from drivers.emulator.routeros_device import RouterOsDevice

NO_CONTENT = 204


class RouterOsEmulator:
    """REST over TLS and the console over SSH of one device. `attempts` counts logins on both."""

    def __init__(self, device: RouterOsDevice, user: str, password: str, context: ssl.SSLContext) -> None:
        self.device = device
        self.host = "127.0.0.1"
        self.port = 0
        self._login = f"{user}:{password}"
        self._context = context
        self._tries = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self.ssh = CommandEmulator(device.console, {user: password}, device.faults)
        device.on_reboot.append(self.cut)

    @property
    def attempts(self) -> int:
        """Return how many wrong or new logins were tried: REST sends its login with every request."""
        return self._tries + self.ssh.attempts

    def cut(self) -> None:
        """Drop all connections."""
        self.ssh.cut()
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def __aenter__(self) -> RouterOsEmulator:
        await self.ssh.start()
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *unused: object) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        await self._idle.wait()
        await self.ssh.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self._idle.clear()
        try:
            if not self.device.away:
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self._writers.discard(writer)
            with suppress(ConnectionError, ssl.SSLError):
                writer.close()
                await writer.wait_closed()
            if not self._writers:
                self._idle.set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the one request of a connection."""
        head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = json.loads(await reader.readexactly(int(fields.get("content-length", "0"))) or b"{}")
        method, target, _ = head.split()
        path = urlsplit(target).path.removeprefix("/rest")
        query = dict(parse_qsl(urlsplit(target).query))
        if b64decode(fields.get("authorization", "").removeprefix("Basic ")).decode() != self._login:
            self._tries += 1
            self._reply(writer, 401, {"error": 401, "message": "Unauthorized"})
            return
        line = f"{method} {path}"
        faults = self.device.faults
        self.device.requests.append(line)
        if faults.strikes("cut_before", line):
            writer.transport.abort()
            return
        if faults.strikes("hang_at", line):
            await reader.read()
            return
        status: int
        told: Any
        if faults.strikes("lie_at", line):
            status, told = 200, []
        else:
            status, told = self.device.rest(method, path, query, body)
        if faults.strikes("cut_after", line) or writer.transport.is_closing():
            writer.transport.abort()
            return
        await asyncio.sleep(faults.late_s)
        self._reply(writer, status, told)
        await writer.drain()

    @staticmethod
    def _reply(writer: asyncio.StreamWriter, status: int, told: Any) -> None:
        octets = b"" if told is None else json.dumps(told).encode()
        lines = [f"HTTP/1.1 {status} x", "Connection: close", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(octets)}"] if status != NO_CONTENT else []
        writer.write("\r\n".join([*lines, "", ""]).encode() + octets)
