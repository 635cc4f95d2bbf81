"""Pools that change while they are in use: grow, shrink, renumber, exclude. No lease is lost by any of it.

Each function changes the pool's definition in the register and returns it, to be stored.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from ipam.address import Unit
from ipam.book import Book
from ipam.kinds import BOUND, TENTATIVE, Cause, PoolState
from ipam.model import Pool, Problem, Range, range_of, space_of, span_of
from ipam.overlap import check
from ipam.register import Register
from ipam.segment import Segment
from ipam.shelf import Shelf, Tenure


class Resized(StrEnum):
    """What became of a range that was to go."""

    GONE = "gone"
    BUSY = "busy"  # leases, holds or quarantines remain, or something of it waits to be written
    UNKNOWN = "unknown"  # the pool has no such range


def grow(register: Register, tenant: str, name: str, given: str) -> Pool | tuple[Problem, ...]:
    """Add a range, given as text, to a pool; return the pool as it is now, or what the range overlaps.

    Raises Malformed where the text is no range of the pool's units, KeyError where there is no such pool.
    """
    pool = register.shelves[tenant, name].pool
    part = range_of(given, pool)
    alone = replace(pool, ranges=(part,))
    others = [shelf.pool for shelf in register.shelves.values()]
    problems = check([alone, *others])
    if problems:
        return tuple(each for each in problems if f"pool {name}" in each.names)
    return register.redefine(replace(pool, ranges=(*pool.ranges, part))).pool


def drain(
    register: Register, tenant: str, name: str, first_slot: int, *, draining: bool = True
) -> Pool | None:
    """Let no lease begin in the range that begins with that slot, or let them begin again.

    Leases there stay until they end; None where the pool has no such range.
    """
    shelf = register.shelves[tenant, name]
    part = _part(shelf, first_slot)
    if part is None:
        return None
    ranges = tuple(replace(each, draining=draining) if each is part else each for each in shelf.pool.ranges)
    return register.redefine(replace(shelf.pool, ranges=ranges)).pool


def remove(register: Register, tenant: str, name: str, first_slot: int) -> Resized:
    """Take a drained range away, once nothing of it is leased, held or in quarantine."""
    shelf = register.shelves[tenant, name]
    part = _part(shelf, first_slot)
    if part is None:
        return Resized.UNKNOWN
    last = part.first_slot + part.slots - 1
    inside = [each for each in shelf.allocator.segments if part.first_slot <= each.low <= last]
    waiting = register.ledger.holds(tenant, name, part.first_slot, last)
    if not part.draining or waiting or any(each.used for each in inside):
        return Resized.BUSY
    for segment in inside:
        for cell in shelf.allocator.remove_segment(segment):
            shelf.tenures.pop(cell, None)
    _forget_reservations(register, shelf, part)
    register.redefine(
        replace(shelf.pool, ranges=tuple(each for each in shelf.pool.ranges if each is not part))
    )
    return Resized.GONE


def _forget_reservations(register: Register, shelf: Shelf, part: Range) -> None:
    pool, (first, last) = shelf.pool, span_of(shelf.pool, part)
    for key, (vrf, unit) in list(register.set_aside.items()):
        of_pool = (key[0], vrf, unit.space) == (pool.tenant, pool.vrf, space_of(pool))
        if of_pool and first <= unit.value <= last:
            del register.set_aside[key]


def set_state(register: Register, tenant: str, name: str, state: PoolState) -> Pool:
    """Let a whole pool drain, be disabled or be active again."""
    return register.redefine(replace(register.shelves[tenant, name].pool, state=state)).pool


def exclude(register: Register, tenant: str, name: str, first: int, last: int, at: float) -> Pool:
    """Give out no number from `first` to `last` any more: what is leased there is taken out when it ends.

    Of port blocks the numbers are outside addresses.
    """
    shelf = register.shelves[tenant, name]
    for segment, low, high in _touched(shelf, first, last):
        _exclude(register, shelf, segment.low, low, high, at)
    pool = replace(shelf.pool, exclusions=(*shelf.pool.exclusions, (first, last)))
    return register.redefine(pool).pool


def include(register: Register, tenant: str, name: str, first: int, last: int, now: float, at: float) -> None:
    """Give out excluded numbers again; a slot that was used before waits as after a lease first.

    Call it once the pool's definition has these exclusions no longer.
    """
    shelf = register.shelves[tenant, name]
    allocator = shelf.allocator
    for segment, low, high in _touched(shelf, first, last):
        for cell in allocator.include(segment, low, high):
            old = allocator.states[cell]
            if allocator.enable(cell, now) != old:
                register.record(shelf, cell, old, Cause.ENABLED, at)
    shelf.close_as_defined()


def _touched(shelf: Shelf, first: int, last: int) -> list[tuple[Segment, int, int]]:
    """Return the segments that some numbers lie in, with the first and the last slot of these there."""
    found: list[tuple[Segment, int, int]] = []
    for part in shelf.pool.ranges:
        low, high = shelf.slots_touched(part, first, last)
        for segment in shelf.allocator.segments:
            begin, end = max(low, segment.low), min(high, segment.low + segment.count - 1)
            if begin <= end:
                found.append((segment, begin, end))
    return found


def _exclude(register: Register, shelf: Shelf, segment_low: int, low: int, high: int, at: float) -> None:
    allocator = shelf.allocator
    segment = allocator.segment_at(segment_low)
    if segment is None:
        return
    for cell in allocator.exclude(segment, low, high):
        old = allocator.states[cell]
        if allocator.disable(cell) != old:
            register.record(shelf, cell, old, Cause.DISABLED, at)
            shelf.tenures.pop(cell, None)


def displaced(register: Register, tenant: str, name: str, most: int) -> tuple[Unit, ...]:
    """Return up to `most` units with leases in draining ranges: whose sessions to end, so that a pool is renumbered.

    Their owners get a new slot at the next login, because nothing is sticky where it drains.
    """
    shelf = register.shelves[tenant, name]
    found: list[Unit] = []
    for segment in shelf.allocator.segments:
        if segment.closed and not segment.barred and segment.used:
            for cell in segment.cells():
                if TENTATIVE <= shelf.allocator.states[cell] <= BOUND:
                    found.append(shelf.unit(cell))
                    if len(found) >= most:
                        return tuple(found)
    return tuple(found)


def renumber(
    register: Register, book: Book, tenant: str, name: str, now: float, at: float, most: int
) -> tuple[int, ...]:
    """End up to `most` bundles with leases in draining ranges of a pool; return the ids of those that ended.

    For sessions that the caller has disconnected, or is about to: the slot waits as after any lease.
    """
    shelf = register.shelves[tenant, name]
    ended: list[int] = []
    for unit in displaced(register, tenant, name, most):
        cell = shelf.allocator.cell_at(shelf.slot_of(unit))
        tenure: Tenure | None = shelf.tenures.get(cell)
        if tenure is not None:
            ended.extend(book.end_all(shelf, tenure, Cause.RENUMBERED, now, at))
    return tuple(ended)


def _part(shelf: Shelf, first_slot: int) -> Range | None:
    return next((each for each in shelf.pool.ranges if each.first_slot == first_slot), None)
