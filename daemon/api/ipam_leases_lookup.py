"""Which lease a name means: an address or prefix, an address inside of one, a VLAN, or the number of a lease."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import HTTPException

from daemon.api.ipam_lease_models import DEFAULT_VRF
from daemon.leases.addresses import Addresses
from daemon.leases.places import Place, find_places, is_ours, read_place
from ipam.address import Malformed

_LEAST_ID = 1 << 32  # ids begin with the number of the start
_LONGEST = 100
_SLICE = 2000


async def find_place(addresses: Addresses[Any], name: str, tenant: str | None, vrf: str | None) -> Place:
    """Return the slot that a name means, used or not.

    Raises HTTPException: 404 for none, or another node's, 409 where tenants or VRFs share the address, 422 for a
    name that is none.
    """
    if len(name) > _LONGEST:
        raise HTTPException(422, f"{name[:40]}... is no address, prefix, VLAN, or number of a lease")
    if name.isascii() and name.isdigit() and int(name) >= _LEAST_ID:
        return await _find_id(addresses, int(name), tenant)
    try:
        unit = read_place(name)
    except Malformed as reason:
        raise HTTPException(422, f"{reason}, and no number of a lease") from reason
    wanted = "" if vrf == DEFAULT_VRF else vrf
    places = find_places(addresses.register, unit, tenant, wanted)
    if not places:
        raise HTTPException(404, f"{name} is in no pool here, and nobody has it as a fixed address")
    if len(places) > 1:
        where = ", ".join(sorted(f"{each.shelf.pool.tenant} {_vrf_of(each)}" for each in places))
        raise HTTPException(409, f"{name} is there several times: {where}; say which with --tenant and --vrf")
    if not is_ours(places[0]):
        raise HTTPException(404, f"{name} is in a block of pool {places[0].shelf.pool.name} of another node")
    return places[0]


def _vrf_of(place: Place) -> str:
    return f"VRF {place.shelf.pool.vrf or DEFAULT_VRF}"


async def _find_id(addresses: Addresses[Any], lease_id: int, tenant: str | None) -> Place:
    """Return where a lease is that has not ended long ago; walks all of them, in slices."""
    for shelf in list(addresses.register.shelves.values()):
        if tenant not in (None, shelf.pool.tenant):
            continue
        for number, cell in enumerate(list(shelf.tenures)):
            tenure = shelf.tenures.get(cell)
            if tenure is not None and tenure.lease_id == lease_id:
                return Place(shelf, shelf.allocator.slots[cell])
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
    raise HTTPException(
        404, f"no lease has the number {lease_id}; `lease history` may still know its address"
    )
