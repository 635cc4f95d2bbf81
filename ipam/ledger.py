"""What is true in memory and not yet on disk.

Every change of state is noted here at the moment it is made. The caller asks for a batch, stores all of it in one
transaction, and then says `confirm` or `refuse`. Nothing may be told to a subscriber before the batch with its
changes is confirmed: `durable(serial)`.

A refused batch is not undone. Its slots stay taken in memory, so that nobody else can get them, and its changes go,
in their old order, into the next batch; the login that waited is not answered, and its lease ends by its own time
limit like one whose session never began. A crash forgets them, and nobody had been told. Where it is not known
whether a commit took place, `settle` decides by what the store has. So an address has one owner in memory at any
time, one on disk at any time, and each subscriber was told only of leases that are on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, cast

from ipam.history import Chain, Change, HistoryEvent


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


_Slot = tuple[str, str, int]  # tenant, pool, slot


class Ledger:
    """The changes of one book that are not durable yet, and the end of its chain."""

    __slots__ = (
        "_changes",
        "_dirty",
        "_durable",
        "_flying",
        "_flying_made",
        "_flying_slots",
        "_made",
        "_stored",
        "most",
    )

    def __init__(self, chain: Chain, most: int) -> None:
        self._stored = chain  # as the store has it
        self._changes: list[Change] = []
        self._dirty: dict[_Slot, Change] = {}  # with the last change of each
        self._flying: tuple[HistoryEvent, ...] = ()
        self._flying_slots: dict[_Slot, Change] = {}
        # Changes are counted apart from `seq`, because some may be forgotten before they get one.
        self._made = 0
        self._flying_made = 0
        self._durable = 0
        self.most = most

    def note(self, change: Change) -> int:
        """Take a change up; return its serial, for `durable`."""
        self._changes.append(change)
        self._dirty[change[3], change[5], change[20]] = change  # tenant, pool, slot
        self._made += 1
        return self._made

    @property
    def waiting(self) -> int:
        """How many changes are not durable yet."""
        return len(self._flying) + len(self._changes)

    @property
    def behind(self) -> bool:
        """Whether so much waits that no new lease may be begun."""
        return len(self._flying) + len(self._changes) >= self.most

    @property
    def stored_seq(self) -> int:
        """The number of the last durable event."""
        return self._stored.seq

    @property
    def chain_end(self) -> tuple[int, bytes]:
        """Number and hash of the last durable event."""
        return self._stored.seq, self._stored.hash

    def durable(self, serial: int) -> bool:
        """Tell whether the change with that serial is on disk."""
        return serial <= self._durable

    def seal(self) -> tuple[tuple[HistoryEvent, ...], Iterable[Change]] | None:
        """Return the events of the next batch and the last change of each slot, None where there is nothing to write.

        One batch is under way at a time: it must be confirmed or refused before the next.
        """
        assert not self._flying, "a batch is under way"
        if not self._changes:
            return None
        chain = Chain(self._stored.book, self._stored.seq, self._stored.hash)
        self._flying = chain.extend(self._changes)
        self._flying_slots = self._dirty
        self._flying_made = self._made
        self._changes = []
        self._dirty = {}
        return self._flying, self._flying_slots.values()

    def confirm(self) -> None:
        """The batch under way is on disk."""
        last = self._flying[-1]
        self._stored = Chain(last.book, last.seq, last.hash)
        self._durable = self._flying_made
        self._flying = ()
        self._flying_slots = {}

    def refuse(self) -> None:
        """Nothing of the batch under way was stored: it will be a part of the next one."""
        self._changes[:0] = [event.change for event in self._flying]
        self._dirty = {**self._flying_slots, **self._dirty}
        self._flying = ()
        self._flying_slots = {}

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

        def lost(each: Change) -> bool:
            return (each.tenant, each.pool) == (tenant, pool) and first <= each.slot <= last

        before = len(self._changes)
        self._changes = [each for each in self._changes if not lost(each)]
        self._dirty = {slot: each for slot, each in self._dirty.items() if not lost(each)}
        if not self._changes:
            self._durable = self._made
        return before - len(self._changes)

    def holds(self, tenant: str, pool: str, first: int, last: int) -> bool:
        """Tell whether something about those slots still waits to be written."""
        slots = (*self._flying_slots, *self._dirty)
        return any(each[:2] == (tenant, pool) and first <= each[2] <= last for each in slots)
