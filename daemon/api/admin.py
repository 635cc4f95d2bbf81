"""The routes behind the command line, on the admin socket."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request

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
from daemon.api.outbox import add_outbox
from daemon.api.plans import add_plans
from daemon.api.security import Reach, principal_of, scope
from daemon.api.security.audited import note_about
from daemon.api.services import Services
from daemon.api.sessions import add_sessions
from daemon.api.staff import add_staff
from daemon.api.sync_feed_desks import sync_feeds
from daemon.api.sync_feeds import add_sync_feeds
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
    add_outbox(router, services.exchange.outbox, services.clock)
    add_sync_feeds(router, sync_feeds(services.exchange, services.clock))
    add_plans(router, services)
    add_usage(router, services)
    add_staff(router, services)
    add_addresses(router, services)
    _add_decisions(router, services)
    return router


def _add_daemon(router: APIRouter, services: Services) -> None:
    @router.get("/status", dependencies=[scope("status:read", Reach.EDGE)])
    async def status() -> StatusView:
        return services.status()

    @router.post("/config/reload", dependencies=[scope("config:write", Reach.EDGE)])
    async def reload() -> ReloadView:
        return await services.reload()

    @router.get("/journal/count", dependencies=[scope("status:read", Reach.EDGE)])
    async def journal_count() -> dict[str, int]:
        return {"records": services.aaa.journal.last_seq}


def _add_data(router: APIRouter, services: Services) -> None:
    @router.post("/data", dependencies=[scope("data:write", Reach.EDGE)])
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

    @router.get("/data", dependencies=[scope("data:read")])
    async def export(
        request: Request, secrets: bool = False, tenant: str | None = None
    ) -> Page[dict[str, object]]:
        if secrets:
            _see_secrets(request)
        tenants(services, tenant)
        objects = await services.export(secrets)
        if tenant is not None:
            objects = [each for each in objects if each.get("tenant", each.get("id")) == tenant]
        return Page(items=objects, count=len(objects), limit=len(objects), offset=0)


def _see_secrets(request: Request) -> None:
    """Let only those see secrets who may set them, and write that down. Raises HTTPException 403."""
    asker = principal_of(request)
    if "data:write" not in asker.scopes:
        raise HTTPException(403, "secrets: only who has the scope data:write may see them")
    note_about(request, "data with secrets")


def _add_subscribers(router: APIRouter, services: Services) -> None:
    async def online() -> dict[tuple[str, str], int]:
        counts: dict[tuple[str, str], int] = {}
        async for session in sliced(services.aaa.sessions.snapshot()):
            if session.state is State.ACTIVE and session.subscriber:
                key = (session.tenant, session.subscriber)
                counts[key] = counts.get(key, 0) + 1
        return counts

    @router.get("/subscribers", dependencies=[scope("subscribers:read")])
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

    @router.get("/subscribers/{name:path}", dependencies=[scope("subscribers:read")])
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

    @router.get("/nas", dependencies=[scope("nas:read")])
    async def nas_list(tenant: str | None = None, limit: _Limit = 1000, offset: _Offset = 0) -> Page[NasView]:
        every = all_views(tenant)
        return Page(items=every[offset : offset + limit], count=len(every), limit=limit, offset=offset)

    @router.get("/nas/{name:path}", dependencies=[scope("nas:read")])
    async def nas(name: str, tenant: str | None = None) -> NasView:
        found = [each for each in all_views(tenant) if each.id == name]
        return of_one_tenant(found, lambda each: each.tenant, name, f"no NAS has the id {name}")[0]

    @router.get("/nas-candidates", dependencies=[scope("nas:read", Reach.EDGE)])
    async def candidates() -> Page[CandidateView]:
        items = [views.candidate_view(each) for each in services.aaa.clients.candidates()]
        return Page(items=items, count=len(items), limit=len(items), offset=0)


def _add_decisions(router: APIRouter, services: Services) -> None:
    @router.get("/decisions", dependencies=[scope("sessions:read")])
    async def decisions(
        subject: str, limit: Annotated[int, Query(ge=1, le=1000)] = 5, tenant: str | None = None
    ) -> Page[DecisionView]:
        tenants(services, tenant)
        mac = canonical_mac(subject)
        wanted = await _user_of_address(services, subject, tenant) or subject
        items: list[DecisionView] = []
        async for decision in sliced(services.aaa.trace.newest_first()):
            if tenant in (None, decision.client.nas.tenant) and explain.matches(decision, wanted, mac):
                items.append(
                    views.decision_view(decision, services.dictionary, services.aaa.leasing.attributes)
                )
                if len(items) == limit:
                    break
        items += _of_staff(services, wanted, limit, tenant)
        items.sort(key=lambda each: -each.at)
        del items[limit:]
        return Page(items=items, count=len(items), limit=limit, offset=0)


def _of_staff(services: Services, wanted: str, most: int, tenant: str | None) -> list[DecisionView]:
    """Return the latest decisions about a member of staff, by user name or id."""
    found: list[DecisionView] = []
    for decision in services.aaa.staff_trace.newest_first():
        assert isinstance(decision, StaffDecision), "the trace of staff has no others"
        if tenant not in (None, decision.client.nas.tenant):
            continue
        known = decision.staff is not None and decision.staff.id == wanted
        if known or explain.matches(decision, wanted, None):
            found.append(views.staff_decision_view(decision, services.dictionary))
            if len(found) == most:
                break
    return found


async def _user_of_address(services: Services, subject: str, tenant: str | None) -> str | None:
    """Return the user name behind an address that a live session has."""
    async for session in sliced(services.aaa.sessions.snapshot()):
        here = tenant in (None, session.tenant) and session.state is State.ACTIVE
        if here and framed_ip(session) == subject:
            return session.username
    return None
