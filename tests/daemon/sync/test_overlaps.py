"""No address twice, whatever the order and however the data come: `ipam.overlap.check` says what is right."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.replica.claims import Claims, Taken, fixed_of
from daemon.replica.index import Index
from daemon.replica.pools import PoolSpec
from daemon.replica.records import Plan, Record, Subscriber, Tenant
from daemon.sync.check import Checked, check
from daemon.sync.document import of_objects
from daemon.sync.records import to_record
from ipam import overlap
from ipam.address import Unit
from ipam.kinds import Space
from ipam.model import Claim, Pool, Problem, range_of
from radius.dictionary import shipped
from tests.daemon.sync.test_references import stored, told

Check = Callable[..., Checked]
DICTIONARY = shipped()
TENANT = {"kind": "tenant", "id": "demo"}


def put(index: Index, records: Iterable[Record], removed: Iterable[str] = ()) -> None:
    index.begin_load()
    for record in records:
        index.put(record)
    for name in removed:
        index.remove(Subscriber, "demo", name)
    index.end_load()


@dataclass
class Final:
    """What the replica has after a document, by kind."""

    pools: dict[str, PoolSpec] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    people: dict[str, Subscriber] = field(default_factory=dict)

    def take(self, records: Iterable[Record]) -> Final:
        made = Final(dict(self.pools), dict(self.plans), dict(self.people))
        for each in records:
            if isinstance(each, PoolSpec):
                made.pools[each.id] = each
            elif isinstance(each, Plan):
                made.plans[each.id] = each
            elif isinstance(each, Subscriber):
                made.people[each.id] = each
        return made

    def vrf(self, subscriber: Subscriber) -> str:
        own = None if subscriber.service is None else subscriber.service.vrf
        return own or (self.plans[subscriber.plan].service.vrf if subscriber.plan else None) or ""

    def claims(self) -> list[Claim]:
        return [
            Claim(tenant="demo", vrf=self.vrf(who), unit=each.unit, what=f"subscriber {who.id}", owner=who.id)
            for who in self.people.values()
            for each in fixed_of(who)
        ]

    def problems(self) -> list[Problem]:
        """What the oracle finds; a subscriber's own addresses may overlap, and exclusions are no pool."""
        whole = [_ranged(each, each.ranges) for each in self.pools.values()]
        open_ = [_ranged(each, _open(each)) for each in self.pools.values()]
        found = [each for each in overlap.check(open_, (), self.claims()) if each.names[0] != each.names[1]]
        of_claims = [each for each in found if any(name.startswith("subscriber") for name in each.names)]
        return [*overlap.check(whole), *of_claims]


def _ranged(spec: PoolSpec, texts: Iterable[str]) -> Pool:
    parts = tuple(range_of(text, spec.pool) for text in texts)
    return Pool(
        tenant="demo",
        vrf=spec.pool.vrf,
        name=spec.id,
        kind=spec.pool.kind,
        unit_length=spec.pool.unit_length,
        ranges=parts,
    )


def _open(spec: PoolSpec) -> list[str]:
    """The ranges without what is excluded. Exclusions of these tests are whole ranges of a pool."""
    return [text for text in spec.ranges if text not in spec.exclusions]


v4_blocks = st.integers(28, 32).flatmap(
    lambda length: st.integers(0, (1 << (length - 26)) - 1).map(
        lambda n: f"10.0.0.{n << (32 - length)}/{length}"
    )
)
v6_blocks = st.integers(54, 58).flatmap(
    lambda length: st.integers(0, (1 << (length - 52)) - 1).map(
        lambda n: f"2001:db8:0:{n << (64 - length):x}::/{length}"
    )
)


def _apart(blocks: list[str]) -> bool:
    networks = [ip_network(each) for each in blocks]
    return not any(one.overlaps(two) for one, two in combinations(networks, 2))


vrfs = st.sampled_from([None, "red"])


