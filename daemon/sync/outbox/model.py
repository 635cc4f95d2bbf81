"""Streams of events, and what a sink answers.

Numbers of a stream are dense and begin with 1 in each incarnation. Whoever receives keeps the highest number together
with the effects of the events, in one transaction: then delivering again changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

Json = Any  # a value as `json.dumps` takes it


class Stream(StrEnum):
    """What the edge tells. Each is in its own order."""

    ACCOUNTING = "accounting"  # every acknowledged record, from the journal
    SESSIONS = "sessions"  # what they came to be: started, changed, ended
    AUTH_REJECTS = "auth-rejects"
    LEASES = "leases"  # every change of every address, from the history
    QUOTA = "quota"
    DEVICES = "devices"
    AUDIT = "audit"


class Urgency(StrEnum):
    """What becomes of an event when the disk fills: A is never lost, B only where a newer one says the same, C is."""

    A = "A"
    B = "B"
    C = "C"


class Event(NamedTuple):
    """One event. `seq` is that of its log; times are epoch seconds; `fact` are the octets that the chain hashes.

    `body` is its data as the text of a JSON object: so most of it lies on disk, and so all of it is told. An interim
    that a later one has replaced is told as type `accounting.superseded` without data: its number stays.
    """

    seq: int
    at: float
    type: str
    urgency: Urgency
    tenant: str
    correlation: str
    body: str
    fact: bytes

    @property
    def data(self) -> Mapping[str, Json]:
        """What the event says."""
        said: dict[str, Json] = json.loads(self.body)
        return said


class Incarnation(NamedTuple):
    """One numbering of a stream: number `n` of the log is `n - base_seq` on the wire."""

    name: str
    base_seq: int


class Log(Protocol):
    """Where the events of a stream lie; reading costs what is read, whatever lies before and behind."""

    stream: Stream

    async def last_seq(self) -> int:
        """Return the highest number that is durable, 0 for none."""

    async def read(self, after_seq: int, limit: int) -> list[Event]:
        """Return up to `limit` events after a number, in order, without a hole.

        What was pruned is missing: then the first one is higher than asked for.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A run of events of one stream: `events` are those numbered `first` to `last` on the wire.

    `hashes` are those of the chain after each event, where they are at hand.
    """

    edge: str
    stream: Stream
    incarnation: str
    first: int
    last: int
    before_hash: bytes
    hash: bytes
    events: Sequence[Event]
    hashes: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Acked:
    """Everything up to a number on the wire has its effect there, for good."""

    seq: int


@dataclass(frozen=True, slots=True)
class Expected:
    """The receiver wants another number next: it has lost some, or has some already."""

    seq: int


@dataclass(frozen=True, slots=True)
class Diverged:
    """The receiver has other events under our numbers: this edge was set back. `detail` is for people."""

    detail: str


@dataclass(frozen=True, slots=True)
class Later:
    """Not now; `after_s` where the receiver said how long to wait."""

    detail: str
    after_s: float | None = None


Receipt = Acked | Expected | Diverged | Later


class OutboxSink(Protocol):
    """One way to carry events away.

    `portions` says how many times the usual number of events a delivery may have: more than one where the sink works
    on what comes next while it waits for an answer.
    """

    name: str
    streams: frozenset[Stream]
    portions: int

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Hand over a run of events. Raises nothing but CancelledError: what goes wrong is a value."""
