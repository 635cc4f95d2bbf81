"""The routes about pools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request

from daemon.api.ipam_definitions_answers import done, own_tenant, reading, vrf_name
from daemon.api.ipam_definitions_audit import note
from daemon.api.ipam_models import (
    BlocksView,
    DisconnectView,
    DrainWish,
    ExclusionWish,
    PoolSettings,
    PoolView,
    PoolWish,
    RangeView,
    ResizeWish,
    UseView,
)
from daemon.api.lookup import of_one_tenant, tenants
from daemon.api.models import Page
from daemon.api.security import Reach, scope, whose
from daemon.api.services import Services
from daemon.leases.definitions import Definitions
from daemon.leases.definitions_edits import part_text
from daemon.replica.pools import UNIT_LENGTHS, range_space, span_text
from ipam.address import read_span
from ipam.block_rows import blocks_by_node
from ipam.definition_rows import DefinedBy, Definition
from ipam.kinds import Kind, PoolState
from ipam.model import Pool
from ipam.register import Register

_Limit = Annotated[int, Query(ge=1, le=10_000)]
_Offset = Annotated[int, Query(ge=0, le=100_000)]
_SETTINGS = (
    "site",
    "sticky",
    "hold_s",
    "quarantine_s",
    "min_reuse_s",
    "decline_s",
    "lease_s",
    "tentative_s",
    "low_percent",
    "critical_percent",
)
_SHOWN = ("tenant", "name", "vrf", "unit_length", "first_port", "last_port", *_SETTINGS)


def add_pools(router: APIRouter, services: Services, definitions: Definitions) -> None:
    """Add the routes under `/pools`."""
    _add_reading(router, services, definitions)
    _add_defining(router, services, definitions)
    _add_changing(router, services, definitions)


def find_pool(services: Services, definitions: Definitions, name: str, tenant: str | None) -> Definition:
    """Return a pool by name. Raises HTTPException: 404 for none, 409 where tenants share the name."""
    tenants(services, tenant)
    found = [
        each
        for (owner, known), each in definitions.pools.known.items()
        if known == name and tenant in (None, owner)
    ]
    return of_one_tenant(found, lambda each: each.pool.tenant, name, f"no pool has the name {name}")[0]


def _add_reading(router: APIRouter, services: Services, definitions: Definitions) -> None:
    @router.get("/pools", dependencies=[scope("ipam:read")])
    async def pools(
        tenant: str | None = None,
        kind: Kind | None = None,
        vrf: str | None = None,
        site: str | None = None,
        state: PoolState | None = None,
        limit: _Limit = 1000,
        offset: _Offset = 0,
    ) -> Page[PoolView]:
        tenants(services, tenant)
        name = vrf_name(vrf)
        found = [
            each
            for _, each in sorted(definitions.pools.known.items())
            if tenant in (None, each.pool.tenant)
            and kind in (None, each.pool.kind)
            and name in (None, each.pool.vrf)
            and site in (None, each.pool.site)
            and state in (None, each.pool.state)
        ]
        shown = [pool_view(definitions, each) for each in found[offset : offset + limit]]
        return Page(items=shown, count=len(found), limit=limit, offset=offset)

    @router.get("/pools/{name:path}", dependencies=[scope("ipam:read")])
    async def pool(name: str, tenant: str | None = None) -> PoolView:
        return await _shown(definitions, find_pool(services, definitions, name, tenant))


def _add_defining(router: APIRouter, services: Services, definitions: Definitions) -> None:
    @router.post("/pools", status_code=201, dependencies=[scope("ipam:write", Reach.OWN)])
    async def add(request: Request, wish: PoolWish) -> PoolView:
        made = _new_pool(wish, own_tenant(services, whose(request, wish.tenant)))
        with reading("ranges"):
            added = done(await definitions.pools.add(made, wish.ranges))
        await note(services, request, "pool-add", made.tenant, made.name, wish)
        return await _again(definitions, added)

    @router.patch("/pools/{name:path}", dependencies=[scope("ipam:write")])
    async def change(request: Request, name: str, wish: PoolSettings, tenant: str | None = None) -> PoolView:
        known = find_pool(services, definitions, name, tenant).pool
        edit = _settings(wish)
        changed = done(await definitions.pools.change(known.tenant, known.name, edit))
        await note(services, request, "pool-change", known.tenant, known.name, wish)
        return await _again(definitions, changed)

    @router.delete("/pools/{name:path}", status_code=204, dependencies=[scope("ipam:write")])
    async def delete(request: Request, name: str, tenant: str | None = None) -> None:
        known = find_pool(services, definitions, name, tenant).pool
        done(await definitions.pools.delete(known.tenant, known.name))
        await note(services, request, "pool-delete", known.tenant, known.name)


def _add_changing(router: APIRouter, services: Services, definitions: Definitions) -> None:
    pools = definitions.pools

    @router.post("/pools/{name:path}/resize", dependencies=[scope("ipam:write")])
    async def resize(request: Request, name: str, wish: ResizeWish, tenant: str | None = None) -> PoolView:
        known = find_pool(services, definitions, name, tenant).pool
        with reading("add, remove"):
            changed = done(await pools.resize(known.tenant, known.name, wish.add, wish.remove))
        await note(services, request, "pool-resize", known.tenant, known.name, wish)
        return await _again(definitions, changed)

    @router.post("/pools/{name:path}/drain", dependencies=[scope("ipam:write")])
    async def drain(request: Request, name: str, wish: DrainWish, tenant: str | None = None) -> PoolView:
        known = find_pool(services, definitions, name, tenant)
        key = known.pool.tenant, known.pool.name
        if not (wish.disconnect and known.by is DefinedBy.PLATFORM and _drains(known)):
            with reading("ranges"):
                done(await pools.drain(*key, wish.ranges))
        if wish.disconnect:
            definitions.renumbering.begin(*key, wish.per_second)
        await note(services, request, "pool-drain", *key, wish)
        return await _shown(definitions, pools.known[key])

    @router.post("/pools/{name:path}/undrain", dependencies=[scope("ipam:write")])
    async def undrain(request: Request, name: str, wish: DrainWish, tenant: str | None = None) -> PoolView:
        known = find_pool(services, definitions, name, tenant).pool
        with reading("ranges"):
            changed = done(await pools.drain(known.tenant, known.name, wish.ranges, draining=False))
        definitions.renumbering.stop(known.tenant, known.name)
        await note(services, request, "pool-undrain", known.tenant, known.name, wish)
        return await _again(definitions, changed)

    @router.post("/pools/{name:path}/exclusions", dependencies=[scope("ipam:write")])
    async def exclusions(
        request: Request, name: str, wish: ExclusionWish, tenant: str | None = None
    ) -> PoolView:
        known = find_pool(services, definitions, name, tenant)
        key = known.pool.tenant, known.pool.name
        with reading("add, remove"):
            if wish.add or not wish.remove:
                done(await pools.exclude(*key, wish.add))
            if wish.remove:
                done(await pools.include(*key, wish.remove))
        await note(services, request, "pool-exclude" if wish.add else "pool-include", *key, wish)
        return await _shown(definitions, pools.known[key])


def _drains(known: Definition) -> bool:
    """Tell whether something of a pool drains, by the platform's word."""
    return known.pool.state is not PoolState.ACTIVE or any(each.draining for each in known.pool.ranges)


