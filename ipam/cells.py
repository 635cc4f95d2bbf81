"""What an allocator knows of the slots that were used: arrays, and lists linked through them."""

from __future__ import annotations

from array import array
from typing import Final

from ipam.kinds import DECLINED, DISABLED, FREE
from ipam.segment import Segment

NONE: Final = -1

# Heads of the lists are the first cells. A free cell whose segment is closed waits in RETIRED.
FREE_HEAD: Final = 0
HELD_HEAD: Final = 1
QUARANTINED_HEAD: Final = 2
SHUNNED_HEAD: Final = 3
RETIRED_HEAD: Final = 4
_HEADS: Final = 5

# Room is made for an eighth more cells at a time, which takes a third of the time of making each by itself.
_ROOM_LEAST: Final = 8
_ROOM_PART: Final = 8

_ITSELF: Final = tuple(range(_HEADS))


class Cells:
    """Cells by number, the lists that they wait in, and how many are in each state.

    `counts` is by the numbers of `ipam.kinds`; together they are the size. `tallies` are all the counts that move
    with it: its own first, then those of site, VRF and tenant.
    """

    __slots__ = (
        "_lows",
        "_next",
        "_previous",
        "_segment_of",
        "_spare",
        "by_owner",
        "counts",
        "due",
        "marks",
        "owners",
        "segments",
        "slots",
        "states",
        "tallies",
    )

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self._lows: list[int] = []
        self.slots = array("q", [NONE]) * _HEADS
        self._next = array("i", _ITSELF)
        self._previous = array("i", _ITSELF)
        self._segment_of = array("i", [NONE]) * _HEADS
        self.due = array("d", [0.0]) * _HEADS
        self.states = bytearray(_HEADS)
        self.marks = bytearray(_HEADS)
        self.owners: list[str | None] = [None] * _HEADS
        self.by_owner: dict[str, int] = {}
        self._spare: list[int] = []  # cells of segments that are gone
        self.counts = [0] * (DISABLED + 1)
        self.tallies: tuple[list[int], ...] = (self.counts,)

    def __len__(self) -> int:
        """How many slots have a cell."""
        return len(self.slots) - _HEADS - len(self._spare)

    def all_cells(self) -> list[int]:
        """Return every cell that stands for a slot, oldest first."""
        return [cell for cell in range(_HEADS, len(self.slots)) if self.slots[cell] >= 0]

    def segment_of(self, cell: int) -> Segment:
        """Return the segment of a cell."""
        return self.segments[self._segment_of[cell]]

    def _make(self, slot: int, segment: int) -> int:
        """Return a cell for a slot that has none; it is free, and in no list."""
        if self._spare:
            cell = self._spare.pop()
            self.slots[cell] = slot
            self._segment_of[cell] = segment
            return cell
        cell = len(self.slots)
        if cell == len(self.states):
            self._make_room(max(_ROOM_LEAST, cell // _ROOM_PART))
        self.slots.append(slot)
        self._segment_of[cell] = segment
        return cell

    def _make_room(self, count: int) -> None:
        """Let more cells than there are be made without a change of all but their slot and segment."""
        first = len(self.states)
        numbers = array("i", range(first, first + count))
        self._segment_of.extend(array("i", [NONE]) * count)
        self._next.extend(numbers)
        self._previous.extend(numbers)
        self.due.extend(array("d", [0.0]) * count)
        self.states.extend(bytes([FREE]) * count)
        self.marks.extend(bytes(count))
        self.owners.extend([None] * count)

    def _make_run(self, slots: list[int], segment: int) -> None:
        """Make cells for slots that have none, numbered from `len(self.slots)` on, as `_make` would."""
        first, count = len(self.slots), len(slots)
        missing = first + count - len(self.states)
        if missing > 0:
            self._make_room(missing)
        self.slots.extend(slots)
        self._segment_of[first : first + count] = array("i", [segment]) * count

    def _drop(self, cell: int) -> None:
        """Let a cell stand for nothing any more."""
        self._unlink(cell)
        self._disown(cell)
        self._move(cell, FREE)
        self.marks[cell] = 0
        self.slots[cell] = NONE
        self._segment_of[cell] = NONE
        self._spare.append(cell)

    def _own(self, cell: int, owner: str) -> None:
        if self.owners[cell] != owner:
            self._disown(cell)
            self.owners[cell] = owner
        had = self.by_owner.setdefault(owner, cell)
        if had != cell:
            self.owners[had] = None
            self.by_owner[owner] = cell

    def _disown(self, cell: int) -> None:
        owner = self.owners[cell]
        if owner is not None:
            self.owners[cell] = None
            del self.by_owner[owner]

    def _wait(self, cell: int, state: int, head: int, due: float) -> int:
        """Append a cell that is in no list to one; return the state."""
        self.due[cell] = due
        last = self._previous[head]
        self._next[last] = cell
        self._previous[cell] = last
        self._next[cell] = head
        self._previous[head] = cell
        return self._move(cell, state)

    def _unlink(self, cell: int) -> None:
        """Take a cell out of its list; one that is in none is linked to itself, and that does nothing."""
        after = self._next[cell]
        if after == cell:
            return
        before = self._previous[cell]
        self._next[before] = after
        self._previous[after] = before
        self._next[cell] = self._previous[cell] = cell

    def _move(self, cell: int, state: int) -> int:
        old = self.states[cell]
        if old != state:
            self.states[cell] = state
            for tally in self.tallies:
                tally[old] -= 1
                tally[state] += 1
            was_used, is_used = FREE < old <= DECLINED, FREE < state <= DECLINED
            if was_used is not is_used:
                self.segments[self._segment_of[cell]].used += 1 if is_used else -1
        return state