@st.composite
def pool_objects(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["v4", "pd", "cgn-block"]))
    blocks = v6_blocks.filter(lambda text: int(text[-2:]) <= 56) if kind == "pd" else v4_blocks
    ranges = draw(st.lists(blocks, min_size=1, max_size=3, unique=True).filter(_apart))
    body: dict[str, Any] = {"kind": kind, "ranges": ranges, "vrf": draw(vrfs)}
    body["exclusions"] = [each for each in ranges if draw(st.booleans()) and draw(st.booleans())]
    if kind == "cgn-block":
        body["unit_length"] = 256
    return {"kind": "pool", "id": draw(st.sampled_from("abc")), "body": body}


@st.composite
def person_objects(draw: st.DrawFn) -> dict[str, Any]:
    body: dict[str, Any] = {"access_mode": "none"}
    if draw(st.booleans()):
        body["ipv4_address"] = f"10.0.0.{draw(st.integers(1, 63))}"
    if draw(st.booleans()):
        body["delegated_prefix"] = draw(v6_blocks)
    body["routes"] = draw(st.lists(v4_blocks | v6_blocks, max_size=2))
    body["plan"] = draw(st.sampled_from([None, "p1", "p2"]))
    if draw(st.integers(0, 3)) == 0:
        body["service"] = {"vrf": "red"}
    return {"kind": "subscriber", "id": draw(st.sampled_from("stuvwx")), "body": body}


plan_objects = st.builds(
    lambda name, vrf: {"kind": "plan", "id": name, "body": {"vrf": vrf}}, st.sampled_from(["p1", "p2"]), vrfs
)
PLANS: list[dict[str, Any]] = [{"kind": "plan", "id": name, "body": {}} for name in ("p1", "p2")]


def unique_objects(
    of: st.SearchStrategy[dict[str, Any]], most: int
) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(of, max_size=most, unique_by=lambda each: (each["kind"], each["id"]))


documents = unique_objects(pool_objects() | person_objects() | person_objects() | plan_objects, 9)


def brute(final: Final) -> set[tuple[str, Unit, str]]:
    return {(each.vrf, each.unit, each.owner) for each in final.claims()}


def held(claims: Claims) -> set[tuple[str, Unit, str]]:
    everything = {Space.IPV4: (1 << 32) - 1, Space.IPV6: (1 << 128) - 1}
    return {
        (vrf, *taken)
        for vrf in ("", "red")
        for space, last in everything.items()
        for taken in claims.overlapping(vrf, space, 0, last)
    }


@given(st.lists(documents, min_size=1, max_size=3))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_taken_never_overlaps_and_what_fits_is_never_refused(
    loads: list[list[dict[str, Any]]],
) -> None:
    index, final = Index(), Final()
    for number, objects in enumerate(loads):
        given_ = [TENANT, *objects] if number else [TENANT, *_with_plans(objects)]
        done = check(of_objects("feed", given_), index, DICTIONARY)
        everything = final.take(_record(given_, each["kind"], each["id"]) for each in given_)
        after = final.take(done.records)
        assert after.problems() == []
        if not everything.problems():
            assert done.problems == ()
        if number == 0:  # nobody is refused because of somebody who is refused
            for problem in done.problems:
                refused = _record(given_, problem.kind, problem.id)
                assert after.take([refused]).problems() != []
        put(index, sorted(done.records, key=lambda each: not isinstance(each, Tenant)))
        final = after
        assert held(index.tenants["demo"].claims) == brute(final)


