"""One pool in the book: its definition, its layout, its allocator, and the tenures of what is not free."""

from __future__ import annotations

from collections.abc import Iterator
from sys import intern
from typing import Final

from ipam.address import Unit, new_unit, text
from ipam.allocator import Allocator
from ipam.cells import NONE
from ipam.history import NOBODY, Change, Party, new_party
from ipam.kinds import (
    BOUND,
    FREE,
    RESERVED,
    SPACE_OF,
    STATE_NUMBERS,
    TENTATIVE,
    Kind,
    LeaseState,
    Order,
    PoolState,
)
from ipam.layout import Counted, Listed, PortBlocks, layout_of
from ipam.ledger import Brief, LeaseRow, new_row
from ipam.model import Pool, Range, blocks_per_address
from ipam.native import mypyc_attr
from ipam.segment import Segment

# Marks that only stored rows have, beside those of the allocator.
KEPT: Final = 4  # the owner can have it again
EXACT: Final = 8  # known by the key of an exact unit

LIVE: Final = frozenset((LeaseState.TENTATIVE.value, LeaseState.BOUND.value))

_BETWEEN: Final = "\x1f"  # cannot be in an owner's key, which is clean


@mypyc_attr(acyclic=True)  # of which there are millions, and no collector has to look at them
class Tenure:
    """Who has a slot, or had it until it is free again. `claims` counts the bundles that it is in.

    There are as many as there are leases, so a party and a unit are kept as their fields, and what can be made anew
    is not kept. `shelf`, by its number, and `cell` are its place while it is in a bundle.
    """

    __slots__ = (
        "bundle_id",
        "cell",
        "circuit",
        "claims",
        "lease_id",
        "length",
        "mac",
        "nas",
        "owner",
        "serial",
        "session",
        "shelf",
        "since_at",
        "space",
        "subscriber",
        "value",
    )

    def __init__(self, lease_id: int, unit: Unit, owner: str, party: Party, at: float) -> None:
        self.lease_id = lease_id
        self.space, self.value, self.length = unit
        self.owner = owner
        self.subscriber, self.nas, self.circuit, self.mac = party
        self.session = ""
        self.since_at = at
        self.claims = 0
        self.bundle_id = 0
        self.serial = 0  # of the change that made it its owner's
        self.shelf = NONE
        self.cell = NONE

    @property
    def party(self) -> Party:
        """Who and where."""
        return new_party(Party, (self.subscriber, self.nas, self.circuit, self.mac))

    @party.setter
    def party(self, party: Party) -> None:
        self.subscriber, self.nas, self.circuit, self.mac = party

    @property
    def address(self) -> str:
        """The unit as text, without its length."""
        return text(self.space, self.value)

    @property
    def unit(self) -> Unit:
        """What the slot is."""
        return new_unit(Unit, (self.space, self.value, self.length))


