"""The routes about plans and policy: what plans say, on the wire too, and whom candidate data would change."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request

from daemon.aaa import dryrun
from daemon.aaa.dryrun import Answer, Verdict, View
from daemon.aaa.nas import Client
from daemon.aaa.reasons import Deny
from daemon.api.candidate import DataChanging, candidate
from daemon.api.listing import sliced
from daemon.api.lookup import of_one_tenant, tenants
from daemon.api.models import Page
from daemon.api.policy_diff import PolicyDiff
from daemon.api.policy_models import DiffView, PlanView, RenderingView
from daemon.api.security import Reach, scope
from daemon.api.services import Services
from daemon.api.views import attribute_views
from daemon.replica.codec import export
from daemon.replica.index import TenantIndex
from daemon.replica.records import Nas, Plan, Subscriber
from daemon.sync.load import LoadRequest, unrenderable
from radius import vendors
from radius.grant import Access


def add_plans(router: APIRouter, services: Services) -> None:
    """Add the routes under `/plans`, `/renderings` and `/policy-diffs`."""

    @router.get("/plans", dependencies=[scope("plans:read")])
    async def plans(tenant: str | None = None) -> Page[PlanView]:
        counts = await _subscribers(services)
        items = [
            _plan_view(plan, owner, counts)
            for owner in tenants(services, tenant)
            for plan in owner.plans.values()
        ]
        return Page(items=items, count=len(items), limit=len(items), offset=0)

    @router.get("/plans/{name:path}", dependencies=[scope("plans:read")])
    async def plan(name: str, tenant: str | None = None) -> PlanView:
        owners = [each for each in tenants(services, tenant) if name in each.plans]
        (owner,) = of_one_tenant(owners, lambda each: each.tenant.id, name, f"no plan has the id {name}")
        return _plan_view(owner.plans[name], owner, await _subscribers(services))

    @router.get("/renderings", dependencies=[scope("plans:read")])
    async def rendering(
        plan: str,
        nas: str,
        tenant: str | None = None,
        subscriber: str | None = None,
        captive: bool = False,
        access: Access = Access.PPP,
        at: float | None = None,
    ) -> RenderingView:
        return _rendering(services, (tenant, nas, plan), subscriber, captive=captive, access=access, at=at)

    @router.post("/policy-diffs", dependencies=[scope("data:read", Reach.EDGE)])
    async def policy_diff(
        request: Request,
        name: str = "data",
        tenant: str | None = None,
        replace: bool = False,
        recorded: Annotated[int, Query(ge=0, le=100_000)] = 1000,
        limit: Annotated[int, Query(ge=1, le=100_000)] = 1000,
    ) -> DiffView:
        wanted = LoadRequest(
            octets=await request.body(), name=name, tenant=tenant, replace=replace, dry_run=True
        )
        try:
            index, checked = await candidate(services, wanted)
        except DataChanging as error:
            raise HTTPException(409, error.__doc__) from None
        return await PolicyDiff(services, index, limit).run(recorded, checked.warnings)


async def _subscribers(services: Services) -> Counter[tuple[str, str | None]]:
    """Return how many subscribers have each plan, by tenant and plan."""
    counts: Counter[tuple[str, str | None]] = Counter()
    for tenant in list(services.index.tenants.values()):
        async for each in sliced(list(tenant.subscribers.values())):
            counts[(each.tenant, each.plan)] += 1
    return counts


def _plan_view(plan: Plan, tenant: TenantIndex, counts: Counter[tuple[str, str | None]]) -> PlanView:
    body = export(plan, secrets=False)["body"]
    assert isinstance(body, dict)
    return PlanView(
        tenant=plan.tenant,
        id=plan.id,
        body=body,
        subscribers=counts[(plan.tenant, plan.id)],
        unsaid={nas.id: unsaid for nas in tenant.nases.values() if (unsaid := _unsaid(plan, nas))},
    )


def _unsaid(plan: Plan, nas: Nas) -> list[str]:
    """Return what a NAS of that vendor cannot be told of a plan; where it is refused, why."""
    refused = unrenderable(plan, nas)
    if refused is not None:
        return [f"refused: {refused}"]
    profile = vendors.find(nas.vendor)
    assert profile is not None, "the wire models admit known vendors only"
    return list(profile.unsaid(dryrun.grant_of(plan)))


def _rendering(
    services: Services,
    named: tuple[str | None, str, str],
    subscriber: str | None,
    *,
    captive: bool,
    access: Access,
    at: float | None,
) -> RenderingView:
    view = View(services.index, services.aaa.books, services.aaa.replies.defaults)
    client, plan = _places(services, view, *named)
    who = None if subscriber is None else _subscriber(client.index, subscriber)
    now = services.clock.wall()
    if captive:
        verdict = dryrun.render_garden(view, client, who, plan.access or access, now)
    else:
        verdict = dryrun.render(view, client, plan, who, access, at, now)
    prepared = verdict.prepared
    return RenderingView(
        tenant=plan.tenant,
        plan=plan.id,
        nas=client.nas.id,
        vendor=client.nas.vendor,
        subscriber=None if who is None else who.id,
        answer=verdict.answer,
        reason=verdict.reason,
        meaning=_meaning(verdict),
        attributes=[] if prepared is None else attribute_views(prepared.rendered, services.dictionary),
        unsaid=[] if prepared is None else list(client.profile.unsaid(prepared.grant)),
    )


def _places(services: Services, view: View, tenant: str | None, nas: str, plan: str) -> tuple[Client, Plan]:
    """Return a NAS and a plan of its tenant. Raises HTTPException: 404 without such, 409 where tenants share both."""
    owners = [each.tenant.id for each in tenants(services, tenant)]
    found = [client for each in owners if (client := view.clients.get(each, nas)) is not None]
    if not found:
        raise HTTPException(404, f"no NAS has the id {nas}")
    both = [client for client in found if plan in client.index.plans]
    missing = f"the tenant of {nas} has no plan {plan}"
    (client,) = of_one_tenant(both, lambda each: each.nas.tenant, f"{nas} and {plan}", missing)
    return client, client.index.plans[plan]


def _subscriber(tenant: TenantIndex, name: str) -> Subscriber:
    found = tenant.subscribers.get(name) or tenant.usernames.get(name.encode())
    if found is None:
        raise HTTPException(404, f"no subscriber of {tenant.tenant.id} has the id or user name {name}")
    return found


def _meaning(verdict: Verdict) -> str:
    if verdict.detail:
        return verdict.detail
    if verdict.reason:
        return Deny(verdict.reason).meaning
    return "the walled garden" if verdict.answer is Answer.CAPTIVE else "the plan"
