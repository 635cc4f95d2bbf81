"""Deterministic plans: the example of RFC 7422 by hand, and that forward and reverse undo each other."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.cgnat import Algorithm, DeterministicPlan, OutOfPlan, PlanInvalid, Ports, Span


def a(text: str) -> IPv4Address:
    return IPv4Address(text)


def nets(*texts: str) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(text) for text in texts)


def rfc_example(**changed: Any) -> DeterministicPlan:
    """RFC 7422 section 2.3: I = 198.51.100.0/28, O = 192.0.2.1, D = 2, R = ports below 1024."""
    values: dict[str, Any] = {
        "id": "rfc7422",
        "version": 1,
        "inside": nets("198.51.100.0/28"),
        "outside": nets("192.0.2.1/32"),
        "boundaries": False,
        "sharing": 14,
        "block_size": (65_536 - 1_024) // (14 + 2),
    }
    return DeterministicPlan(**(values | changed))


@pytest.mark.parametrize(
    ("inside", "first", "last"),
    [
        ("198.51.100.1", 1_024, 5_055),
        ("198.51.100.2", 5_056, 9_087),
        ("198.51.100.14", 53_440, 57_471),
    ],
)
def test_the_example_of_rfc_7422(inside: str, first: int, last: int) -> None:
    assert rfc_example().forward(a(inside)) == Ports(a("192.0.2.1"), first, last)


@pytest.mark.parametrize(
    ("port", "answer"),
    [
        (1_023, OutOfPlan.PORT_OUTSIDE_RANGE),
        (1_024, a("198.51.100.1")),
        (5_055, a("198.51.100.1")),
        (5_056, a("198.51.100.2")),
        (57_471, a("198.51.100.14")),
        (57_472, OutOfPlan.PORT_UNASSIGNED),  # the dynamic pool of the example
        (65_535, OutOfPlan.PORT_UNASSIGNED),
    ],
)
def test_the_example_of_rfc_7422_backwards(port: int, answer: IPv4Address | OutOfPlan) -> None:
    assert rfc_example().reverse(a("192.0.2.1"), port) == answer


def test_the_dynamic_pool_of_the_example_is_two_shares() -> None:
    assert rfc_example().overflow_ports == 2 * 4_032 == 65_535 - 57_472 + 1


def test_the_boundary_addresses_take_part_only_where_the_plan_says_so() -> None:
    assert rfc_example().forward(a("198.51.100.0")) is OutOfPlan.INSIDE_UNKNOWN
    assert rfc_example().forward(a("198.51.100.15")) is OutOfPlan.INSIDE_UNKNOWN
    whole = rfc_example(boundaries=True, sharing=16)
    assert whole.forward(a("198.51.100.0")) == Ports(a("192.0.2.1"), 1_024, 5_055)
    assert whole.forward(a("198.51.100.15")) == Ports(a("192.0.2.1"), 61_504, 65_535)


def test_interleaved_blocks_take_every_nth_port() -> None:
    plan = rfc_example(algorithm=Algorithm.INTERLEAVED)
    assert plan.forward(a("198.51.100.1")) == Ports(a("192.0.2.1"), 1_024, 1_024 + 4_031 * 14, 14)
    assert plan.reverse(a("192.0.2.1"), 1_024) == a("198.51.100.1")
    assert plan.reverse(a("192.0.2.1"), 1_025) == a("198.51.100.2")
    assert plan.reverse(a("192.0.2.1"), 1_024 + 14) == a("198.51.100.1")
    assert plan.reverse(a("192.0.2.1"), 57_471) == a("198.51.100.14")
    assert plan.reverse(a("192.0.2.1"), 57_472) is OutOfPlan.PORT_UNASSIGNED


def test_striped_blocks_give_neighbours_neighbouring_addresses() -> None:
    plan = DeterministicPlan(
        id="netmap",
        version=1,
        inside=nets("100.64.0.0/29"),
        outside=nets("203.0.113.0/30"),
        sharing=2,
        block_size=32_256,
        algorithm=Algorithm.STRIPED,
    )
    assert plan.forward(a("100.64.0.1")) == Ports(a("203.0.113.1"), 1_024, 33_279)
    assert plan.forward(a("100.64.0.5")) == Ports(a("203.0.113.1"), 33_280, 65_535)
    assert plan.reverse(a("203.0.113.1"), 33_280) == a("100.64.0.5")


def test_prefixes_count_in_the_order_in_which_they_are_written() -> None:
    span = Span(nets("100.64.1.0/31", "100.64.0.0/31"))
    assert [str(span.address(number)) for number in range(span.count)] == [
        "100.64.1.0",
        "100.64.1.1",
        "100.64.0.0",
        "100.64.0.1",
    ]
    assert span.number(a("100.64.0.0")) == 2
    assert span.number(a("100.64.0.2")) is None
    with pytest.raises(IndexError):
        span.address(4)


def test_a_reserved_port_belongs_to_nobody_and_moves_the_blocks_behind_it() -> None:
    plan = rfc_example(block_size=4_000, reserved_ports=frozenset({80, 1_900, 5_060}))
    assert plan.forward(a("198.51.100.1")) == Ports(a("192.0.2.1"), 1_024, 5_024)
    assert plan.forward(a("198.51.100.2")) == Ports(a("192.0.2.1"), 5_025, 9_025)
    assert plan.reverse(a("192.0.2.1"), 1_900) is OutOfPlan.PORT_RESERVED
    assert plan.reverse(a("192.0.2.1"), 5_024) == a("198.51.100.1")
    assert plan.reverse(a("192.0.2.1"), 5_025) == a("198.51.100.2")


def test_a_block_behind_the_last_subscriber_is_nobodys() -> None:
    plan = rfc_example(sharing=16)
    assert plan.reverse(a("192.0.2.1"), 65_535) is OutOfPlan.NO_SUBSCRIBER
    assert plan.reverse(a("192.0.2.2"), 2_000) is OutOfPlan.OUTSIDE_UNKNOWN


def test_everybody_behind_an_address_is_known_without_a_port() -> None:
    sharers = rfc_example().sharers(a("192.0.2.1"))
    assert [str(inside) for inside, _ in sharers] == [f"198.51.100.{last}" for last in range(1, 15)]
    assert sharers[1][1] == Ports(a("192.0.2.1"), 5_056, 9_087)
    assert rfc_example().sharers(a("192.0.2.9")) == ()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sharing": 17}, "17 blocks of 4032 ports need 68544 ports, an outside address has 64512"),
        ({"sharing": 13}, "14 inside addresses do not fit in 13 blocks"),
        ({"outside": nets("198.51.100.8/32")}, "198.51.100.0/28 and 198.51.100.8/32 overlap"),
        ({"first_port": 0}, "no range of ports"),
        ({"last_port": 65_536}, "no range of ports"),
        ({"block_size": 0}, "start at 1"),
        ({"version": 0}, "version from 1"),
        ({"valid_from": 5.0, "valid_until": 5.0}, "not after valid_from"),
        ({"outside": ()}, "are needed"),
        (
            {"algorithm": Algorithm.INTERLEAVED, "block_size": 4_000, "reserved_ports": frozenset({5_060})},
            "without reserved ports",
        ),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanInvalid, match=said):
        rfc_example(**changed)


@st.composite
def plans(draw: st.DrawFn) -> DeterministicPlan:
    """Small plans of every form: several prefixes, gaps, reserved ports, blocks that are not all used."""
    algorithm = draw(st.sampled_from(Algorithm))
    inside = draw(st.lists(st.integers(0, 15), min_size=1, max_size=3, unique=True))
    outside = draw(st.lists(st.integers(0, 15), min_size=1, max_size=3, unique=True))
    inside_nets = tuple(
        IPv4Network((int(a("100.64.0.0")) + 16 * each, draw(st.integers(28, 32)))) for each in inside
    )
    outside_nets = tuple(
        IPv4Network((int(a("203.0.113.0")) + 4 * each, draw(st.integers(30, 32)))) for each in outside
    )
    boundaries = draw(st.booleans())
    count = Span(inside_nets, boundaries).count
    sharing = -(-count // Span(outside_nets).count) + draw(st.integers(0, 2))
    first = draw(st.integers(1, 2_000))
    last = first + sharing * draw(st.integers(1, 20)) + draw(st.integers(0, 30))
    reserved = (
        frozenset()
        if algorithm is Algorithm.INTERLEAVED
        else draw(st.frozensets(st.integers(first, last), max_size=5))
    )
    return DeterministicPlan(
        id="any",
        version=1,
        inside=inside_nets,
        outside=outside_nets,
        sharing=sharing,
        block_size=max(1, (last - first + 1 - len(reserved)) // sharing),
        first_port=first,
        last_port=last + len(reserved),
        reserved_ports=reserved,
        algorithm=algorithm,
        boundaries=boundaries,
    )


def ports_of(plan: DeterministicPlan, inside: IPv4Address) -> tuple[IPv4Address, list[int]]:
    ports = plan.forward(inside)
    assert isinstance(ports, Ports)
    every = range(ports.first_port, ports.last_port + 1, ports.step)
    return ports.outside, [port for port in every if port not in plan.reserved_ports]


@given(plans())
def test_forward_then_reverse_is_the_same_address(plan: DeterministicPlan) -> None:
    taken: dict[tuple[IPv4Address, int], IPv4Address] = {}
    for number in range(plan.inside_span.count):
        inside = plan.inside_span.address(number)
        assert plan.inside_span.number(inside) == number
        outside, ports = ports_of(plan, inside)
        assert len(ports) == plan.block_size
        for port in ports:
            assert plan.reverse(outside, port) == inside
            assert taken.setdefault((outside, port), inside) == inside  # nobody else has it


@given(plans())
def test_reverse_then_forward_holds_the_port(plan: DeterministicPlan) -> None:
    for number in range(plan.outside_span.count):
        outside = plan.outside_span.address(number)
        for port in range(plan.first_port - 1, plan.last_port + 2):
            inside = plan.reverse(outside, port)
            if isinstance(inside, OutOfPlan):
                continue
            assert ports_of(plan, inside)[0] == outside
            assert port in ports_of(plan, inside)[1]
