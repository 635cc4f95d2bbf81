"""Port blocks reported to an ingest, on a store with the tables of CGNAT."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.leases.cgnat_ingest import Ingest, PortReport
from daemon.store import cgnat_rows
from daemon.store.cgnat_rows import BLOCK, PLAN, PLAN_END, BlockRow
from daemon.store.coverage_rows import COVERAGE
from daemon.store.schema import MARK, METADATA
from ipam.cgnat_blocks import BlockLease
from radius.port_ranges import PortRange, Reading, Told
from tests.daemon.conftest import Store

OUTSIDE = IPv4Address("203.0.113.1")
HELD, RELEASED = Told.HELD, Told.RELEASED


@asynccontextmanager
async def cgnat_store(store: Store) -> AsyncIterator[Store]:
    """Yield a store with its writer running and the tables there."""
    async with store.engine.begin() as connection:
        await connection.run_sync(
            lambda sync: METADATA.create_all(sync, [BLOCK, PLAN, PLAN_END, COVERAGE, MARK])
        )
    task = asyncio.create_task(store.writer.run())
    await store.writer.commit(_nothing)  # it is connected
    try:
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.engine.dispose()


async def _nothing(_connection: AsyncConnection) -> None:
    return None


class Said(NamedTuple):
    """A record about one block of a session, or the end of the session where `told` is None."""

    seq: int
    session: int
    told: Told | None
    at: float
    block: int = 0
    transport: int = 0


def ports(block: int) -> tuple[int, int]:
    return 1_024 + 512 * block, 1_024 + 512 * block + 511


def report(said: Said, closed_at: float | None = None) -> PortReport:
    assert said.told is not None
    each = PortRange(said.told, OUTSIDE, *ports(said.block), said.transport)
    return PortReport(
        seq=said.seq,
        tenant="demo",
        nas="bng1",
        session=said.session,
        subscriber=f"S{said.session}",
        inside=IPv4Address("100.64.0.0") + said.session,
        at=said.at,
        reading=Reading((each,), 0),
        closed_at=closed_at,
    )


@dataclass
class Feed:
    """An ingest that is told records, and knows which sessions are over."""

    ingest: Ingest = field(default_factory=Ingest)
    over: dict[int, float] = field(default_factory=dict)

    def say(self, *records: Said) -> None:
        """Tell records as accounting does: the end of a session, too."""
        for said in records:
            if said.told is None:
                self.over[said.session] = said.at
                self.ingest.ended(said.session, said.at, said.seq)
            else:
                self.ingest.take(report(said, self.over.get(said.session)))


async def rows(engine: AsyncEngine) -> list[BlockRow]:
    """Return the table of blocks."""
    async with engine.connect() as connection:
        found = await connection.execute(select(BLOCK).order_by(BLOCK.c.seq, BLOCK.c.ordinal))
        return [BlockRow(*row) for row in found]


async def held(
    connection: AsyncConnection, at: float, skew_s: float = 0.0, outside: IPv4Address = OUTSIDE
) -> list[BlockLease]:
    """Return who had ports of the outside address."""
    found = await cgnat_rows.find_block_leases(connection, "demo", outside, at - skew_s, at + skew_s)
    return [lease for _, lease in found]
