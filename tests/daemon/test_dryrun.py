"""A dry run answers as a login does, and compares two states of the data."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from daemon.aaa import dryrun
from daemon.aaa.credentials import Proof, Slow
from daemon.aaa.decision import Decision
from daemon.aaa.dryrun import Answer, Verdict, View
from daemon.replica.index import Index
from daemon.replica.records import Nas, Plan, Record, Secret, SecretKind, Service, Tenant
from daemon.replica.rules import Act, Garden, Rules, Treatment
from radius.chap import chap_password
from radius.codes import Attr
from radius.grant import Access, Rate
from radius.packet import attribute
from tests.daemon.stack import T0, Stack, clear, nas, subscriber
from tests.twins.nas import NasTwin

GARDEN = Tenant(id="demo", garden=Garden(address_list="garden"))
OPEN = replace(
    GARDEN,
    treatments=(("unknown-user", Treatment(act=Act.CAPTIVE)), ("wrong-password", Treatment(act=Act.CAPTIVE))),
)
SLOW_PLAN = Plan(
    tenant="demo",
    id="home-100",
    service=Service(rate=Rate(download_bps=10_000_000, upload_bps=2_000_000)),
)
HASH = Secret(
    SecretKind.PBKDF2, b"pbkdf2_sha256$10000$seasalt$FQCNpiZpTb0zub+HBsH6TOwyRxJ19FwvjbweatNmK/Y="
)  # of "letmein"


def view_of(stack: Stack, *changes: Record, without: str = "") -> View:
    """Return a view of the stack's data with changes."""
    index = Index()
    for record in [*stack.index.records(), *changes]:
        if record.id != without:
            index.put(record)
    return View(index, stack.books, stack.replies.defaults)


def verdict(view: View, decision: Decision) -> Verdict:
    asked = dryrun.ask(view, decision)
    if isinstance(asked, Verdict):
        return asked
    proof = asked.proof.check() if isinstance(asked.proof, Slow) else asked.proof
    return dryrun.of_request(view, decision, asked, proof, decision.at)


def last(stack: Stack) -> Decision:
    return next(stack.trace.newest_first())


LOGINS = [
    ("alice", "wonderland"),
    ("alice", "wrong"),
    ("bob", "builder"),
    ("carol", "christmas"),
    ("nobody", "terminal"),
    ("dave", "dragonfly"),
    ("early", "bird"),
    ("expired", "milk"),
    ("ending", "soon"),
    ("planless", "x"),
    ("lost", "x"),
    ("keyless", "x"),
    ("02-00-00-00-00-2A", "02-00-00-00-00-2A"),
    ("stranger", "x"),
]


@pytest.mark.parametrize("tenant", [Tenant(id="demo"), GARDEN, OPEN], ids=["bare", "garden", "open"])
@pytest.mark.parametrize(("username", "password"), LOGINS)
def test_a_recorded_login_is_answered_as_it_was(username: str, password: str, tenant: Tenant) -> None:
    stack = Stack(tenant)
    twin: NasTwin = stack.nas()
    twin.ask(twin.login(username, password))
    decision = last(stack)
    found = verdict(view_of(stack), decision)
    assert found.reason == (
        decision.reason or (decision.standing.reason if decision.standing else None) or ""
    )
    assert (found.answer is Answer.REJECT) is bool(decision.reason)
    if decision.prepared is not None:
        assert found.prepared is not None
        assert found.prepared.versions == decision.prepared.versions
        assert (found.answer is Answer.CAPTIVE) is decision.prepared.grant.captive


def test_chap_is_checked_again_with_the_new_password() -> None:
    stack = Stack()
    twin = stack.nas()
    challenge = os.urandom(16)
    proof = chap_password(7, b"wonderland", challenge)
    attributes = attribute(Attr.USER_NAME, b"alice") + attribute(Attr.CHAP_PASSWORD, proof)
    twin.ask(twin.request(attributes + attribute(Attr.CHAP_CHALLENGE, challenge)))
    decision = last(stack)
    assert verdict(view_of(stack), decision).answer is Answer.PERMIT
    changed = verdict(view_of(stack, subscriber("alice", "another")), decision)
    assert (changed.answer, changed.reason) == (Answer.REJECT, "wrong-password")


