"""Serving the API inside our loop: on TCP, and on a Unix socket where the kernel names the caller."""

from __future__ import annotations

import asyncio
import grp
import json
import os
import pwd
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from daemon import logs
from daemon.api.accepting import Accepting
from daemon.api.connections import Connection, Connections, most_of
from daemon.api.security.names import names_of
from daemon.api.security.options import PortOptions
from daemon.api.security.refusals import Refusal, refuse

_UCRED = struct.Struct("3i")  # pid, uid, gid
_FULL = Refusal(503, "too-many-connections", "there are too many connections; come again a little later", 5.0)
_DESCRIPTORS = "too few file descriptors: raise the limit (LimitNOFILE=), or lower api.connections"


class _PeerProtocol(H11Protocol):
    """HTTP on a Unix socket; the scope's client is the user id of the peer and its process id."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        pid, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        self.client = (str(uid), pid)


class _PortProtocol(H11Protocol):
    """HTTP on a TCP port: a connection ends whose headers take too long; a client certificate is named in the scope."""

    header_s = PortOptions().header_s
    held: Connections
    connection: Connection

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.connection.idle = self._idle
        self.connection.end = transport.abort
        self.app_state = {**self.app_state, "connection": self.connection}
        shown = transport.get_extra_info("ssl_object")
        if shown is not None:
            self.app_state["certificate_names"] = names_of(shown.getpeercert())
        self._wait_for_headers()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and self._idle():
            self._wait_for_headers()  # of a further request
        super().data_received(data)
        if not self._idle():
            self._cease_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self.held.gone(self.connection)
        self._cease_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.connection.over:
            self.transport.close()
        self._cease_waiting()  # now it is kept alive, for which there is a time, too

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_headers(self) -> None:
        self._deadline = self.loop.call_later(self.header_s, self.transport.close)

    def _cease_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Room:
    """Tells those that are one too many when to come back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope.get("state", {}).get("connection")
        if scope["type"] == "http" and isinstance(connection, Connection) and connection.over:
            await refuse(scope, send, _FULL)
        else:
            await self._app(scope, receive, send)


class _PeerGate:
    """Lets only root, our own user and the members of one group through."""

    def __init__(self, app: ASGIApp, group: str | None) -> None:
        self._app = app
        self._group = group

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._allowed(int(scope["client"][0])):
            await self._app(scope, receive, send)
            return
        failure = {
            "code": "denied",
            "message": "this user may not use the admin socket; be root, the daemon's user"
            + (f" or a member of {self._group}" if self._group else ""),
        }
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(failure).encode()})

    def _allowed(self, uid: int) -> bool:
        if uid in (0, os.geteuid()):
            return True
        if self._group is None:
            return False
        group = grp.getgrnam(self._group)
        try:
            user = pwd.getpwuid(uid)
        except KeyError:
            return False
        return user.pw_gid == group.gr_gid or user.pw_name in group.gr_mem


class _Quiet(uvicorn.Server):
    """uvicorn without its own signal handlers: the daemon decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class _PortServer(_Quiet):
    """uvicorn on a TCP port, with connections that are accepted, counted and limited by us."""

    def __init__(self, config: uvicorn.Config, limits: PortOptions) -> None:
        super().__init__(config)
        self._limits = limits
        self.held = Connections(most_of(limits.connections), limits.strangers)
        if self.held.most < limits.connections:
            logs.logger("api").warning(
                "api-connections-limited", wanted=limits.connections, most=self.held.most, why=_DESCRIPTORS
            )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await self.lifespan.startup()
        tls, header_s = self.config.ssl, self._limits.header_s
        found = [Accepting(each, self.held, self._protocol, tls, header_s) for each in sockets or ()]
        self.servers = cast("list[asyncio.base_events.Server]", found)
        self.started = True

    def _protocol(self, connection: Connection) -> asyncio.Protocol:
        made = _PortProtocol(self.config, self.server_state, self.lifespan.state)
        made.header_s, made.held, made.connection = self._limits.header_s, self.held, connection
        return made


class ApiServer:
    """One listening socket and its application; `serve` ends after `stop`. With `tls` it speaks HTTPS."""

    def __init__(
        self,
        app: ASGIApp,
        sock: socket.socket,
        *,
        admin: bool,
        group: str | None = None,
        tls: ssl.SSLContext | None = None,
        port: PortOptions | None = None,
    ) -> None:
        self._socket = sock
        limits = port or PortOptions()
        config = uvicorn.Config(
            _PeerGate(app, group) if admin else _Room(app),
            http=_PeerProtocol if admin else _PortProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )
        self._server = _Quiet(config) if admin else _PortServer(config, limits)

    async def serve(self) -> None:
        """Answer requests until `stop`."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Finish what is being answered, then end."""
        self._server.should_exit = True


def listen_tcp(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket; raises OSError where the address is taken or not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def listen_unix(path: Path, group: str | None) -> socket.socket:
    """Return a listening Unix socket at `path`, for our user and the group only.

    A socket left over from a crash is replaced; one that a living daemon answers on is not: OSError.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if path.is_socket() and probe.connect_ex(str(path)) == 0:
            raise OSError(f"{path}: another daemon is running on this state directory")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        if group is not None:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
            path.chmod(0o660)
    except OSError:
        sock.close()
        raise
    return sock
