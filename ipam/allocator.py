"""The slots of one pool, each step in constant time at any utilisation, memory only for what was ever used.

Slots that wait (free, held, in quarantine, declined) are in lists in the order in which they began to wait, so that
the one that waited longest is the head. What was never used is given out first; after that the slot that was free
for the longest time, because its last owner is the least likely to come back. Deadlines are monotonic seconds: a
clock that is set back cannot freeze a list.

`pick` says what an owner would get and changes nothing that anybody could see; `claim` takes it. So a bundle
picks in all its pools first, and claims when all of them had something.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from ipam.cells import (
    FREE_HEAD,
    HELD_HEAD,
    NONE,
    QUARANTINED_HEAD,
    RETIRED_HEAD,
    SHUNNED_HEAD,
    Cells,
)
from ipam.kinds import BOUND, DECLINED, DISABLED, FREE, HELD, QUARANTINED, RESERVED, TENTATIVE
from ipam.segment import NO_CELL, Segment

FRESH: Final = -2
"""What `pick` returns for a slot that was never used."""

# Marks of a cell, for what happens when its lease ends.
SHUN: Final = 1  # a stranger was seen there
OUT: Final = 2  # an operator takes it out


class Allocator(Cells):
    """The slots of one pool that this node may give out.

    `hold_s` and `reuse_s` count from the end of a lease; `shun_s` from a decline or conflict.
    """

    __slots__ = ("_fresh_at", "_reserved", "hold_s", "reserved_for", "reuse_s", "shun_s", "sticky")

    def __init__(self, *, sticky: bool, hold_s: float, reuse_s: float, shun_s: float) -> None:
        super().__init__()
        self.sticky = sticky
        self.hold_s = hold_s
        self.reuse_s = reuse_s
        self.shun_s = shun_s
        self._fresh_at = 0  # no segment before this one has unused slots
        self._reserved: dict[str, int] = {}
        self.reserved_for: dict[int, str] = {}

    # --- what there is ---------------------------------------------------------------------------

    def add_segment(self, segment: Segment) -> None:
        """Let more slots be given out; the segment is new."""
        index = bisect_right(self._lows, segment.low)
        self.segments.insert(index, segment)
        self._lows.insert(index, segment.low)
        if index < len(self.segments) - 1:
            self._renumber(index, 1)
        self._count(FREE, segment.count)
        if segment.barred:
            self._bar(segment.count)
        self._fresh_at = 0

    def remove_segment(self, segment: Segment) -> list[int]:
        """Forget a segment, whatever it holds; return its cells, which will stand for other slots later."""
        index = self.segments.index(segment)
        cells = segment.cells()
        barred = segment.count - len(cells) if segment.barred else segment.unused_excluded
        for cell in cells:
            owner = self.reserved_for.pop(cell, None)
            if owner is not None:
                del self._reserved[owner]
            self._drop(cell)
        self._bar(-barred)
        self._count(FREE, -segment.count)
        del self.segments[index], self._lows[index]
        self._renumber(index + 1, -1)
        self._fresh_at = 0
        return cells

    def _renumber(self, index: int, by: int) -> None:
        """Correct the cells' segments after one was put before them or taken away; only then is this linear."""
        segment_of = self._segment_of
        for cell, segment in enumerate(segment_of):
            if segment >= index:
                segment_of[cell] = segment + by

    def _count(self, state: int, by: int) -> None:
        for tally in self.tallies:
            tally[state] += by

    def _bar(self, slots: int) -> None:
        self._count(FREE, -slots)
        self._count(DISABLED, slots)

    def exclude(self, segment: Segment, first: int, last: int) -> list[int]:
        """Give out no slot of `first` to `last` of a segment any more; return those that have a cell, to disable."""
        self._bar(segment.exclude(first, last))
        return segment.cells_between(first, last)

    def include(self, segment: Segment, first: int, last: int) -> list[int]:
        """Give out excluded slots of a segment again; return those that have a cell, to enable."""
        self._bar(-segment.include(first, last))
        found = segment.cells_between(first, last)
        for slot in segment.passed(first, last):
            self.carve(slot)
        self._fresh_at = 0
        return found

    def segment_at(self, slot: int) -> Segment | None:
        """Return the segment that a slot lies in; None where it is not this node's."""
        index = bisect_right(self._lows, slot) - 1
        if index < 0:
            return None
        segment = self.segments[index]
        return segment if slot < segment.low + segment.count else None

    def cell_at(self, slot: int) -> int:
        """Return the cell of a slot, NONE where it was never used."""
        segment = self.segment_at(slot)
        return NONE if segment is None else segment.cell(slot)

    def close(self, segment: Segment, *, closed: bool = True) -> None:
        """Let no lease begin in a segment, or let them begin again."""
        segment.closed = closed or segment.barred
        if segment.closed:
            return
        self._fresh_at = 0
        cell = self._next[RETIRED_HEAD]
        while cell != RETIRED_HEAD:
            after = self._next[cell]
            if self.segment_of(cell) is segment:
                self._unlink(cell)
                self._wait(cell, FREE, FREE_HEAD, 0.0)
            cell = after

    # --- who gets what ---------------------------------------------------------------------------

    def pick(self, owner: str) -> int:
        """Return the cell that an owner would get, FRESH for a slot never used, NONE when nothing is free.

        What it has comes first, then what is reserved for it, then what it had last. `ripe` says whether a cell
        that waits could come free now.
        """
        cell = self.find(owner)
        return cell if cell >= 0 else self.pick_new()

    def pick_new(self) -> int:
        """Return what an owner gets who has nothing here: as `pick`."""
        return FRESH if self._find_fresh() else self._head_of_free()

    def find(self, owner: str) -> int:
        """Return the cell that an owner has, that is reserved for it or that it can have again; else NONE."""
        cell = self.by_owner.get(owner, NONE)
        state = self.states[cell] if cell >= 0 else FREE
        if cell >= 0 and TENTATIVE <= state <= BOUND:
            return cell
        if self._reserved:
            reserved = self._reserved.get(owner, NONE)
            if reserved >= 0 and self.states[reserved] == RESERVED and not self._is_closed(reserved):
                return reserved
        if cell < 0 or not self.sticky or state > QUARANTINED or cell in self.reserved_for:
            return NONE
        return NONE if self.segments[self._segment_of[cell]].closed else cell

    def _is_closed(self, cell: int) -> bool:
        segment = self.segments[self._segment_of[cell]]
        return segment.closed and not segment.barred

    def _find_fresh(self) -> bool:
        segments = self.segments
        while self._fresh_at < len(segments):
            segment = segments[self._fresh_at]
            if not segment.closed and segment.find_fresh():
                return True
            self._fresh_at += 1
        return False

    def _head_of_free(self) -> int:
        """Return the cell that was free for the longest time; those of closed segments are put aside."""
        cell = self._next[FREE_HEAD]
        while cell != FREE_HEAD and self.segments[self._segment_of[cell]].closed:
            self._unlink(cell)
            self._wait(cell, FREE, RETIRED_HEAD, 0.0)
            cell = self._next[FREE_HEAD]
        return NONE if cell == FREE_HEAD else cell

    def open_fresh(self) -> int:
        """Return a free cell for the slot that FRESH stood for; whoever picks afterwards gets another."""
        return self.leave(self.take_fresh())

    def take_fresh(self) -> int:
        """Return a cell as `open_fresh` does, but one that nobody else can pick: to be claimed at once, or left."""
        segment = self.segments[self._fresh_at]
        cell = self._make(segment.next_slot(), self._fresh_at)
        segment.use_next(cell)
        return cell

    def leave(self, cell: int) -> int:
        """Let a cell of `take_fresh` be picked; return it."""
        self._wait(cell, FREE, FREE_HEAD, 0.0)
        return cell

    def claim(self, cell: int, owner: str) -> int:
        """Give what `pick` returned to its owner, tentatively; return the cell. A live lease stays as it is."""
        if cell == FRESH:
            segment = self.segments[self._fresh_at]
            cell = self._make(segment.next_slot(), self._fresh_at)
            segment.use_next(cell)
        elif TENTATIVE <= self.states[cell] <= BOUND:
            return cell
        else:
            self._unlink(cell)
        self._own(cell, owner)
        self._move(cell, TENTATIVE)
        return cell

    def carve(self, slot: int) -> int:
        """Return the cell of a slot, made if it was never used; NONE where the slot is not this node's."""
        index = bisect_right(self._lows, slot) - 1
        if index < 0 or slot >= self._lows[index] + self.segments[index].count:
            return NONE
        segment = self.segments[index]
        cell = segment.cell(slot)
        if cell == NO_CELL:
            barred = segment.bars(slot)
            cell = self._make(slot, index)
            segment.carve(slot, cell)
            if barred:
                self.states[cell] = DISABLED  # it was counted so all the time
                segment.note_carved_excluded()
            else:
                self._wait(cell, FREE, FREE_HEAD, 0.0)
        return cell

    def carve_run(self, slots: list[int]) -> int:
        """Make cells for consecutive slots, each to be put back; return the first, the others follow it.

        NONE where they do not just continue what was used: then `carve` each.
        """
        index = bisect_right(self._lows, slots[0]) - 1
        cell = len(self.slots)
        if index < 0 or not self.segments[index].carve_run(slots[0], len(slots), cell):
            return NONE
        self._make_run(slots, index)
        return cell

    # --- what becomes of a lease -----------------------------------------------------------------

    def bind(self, cell: int) -> None:
        """A session uses a tentative lease."""
        self._move(cell, BOUND)

    def end(self, cell: int, now: float) -> int:
        """The lease of a cell is over at `now`; return the state that follows."""
        owner = self.owners[cell]
        mark = self.marks[cell]
        if mark & SHUN:
            return self.shun(cell, QUARANTINED, now)
        reserved_for = self.reserved_for.get(cell)
        if reserved_for is not None and reserved_for == owner and not mark & OUT:
            self._disown(cell)
            return self._move(cell, RESERVED)
        keep = self.sticky and reserved_for is None and not mark & OUT
        if keep and self.hold_s > 0:
            return self._wait(cell, HELD, HELD_HEAD, now + self.hold_s)
        if not keep:
            self._disown(cell)
        if self.reuse_s > 0:
            return self._wait(cell, QUARANTINED, QUARANTINED_HEAD, now + self.reuse_s)
        return self._rest(cell)

    def shun(self, cell: int, state: int, now: float) -> int:
        """Keep a cell from everybody until `shun_s` from `now`: DECLINED, or QUARANTINED after a conflict."""
        self.marks[cell] |= SHUN
        self._unlink(cell)
        self._disown(cell)
        return self._wait(cell, state, SHUNNED_HEAD, now + self.shun_s)

    def ripe(self, now: float) -> int:
        """Return a cell whose wait is over, NONE where there is none."""
        for head in (HELD_HEAD, QUARANTINED_HEAD, SHUNNED_HEAD):
            cell = self._next[head]
            if cell != head and self.due[cell] <= now:
                return cell
        return NONE

    def next_due(self) -> float | None:
        """Return when the next waiting cell can be looked at, monotonic seconds; None where none waits."""
        heads = (HELD_HEAD, QUARANTINED_HEAD, SHUNNED_HEAD)
        return min((self.due[self._next[head]] for head in heads if self._next[head] != head), default=None)

    def ripen(self, cell: int) -> int:
        """The wait of a cell is over; return the state that follows."""
        self._unlink(cell)
        if self.states[cell] == HELD and self.reuse_s > self.hold_s and not self.marks[cell] & OUT:
            due = self.due[cell] + self.reuse_s - self.hold_s
            return self._wait(cell, QUARANTINED, QUARANTINED_HEAD, due)
        self.marks[cell] &= ~SHUN
        return self._rest(cell)

    def _rest(self, cell: int) -> int:
        if cell in self.reserved_for and not self.marks[cell] & OUT:
            self._disown(cell)
            return self._move(cell, RESERVED)
        if self.marks[cell] & OUT or self.segment_of(cell).bars(self.slots[cell]):
            self._disown(cell)
            return self._move(cell, DISABLED)
        return self._wait(cell, FREE, FREE_HEAD, 0.0)

    # --- what operators do -----------------------------------------------------------------------

    def reserve(self, cell: int, owner: str) -> int:
        """Set a cell aside for an owner, at once or when lease and quarantine of another are over; return its state.

        One owner has one reservation in a pool, and one cell is for one owner: give up earlier ones first.
        """
        self._reserved[owner] = cell
        self.reserved_for[cell] = owner
        state = self.states[cell]
        waits_for_owner = state in (HELD, QUARANTINED) and self.owners[cell] == owner
        if state == FREE or waits_for_owner or (state == DISABLED and not self.marks[cell] & OUT):
            self._unlink(cell)
            self._disown(cell)
            return self._move(cell, RESERVED)
        return state

    def unreserve(self, cell: int, now: float) -> int:
        """Give up the reservation of a cell: its owner may have used it until now; return its state."""
        del self._reserved[self.reserved_for.pop(cell)]
        return self._wait_out(cell, now) if self.states[cell] == RESERVED else self.states[cell]

    def disable(self, cell: int) -> int:
        """Take a cell out, at once or when its lease is over; return its state."""
        self.marks[cell] |= OUT
        state = self.states[cell]
        if TENTATIVE <= state <= BOUND:
            return state
        self._unlink(cell)
        self._disown(cell)
        return self._move(cell, DISABLED)

    def enable(self, cell: int, now: float) -> int:
        """Bring a cell back: it waits as after a lease first; return its state."""
        self.marks[cell] &= ~OUT
        return self._wait_out(cell, now) if self.states[cell] == DISABLED else self.states[cell]

    def _wait_out(self, cell: int, now: float) -> int:
        if self.reuse_s > 0:
            return self._wait(cell, QUARANTINED, QUARANTINED_HEAD, now + self.reuse_s)
        return self._rest(cell)

    def put_back(self, cell: int, owner: str | None, state: int, marks: int, now: float) -> None:
        """Put a cell into the state in which its slot was stored; every wait begins anew."""
        self._unlink(cell)
        self.marks[cell] = marks
        if owner is not None and state <= QUARANTINED:
            self._own(cell, owner)
        if state == RESERVED and owner is not None:
            self._reserved[owner] = cell
            self.reserved_for[cell] = owner
        if state == DECLINED or (state == QUARANTINED and marks & SHUN):
            self._wait(cell, state, SHUNNED_HEAD, now + self.shun_s)
        elif state == HELD:
            self._wait(cell, HELD, HELD_HEAD, now + self.hold_s)
        elif state == QUARANTINED:
            self._wait(cell, QUARANTINED, QUARANTINED_HEAD, now + self.reuse_s)
        elif state == FREE:
            self._rest(cell)
        else:
            self._move(cell, state)