def test_a_hash_that_was_checked_is_not_checked_again() -> None:
    stack = Stack(subscriber("hashed", "letmein"))
    twin = stack.nas()
    twin.ask(twin.login("hashed", "letmein"))
    decision = last(stack)
    asked = dryrun.ask(view_of(stack, subscriber("hashed", None, secret=HASH)), decision)
    assert not isinstance(asked, Verdict)
    assert isinstance(asked.proof, Slow), "the secret is another one than then"
    assert asked.proof.check().reason is None
    decision.subscriber = subscriber("hashed", None, secret=HASH)
    asked = dryrun.ask(view_of(stack, decision.subscriber), decision)
    assert not isinstance(asked, Verdict)
    assert asked.proof == Proof("pap")


def test_a_rotated_secret_of_the_nas_does_not_matter_to_recorded_passwords() -> None:
    stack = Stack()
    twin = stack.nas()
    twin.ask(twin.login("alice", "wonderland"))
    rotated: Nas = nas(secret=clear("the-new-one"), previous_secret=clear("testing123"))
    assert verdict(view_of(stack, rotated), last(stack)).answer is Answer.PERMIT
    assert verdict(view_of(stack, nas(secret=clear("the-new-one"))), last(stack)).answer is Answer.PERMIT


def test_what_differs_is_named_field_by_field() -> None:
    stack = Stack()
    twin = stack.nas()
    twin.ask(twin.login("alice", "wonderland"))
    before, after = verdict(view_of(stack), last(stack)), verdict(view_of(stack, SLOW_PLAN), last(stack))
    changes = dryrun.moved(before, after)
    assert [(each.field, each.after) for each in changes] == [("rate", SLOW_PLAN.service.rate)]
    assert not dryrun.same(before, after, changes)
    again = verdict(view_of(stack), last(stack))
    assert dryrun.same(before, again, dryrun.moved(before, again))


@pytest.mark.parametrize(
    ("without", "answer", "reason"),
    [
        ("ALICE", Answer.REJECT, "unknown-user"),
        ("lab", Answer.NONE, "unknown-nas"),
        ("home-100", Answer.REJECT, "no-plan"),
    ],
)
def test_what_is_removed_is_missed(without: str, answer: Answer, reason: str) -> None:
    stack = Stack()
    twin = stack.nas()
    twin.ask(twin.login("alice", "wonderland"))
    found = verdict(view_of(stack, without=without), last(stack))
    assert (found.answer, found.reason) == (answer, reason)


def rendered(view: View, plan: str, name: str | None = None, at: float | None = None, **more: Any) -> Verdict:
    client = view.clients.get("demo", "lab")
    assert client is not None
    who = None if name is None else client.index.subscribers[name]
    return dryrun.render(view, client, client.index.plans[plan], who, Access.PPP, at, T0, **more)


def test_a_plan_without_anybody_is_rendered_as_it_is_sold() -> None:
    closed = replace(SLOW_PLAN, id="closed", rules=Rules(nases=("elsewhere",)))
    view = view_of(Stack(), closed)
    assert rendered(view, "closed").answer is Answer.PERMIT
    asked = rendered(view, "closed", at=T0)
    assert (asked.answer, asked.reason) == (Answer.REJECT, "wrong-nas")


def test_who_is_online_already_is_not_one_too_many_in_a_rendering() -> None:
    single = replace(SLOW_PLAN, id="single", rules=Rules(simultaneous_use=1))
    stack = Stack(single, subscriber("alice", "wonderland", plan="single", simultaneous_use=1))
    twin = stack.nas()
    twin.ask(twin.login("alice", "wonderland", attribute(Attr.CALLING_STATION_ID, b"02-00-00-00-00-01")))
    assert stack.books.reservations.held("demo", "ALICE", T0)
    assert rendered(view_of(stack), "single", "ALICE").answer is Answer.PERMIT


def test_nothing_of_a_dry_run_stays() -> None:
    learning = replace(SLOW_PLAN, id="tied", rules=Rules(simultaneous_use=1))
    stack = Stack()
    twin = stack.nas()
    twin.ask(twin.login("alice", "wonderland"))
    verdict(view_of(stack, learning, subscriber("alice", "wonderland", plan="tied")), last(stack))
    assert stack.books.reservations.all_held(T0) == []
    assert stack.books.bindings.dirty == {}
    assert len(list(stack.trace.newest_first())) == 1
