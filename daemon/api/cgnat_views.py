"""From CGNAT plans and look-ups to what the API answers with."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from daemon.api.cgnat_models import (
    CgnatPlanDetailView,
    CgnatPlanView,
    DifferenceView,
    FactView,
    PortsView,
    ProposalView,
    RowView,
    SnippetView,
    UnreadableView,
)
from daemon.leases.cgnat import StoredPlan
from ipam.cgnat import DeterministicPlan, Ports
from ipam.cgnat_blocks import BlockLease
from ipam.cgnat_check import Difference
from ipam.cgnat_devices import CannotExpress, Device, snippet
from ipam.cgnat_plan import VECTORS, Planned, Row, rows, summary, vectors
from ipam.cgnat_versions import Holder

__all__ = [
    "UnreadableView",
    "detail_view",
    "difference_view",
    "plan_view",
    "planned_ports",
    "ports_of",
    "proposal_view",
    "reported_ports",
]


def plan_view(tenant: str, plan: DeterministicPlan, at: float, added_at: float | None) -> CgnatPlanView:
    """Return one version of a plan; `at` is now."""
    return CgnatPlanView(
        tenant=tenant,
        name=plan.id,
        version=plan.version,
        in_force=plan.in_force(at),
        inside=[str(each) for each in plan.inside],
        outside=[str(each) for each in plan.outside],
        block_size=plan.block_size,
        sharing=plan.sharing,
        first_port=plan.first_port,
        last_port=plan.last_port,
        reserved_ports=sorted(plan.reserved_ports),
        algorithm=plan.algorithm.value,
        boundaries=plan.boundaries,
        overflow_ports=plan.overflow_ports,
        valid_from=plan.valid_from,
        valid_until=plan.valid_until,
        added_at=added_at,
    )


def detail_view(stored: StoredPlan, at: float, count: int, device: Device | None) -> CgnatPlanDetailView:
    """Return a plan with `count` rows to check a device against; the whole table where that is as long."""
    plan = stored.plan
    whole = count >= plan.inside_span.count
    shown: Iterable[Row] = islice(rows(plan), count) if whole else vectors(plan, count)
    return CgnatPlanDetailView(
        **plan_view(stored.tenant, plan, at, stored.added_at).model_dump(),
        vectors=[_row(each) for each in shown] if count else [],
        snippet=None if device is None else snippet_view(plan, device),
    )


def proposal_view(planned: Planned, at: float, device: Device | None) -> ProposalView:
    """Return what the planner has made."""
    plan = planned.plan
    return ProposalView(
        plan=plan_view("", plan, at, None),
        summary=[FactView(label=label, value=value) for label, value in summary(planned)],
        notes=list(planned.notes),
        vectors=[_row(each) for each in vectors(plan, VECTORS)],
        snippet=None if device is None else snippet_view(plan, device),
    )


def snippet_view(plan: DeterministicPlan, device: Device) -> SnippetView:
    """Return the configuration of a device for a plan."""
    made = snippet(plan, device)
    if isinstance(made, CannotExpress):
        return SnippetView(device=device.value, cannot=made.why, remedy=made.remedy)
    return SnippetView(device=device.value, text=made.text, warnings=list(made.warnings))


def planned_ports(tenant: str, holder: Holder) -> PortsView:
    """Return what an inside address has by a plan."""
    return PortsView(
        source="plan",
        tenant=tenant,
        plan=holder.plan,
        version=holder.version,
        nas="",
        session="",
        since=None,
        until=None,
        **ports_of(holder.ports),
    )


def reported_ports(tenant: str, lease: BlockLease) -> PortsView:
    """Return what an inside address had by a report."""
    return PortsView(
        source="reported",
        tenant=tenant,
        outside=str(lease.outside),
        first_port=lease.first_port,
        last_port=lease.last_port,
        step=1,
        plan="",
        version=0,
        nas=lease.source,
        session=lease.session,
        since=lease.since,
        until=lease.until,
    )


def difference_view(difference: Difference) -> DifferenceView:
    """Return a line that is not what the plan says."""
    seen, expected = difference.seen, difference.expected
    return DifferenceView(
        line=seen.line,
        inside=str(seen.inside),
        outside=str(seen.outside),
        first_port=seen.first_port,
        last_port=seen.last_port,
        expected="" if expected is None else text_of(expected),
        why=difference.why,
    )


def text_of(ports: Ports) -> str:
    """Return ports as `203.0.113.1:1024-2047`, with `/14` behind where it is every 14th."""
    step = "" if ports.step == 1 else f"/{ports.step}"
    return f"{ports.outside}:{ports.first_port}-{ports.last_port}{step}"


def ports_of(ports: Ports) -> dict[str, Any]:
    """Return the fields that views of ports share."""
    return {
        "outside": str(ports.outside),
        "first_port": ports.first_port,
        "last_port": ports.last_port,
        "step": ports.step,
    }


def _row(row: Row) -> RowView:
    return RowView(inside=str(row.inside), **ports_of(row.ports))
