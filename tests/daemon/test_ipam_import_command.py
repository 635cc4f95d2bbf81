"""`dotmac-edge ipam import` over the admin socket: what it reads, sends, prints and leaves with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from daemon.store.audit_rows import AUDIT
from ipam.kinds import Kind
from ipam.model import Pool
from tests.daemon.import_counter import command, importing
from tests.daemon.ipam_leases_stage import Counter

WIDEST = 100
BOOK = """address,status,owner,pool,until,circuit
10.0.0.0/29,pool,,home,,
10.0.0.1,leased,alice,home,{soon},02-00-00-00-00-01
10.0.0.2,leased,nobody,home,{soon},02-00-00-00-00-02
"""
NETBOX_PREFIXES = (
    "prefix,status,role,description\n10.0.0.0/8,container,,ours\n10.0.0.0/24,active,pppoe,homes\n"
)
NETBOX_ADDRESSES = "address,status,dns_name\n10.9.0.1/24,active,core1.example\n"
PHPIPAM = (
    '[{"id": "3", "subnet": "10.0.0.0", "mask": "24", "description": "homes", "vrf": "blue"},\n'
    ' {"id": "4", "subnet": "10.0.1.0", "mask": "24", "description": "more", "vrf": "blue"}]\n'
)

Story = Callable[[Counter], Awaitable[None]]


def run(directory: Path, story: Story) -> None:
    async def everything() -> None:
        async with importing(directory) as (counter, _):
            await story(counter)

    asyncio.run(everything())


def write(directory: Path, name: str, text: str, counter: Counter | None = None) -> Path:
    path = directory / name
    soon = "" if counter is None else str(int(counter.play.clock.wall()) + 900)
    path.write_text(text.replace("{soon}", soon))
    return path


def test_a_book_is_shown_dry_then_taken_over_then_unchanged(tmp_path: Path) -> None:
    async def story(counter: Counter) -> None:
        file = write(tmp_path, "book.csv", BOOK, counter)
        dry = await command(counter, tmp_path, "plain", file, "--dry-run")
        assert dry.exit_code == 0, dry.output
        assert "Dry run: nothing was changed." in dry.output
        assert counter.definitions.pools.known == {}
        done = await command(counter, tmp_path, "plain", file)
        assert done.exit_code == 0, done.output
        assert dry.stdout.splitlines()[:-1] == done.stdout.splitlines()[:-2]
        assert done.stdout.splitlines()[-2] == "Done: all of it is in force."
        assert "kept for /02:00:00:00:00:02" in done.stderr
        assert max(map(len, done.stdout.splitlines())) <= WIDEST
        again = await command(counter, tmp_path, "plain", file, "--output", "json")
        said = json.loads(again.stdout)
        assert (said["made"], said["unchanged"]) == ({}, {"leases": 2})
        async with counter.play.edge.engine.connect() as connection:
            audited = [
                tuple(row) for row in await connection.execute(select(AUDIT.c.action, AUDIT.c.subject))
            ]
        assert audited == [("ipam-import", "home")] * 2

    run(tmp_path, story)


def test_what_is_broken_is_told_with_its_place_and_nothing_is_sent(tmp_path: Path) -> None:
    async def story(counter: Counter) -> None:
        file = write(tmp_path, "book.csv", BOOK.replace("10.0.0.2", "10.0.0.999"), counter)
        done = await command(counter, tmp_path, "plain", file)
        assert done.exit_code == 1
        assert f"Problem: {file}:4: address: got 10.0.0.999" in done.stderr
        assert "Nothing was taken over." in done.stdout
        assert counter.definitions.pools.known == {}

    run(tmp_path, story)


def test_what_overlaps_here_is_told_with_both_names(tmp_path: Path) -> None:
    async def story(counter: Counter) -> None:
        there = Pool(tenant="demo", vrf="", name="old", kind=Kind.V4, unit_length=32, ranges=())
        assert isinstance(await counter.definitions.pools.add(there, ["10.0.0.4/30"]), Pool)
        file = write(tmp_path, "book.csv", BOOK, counter)
        done = await command(counter, tmp_path, "plain", file)
        assert done.exit_code == 1
        assert "pool home and pool old overlap" in done.stderr
        assert f"{file}:2: pool" in done.stderr

    run(tmp_path, story)


def test_a_mapping_names_pools_vrfs_and_owners(tmp_path: Path) -> None:
    async def story(counter: Counter) -> None:
        file = write(tmp_path, "book.csv", BOOK, counter)
        names = write(
            tmp_path, "names.yaml", "pools: {home: {name: homes, vrf: blue}}\nowners: {nobody: A1}\n"
        )
        done = await command(counter, tmp_path, "plain", file, "--map", names)
        assert done.exit_code == 0, done.output
        assert list(counter.definitions.pools.known) == [("demo", "homes")]
        assert counter.definitions.pools.known["demo", "homes"].pool.vrf == "blue"
        assert "got blue; expected VRF default, in which the data have subscriber A1" in done.stderr
        assert "nobody" not in done.stderr
        names.write_text("pools: {home: {colour: red}}\n")
        wrong = await command(counter, tmp_path, "plain", file, "--map", names)
        assert wrong.exit_code == 2
        assert "pools.home: expected a name, or name, vrf, kind" in wrong.stderr

    run(tmp_path, story)


@pytest.mark.parametrize("zone", ["UTC", "Africa/Lagos"])
def test_times_are_of_the_zone_that_is_named(tmp_path: Path, zone: str) -> None:
    async def story(counter: Counter) -> None:
        # The play begins at 08:00 UTC; Lagos is an hour ahead, so that this is over there.
        row = "pool_name,framedipaddress,expiry_time,username\nhome,10.0.0.1,2027-01-15 08:30:00,alice\n"
        file = write(tmp_path, "pool.csv", row)
        done = await command(counter, tmp_path, "radippool", file, "--zone", zone, "--output", "json")
        assert json.loads(done.stdout)["made"]["leases" if zone == "UTC" else "kept for their owners"] == 1

    run(tmp_path, story)


def test_exports_of_netbox_and_phpipam_become_the_tree(tmp_path: Path) -> None:
    async def story(counter: Counter) -> None:
        files = [
            write(tmp_path, "prefixes.csv", NETBOX_PREFIXES),
            write(tmp_path, "addresses.csv", NETBOX_ADDRESSES),
        ]
        done = await command(counter, tmp_path, "netbox", *files, "--output", "json")
        assert json.loads(done.stdout)["made"] == {"prefixes": 2, "reservations": 1}
        done = await command(
            counter, tmp_path, "phpipam", write(tmp_path, "subnets.json", PHPIPAM), "--vrf", "x"
        )
        assert done.exit_code == 0, done.output
        tree = [
            (each.prefix.vrf, str(each.prefix.unit), each.depth)
            for each in counter.definitions.prefixes.listed()
        ]
        assert tree == [
            ("", "10.0.0.0/8", 0),
            ("", "10.0.0.0/24", 1),
            ("blue", "10.0.0.0/24", 0),
            ("blue", "10.0.1.0/24", 0),
        ]
        kept = [
            (str(each.unit), each.owner, each.name) for each in counter.definitions.reservations.rows.values()
        ]
        assert kept == [("10.9.0.1", "import:10.9.0.1", "core1.example")]

    run(tmp_path, story)


def test_one_import_at_a_time(tmp_path: Path) -> None:
    async def everything() -> None:
        async with importing(tmp_path) as (counter, importer):
            gate = asyncio.Event()

            async def slow() -> AsyncIterator[bytes]:
                await gate.wait()
                yield b""

            first = asyncio.create_task(importer.plan("demo", slow()))
            await asyncio.sleep(0)
            refused = await counter.ask("POST", "/imports")
            assert refused.status_code == 409
            assert "another import is under way" in refused.text
            gate.set()
            await importer.drop(await first)
            assert (await counter.ask("POST", "/imports")).status_code == 200

    asyncio.run(everything())


def test_nobody_answers_and_no_such_tenant(tmp_path: Path) -> None:
    async def story(counter: Counter) -> None:
        file = write(tmp_path, "book.csv", BOOK, counter)
        unknown = await command(counter, tmp_path, "plain", file, "--tenant", "other")
        assert unknown.exit_code == 4
        assert "no tenant has the id other" in unknown.stderr

    run(tmp_path, story)
