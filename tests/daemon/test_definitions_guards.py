"""Changes of pools that would have logins refused, or that do nothing: refused themselves, with what to do instead."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any

import pytest

from daemon.replica.index import Index
from daemon.replica.pools import PoolSpec
from daemon.sync.check import check
from daemon.sync.document import of_objects
from ipam.kinds import Kind, LeaseState
from ipam.lease import Exhausted
from radius.dictionary import shipped
from tests.daemon.conftest import Store
from tests.daemon.definitions_stage import (
    TENANT,
    Stage,
    fixed,
    names,
    play,
    pools_of,
    said,
    selector,
    slugs,
    spec,
)

DICTIONARY = shipped()


def _told(index: Index, *objects: dict[str, Any], whole: bool = False) -> list[str]:
    """Check a document; return its problems as sentences."""
    document = of_objects("feed", [{"kind": "tenant", "id": TENANT}, *objects])
    return [str(each) for each in check(document, index, DICTIONARY, replace=whole).problems]


def _pool(name: str, *ranges: str) -> dict[str, Any]:
    return {"kind": "pool", "id": name, "body": {"kind": "v4", "ranges": list(ranges)}}


# --- data against what the book has ----------------------------------------------------------------


def test_data_that_rename_a_pool_in_use_are_refused_and_taken_when_it_is_empty(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(spec("pa", "192.0.2.0/24"))
        stage.login("alice", "pa")
        told = _told(stage.index, _pool("pb", "192.0.2.0/24"), whole=True)
        assert len(told) == 1
        assert "pool pa" in told[0]
        assert "by that name" in told[0]
        assert _told(stage.index, _pool("pa", "192.0.2.0/25", "198.51.100.0/24"), whole=True) == []
        stage.logout("alice")
        stage.expire(100.0)
        assert _told(stage.index, _pool("pb", "192.0.2.0/24"), whole=True) == []

    play(store, scenario)


def test_a_free_range_goes_to_another_pool_within_one_load(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(spec("pa", "192.0.2.0/24"), spec("pc", "10.0.0.0/24", "10.0.1.0/24"))
        await stage.load(
            spec("pb", "192.0.2.0/24", "10.0.1.0/24"), spec("pc", "10.0.0.0/24"), gone=[(PoolSpec, "pa")]
        )
        assert stage.definitions.problems == ()
        assert stage.login("alice", "pb") == "192.0.2.0"
        assert set(pools_of(stage)) == {"pb", "pc"}

    play(store, scenario)


def test_a_range_in_use_does_not_go_to_another_pool(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(spec("pa", "192.0.2.0/25", "192.0.2.128/25"), spec("pb", "198.51.100.0/24"))
        stage.login("alice", "pa")
        moved = (_pool("pa", "192.0.2.128/25"), _pool("pb", "198.51.100.0/24", "192.0.2.0/25"))
        assert "pool pa" in _told(stage.index, *moved)[0]
        other = (_pool("pa", "192.0.2.0/25"), _pool("pb", "198.51.100.0/24", "192.0.2.128/25"))
        assert _told(stage.index, *other) == []

    play(store, scenario)


def test_data_that_cut_an_operators_pool_are_refused_with_both_names(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("big", "10.0.0.0/8")
        gina = {
            "kind": "subscriber",
            "id": "gina",
            "body": {"access_mode": "none", "routes": ["10.0.0.0/28"]},
        }
        told = _told(stage.index, gina)
        assert len(told) == 1
        assert "gina" in told[0]
        assert "pool exclude big 10.0.0.0/28" in told[0]
        assert "pool big of an operator" in _told(stage.index, _pool("new", "10.1.0.0/24"))[0]
        single = {
            "kind": "subscriber",
            "id": "s",
            "body": {"access_mode": "none", "ipv4_address": "10.0.0.1"},
        }
        assert _told(stage.index, single) == []
        await stage.definitions.pools.exclude(TENANT, "big", ["10.0.0.0/28"])
        assert _told(stage.index, gina) == []

    play(store, scenario)


# --- operators -------------------------------------------------------------------------------------


def test_a_pool_that_others_name_is_not_deleted(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("spare", "198.51.100.0/24")
        await stage.add("home", "192.0.2.0/24", fallbacks=("spare",))
        await stage.definitions.selectors.add(selector("all", "spare"))
        pools = stage.definitions.pools
        refused = await pools.delete(TENANT, "spare")
        assert slugs(refused) == ["pool-named"]
        assert set(names(refused)) == {"spare", "selector all", "pool home as a fallback"}
        assert stage.login("alice", "home") == "192.0.2.0"
        await stage.definitions.selectors.delete(TENANT, "all")
        assert await pools.delete(TENANT, "home") != ()
        await stage.definitions.selectors.add(selector("all", "home"))
        assert slugs(await pools.delete(TENANT, "home")) == ["pool-named"]

    play(store, scenario)


def test_fallbacks_that_lead_back_are_refused(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("c", "10.0.2.0/24")
        await stage.add("b", "10.0.1.0/24", fallbacks=("c",))
        await stage.add("a", "10.0.0.0/24", fallbacks=("b",))

        refused = await stage.definitions.pools.change(
            TENANT, "c", lambda known: replace(known, fallbacks=("a",))
        )
        assert slugs(refused) == ["pool-fallback"]
        assert "c -> a -> b -> c" in said(refused)

    play(store, scenario)


def test_what_would_change_nothing_says_so(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/25", "192.0.2.128/25")
        pools = stage.definitions.pools
        await pools.drain(TENANT, "home", ["192.0.2.128/25"])
        refused = await pools.drain(TENANT, "home", draining=False)
        assert "pool undrain home --range 192.0.2.128/25" in said(refused)
        assert slugs(await pools.exclude(TENANT, "home", ["192.0.2.250-192.0.3.5"])) == ["exclusion-outside"]
        refused = await pools.resize(TENANT, "home", add=["192.0.2.0/26"])
        assert said(refused).count("pool home") == 1
        assert "in its range 192.0.2.0/25" in said(refused)

    play(store, scenario)


@pytest.mark.parametrize("ranges", [["192.0.2.0/29"], ["192.0.2.0/30", "192.0.2.4/30"]])
def test_what_is_included_again_is_given_out_without_a_restart(store: Store, ranges: list[str]) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", *ranges, exclusions=((3221225984, 3221225990),))
        assert stage.login("alice", "home") == "192.0.2.7"
        assert isinstance(stage.take("bob", "home"), Exhausted)
        await stage.definitions.pools.include(TENANT, "home", ["192.0.2.4"])
        assert stage.login("bob", "home") == "192.0.2.4"
        assert isinstance(stage.take("carol", "home"), Exhausted)
        await stage.settle()
        await stage.restart()
        assert isinstance(stage.take("carol", "home"), Exhausted)
        assert stage.state("192.0.2.4") is LeaseState.BOUND

    play(store, scenario)


def test_a_whole_64_of_single_addresses_is_a_pool_of_its_first_units(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(spec("six", "2001:db8::/64", kind=Kind.V6_NA))
        assert stage.definitions.problems == ()
        assert stage.login("alice", "six", kind=Kind.V6_NA) == "2001:db8::"
        await stage.load(spec("six", "2001:db8::/64", kind=Kind.V6_NA, hold_s=40.0))
        assert len(pools_of(stage)["six"].ranges) == 1
        await stage.add("own", "2001:db8:1::/64", kind=Kind.V6_NA)
        done = await stage.definitions.pools.drain(TENANT, "own", ["2001:db8:1::/64"])
        assert not isinstance(done, tuple), done

    play(store, scenario)


# --- what stands for long --------------------------------------------------------------------------


def test_a_problem_that_stands_costs_no_look_at_every_claim(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("local", "192.0.2.0/24")
        people = [fixed(f"u{each}", f"10.0.0.{each}") for each in range(50)]
        await stage.load(spec("home", "192.0.2.128/25"), spec("ten", "10.0.0.0/24"), *people)
        assert [each.tenant for each in stage.events.newest_first(9, kind="definition-refused")] == [TENANT]
        steps = stage.definitions.claims._steps
        for _ in range(3):
            stage.expire(31.0)
            await stage.definitions.turn()
        assert [each.slug for each in stage.definitions.problems] == ["overlap"]
        assert stage.definitions.claims._steps - steps < 10

    play(store, scenario)


def test_a_subscriber_whose_block_cuts_a_pool_is_told_of(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("big", "2001:db8::/40", kind=Kind.PD)
        await stage.load(fixed("gina", "192.0.2.1", ipv6_delegated=IPv6Network("2001:db8::/60")))
        assert [each.slug for each in stage.definitions.problems] == ["claim-cuts-pool"]
        assert "pool big" in stage.definitions.problems[0].text
        await stage.load(fixed("gina", "192.0.2.1"))
        assert stage.definitions.problems == ()

    play(store, scenario)
