"""Device snippets, read back: each says what the plan says, or the device is refused with a reason."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from ipam.cgnat import Algorithm, DeterministicPlan
from ipam.cgnat_devices import CannotExpress, Device, Snippet, snippet
from ipam.cgnat_plan import rows


def plan(**changed: Any) -> DeterministicPlan:
    """Sixteen inside addresses behind four, as in the vendor's example: 64,512 / 4 = 16,128."""
    values: dict[str, Any] = {
        "id": "pop1",
        "version": 1,
        "inside": (IPv4Network("100.64.0.0/28"),),
        "outside": (IPv4Network("203.0.113.0/30"),),
        "sharing": 4,
        "block_size": 16_128,
    }
    return DeterministicPlan(**(values | changed))


def written(plan: DeterministicPlan, device: Device) -> Snippet:
    made = snippet(plan, device)
    assert isinstance(made, Snippet), made
    return made


def refused(plan: DeterministicPlan, device: Device) -> CannotExpress:
    made = snippet(plan, device)
    assert isinstance(made, CannotExpress), made
    return made


def test_junos_is_told_the_pool_the_hosts_and_the_block() -> None:
    made = written(plan(), Device.JUNOS)
    assert made.text == (
        "set services nat source pool cgn address 203.0.113.0/32 to 203.0.113.3/32\n"
        "set services nat source pool cgn port deterministic block-size 16128\n"
        "set services nat source pool cgn port deterministic host address 100.64.0.0/28\n"
        "set services nat source pool cgn port deterministic include-boundary-addresses\n"
        "set services nat source rule-set cgn match-direction input\n"
        "set services nat source rule-set cgn rule cgn match source-address 100.64.0.0/28\n"
        "set services nat source rule-set cgn rule cgn then source-nat pool cgn\n"
    )
    assert made.warnings == ()


def test_junos_with_more_blocks_than_hosts_is_warned_about() -> None:
    made = written(plan(inside=(IPv4Network("100.64.0.0/29"),), sharing=2, block_size=32_256), Device.JUNOS)
    assert made.warnings == ()
    boundaries = written(plan(boundaries=False), Device.JUNOS)
    assert "include-boundary-addresses" not in boundaries.text
    assert "CVE-2023-22409" in boundaries.warnings[0]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"block_size": 1_008}, "64 blocks of 1008 ports on an address, the plan has 4"),
        ({"first_port": 2_048, "block_size": 15_000}, "begin at port 1024"),
        ({"algorithm": Algorithm.STRIPED}, "one after the other"),
        ({"inside": (IPv4Network("100.64.0.0/29"), IPv4Network("100.64.1.0/29"))}, "one host address prefix"),
        ({"algorithm": Algorithm.INTERLEAVED}, "every n-th port"),
        ({"block_size": 16_000, "reserved_ports": frozenset({5_060})}, "single ports"),
    ],
)
def test_junos_is_refused_where_it_would_number_otherwise(changed: dict[str, Any], why: str) -> None:
    assert why in refused(plan(**changed), Device.JUNOS).why


def test_the_remedy_for_junos_makes_a_plan_that_it_can_do() -> None:
    remedy = refused(plan(block_size=1_008), Device.JUNOS).remedy
    blocks, ports = map(int, re.findall(r"(\d+) (?:blocks|ports)", remedy))
    assert isinstance(snippet(plan(sharing=blocks, block_size=ports), Device.JUNOS), Snippet)


_RULE = re.compile(
    r"add chain=cgn-\d+ action=src-nat protocol=(?:tcp|udp) src-address=(\S+) to-addresses=(\S+) "
    r"to-ports=(\d+)-(\d+)"
)


