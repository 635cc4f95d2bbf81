"""Reservations: units that operators set aside for one owner, in a pool or outside of all."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.leases.definitions_check import unknown
from daemon.leases.definitions_desk import Desk
from daemon.leases.definitions_edits import Problems, problem
from daemon.replica.claims import Claims
from ipam import definition_rows
from ipam.address import Unit
from ipam.choose import kind_of
from ipam.history import clean
from ipam.kinds import BITS, RESERVED, Cause, Kind, Space
from ipam.lease import Conflict
from ipam.model import Pool, Range, Reservation, space_of, span_of
from ipam.shelf import Shelf

Key = tuple[str, str, Unit]
"""Tenant, VRF, unit."""


class Reservations:
    """The operators' reservations. `kept_for` tells whose a unit is by the platform's data, empty for nobody."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.rows: dict[Key, Reservation] = {}
        self._claims: dict[str, Claims] = {}

    def of_tenant(self, tenant: str) -> Claims:
        """Return a tenant's reservations by number, but for those of port blocks."""
        return self._claims.setdefault(tenant, Claims())

    def find(self, tenant: str, vrf: str, unit: Unit) -> Reservation | None:
        """Return the reservation of exactly a unit."""
        return self.rows.get((tenant, vrf, unit))

    def take_stored(self, reservations: list[Reservation]) -> None:
        """Begin with what the store has and the book was opened with."""
        self.rows.clear()
        self._claims.clear()
        for each in reservations:
            self._enter(each)

    def refresh(self, reservations: list[Reservation]) -> None:
        """Follow the store, which another node has changed, or of which it was not known what it had."""
        stored = {(each.tenant, each.vrf, each.unit): each for each in reservations}
        for key, known in list(self.rows.items()):
            if stored.get(key) != known:
                self._forget(known)
                self._give_up(known)
        for key, each in stored.items():
            if key not in self.rows:
                self._enter(each)
                self.set_aside(each)

    # --- what operators do -----------------------------------------------------------------------

    async def reserve(self, reservation: Reservation) -> Reservation | Problems:
        """Set a unit aside; the same again changes nothing. On disk, with its event, when this returns.

        Somebody else's lease of it goes on until it ends. Raises StoreUnavailable.
        """
        serial, answer = await self._desk.alone(lambda: self._reserve(reservation))
        await self._desk.stored(serial)
        return answer

    async def reserve_next(self, tenant: str, pool: str, owner: str, name: str) -> Reservation | Problems:
        """Set the next free unit of a pool aside; what the owner has reserved of the kind is its answer already.

        Raises StoreUnavailable.
        """
        serial, answer = await self._desk.alone(lambda: self._reserve_next(tenant, pool, owner, name))
        await self._desk.stored(serial)
        return answer

    async def unreserve(self, tenant: str, vrf: str, unit: Unit) -> Reservation | Problems:
        """Give a reservation up; return what it was. Its owner's lease goes on. Raises StoreUnavailable."""
        serial, answer = await self._desk.alone(lambda: self._unreserve((tenant, vrf, unit)))
        await self._desk.stored(serial)
        return answer

    async def _reserve(self, wanted: Reservation) -> tuple[int, Reservation | Problems]:
        known = self.rows.get((wanted.tenant, wanted.vrf, wanted.unit))
        if known == wanted:
            return 0, wanted
        refusal = self._problems(wanted, known)
        if refusal:
            return 0, refusal

        async def write(connection: AsyncConnection) -> None:
            await definition_rows.save_reservation(connection, wanted)

        await self._desk.commit(write)
        self._enter(wanted)
        return self.set_aside(wanted), wanted

    async def _reserve_next(
        self, tenant: str, pool: str, owner: str, name: str
    ) -> tuple[int, Reservation | Problems]:
        register = self._desk.addresses.register
        shelf = register.find(tenant, pool)
        if shelf is None:
            return 0, unknown(tenant, pool)
        earlier = register.set_aside.get((tenant, clean(owner), shelf.pool.kind))
        known = None if earlier is None else self.rows.get((tenant, *earlier))
        if known is not None:
            return 0, known
        unit = next_unit(shelf)
        if unit is None:
            text = f"nothing is free in pool {pool}: `pool resize` adds to it, `pool show` says what it is used for"
            return 0, problem("pool-full", (pool,), text)
        wanted = Reservation(tenant=tenant, vrf=shelf.pool.vrf, unit=unit, owner=owner, name=name)
        return await self._reserve(wanted)

    async def _unreserve(self, key: Key) -> tuple[int, Reservation | Problems]:
        known = self.rows.get(key)
        if known is None:
            text = f"nothing is reserved at {key[2]} in VRF {key[1] or 'default'}; see `reservation list`"
            return 0, problem("no-such-reservation", (str(key[2]),), text)

        async def write(connection: AsyncConnection) -> None:
            await definition_rows.delete_reservation(connection, *key)

        await self._desk.commit(write)
        self._forget(known)
        return self._give_up(known), known

    # --- whether it may be -----------------------------------------------------------------------

    def _problems(self, wanted: Reservation, known: Reservation | None) -> Problems:
        if not clean(wanted.owner):
            return problem(
                "reservation-owner",
                (str(wanted.unit),),
                f"{wanted.unit} is reserved for nobody: say for whom",
            )
        if known is not None and known.owner != wanted.owner:
            return _taken(wanted.unit, f"reserved for {known.owner}", "delete that reservation first")
        return self._place_problems(wanted) or self._owner_problems(wanted) or self._data_problems(wanted)

    def _place_problems(self, wanted: Reservation) -> Problems:
        register = self._desk.addresses.register
        tenant, vrf, unit = wanted.tenant, wanted.vrf, wanted.unit
        place = register.locate(tenant, vrf, unit)
        if (place is None or place[0].pool.kind is Kind.FIXED) and not register.is_outside(tenant, vrf, unit):
            text = f"{unit} overlaps a pool and is not one unit of it: reserve single units of the pool"
            return problem("reservation-overlap", (str(unit),), text)
        if unit.space is Space.PORTS:
            return ()
        if unit.space is Space.IPV4 and unit.length < BITS[Space.IPV4]:
            text = (
                f"{unit} is a block outside of all pools, and a login would get it as its address: document it with "
                f"`prefix add {unit} --state reserved`, or give it to the subscriber as a route"
            )
            return problem("reservation-block", (str(unit),), text)
        others = self.of_tenant(tenant).overlapping(vrf, unit.space, unit.value, unit.last)
        for other, owner in others:
            if other != unit:
                return _taken(
                    unit, f"overlapped by {other}, which is reserved for {owner}", "delete one of them"
                )
        return ()

    def _owner_problems(self, wanted: Reservation) -> Problems:
        aside = self._desk.addresses.register.set_aside
        earlier = aside.get((wanted.tenant, clean(wanted.owner), self._kind(wanted)))
        if earlier is None or earlier == (wanted.vrf, wanted.unit):
            return ()
        text = (
            f"{wanted.owner} has {earlier[1]} reserved already, and a login gets one {self._kind(wanted)}: "
            f"delete that reservation first"
        )
        return problem("reservation-second", (wanted.owner, str(earlier[1])), text)

    def _data_problems(self, wanted: Reservation) -> Problems:
        tenant = self._desk.index.tenants.get(wanted.tenant)
        unit = wanted.unit
        if tenant is None or unit.space not in (Space.IPV4, Space.IPV6):
            return ()
        for other, owner in tenant.claims.overlapping(wanted.vrf, unit.space, unit.value, unit.last):
            if other != unit or owner != wanted.owner:
                return _taken(
                    unit, f"by the data {owner}'s ({other})", "change that subscriber on the platform first"
                )
        return ()

    def _kind(self, wanted: Reservation) -> Kind:
        place = self._desk.addresses.register.locate(wanted.tenant, wanted.vrf, wanted.unit)
        inside = place is not None and place[0].pool.kind is not Kind.FIXED
        return place[0].pool.kind if place is not None and inside else kind_of(wanted.unit)

    # --- the register ----------------------------------------------------------------------------

    def _enter(self, reservation: Reservation) -> None:
        self.rows[reservation.tenant, reservation.vrf, reservation.unit] = reservation
        if reservation.unit.space is not Space.PORTS:
            self.of_tenant(reservation.tenant).put(reservation.vrf, reservation.unit, reservation.owner)

    def _forget(self, reservation: Reservation) -> None:
        del self.rows[reservation.tenant, reservation.vrf, reservation.unit]
        if reservation.unit.space is not Space.PORTS:
            self.of_tenant(reservation.tenant).remove(reservation.vrf, reservation.unit, reservation.owner)

    def set_aside(self, reservation: Reservation) -> int:
        """Have the book keep a unit; return the serial. In a block of another node that node does it."""
        addresses = self._desk.addresses
        done = addresses.steward.reserve(reservation, addresses.clock.wall())
        return 0 if isinstance(done, Conflict) else done

    def _give_up(self, reservation: Reservation) -> int:
        """Let go of a unit, unless the data give it to the same subscriber."""
        addresses, clock = self._desk.addresses, self._desk.addresses.clock
        tenant = self._desk.index.tenants.get(reservation.tenant)
        unit, vrf = reservation.unit, reservation.vrf
        if tenant is not None and unit.space in (Space.IPV4, Space.IPV6):
            for other, owner in tenant.claims.overlapping(vrf, unit.space, unit.value, unit.last):
                if (other, owner) == (unit, reservation.owner):
                    aside = addresses.register.set_aside
                    key = reservation.tenant, clean(owner), self._kind(reservation)
                    if aside.get(key) == (vrf, unit):
                        del aside[key]
                    return 0
        return addresses.steward.unreserve(reservation, clock.monotonic(), clock.wall()) or 0

    def moved(self, pool: Pool, parts: tuple[Range, ...]) -> None:
        """Reserve again what lies where a pool has got ranges, or has lost them."""
        inside = [each for part in parts for each in self._inside(pool, part)]
        for each in inside:
            self._leave_fixed(each)
            self.set_aside(each)

    def _inside(self, pool: Pool, part: Range) -> Iterator[Reservation]:
        first, last = span_of(pool, part)
        space = space_of(pool)
        if space is Space.PORTS:
            yield from (
                each
                for each in list(self.rows.values())
                if (each.tenant, each.vrf) == (pool.tenant, pool.vrf)
                and each.unit.space is space
                and first <= each.unit.value <= last
            )
            return
        for unit, _ in list(self.of_tenant(pool.tenant).overlapping(pool.vrf, space, first, last)):
            yield self.rows[pool.tenant, pool.vrf, unit]

    def _leave_fixed(self, reservation: Reservation) -> None:
        """Let go of a unit outside of pools that is a slot of a pool now."""
        register, clock = self._desk.addresses.register, self._desk.addresses.clock
        fixed = register.find(reservation.tenant, register.fixed_name(reservation.vrf))
        place = register.locate(reservation.tenant, reservation.vrf, reservation.unit)
        if fixed is None or place is None or place[0] is fixed:
            return
        slot = fixed.slot_of(reservation.unit)
        cell = fixed.allocator.cell_at(slot) if slot >= 0 else -1
        if cell >= 0 and cell in fixed.allocator.reserved_for:
            _let_go(fixed, cell, clock.monotonic(), clock.wall(), self._desk)


def next_unit(shelf: Shelf) -> Unit | None:
    """Return the unit that a new owner would get of a pool; nothing is taken."""
    allocator = shelf.allocator
    for segment in allocator.segments:
        if not segment.closed and segment.find_fresh():
            return shelf.layout.unit(segment.next_slot())
    cell = allocator.pick_new()
    return None if cell < 0 else shelf.unit(cell)


def _let_go(shelf: Shelf, cell: int, now: float, at: float, desk: Desk) -> None:
    old = shelf.allocator.states[cell]
    shelf.allocator.unreserve(cell, now)
    if old == RESERVED:
        desk.addresses.register.record(shelf, cell, old, Cause.RESERVATION_ENDED, at)


def _taken(unit: Unit, by: str, remedy: str) -> Problems:
    return problem("reservation-taken", (str(unit),), f"{unit} is {by}: {remedy}")
