"""The API about pools, prefixes, VRFs, selectors, reservations and VLANs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from typing import Any

import pytest

from daemon.replica.records import Nas, Secret, SecretKind
from tests.daemon.conftest import Store
from tests.daemon.definitions_api_stage import Counter, counter
from tests.daemon.definitions_stage import TENANT, fixed, spec
from tests.daemon.stack import subscriber

HOME = {"name": "home", "kind": "v4", "ranges": ["192.0.2.0/24"]}


def play(store: Store, scenario: Callable[[Counter], Awaitable[None]]) -> None:
    async def run() -> None:
        async with counter(store) as api:
            await scenario(api)

    asyncio.run(run())


def test_a_pool_is_added_shown_changed_and_deleted(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        status, made = await api.ask("POST", "/pools", HOME | {"hold_s": 7200, "exclusions": ["192.0.2.0"]})
        assert status == 201
        assert (made["hold_s"], made["use"]["size"], made["use"]["disabled"]) == (7200, 256, 1)
        assert api.stage.login("alice", "home") == "192.0.2.1"
        shown = await api.get("/pools/home")
        assert (shown["use"]["bound"], shown["ranges"][0]["used"], shown["origin"]) == (1, 1, "operator")
        _, changed = await api.ask("PATCH", "/pools/home", {"site": "north", "low_percent": 30})
        assert (changed["site"], changed["low_percent"]) == ("north", 30)
        assert (await api.get("/pools", site="north"))["count"] == 1
        assert (await api.get("/pools", site="south"))["count"] == 0
        status, failure = await api.ask("DELETE", "/pools/home")
        assert (status, failure["code"]) == (409, "conflict")
        api.stage.logout("alice")
        api.stage.expire(10_000.0)
        await api.stage.settle()
        assert (await api.ask("DELETE", "/pools/home"))[0] == 204
        assert (await api.ask("GET", "/pools/home"))[0] == 404

    play(store, scenario)


@pytest.mark.parametrize(
    ("wish", "status", "says"),
    [
        (HOME | {"name": "other", "ranges": ["192.0.2.128/25"]}, 409, "pool home"),
        (HOME, 409, "already"),
        (HOME | {"name": "other", "ranges": ["192.0.2.1/24"]}, 422, "ranges"),
        (HOME | {"name": "other", "kind": "cgn-block", "ranges": ["198.51.100.0/30"]}, 422, "unit_length"),
        (HOME | {"name": "other", "ranges": ["198.51.100.0/24"], "lease_s": 0}, 422, "lease_s"),
        (HOME | {"name": "other", "kind": "fixed", "ranges": ["198.51.100.0/24"]}, 422, "kind"),
        (HOME | {"name": "other", "ranges": []}, 422, "ranges"),
        (HOME | {"name": "a b/c", "ranges": ["198.51.100.0/24"]}, 422, "letters"),
        (HOME | {"name": "other", "ranges": [f"10.0.{i}.0/24" for i in range(4)] * 251}, 422, "ranges"),
        (HOME | {"name": "other", "ranges": ["198.51.100.0/24"], "hold_s": 1e12}, 422, "hold_s"),
        (HOME | {"name": "other", "ranges": ["198.51.100.0/24"], "fallbacks": ["x"]}, 422, "pool x"),
        (HOME | {"name": "other", "tenant": "nobody"}, 404, "nobody"),
        (HOME | {"name": "other", "colour": "red"}, 422, "colour"),
    ],
)
def test_what_is_wrong_with_a_pool_is_said_with_its_field(
    store: Store, wish: dict[str, Any], status: int, says: str
) -> None:
    async def scenario(api: Counter) -> None:
        await api.made("/pools", HOME)
        got, failure = await api.ask("POST", "/pools", wish)
        assert got == status, failure
        assert says in failure["message"]
        assert (await api.get("/pools"))["count"] == 1

    play(store, scenario)


def test_resize_drain_and_exclude_answer_with_the_pool_as_it_is_then(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        await api.made("/pools", HOME)
        grown = await api.made("/pools/home/resize", {"add": ["198.51.100.0/25"]})
        assert [each["range"] for each in grown["ranges"]] == ["192.0.2.0/24", "198.51.100.0/25"]
        api.stage.login("alice", "home")
        left = await api.made("/pools/home/resize", {"remove": ["192.0.2.0/24"]})
        assert [each["leaving"] for each in left["ranges"]] == [True, False]
        drained = await api.made("/pools/home/drain", {})
        assert drained["state"] == "draining"
        assert (await api.made("/pools/home/undrain", {}))["state"] == "active"
        out = await api.made("/pools/home/exclusions", {"add": ["198.51.100.0/28", "198.51.100.16/28"]})
        assert out["exclusions"] == ["198.51.100.0/27"]
        status, failure = await api.ask("POST", "/pools/home/resize", {"remove": ["203.0.113.0/24"]})
        assert (status, "192.0.2.0/24" in failure["message"]) == (422, True)

    play(store, scenario)


def test_sessions_in_what_drains_are_ended_at_a_pace(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        stage = api.stage
        await api.made("/pools", HOME)
        for each in range(10):
            stage.login(f"u{each}", "home")
        await api.made("/pools/home/resize", {"add": ["198.51.100.0/24"]})
        ended: list[str] = []

        def end(session: str, why: str) -> bool:
            assert "home" in why
            ended.append(session)
            return True

        stage.definitions.renumbering.end = end
        await api.made("/pools/home/drain", {"ranges": ["192.0.2.0/24"], "disconnect": True, "per_second": 3})
        await stage.definitions.turn()
        assert len(ended) == 3
        stage.expire(1.0)
        await stage.definitions.turn()
        assert len(ended) == 6
        assert (await api.get("/pools/home"))["disconnecting"]["asked"] == 6
        for _ in range(20):
            stage.expire(1.0)
            await stage.definitions.turn()
        assert sorted(ended) == sorted(f"u{each}" for each in range(10)), "each is asked once"
        for each in range(10):
            stage.logout(f"u{each}")
            assert stage.login(f"u{each}", "home").startswith("198.51.100.")
        await stage.definitions.turn()
        assert (await api.get("/pools/home"))["disconnecting"] is None

    play(store, scenario)


def test_a_pool_of_the_platform_is_refused_to_operators_with_the_remedy(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        await api.stage.load(spec("home", "192.0.2.0/24"))
        assert (await api.get("/pools/home"))["origin"] == "platform"
        for method, path, body in (
            ("PATCH", "/pools/home", {"site": "x"}),
            ("POST", "/pools/home/resize", {"add": ["198.51.100.0/24"]}),
            ("DELETE", "/pools/home", None),
        ):
            status, failure = await api.ask(method, path, body)
            assert status == 409
            assert "on the platform" in failure["message"]

    play(store, scenario)


def test_reservations_of_operators_and_of_the_data_are_one_list(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        await api.made("/pools", HOME)
        await api.stage.load(fixed("bob", "192.0.2.9"))
        await api.made("/reservations", {"unit": "192.0.2.7", "owner": "ALICE", "name": "mail"})
        await api.made("/reservations", {"unit": "2001:db8:5::/56", "owner": "ALICE"})
        listed = await api.get("/reservations")
        assert {(each["unit"], each["owner"], each["origin"], each["pool"]) for each in listed["items"]} == {
            ("192.0.2.7", "ALICE", "operator", "home"),
            ("2001:db8:5::/56", "ALICE", "operator", ""),
            ("192.0.2.9", "BOB", "data", "home"),
        }
        assert (await api.ask("POST", "/reservations", {"unit": "203.0.113.8/29", "owner": "EVE"}))[0] == 422
        assert (await api.get("/reservations", pool="home"))["count"] == 2
        status, failure = await api.ask("POST", "/reservations", {"unit": "192.0.2.9", "owner": "EVE"})
        assert (status, "BOB" in failure["message"]) == (409, True)
        status, failure = await api.ask("DELETE", "/reservations/192.0.2.9")
        assert (status, "platform" in failure["message"]) == (409, True)
        assert (await api.ask("DELETE", "/reservations/2001:db8:5::/56"))[0] == 200
        assert (await api.ask("DELETE", "/reservations/2001:db8:5::/56"))[0] == 404

    play(store, scenario)


def test_a_selector_decides_and_its_test_says_why(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        await api.made("/pools", HOME)
        await api.made("/pools", HOME | {"name": "spare", "ranges": ["198.51.100.0/24"]})
        lab = Nas(
            tenant=TENANT,
            id="lab",
            prefixes=(ip_network("192.0.2.1/32"),),
            secret=Secret(SecretKind.CLEARTEXT, b"x" * 16),
            vendor="mikrotik",
            site="north",
        )
        api.stage.index.put(lab)
        api.stage.index.put(subscriber("alice", None))
        pools = {"v4": ["home", "spare"]}
        await api.made("/selectors", {"name": "all", "pools": {"v4": ["spare"]}})
        await api.made(
            "/selectors", {"name": "north", "priority": 1, "match": {"site": "north"}, "pools": pools}
        )
        said = await api.get("/selections", subscriber="alice", nas="lab")
        assert [(each["pool"], each["selector"]) for each in said["pools"]] == [
            ("home", "north"),
            ("spare", "north"),
        ]
        assert said["selectors"] == ["north", "all"]
        elsewhere = await api.get("/selections", subscriber="alice")
        assert [each["pool"] for each in elsewhere["pools"]] == ["spare"]
        await api.made("/pools/spare/drain", {})
        elsewhere = await api.get("/selections", subscriber="alice")
        assert elsewhere["pools"][0]["note"] == "it is draining"
        selectors = api.stage.addresses.selectors(TENANT)
        assert selectors is not None
        status, failure = await api.ask("POST", "/selectors", {"name": "bad", "pools": {"pd": ["home"]}})
        assert (status, "home" in failure["message"]) == (422, True)
        assert (await api.ask("DELETE", "/selectors/north"))[0] == 204
        assert [each["name"] for each in (await api.get("/selectors"))["items"]] == ["all"]

    play(store, scenario)


def test_prefixes_find_their_parents_and_show_what_their_pools_use(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        await api.made("/prefixes", {"prefix": "192.0.2.0/25", "role": "customers"})
        await api.made("/prefixes", {"prefix": "192.0.0.0/16", "state": "container"})
        await api.made("/pools", HOME | {"ranges": ["192.0.2.0/28"]})
        api.stage.login("alice", "home")
        tree = (await api.get("/prefixes"))["items"]
        assert [(each["prefix"], each["depth"], each["parent"]) for each in tree] == [
            ("192.0.0.0/16", 0, None),
            ("192.0.2.0/25", 1, "192.0.0.0/16"),
        ]
        assert [(each["slots"], each["used"]) for each in tree] == [(16, 1), (16, 1)]
        assert [[pool["name"] for pool in each["pools"]] for each in tree] == [[], ["home"]]
        assert (await api.ask("DELETE", "/prefixes/192.0.0.0/16"))[0] == 204
        assert (await api.get("/prefixes/192.0.2.0/25"))["parent"] is None
        assert (await api.ask("POST", "/prefixes", {"prefix": "192.0.2.1/25"}))[0] == 422

    play(store, scenario)


def test_the_next_free_prefix_avoids_prefixes_and_pools_and_a_repeat_gets_the_same(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        await api.made("/prefixes", {"prefix": "2001:db8::/32"})
        await api.made("/prefixes", {"prefix": "2001:db8::/40"})
        pool = {"name": "pd", "kind": "pd", "ranges": ["2001:db8:100::/41"]}
        await api.made("/pools", pool)
        wish, path = {"length": 40, "name": "pop 2"}, "/prefixes/2001:db8::/32/next-available"
        status, first = await api.ask("POST", path, wish, key="a-key-of-mine")
        assert (status, first["prefix"]) == (201, "2001:db8:200::/40")
        assert (first["parent"], first["depth"]) == ("2001:db8::/32", 1)
        assert await api.ask("POST", path, wish, key="a-key-of-mine") == (201, first)
        assert (await api.ask("POST", path, {"length": 41}, key="a-key-of-mine"))[0] == 422
        again = await asyncio.gather(*(api.ask("POST", path, wish) for _ in range(8)))
        assert len({each["prefix"] for _, each in again}) == 8
        status, failure = await api.ask("POST", "/prefixes/2001:db8::/40/next-available", {"length": 32})
        assert (status, "/32" in failure["message"]) == (409, True)

    play(store, scenario)


def test_vrfs_are_those_that_are_documented_and_those_in_use(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        await api.made("/pools", HOME | {"vrf": "office"})
        assert (await api.ask("PUT", "/vrfs", {"name": "mgmt", "distinguisher": "64500:1"}))[0] == 200
        items = (await api.get("/vrfs"))["items"]
        assert [(each["name"], each["pools"]) for each in items] == [("mgmt", 0), ("office", 1)]

    play(store, scenario)


def test_a_vlan_is_set_aside_for_a_subscriber_once(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        await api.made("/pools", {"name": "access", "kind": "cvlan", "ranges": ["100-102"], "vrf": "olt-1"})
        assert (await api.get("/next-vlans", pool="access"))["vlan"] == "100"
        assert (await api.get("/next-vlans", pool="access"))["vlan"] == "100", "asking takes nothing"
        first = await api.made("/next-vlans", {"pool": "access", "owner": "ALICE"})
        again = await api.made("/next-vlans", {"pool": "access", "owner": "ALICE"})
        second = await api.made("/next-vlans", {"pool": "access", "owner": "BOB"})
        assert [each["unit"] for each in (first, again, second)] == ["100", "100", "101"]
        listed = (await api.get("/vlans", pool="access"))["items"]
        assert [(each["vlan"], each["owner"], each["state"]) for each in listed] == [
            ("100", "ALICE", "reserved"),
            ("101", "BOB", "reserved"),
        ]
        assert (await api.ask("DELETE", "/reservations/100", pool="access"))[0] == 200
        await api.made("/next-vlans", {"pool": "access", "owner": "CAROL"})
        status, failure = await api.ask("POST", "/next-vlans", {"pool": "access", "owner": "DAVE"})
        assert (status, "access" in failure["message"]) == (409, True)

    play(store, scenario)
