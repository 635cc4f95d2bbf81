"""What is true in memory and not yet on disk.

Every change of state is noted here at the moment it is made. The caller asks for a batch, stores all of it in one
transaction, and then says `confirm` or `refuse`. Nothing may be told to a subscriber before the batch with its
changes is confirmed: `durable(serial)`.

A refused batch is not undone. Its slots stay taken in memory, so that nobody else can get them, and its changes go,
in their old order, into the next batch; the login that waited is not answered, and its lease ends by its own time
limit like one whose session never began. A crash forgets them, and nobody had been told. Where it is not known
whether a commit took place, `settle` decides by what the store has. So an address has one owner in memory at any
time, one on disk at any time, and each subscriber was told only of leases that are on disk.

A batch has a few hundred changes, so that the event loop is not held for long. What waits of a slot goes into one
batch, in its order, so that the row of the slot is what is true after the last of them. Of different slots those of
logins go first, because a subscriber waits for them; a quarter of each batch is left to the others. What happens to
fixed units goes with the logins, in its order: a unit may be in a pool by now, and its old owner must be off the disk
before a new one is on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, Final, NamedTuple, cast

from ipam.history import Chain, Change, HistoryEvent
from ipam.kinds import Cause, Kind
from ipam.native import mypyc_attr


class LeaseRow(NamedTuple):
    """One slot as it is stored. `since_at` is epoch seconds; `marks` are those of the allocator."""

    tenant: str
    pool: str
    slot: int
    vrf: str
    space: str
    address: str
    length: int
    owner: str | None
    state: str
    marks: int
    lease_id: int
    bundle_id: int
    since_at: float
    session: str
    subscriber: str
    nas: str
    circuit: str
    mac: str
    fence: int


# As calling the class, in half the time.
new_row: Final = cast("Callable[[type[LeaseRow], tuple[Any, ...]], LeaseRow]", tuple.__new__)


BRIEF: Final = ("slot", *LeaseRow._fields[7:18])
"""What of a row its pool and its slot do not say: the fields of `Brief`."""

Brief = tuple[int, str | None, str, int, int, int, float, str, str, str, str, str]
"""slot, owner, state, marks, lease_id, bundle_id, since_at, session; subscriber, nas, circuit, mac."""


def brief_of(row: LeaseRow) -> Brief:
    """Return the short form of a row."""
    return (row[2], *row[7:18])


class Fence(NamedTuple):
    """A block that this node must still own, in this generation, when a batch is stored."""

    tenant: str
    pool: str
    block: int  # its first slot
    generation: int


class Batch(NamedTuple):
    """What belongs into one transaction: events, the slots as they are after the last of them, fences to check."""

    book: str
    events: tuple[HistoryEvent, ...]
    rows: tuple[LeaseRow, ...]
    fences: tuple[Fence, ...]

    @property
    def last_seq(self) -> int:
        """The number that the chain ends with once this is stored."""
        return self.events[-1].seq


@mypyc_attr(acyclic=True)
class Noted:
    """A change that waits, and the one of the same slot before it; `count` is how many they are together."""

    __slots__ = ("change", "count", "earlier", "serial")

    def __init__(self, serial: int, change: Change, earlier: Noted | None) -> None:
        self.serial = serial
        self.change = change
        self.earlier = earlier
        self.count: int = 1 if earlier is None else earlier.count + 1


_Slot = tuple[str, str, int]  # tenant, pool, slot
_Queue = dict[_Slot, Noted]  # the last change of each
_LOGIN: Final = Cause.LOGIN.value
_FIXED: Final = Kind.FIXED.value
ALL: Final = 1 << 60


class Ledger:
    """The changes of one book that are not durable yet, and the end of its chain."""

    __slots__ = ("_flying", "_flying_slots", "_logins", "_made", "_others", "_pending", "_stored", "most")

    def __init__(self, chain: Chain, most: int) -> None:
        self._stored = chain  # as the store has it
        # What waits, by slot: where somebody has logged in meanwhile, and the others.
        self._logins: _Queue = {}
        self._others: _Queue = {}
        self._flying: tuple[HistoryEvent, ...] = ()
        self._flying_slots: _Queue = {}
        # Changes are counted apart from `seq`, because some may be forgotten before they get one.
        self._made = 0
        self._pending: dict[int, None] = {}  # serials in their order, of the batch under way too
        self.most = most

    def note(self, change: Change) -> int:
        """Take a change up; return its serial, for `durable`."""
        self._made += 1
        serial = self._made
        self._pending[serial] = None
        slot = (change[3], change[5], change[20])  # tenant, pool, slot
        queue = self._logins
        earlier = queue.get(slot)
        if earlier is None:
            if change[18] != _LOGIN and change[6] != _FIXED:
                queue = self._others
                earlier = queue.get(slot)
            elif self._others:
                earlier = self._others.pop(slot, None)
        queue[slot] = Noted(serial, change, earlier)
        return serial

    @property
    def waiting(self) -> int:
        """How many changes are not durable yet."""
        return len(self._pending)

    @property
    def behind(self) -> bool:
        """Whether so much waits that no new lease may be begun."""
        return len(self._pending) >= self.most

    @property
    def stored_seq(self) -> int:
        """The number of the last durable event."""
        return self._stored.seq

    @property
    def chain_end(self) -> tuple[int, bytes]:
        """Number and hash of the last durable event."""
        return self._stored.seq, self._stored.hash

    def durable(self, serial: int) -> bool:
        """Tell whether the change with that serial is on disk; those before it need not be."""
        return serial not in self._pending

    def durable_before(self) -> int:
        """Return the serial before which every change is on disk."""
        return next(iter(self._pending), self._made + 1)

    def seal(self, most: int = ALL) -> tuple[tuple[HistoryEvent, ...], Iterable[Change]] | None:
        """Return the events of the next batch and the last change of each slot, None where there is nothing to write.

        There are `most` events, or more where one slot has several. One batch is under way at a time: it must be
        confirmed or refused before the next.
        """
        assert not self._flying, "a batch is under way"
        if not self._pending:
            return None
        taken: _Queue = {}
        left = _move(self._logins, taken, most - min(len(self._others), most // 4))
        left = _move(self._others, taken, left + min(len(self._others), most // 4))
        end = Chain(self._stored.book, self._stored.seq, self._stored.hash)
        self._flying = end.extend([noted.change for noted in _in_order(taken)])
        self._flying_slots = taken
        return self._flying, [noted.change for noted in taken.values()]

    def confirm(self) -> None:
        """The batch under way is on disk."""
        last = self._flying[-1]
        self._stored = Chain(last.book, last.seq, last.hash)
        for noted in _all_of(self._flying_slots):
            del self._pending[noted.serial]
        if not self._pending:
            self._pending = {}  # without the places of those that were in it
        self._flying = ()
        self._flying_slots = {}

    def refuse(self) -> None:
        """Nothing of the batch under way was stored: it will be a part of the next one."""
        flying, self._flying, self._flying_slots = self._flying_slots, (), {}
        for slot, noted in flying.items():
            later = self._logins.pop(slot, None) or self._others.pop(slot, None)
            if later is not None:
                flying[slot] = _after(noted, later)
        self._logins = {**flying, **self._logins}

    def settle(self, stored_seq: int) -> bool:
        """Confirm or refuse the batch under way by the last `seq` that the store has; return which it was."""
        if self._flying and stored_seq >= self._flying[-1].seq:
            self.confirm()
            return True
        self.refuse()
        return False

    def forget(self, tenant: str, pool: str, first: int, last: int) -> int:
        """Drop the waiting changes of slots that belong to another node now; return how many.

        They can never be stored, and none was told to anybody. No batch may be under way.
        """
        assert not self._flying, "a batch is under way"
        before = len(self._pending)
        for queue in (self._logins, self._others):
            for slot in [each for each in queue if each[:2] == (tenant, pool) and first <= each[2] <= last]:
                for noted in _all_of({slot: queue.pop(slot)}):
                    del self._pending[noted.serial]
        return before - len(self._pending)

    def abandon(self) -> None:
        """Drop all that waits: of a book that is stored nowhere. No batch may be under way."""
        assert not self._flying, "a batch is under way"
        self._logins, self._others, self._pending = {}, {}, {}

    def holds(self, tenant: str, pool: str, first: int, last: int) -> bool:
        """Tell whether something about those slots still waits to be written."""
        queues = (self._flying_slots, self._logins, self._others)
        if first == last:
            return any((tenant, pool, first) in queue for queue in queues)
        slots = chain.from_iterable(queues)
        return any(each[:2] == (tenant, pool) and first <= each[2] <= last for each in slots)


def _move(queue: _Queue, taken: _Queue, most: int) -> int:
    """Move whole slots from the front of a queue until `most` changes are moved; return how many more might be."""
    moved: _Queue = {}
    for slot, noted in queue.items():
        if most <= 0:
            break
        moved[slot] = noted
        most -= noted.count
    if len(moved) == len(queue):
        queue.clear()
    else:
        for slot in moved:
            del queue[slot]
    taken.update(moved)
    return max(most, 0)


def _all_of(queue: _Queue) -> list[Noted]:
    """Return all changes of a queue; those of a slot are next to each other, the last one first."""
    found: list[Noted] = []
    for noted in queue.values():
        found.append(noted)
        earlier = noted.earlier
        while earlier is not None:
            found.append(earlier)
            earlier = earlier.earlier
    return found


def _in_order(queue: _Queue) -> list[Noted]:
    """Return all changes of a queue as they were made."""
    found = _all_of(queue)
    found.sort(key=_serial_of)
    return found


def _serial_of(noted: Noted) -> int:
    return noted.serial


def _after(noted: Noted, later: Noted) -> Noted:
    """Return the later changes of a slot as following the earlier ones."""
    for each in reversed(_all_of({("", "", 0): later})):
        noted = Noted(each.serial, each.change, noted)
    return noted
