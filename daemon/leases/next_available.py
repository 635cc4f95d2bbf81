"""The next free addresses of a pool, for provisioning: reserved, or leased tentatively for a while.

What is taken carries the name of the request, which a repeat has as well: then the same is found, never another.
Looking for a slot and taking it is one step, with nothing in between, as for a login.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.leases.addresses import Addresses
from daemon.store import idempotency_rows
from ipam.address import Unit
from ipam.cells import NONE
from ipam.choose import ripen_one
from ipam.definition_rows import load_reservations
from ipam.history import Party, clean
from ipam.kinds import BOUND, FREE, TENTATIVE, Cause, Kind, PoolState, Shortage
from ipam.lease import Bundle, Conflict, Exhausted, Request, Wanted
from ipam.model import Problem, Reservation
from ipam.shelf import Shelf

MOST = 100
"""How many can be asked for at once."""
LONGEST_S = 86_400.0
"""How long a tentative lease can be held, as long as the answer is kept."""
WHAT = "next-available"
"""The kind of request that answers are kept for."""

_RIPEN_MOST = 4


class Reservations(Protocol):
    """Where reservations are kept, as `definitions_reservations.Reservations` has it."""

    async def reserve(self, reservation: Reservation) -> Reservation | tuple[Problem, ...]:
        """Check and store one, or say why not. Raises StoreUnavailable."""

    async def unreserve(self, tenant: str, vrf: str, unit: Unit) -> Reservation | tuple[Problem, ...]:
        """Give one up. Raises StoreUnavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for: `count` units of a pool for an owner. `name` is made for this request alone."""

    tenant: str
    pool: str
    owner: str
    count: int
    name: str

    def owners(self) -> tuple[str, ...]:
        """Return by whom each reservation is: the owner itself for one, numbered for several."""
        owner = clean(self.owner)
        return (owner,) if self.count == 1 else tuple(f"{owner}/{number + 1}" for number in range(self.count))


@dataclass(frozen=True, slots=True)
class Given:
    """One unit. Of a tentative lease: its ids and until when it is held, epoch seconds; of a reservation none."""

    unit: Unit
    owner: str
    lease_id: int = 0
    bundle_id: int = 0
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Why nothing was given: a sentence for people."""

    text: str


