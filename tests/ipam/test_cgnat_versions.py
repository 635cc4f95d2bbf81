"""Plans by version: an old question is answered with the plan that was in force then."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from ipam.cgnat import DeterministicPlan, OutOfPlan, Ports
from ipam.cgnat_versions import Plans, PlansClash, Silence, collect

OUTSIDE = IPv4Address("203.0.113.1")


def plan(version: int = 1, **changed: Any) -> DeterministicPlan:
    values: dict[str, Any] = {
        "id": "pop1",
        "version": version,
        "inside": (IPv4Network("100.64.0.0/28"),),
        "outside": (IPv4Network("203.0.113.0/30"),),
        "sharing": 4,
        "block_size": 16_128,
    }
    return DeterministicPlan(**(values | changed))


def collected(*plans: DeterministicPlan) -> Plans:
    made = collect(plans)
    assert isinstance(made, Plans)
    return made


def two_versions() -> Plans:
    """Version 1 until 1000; version 2 from 1000 on counts the inside addresses from another prefix."""
    later = plan(2, inside=(IPv4Network("100.64.8.0/28"),), valid_from=1_000.0)
    return collected(plan(valid_until=1_000.0), later)


def test_each_time_has_its_version() -> None:
    plans = two_versions()
    assert [each.version for each in plans.at(999.9)] == [1]
    assert [each.version for each in plans.at(1_000.0)] == [2]
    assert [str(each.inside) for each in plans.holders(OUTSIDE, 1_024, 999.9).holders] == ["100.64.0.4"]
    assert [str(each.inside) for each in plans.holders(OUTSIDE, 1_024, 1_000.0).holders] == ["100.64.8.4"]


def test_a_time_that_is_not_exact_names_both_versions() -> None:
    answer = two_versions().holders(OUTSIDE, 1_024, 1_001.0, skew_s=2.0)
    assert [(str(each.inside), each.version) for each in answer.holders] == [
        ("100.64.0.4", 1),
        ("100.64.8.4", 2),
    ]


def test_without_a_port_everyone_behind_the_address_is_named() -> None:
    answer = two_versions().holders(OUTSIDE, None, 5.0)
    assert [str(each.inside) for each in answer.holders] == [f"100.64.0.{last}" for last in range(4, 8)]
    assert answer.holders[0].ports == Ports(OUTSIDE, 1_024, 17_151)
    assert answer.silences == ()


def test_no_answer_says_why() -> None:
    plans = collected(plan(valid_from=100.0))
    assert plans.holders(OUTSIDE, 2_000, 99.0).silences == (Silence(OutOfPlan.NO_PLAN),)
    assert plans.holders(OUTSIDE, 80, 100.0).silences == (Silence(OutOfPlan.PORT_OUTSIDE_RANGE, "pop1", 1),)
    assert plans.holders(IPv4Address("192.0.2.1"), 2_000, 100.0).silences == (Silence(OutOfPlan.NO_PLAN),)


def test_a_time_that_reaches_beyond_the_plans_says_so() -> None:
    answer = collected(plan(valid_from=100.0, valid_until=200.0)).holders(OUTSIDE, 2_000, 199.0, skew_s=5.0)
    assert len(answer.holders) == 1
    assert answer.silences == (Silence(OutOfPlan.NO_PLAN),)


def test_two_networks_may_share_an_inside_prefix() -> None:
    other = plan(id="pop2", outside=(IPv4Network("198.51.100.0/30"),))
    found = collected(plan(), other).ports(IPv4Address("100.64.0.0"), 0.0)
    assert [(each.plan, str(each.ports.outside)) for each in found] == [
        ("pop1", "203.0.113.0"),
        ("pop2", "198.51.100.0"),
    ]


def test_plans_that_share_an_outside_address_by_ports_stand_together() -> None:
    low = plan(last_port=33_279, block_size=8_064)
    high = plan(id="pop2", first_port=33_280, block_size=8_064, inside=(IPv4Network("100.64.8.0/28"),))
    answer = collected(low, high).holders(OUTSIDE, 40_000, 0.0)
    assert [each.plan for each in answer.holders] == ["pop2"]
    assert answer.silences == ()


def test_plans_that_contradict_each_other_are_named() -> None:
    first, second = plan(valid_until=1_000.0), plan(2, valid_from=999.0)
    assert collect([first, second]) == (
        PlansClash(first, second, "two versions of one plan at the same time"),
    )
    other = plan(id="pop2", outside=(IPv4Network("203.0.113.0/29"),))
    assert collect([plan(), other]) == (
        PlansClash(plan(), other, "both use 203.0.113.0/30 at the same time"),
    )
    assert collect([plan(), plan()]) == (PlansClash(plan(), plan(), "the same version twice"),)
