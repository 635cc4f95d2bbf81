"""Fixed addresses that are slots of pools, kept for the subscribers to whom the data give them.

What is kept is derived: from the data, and from leases that began before there was a pool. So there is no row for it
beside that of the slot; each look at the data makes the book agree with them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice

from daemon.leases.definitions_check import fixed_inside
from daemon.leases.definitions_desk import Desk
from daemon.leases.definitions_reservations import Reservations
from daemon.replica.claims import fixed_of
from ipam.address import Unit
from ipam.history import NOBODY, clean
from ipam.kinds import FREE, RESERVED, Cause, Kind, Space
from ipam.model import Pool, Problem, Range, space_of, span_of
from ipam.shelf import Shelf, Tenure, exact_key, plain_owner

_SLICE = 100  # steps between two looks at what else is to be done
_MOST_WAITING = 500  # changes that may wait to be stored: a batch of them holds up the loop
_MOST_PROBLEMS = 100
_TRIED_AGAIN = 500
_LINGERING_MOST = 500
_IP = (Space.IPV4, Space.IPV6)

Who = tuple[str, str]
"""Tenant and id of a subscriber."""

Place = tuple[str, Unit]
"""VRF and unit."""


class ClaimKeeper:
    """What of the pools is kept for subscribers. `problems` are claims that cannot be kept, as sentences."""

    def __init__(self, desk: Desk, reservations: Reservations) -> None:
        self._desk = desk
        self._reservations = reservations
        self.kept: dict[Who, tuple[Place, ...]] = {}
        self._lingering: dict[tuple[str, str, Unit], str] = {}  # fixed leases from before the pool
        self.problems: dict[tuple[Who, Unit], Problem] = {}
        self._troubled: set[Who] = set()  # with problems, told or not
        self._steps = 0

    def __len__(self) -> int:
        """Return for how many subscribers something is kept."""
        return len(self.kept)

    # --- what has changed ------------------------------------------------------------------------

    async def changed(self, subscribers: Iterable[Who]) -> None:
        """Take over what the data say of some subscribers now. Raises StoreUnavailable."""
        some = list(subscribers)
        for who in some:  # first what is given up: it may be another's now
            await self._step()
            now = self._wanted(who)
            for place in self.kept.get(who, ()):
                if place not in now:
                    self._give_up(who[0], *place, who[1])
            self.kept.pop(who, None)
            self._troubled.discard(who)
            for key in [key for key in self.problems if key[0] == who] if self.problems else ():
                del self.problems[key]
        for who in some:
            await self._step()
            self._keep_all(who, self._wanted(who))

    async def whole(self) -> None:
        """Compare everything: what is kept without a claim is given up, each claim is kept. Raises StoreUnavailable."""
        self.problems.clear()
        self._troubled.clear()
        register = self._desk.addresses.register
        for shelf in list(register.shelves.values()):
            for cell in list(shelf.allocator.reserved_for):
                await self._step()
                key = shelf.allocator.reserved_for.get(cell)
                if key is not None:
                    self._look(shelf, cell, plain_owner(key))
        for who in list(self.kept):
            await self._step()
            now = self._wanted(who)
            self._note(who, dict.fromkeys(place for place in self.kept.get(who, ()) if place in now))
        for shelf in list(register.shelves.values()):
            if shelf.pool.kind is not Kind.FIXED:
                await self.moved(shelf.pool, shelf.pool.ranges)

    async def moved(self, pool: Pool, parts: tuple[Range, ...]) -> None:
        """A pool has got ranges, or lost them: keep what is a subscriber's own there. Raises StoreUnavailable."""
        tenant = self._desk.index.tenants.get(pool.tenant)
        for part in parts if space_of(pool) in _IP else ():
            for unit, owner in fixed_inside(self._desk.addresses.register, pool, part):
                if owner and self._keep(pool.tenant, pool.vrf, unit, owner) is None:
                    self._lingering[pool.tenant, pool.vrf, unit] = owner
            if tenant is None:
                continue
            first, last = span_of(pool, part)
            for unit, owner in tenant.claims.overlapping(pool.vrf, space_of(pool), first, last):
                await self._step()
                if unit.length == pool.unit_length:
                    self._keep_all((pool.tenant, owner), ((pool.vrf, unit),))

    def turn(self) -> None:
        """Let go of what was kept for a fixed lease from before the pool, once that has ended."""
        for key in list(self._lingering)[:_LINGERING_MOST]:
            tenant, vrf, unit = key
            owner = self._lingering.pop(key)
            if self._lingers(tenant, vrf, unit, owner):
                self._lingering[key] = owner  # to the end of the queue
            elif not self._has(tenant, vrf, unit, owner):
                self._give_up(tenant, vrf, unit, owner)

    async def _step(self) -> None:
        """Let others come in between, and the store keep up."""
        self._steps += 1
        if self._steps % _SLICE:
            return
        ledger, lessor = self._desk.addresses.register.ledger, self._desk.addresses.lessor
        if ledger.waiting > _MOST_WAITING and self._serial:
            await lessor.stored(self._serial)
        await asyncio.sleep(0)

    _serial = 0

    # --- what is wanted --------------------------------------------------------------------------

    def _wanted(self, who: Who) -> tuple[Place, ...]:
        tenant = self._desk.index.tenants.get(who[0])
        subscriber = None if tenant is None else tenant.subscribers.get(who[1])
        if tenant is None or subscriber is None or not subscriber.personal:
            return ()
        vrf = tenant.vrf_of(subscriber)
        return tuple((vrf, each.unit) for each in fixed_of(subscriber))

    def _has(self, tenant: str, vrf: str, unit: Unit, owner: str) -> bool:
        """Tell whether the data give a unit to an owner."""
        known = self._desk.index.tenants.get(tenant)
        return known is not None and any(
            other == unit and clean(each) == owner
            for other, each in known.claims.overlapping(vrf, unit.space, unit.value, unit.last)
        )

    def _lingers(self, tenant: str, vrf: str, unit: Unit, owner: str) -> bool:
        """Tell whether a lease from before the pool goes on."""
        register = self._desk.addresses.register
        fixed = register.find(tenant, register.fixed_name(vrf))
        slot = -1 if fixed is None else fixed.slot_of(unit)
        if fixed is None or slot < 0:
            return False
        cell = fixed.allocator.cell_at(slot)
        return cell >= 0 and fixed.allocator.states[cell] != FREE and fixed.owner_of(cell) == owner

    def _look(self, shelf: Shelf, cell: int, owner: str) -> None:
        """Give up what is kept in a cell, unless somebody still wants it so."""
        unit = shelf.unit(cell)
        tenant, vrf = shelf.pool.tenant, shelf.pool.vrf
        if shelf.pool.kind is Kind.FIXED or unit.space not in _IP or self._reserved(tenant, vrf, unit, owner):
            return
        if self._has(tenant, vrf, unit, owner):
            return
        if self._lingers(tenant, vrf, unit, owner):
            self._lingering[tenant, vrf, unit] = owner
        else:
            self._give_up(tenant, vrf, unit, owner)

    def _reserved(self, tenant: str, vrf: str, unit: Unit, owner: str) -> bool:
        row = self._reservations.find(tenant, vrf, unit)
        return row is not None and clean(row.owner) == owner

    # --- the register ----------------------------------------------------------------------------

    def _keep_all(self, who: Who, wanted: Iterable[Place]) -> None:
        places = dict.fromkeys(self.kept.get(who, ()))
        for vrf, unit in wanted:
            problem = self._keep(who[0], vrf, unit, clean(who[1]))
            if problem is None:
                places[vrf, unit] = None
            elif problem is not _NO_SLOT:
                self._troubled.add(who)
                if len(self.problems) < _MOST_PROBLEMS:
                    self.problems[who, unit] = problem
        self._note(who, places)

    def _note(self, who: Who, places: dict[Place, None]) -> None:
        if places:
            self.kept[who] = tuple(places)
        else:
            self.kept.pop(who, None)

    def _keep(self, tenant: str, vrf: str, unit: Unit, owner: str) -> Problem | None:
        """Keep a unit that is a slot of a pool; return why not, None where it is kept."""
        addresses = self._desk.addresses
        found = _pooled(addresses.register.locate(tenant, vrf, unit))
        if found is None:
            return self._cut(tenant, vrf, unit, owner)
        shelf, slot = found
        allocator = shelf.allocator
        cell = allocator.carve(slot)
        if cell < 0:  # in a block of another node, which keeps it
            return _NO_SLOT
        known = allocator.reserved_for.get(cell)
        key = exact_key(owner, unit)
        if known == key:
            return None
        if known is not None:
            text = (
                f"{unit} of pool {shelf.pool.name} is given to subscriber {owner} by the data, and reserved "
                f"for {plain_owner(known)}: delete the reservation, or change the subscriber on the platform"
            )
            return Problem(slug="claim-reserved", names=(owner, plain_owner(known)), text=text)
        old = allocator.states[cell]
        if allocator.reserve(cell, key) != old:
            self._serial = addresses.register.record(
                shelf, cell, old, Cause.RESERVATION, addresses.clock.wall()
            )
            shelf.tenures.pop(cell, None)
        return None

    def _cut(self, tenant: str, vrf: str, unit: Unit, owner: str) -> Problem:
        """Return that a unit cuts into a pool, so that its owner would be refused; `_NO_SLOT` where it does not."""
        register = self._desk.addresses.register
        if register.is_outside(tenant, vrf, unit):
            return _NO_SLOT
        names = ", ".join(dict.fromkeys(each.pool.name for each in self._touching(tenant, vrf, unit)))
        text = (
            f"{unit}, which the data give to subscriber {owner}, cuts into pool {names or '(unknown)'}, and is not one "
            f"unit of it: `pool exclude` it there, or change the subscriber on the platform"
        )
        return Problem(slug="claim-cuts-pool", names=(owner, names), text=text)

    def _touching(self, tenant: str, vrf: str, unit: Unit) -> Iterator[Shelf]:
        for shelf in self._desk.addresses.register.shelves.values():
            pool = shelf.pool
            if (pool.tenant, pool.vrf) == (tenant, vrf) and pool.kind is not Kind.FIXED:
                spans = [span_of(pool, part) for part in pool.ranges if space_of(pool) is unit.space]
                if any(first <= unit.last and unit.value <= last for first, last in spans):
                    yield shelf

    def _give_up(self, tenant: str, vrf: str, unit: Unit, owner: str) -> None:
        """Keep a unit for a subscriber no longer; a lease of it goes on."""
        addresses = self._desk.addresses
        owner = clean(owner)
        found = _pooled(addresses.register.locate(tenant, vrf, unit))
        if found is None or self._reserved(tenant, vrf, unit, owner):
            return
        shelf, slot = found
        cell = shelf.allocator.cell_at(slot)
        if cell < 0 or shelf.allocator.reserved_for.get(cell) != exact_key(owner, unit):
            return
        at, old = addresses.clock.wall(), shelf.allocator.states[cell]
        shelf.allocator.unreserve(cell, addresses.clock.monotonic())
        if old == RESERVED:
            tenure = Tenure(0, unit, owner, NOBODY, at)  # whose it was, for the event
            self._serial = addresses.register.record(shelf, cell, old, Cause.RESERVATION_ENDED, at, tenure)

    def some_troubled(self, most: int = _TRIED_AGAIN) -> set[Who]:
        """Return some of those for whom something cannot be kept, to be looked at again."""
        return set(islice(self._troubled, most))

    def listed(self) -> Iterator[tuple[Who, Place]]:
        """Yield what is kept for whom, for a list; a snapshot."""
        for who, places in list(self.kept.items()):
            for place in places:
                yield who, place


_NO_SLOT = Problem(slug="no-slot", names=(), text="")


def _pooled(place: tuple[Shelf, int] | None) -> tuple[Shelf, int] | None:
    """Return the place of a unit if that is in a pool."""
    return None if place is None or place[0].pool.kind is Kind.FIXED else place
