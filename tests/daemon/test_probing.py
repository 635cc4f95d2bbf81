"""No address is given to another while somebody is still there, and no login waits for finding out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest

from daemon.leases.probe import NotAsked, Why
from ipam.address import read_unit
from ipam.kinds import Cause, Kind, LeaseState
from ipam.lease import Wanted
from ipam.model import Pool, Reservation
from ipam.restore import restore
from tests.daemon.probe_stage import AHEAD_S, STRANGER, ProbeStage
from tests.ipam.pools import TENANT, fixed, pool, units, v4

FIRST = "192.0.2.0"
CASUAL = pool("home", Kind.V4, "192.0.2.0-192.0.2.3", sticky=False)  # quarantine for 50 s
STICKY = pool("home", Kind.V4, "192.0.2.0-192.0.2.3", hold_s=50.0)  # held for 50 s, then free
BOTH = pool("home", Kind.V4, "192.0.2.0-192.0.2.3", hold_s=30.0)  # held for 30 s, in quarantine for 20 more
HOME = v4("home")


def run(scenario: Callable[[ProbeStage], Awaitable[None]], *pools: Pool, **settings: Any) -> None:
    async def everything() -> None:
        stage = ProbeStage(*(pools or (CASUAL,)), **settings)
        await scenario(stage)
        for task in stage.tasks:
            task.cancel()
        await asyncio.gather(*stage.tasks, return_exceptions=True)

    asyncio.run(everything())


def ended(stage: ProbeStage, owner: str = "alice", mac: str = "") -> None:
    """Let somebody have an address and give it up."""
    stage.logout(stage.login(owner, HOME, mac=mac))


def test_an_address_that_a_stranger_answers_for_is_kept_from_everybody() -> None:
    async def scenario(stage: ProbeStage) -> None:
        stage.wire.there[FIRST] = STRANGER
        ended(stage)
        await stage.wait(55)
        assert stage.state(FIRST) is LeaseState.QUARANTINED
        (found,) = stage.found
        assert (str(found.unit), found.pool, found.mac) == (FIRST, "home", STRANGER)
        assert (found.last_owner, found.kept_for) == ("alice", "")
        assert found.serial > 0
        others = [units(stage.login(name, HOME)) for name in ("bob", "carol", "dora")]
        assert others == [["192.0.2.1"], ["192.0.2.2"], ["192.0.2.3"]]

    run(scenario)


def test_a_conflict_is_one_event_that_names_who_answered_and_it_outlives_a_restart() -> None:
    async def scenario(stage: ProbeStage) -> None:
        stage.wire.there[FIRST] = STRANGER
        ended(stage)
        stage.store()
        await stage.wait(55)
        batch = stage.store()
        assert batch is not None
        seen = [(each.change.address, each.change.cause, each.change.seen) for each in batch.events]
        assert seen == [(FIRST, "conflict", STRANGER)]
        again = ProbeStage(CASUAL, disk=stage.disk)
        restore(again.register, again.book, again.disk.rows.values(), again.clock.monotonic())
        assert again.state(FIRST) is LeaseState.QUARANTINED
        await again.wait(180)
        assert again.state(FIRST) is LeaseState.QUARANTINED
        await again.wait(30)
        assert again.state(FIRST) is LeaseState.FREE

    run(scenario)


def test_a_silent_address_goes_on_at_its_time_and_was_asked_once_shortly_before() -> None:
    async def scenario(stage: ProbeStage) -> None:
        began = stage.clock.monotonic()
        ended(stage)
        await stage.wait(50)
        assert stage.state(FIRST) is LeaseState.QUARANTINED
        await stage.wait(1)
        assert stage.state(FIRST) is LeaseState.FREE
        ((asked_at, address),) = stage.wire.asked
        assert address == FIRST
        assert began + 50 - AHEAD_S <= asked_at < began + 50
        assert stage.found == []

    run(scenario)


def test_what_cannot_be_asked_goes_on_at_its_time() -> None:
    async def scenario(stage: ProbeStage) -> None:
        stage.wire.there[FIRST] = NotAsked(Why.NO_PERMISSION)
        ended(stage)
        await stage.wait(51)
        assert stage.state(FIRST) is LeaseState.FREE
        assert stage.prober.counts.not_asked == {Why.NO_PERMISSION: 1}

    run(scenario)


def test_an_answer_that_comes_late_still_takes_a_free_address_out() -> None:
    async def scenario(stage: ProbeStage) -> None:
        stage.wire.there[FIRST] = STRANGER
        stage.wire.takes_s = AHEAD_S + 5
        ended(stage)
        await stage.wait(52)
        assert stage.state(FIRST) is LeaseState.FREE
        await stage.wait(5)
        assert stage.state(FIRST) is LeaseState.QUARANTINED

    run(scenario)


def test_an_answer_never_touches_an_address_that_is_leased_again() -> None:
    async def scenario(stage: ProbeStage) -> None:
        stage.wire.there[FIRST] = STRANGER
        stage.wire.takes_s = AHEAD_S + 5
        ended(stage)
        await stage.wait(52)
        bundle = stage.login("bob", fixed(FIRST))
        await stage.wait(20)
        assert stage.wire.asked != []
        assert stage.found == []
        assert stage.state(FIRST) is LeaseState.BOUND
        assert stage.book.stands(bundle.id)
        stage.logout(bundle)
        assert stage.state(FIRST) is LeaseState.QUARANTINED
        await stage.wait(30)  # of a wait of 50 s that is another one

    run(scenario)


def test_an_answer_says_nothing_about_a_wait_that_began_later() -> None:
    async def scenario(stage: ProbeStage) -> None:
        stage.wire.there[FIRST] = STRANGER
        stage.wire.takes_s = 5.0
        ended(stage)
        await stage.wait(42)
        assert list(stage.asked()) == [FIRST]
        ended(stage)
        await stage.wait(10)
        assert stage.state(FIRST) is LeaseState.HELD
        assert stage.found == []

    run(scenario, STICKY)


def test_an_address_is_asked_in_its_last_wait_only() -> None:
    async def scenario(stage: ProbeStage) -> None:
        began = stage.clock.monotonic()
        ended(stage)
        await stage.wait(60)
        ((asked_at, _),) = stage.wire.asked
        assert asked_at >= began + 50 - AHEAD_S  # not at the end of the hold

    run(scenario, BOTH)


def test_an_owner_that_still_answers_keeps_its_address_and_gets_it_back() -> None:
    async def scenario(stage: ProbeStage) -> None:
        stage.wire.there[FIRST] = STRANGER
        ended(stage, mac=STRANGER.upper().replace(":", "-"))
        await stage.wait(75)  # the hold was 50 s
        assert stage.state(FIRST) is LeaseState.HELD
        assert [(each.kept_for, each.serial) for each in stage.found] == [("alice", 0)]
        assert units(stage.login("alice", HOME)) == [FIRST]

    run(scenario, STICKY)


def test_an_owner_that_answers_once_and_goes_lets_its_address_go() -> None:
    async def scenario(stage: ProbeStage) -> None:
        stage.wire.there[FIRST] = STRANGER
        ended(stage, mac=STRANGER)
        await stage.wait(50)
        assert stage.state(FIRST) is LeaseState.QUARANTINED
        stage.wire.there.clear()
        await stage.wait(60)
        assert stage.state(FIRST) is LeaseState.FREE
        assert len(stage.wire.asked) == 2

    run(scenario)


def test_a_declined_address_that_is_still_in_use_is_kept_for_as_long_again() -> None:
    async def scenario(stage: ProbeStage) -> None:
        stage.wire.there[FIRST] = STRANGER
        stage.login("alice", HOME)
        stage.steward.decline(TENANT, "", read_unit(FIRST), stage.clock.monotonic(), stage.clock.wall())
        stage.store()
        await stage.wait(210)
        assert stage.state(FIRST) is LeaseState.DECLINED
        batch = stage.store()
        assert batch is not None
        changes = [each.change for each in batch.events]
        assert [(each.old, each.new, each.cause, each.seen) for each in changes] == [
            ("declined", "declined", "conflict", STRANGER)
        ]
        stage.wire.there.clear()
        await stage.wait(200)
        assert stage.state(FIRST) is LeaseState.FREE

    run(scenario)


def test_an_owner_that_came_back_is_not_asked_about() -> None:
    async def scenario(stage: ProbeStage) -> None:
        ended(stage)
        ended(stage, "bob")
        await stage.wait(41)
        assert [address for _, address in stage.wire.asked] == [FIRST]
        stage.login("bob", HOME)
        await stage.wait(20)
        assert [address for _, address in stage.wire.asked] == [FIRST]
        assert stage.prober.counts.not_asked == {Why.TOO_LATE: 1}

    run(scenario, STICKY, per_s=0.5, burst=1)


def test_a_slot_that_an_operator_takes_out_is_not_asked_about() -> None:
    async def scenario(stage: ProbeStage) -> None:
        bundle = stage.login("alice", HOME)
        stage.steward.disable(TENANT, "", read_unit(FIRST), stage.clock.wall())
        stage.logout(bundle)
        await stage.wait(60)
        assert stage.state(FIRST) is LeaseState.DISABLED
        assert stage.wire.asked == []

    run(scenario)


def test_a_reserved_slot_that_is_in_use_is_quarantined_and_then_reserved_again() -> None:
    async def scenario(stage: ProbeStage) -> None:
        stage.wire.there[FIRST] = STRANGER
        ended(stage)
        wanted = Reservation(tenant=TENANT, vrf="", unit=read_unit(FIRST), owner="bob")
        stage.steward.reserve(wanted, stage.clock.wall())
        await stage.wait(55)
        assert stage.state(FIRST) is LeaseState.QUARANTINED
        stage.wire.there.clear()
        await stage.wait(200)
        assert stage.state(FIRST) is LeaseState.RESERVED

    run(scenario)


@pytest.mark.parametrize(
    "made",
    [
        pool("home", Kind.V4, "198.51.100.0/29", sticky=False),  # no interface leads there
        pool("home", Kind.PD, "2001:db8::/48", sticky=False),  # prefixes
    ],
)
def test_what_no_probe_can_tell_goes_on_as_without(made: Pool) -> None:
    async def scenario(stage: ProbeStage) -> None:
        bundle = stage.login("alice", Wanted(made.kind, ("home",)))
        stage.logout(bundle)
        await stage.wait(60)
        assert stage.tasks == []
        assert stage.state(str(bundle.leases[0].unit)) is LeaseState.FREE

    run(scenario, made)


def test_after_a_mass_logout_the_rate_is_kept_and_nobody_waits_longer() -> None:
    many = pool("home", Kind.V4, "192.0.2.0/24", sticky=False)

    async def scenario(stage: ProbeStage) -> None:
        for number in range(250):
            stage.login(f"subscriber-{number}", HOME)
        for bundle in list(stage.book.bundles()):
            stage.book.release(bundle.id, Cause.STOP, stage.clock.monotonic(), stage.clock.wall())
        await stage.wait(51)
        times = [at for at, _ in stage.wire.asked]
        assert 90 <= len(times) <= 10 * AHEAD_S + 1
        assert all(later - at >= 0.1 - 1e-9 for at, later in pairwise(times))
        assert len({address for _, address in stage.wire.asked}) == len(times)
        await stage.wait(30)
        assert stage.prober.counts.not_asked[Why.TOO_LATE] <= 21  # two seconds' worth waits, not all of them
        utilisation = stage.register.utilisation(TENANT, "home")
        assert utilisation is not None
        assert utilisation.free == 256

    run(scenario, many)


def test_with_a_short_queue_each_is_asked_early_in_its_turn_though_many_stand_before_it() -> None:
    many = pool("home", Kind.V4, "192.0.2.0/24", sticky=False)

    async def scenario(stage: ProbeStage) -> None:
        due: dict[str, float] = {}
        for number in range(80):
            due[f"192.0.2.{number}"] = stage.clock.monotonic() + 50
            ended(stage, f"subscriber-{number}")
            await stage.wait(number % 2)
        await stage.wait(60)
        asked = stage.asked()
        assert set(asked) == set(due)
        assert all(asked[each] <= due[each] - AHEAD_S + 2 for each in due)

    run(scenario, many, queue=5)


def test_a_box_that_answers_for_everything_does_not_empty_a_pool() -> None:
    many = pool("home", Kind.V4, "192.0.2.0/24", sticky=False)

    async def scenario(stage: ProbeStage) -> None:
        for number in range(50):
            ended(stage, f"subscriber-{number}")
            stage.wire.there[f"192.0.2.{number}"] = STRANGER
        await stage.wait(60)
        assert len(stage.found) == 8
        assert stage.prober.counts.in_use == 8
        assert stage.prober.counts.not_asked == {Why.MANY_ADDRESSES: 42}

    run(scenario, many)


def test_a_router_with_proxy_arp_can_be_named_and_is_not_taken_for_a_subscriber() -> None:
    async def scenario(stage: ProbeStage) -> None:
        stage.wire.there[FIRST] = STRANGER
        ended(stage)
        await stage.wait(51)
        assert stage.state(FIRST) is LeaseState.FREE

    run(scenario, ignore_macs=frozenset({STRANGER}))


def test_one_turn_looks_only_at_what_ends_soon() -> None:
    many = pool("home", Kind.V4, "192.0.2.0/24", sticky=False)

    async def scenario(stage: ProbeStage) -> None:
        for number in range(5):
            ended(stage, f"first-{number}")
        await stage.wait(30)
        for number in range(200):
            ended(stage, f"later-{number}")
        await stage.wait(15)
        assert sorted(stage.asked()) == [f"192.0.2.{number}" for number in range(5)]

    run(scenario, many)
