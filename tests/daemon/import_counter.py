"""The command and the route of imports on a daemon's inner parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
from click.testing import Result
from fastapi import APIRouter
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.api.ipam_import import add_imports, login_key
from daemon.cli.ipam_import import import_command
from daemon.leases.import_job import Importer
from daemon.store.import_rows import IMPORT
from tests.daemon.ipam_leases_stage import Counter
from tests.daemon.playbook.stage import T0, play


@asynccontextmanager
async def importing(directory: Path, at: float = T0) -> AsyncIterator[tuple[Counter, Importer]]:
    """Run a provider without pools, and the route of imports."""
    async with play(directory, at) as stage:
        counter = await Counter(stage).open()

        async def create(connection: AsyncConnection) -> None:
            def make(sync: Connection) -> None:
                IMPORT.create(sync, checkfirst=True)

            await connection.run_sync(make)

        await stage.edge.writer.commit(create)
        importer = Importer(counter.definitions, stage.edge.index, login_key, stage.edge.supervisor.spawn)
        router = APIRouter(prefix="/api/v1")
        add_imports(router, counter.desk, importer)
        counter.app.include_router(router)
        yield counter, importer


async def command(counter: Counter, directory: Path, *arguments: object) -> Result:
    """Run `ipam import`."""
    group = click.Group("ipam", [import_command])
    return await counter.command(directory, group, "import", *map(str, arguments))
