"""No address twice, whatever the order and however the data come: `ipam.overlap.check` says what is right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import combinations
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.replica.claims import Claims, fixed_of
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
PLANS = [{"kind": "plan", "id": name, "body": {}} for name in ("p1", "p2")]


def unique_objects(of: st.SearchStrategy[dict[str, Any]], most: int) -> st.SearchStrategy[list[dict[str, Any]]]:
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
