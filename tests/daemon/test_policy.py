"""Each check of the policy on its own: when it refuses, with which reason, and what it notes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.aaa import policy
from daemon.aaa.reasons import Deny
from daemon.aaa.standing import FULL
from daemon.replica.records import AccessMode, Tenant
from daemon.replica.rules import (
    GARDEN as WALLED,
)
from daemon.replica.rules import (
    REJECTED,
    Act,
    Allowance,
    Bound,
    Direction,
    LinePolicy,
    Measure,
    RateHours,
    Rules,
    Treatment,
    Window,
)
from radius.grant import Rate
from tests.daemon.policy_stage import (
    FULL_RATE,
    GARDEN,
    MAC,
    OTHER_MAC,
    SLOW_RATE,
    PolicyStage,
    allowance,
    hours,
    shown,
)
from tests.daemon.stack import T0

GB = 1_000_000_000
SLOWER = Treatment(act=Act.RATE, rate=SLOW_RATE)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_nobody_has_anything_against_a_plain_subscriber_on_a_plain_plan() -> None:
    stage = PolicyStage()
    assert policy.decide(stage.question()) is FULL
    assert [check(stage.question()) for check in policy.CHECKS] == [None] * len(policy.CHECKS)


def test_a_plain_subscriber_is_decided_as_all_the_checks_would() -> None:
    stage = PolicyStage(Rules(line_policy=LinePolicy.ENFORCE))  # not plain, and nothing to refuse
    assert policy.decide(stage.question()) is FULL


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (AccessMode.ACTIVE, None),
        (AccessMode.REJECT, Deny.ACCESS_REJECT),
        (AccessMode.NONE, Deny.ACCESS_NONE),
        (AccessMode.CAPTIVE, Deny.ACCESS_CAPTIVE),
    ],
)
def test_the_access_mode_decides_first(mode: AccessMode, reason: Deny | None) -> None:
    stage = PolicyStage(access_mode=mode, valid_until=T0 - 1)
    assert policy.access_mode(stage.question()) is reason
    assert policy.decide(stage.question()).reason is (reason or Deny.EXPIRED)


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        (T0 - 0.5, Deny.NOT_YET_VALID),
        (T0, None),
        (T0 + 59.5, None),
        (T0 + 60, Deny.EXPIRED),
    ],
)
def test_a_subscription_begins_and_ends_on_the_dot(moment: float, reason: Deny | None) -> None:
    stage = PolicyStage(valid_from=T0, valid_until=T0 + 60)
    assert policy.validity(stage.question(at=moment)) is reason


def test_without_a_plan_there_is_nothing_to_give() -> None:
    for plan in (None, "gone"):
        assert policy.has_plan(PolicyStage(plan=plan).question()) is Deny.NO_PLAN


# --- hours ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "zone", "inside"),
    [
        ("2027-01-15T07:59:59", "UTC", False),
        ("2027-01-15T08:00:00", "UTC", True),
        ("2027-01-15T19:59:59", "UTC", True),
        ("2027-01-15T20:00:00", "UTC", False),
        ("2027-01-15T07:30:00", "Europe/Berlin", True),
        ("2027-01-15T19:30:00", "Europe/Berlin", False),
        ("2027-07-15T18:30:00", "Europe/Berlin", False),
        ("2027-01-16T10:00:00", "UTC", False),
    ],
)
def test_login_hours_are_those_of_the_tenants_clock(moment: str, zone: str, inside: bool) -> None:
    weekdays = hours(8 * 60, 20 * 60, 0, 1, 2, 3, 4)
    stage = PolicyStage(Rules(login_hours=(weekdays,)), Tenant(id="demo", timezone=zone))
    reason = policy.login_hours(stage.question(at=at(moment)))
    assert reason is (None if inside else Deny.OUTSIDE_HOURS)


def test_the_session_of_a_login_inside_the_hours_ends_with_them() -> None:
    stage = PolicyStage(Rules(login_hours=(hours(22 * 60, 6 * 60),)))
    standing = policy.decide(stage.question(at=at("2027-01-15T23:00:00")))
    assert (standing.reason, standing.act) == (None, None)
    assert standing.ends_at == at("2027-01-16T06:00:00")


def test_hours_that_never_end_end_no_session() -> None:
    stage = PolicyStage(Rules(login_hours=(hours(0, 0),)))
    assert policy.decide(stage.question()) is FULL


def test_the_first_rate_of_the_hours_that_run_replaces_the_plans() -> None:
    night, evening = Rate(download_bps=9, upload_bps=9), Rate(download_bps=5, upload_bps=5)
    rules = Rules(
        rate_hours=(
            RateHours(hours=(hours(22 * 60, 6 * 60),), rate=night),
            RateHours(hours=(hours(18 * 60, 24 * 60),), rate=evening),
        )
    )
    stage = PolicyStage(rules)
    rates = [
        policy.decide(stage.question(at=at(f"2027-01-15T{hour}:00:00"))).rate for hour in ("12", "19", "23")
    ]
    assert rates == [None, evening, night]


# --- places --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_plan", "of_subscriber", "reason"),
    [
        ({"nases": ("lab",)}, {}, None),
        ({"nases": ("other",)}, {}, Deny.WRONG_NAS),
        ({"sites": ("north",)}, {}, None),
        ({"sites": ("south",)}, {}, Deny.WRONG_SITE),
        ({"nases": ("lab",), "sites": ("south",)}, {}, Deny.WRONG_SITE),
        ({"nases": ("other",)}, {"nases": ("lab",)}, None),
        ({"sites": ("north",)}, {"sites": ("south",)}, Deny.WRONG_SITE),
        ({"nases": ("other",)}, {"sites": ("north",)}, Deny.WRONG_NAS),
    ],
)
def test_a_place_is_the_subscribers_own_else_its_plans(
    of_plan: dict[str, Any], of_subscriber: dict[str, Any], reason: Deny | None
) -> None:
    question = PolicyStage(Rules(**of_plan), **of_subscriber).question()
    assert policy.place(question) is reason
    assert ("place" in question.noted) is (reason is not None)


# --- line and binding ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "reason", "told"),
    [
        (LinePolicy.ENFORCE, Deny.CIRCUIT_MISMATCH, 0),
        (LinePolicy.LOG, None, 1),
        (LinePolicy.IGNORE, None, 0),
    ],
)
@pytest.mark.parametrize("own", [{"circuit_id": "olt-1 1/2"}, {"remote_id": "olt-1 1/2"}])
def test_another_line_is_refused_told_or_ignored(
    how: LinePolicy, reason: Deny | None, told: int, own: dict[str, Any]
) -> None:
    stage = PolicyStage(Rules(line_policy=how), **own)
    strange = stage.question(shown(circuit=b"olt-2 9/9", remote=b"olt-2 9/9"))
    assert policy.line(strange) is reason
    assert [kind for kind, _ in strange.told] == ["line-mismatch"] * told
    assert strange.noted.get("line", "").endswith("olt-2 9/9 instead of olt-1 1/2") is (
        how is not LinePolicy.IGNORE
    )
    for fine in (shown(circuit=b"olt-1 1/2", remote=b"olt-1 1/2"), b""):
        question = stage.question(fine)
        assert (policy.line(question), question.told, question.noted) == (None, [], {})


def test_the_subscribers_own_line_policy_wins() -> None:
    stage = PolicyStage(
        Rules(line_policy=LinePolicy.IGNORE), circuit_id="mine", line_policy=LinePolicy.ENFORCE
    )
    assert policy.line(stage.question(shown(circuit=b"theirs"))) is Deny.CIRCUIT_MISMATCH


def test_a_line_of_octets_that_are_no_text_is_told_readably() -> None:
    stage = PolicyStage(Rules(line_policy=LinePolicy.LOG), circuit_id="mine")
    question = stage.question(shown(circuit=b"\xff\x00"))
    assert policy.line(question) is None
    assert question.told == [("line-mismatch", "circuit id \\xff\x00 instead of mine")]


@pytest.mark.parametrize(
    ("bound", "own", "same", "other", "reason"),
    [
        (Bound.MAC, {"macs": ("02:00:00:00:00:01",)}, shown(MAC), shown(OTHER_MAC), Deny.MAC_MISMATCH),
        (Bound.CIRCUIT, {"circuit_id": "a"}, shown(circuit=b"a"), shown(circuit=b"b"), Deny.CIRCUIT_MISMATCH),
        (Bound.VLAN, {"vlan_id": 100}, shown(port="vlan100"), shown(port="vlan200"), Deny.VLAN_MISMATCH),
        (
            Bound.VLAN,
            {"vlan_id": 100, "inner_vlan_id": 7},
            shown(port="0/1/3:100.7"),
            shown(port="0/1/3:100.8"),
            Deny.VLAN_MISMATCH,
        ),
    ],
)
def test_what_a_plan_binds_must_be_the_subscribers_own(
    bound: Bound, own: dict[str, Any], same: bytes, other: bytes, reason: Deny
) -> None:
    stage = PolicyStage(Rules(bind=(bound,)), **own)
    assert policy.binding(stage.question(same)) is None
    question = stage.question(other)
    assert policy.binding(question) is reason
    assert " instead of " in question.noted["binding"]
    assert policy.binding(stage.question()) is None, "nothing is shown, so there is nothing to compare"
    stage.rule(bind=())
    assert policy.binding(stage.question(other)) is None


def test_several_macs_are_all_the_subscribers_own() -> None:
    stage = PolicyStage(Rules(bind=(Bound.MAC,)), macs=("02:00:00:00:00:01", "02:00:00:00:00:02"))
    assert [policy.binding(stage.question(shown(mac))) for mac in (MAC, OTHER_MAC)] == [None, None]


# --- allowances ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "act", "reason"),
    [
        (REJECTED, Act.REJECT, Deny.OCTETS_USED_UP),
        (WALLED, Act.CAPTIVE, Deny.OCTETS_USED_UP),
        (Treatment(act=Act.PLAN, plan="thin"), Act.PLAN, Deny.OCTETS_USED_UP),
        (SLOWER, None, None),
        (Treatment(act=Act.NOTIFY), None, None),
    ],
)
def test_what_an_allowance_does_when_it_is_used_up(
    then: Treatment, act: Act | None, reason: Deny | None
) -> None:
    stage = PolicyStage(Rules(allowances=(allowance(5 * GB, then=then),)))
    stage.use(5 * GB - 1)
    assert policy.decide(stage.question()).reason is None
    stage.use(1)
    question = stage.question()
    standing = policy.decide(question)
    assert (standing.act, standing.reason) == (act, reason)
    assert [each.name for each in question.over] == ["quota"]
    assert standing.rate == (SLOW_RATE if then is SLOWER else None)
    assert "5000000000 octets of 5000000000 a month" in question.noted["allowances"]


def test_an_allowance_of_time_has_a_reason_of_its_own() -> None:
    stage = PolicyStage(Rules(allowances=(allowance(3600, measure=Measure.SECONDS),)))
    stage.use(seconds=3600)
    assert policy.decide(stage.question()).reason is Deny.TIME_USED_UP


@pytest.mark.parametrize(
    ("direction", "left"),
    [(Direction.BOTH, 10 * GB - 3), (Direction.DOWNLOAD, 10 * GB - 2), (Direction.UPLOAD, 10 * GB - 1)],
)
def test_octets_count_by_direction(direction: Direction, left: int) -> None:
    stage = PolicyStage(Rules(allowances=(allowance(10 * GB, direction=direction),)))
    stage.use(2, upload=1)
    used = 10 * GB - left
    assert policy.decide(stage.question()).reason is None
    stage.rule(allowances=(allowance(used, direction=direction),))
    assert policy.decide(stage.question()).reason is Deny.OCTETS_USED_UP
    stage.rule(allowances=(allowance(used + 1, direction=direction),))
    assert policy.decide(stage.question()).reason is None


@pytest.mark.parametrize("window", list(Window))
def test_a_window_that_is_over_counts_anew(window: Window) -> None:
    stage = PolicyStage(Rules(allowances=(allowance(GB, window=window),)))
    stage.use(GB)
    later = {Window.DAY: 1, Window.WEEK: 7, Window.MONTH: 31, Window.TOTAL: 5000}[window] * 86_400
    again = policy.decide(stage.question(at=T0 + later))
    assert (again.reason is None) is (window is not Window.TOTAL)


def test_what_was_bought_besides_is_on_top_of_octets_and_not_of_time() -> None:
    stage = PolicyStage(
        Rules(allowances=(allowance(GB), allowance(60, name="time", measure=Measure.SECONDS))),
        bonus_octets=5 * GB,
    )
    stage.use(6 * GB - 1, seconds=59)
    assert policy.decide(stage.question()).reason is None
    stage.use(seconds=1)
    assert policy.decide(stage.question()).reason is Deny.TIME_USED_UP


def test_a_count_with_gaps_acts_only_where_the_plan_says_so() -> None:
    for on_gap, reason in ((False, None), (True, Deny.OCTETS_USED_UP)):
        stage = PolicyStage(Rules(allowances=(allowance(GB, on_gap=on_gap),)))
        stage.use(GB, gap="start-not-seen")
        question = stage.question()
        assert policy.decide(question).reason is reason
        assert [kind for kind, _ in question.told] == ([] if on_gap else ["allowance-gap"])


def test_the_hardest_of_several_allowances_decides_and_of_rates_the_lowest() -> None:
    middle = Treatment(act=Act.RATE, rate=FULL_RATE)
    soft: tuple[Allowance, ...] = (
        allowance(1, name="a", then=Treatment(act=Act.NOTIFY)),
        allowance(1, name="b", then=middle),
        allowance(1, name="c", then=SLOWER),
    )
    stage = PolicyStage(Rules(allowances=soft))
    stage.use(1)
    standing = policy.decide(stage.question())
    assert (standing.rate, standing.rate_source) == (SLOW_RATE, "allowance c")
    for then, act in (
        (Treatment(act=Act.PLAN, plan="thin"), Act.PLAN),
        (WALLED, Act.CAPTIVE),
        (REJECTED, Act.REJECT),
    ):
        soft = (*soft, allowance(1, name=act, then=then))
        stage.rule(allowances=soft)
        assert policy.decide(stage.question()).act is act


def test_the_night_boost_does_not_outlive_a_used_up_allowance() -> None:
    boost = RateHours(hours=(hours(0, 0),), rate=Rate(download_bps=10**9, upload_bps=10**9))
    stage = PolicyStage(Rules(allowances=(allowance(1, then=SLOWER),), rate_hours=(boost,)))
    assert policy.decide(stage.question()).rate == boost.rate
    stage.use(1)
    assert policy.decide(stage.question()).rate == SLOW_RATE


def test_what_is_left_is_said_to_the_nas_where_the_service_ends_with_it() -> None:
    rules = Rules(
        allowances=(
            allowance(10 * GB, name="hard", then=WALLED),
            allowance(7 * GB, name="harder"),
            allowance(5 * GB, name="soft", then=SLOWER),
            allowance(1 * GB, name="one way", direction=Direction.UPLOAD),
            allowance(3600, name="time", measure=Measure.SECONDS, window=Window.TOTAL),
        )
    )
    stage = PolicyStage(rules)
    stage.use(2 * GB, seconds=600)
    standing = policy.decide(stage.question())
    assert (standing.volume_octets, standing.ends_at) == (5 * GB, T0 + 3000)


def test_time_that_counts_anew_before_it_is_used_up_ends_no_session() -> None:
    daily = allowance(12 * 3600, measure=Measure.SECONDS, window=Window.DAY)
    stage = PolicyStage(Rules(allowances=(daily,)))
    late = at("2027-01-15T23:00:00")
    assert policy.decide(stage.question(at=late)) is FULL
    assert policy.decide(stage.question(at=late - 20 * 3600)).ends_at == late - 8 * 3600


@given(
    used=st.integers(0, 1 << 45),
    most=st.integers(1, 1 << 45),
    bonus=st.integers(0, 1 << 40),
    act=st.sampled_from([Act.REJECT, Act.CAPTIVE]),
)
def test_there_is_either_something_left_or_a_reason(used: int, most: int, bonus: int, act: Act) -> None:
    rules = Rules(allowances=(allowance(most, then=Treatment(act=act)),))
    stage = PolicyStage(rules, bonus_octets=bonus)
    stage.use(used)
    standing = policy.decide(stage.question())
    if used < most + bonus:
        assert (standing.reason, standing.volume_octets) == (None, most + bonus - used)
    else:
        assert (standing.reason, standing.act) == (Deny.OCTETS_USED_UP, act)


# --- what becomes of a reason --------------------------------------------------------------------------

_ACTS = st.sampled_from(
    [None, REJECTED, WALLED, Treatment(act=Act.PLAN, plan="thin"), Treatment(act=Act.PLAN, plan="gone")]
)


@given(of_check=_ACTS, of_plan=_ACTS, of_tenant=_ACTS, garden=st.booleans())
def test_the_check_outranks_the_plan_and_the_plan_the_tenant(
    of_check: Treatment | None, of_plan: Treatment | None, of_tenant: Treatment | None, garden: bool
) -> None:
    slug = str(Deny.OCTETS_USED_UP)
    allowances: tuple[Allowance, ...] = (allowance(1, then=of_check or REJECTED),)
    rules = Rules(allowances=allowances, treatments=() if of_plan is None else ((slug, of_plan),))
    tenant = Tenant(
        id="demo",
        garden=GARDEN if garden else None,
        treatments=() if of_tenant is None else ((slug, of_tenant),),
    )
    stage = PolicyStage(rules, tenant)
    stage.use(1)
    question = stage.question()
    decided = of_check or REJECTED  # an allowance always says what it does
    standing = policy.decide(question)
    _check_outcome(standing.act, standing.reason, decided, garden, Deny.OCTETS_USED_UP)


@given(of_plan=_ACTS, of_tenant=_ACTS, garden=st.booleans())
def test_the_plan_outranks_the_tenant(
    of_plan: Treatment | None, of_tenant: Treatment | None, garden: bool
) -> None:
    slug = str(Deny.EXPIRED)
    rules = Rules(treatments=() if of_plan is None else ((slug, of_plan), ("wrong-nas", WALLED)))
    tenant = Tenant(
        id="demo",
        garden=GARDEN if garden else None,
        treatments=() if of_tenant is None else (("wrong-nas", WALLED), (slug, of_tenant)),
    )
    stage = PolicyStage(rules, tenant, valid_until=T0)
    standing = policy.decide(stage.question())
    _check_outcome(standing.act, standing.reason, of_plan or of_tenant or REJECTED, garden, Deny.EXPIRED)


def _check_outcome(
    act: Act | None, reason: Deny | None, decided: Treatment, garden: bool, expected: Deny
) -> None:
    if decided.act is Act.CAPTIVE and not garden:
        assert (act, reason) == (Act.REJECT, Deny.CAPTIVE_UNSUPPORTED)
    elif decided.plan == "gone":
        assert (act, reason) == (Act.REJECT, expected)
    else:
        assert (act, reason) == (decided.act, expected)


def test_captive_is_the_garden_unless_somebody_says_otherwise() -> None:
    stage = PolicyStage(access_mode=AccessMode.CAPTIVE)
    assert policy.decide(stage.question()).act is Act.CAPTIVE
    stage.rule(treatments=(("access-captive", REJECTED),))
    assert policy.decide(stage.question()).act is Act.REJECT


def test_a_dry_run_asks_about_simultaneous_use_as_a_login_does() -> None:
    question = PolicyStage(Rules(simultaneous_use=1)).question(None)
    assert (policy.simultaneous_use(question), question.limit) == (None, 1)
