"""What the API answers with. Names are those of the command line's tables."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")


class Model(BaseModel):
    """Base: immutable, and unknown fields are a mistake of ours."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Page(Model, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    count: int = Field(description="how many there are in all")
    limit: int
    offset: int


class Failure(Model):
    """The body of every answer that is not a success."""

    code: str = Field(description="stable slug")
    message: str
    details: list[dict[str, Any]] = []
    request_id: str = ""
    retryable: bool = False


class DeviationView(Model):
    """How a live session is not what the data want."""

    since: float
    reason: str
    fields: list[str] = Field(description="what differs; empty: the session should end")
    live: bool = Field(description="whether its NAS can be told to change it without ending it")


class SessionView(Model):
    """One session. Octets are seen from the subscriber; times are epoch seconds."""

    uid: str = Field(description="the session's number on this edge")
    tenant: str
    username: str
    subscriber: str
    nas: str
    box: str = Field(description="which box behind the NAS entry")
    acct_session_id: str
    state: str
    framed_ip_address: str | None
    framed_ipv6_prefix: str | None
    delegated_ipv6_prefix: str | None
    calling_station_id: str | None
    nas_port_id: str | None
    octets_upload: int
    octets_download: int
    packets_upload: int
    packets_download: int
    octets_upload_ipv6: int
    octets_download_ipv6: int
    session_time_s: int
    started_at: float
    start_seen: bool = Field(description="false: computed back from a later packet")
    updated_at: float
    closed_at: float | None
    closed_by: str
    terminate_cause: str | None
    class_: str | None = Field(alias="class")
    applied: dict[str, str] = Field(description="what the NAS was last told, as far as it is known")
    applied_reason: str = Field(description="why that is less than the plan")
    interim_s: float = Field(description="how far apart its reports come, 0 before the second")
    suspect_since: float | None
    deviation: DeviationView | None


class SubscriberView(Model):
    """One subscriber, without secrets."""

    tenant: str
    id: str
    usernames: list[str]
    access_mode: str
    status: str
    plan: str | None
    secret: str = Field(description="kind of the stored secret, empty for none")
    macs: list[str]
    circuit_id: str | None
    remote_id: str | None
    ipv4_address: str | None
    ipv6_prefix: str | None
    delegated_prefix: str | None
    valid_from: float | None
    valid_until: float | None
    online: int = Field(description="live sessions")


class NasView(Model):
    """One NAS entry and what was seen of it since the daemon started."""

    tenant: str
    id: str
    prefixes: list[str]
    vendor: str
    site: str | None
    coa: bool = Field(description="false: it takes no CoA and no Disconnect from us")
    coa_address: str | None = Field(description="none: where its packets come from")
    coa_port: int
    coa_secret: str = Field(description="own, or that of its requests")
    coa_message_authenticator: bool
    coa_event_timestamp: bool
    message_authenticator: str = Field(description="required or observed")
    limit_proxy_state: bool
    rotating_secret: bool
    sessions: int
    signed_requests: int
    unsigned_requests: int
    advice: str


class CandidateView(Model):
    """A source that sends RADIUS and is no NAS of ours."""

    address: str
    first_at: float
    last_at: float
    packets: int
    code: str
    nas_identifier: str


class StepView(Model):
    """One step of a decision."""

    step: str
    result: str
    detail: str


class AttributeView(Model):
    """One attribute of a reply. What its octets hold besides it, other attributes, comes once for each."""

    text: str
    source: str = Field(description="what it came from")
    hex: str = Field(description="its octets on the wire")


class DecisionView(Model):
    """One decision, step by step."""

    at: float
    nas: str
    source: str
    username: str
    calling_station_id: str | None
    outcome: str
    reason: str
    meaning: str
    method: str
    subscriber: str | None = None
    plan: str | None = None
    staff: str | None = Field(None, description="of a login to a device: who; empty for nobody known")
    session_class: str | None = Field(None, description="the Class token of the session, hex")
    replica_generation: int
    steps: list[StepView]
    request: list[str]
    reply: list[str]


class LoadView(Model):
    """What a load of data changed, by kind."""

    added: dict[str, int]
    changed: dict[str, int]
    unchanged: dict[str, int]
    removed: dict[str, int]
    warnings: list[str] = Field(description="what is allowed but odd")
    dry_run: bool


class ReloadView(Model):
    """What a reload of the settings did."""

    live: list[str] = Field(description="settings now in force")
    restart: list[str] = Field(description="settings that take a restart")


class StatusView(Model):
    """The daemon at a glance."""

    version: str
    name: str
    started_at: float
    ready: bool
    degraded: list[str]
    replica: dict[str, int]
    replica_changed_at: float | None
    sessions: dict[str, int]
    deviating: int = Field(description="live sessions that are not what the data want")
    coa_jobs: dict[str, int] = Field(description="CoA and Disconnect jobs at work, by state")
    journal_last_seq: int
    journal_pending: int
    tasks: list[dict[str, str]]
