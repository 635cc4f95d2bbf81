"""What operators, subscribers' devices and accounting reports do to single slots, beside logins.

Each function returns the serial to wait for, or a value that says why nothing was done.
"""

from __future__ import annotations

from ipam.address import Unit
from ipam.allocator import OUT, SHUN
from ipam.book import Book
from ipam.cells import NONE
from ipam.choose import choose_exactly, kind_of
from ipam.history import NOBODY, Party, clean, clean_party
from ipam.kinds import BOUND, DECLINED, DISABLED, QUARANTINED, RESERVED, TENTATIVE, Cause, Kind, LeaseState
from ipam.lease import Conflict, Observation, Origin, Sighting
from ipam.model import Reservation
from ipam.register import Register
from ipam.shelf import Shelf, Tenure, exact_key, plain_owner


class Steward:
    """Single slots of the register, with the book's bundles that they are in."""

    def __init__(self, register: Register, book: Book) -> None:
        self.register = register
        self.book = book

    # --- reservations ----------------------------------------------------------------------------

    def reserve(self, reservation: Reservation, at: float) -> int | Conflict:
        """Set a unit aside, at once or when the lease and quarantine of another are over.

        The owner gets it at every login that wants this kind, whatever pool is named. The same reservation again
        changes nothing. A Conflict says for whom it is reserved, or that it is no whole unit of a pool.
        """
        register = self.register
        owner = clean(reservation.owner)
        tenant, unit = reservation.tenant, reservation.unit
        place = register.place(tenant, reservation.vrf, unit)
        cell = NONE if place is None else place[0].allocator.carve(place[1])
        if place is None or cell == NONE:
            return Conflict(unit, "" if place is None else place[0].pool.name, LeaseState.DISABLED, "")
        shelf, allocator = place[0], place[0].allocator
        key = exact_key(owner, unit)
        aside = (tenant, owner, _kind_at(shelf, unit))
        known = allocator.reserved_for.get(cell)
        if known is not None and known != key:
            return Conflict(unit, shelf.pool.name, LeaseState.RESERVED, plain_owner(known))
        if aside[2] is not Kind.FIXED:  # a block is kept for its owner, but no login asks for it by its kind
            earlier = register.set_aside.get(aside)
            if earlier is not None and earlier != (reservation.vrf, unit):
                return Conflict(earlier[1], shelf.pool.name, LeaseState.RESERVED, owner)
            register.set_aside[aside] = (reservation.vrf, unit)
        if known is not None:
            return 0
        old = allocator.states[cell]
        if allocator.reserve(cell, key) == old:
            return 0
        serial = register.record(shelf, cell, old, Cause.RESERVATION, at)
        shelf.tenures.pop(cell, None)
        return serial

    def unreserve(self, reservation: Reservation, now: float, at: float) -> int | None:
        """Give a reservation up; a lease of its owner goes on. None where there is no such reservation."""
        register = self.register
        owner = clean(reservation.owner)
        place = register.locate(reservation.tenant, reservation.vrf, reservation.unit)
        cell = NONE if place is None else place[0].allocator.cell_at(place[1])
        if place is None or place[0].allocator.reserved_for.get(cell) != exact_key(owner, reservation.unit):
            return None
        shelf, allocator = place[0], place[0].allocator
        aside = (reservation.tenant, owner, _kind_at(shelf, reservation.unit))
        if register.set_aside.get(aside) == (reservation.vrf, reservation.unit):
            del register.set_aside[aside]
        old = allocator.states[cell]
        if old != RESERVED:
            allocator.unreserve(cell, now)
            return 0
        tenure = Tenure(0, reservation.unit, owner, NOBODY, at)  # whose it was, for the event
        allocator.unreserve(cell, now)
        return register.record(shelf, cell, old, Cause.RESERVATION_ENDED, at, tenure)

    # --- single slots ----------------------------------------------------------------------------

    def disable(self, tenant: str, vrf: str, unit: Unit, at: float) -> int | None:
        """Take a slot out, at once or when its lease is over. None where it is no slot of this node."""
        found = self._cell(tenant, vrf, unit)
        if found is None:
            return None
        shelf, cell = found
        if shelf.allocator.marks[cell] & OUT:
            return 0
        old = shelf.allocator.states[cell]
        new = shelf.allocator.disable(cell)
        serial = self.register.record(shelf, cell, old, Cause.DISABLED, at)
        if new == DISABLED:
            shelf.tenures.pop(cell, None)
        return serial

    def enable(self, tenant: str, vrf: str, unit: Unit, now: float, at: float) -> int | None:
        """Bring a slot back that was disabled; it is quarantined first."""
        found = self._cell(tenant, vrf, unit)
        if found is None:
            return None
        shelf, cell = found
        if not shelf.allocator.marks[cell] & OUT:
            return 0
        old = shelf.allocator.states[cell]
        shelf.allocator.enable(cell, now)
        return self.register.record(shelf, cell, old, Cause.ENABLED, at)

    def release(self, tenant: str, vrf: str, unit: Unit, now: float, at: float) -> tuple[int, ...]:
        """End every bundle that a slot is in, by an operator's wish; return their ids."""
        found = self._cell(tenant, vrf, unit)
        if found is None:
            return ()
        shelf, cell = found
        tenure = shelf.tenures.get(cell)
        return () if tenure is None else self.book.end_all(shelf, tenure, Cause.OPERATOR, now, at)

    def decline(self, tenant: str, vrf: str, unit: Unit, now: float, at: float) -> tuple[int, ...]:
        """The owner found the address in use: end its bundles, keep it from everybody for the decline time.

        Returns the ids of the bundles that ended: all of their leases, since a bundle dies as one.
        """
        found = self._cell(tenant, vrf, unit)
        if found is None:
            return ()
        shelf, cell = found
        old = shelf.allocator.states[cell]
        if old in (DECLINED, DISABLED):
            return ()
        # The lease ends straight into the new state: one change, one event.
        shelf.allocator.shun(cell, DECLINED, now)
        self.register.record(shelf, cell, old, Cause.DECLINED, at)
        tenure = shelf.tenures.pop(cell, None)
        return () if tenure is None else self.book.end_all(shelf, tenure, Cause.DECLINED, now, at)

    def _cell(self, tenant: str, vrf: str, unit: Unit) -> tuple[Shelf, int] | None:
        place = self.register.locate(tenant, vrf, unit)
        if place is None:
            return None
        cell = place[0].allocator.carve(place[1])
        return None if cell == NONE else (place[0], cell)

    def left(self, tenant: str, owner: str, bundle_id: int, session: str) -> tuple[tuple[str, Unit], ...]:
        """Return what of pools waits for an owner of a bundle, or of a session, that has ended: VRF and unit each.

        Looks at all pools; not for each login.
        """
        owner = clean(owner)
        found: list[tuple[str, Unit]] = []
        for (whose, _), shelf in self.register.shelves.items():
            cell = shelf.allocator.by_owner.get(owner, NONE) if whose == tenant else NONE
            tenure = None if cell == NONE else shelf.tenures.get(cell)
            if tenure is None or tenure.claims:
                continue
            if (bundle_id and tenure.bundle_id == bundle_id) or (session and tenure.session == session):
                found.append((shelf.pool.vrf, tenure.unit))
        return tuple(found)

    # --- accounting reports ----------------------------------------------------------------------

    def observe(
        self,
        tenant: str,
        vrf: str,
        unit: Unit,
        owner: str,
        session: str,
        now: float,
        at: float,
        party: Party = NOBODY,
    ) -> Observation:
        """A live session reports a unit as its own; say what that is to the book, and put the book right.

        Unknown but free, or kept for this owner: it becomes its lease, bound at once. Somebody else's: see
        `conflict`. `serial` is what to wait for before the report is acknowledged.
        """
        owner = clean(owner)
        found = self._cell(tenant, vrf, unit)
        if found is None:
            return Observation(Sighting.FOREIGN, unit)
        shelf, cell = found
        state = shelf.allocator.states[cell]
        if TENTATIVE <= state <= BOUND and shelf.owner_of(cell) == owner:
            live = self.book.bundle_of(shelf, cell)
            number, serial = (0, 0) if live is None else (live.id, live.serial)
            return Observation(Sighting.KNOWN, unit, shelf.pool.name, owner, number, serial)
        pick = choose_exactly(self.register, tenant, vrf, owner, shelf.pool.kind, unit, Origin.STICKY)
        if isinstance(pick, Conflict):
            return self.conflict(tenant, vrf, unit, owner, now, at)
        tenure = Tenure(self.register.new_id(), unit, owner, clean_party(party), at)
        tenure.session = clean(session)
        return self._adopt(shelf, cell, pick.key, tenure, now, at)

    def _adopt(
        self, shelf: Shelf, cell: int, exact: str, tenure: Tenure, now: float, at: float
    ) -> Observation:
        allocator = shelf.allocator
        old = allocator.states[cell]
        owner = tenure.owner
        had = allocator.by_owner.get(owner, cell)  # without another slot here, it is the owner's from now on
        allocator.claim(cell, owner if had == cell and cell not in allocator.reserved_for else exact)
        allocator.bind(cell)
        shelf.tenures[cell] = tenure
        key = (shelf.pool.tenant, owner)
        live = self.book.adopt(self.register.new_id(), key, [(shelf, cell, tenure)], tenure.session, now)
        tenure.bundle_id = live.id
        live.serial = tenure.serial = self.register.record(shelf, cell, old, Cause.ADOPTED, at)
        return Observation(Sighting.ADOPTED, tenure.unit, shelf.pool.name, owner, live.id, live.serial)

    def conflict(self, tenant: str, vrf: str, unit: Unit, seen: str, now: float, at: float) -> Observation:
        """`seen`, who is not its owner, was found at a unit: record it, and keep the slot from everybody.

        A lease goes on, because only policy may end a session, but its slot is quarantined when it ends. What was
        not leased is quarantined now. The same again, before that is over, is recorded once, and it is over later.
        """
        found = self._cell(tenant, vrf, unit)
        if found is None:
            return Observation(Sighting.FOREIGN, unit)
        shelf, cell = found
        allocator = shelf.allocator
        holder = shelf.owner_of(cell)
        old = allocator.states[cell]
        serial = 0
        if allocator.marks[cell] & SHUN:
            if QUARANTINED <= old <= DECLINED:
                allocator.shun(cell, old, now)
        else:
            if TENTATIVE <= old <= BOUND or old == DISABLED:
                allocator.marks[cell] |= SHUN
            else:
                allocator.shun(cell, QUARANTINED, now)
            serial = self.register.record(shelf, cell, old, Cause.CONFLICT, at, seen=clean(seen))
            if allocator.states[cell] == QUARANTINED:
                shelf.tenures.pop(cell, None)
        live = self.book.bundle_of(shelf, cell)
        number = 0 if live is None else live.id
        return Observation(Sighting.CONFLICT, unit, shelf.pool.name, holder, number, serial)


def _kind_at(shelf: Shelf, unit: Unit) -> Kind:
    """Return what a unit is leased as: by its pool, and only outside of all pools by its length."""
    return kind_of(unit) if shelf.pool.kind is Kind.FIXED else shelf.pool.kind
