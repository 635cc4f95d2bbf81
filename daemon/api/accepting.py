"""Accepting connections of the API port ourselves, so that each counts before its TLS handshake."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from daemon import logs
from daemon.api.connections import Connection, Connections

_AT_ONE_GO = 64
_SOON_S = 0.01
_PAUSE_S = 0.2
_BACKLOG = 1024
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

MakeProtocol = Callable[[Connection], asyncio.Protocol]


class Accepting:
    """Accepts on a bound socket until it is closed; does for uvicorn what an `asyncio.Server` does.

    `make` returns the protocol of a connection, and has to call `Connections.gone` when that is lost.
    """

    def __init__(
        self,
        sock: socket.socket,
        connections: Connections,
        make: MakeProtocol,
        tls: ssl.SSLContext | None,
        handshake_s: float,
    ) -> None:
        self._socket = sock
        self._connections = connections
        self._make = make
        self._tls = tls
        self._handshake_s = handshake_s
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False
        self._log = logs.logger("api")
        self._limiter = logs.Limiter(0.2)
        sock.setblocking(False)
        sock.listen(_BACKLOG)
        self._resume()

    def close(self) -> None:
        """Accept nothing more."""
        if not self._closed:
            self._closed = True
            self._stop()
            for task in self._opening:
                task.cancel()

    async def wait_closed(self) -> None:
        """Wait for what was still opening."""
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _resume(self) -> None:
        self._pause = None
        if not self._closed:
            self._loop.add_reader(self._socket.fileno(), self._accept)

    def _stop(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        elif self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())

    def _rest(self, pause_s: float) -> None:
        """Accept nothing for a moment, so that what was ended can go."""
        self._stop()
        self._pause = self._loop.call_later(pause_s, self._resume)

    def _accept(self) -> None:
        for _ in range(_AT_ONE_GO):
            if self._connections.full:
                self._connections.make_room()
                self._rest(_SOON_S)
                return
            try:
                sock, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._starved(error)
                return
            self._take(sock, address[0])

    def _starved(self, error: OSError) -> None:
        held = self._limiter.allow("starved", self._loop.time())
        if held is not None:
            why, count = error.strerror or str(error), len(self._connections)
            self._log.error("api-cannot-accept", why=why, connections=count, suppressed=held)
        for _ in range(_AT_ONE_GO):
            if not self._connections.make_room():
                break
        self._rest(_PAUSE_S)

    def _take(self, sock: socket.socket, source: str) -> None:
        sock.setblocking(False)

        def end() -> None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

        connection = self._connections.add(source, end)
        task = self._loop.create_task(self._open(sock, connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, sock: socket.socket, connection: Connection) -> None:
        opened = False
        try:
            with suppress(
                OSError
            ):  # no handshake came of it; the reasons for that are errors of the system, too
                await self._loop.connect_accepted_socket(
                    lambda: self._make(connection),
                    sock,
                    ssl=self._tls,
                    ssl_handshake_timeout=None if self._tls is None else self._handshake_s,
                )
                opened = True
        finally:
            if not opened:
                self._connections.gone(connection)
