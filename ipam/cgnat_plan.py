"""The CGNAT planner: from subscribers and addresses to a deterministic plan, or to what would make one fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from math import ceil

from ipam.cgnat import MAX_PORT, Algorithm, DeterministicPlan, PlanInvalid, Ports, Span

PORTS_PER_SUBSCRIBER = (
    2_000  # a residential rule of thumb; RFC 6888 REQ-4 only asks for a limit that can be set
)
VECTORS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a plan is wanted for.

    `peak_share` is the part of the subscribers that is online at the peak, above 0 and at most 1;
    `reserve_percent` is added to that for growth. Every inside address gets a block, online or not, because
    the device maps prefixes. `overflow_share` is the RFC's D: shares of an outside address that are not dealt out
    but left to a pool for heavy users, whose use has to be logged.
    """

    subscribers: int
    inside: tuple[IPv4Network, ...]
    outside: tuple[IPv4Network, ...]
    peak_share: float = 1.0
    ports_per_subscriber: int = PORTS_PER_SUBSCRIBER
    reserve_percent: float = 0.0
    overflow_share: int = 0
    first_port: int = 1024
    last_port: int = MAX_PORT
    reserved_ports: frozenset[int] = frozenset()
    algorithm: Algorithm = Algorithm.SEQUENTIAL
    boundaries: bool = True


class Shortage(StrEnum):
    """Why there is no plan."""

    DEMAND_INVALID = "demand-invalid"
    INSIDE_TOO_SMALL = "inside-too-small"
    OUTSIDE_TOO_SMALL = "outside-too-small"


@dataclass(frozen=True, slots=True)
class NoPlan:
    """There is no plan: the problem in words, and what would help, each alternative by itself."""

    slug: Shortage
    problem: str
    alternatives: tuple[str, ...] = ()
    missing_outside: int = 0  # more outside addresses that would do
    fitting_block_size: int = 0  # ports per subscriber that would do


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan and what it leaves: addresses and ports not used, and `notes` worth reading before it is used."""

    plan: DeterministicPlan
    inside_needed: int  # inside addresses in use at the peak, with the reserve
    inside_spare: int
    outside_used: int
    outside_spare: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the plan's table: an inside address and its ports."""

    inside: IPv4Address
    ports: Ports


def make_plan(
    demand: Demand,
    *,
    plan_id: str,
    version: int = 1,
    valid_from: float = 0.0,
    valid_until: float | None = None,
) -> Planned | NoPlan:
    """Return a plan with the largest blocks that the outside addresses allow, or why there is none.

    Every outside address carries ceil(inside / outside) blocks, the RFC's ratio. Times are epoch seconds.
    """
    sized = _sized(demand)
    if isinstance(sized, NoPlan):
        return sized
    needed, sharing, block_size = sized
    try:
        made = DeterministicPlan(
            id=plan_id,
            version=version,
            inside=demand.inside,
            outside=demand.outside,
            block_size=block_size,
            sharing=sharing,
            first_port=demand.first_port,
            last_port=demand.last_port,
            reserved_ports=demand.reserved_ports,
            algorithm=demand.algorithm,
            boundaries=demand.boundaries,
            valid_from=valid_from,
            valid_until=valid_until,
        )
    except PlanInvalid as error:
        return NoPlan(Shortage.DEMAND_INVALID, "; ".join(error.problems))
    return _planned(demand, made, needed)


def _sized(demand: Demand) -> tuple[int, int, int] | NoPlan:
    """Return the inside addresses needed, the blocks of an outside address, and the ports of a block."""
    invalid = tuple(_invalid(demand))
    if invalid:
        return NoPlan(Shortage.DEMAND_INVALID, "; ".join(invalid))
    inside = Span(demand.inside, demand.boundaries).count
    outside = Span(demand.outside).count
    needed = ceil(demand.subscribers * demand.peak_share * (1 + demand.reserve_percent / 100) - 1e-9)
    if needed > inside:
        return _inside_too_small(demand, needed, inside)
    sharing = ceil(inside / outside)
    block_size = _candidates(demand) // (sharing + demand.overflow_share)
    if block_size < demand.ports_per_subscriber:
        return _outside_too_small(demand, needed, inside, outside)
    return needed, sharing, block_size


def _planned(demand: Demand, made: DeterministicPlan, needed: int) -> Planned:
    inside, outside = made.inside_span.count, made.outside_span.count
    striped = made.algorithm is Algorithm.STRIPED
    used = min(inside, outside) if striped else ceil(inside / made.sharing)
    return Planned(made, needed, inside - needed, used, outside - used, tuple(_notes(demand, made, used)))


def rows(plan: DeterministicPlan) -> Iterator[Row]:
    """Yield the whole table in the order of the inside addresses."""
    for number in range(plan.inside_span.count):
        yield _row(plan, number)


