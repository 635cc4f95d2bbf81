"""A CoA job: one intent for one session, how far it has got, and its row in the store."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from daemon.aaa import grant_codec
from daemon.aaa.coa_timers import Timer
from daemon.aaa.coa_wire import cause_slug
from daemon.aaa.session import Session
from daemon.store.jobs import JobRow
from radius.grant import Grant

_VERSION = 1
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


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
    and go first. Without `retries` the job ends with its first answer, or with the silence after it.
    """

    kind: Kind
    reason: str
    why: str = ""
    wanted: Grant | None = None
    attributes: bytes = b""
    urgent: bool = False
    retries: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError where the intent contradicts itself."""
        says = (self.wanted is not None) + bool(self.attributes)
        if says != (self.kind is Kind.CHANGE):
            raise ValueError(f"a {self.kind} with {says} things to set")

    def same(self, other: Intent) -> bool:
        """Tell whether both want the same of a session."""
        return (self.kind, self.wanted, self.attributes) == (other.kind, other.wanted, other.attributes)


class Job:
    """The job. Only the engine changes it.

    `answered` is done when the next try has brought something, `ended` when the job is finished.
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
        "finished_at",
        "id",
        "ignored",
        "intent",
        "nas",
        "next_at",
        "note",
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
    )


def from_row(row: JobRow, session: Session, box: bytes) -> Job:
    """Return the job in a row, as it was, ready to be queued; raises as `read_intent` does."""
    said: dict[str, Any] = json.loads(row.detail)
    job = Job(row.id, session, read_intent(row), box, row.created_at)
    job.rung = Kind(said["rung"])
    job.attempts = said["attempts"]
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
