"""What the API answers with about acting on live sessions: CoA jobs and tests, events, storms."""

from __future__ import annotations

from pydantic import Field

from daemon.api.models import Model


class JobView(Model):
    """One CoA or Disconnect job: one intent for one session. Times are epoch seconds."""

    id: int
    tenant: str
    nas: str
    subscriber: str
    session: str = Field(description="the session's number on this edge")
    kind: str = Field(description="what was asked for: change or disconnect")
    rung: str = Field(description="what is tried now: change, disconnect or kick")
    state: str
    attempts: int
    outcome: str = Field(description="of the last try, or of the job when it is finished")
    cause: str = Field(description="Error-Cause of the NAS, or what kept us from sending")
    note: str
    reason: str
    why: str
    age_s: float
    next_at: float | None = Field(description="when it is tried again")
    finished_at: float | None


class ReconcileView(Model):
    """What a comparison of live sessions with the data has shown."""

    looked_at: int
    matching: int
    deviating: int
    jobs: list[JobView] = Field(description="of those that deviate, 100 at the most")


class CoaTestView(Model):
    """What a test of a NAS's CoA has shown."""

    nas: str
    address: str
    port: int
    session: str | None = Field(description="the session that was told its own settings; none: a made-up one")
    verdict: str
    says: str
    advice: str
    cause: str
    rtt_ms: float | None
    bad_replies: int


class EventView(Model):
    """One event."""

    seq: int
    at: float
    kind: str
    meaning: str
    tenant: str
    subscriber: str
    session: str | None
    nas: str
    reason: str
    fields: dict[str, str | int | float]


class EventPage(Model):
    """Events, the latest first; after `after_seq` was given, the oldest first."""

    items: list[EventView]
    last_seq: int = Field(description="the number of the latest event there is")


class StormView(Model):
    """Whether subscribers come back in a storm. Rates are Access-Requests a second."""

    active: bool
    since: float | None
    reason: str | None
    nas: str | None
    access_per_s: float
    usual_per_s: float
    repeats_share: float
    deaf: list[str] = Field(description="NASes that repeat for minutes: they do not hear our replies")
    interims_held: int
    interims_coalesced: int
