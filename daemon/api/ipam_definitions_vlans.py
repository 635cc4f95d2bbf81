"""The routes about VLANs: who has which, which is next."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, HTTPException, Request

from daemon.api.ipam_definitions_answers import done
from daemon.api.ipam_definitions_audit import note
from daemon.api.ipam_definitions_other import reservation_view
from daemon.api.ipam_definitions_pools import find_pool
from daemon.api.ipam_models import NextVlanWish, ReservationView, VlanView
from daemon.api.models import Page
from daemon.api.security import Reach, scope, whose
from daemon.api.services import Services
from daemon.leases.definitions import Definitions
from daemon.leases.definitions_reservations import next_unit
from ipam.address import Unit, text
from ipam.definition_rows import DefinedBy
from ipam.kinds import FREE, STATE_NAMES, Kind, LeaseState
from ipam.shelf import Shelf

_VLANS = (Kind.SVLAN, Kind.CVLAN)


def add_vlans(router: APIRouter, services: Services, definitions: Definitions) -> None:
    """Add the routes under `/vlans`."""

    @router.get("/vlans", dependencies=[scope("ipam:read")])
    async def vlans(pool: str | None = None, tenant: str | None = None) -> Page[VlanView]:
        shelves = (
            [_shelf(services, definitions, pool, tenant)] if pool is not None else _all(definitions, tenant)
        )
        items = [each for shelf in shelves for each in _used(shelf)]
        return Page(items=items, count=len(items), limit=len(items), offset=0)

    @router.get("/next-vlans", dependencies=[scope("ipam:read")])
    async def next_vlan(pool: str, tenant: str | None = None) -> VlanView:
        shelf = _shelf(services, definitions, pool, tenant)
        unit = next_unit(shelf)
        if unit is None:
            raise HTTPException(409, f"no VLAN is free in pool {pool}; see `vlan list {pool}`")
        return _view(shelf, unit, -1)

    @router.post("/next-vlans", status_code=201, dependencies=[scope("ipam:write", Reach.OWN)])
    async def reserve_next(request: Request, wish: NextVlanWish) -> ReservationView:
        pool = _shelf(services, definitions, wish.pool, whose(request, wish.tenant)).pool
        reservations = definitions.reservations
        kept = done(await reservations.reserve_next(pool.tenant, pool.name, wish.owner, wish.name))
        await note(services, request, "reservation-add", pool.tenant, str(kept.unit), wish)
        return reservation_view(definitions, kept, DefinedBy.OPERATOR)


def _shelf(services: Services, definitions: Definitions, name: str, tenant: str | None) -> Shelf:
    """Return the shelf of a pool of VLANs. Raises HTTPException 404, 409, 422."""
    pool = find_pool(services, definitions, name, tenant).pool
    if pool.kind not in _VLANS:
        raise HTTPException(422, f"pool: {name} is a pool of kind {pool.kind}; svlan or cvlan is expected")
    return definitions.addresses.register.shelves[pool.tenant, pool.name]


def _all(definitions: Definitions, tenant: str | None) -> list[Shelf]:
    return [
        shelf
        for (owner, _), shelf in sorted(definitions.addresses.register.shelves.items(), key=_first)
        if shelf.pool.kind in _VLANS and tenant in (None, owner)
    ]


def _first(pair: tuple[tuple[str, str], Shelf]) -> tuple[str, str]:
    return pair[0]


def _used(shelf: Shelf) -> Iterator[VlanView]:
    """Yield what is not free, by number: a pool has 4,096 at the most."""
    cells = sorted(shelf.allocator.all_cells(), key=shelf.allocator.slots.__getitem__)
    for cell in cells:
        if shelf.allocator.states[cell] != FREE:
            yield _view(shelf, shelf.unit(cell), cell)


def _view(shelf: Shelf, unit: Unit, cell: int) -> VlanView:
    pool = shelf.pool
    tenure = shelf.tenures.get(cell)
    return VlanView(
        tenant=pool.tenant,
        pool=pool.name,
        kind=pool.kind.value,
        domain=pool.vrf,
        vlan=text(unit.space, unit.value),
        state=LeaseState.FREE.value if cell < 0 else STATE_NAMES[shelf.allocator.states[cell]],
        owner="" if cell < 0 else shelf.owner_of(cell),
        subscriber="" if tenure is None else tenure.party.subscriber,
        nas="" if tenure is None else tenure.party.nas,
        session="" if tenure is None else tenure.session,
        since=None if tenure is None else tenure.since_at,
    )
