"""What a live session should be by the data of now, and how that differs from what its NAS was told. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from daemon.aaa import policy
from daemon.aaa.authorize import Replies
from daemon.aaa.nas import Client
from daemon.aaa.prepared import Prepared
from daemon.aaa.reasons import Deny
from daemon.aaa.session import Session
from daemon.aaa.standing import FULL, Books, Question, Standing
from daemon.replica.rules import Act, Allowance
from radius.errors import Unencodable
from radius.grant import Access, Grant


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a session should be. `grant` None: it should not be.

    `over` are the allowances used up, None where something else decided before they were looked at.
    """

    grant: Grant | None
    reason: str  # why it is less than the plan, or nothing
    over: tuple[Allowance, ...] | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """How a session differs from what is wanted. `live`: this NAS can be told to change it without an end."""

    wanted: Wanted
    fields: tuple[str, ...]  # empty: the session should end
    live: bool


def wanted(session: Session, client: Client, books: Books, replies: Replies, at: float) -> Wanted | None:
    """Return what a session should be; None where it is of nobody we know, which is not for us to judge."""
    if not session.subscriber:
        return None
    subscriber = client.index.subscribers.get(session.subscriber)
    if subscriber is None:
        return Wanted(None, Deny.UNKNOWN_USER)
    plan = client.index.plans.get(subscriber.plan or "")
    over: tuple[Allowance, ...] | None = ()
    if plan is not None and plan.plain and subscriber.plain:
        standing = FULL
    else:
        question = Question(subscriber, plan, at, client.index, client.nas, books, session=session)
        standing = policy.decide(question)
        over = tuple(question.over) if question.counted else None
    if standing.act is Act.REJECT:
        return Wanted(None, standing.reason or "", over)
    prepared = replies.prepare(
        subscriber,
        plan,
        standing,
        client.index.tenant.garden,
        client.nas,
        client.profile,
        _access(session, plan.access if plan is not None else None),
        at,
    )
    if isinstance(prepared, Unencodable):
        return Wanted(None, _unrenderable(standing), over)
    return Wanted(prepared.grant, standing.reason or "", over)


def difference(
    session: Session, client: Client, books: Books, replies: Replies, at: float
) -> Difference | Wanted | None:
    """Return how a session differs from what is wanted; what is wanted where it does not; None: not ours to judge.

    Where it is not known what the NAS was told, it is taken to be what somebody in good standing gets: a session
    that began before this edge did must not be changed for nothing, and one that must end or be walled in is.
    """
    aim = wanted(session, client, books, replies, at)
    if aim is None:
        return None
    if aim.grant is None:
        return Difference(aim, (), live=False)
    applied = session.applied
    if applied is aim.grant:
        return aim
    if applied is None:
        applied = aim.grant if not aim.reason else _in_good_standing(session, client, replies, at)
        if applied is None:
            return aim
    goal = _keeping_address(applied, aim.grant)
    aim = replace(aim, grant=goal)
    fields = client.profile.differs(applied, goal)
    if not fields:
        return aim
    try:
        change = client.profile.change(applied, goal)
    except Unencodable:
        return Difference(Wanted(None, Deny.UNRENDERABLE, aim.over), (), live=False)
    if change == ():
        return aim  # the difference is in something that this vendor is never told
    return Difference(aim, fields, live=change is not None and client.nas.coa)


def _keeping_address(applied: Grant, aim: Grant) -> Grant:
    """Return the aim for a live session: in the garden it keeps the address that it has, whatever pool that is of."""
    if not aim.captive or aim.ipv4_pool == applied.ipv4_pool:
        return aim
    return replace(aim, ipv4_pool=applied.ipv4_pool)


def _in_good_standing(session: Session, client: Client, replies: Replies, at: float) -> Grant | None:
    subscriber = client.index.subscribers[session.subscriber]
    plan = client.index.plans.get(subscriber.plan or "")
    if plan is None:
        return None
    access = _access(session, plan.access)
    prepared = replies.prepare(subscriber, plan, FULL, None, client.nas, client.profile, access, at)
    return prepared.grant if isinstance(prepared, Prepared) else None


def _access(session: Session, planned: Access | None) -> Access:
    """Return how the session connects: as it was granted, else as planned."""
    if session.applied is not None:
        return session.applied.access
    return planned or Access.PPP


def _unrenderable(standing: Standing) -> Deny:
    return Deny.CAPTIVE_UNSUPPORTED if standing.act is Act.CAPTIVE else Deny.UNRENDERABLE
