"""What an operator defines: VRFs, pools made of ranges, selectors, reservations; and what others claim.

Nothing here has a row for each address: a /8 is one range.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ipam.address import Malformed, Unit, read_span
from ipam.kinds import BITS, SPACE_OF, Kind, Order, PoolState, Space

MOST_SLOTS = 1 << 62
"""Slots of one range: of a larger one, such as a /64 of single addresses, only the first are leased."""

_LAST_SLOT = (1 << 63) - 1  # more would not fit the databases' integers

_NIBBLE = 4
_LAST_VLAN = 4095  # it and 0 mean something else (IEEE 802.1Q)
_PORTS = 1 << 16


def lease_time(interim_s: float) -> float:
    """Return how long a lease stands without news of its session: two interims and a minute."""
    return 2 * interim_s + 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Vrf:
    """A space of addresses of its own; also the domain in which VLAN ids are unique."""

    tenant: str
    name: str
    distinguisher: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Consecutive slots of a pool. `first` is the number of the first unit, `slots` how many units follow.

    Slots of a pool are numbered through; `first_slot` never changes, whatever is added or taken away later.
    """

    first: int
    slots: int
    first_slot: int
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Ranges whose units are leased. Times are seconds.

    `hold_s` keeps an ended lease for its owner (sticky pools); nobody else gets a slot before
    max(`quarantine_s`, `min_reuse_s`) after its last lease ended; `decline_s` is for what was found in use by
    a stranger. `exclusions` are first and last numbers. `fallbacks` are pools of the same kind, in order, and
    only these.
    """

    tenant: str
    vrf: str
    name: str
    kind: Kind
    unit_length: int  # prefix length; of port blocks how many ports
    ranges: tuple[Range, ...]
    site: str = ""
    exclusions: tuple[tuple[int, int], ...] = ()
    order: Order = Order.SEQUENTIAL
    key: bytes = field(default=b"", repr=False)  # of a shuffled order
    sticky: bool = True
    hold_s: float = 3600.0
    quarantine_s: float = 300.0
    min_reuse_s: float = 60.0
    decline_s: float = 86_400.0
    lease_s: float = 660.0
    tentative_s: float = 60.0
    state: PoolState = PoolState.ACTIVE
    low_percent: float = 20.0  # of free slots: a warning
    critical_percent: float = 5.0
    fallbacks: tuple[str, ...] = ()
    first_port: int = 1024  # of port blocks
    last_port: int = _PORTS - 1
    any_length: bool = False  # let an IPv6 prefix end inside a nibble

    @property
    def reuse_s(self) -> float:
        """How long after the end of a lease nobody else gets its slot."""
        reuse_s = max(self.quarantine_s, self.min_reuse_s)
        return max(reuse_s, self.hold_s) if self.sticky else reuse_s

    @property
    def slots(self) -> int:
        """How many slots all ranges have."""
        return sum(each.slots for each in self.ranges)

    @property
    def next_slot(self) -> int:
        """The number of the first slot of a range added now."""
        return max((each.first_slot + each.slots for each in self.ranges), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which logins a selector is for; None matches everything, an attribute needs its exact value."""

    tenant: str
    plan: str | None = None
    nas: str | None = None
    site: str | None = None
    attribute: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Pools for the logins that match: for each kind a pool and its fallbacks, in order.

    The lowest `priority` is asked first; of two that are equal the first name.
    """

    name: str
    priority: int
    match: Match
    pools: tuple[tuple[Kind, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A unit set aside for one owner, in a pool or outside of all."""

    tenant: str
    vrf: str
    unit: Unit
    owner: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A fixed address or routed block that the platform's data give to somebody; `what` names it for people."""

    tenant: str
    vrf: str
    unit: Unit
    what: str
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a definition is refused: a slug, the names that it is about, a sentence for people."""

    slug: str
    names: tuple[str, ...]
    text: str


def space_of(pool: Pool) -> Space:
    """Return the space of a pool's units."""
    return SPACE_OF[pool.kind]


def step(pool: Pool) -> int:
    """Return how many numbers one unit takes (of port blocks: how many ports)."""
    if pool.kind is Kind.CGN_BLOCK:
        return pool.unit_length
    return 1 << (BITS[SPACE_OF[pool.kind]] - pool.unit_length)


