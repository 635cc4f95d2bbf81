"""Replies made ready: edits in their order, timers spread, and what is kept and for whom."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.aaa.authorize import Defaults, Replies
from daemon.aaa.prepared import Prepared, prepare
from daemon.aaa.reasons import Deny
from daemon.aaa.standing import FULL, Standing
from daemon.replica.records import AttributeEdit, EditOp, Nas, Plan, Service, Subscriber
from daemon.replica.rules import Act
from radius.codes import Attr
from radius.errors import Unencodable
from radius.grant import Access, Grant, Rate
from radius.packet import attribute
from radius.vendors.mikrotik import PROFILE as MIKROTIK
from radius.vendors.standard import PROFILE as STANDARD
from tests.daemon.policy_stage import GARDEN, SLOW_RATE
from tests.daemon.stack import T0, nas, subscriber

PLAN = Plan(tenant="demo", id="p", service=Service(rate=Rate(download_bps=9_000_000, upload_bps=9_000_000)))
ALICE = subscriber("alice", "x", plan="p")
LAB = nas()


def text(kind: Attr, value: bytes, op: EditOp = EditOp.ADD) -> AttributeEdit:
    return AttributeEdit(op, kind.name, (int(kind),), attribute(kind, value) if value else b"")


def values(prepared: Prepared, kind: Attr) -> list[bytes]:
    return [each.octets[2:] for each in prepared.rendered if each.oid == (int(kind),)]


def made(
    who: Subscriber = ALICE,
    standing: Standing = FULL,
    at: float = T0,
    replies: Replies | None = None,
    plan: Plan | None = PLAN,
    box: Nas | None = None,
) -> Prepared:
    found = (replies or Replies(Defaults(600, 0.0))).prepare(
        who,
        plan,
        standing,
        GARDEN,
        box or LAB,
        MIKROTIK,
        Access.PPP,
        at,
    )
    assert isinstance(found, Prepared)
    return found


def test_edits_go_nas_plan_subscriber() -> None:
    prepared = prepare(
        Grant(filter_id="rendered"),
        STANDARD,
        0.0,
        ("nas", (text(Attr.FILTER_ID, b"of-nas", EditOp.REPLACE), text(Attr.REPLY_MESSAGE, b"hello"))),
        ("plan", (text(Attr.FILTER_ID, b"of-plan"),)),
        ("subscriber", (text(Attr.REPLY_MESSAGE, b"", EditOp.REMOVE),)),
    )
    assert values(prepared, Attr.FILTER_ID) == [b"of-nas", b"of-plan"]
    assert values(prepared, Attr.REPLY_MESSAGE) == []
    assert [each.source for each in prepared.rendered[-2:]] == ["replace by nas", "add by plan"]
    assert prepared.octets(0) == b"".join(each.octets for each in prepared.rendered)


def test_edits_of_plan_and_subscriber_stay_outside_the_garden_and_those_of_the_nas_inside() -> None:
    said = {"nas": text(Attr.REPLY_MESSAGE, b"nas"), "plan": text(Attr.REPLY_MESSAGE, b"plan")}
    plan = Plan(tenant="demo", id="p", service=Service(edits=(said["plan"],)))
    own = subscriber("own", "x", service=Service(edits=(text(Attr.REPLY_MESSAGE, b"own"),)))
    box = nas(edits=(said["nas"],))
    assert values(made(own, plan=plan, box=box), Attr.REPLY_MESSAGE) == [b"nas", b"plan", b"own"]
    captive = Standing(reason=Deny.EXPIRED, act=Act.CAPTIVE)
    assert values(made(own, captive, plan=plan, box=box), Attr.REPLY_MESSAGE) == [b"nas"]
    restricted = Standing(reason=Deny.EXPIRED, act=Act.PLAN, plan=PLAN)
    assert values(made(own, restricted, plan=plan, box=box), Attr.REPLY_MESSAGE) == [b"nas"]


@given(
    uid=st.integers(0, 1 << 62),
    interim=st.integers(60, 86_400),
    timeout=st.integers(1, 86_400 * 30),
    spread=st.sampled_from([0.0, 0.05, 0.1, 0.5]),
)
def test_timers_are_spread_within_bounds(uid: int, interim: int, timeout: int, spread: float) -> None:
    grant = Grant(interim_interval_s=interim, session_timeout_s=timeout)
    prepared = prepare(grant, STANDARD, spread)
    sent = {
        each.oid[0]: int.from_bytes(each.octets[2:], "big")
        for each in prepared.sent(uid)
        if each.source.endswith("_s")
    }
    assert (
        max(60, interim * (1 - spread) - 1) <= sent[Attr.ACCT_INTERIM_INTERVAL] <= interim * (1 + spread) + 1
    )
    assert max(1, timeout * (1 - spread) - 1) <= sent[Attr.SESSION_TIMEOUT] <= timeout
    assert prepared.octets(uid) == b"".join(each.octets for each in prepared.sent(uid))


def test_sessions_that_begin_together_do_not_report_together() -> None:
    prepared = prepare(Grant(interim_interval_s=600), STANDARD, 0.1)
    assert len({prepared.octets(uid) for uid in range(8)}) == 8
    assert len({prepare(Grant(interim_interval_s=600), STANDARD, 0.0).octets(uid) for uid in range(8)}) == 1


def test_a_timer_from_a_raw_edit_goes_as_it_was_given() -> None:
    raw = attribute(Attr.SESSION_TIMEOUT, (3600).to_bytes(4, "big"))
    edit = AttributeEdit(EditOp.REPLACE, "Session-Timeout", (int(Attr.SESSION_TIMEOUT),), raw)
    prepared = prepare(Grant(session_timeout_s=7200), STANDARD, 0.5, ("nas", (edit,)))
    assert all(raw in prepared.octets(uid) for uid in range(8))


# --- what is kept --------------------------------------------------------------------------------------


def test_a_reply_is_prepared_once_for_all_on_a_plan() -> None:
    replies = Replies(Defaults(600, 0.0))
    bob = subscriber("bob", "x", plan="p")
    assert made(ALICE, replies=replies) is made(bob, replies=replies)
    replies.turn(1)
    assert made(ALICE, replies=replies) == made(bob, replies=replies)


RATES = [None, SLOW_RATE, Rate(download_bps=5_000_000, upload_bps=5_000_000)]
STANDINGS = [
    *(Standing(rate=rate, rate_source="rate_hours") for rate in RATES),
    Standing(reason=Deny.EXPIRED, act=Act.CAPTIVE),
    Standing(
        reason=Deny.EXPIRED, act=Act.PLAN, plan=Plan(tenant="demo", id="q", service=Service(rate=SLOW_RATE))
    ),
    Standing(ends_at=T0 + 100),
    Standing(ends_at=T0 + 200),
    Standing(volume_octets=1 << 33),
]
PEOPLE = [
    ALICE,
    subscriber("bob", "x", plan="p"),
    subscriber("carol", "x", plan="p", ipv4_address=IPv4Address("203.0.113.1")),
    subscriber("dave", "x", plan="p", valid_until=T0 + 50),
    subscriber("erin", "x", plan="p", service=Service(rate=Rate(download_bps=1_000, upload_bps=1_000))),
]


@given(
    st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(STANDINGS), st.integers(0, 40)), max_size=30)
)
def test_what_is_kept_is_what_would_be_made_anew(asked: list[tuple[Subscriber, Standing, int]]) -> None:
    replies = Replies(Defaults(600, 0.0))
    for who, standing, later in asked:
        assert made(who, standing, T0 + later, replies) == made(who, standing, T0 + later)


def test_what_cannot_be_said_is_a_value_and_is_kept_too() -> None:
    replies = Replies(Defaults(600, 0.0))
    fast = Plan(tenant="demo", id="f", service=Service(rate_text="nonsense"))
    first, second = (
        replies.prepare(ALICE, fast, FULL, None, LAB, MIKROTIK, Access.PPP, T0) for _ in range(2)
    )
    assert isinstance(first, Unencodable)
    assert first is second


@pytest.mark.parametrize("access", list(Access))
def test_how_a_subscriber_connects_is_part_of_the_reply(access: Access) -> None:
    replies = Replies(Defaults(600, 0.0))
    both = {each: replies.prepare(ALICE, PLAN, FULL, None, nas(), MIKROTIK, each, T0) for each in Access}
    found = both[access]
    assert isinstance(found, Prepared)
    assert found.grant.access is access
    assert bool(values(found, Attr.FRAMED_PROTOCOL)) is (access is Access.PPP)


def test_who_still_asks_with_a_nas_or_plan_of_before_does_not_answer_for_the_others() -> None:
    replies = Replies(Defaults(600, 0.0))
    old, new = nas(vendor="standard"), nas(vendor="mikrotik")
    slow = Plan(tenant="demo", id="p", service=Service(rate=SLOW_RATE))

    def rate(box: Nas, plan: Plan) -> list[tuple[int, ...]]:
        profile = STANDARD if box is old else MIKROTIK
        found = replies.prepare(ALICE, plan, FULL, None, box, profile, Access.PPP, T0)
        assert isinstance(found, Prepared)
        assert found.grant.rate == plan.service.rate
        return [each.oid for each in found.rendered if each.source == "rate"]

    assert rate(old, PLAN) == []
    assert rate(new, PLAN) != []
    assert rate(new, slow) != []


def test_what_lasts_of_a_grant_is_one_object_whatever_the_hour() -> None:
    replies = Replies(Defaults(600, 0.0))
    night = Standing(ends_at=T0 + 100, volume_octets=1 << 33)
    lasting = replies.lasting(ALICE, PLAN, night, None, Access.PPP)
    assert (lasting.session_timeout_s, lasting.volume_octets) == (None, None)
    assert replies.lasting(ALICE, PLAN, FULL, None, Access.PPP) is lasting
    assert made(replies=replies).grant is lasting, "a login and the look at its session share it"
    now = replies.granted(ALICE, PLAN, night, None, Access.PPP, T0)
    assert (now.session_timeout_s, now.volume_octets) == (100, 1 << 33)
