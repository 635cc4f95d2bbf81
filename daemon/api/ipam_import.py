"""The route that takes an address book over: lines of records in, lines about the progress and a report out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import StreamingResponse

from daemon.aaa.lease_owner import owner_key
from daemon.api.ipam_definitions_answers import own_tenant
from daemon.api.ipam_leases_actions import Desk
from daemon.api.security import scope
from daemon.leases.import_job import Busy, Importer, Step
from daemon.leases.import_model import Progress, Report
from daemon.replica.records import Plan as SoldPlan
from daemon.replica.records import Subscriber
from radius.grant import Access


def login_key(subscriber: Subscriber, plan: SoldPlan | None, by_name: bool, mac: str) -> str:
    """Return by what a login of a subscriber would be known to the book.

    Where its plan leaves the access open, a subscriber found by its user name comes over PPP, else over IPoE.
    """
    access = None if plan is None else plan.access
    access = access or (Access.PPP if by_name else Access.IPOE)
    circuit = "" if access is Access.PPP else subscriber.circuit_id or ""
    return owner_key(subscriber, plan, access, mac, circuit)


def add_imports(router: APIRouter, desk: Desk, importer: Importer) -> None:
    """Add `/ipam/imports` (the prefix of `router` is what stands before `/ipam`)."""

    @router.post(
        "/ipam/imports",
        response_class=StreamingResponse,
        responses={200: {"content": {"application/x-ndjson": {}}}},
        dependencies=[scope("ipam:write")],
    )
    async def imports(
        request: Request, tenant: str | None = None, dry_run: bool = False
    ) -> StreamingResponse:
        """Take over pools, leases, reservations and prefixes, all or nothing.

        The body is NDJSON: objects with `what` (note, prefix, range, reservation, lease; in this order) and `block`.
        The answer is NDJSON, too: `progress`, and at the end `result`, or `failure`. With problems nothing is done.
        """
        owner = own_tenant(desk.services, tenant)
        if desk.addresses.away is not None:
            raise HTTPException(503, f"the shared store is away: {desk.addresses.away}")
        try:
            plan = await importer.plan(owner, request.stream())
        except Busy as error:
            raise HTTPException(409, str(error)) from None
        if plan.problems.count or dry_run:
            report = await importer.drop(plan)
            return _answer(_once(report))
        subject = ", ".join(plan.pools) or "prefixes and reservations"
        try:
            await desk.note(request, "ipam-import", owner, subject, "", "begun")
        except BaseException:
            await importer.drop(plan)
            raise
        return _answer(importer.carry_out(plan))


def _answer(steps: AsyncIterator[Step]) -> StreamingResponse:
    async def lines() -> AsyncIterator[bytes]:
        async for step in steps:
            yield _line(step)

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def _once(report: Report) -> AsyncIterator[Step]:
    yield report


def _line(step: Step) -> bytes:
    if isinstance(step, Progress):
        said: dict[str, object] = {"progress": asdict(step)}
    elif isinstance(step, Report):
        said = {"result": asdict(step)}
    else:
        said = {"failure": step}
    return json.dumps(said).encode() + b"\n"
