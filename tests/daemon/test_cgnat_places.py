"""The outside addresses of a CGNAT are nobody else's: no pool's, no subscriber's, in whichever VRF."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from daemon.leases.cgnat_places import of_claims, of_pools
from ipam.address import read_unit
from ipam.cgnat import DeterministicPlan
from ipam.kinds import Kind
from ipam.model import Claim, Pool
from tests.ipam.pools import TENANT, pool


def plan(name: str, *outside: str, **changed: Any) -> tuple[str, DeterministicPlan]:
    spans = tuple(IPv4Network(each) for each in outside)
    numbers: dict[str, Any] = {"block_size": 1_000, "sharing": 4, "inside": (IPv4Network("100.64.0.0/30"),)}
    return TENANT, DeterministicPlan(id=name, version=1, outside=spans, **(numbers | changed))


def claim(unit: str, tenant: str = TENANT, vrf: str = "") -> Claim:
    return Claim(tenant=tenant, vrf=vrf, unit=read_unit(unit), what=f"route {unit}", owner="S1")


def said(found: Iterable[Any]) -> list[str]:
    return [each.text for each in found]


def blocks(name: str, outside: str) -> Pool:
    return pool(name, Kind.CGN_BLOCK, outside, unit_length=1_000, first_port=1_024, last_port=65_535)


@pytest.mark.parametrize(
    ("wanted", "shared"),
    [
        (pool("home", Kind.V4, "203.0.113.0/24"), "203.0.113.4"),
        (pool("home", Kind.V4, "203.0.113.7/32"), "203.0.113.7"),
        (replace(pool("home", Kind.V4, "203.0.113.0/24"), vrf="blue"), "203.0.113.4"),
        (pool("home", Kind.V4, "203.0.113.0/24", exclusions=((3405803780, 3405803781),)), "203.0.113.6"),
        (blocks("home", "203.0.113.6/31"), "203.0.113.6"),
    ],
)
def test_a_pool_that_gives_an_outside_address_out_is_told_with_both_names(wanted: Pool, shared: str) -> None:
    (problem,) = of_pools([plan("pop1", "198.51.100.0/30", "203.0.113.4/30")], [wanted])
    assert problem.names == ("CGNAT plan pop1 version 1", "pool home")
    assert f"both have {shared};" in problem.text


@pytest.mark.parametrize(
    "wanted",
    [
        pool("home", Kind.V4, "203.0.113.8/29"),
        pool(
            "home", Kind.V4, "203.0.113.0/24", exclusions=((3405803780, 3405803781), (3405803782, 3405803783))
        ),
        pool("inside", Kind.V4, "100.64.0.0/24"),
        pool("home", Kind.PD, "2001:db8::/48"),
    ],
)
def test_a_pool_beside_it_or_that_excludes_it_is_fine(wanted: Pool) -> None:
    assert said(of_pools([plan("pop1", "203.0.113.4/30")], [wanted])) == []
    assert (
        said(
            of_pools([("other", plan("pop1", "203.0.113.0/24")[1])], [pool("v4", Kind.V4, "203.0.113.0/24")])
        )
        == []
    )


def test_an_address_or_block_of_a_subscriber_there_is_told() -> None:
    plans = [
        plan("wide", "203.0.113.0/24", last_port=30_000),
        plan("small", "203.0.113.0/30", first_port=30_001),  # shares addresses by ports
        plan("far", "198.51.100.0/30"),
    ]
    there = ["203.0.113.1/32", "203.0.113.200/32", "203.0.112.0/23", "198.51.100.3/32"]
    beside = ["203.0.114.0/32", "198.51.100.4/32", "192.0.2.0/24", "2001:db8::/56"]
    found = list(of_claims(plans, map(claim, there + beside)))
    assert [each.names[1] for each in found] == [f"route {each}" for each in there]
    assert said(of_claims(plans, [claim("203.0.113.1/32", tenant="other")])) == []
    assert "in VRF blue" in said(of_claims(plans, [claim("203.0.113.1/32", vrf="blue")]))[0]
