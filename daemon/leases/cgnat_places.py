"""The outside addresses of CGNAT plans against pools and against what subscribers have: nobody else may have them.

A plan says of no VRF where its outside addresses are, so pools and fixed addresses of every VRF of the tenant count.
Inside addresses are not looked at: they are those of a pool, and several networks may use the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from daemon.leases.addresses import Addresses
from daemon.replica.index import Index
from ipam.address import Unit, text
from ipam.cgnat import DeterministicPlan
from ipam.kinds import Kind, Space
from ipam.model import Claim, Pool, Problem, span_of

_MOST = 10  # problems of one plan that are told

Owned = tuple[str, DeterministicPlan]
"""A plan and its tenant."""


class Places:
    """What a tenant has beside CGNATs, as the daemon knows it now."""

    def __init__(self, addresses: Addresses[Any], index: Index) -> None:
        self._addresses = addresses
        self._index = index

    def problems(self, tenant: str, plan: DeterministicPlan) -> tuple[Problem, ...]:
        """Return what has outside addresses of a plan, the first few: both names."""
        shelves = self._addresses.register.shelves.values()
        found = list(of_pools([(tenant, plan)], [shelf.pool for shelf in shelves]))
        found += self._of_subscribers(tenant, plan)
        return tuple(found[:_MOST])

    def _of_subscribers(self, tenant: str, plan: DeterministicPlan) -> Iterator[Problem]:
        known = self._index.tenants.get(tenant)
        if known is None:
            return
        told = 0
        for vrf in sorted(known.claims.vrfs(Space.IPV4)):
            for outside in plan.outside:
                first, last = int(outside.network_address), int(outside.broadcast_address)
                for taken in known.claims.overlapping(vrf, Space.IPV4, first, last):
                    yield _problem(plan, f"a fixed address of subscriber {taken.owner}", str(taken.unit), vrf)
                    told += 1
                    if told >= _MOST:
                        return


def of_pools(plans: Iterable[Owned], pools: Iterable[Pool]) -> Iterator[Problem]:
    """Yield each pool that gives out an outside address of a plan of its tenant; what it excludes, it does not."""
    every = list(plans)
    for pool in pools:
        if pool.kind not in (Kind.V4, Kind.CGN_BLOCK):
            continue
        shift = 16 if pool.kind is Kind.CGN_BLOCK else 0
        for tenant, plan in every:
            if tenant != pool.tenant:
                continue
            for part in pool.ranges:
                first, last = (each >> shift for each in span_of(pool, part))
                shared = next(_given_out(plan, pool, first, last), None)
                if shared is not None:
                    yield _problem(plan, f"pool {pool.name}", text(Space.IPV4, shared), pool.vrf)
                    break


def _given_out(plan: DeterministicPlan, pool: Pool, first: int, last: int) -> Iterator[int]:
    """Yield the first number of each outside prefix that lies in a range and is not excluded there."""
    for outside in plan.outside:
        at = max(first, int(outside.network_address))
        end = min(last, int(outside.broadcast_address))
        for low, high in sorted(pool.exclusions) if pool.kind is Kind.V4 else ():
            if low <= at <= high:
                at = high + 1
        if at <= end:
            yield at


def of_claims(plans: Iterable[Owned], claims: Iterable[Claim]) -> Iterator[Problem]:
    """Yield each fixed address or routed block that shares an address with the outside of a plan of its tenant."""
    by_tenant: dict[str, list[_Outside]] = {}
    for tenant, plan in plans:
        spans = by_tenant.setdefault(tenant, [])
        spans += (
            _Outside(int(each.network_address), int(each.broadcast_address), plan) for each in plan.outside
        )
    reaching = {tenant: _reaching(spans) for tenant, spans in by_tenant.items()}
    for claim in claims if reaching else ():
        if claim.unit.space is Space.IPV4:
            plan_there = _touched(reaching.get(claim.tenant, []), claim.unit)
            if plan_there is not None:
                yield _problem(plan_there, claim.what, str(claim.unit), claim.vrf)


class _Outside(NamedTuple):
    """An outside prefix as numbers; once sorted, `last` and `plan` are of the one that reaches farthest so far."""

    first: int
    last: int
    plan: DeterministicPlan


def _reaching(spans: list[_Outside]) -> list[_Outside]:
    """Return the prefixes by their first number; plans may share them by ports, and they may lie in each other."""
    found: list[_Outside] = []
    for each in sorted(spans, key=_first):
        before = found[-1] if found else each
        found.append(each if each.last >= before.last else before._replace(first=each.first))
    return found


def _touched(spans: list[_Outside], unit: Unit) -> DeterministicPlan | None:
    """Return a plan whose outside shares a number with a unit."""
    spot = bisect_right(spans, unit.last, key=_first) - 1
    return None if spot < 0 or spans[spot].last < unit.value else spans[spot].plan


def _first(span: _Outside) -> int:
    return span.first


def _problem(plan: DeterministicPlan, other: str, shared: str, vrf: str) -> Problem:
    name = f"CGNAT plan {plan.id} version {plan.version}"
    place = f" in VRF {vrf}" if vrf else ""
    sentence = f"{name} and {other}{place}: both have {shared}; outside addresses of a CGNAT may be nobody's"
    return Problem(slug="cgnat-outside", names=(name, other), text=sentence)
