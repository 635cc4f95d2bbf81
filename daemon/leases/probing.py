"""Slots are asked about before their wait ends: whoever is still at the address keeps it from everybody else.

No login waits for this. A slot is looked at in the last part of its wait; when nobody could ask it in time, it goes
on as it would have without probes.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any, NamedTuple, Protocol

from daemon.clock import Clock
from daemon.leases.probe import InUse, Method
from daemon.leases.prober import Prober
from ipam.address import Unit
from ipam.allocator import OUT, SHUN, Allocator
from ipam.cells import HELD_HEAD, QUARANTINED_HEAD, SHUNNED_HEAD
from ipam.kinds import DECLINED, FREE, HELD, QUARANTINED, RESERVED, STATES, Cause, Kind, LeaseState
from ipam.model import Pool
from ipam.register import Register
from ipam.shelf import Shelf
from ipam.steward import Steward
from radius.line import canonical_mac

_KINDS = (Kind.V4, Kind.V6_NA, Kind.FIXED)
_BEHIND = "behind a router"  # who answers an echo


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Somebody was at an address that nobody has. `serial` is what to wait for before it is told; 0: nothing changed.

    `kept_for` is the last owner where it is the one who answered: the slot waits for it once more.
    """

    tenant: str
    vrf: str
    pool: str
    unit: Unit
    state: LeaseState  # before
    last_owner: str
    mac: str
    method: Method
    kept_for: str = ""
    serial: int = 0


class Spawn(Protocol):
    """Runs a coroutine as a task of its own; see `Supervisor.spawn`."""

    def __call__(self, coroutine: Coroutine[Any, Any, object], name: str) -> None: ...


class _Slot(NamedTuple):
    """A slot in one of its waits; after another lease it has another end."""

    due: float
    tenant: str
    pool: str
    cell: int
    number: int


class Probing:
    """Watches the slots of a register whose wait will end soon. `tell` gets what was found."""

    def __init__(
        self, steward: Steward, prober: Prober, clock: Clock, spawn: Spawn, tell: Callable[[Found], None]
    ) -> None:
        self._register: Register = steward.register
        self._steward = steward
        self._prober = prober
        self._clock = clock
        self._spawn = spawn
        self._tell = tell
        self._looked_at: set[_Slot] = set()
        self._reached: dict[tuple[str, str], tuple[Pool, bool]] = {}

    def turn(self) -> int:
        """Begin to ask about slots whose wait ends within `ahead_s`, the next first; return how many.

        To be called once a second, before leases are expired.
        """
        now = self._clock.monotonic()
        self._looked_at = {each for each in self._looked_at if each.due > now}
        room = self._prober.room()
        if room == 0:
            return 0
        before = now + self._prober.options.ahead_s
        lists = [
            self._soon(shelf, first, now, before)
            for key, shelf in self._register.shelves.items()
            for first in ripening(shelf.allocator, before)
            if self._is_reached(key, shelf)
        ]
        slots = list(islice(merge(*lists), room))
        for slot in slots:
            self._looked_at.add(slot)
            self._spawn(self._look(slot), "address-probe")
        return len(slots)

    def _is_reached(self, key: tuple[str, str], shelf: Shelf) -> bool:
        known = self._reached.get(key)
        if known is None or known[0] is not shelf.pool:
            known = self._reached[key] = shelf.pool, _reaches(self._prober, shelf.pool)
        return known[1]

    def _soon(self, shelf: Shelf, first: int, now: float, before: float) -> Iterator[_Slot]:
        """Yield the slots from `first` on that are free to all after this wait and were not looked at in it."""
        allocator, pool = shelf.allocator, shelf.pool
        for cell in from_there(allocator, first, before):
            due = allocator.due[cell]
            if due > now and _is_last_wait(allocator, cell):
                slot = _Slot(due, pool.tenant, pool.name, cell, allocator.slots[cell])
                if slot not in self._looked_at:
                    yield slot

    async def _look(self, slot: _Slot) -> None:
        shelf = self._register.shelves.get((slot.tenant, slot.pool))
        if shelf is None or not _still_waits(shelf, slot):
            return
        pool, unit = shelf.pool, shelf.unit(slot.cell)
        outcome = await self._prober.check(pool.tenant, pool.vrf, unit, lambda: _still_waits(shelf, slot))
        if isinstance(outcome, InUse) and self._register.shelves.get((slot.tenant, slot.pool)) is shelf:
            found = self._keep(shelf, slot, unit, outcome)
            if found is not None:
                self._tell(found)

    def _keep(self, shelf: Shelf, slot: _Slot, unit: Unit, seen: InUse) -> Found | None:
        """Keep a slot from everybody; None where it is leased again, or waits for something else."""
        allocator, cell = shelf.allocator, slot.cell
        now, at = self._clock.monotonic(), self._clock.wall()
        state = allocator.states[cell]
        has_ripened = state in (FREE, RESERVED) and allocator.slots[cell] == slot.number
        if not has_ripened and not _still_waits(shelf, slot):
            return None
        pool = shelf.pool
        tenure = shelf.tenures.get(cell)
        owner = shelf.owner_of(cell)
        stranger = seen.mac or _BEHIND
        serial, kept_for = 0, ""
        if not has_ripened and tenure is not None and canonical_mac(tenure.party.mac) == (seen.mac or None):
            postpone(allocator, cell, now)
            kept_for = owner
        elif allocator.marks[cell] & SHUN:
            allocator.shun(cell, state, now)
            serial = self._register.record(shelf, cell, state, Cause.CONFLICT, at, seen=stranger)
        else:
            serial = self._steward.conflict(pool.tenant, pool.vrf, unit, stranger, now, at).serial
        return Found(
            tenant=pool.tenant,
            vrf=pool.vrf,
            pool=pool.name,
            unit=unit,
            state=STATES[state],
            last_owner=owner,
            mac=seen.mac,
            method=seen.method,
            kept_for=kept_for,
            serial=serial,
        )


