"""What a device does, held against a plan: tables of blocks, and connections as Linux lists them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.cgnat import Algorithm, DeterministicPlan
from ipam.cgnat_check import Difference, Seen, Unreadable, check, read_export
from ipam.cgnat_plan import rows

PLAN = DeterministicPlan(
    id="pop1",
    version=1,
    inside=(IPv4Network("100.64.0.0/28"),),
    outside=(IPv4Network("203.0.113.0/30"),),
    sharing=4,
    block_size=16_128,
)
# As `conntrack -L -n` of conntrack-tools 1.4 prints them; the addresses are those of the plan.
TCP = (
    "tcp      6 431999 ESTABLISHED src=100.64.0.5 dst=192.0.2.80 sport=51000 dport=443 "
    "src=192.0.2.80 dst=203.0.113.1 sport=443 dport=20000 [ASSURED] mark=0 use=1"
)
UDP = (
    "udp      17 29 src=100.64.0.1 dst=192.0.2.53 sport=40000 dport=53 [UNREPLIED] "
    "src=192.0.2.53 dst=203.0.113.0 sport=53 dport=1024 mark=0 use=1"
)
ICMP = (
    "icmp     1 29 src=100.64.0.1 dst=192.0.2.1 type=8 code=0 id=7 "
    "src=192.0.2.1 dst=203.0.113.0 type=0 code=0 id=7 mark=0 use=1"
)
OWN = (
    "udp      17 29 src=192.0.2.2 dst=192.0.2.53 sport=40000 dport=53 "
    "src=192.0.2.53 dst=192.0.2.2 sport=53 dport=40000 mark=0 use=1"
)


def seen(text: str) -> list[Seen]:
    found = list(read_export(text))
    assert [each for each in found if isinstance(each, Unreadable)] == []
    return [each for each in found if isinstance(each, Seen)]


def differences(text: str, plan: DeterministicPlan = PLAN) -> list[Difference]:
    return list(check(plan, seen(text)))


@pytest.mark.parametrize("algorithm", [Algorithm.SEQUENTIAL, Algorithm.STRIPED])
def test_the_whole_table_of_a_plan_is_right(algorithm: Algorithm) -> None:
    plan = replace(PLAN, algorithm=algorithm)
    table = "inside,outside,first port,last port\n# as exported\n" + "\n".join(
        f"{row.inside}, {row.ports.outside}, {row.ports.first_port}, {row.ports.last_port}"
        for row in rows(plan)
    )
    assert len(seen(table)) == 16
    assert differences(table, plan) == []


def test_blocks_that_are_not_the_plans_are_told() -> None:
    text = "100.64.0.0,203.0.113.1,1024,17151\n100.64.0.1,203.0.113.0,1024,17151\n192.0.2.1,203.0.113.0,1,2\n"
    found = differences(text)
    assert [(each.seen.line, each.why) for each in found] == [
        (1, "another outside address"),
        (2, "other ports"),
        (3, "the plan gives this inside address no ports"),
    ]
    assert found[1].expected == PLAN.forward(IPv4Address("100.64.0.1"))


def test_connections_are_read_from_conntrack() -> None:
    assert seen("\n".join((TCP, ICMP, OWN))) == [
        Seen(1, IPv4Address("100.64.0.5"), IPv4Address("203.0.113.1"), 20_000, 20_000, whole=False)
    ]
    assert differences(TCP) == []
    (wrong,) = differences(UDP)  # the ports of 100.64.0.0
    assert wrong.why == "a port outside of the block"


def test_a_connection_has_any_port_of_its_block() -> None:
    plan = replace(PLAN, algorithm=Algorithm.INTERLEAVED)
    assert differences("100.64.0.1;203.0.113.0;1029", plan) == []
    assert [each.why for each in differences("100.64.0.1;203.0.113.0;1028", plan)] == [
        "a port outside of the block"
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("1.2.3.4,5.6.7.8", "expected"),
        ("1.2.3.4,5.6.7,1,2", "no IPv4 address"),
        ("1.2.3.4,5.6.7.8,one,2", "no ports"),
        ("1.2.3.4,5.6.7.8,1,70000", "no ports"),
        ("1.2.3.4,5.6.7.8,9,1", "above"),
    ],
)
def test_a_line_that_cannot_be_read_is_told(line: str, why: str) -> None:
    (found,) = read_export(line)
    assert isinstance(found, Unreadable)
    assert why in found.why


def test_titles_are_only_titles_in_the_first_line() -> None:
    first, second = read_export("inside;outside;port\n100.64.0.1;203.0.113.0;1024\nend of file\n")
    assert isinstance(first, Seen)
    assert isinstance(second, Unreadable)


@given(st.text())
def test_no_export_stops_the_reader(text: str) -> None:
    for each in read_export(text):
        assert each.line >= 1
