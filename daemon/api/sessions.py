"""The routes about sessions: list, show, kick, compare with the data."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from daemon.aaa.coa.job import Intent, Job, JobState, Kind, view
from daemon.aaa.session import Session
from daemon.api.live_models import JobView, ReconcileView
from daemon.api.lookup import tenants
from daemon.api.models import Page, SessionView
from daemon.api.security import scope
from daemon.api.services import Services
from daemon.api.session_listing import SessionFilter, list_sessions
from daemon.api.session_lookup import find_any, find_live
from daemon.api.session_views import session_view

_SLICE = 200
_MOST_JOBS = 100
_OPERATOR = "operator"  # the reason of what somebody asked for by hand


def add_sessions(router: APIRouter, services: Services) -> None:
    """Add the routes under `/sessions`."""

    @router.get("/sessions", dependencies=[scope("sessions:read")])
    async def sessions(wanted: Annotated[SessionFilter, Query()]) -> Page[SessionView]:
        return await list_sessions(services, wanted)

    @router.post("/sessions/reconcile", dependencies=[scope("sessions:write")])
    async def reconcile(name: str | None = None, tenant: str | None = None) -> ReconcileView:
        if name is not None:
            return await _reconcile(services, find_live(services, name, tenant))
        everything = services.aaa.sessions.snapshot()
        if tenant is not None:
            tenants(services, tenant)
            everything = [each for each in everything if each.tenant == tenant]
        return await _reconcile(services, everything)

    @router.post("/sessions/kick", dependencies=[scope("sessions:write")])
    async def kick(
        name: str,
        tenant: str | None = None,
        reason: str = "",
        wait_s: Annotated[float, Query(ge=0, le=300)] = 0.0,
    ) -> list[JobView]:
        why = reason or "asked for on the command line"
        asked = [_kick(services, each, why) for each in find_live(services, name, tenant)]
        await asyncio.gather(*(_until(job, answered, wait_s) for job, answered in asked))
        return [_job(services, job) for job, _ in asked]

    @router.get("/sessions/{name:path}", dependencies=[scope("sessions:read")])
    async def session(name: str, tenant: str | None = None) -> SessionView:
        found = await find_any(services, name, tenant)
        return session_view(found, services.aaa.enforcement.reconciler.deviating().get(found.uid))


def _kick(services: Services, session: Session, why: str) -> tuple[Job, asyncio.Future[object]]:
    """Begin to end a session; return the job, and what is done when the NAS has answered or is silent."""
    services.aaa.clients.turn()
    engine = services.aaa.enforcement.engine
    job = engine.submit(session, Intent(kind=Kind.DISCONNECT, reason=_OPERATOR, why=why, urgent=True))
    return job, asyncio.shield(job.answered)


async def _until(job: Job, answered: asyncio.Future[object], wait_s: float) -> None:
    """Return when the next try has brought something; with `wait_s`, when the job has ended or that time is over."""
    await answered
    if wait_s and job.state is not JobState.FINISHED:
        await asyncio.wait([asyncio.shield(job.ended)], timeout=wait_s)


async def _reconcile(services: Services, chosen: list[Session]) -> ReconcileView:
    """Compare sessions with the data; closed ones are passed over, what deviates gets a job."""
    reconciler = services.aaa.enforcement.reconciler
    services.aaa.clients.turn()
    deviating: list[Session] = []
    looked_at = 0
    for i, session in enumerate(chosen):
        if session.closed_at is None:
            looked_at += 1
            reconciler.look(session)
            if reconciler.deviates(session.uid):
                deviating.append(session)
        if i % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
            services.aaa.clients.turn()
    jobs = map(services.aaa.enforcement.engine.find, (each.uid for each in deviating[:_MOST_JOBS]))
    return ReconcileView(
        looked_at=looked_at,
        matching=looked_at - len(deviating),
        deviating=len(deviating),
        jobs=[_job(services, job) for job in jobs if job is not None],
    )


def _job(services: Services, job: Job) -> JobView:
    shown = view(job, services.clock.wall())
    return JobView.model_validate(asdict(shown) | {"session": str(shown.session)})
