"""A CoA job: one intent for one session, how far it has got, and its row in the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from typing import Any

from daemon.aaa import grant_codec
from daemon.aaa.coa.timers import Timer
from daemon.aaa.coa.wire import cause_slug
from daemon.aaa.session import Session
from daemon.store.jobs import JobRow
from radius.grant import Grant
from radius.vendors.difference import NEVER_MATTERS

_VERSION = 1
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_MATTERS: Callable[[Grant], object] = attrgetter(
    *(field.name for field in fields(Grant) if field.name not in NEVER_MATTERS)
)


def alike(one: Grant | None, other: Grant | None) -> bool:
    """Tell whether two grants are one to a live session: a timer that runs down makes no new one of them."""
    if one is other or one is None or other is None:
        return one is other
    return _MATTERS(one) == _MATTERS(other)


class Kind(StrEnum):
    """What is asked for, and the rungs of the ladder from the mildest down to the device driver."""

    CHANGE = "change"
    DISCONNECT = "disconnect"
    KICK = "kick"


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    VERIFYING = "verifying"  # the NAS said yes, its effect is awaited
    WAITING = "waiting"  # for its next try
    FINISHED = "finished"


class Outcome(StrEnum):
    """How a job, or its last try, ended."""

    NONE = ""
    ACKED = "acked"  # the NAS said yes, and no effect can be read
    VERIFIED = "verified"  # the effect was seen
    NAKED = "naked"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    NO_SESSION = "no-session"
    UNVERIFIED = "unverified"  # the NAS said yes, and the effect did not show
    SUPERSEDED = "superseded"
    UNABLE = "unable"  # cannot be sent at all, the cause says why
    FAILED = "failed"  # a fault of ours

    @property
    def ok(self) -> bool:
        """Whether the session is now as it was wanted."""
        return self in (Outcome.ACKED, Outcome.VERIFIED)


@dataclass(frozen=True, slots=True)
class Answered:
    """What one try brought; `cause` is the Error-Cause of a NAK."""

    outcome: Outcome
    cause: int | None

    @property
    def ok(self) -> bool:
        """Whether the NAS said yes, or the effect was seen."""
        return self.outcome.ok


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a session shall become. `reason` is a slug, `why` a sentence for people.

    A change says the grant `wanted`, or else the raw octets of the `attributes` to set, which are sent once
    more or less as they are and never turn into a Disconnect. `urgent` intents are not held back by a storm
    and go first. Without `retries` the job ends with its first answer, or with the silence after it. A change
    that may not end the session never turns into a Disconnect: it ends with what came of the change.
    """

    kind: Kind
    reason: str
    why: str = ""
    wanted: Grant | None = None
    attributes: bytes = b""
    urgent: bool = False
    retries: bool = True
    may_end: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError where the intent contradicts itself."""
        says = (self.wanted is not None) + bool(self.attributes)
        if says != (self.kind is Kind.CHANGE):
            raise ValueError(f"a {self.kind} with {says} things to set")

    def same(self, other: Intent) -> bool:
        """Tell whether both want the same of a session, timers aside."""
        said, others = (self.kind, self.attributes), (other.kind, other.attributes)
        return said == others and alike(self.wanted, other.wanted)


class Job:
    """The job. Only the engine changes it.

    `answered` is done when the next try has brought something, `ended` when the job is finished. `ending` says
    that the NAS took a Disconnect, or may have: it left one unanswered.
    """

    __slots__ = (
        "answered",
        "attempts",
        "box",
        "busy",
        "cause",
        "closing",
        "created_at",
        "ended",
        "ending",
        "finished_at",
        "id",
        "ignored",
        "intent",
        "nas",
        "next_at",
        "note",
        "on_closed",
        "outcome",
        "overtaken",
        "rung",
        "session",
        "session_uid",
        "silences",
        "state",
        "subscriber",
        "tenant",
        "timer",
        "urgent",
    )

    def __init__(self, number: int, session: Session, intent: Intent, box: bytes, at: float) -> None:
        loop = asyncio.get_running_loop()
        self.id = number
        self.session = session
        self.session_uid = session.uid
        self.tenant = session.tenant
        self.nas = session.nas
        self.subscriber = session.subscriber
        self.box = box
        self.intent = intent
        self.urgent = intent.urgent
        self.state = JobState.QUEUED
        self.rung = intent.kind
        self.attempts = 0
        self.busy = 0  # how often the NAS had no resources
        self.ignored = 0  # how often a NAS that lives has not answered a CoA
        self.silences = 0
        self.ending = False
        self.outcome = Outcome.NONE
        self.cause: int | None = None
        self.note = ""
        self.created_at = at
        self.next_at: float | None = None  # epoch, while it waits
        self.finished_at: float | None = None
        self.closing: asyncio.Future[None] = loop.create_future()  # done when the session closes
        self.overtaken: asyncio.Future[None] = loop.create_future()  # done when a newer intent has come
        self.answered: asyncio.Future[Answered] = loop.create_future()
        self.ended: asyncio.Future[Outcome] = loop.create_future()
        self.timer: Timer | None = None
        self.on_closed: Callable[[asyncio.Future[None]], None] | None = None

    def inherit(self, older: Job) -> None:
        """Keep what the job before this one has learned of the NAS: it does not learn it anew each time."""
        self.silences = older.silences
        if self.intent.kind is older.intent.kind:
            self.ignored, self.busy = older.ignored, older.busy

    def overtake(self) -> None:
        """Let a job under way know that it shall not go on."""
        if not self.overtaken.done():
            self.overtaken.set_result(None)

    def gone(self) -> tuple[Outcome, str]:
        """Return how it ends when its session has closed: a Disconnect that the NAS may have taken did that."""
        return (Outcome.VERIFIED, "") if self.ending else (Outcome.NO_SESSION, "closed")

    def answer(self) -> None:
        """Tell those who wait what the try has brought; more may follow."""
        if not self.answered.done():
            self.answered.set_result(Answered(self.outcome, self.cause))
        self.answered = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Tell those who wait that nothing more follows."""
        if not self.answered.done():
            self.answered.set_result(Answered(self.outcome, self.cause))
        if not self.ended.done():
            self.ended.set_result(self.outcome)

    @property
    def cause_slug(self) -> str:
        """The Error-Cause, or what kept us from sending, as a slug."""
        return cause_slug(self.cause) or self.note.partition(" ")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job as people and programs are shown it; `age_s` since it was submitted."""

    id: int
    tenant: str
    nas: str
    subscriber: str
    session: int
    kind: str
    rung: str
    state: str
    attempts: int
    outcome: str
    cause: str
    note: str
    reason: str
    why: str
    age_s: float
    next_at: float | None
    finished_at: float | None


def view(job: Job, at: float) -> JobView:
    """Return what is shown of a job at the epoch time `at`."""
    return JobView(
        id=job.id,
        tenant=job.tenant,
        nas=job.nas,
        subscriber=job.subscriber,
        session=job.session_uid,
        kind=job.intent.kind,
        rung=job.rung,
        state=job.state,
        attempts=job.attempts,
        outcome=job.outcome,
        cause=job.cause_slug,
        note=job.note,
        reason=job.intent.reason,
        why=job.intent.why,
        age_s=at - job.created_at,
        next_at=job.next_at,
        finished_at=job.finished_at,
    )


def row_view(row: JobRow, at: float) -> JobView:
    """Return what is shown of a job in the store; what its row does not say is empty."""
    try:
        said: dict[str, Any] = dict(json.loads(row.detail))
    except (ValueError, TypeError):
        said = {}
    kind, note = str(said.get("kind", "")), str(said.get("note", ""))
    return JobView(
        id=row.id,
        tenant=row.tenant,
        nas=row.nas,
        subscriber=row.subscriber,
        session=row.session_uid,
        kind=kind,
        rung=str(said.get("rung", kind)),
        state=row.state,
        attempts=int(said.get("attempts", 0)),
        outcome=str(said.get("outcome", "")),
        cause=cause_slug(said.get("cause")) or note.partition(" ")[0],
        note=note,
        reason=str(said.get("reason", "")),
        why=str(said.get("why", "")),
        age_s=at - row.created_at,
        next_at=said.get("next_at"),
        finished_at=row.finished_at,
    )


def to_row(job: Job) -> JobRow:
    """Return the row of a job as it is now."""
    intent = job.intent
    detail = {
        "v": _VERSION,
        "kind": intent.kind,
        "reason": intent.reason,
        "why": intent.why,
        "wanted": None if intent.wanted is None else grant_codec.to_json(intent.wanted),
        "attributes": intent.attributes.hex(),
        "urgent": job.urgent,
        "retries": intent.retries,
        "may_end": intent.may_end,
        "ending": job.ending,
        "rung": job.rung,
        "attempts": job.attempts,
        "outcome": job.outcome,
        "cause": job.cause,
        "note": job.note,
        "next_at": job.next_at,
    }
    return JobRow(
        id=job.id,
        tenant=job.tenant,
        nas=job.nas,
        subscriber=job.subscriber,
        session_uid=job.session_uid,
        state=job.state,
        created_at=job.created_at,
        finished_at=job.finished_at,
        detail=_ENCODE(detail).encode(),
    )


def read_intent(row: JobRow) -> Intent:
    """Return the intent in a row. Raises ValueError, KeyError or TypeError where it cannot be read."""
    said: dict[str, Any] = json.loads(row.detail)
    return Intent(
        kind=Kind(said["kind"]),
        reason=said["reason"],
        why=said["why"],
        wanted=None if said["wanted"] is None else grant_codec.from_json(said["wanted"]),
        attributes=bytes.fromhex(said["attributes"]),
        urgent=said["urgent"],
        retries=said["retries"],
        may_end=said.get("may_end", True),
    )


def from_row(row: JobRow, session: Session, box: bytes) -> Job:
    """Return the job in a row, as it was, ready to be queued; raises as `read_intent` does."""
    said: dict[str, Any] = json.loads(row.detail)
    job = Job(row.id, session, read_intent(row), box, row.created_at)
    job.rung = Kind(said["rung"])
    job.attempts = said["attempts"]
    job.ending = said.get("ending", False)
    job.outcome = Outcome(said["outcome"])
    job.cause = said["cause"]
    job.note = said["note"]
    return job


def finished_row(row: JobRow, outcome: Outcome, note: str, at: float) -> JobRow:
    """Return the row of a job that ends without having been taken up again."""
    try:
        said: dict[str, Any] = dict(json.loads(row.detail))
    except (ValueError, TypeError):
        said = {"v": _VERSION}
    said.update(outcome=outcome, note=note, next_at=None)
    return row._replace(state=JobState.FINISHED, finished_at=at, detail=_ENCODE(said).encode())
