"""The routes of the outbox on real sockets: for tokens on TCP, for the command line on the admin socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import httpx
from click.testing import CliRunner, Result
from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from daemon.api.application import _add_answers, _add_failures
from daemon.api.outbox import add_outbox
from daemon.api.security.principals import Kind, Principal
from daemon.api.security.scopes import SCOPES
from daemon.api.server import ApiServer, listen_tcp, listen_unix
from daemon.cli.outbox import group
from daemon.clock import SystemClock
from daemon.sync.outbox.model import OutboxSink
from tests.daemon.sinks.stage import Edge

READ = frozenset({"events:read"})
TOKENS = {
    "all": Principal(kind=Kind.KEY, name="all", scopes=frozenset(SCOPES)),
    "demo": Principal(kind=Kind.KEY, name="demo", scopes=READ, tenant="demo"),
    "rival": Principal(kind=Kind.KEY, name="rival", scopes=frozenset(SCOPES), tenant="rival"),
    "blind": Principal(kind=Kind.KEY, name="blind", scopes=frozenset({"status:read"})),
}


class Door:
    """Knows who asks by the name of the key."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = dict(scope.get("headers", ())).get(b"x-api-key", b"").decode()
        if key in TOKENS:
            scope.setdefault("state", {})["principal"] = TOKENS[key]
        await self._app(scope, receive, send)


class Counter:
    """The API over an outbox."""

    def __init__(self, edge: Edge, folder: Path) -> None:
        self.edge = edge
        self._folder = folder
        self._socket = folder / "admin.sock"
        self.url = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Counter]:
        """Listen meanwhile."""
        network, local = FastAPI(), FastAPI()
        _add_answers(network, Middleware(Door))
        _add_failures(local)
        for app in (network, local):
            router = APIRouter(prefix="/api/v1")
            add_outbox(router, self.edge.outbox, SystemClock())
            app.include_router(router)
        sock = listen_tcp("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}/api/v1"
        servers = [
            ApiServer(network, sock, admin=False),
            ApiServer(local, listen_unix(self._socket, None), admin=True),
        ]
        tasks = [asyncio.create_task(server.serve()) for server in servers]
        try:
            yield self
        finally:
            for server in servers:
                server.stop()
            await asyncio.gather(*tasks)

    def client(self, key: str = "all") -> httpx.AsyncClient:
        """Return a client with somebody's key."""
        return httpx.AsyncClient(base_url=self.url, headers={"X-Api-Key": key}, timeout=30.0)

    async def get(self, path: str, key: str = "all", **params: Any) -> httpx.Response:
        """Ask once."""
        async with self.client(key) as client:
            return await client.get(path, params=params)

    async def command(self, *words: str, command: click.Group = group) -> Result:
        """Run a command against the admin socket."""
        config = self._folder / "edge.toml"
        config.write_text(f'[edge]\nstate_dir = "{self._folder}"\n[api]\nadmin_socket = "{self._socket}"\n')
        return await asyncio.to_thread(CliRunner().invoke, command, [*words], obj=str(config))


@asynccontextmanager
async def counter(folder: Path, *sinks: OutboxSink) -> AsyncIterator[Counter]:
    """An edge and its API."""
    async with Edge(folder / "edge.db", sinks).running() as edge, Counter(edge, folder).open() as opened:
        yield opened


class Follower:
    """Reads server-sent events."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id = ""

    async def block(self) -> dict[str, str]:
        """Return the fields of what comes next."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if not line:
                self.last_id = fields.get("id", self.last_id)
                return fields
            name, _, value = line.partition(": ")
            fields[name] = value
        raise EOFError

    async def event(self) -> dict[str, Any]:
        """Return the next event."""
        while "data" not in (fields := await self.block()):
            pass
        found: dict[str, Any] = json.loads(fields["data"])
        assert fields["event"] == found["type"]
        return found


@asynccontextmanager
async def following(client: httpx.AsyncClient, path: str, last_id: str = "") -> AsyncIterator[Follower]:
    """Follow a stream."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
    async with client.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Follower(response)
