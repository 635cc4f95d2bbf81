"""What the book is asked and what it answers: requests, bundles of leases, shortages, conflicts, observations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple, cast

from ipam.address import Unit
from ipam.history import NOBODY, Party
from ipam.kinds import Kind, LeaseState, Shortage


class Origin(StrEnum):
    """Where a lease came from: why it is the old address, or a new one."""

    LIVE = "live"  # the owner has it already
    STICKY = "sticky"  # the owner had it last
    RESERVED = "reserved"  # set aside for the owner
    FIXED = "fixed"  # the platform gave it to the owner
    FRESH = "fresh"  # never used before
    REUSED = "reused"  # was another owner's, long enough ago


@dataclass(frozen=True, slots=True)
class Wanted:
    """One member of a bundle: from the first of `pools` that has one (and their named fallbacks), or exactly `unit`."""

    kind: Kind
    pools: tuple[str, ...] = ()
    unit: Unit | None = None
    vrf: str = ""  # of an exact unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one login needs, all or nothing; each pool at most once. `lease_s` None: the longest of the pools'."""

    tenant: str
    wanted: tuple[Wanted, ...]
    party: Party = NOBODY
    lease_s: float | None = None


class Lease(NamedTuple):
    """One member of a bundle as the subscriber gets it. `fallback`: not from the first pool that was named."""

    lease_id: int
    pool: str
    kind: Kind
    unit: Unit
    state: LeaseState
    origin: Origin
    fallback: bool = False


class Bundle(NamedTuple):
    """The leases of one login; they live and die together.

    Tell the subscriber only when the book says that `serial` is durable and that the bundle still stands.
    """

    id: int
    owner: str
    leases: tuple[Lease, ...]
    serial: int


# As calling the classes, in half the time.
new_lease: Final = cast("Callable[[type[Lease], tuple[Any, ...]], Lease]", tuple.__new__)
new_bundle: Final = cast("Callable[[type[Bundle], tuple[Any, ...]], Bundle]", tuple.__new__)


@dataclass(frozen=True, slots=True)
class Exhausted:
    """There is no lease of that kind, so there is none at all. `next_at`: when one may come free, epoch seconds."""

    reason: Shortage
    kind: Kind
    pool: str
    next_at: float | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """An exact unit that cannot be given: what state it is in and who has it (empty: nobody, or not told)."""

    unit: Unit
    pool: str
    state: LeaseState
    holder: str


class Sighting(StrEnum):
    """What an address that a session reports is to the book."""

    KNOWN = "known"  # its owner's lease
    ADOPTED = "adopted"  # nobody else had it: it is its owner's lease from now on
    CONFLICT = "conflict"  # another's, or not to be used
    FOREIGN = "foreign"  # of no pool here, or of another node's block


@dataclass(frozen=True, slots=True)
class Observation:
    """The answer to a report; `holder` is whose it is by the book, `bundle_id` that of the lease it is known by."""

    sighting: Sighting
    unit: Unit
    pool: str = ""
    holder: str = ""
    bundle_id: int = 0
    serial: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """One slot that is not free, for listings. `expires_at` is epoch seconds, None where it does not expire."""

    tenant: str
    pool: str
    kind: Kind
    unit: Unit
    state: LeaseState
    lease_id: int
    bundle_id: int
    owner: str
    session: str
    party: Party
    since_at: float
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Utilisation:
    """How full something is, in slots by state."""

    size: int
    free: int
    tentative: int
    bound: int
    held: int
    quarantined: int
    declined: int
    reserved: int
    disabled: int

    @property
    def used_percent(self) -> float:
        """Slots that cannot be given to a new owner now, of those that are not disabled."""
        usable = self.size - self.disabled
        return 100.0 * (usable - self.free) / usable if usable else 0.0
