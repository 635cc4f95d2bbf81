"""What the platform's data define: pools that come and go, fixed addresses that are slots of pools."""

from __future__ import annotations

from daemon.replica.pools import PoolSpec
from daemon.replica.records import Subscriber
from ipam.address import read_unit
from ipam.kinds import Kind, LeaseState, PoolState
from ipam.lease import Exhausted
from ipam.model import Reservation
from tests.daemon.conftest import Store
from tests.daemon.definitions_stage import (
    TENANT,
    Stage,
    fixed,
    play,
    pool,
    pools_of,
    said,
    selector,
    slugs,
    spec,
)

# --- the platform ----------------------------------------------------------------------------------


def test_a_pool_of_the_platform_comes_changes_and_goes_without_losing_a_lease(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(spec("home", "192.0.2.0/24"))
        assert stage.login("alice", "home") == "192.0.2.0"
        await stage.load(spec("home", "192.0.2.0/24", "198.51.100.0/24", hold_s=40.0))
        assert len(pools_of(stage)["home"].ranges) == 2
        await stage.load(spec("home", "198.51.100.0/24"))
        assert stage.login("bob", "home") == "198.51.100.0"
        assert stage.login("alice", "home") == "192.0.2.0"
        await stage.load(gone=[(PoolSpec, "home")])
        assert isinstance(stage.take("carol", "home"), Exhausted)
        assert stage.state("192.0.2.0") is LeaseState.BOUND
        stage.logout("alice")
        stage.logout("bob")
        stage.expire(100.0)
        await stage.settle()
        await stage.definitions.turn()
        assert pools_of(stage) == {}
        assert stage.definitions.problems == ()

    play(store, scenario)


def test_a_pool_that_shrinks_on_the_platform_serves_on_with_what_it_keeps(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(spec("home", "192.0.2.0/29"))
        assert stage.login("alice", "home") == "192.0.2.0"
        await stage.load(spec("home", "192.0.2.4/30"))
        assert stage.login("bob", "home") == "192.0.2.4"
        assert stage.state("192.0.2.0") is LeaseState.BOUND
        await stage.load(spec("home", "192.0.2.4/30", "192.0.2.8/29"))
        for each in range(11):
            stage.login(f"u{each}", "home")
        assert isinstance(stage.take("late", "home"), Exhausted)

    play(store, scenario)


def test_what_the_platform_cannot_have_is_told_and_tried_again(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("local", "192.0.2.0/24")
        await stage.load(spec("home", "192.0.2.128/25"), spec("other", "198.51.100.0/24"))
        assert [each.slug for each in stage.definitions.problems] == ["overlap"]
        assert {"pool home", "pool local"} == set(stage.definitions.problems[0].names)
        assert stage.events.counts["definition-refused"] == 1
        assert stage.login("alice", "other") == "198.51.100.0"
        await stage.definitions.pools.delete(TENANT, "local")
        stage.expire(31.0)
        await stage.definitions.turn()
        assert stage.definitions.problems == ()
        assert stage.login("bob", "home") == "192.0.2.128"

    play(store, scenario)


def test_each_party_changes_only_its_own_pools(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(spec("home", "192.0.2.0/24"))
        await stage.add("local", "198.51.100.0/24")
        pools = stage.definitions.pools
        for refused in (
            await pools.drain(TENANT, "home"),
            await pools.delete(TENANT, "home"),
            await pools.add(pool("home"), ["203.0.113.0/24"]),
        ):
            assert slugs(refused) == ["pool-of-other-origin"]
            assert "on the platform" in said(refused)
        await stage.load(spec("local", "203.0.113.0/24"))
        assert [each.slug for each in stage.definitions.problems] == ["pool-name"]
        assert stage.login("alice", "local") == "198.51.100.0"

    play(store, scenario)


def test_a_pool_cannot_become_another_kind_under_its_name(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(spec("home", "192.0.2.0/24"))
        await stage.load(spec("home", "2001:db8::/48", kind=Kind.PD))
        assert [each.slug for each in stage.definitions.problems] == ["pool-lasting"]
        assert stage.login("alice", "home") == "192.0.2.0"

    play(store, scenario)


def _reservation(unit: str, owner: str, name: str = "") -> Reservation:
    return Reservation(tenant=TENANT, vrf="", unit=read_unit(unit), owner=owner, name=name)


def test_a_pool_of_the_platform_that_could_not_be_read_goes_on_as_it_was(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(spec("home", "192.0.2.0/24"))
        stage.index.remove(PoolSpec, TENANT, "home")
        stage.index.unreadable.add((TENANT, "pool", "home"))
        await stage.restart()
        assert stage.login("alice", "home") == "192.0.2.0"
        assert pools_of(stage)["home"].state is PoolState.ACTIVE

    play(store, scenario)


def test_while_a_shared_store_is_away_only_selectors_follow_the_data(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        stage.addresses.away = "connection refused"
        stage.index.tenants[TENANT].selectors["all"] = selector("all", "home")
        await stage.load(spec("home", "192.0.2.0/24"))
        assert stage.addresses.selectors(TENANT) is not None
        assert pools_of(stage) == {}
        stage.addresses.away = None
        await stage.definitions.start()
        assert stage.login("alice", "home") == "192.0.2.0"

    play(store, scenario)


# --- fixed addresses of subscribers ----------------------------------------------------------------


def test_a_fixed_address_inside_a_pool_is_kept_for_its_subscriber(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(fixed("bob", "192.0.2.0"), spec("home", "192.0.2.0/30"))
        assert stage.state("192.0.2.0") is LeaseState.RESERVED
        assert stage.login("alice", "home") == "192.0.2.1"
        assert stage.login("BOB", unit="192.0.2.0") == "192.0.2.0"

    play(store, scenario)


def test_a_fixed_address_that_comes_later_waits_for_the_lease_of_another(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(spec("home", "192.0.2.0/30"))
        assert stage.login("alice", "home") == "192.0.2.0"
        await stage.load(fixed("bob", "192.0.2.0"))
        assert stage.state("192.0.2.0") is LeaseState.BOUND
        stage.logout("alice")
        stage.expire(100.0)
        assert stage.state("192.0.2.0") is LeaseState.RESERVED

    play(store, scenario)


def test_an_address_that_is_taken_away_is_free_once_its_session_ended(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(fixed("bob", "192.0.2.0"), fixed("carol", "192.0.2.1"), spec("home", "192.0.2.0/30"))
        stage.login("BOB", unit="192.0.2.0")
        await stage.load(fixed("bob", "198.51.100.7"), gone=[(Subscriber, "CAROL")])
        assert stage.state("192.0.2.0") is LeaseState.BOUND
        assert stage.state("192.0.2.1") is LeaseState.QUARANTINED
        stage.logout("BOB")
        stage.expire(200.0)
        assert stage.state("192.0.2.0") is LeaseState.FREE
        assert stage.state("192.0.2.1") is LeaseState.FREE

    play(store, scenario)


def test_addresses_that_change_hands_in_one_load_are_kept_for_the_new_owners(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(fixed("bob", "192.0.2.0"), fixed("carol", "192.0.2.1"), spec("home", "192.0.2.0/30"))
        await stage.load(fixed("bob", "192.0.2.1"), fixed("carol", "192.0.2.0"))
        stage.expire(100.0)
        assert stage.login("CAROL", unit="192.0.2.0") == "192.0.2.0"
        assert stage.login("BOB", unit="192.0.2.1") == "192.0.2.1"
        assert stage.definitions.problems == ()

    play(store, scenario)


def test_what_was_taken_away_while_the_daemon_was_down_is_given_up_at_its_start(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.load(fixed("bob", "192.0.2.0"), spec("home", "192.0.2.0/30"))
        await stage.settle()
        stage.index.remove(Subscriber, TENANT, "BOB")
        await stage.restart()
        stage.expire(100.0)
        assert stage.state("192.0.2.0") is LeaseState.FREE

    play(store, scenario)


def test_a_fixed_lease_from_before_the_pool_is_nobody_elses_until_it_ends(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        assert stage.login("zoe", unit="192.0.2.0") == "192.0.2.0"
        await stage.add("home", "192.0.2.0/30")
        assert stage.login("alice", "home") == "192.0.2.1"
        stage.logout("zoe")
        stage.expire(5000.0)
        await stage.definitions.turn()
        stage.expire(100.0)
        assert stage.state("192.0.2.0") is LeaseState.FREE

    play(store, scenario)


def test_an_operators_reservation_and_the_data_at_one_address_are_told(store: Store) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.add("home", "192.0.2.0/30")
        await stage.definitions.reservations.reserve(_reservation("192.0.2.0", "eve"))
        await stage.load(fixed("bob", "192.0.2.0"))
        assert [each.slug for each in stage.definitions.problems] == ["claim-reserved"]
        await stage.definitions.reservations.unreserve(TENANT, "", read_unit("192.0.2.0"))
        stage.expire(100.0)
        await stage.definitions.turn()
        assert stage.definitions.problems == ()
        assert stage.state("192.0.2.0") is LeaseState.RESERVED

    play(store, scenario)
