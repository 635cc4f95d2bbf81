"""The planner: figures by hand, and that each alternative it offers is true."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.cgnat import Algorithm, DeterministicPlan
from ipam.cgnat_plan import Demand, NoPlan, Planned, Shortage, make_plan, rows, summary, vectors


def demand(**changed: Any) -> Demand:
    """8,192 inside addresses behind 256: 32 each, 64,512 / 32 = 2,016 ports."""
    values: dict[str, Any] = {
        "subscribers": 8_000,
        "inside": (IPv4Network("100.64.0.0/19"),),
        "outside": (IPv4Network("203.0.113.0/24"),),
    }
    return Demand(**(values | changed))


def planned(wanted: Demand) -> Planned:
    made = make_plan(wanted, plan_id="pop1")
    assert isinstance(made, Planned), made
    return made


def refused(wanted: Demand) -> NoPlan:
    made = make_plan(wanted, plan_id="pop1")
    assert isinstance(made, NoPlan), made
    return made


def test_the_blocks_are_as_large_as_the_addresses_allow() -> None:
    made = planned(demand())
    assert (made.plan.sharing, made.plan.block_size) == (32, 2_016)
    assert (made.inside_needed, made.inside_spare) == (8_000, 192)
    assert (made.outside_used, made.outside_spare) == (256, 0)
    assert made.plan.overflow_ports == 0
    assert made.notes == ()


def test_the_peak_share_and_the_reserve_decide_how_many_inside_addresses_are_needed() -> None:
    made = planned(demand(subscribers=10_000, peak_share=0.6, reserve_percent=20))
    assert made.inside_needed == 7_200  # 10,000 x 0.6 x 1.2
    short = refused(demand(subscribers=10_000, peak_share=0.8, reserve_percent=20))
    assert short.slug is Shortage.INSIDE_TOO_SMALL
    assert short.problem == "9600 inside addresses are needed at the peak, the inside prefixes have 8192"
    assert short.alternatives == ("add 1408 inside addresses; one /18 would hold all",)


def test_too_few_outside_addresses_name_every_way_out() -> None:
    short = refused(demand(subscribers=4_000, outside=(IPv4Network("203.0.113.0/25"),)))
    assert short.slug is Shortage.OUTSIDE_TOO_SMALL
    # 64,512 // 2,000 = 32 a piece: 8,192 need 256, 128 are there; 128 x 32 = 4,096; 64,512 // 64 = 1,008
    assert short.missing_outside == 128
    assert short.fitting_block_size == 1_008
    assert short.alternatives == (
        "add 128 outside addresses",
        "shrink the inside prefixes to at most 4096 addresses; 4000 are needed",
        "take 1008 ports per subscriber",
    )


def test_an_overflow_share_stays_out_of_the_blocks() -> None:
    """RFC 7422 section 2.3: C = 14 and D = 2 make 64,512 / 16 = 4,032 ports each, and 8,064 left."""
    made = planned(
        demand(
            subscribers=14,
            inside=(IPv4Network("198.51.100.0/28"),),
            outside=(IPv4Network("192.0.2.1/32"),),
            boundaries=False,
            overflow_share=2,
        )
    )
    assert (made.plan.block_size, made.plan.overflow_ports) == (4_032, 8_064)
    assert any("8064 ports of each outside address are an overflow pool" in note for note in made.notes)


def test_an_even_ratio_may_leave_outside_addresses_unused() -> None:
    made = planned(demand(subscribers=8, inside=(IPv4Network("100.64.0.0/29"),), outside=_five_addresses()))
    assert (made.plan.sharing, made.outside_used, made.outside_spare) == (2, 4, 1)
    assert made.notes == ("1 outside addresses stay unused: an even ratio does not reach them",)


def _five_addresses() -> tuple[IPv4Network, ...]:
    return IPv4Network("203.0.113.0/30"), IPv4Network("203.0.113.4/32")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"subscribers": 0}, "at least 1 subscriber"),
        ({"peak_share": 1.1}, "peak_share"),
        ({"outside": ()}, "are needed"),
        ({"reserve_percent": -1.0}, "cannot be negative"),
        ({"ports_per_subscriber": 0}, "starts at 1"),
        ({"first_port": 2_000, "last_port": 1_999}, "ports run from 1 to 65535"),
        (
            {"first_port": 80, "last_port": 81, "reserved_ports": frozenset({80, 81})},
            "every port is reserved",
        ),
        ({"outside": (IPv4Network("100.64.1.0/24"),)}, "100.64.0.0/19 and 100.64.1.0/24 overlap"),
    ],
)
def test_a_demand_that_makes_no_sense_is_refused(changed: dict[str, Any], said: str) -> None:
    short = refused(demand(**changed))
    assert short.slug is Shortage.DEMAND_INVALID
    assert said in short.problem


def test_all_that_is_wrong_with_a_demand_is_said_at_once() -> None:
    short = refused(demand(subscribers=0, peak_share=2.0, ports_per_subscriber=0))
    assert short.problem.count(";") == 2


def test_public_inside_addresses_and_system_ports_are_noted() -> None:
    made = planned(demand(inside=(IPv4Network("8.8.0.0/19"),), first_port=1))
    assert [note.split()[0] for note in made.notes] == ["system", "an"]


def test_the_vectors_show_where_counting_can_go_wrong() -> None:
    made = planned(demand()).plan
    picked = vectors(made)
    assert len(picked) == 10
    assert [str(row.inside) for row in (picked[0], picked[-1])] == ["100.64.0.0", "100.64.31.255"]
    by_inside = {str(row.inside): row.ports for row in picked}
    assert str(by_inside["100.64.0.31"].outside) == "203.0.113.0"
    assert by_inside["100.64.0.31"].last_port == 65_535
    assert str(by_inside["100.64.0.32"].outside) == "203.0.113.1"
    assert by_inside["100.64.0.32"].first_port == 1_024
    assert len(vectors(_small(made))) == 4


def _small(plan: DeterministicPlan) -> DeterministicPlan:
    return replace(plan, inside=(IPv4Network("100.64.0.0/30"),))


def test_the_table_has_every_inside_address_once() -> None:
    table = list(rows(planned(demand()).plan))
    assert len(table) == 8_192
    assert [row.inside for row in table[:2]] == [IPv4Address("100.64.0.0"), IPv4Address("100.64.0.1")]
    assert len({(row.ports.outside, row.ports.first_port) for row in table}) == 8_192


def test_the_summary_says_the_figures() -> None:
    said = dict(summary(planned(demand())))
    assert said["ports per subscriber"] == "2016"
    assert said["subscribers per outside address"] == "32"
    assert said["plan"] == "pop1 version 1"


@given(
    inside=st.integers(20, 28),
    outside=st.integers(24, 32),
    ports=st.integers(1, 70_000),
    overflow=st.integers(0, 3),
    algorithm=st.sampled_from(Algorithm),
)
def test_every_alternative_that_is_offered_works(
    inside: int, outside: int, ports: int, overflow: int, algorithm: Algorithm
) -> None:
    wanted = demand(
        subscribers=1,
        inside=(IPv4Network(f"100.64.0.0/{inside}", strict=False),),
        outside=(IPv4Network(f"203.0.113.0/{outside}"),),
        ports_per_subscriber=ports,
        overflow_share=overflow,
        algorithm=algorithm,
    )
    made = make_plan(wanted, plan_id="pop1")
    if isinstance(made, Planned):
        assert made.plan.block_size >= ports
        return
    if made.fitting_block_size:
        smaller = replace(wanted, ports_per_subscriber=made.fitting_block_size)
        assert planned(smaller).plan.block_size == made.fitting_block_size
    if made.missing_outside:
        more = tuple(
            IPv4Network((int(IPv4Address("198.18.0.0")) + n, 32)) for n in range(made.missing_outside)
        )
        assert planned(replace(wanted, outside=(*wanted.outside, *more))).plan.block_size >= ports
        fewer = make_plan(replace(wanted, outside=(*wanted.outside, *more[1:])), plan_id="pop1")
        assert isinstance(fewer, NoPlan)