def _with_plans(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    named = {each["id"] for each in objects if each["kind"] == "plan"}
    return [*(each for each in PLANS if each["id"] not in named), *objects]


def _record(objects: list[dict[str, Any]], kind: str, key: str) -> Record:
    (each,) = (each for each in objects if (each["kind"], each["id"]) == (kind, key))
    return to_record(kind, "demo", key, each.get("body", {}), DICTIONARY)


POOL = "- {kind: pool, id: home, body: {kind: v4, ranges: 10.0.0.0/24, exclusions: 10.0.0.240/28}}\n"
BASE = "- {kind: tenant, id: demo}\n- {kind: plan, id: red, body: {vrf: red}}\n"


def person(name: str, more: str) -> str:
    return f"- {{kind: subscriber, id: {name}, body: {{access_mode: none, {more}}}}}\n"


@pytest.mark.parametrize(
    "fits",
    [
        "ipv4_address: 10.0.0.7",
        "routes: 10.0.0.7/32",
        "routes: 10.0.0.248/29",
        "routes: 10.0.1.0/24",
        "plan: red, routes: 10.0.0.0/29",
        "service: {vrf: blue}, routes: 10.0.0.0/29",
        "routes: 0.0.0.0/0",
    ],
)
def test_an_address_may_be_one_slot_of_a_pool_or_excluded_or_elsewhere(checked: Check, fits: str) -> None:
    assert checked(BASE + POOL + person("alice", fits)).problems == ()


def test_a_block_that_cuts_into_a_pool_is_refused_with_both_names_and_what_to_do(checked: Check) -> None:
    (problem,) = checked(BASE + POOL + person("alice", "routes: [10.0.1.0/24, 10.0.0.8/29]")).problems
    assert (problem.slug, problem.id, problem.path) == ("overlap", "alice", "items[3].body.routes[1]")
    assert problem.got == "10.0.0.8/29, which cuts into pool home in VRF default"
    assert problem.hint == "add `exclusions: [10.0.0.8/29]` to pool home, or choose other addresses"


def test_two_subscribers_cannot_have_one_address_however_it_is_written(checked: Check) -> None:
    text = BASE + person("alice", "ipv4_address: 203.0.113.5") + person("bob", "routes: 203.0.113.5/32")
    (problem,) = checked(text).problems
    assert (problem.slug, problem.id, problem.got) == (
        "taken",
        "bob",
        "203.0.113.5, which subscriber alice has",
    )
    (problem,) = checked(text.replace("113.5/32", "113.0/29")).problems
    assert problem.got == "203.0.113.0/29, which overlaps 203.0.113.5 of subscriber alice in VRF default"
    apart = text.replace("routes: ", "plan: red, routes: ")
    assert checked(apart).problems == ()
    (problem,) = checked(apart.replace("none, ipv4", "none, plan: red, ipv4")).problems
    assert problem.got == "203.0.113.5, which subscriber alice has in VRF red"


def test_a_pool_is_refused_beside_another_and_over_what_somebody_has(checked: Check) -> None:
    index = stored(checked, BASE + POOL + person("alice", "routes: 10.0.2.0/29"))
    new = "- {kind: tenant, id: demo}\n- {kind: pool, id: new, body: {kind: v4, ranges: [10.9.0.0/24, RANGE]}}\n"
    (problem,) = checked(new.replace("RANGE", "10.0.0.128-10.0.1.9"), index=index).problems
    assert (problem.id, problem.path) == ("new", "items[1].body.ranges[1]")
    assert problem.got == "10.0.0.128-10.0.1.9, which overlaps pool home in VRF default"
    (problem,) = checked(new.replace("RANGE", "10.0.2.0/24"), index=index).problems
    assert problem.got == "10.0.2.0/24, into which 10.0.2.0/29 of subscriber alice cuts in VRF default"
    gone = person("alice", "routes: 10.0.3.0/29")
    assert checked(new.replace("RANGE", "10.0.2.0/24") + gone, index=index).problems == ()
    assert checked(new.replace("RANGE", "10.0.2.0/24"), index=index, replace=True).problems == ()


def test_what_a_refused_object_keeps_is_in_the_way_of_others(checked: Check) -> None:
    index = stored(checked, BASE + POOL + person("alice", "ipv4_address: 203.0.113.5"))
    text = BASE + person("bob", "ipv4_address: 203.0.113.5")
    assert checked(text + person("alice", "ipv4_address: 203.0.113.6"), index=index).problems == ()
    done = checked(text + person("alice", "routes: 10.0.0.0/29"), index=index)
    assert [(each.id, each.slug) for each in done.problems] == [("alice", "overlap"), ("bob", "taken")]
    done = checked(text + person("alice", "ipv4_address: 1"), index=index)
    assert [(each.id, each.slug) for each in done.problems] == [("alice", "bad-address"), ("bob", "taken")]


def test_a_plan_cannot_take_its_subscribers_where_their_addresses_are_not_free(checked: Check) -> None:
    base = BASE + "- {kind: plan, id: home, body: {}}\n"
    people = person("alice", "plan: home, ipv4_address: 203.0.113.5") + person(
        "bob", "plan: red, ipv4_address: 203.0.113.5"
    )
    index = stored(checked, base + people)
    moved = base.replace("home, body: {}", "home, body: {vrf: red}")
    (problem,) = checked(moved, index=index).problems
    assert (problem.id, problem.slug, problem.path) == ("home", "overlap", "items[2].body.vrf")
    assert problem.got == (
        "a VRF in which a subscriber of this plan would have 203.0.113.5, which subscriber bob has in VRF red"
    )
    # The plan stays where it is, and so its subscribers must fit in there.
    carol = person("carol", "plan: home, ipv4_address: 203.0.113.9")
    dave = person("dave", "ipv4_address: 203.0.113.9")
    assert [each.id for each in checked(moved + carol + dave, index=index).problems] == ["home", "dave"]
    assert checked(moved + person("bob", "plan: red"), index=index).problems == ()


def test_claims_follow_a_plan_to_its_vrf_once_its_load_is_whole(checked: Check) -> None:
    index = stored(checked, BASE + person("alice", "plan: red, ipv4_address: 203.0.113.5"))
    demo = index.tenants["demo"]
    found = Taken(Unit(Space.IPV4, 0xCB007105, 32), "alice")
    assert list(demo.claims.overlapping("red", Space.IPV4, 0, 1 << 32)) == [found]
    put(index, checked(BASE.replace("vrf: red", "vrf: blue")).records)
    assert list(demo.claims.overlapping("red", Space.IPV4, 0, 1 << 32)) == []
    assert list(demo.claims.overlapping("blue", Space.IPV4, 0, 1 << 32)) == [found]
    put(index, (), ["alice"])
    assert list(demo.claims.overlapping("blue", Space.IPV4, 0, 1 << 32)) == []


# -- pools and selectors by themselves


@pytest.mark.parametrize(
    ("body", "path", "slug", "expected"),
    [
        ("kind: v4", "body", "missing", "`ranges`"),
        ("kind: v4, ranges: []", "body.ranges", "missing", "at least one range"),
        ("kind: v4, ranges: 2001:db8::/64", "body.ranges[0]", "bad-range", "an IPv4 prefix"),
        ("kind: pd, ranges: 2001:db8::/60", "body.ranges[0]", "bad-range", "a whole number of /56 units"),
        ("kind: svlan, ranges: 0-9", "body.ranges[0]", "bad-range", "VLAN ids from 1 to 4094"),
        ("kind: v4, ranges: [10.0.0.0/24, 10.0.0.9]", "body.ranges[1]", "overlap", "ranges that do not"),
        ("kind: v4, ranges: 10.0.0.0/24, exclusions: x", "body.exclusions[0]", "bad-range", "an IPv4 prefix"),
        ("kind: cgn-block, ranges: 192.0.2.0/28", "body", "missing", "`unit_length`: how many ports"),
        ("kind: pd, ranges: 2001:db8::/40, unit_length: 57", "body.unit_length", "pool-unit-nibble", "/57"),
        ("kind: v4, ranges: 10.0.0.0/24, low_percent: 1", "body.critical_percent", "pool-thresholds", "0 <="),
        ("kind: v4, ranges: 10.0.0.0/24, fallbacks: home", "body.fallbacks", "pool-fallback", "own fallback"),
        ("kind: v4, ranges: 10.0.0.0/24, hold_s: -1", "body.hold_s", "bad-duration", "a time such as"),
        ("kind: fixed, ranges: 10.0.0.0/24", "body.kind", "unknown-word", "one of v4"),
    ],
)
def test_what_is_wrong_with_a_pool_is_told(
    checked: Check, body: str, path: str, slug: str, expected: str
) -> None:
    text = BASE + f"- {{kind: pool, id: home, body: {{{body}}}}}\n"
    (problem,) = checked(text).problems
    assert (problem.path, problem.slug) == (f"items[2].{path}", slug)
    assert expected in problem.expected


@pytest.mark.parametrize(
    ("body", "path", "slug", "hint"),
    [
        ("pools: {v4: hom}", "pools.v4[0]", "unknown-pool", "did you mean home?"),
        ("pools: {pd: home}", "pools.pd[0]", "pool-of-other-kind", ""),
        ("pools: {cgn-block: home}", "pools.cgn-block", "no-attribute", "RADIUS has no attribute"),
        ("pools: {}", "pools", "missing", ""),
        ("pools: {v4: home}, match: {plan: rde}", "match.plan", "unknown-plan", "did you mean red?"),
        (
            "pools: {v4: home}, match: {attribute: {name: Nas-Prt-Type, value: x}}",
            "match.attribute.name",
            "unknown-attribute",
            "did you mean NAS-Port-Type",
        ),
        (
            "pools: {v4: home}, match: {attribute: {name: NAS-Port-Type, value: x}}",
            "match.attribute.value",
            "unencodable",
            "NAS-Port-Type",
        ),
        (
            "pools: {v4: home}, match: {attribute: {name: User-Password, value: x}}",
            "match.attribute.name",
            "attribute-not-allowed",
            "",
        ),
    ],
)
def test_what_is_wrong_with_a_selector_is_told(
    checked: Check, body: str, path: str, slug: str, hint: str
) -> None:
    text = BASE + POOL + f"- {{kind: selector, id: s, body: {{{body}}}}}\n"
    (problem,) = checked(text).problems
    assert (problem.path, problem.slug) == (f"items[3].body.{path}", slug)
    assert problem.hint.startswith(hint)


def test_a_selector_has_its_attribute_as_the_dictionary_writes_it(record: Callable[..., Any]) -> None:
    body = {"match": {"attribute": {"name": "nas-port-type", "value": 15}}, "pools": {"v4": "home"}}
    assert record("selector", body).selector.match.attribute == ("NAS-Port-Type", "Ethernet")


def test_a_selector_may_name_a_nas_and_a_site_that_come_later(checked: Check) -> None:
    match = "match: {nas: bng-9, site: north}"
    text = BASE + POOL + f"- {{kind: selector, id: s, body: {{{match}, pools: {{v4: home}}}}}}\n"
    done = checked(text)
    assert done.problems == ()
    assert told(done.warnings) == [
        (4, "unknown-nas", "items[3].body.match.nas"),
        (4, "unknown-site", "items[3].body.match.site"),
    ]


@pytest.mark.parametrize(
    ("kind", "ranges", "slots"),
    [("v4", "10.0.0.0/8", 1 << 24), ("pd", "2001:db8::/32", 1 << 24), ("v4", "192.0.2.10-192.0.2.99", 90)],
)
def test_a_pool_has_all_its_slots_at_once(
    record: Callable[..., Any], kind: str, ranges: str, slots: int
) -> None:
    spec = record("pool", {"kind": kind, "ranges": ranges})
    assert sum(part.slots for part in spec.parts()) == slots
    assert spec.ranges == (ranges,)


# -- what it costs


def test_a_claim_takes_less_than_200_octets() -> None:
    claims, owners = Claims(), [f"s{n}" for n in range(30_000)]
    tracemalloc.start()
    try:
        for n, owner in enumerate(owners):
            claims.put("", Unit(Space.IPV4, n * 7919 % (1 << 24), 32), owner)
            claims.put("", Unit(Space.IPV6, (0x20010DB8 << 96) + (n << 72), 56), owner)
        assert tracemalloc.get_traced_memory()[0] < 200 * 2 * len(owners)
    finally:
        tracemalloc.stop()


class Unswept(dict[str, Subscriber]):
    """Subscribers that may be looked up, and not gone through."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all subscribers are gone through")

    def values(self) -> Any:
        return iter(self)


def test_a_small_load_does_not_go_through_all_subscribers(checked: Check) -> None:
    index = stored(checked, BASE + POOL + person("alice", "ipv4_address: 203.0.113.5"))
    demo = index.tenants["demo"]
    demo.subscribers = Unswept(demo.subscribers)
    pool = POOL.replace("10.0.0.240/28", "10.0.0.0/28")
    done = checked(BASE + pool + person("bob", "ipv4_address: 203.0.113.5, routes: 10.0.0.0/29"), index=index)
    assert [(each.id, each.slug) for each in done.problems] == [("bob", "taken")]
    with pytest.raises(AssertionError, match="gone through"):
        checked(BASE.replace("vrf: red", "vrf: blue"), index=index)