def test_routeros_has_a_rule_for_each_subscriber_behind_a_jump() -> None:
    wanted = plan(inside=(IPv4Network("100.64.0.0/29"), IPv4Network("100.64.1.0/29")))
    lines = written(wanted, Device.MIKROTIK).text.splitlines()
    assert lines[1] == "add chain=srcnat action=jump jump-target=cgn-1 src-address=100.64.0.0-100.64.0.3"
    assert lines[2] == (
        "add chain=cgn-1 action=src-nat protocol=tcp src-address=100.64.0.0 "
        "to-addresses=203.0.113.0 to-ports=1024-17151"
    )
    assert lines[3] == lines[2].replace("tcp", "udp")
    read = [found.groups() for line in lines if (found := _RULE.fullmatch(line))]
    said = [
        (str(row.inside), str(row.ports.outside), str(row.ports.first_port), str(row.ports.last_port))
        for row in rows(wanted)
        for _ in ("tcp", "udp")
    ]
    assert read == said


def test_a_jump_covers_what_is_behind_it_across_prefixes() -> None:
    wanted = plan(inside=(IPv4Network("100.64.0.0/31"), IPv4Network("100.64.1.0/31")), sharing=4)
    jumps = [line for line in written(wanted, Device.MIKROTIK).text.splitlines() if "jump-target" in line]
    assert [line.split("src-address=")[1] for line in jumps] == [
        "100.64.0.0-100.64.0.1",
        "100.64.1.0-100.64.1.1",
    ]


def test_routeros_does_a_striped_plan_with_three_netmap_rules_a_stripe() -> None:
    wanted = plan(algorithm=Algorithm.STRIPED)
    lines = written(wanted, Device.MIKROTIK).text.splitlines()
    assert len(lines) == 1 + 3 * 4
    assert lines[4] == (
        "add chain=srcnat action=netmap src-address=100.64.0.4/30 to-addresses=203.0.113.0/30 "
        "protocol=tcp to-ports=17152-33279"
    )
    for line in lines[1:]:  # what netmap does: the host bits stay
        if "to-ports" not in line:
            continue
        found = re.search(r"src-address=(\S+) to-addresses=(\S+) protocol=\S+ to-ports=(\d+)-(\d+)", line)
        assert found is not None
        for inside, outside in zip(IPv4Network(found[1]), IPv4Network(found[2]), strict=True):
            assert wanted.reverse(outside, int(found[3])) == inside
            assert wanted.reverse(outside, int(found[4])) == inside


def test_netmap_is_refused_where_the_prefixes_do_not_match() -> None:
    two = (IPv4Network("203.0.113.0/31"), IPv4Network("203.0.113.8/31"))
    assert refused(plan(algorithm=Algorithm.STRIPED, outside=two), Device.MIKROTIK).remedy
    wanted = plan(algorithm=Algorithm.STRIPED, boundaries=False)
    assert "same size" in refused(wanted, Device.MIKROTIK).why


def test_many_rules_are_warned_about() -> None:
    wanted = plan(
        inside=(IPv4Network("100.64.0.0/20"),),
        outside=(IPv4Network("203.0.113.0/24"),),
        sharing=16,
        block_size=4_032,
    )
    assert "48 netmap rules" in written(wanted, Device.MIKROTIK).warnings[0]


@pytest.mark.parametrize("name", ["", "two words", "9lives", "x;flush ruleset", "a" * 25])
def test_a_name_that_could_be_a_command_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        snippet(plan(), Device.NFTABLES, name)


def test_nftables_maps_each_subscriber_to_its_ports() -> None:
    text = written(replace(plan(), algorithm=Algorithm.STRIPED), Device.NFTABLES).text
    assert "100.64.0.5 : 203.0.113.1 . 17152-33279," in text
    assert text.count("- ") == 0
    assert len(re.findall(r"^\s+100\.64\.0\.\d+ : 203\.0\.113\.\d+ \. \d+-\d+,$", text, re.MULTILINE)) == 16
    assert IPv4Address("203.0.113.1") == plan().outside_span.address(1)


@pytest.mark.parametrize("device", [Device.MIKROTIK, Device.NFTABLES])
def test_a_plan_that_would_fill_the_device_is_refused(device: Device) -> None:
    wanted = plan(
        inside=(IPv4Network("100.64.0.0/14"),),
        outside=(IPv4Network("203.0.112.0/20"),),
        sharing=64,
        block_size=1_008,
    )
    assert "at least 262144 lines" in refused(wanted, device).why