class NextAvailable:
    """Gives out what is free."""

    def __init__(self, addresses: Addresses[Any], reservations: Reservations) -> None:
        self._addresses = addresses
        self._reservations = reservations

    # --- tentative leases ------------------------------------------------------------------------

    async def lease(self, wish: Wish, seconds: float) -> tuple[Given, ...] | Exhausted:
        """Lease tentatively for that long, at least the pool's tentative time, and return once that is on disk.

        Raises StoreUnavailable; then a repeat gets the same. A start in between is made good by `resume`.
        """
        taken = self._take(wish)
        if isinstance(taken, Exhausted):
            return taken
        addresses = self._addresses
        shelf = addresses.register.shelves[wish.tenant, wish.pool]
        seconds = max(seconds, shelf.pool.tentative_s)
        for bundle in taken:
            self._hold(bundle.id, seconds)
        until = addresses.clock.wall() + seconds
        await addresses.lessor.stored(max(bundle.serial for bundle in taken))
        return tuple(
            Given(lease.unit, bundle.owner, lease.lease_id, bundle.id, until)
            for bundle in taken
            for lease in bundle.leases
        )

    def _take(self, wish: Wish) -> list[Bundle] | Exhausted:
        addresses = self._addresses
        now, at = addresses.clock.monotonic(), addresses.clock.wall()
        shelf = addresses.register.find(wish.tenant, wish.pool)
        kind = Kind.V4 if shelf is None else shelf.pool.kind
        owners = [f"{wish.owner}/{wish.name}-{number}" for number in range(wish.count)]
        if shelf is not None and self._lacks(shelf, owners):
            return _short(shelf, now, at)
        party = Party(subscriber=wish.owner)
        asked = Request(tenant=wish.tenant, wanted=(Wanted(kind, (wish.pool,)),), party=party)
        taken: list[Bundle] = []
        for owner in owners:
            got = addresses.book.take(owner, asked, now, at)
            fallback = isinstance(got, Bundle) and got.leases[0].pool != wish.pool
            if isinstance(got, Bundle):
                taken.append(got)
            if fallback or not isinstance(got, Bundle):
                for each in taken:
                    addresses.book.release(each.id, Cause.REFUSED, now, at)
                return got if isinstance(got, Exhausted) else Exhausted(Shortage.EXHAUSTED, kind, wish.pool)
        return taken

    def _lacks(self, shelf: Shelf, owners: list[str]) -> bool:
        """Tell whether there are too few; seen before any is taken, since what is given back waits for a while."""
        new = sum(not self._addresses.book.bundles_of(shelf.pool.tenant, owner) for owner in owners)
        return new > shelf.allocator.counts[FREE]

    def _hold(self, bundle_id: int, seconds: float) -> None:
        live = self._addresses.book.find(bundle_id)
        if live is not None and not live.session:
            live.due = max(live.due, self._addresses.clock.monotonic() + seconds)

    async def resume(self, engine: AsyncEngine) -> int:
        """After a start: hold what was promised for as long as it was; return how many leases that are.

        `engine` is of the edge's own store, where the answers are. To be called after `Addresses.restore`.
        """
        at = self._addresses.clock.wall()
        async with engine.connect() as connection:
            bodies = await idempotency_rows.answers(connection, WHAT, at - LONGEST_S)
        held = 0
        for body in bodies:
            for item in json.loads(body).get("items", ()):
                if item["expires_at"] is not None and item["expires_at"] > at:
                    self._hold(int(item["bundle_id"]), item["expires_at"] - at)
                    held += 1
        return held

    # --- reservations ----------------------------------------------------------------------------

    async def reserve(self, wish: Wish, *, again: bool) -> tuple[Given, ...] | Exhausted | Refused:
        """Reserve free units and return once that is on disk; several are for the owner's name with a number each.

        `again`: an earlier try may have reserved some. Raises StoreUnavailable; then what is on disk already stays,
        and a repeat gets the same.
        """
        earlier = await self._earlier(wish) if again else {}
        pinned = self._pin(wish, earlier)
        if not isinstance(pinned, _Pinned):
            return pinned
        waiting = list(pinned.reservations)
        while waiting:
            try:
                refusal = await self._reservations.reserve(waiting[0])
            except BaseException:
                self._unpin([each for each in waiting if each in pinned.new])
                raise
            if not isinstance(refusal, Reservation):
                self._unpin([each for each in waiting if each in pinned.new])
                for each in pinned.reservations[: -len(waiting)]:
                    await self._reservations.unreserve(each.tenant, each.vrf, each.unit)
                return Refused("; ".join(each.text for each in refusal))
            del waiting[0]
        if lost := self._lost(pinned):
            for each in pinned.reservations:
                await self._reservations.unreserve(each.tenant, each.vrf, each.unit)
            return Refused(f"{lost[0].unit} was taken meanwhile; ask again with a new key")
        await self._addresses.lessor.stored(pinned.serial)
        return tuple(Given(each.unit, each.owner) for each in pinned.reservations)

    def _pin(self, wish: Wish, earlier: dict[str, Unit]) -> _Pinned | Exhausted | Refused:
        """Reserve in memory, so that nobody can come between; nothing is told before it is stored."""
        addresses = self._addresses
        now, at = addresses.clock.monotonic(), addresses.clock.wall()
        shelf = addresses.register.find(wish.tenant, wish.pool)
        if shelf is None:
            return Exhausted(Shortage.UNKNOWN_POOL, Kind.V4, wish.pool)
        owners, label = wish.owners(), label_of(wish.name)
        new: list[Reservation] = []
        every: list[Reservation] = []
        last = 0
        missing = len(owners) - len(earlier)
        if missing > shelf.allocator.counts[FREE]:
            return _short(shelf, now, at)
        for owner in owners:
            known = owner in earlier
            unit = earlier[owner] if known else self._free_unit(shelf, now, at)
            if unit is None:
                self._unpin(new)
                return _short(shelf, now, at)
            made = Reservation(tenant=wish.tenant, vrf=shelf.pool.vrf, unit=unit, owner=owner, name=label)
            serial = addresses.steward.reserve(made, at)
            if isinstance(serial, Conflict):
                self._unpin(new)
                return Refused(f"{owner} has a reservation already: {serial.unit}; give that up first")
            last = max(last, serial)
            every.append(made)
            if not known:
                new.append(made)
        return _Pinned(tuple(every), tuple(new), last)

    def _free_unit(self, shelf: Shelf, now: float, at: float) -> Unit | None:
        allocator = shelf.allocator
        for _ in range(_RIPEN_MOST):
            cell = allocator.pick_new()
            if cell != NONE:
                return shelf.unit(cell if cell >= 0 else allocator.open_fresh())
            if not ripen_one(self._addresses.register, shelf, now, at):
                break
        return None

    def _unpin(self, reservations: Iterable[Reservation]) -> None:
        clock = self._addresses.clock
        for each in reservations:
            self._addresses.steward.unreserve(each, clock.monotonic(), clock.wall())

    async def _earlier(self, wish: Wish) -> dict[str, Unit]:
        """Return what an earlier try has reserved, by owner.

        What it had not stored yet was given up at the start, as everything is that is set aside for no reason.
        """
        async with self._addresses.engine.connect() as connection:
            stored = await load_reservations(connection)
        mine = (wish.tenant, label_of(wish.name))
        return {each.owner: each.unit for each in stored if (each.tenant, each.name) == mine}

    def _lost(self, pinned: _Pinned) -> list[Reservation]:
        """Return what somebody else has after all: definitions converged with the data between pin and row."""
        found: list[Reservation] = []
        for each in pinned.reservations:
            place = self._addresses.register.locate(each.tenant, each.vrf, each.unit)
            cell = NONE if place is None else place[0].allocator.cell_at(place[1])
            if place is None or cell == NONE:
                found.append(each)
                continue
            shelf, state = place[0], place[0].allocator.states[cell]
            if TENTATIVE <= state <= BOUND and shelf.owner_of(cell) != each.owner:
                found.append(each)
        return found


@dataclass(frozen=True, slots=True)
class _Pinned:
    """Reservations in memory: all of them, those that this try has made, and the serial to wait for."""

    reservations: tuple[Reservation, ...]
    new: tuple[Reservation, ...]
    serial: int


def label_of(name: str) -> str:
    """Return what the reservations of a request are called."""
    return f"{WHAT} {name}"


def _short(shelf: Shelf, now: float, at: float) -> Exhausted:
    pool, due = shelf.pool, shelf.allocator.next_due()
    reason = Shortage.EXHAUSTED if due is None else Shortage.WAITING
    if pool.state is not PoolState.ACTIVE:
        reason = Shortage.DRAINING if pool.state is PoolState.DRAINING else Shortage.DISABLED
    return Exhausted(reason, pool.kind, pool.name, None if due is None else at + max(due - now, 0.0))
