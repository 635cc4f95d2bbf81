"""The routes behind the command line, on the admin socket."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request

from daemon.aaa import explain
from daemon.aaa.session import Session, State
from daemon.aaa.session_codec import framed_ip, from_row
from daemon.api import views
from daemon.api.listing import page, sliced
from daemon.api.models import (
    CandidateView,
    DecisionView,
    LoadView,
    NasView,
    Page,
    ReloadView,
    SessionView,
    StatusView,
    SubscriberView,
)
from daemon.api.services import Services
from daemon.replica.records import Subscriber
from daemon.store import session_rows
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
    _add_sessions(router, services)
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
        return {"records": services.journal_records()}


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
        async for session in sliced(services.sessions.snapshot()):
            if session.state is State.ACTIVE and session.subscriber:
                key = (session.tenant, session.subscriber)
                counts[key] = counts.get(key, 0) + 1
        return counts

    @router.get("/subscribers")
    async def subscribers(
        search: str | None = None,
        plan: str | None = None,
        access_mode: str | None = None,
        limit: _Limit = 100,
        offset: _Offset = 0,
    ) -> Page[SubscriberView]:
        live = await online()
        everybody = [
            each for tenant in services.index.tenants.values() for each in tenant.subscribers.values()
        ]

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
    async def subscriber(name: str) -> SubscriberView:
        for tenant in services.index.tenants.values():
            found = tenant.subscribers.get(name) or tenant.usernames.get(name.encode())
            if found is not None:
                return views.subscriber_view(found, (await online()).get((found.tenant, found.id), 0))
        raise HTTPException(404, f"no subscriber has the id or user name {name}")


def _mentions(subscriber: Subscriber, text: str) -> bool:
    return any(text in each for each in (subscriber.id, *subscriber.usernames, *subscriber.macs))


def _add_nas(router: APIRouter, services: Services) -> None:
    def all_views() -> list[NasView]:
        services.clients.turn()
        live = services.sessions.counts()
        out = []
        for nas in services.index.nases():
            client = services.clients.get(nas.tenant, nas.id)
            if client is not None:
                out.append(views.nas_view(client, live.get((nas.tenant, nas.id, State.ACTIVE), 0)))
        return sorted(out, key=lambda each: (each.tenant, each.id))

    @router.get("/nas")
    async def nas_list(limit: _Limit = 1000, offset: _Offset = 0) -> Page[NasView]:
        every = all_views()
        return Page(items=every[offset : offset + limit], count=len(every), limit=limit, offset=offset)

    @router.get("/nas/{name:path}")
    async def nas(name: str) -> NasView:
        for each in all_views():
            if each.id == name:
                return each
        raise HTTPException(404, f"no NAS has the id {name}")

    @router.get("/nas-candidates")
    async def candidates() -> Page[CandidateView]:
        items = [views.candidate_view(each) for each in services.clients.candidates()]
        return Page(items=items, count=len(items), limit=len(items), offset=0)


def _add_sessions(router: APIRouter, services: Services) -> None:
    @router.get("/sessions")
    async def sessions(
        username: str | None = None,
        nas: str | None = None,
        address: str | None = None,
        state: str | None = None,
        limit: _Limit = 100,
        offset: _Offset = 0,
    ) -> Page[SessionView]:
        def wanted(session: Session) -> bool:
            return (
                (username is None or session.username == username)
                and (nas is None or session.nas == nas)
                and (state is None or session.state == state)
                and (address is None or framed_ip(session) == address)
            )

        snapshot = services.sessions.snapshot()
        if state != State.ACTIVE:
            snapshot += await _closed_earlier(username, nas, address, limit + offset)
        snapshot.sort(key=lambda session: -session.started_at)
        return await page(snapshot, wanted, views.session_view, limit=limit, offset=offset)

    async def _closed_earlier(
        username: str | None, nas: str | None, address: str | None, limit: int
    ) -> list[Session]:
        """Return closed sessions that only the store still has."""
        search = session_rows.Search(username=username, nas=nas, framed_ip_address=address, limit=limit)
        rows = await session_rows.search_closed(services.engine, search)
        return [from_row(row) for row in rows if services.sessions.find_uid(row.uid) is None]

    @router.get("/sessions/{name:path}")
    async def session(name: str) -> SessionView:
        octets = name.encode()
        newest: Session | None = None
        async for each in sliced(services.sessions.snapshot()):
            if str(each.uid) == name:
                return views.session_view(each)
            if each.acct_session_id == octets and (newest is None or each.started_at > newest.started_at):
                newest = each
        if newest is not None:
            return views.session_view(newest)
        rows = await session_rows.find_by_acct_session_id(services.engine, octets)
        if not rows:
            raise HTTPException(404, f"no session has the number or Acct-Session-Id {name}")
        return views.session_view(from_row(max(rows, key=lambda row: row.started_at)))


def _add_decisions(router: APIRouter, services: Services) -> None:
    @router.get("/decisions")
    async def decisions(subject: str, limit: Annotated[int, Query(ge=1, le=1000)] = 5) -> Page[DecisionView]:
        mac = canonical_mac(subject)
        wanted = await _user_of_address(services, subject) or subject
        items: list[DecisionView] = []
        async for decision in sliced(services.trace.newest_first()):
            if explain.matches(decision, wanted, mac):
                items.append(views.decision_view(decision, services.dictionary))
                if len(items) == limit:
                    break
        return Page(items=items, count=len(items), limit=limit, offset=0)


async def _user_of_address(services: Services, subject: str) -> str | None:
    """Return the user name behind an address that a live session has."""
    async for session in sliced(services.sessions.snapshot()):
        if session.state is State.ACTIVE and framed_ip(session) == subject:
            return session.username
    return None
