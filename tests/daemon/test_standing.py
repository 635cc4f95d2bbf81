"""What the policy is asked and answers: attachments, ties, ends, and what becomes of a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.aaa.reasons import Deny
from daemon.aaa.standing import FULL, Standing, treated
from daemon.replica.records import Tenant
from daemon.replica.rules import GARDEN as WALLED
from daemon.replica.rules import Act, Bound, Rules, Treatment
from radius.grant import Rate
from tests.daemon.coa_stack import START, report
from tests.daemon.policy_stage import GARDEN, MAC, PolicyStage, shown
from tests.daemon.stack import T0

BOUNDS = tuple(Bound)


def test_a_login_shows_where_it_comes_from_and_a_dry_run_does_not() -> None:
    stage = PolicyStage()
    attachment = stage.question(shown(MAC, "vlan7.8", b"c", b"r")).attachment
    assert attachment == ("02:00:00:00:00:01", b"c", b"r", "7.8", "lab vlan7.8")
    assert stage.question(None).attachment == (None, None, None, None, None)


def test_a_session_shows_what_accounting_has_said() -> None:
    stage = PolicyStage()
    tracked: list[bytes | None] = [None] * 10
    tracked[1], tracked[3] = MAC.encode(), b"vlan7"
    _, session = stage.sessions.apply(report(1, START, 1, T0, tracked=tuple(tracked)))
    question = stage.question(session=session)
    assert not question.logging_in
    assert question.attachment == ("02:00:00:00:00:01", None, None, "7", "lab vlan7")


def test_nobody_is_tied_to_anything_before_the_first_login() -> None:
    question = PolicyStage().question()
    assert [question.tied_to(bound) for bound in BOUNDS] == [()] * 4


def test_own_data_win_over_what_was_learned() -> None:
    stage = PolicyStage(Rules(bind=BOUNDS, bind_learn=True))
    stage.login(shown(MAC, "vlan7", b"circuit"))
    learned = [stage.question().tied_to(bound) for bound in BOUNDS]
    assert learned == [("02:00:00:00:00:01",), (b"circuit".hex(),), ("7",), ("lab vlan7",)]
    stage.change(macs=("02:00:00:00:00:09",), circuit_id="other", vlan_id=9)
    own = [stage.question().tied_to(bound) for bound in BOUNDS]
    assert own == [("02:00:00:00:00:09",), (b"other".hex(),), ("9",), ("lab vlan7",)]
    stage.change(inner_vlan_id=1)
    assert stage.question().tied_to(Bound.VLAN) == ("9.1",)


@given(st.lists(st.floats(T0, T0 + 1e6), max_size=5))
def test_the_earliest_of_several_ends_counts(ends: list[float]) -> None:
    question = PolicyStage().question()
    for each in ends:
        question.end(each)
    standing = question.standing()
    assert standing.ends_at == min(ends, default=None)
    assert (standing is FULL) is (not ends)


def test_a_standing_says_what_the_checks_have_noted() -> None:
    question = PolicyStage().question()
    question.volume_octets = 5
    rate = Rate(download_bps=1, upload_bps=1)
    assert question.standing(rate, "rate_hours") == Standing(
        rate=rate, rate_source="rate_hours", volume_octets=5
    )


@pytest.mark.parametrize("reason", list(Deny))
def test_a_reason_that_nobody_treats_is_a_reject(reason: Deny) -> None:
    standing = treated(PolicyStage().question(), reason)
    expected = Act.CAPTIVE if reason is Deny.ACCESS_CAPTIVE else Act.REJECT
    assert standing == Standing(reason=reason, act=expected)


def test_a_treatment_by_the_check_itself_outranks_plan_and_tenant() -> None:
    rejecting = (("expired", Treatment(act=Act.REJECT)),)
    stage = PolicyStage(Rules(treatments=rejecting), Tenant(id="demo", garden=GARDEN, treatments=rejecting))
    question = stage.question()
    question.treatment = WALLED
    assert treated(question, Deny.EXPIRED).act is Act.CAPTIVE


def test_a_treatment_that_cannot_be_had_is_noted() -> None:
    stage = PolicyStage(None, Tenant(id="demo"))
    walled, restricted = stage.question(), stage.question()
    walled.treatment = WALLED
    restricted.treatment = Treatment(act=Act.PLAN, plan="gone")
    assert treated(walled, Deny.EXPIRED) == Standing(reason=Deny.CAPTIVE_UNSUPPORTED, act=Act.REJECT)
    assert treated(restricted, Deny.EXPIRED) == Standing(reason=Deny.EXPIRED, act=Act.REJECT)
    assert (walled.noted, restricted.noted) == (
        {"treatment": "the tenant has no garden"},
        {"treatment": "there is no plan gone"},
    )