def blocks_per_address(pool: Pool) -> int:
    """Return how many port blocks one outside address has."""
    return (pool.last_port - pool.first_port + 1) // pool.unit_length


def span_of(pool: Pool, part: Range) -> tuple[int, int]:
    """Return the first and the last number of a range; of port blocks those of all ports of its addresses."""
    if pool.kind is Kind.CGN_BLOCK:
        last_address = part.first + (part.slots - 1) // blocks_per_address(pool)
        return part.first << 16, (last_address << 16) | (_PORTS - 1)
    return part.first, part.first + part.slots * step(pool) - 1


def range_of(given: str, pool: Pool) -> Range:
    """Read `192.0.2.0/24` or `192.0.2.10-192.0.2.99` (outside addresses, for port blocks) as the pool's next range.

    Of a range with more than `MOST_SLOTS` units only the first are taken. Raises Malformed where it is no whole
    number of units.
    """
    if pool.kind is Kind.CGN_BLOCK:
        first, last = read_span(Space.IPV4, given)
        slots = (last - first + 1) * blocks_per_address(pool)
    else:
        first, last = read_span(SPACE_OF[pool.kind], given)
        size = step(pool)
        if first % size or (last + 1) % size:
            raise Malformed(given, f"a whole number of /{pool.unit_length} units")
        slots = (last - first + 1) // size
    if slots <= 0:
        raise Malformed(given, "a range of at least one unit")
    if pool.kind in (Kind.SVLAN, Kind.CVLAN) and not 0 < first <= last < _LAST_VLAN:
        raise Malformed(given, f"a range of VLANs, 1 to {_LAST_VLAN - 1}")
    return Range(first=first, slots=min(slots, MOST_SLOTS), first_slot=pool.next_slot)


def faults(pool: Pool) -> tuple[Problem, ...]:
    """Return what is wrong with a pool by itself; `overlap.check` looks at its neighbours."""
    found = [*_unit_faults(pool)]
    if min(pool.hold_s, pool.quarantine_s, pool.min_reuse_s, pool.decline_s) < 0:
        found.append(("pool-times", "a time is negative"))
    if min(pool.lease_s, pool.tentative_s) <= 0:
        found.append(("pool-times", "the lease time and the tentative time must be longer than nothing"))
    if not 0 <= pool.critical_percent <= pool.low_percent <= 100:
        found.append(("pool-thresholds", "0 <= critical <= low <= 100 per cent is expected"))
    if pool.order is Order.SHUFFLED and not pool.key:
        found.append(("pool-key", "a shuffled order needs a key"))
    if pool.next_slot - 1 > _LAST_SLOT:
        found.append(("pool-size", f"its ranges have more than {_LAST_SLOT + 1} units together"))
    if pool.name in pool.fallbacks:
        found.append(("pool-fallback", "it is its own fallback"))
    return tuple(
        Problem(slug=slug, names=(pool.name,), text=f"pool {pool.name}: {text}") for slug, text in found
    )


def _unit_faults(pool: Pool) -> Iterator[tuple[str, str]]:
    if pool.kind is Kind.FIXED:
        yield "pool-kind", "fixed addresses have no pool of their own"
        return
    bits = BITS[SPACE_OF[pool.kind]]
    if pool.kind is Kind.CGN_BLOCK:
        if not 0 <= pool.first_port <= pool.last_port < _PORTS or blocks_per_address(pool) < 1:
            yield "pool-ports", "no port block fits between the first and the last port"
    elif pool.kind in (Kind.PD, Kind.V6_PREFIX):
        if not 0 < pool.unit_length <= bits:
            what = "a delegated prefix" if pool.kind is Kind.PD else "the prefix of a link"
            yield "pool-unit", f"{what} has a length of 1 to {bits}"
        elif pool.unit_length % _NIBBLE and not pool.any_length:
            yield "pool-unit-nibble", f"/{pool.unit_length} ends inside a hexadecimal digit"
    elif pool.unit_length != bits:
        yield "pool-unit", f"one unit of {pool.kind} is a /{bits}"
