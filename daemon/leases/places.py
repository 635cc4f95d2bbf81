"""Slots by what people write: an address, a prefix, an address inside of one, a VLAN, a port of a CGNAT."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from daemon.errors import StoreUnavailable
from daemon.leases.addresses import Addresses
from ipam.address import Malformed, Unit, read_address, read_number, read_unit
from ipam.cells import NONE
from ipam.history import Party
from ipam.kinds import BITS, LeaseState, Space
from ipam.layout import Listed
from ipam.lease import Standing
from ipam.register import Register
from ipam.shelf import Shelf

_VLAN = re.compile(r"(svlan|cvlan):(\d{1,4})", re.ASCII)
_PORT = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}:\d{1,5}", re.ASCII)
_EXPECTED = "an address, a prefix, svlan:NUMBER, cvlan:NUMBER or ADDRESS:PORT"


class Place(NamedTuple):
    """A slot of a pool, used or not."""

    shelf: Shelf
    slot: int

    @property
    def unit(self) -> Unit:
        """What it is."""
        return self.shelf.layout.unit(self.slot)

    @property
    def cell(self) -> int:
        """Its cell, NONE where it was never used."""
        return self.shelf.allocator.cell_at(self.slot)


def read_place(given: str) -> Unit:
    """Return the unit that a text names; of a port the port alone. Raises Malformed."""
    vlan = _VLAN.fullmatch(given)
    if vlan is not None:
        space = Space(vlan[1])
        return Unit(space, read_number(space, vlan[2]), BITS[space])
    if _PORT.fullmatch(given):
        return Unit(Space.PORTS, read_number(Space.PORTS, given), 1)
    try:
        if "/" in given:
            return read_unit(given)
        space, value = read_address(given)
    except Malformed as reason:
        raise Malformed(given, _EXPECTED) from reason
    return Unit(space, value, BITS[space])


def find_places(register: Register, unit: Unit, tenant: str | None, vrf: str | None) -> list[Place]:
    """Return the slots that are this unit, in whatever tenant and VRF; else those that it lies in."""
    shelves = [
        shelf
        for shelf in register.shelves.values()
        if tenant in (None, shelf.pool.tenant) and vrf in (None, shelf.pool.vrf)
    ]
    exact = [Place(shelf, slot) for shelf in shelves if (slot := shelf.slot_of(unit)) != NONE]
    if exact:
        return exact
    return [Place(shelf, slot) for shelf in shelves for slot in _around(shelf, unit)]


def _around(shelf: Shelf, unit: Unit) -> list[int]:
    """Return the slots of a pool that hold all of a unit."""
    layout = shelf.layout
    if isinstance(layout, Listed):
        slots = layout.overlapping(unit)
    elif shelf.space == unit.space.value and (slot := layout.slot(unit.value)) != NONE:
        slots = [slot]
    else:
        return []
    units = [(slot, layout.unit(slot)) for slot in slots]
    return [slot for slot, each in units if each.value <= unit.value and unit.last <= each.last]


def is_ours(place: Place) -> bool:
    """Tell whether a slot is this node's; in a divided pool it may be another's."""
    return place.shelf.allocator.segment_at(place.slot) is not None


def standing(addresses: Addresses[Any], place: Place) -> Standing:
    """Return how a slot of this node stands, also one that was never used."""
    now, at = addresses.clock.monotonic(), addresses.clock.wall()
    cell = place.cell
    if cell != NONE:
        return addresses.book.standing(place.shelf, cell, now, at)
    pool = place.shelf.pool
    segment = place.shelf.allocator.segment_at(place.slot)
    barred = segment is not None and segment.bars(place.slot)
    return Standing(
        tenant=pool.tenant,
        pool=pool.name,
        kind=pool.kind,
        unit=place.unit,
        state=LeaseState.DISABLED if barred else LeaseState.FREE,
        lease_id=0,
        bundle_id=0,
        owner="",
        session="",
        party=Party(),
        since_at=0.0,
        expires_at=None,
    )


async def settled(addresses: Addresses[Any], place: Place) -> None:
    """Return once what was last done to a slot is on disk. Raises StoreUnavailable; it is tried again later."""
    pool, ledger = place.shelf.pool, addresses.register.ledger
    while ledger.holds(pool.tenant, pool.name, place.slot, place.slot):
        addresses.lessor.wake()
        await addresses.writer.commit(_nothing)  # after the changes that wait
        if addresses.lessor.failing is not None:
            raise StoreUnavailable(addresses.lessor.failing)


async def _nothing(_connection: object) -> None:
    return None
