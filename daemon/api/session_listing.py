"""Lists of sessions: those in memory, permits whose session has not begun, closed ones from the store."""

from __future__ import annotations

from ipaddress import IPv4Address

from pydantic import BaseModel, ConfigDict, Field

from daemon.aaa.reservations import Permit
from daemon.aaa.session import Session, State
from daemon.aaa.session_codec import framed_ip, from_row
from daemon.api.listing import page
from daemon.api.models import Page, SessionView
from daemon.api.services import Services
from daemon.api.session_views import reserved_view, session_view
from daemon.replica.records import Subscriber
from daemon.store import session_rows


class SessionFilter(BaseModel):
    """Which sessions are asked for; None leaves a field open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenant: str | None = None
    username: str | None = None
    subscriber: str | None = None
    nas: str | None = None
    address: IPv4Address | None = None
    state: State | None = None
    deviating: bool = False
    limit: int = Field(100, ge=1, le=10_000)
    offset: int = Field(0, ge=0, le=100_000)


async def list_sessions(services: Services, wanted: SessionFilter) -> Page[SessionView]:
    """Return the sessions that fit, the latest first."""
    deviations = services.aaa.enforcement.reconciler.deviating()
    found: list[Session | Permit] = []
    if wanted.state is not State.RESERVED:
        found += services.aaa.sessions.snapshot()
    if wanted.state in (None, State.RESERVED) and not wanted.deviating:
        found += services.aaa.books.reservations.all_held(services.clock.wall())
    if wanted.state in (None, State.CLOSED) and not wanted.deviating:
        found += await _closed_earlier(services, wanted)

    def matches(each: Session | Permit) -> bool:
        if isinstance(each, Permit):
            return _permit_fits(each, wanted)
        if wanted.deviating and (each.uid not in deviations or each.closed_at is not None):
            return False
        return _fits(each, wanted)

    def view(each: Session | Permit) -> SessionView:
        if isinstance(each, Permit):
            return reserved_view(each)
        return session_view(each, deviations.get(each.uid))

    found.sort(key=lambda each: -(each.at if isinstance(each, Permit) else each.started_at))
    return await page(found, matches, view, limit=wanted.limit, offset=wanted.offset)


def _fits(session: Session, wanted: SessionFilter) -> bool:
    return (
        (wanted.tenant is None or session.tenant == wanted.tenant)
        and (wanted.username is None or session.username == wanted.username)
        and (wanted.subscriber is None or session.subscriber == wanted.subscriber)
        and (wanted.nas is None or session.nas == wanted.nas)
        and (wanted.state is None or session.state is wanted.state)
        and (wanted.address is None or framed_ip(session) == str(wanted.address))
    )


def _permit_fits(permit: Permit, wanted: SessionFilter) -> bool:
    subscriber, address = permit.subscriber, permit.prepared.grant.ipv4_address
    return (
        (wanted.tenant is None or subscriber.tenant == wanted.tenant)
        and (wanted.username is None or wanted.username in subscriber.usernames)
        and (wanted.subscriber is None or subscriber.id == wanted.subscriber)
        and (wanted.nas is None or permit.nas == wanted.nas)
        and (wanted.address is None or address == wanted.address)
    )


async def _closed_earlier(services: Services, wanted: SessionFilter) -> list[Session]:
    """Return closed sessions that only the store still has; it knows them by user name, not by subscriber."""
    names: list[str | None] = [wanted.username]
    if wanted.subscriber is not None and wanted.username is None:
        names = [name for each in _subscribers(services, wanted.subscriber) for name in each.usernames]
    found: dict[int, Session] = {}
    for name in names:
        search = session_rows.Search(
            tenant=wanted.tenant,
            username=name,
            nas=wanted.nas,
            framed_ip_address=None if wanted.address is None else str(wanted.address),
            limit=wanted.limit + wanted.offset,
        )
        for row in await session_rows.search_closed(services.engine, search):
            if services.aaa.sessions.find_uid(row.uid) is None:
                found[row.uid] = from_row(row)
    return list(found.values())


def _subscribers(services: Services, key: str) -> list[Subscriber]:
    known = (tenant.subscribers.get(key) for tenant in services.index.tenants.values())
    return [each for each in known if each is not None]
