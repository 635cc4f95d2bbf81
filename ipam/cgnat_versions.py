"""All versions of all CGNAT plans, and the answer to "who had this address and port then"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from ipam.cgnat import DeterministicPlan, OutOfPlan, Ports


@dataclass(frozen=True, slots=True)
class Holder:
    """An inside address that had the ports, by which version of which plan."""

    inside: IPv4Address
    ports: Ports
    plan: str
    version: int


@dataclass(frozen=True, slots=True)
class Silence:
    """A plan that was asked and has no answer; without `plan` no plan covered the question."""

    why: OutOfPlan
    plan: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class PlanAnswer:
    """Who it may have been. More than one holder where the port is not known, or where the plan changed
    within the uncertainty of the time; `silences` says which part of the question has no answer."""

    holders: tuple[Holder, ...]
    silences: tuple[Silence, ...]


@dataclass(frozen=True, slots=True)
class PlansClash:
    """Two plans that cannot both be in force."""

    first: DeterministicPlan
    second: DeterministicPlan
    why: str


@dataclass(frozen=True, slots=True)
class Plans:
    """A set of plans that do not contradict each other at any time; build it with `collect`."""

    plans: tuple[DeterministicPlan, ...] = ()

    def at(self, at: float) -> tuple[DeterministicPlan, ...]:
        """Return the plans in force at an epoch second, at most one version of each."""
        return tuple(plan for plan in self.plans if plan.in_force(at))

    def between(self, since: float, until: float) -> tuple[DeterministicPlan, ...]:
        """Return the plans in force at any time from `since` to `until` (epoch s, both included)."""
        return tuple(
            plan
            for plan in self.plans
            if plan.valid_from <= until and (plan.valid_until is None or since < plan.valid_until)
        )

    def ports(self, inside: IPv4Address, at: float) -> tuple[Holder, ...]:
        """Return the ports of an inside address; several where plans of different networks share inside space."""
        found = ((plan, plan.forward(inside)) for plan in self.at(at))
        return tuple(
            Holder(inside, ports, plan.id, plan.version) for plan, ports in found if isinstance(ports, Ports)
        )

    def holders(self, outside: IPv4Address, port: int | None, at: float, skew_s: float = 0.0) -> PlanAnswer:
        """Return who had a port of an outside address at an epoch second, give or take `skew_s`.

        Without a port (RFC 6302 asks for it, many requests lack it) everyone behind the address is named.
        """
        asked = [
            plan
            for plan in self.between(at - skew_s, at + skew_s)
            if plan.outside_span.number(outside) is not None
        ]
        if not asked:
            return PlanAnswer((), (Silence(OutOfPlan.NO_PLAN),))
        holders: list[Holder] = []
        silences: list[Silence] = []
        for plan in asked:
            if port is None:
                holders += [
                    Holder(inside, ports, plan.id, plan.version) for inside, ports in plan.sharers(outside)
                ]
                continue
            inside = plan.reverse(outside, port)
            if isinstance(inside, OutOfPlan):
                silences.append(Silence(inside, plan.id, plan.version))
                continue
            ports = plan.forward(inside)
            assert isinstance(ports, Ports)  # what `reverse` names, `forward` knows
            holders.append(Holder(inside, ports, plan.id, plan.version))
        silences += self._uncovered(asked, at - skew_s, at + skew_s)
        if holders:  # two plans may share an outside address by ports: only one of them is meant
            silences = [each for each in silences if each.why is not OutOfPlan.PORT_OUTSIDE_RANGE]
        return PlanAnswer(tuple(holders), tuple(silences))

    @staticmethod
    def _uncovered(asked: list[DeterministicPlan], since: float, until: float) -> list[Silence]:
        """Say that for a part of the time no plan was in force."""
        reached = since
        for plan in sorted(asked, key=lambda each: each.valid_from):
            if plan.valid_from > reached:
                break
            if plan.valid_until is None:
                return []
            reached = max(reached, plan.valid_until)
        return [Silence(OutOfPlan.NO_PLAN)] if reached <= until else []


def collect(plans: Iterable[DeterministicPlan]) -> Plans | tuple[PlansClash, ...]:
    """Return the plans as one set, or every pair that cannot stand together.

    Versions of one plan must not overlap in time; different plans may only share an outside address at the
    same time where their port ranges are apart.
    """
    ordered = tuple(sorted(plans, key=lambda each: (each.id, each.version)))
    clashes = tuple(
        PlansClash(first, second, why)
        for spot, first in enumerate(ordered)
        for second in ordered[spot + 1 :]
        if (why := _clash(first, second))
    )
    return clashes or Plans(ordered)


def _clash(first: DeterministicPlan, second: DeterministicPlan) -> str:
    if first.id == second.id and first.version == second.version:
        return "the same version twice"
    if not _same_time(first, second):
        return ""
    if first.id == second.id:
        return "two versions of one plan at the same time"
    if first.last_port < second.first_port or second.last_port < first.first_port:
        return ""
    for one in first.outside:
        for other in second.outside:
            if one.overlaps(other):
                return f"both use {one if one.prefixlen >= other.prefixlen else other} at the same time"
    return ""


def _same_time(first: DeterministicPlan, second: DeterministicPlan) -> bool:
    starts_before_end = second.valid_until is None or first.valid_from < second.valid_until
    return starts_before_end and (first.valid_until is None or second.valid_from < first.valid_until)
