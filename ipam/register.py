"""All pools of a node, and the one place where a change of state becomes an event.

Book and steward both stand on it. `record` is called exactly once for each change that an allocator made.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from ipam.address import Unit
from ipam.cells import NONE
from ipam.history import NOBODY, Chain, Change, new_change
from ipam.kinds import DECLINED, HELD, STATE_NAMES, STATES, Cause, ClockQuality, Kind, Space
from ipam.layout import Listed
from ipam.lease import Utilisation
from ipam.ledger import ALL, Batch, Fence, LeaseRow, Ledger
from ipam.model import Pool, space_of, span_of
from ipam.segment import Segment
from ipam.shelf import Shelf, Tenure

_MOST_WAITING = 200_000
_FIXED = "fixed"  # begins the names of pools that hold fixed units


class Register:
    """The shelves of one node, `node` being the name of its chain. `boot` differs for each start of any node.

    `boot` is 1 to 2**30: ids of leases and bundles are made of it. `clock_quality` is for the caller to keep.
    """

    def __init__(
        self, node: str, boot: int, chain: Chain | None = None, most_waiting: int = _MOST_WAITING
    ) -> None:
        self.node = node
        self.boot = boot
        self.clock_quality = ClockQuality.UNKNOWN
        self.ledger = Ledger(chain or Chain(node), most_waiting)
        self.shelves: dict[tuple[str, str], Shelf] = {}
        self.numbered: list[Shelf] = []  # by their numbers, those that are gone, too
        self.set_aside: dict[tuple[str, str, Kind], tuple[str, Unit]] = {}  # reservations: VRF and unit
        self.waiting: dict[Shelf, float] = {}  # shelves with slots that wait, and when the first may go on
        self._stale: set[tuple[str, str, Space]] = set()
        self._groups: dict[tuple[str, str, str, Kind], list[int]] = {}
        self._spans: dict[tuple[str, str, Space], tuple[list[int], list[tuple[int, Shelf]]]] = {}
        self._last_at = 0.0
        self._last_id = boot << 32

    # --- pools -----------------------------------------------------------------------------------

    def add_pool(self, pool: Pool, *, divided: bool = False) -> Shelf:
        """Take a pool in. It must be free of faults and overlaps. A divided one has no slots before `gain_block`."""
        shelf = self._new_shelf(pool, divided=divided)
        shelf.allocator.tallies = (shelf.allocator.counts, *self._tallies(pool))
        if not divided:
            shelf.open_slots(0, max(pool.next_slot - 1, 0))
        self._stale.add((pool.tenant, pool.vrf, space_of(pool)))
        return shelf

    def _new_shelf(self, pool: Pool, *, divided: bool) -> Shelf:
        shelf = Shelf(pool, len(self.numbered), divided=divided)
        self.numbered.append(shelf)
        self.shelves[pool.tenant, pool.name] = shelf
        return shelf

    def redefine(self, pool: Pool) -> Shelf:
        """Take over another definition of a pool, and open the slots of ranges that are new."""
        shelf = self.shelves[pool.tenant, pool.name]
        known = shelf.pool.next_slot
        if pool.site != shelf.pool.site:
            self._move(shelf, pool)
        shelf.redefine(pool)
        if not shelf.divided and pool.next_slot > known:
            shelf.open_slots(known, pool.next_slot - 1)
        self._stale.add((pool.tenant, pool.vrf, space_of(pool)))
        return shelf

    def _move(self, shelf: Shelf, pool: Pool) -> None:
        """Count a shelf at another site from now on."""
        counts = shelf.allocator.counts
        for sign, each in ((-1, shelf.pool), (1, pool)):
            site = next(iter(self._tallies(each)))
            for state, number in enumerate(counts):
                site[state] += sign * number
        shelf.allocator.tallies = (counts, *self._tallies(pool))

    def _tallies(self, pool: Pool) -> Iterable[list[int]]:
        for level, name in (("site", pool.site), ("vrf", pool.vrf), ("tenant", "")):
            yield self._groups.setdefault((level, pool.tenant, name, pool.kind), [0] * len(STATES))

    def _spans_of(
        self, tenant: str, vrf: str, space: Space
    ) -> tuple[Sequence[int], Sequence[tuple[int, Shelf]]]:
        """Return the ranges of all pools of a VRF, sorted: their first numbers, their last numbers and shelves."""
        if (tenant, vrf, space) in self._stale:
            self._index(tenant, vrf, space)
        return self._spans.get((tenant, vrf, space), ((), ()))

    def _index(self, tenant: str, vrf: str, space: Space) -> None:
        self._stale.discard((tenant, vrf, space))
        spans = sorted(
            (*span_of(shelf.pool, part), number, shelf)
            for number, shelf in enumerate(self.shelves.values())
            for part in shelf.pool.ranges
            if (shelf.pool.tenant, shelf.pool.vrf) == (tenant, vrf) and space_of(shelf.pool) is space
        )
        self._spans[tenant, vrf, space] = (
            [first for first, *_ in spans],
            [(last, shelf) for _, last, _, shelf in spans],
        )

    def find(self, tenant: str, name: str) -> Shelf | None:
        """Return the shelf of a pool."""
        return self.shelves.get((tenant, name))

    def locate(self, tenant: str, vrf: str, unit: Unit) -> tuple[Shelf, int] | None:
        """Return the shelf and slot that are exactly this unit; None where it is a slot of no pool."""
        firsts, entries = self._spans_of(tenant, vrf, unit.space)
        index = bisect_right(firsts, unit.value) - 1
        if index >= 0 and entries[index][0] >= unit.value:
            shelf = entries[index][1]
            slot = shelf.slot_of(unit)
            if slot != NONE:
                return shelf, slot
            if not shelf.excludes(unit):
                return None
        fixed = self.shelves.get((tenant, self.fixed_name(vrf)))
        slot = NONE if fixed is None else fixed.slot_of(unit)
        return None if fixed is None or slot == NONE else (fixed, slot)

    def place(self, tenant: str, vrf: str, unit: Unit) -> tuple[Shelf, int] | None:
        """Return where a unit is, making it a fixed one if it is outside of all pools.

        None where it overlaps a pool without being a slot of it.
        """
        found = self.locate(tenant, vrf, unit)
        if found is not None:
            return found
        if not self.is_outside(tenant, vrf, unit):
            return None
        shelf = self.fixed_shelf(tenant, vrf)
        return shelf, self.add_fixed(shelf, unit)

    def is_outside(self, tenant: str, vrf: str, unit: Unit) -> bool:
        """Tell whether no number of a unit is in any pool, but for what one excludes."""
        firsts, entries = self._spans_of(tenant, vrf, unit.space)
        index = bisect_right(firsts, unit.last) - 1
        return index < 0 or entries[index][0] < unit.value or entries[index][1].excludes(unit)

    def fixed_name(self, vrf: str) -> str:
        """Return the name of the pool of a VRF's fixed units; each node numbers its own."""
        return f"{_FIXED}:{vrf}:{self.node}"

    def fixed_shelf(self, tenant: str, vrf: str) -> Shelf:
        """Return the shelf of a VRF's fixed units."""
        name = self.fixed_name(vrf)
        shelf = self.shelves.get((tenant, name))
        if shelf is None:
            pool = Pool(tenant=tenant, vrf=vrf, name=name, kind=Kind.FIXED, unit_length=0, ranges=())
            shelf = self._new_shelf(pool, divided=False)
        return shelf

    def add_fixed(self, shelf: Shelf, unit: Unit, slot: int | None = None) -> int:
        """Make a fixed unit known, under a slot number of old where it has one; return its slot."""
        assert isinstance(shelf.layout, Listed)
        slot = shelf.layout.next_slot if slot is None else slot
        shelf.layout.add(unit, slot)
        shelf.allocator.add_segment(Segment(slot, 1, closed=True))
        return slot

    # --- changes ---------------------------------------------------------------------------------

    def new_id(self) -> int:
        """Return a number for a lease or bundle, greater than all before it."""
        self._last_id += 1
        return self._last_id

    def record(
        self,
        shelf: Shelf,
        cell: int,
        old: int,
        cause: Cause,
        at: float,
        tenure: Tenure | None = None,
        seen: str = "",
    ) -> int:
        """Note that a cell was in the state `old` and is in its present one; return the serial.

        `tenure` is whose lease it is about, by default that of the cell.
        """
        if tenure is None:
            tenure = shelf.tenures.get(cell) or Tenure(0, shelf.unit(cell), shelf.owner_of(cell), NOBODY, at)
        quality = self.clock_quality if at >= self._last_at else ClockQuality.STEPPED_BACK
        self._last_at = at
        allocator, pool = shelf.allocator, shelf.pool
        new = allocator.states[cell]
        fields = (  # in the order of `Change`; `_value_` is `value` without a call
            at,
            self.boot,
            quality._value_,
            pool.tenant,
            pool.vrf,
            pool.name,
            shelf.kind,
            tenure.address,
            tenure.length,
            tenure.lease_id,
            tenure.owner,
            tenure.subscriber,
            tenure.session,
            tenure.nas,
            tenure.circuit,
            tenure.mac,
            STATE_NAMES[old],
            STATE_NAMES[new],
            cause._value_,
            seen,
            allocator.slots[cell],
            allocator.segment_of(cell).fence,
        )
        serial = self.ledger.note(new_change(Change, fields))
        if old != new:
            tenure.since_at = at
        if HELD <= new <= DECLINED:
            self.note_waiting(shelf, allocator.due[cell])
        return serial

    def note_waiting(self, shelf: Shelf, due: float) -> None:
        """Let a shelf be looked at when a slot of it may go on, monotonic seconds."""
        known = self.waiting.get(shelf)
        if known is None or due < known:
            self.waiting[shelf] = due

    def batch(self, most: int = ALL) -> Batch | None:
        """Return what must be stored next, in one transaction, about `most` changes; None where there is nothing.

        Then call `ledger.confirm`, `ledger.refuse` or `ledger.settle`.
        """
        sealed = self.ledger.seal(most)
        if sealed is None:
            return None
        events, last_changes = sealed
        rows: list[LeaseRow] = []
        fences: dict[Fence, None] = {}
        shelf: Shelf | None = None
        for change in last_changes:
            tenant, name, slot = change[3], change[5], change[20]
            if shelf is None or shelf.pool.name != name or shelf.pool.tenant != tenant:
                shelf = self.shelves[tenant, name]
            cell = shelf.allocator.cell_at(slot)
            if cell != NONE:
                rows.append(shelf.row(cell, change))
                if shelf.divided:
                    segment = shelf.allocator.segment_of(cell)
                    fences[Fence(tenant, name, segment.block, segment.fence)] = None
        return Batch(self.node, events, tuple(rows), tuple(fences))

    # --- counts ----------------------------------------------------------------------------------

    def utilisation(self, tenant: str, pool: str) -> Utilisation | None:
        """Return how full a pool is, as far as its slots are this node's."""
        shelf = self.shelves.get((tenant, pool))
        return None if shelf is None else _utilisation(shelf.allocator.counts)

    def utilisation_of(self, level: str, tenant: str, name: str, kind: Kind) -> Utilisation | None:
        """Return how full the pools of a kind are together: of a `site`, a `vrf` or (with no name) a `tenant`."""
        counts = self._groups.get((level, tenant, name, kind))
        return None if counts is None else _utilisation(counts)


def _utilisation(counts: list[int]) -> Utilisation:
    return Utilisation(sum(counts), *counts)
