"""Deterministic CGNAT: which ports of which outside address an inside address has, and back (RFC 7422).

A plan is fixed for good: a change is a new version with its own time, so that an old question is answered
with the plan that was in force then.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

MAX_PORT = 65_535


class Algorithm(StrEnum):
    """How the blocks are dealt out (RFC 7422 section 2, algorithm A).

    Each outside address has `sharing` blocks. SEQUENTIAL fills one outside address after the other with runs
    of ports. INTERLEAVED (the RFC's "staggered") does so too, but a block is every `sharing`-th port. STRIPED
    has runs of ports as well, and gives neighbours neighbouring outside addresses, as a netmap rule does.
    """

    SEQUENTIAL = "sequential"
    INTERLEAVED = "interleaved"
    STRIPED = "striped"


class OutOfPlan(StrEnum):
    """Why a plan has no answer."""

    NO_PLAN = "no-plan"  # none was in force for that address then
    INSIDE_UNKNOWN = "inside-unknown"
    OUTSIDE_UNKNOWN = "outside-unknown"
    PORT_OUTSIDE_RANGE = "port-outside-range"  # below the first or above the last port of the plan
    PORT_RESERVED = "port-reserved"
    PORT_UNASSIGNED = "port-unassigned"  # behind the last block: left over, or the overflow pool
    NO_SUBSCRIBER = "no-subscriber"  # a block that no inside address has


class PlanInvalid(ValueError):
    """A plan contradicts itself; `problems` is all that is wrong with it."""

    slug = "cgnat-plan-invalid"

    def __init__(self, name: str, problems: tuple[str, ...]) -> None:
        super().__init__(f"{name}: " + "; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one subscriber: every `step`-th from `first_port` to `last_port`, both included.

    With step 1, ports that the plan reserves may lie in between; they do not belong to the subscriber.
    """

    outside: IPv4Address
    first_port: int
    last_port: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses of several prefixes in the order in which they are written, numbered from 0."""

    prefixes: tuple[IPv4Network, ...]
    boundaries: bool = True  # False leaves out the lowest and highest address of prefixes of /30 and shorter
    count: int = field(init=False)
    _runs: tuple[tuple[int, int, int], ...] = field(init=False, repr=False, compare=False)
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _order: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        runs: list[tuple[int, int, int]] = []
        number = 0
        for prefix in self.prefixes:
            trim = 0 if self.boundaries or prefix.prefixlen > 30 else 1
            low = int(prefix.network_address) + trim
            high = int(prefix.broadcast_address) - trim
            runs.append((low, high, number))
            number += high - low + 1
        by_address = sorted(runs)
        object.__setattr__(self, "count", number)
        object.__setattr__(self, "_runs", tuple(by_address))
        object.__setattr__(self, "_starts", tuple(low for low, _, _ in by_address))
        object.__setattr__(self, "_order", tuple((start, low) for low, _, start in runs))

    def number(self, address: IPv4Address) -> int | None:
        """Return the number of an address, None where it is not of the span."""
        value = int(address)
        spot = bisect_right(self._starts, value) - 1
        if spot < 0:
            return None
        low, high, start = self._runs[spot]
        return start + value - low if value <= high else None

    def address(self, number: int) -> IPv4Address:
        """Return the address with a number from 0 to `count` - 1; IndexError beyond."""
        if not 0 <= number < self.count:
            raise IndexError(number)
        start, low = self._order[bisect_right(self._order, (number, 1 << 32)) - 1]
        return IPv4Address(low + number - start)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeterministicPlan:
    """One version of one plan, in force from `valid_from` until before `valid_until` (epoch s, None: open).

    Raises PlanInvalid where the numbers contradict each other. Only IPv4 inside addresses (NAT444).
    """

    id: str
    version: int
    inside: tuple[IPv4Network, ...]
    outside: tuple[IPv4Network, ...]
    block_size: int  # ports of one subscriber
    sharing: int  # blocks of one outside address; the RFC's compression ratio C
    first_port: int = 1024  # RFC 7422 section 2: system ports stay out
    last_port: int = MAX_PORT
    reserved_ports: frozenset[int] = frozenset()
    algorithm: Algorithm = Algorithm.SEQUENTIAL
    boundaries: bool = True  # the lowest and highest address of an inside prefix take part
    valid_from: float = 0.0
    valid_until: float | None = None
    inside_span: Span = field(init=False, repr=False, compare=False)
    outside_span: Span = field(init=False, repr=False, compare=False)
    _reserved: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        reserved = tuple(
            sorted(port for port in self.reserved_ports if self.first_port <= port <= self.last_port)
        )
        object.__setattr__(self, "inside_span", Span(self.inside, self.boundaries))
        object.__setattr__(self, "outside_span", Span(self.outside))
        object.__setattr__(self, "_reserved", reserved)
        problems = tuple(_problems(self))
        if problems:
            raise PlanInvalid(f"{self.id} version {self.version}", problems)

    @property
    def candidates(self) -> int:
        """Ports of one outside address that may be dealt out: the range without the reserved ones."""
        return self.last_port - self.first_port + 1 - len(self._reserved)

    @property
    def capacity(self) -> int:
        """Blocks of the plan."""
        return self.outside_span.count * self.sharing

    @property
    def overflow_ports(self) -> int:
        """Ports of one outside address behind the last block: what is left over, or the RFC's dynamic pool."""
        return self.candidates - self.sharing * self.block_size

    def in_force(self, at: float) -> bool:
        """Tell whether this version counts at an epoch second."""
        return self.valid_from <= at and (self.valid_until is None or at < self.valid_until)

    def forward(self, inside: IPv4Address) -> Ports | OutOfPlan:
        """Return the ports of an inside address, or why it has none."""
        number = self.inside_span.number(inside)
        if number is None:
            return OutOfPlan.INSIDE_UNKNOWN
        if self.algorithm is Algorithm.STRIPED:
            block, outside = divmod(number, self.outside_span.count)
        else:
            outside, block = divmod(number, self.sharing)
        address = self.outside_span.address(outside)
        if self.algorithm is Algorithm.INTERLEAVED:
            first = self.first_port + block
            return Ports(address, first, first + (self.block_size - 1) * self.sharing, self.sharing)
        rank = block * self.block_size
        return Ports(address, self._port(rank), self._port(rank + self.block_size - 1))

    def reverse(self, outside: IPv4Address, port: int) -> IPv4Address | OutOfPlan:
        """Return the inside address that has a port of an outside address, or why none has."""
        number = self.outside_span.number(outside)
        if number is None:
            return OutOfPlan.OUTSIDE_UNKNOWN
        if not self.first_port <= port <= self.last_port:
            return OutOfPlan.PORT_OUTSIDE_RANGE
        if port in self.reserved_ports:
            return OutOfPlan.PORT_RESERVED
        rank = port - self.first_port - bisect_left(self._reserved, port)
        if rank >= self.sharing * self.block_size:
            return OutOfPlan.PORT_UNASSIGNED
        interleaved = self.algorithm is Algorithm.INTERLEAVED
        block = rank % self.sharing if interleaved else rank // self.block_size
        return self._holder(number, block)

    def sharers(self, outside: IPv4Address) -> tuple[tuple[IPv4Address, Ports], ...]:
        """Return every inside address behind an outside address, with its ports: what is known without a port."""
        number = self.outside_span.number(outside)
        if number is None:
            return ()
        held: list[tuple[IPv4Address, Ports]] = []
        for block in range(self.sharing):
            inside = self._holder(number, block)
            if isinstance(inside, OutOfPlan):
                continue
            ports = self.forward(inside)
            assert isinstance(ports, Ports)
            held.append((inside, ports))
        return tuple(held)

    def _holder(self, outside: int, block: int) -> IPv4Address | OutOfPlan:
        if self.algorithm is Algorithm.STRIPED:
            number = block * self.outside_span.count + outside
        else:
            number = outside * self.sharing + block
        if number >= self.inside_span.count:
            return OutOfPlan.NO_SUBSCRIBER
        return self.inside_span.address(number)

    def _port(self, rank: int) -> int:
        port = self.first_port + rank
        for reserved in self._reserved:
            if reserved > port:
                break
            port += 1
        return port


def _problems(plan: DeterministicPlan) -> Iterator[str]:
    if not plan.id or plan.version < 1:
        yield "a plan needs an id and a version from 1"
    if not plan.inside or not plan.outside:
        yield "inside and outside prefixes are needed"
    yield from _overlaps((*plan.inside, *plan.outside))
    if plan.valid_until is not None and plan.valid_until <= plan.valid_from:
        yield "valid_until is not after valid_from"
    if not 1 <= plan.first_port <= plan.last_port <= MAX_PORT:
        yield f"ports {plan.first_port} to {plan.last_port} are no range of ports from 1 to {MAX_PORT}"
        return
    if plan.block_size < 1 or plan.sharing < 1:
        yield "block_size and sharing start at 1"
        return
    if plan.overflow_ports < 0:
        need = plan.sharing * plan.block_size
        yield (
            f"{plan.sharing} blocks of {plan.block_size} ports need {need} ports, "
            f"an outside address has {plan.candidates}"
        )
    if plan.capacity < plan.inside_span.count:
        yield f"{plan.inside_span.count} inside addresses do not fit in {plan.capacity} blocks"
    if plan.algorithm is Algorithm.INTERLEAVED and any(
        plan.first_port <= port <= plan.last_port for port in plan.reserved_ports
    ):
        yield "interleaved blocks need a range without reserved ports: start the range above them"


def _overlaps(prefixes: Sequence[IPv4Network]) -> Iterator[str]:
    ordered = sorted(prefixes)
    for lower, upper in pairwise(ordered):
        if lower.overlaps(upper):
            yield f"{lower} and {upper} overlap"
