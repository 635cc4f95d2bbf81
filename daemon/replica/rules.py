"""What a plan or a tenant rules beside rates: when, where, how many, how much, and what happens otherwise.

Times of day are local to the tenant, minutes since midnight; Monday is day 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from radius.grant import Rate


class Act(StrEnum):
    """What is done with a subscriber that a rule concerns."""

    REJECT = "reject"
    CAPTIVE = "captive"
    PLAN = "plan"  # another, restricted plan
    RATE = "rate"  # the same plan at another rate; of allowances only
    NOTIFY = "notify"  # nothing but an event; of allowances only


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """An act with what it needs."""

    act: Act
    plan: str | None = None
    rate: Rate | None = None


REJECTED = Treatment(act=Act.REJECT)
GARDEN = Treatment(act=Act.CAPTIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """A time of day on some days of the week; one that ends at or before its start goes on past midnight.

    A span over midnight belongs to the day on which it starts. From 0 to 0 is the whole day.
    """

    days: tuple[int, ...]
    start_min: int
    end_min: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RateHours:
    """A rate that replaces the plan's at some hours, for example at night."""

    hours: tuple[Hours, ...]
    rate: Rate


class Window(StrEnum):
    """Over which time an allowance counts."""

    DAY = "day"
    WEEK = "week"  # from Monday
    MONTH = "month"  # from the plan's `month_day`
    TOTAL = "total"


class Measure(StrEnum):
    """What an allowance counts."""

    OCTETS = "octets"
    SECONDS = "seconds"


class Direction(StrEnum):
    """Which octets an allowance counts, seen from the subscriber."""

    BOTH = "both"
    DOWNLOAD = "download"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """So much in a window; what happens from there on. `on_gap` also acts where the count may be too large."""

    name: str
    most: int
    measure: Measure = Measure.OCTETS
    window: Window = Window.MONTH
    direction: Direction = Direction.BOTH
    then: Treatment = REJECTED
    on_gap: bool = False


class SimultaneousMode(StrEnum):
    """What happens to one session too many."""

    REJECT_NEW = "reject-new"
    KICK_OLD = "kick-old"
    REPORT = "allow-and-report"
    SHADOW = "shadow"  # as if it were reject-new, but only counted and told


class Bound(StrEnum):
    """What a plan ties a subscriber's logins to."""

    MAC = "mac"
    CIRCUIT = "circuit"
    VLAN = "vlan"
    PORT = "port"


class LinePolicy(StrEnum):
    """What a circuit or remote id other than the subscriber's own means (Option 82)."""

    ENFORCE = "enforce"
    LOG = "log"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All rules of a plan. `treatments` maps reason slugs; a reason that is not in it follows the tenant."""

    login_hours: tuple[Hours, ...] = ()
    nases: tuple[str, ...] = ()  # empty: everywhere
    sites: tuple[str, ...] = ()
    simultaneous_use: int | None = None
    simultaneous_mode: SimultaneousMode = SimultaneousMode.REJECT_NEW
    bind: tuple[Bound, ...] = ()
    bind_learn: bool = False  # tie to what the first login shows
    line_policy: LinePolicy = LinePolicy.LOG
    allowances: tuple[Allowance, ...] = ()
    rate_hours: tuple[RateHours, ...] = ()
    month_day: int = 1  # 1 to 31; a month without that day begins a window on its last
    treatments: tuple[tuple[str, Treatment], ...] = ()


NO_RULES = Rules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Garden:
    """The walled garden of a tenant: what a captive session gets instead of its plan's service.

    A fixed address of the subscriber is kept, else `ipv4_pool` says where the address comes from.
    """

    redirect_url: str | None = None
    address_list: str | None = None
    services: tuple[str, ...] = ()
    filter_id: str | None = None
    ipv4_pool: str | None = None
    rate: Rate | None = None
    session_timeout_s: int = 300
    interim_interval_s: int | None = field(default=None)
