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

_Member = tuple[Shelf, int, Tenure]


def restore(register: Register, book: Book, rows: Iterable[LeaseRow], now: float) -> int:
    """Take up stored slots, and the bundles that they are in; return how many are of no slot of this node.

    Pools and blocks must be there already. What waits is taken up in the order in which it began to wait.
    """
    by_pool: dict[tuple[str, str], list[LeaseRow]] = {}
    for row in rows:
        key = (row[0], row[1])
        if key in by_pool:
            by_pool[key].append(row)
        else:
            by_pool[key] = [row]
    members: dict[int, list[_Member]] = {}
    strangers = 0
    for stored in by_pool.values():
        shelf = _shelf_of(register, stored)
        if shelf is None:
            strangers += len(stored)
            continue
        strangers += _restore_shelf(shelf, stored, members, now)
        due = shelf.allocator.next_due()
        if due is not None:
            register.note_waiting(shelf, due)
    for number, owned in members.items():
        shelf, _, tenure = owned[0]
        book.adopt(number, (shelf.pool.tenant, tenure.owner), owned, _session(owned), now)
    return strangers


def _restore_shelf(shelf: Shelf, rows: list[LeaseRow], members: dict[int, list[_Member]], now: float) -> int:
    """Take up the slots of one pool: live leases in the order of the slots, which takes the least memory."""
    kept = _last_kept(rows)
    strangers = 0
    waiting: list[tuple[float, int, LeaseRow]] = []
    for row in shelf.in_turn(rows):
        cell = shelf.allocator.carve(row[2])
        if cell == NONE:
            strangers += 1
        elif row[8] in LIVE:
            tenure = shelf.restore(cell, row, True, now)
            assert tenure is not None, "who has a live lease is stored"
            if row[11] in members:
                members[row[11]].append((shelf, cell, tenure))
            else:
                members[row[11]] = [(shelf, cell, tenure)]
        else:
            waiting.append((row[12], cell, row))
    waiting.sort()
    for _, cell, row in waiting:
        shelf.restore(cell, row, _is_kept(row, kept), now)
    return strangers


def _last_kept(rows: list[LeaseRow]) -> dict[str | None, LeaseRow]:
    """Return which row of a pool each owner is to get back: a live one, else the latest."""
    best: dict[str | None, LeaseRow] = {}
    for row in rows:
        if row[9] & KEPT and not row[9] & EXACT:
            other = best.get(row[7])
            if other is None or _is_better(row, other):
                best[row[7]] = row
    return best


def _is_better(row: LeaseRow, other: LeaseRow) -> bool:
    return (row.state in LIVE, row.since_at) > (other.state in LIVE, other.since_at)


def _is_kept(row: LeaseRow, kept: dict[str | None, LeaseRow]) -> bool:
    """Tell whether an owner can have a slot again; an exact unit has a key of its own."""
    return bool(row[9] & KEPT) and (bool(row[9] & EXACT) or kept.get(row[7]) is row)


def _shelf_of(register: Register, rows: list[LeaseRow]) -> Shelf | None:
    """Return the shelf of rows of one pool; fixed units become known by this."""
    tenant, name, vrf = rows[0].tenant, rows[0].pool, rows[0].vrf
    shelf = register.find(tenant, name)
    if shelf is None and name == register.fixed_name(vrf):
        shelf = register.fixed_shelf(tenant, vrf)
    if shelf is not None and isinstance(shelf.layout, Listed):
        for row in rows:
            space = Space(row.space)
            unit = Unit(space, read_number(space, row.address), row.length)
            if shelf.layout.find(unit) == NO_SLOT:
                register.add_fixed(shelf, unit, row.slot)
    return shelf


def _session(owned: list[_Member]) -> str:
    for _, _, tenure in owned:
        if tenure.session:
            return tenure.session
    return ""


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
