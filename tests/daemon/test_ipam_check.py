"""What `ipam check` finds, what it repairs, that it finds nothing where all is well, and that it holds up nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from daemon.cli.ipam import group as ipam_group
from daemon.leases.cgnat import Cgnat, PlanRefused, StoredPlan
from daemon.leases.check import check
from daemon.leases.check_book import steps as book_steps
from daemon.leases.check_model import Finding, Progress, Rule, Scope, Seen
from ipam.address import Unit
from ipam.cells import FREE_HEAD
from ipam.cgnat import DeterministicPlan
from ipam.history import Party
from ipam.kinds import BOUND, HELD, Cause, Kind, Space
from ipam.lease import Bundle, Request, Wanted
from ipam.model import Pool, range_of
from ipam.resize import exclude
from ipam.restore import faults
from ipam.schema import EVENT, LEASE
from tests.daemon.ipam_leases_stage import Counter, counter
from tests.daemon.test_ipam_leases import online, take

Story = Callable[[Counter], Awaitable[None]]


def run(directory: Path, story: Story, **settings: Any) -> None:
    async def everything() -> None:
        async with counter(directory, **settings) as stage:
            await story(stage)

    asyncio.run(everything())


async def found(stage: Counter, **how: Any) -> list[tuple[str, str, bool]]:
    """Check; return rule, subject and whether it was repaired."""
    answer = await stage.ask("POST", "/checks", **how)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["count"] == len(said["findings"])
    assert all(each["remedy"] for each in said["findings"])
    return [(each["rule"], each["subject"], each["repaired"]) for each in said["findings"]]


async def write(stage: Counter, *statements: Any) -> None:
    async def execute(connection: Any) -> None:
        for each in statements:
            await connection.execute(each)

    await stage.play.edge.writer.commit(execute)


def test_nothing_is_found_where_all_is_well(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        bng, cpe = await online(stage)
        take(stage, "S1")
        await stage.next("key-0001", owner="S5")
        await stage.ask("POST", "/leases/203.0.113.5/disable")
        assert await found(stage, deep=True) == []
        bng.hang_up(cpe)
        await stage.play.until(lambda: stage.play.find(cpe) is None)
        assert await found(stage, deep=True) == []
        await stage.play.restart()
        await stage.open()
        assert await found(stage, deep=True) == []

    run(tmp_path, story)


def test_a_bound_lease_without_a_session_is_found_and_released(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        edge, clock = stage.play.edge, stage.play.clock
        bundle = take(stage, "S1")
        edge.addresses.book.bind(bundle.id, "4711", clock.monotonic(), clock.wall())
        assert await found(stage) == [("lease-session", "203.0.113.0", False)]
        assert await found(stage, repair=True) == [("lease-session", "203.0.113.0", True)]
        assert await found(stage) == []
        assert (await stage.get("/leases/203.0.113.0"))["lease"]["state"] == "held"

    run(tmp_path, story)


def test_a_session_whose_address_is_not_leased_is_found_and_gets_it(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        await online(stage)
        await stage.ask("POST", "/leases/203.0.113.0/release", force=True)
        wrong = await found(stage)
        assert sorted(wrong) == [
            ("session-lease", "2001:db8:100::/56", False),
            ("session-lease", "203.0.113.0", False),
        ]
        assert {repaired for _, _, repaired in await found(stage, repair=True)} == {True}
        assert await found(stage) == []
        assert (await stage.get("/leases/203.0.113.0"))["lease"]["state"] == "bound"

    run(tmp_path, story)


def test_a_session_that_has_anothers_address_is_found_and_left_to_the_operator(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        await online(stage)
        addresses, clock = stage.play.edge.addresses, stage.play.clock
        await stage.ask("POST", "/leases/203.0.113.0/release", force=True)
        shelf = addresses.register.shelves["demo", "v4"]
        cell = shelf.allocator.cell_at(0)
        assert shelf.allocator.states[cell] == HELD
        await stage.play.pass_time(40)
        other = Wanted(Kind.V4, unit=Unit(Space.IPV4, int(IPv4Address("203.0.113.0")), 32))
        request = Request(tenant="demo", wanted=(other,), party=Party("S7"))
        got = addresses.book.take("S7", request, clock.monotonic(), clock.wall())
        assert isinstance(got, Bundle)
        await stage.ask("POST", "/leases/2001:db8:100::/release", force=True)
        wrong = [each for each in await found(stage, repair=True) if each[1] == "203.0.113.0"]
        assert wrong == [("session-lease", "203.0.113.0", False)]

    run(tmp_path, story, hold_s=10.0, quarantine_s=10.0, min_reuse_s=10.0)


def test_two_sessions_with_one_address_are_found(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        bng, cpe = await online(stage)
        await stage.play.provide(
            "subscriber", "B1", username="bob", password="b", access_mode="active", plan="basic"
        )
        bob = bng.cpe("bob", "b", mac="02-00-00-00-00-02")
        await stage.play.connect(bng, bob)
        await stage.play.pass_time(5)
        bob.address = cpe.address
        bng.interim(bob)
        session = stage.play.find(bob)
        assert session is not None
        await stage.play.until(lambda: session.ipv4_octets == cpe.address.packed)
        rules = {(rule, subject) for rule, subject, _ in await found(stage)}
        assert ("one-session", "203.0.113.0") in rules
        assert ("session-lease", "203.0.113.0") in rules

    run(tmp_path, story)


# --- the store -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (lambda key: delete(LEASE).where(*key), "is tentative in memory and not on disk"),
        (lambda key: update(LEASE).where(*key).values(owner="S9"), "is of S9 on disk, of S1 in memory"),
        (lambda key: update(LEASE).where(*key).values(state="held"), "is held on disk, tentative in memory"),
        (lambda key: update(LEASE).where(*key).values(lease_id=7), "is lease 7 of session"),
        (lambda key: update(LEASE).where(*key).values(marks=2), "is not marked on disk"),
        (lambda key: update(LEASE).where(*key).values(slot=5), "and never used in memory"),
        (lambda key: update(LEASE).where(*key).values(pool="gone"), "of pool gone, which is not defined"),
    ],
)
def test_a_row_that_is_not_what_is_in_memory_is_found(
    tmp_path: Path, statement: Callable[[Any], Any], text: str
) -> None:
    async def story(stage: Counter) -> None:
        take(stage, "S1")
        take(stage, "S2")
        await stage.play.until(lambda: not stage.play.edge.addresses.register.ledger.waiting)
        await write(stage, statement((LEASE.c.pool == "v4", LEASE.c.slot == 0)))
        said = (await stage.ask("POST", "/checks")).json()["findings"]
        assert {each["rule"] for each in said} == {"stored"}
        assert any(text in each["text"] for each in said), said

    run(tmp_path, story)


def test_leases_that_come_and_go_meanwhile_are_no_findings(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        addresses, clock = stage.play.edge.addresses, stage.play.clock
        going = True

        async def logins() -> None:
            number = 0
            while going:
                number += 1
                for owner in range(number % 30, 300, 30):
                    bundle = take(stage, f"S{owner}")
                    if number % 3:
                        addresses.book.release(bundle.id, Cause.STOP, clock.monotonic(), clock.wall())
                addresses.lessor.wake()
                await asyncio.sleep(0.002)

        beside = asyncio.create_task(logins())
        await asyncio.sleep(0.2)
        for _ in range(3):
            assert await found(stage, deep=True) == []
        going = False
        await beside

    run(tmp_path, story, v4="10.0.0.0/22")


# --- history, definitions, the book itself ---------------------------------------------------------


def test_an_event_that_was_changed_is_found_by_a_deep_check_alone(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        for number in range(5):
            take(stage, f"S{number}")
        await stage.play.until(lambda: not stage.play.edge.addresses.register.ledger.waiting)
        await write(stage, update(EVENT).where(EVENT.c.seq == 3).values(subscriber="X"))
        assert await found(stage) == []
        assert await found(stage, deep=True) == [("history", "edge 3", False)]
        await write(stage, delete(EVENT).where(EVENT.c.seq == 5))
        assert ("history", "edge", False) in await found(stage)

    run(tmp_path, story)


def test_overlaps_of_pools_and_fixed_addresses_are_found_with_both_names(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        empty = Pool(tenant="demo", vrf="", name="twin", kind=Kind.V4, unit_length=32, ranges=())
        twin = replace(empty, ranges=(range_of("203.0.113.4/30", empty),))
        stage.play.edge.addresses.register.add_pool(twin)
        assert [each[:2] for each in await found(stage)] == [("overlap", "pool v4 and pool twin")]

    run(tmp_path, story)


BREAKS: dict[str, Callable[[Any], object]] = {
    "a counter": lambda shelf: shelf.allocator.counts.__setitem__(BOUND, 3),
    "a state": lambda shelf: shelf.allocator.states.__setitem__(shelf.allocator.cell_at(1), BOUND),
    "no tenure": lambda shelf: shelf.tenures.pop(shelf.allocator.cell_at(0)),
    "an owner": lambda shelf: shelf.allocator.by_owner.__setitem__("S1", shelf.allocator.cell_at(0)),
    "another owner": lambda shelf: shelf.allocator.by_owner.__setitem__("nobody", FREE_HEAD),
    "no owner": lambda shelf: shelf.allocator.owners.__setitem__(shelf.allocator.cell_at(0), None),
    "a size": lambda shelf: shelf.allocator.counts.__setitem__(0, 4000),
}


@pytest.mark.parametrize("name", [*BREAKS, "nothing"])
def test_the_book_is_found_broken_where_the_check_at_the_start_finds_it_so(tmp_path: Path, name: str) -> None:
    async def story(stage: Counter) -> None:
        take(stage, "S0")
        take(stage, "S1")
        register = stage.play.edge.addresses.register
        BREAKS.get(name, lambda _: None)(register.shelves["demo", "v4"])
        mine = [step async for step in book_steps(_scope(stage)) if isinstance(step, Finding)]
        assert bool(mine) is bool(faults(register)) is (name != "nothing")
        register.shelves.clear()  # what is broken cannot go on

    run(tmp_path, story)


def test_what_is_set_aside_by_no_reservation_is_found(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        await stage.next("key-0001", owner="S1")
        register = stage.play.edge.addresses.register
        register.set_aside.clear()
        (one,) = (await stage.ask("POST", "/checks")).json()["findings"]
        assert (
            one["text"] == "pool v4: 203.0.113.0 is set aside for S1 by no reservation and no fixed address"
        )

    run(tmp_path, story)


def test_a_fixed_address_in_a_pool_is_no_finding_and_one_that_was_taken_away_is(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        for number in range(3):
            await stage.play.provide("subscriber", f"F{number}", **_fixed(f"203.0.113.{number}"))
        await _converge(stage)
        register = stage.play.edge.addresses.register
        assert len(register.shelves["demo", "v4"].allocator.reserved_for) == 3
        assert await found(stage) == []
        await stage.play.provide("subscriber", "F1", **_fixed("203.0.113.5"))
        assert await found(stage) == []  # the book takes it over with its next turn
        await _converge(stage)
        assert await found(stage) == []
        stage.definitions.claims.kept.clear()
        await stage.play.provide("subscriber", "F1", **_fixed(None))
        assert [each[:2] for each in await found(stage)] == [("book", "203.0.113.5")]

    run(tmp_path, story)


def _fixed(address: str | None) -> dict[str, Any]:
    wanted = {"username": f"f{address}", "password": "pw", "access_mode": "active", "plan": "basic"}
    return wanted | {"ipv4_address": address}


async def _converge(stage: Counter) -> None:
    await stage.definitions._convergence.whole()
    await stage.play.until(lambda: not stage.play.edge.addresses.register.ledger.waiting)


def test_an_excluded_address_that_is_leased_still_is_no_finding(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        edge, clock = stage.play.edge, stage.play.clock
        bundle = take(stage, "S1")
        take(stage, "S2")
        register = edge.addresses.register
        await stage.play.until(lambda: not register.ledger.waiting)
        first = int(IPv4Address("203.0.113.0"))
        exclude(register, "demo", "v4", first, first + 3, clock.wall())
        await stage.play.until(lambda: not register.ledger.waiting)
        assert await found(stage) == []
        edge.addresses.book.release(bundle.id, Cause.STOP, clock.monotonic(), clock.wall())
        await stage.play.pass_time(40)
        assert await found(stage) == []

    run(tmp_path, story, hold_s=10.0, quarantine_s=10.0, min_reuse_s=10.0)


def test_a_plan_whose_outside_addresses_are_taken_is_refused_with_both_names(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        await stage.play.provide("subscriber", "F1", **_fixed("198.51.100.2"))
        numbers: dict[str, Any] = {
            "inside": (IPv4Network("100.64.0.0/28"),),
            "sharing": 4,
            "block_size": 16_128,
        }
        both = (IPv4Network("198.51.100.0/30"), IPv4Network("203.0.113.4/30"))
        refused = await stage.cgnat.add(
            "demo", DeterministicPlan(id="pop1", version=1, outside=both, **numbers), 5.0
        )
        assert isinstance(refused, PlanRefused)
        told = "; outside addresses of a CGNAT may be nobody's"
        assert refused.problems == (
            f"CGNAT plan pop1 version 1 and pool v4: both have 203.0.113.4{told}",
            f"CGNAT plan pop1 version 1 and a fixed address of subscriber F1: both have 198.51.100.2{told}",
        )
        assert stage.cgnat.stored() == ()

    run(tmp_path, story)


def test_a_pool_or_a_fixed_address_at_the_outside_of_a_cgnat_is_found_with_both_names(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        early = stage.play.clock.wall() - 60
        for name, outside in (("north", "198.51.100.0/30"), ("south", "203.0.113.0/30")):
            numbers: dict[str, Any] = {
                "inside": (IPv4Network("100.64.0.0/28"),),
                "sharing": 4,
                "block_size": 16_128,
            }
            plan = DeterministicPlan(
                id=name, version=1, outside=(IPv4Network(outside),), valid_from=early, **numbers
            )
            added = Cgnat(stage.play.edge.engine, stage.play.edge.writer, "edge")  # before there was the pool
            assert isinstance(await added.add("demo", plan, early), StoredPlan)
        await stage.cgnat.load()
        await stage.play.provide("subscriber", "F1", **_fixed("198.51.100.2"))
        assert sorted(each[:2] for each in await found(stage)) == [
            ("overlap", "CGNAT plan north version 1 and ipv4_address of subscriber F1"),
            ("overlap", "CGNAT plan south version 1 and pool v4"),
        ]
        for name in ("north", "south"):
            await stage.cgnat.end("demo", name, early + 1, early + 1)
        assert await found(stage) == []

    run(tmp_path, story)


# --- how it goes about it --------------------------------------------------------------------------


class NoSessions:
    """Nobody is online."""

    def names(self) -> list[str]:
        return []

    def find(self, name: str) -> Seen | None:
        return None

    def look_again(self, name: str) -> None:
        return None


def _scope(stage: Counter) -> Scope:
    return Scope(stage.play.edge.addresses, NoSessions(), lambda: ())


def test_it_lets_logins_in_between_and_tells_how_far_it_is(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        for number in range(4000):
            take(stage, f"S{number}")
        await stage.play.until(lambda: not stage.play.edge.addresses.register.ledger.waiting)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        beside = asyncio.create_task(others())
        steps = [step async for step in check(_scope(stage))]
        beside.cancel()
        assert not [each for each in steps if isinstance(each, Finding)]
        told = [each for each in steps if isinstance(each, Progress) and each.stage == "slots"]
        assert [each.done for each in told] == sorted(each.done for each in told)
        assert told[-1].done == told[-1].total == 4000
        assert turns > 3 * 4000 / 500

    run(tmp_path, story, v4="10.0.0.0/16")


def test_progress_and_findings_come_line_by_line_and_one_check_at_a_time(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        edge, clock = stage.play.edge, stage.play.clock
        bundle = take(stage, "S1")
        edge.addresses.book.bind(bundle.id, "4711", clock.monotonic(), clock.wall())
        first, second = await asyncio.gather(
            stage.ask("POST", "/checks", stream=True), stage.ask("POST", "/checks")
        )
        assert second.status_code == 409
        lines = [json.loads(line) for line in first.text.splitlines()]
        assert [next(iter(each)) for each in lines][-1] == "result"
        assert lines[-1]["result"]["count"] == 1
        assert [each["finding"]["rule"] for each in lines if "finding" in each] == [Rule.LEASE_SESSION]
        assert (await stage.ask("POST", "/checks")).status_code == 200

    run(tmp_path, story)


def test_the_command_leaves_with_3_where_something_is_left(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        done = await stage.command(tmp_path, ipam_group, "check", "--deep")
        assert (done.exit_code, done.output.splitlines()[-1]) == (0, "All is well.")
        edge, clock = stage.play.edge, stage.play.clock
        bundle = take(stage, "S1")
        edge.addresses.book.bind(bundle.id, "4711", clock.monotonic(), clock.wall())
        done = await stage.command(tmp_path, ipam_group, "check")
        assert done.exit_code == 3
        assert "203.0.113.0 is bound to S1" in done.output
        assert max(map(len, done.output.splitlines())) <= 100
        done = await stage.command(tmp_path, ipam_group, "check", "--repair")
        assert (done.exit_code, done.output.splitlines()[-1]) == (0, "1 finding, 1 repaired.")
        done = await stage.command(tmp_path, ipam_group, "check", "--output", "json")
        assert json.loads(done.output)["count"] == 0

    run(tmp_path, story)
