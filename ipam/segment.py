"""A stretch of consecutive slots of one allocator: which were never used, and where the others are.

What was used has a cell, a small number under which the allocator keeps what it knows. Slots above the high-water
mark take no memory, unless one was carved out of turn: by a reservation, by a lease that was loaded.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right, insort
from typing import Final

from ipam.shuffle import Shuffle

NO_CELL: Final = -1


class Segment:
    """Slots `low` to `low` + `count` - 1; `closed`: no lease begins here; `barred`: all of it is excluded.

    `block` is the first slot of this node's block that it is a part of, `fence` the generation of that block.
    `used` counts the cells in the states from tentative to declined.
    """

    __slots__ = (
        "_carved",
        "_cells",
        "_excluded",
        "_shuffle",
        "barred",
        "block",
        "closed",
        "count",
        "fence",
        "high",
        "low",
        "unused_excluded",
        "used",
    )

    def __init__(
        self,
        low: int,
        count: int,
        *,
        key: bytes = b"",
        block: int = 0,
        fence: int = 0,
        closed: bool = False,
        barred: bool = False,
    ) -> None:
        self.low = low
        self.count = count
        self.block = block
        self.fence = fence
        self.closed = closed or barred
        self.barred = barred
        self.high = 0  # slots up to here, in the order of giving out, have a cell or are excluded
        self.used = 0
        self.unused_excluded = 0  # excluded slots without a cell
        self._cells: array[int] = array("i")
        self._carved: dict[int, int] = {}
        self._excluded: list[tuple[int, int]] = []
        self._shuffle = Shuffle(key + low.to_bytes(8, "big"), count) if key else None

    def number(self, slot: int) -> int:
        """Return when in the order of giving out it is that slot's turn."""
        offset = slot - self.low
        return offset if self._shuffle is None else self._shuffle.reverse(offset)

    def find_fresh(self) -> bool:
        """Move the high-water mark to a slot that may be given out; False when all were used."""
        while True:
            if self._carved:
                self._pass_carved()
            if self.high >= self.count:
                return False
            if not self._excluded:
                return True
            end = self._end_of_exclusion(self.next_slot())
            if end < 0:
                return True
            # In sequence the whole exclusion is passed at once, as far as nothing was carved in it.
            alone = self._shuffle is not None or bool(self._carved)
            passed = 1 if alone else min(end - self.low + 1, self.count) - self.high
            self._cells.extend(array("i", [NO_CELL]) * passed)
            self.high += passed

    def _pass_carved(self) -> None:
        carved = self._carved
        while self.high in carved:
            self._cells.append(carved.pop(self.high))
            self.high += 1

    def next_slot(self) -> int:
        """Return the slot at the high-water mark; there must be one."""
        shuffle = self._shuffle
        return self.low + (self.high if shuffle is None else shuffle.forward(self.high))

    def use_next(self, cell: int) -> None:
        """Let the slot at the high-water mark be that cell's."""
        self._cells.append(cell)
        self.high += 1

    def cell(self, slot: int) -> int:
        """Return the cell of a slot of this segment, NO_CELL where it was never used."""
        number = self.number(slot)
        return self._cells[number] if number < self.high else self._carved.get(number, NO_CELL)

    def carve(self, slot: int, cell: int) -> None:
        """Let a slot be that cell's, whether its turn has come or not."""
        number = self.number(slot)
        if number < self.high:
            self._cells[number] = cell
        elif number == self.high:
            self.use_next(cell)
        else:
            self._carved[number] = cell

    def carve_run(self, slot: int, count: int, cell: int) -> bool:
        """Let slots that follow the high-water mark be consecutive cells; False where that is not so simple."""
        if self._shuffle is not None or self._excluded or self._carved or self.barred:
            return False
        if slot != self.low + self.high or self.high + count > self.count:
            return False
        self._cells.extend(range(cell, cell + count))
        self.high += count
        return True

    def settle(self) -> None:
        """Keep what was carved out of turn, and is in turn now, where it takes the least memory."""
        self._pass_carved()
        if not self._carved:
            self._carved = {}  # a dictionary that was large stays so

    def cells(self) -> list[int]:
        """Return every cell of the segment."""
        return [*(cell for cell in self._cells if cell >= 0), *self._carved.values()]

    def cells_between(self, first: int, last: int) -> list[int]:
        """Return the cells of some of its slots; takes as long as there are slots, or cells if those are fewer."""
        first, last = max(first, self.low), min(last, self.low + self.count - 1)
        if last - first < self.high + len(self._carved):
            return [cell for slot in range(first, last + 1) if (cell := self.cell(slot)) >= 0]
        numbers = [*enumerate(self._cells), *self._carved.items()]
        slot_at = (lambda number: number) if self._shuffle is None else self._shuffle.forward
        return [cell for number, cell in numbers if cell >= 0 and first <= self.low + slot_at(number) <= last]

    def bars(self, slot: int) -> bool:
        """Tell whether a slot is excluded."""
        return self.barred or (bool(self._excluded) and self._end_of_exclusion(slot) >= 0)

    def _end_of_exclusion(self, slot: int) -> int:
        index = bisect_right(self._excluded, (slot, 1 << 63)) - 1
        return self._excluded[index][1] if index >= 0 and self._excluded[index][1] >= slot else -1

    def exclude(self, first: int, last: int) -> int:
        """Exclude slots; return how many of them had no cell. They must not have been excluded before."""
        first, last = max(first, self.low), min(last, self.low + self.count - 1)
        if last < first or self.barred:
            return 0
        insort(self._excluded, (first, last))
        unused = last - first + 1 - len(self.cells_between(first, last))
        self.unused_excluded += unused
        return unused

    def include(self, first: int, last: int) -> int:
        """Let excluded slots be given out again; return how many of them had no cell."""
        if self.barred:
            self.barred = False
            self._excluded = [(self.low, self.low + self.count - 1)]
            self.unused_excluded = self.count - len(self.cells())
        freed, left = 0, []
        for begin, end in self._excluded:
            low, high = max(begin, first), min(end, last)
            if low > high:
                left.append((begin, end))
                continue
            freed += high - low + 1 - len(self.cells_between(low, high))
            left += [(begin, low - 1)] if begin < low else []
            left += [(high + 1, end)] if high < end else []
        self._excluded = left
        self.unused_excluded -= freed
        return freed

    def passed(self, first: int, last: int) -> list[int]:
        """Return those of some slots whose turn has passed and that have no cell all the same."""
        shuffle = self._shuffle
        if shuffle is None:
            first, last = max(first, self.low), min(last, self.low + self.high - 1)
            return [slot for slot in range(first, last + 1) if self._cells[slot - self.low] < 0]
        slots = (self.low + shuffle.forward(number) for number, cell in enumerate(self._cells) if cell < 0)
        return [slot for slot in slots if first <= slot <= last]

    def note_carved_excluded(self) -> None:
        """An excluded slot has got a cell."""
        if not self.barred:
            self.unused_excluded -= 1
