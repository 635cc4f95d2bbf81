"""The routes behind the command line, on the admin socket."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request

from daemon.aaa import explain
from daemon.aaa.session import State
from daemon.aaa.session_codec import framed_ip
from daemon.aaa.staff.access import StaffDecision
from daemon.api import views
from daemon.api.addresses import add_addresses
from daemon.api.coa import add_coa
from daemon.api.events import add_events
from daemon.api.listing import page, sliced
from daemon.api.lookup import find_subscriber, of_one_tenant, tenants
from daemon.api.models import (
    CandidateView,
    DecisionView,
    LoadView,
    NasView,
    Page,
    ReloadView,
    StatusView,
    SubscriberView,
)
from daemon.api.plans import add_plans
from daemon.api.services import Services
from daemon.api.sessions import add_sessions
from daemon.api.staff import add_staff
from daemon.api.usage import add_usage
from daemon.replica.records import AccessMode, Subscriber
from daemon.sync.load import LoadRequest
from radius.line import canonical_mac

_Limit = Annotated[int, Query(ge=1, le=10_000)]
_Offset = Annotated[int, Query(ge=0, le=100_000)]


def admin_router(services: Services) -> APIRouter:
    """Return the routes under `/api/v1`."""
    router = APIRouter(prefix="/api/v1")
    _add_daemon(router, services)
    _add_data(router, services)
    _add_subscribers(router, services)
    _add_nas(router, services)
    add_sessions(router, services)
    add_coa(router, services)
    add_events(router, services)
    add_plans(router, services)
    add_usage(router, services)
    add_staff(router, services)
    add_addresses(router, services)
    _add_decisions(router, services)
    return router


def _add_daemon(router: APIRouter, services: Services) -> None:
    @router.get("/status")
    async def status() -> StatusView:
        return services.status()

    @router.post("/config/reload")
    async def reload() -> ReloadView:
        return await services.reload()

    @router.get("/journal/count")
    async def journal_count() -> dict[str, int]:
        return {"records": services.aaa.journal.last_seq}


def _add_data(router: APIRouter, services: Services) -> None:
    @router.post("/data")
    async def load(
        request: Request,
        name: str = "data",
        tenant: str | None = None,
        replace: bool = False,
        dry_run: bool = False,
    ) -> LoadView:
        octets = await request.body()
        wanted = LoadRequest(octets=octets, name=name, tenant=tenant, replace=replace, dry_run=dry_run)
        done = await services.load(wanted)
        warnings = [str(warning) for warning in done.warnings]
        return LoadView(**asdict(done.applied), warnings=warnings, dry_run=dry_run)

    @router.get("/data")
    async def export(secrets: bool = False) -> Page[dict[str, object]]:
        objects = await services.export(secrets)
        return Page(items=objects, count=len(objects), limit=len(objects), offset=0)


def _add_subscribers(router: APIRouter, services: Services) -> None:
    async def online() -> dict[tuple[str, str], int]:
        counts: dict[tuple[str, str], int] = {}
        async for session in sliced(services.aaa.sessions.snapshot()):
            if session.state is State.ACTIVE and session.subscriber:
                key = (session.tenant, session.subscriber)
                counts[key] = counts.get(key, 0) + 1
        return counts

    @router.get("/subscribers")
    async def subscribers(
        search: str | None = None,
        plan: str | None = None,
        access_mode: AccessMode | None = None,
        tenant: str | None = None,
        limit: _Limit = 100,
        offset: _Offset = 0,
    ) -> Page[SubscriberView]:
        live = await online()
        everybody = [each for owner in tenants(services, tenant) for each in owner.subscribers.values()]

        def wanted(subscriber: Subscriber) -> bool:
            return (
                (plan is None or subscriber.plan == plan)
                and (access_mode is None or subscriber.access_mode == access_mode)
                and (search is None or _mentions(subscriber, search))
            )

        def view(subscriber: Subscriber) -> SubscriberView:
            return views.subscriber_view(subscriber, live.get((subscriber.tenant, subscriber.id), 0))

        return await page(everybody, wanted, view, limit=limit, offset=offset)

    @router.get("/subscribers/{name:path}")
    async def subscriber(name: str, tenant: str | None = None) -> SubscriberView:
        _, found = find_subscriber(services, name, tenant)
        return views.subscriber_view(found, (await online()).get((found.tenant, found.id), 0))


def _mentions(subscriber: Subscriber, text: str) -> bool:
    return any(text in each for each in (subscriber.id, *subscriber.usernames, *subscriber.macs))


def _add_nas(router: APIRouter, services: Services) -> None:
    def all_views(tenant: str | None) -> list[NasView]:
        owners = {each.tenant.id for each in tenants(services, tenant)}
        services.aaa.clients.turn()
        live = services.aaa.sessions.counts()
        out = []
        for nas in services.index.nases():
            client = services.aaa.clients.get(nas.tenant, nas.id)
            if client is not None and nas.tenant in owners:
                out.append(views.nas_view(client, live.get((nas.tenant, nas.id, State.ACTIVE), 0)))
        return sorted(out, key=lambda each: (each.tenant, each.id))

    @router.get("/nas")
    async def nas_list(tenant: str | None = None, limit: _Limit = 1000, offset: _Offset = 0) -> Page[NasView]:
        every = all_views(tenant)
        return Page(items=every[offset : offset + limit], count=len(every), limit=limit, offset=offset)

    @router.get("/nas/{name:path}")
    async def nas(name: str, tenant: str | None = None) -> NasView:
        found = [each for each in all_views(tenant) if each.id == name]
        return of_one_tenant(found, lambda each: each.tenant, name, f"no NAS has the id {name}")[0]

    @router.get("/nas-candidates")
    async def candidates() -> Page[CandidateView]:
        items = [views.candidate_view(each) for each in services.aaa.clients.candidates()]
        return Page(items=items, count=len(items), limit=len(items), offset=0)


def _add_decisions(router: APIRouter, services: Services) -> None:
    @router.get("/decisions")
    async def decisions(subject: str, limit: Annotated[int, Query(ge=1, le=1000)] = 5) -> Page[DecisionView]:
        mac = canonical_mac(subject)
        wanted = await _user_of_address(services, subject) or subject
        items: list[DecisionView] = []
        async for decision in sliced(services.aaa.trace.newest_first()):
            if explain.matches(decision, wanted, mac):
                items.append(
                    views.decision_view(decision, services.dictionary, services.aaa.leasing.attributes)
                )
                if len(items) == limit:
                    break
        items += _of_staff(services, wanted, limit)
        items.sort(key=lambda each: -each.at)
        del items[limit:]
        return Page(items=items, count=len(items), limit=limit, offset=0)


def _of_staff(services: Services, wanted: str, most: int) -> list[DecisionView]:
    """Return the latest decisions about a member of staff, by user name or id."""
    found: list[DecisionView] = []
    for decision in services.aaa.staff_trace.newest_first():
        assert isinstance(decision, StaffDecision), "the trace of staff has no others"
        known = decision.staff is not None and decision.staff.id == wanted
        if known or explain.matches(decision, wanted, None):
            found.append(views.staff_decision_view(decision, services.dictionary))
            if len(found) == most:
                break
    return found


async def _user_of_address(services: Services, subject: str) -> str | None:
    """Return the user name behind an address that a live session has."""
    async for session in sliced(services.aaa.sessions.snapshot()):
        if session.state is State.ACTIVE and framed_ip(session) == subject:
            return session.username
    return None
