"""The routes about leases on a daemon's inner parts, asked in process, and by the command line over its socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
import httpx
from click.testing import CliRunner, Result
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon import events
from daemon.api.application import _add_failures
from daemon.api.idempotency import Idempotency
from daemon.api.ipam_leases import add_leases
from daemon.api.ipam_leases_actions import Desk
from daemon.api.server import ApiServer, listen_unix
from daemon.api.services import Services
from daemon.leases.cgnat import Cgnat
from daemon.leases.cgnat_places import Places
from daemon.leases.definitions import Definitions
from daemon.leases.next_available import NextAvailable
from daemon.leases.watch import Watch
from daemon.store.audit_rows import AUDIT
from daemon.store.cgnat_rows import PLAN, PLAN_END
from daemon.store.idempotency_rows import IDEMPOTENCY
from tests.daemon.playbook.stage import Play, _shipped, play
from tests.daemon.playbook.test_leases import pools

NEW_KINDS = ("pool-low", "pool-critical", "pool-recovered", "lease-adopted", "definition-refused")


@dataclass(frozen=True)
class Work:
    """What of the address work the routes about leases ask for."""

    definitions: Definitions
    cgnat: Cgnat


class Counter:
    """The API of one run of the daemon; `open` after a start or restart."""

    def __init__(self, play: Play) -> None:
        self.play = play

    async def open(self) -> Counter:
        """Build the routes as the daemon does."""
        edge = self.play.edge
        for kind in NEW_KINDS:  # those that are not yet in daemon.events.KINDS
            events._NAMES |= {kind}
            edge.events.counts.setdefault(kind, 0)
        await edge.writer.commit(_create)
        self.definitions = Definitions(edge.addresses, edge.index, edge.events, edge.supervisor.spawn)
        await self.definitions.start()
        places = Places(edge.addresses, edge.index)
        self.cgnat = Cgnat(edge.engine, edge.writer, "edge", places.problems)
        await self.cgnat.load()
        services = Services(
            engine=edge.engine,
            index=edge.index,
            aaa=edge.path,
            events=edge.events,
            clock=self.play.clock,
            dictionary=_shipped(),
            metrics=CollectorRegistry(),
            load=cast("Any", None),
            reload=cast("Any", None),
            status=cast("Any", None),
            export=cast("Any", None),
            work=cast("Any", Work(self.definitions, self.cgnat)),
            writer=edge.writer,
            exchange=cast("Any", None),
        )
        self.services = services
        self.offers = NextAvailable(edge.addresses, self.definitions.reservations)
        await self.offers.resume(edge.engine)
        self.watch = Watch(edge.addresses, edge.events.add, self.play.clock.monotonic)
        self.keys = Idempotency(edge.engine, edge.writer, self.play.clock)
        self.desk = Desk(services, edge.writer)
        self.app = FastAPI()
        _add_failures(self.app)
        router = APIRouter(prefix="/api/v1")
        add_leases(router, self.desk, self.keys, self.offers, self.watch)
        self.app.include_router(router)
        return self

    async def ask(
        self, method: str, path: str, *, json: object = None, key: str = "", **params: Any
    ) -> httpx.Response:
        """Ask the API in process."""
        transport = httpx.ASGITransport(self.app)
        query = {name: str(value) for name, value in params.items() if value is not None}
        headers = {"Idempotency-Key": key} if key else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://edge/api/v1/ipam") as client:
            return await client.request(method, path, params=query, json=json, headers=headers)

    async def get(self, path: str, **params: Any) -> Any:
        """Return the answer to a question, which must be one."""
        answer = await self.ask("GET", path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def next(self, key: str, pool: str = "v4", **body: Any) -> httpx.Response:
        """Ask for what is free."""
        wanted = {"owner": "B1", **body}
        return await self.ask("POST", f"/pools/{pool}/next-available", json=wanted, key=key)

    async def command(self, folder: Path, group: click.Group, *arguments: str) -> Result:
        """Run a command against this daemon's socket."""
        socket = folder / "admin.sock"
        config = folder / "edge.toml"
        config.write_text(f'[edge]\nstate_dir = "{folder}"\n[api]\nadmin_socket = "{socket}"\n')
        server = ApiServer(self.app, listen_unix(socket, None), admin=True)
        serving = asyncio.create_task(server.serve())
        try:
            return await asyncio.to_thread(
                lambda: CliRunner().invoke(group, list(arguments), obj=str(config))
            )
        finally:
            server.stop()
            await serving


async def _create(connection: AsyncConnection) -> None:
    def create(sync: Connection) -> None:
        for table in (AUDIT, IDEMPOTENCY, PLAN, PLAN_END):
            table.create(sync, checkfirst=True)

    await connection.run_sync(create)


@asynccontextmanager
async def counter(directory: Path, v4: str = "203.0.113.0/29", **settings: Any) -> AsyncIterator[Counter]:
    """Run a provider with pools, and the routes about them."""
    async with play(directory) as stage:
        await pools(stage, v4, **settings)
        yield await Counter(stage).open()
