"""The routes about sessions: list, show, kick, compare with the data."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from daemon.aaa.coa_job import Intent, Job, JobState, Kind, view
from daemon.aaa.session import Session, State
from daemon.aaa.session_codec import from_row
from daemon.api.listing import sliced
from daemon.api.live_models import JobView, ReconcileView
from daemon.api.models import Page, SessionView
from daemon.api.services import Services
from daemon.api.session_listing import SessionFilter, list_sessions
from daemon.api.session_views import session_view
from daemon.store import session_rows

_SLICE = 200
_MOST_JOBS = 100
_OPERATOR = "operator"  # the reason of what somebody asked for by hand


def add_sessions(router: APIRouter, services: Services) -> None:
    """Add the routes under `/sessions`."""

    @router.get("/sessions")
    async def sessions(wanted: Annotated[SessionFilter, Query()]) -> Page[SessionView]:
        return await list_sessions(services, wanted)

    @router.post("/sessions/reconcile")
    async def reconcile(name: str | None = None) -> ReconcileView:
        return await _reconcile(services, None if name is None else await _live(services, name))

    @router.post("/sessions/kick")
    async def kick(
        name: str, reason: str = "", wait_s: Annotated[float, Query(ge=0, le=300)] = 0.0
    ) -> list[JobView]:
        why = reason or "asked for on the command line"
        asked = [_kick(services, each, why) for each in await _live(services, name)]
        await asyncio.gather(*(_until(job, answered, wait_s) for job, answered in asked))
        return [_job(services, job) for job, _ in asked]

    @router.get("/sessions/{name:path}")
    async def session(name: str) -> SessionView:
        found = await _find(services, name)
        return session_view(found, services.aaa.enforcement.reconciler.deviations.get(found.uid))


async def _find(services: Services, name: str) -> Session:
    """Return the session with that number, else the newest with that Acct-Session-Id, from the store if need be."""
    known = services.aaa.sessions.find_uid(int(name)) if name.isdecimal() else None
    if known is not None:
        return known
    octets = name.encode()
    newest: Session | None = None
    async for each in sliced(services.aaa.sessions.snapshot()):
        if each.acct_session_id == octets and (newest is None or each.started_at > newest.started_at):
            newest = each
    if newest is not None:
        return newest
    rows = await session_rows.find_by_acct_session_id(services.engine, octets)
    if not rows:
        raise HTTPException(404, f"no session has the number or Acct-Session-Id {name}")
    return from_row(max(rows, key=lambda row: row.started_at))


async def _live(services: Services, name: str) -> list[Session]:
    """Return the live sessions that a name means: one by number or Acct-Session-Id, all of a user or subscriber."""
    sessions, tenants = services.aaa.sessions, list(services.index.tenants)
    numbered = sessions.find_uid(int(name)) if name.isdecimal() else None
    if numbered is not None and numbered.state is not State.CLOSED:
        return [numbered]
    live = sessions.live
    for find in (live.of_username, live.of_subscriber):
        found = [each for tenant in tenants for each in find(tenant, name)]
        if found:
            return found
    named = [each for tenant in tenants for each in live.of_acct_session_id(tenant, name.encode())]
    if not named:
        raise HTTPException(
            404, f"no live session has the number, Acct-Session-Id, user or subscriber {name}"
        )
    if len(named) > 1:
        numbers = ", ".join(f"{each.uid} at {each.nas}" for each in named)
        raise HTTPException(
            409, f"several live sessions have the Acct-Session-Id {name}: {numbers}; give the number"
        )
    return named


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


async def _reconcile(services: Services, chosen: list[Session] | None) -> ReconcileView:
    """Compare live sessions with the data, all of them or those chosen; what deviates gets a job."""
    reconciler = services.aaa.enforcement.reconciler
    services.aaa.clients.turn()
    everything = services.aaa.sessions.snapshot() if chosen is None else chosen
    deviating: list[Session] = []
    looked_at = 0
    for i, session in enumerate(everything):
        if session.closed_at is None:
            looked_at += 1
            reconciler.look(session)
            if session.uid in reconciler.deviations:
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
