"""Pools that operators define: stored first, then in force, and no lease is lost by a change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from daemon.errors import StoreUnavailable
from daemon.replica.records import Subscriber
from ipam.address import read_unit
from ipam.kinds import Kind, LeaseState, Order, PoolState
from ipam.lease import Exhausted
from ipam.model import Pool, Reservation
from tests.daemon.conftest import Store
from tests.daemon.definitions_stage import (
    TENANT,
    Stage,
    fixed,
    names,
    play,
    pool,
    pools_of,
    said,
    slugs,
)

# --- adding ----------------------------------------------------------------------------------------


def test_a_pool_is_leased_from_as_soon_as_it_is_added_and_after_a_restart(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/24")
        assert stage.login("alice", "home") == "192.0.2.0"
        await stage.settle()
        await stage.restart()
        assert stage.login("alice", "home") == "192.0.2.0"
        assert stage.login("bob", "home") == "192.0.2.1"

    play(store, scenario)


def test_a_slash_8_and_a_slash_32_are_pools_at_once(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("ten", "10.0.0.0/8")
        await stage.add("pd", "2001:db8::/32", kind=Kind.PD)
        assert stage.login("alice", "pd", kind=Kind.PD) == "2001:db8::/56"

    play(store, scenario)


def test_pools_that_overlap_are_refused_with_both_names(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/24")
        refused = await stage.definitions.pools.add(pool("office"), ["192.0.2.128/25"])
        assert slugs(refused) == ["overlap"]
        assert set(names(refused)) == {"pool home", "pool office"}
        assert stage.definitions.pools.find(TENANT, "office") is None
        await stage.add("elsewhere", "192.0.2.0/24", vrf="office")  # another space of addresses

    play(store, scenario)


def test_a_pool_over_somebodys_routed_block_is_refused_and_names_the_subscriber(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(_with_route("dave", "192.0.2.64/29"))
        refused = await stage.definitions.pools.add(pool("home"), ["192.0.2.0/24"])
        assert slugs(refused) == ["overlap"]
        assert "DAVE" in said(refused)
        await stage.add("home", "192.0.2.0/24", exclusions=((0xC0000240, 0xC0000247),))

    play(store, scenario)


def _with_route(name: str, block: str) -> Subscriber:
    from ipaddress import ip_network

    from radius.grant import Route
    from tests.daemon.stack import subscriber

    return subscriber(name, None, routes=(Route(prefix=ip_network(block)),))


def test_a_pool_whose_name_is_taken_is_refused(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/24")
        assert slugs(await stage.definitions.pools.add(pool("home"), ["198.51.100.0/24"])) == ["pool-exists"]

    play(store, scenario)


@pytest.mark.parametrize(
    ("settings", "slug"),
    [
        ({"fallbacks": ("nowhere",)}, "pool-unknown"),
        ({"fallbacks": ("six",)}, "pool-of-other-kind"),
        ({"lease_s": 0.0}, "pool-times"),
        ({"name": "fixed::edge"}, "pool-name"),
    ],
)
def test_what_is_wrong_with_a_pool_by_itself_is_said(
    store: Store, settings: dict[str, Any], slug: str
) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("six", "2001:db8::/48", kind=Kind.PD)
        wanted = replace(pool("home"), **settings)
        assert slugs(await stage.definitions.pools.add(wanted, ["192.0.2.0/24"])) == [slug]

    play(store, scenario)


def test_a_shuffled_pool_gives_out_in_the_same_order_after_a_restart(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/24", order=Order.SHUFFLED)
        first = [stage.login(f"u{each}", "home") for each in range(5)]
        await stage.settle()
        await stage.restart()
        assert [stage.login(f"u{each}", "home") for each in range(5)] == first
        assert stage.login("new", "home") not in first

    play(store, scenario)


# --- the disk --------------------------------------------------------------------------------------


def test_while_the_store_refuses_nothing_changes_in_memory(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/24")
        before = pools_of(stage)
        pools = stage.definitions.pools
        async with stage.full_disk("ipam_range"):
            changes: tuple[Callable[[], Awaitable[object]], ...] = (
                lambda: pools.add(pool("office"), ["198.51.100.0/24"]),
                lambda: pools.resize(TENANT, "home", ["198.51.100.0/24"]),
                lambda: pools.delete(TENANT, "home"),
                lambda: pools.exclude(TENANT, "home", ["192.0.2.7"]),
            )
            for change in changes:
                with pytest.raises(StoreUnavailable):
                    await change()
                assert {each: found.ranges for each, found in pools_of(stage).items()} == {
                    each: found.ranges for each, found in before.items()
                }
        async with stage.full_disk("ipam_reservation"):
            with pytest.raises(StoreUnavailable):
                await stage.definitions.reservations.reserve(_reservation("192.0.2.9", "alice"))
        assert stage.state("192.0.2.9") is LeaseState.FREE
        assert stage.addresses.register.set_aside == {}
        await stage.definitions.turn()
        assert stage.login("alice", "home") == "192.0.2.0"

    play(store, scenario)


def test_a_change_whose_caller_gives_up_is_made_as_a_whole_all_the_same(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        asking = asyncio.ensure_future(stage.definitions.pools.add(pool("home"), ["192.0.2.0/24"]))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(*stage.tasks)
        assert stage.login("alice", "home") == "192.0.2.0"

    play(store, scenario)


# --- growing, shrinking, draining ------------------------------------------------------------------


def test_a_pool_grows_while_it_is_full(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/31")
        stage.login("alice", "home")
        stage.login("bob", "home")
        assert isinstance(stage.take("carol", "home"), Exhausted)
        await stage.definitions.pools.resize(TENANT, "home", ["198.51.100.0/24"])
        assert stage.login("carol", "home") == "198.51.100.0"

    play(store, scenario)


def test_a_range_that_is_used_drains_and_goes_when_it_is_empty(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/24", "198.51.100.0/24")
        assert stage.login("alice", "home") == "192.0.2.0"
        await stage.settle()
        changed = await stage.definitions.pools.resize(TENANT, "home", remove=["192.0.2.0/24"])
        assert isinstance(changed, Pool)
        assert [each.draining for each in changed.ranges] == [True, False]
        assert stage.login("bob", "home") == "198.51.100.0"
        await stage.settle()
        await stage.restart()  # the wish to remove it outlives a restart
        assert stage.login("alice", "home") == "192.0.2.0"
        stage.logout("alice")
        stage.expire(100.0)
        await stage.settle()
        await stage.definitions.turn()
        assert [each.first_slot for each in pools_of(stage)["home"].ranges] == [256]
        assert stage.login("alice", "home") == "198.51.100.1"

    play(store, scenario)


def test_an_unused_range_goes_at_once_and_its_numbers_may_be_anothers(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/24", "198.51.100.0/24")
        stage.login("x", "home")
        stage.logout("x")
        stage.expire(100.0)
        await stage.settle()
        await stage.definitions.pools.resize(TENANT, "home", remove=["192.0.2.0/24"])
        await stage.add("office", "192.0.2.0/24")
        assert stage.login("alice", "office") == "192.0.2.0"

    play(store, scenario)


def test_slots_of_a_range_that_has_gone_are_not_taken_for_those_of_a_later_one(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        pools = stage.definitions.pools
        await stage.add("home", "192.0.2.0/31", "198.51.100.0/24")
        for each in ("alice", "bob", "carol"):
            stage.login(each, "home")
        stage.logout("carol")  # who had 198.51.100.0
        stage.expire(100.0)
        await stage.settle()
        await pools.resize(TENANT, "home", remove=["198.51.100.0/24"])
        await pools.resize(TENANT, "home", ["203.0.113.0/24"])
        await stage.restart()
        assert stage.state("203.0.113.0") is LeaseState.FREE
        assert stage.login("dave", "home") == "203.0.113.0"

    play(store, scenario)


def test_a_drained_pool_begins_no_lease_until_it_is_undrained(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/24")
        stage.login("alice", "home")
        await stage.definitions.pools.drain(TENANT, "home")
        assert isinstance(stage.take("bob", "home"), Exhausted)
        assert stage.login("alice", "home") == "192.0.2.0"
        await stage.definitions.pools.drain(TENANT, "home", draining=False)
        assert stage.login("bob", "home") == "192.0.2.1"

    play(store, scenario)


def test_a_range_that_the_pool_has_not_is_refused_and_the_ranges_are_named(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/24")
        refused = await stage.definitions.pools.resize(TENANT, "home", remove=["192.0.2.0/25"])
        assert slugs(refused) == ["range-unknown"]
        assert "192.0.2.0/24" in said(refused)

    play(store, scenario)


def test_excluded_addresses_are_given_to_nobody_and_leases_of_them_stay(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/29")
        assert stage.login("alice", "home") == "192.0.2.0"
        await stage.definitions.pools.exclude(TENANT, "home", ["192.0.2.0-192.0.2.2"])
        assert stage.state("192.0.2.0") is LeaseState.BOUND
        assert stage.login("bob", "home") == "192.0.2.3"
        stage.logout("alice")
        assert stage.login("alice", "home") == "192.0.2.4"
        stage.expire(100.0)
        assert stage.state("192.0.2.0") is LeaseState.DISABLED

    play(store, scenario)


def test_only_an_unused_pool_is_deleted(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/24")
        stage.login("alice", "home")
        assert slugs(await stage.definitions.pools.delete(TENANT, "home")) == ["pool-busy"]
        assert pools_of(stage)["home"].state is PoolState.ACTIVE
        stage.logout("alice")
        stage.expire(100.0)
        await stage.settle()
        assert await stage.definitions.pools.delete(TENANT, "home") == ()
        assert pools_of(stage) == {}
        assert slugs(await stage.definitions.pools.delete(TENANT, "home")) == ["no-such-pool"]
        await stage.add("home", "198.51.100.0/24")
        assert stage.login("alice", "home") == "198.51.100.0"

    play(store, scenario)


def test_settings_change_while_leases_go_on(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/24")
        stage.login("alice", "home")
        await stage.definitions.pools.change(TENANT, "home", lambda each: replace(each, hold_s=7200.0))
        stage.logout("alice")
        stage.expire(3600.0)
        assert stage.state("192.0.2.0") is LeaseState.HELD
        refused = await stage.definitions.pools.change(TENANT, "home", lambda each: replace(each, vrf="x"))
        assert slugs(refused) == ["pool-lasting"]

    play(store, scenario)


# --- reservations ----------------------------------------------------------------------------------


def _reservation(unit: str, owner: str, name: str = "") -> Reservation:
    return Reservation(tenant=TENANT, vrf="", unit=read_unit(unit), owner=owner, name=name)


def test_a_reserved_address_is_its_owners_alone(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/30")
        reservations = stage.definitions.reservations
        assert isinstance(await reservations.reserve(_reservation("192.0.2.0", "bob")), Reservation)
        assert stage.login("alice", "home") == "192.0.2.1"
        await stage.restart()
        assert stage.login("bob", "home") == "192.0.2.0"
        refused = await stage.definitions.reservations.reserve(_reservation("192.0.2.0", "alice"))
        assert slugs(refused) == ["reservation-taken"]
        assert "bob" in said(refused)
        second = await stage.definitions.reservations.reserve(_reservation("192.0.2.3", "bob"))
        assert slugs(second) == ["reservation-second"]
        await stage.definitions.reservations.unreserve(TENANT, "", read_unit("192.0.2.0"))
        assert stage.state("192.0.2.0") is LeaseState.BOUND

    play(store, scenario)


def test_a_reservation_must_be_one_unit_of_a_pool_or_outside_of_all(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/24")
        reserve = stage.definitions.reservations.reserve
        assert slugs(await reserve(_reservation("192.0.2.0/29", "bob"))) == ["reservation-overlap"]
        await reserve(_reservation("2001:db8::/56", "bob"))
        assert slugs(await reserve(_reservation("2001:db8::1", "eve"))) == ["reservation-taken"]
        await stage.load(fixed("carol", "203.0.113.5"))
        refused = await reserve(_reservation("203.0.113.5", "eve"))
        assert slugs(refused) == ["reservation-taken"]
        assert "CAROL" in said(refused)

    play(store, scenario)


def test_a_reservation_stays_when_a_pool_comes_to_it_and_goes(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.definitions.reservations.reserve(_reservation("192.0.2.0", "bob"))
        await stage.add("home", "192.0.2.0/30")
        assert stage.login("alice", "home") == "192.0.2.1"
        assert stage.login("bob", "home") == "192.0.2.0"
        stage.logout("alice")
        stage.logout("bob")
        stage.expire(200.0)
        await stage.settle()
        assert await stage.definitions.pools.delete(TENANT, "home") == ()
        stage.expire(4000.0)
        assert stage.state("192.0.2.0") is LeaseState.RESERVED
        await stage.add("home", "192.0.2.0/30")
        assert stage.login("carol", "home") != "192.0.2.0"
        await stage.definitions.reservations.unreserve(TENANT, "", read_unit("192.0.2.0"))
        stage.expire(200.0)
        await stage.definitions.turn()
        stage.expire(200.0)
        await stage.settle()
        await stage.restart()
        assert stage.state("192.0.2.0") is LeaseState.FREE

    play(store, scenario)
