"""Leases of an address book as they come: whose each is, whether it may be one here, and put into the book.

A lease that has not run out is one here, tentative until accounting reports its session. One that has run out is kept
for its owner as this daemon keeps what it has leased itself: held for a while, and found again after that.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from daemon.leases.addresses import Addresses
from daemon.leases.import_model import Plan, PoolPlan
from daemon.leases.import_owners import Owners, Who
from daemon.replica.claims import Claims
from daemon.replica.index import TenantIndex
from ipam.history import Party, clean, clean_party
from ipam.imports.wire import Item
from ipam.kinds import BOUND, FREE, HELD, QUARANTINED, STATES, TENTATIVE, Cause
from ipam.layout import NO_SLOT
from ipam.shelf import Shelf, Tenure, exact_key

_GONE = -1  # instead of the slot of a lease that a later one of the same owner has replaced
_TABLES = 64
_LONGEST_S = 30 * 86_400.0


class Gathering:
    """The leases of one import as they are read; the pools are settled by now."""

    def __init__(self, plan: Plan, tenant: TenantIndex, reserved: Claims, owners: Owners, at: float) -> None:
        """`reserved` are the operators' reservations; `at` is now, epoch s."""
        self._plan = plan
        self._tenant = tenant
        self._reserved = reserved
        self._owners = owners
        self._at = at
        # Pool and owner: which of its leases is the last. Several tables, since growing a big one takes long.
        self._last: list[dict[tuple[str, str], int]] = [{} for _ in range(_TABLES)]
        self._aside = {(each.vrf, each.unit): each.owner for each in plan.reservations}

    def add(self, item: Item, pool: PoolPlan) -> None:
        """Take one row up: to be made, there already, or in the way."""
        assert pool.layout is not None
        slot = pool.layout.slot(item.unit.value)
        if slot == NO_SLOT or item.unit.length != pool.unit_length:
            expected = f"a /{pool.unit_length} of pool {pool.name}"
            self._plan.problems.add(item.finding("block", expected))
            return
        who = self._owners.find(item)
        if who is None:
            self._plan.problems.add(item.finding("subscriber", "the id of a subscriber of this tenant"))
            return
        if not item.get("owner") and who.subscriber is None:
            self._plan.problems.add(item.finding("owner", "whose it is"))
        elif not self._is_promised(item, pool, who) and self._may_be(item, pool, slot, who):
            self._take(item, pool, slot, who)

    def _take(self, item: Item, pool: PoolPlan, slot: int, who: Who) -> None:
        owner = clean(who.key)
        if who.subscriber is None:
            remedy = f"kept for {owner}; load the subscriber, or name it under `owners` of --map"
            self._plan.notes.add(item.finding("owner", "a subscriber", remedy))
        elif self._tenant.vrf_of(who.subscriber) != pool.vrf:
            vrf = self._tenant.vrf_of(who.subscriber) or "default"
            expected = f"VRF {vrf}, in which the data have subscriber {who.subscriber.id}"
            remedy = "its sessions will not be known by it: say --vrf, or name the pool's VRF with --map"
            self._plan.notes.add(item.finding("vrf", expected, remedy, pool.vrf or "default"))
        live = item.until > self._at
        leases = pool.leases
        key = pool.name, owner
        table = self._last[hash(key) % _TABLES]
        before = table.get(key)
        if before is not None and leases.untils[before] <= self._at:
            leases.slots[before] = _GONE  # it had that one earlier, and is given its last one again
        if live or before is None or leases.slots[before] == _GONE:
            table[key] = len(leases)
            leases.add(slot, owner, item.until, clean_party(who.party))

    # --- what is here already --------------------------------------------------------------------

    def _is_promised(self, item: Item, pool: PoolPlan, who: Who) -> bool:
        """Tell whether a unit is somebody's own, whoever that is, so that no lease is made of it."""
        unit, vrf = item.unit, pool.vrf
        if pool.is_excluded(unit.value, unit.last):
            self._refuse(item, who, "excluded from the pool")
            return True
        mine = "" if who.subscriber is None else who.subscriber.id
        span = vrf, unit.space, unit.value, unit.last
        owners = [
            *((owner, "by the data") for _, owner in self._tenant.claims.overlapping(*span)),
            *((owner, "reserved") for _, owner in self._reserved.overlapping(*span)),
        ]
        aside = self._aside.get((vrf, unit))
        if aside is not None:
            owners.append((aside, "reserved by another row"))
        for owner, how in owners:
            if owner == mine:
                self._plan.same("leases")
            else:
                self._refuse(item, who, f"{how}, for {owner}")
            return True
        return False

    def _may_be(self, item: Item, pool: PoolPlan, slot: int, who: Who) -> bool:
        """Tell whether a slot has no owner here yet."""
        cell = -1 if pool.shelf is None else pool.shelf.allocator.cell_at(slot)
        if pool.shelf is None or cell < 0:
            return True
        state, owner = pool.shelf.allocator.states[cell], pool.shelf.owner_of(cell)
        if owner == clean(who.key) or (owner and _is_of(pool.shelf, cell, who)):
            self._plan.same("leases")
            return False
        if state == FREE and (not owner or item.until > self._at):
            return True
        self._refuse(item, who, f"{STATES[state]} here" + (f" for {owner}" if owner else ""))
        return False

    def _refuse(self, item: Item, who: Who, got: str) -> None:
        """A lease that goes on stands in the way of the import; what is over does not count against what is here."""
        named = f"{item.unit} of {item.get('owner') or who.key} is {got}"
        if item.until > self._at:
            remedy = "end one of the two leases, or take the row out"
            self._plan.problems.add(item.finding("block", "an address that is free here", remedy, named))
        else:
            remedy = "its lease there is over, so what is here stays"
            self._plan.notes.add(item.finding("block", "an address that is free here", remedy, named))


