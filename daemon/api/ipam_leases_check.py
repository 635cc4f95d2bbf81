"""The check of the address book over the API: who the live sessions are, and what is told while it goes on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from ipaddress import IPv6Network

from daemon.aaa.lease_owner import vrf_of
from daemon.aaa.session import Session
from daemon.api.ipam_lease_models import CheckView, FindingView
from daemon.api.services import Services
from daemon.leases.check import check
from daemon.leases.check_model import Finding, Progress, Scope, Seen
from daemon.replica.claims import fixed_of
from ipam.address import Unit
from ipam.history import clean
from ipam.kinds import BITS, Space
from ipam.model import Claim

MOST_TOLD = 1000
"""How many findings are told; all are counted."""

_V4_OCTETS, _V6_OCTETS = 4, 16


class LiveSessions:
    """The session table as the check asks it."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def names(self) -> list[str]:
        """Return the numbers of all live sessions."""
        table = self._services.aaa.sessions
        return [str(each.uid) for each in table.snapshot() if each.closed_at is None]

    def find(self, name: str) -> Seen | None:
        """Return a live session with the addresses that it reports."""
        session = self._session(name)
        if session is None:
            return None
        units = tuple(_units(session))
        vrf = self._vrf(session) if units else ""
        return Seen(
            name,
            session.tenant,
            vrf,
            session.subscriber or session.username,
            session.nas,
            units,
            session.bundles,
        )

    def look_again(self, name: str) -> None:
        """Compare what a session reports with the book, as if it had reported it just now."""
        session = self._session(name)
        if session is not None:
            session.shown = ()
            self._services.aaa.lease_keeping.heard(session)

    def _session(self, name: str) -> Session | None:
        session = self._services.aaa.sessions.find_uid(int(name)) if name.isdigit() else None
        return None if session is None or session.closed_at is not None else session

    def _vrf(self, session: Session) -> str:
        tenant = self._services.index.tenants.get(session.tenant)
        subscriber = None if tenant is None else tenant.subscribers.get(session.subscriber)
        if tenant is None or subscriber is None:
            return ""
        return vrf_of(subscriber, tenant.plans.get(subscriber.plan or ""))


def _units(session: Session) -> Iterator[Unit]:
    """Yield the addresses and prefixes that a session reports; what is malformed names none."""
    for value, of_prefix in zip(session.addresses, (False, False, True, True), strict=True):
        if value is None:
            continue
        if of_prefix:
            if 2 <= len(value) <= 2 + _V6_OCTETS and value[1] <= BITS[Space.IPV6]:
                prefix = IPv6Network((value[2:].ljust(_V6_OCTETS, b"\0"), value[1]), strict=False)
                yield Unit(Space.IPV6, int(prefix.network_address), prefix.prefixlen)
        elif len(value) in (_V4_OCTETS, _V6_OCTETS) and any(value):  # 0.0.0.0: not known yet
            space = Space.IPV4 if len(value) == _V4_OCTETS else Space.IPV6
            yield Unit(space, int.from_bytes(value, "big"), BITS[space])


def claims(services: Services) -> Iterator[Claim]:
    """Yield the fixed addresses and routed blocks of all subscribers."""
    for tenant in list(services.index.tenants.values()):
        for subscriber in list(tenant.subscribers.values()):
            for fixed in fixed_of(subscriber):
                yield Claim(
                    tenant=subscriber.tenant,
                    vrf=vrf_of(subscriber, tenant.plans.get(subscriber.plan or "")),
                    unit=fixed.unit,
                    what=f"{fixed.field} of subscriber {subscriber.id}",
                    owner=subscriber.id,
                )


class Rights:
    """What is set aside in pools without a reservation: by the data now, and as the book took them over last."""

    def __init__(self, services: Services) -> None:
        self._tenants = services.index.tenants
        self._kept = services.work.definitions.claims.kept

    def __call__(self, tenant: str, vrf: str, unit: Unit, owner: str) -> bool:
        """Tell whether a unit is an owner's own."""
        if (vrf, unit) in self._kept.get((tenant, owner), ()):
            return True
        known = self._tenants.get(tenant)
        return known is not None and any(
            taken.unit == unit and clean(taken.owner) == owner
            for taken in known.claims.overlapping(vrf, unit.space, unit.value, unit.last)
        )


def scope_of(services: Services, *, repair: bool, deep: bool) -> Scope:
    """Return what there is to check."""
    return Scope(
        services.aaa.addresses,
        LiveSessions(services),
        lambda: claims(services),
        Rights(services),
        services.work.cgnat.in_force(services.clock.wall()),
        repair=repair,
        deep=deep,
    )


class _Sum:
    """What a check has come to so far."""

    def __init__(self) -> None:
        self.count = self.repaired = 0
        self.looked_at: dict[str, int] = {}
        self.findings: list[FindingView] = []

    def add(self, found: Finding | Progress) -> FindingView | None:
        """Take one step up; return the finding where it is one that is told."""
        if isinstance(found, Progress):
            self.looked_at[found.stage] = found.done
            return None
        self.count += 1
        self.repaired += found.repaired
        if len(self.findings) >= MOST_TOLD:
            return None
        self.findings.append(FindingView.model_validate(asdict(found)))
        return self.findings[-1]

    def view(self) -> CheckView:
        return CheckView(
            count=self.count, repaired=self.repaired, looked_at=self.looked_at, findings=self.findings
        )


async def run(scope: Scope) -> CheckView:
    """Check everything and return what was found."""
    total = _Sum()
    async for step in check(scope):
        total.add(step)
    return total.view()


async def told(scope: Scope) -> AsyncIterator[bytes]:
    """Yield a line of JSON for each step: `progress`, `finding`, and `result` at the end, or `failure`."""
    total = _Sum()
    try:
        async for step in check(scope):
            finding = total.add(step)
            if isinstance(step, Progress):
                yield _line("progress", step._asdict())
            elif finding is not None:
                yield _line("finding", finding.model_dump())
    except Exception as reason:  # noqa: BLE001 - the answer has begun, so this is the only way to tell
        yield _line("failure", f"{type(reason).__name__}: {reason}")
        return
    yield _line("result", total.view().model_dump())


def _line(name: str, value: object) -> bytes:
    return json.dumps({name: value}).encode() + b"\n"
