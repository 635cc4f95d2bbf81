"""The routes about prefixes and VRFs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.api.idempotency import Idempotency, Once
from daemon.api.ipam_definitions_answers import done, own_tenant, unit_of, vrf_name
from daemon.api.ipam_definitions_audit import note
from daemon.api.ipam_models import (
    NextPrefixWish,
    PrefixPoolView,
    PrefixView,
    PrefixWish,
    VrfView,
    VrfWish,
)
from daemon.api.lookup import tenants
from daemon.api.models import Page
from daemon.api.security import Reach, scope, whose
from daemon.api.services import Services
from daemon.leases.definitions import Definitions
from daemon.leases.definitions_prefixes import Placed
from ipam.address import Unit
from ipam.kinds import Kind
from ipam.model import Vrf
from ipam.tree import Prefix

_Limit = Annotated[int, Query(ge=1, le=10_000)]
_Offset = Annotated[int, Query(ge=0, le=1_000_000)]
_WHAT = "next-prefix"


def add_prefixes(router: APIRouter, services: Services, definitions: Definitions, keys: Idempotency) -> None:
    """Add the routes under `/prefixes` and `/vrfs`."""
    _add_reading(router, services, definitions)
    _add_defining(router, services, definitions)
    _add_next(router, services, definitions, keys)
    _add_vrfs(router, services, definitions)


def _add_reading(router: APIRouter, services: Services, definitions: Definitions) -> None:
    @router.get("/prefixes", dependencies=[scope("ipam:read")])
    async def prefixes(
        tenant: str | None = None,
        vrf: str | None = None,
        under: str | None = None,
        limit: _Limit = 1000,
        offset: _Offset = 0,
    ) -> Page[PrefixView]:
        tenants(services, tenant)
        found = list(definitions.prefixes.listed(tenant, vrf_name(vrf)))
        if under is not None:
            unit = unit_of(under, "under")
            found = [each for each in found if _inside(each.prefix.unit, unit)]
        shown = [prefix_view(definitions, each) for each in found[offset : offset + limit]]
        return Page(items=shown, count=len(found), limit=limit, offset=offset)

    @router.get("/prefixes/{prefix:path}", dependencies=[scope("ipam:read")])
    async def prefix(prefix: str, tenant: str | None = None, vrf: str = "") -> PrefixView:
        return prefix_view(definitions, _find(services, definitions, prefix, tenant, vrf))


def _inside(unit: Unit, other: Unit) -> bool:
    return unit.space is other.space and other.value <= unit.value and unit.last <= other.last


def _find(services: Services, definitions: Definitions, given: str, tenant: str | None, vrf: str) -> Placed:
    unit, name = unit_of(given, "prefix"), vrf_name(vrf) or ""
    every = [each.tenant.id for each in tenants(services, tenant)]
    found = [placed for each in every if (placed := definitions.prefixes.find(each, name, unit)) is not None]
    if not found:
        raise HTTPException(404, f"there is no prefix {unit} in VRF {name or 'default'}; see `prefix tree`")
    if len(found) > 1:
        owners = ", ".join(each.prefix.tenant for each in found)
        raise HTTPException(409, f"several tenants have {unit}: {owners}; say which one with --tenant")
    return found[0]


def _add_defining(router: APIRouter, services: Services, definitions: Definitions) -> None:
    @router.post("/prefixes", status_code=201, dependencies=[scope("ipam:write", Reach.OWN)])
    async def add(request: Request, wish: PrefixWish) -> PrefixView:
        made = Prefix(
            tenant=own_tenant(services, whose(request, wish.tenant)),
            vrf=vrf_name(wish.vrf) or "",
            unit=unit_of(wish.prefix, "prefix"),
            role=wish.role,
            site=wish.site,
            state=wish.state,
            name=wish.name,
        )
        added = done(await definitions.prefixes.add(made))
        await note(services, request, "prefix-add", made.tenant, _text(made.unit), wish)
        return prefix_view(definitions, added)

    @router.delete("/prefixes/{prefix:path}", status_code=204, dependencies=[scope("ipam:write")])
    async def delete(request: Request, prefix: str, tenant: str | None = None, vrf: str = "") -> None:
        known = _find(services, definitions, prefix, tenant, vrf).prefix
        done(await definitions.prefixes.delete(known.tenant, known.vrf, known.unit))
        await note(services, request, "prefix-delete", known.tenant, _text(known.unit))


def _add_next(router: APIRouter, services: Services, definitions: Definitions, keys: Idempotency) -> None:
    @router.post(
        "/prefixes/{prefix:path}/next-available",
        status_code=201,
        response_model=PrefixView,
        dependencies=[scope("ipam:write")],
    )
    async def next_available(
        request: Request,
        prefix: str,
        wish: NextPrefixWish,
        idempotency_key: Annotated[str | None, Header(min_length=8, max_length=200)] = None,
        tenant: str | None = None,
        vrf: str = "",
    ) -> Response | PrefixView:
        under = _find(services, definitions, prefix, tenant, vrf).prefix
        wanted = Prefix(
            tenant=under.tenant,
            vrf=under.vrf,
            unit=under.unit,
            role=wish.role,
            site=wish.site or under.site,
            state=wish.state,
            name=wish.name,
        )

        async def act(once: Once | None) -> PrefixView:
            async def also(connection: AsyncConnection, taken: Prefix) -> None:
                if once is not None:
                    # As it will be; nothing lies in what is free, so the view is known before it is there.
                    await once.keep(connection, _new_view(taken, under, definitions), 201)

            placed = done(await definitions.prefixes.add_next(wanted, wish.length, also))
            await note(services, request, "prefix-add", under.tenant, _text(placed.prefix.unit), wish)
            return _new_view(placed.prefix, under, definitions)

        if idempotency_key is None:
            return await act(None)
        return await keys.once(request, idempotency_key, _WHAT, act, 201)


def _add_vrfs(router: APIRouter, services: Services, definitions: Definitions) -> None:
    def view(vrf: Vrf) -> VrfView:
        shelves = definitions.addresses.register.shelves.values()
        mine = [
            each
            for each in shelves
            if (each.pool.tenant, each.pool.vrf) == (vrf.tenant, vrf.name)
            and each.pool.kind is not Kind.FIXED
        ]
        return VrfView(tenant=vrf.tenant, name=vrf.name, distinguisher=vrf.distinguisher, pools=len(mine))

    @router.get("/vrfs", dependencies=[scope("ipam:read")])
    async def vrfs(tenant: str | None = None) -> Page[VrfView]:
        tenants(services, tenant)
        items = [view(each) for each in definitions.prefixes.vrfs(tenant)]
        return Page(items=items, count=len(items), limit=len(items), offset=0)

    @router.put("/vrfs", dependencies=[scope("ipam:write", Reach.OWN)])
    async def put(request: Request, wish: VrfWish) -> VrfView:
        owner = own_tenant(services, whose(request, wish.tenant))
        saved = await definitions.prefixes.save_vrf(
            Vrf(tenant=owner, name=wish.name, distinguisher=wish.distinguisher)
        )
        await note(services, request, "vrf-add", owner, wish.name, wish)
        return view(saved)

    @router.delete("/vrfs/{name:path}", status_code=204, dependencies=[scope("ipam:write")])
    async def delete(request: Request, name: str, tenant: str | None = None) -> None:
        owner = own_tenant(services, tenant)
        done(await definitions.prefixes.delete_vrf(owner, vrf_name(name) or ""))
        await note(services, request, "vrf-delete", owner, name)


def prefix_view(definitions: Definitions, placed: Placed) -> PrefixView:
    """Return a prefix as it is shown."""
    prefix = placed.prefix
    pools = definitions.prefixes.pools_inside(prefix.tenant, prefix.vrf, prefix.unit)
    return PrefixView(
        tenant=prefix.tenant,
        vrf=prefix.vrf,
        prefix=_text(prefix.unit),
        parent=None if placed.parent is None else _text(placed.parent),
        depth=placed.depth,
        role=prefix.role,
        site=prefix.site,
        state=prefix.state,
        name=prefix.name,
        slots=placed.use.slots,
        used=placed.use.used,
        used_percent=placed.use.percent,
        pools=[
            PrefixPoolView(
                name=pool.name, kind=pool.kind.value, slots=use.slots, used=use.used, used_percent=use.percent
            )
            for pool, use in pools
        ],
    )


def _new_view(prefix: Prefix, under: Prefix, definitions: Definitions) -> PrefixView:
    """Return a prefix that was free until now, as it is shown: nothing is in it."""
    placed = definitions.prefixes.place_of(under)
    return PrefixView(
        tenant=prefix.tenant,
        vrf=prefix.vrf,
        prefix=_text(prefix.unit),
        parent=_text(under.unit),
        depth=placed.depth + 1,
        role=prefix.role,
        site=prefix.site,
        state=prefix.state,
        name=prefix.name,
        slots=0,
        used=0,
        used_percent=0.0,
        pools=[],
    )


def _text(unit: Unit) -> str:
    """Return a prefix with its length, whatever that is."""
    shown = str(unit)
    return shown if "/" in shown else f"{shown}/{unit.length}"
