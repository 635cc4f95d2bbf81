"""The book against itself: the rules of `ipam.restore.faults`, in slices.

What one slot says is seen in one moment. Sums are compared in one moment, too, by counting octets, which takes
microseconds even for a million slots.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from daemon.leases.check_model import SLICE, Finding, Progress, Rule, Scope, Step
from ipam.address import Unit
from ipam.book import Book
from ipam.cells import NONE
from ipam.kinds import BOUND, DISABLED, TENTATIVE, Kind
from ipam.model import Pool
from ipam.register import Register
from ipam.shelf import Shelf, plain_owner

_FIRST_CELL = 5  # below are the heads of the allocator's lists
_REMEDY = (
    "restart the daemon, which reads the book back from its store; check again, and report it with this text"
)


async def steps(scope: Scope) -> AsyncIterator[Step]:
    """Yield what is wrong in the book."""
    register, book = scope.addresses.register, scope.addresses.book
    shelves = list(register.shelves.values())
    total = sum(len(shelf.allocator.slots) - _FIRST_CELL for shelf in shelves)
    done = 0
    for shelf in shelves:
        for text in _sums(shelf):
            yield _finding(shelf, shelf.pool.name, text)
        cell = _FIRST_CELL
        while cell < len(shelf.allocator.slots):
            after = min(cell + SLICE, len(shelf.allocator.slots))
            for each in range(cell, after):
                for text in _of_cell(shelf, book, each):
                    yield _finding(shelf, str(shelf.unit(each)), text)
            done += after - cell
            cell = after
            yield Progress("slots", done, total)
            await asyncio.sleep(0)
        async for finding in _reserved(scope, shelf):
            yield finding


def _finding(shelf: Shelf, subject: str, text: str) -> Finding:
    return Finding(
        rule=Rule.BOOK,
        tenant=shelf.pool.tenant,
        subject=subject,
        text=f"pool {shelf.pool.name}: {text}",
        remedy=_REMEDY,
    )


def _sums(shelf: Shelf) -> Iterator[str]:
    allocator = shelf.allocator
    counts, states = allocator.counts, allocator.states
    wrong = any(states.count(state) != counts[state] for state in range(TENTATIVE, DISABLED))
    if wrong or min(counts) < 0:
        yield "its counters are wrong"
    if sum(counts) != sum(segment.count for segment in allocator.segments):
        yield "its states do not add up to its size"
    if len(allocator.owners) - allocator.owners.count(None) != len(allocator.by_owner):
        yield "the slot of an owner does not know its owner"


def _of_cell(shelf: Shelf, book: Book, cell: int) -> Iterator[str]:
    allocator = shelf.allocator
    slot = allocator.slots[cell]
    if slot < 0:
        return
    key = allocator.owners[cell]
    if key is not None and allocator.by_owner.get(key) != cell:
        yield f"{shelf.unit(cell)} is kept for an owner who has another slot"
    if allocator.cell_at(slot) != cell:
        yield f"{shelf.unit(cell)} is known twice"
    if TENTATIVE <= allocator.states[cell] <= BOUND:
        if key is None or cell not in shelf.tenures:
            yield f"{shelf.unit(cell)} is leased to nobody"
        elif book.bundle_of(shelf, cell) is None:
            yield f"{shelf.unit(cell)} is leased and in no bundle, so nothing would ever end it"


async def _reserved(scope: Scope, shelf: Shelf) -> AsyncIterator[Finding]:
    """Yield slots that are set aside for no reason, as a crash may leave one behind.

    A reservation is one; so is a fixed address of the data, and a fixed lease from before there was the pool.
    """
    pool = shelf.pool
    if pool.kind is Kind.FIXED:
        return
    for number, (cell, key) in enumerate(list(shelf.allocator.reserved_for.items()), 1):
        if number % SLICE == 0:
            await asyncio.sleep(0)
        if shelf.allocator.reserved_for.get(cell) != key:  # given up meanwhile
            continue
        owner, unit = plain_owner(key), shelf.unit(cell)
        if not _has_a_reason(scope, shelf, unit, owner):
            yield Finding(
                rule=Rule.BOOK,
                tenant=pool.tenant,
                subject=str(unit),
                text=f"pool {pool.name}: {unit} is set aside for {owner} by no reservation and no fixed address",
                remedy=f"add the reservation of {unit} for {owner}, and delete it if it is not wanted",
            )


def _has_a_reason(scope: Scope, shelf: Shelf, unit: Unit, owner: str) -> bool:
    pool, register = shelf.pool, scope.addresses.register
    if register.set_aside.get((pool.tenant, owner, pool.kind)) == (pool.vrf, unit):
        return True
    return scope.entitled(pool.tenant, pool.vrf, unit, owner) or _lingers(register, pool, unit, owner)


def _lingers(register: Register, pool: Pool, unit: Unit, owner: str) -> bool:
    """Tell whether an owner has a unit as a fixed address from before it was a slot of a pool."""
    fixed = register.find(pool.tenant, register.fixed_name(pool.vrf))
    slot = -1 if fixed is None else fixed.slot_of(unit)
    cell = NONE if fixed is None or slot < 0 else fixed.allocator.cell_at(slot)
    return fixed is not None and cell >= 0 and fixed.owner_of(cell) == owner