class Shelf:
    """A pool and everything that is known of its slots on this node.

    A divided pool has no slots here until the node owns blocks of it.
    """

    __slots__ = ("allocator", "divided", "kind", "layout", "number", "pool", "space", "tenures")

    def __init__(self, pool: Pool, number: int, *, divided: bool) -> None:
        self.number = number  # among those of its register
        self.pool = pool
        self.divided = divided
        self.kind = pool.kind.value
        self.space = (
            "" if pool.kind is Kind.FIXED else SPACE_OF[pool.kind].value
        )  # of fixed units each has its own
        self.layout: Counted | PortBlocks | Listed = layout_of(pool)
        self.allocator = Allocator(
            sticky=pool.sticky,
            hold_s=pool.hold_s if pool.sticky else 0.0,
            reuse_s=pool.reuse_s,
            shun_s=max(pool.decline_s, pool.reuse_s),
        )
        self.tenures: dict[int, Tenure] = {}

    def redefine(self, pool: Pool) -> None:
        """Take over another definition of the same pool; ranges that are known keep their slots."""
        self.pool = pool
        self.layout = layout_of(pool)
        self.allocator.sticky = pool.sticky
        self.allocator.hold_s = pool.hold_s if pool.sticky else 0.0
        self.allocator.reuse_s = pool.reuse_s
        self.allocator.shun_s = max(pool.decline_s, pool.reuse_s)
        self.close_as_defined()

    def close_as_defined(self) -> None:
        """Close the segments of what drains, open the others."""
        pool_closed = self.pool.state is not PoolState.ACTIVE
        for segment in self.allocator.segments:
            part = self.range_at(segment.low)
            closed = pool_closed or part is None or part.draining
            if segment.closed is not (closed or segment.barred):
                self.allocator.close(segment, closed=closed)

    def range_at(self, slot: int) -> Range | None:
        """Return the range that a slot lies in."""
        for part in self.pool.ranges:
            if part.first_slot <= slot < part.first_slot + part.slots:
                return part
        return None

    def open_slots(self, first: int, last: int, *, block: int = 0, fence: int = 0) -> None:
        """Let the allocator have slots, cut at the ends of ranges and exclusions; what it has already must not be."""
        for part in self.pool.ranges:
            low = max(first, part.first_slot)
            high = min(last, part.first_slot + part.slots - 1)
            if low <= high:
                for segment in self._cut(part, low, high):
                    segment.block, segment.fence = block, fence
                    segment.closed = (
                        segment.barred or part.draining or self.pool.state is not PoolState.ACTIVE
                    )
                    self.allocator.add_segment(segment)
                    if self.pool.order is Order.SHUFFLED:
                        for out_low, out_high in self._excluded_slots(part, low, high):
                            self.allocator.exclude(segment, out_low, out_high)

    def _cut(self, part: Range, low: int, high: int) -> Iterator[Segment]:
        if self.pool.order is Order.SHUFFLED:
            yield Segment(low, high - low + 1, key=self.pool.key)
            return
        for out_low, out_high in self._excluded_slots(part, low, high):
            if low < out_low:
                yield Segment(low, out_low - low)
            yield Segment(out_low, out_high - out_low + 1, barred=True)
            low = out_high + 1
        if low <= high:
            yield Segment(low, high - low + 1)

    def _excluded_slots(self, part: Range, low: int, high: int) -> list[tuple[int, int]]:
        """Return the excluded slots of a range as sorted spans that do not touch each other."""
        spans: list[tuple[int, int]] = []
        for first, last in sorted(self.pool.exclusions):
            out_low, out_high = self.slots_touched(part, first, last)
            out_low, out_high = max(out_low, low), min(out_high, high)
            if out_low > out_high:
                continue
            if spans and out_low <= spans[-1][1] + 1:
                spans[-1] = (spans[-1][0], max(out_high, spans[-1][1]))
            else:
                spans.append((out_low, out_high))
        return spans

    def excludes(self, unit: Unit) -> bool:
        """Tell whether a unit lies, as a whole, in what the pool never gives out, and is no slot of it."""
        if unit[2] == self.pool.unit_length or self.pool.kind is Kind.CGN_BLOCK:
            return False
        reached = unit.value
        for first, last in sorted(self.pool.exclusions):
            if first <= reached <= last:
                reached = last + 1
        return reached > unit.last

    def slots_touched(self, part: Range, first: int, last: int) -> tuple[int, int]:
        """Return the first and the last slot of a range that some numbers touch; the first is greater for none."""
        if self.pool.kind is Kind.CGN_BLOCK:
            per_address = blocks_per_address(self.pool)
            low, high = (first - part.first) * per_address, (last - part.first + 1) * per_address - 1
        else:
            size = self.layout.unit(part.first_slot).last - part.first + 1
            low, high = (first - part.first) // size, (last - part.first) // size
        return part.first_slot + max(low, 0), part.first_slot + min(high, part.slots - 1)

    def unit(self, cell: int) -> Unit:
        """Return what the slot of a cell is."""
        return self.layout.unit(self.allocator.slots[cell])

    def slot_of(self, unit: Unit) -> int:
        """Return the slot that is exactly this unit, NONE where there is none."""
        if isinstance(self.layout, Listed):
            return self.layout.find(unit)
        slot = self.layout.slot(unit.value)
        return slot if slot != NONE and self.layout.unit(slot) == unit else NONE

    def row(self, cell: int, last: Change) -> LeaseRow:
        """Return a slot as it is stored now; `last` is the last change of it."""
        tenure = self.tenures.get(cell) or Tenure(0, self.unit(cell), self.owner_of(cell), NOBODY, last[0])
        fields = (  # in the order of `LeaseRow`; the numbers are those of the fields of `Change`
            last[3],
            last[5],
            last[20],
            last[4],
            self.space or self.unit(cell).space.value,
            last[7],
            last[8],
            tenure.owner or None,
            last[17],
            self._stored_marks(cell),
            tenure.lease_id,
            tenure.bundle_id,
            tenure.since_at,
            tenure.session,
            tenure.subscriber,
            tenure.nas,
            tenure.circuit,
            tenure.mac,
            last[21],
        )
        return new_row(LeaseRow, fields)

    def _stored_marks(self, cell: int) -> int:
        allocator = self.allocator
        key = allocator.owners[cell]
        marks = allocator.marks[cell] | (KEPT if key is not None else 0)
        key = key or allocator.reserved_for.get(cell)
        return marks | EXACT if key is not None and _BETWEEN in key else marks

    def restore(self, cell: int, row: Brief, kept: bool, now: float) -> Tenure | None:
        """Put a cell into the stored state of its slot; return whose it is, None where it is nobody's.

        `kept`: its owner can have it again. The tenure is for the caller to put into `tenures`.
        """
        slot, owner, name, marks, lease_id, bundle_id, since_at, session, subscriber, nas, circuit, mac = row
        allocator = self.allocator
        state = STATE_NUMBERS[name]
        live = TENTATIVE <= state <= BOUND
        key = owner if kept or state == RESERVED else None
        if key is not None:
            if marks & EXACT or (live and self._has_live(key)):
                key = exact_key(key, self.layout.unit(slot))
            elif not live and key in allocator.by_owner:
                key = None
        allocator.put_back(cell, key, state, marks & ~(KEPT | EXACT), now)
        if owner is None or not lease_id or state == FREE:
            return None
        tenure = Tenure(lease_id, self.layout.unit(slot), owner, NOBODY, since_at)
        tenure.subscriber = owner if subscriber == owner else subscriber  # one text in memory, not two
        tenure.nas = intern(nas)
        tenure.circuit, tenure.mac = circuit, mac
        tenure.session = session
        tenure.bundle_id = bundle_id
        return tenure

    def _has_live(self, key: str) -> bool:
        """Tell whether an owner of whom a live slot is to be restored has one already: of blocks of different nodes."""
        cell = self.allocator.by_owner.get(key, NONE)
        return cell != NONE and TENTATIVE <= self.allocator.states[cell] <= BOUND

    def owner_of(self, cell: int) -> str:
        """Return the owner's key as the caller gave it: of the tenure, of the reservation, of the last lease."""
        tenure = self.tenures.get(cell)
        if tenure is not None:
            return tenure.owner
        key = self.allocator.reserved_for.get(cell) or self.allocator.owners[cell] or ""
        return plain_owner(key)


def exact_key(owner: str, unit: Unit) -> str:
    """Return the key under which an allocator knows an owner's exact unit, beside a slot of its own choice."""
    return f"{owner}{_BETWEEN}{unit.value:x}/{unit.length}"


def plain_owner(key: str) -> str:
    """Return the owner of such a key, or of an ordinary one."""
    return key.partition(_BETWEEN)[0]
