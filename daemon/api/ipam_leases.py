"""The routes about leases: list, show, release and the like, next-available, use, history, check."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from daemon.api import ipam_leases_check
from daemon.api.idempotency import Idempotency, IdempotencyKey, Once
from daemon.api.ipam_lease_models import (
    ActionView,
    CheckView,
    GivenView,
    HistoryPage,
    LeaseDetailView,
    LeasePage,
    NextAvailableView,
    UtilisationView,
)
from daemon.api.ipam_leases_actions import Desk
from daemon.api.ipam_leases_history import HistoryFilter, event_view, read_history
from daemon.api.ipam_leases_listing import LeaseFilter, lease_view, list_leases
from daemon.api.ipam_leases_lookup import find_place
from daemon.api.ipam_leases_use import Level, utilisations
from daemon.api.models import Page
from daemon.api.security import Reach, principal_of, scope
from daemon.api.security.audited import note_about
from daemon.leases.next_available import LONGEST_S, MOST, WHAT, Given, NextAvailable, Refused, Wish
from daemon.leases.places import Place, standing
from daemon.leases.watch import Watch
from ipam.address import text
from ipam.kinds import Kind, Shortage
from ipam.lease import Exhausted
from ipam.store import history_of

_EVENTS_SHOWN = 20
_FOREVER = 1e12
_Text = Annotated[str, Query(max_length=200)]
_Action = Literal["release", "decline", "disable", "enable"]


class NextWish(BaseModel):
    """What is asked for of a pool."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    owner: str = Field(
        min_length=1, max_length=200, description="for whom: a subscriber, or whatever it is for"
    )
    count: int = Field(default=1, ge=1, le=MOST, description="all of them or none")
    hold: Literal["reservation", "lease"] = Field(
        default="reservation",
        description="reservation: set aside until it is given up, several for OWNER/1, OWNER/2, ...; lease: held "
        "tentatively for `seconds`",
    )
    seconds: float = Field(
        600.0, gt=0, le=LONGEST_S, description="of a lease; at least the pool's tentative time"
    )


def add_leases(router: APIRouter, desk: Desk, keys: Idempotency, offers: NextAvailable, watch: Watch) -> None:
    """Add the routes under `/ipam` that are about leases."""
    _add_leases(router, desk)
    _add_actions(router, desk)
    _add_next_available(router, desk, keys, offers)
    _add_history(router, desk, watch)
    _add_check(router, desk)


def _add_leases(router: APIRouter, desk: Desk) -> None:
    @router.get("/ipam/leases", dependencies=[scope("ipam:read")])
    async def leases(wanted: Annotated[LeaseFilter, Query()]) -> LeasePage:
        return await list_leases(desk.addresses, wanted)

    @router.get("/ipam/leases/{name:path}", dependencies=[scope("ipam:read")])
    async def lease(
        request: Request, name: str, tenant: str | None = None, vrf: str | None = None
    ) -> LeaseDetailView:
        """The history is told to who has the scope who-had:read, and that is in the audit."""
        place = await find_place(desk.addresses, name, tenant, vrf)
        told = "who-had:read" in principal_of(request).scopes
        if told:
            note_about(request, f"history of {place.unit} (tenant {place.shelf.pool.tenant})")
        return await _detail(desk, place, history=told)


async def _detail(desk: Desk, place: Place, *, history: bool) -> LeaseDetailView:
    addresses, pool, unit = desk.addresses, place.shelf.pool, place.unit
    live = addresses.book.bundle_of(place.shelf, place.cell)
    others = [] if live is None else live.members
    with_it = [
        standing(addresses, other)
        for shelf, cell, _ in others
        if (other := Place(shelf, shelf.allocator.slots[cell])) != place
    ]
    async with addresses.engine.connect() as connection:
        address = text(unit.space, unit.value)
        shown = _EVENTS_SHOWN if history else 0
        events = await history_of(connection, pool.tenant, pool.vrf, address, _FOREVER, shown)
    return LeaseDetailView(
        lease=lease_view(standing(addresses, place), pool.vrf),
        with_it=[lease_view(each, pool.vrf) for each in with_it],
        history=[event_view(each) for each in events],
    )


def _add_actions(router: APIRouter, desk: Desk) -> None:
    def add(action: _Action) -> None:
        @router.post(
            f"/ipam/leases/{{name:path}}/{action}", name=f"lease-{action}", dependencies=[scope("ipam:write")]
        )
        async def act(
            request: Request,
            name: str,
            tenant: str | None = None,
            vrf: str | None = None,
            disconnect: bool = False,
            force: bool = False,
            reason: _Text = "",
        ) -> ActionView:
            place = await find_place(desk.addresses, name, tenant, vrf)
            if action == "release":
                why = reason or "asked for on the command line"
                done = await desk.release(place, disconnect=disconnect, force=force, why=why)
            else:
                plain = {"decline": desk.decline, "disable": desk.disable, "enable": desk.enable}
                done = await plain[action](place)
            owner = place.shelf.pool.tenant
            await desk.note(request, f"lease-{action}", owner, str(place.unit), reason, done.says)
            return done

    for action in ("release", "decline", "disable", "enable"):
        add(action)


