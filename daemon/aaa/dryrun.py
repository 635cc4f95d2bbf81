"""What would be answered: to a live session, to a recorded request, to nobody in particular. Nothing is changed.

A `View` is one state of the data. The data in force and a candidate are asked the same questions through the same
functions that answer logins, so that what differs between the answers is what the candidate would change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from daemon.aaa import authentic, credentials, identity, policy
from daemon.aaa.authorize import Defaults, Replies, access_of, grant
from daemon.aaa.credentials import Proof, Slow
from daemon.aaa.decision import Decision
from daemon.aaa.nas import Client, Clients
from daemon.aaa.prepared import Prepared
from daemon.aaa.reasons import Deny, Drop
from daemon.aaa.session import Session
from daemon.aaa.standing import FULL, Books, Question, Standing, treated
from daemon.replica.index import Index
from daemon.replica.records import AccessMode, IdentitySource, Plan, Subscriber
from daemon.replica.rules import Act
from radius.errors import Malformed
from radius.grant import Access, Grant
from radius.udp import source_octets

# With these the server proves itself, too: a garden cannot stand in for somebody who is not known.
_MUTUAL = ("mschap", "mschapv2", "eap")
_INTERIM_S = 600  # of a plan that says none


class Answer(StrEnum):
    """What somebody gets."""

    PERMIT = "permit"
    CAPTIVE = "captive"
    REJECT = "reject"
    NONE = "none"  # no answer at all: the NAS is not in the data


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer with its reason; `prepared` is what is granted, where anything is."""

    answer: Answer
    reason: str = ""
    prepared: Prepared | None = None
    detail: str = ""


class View:
    """One state of the data: its index, its NASes made ready, replies of its own."""

    def __init__(self, index: Index, books: Books, defaults: Defaults) -> None:
        self.index = index
        self.clients = Clients(index)
        self.books = books
        self.replies = Replies(defaults)
        self.turn()

    def turn(self) -> None:
        """Take up changes of the index; to be called once in each slice of work."""
        self.clients.turn()
        self.replies.turn(self.index.generation)


def of_session(view: View, session: Session, at: float) -> Verdict | None:
    """Return what a live session should be; None where that is not ours to judge."""
    if not session.subscriber:
        return None
    client = view.clients.get(session.tenant, session.nas)
    if client is None:
        return Verdict(Answer.NONE, Drop.UNKNOWN_NAS)
    subscriber = client.index.subscribers.get(session.subscriber)
    if subscriber is None:
        if client.index.is_unreadable("subscriber", session.subscriber):
            return None
        return Verdict(Answer.REJECT, Deny.UNKNOWN_USER)
    plan = client.index.plans.get(subscriber.plan or "")
    if plan is None and client.index.is_unreadable("plan", subscriber.plan or ""):
        return None
    question = Question(subscriber, plan, at, client.index, client.nas, view.books, session=session)
    applied = session.applied
    access = applied.access if applied is not None else (plan.access if plan is not None else None)
    return answered(view, client, subscriber, plan, policy.decide(question), access or Access.PPP, at)


def answered(
    view: View,
    client: Client,
    subscriber: Subscriber,
    plan: Plan | None,
    standing: Standing,
    access: Access,
    at: float,
) -> Verdict:
    """Return what somebody of that standing gets."""
    if standing.act is Act.REJECT:
        return Verdict(Answer.REJECT, standing.reason or Deny.ACCESS_REJECT)
    captive = standing.act is Act.CAPTIVE
    prepared = view.replies.prepare(
        subscriber, plan, standing, client.index.tenant.garden, client.nas, client.profile, access, at
    )
    if not isinstance(prepared, Prepared):
        reason = Deny.CAPTIVE_UNSUPPORTED if captive else Deny.UNRENDERABLE
        return Verdict(Answer.REJECT, reason, detail=str(prepared))
    return Verdict(Answer.CAPTIVE if captive else Answer.PERMIT, standing.reason or "", prepared)


@dataclass(frozen=True, slots=True)
class Asked:
    """A recorded request as a view sees it: `proof` is Slow where a hash must be checked first."""

    client: Client
    subscriber: Subscriber | None
    source: IdentitySource | None
    proof: Proof | Slow | None


def ask(view: View, decision: Decision) -> Asked | Verdict:
    """Return who a recorded request is about, and whether it is them; a Verdict where that ends it."""
    client = view.clients.find(source_octets(decision.peer))
    if client is None:
        return Verdict(Answer.NONE, Drop.UNKNOWN_NAS)
    subscriber, source = identity.find(decision.packet, client)
    if subscriber is None:
        return Asked(client, None, source, None)
    try:
        return Asked(client, subscriber, source, _prove(client, decision, subscriber, source))
    except Malformed as reason:
        return Verdict(Answer.NONE, reason.slug)


def _prove(
    client: Client, decision: Decision, subscriber: Subscriber, source: IdentitySource | None
) -> Proof | Slow:
    """Check the recorded credential; a hash that was checked already is not checked again."""
    packet, signer = decision.packet, decision.signer
    by_line = source is not IdentitySource.USERNAME
    if source is IdentitySource.MAC and not identity.calls_itself(packet):
        return Proof("line", Deny.MAC_MISMATCH)
    if by_line and (subscriber.secret is None or client.nas.line_password is not None):
        return credentials.prove_line(packet, signer, client.nas)
    proof = authentic.prove(client, packet, signer, subscriber.secret)
    then = decision.subscriber
    if isinstance(proof, Slow) and then is not None and then.secret == subscriber.secret:
        return Proof(decision.method, _failed(decision)) if decision.reason != Deny.RETRY_LOOP else proof
    return proof


