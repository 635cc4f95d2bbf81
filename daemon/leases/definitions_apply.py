"""The register brought to what is stored: pools opened, changed and closed, without a lease being lost.

A pool or range that is new stays closed until everything that is somebody's own in it has been set aside, so that no
login can get what the data or an operator promised to another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from daemon.leases.addresses import Addresses
from daemon.leases.definitions_edits import touched, without
from daemon.replica.pools import Span
from ipam import resize
from ipam.definition_rows import Definition
from ipam.kinds import PoolState
from ipam.model import Pool, Range
from ipam.register import Register

SetAside = Callable[[Pool, tuple[Range, ...]], Awaitable[None]]
"""(pool, ranges that are new in it, or gone from it): set aside what is somebody's own there."""


async def apply(addresses: Addresses[Any], wanted: Definition, set_aside: SetAside) -> bool:
    """Bring the register to a definition; False where ranges that are gone are still in use: try again later."""
    register, pool = addresses.register, wanted.pool
    shelf = register.find(pool.tenant, pool.name)
    if shelf is None:
        register.add_pool(replace(pool, state=PoolState.DISABLED), divided=addresses.options.shared)
        await set_aside(pool, pool.ranges)
        register.redefine(pool)
        return True
    known = shelf.pool
    slots = {each.first_slot for each in pool.ranges}
    kept, gone = _remove(register, known, slots)
    if gone:
        await set_aside(pool, gone)
    _exclude(addresses, known, pool)
    fresh = _opening(register.shelves[pool.tenant, pool.name].pool, pool)
    if fresh:
        closed = tuple(replace(each, draining=True) if each in fresh else each for each in pool.ranges)
        register.redefine(replace(pool, ranges=(*closed, *kept)))
        await set_aside(pool, fresh)
    opened = without(known.exclusions, pool.exclusions)
    if opened:
        await set_aside(pool, tuple(touched(pool, opened)))
    register.redefine(replace(pool, ranges=(*pool.ranges, *kept)))
    now, at = addresses.clock.monotonic(), addresses.clock.wall()
    for first, last in opened:
        resize.include(register, pool.tenant, pool.name, first, last, now, at)
    return not kept


def _opening(known: Pool, wanted: Pool) -> tuple[Range, ...]:
    """Return the ranges that are new, or closed now and open as wanted: an attempt to open them may have failed."""
    is_open = {
        each.first_slot for each in known.ranges if known.state is PoolState.ACTIVE and not each.draining
    }
    there = {each.first_slot for each in known.ranges}
    opens = wanted.state is PoolState.ACTIVE
    return tuple(
        each
        for each in wanted.ranges
        if each.first_slot not in there or (opens and not each.draining and each.first_slot not in is_open)
    )


async def remove(addresses: Addresses[Any], known: Pool, set_aside: SetAside) -> bool:
    """Take a pool out of the register; False where it is still in use: try again later."""
    register = addresses.register
    if register.find(known.tenant, known.name) is None:
        return True
    kept, gone = _remove(register, known, set())
    if not kept:
        del register.shelves[known.tenant, known.name]
    await set_aside(known, gone)
    return not kept


def _remove(register: Register, known: Pool, slots: set[int]) -> tuple[tuple[Range, ...], tuple[Range, ...]]:
    """Take ranges away that are none of `slots`; return those that are in use, and those that went."""
    kept: list[Range] = []
    gone: list[Range] = []
    for part in known.ranges:
        if part.first_slot not in slots:
            resize.drain(register, known.tenant, known.name, part.first_slot)
            done = resize.remove(register, known.tenant, known.name, part.first_slot)
            (gone if done is resize.Resized.GONE else kept).append(replace(part, draining=True))
    return tuple(kept), tuple(gone)


def _exclude(addresses: Addresses[Any], known: Pool, wanted: Pool) -> None:
    """Take out what is excluded now."""
    fresh: tuple[Span, ...] = without(wanted.exclusions, known.exclusions)
    at = addresses.clock.wall()
    for first, last in fresh:
        resize.exclude(addresses.register, known.tenant, known.name, first, last, at)


def span_slots(part: Range) -> Span:
    """Return the first and the last slot of a range."""
    return part.first_slot, part.first_slot + part.slots - 1