def _reaches(prober: Prober, pool: Pool) -> bool:
    if pool.kind not in _KINDS:
        return False
    reaches = [
        each for each in prober.options.reaches if each.vrf == pool.vrf and each.tenant in ("", pool.tenant)
    ]
    if pool.kind is Kind.FIXED:  # single units, of which each is asked where it is
        return bool(reaches)
    version = 4 if pool.kind is Kind.V4 else 6
    return any(
        net.version == version
        and int(net.network_address) <= part.first + part.slots - 1
        and part.first <= int(net.broadcast_address)
        for each in reaches
        for net in each.prefixes
        for part in pool.ranges
    )


def _still_waits(shelf: Shelf, slot: _Slot) -> bool:
    allocator = shelf.allocator
    return (
        allocator.slots[slot.cell] == slot.number
        and HELD <= allocator.states[slot.cell] <= DECLINED
        and allocator.due[slot.cell] == slot.due
    )


def _is_last_wait(allocator: Allocator, cell: int) -> bool:
    """Tell whether a slot may be given out after this wait: not if quarantine follows, or it is taken out."""
    if allocator.marks[cell] & OUT or allocator.segment_of(cell).bars(allocator.slots[cell]):
        return False
    return allocator.states[cell] != HELD or allocator.reuse_s <= allocator.hold_s


# --- what an allocator should say and do itself --------------------------------------------------


def ripening(allocator: Allocator, before: float) -> list[int]:
    """Return the first cell of each list of waiting cells where its wait is over before that time."""
    after, due = allocator._next, allocator.due  # noqa: SLF001
    return [
        after[head]
        for head in (HELD_HEAD, QUARANTINED_HEAD, SHUNNED_HEAD)
        if after[head] != head and due[after[head]] <= before
    ]


def from_there(allocator: Allocator, cell: int, before: float) -> Iterator[int]:
    """Yield a waiting cell and those behind it in its list whose wait is over before that time, the next first."""
    after, due = allocator._next, allocator.due  # noqa: SLF001
    while cell > SHUNNED_HEAD and due[cell] <= before:
        yield cell
        cell = after[cell]


def postpone(allocator: Allocator, cell: int, now: float) -> None:
    """Let a cell that is held or in quarantine wait once more as long, for the same owner."""
    state = allocator.states[cell]
    allocator._unlink(cell)  # noqa: SLF001
    if state == HELD:
        allocator._wait(cell, HELD, HELD_HEAD, now + allocator.hold_s)  # noqa: SLF001
    else:
        assert state == QUARANTINED
        allocator._wait(cell, QUARANTINED, QUARANTINED_HEAD, now + allocator.reuse_s)  # noqa: SLF001
