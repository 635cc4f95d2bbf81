"""The routes about definitions on a real store, asked in process, and by the command line over a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import click
import httpx
from click.testing import CliRunner, Result
from fastapi import APIRouter, FastAPI
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.api.application import _add_failures
from daemon.api.idempotency import Idempotency
from daemon.api.ipam_definitions import definitions_router
from daemon.api.server import ApiServer, listen_unix
from daemon.api.services import Services
from daemon.store.audit_rows import AUDIT
from daemon.store.idempotency_rows import IDEMPOTENCY
from tests.daemon.conftest import Store
from tests.daemon.definitions_stage import Stage


class Counter:
    """The API of a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        nothing = cast("Any", None)
        services = Services(
            engine=stage.engine,
            index=stage.index,
            aaa=nothing,
            events=stage.events,
            clock=stage.clock,
            dictionary=nothing,
            metrics=nothing,
            load=nothing,
            reload=nothing,
            status=nothing,
            export=nothing,
            work=nothing,
            writer=stage.writer,
            exchange=nothing,
        )
        keys = Idempotency(stage.engine, stage.writer, stage.clock)
        self.app = FastAPI()
        _add_failures(self.app)
        router = APIRouter(prefix="/api/v1")
        router.include_router(definitions_router(services, stage.definitions, keys))
        self.app.include_router(router)

    async def ask(
        self, method: str, path: str, json: object = None, *, key: str = "", **params: Any
    ) -> tuple[int, Any]:
        """Ask the API in process; return status and answer."""
        transport = httpx.ASGITransport(self.app)
        query = {name: str(value) for name, value in params.items()}
        headers = {"Idempotency-Key": key} if key else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://edge/api/v1/ipam") as client:
            answer = await client.request(method, path, params=query, json=json, headers=headers)
        return answer.status_code, answer.json() if answer.content else None

    async def get(self, path: str, **params: Any) -> Any:
        """Return the answer to a question, which must be one."""
        status, answer = await self.ask("GET", path, **params)
        assert status == 200, answer
        return answer

    async def made(self, path: str, json: object, **params: Any) -> Any:
        """Make something, which must succeed."""
        status, answer = await self.ask("POST", path, json, **params)
        assert status in (200, 201), answer
        return answer

    @asynccontextmanager
    async def socket(self, folder: Path) -> AsyncIterator[Run]:
        """Serve on a socket meanwhile."""
        socket = folder / "admin.sock"
        config = folder / "edge.toml"
        config.write_text(f'[edge]\nstate_dir = "{folder}"\n[api]\nadmin_socket = "{socket}"\n')
        server = ApiServer(self.app, listen_unix(socket, None), admin=True)
        serving = asyncio.create_task(server.serve())
        try:
            yield Run(config)
        finally:
            server.stop()
            await serving


class Run:
    """Runs commands against a socket."""

    def __init__(self, config: Path) -> None:
        self._config = config

    async def __call__(self, group: click.Group, *arguments: str, code: int = 0) -> str:
        """Run a command; return what it prints on both outputs."""

        def run() -> Result:
            return CliRunner().invoke(group, list(arguments), obj=str(self._config))

        result = await asyncio.to_thread(run)
        assert result.exit_code == code, (
            f"{arguments}: {result.exit_code}\n{result.output}\n{result.exception!r}"
        )
        return result.output


@asynccontextmanager
async def counter(store: Store) -> AsyncIterator[Counter]:
    """Run a node and its routes."""
    async with store.running():
        stage = Stage(store.engine)
        async with stage.running():
            await stage.writer.commit(_create)
            yield Counter(stage)


async def _create(connection: AsyncConnection) -> None:
    def create(sync: Connection) -> None:
        IDEMPOTENCY.create(sync, checkfirst=True)
        AUDIT.create(sync, checkfirst=True)

    await connection.run_sync(create)
