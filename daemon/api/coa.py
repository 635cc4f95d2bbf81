"""The routes about CoA: its jobs, and a test of what a NAS does with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request

from daemon.aaa.coa import probe as coa_probe
from daemon.aaa.coa.client import Target
from daemon.aaa.coa.job import JobView as Shown
from daemon.aaa.coa.job import row_view
from daemon.aaa.coa.probe import Finding
from daemon.aaa.coa.target import target_of
from daemon.aaa.coa.wire import identifications
from daemon.aaa.nas import Client
from daemon.aaa.session import Session
from daemon.api.listing import sliced
from daemon.api.live_models import CoaTestView, JobView
from daemon.api.lookup import of_one_tenant, tenants
from daemon.api.models import Page
from daemon.api.security import principal_of, scope
from daemon.api.security.principals import Kind
from daemon.api.services import Services
from daemon.store.jobs import Search, count_finished, search_finished
from radius.authenticator import Key
from radius.errors import Unencodable
from radius.grant import Grant

_Address = Annotated[
    str | None,
    Query(
        max_length=100,
        description="where to, instead of where its sessions come from; over the API port an address of the NAS only",
    ),
]


def add_coa(router: APIRouter, services: Services) -> None:
    """Add the routes under `/coa-jobs` and `/coa-tests`."""

    @router.get("/coa-jobs", dependencies=[scope("nas:read")])
    async def jobs(
        finished: bool = False,
        tenant: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> Page[JobView]:
        tenants(services, tenant)
        engine = services.aaa.enforcement.engine
        if finished:
            shown, count = await _finished(services, tenant, limit, offset)
        elif tenant is None:
            shown, count = engine.jobs(limit=limit, offset=offset), engine.job_counts().total()
        else:
            own = [each for each in engine.jobs() if each.tenant == tenant]
            shown, count = own[offset : offset + limit], len(own)
        items = [
            JobView.model_validate(asdict(each) | {"session": str(each.session)})
            async for each in sliced(shown)
        ]
        return Page(items=items, count=count, limit=limit, offset=offset)

    @router.post("/coa-tests", dependencies=[scope("nas:write")])
    async def test(
        request: Request,
        nas: str,
        session: int | None = None,
        address: _Address = None,
        tenant: str | None = None,
    ) -> CoaTestView:
        services.aaa.clients.turn()
        client = _client(services, nas, tenant)
        chosen = _session(services, client, session)
        given = None if address is None else _given(address)
        if given is not None and principal_of(request).kind is not Kind.LOCAL:
            _of_nas(services, client, given)
        target = _target(client, chosen, given)
        finding = await _probe(services, client, target, None if session is None else chosen)
        return CoaTestView(
            nas=client.nas.id,
            address=str(target.address),
            port=target.port,
            session=None if session is None else str(session),
            verdict=finding.verdict,
            says=finding.says,
            advice=finding.advice,
            cause=finding.cause,
            rtt_ms=None if finding.rtt_s is None else round(finding.rtt_s * 1000, 2),
            bad_replies=finding.bad_replies,
        )


async def _finished(
    services: Services, tenant: str | None, limit: int, offset: int
) -> tuple[list[Shown], int]:
    """Return a page of the finished jobs in the store, those of the time before a restart too; and their number."""
    search = Search(tenant=tenant, limit=limit, offset=offset)
    rows = await search_finished(services.engine, search)
    at = services.clock.wall()
    return [row_view(row, at) for row in rows], await count_finished(services.engine, search)


def _client(services: Services, name: str, tenant: str | None) -> Client:
    owners = [each.tenant.id for each in tenants(services, tenant)]
    found = [each for owner in owners if (each := services.aaa.clients.get(owner, name)) is not None]
    return of_one_tenant(found, lambda each: each.nas.tenant, name, f"no NAS has the id {name}")[0]


def _session(services: Services, client: Client, uid: int | None) -> Session | None:
    """Return the session of that number, or any live one of the NAS, which tells where its box is."""
    nas = client.nas
    if uid is not None:
        session = services.aaa.sessions.find_uid(uid)
        if (
            session is None
            or session.closed_at is not None
            or (session.tenant, session.nas) != (nas.tenant, nas.id)
        ):
            raise HTTPException(404, f"{nas.id} has no live session with the number {uid}")
        return session
    return next((next(iter(box)) for box in _boxes(services, client)), None)


def _boxes(services: Services, client: Client) -> Iterator[Iterable[Session]]:
    """Yield the live sessions of each box of a NAS."""
    prefix = f"{client.nas.tenant}\0{client.nas.id}\0".encode()
    boxes = services.aaa.sessions.boxes()
    return (boxes[key] for key in boxes if key.startswith(prefix))


def _given(address: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(address)
    except ValueError:
        raise HTTPException(422, f"{address} is no IP address") from None


def _of_nas(services: Services, client: Client, address: IPv4Address | IPv6Address) -> None:
    """Refuse an address that is not the NAS's: whoever has that would get requests signed with its secret.

    Raises HTTPException 422.
    """
    nas = client.nas
    if address == nas.coa_address or any(address in prefix for prefix in nas.prefixes):
        return
    if any(each.source == address.packed for box in _boxes(services, client) for each in box):
        return
    why = (
        f"address: {address} is none of {nas.id}: one of its prefixes, its coa_address or where a live session comes "
        "from expected; others can be tried on the machine of the edge only, with `dotmac-edge coa test --address`"
    )
    raise HTTPException(422, why)


def _target(client: Client, session: Session | None, given: IPv4Address | IPv6Address | None) -> Target:
    nas, source = client.nas, given
    if given is not None:
        nas = replace(nas, coa_address=given)
    elif session is not None and session.source:
        source = ip_address(session.source)
    target = target_of(nas, b"" if session is None else session.box, source)
    if target is None:
        why = f"no address of {nas.id} is known: it has no live session and no coa_address; give one with --address"
        raise HTTPException(422, why)
    return target


async def _probe(services: Services, client: Client, target: Target, session: Session | None) -> Finding:
    enforcement, at = services.aaa.enforcement, services.clock.wall()
    nas = client.nas
    others: tuple[Key, ...] = tuple(client.keys) if nas.coa_secret is not None else ()
    if session is None:
        return await coa_probe.probe(
            enforcement.client, target, nas.vendor, enforcement.random, at, others=others
        )
    return await coa_probe.probe_session(
        enforcement.client,
        target,
        nas.vendor,
        at,
        identification=identifications(session, client.profile.identities)[0].octets,
        change=_its_own(client, session.applied),
        others=others,
    )


def _its_own(client: Client, applied: Grant | None) -> bytes:
    """Return the attributes that tell a session what it has: all that this vendor can change in a live one."""
    said = None
    if applied is not None:
        default = Grant()
        bare = {
            each.name: getattr(default, each.name)
            for each in fields(Grant)
            if each.name in client.profile.changes
        }
        try:
            said = client.profile.change(replace(applied, **bare), applied)
        except Unencodable:
            said = None
    if not said:
        why = "what this session has cannot be said in a CoA-Request to its NAS: test without a session"
        raise HTTPException(422, why)
    return b"".join(each.octets for each in said)