def vectors(plan: DeterministicPlan, wanted: int = VECTORS) -> tuple[Row, ...]:
    """Return `wanted` rows to check a device against (all where there are fewer).

    Both ends of the inside addresses, both sides of the first change of the outside address, and the rest
    evenly spread: that is where a device that counts otherwise shows.
    """
    count = plan.inside_span.count
    step = plan.outside_span.count if plan.algorithm is Algorithm.STRIPED else plan.sharing
    chosen = {number for number in (0, count - 1, step - 1, step) if 0 <= number < count}
    spread = (count * part // wanted for part in range(1, wanted))
    for number in (*spread, *range(min(count, 2 * wanted))):
        if len(chosen) >= min(wanted, count):
            break
        chosen.add(number)
    return tuple(_row(plan, number) for number in sorted(chosen))


def summary(planned: Planned) -> tuple[tuple[str, str], ...]:
    """Return what the planner prints above the table: pairs of a label and a value."""
    plan = planned.plan
    return (
        ("plan", f"{plan.id} version {plan.version}"),
        ("inside", ", ".join(map(str, plan.inside))),
        ("outside", ", ".join(map(str, plan.outside))),
        ("algorithm", plan.algorithm.value),
        ("subscribers per outside address", str(plan.sharing)),
        ("ports per subscriber", str(plan.block_size)),
        ("ports", f"{plan.first_port}-{plan.last_port}"),
        ("ports per outside address not dealt out", str(plan.overflow_ports)),
        ("inside addresses needed at the peak", str(planned.inside_needed)),
        ("inside addresses to spare", str(planned.inside_spare)),
        ("outside addresses used", str(planned.outside_used)),
        ("outside addresses to spare", str(planned.outside_spare)),
    )


def _row(plan: DeterministicPlan, number: int) -> Row:
    inside = plan.inside_span.address(number)
    ports = plan.forward(inside)
    assert isinstance(ports, Ports)
    return Row(inside, ports)


def _candidates(demand: Demand) -> int:
    reserved = sum(demand.first_port <= port <= demand.last_port for port in demand.reserved_ports)
    return demand.last_port - demand.first_port + 1 - reserved


def _invalid(demand: Demand) -> Iterator[str]:
    if demand.subscribers < 1:
        yield "at least 1 subscriber is needed"
    if not demand.inside or not demand.outside:
        yield "inside and outside prefixes are needed"
    if not 0 < demand.peak_share <= 1:
        yield "peak_share is a part of 1: above 0 and at most 1"
    if demand.reserve_percent < 0 or demand.overflow_share < 0:
        yield "the reserve and the overflow share cannot be negative"
    if demand.ports_per_subscriber < 1:
        yield "ports_per_subscriber starts at 1"
    if not 1 <= demand.first_port <= demand.last_port <= MAX_PORT:
        yield f"ports run from 1 to {MAX_PORT}, the first not above the last"
    elif _candidates(demand) < 1:
        yield "every port is reserved"
    for lower, upper in pairwise(sorted((*demand.inside, *demand.outside))):
        if lower.overlaps(upper):
            yield f"{lower} and {upper} overlap"


def _inside_too_small(demand: Demand, needed: int, inside: int) -> NoPlan:
    lost = 0 if demand.boundaries else 2
    length = 32 - (needed + lost - 1).bit_length()
    return NoPlan(
        Shortage.INSIDE_TOO_SMALL,
        f"{needed} inside addresses are needed at the peak, the inside prefixes have {inside}",
        (f"add {needed - inside} inside addresses; one /{length} would hold all",),
    )


def _outside_too_small(demand: Demand, needed: int, inside: int, outside: int) -> NoPlan:
    candidates = _candidates(demand)
    fits = candidates // (ceil(inside / outside) + demand.overflow_share)
    per_outside = candidates // demand.ports_per_subscriber - demand.overflow_share
    alternatives: list[str] = []
    missing = 0
    if per_outside > 0:
        missing = ceil(inside / per_outside) - outside
        alternatives.append(f"add {missing} outside addresses")
        if needed <= per_outside * outside < inside:
            alternatives.append(
                f"shrink the inside prefixes to at most {per_outside * outside} addresses; {needed} are needed"
            )
    if fits > 0:
        alternatives.append(f"take {fits} ports per subscriber")
    if demand.overflow_share:
        alternatives.append("take a smaller overflow share")
    return NoPlan(
        Shortage.OUTSIDE_TOO_SMALL,
        f"{inside} inside addresses with {demand.ports_per_subscriber} ports each need more than the "
        f"{candidates} ports of each of {outside} outside addresses",
        tuple(alternatives),
        missing,
        fits,
    )


def _notes(demand: Demand, plan: DeterministicPlan, used: int) -> Iterator[str]:
    if plan.first_port < 1024:
        yield "system ports below 1024 are dealt out; RFC 7422 section 2 leaves them out"
    if demand.overflow_share:
        yield f"{plan.overflow_ports} ports of each outside address are an overflow pool: log their use"
    if used < plan.outside_span.count:
        yield f"{plan.outside_span.count - used} outside addresses stay unused: an even ratio does not reach them"
    if plan.sharing > 64:
        yield f"{plan.sharing} subscribers share an address: blocked services and captchas hit all of them"
    if any(not prefix.is_private and not prefix.subnet_of(_SHARED) for prefix in plan.inside):
        yield "an inside prefix is neither private (RFC 1918) nor shared address space (RFC 6598)"


_SHARED = IPv4Network("100.64.0.0/10")