def _is_of(shelf: Shelf, cell: int, who: Who) -> bool:
    """Tell whether a lease is the subscriber's by another key, such as that of another login."""
    tenure = shelf.tenures.get(cell)
    return tenure is not None and who.subscriber is not None and tenure.party.subscriber == who.subscriber.id


class Placed(Enum):
    """What has become of one lease."""

    LIVE = auto()
    KEPT = auto()
    SAME = auto()
    TAKEN = auto()  # somebody else has got it meanwhile
    REPLACED = auto()  # a later one of the same owner counts


class Placer:
    """Puts the leases of one pool into the book."""

    def __init__(self, addresses: Addresses[Any], pool: PoolPlan, shelf: Shelf) -> None:
        self._addresses = addresses
        self._leases = pool.leases
        self._shelf = shelf
        self.serial = 0  # of the last change

    def place(self, index: int) -> Placed:
        """Put one lease into the book."""
        leases, shelf = self._leases, self._shelf
        slot, owner = leases.slots[index], leases.owners[index]
        if slot == _GONE:
            return Placed.REPLACED
        allocator = shelf.allocator
        cell = allocator.carve(slot)
        if cell < 0 or allocator.states[cell] != FREE or cell in allocator.reserved_for:
            same = cell >= 0 and shelf.owner_of(cell) == owner
            return Placed.SAME if same else Placed.TAKEN
        now, at = self._addresses.clock.monotonic(), self._addresses.clock.wall()
        until = leases.untils[index]
        if until > at:
            self._lease(cell, owner, leases.parties[index], now, at, until)
            return Placed.LIVE
        has = allocator.by_owner.get(owner, -1)
        if allocator.owners[cell] or not allocator.sticky or has >= 0:
            return Placed.SAME if has == cell else Placed.TAKEN
        self._keep(cell, owner, leases.parties[index], now, at, until)
        return Placed.KEPT

    def _lease(self, cell: int, owner: str, party: Party, now: float, at: float, until: float) -> None:
        """It goes on until its time is over, or as long as the session that accounting will report."""
        shelf, book = self._shelf, self._addresses.book
        register, allocator = book.register, shelf.allocator
        unit = shelf.unit(cell)
        other = allocator.by_owner.get(owner, cell)
        has_another = other != cell and TENTATIVE <= allocator.states[other] <= BOUND
        allocator.claim(cell, exact_key(owner, unit) if has_another else owner)
        tenure = Tenure(register.new_id(), unit, owner, party, at)
        shelf.tenures[cell] = tenure
        live = book.adopt(register.new_id(), (shelf.pool.tenant, owner), [(shelf, cell, tenure)], "", now)
        live.due = max(live.due, now + min(until - at, _LONGEST_S))
        tenure.bundle_id = live.id
        live.serial = tenure.serial = register.record(shelf, cell, FREE, Cause.OPERATOR, at)
        self.serial = live.serial

    def _keep(self, cell: int, owner: str, party: Party, now: float, at: float, until: float) -> None:
        """It is over: kept for its owner, and from others as after a lease of ours, if that is not long ago."""
        shelf, register = self._shelf, self._addresses.register
        allocator = shelf.allocator
        tenure = Tenure(register.new_id(), shelf.unit(cell), owner, party, at)
        if until + shelf.pool.reuse_s > at:
            allocator.claim(cell, owner)
            if HELD <= allocator.end(cell, now) <= QUARANTINED:
                shelf.tenures[cell] = tenure
        else:
            allocator.put_back(cell, owner, FREE, allocator.marks[cell], now)
        self.serial = register.record(shelf, cell, FREE, Cause.OPERATOR, at, tenure)
