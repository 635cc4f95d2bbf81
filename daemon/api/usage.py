"""The routes about what subscribers have used, and what they are tied to."""

from __future__ import annotations

from math import isinf

from fastapi import APIRouter, HTTPException, Response

from daemon.aaa.bindings import Binding
from daemon.aaa.usage import Balance, Usage, balances
from daemon.aaa.windows import PLACE, WINDOWS, frame_of
from daemon.api.listing import sliced
from daemon.api.lookup import find_subscriber, tenants
from daemon.api.models import Page
from daemon.api.policy_models import AllowanceView, BindingView, UsageView, WindowView
from daemon.api.security import scope
from daemon.api.services import Services
from daemon.replica.index import TenantIndex
from daemon.replica.records import Subscriber
from daemon.replica.rules import NO_RULES, Rules
from daemon.replica.rules_codec import wire_treatment


def add_usage(router: APIRouter, services: Services) -> None:
    """Add the routes under `/subscriber-usages` and `/subscriber-bindings`."""

    @router.get("/subscriber-usages/{name:path}", dependencies=[scope("subscribers:read")])
    async def usage(name: str, tenant: str | None = None) -> UsageView:
        owner, subscriber = find_subscriber(services, name, tenant)
        used = services.aaa.books.usage.find(subscriber.tenant, subscriber.id)
        return _usage_view(owner, subscriber, used, services.clock.wall())

    @router.get("/subscriber-bindings", dependencies=[scope("subscribers:read")])
    async def bindings(tenant: str | None = None) -> Page[BindingView]:
        find, items = services.aaa.books.bindings.find, []
        for owner in tenants(services, tenant):
            async for each in sliced(list(owner.subscribers.values())):
                binding = find(each.tenant, each.id)
                if binding is not None:
                    items.append(_binding_view(each, binding))
        return Page(items=items, count=len(items), limit=len(items), offset=0)

    @router.get("/subscriber-bindings/{name:path}", dependencies=[scope("subscribers:read")])
    async def binding(name: str, tenant: str | None = None) -> BindingView:
        _, subscriber = find_subscriber(services, name, tenant)
        found = services.aaa.books.bindings.find(subscriber.tenant, subscriber.id)
        if found is None:
            raise HTTPException(404, f"{subscriber.id} is tied to nothing")
        return _binding_view(subscriber, found)

    @router.delete(
        "/subscriber-bindings/{name:path}", status_code=204, dependencies=[scope("subscribers:write")]
    )
    async def unbind(name: str, tenant: str | None = None) -> Response:
        _, subscriber = find_subscriber(services, name, tenant)
        if not services.aaa.books.bindings.forget(subscriber.tenant, subscriber.id):
            raise HTTPException(404, f"{subscriber.id} is tied to nothing")
        return Response(status_code=204)


def _usage_view(tenant: TenantIndex, subscriber: Subscriber, usage: Usage | None, at: float) -> UsageView:
    plan = tenant.plans.get(subscriber.plan or "")
    rules = NO_RULES if plan is None else plan.rules
    found = balances(usage, rules, subscriber.bonus_octets, at, tenant.zone)
    return UsageView(
        tenant=subscriber.tenant,
        subscriber=subscriber.id,
        plan=subscriber.plan,
        counted_until=None if usage is None else usage.updated_at,
        bonus_octets=subscriber.bonus_octets,
        windows=_windows(tenant, rules, usage, at),
        allowances=[_allowance_view(each) for each in found],
    )


def _windows(tenant: TenantIndex, rules: Rules, usage: Usage | None, at: float) -> list[WindowView]:
    """Return what was used in the windows of now; what was counted in one that is over is not of now."""
    frame = frame_of(at, tenant.zone, rules.month_day)
    out = []
    for window in WINDOWS:
        start, end = frame.starts[PLACE[window]], frame.ends[PLACE[window]]
        tally = None if usage is None else usage.tally(window)
        current = tally if tally is not None and tally.start >= start else None
        out.append(
            WindowView(
                window=window,
                starts_at=start,
                ends_at=None if isinf(end) else end,
                octets_upload=0 if current is None else current.upload_octets,
                octets_download=0 if current is None else current.download_octets,
                seconds=0 if current is None else current.seconds,
                gap="" if current is None else current.gap,
            )
        )
    return out


def _allowance_view(balance: Balance) -> AllowanceView:
    allowance = balance.allowance
    then = wire_treatment(allowance.then)
    return AllowanceView(
        name=allowance.name,
        window=allowance.window,
        measure=allowance.measure,
        direction=allowance.direction,
        used=balance.used.amount,
        most=balance.most,
        left=balance.left,
        gap=balance.used.gap,
        reached=not balance.left,
        acts=balance.acts,
        then=then if isinstance(then, str) else f"{then['download']} down, {then['upload']} up",
    )


def _binding_view(subscriber: Subscriber, binding: Binding) -> BindingView:
    return BindingView(
        tenant=subscriber.tenant,
        subscriber=subscriber.id,
        learned_at=binding.learned_at,
        mac=binding.mac,
        circuit=None if binding.circuit is None else _circuit_text(binding.circuit),
        vlan=binding.vlan,
        port=binding.port,
    )


def _circuit_text(octets: str) -> str:
    """Return a circuit id, kept as hex, as text where it is printable."""
    try:
        text = bytes.fromhex(octets).decode()
    except ValueError:
        return octets
    return text if text.isprintable() else octets
