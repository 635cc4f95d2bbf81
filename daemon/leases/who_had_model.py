"""Who had an address: the question, and what the answer is made of.

An answer names everybody who may have had the address within the uncertainty of the time, and says what it
stands on. Who is not named is not known: `gaps` says when nobody was there to write it down.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from ipam.address import Malformed, Unit, read_address, read_unit, text
from ipam.cgnat import MAX_PORT
from ipam.cgnat_blocks import Gap
from ipam.kinds import BITS, Space


class Claim(StrEnum):
    """How sure it is that a holder had the address."""

    HAD = "had"
    OFFERED = "offered"  # an Access-Accept had named it, and no session had begun
    PERHAPS = "perhaps"  # the reports before and after leave it open


class Source(StrEnum):
    """What a piece of evidence is."""

    LEASE = "lease-history"  # an event of the hash chain
    ACCOUNTING = "accounting"  # what a session has reported
    PLAN = "cgnat-plan"
    BLOCK = "port-block-report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Who had `unit` (and `port` of it) at `at`, give or take `skew_s`. None leaves tenant and VRF open.

    `at` is epoch seconds. At most `limit` holders are named; they are counted all the same.
    """

    unit: Unit
    at: float
    port: int | None = None
    skew_s: float = 5.0
    tenant: str | None = None
    vrf: str | None = None
    limit: int = 100

    @property
    def since(self) -> float:
        """The first epoch second that may be meant."""
        return self.at - self.skew_s

    @property
    def until(self) -> float:
        """The last epoch second that may be meant."""
        return self.at + self.skew_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One record that a holder stands on. `at` is epoch seconds; `hash` (hex), `book`, `seq` are of an event."""

    source: Source
    what: str
    at: float | None = None
    book: str = ""
    seq: int = 0
    hash: str = ""
    clock_quality: str = ""


@dataclass(frozen=True, slots=True)
class Via:
    """A translation: the inside address that had these ports of an outside address.

    Every `step`-th port. `plan` and `version` are of a deterministic plan, `reporter` is who told of a block, and
    `session` and `subscriber` whom the report names. `transport` is the kind of ports (RFC 8045), 0 for all.
    """

    outside: str
    first_port: int
    last_port: int
    step: int
    inside: str
    tenant: str
    plan: str = ""
    version: int = 0
    reporter: str = ""
    session: str = ""
    subscriber: str = ""
    transport: int = 0
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Somebody who had the address, or may have. Empty texts are not known; times are epoch seconds.

    `unit` is what was held, of which the address is a part. `until_at` None: nothing says that it ended.
    """

    claim: Claim
    tenant: str
    vrf: str
    unit: str
    kind: str
    subscriber: str = ""
    session: str = ""
    acct_session_id: str = ""
    username: str = ""
    nas: str = ""
    circuit: str = ""
    mac: str = ""
    from_at: float | None = None
    until_at: float | None = None
    via: Via | None = None
    evidence: tuple[Evidence, ...] = ()
    notes: tuple[str, ...] = ()

    def noted(self, *notes: str) -> Holder:
        """Return the same holder with more notes."""
        return replace(self, notes=(*self.notes, *(each for each in notes if each not in self.notes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one source has found. `doubt_since`: a change after that epoch second may have been missed."""

    holders: tuple[Holder, ...] = ()
    last: tuple[Holder, ...] = ()
    doubt_since: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A run of the chain that was recomputed; `broken_at` is the first event that does not follow, None for none."""

    book: str
    first_seq: int
    last_seq: int
    broken_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer. `count` is how many holders there are, `holders` no more than were asked for.

    `last` is who had it last before, where nobody had it then. `gaps` could have changed the answer.
    `clock` is the worst clock quality among the evidence, and `unknown` where there is none.
    """

    question: Question
    holders: tuple[Holder, ...]
    count: int
    last: tuple[Holder, ...]
    gaps: tuple[Gap, ...]
    kept_from: float | None
    clock: str
    notes: tuple[str, ...]
    verified: tuple[Verified, ...] = ()


def read_target(given: str) -> tuple[Unit, int | None]:
    """Return what `ADDRESS[/LEN][:PORT]` names; IPv6 with a port is `[ADDRESS]:PORT`. Raises Malformed."""
    wanted = given.strip()
    port: int | None = None
    head, colon, tail = wanted.rpartition(":")
    if colon and (head.endswith("]") or wanted.count(":") == 1):
        if not (tail.isascii() and tail.isdigit() and int(tail) <= MAX_PORT):
            raise Malformed(given, "an address with a port of 0 to 65535")
        wanted, port = head, int(tail)
    if wanted.startswith("[") and wanted.endswith("]"):
        wanted = wanted[1:-1]
    if "/" in wanted:
        unit = read_unit(wanted)
        if port is not None and unit.length != BITS[unit.space]:
            raise Malformed(given, "one address where there is a port")
        return unit, port
    space, value = read_address(wanted)
    return Unit(space, value, BITS[space]), port


def containing(unit: Unit) -> dict[str, set[int]]:
    """Return every prefix that holds a unit: the lengths by canonical text of the first address."""
    found: dict[str, set[int]] = {}
    bits = BITS[unit.space]
    for length in range(unit.length + 1):
        first = unit.value >> (bits - length) << (bits - length)
        found.setdefault(text(unit.space, first), set()).add(length)
    return found


def together(spans: Iterable[Mapping[str, Collection[int]]]) -> dict[str, set[int]]:
    """Return what several calls of `containing` gave as one."""
    merged: dict[str, set[int]] = {}
    for span in spans:
        for first, lengths in span.items():
            merged.setdefault(first, set()).update(lengths)
    return merged


def prefix_text(space: Space, address: str, length: int) -> str:
    """Return an address, or a prefix with its length."""
    return address if length == BITS[space] else f"{address}/{length}"


def utc(at: float) -> str:
    """Return epoch seconds as ISO 8601 in UTC: `2026-07-01T20:00:00Z`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
