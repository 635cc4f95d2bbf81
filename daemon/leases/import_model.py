"""What an import is to do, and what it has come to."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter

from daemon.replica.pools import Span
from daemon.replica.records import Plan as SoldPlan
from daemon.replica.records import Subscriber
from ipam.definition_rows import Definition
from ipam.history import Party
from ipam.imports.records import Finding
from ipam.kinds import Kind
from ipam.layout import Counted
from ipam.model import Reservation
from ipam.shelf import Shelf
from ipam.tree import Prefix

MOST_TOLD = 1_000
"""How many findings of a sort are told; all are counted."""

MOST_LEASES = 2_000_000
MOST_RANGES = 4_096
"""Of one pool: a login looks at them one after the other until it finds one with something free."""

OwnerKey = Callable[[Subscriber, SoldPlan | None, bool, str], str]
"""(subscriber, plan, found by its user name, MAC or what calls) -> what the book knows the owner by at a login."""


@dataclass(slots=True)
class Findings:
    """Findings in the order found, at most MOST_TOLD of `count`."""

    told: list[Finding] = field(default_factory=list)
    count: int = 0

    def add(self, finding: Finding) -> None:
        """Take one more."""
        self.count += 1
        if self.count <= MOST_TOLD:
            self.told.append(finding)


@dataclass(slots=True)
class Leases:
    """The leases to be made in one pool, field by field, since there may be a million."""

    slots: list[int] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    untils: array[float] = field(default_factory=lambda: array("d"))
    parties: list[Party] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.slots)

    def add(self, slot: int, owner: str, until: float, party: Party) -> None:
        """Take one more; `until` is epoch s, infinite for what does not end."""
        self.slots.append(slot)
        self.owners.append(owner)
        self.untils.append(until)
        self.parties.append(party)


@dataclass(slots=True)
class PoolPlan:
    """One pool: what it is to be, and what is to be in it. `known` is what it is now, `shelf` its place in the book.

    `spans` are the new ranges; `wanted` the definition with them, `layout` how it counts.
    """

    name: str
    vrf: str
    kind: Kind
    unit_length: int
    file: str
    line: int
    ranges: list[Span] = field(default_factory=list)
    exclusions: list[Span] = field(default_factory=list)
    known: Definition | None = None
    spans: tuple[Span, ...] = ()
    fresh_exclusions: tuple[Span, ...] = ()
    wanted: Definition | None = None
    layout: Counted | None = None
    shelf: Shelf | None = None
    leases: Leases = field(default_factory=Leases)
    declined: list[int] = field(default_factory=list)  # values

    def is_excluded(self, first: int, last: int) -> bool:
        """Tell whether some numbers are, or are to be, excluded; the pool is settled."""
        spans = () if self.wanted is None else self.wanted.pool.exclusions  # merged: they do not touch
        at = bisect_right(spans, last, key=itemgetter(0)) - 1
        return at >= 0 and spans[at][1] >= first


@dataclass(slots=True)
class Plan:
    """Everything that an import is to do."""

    tenant: str
    pools: dict[str, PoolPlan] = field(default_factory=dict)
    reservations: list[Reservation] = field(default_factory=list)
    prefixes: list[Prefix] = field(default_factory=list)
    problems: Findings = field(default_factory=Findings)
    notes: Findings = field(default_factory=Findings)
    unchanged: dict[str, int] = field(default_factory=dict)

    def same(self, what: str) -> None:
        """Count something that is there already."""
        self.unchanged[what] = self.unchanged.get(what, 0) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found, and what would be or was made. `done` tells that everything is in force."""

    done: bool
    made: dict[str, int]
    unchanged: dict[str, int]
    problems: tuple[Finding, ...]
    problem_count: int
    notes: tuple[Finding, ...]
    note_count: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a part of an import is."""

    stage: str
    done: int
    total: int
