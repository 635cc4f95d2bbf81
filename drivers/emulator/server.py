"""The SSH side of emulated devices: users, host key, shells, subsystems, and a way to cut every connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import asyncssh


class Wire:
    """One channel to a client, seen from the device."""

    def __init__(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        self._process = process

    async def read(self) -> bytes:
        """Return what the client sent; empty when it is gone."""
        with suppress(asyncssh.Error, OSError):
            return await self._process.stdin.read(65536)
        return b""

    def write(self, octets: bytes) -> None:
        """Send to the client, if it is still there."""
        with suppress(asyncssh.Error, OSError):
            self._process.stdout.write(octets)

    def end(self, status: int = 0) -> None:
        """Close the channel in good order."""
        with suppress(asyncssh.Error, OSError):
            self._process.exit(status)

    def cut(self) -> None:
        """Drop the whole connection as a dead link does."""
        connection = self._process.get_extra_info("connection")
        if connection is not None:
            connection.abort()


class Device(Protocol):
    """What answers behind the SSH server."""

    async def shell(self, wire: Wire) -> None:
        """Serve one interactive session until it ends."""
        ...

    async def subsystem(self, name: str, wire: Wire) -> None:
        """Serve one subsystem session until it ends."""
        ...


class _Login(asyncssh.SSHServer):
    def __init__(self, emulator: SshEmulator) -> None:
        self._emulator = emulator

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._emulator.connections.add(conn)
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._emulator.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        del username
        return True

    def password_auth_supported(self) -> bool:
        return self._emulator.login == "password"

    def validate_password(self, username: str, password: str) -> bool:
        return self._emulator.admit(username, password)

    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(
        self, username: str, lang: str, submethods: str
    ) -> tuple[str, str, str, list[tuple[str, bool]]]:
        del lang, submethods
        self._user = username
        return ("", "", "", [("Password: ", False)])

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:
        return self._emulator.admit(username, responses[0] if responses else "")


class SshEmulator:
    """One emulated device on a port of its own. `attempts` counts the passwords that were tried.

    `login` is password (and keyboard-interactive) or keyboard-interactive alone.
    """

    def __init__(
        self,
        device: Device,
        users: Mapping[str, str],
        *,
        login: str = "password",
        key: asyncssh.SSHKey | None = None,
    ) -> None:
        self._device = device
        self._users = dict(users)
        self._key = key or asyncssh.generate_private_key("ssh-ed25519")
        self._server: asyncssh.SSHAcceptor | None = None
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.login = login
        self.attempts = 0
        self.host = "127.0.0.1"
        self.port = 0

    @property
    def fingerprint(self) -> str:
        """Return what a client pins."""
        return self._key.get_fingerprint()

    def admit(self, user: str, password: str) -> bool:
        """Return whether this login is right, and count it."""
        self.attempts += 1
        return self._users.get(user) == password

    async def start(self, port: int = 0) -> None:
        """Listen on loopback."""
        self._server = await asyncssh.create_server(
            lambda: _Login(self),
            self.host,
            port,
            server_host_keys=[self._key],
            process_factory=self._serve,
            encoding=None,
            line_editor=False,
            allow_scp=False,
        )
        self.port = self._server.get_port()

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        wire = Wire(process)
        if process.subsystem:
            await self._device.subsystem(process.subsystem, wire)
        else:
            await self._device.shell(wire)
        wire.end()

    def cut(self) -> None:
        """Drop all connections at once."""
        for connection in tuple(self.connections):
            connection.abort()

    async def stop(self) -> None:
        """Stop listening and drop all connections."""
        self.cut()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        for connection in tuple(self.connections):
            await connection.wait_closed()

    async def __aenter__(self) -> SshEmulator:
        await self.start()
        return self

    async def __aexit__(self, *unused: object) -> None:
        await self.stop()