def _failed(decision: Decision) -> Deny | None:
    """Return why the credential of a recorded request was refused, None where it was not."""
    standing = decision.standing
    if standing is None:
        return Deny(decision.reason)
    treated_so = standing.reason in policy.UNPROVEN and decision.refused_by is None
    return standing.reason if treated_so else None


def of_request(view: View, decision: Decision, asked: Asked, proof: Proof | None, at: float) -> Verdict:
    """Return what a recorded request would get at epoch seconds `at`; `proof` is that of `asked`, checked.

    A pause after many refusals is not looked at: it is not in the data.
    """
    client, subscriber, packet = asked.client, asked.subscriber, decision.packet
    if subscriber is None or proof is None:
        reason = Deny.NO_IDENTITY if asked.source is None else Deny.UNKNOWN_USER
        return _unproven(view, client, decision, credentials.method_of(packet), reason, at)
    if proof.reason is not None:
        return _unproven(view, client, decision, proof.method, proof.reason, at)
    plan = client.index.plans.get(subscriber.plan or "")
    question = Question(subscriber, plan, at, client.index, client.nas, view.books, packet)
    standing = policy.decide(question)
    return answered(view, client, subscriber, plan, standing, access_of(packet, plan), at)


def _unproven(
    view: View, client: Client, decision: Decision, method: str, reason: Deny, at: float
) -> Verdict:
    """Refuse who has not proven to be a subscriber, or say what the tenant does instead."""
    if reason not in policy.UNPROVEN or method in _MUTUAL:
        return Verdict(Answer.REJECT, reason)
    stranger = nobody(client.nas.tenant)
    standing = treated(Question(stranger, None, at, client.index, client.nas, view.books), reason)
    if standing.act is Act.REJECT:
        return Verdict(Answer.REJECT, reason)
    return answered(view, client, stranger, None, standing, access_of(decision.packet, None), at)


def nobody(tenant: str) -> Subscriber:
    """Return a subscriber without anything of its own."""
    return Subscriber(tenant=tenant, id="", access_mode=AccessMode.ACTIVE, plan=None)


def render(
    view: View,
    client: Client,
    plan: Plan,
    subscriber: Subscriber | None,
    access: Access,
    at: float | None,
    now: float,
) -> Verdict:
    """Return what a plan says to a NAS.

    With a subscriber it is as if the plan were its own. The rules are asked with a subscriber or a time `at`; with
    neither the answer is the plan as it is sold.
    """
    who = subscriber or nobody(plan.tenant)
    # Whoever is online already is not one too many here.
    who = replace(who, plan=plan.id, simultaneous_use=None)
    standing = FULL
    if subscriber is not None or at is not None:
        question = Question(who, plan, now if at is None else at, client.index, client.nas, view.books)
        question.rules = replace(question.rules, simultaneous_use=None)
        standing = policy.decide(question)
    return answered(view, client, who, plan, standing, plan.access or access, now if at is None else at)


def render_garden(
    view: View, client: Client, subscriber: Subscriber | None, access: Access, at: float
) -> Verdict:
    """Return what the walled garden says to a NAS; a reject where its tenant has none."""
    if client.index.tenant.garden is None:
        return Verdict(Answer.REJECT, Deny.CAPTIVE_UNSUPPORTED, detail="the tenant has no garden")
    who = subscriber or nobody(client.nas.tenant)
    return answered(view, client, who, None, Standing(act=Act.CAPTIVE), access, at)


def grant_of(plan: Plan) -> Grant:
    """Return what a plan grants to anybody in good standing; the time does not matter."""
    return grant(nobody(plan.tenant), plan, FULL, None, 0.0, plan.access or Access.PPP, _INTERIM_S)


@dataclass(frozen=True, slots=True)
class Moved:
    """A part of an answer that differs: a field of the grant, or the name of a raw attribute edit."""

    field: str
    before: object
    after: object


def moved(before: Verdict, after: Verdict) -> tuple[Moved, ...]:
    """Return what differs between two answers, the answer itself and its reason apart."""
    one, other = before.prepared, after.prepared
    if one is None or other is None or one is other:
        return ()
    empty = Grant()
    named = [each.name for each in fields(empty)]
    found = [
        Moved(name, getattr(one.grant, name), getattr(other.grant, name))
        for name in named
        if getattr(one.grant, name) != getattr(other.grant, name)
    ]
    if not found and _octets(one) != _octets(other):
        found.append(Moved("attributes", _octets(one), _octets(other)))
    return tuple(found)


def _octets(prepared: Prepared) -> tuple[str, ...]:
    return tuple(each.octets.hex() for each in prepared.rendered)


def same(before: Verdict, after: Verdict, changes: Iterable[Moved]) -> bool:
    """Tell whether nothing differs between two answers."""
    return (before.answer, before.reason) == (after.answer, after.reason) and not tuple(changes)
