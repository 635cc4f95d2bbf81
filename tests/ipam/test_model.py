"""What operators define: units and ranges, the prefix tree, overlaps, selectors, layouts, the shuffled order."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.address import Malformed, Unit, read_number, read_span, read_unit, text
from ipam.kinds import Kind, Order, Space
from ipam.layout import NO_SLOT, layout_of
from ipam.model import Claim, Match, Pool, Reservation, Selector, faults, range_of
from ipam.overlap import check
from ipam.selection import Facts, Selectors
from ipam.selection import check as check_names
from ipam.shuffle import Shuffle
from ipam.tree import Prefix, PrefixTree
from tests.ipam.pools import TENANT, pool

ADDRESSES = {Space.IPV4: ipaddress.IPv4Address, Space.IPV6: ipaddress.IPv6Address}


@given(st.integers(0, 2**128 - 1))
def test_an_ipv6_address_reads_back_from_its_text(value: int) -> None:
    written = text(Space.IPV6, value)
    assert int(ipaddress.ip_address(written)) == value
    assert read_number(Space.IPV6, written) == value


@given(st.sampled_from(list(Space)), st.data())
def test_every_number_reads_back_from_its_text(space: Space, data: st.DataObject) -> None:
    bits = {Space.IPV4: 32, Space.IPV6: 128, Space.PORTS: 48}.get(space, 12)
    value = data.draw(st.integers(0, 2**bits - 1))
    assert read_number(space, text(space, value)) == value


@pytest.mark.parametrize(
    "given_text", ["10.0.0.1/24", "10.0.0", "", "10.0.0.9-10.0.0.1", "2001:db8::1", "10.0.0.1-"]
)
def test_text_that_is_no_range_is_refused(given_text: str) -> None:
    with pytest.raises(Malformed):
        read_span(Space.IPV4, given_text)


def test_a_range_must_be_whole_units() -> None:
    delegated = pool("delegated", Kind.PD)
    assert range_of("2001:db8::/32", delegated).slots == 2**24
    with pytest.raises(Malformed):
        range_of("2001:db8::/60", delegated)


@pytest.mark.parametrize(
    ("made", "slug"),
    [
        (pool("a", Kind.PD, unit_length=57), "pool-unit-nibble"),
        (pool("a", Kind.V6_PREFIX, unit_length=63), "pool-unit-nibble"),
        (pool("a", Kind.V6_PREFIX, unit_length=0), "pool-unit"),
        (pool("a", Kind.V4, unit_length=30), "pool-unit"),
        (pool("a", Kind.V4, hold_s=-1.0), "pool-times"),
        (pool("a", Kind.V4, lease_s=0.0), "pool-times"),
        (pool("a", Kind.V4, order=Order.SHUFFLED), "pool-key"),
        (pool("a", Kind.V4, fallbacks=("a",)), "pool-fallback"),
        (pool("a", Kind.CGN_BLOCK, unit_length=65000), "pool-ports"),
        (pool("a", Kind.V4, low_percent=1.0, critical_percent=2.0), "pool-thresholds"),
    ],
)
def test_a_wrong_pool_is_told_what_is_wrong(made: Pool, slug: str) -> None:
    assert [problem.slug for problem in faults(made)] == [slug]


# --- layouts ---


@given(st.sampled_from(["v4", "pd", "cgn"]), st.integers(0, 10_000))
def test_a_slot_and_its_unit_name_each_other(kind: str, slot: int) -> None:
    made = {
        "v4": pool("a", Kind.V4, "10.0.0.0/20", "10.2.0.0/16"),
        "pd": pool("a", Kind.PD, "2001:db8:f000::/44", "2001:db8::/40"),
        "cgn": pool("a", Kind.CGN_BLOCK, "203.0.113.0/24", "198.51.100.0/23"),
    }[kind]
    layout = layout_of(made)
    slot %= made.slots
    unit = layout.unit(slot)
    assert layout.slot(unit.value) == slot
    assert layout.slot(unit.last) == slot
    assert layout.slot(2**48 - 1 if kind == "cgn" else 5) == NO_SLOT


def test_port_blocks_count_ports_within_an_address_first() -> None:
    layout = layout_of(pool("nat", Kind.CGN_BLOCK, "203.0.113.0/31", first_port=1024, last_port=65535))
    assert str(layout.unit(0)) == "203.0.113.0:1024/2000"
    assert str(layout.unit(32)) == "203.0.113.1:1024/2000"  # 32 blocks of 2000 fit into 64512 ports
    assert layout.slot(read_number(Space.PORTS, "203.0.113.0:65535")) == NO_SLOT  # the rest of the ports


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=16), st.integers(1, 5000))
def test_a_shuffled_order_gives_out_every_slot_once(key: bytes, count: int) -> None:
    shuffle = Shuffle(key, count)
    slots = [shuffle.forward(number) for number in range(count)]
    assert sorted(slots) == list(range(count))
    assert [shuffle.reverse(slot) for slot in slots] == list(range(count))


def test_a_shuffled_order_is_not_the_sequence_and_depends_on_the_key() -> None:
    one, two = ([Shuffle(key, 1000).forward(i) for i in range(1000)] for key in (b"a", b"b"))
    assert one != two
    assert sum(after == before + 1 for before, after in pairwise(one)) < 20


# --- the tree ---


def prefix(given_text: str) -> Prefix:
    return Prefix(tenant=TENANT, vrf="", unit=read_unit(given_text))


@st.composite
def networks(draw: st.DrawFn) -> ipaddress.IPv4Network:
    """Networks close together, so that they nest."""
    length = draw(st.integers(24, 32))
    return ipaddress.ip_network((0x0A000000 + draw(st.integers(0, 255)), length), strict=False)


@given(st.lists(networks(), max_size=20), networks(), st.integers(24, 32))
def test_the_tree_agrees_with_looking_at_every_prefix(
    known: list[ipaddress.IPv4Network], asked: ipaddress.IPv4Network, length: int
) -> None:
    tree = PrefixTree(Space.IPV4)
    for index, each in enumerate(known):
        parents = [other for other in known[:index] if each != other and each.subnet_of(other)]
        parent = tree.add(prefix(str(each)))
        wanted = max(parents, key=lambda other: other.prefixlen, default=None)
        assert (None if parent is None else str(parent.unit)) == (None if wanted is None else _name(wanted))
    assert len(tree) == len(set(known))
    holders = [each for each in known if asked.network_address in each]
    match = tree.longest_match(int(asked.network_address))
    best = max(holders, key=lambda each: each.prefixlen, default=None)
    assert (None if match is None else str(match.unit)) == (None if best is None else _name(best))
    inside = {_name(each) for each in known if each != asked and each.subnet_of(asked)}
    assert {str(each.unit) for each in tree.under(read_unit(str(asked)))} == inside
    free = tree.next_available(read_unit(str(asked)), length)
    fits = [
        each
        for each in (asked.subnets(new_prefix=length) if length >= asked.prefixlen else ())
        if not any(other != asked and other.subnet_of(asked) and each.overlaps(other) for other in known)
    ]
    assert (None if free is None else str(free)) == (_name(fits[0]) if fits else None)


def _name(network: ipaddress.IPv4Network) -> str:
    return str(network) if network.prefixlen < 32 else str(network.network_address)


def test_removing_a_prefix_gives_its_children_to_its_parent() -> None:
    tree = PrefixTree(Space.IPV6, [prefix("2001:db8::/32"), prefix("2001:db8::/40"), prefix("2001:db8::/48")])
    assert tree.remove(read_unit("2001:db8::/40"))
    assert not tree.remove(read_unit("2001:db8::/40"))
    parent = tree.parent(read_unit("2001:db8::/48"))
    assert parent is not None
    assert str(parent.unit) == "2001:db8::/32"
    assert [str(each.unit) for each in tree.children(None)] == ["2001:db8::/32"]


# --- overlaps ---


def names(*problems: object) -> list[tuple[str, ...]]:
    return [problem.names for problem in problems]  # type: ignore[attr-defined]


def test_overlapping_pools_of_one_vrf_are_both_named() -> None:
    one, two = pool("one", Kind.V4, "10.0.0.0/24"), pool("two", Kind.V4, "10.0.0.128/25")
    assert names(*check([one, two])) == [("pool one", "pool two")]
    assert check([one, replace(two, vrf="other")]) == ()
    assert check([one, replace(two, tenant="other")]) == ()
    assert names(*check([pool("twice", Kind.V4, "10.0.0.0/24", "10.0.0.0/25")])) == [
        ("pool twice", "pool twice")
    ]


def test_a_delegated_prefix_and_an_address_pool_must_not_overlap() -> None:
    found = check([pool("pd", Kind.PD, "2001:db8::/40"), pool("na", Kind.V6_NA, "2001:db8::/96")])
    assert names(*found) == [("pool pd", "pool na")]


def test_outside_addresses_of_port_blocks_are_no_pool_of_addresses() -> None:
    found = check([pool("nat", Kind.CGN_BLOCK, "203.0.113.0/24"), pool("home", Kind.V4, "203.0.113.0/28")])
    assert names(*found) == [("pool nat", "pool home")]


@pytest.mark.parametrize(
    ("unit", "owner", "allowed"),
    [
        ("10.0.0.5", "ann", True),  # one slot of the pool, for her
        ("10.0.0.5", "", False),  # of nobody in particular
        ("10.0.0.8/29", "ann", False),  # a routed block is no slot
        ("10.0.1.5", "", True),  # outside
    ],
)
def test_a_fixed_address_may_be_a_slot_of_a_pool_but_a_routed_block_may_not(
    unit: str, owner: str, allowed: bool
) -> None:
    claim = Claim(tenant=TENANT, vrf="", unit=read_unit(unit), what="subscriber 7", owner=owner)
    assert (check([pool("home", Kind.V4, "10.0.0.0/24")], claims=[claim]) == ()) is allowed


def test_two_owners_of_one_address_are_both_named() -> None:
    unit = read_unit("192.0.2.9")
    reservation = Reservation(tenant=TENANT, vrf="", unit=unit, owner="ann")
    claim = Claim(tenant=TENANT, vrf="", unit=unit, what="subscriber bob", owner="bob")
    assert names(*check([], [reservation], [claim])) == [("reservation 192.0.2.9 of ann", "subscriber bob")]
    assert check([], [reservation], [replace(claim, owner="ann")]) == ()


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), max_size=8))
def test_every_pair_that_overlaps_is_found(spans: list[tuple[int, int]]) -> None:
    pools = [
        pool(f"p{index}", Kind.V4, f"10.0.0.{first}-10.0.0.{first + size - 1}")
        for index, (first, size) in enumerate(spans)
    ]
    wanted = {
        frozenset((f"pool p{i}", f"pool p{j}"))
        for i, (a, n) in enumerate(spans)
        for j, (b, m) in enumerate(spans)
        if i < j and a < b + m and b < a + n
    }
    assert {frozenset(each) for each in names(*check(pools))} == wanted


# --- selectors ---


def test_the_first_selector_to_name_a_kind_decides_it_and_nothing_is_chosen_otherwise() -> None:
    gold = Selector(
        name="gold",
        priority=10,
        match=Match(tenant=TENANT, plan="gold"),
        pools=((Kind.V4, ("public", "spare")),),
    )
    realm = Match(tenant=TENANT, attribute=("realm", "north"))
    north = Selector(
        name="north", priority=20, match=realm, pools=((Kind.V4, ("nat",)), (Kind.PD, ("delegated",)))
    )
    selectors = Selectors([north, gold])
    facts = Facts(tenant=TENANT, plan="gold", attributes={"realm": "north"})
    chosen = {each.kind: (each.pools, each.selector) for each in selectors.choose(facts)}
    assert chosen == {Kind.V4: (("public", "spare"), "gold"), Kind.PD: (("delegated",), "north")}
    assert selectors.choose(Facts(tenant=TENANT, plan="silver")) == ()
    assert selectors.choose(Facts(tenant="other", plan="gold")) == ()


def test_a_selector_that_names_a_missing_or_wrong_pool_is_reported() -> None:
    selector = Selector(
        name="s", priority=1, match=Match(tenant=TENANT), pools=((Kind.PD, ("home",)), (Kind.V4, ("gone",)))
    )
    home = pool("home", Kind.V4, "10.0.0.0/24", fallbacks=("lost",))
    slugs = [problem.slug for problem in check_names([selector], [home])]
    assert slugs == ["pool-of-other-kind", "pool-unknown", "pool-unknown"]


def test_units_print_as_people_write_them() -> None:
    assert str(Unit(Space.CVLAN, 42, 12)) == "42"
    assert str(read_unit("2001:0db8::/56")) == "2001:db8::/56"


@pytest.mark.parametrize("given", ["0-10", "4090-4095", "0", "4095"])
def test_vlan_ids_that_are_none_are_no_range_of_a_pool(given: str) -> None:
    with pytest.raises(Malformed, match="1 to 4094"):
        pool("x", Kind.SVLAN, given)
    assert pool("x", Kind.SVLAN, "1-4094").slots == 4094
