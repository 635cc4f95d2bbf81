"""The closed sets of the address book: what is leased, the states of a lease, why one changed."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Space(StrEnum):
    """Where numbers are unique, within a VRF."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    SVLAN = "svlan"
    CVLAN = "cvlan"
    PORTS = "ports"  # an outside IPv4 address and a port of it


class Kind(StrEnum):
    """What a pool leases."""

    V4 = "v4"
    V6_NA = "v6-na"
    V6_PREFIX = "v6-prefix"  # of the link to the subscriber, usually a /64 (Framed-IPv6-Prefix)
    PD = "pd"  # delegated behind the subscriber's router
    SVLAN = "svlan"
    CVLAN = "cvlan"
    CGN_BLOCK = "cgn-block"
    FIXED = "fixed"  # addresses and prefixes that the platform gave to one subscriber, of any space


SPACE_OF: Final = {
    Kind.V4: Space.IPV4,
    Kind.V6_NA: Space.IPV6,
    Kind.V6_PREFIX: Space.IPV6,
    Kind.PD: Space.IPV6,
    Kind.SVLAN: Space.SVLAN,
    Kind.CVLAN: Space.CVLAN,
    Kind.CGN_BLOCK: Space.PORTS,
}
"""The space of each kind of pool; a fixed unit says its own."""

BITS: Final = {Space.IPV4: 32, Space.IPV6: 128, Space.SVLAN: 12, Space.CVLAN: 12, Space.PORTS: 48}
"""How many bits a number of each space has."""


class LeaseState(StrEnum):
    """What a slot of a pool is in; the order is that of the numbers below."""

    FREE = "free"
    TENTATIVE = "tentative"  # an Access-Accept has named it
    BOUND = "bound"  # a session uses it
    HELD = "held"  # ended, and kept for its owner
    QUARANTINED = "quarantined"  # ended, and not yet given to another
    DECLINED = "declined"  # its owner found it in use
    RESERVED = "reserved"  # set aside for one owner
    DISABLED = "disabled"  # an operator took it out


STATES: Final = tuple(LeaseState)
STATE_NAMES: Final = tuple(state.value for state in STATES)
STATE_NUMBERS: Final = {name: number for number, name in enumerate(STATE_NAMES)}
FREE: Final = 0
TENTATIVE: Final = 1
BOUND: Final = 2
HELD: Final = 3
QUARANTINED: Final = 4
DECLINED: Final = 5
RESERVED: Final = 6
DISABLED: Final = 7


class PoolState(StrEnum):
    """Whether a pool gives out leases."""

    ACTIVE = "active"
    DRAINING = "draining"  # leases stay until they end, none begins
    DISABLED = "disabled"  # as draining, and no login may rely on it


class Order(StrEnum):
    """In which order a pool gives out what was never used."""

    SEQUENTIAL = "sequential"
    SHUFFLED = "shuffled"


class Cause(StrEnum):
    """Why a lease changed its state."""

    LOGIN = "login"
    START = "start"
    OTHER_SESSION = "other-session"  # the same owner, another session
    STOP = "stop"
    REAPER = "reaper"
    NAS_RESTART = "nas-restart"
    TENTATIVE_OVER = "tentative-over"  # no session began in time
    LEASE_OVER = "lease-over"  # nothing was heard of the session
    REFUSED = "refused"  # the login was not answered
    OPERATOR = "operator"
    HOLD_OVER = "hold-over"
    QUARANTINE_OVER = "quarantine-over"
    DECLINED = "declined"
    CONFLICT = "conflict"
    ADOPTED = "adopted"  # a session reported it and nobody else had it
    RESERVATION = "reservation"
    RESERVATION_ENDED = "reservation-ended"
    DISABLED = "disabled"
    ENABLED = "enabled"
    RENUMBERED = "renumbered"
    FENCED = "fenced"  # a lease of the same bundle lay in a block that went to another node


class ClockQuality(StrEnum):
    """How far the time of an event may be trusted."""

    SYNCHRONISED = "synchronised"
    UNSYNCHRONISED = "unsynchronised"
    STEPPED_BACK = "stepped-back"  # the clock showed less than for the event before
    UNKNOWN = "unknown"


class Shortage(StrEnum):
    """Why there is no lease."""

    EXHAUSTED = "pool-exhausted"
    WAITING = "pool-waiting"  # what is left is held or in quarantine: there is a time at which one comes free
    DRAINING = "pool-draining"
    DISABLED = "pool-disabled"
    UNKNOWN_POOL = "pool-unknown"
    OTHER_TENANT = "pool-of-other-tenant"
    WRONG_KIND = "pool-of-other-kind"
    NO_BLOCK = "no-block-of-this-node"
    STORE_BEHIND = "store-behind"  # too much waits to be written