# --- what is asked for -----------------------------------------------------------------------------


def _settings(wish: PoolSettings) -> Callable[[Pool], Pool]:
    values = {name: getattr(wish, name) for name in _SETTINGS if getattr(wish, name) is not None}
    if wish.fallbacks is not None:
        values["fallbacks"] = tuple(wish.fallbacks)
    if wish.state is not None:
        values["state"] = wish.state
    return lambda pool: replace(pool, **values)


def _new_pool(wish: PoolWish, tenant: str) -> Pool:
    if wish.kind is Kind.FIXED:
        leased = ", ".join(each.value for each in Kind if each is not Kind.FIXED)
        raise HTTPException(
            422,
            f"kind: fixed addresses are in no pool, they come with the data or by a reservation; one of {leased} is "
            f"expected",
        )
    length = wish.unit_length or UNIT_LENGTHS.get(wish.kind)
    if length is None:
        raise HTTPException(
            422, f"unit_length: a pool of kind {wish.kind} needs it: how many ports one block has"
        )
    space = range_space(wish.kind)
    with reading("exclusions"):
        spans = tuple(read_span(space, each) for each in wish.exclusions)
    made = Pool(
        tenant=tenant,
        vrf="" if wish.vrf == "default" else wish.vrf,
        name=wish.name,
        kind=wish.kind,
        unit_length=length,
        ranges=(),
        exclusions=spans,
        order=wish.order,
        first_port=wish.first_port,
        last_port=wish.last_port,
        any_length=wish.any_length,
    )
    return _settings(wish)(made)


