"""The routes about reservations and selectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request

from daemon.api.ipam_definitions_answers import done, malformed, own_tenant, unit_of, vrf_name
from daemon.api.ipam_definitions_audit import note
from daemon.api.ipam_definitions_pools import find_pool
from daemon.api.ipam_models import (
    MatchView,
    ReservationView,
    ReservationWish,
    SelectionView,
    SelectorView,
    SelectorWish,
    TriedPool,
)
from daemon.api.listing import page
from daemon.api.lookup import find_subscriber, of_one_tenant, tenants
from daemon.api.models import Page
from daemon.api.security import Reach, scope, whose
from daemon.api.services import Services
from daemon.leases.definitions import Definitions
from daemon.replica.claims import fixed_of
from daemon.replica.records import Nas
from ipam.address import Malformed, Unit
from ipam.definition_rows import DefinedBy
from ipam.kinds import STATE_NAMES, Kind, PoolState
from ipam.model import Match, Pool, Reservation, Selector
from ipam.selection import Facts, Selectors

_Limit = Annotated[int, Query(ge=1, le=10_000)]
_Offset = Annotated[int, Query(ge=0, le=1_000_000)]


# --- reservations ----------------------------------------------------------------------------------


def add_reservations(router: APIRouter, services: Services, definitions: Definitions) -> None:
    """Add the routes under `/reservations`."""

    @router.get("/reservations", dependencies=[scope("ipam:read")])
    async def reservations(
        tenant: str | None = None,
        pool: str | None = None,
        owner: str | None = None,
        vrf: str | None = None,
        limit: _Limit = 100,
        offset: _Offset = 0,
    ) -> Page[ReservationView]:
        tenants(services, tenant)
        name = vrf_name(vrf)

        def wanted(pair: tuple[Reservation, DefinedBy]) -> bool:
            each, _ = pair
            return (
                tenant in (None, each.tenant)
                and owner in (None, each.owner)
                and name in (None, each.vrf)
                and (pool is None or _pool_of(definitions, each) == pool)
            )

        every = list(_reservations(definitions))
        return await page(
            every, wanted, lambda pair: reservation_view(definitions, *pair), limit=limit, offset=offset
        )

    @router.post("/reservations", status_code=201, dependencies=[scope("ipam:write", Reach.OWN)])
    async def reserve(request: Request, wish: ReservationWish) -> ReservationView:
        owner, pool, vrf = _place(services, definitions, whose(request, wish.tenant), wish.pool, wish.vrf)
        unit = unit_of(wish.unit, "unit", pool)
        made = Reservation(tenant=owner, vrf=vrf, unit=unit, owner=wish.owner, name=wish.name)
        kept = done(await definitions.reservations.reserve(made))
        await note(services, request, "reservation-add", owner, str(unit), wish)
        view = reservation_view(definitions, kept, DefinedBy.OPERATOR)
        return view.model_copy(update={"notes": owner_notes(services, owner, wish.owner)})

    @router.delete("/reservations/{unit:path}", dependencies=[scope("ipam:write")])
    async def delete(
        request: Request, unit: str, tenant: str | None = None, vrf: str = "", pool: str | None = None
    ) -> ReservationView:
        owner, found, name = _place(services, definitions, tenant, pool, vrf)
        wanted = unit_of(unit, "unit", found)
        known = definitions.reservations.find(owner, name, wanted)
        if known is None and _is_claimed(services, owner, name, wanted):
            text = f"{wanted} is kept because the data give it to a subscriber: change that on the platform"
            raise HTTPException(409, text)
        gone = done(await definitions.reservations.unreserve(owner, name, wanted))
        await note(services, request, "reservation-delete", owner, str(wanted), None, f"of {gone.owner}")
        return reservation_view(definitions, gone, DefinedBy.OPERATOR)


def _place(
    services: Services, definitions: Definitions, tenant: str | None, pool: str | None, vrf: str
) -> tuple[str, Pool | None, str]:
    """Return tenant, pool and VRF of a reservation; those of the pool where it is named."""
    if pool is None:
        return own_tenant(services, tenant), None, vrf_name(vrf) or ""
    found = find_pool(services, definitions, pool, tenant).pool
    return found.tenant, found, found.vrf


def owner_notes(services: Services, tenant: str, owner: str) -> list[str]:
    """Return that nobody has the id for which something is reserved."""
    if owner in services.index.tenants[tenant].subscribers:
        return []
    return [f"tenant {tenant} has no subscriber with the id {owner} yet: until then nobody gets it"]


def _is_claimed(services: Services, tenant: str, vrf: str, unit: Unit) -> bool:
    claims = services.index.tenants[tenant].claims.overlapping(vrf, unit.space, unit.value, unit.last)
    return any(each.unit == unit for each in claims)


def _reservations(definitions: Definitions) -> Iterator[tuple[Reservation, DefinedBy]]:
    rows = definitions.reservations.rows
    for each in list(rows.values()):
        yield each, DefinedBy.OPERATOR
    for (tenant, owner), (vrf, unit) in definitions.claims.listed():
        if (tenant, vrf, unit) not in rows:
            yield Reservation(tenant=tenant, vrf=vrf, unit=unit, owner=owner), DefinedBy.PLATFORM


def _pool_of(definitions: Definitions, reservation: Reservation) -> str:
    place = definitions.addresses.register.locate(reservation.tenant, reservation.vrf, reservation.unit)
    return "" if place is None or place[0].pool.kind is Kind.FIXED else place[0].pool.name


def reservation_view(definitions: Definitions, each: Reservation, by: DefinedBy) -> ReservationView:
    """Return a reservation as it is shown."""
    place = definitions.addresses.register.locate(each.tenant, each.vrf, each.unit)
    cell = -1 if place is None else place[0].allocator.cell_at(place[1])
    return ReservationView(
        tenant=each.tenant,
        vrf=each.vrf,
        unit=str(each.unit),
        space=each.unit.space.value,
        owner=each.owner,
        name=each.name,
        origin="operator" if by is DefinedBy.OPERATOR else "data",
        pool=_pool_of(definitions, each),
        state=STATE_NAMES[0 if place is None or cell < 0 else place[0].allocator.states[cell]],
        notes=[],
    )


# --- selectors -------------------------------------------------------------------------------------


def add_selectors(router: APIRouter, services: Services, definitions: Definitions) -> None:
    """Add the routes under `/selectors`."""

    @router.get("/selectors", dependencies=[scope("ipam:read")])
    async def selectors(
        tenant: str | None = None, limit: _Limit = 1000, offset: _Offset = 0
    ) -> Page[SelectorView]:
        tenants(services, tenant)
        found = [pair for pair in definitions.selectors.listed() if tenant in (None, pair[0].match.tenant)]
        shown = [_selector_view(*pair) for pair in found[offset : offset + limit]]
        return Page(items=shown, count=len(found), limit=limit, offset=offset)

    @router.post("/selectors", status_code=201, dependencies=[scope("ipam:write", Reach.OWN)])
    async def add(request: Request, wish: SelectorWish) -> SelectorView:
        match = Match(tenant=own_tenant(services, whose(request, wish.tenant)), **wish.match.model_dump())
        pools = tuple((kind, tuple(names)) for kind, names in wish.pools.items())
        made = Selector(name=wish.name, priority=wish.priority, match=match, pools=pools)
        added = done(await definitions.selectors.add(made))
        await note(services, request, "selector-add", match.tenant, made.name, wish)
        view = _selector_view(added, DefinedBy.OPERATOR)
        return view.model_copy(update={"notes": _match_notes(services, added)})

    @router.delete("/selectors/{name:path}", status_code=204, dependencies=[scope("ipam:write")])
    async def delete(request: Request, name: str, tenant: str | None = None) -> None:
        found = [
            each
            for each, _ in definitions.selectors.listed()
            if each.name == name and tenant in (None, each.match.tenant)
        ]
        missing = f"no selector has the name {name}; see `selector list`"
        known = of_one_tenant(found, lambda each: each.match.tenant, name, missing)[0]
        done(await definitions.selectors.delete(known.match.tenant, name))
        await note(services, request, "selector-delete", known.match.tenant, name)

    @router.get("/selections", dependencies=[scope("ipam:read")])
    async def selection(
        subscriber: str,
        nas: str | None = None,
        tenant: str | None = None,
        attribute: Annotated[list[str], Query(description="NAME=VALUE")] = [],  # noqa: B006 - FastAPI copies it
    ) -> SelectionView:
        return _selection(services, definitions, subscriber, nas, tenant, attribute)


def _selector_view(selector: Selector, by: DefinedBy) -> SelectorView:
    match = selector.match
    return SelectorView(
        tenant=match.tenant,
        name=selector.name,
        priority=selector.priority,
        match=MatchView(plan=match.plan, nas=match.nas, site=match.site, attribute=match.attribute),
        pools={kind.value: list(names) for kind, names in selector.pools},
        origin=by.value,
        notes=[],
    )


def _match_notes(services: Services, selector: Selector) -> list[str]:
    """Return what a selector is for that its tenant does not have, so that it matches no login."""
    match, known = selector.match, services.index.tenants[selector.match.tenant]
    sites = {each.site for each in known.nases.values()}
    missing = []
    if match.plan is not None and match.plan not in known.plans:
        missing.append(f"plan {match.plan}")
    if match.nas is not None and match.nas not in known.nases:
        missing.append(f"NAS {match.nas}")
    if match.site is not None and match.site not in sites:
        missing.append(f"NAS at site {match.site}")
    return [f"tenant {match.tenant} has no {each} yet: until then no login matches" for each in missing]


def _selection(
    services: Services,
    definitions: Definitions,
    name: str,
    nas_name: str | None,
    tenant: str | None,
    attributes: list[str],
) -> SelectionView:
    """Return which pools a login would be served from, by the selectors as they are."""
    owner, subscriber = find_subscriber(services, name, tenant)
    nas = _nas(owner.nases, nas_name)
    facts = Facts(
        tenant=subscriber.tenant,
        plan=subscriber.plan or "",
        nas="" if nas is None else nas.id,
        site="" if nas is None else nas.site or "",
        attributes=_attributes(attributes),
    )
    known = [each for each, _ in definitions.selectors.listed() if each.match.tenant == subscriber.tenant]
    tried: list[TriedPool] = []
    for choice in Selectors(known).choose(facts):
        for turn, pool in enumerate(_with_fallbacks(definitions, subscriber.tenant, choice.pools)):
            note, free = _note(definitions, subscriber.tenant, pool, choice.kind)
            tried.append(
                TriedPool(
                    kind=choice.kind.value,
                    pool=pool,
                    selector=choice.selector,
                    fallback=turn > 0,
                    note=note,
                    free=free,
                )
            )
    return SelectionView(
        tenant=subscriber.tenant,
        subscriber=subscriber.id,
        plan=facts.plan,
        nas=facts.nas,
        site=facts.site,
        pools=tried,
        fixed=[str(each.unit) for each in fixed_of(subscriber)],
        selectors=[each.name for each in known if Selectors([each]).choose(facts)],
    )


def _nas(nases: dict[str, Nas], name: str | None) -> Nas | None:
    if name is None:
        return None
    if name not in nases:
        raise HTTPException(404, f"no NAS has the id {name}")
    return nases[name]


def _attributes(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise malformed("attribute", Malformed(each, "an attribute as NAME=VALUE"))
        found[name] = value
    return found


def _with_fallbacks(definitions: Definitions, tenant: str, names: tuple[str, ...]) -> list[str]:
    wanted: dict[str, None] = {}
    for name in names:
        wanted[name] = None
        known = definitions.pools.find(tenant, name)
        if known is not None:
            wanted.update(dict.fromkeys(known.pool.fallbacks))
    return list(wanted)


def _note(definitions: Definitions, tenant: str, name: str, kind: Kind) -> tuple[str, int]:
    """Return what keeps a pool from serving, and how many of its slots are free."""
    known = definitions.pools.find(tenant, name)
    use = definitions.addresses.register.utilisation(tenant, name)
    if known is None or use is None:
        return "there is no such pool", 0
    if known.pool.kind is not kind:
        return f"it leases {known.pool.kind}", use.free
    if known.pool.state is not PoolState.ACTIVE:
        return f"it is {known.pool.state}", use.free
    return ("" if use.free else "nothing is free"), use.free
