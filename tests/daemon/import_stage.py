"""An import on a node with a real store, as the command would send it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.api.ipam_import import login_key
from daemon.leases.import_job import Importer
from daemon.leases.import_model import Progress, Report
from daemon.store.import_rows import IMPORT
from ipam.imports import mapping, plain, radippool, wire
from ipam.imports.records import Imported, Source
from ipam.schema import EVENT, LEASE, POOL, PREFIX, RANGE, RESERVATION
from tests.daemon.definitions_stage import TENANT, Stage

HEADER = "pool_name,framedipaddress,nasipaddress,callingstationid,expiry_time,username,pool_key\n"


async def open_table(stage: Stage) -> None:
    """Make the table of imports that were cut off, where it is not there."""

    async def create(connection: AsyncConnection) -> None:
        def make(sync: Connection) -> None:
            IMPORT.create(sync, checkfirst=True)

        await connection.run_sync(make)

    await stage.writer.commit(create)


def rows(*lines: str) -> Imported:
    """Return a radippool of CSV lines: pool, address, NAS, MAC, expiry, user, key."""
    text = HEADER + "".join(f"{each}\n" for each in lines)
    found = radippool.read([Source("pool.csv", text.splitlines(keepends=True))])
    assert isinstance(found, Imported), found
    return found


def book(*lines: str) -> Imported:
    """Return what a plain CSV says: address, status, owner, pool, until."""
    text = "address,status,owner,pool,until\n" + "".join(f"{each}\n" for each in lines)
    found = plain.read([Source("book.csv", text.splitlines(keepends=True))])
    assert isinstance(found, Imported), found
    return found


def moment(stage: Stage, seconds: float) -> str:
    """Return an expiry some seconds from now, as epoch seconds."""
    return str(int(stage.clock.wall() + seconds))


async def send(
    stage: Stage, imported: Imported | bytes, *, dry_run: bool = False, names: dict[str, Any] | None = None
) -> Report | str:
    """Import; return the report, or why it was cut off."""
    await open_table(stage)
    importer = Importer(stage.definitions, stage.index, login_key, stage.spawn)
    if isinstance(imported, Imported):
        body = b"".join(wire.lines(mapping.applied(imported, mapping.read(names))))
    else:
        body = imported

    async def octets() -> AsyncIterator[bytes]:
        for first in range(0, len(body), 1000):
            yield body[first : first + 1000]

    plan = await importer.plan(TENANT, octets())
    if plan.problems.count or dry_run:
        return await importer.drop(plan)
    last: Progress | Report | str = ""
    async for step in importer.carry_out(plan):
        last = step
    assert not isinstance(last, Progress)
    return last


async def make(stage: Stage, imported: Imported, **how: Any) -> Report:
    """Import; it must have succeeded."""
    done = await send(stage, imported, **how)
    assert isinstance(done, Report), done
    assert done.problems == (), [str(each) for each in done.problems]
    return done


def problems(done: Report | str) -> list[str]:
    """Return the problems of an import that was refused, as sentences."""
    assert isinstance(done, Report), done
    assert not done.done
    assert done.problems
    return [str(each) for each in done.problems]


async def tables(stage: Stage) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that is stored of addresses, to compare."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    async with stage.engine.connect() as connection:
        for table in (POOL, RANGE, RESERVATION, PREFIX, LEASE, EVENT, IMPORT):
            result = await connection.execute(select(table).order_by(*table.primary_key.columns))
            found[table.name] = [tuple(row) for row in result]
    return found