def _add_next_available(router: APIRouter, desk: Desk, keys: Idempotency, offers: NextAvailable) -> None:
    own = APIRouter(strict_content_type=False)  # the command line sends plain octets

    @own.post(
        "/ipam/pools/{pool:path}/next-available",
        response_model=NextAvailableView,
        dependencies=[scope("ipam:write")],
    )
    async def next_available(
        request: Request,
        pool: str,
        wanted: NextWish,
        idempotency_key: IdempotencyKey,
        tenant: str | None = None,
    ) -> Response:
        async def act(once: Once) -> NextAvailableView:
            owner = _tenant_of(desk, pool, tenant)
            wish = Wish(tenant=owner, pool=pool, owner=wanted.owner, count=wanted.count, name=once.name)
            leased = wanted.hold == "lease"
            given = (
                await offers.lease(wish, wanted.seconds)
                if leased
                else await offers.reserve(wish, again=once.again)
            )
            answer = _given(wish, wanted.hold, given)
            listed = ", ".join(each.address for each in answer.items)
            await desk.note(request, WHAT, owner, pool, f"for {wanted.owner}", f"{wanted.hold}: {listed}")
            return answer

        return await keys.once(request, idempotency_key, WHAT, act)

    router.include_router(own)


def _tenant_of(desk: Desk, pool: str, tenant: str | None) -> str:
    """Return whose pool it is. Raises HTTPException: 404 for none, 409 where tenants share the name."""
    shelves = desk.addresses.register.shelves.values()
    found = [each.pool for each in shelves if each.pool.name == pool and each.pool.kind is not Kind.FIXED]
    owners = sorted(each.tenant for each in found if tenant in (None, each.tenant))
    if not owners:
        raise HTTPException(404, f"no pool has the name {pool}; see `pool list`")
    if len(owners) > 1:
        raise HTTPException(
            409, f"several tenants have {pool}: {', '.join(owners)}; say which one with tenant"
        )
    return owners[0]


def _given(wish: Wish, hold: str, given: tuple[Given, ...] | Exhausted | Refused) -> NextAvailableView:
    """Return what was given. Raises HTTPException 409 where nothing was, 503 where the store is behind."""
    if isinstance(given, Refused):
        raise HTTPException(409, given.text)
    if isinstance(given, Exhausted):
        if given.reason is Shortage.STORE_BEHIND:
            raise HTTPException(
                503, "too many changes of leases wait to be stored; ask again with the same key"
            )
        raise HTTPException(
            409, f"pool {wish.pool} has not got {wish.count} free for somebody new: {given.reason.value}"
        )
    items = [
        GivenView(
            address=str(each.unit),
            owner=each.owner,
            lease_id=str(each.lease_id),
            bundle_id=str(each.bundle_id),
            expires_at=each.expires_at,
        )
        for each in given
    ]
    return NextAvailableView(tenant=wish.tenant, pool=wish.pool, hold=hold, items=items)


def _add_history(router: APIRouter, desk: Desk, watch: Watch) -> None:
    @router.get("/ipam/history", dependencies=[scope("ipam:read")])
    async def history(request: Request, wanted: Annotated[HistoryFilter, Query()]) -> HistoryPage:
        if wanted.subscriber is None:  # it tells who had an address, so it is a look-up as `who-had` is
            who = principal_of(request)
            if "who-had:read" not in who.scopes:
                raise HTTPException(
                    403,
                    f"{who.name} lacks the scope who-had:read, which is for all but a subscriber's history",
                )
            note_about(request, wanted.asked())
        return await read_history(desk.addresses, wanted)

    @router.get("/ipam/utilisations", dependencies=[scope("ipam:read")])
    async def use(
        level: Level = "pool", tenant: str | None = None, name: str | None = None, kind: Kind | None = None
    ) -> Page[UtilisationView]:
        items = utilisations(desk.addresses, level, tenant, name, kind, watch.alarm)
        return Page(items=items, count=len(items), limit=len(items), offset=0)


def _add_check(router: APIRouter, desk: Desk) -> None:
    at_work: list[bool] = []

    async def one_at_a_time(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for line in lines:
                yield line
        finally:
            at_work.clear()

    lines: dict[int | str, dict[str, Any]] = {200: {"content": {"application/x-ndjson": {}}}}

    @router.post(
        "/ipam/checks",
        response_model=CheckView,
        dependencies=[scope("ipam:write", Reach.EDGE)],
        responses=lines,
    )
    async def check(
        request: Request, repair: bool = False, deep: bool = False, stream: bool = False
    ) -> CheckView | Response:
        if at_work:
            raise HTTPException(409, "a check is under way already; ask again when it is done")
        at_work.append(True)
        try:
            if repair:
                await desk.note(request, "ipam-check", "", "", "", "with repair")
            wanted = ipam_leases_check.scope_of(desk.services, repair=repair, deep=deep)
        except BaseException:
            at_work.clear()
            raise
        if stream:
            told = one_at_a_time(ipam_leases_check.told(wanted))
            return StreamingResponse(told, media_type="application/x-ndjson")
        try:
            return await ipam_leases_check.run(wanted)
        finally:
            at_work.clear()
