"""What the API answers with about leases, their history and their pools' use. Times are epoch seconds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from daemon.api.live_models import JobView
from daemon.api.models import Model
from ipam.kinds import LeaseState

DEFAULT_VRF = "default"
"""How the VRF without a name is written."""


class LeaseView(Model):
    """One slot of a pool. Empty texts are not known."""

    tenant: str
    vrf: str
    pool: str
    kind: str
    address: str = Field(description="address, prefix, VLAN id, or outside address and first port")
    state: LeaseState
    lease_id: str
    bundle_id: str = Field(description="the leases of one login have the same; 0: of no login")
    owner: str = Field(description="the key under which its owner gets it again")
    subscriber: str
    session: str = Field(description="the session's number on this edge")
    nas: str
    circuit: str
    mac: str
    since_at: float | None = Field(description="since when it is in this state")
    expires_at: float | None = Field(description="unless its session goes on; none: it does not expire")


class LeasePage(Model):
    """Some leases, and where to go on; in the order of tenant, pool and first use."""

    items: list[LeaseView]
    next: str | None = Field(description="the cursor of the next page; none: that was all")


class LeaseEventView(Model):
    """One change of state of a lease; `hash` is its place in the chain of the history."""

    book: str
    seq: int
    at: float
    clock_quality: str
    tenant: str
    vrf: str
    pool: str
    kind: str
    address: str
    length: int
    lease_id: str
    owner: str
    subscriber: str
    session: str
    nas: str
    circuit: str
    mac: str
    old: str
    new: str
    cause: str
    seen: str = Field(description="of a conflict: who was seen there; of a login: for whom it was still kept")
    hash: str


class LeaseDetailView(Model):
    """A lease with the latest of its history, latest first."""

    lease: LeaseView
    with_it: list[LeaseView] = Field(description="the other leases of the same login")
    history: list[LeaseEventView]


class HistoryPage(Model):
    """Events, latest first, and where to go on.

    A page may be short, or empty, though there are more: it looks at a bounded number of events.
    """

    items: list[LeaseEventView]
    next: str | None


class ActionView(Model):
    """What became of an operator's wish: the lease as it is now."""

    lease: LeaseView
    done: bool
    says: str
    jobs: list[JobView] = Field(default=[], description="Disconnects that were begun")


class UtilisationView(Model):
    """How full a pool, or all pools of a kind at a site, of a VRF or tenant are. Counts are slots."""

    level: Literal["pool", "site", "vrf", "tenant"]
    tenant: str
    name: str
    kind: str
    size: int
    free: int
    tentative: int
    bound: int
    held: int
    quarantined: int
    declined: int
    reserved: int
    disabled: int
    used_percent: float = Field(
        description="what cannot be given to somebody new now, of what is not disabled"
    )
    alarm: str = Field(description="of a pool: low or critical, empty while there is enough")


class GivenView(Model):
    """One address that was given out."""

    address: str
    owner: str
    lease_id: str = Field(description="of a tentative lease; 0 for a reservation")
    bundle_id: str
    expires_at: float | None = Field(description="until when a tentative lease is held")


class NextAvailableView(Model):
    """The addresses that were asked for."""

    tenant: str
    pool: str
    hold: str
    items: list[GivenView]


class FindingView(Model):
    """Something that is not as it must be."""

    rule: str
    tenant: str
    subject: str
    text: str
    remedy: str
    repaired: bool


class CheckView(Model):
    """What a check has found; `findings` are the first of `count`."""

    count: int
    repaired: int
    looked_at: dict[str, int] = Field(description="how much of what was looked at")
    findings: list[FindingView]
