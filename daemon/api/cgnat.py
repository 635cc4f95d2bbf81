"""The routes about CGNAT: plans by version, proposals, look-ups by arithmetic, checks of what a device does.

Who was behind an outside address is asked at `who-had`; here are the numbers only, and it is in the audit as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, fields
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, NoReturn

from fastapi import APIRouter, HTTPException, Query, Request

from daemon.api import cgnat_views as views
from daemon.api.cgnat_models import (
    CgnatPlanDetailView,
    CgnatPlanView,
    DemandIn,
    PlanAdd,
    PlanAnswerView,
    PlanHolderView,
    PortsView,
    ProposalView,
    VerificationView,
)
from daemon.api.models import Page
from daemon.api.security import Reach, scope, whose
from daemon.api.security.audited import note_about
from daemon.leases.cgnat import Cgnat, PlanRefused, StoredPlan
from ipam.cgnat import MAX_PORT, DeterministicPlan, PlanInvalid
from ipam.cgnat_check import Seen, Unreadable, check, read_export
from ipam.cgnat_devices import Device
from ipam.cgnat_plan import PORTS_PER_SUBSCRIBER, Demand, NoPlan, make_plan

_MOST = 16 * 1024 * 1024  # octets of an export
_DIFFERENCES = 100
_DEMAND = frozenset(field.name for field in fields(Demand))
_PLAN = frozenset(PlanAdd.model_fields) - {"tenant", "name", "valid_from"}

At = Annotated[float, Query(allow_inf_nan=False)]
TenantOf = Callable[[str | None], str]
"""Returns the tenant that is meant; raises HTTPException where there is no such, or it is not clear which."""


def add_cgnat(router: APIRouter, cgnat: Cgnat, tenant_of: TenantOf, wall: Callable[[], float]) -> None:
    """Add the routes under `/ipam/cgnat`; `wall` is the time of now, epoch seconds."""
    own = APIRouter(prefix="/ipam/cgnat", strict_content_type=False)  # the command line sends plain octets
    _add_plans(own, cgnat, tenant_of, wall)
    _add_changes(own, cgnat, tenant_of, wall)
    _add_lookups(own, cgnat, tenant_of)
    router.include_router(own)


def _add_plans(router: APIRouter, cgnat: Cgnat, tenant_of: TenantOf, wall: Callable[[], float]) -> None:
    @router.get("/plans", dependencies=[scope("ipam:read")])
    async def plans(tenant: str | None = None, every: bool = False) -> Page[CgnatPlanView]:
        """Every version is asked for with `every`, else those in force and to come."""
        at = wall()
        wanted = [
            each
            for each in cgnat.stored(None if tenant is None else tenant_of(tenant))
            if every or each.plan.valid_until is None or each.plan.valid_until > at
        ]
        items = [views.plan_view(each.tenant, each.plan, at, each.added_at) for each in wanted]
        return Page(items=items, count=len(items), limit=len(items), offset=0)

    @router.get("/plans/{name}", dependencies=[scope("ipam:read")])
    async def plan(
        name: str,
        tenant: str | None = None,
        version: int | None = None,
        device: Device | None = None,
        rows: Annotated[int, Query(ge=0, le=1_000_000)] = 10,
    ) -> CgnatPlanDetailView:
        found = _find(cgnat, tenant_of(tenant), name, version)
        return await asyncio.to_thread(views.detail_view, found, wall(), rows, device)

    @router.post("/plan-proposals", dependencies=[scope("ipam:read", Reach.OPEN)])
    async def proposal(demand: DemandIn, device: Device | None = None) -> ProposalView:
        wanted = {key: value for key, value in demand.model_dump().items() if key in _DEMAND}
        wanted["ports_per_subscriber"] = demand.ports_per_subscriber or PORTS_PER_SUBSCRIBER
        made = make_plan(Demand(**wanted), plan_id=demand.name)
        if isinstance(made, NoPlan):
            return ProposalView(
                plan=None, reason=made.slug, problem=made.problem, alternatives=list(made.alternatives)
            )
        return await asyncio.to_thread(views.proposal_view, made, wall(), device)


def _add_changes(router: APIRouter, cgnat: Cgnat, tenant_of: TenantOf, wall: Callable[[], float]) -> None:
    @router.post("/plans", status_code=201, dependencies=[scope("ipam:write", Reach.OWN)])
    async def add(request: Request, body: PlanAdd) -> CgnatPlanView:
        tenant, at = tenant_of(whose(request, body.tenant)), wall()
        numbers = {key: value for key, value in body.model_dump().items() if key in _PLAN}
        valid_from = at if body.valid_from is None else body.valid_from
        try:
            plan = DeterministicPlan(id=body.name, version=1, valid_from=valid_from, **numbers)
        except PlanInvalid as error:
            raise HTTPException(422, str(error)) from None
        done = await cgnat.add(tenant, plan, at)
        if isinstance(done, PlanRefused):
            _refuse(done)
        return views.plan_view(tenant, done.plan, at, done.added_at)

    @router.post("/plans/{name}/end", dependencies=[scope("ipam:write")])
    async def end(name: str, tenant: str | None = None, at: At | None = None) -> CgnatPlanView:
        owner, now = tenant_of(tenant), wall()
        done = await cgnat.end(owner, name, now if at is None else at, now)
        if done is None:
            raise HTTPException(404, f"{owner} has no CGNAT plan {name}")
        if isinstance(done, PlanRefused):
            _refuse(done)
        return views.plan_view(owner, done.plan, now, done.added_at)


def _add_lookups(router: APIRouter, cgnat: Cgnat, tenant_of: TenantOf) -> None:
    @router.get("/ports", dependencies=[scope("ipam:read")])
    async def ports(inside: IPv4Address | IPv6Address, at: At, tenant: str | None = None) -> Page[PortsView]:
        owner = tenant_of(tenant)
        items: list[PortsView] = []
        if isinstance(inside, IPv4Address):
            items += [views.planned_ports(owner, each) for each in cgnat.of_tenant(owner).ports(inside, at)]
        items += [views.reported_ports(owner, each) for each in await cgnat.ports(owner, str(inside), at)]
        return Page(items=items, count=len(items), limit=len(items), offset=0)

    @router.get("/holders", dependencies=[scope("who-had:read")])
    async def holders(
        request: Request,
        outside: IPv4Address,
        at: At,
        port: Annotated[int | None, Query(ge=0, le=MAX_PORT)] = None,
        skew: Annotated[float, Query(ge=0, le=86_400)] = 0.0,
        tenant: str | None = None,
    ) -> PlanAnswerView:
        owner = tenant_of(tenant)
        shown = outside if port is None else f"{outside}:{port}"
        note_about(request, f"holders of {shown} at {at:.3f} +-{skew:g} s (tenant {owner})")
        answer = cgnat.of_tenant(owner).holders(outside, port, at, skew)
        return PlanAnswerView(
            holders=[
                PlanHolderView(
                    tenant=owner,
                    inside=str(each.inside),
                    plan=each.plan,
                    version=each.version,
                    **views.ports_of(each.ports),
                )
                for each in answer.holders
            ],
            silences=[f"{each.plan} {each.why}".strip() for each in answer.silences],
        )

    @router.post("/plans/{name}/verifications", dependencies=[scope("ipam:read")])
    async def verify(
        name: str, request: Request, tenant: str | None = None, version: int | None = None
    ) -> VerificationView:
        found = _find(cgnat, tenant_of(tenant), name, version)
        octets = await request.body()
        if len(octets) > _MOST:
            raise HTTPException(413, f"the export has {len(octets)} octets, at most {_MOST} are read")
        return await asyncio.to_thread(_verified, found, octets.decode("utf-8", "replace"))


def _verified(stored: StoredPlan, text: str) -> VerificationView:
    lines = list(read_export(text))
    seen = [each for each in lines if isinstance(each, Seen)]
    wrong = [each for each in lines if isinstance(each, Unreadable)]
    differences = list(check(stored.plan, seen))
    return VerificationView(
        tenant=stored.tenant,
        name=stored.plan.id,
        version=stored.plan.version,
        checked=len(seen),
        different=len(differences),
        unreadable=len(wrong),
        differences=[views.difference_view(each) for each in differences[:_DIFFERENCES]],
        problems=[views.UnreadableView(**asdict(each)) for each in wrong[:_DIFFERENCES]],
        limit=_DIFFERENCES,
    )


def _find(cgnat: Cgnat, tenant: str, name: str, version: int | None) -> StoredPlan:
    """Return a version of a plan, the latest where none is named. Raises HTTPException 404."""
    mine = [each for each in cgnat.stored(tenant) if each.plan.id == name]
    wanted = [each for each in mine if version in (None, each.plan.version)]
    if not wanted:
        what = f"CGNAT plan {name}" if not mine else f"version {version} of the CGNAT plan {name}"
        raise HTTPException(404, f"{tenant} has no {what}")
    return wanted[-1]


def _refuse(refused: PlanRefused) -> NoReturn:
    raise HTTPException(409, "; ".join(refused.problems))
