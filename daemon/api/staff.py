"""The routes about staff: who may log in to devices, who is logged in, and the log of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from daemon.aaa.staff import accounting as staff_accounting
from daemon.api.lookup import tenants
from daemon.api.models import Page
from daemon.api.policy_models import StaffRecordView, StaffSessionView, StaffView
from daemon.api.security import scope
from daemon.api.services import Services
from daemon.replica.records import Staff
from daemon.store.staff_rows import StaffSearch


def add_staff(router: APIRouter, services: Services) -> None:
    """Add the routes `/staff`, `/staff-sessions` and `/staff-records`."""

    @router.get("/staff", dependencies=[scope("staff:read")])
    async def staff(tenant: str | None = None) -> Page[StaffView]:
        now = services.aaa.staff_accounting.sessions.now(services.clock.wall())
        online = Counter((each.tenant, each.staff) for each in now)
        items = [
            _view(each, online[(each.tenant, each.id)])
            for owner in tenants(services, tenant)
            for each in owner.staff_by_id.values()
        ]
        return Page(items=items, count=len(items), limit=len(items), offset=0)

    @router.get("/staff-sessions", dependencies=[scope("staff:read")])
    async def sessions(tenant: str | None = None) -> Page[StaffSessionView]:
        tenants(services, tenant)
        now = services.aaa.staff_accounting.sessions.now(services.clock.wall())
        found = [each for each in now if tenant in (None, each.tenant)]
        items = [StaffSessionView.model_validate(asdict(each)) for each in found]
        return Page(items=items, count=len(items), limit=len(items), offset=0)

    @router.get("/staff-records", dependencies=[scope("staff:read")])
    async def records(
        staff: str | None = None,
        nas: str | None = None,
        since: float | None = None,
        tenant: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    ) -> Page[StaffRecordView]:
        tenants(services, tenant)
        wanted = StaffSearch(tenant=tenant, staff=staff, nas=nas, since=since, limit=limit)
        found = await staff_accounting.search(services.engine, wanted)
        items = [StaffRecordView.model_validate(asdict(each)) for each in found]
        return Page(items=items, count=len(items), limit=limit, offset=0)


def _view(staff: Staff, logged_in: int) -> StaffView:
    return StaffView(
        tenant=staff.tenant,
        id=staff.id,
        username=staff.username,
        privilege=staff.privilege,
        enabled=staff.enabled,
        groups=dict(staff.groups),
        nases=list(staff.nases),
        sites=list(staff.sites),
        valid_until=staff.valid_until,
        logged_in=logged_in,
    )
