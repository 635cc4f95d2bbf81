"""What a live session should be by the data of now, and how that differs from what its NAS was told. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from daemon.aaa import policy
from daemon.aaa.authorize import Replies
from daemon.aaa.nas import Client
from daemon.aaa.reasons import Deny
from daemon.aaa.session import Session
from daemon.aaa.standing import FULL, Books, Question, Standing
from daemon.replica.records import Plan
from daemon.replica.rules import Act, Allowance
from radius.errors import Unencodable
from radius.grant import Access, Grant


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a session should be. `grant` None: it should not be.

    `over` are the allowances used up, None where something else decided before they were looked at. The grant is
    what lasts of it, see `authorize.grant`; that of a `Difference` is the whole one of this second.
    """

    grant: Grant | None
    reason: str  # why it is less than the plan, or nothing
    over: tuple[Allowance, ...] | None = None
    standing: Standing = FULL


@dataclass(frozen=True, slots=True)
class Difference:
    """How a session differs from what is wanted. `live`: this NAS can be told to change it without an end."""

    wanted: Wanted
    fields: tuple[str, ...]  # empty: the session should end
    live: bool
    basis: tuple[Client, Grant | None, Grant | None] | None = (
        None  # NAS, what was applied, what lasts of the aim
    )

    def stands(self, client: Client, applied: Grant | None, aim: Wanted) -> bool:
        """Tell whether comparing these comes to this again; what lasts of the grant is what counts."""
        if self.basis is None or self.wanted.reason != aim.reason or self.wanted.over != aim.over:
            return False
        whose, told, lasting = self.basis
        return whose is client and told is applied and (lasting is aim.grant or lasting == aim.grant)


def wanted(session: Session, client: Client, books: Books, replies: Replies, at: float) -> Wanted | None:
    """Return what a session should be; None where that is not for us to judge.

    Such are sessions of nobody we know, and those of whom, or of whose plan, the store has what cannot be read.
    """
    if not session.subscriber:
        return None
    subscriber = client.index.subscribers.get(session.subscriber)
    if subscriber is None:
        if client.index.is_unreadable("subscriber", session.subscriber):
            return None
        return Wanted(None, Deny.UNKNOWN_USER)
    plan = client.index.plans.get(subscriber.plan or "")
    if plan is None and client.index.is_unreadable("plan", subscriber.plan or ""):
        return None
    over: tuple[Allowance, ...] | None = ()
    if plan is not None and plan.plain and subscriber.plain and client.index.contact.known is None:
        standing = FULL
    else:
        question = Question(subscriber, plan, at, client.index, client.nas, books, session=session)
        standing = policy.decide(question)
        over = tuple(question.over) if question.counted else None
        if standing.act is Act.REJECT:
            unread = any(
                (tenant, kind) == (subscriber.tenant, "plan") for tenant, kind, _ in client.index.unreadable
            )
            if unread and "treatment" in question.noted:  # for want of a plan that may be among them
                return None
            return Wanted(None, standing.reason or "", over)
    garden, access = client.index.tenant.garden, access_of(session, plan)
    lasting = replies.lasting(subscriber, plan, standing, garden, access)
    return Wanted(lasting, standing.reason or "", over, standing)


def difference(
    session: Session,
    client: Client,
    books: Books,
    replies: Replies,
    at: float,
    known: Difference | None = None,
) -> Difference | Wanted | None:
    """Return how a session differs from what is wanted; what is wanted where it does not; None: not ours to judge.

    Where it is not known what the NAS was told, it is taken to be what somebody in good standing gets: a session
    that began before this edge did must not be changed for nothing, and one that must end or be walled in is.
    `known` is what the last look has found; it is returned as it is where that still stands.
    """
    aim = wanted(session, client, books, replies, at)
    if aim is None:
        return None
    if known is not None and known.stands(client, session.applied, aim):
        return known
    if aim.grant is None:
        return Difference(aim, (), live=False, basis=(client, session.applied, None))
    return _compared(session, client, replies, at, aim, aim.grant)


def _compared(
    session: Session, client: Client, replies: Replies, at: float, aim: Wanted, lasting: Grant
) -> Difference | Wanted:
    """Return how a session that may be online differs from the aim, whose grant is `lasting`."""
    basis = client, session.applied, lasting
    applied = session.applied
    if applied is lasting:
        return aim
    if applied is None:
        applied = lasting if not aim.reason else _in_good_standing(session, client, replies)
        if applied is None:
            return aim
    lasting = _keeping_address(applied, lasting)
    aim = replace(aim, grant=lasting)
    fields = client.profile.differs(applied, lasting)
    if not fields:
        return aim
    goal = _keeping_address(applied, _of_now(session, aim.standing, client, replies, at))
    try:
        change = client.profile.change(applied, goal)
    except Unencodable:
        return Difference(Wanted(None, _unrenderable(aim.standing), aim.over), (), live=False)
    if change == ():
        return aim  # the difference is in something that this vendor is never told
    live = change is not None and client.nas.coa
    return Difference(replace(aim, grant=goal), fields, live=live, basis=basis)


def serves(offered: Grant, aim: Wanted, client: Client) -> bool:
    """Tell whether a session with what is offered is as it should be."""
    return aim.grant is not None and not client.profile.differs(offered, aim.grant)


def _keeping_address(applied: Grant, aim: Grant) -> Grant:
    """Return the aim for a live session: in the garden it keeps the address that it has, whatever pool that is of."""
    if not aim.captive or aim.ipv4_pool == applied.ipv4_pool:
        return aim
    return replace(aim, ipv4_pool=applied.ipv4_pool)


def _of_now(session: Session, standing: Standing, client: Client, replies: Replies, at: float) -> Grant:
    """Return the grant of somebody of that standing, with its timers."""
    subscriber = client.index.subscribers[session.subscriber]
    plan = client.index.plans.get(subscriber.plan or "")
    garden, access = client.index.tenant.garden, access_of(session, plan)
    return replies.granted(subscriber, plan, standing, garden, access, at)


def _in_good_standing(session: Session, client: Client, replies: Replies) -> Grant | None:
    subscriber = client.index.subscribers[session.subscriber]
    plan = client.index.plans.get(subscriber.plan or "")
    return None if plan is None else replies.lasting(subscriber, plan, FULL, None, access_of(session, plan))


def access_of(session: Session, plan: Plan | None) -> Access:
    """Return how the session connects: as it was granted, else as planned."""
    if session.applied is not None:
        return session.applied.access
    return (plan.access if plan is not None else None) or Access.PPP


def _unrenderable(standing: Standing) -> Deny:
    return Deny.CAPTIVE_UNSUPPORTED if standing.act is Act.CAPTIVE else Deny.UNRENDERABLE
