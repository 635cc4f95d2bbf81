"""What the API tells beside a change of definitions, and what it writes down of it."""

from __future__ import annotations

import httpx

from daemon.store.audit_rows import AuditSearch, search
from tests.daemon.conftest import Store
from tests.daemon.definitions_api_stage import Counter
from tests.daemon.stack import subscriber
from tests.daemon.test_ipam_api_definitions import HOME, play


def test_every_change_of_a_definition_is_in_the_audit(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        await api.made("/pools", HOME)
        await api.ask("PATCH", "/pools/home", {"site": "north"})
        await api.made("/pools/home/resize", {"add": ["198.51.100.0/24"]})
        await api.made("/pools/home/drain", {})
        await api.made("/pools/home/undrain", {})
        await api.made("/pools/home/exclusions", {"add": ["192.0.2.1"]})
        await api.made("/pools/home/exclusions", {"remove": ["192.0.2.1"]})
        await api.made("/selectors", {"name": "all", "pools": {"v4": ["home"]}})
        await api.ask("DELETE", "/selectors/all")
        await api.made("/reservations", {"unit": "192.0.2.9", "owner": "alice"})
        await api.ask("DELETE", "/reservations/192.0.2.9")
        await api.made("/prefixes", {"prefix": "10.0.0.0/8"})
        await api.made("/prefixes/10.0.0.0%2F8/next-available", {"length": 24})
        await api.ask("DELETE", "/prefixes/10.0.0.0%2F24")
        await api.ask("PUT", "/vrfs", {"name": "red"})
        await api.ask("DELETE", "/vrfs/red")
        api.stage.expire(10_000.0)
        await api.stage.settle()
        assert (await api.ask("DELETE", "/pools/home"))[0] == 204
        await api.ask("POST", "/pools", HOME | {"kind": "fixed"})  # refused, so nothing has changed
        rows, _count = await search(api.stage.engine, AuditSearch())
        assert [row.action for row in reversed(rows)] == [
            "pool-add",
            "pool-change",
            "pool-resize",
            "pool-drain",
            "pool-undrain",
            "pool-exclude",
            "pool-include",
            "selector-add",
            "selector-delete",
            "reservation-add",
            "reservation-delete",
            "prefix-add",
            "prefix-add",
            "prefix-delete",
            "vrf-add",
            "vrf-delete",
            "pool-delete",
        ]
        resized = rows[-3]
        assert (resized.tenant, resized.subject) == ("demo", "home")
        assert "198.51.100.0/24" in resized.reason

    play(store, scenario)


def test_what_names_nobody_is_taken_with_a_note(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        await api.made("/pools", HOME)
        wish = {"name": "all", "pools": {"v4": ["home"]}, "match": {"plan": "nosuch", "site": "nowhere"}}
        notes = (await api.made("/selectors", wish))["notes"]
        assert ["plan nosuch" in notes[0], "site nowhere" in notes[1]] == [True, True]
        assert (
            "nobody"
            in (await api.made("/reservations", {"unit": "192.0.2.9", "owner": "nobody"}))["notes"][0]
        )
        api.stage.index.put(subscriber("alice", None))
        made = await api.made("/reservations", {"unit": "192.0.2.8", "owner": "ALICE"})
        assert made["notes"] == []

    play(store, scenario)


def test_a_time_without_an_end_is_refused_however_it_is_written(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        await api.made("/pools", HOME)
        transport = httpx.ASGITransport(api.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://edge/api/v1/ipam") as client:
            answer = await client.patch("/pools/home", content=b'{"hold_s": 1e400}')
        assert (answer.status_code, "hold_s" in answer.text) == (422, True)

    play(store, scenario)


def test_a_vrf_with_something_in_it_is_not_forgotten(store: Store) -> None:
    async def scenario(api: Counter) -> None:
        await api.made("/pools", HOME | {"vrf": "red"})
        await api.ask("PUT", "/vrfs", {"name": "red", "distinguisher": "64500:1"})
        status, failure = await api.ask("DELETE", "/vrfs/red")
        assert (status, "pool home" in failure["message"]) == (409, True)
        assert (await api.ask("DELETE", "/vrfs/blue"))[0] == 404

    play(store, scenario)
