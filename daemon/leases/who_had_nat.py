"""Behind a CGNAT: from an outside address and port to the inside addresses that may be meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.leases.who_had_model import Claim, Evidence, Holder, Question, Source, Via
from ipam.cgnat import OutOfPlan
from ipam.cgnat_blocks import BlockAnswer, BlockIndex, BlockLease, Gap, NotHeld
from ipam.cgnat_versions import PlanAnswer, Plans
from ipam.kinds import Space


class Translations(Protocol):
    """What is kept of CGNATs, by tenant."""

    async def plans(self, connection: AsyncConnection) -> Mapping[str, Plans]:
        """Return all versions of all deterministic plans."""

    async def blocks(
        self, connection: AsyncConnection, outside: IPv4Address, since: float, until: float
    ) -> Mapping[str, BlockIndex]:
        """Return the reported blocks of an outside address that were held in that time; none where there are none."""

    def unwritten(self, outside: IPv4Address) -> int:
        """Return how many reports about an outside address are not in the store yet."""


@dataclass(frozen=True, slots=True)
class Behind:
    """The inside addresses that may be meant, and what could have changed that."""

    vias: tuple[Via, ...] = ()
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()


async def find(connection: AsyncConnection, question: Question, kept: Translations) -> Behind:
    """Return who may be behind an outside IPv4 address; nothing for every other unit."""
    if question.unit.space is not Space.IPV4 or question.unit.length != 32:
        return Behind()
    outside = IPv4Address(question.unit.value)
    vias: list[Via] = []
    gaps: list[Gap] = []
    notes: list[str] = []
    for tenant, plans in sorted((await kept.plans(connection)).items()):
        if question.tenant in (None, tenant) and _ever(plans, outside):
            answer = plans.holders(outside, question.port, question.at, question.skew_s)
            vias += _of_plans(tenant, answer)
            notes += _silences(answer)
    blocks = await kept.blocks(connection, outside, question.since, question.until)
    waiting = kept.unwritten(outside)
    if waiting:
        notes.append(_WAITING.format(waiting))
    for tenant, index in sorted(blocks.items()):
        if question.tenant in (None, tenant):
            told = index.find(outside, question.port, question.at, question.skew_s)
            vias += [_of_block(tenant, each) for each in told.leases]
            gaps += told.gaps
            notes += _why_none(told)
    return Behind(tuple(vias), tuple(gaps), tuple(dict.fromkeys(notes)))


def _ever(plans: Plans, outside: IPv4Address) -> bool:
    return any(plan.outside_span.number(outside) is not None for plan in plans.plans)


def _of_plans(tenant: str, answer: PlanAnswer) -> list[Via]:
    return [
        Via(
            str(each.ports.outside),
            each.ports.first_port,
            each.ports.last_port,
            each.ports.step,
            str(each.inside),
            tenant,
            plan=each.plan,
            version=each.version,
        )
        for each in answer.holders
    ]


def _of_block(tenant: str, lease: BlockLease) -> Via:
    return Via(
        str(lease.outside),
        lease.first_port,
        lease.last_port,
        1,
        "" if lease.inside is None else str(lease.inside),
        tenant,
        reporter=lease.source,
        session="" if lease.session == "0" else lease.session,
        subscriber=lease.subscriber,
        transport=lease.transport,
        since=lease.since,
        until=lease.until,
    )


_WAITING = "{} of the last reports of its port blocks are not written yet: ask again in some seconds"
_SILENCES = {
    OutOfPlan.NO_PLAN: "no CGNAT plan was in force for that address for all of the time",
    OutOfPlan.PORT_OUTSIDE_RANGE: "the port is outside of the plan's ports",
    OutOfPlan.PORT_RESERVED: "the plan gives the port to nobody: it is reserved",
    OutOfPlan.PORT_UNASSIGNED: "the port lies behind the last block: left over, or of an overflow pool",
    OutOfPlan.NO_SUBSCRIBER: "the port is of a block that no inside address has",
}


def _silences(answer: PlanAnswer) -> list[str]:
    return [
        (f"plan {each.plan} version {each.version}: " if each.plan else "")
        + _SILENCES.get(each.why, each.why.value)
        for each in answer.silences
    ]


def _why_none(answer: BlockAnswer) -> list[str]:
    said = {
        NotHeld.NOT_KEPT: "reports of port blocks are not kept from that time",
        NotHeld.IN_GAP: "reports of port blocks are missing that could name a holder",
        NotHeld.FREE: "by the reports of port blocks nobody held that port",
    }
    return [said[answer.why]] if answer.why in said else []


def evidence(via: Via) -> Evidence:
    """Return what a translation stands on."""
    ports = f"{via.first_port}-{via.last_port}" + (f" step {via.step}" if via.step != 1 else "")
    of = via.inside or f"session {via.session}"
    told = f"ports {ports} of {via.outside} were of {of}"
    if via.plan:
        return Evidence(source=Source.PLAN, what=f"plan {via.plan} version {via.version}: {told}")
    return Evidence(source=Source.BLOCK, what=f"{via.reporter or 'unknown'} reported: {told}", at=via.since)


def of_via(via: Via, holders: Iterable[Holder]) -> list[Holder]:
    """Return who had the ports: those who had the inside address, or whom the report itself names."""
    proof = evidence(via)
    having = [replace(each, via=via, evidence=(proof, *each.evidence)) for each in holders]
    if not via.session:
        return having or [_named(via, proof)]
    same = [each for each in having if each.session == via.session]
    return same or [_named(via, proof), *(each.noted(_RIVAL) for each in having)]


_RIVAL = "the records have the inside address with this one, the report of the ports names another session"


def _named(via: Via, proof: Evidence) -> Holder:
    """Return what is told by the translation alone."""
    known = bool(via.session or via.subscriber)
    return Holder(
        claim=Claim.HAD if known else Claim.PERHAPS,
        tenant=via.tenant,
        vrf="",
        unit=via.inside or via.outside,
        kind="cgnat-inside" if via.inside else "cgnat-ports",
        subscriber=via.subscriber,
        session=via.session,
        nas=via.reporter,
        from_at=via.since,
        until_at=via.until,
        via=via,
        evidence=(proof,),
        notes=() if known else ("the inside address is known, who had it is not",),
    )
