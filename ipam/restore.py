"""Putting stored slots back into the book at start, or when a block is gained.

The monotonic clock began anew with the machine, so nothing stored is compared with it: every hold, quarantine and
lease has its whole time again. That is longer than needed, and never shorter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from ipam.address import Unit, read_number
from ipam.book import Book
from ipam.cells import NONE
from ipam.kinds import BOUND, DISABLED, STATES, TENTATIVE, Space
from ipam.layout import NO_SLOT, Listed
from ipam.ledger import Brief, LeaseRow, brief_of
from ipam.register import Register
from ipam.shelf import EXACT, KEPT, LIVE, Shelf

_Waiting = tuple[float, int, Brief]  # since when, cell


def restore(register: Register, book: Book, rows: Iterable[LeaseRow], now: float) -> int:
    """Take up stored slots, and the bundles that they are in; return how many are of no slot of this node.

    Pools and blocks must be there already. What waits is taken up in the order in which it began to wait.
    """
    restoring = Restoring(register, book, now)
    for (tenant, pool), of_pool in groupby(sorted(rows), key=_pool_of):
        stored = list(of_pool)
        know_fixed(register, stored)
        restoring.take(tenant, pool, [brief_of(row) for row in stored])
    return restoring.finish()


def know_fixed(register: Register, rows: list[LeaseRow]) -> None:
    """Make the units of stored slots known if they are fixed ones; rows of one pool."""
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


def _pool_of(row: LeaseRow) -> tuple[str, str]:
    return row.tenant, row.pool


class Restoring:
    """Stored slots on their way into the book: those of one pool after the other, in pages, sorted by slot.

    Only one page has to be in memory at a time, beside what waits in the pool. After the last one `finish`.
    """

    def __init__(self, register: Register, book: Book, now: float) -> None:
        self._register = register
        self._book = book
        self._now = now
        self._shelf: Shelf | None = None
        self._waiting: list[_Waiting] = []
        self._strangers = 0

    def take(self, tenant: str, pool: str, rows: Sequence[Brief]) -> None:
        """Take up a page."""
        shelf = self._register.find(tenant, pool)
        if shelf is not self._shelf:
            self._end_pool()
            self._shelf = shelf
        if shelf is None:
            self._strangers += len(rows)
            return
        done = 0
        while done < len(rows):  # where nothing is missing, all in one run
            count = _run(rows, done)
            run = rows[done : done + count] if count < len(rows) else rows
            first = shelf.allocator.carve_run([row[0] for row in run]) if count > 1 else NONE
            self._take_run(shelf, run, first)
            done += count

    def _take_run(self, shelf: Shelf, run: Sequence[Brief], first: int) -> None:
        """Take up consecutive slots; `first` is the cell of the first of them, NONE where they have none yet."""
        for number, row in enumerate(run):
            cell = first + number if first != NONE else shelf.allocator.carve(row[0])
            if cell == NONE:
                self._strangers += 1
            elif row[2] in LIVE:
                self._take_live(shelf, cell, row)
            else:
                self._waiting.append((row[6], cell, row))

    def _take_live(self, shelf: Shelf, cell: int, row: Brief) -> None:
        tenure = shelf.restore(cell, row, True, self._now)
        assert tenure is not None, "who has a live lease is stored"
        known: Any = cell  # one object for both, which is 32 octets less for each lease
        shelf.tenures[known] = tenure
        member: Any = (shelf, known, tenure)
        self._book.adopt_member(tenure.bundle_id, member, self._now)

    def finish(self) -> int:
        """All pages were taken up; return how many rows are of no slot of this node."""
        self._end_pool()
        return self._strangers

    def _end_pool(self) -> None:
        """Take up what waits in a pool, now that it is known who has a live lease and what else is kept for whom."""
        shelf, waiting = self._shelf, self._waiting
        self._shelf, self._waiting = None, []
        if shelf is None:
            return
        kept = _last_kept(waiting)
        waiting.sort()
        for _, cell, row in waiting:
            tenure = shelf.restore(cell, row, _is_kept(row, kept), self._now)
            if tenure is not None:
                shelf.tenures[cell] = tenure
        for segment in shelf.allocator.segments:
            segment.settle()
        due = shelf.allocator.next_due()
        if due is not None:
            self._register.note_waiting(shelf, due)


def _run(rows: Sequence[Brief], first: int) -> int:
    """Return how many rows from `first` on are of consecutive slots."""
    begin, count = rows[first][0], len(rows) - first
    if rows[-1][0] - begin == count - 1:
        return count
    length = 1
    while length < count and rows[first + length][0] == begin + length:
        length += 1
    return length


def _last_kept(waiting: list[_Waiting]) -> dict[str | None, int]:
    """Return the slot that each owner is to get back of those that wait in a pool: the latest."""
    best: dict[str | None, tuple[float, int]] = {}
    for since_at, _, row in waiting:
        if row[3] & KEPT and not row[3] & EXACT:
            other = best.get(row[1])
            if other is None or since_at > other[0]:
                best[row[1]] = since_at, row[0]
    return {owner: slot for owner, (_, slot) in best.items()}


def _is_kept(row: Brief, kept: dict[str | None, int]) -> bool:
    """Tell whether an owner can have a slot again; an exact unit has a key of its own."""
    return bool(row[3] & KEPT) and (bool(row[3] & EXACT) or kept.get(row[1]) == row[0])


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
