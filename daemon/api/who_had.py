"""The routes of lawful look-ups: who had an address, signed answers, and the audit of who asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.api.actor import actor_of
from daemon.api.models import Model, Page
from daemon.api.security import Reach, scope
from daemon.api.security.audited import noted
from daemon.clock import Clock
from daemon.leases.export import Exporter, SigningKeyUnusable
from daemon.leases.export_form import FORMAT
from daemon.leases.who_had import WhoHad
from daemon.leases.who_had_model import Answer, Question, read_target, utc
from daemon.store import audit_rows
from daemon.store.audit_rows import AuditSearch, Entry
from daemon.store.writer import Writer
from ipam.address import Malformed

_AHEAD_S = 60.0  # the asker's clock may be that much ahead of ours
_LATEST_AT = 253_402_300_799.0  # the end of the year 9999, beyond which a time cannot be written
_Time = Annotated[float | None, Query(allow_inf_nan=False)]
_Text = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True, slots=True)
class LookUps:
    """What the routes ask; `engine` and `writer` are of the edge's own store."""

    who_had: WhoHad
    exporter: Exporter
    engine: AsyncEngine
    writer: Writer
    clock: Clock


class EvidenceView(Model):
    """One record that a holder stands on."""

    source: str = Field(description="lease-history, accounting, cgnat-plan or port-block-report")
    what: str
    at: float | None
    book: str = Field(description="of an event: whose chain it is of")
    seq: int
    hash: str = Field(description="of an event, hex")
    clock_quality: str


class ViaView(Model):
    """A translation: the inside address that had these ports of an outside address, every `step`-th."""

    outside: str
    first_port: int
    last_port: int
    step: int
    inside: str
    tenant: str
    plan: str
    version: int
    reporter: str
    session: str = Field(description="whom the report names")
    subscriber: str
    transport: int = Field(description="kind of the ports, RFC 8045; 0 for all")
    since: float | None
    until: float | None


class HolderView(Model):
    """Somebody who had the address, or may have. Empty texts are not known; times are epoch seconds."""

    claim: str = Field(
        description="had; offered: named in an Access-Accept; perhaps: the records leave it open"
    )
    tenant: str
    vrf: str
    unit: str = Field(description="the address or prefix that was held, of which the address is a part")
    kind: str
    subscriber: str
    session: str = Field(description="the session's number on this edge")
    acct_session_id: str
    username: str
    nas: str
    circuit: str
    mac: str
    from_at: float | None
    until_at: float | None = Field(description="none: nothing says that it ended")
    via: ViaView | None = Field(description="behind a CGNAT: the ports")
    evidence: list[EvidenceView]
    notes: list[str]


class GapView(Model):
    """A time of which nothing was written down and that could have changed the answer."""

    since: float
    until: float
    why: str


class VerifiedView(Model):
    """A run of the hash chain that was recomputed."""

    book: str
    first_seq: int
    last_seq: int
    broken_at: int | None = Field(
        description="the first event that does not follow; none: the chain is whole"
    )


class QuestionView(Model):
    """What was asked."""

    address: str
    port: int | None
    at: float
    skew_s: float
    tenant: str | None
    vrf: str | None
    limit: int


class WhoHadView(Model):
    """The answer. Several holders: the records do not tell which of them is meant."""

    question: QuestionView
    holders: list[HolderView]
    count: int = Field(description="how many holders there are, told or not")
    last: list[HolderView] = Field(description="where nobody had it: who had it last before")
    gaps: list[GapView]
    kept_from: float | None = Field(description="from when on the history of leases is kept")
    clock: str = Field(description="the worst quality of the clock among the evidence")
    notes: list[str]
    verified: list[VerifiedView]


class SignedView(Model):
    """A signed answer, to be kept as a file."""

    format: str
    document: dict[str, Any]
    signature: dict[str, str]


class KeyView(Model):
    """The key that this edge signs with."""

    algorithm: str
    public_key: str
    format: str


class AuditView(Model):
    """Who asked or changed what."""

    id: int
    at: float
    actor: str
    action: str
    tenant: str
    subject: str
    reason: str
    result: str


@dataclass(frozen=True, slots=True)
class _Asked:
    question: Question
    reason: str
    verify: int
    given: str


