"""What the API answers with about plans, use and policy."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from daemon.api.models import AttributeView, Model


class PlanView(Model):
    """A plan, in the words of the data file."""

    tenant: str
    id: str
    body: dict[str, Any] = Field(description="as `data load` takes it")
    subscribers: int = Field(description="how many have it")
    unsaid: dict[str, list[str]] = Field(description="by NAS, which of its fields that vendor cannot be told")


class RenderingView(Model):
    """What a plan says to one NAS."""

    tenant: str
    plan: str
    nas: str
    vendor: str
    subscriber: str | None
    answer: str = Field(description="permit, captive or reject")
    reason: str
    meaning: str
    attributes: list[AttributeView]
    unsaid: list[str] = Field(description="what this vendor has no words for")


class MovedView(Model):
    """One thing that differs."""

    field: str
    before: str
    after: str


class ChangeView(Model):
    """Somebody for whom the candidate data make a difference."""

    about: str = Field(description="session or request")
    tenant: str
    subscriber: str
    username: str
    nas: str
    session: str | None = Field(description="the live session's number")
    at: float = Field(description="when it began, or was asked")
    change: str = Field(description="changed, rejected, permitted, captive, or unanswered")
    before: str
    after: str
    moved: list[MovedView]


class CountsView(Model):
    """How many are answered otherwise; `changed` keep their answer and get something else."""

    unchanged: int = 0
    changed: int = 0
    rejected: int = 0
    permitted: int = 0
    captive: int = 0
    unanswered: int = 0


class DiffView(Model):
    """What candidate data would change."""

    sessions: CountsView
    requests: CountsView
    items: list[ChangeView]
    count: int = Field(description="how many there are; `items` are the first of them")
    warnings: list[str]

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return self.count > 0


class WindowView(Model):
    """What was used in one window."""

    window: str
    starts_at: float
    ends_at: float | None
    octets_upload: int
    octets_download: int
    seconds: int
    gap: str = Field(description="why that may not be all, empty: it is")


class AllowanceView(Model):
    """How a subscriber stands with one allowance of its plan."""

    name: str
    window: str
    measure: str
    direction: str
    used: int
    most: int = Field(description="with what was bought besides")
    left: int
    gap: str
    reached: bool
    acts: bool = Field(description="whether it does what it says now")
    then: str


class UsageView(Model):
    """What a subscriber has used. Octets are seen from the subscriber."""

    tenant: str
    subscriber: str
    plan: str | None
    counted_until: float | None = Field(description="time of the last report that is counted")
    bonus_octets: int
    windows: list[WindowView]
    allowances: list[AllowanceView]


class BindingView(Model):
    """What the first login of a subscriber has tied it to."""

    tenant: str
    subscriber: str
    learned_at: float
    mac: str | None
    circuit: str | None = Field(description="as text where it is one, else hex")
    vlan: str | None
    port: str | None


class StaffView(Model):
    """Somebody who may log in to devices, without the secret."""

    tenant: str
    id: str
    username: str
    privilege: str
    enabled: bool
    groups: dict[str, str]
    nases: list[str]
    sites: list[str]
    valid_until: float | None
    logged_in: int = Field(description="open sessions")


class StaffSessionView(Model):
    """A login to a device that is open."""

    tenant: str
    nas: str
    staff: str
    username: str
    session_id: str
    source: str
    calling_station_id: str
    port: str
    started_at: float
    heard_at: float


class StaffRecordView(Model):
    """One accounting record of a login to a device."""

    seq: int
    at: float
    tenant: str
    nas: str
    staff: str
    status: str
    event_at: float
    username: str
    session_id: str
    source: str
    nas_identifier: str
    calling_station_id: str
    port: str
    session_time_s: int | None
    terminate_cause: str | None
