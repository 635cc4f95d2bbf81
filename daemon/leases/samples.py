"""Looks once a minute how full each pool is, and keeps the peaks: of five minutes, of hours, of days (UTC).

What is kept is the highest that was seen. A peak that is stored already rises and never falls, so that a restart goes
on with it, a clock that is set back counts no day twice, and a time in which the daemon was down is a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.errors import StoreUnavailable
from daemon.leases.addresses import Addresses
from daemon.store import sample_rows
from daemon.store.sample_rows import DAY_S, HOUR_S, MINUTES_S, WIDTHS, SampleRow
from ipam.kinds import BOUND, DISABLED, FREE, HELD, QUARANTINED, TENTATIVE, Kind

EVERY_S = 60.0
"""How often `turn` is to be called."""

KEEP_S = {MINUTES_S: 30 * DAY_S, HOUR_S: 730 * DAY_S, DAY_S: 3_650 * DAY_S}
"""How long the peaks of each width are kept."""

_SLICE = 200  # pools that are looked at in one go, and rows of one transaction
_MOST_WAITING = 100_000  # rows, while the store refuses
_PRUNE_TIMES = 4  # of each width in a turn: more than come

_Key = tuple[str, str]
_Place = tuple[int, int, str, str]
"""Width, beginning, tenant, pool."""


class _Peak:
    """The highest of one pool in one stretch of time; `risen` since it was handed to the store."""

    __slots__ = ("at", "bound", "held", "risen", "size", "used", "width")

    def __init__(self, width: int, at: int) -> None:
        self.width = width
        self.at = at
        self.used = self.bound = -1
        self.held = self.size = 0
        self.risen = False

    def see(self, used: int, held: int, bound: int, size: int) -> None:
        """Take in one look."""
        if used > self.used:
            self.used, self.held, self.risen = used, held, True
        if bound > self.bound:
            self.bound, self.risen = bound, True
        if size != self.size:
            self.size, self.risen = size, True


class Samples:
    """The peaks of the pools of this node, stored beside its leases."""

    def __init__(self, addresses: Addresses[Any]) -> None:
        self._addresses = addresses
        self._open: dict[_Key, tuple[_Peak, ...]] = {}  # in the order of the widths
        self._waiting: dict[_Place, SampleRow] = {}
        self.dropped = 0  # rows that the store did not take in time

    async def run(self) -> None:
        """Look and store for ever; to be started once, after the leases are restored."""
        while True:
            with suppress(StoreUnavailable):  # the writer has counted it; the rows wait
                await self.turn()
            await self._addresses.clock.sleep(EVERY_S)

    async def turn(self) -> None:
        """Look at every pool, store what has risen, prune what is old. Raises StoreUnavailable."""
        await self.look()
        await self._store()
        await self._prune(self._addresses.clock.wall())

    async def look(self) -> None:
        """Look at every pool, some in one go."""
        shelves = self._addresses.register.shelves
        keys = [key for key, shelf in shelves.items() if shelf.pool.kind is not Kind.FIXED]
        for first in range(0, len(keys), _SLICE):
            at = self._addresses.clock.wall()
            for key in keys[first : first + _SLICE]:
                shelf = shelves.get(key)
                if shelf is not None:
                    self._see(key, shelf.allocator.counts, at)
            await self._addresses.clock.sleep(0)
        for key in self._open.keys() - shelves.keys():
            self._take(key, self._open.pop(key))

    def _see(self, key: _Key, counts: Sequence[int], at: float) -> None:
        size = sum(counts) - counts[DISABLED]
        held = counts[HELD] + counts[QUARANTINED]
        bound = counts[TENTATIVE] + counts[BOUND]
        peaks = self._open.get(key)
        starts = [int(at // width) * width for width in WIDTHS]
        if peaks is None or any(peak.at != start for peak, start in zip(peaks, starts, strict=True)):
            self._open[key] = peaks = self._turn_over(key, peaks or (), starts)
        for peak in peaks:
            peak.see(size - counts[FREE], held, bound, size)

    def _turn_over(self, key: _Key, peaks: Sequence[_Peak], starts: Sequence[int]) -> tuple[_Peak, ...]:
        """Return the peaks to go on with; what is over, or was left by a step of the clock, is to be stored."""
        now = {(width, start): _Peak(width, start) for width, start in zip(WIDTHS, starts, strict=True)}
        now |= {(peak.width, peak.at): peak for peak in peaks if (peak.width, peak.at) in now}
        self._take(key, [peak for peak in peaks if (peak.width, peak.at) not in now])
        return tuple(now.values())

    def _take(self, key: _Key, peaks: Iterable[_Peak]) -> None:
        """Let peaks wait to be stored, as far as they have risen."""
        node = self._addresses.options.node
        for each in peaks:
            if each.risen:
                each.risen = False
                self._wait(
                    SampleRow(each.width, each.at, *key, node, each.used, each.held, each.bound, each.size)
                )

    def _wait(self, row: SampleRow) -> None:
        """Let a row wait; where there are too many it is lost."""
        place = row[:4]
        waiting = self._waiting.get(place)
        if waiting is not None:
            self._waiting[place] = _higher(waiting, row)
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting[place] = row
        else:
            self.dropped += 1

    # --- the store -------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Store everything, the five minutes that are not over as well: for the end. Raises StoreUnavailable."""
        for key, peaks in self._open.items():
            self._take(key, peaks)
        await self._store_waiting()

    async def _store(self) -> None:
        """Store what is over, and the hours and days that have risen. Raises StoreUnavailable."""
        for key, peaks in self._open.items():
            self._take(key, peaks[1:])
        await self._store_waiting()

    async def _store_waiting(self) -> None:
        while self._waiting:
            rows = [self._waiting.pop(place) for place in list(islice(self._waiting, _SLICE))]
            try:
                await self._addresses.writer.commit(lambda each, rows=rows: sample_rows.save(each, rows))  # type: ignore[misc]
            except StoreUnavailable:
                for row in rows:
                    self._wait(row)
                raise

    async def _prune(self, at: float) -> None:
        async def write(connection: AsyncConnection) -> None:
            for width, keep_s in KEEP_S.items():
                for _ in range(_PRUNE_TIMES):
                    if not await sample_rows.prune(connection, width, at - keep_s):
                        break

        await self._addresses.writer.commit(write)


def _higher(one: SampleRow, other: SampleRow) -> SampleRow:
    """Return what both say of the same time together; `other` is the later one."""
    top = other if other.used_peak > one.used_peak else one
    return top._replace(bound_peak=max(one.bound_peak, other.bound_peak), size=other.size)
