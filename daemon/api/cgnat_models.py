"""What the routes about CGNAT take and give."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated

from pydantic import Field

from daemon.api.models import Model
from ipam.cgnat import MAX_PORT, Algorithm

Prefixes = Annotated[tuple[IPv4Network, ...], Field(min_length=1, max_length=1_000)]
Port = Annotated[int, Field(ge=1, le=MAX_PORT)]
Reserved = Annotated[frozenset[Port], Field(max_length=MAX_PORT)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class PlanAdd(Model):
    """A plan, or the next version of one. `valid_from` is epoch seconds; now where it is left out."""

    tenant: str | None = None
    name: Name
    inside: Prefixes
    outside: Prefixes
    block_size: int = Field(description="ports of one subscriber")
    sharing: int = Field(description="subscribers of one outside address")
    first_port: int = 1024
    last_port: int = MAX_PORT
    reserved_ports: Reserved = frozenset()
    algorithm: Algorithm = Algorithm.SEQUENTIAL
    boundaries: bool = Field(default=True, description="the lowest and highest address of a prefix take part")
    valid_from: float | None = Field(default=None, allow_inf_nan=False)


class DemandIn(Model):
    """What a plan is wanted for; see `ipam.cgnat_plan.Demand`."""

    name: Name = "plan"
    subscribers: int
    inside: Prefixes
    outside: Prefixes
    peak_share: float = Field(default=1.0, allow_inf_nan=False)
    ports_per_subscriber: int | None = None
    reserve_percent: float = Field(default=0.0, allow_inf_nan=False)
    overflow_share: int = 0
    first_port: int = 1024
    last_port: int = MAX_PORT
    reserved_ports: Reserved = frozenset()
    algorithm: Algorithm = Algorithm.SEQUENTIAL
    boundaries: bool = True


class CgnatPlanView(Model):
    """One version of a plan. Times are epoch seconds."""

    tenant: str
    name: str
    version: int
    in_force: bool
    inside: list[str]
    outside: list[str]
    block_size: int
    sharing: int
    first_port: int
    last_port: int
    reserved_ports: list[int]
    algorithm: str
    boundaries: bool
    overflow_ports: int = Field(description="of each outside address, behind the last block")
    valid_from: float
    valid_until: float | None
    added_at: float | None


class RowView(Model):
    """An inside address and its ports: every `step`-th from the first to the last."""

    inside: str
    outside: str
    first_port: int
    last_port: int
    step: int


class SnippetView(Model):
    """Configuration of a device, or why it cannot do what the plan says, and what would help."""

    device: str
    text: str = ""
    warnings: list[str] = Field(default_factory=list)
    cannot: str = ""
    remedy: str = ""


class CgnatPlanDetailView(CgnatPlanView):
    """A plan with rows to check a device against."""

    vectors: list[RowView]
    snippet: SnippetView | None


class FactView(Model):
    """One line of a summary."""

    label: str
    value: str


class ProposalView(Model):
    """A plan that would do; or, where there is none, what is missing and what would help."""

    plan: CgnatPlanView | None
    reason: str = Field(default="", description="slug, where no plan fits")
    problem: str = ""
    alternatives: list[str] = Field(default_factory=list)
    summary: list[FactView] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    vectors: list[RowView] = Field(default_factory=list)
    snippet: SnippetView | None = None


class PortsView(Model):
    """Ports of an inside address: by a plan, or as a CGN has reported them. Times are epoch seconds."""

    source: str = Field(description="plan or reported")
    tenant: str
    outside: str
    first_port: int
    last_port: int
    step: int
    plan: str
    version: int
    nas: str
    session: str
    since: float | None
    until: float | None


class PlanHolderView(Model):
    """An inside address that has a port by a plan."""

    tenant: str
    inside: str
    outside: str
    first_port: int
    last_port: int
    step: int
    plan: str
    version: int


class PlanAnswerView(Model):
    """What the plans say of an outside address; `silences` is where they say nothing, and why."""

    holders: list[PlanHolderView]
    silences: list[str]


class DifferenceView(Model):
    """A line of an export that is not what the plan says; `expected` is what that is."""

    line: int
    inside: str
    outside: str
    first_port: int
    last_port: int
    expected: str
    why: str


class UnreadableView(Model):
    """A line of an export that could not be read."""

    line: int
    why: str


class VerificationView(Model):
    """How an export of a device compares with a plan; the lists are cut at `limit`, the counts are not."""

    tenant: str
    name: str
    version: int
    checked: int
    different: int
    unreadable: int
    differences: list[DifferenceView]
    problems: list[UnreadableView]
    limit: int
