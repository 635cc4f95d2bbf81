"""When pools run out, from the peaks of their days: of all once an hour, of one when it is asked.

The peaks of half a year are looked at: long enough to know a slope, and growth of long ago says nothing of the next
months. It is computed in a thread, pool by pool, and never while a login waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from daemon.leases.addresses import Addresses
from daemon.store import sample_rows
from daemon.store.sample_rows import DAY_S, Sample
from ipam.forecast import Change, Forecast, Peak, TooLittleData, forecast, size_for, what_if
from ipam.kinds import DISABLED, Kind, PoolState
from ipam.model import Pool, Range, range_of, span_of, step
from ipam.shelf import Shelf

HISTORY_DAYS = 180
YEAR_S = 365.0 * DAY_S

_EVERY_S = 3_600.0
_PAUSE_S = 0.05  # between two pools, so that forecasts never take more than a small part of the processor
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What would be otherwise: another hold time (s), more ranges (`192.0.2.0/24`)."""

    hold_s: float | None = None
    add: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """The outlook as it would be. `size`: slots that could be used."""

    size: int
    forecast: Forecast | TooLittleData


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The outlook of one pool, made at epoch second `at`.

    `size`: slots that can be used; `year_size`: how many a year from then would need with the free share that the
    pool calls critical, None where that cannot be said. `changed` where a wish was given.
    """

    tenant: str
    pool: str
    at: float
    size: int
    peaks: tuple[Peak, ...]
    forecast: Forecast | TooLittleData
    year_size: int | None
    changed: Changed | None = None


class Outlooks:
    """The latest outlooks, `known` by tenant and pool, without the peaks they were made of."""

    def __init__(self, addresses: Addresses[Any]) -> None:
        self._addresses = addresses
        self.known: dict[_Key, Outlook] = {}

    async def run(self) -> None:
        """Look at every pool, then again each hour; to be started once, after the leases are restored."""
        while True:
            with suppress(
                SQLAlchemyError, OSError
            ):  # a store that cannot be read now; the last outlooks stay
                await self.refresh(_PAUSE_S)
            await self._addresses.clock.sleep(_EVERY_S)

    async def refresh(self, pause_s: float = 0.0) -> None:
        """Look at every pool that gives out leases."""
        shelves = self._addresses.register.shelves
        for key, shelf in list(shelves.items()):
            if _is_watched(shelf.pool) and key in shelves:
                made = await self.look(*key)
                if made is not None:
                    self.known[key] = replace(made, peaks=())
                await self._addresses.clock.sleep(pause_s)
        for key in list(self.known):
            if key not in shelves or not _is_watched(shelves[key].pool):
                del self.known[key]

    async def look(
        self, tenant: str, name: str, wish: Wish | None = None, history_days: int = HISTORY_DAYS
    ) -> Outlook | None:
        """Return the outlook of a pool as it is now, None where there is no such pool.

        Raises Malformed for a range that cannot be read or added, ValueError for a hold time where none is kept.
        """
        addresses = self._addresses
        shelf = addresses.register.find(tenant, name)
        if shelf is None:
            return None
        pool, size, at = shelf.pool, usable(shelf), addresses.clock.wall()
        more = grown(pool, () if wish is None else wish.add)
        change = None if wish is None else _change(pool, size + more, wish)
        async with addresses.engine.connect() as connection:
            # The end lies in the future, for the clock may have been ahead when a peak was stored.
            since = (at // DAY_S - history_days) * DAY_S
            found = await sample_rows.load(connection, tenant, name, DAY_S, since, at + DAY_S)
        return await asyncio.to_thread(_outlook, pool, size, found, at, change)


def usable(shelf: Shelf) -> int:
    """Return how many slots of a pool can be used: not those that are disabled, excluded, or in ranges that drain."""
    pool = shelf.pool
    draining = sum(part.slots - _excluded(pool, part) for part in pool.ranges if part.draining)
    if shelf.divided:  # only the definition knows of other nodes' slots
        whole = sum(part.slots - _excluded(pool, part) for part in pool.ranges)
    else:
        counts = shelf.allocator.counts
        whole = sum(counts) - counts[DISABLED]
    return max(0, whole - draining)


def grown(pool: Pool, ranges: Sequence[str]) -> int:
    """Return how many slots ranges given as text would add. Raises Malformed."""
    parts = [range_of(each, pool) for each in ranges]
    return sum(part.slots - _excluded(pool, part) for part in parts)


def _excluded(pool: Pool, part: Range) -> int:
    """Return how many slots of a range are excluded; of port blocks none is."""
    if pool.kind is Kind.CGN_BLOCK:
        return 0
    first, last = span_of(pool, part)
    size, gone = step(pool), 0
    for first_out, last_out in pool.exclusions:
        low, high = max(first_out, first), min(last_out, last)
        if low <= high:
            gone += (high - first) // size - (low - first) // size + 1
    return min(gone, part.slots)


def _is_watched(pool: Pool) -> bool:
    return pool.kind is not Kind.FIXED and pool.state is PoolState.ACTIVE


def _change(pool: Pool, size: int, wish: Wish) -> Change:
    """Return what a wish changes. A slot waits for its hold time, or for its quarantine where that is longer."""
    if wish.hold_s is None:
        return Change(critical=size)
    if not pool.sticky or pool.reuse_s <= 0:
        raise ValueError(
            f"pool {pool.name} holds no leases for owners who left, so there is nothing to shorten"
        )
    return Change(critical=size, hold_s=pool.reuse_s, new_hold_s=replace(pool, hold_s=wish.hold_s).reuse_s)


def _outlook(pool: Pool, size: int, found: Sequence[Sample], at: float, change: Change | None) -> Outlook:
    peaks = tuple(Peak(each.at // DAY_S, each.used_peak, min(each.held, each.used_peak)) for each in found)
    made = forecast(peaks, size, at)
    changed = None
    if change is not None:
        then = what_if(peaks, size, at, change)
        changed = Changed(size=size if change.critical is None else change.critical, forecast=then)
    year = None
    if isinstance(made, Forecast):
        year = size_for(made.trend, at, YEAR_S, 1 - min(pool.critical_percent, 99.0) / 100)
    return Outlook(
        tenant=pool.tenant,
        pool=pool.name,
        at=at,
        size=size,
        peaks=peaks,
        forecast=made,
        year_size=year,
        changed=changed,
    )
