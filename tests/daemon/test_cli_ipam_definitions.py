"""The commands about pools, prefixes, reservations, selectors and VLANs, against a daemon's socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import pytest
import yaml

from daemon.cli import (
    ipam_pools,
    ipam_prefixes,
    ipam_reservations,
    ipam_selectors,
    ipam_vlans,
    ipam_vrfs,
)
from daemon.cli.output import ExitCode
from tests.daemon.conftest import Store
from tests.daemon.definitions_api_stage import Counter, Run, counter
from tests.daemon.definitions_stage import fixed
from tests.daemon.ipam_leases_stage import counter as leases_counter
from tests.daemon.stack import subscriber

POOL, PREFIX, RESERVATION = ipam_pools.group, ipam_prefixes.group, ipam_reservations.group
SELECTOR, VLAN, VRF = ipam_selectors.group, ipam_vlans.group, ipam_vrfs.group


def play(store: Store, folder: Path, scenario: Callable[[Counter, Run], Awaitable[None]]) -> None:
    async def run() -> None:
        async with counter(store) as api, api.socket(folder) as commands:
            await scenario(api, commands)

    asyncio.run(run())


def test_a_pool_from_its_birth_to_its_end(store: Store, tmp_path: Path) -> None:
    async def scenario(api: Counter, run: Run) -> None:
        add = (
            "add",
            "home",
            "--kind",
            "v4",
            "--range",
            "192.0.2.0/24",
            "--hold",
            "2h",
            "--exclude",
            "192.0.2.0",
        )
        assert "hold 2 h" in await run(POOL, *add)
        api.stage.login("alice", "home")
        shown = await run(POOL, "show", "home")
        assert "192.0.2.0/24" in shown
        assert "1 bound" in shown
        listed = await run(POOL, "list")
        assert all(len(line) <= 100 for line in listed.splitlines())
        assert "home" in listed
        await run(POOL, "resize", "home", "--add", "198.51.100.0/24")
        assert "drains, and goes" in await run(POOL, "resize", "home", "--remove", "192.0.2.0/24")
        await run(POOL, "change", "home", "--quarantine", "10m", "--site", "north")
        found = json.loads(await run(POOL, "show", "home", "--output", "json"))
        assert (found["quarantine_s"], found["site"]) == (600, "north")
        assert "draining" in await run(POOL, "drain", "home")
        assert "active" in await run(POOL, "undrain", "home")
        assert "disabled" in await run(POOL, "disable", "home")
        assert "active" in await run(POOL, "enable", "home")
        assert "198.51.100.0/28" in await run(POOL, "exclude", "home", "198.51.100.0/28")
        assert yaml.safe_load(await run(POOL, "list", "--output", "yaml"))["count"] == 1
        assert "in use" in await run(POOL, "delete", "home", code=ExitCode.FAILURE)
        api.stage.logout("alice")
        api.stage.expire(10_000.0)
        await api.stage.settle()
        assert "deleted" in await run(POOL, "delete", "home")
        await run(POOL, "show", "home", code=ExitCode.NOT_FOUND)

    play(store, tmp_path, scenario)


def test_what_is_wrong_leaves_with_the_fitting_code(store: Store, tmp_path: Path) -> None:
    async def scenario(_api: Counter, run: Run) -> None:
        await run(POOL, "add", "home", "--kind", "v4", "--range", "192.0.2.0/24")
        other = ("add", "other", "--kind", "v4", "--range")
        refused = await run(POOL, *other, "192.0.2.0/25", code=ExitCode.FAILURE)
        assert "pool home" in refused
        assert "pool other" in refused
        await run(POOL, *other, "192.0.2.1/24", code=ExitCode.USAGE)
        await run(POOL, *other, "198.51.100.0/24", "--hold", "soon", code=ExitCode.USAGE)
        await run(POOL, "change", "home", code=ExitCode.USAGE)
        await run(POOL, "resize", "home", code=ExitCode.USAGE)
        await run(PREFIX, "add", code=ExitCode.USAGE)
        await run(PREFIX, "delete", "192.0.2.0/24", code=ExitCode.NOT_FOUND)
        await run(VLAN, "list", "home", code=ExitCode.USAGE)

    play(store, tmp_path, scenario)


def test_drain_with_disconnect_waits_until_the_sessions_have_ended(store: Store, tmp_path: Path) -> None:
    async def scenario(api: Counter, run: Run) -> None:
        stage = api.stage
        await run(POOL, "add", "home", "--kind", "v4", "--range", "192.0.2.0/24")
        for each in range(4):
            stage.login(f"u{each}", "home")

        def end(session: str, _why: str) -> bool:
            stage.logout(session)
            return True

        stage.definitions.renumbering.end = end

        async def pass_time() -> None:
            while True:
                await asyncio.sleep(0.01)
                stage.clock._now += 1.0
                await stage.definitions.turn()

        turning = asyncio.create_task(pass_time())
        try:
            shown = await run(POOL, "drain", "home", "--disconnect", "--rate", "2")
        finally:
            turning.cancel()
        assert "draining" in shown
        assert "bound" not in shown

    play(store, tmp_path, scenario)


def test_the_prefix_tree_is_drawn_with_pools_as_leaves(store: Store, tmp_path: Path) -> None:
    async def scenario(api: Counter, run: Run) -> None:
        await run(PREFIX, "add", "192.0.0.0/16", "--state", "container", "--name", "all of it")
        await run(PREFIX, "add", "192.0.2.0/24", "--role", "customers", "--site", "north")
        await run(POOL, "add", "home", "--kind", "v4", "--range", "192.0.2.0/30")
        api.stage.login("alice", "home")
        lines = (await run(PREFIX, "tree")).splitlines()
        assert lines[0] == "Tenant demo, VRF default"
        assert [line.split()[0] for line in lines[1:]] == ["192.0.0.0/16", "192.0.2.0/24", "pool"]
        assert [len(line) - len(line.lstrip()) for line in lines[1:]] == [2, 4, 6]
        assert all("25.0 %" in line and len(line) <= 100 for line in lines[1:])
        assert "192.0.0.0/24" in await run(PREFIX, "add", "--under", "192.0.0.0/16", "--length", "24")
        assert "192.0.2.0/24" in await run(PREFIX, "list", "--under", "192.0.2.0/23")
        assert "customers" in await run(PREFIX, "show", "192.0.2.0/24")
        await run(PREFIX, "delete", "192.0.2.0/24")
        lines = (await run(PREFIX, "tree")).splitlines()
        assert [line.split()[0] for line in lines[1:]] == ["192.0.0.0/16", "pool", "192.0.0.0/24"]

    play(store, tmp_path, scenario)


def test_reservations_selectors_and_vlans(store: Store, tmp_path: Path) -> None:
    async def scenario(api: Counter, run: Run) -> None:
        await api.stage.load(fixed("bob", "192.0.2.9"))
        api.stage.index.put(subscriber("alice", None))
        await run(POOL, "add", "home", "--kind", "v4", "--range", "192.0.2.0/24")
        await run(RESERVATION, "add", "192.0.2.7", "ALICE", "--name", "mail")
        listed = await run(RESERVATION, "list")
        assert all(each in listed for each in ("192.0.2.7", "ALICE", "192.0.2.9", "BOB", "data"))
        assert "192.0.2.7" in await run(RESERVATION, "delete", "192.0.2.7")
        await run(RESERVATION, "delete", "192.0.2.7", code=ExitCode.NOT_FOUND)
        await run(SELECTOR, "add", "all", "--plan", "home-100", "--pool", "v4=home")
        assert "plan home-100" in await run(SELECTOR, "list")
        tested = await run(SELECTOR, "test", "alice")
        assert "home" in tested
        assert "all" in tested
        await run(SELECTOR, "delete", "all")
        assert "No selector" in await run(SELECTOR, "test", "alice")
        await run(POOL, "add", "access", "--kind", "cvlan", "--range", "100-199", "--vrf", "olt-1")
        assert (await run(VLAN, "next", "access")).strip() == "100"
        assert (await run(VLAN, "next", "access", "--for", "ALICE")).strip() == "100"
        assert "ALICE" in await run(VLAN, "list")
        assert "reserved" in await run(VLAN, "show", "access", "100")
        assert "ALICE" in await run(VLAN, "release", "access", "100")
        await run(VLAN, "show", "access", "150", code=ExitCode.NOT_FOUND)

    play(store, tmp_path, scenario)


def test_vrfs_are_documented_listed_and_forgotten(store: Store, tmp_path: Path) -> None:
    async def scenario(_api: Counter, run: Run) -> None:
        assert "64500:10" in await run(VRF, "add", "red", "--distinguisher", "64500:10")
        await run(POOL, "add", "home", "--kind", "v4", "--range", "192.0.2.0/24")
        listed = await run(VRF, "list")
        assert all(each in listed for each in ("red", "default", "64500:10"))
        await run(VRF, "delete", "red")
        assert "pool home" in await run(VRF, "delete", "default", code=ExitCode.FAILURE)
        await run(VRF, "delete", "red", code=ExitCode.NOT_FOUND)

    play(store, tmp_path, scenario)


def test_what_names_nobody_is_noted(store: Store, tmp_path: Path) -> None:
    async def scenario(_api: Counter, run: Run) -> None:
        await run(POOL, "add", "home", "--kind", "v4", "--range", "192.0.2.0/24")
        assert "Note: tenant demo has no plan nosuch" in await run(
            SELECTOR, "add", "all", "--plan", "nosuch", "--pool", "v4=home"
        )
        assert "no subscriber with the id nobody" in await run(RESERVATION, "add", "192.0.2.7", "nobody")
        refused = await run(POOL, "delete", "home", code=ExitCode.FAILURE)
        assert "selector all" in refused

    play(store, tmp_path, scenario)


def test_the_next_address_of_a_pool_is_taken_once_under_a_key(tmp_path: Path) -> None:
    async def story() -> None:
        async with leases_counter(tmp_path) as api:
            take = ("next", "v4", "--owner", "alice", "--key", "order-4711")
            first = await api.command(tmp_path, POOL, *take)
            again = await api.command(tmp_path, POOL, *take)
            assert (first.exit_code, "203.0.113.0" in first.output) == (0, True), first.output
            assert first.output == again.output
            other = await api.command(tmp_path, POOL, "next", "v4", "--owner", "bob", "--output", "json")
            assert "203.0.113.1" in other.output
            assert "Idempotency-Key: " in other.output
            gone = await api.command(tmp_path, POOL, "next", "nosuch", "--owner", "bob")
            assert gone.exit_code == ExitCode.NOT_FOUND, gone.output

    asyncio.run(story())


@pytest.mark.parametrize("group", [POOL, PREFIX, RESERVATION, SELECTOR, VLAN, VRF])
def test_every_command_shows_an_example(group: click.Group) -> None:
    for command in (group, *group.commands.values()):
        assert "Example: dotmac-edge " in (command.help or ""), command.name
