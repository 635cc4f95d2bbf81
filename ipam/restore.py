"""Putting stored slots back into the book at start, or when a block is gained.

The monotonic clock began anew with the machine, so nothing stored is compared with it: every hold, quarantine and
lease has its whole time again. That is longer than needed, and never shorter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ipam.address import Unit, read_number
from ipam.book import Book
from ipam.cells import NONE
from ipam.kinds import BOUND, DISABLED, STATES, TENTATIVE, Space
from ipam.layout import NO_SLOT, Listed
from ipam.ledger import LeaseRow
from ipam.register import Register
from ipam.shelf import EXACT, KEPT, LIVE, Shelf, Tenure


def restore(register: Register, book: Book, rows: Iterable[LeaseRow], now: float) -> int:
    """Take up stored slots, and the bundles that they are in; return how many are of no slot of this node.

    Pools and blocks must be there already. Rows are taken up in the order in which they began to wait.
    """
    ordered = sorted(rows, key=lambda row: row.since_at)
    kept = _last_kept(ordered)
    _carve(register, ordered)
    members: dict[int, list[tuple[Shelf, int, Tenure]]] = {}
    strangers = 0
    for index, row in enumerate(ordered):
        shelf = _shelf_of(register, row)
        if shelf is not None and row.marks & KEPT and kept[_key(row)] != index:
            row = row._replace(marks=row.marks & ~KEPT)  # noqa: PLW2901
        cell = NONE if shelf is None else shelf.restore(row, now)
        if shelf is None or cell == NONE:
            strangers += 1
        elif row.state in LIVE:
            members.setdefault(row.bundle_id, []).append((shelf, cell, shelf.tenures[cell]))
    for number, owned in members.items():
        shelf, _, tenure = owned[0]
        book.adopt(number, (shelf.pool.tenant, tenure.owner), owned, _session(owned), now)
    return strangers


def _carve(register: Register, rows: list[LeaseRow]) -> None:
    """Make the cells in the order in which their slots were given out: then they take the least memory."""
    by_shelf: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        by_shelf.setdefault((row.tenant, row.pool), []).append(row.slot)
    for (tenant, name), slots in by_shelf.items():
        shelf = register.find(tenant, name)
        if shelf is not None:
            for slot in shelf.in_turn(slots):
                shelf.allocator.carve(slot)


_Key = tuple[str, str, str | None, int]


def _key(row: LeaseRow) -> _Key:
    """Return what an allocator has one slot for."""
    return row.tenant, row.pool, row.owner, row.slot if row.marks & EXACT else NONE


def _last_kept(rows: list[LeaseRow]) -> dict[_Key, int]:
    """Return which row an owner is to get back of a pool, by index: a live one, else the latest."""
    best: dict[_Key, int] = {}
    for index, row in enumerate(rows):
        if row.marks & KEPT:
            key = _key(row)
            if key not in best or rows[best[key]].state not in LIVE:
                best[key] = index
    return best


def _shelf_of(register: Register, row: LeaseRow) -> Shelf | None:
    shelf = register.find(row.tenant, row.pool)
    if shelf is None and row.pool == register.fixed_name(row.vrf):
        shelf = register.fixed_shelf(row.tenant, row.vrf)
    if shelf is not None and isinstance(shelf.layout, Listed):
        space = Space(row.space)
        unit = Unit(space, read_number(space, row.address), row.length)
        if shelf.layout.find(unit) == NO_SLOT:
            register.add_fixed(shelf, unit, row.slot)
    return shelf


def _session(owned: list[tuple[Shelf, int, Tenure]]) -> str:
    return next((tenure.session for _, _, tenure in owned if tenure.session), "")


def faults(register: Register) -> tuple[str, ...]:
    """Return what is not as it must be, a sentence each, for `ipam check`; nothing where all is well.

    Looks at every slot that has a cell; meant for a start and for an operator, not for the request path.
    """
    return tuple(
        f"pool {shelf.pool.name}: {fault}"
        for shelf in register.shelves.values()
        for fault in _faults_of(shelf)
    )


def _faults_of(shelf: Shelf) -> Iterator[str]:
    allocator = shelf.allocator
    used = [0] * len(STATES)
    for cell in allocator.all_cells():
        state = allocator.states[cell]
        used[state] += 1
        key = allocator.owners[cell]
        if key is not None and allocator.by_owner.get(key) != cell:
            yield f"{shelf.unit(cell)} is kept for an owner who has another slot"
        if TENTATIVE <= state <= BOUND and (key is None or cell not in shelf.tenures):
            yield f"{shelf.unit(cell)} is leased to nobody"
        if allocator.cell_at(allocator.slots[cell]) != cell:
            yield f"{shelf.unit(cell)} is known twice"
    if any(allocator.owners[cell] != owner for owner, cell in allocator.by_owner.items()):
        yield "the slot of an owner does not know its owner"
    if used[TENTATIVE:DISABLED] != allocator.counts[TENTATIVE:DISABLED] or min(allocator.counts) < 0:
        yield "its counters are wrong"
    if sum(allocator.counts) != sum(segment.count for segment in allocator.segments):
        yield "its states do not add up to its size"
