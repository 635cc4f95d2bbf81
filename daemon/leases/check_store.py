"""The book against its store: the row of each slot is what is in memory, once nothing of it waits to be written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from daemon.leases.check_model import SLICE, Finding, Progress, Rule, Scope, Step
from daemon.leases.places import Place, settled
from daemon.store import lease_pages
from ipam.allocator import OUT, SHUN
from ipam.cells import NONE
from ipam.kinds import BOUND, DISABLED, FREE, RESERVED, STATES, TENTATIVE
from ipam.ledger import LeaseRow
from ipam.shelf import Shelf

_TRIES = 5
_FIRST_CELL = 5
_MOST = 200  # slots of one pool that are looked at again one by one
_REMEDY = (
    "restart the daemon, which reads the book back from its store; check again, and report it with this text"
)


async def steps(scope: Scope) -> AsyncIterator[Step]:
    """Yield slots that are not on disk what they are in memory."""
    async with scope.addresses.engine.connect() as connection:
        stored = await lease_pages.pools(connection)
    known = scope.addresses.register.shelves
    if not scope.addresses.options.shared:
        for tenant, pool in stored:
            if (tenant, pool) not in known:
                yield _stranger(tenant, pool)
    for key in list(known):
        shelf = known.get(key)
        if shelf is not None:
            async for step in _of_pool(scope, shelf):
                yield step


def _stranger(tenant: str, pool: str) -> Finding:
    return Finding(
        rule=Rule.STORED,
        tenant=tenant,
        subject=pool,
        text=f"there are leases on disk of pool {pool}, which is not defined",
        remedy="define the pool again as it was, or leave it: they do no harm",
    )


async def _of_pool(scope: Scope, shelf: Shelf) -> AsyncIterator[Step]:
    tenant, name = shelf.pool.tenant, shelf.pool.name
    on_disk = bytearray(len(shelf.allocator.slots))
    doubtful: list[int] = []
    after, done = -1, 0
    while True:
        async with scope.addresses.engine.connect() as connection:
            rows = await lease_pages.page(connection, tenant, name, after, SLICE)
        for row in rows:
            cell = shelf.allocator.cell_at(row.slot)
            if NONE < cell < len(on_disk):
                on_disk[cell] = 1
            if differs(shelf, row.slot, row):
                doubtful.append(row.slot)
        done += len(rows)
        yield Progress(f"rows of {name}", done, max(done, len(shelf.allocator)))
        if len(rows) < SLICE:
            break
        after = rows[-1].slot
        await asyncio.sleep(0)
    for begin in range(_FIRST_CELL, len(on_disk), SLICE):
        for cell in range(begin, min(begin + SLICE, len(on_disk))):
            slot = shelf.allocator.slots[cell]
            if slot >= 0 and not on_disk[cell] and differs(shelf, slot, None):
                doubtful.append(slot)
        await asyncio.sleep(0)
    async for finding in _settle(scope, shelf, doubtful):
        yield finding


def differs(shelf: Shelf, slot: int, row: LeaseRow | None) -> str:
    """Return how a slot in memory is not what its row says; empty where all is well."""
    allocator = shelf.allocator
    cell = allocator.cell_at(slot)
    if cell == NONE:
        ours = allocator.segment_at(slot) is not None
        return f"is {row.state} on disk and never used in memory" if ours and row is not None else ""
    state = allocator.states[cell]
    excluded = state == DISABLED and not allocator.marks[cell] & OUT
    if row is None:
        unwritten = state == FREE or excluded
        return "" if unwritten else f"is {STATES[state]} in memory and not on disk"
    if row.state != STATES[state]:
        return (
            ""
            if excluded and row.state == STATES[FREE]
            else f"is {row.state} on disk, {STATES[state]} in memory"
        )
    segment = allocator.segment_at(slot)
    # An exclusion takes a slot out, whatever its row says: the definition of the pool tells it.
    marks = SHUN if segment is not None and segment.bars(slot) else SHUN | OUT
    if (allocator.marks[cell] ^ row.marks) & marks:
        return "is not marked on disk as it is in memory"
    owner = shelf.owner_of(cell)
    if (TENTATIVE <= state <= BOUND or state == RESERVED) and owner != (row.owner or ""):
        return f"is of {row.owner or 'nobody'} on disk, of {owner or 'nobody'} in memory"
    tenure = shelf.tenures.get(cell)
    if tenure is None or not TENTATIVE <= state <= BOUND:
        return ""
    if (tenure.lease_id, tenure.session) != (row.lease_id, row.session):
        return f"is lease {row.lease_id} of session #{row.session} on disk, {tenure.lease_id} of #{tenure.session} here"
    return ""


async def _settle(scope: Scope, shelf: Shelf, doubtful: Iterable[int]) -> AsyncIterator[Finding]:
    """Look at slots again that were different: they may have changed between reading the row and looking."""
    tenant, name = shelf.pool.tenant, shelf.pool.name
    for slot in list(doubtful)[:_MOST]:
        wrong = ""
        for _ in range(_TRIES):
            await settled(scope.addresses, Place(shelf, slot))
            async with scope.addresses.engine.connect() as connection:
                row = (await lease_pages.rows(connection, tenant, name, [slot])).get(slot)
            waits = scope.addresses.register.ledger.holds(tenant, name, slot, slot)
            wrong = "" if waits else differs(shelf, slot, row)
            if not wrong and not waits:
                break
        if wrong:
            unit = shelf.layout.unit(slot)
            text = f"pool {name}: {unit} {wrong}"
            yield Finding(rule=Rule.STORED, tenant=tenant, subject=str(unit), text=text, remedy=_REMEDY)