def _asked(
    address: _Text,
    at: Annotated[float, Query(ge=0, le=_LATEST_AT, allow_inf_nan=False)],
    reason: Annotated[str, Query(min_length=1, max_length=200, pattern=r"\S")],
    skew_s: Annotated[float, Query(ge=0, le=86_400)] = 5.0,
    tenant: str | None = None,
    vrf: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    verify: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> _Asked:
    """Read the query. `reason` is the reference of the request, such as a file number."""
    try:
        unit, port = read_target(address)
    except Malformed as error:
        raise HTTPException(422, f"address: {error}; such as 203.0.113.9:40000 or 2001:db8::1") from None
    named = "" if vrf == "default" else vrf
    question = Question(unit=unit, port=port, at=at, skew_s=skew_s, tenant=tenant, vrf=named, limit=limit)
    return _Asked(question, reason.strip(), verify, address.strip())


_Asks = Annotated[_Asked, Depends(_asked)]


def add_who_had(router: APIRouter, look_ups: LookUps) -> None:
    """Add the routes `/ipam/who-had`, `/ipam/who-had-exports`, `/ipam/who-had-key` and `/audit`.

    An answer leaves only when the row of the audit that tells of it is durable.
    """

    @router.get("/ipam/who-had", dependencies=[scope("who-had:read")])
    async def who_had(request: Request, asked: _Asks) -> WhoHadView:
        answer = await _answer(look_ups, asked)
        await _audit(look_ups, request, asked, answer, "who-had")
        return view(answer)

    @router.post("/ipam/who-had-exports", dependencies=[scope("who-had:read")])
    async def export(request: Request, asked: _Asks) -> SignedView:
        answer = await _answer(look_ups, asked)
        shown = view(answer).model_dump()
        actor, at = actor_of(request), look_ups.clock.wall()
        try:
            signed = await look_ups.exporter.sign(answer, shown, at=at, actor=actor, reason=asked.reason)
        except SigningKeyUnusable as error:
            raise HTTPException(500, f"the answer cannot be signed: {error}") from None
        await _audit(look_ups, request, asked, answer, "who-had-export")
        return SignedView.model_validate(signed)

    @router.get("/ipam/who-had-key", dependencies=[scope("who-had:read", Reach.OPEN)])
    async def key() -> KeyView:
        try:
            public_key = look_ups.exporter.public_key
        except SigningKeyUnusable as error:
            raise HTTPException(500, str(error)) from None
        return KeyView(algorithm="Ed25519", public_key=public_key, format=FORMAT)

    _add_audit(router, look_ups)


def _add_audit(router: APIRouter, look_ups: LookUps) -> None:
    @router.get("/audit", dependencies=[scope("audit:read")])
    async def audit(
        actor: str | None = None,
        action: str | None = None,
        tenant: str | None = None,
        since: _Time = None,
        until: _Time = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> Page[AuditView]:
        wanted = AuditSearch(
            actor=actor,
            action=action,
            tenant=tenant,
            since=since,
            until=until,
            limit=limit,
            offset=offset,
        )
        rows, count = await audit_rows.search(look_ups.engine, wanted)
        items = [AuditView(**row._asdict()) for row in rows]
        return Page(items=items, count=count, limit=limit, offset=offset)


async def _answer(look_ups: LookUps, asked: _Asked) -> Answer:
    if asked.question.at > look_ups.clock.wall() + _AHEAD_S:
        raise HTTPException(422, "at: the time lies in the future; times are epoch seconds")
    return await look_ups.who_had.ask(asked.question, asked.verify)


async def _audit(look_ups: LookUps, request: Request, asked: _Asked, answer: Answer, action: str) -> None:
    question = asked.question
    place = "" if question.vrf is None else f" vrf {question.vrf or 'default'}"
    entry = Entry(
        at=look_ups.clock.wall(),
        actor=actor_of(request),
        action=action,
        tenant=question.tenant or "",
        subject=f"{asked.given} at {utc(question.at)} +-{question.skew_s:g} s{place}",
        reason=asked.reason,
        result=f"{len(answer.holders)} of {answer.count} holders told",
    )

    async def write(connection: AsyncConnection) -> None:
        await audit_rows.save(connection, entry)

    await look_ups.writer.commit(write)
    noted(request)


def view(answer: Answer) -> WhoHadView:
    """Return an answer as the API gives it."""
    question = answer.question
    return WhoHadView(
        question=QuestionView(
            address=str(question.unit),
            port=question.port,
            at=question.at,
            skew_s=question.skew_s,
            tenant=question.tenant,
            vrf=question.vrf,
            limit=question.limit,
        ),
        holders=[HolderView.model_validate(asdict(each)) for each in answer.holders],
        count=answer.count,
        last=[HolderView.model_validate(asdict(each)) for each in answer.last],
        gaps=[GapView(since=each.since, until=each.until, why=each.why) for each in answer.gaps],
        kept_from=answer.kept_from,
        clock=answer.clock,
        notes=list(answer.notes),
        verified=[VerifiedView(**asdict(each)) for each in answer.verified],
    )
