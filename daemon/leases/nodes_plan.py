"""How many blocks of a pool a node should have: enough that no login waits for the store, not more than it needs."""

from __future__ import annotations

from dataclasses import dataclass

from ipam.kinds import FREE, PoolState
from ipam.shelf import Shelf

_MOST_AT_ONCE = 256  # blocks in one transaction
_FORGET = 0.7  # of a rate that has fallen, for each second


@dataclass(slots=True)
class Demand:
    """How fast a pool's free slots go here. Times are monotonic seconds, `rate_per_s` leases begun a second."""

    block_slots: int
    ahead_s: float  # how long the free slots shall last
    free: int = 0
    rate_per_s: float = 0.0
    looked_at: float = 0.0
    spare_since: float | None = None
    _urgent: int = 0  # claims in a row that were not enough

    def look(self, free: int, now: float) -> None:
        """Note how many slots are free now. Blocks that came or went in between: see `moved`."""
        passed_s = now - self.looked_at
        if self.looked_at and passed_s > 0:
            rate_per_s = max(self.free - free, 0) / passed_s
            self.rate_per_s = max(rate_per_s, self.rate_per_s * _FORGET**passed_s)
        self.looked_at = now
        self.free = free

    def moved(self, slots: int) -> None:
        """Blocks with so many free slots came (or, negative, went)."""
        self.free += slots

    @property
    def wanted(self) -> int:
        """How many slots should be free."""
        return max(self.block_slots // 2, int(self.rate_per_s * self.ahead_s), 1)

    def claim(self) -> int:
        """Return how many blocks to claim now, 0 where there are enough free slots."""
        missing = self.wanted - self.free
        if missing <= 0:
            self._urgent = 0
            return 0
        if self.free == 0:  # the rate is not known while logins are refused: double each time
            self._urgent = min(max(self._urgent * 2, 1), _MOST_AT_ONCE)
        return min(max(-(-missing // self.block_slots), self._urgent), _MOST_AT_ONCE)

    def spare(self, now: float, after_s: float) -> int:
        """Return how many blocks' worth of slots was free without need for so long."""
        blocks = max(self.free - 2 * self.wanted, 0) // self.block_slots
        if blocks == 0:
            self.spare_since = None
        elif self.spare_since is None:
            self.spare_since = now
        elif now - self.spare_since >= after_s:
            return blocks
        return 0


def free_slots(shelf: Shelf) -> int:
    """Return how many slots of a pool a login could get here now; quick where nothing is closed."""
    segments = shelf.allocator.segments
    if not any(each.closed and not each.barred for each in segments):
        return shelf.allocator.counts[FREE]
    return sum(max(each.count - each.used - each.unused_excluded, 0) for each in segments if not each.closed)


def takes_blocks(shelf: Shelf) -> bool:
    """Tell whether leases of a pool may begin, so that blocks of it are of use."""
    pool = shelf.pool
    return shelf.divided and pool.state is PoolState.ACTIVE and any(not part.draining for part in pool.ranges)


def empty_blocks(shelf: Shelf) -> list[int]:
    """Return the blocks of which nothing is leased, held or in quarantine, the last first."""
    used: dict[int, int] = {}
    for segment in shelf.allocator.segments:
        used[segment.block] = used.get(segment.block, 0) + segment.used
    return sorted((block for block, count in used.items() if count == 0), reverse=True)