# --- what is shown ---------------------------------------------------------------------------------


async def _again(definitions: Definitions, pool: Pool) -> PoolView:
    known = definitions.pools.find(pool.tenant, pool.name)
    return await _shown(definitions, Definition(pool=pool) if known is None else known)


async def _shown(definitions: Definitions, known: Definition) -> PoolView:
    """Return a pool with the nodes that share it."""
    addresses, pool = definitions.addresses, known.pool
    view = pool_view(definitions, known)
    if not addresses.options.shared:
        return view
    async with addresses.engine.connect() as connection:
        found = await blocks_by_node(connection, (pool.tenant, pool.name))
    shown = [BlocksView(node=node, blocks=blocks, slots=slots) for _, _, node, blocks, slots in found]
    return view.model_copy(update={"blocks": shown})


def pool_view(definitions: Definitions, known: Definition) -> PoolView:
    """Return a pool as it is shown, without what other nodes have of it."""
    pool, register = known.pool, definitions.addresses.register
    progress = definitions.renumbering.progress(pool.tenant, pool.name)
    space = range_space(pool.kind)
    return PoolView(
        **{name: getattr(pool, name) for name in _SHOWN},
        kind=pool.kind.value,
        state=pool.state.value,
        origin=known.by.value,
        order=pool.order.value,
        ranges=_ranges(register, known),
        exclusions=[span_text(space, first, last) for first, last in pool.exclusions],
        fallbacks=list(pool.fallbacks),
        use=use_view(register, pool),
        blocks=[],
        disconnecting=None
        if progress is None
        else DisconnectView(asked=progress.asked, live=progress.live, per_second=progress.per_second),
    )


def use_view(register: Register, pool: Pool) -> UseView:
    """Return how full a pool is, as far as its slots are this node's."""
    use = register.utilisation(pool.tenant, pool.name)
    states = ("size", "free", "tentative", "bound", "held", "quarantined", "declined", "reserved", "disabled")
    return UseView(
        **{name: 0 if use is None else getattr(use, name) for name in states},
        used_percent=0.0 if use is None else use.used_percent,
    )


def _ranges(register: Register, known: Definition) -> list[RangeView]:
    pool = known.pool
    shelf = register.find(pool.tenant, pool.name)
    used: dict[int, int] = {}
    for segment in () if shelf is None else shelf.allocator.segments:
        part = None if shelf is None else shelf.range_at(segment.low)
        if part is not None:
            used[part.first_slot] = used.get(part.first_slot, 0) + segment.used
    return [
        RangeView(
            range=part_text(pool, part),
            slots=part.slots,
            first_slot=part.first_slot,
            used=used.get(part.first_slot, 0),
            draining=part.draining,
            leaving=part.first_slot in known.leaving,
        )
        for part in pool.ranges
    ]
