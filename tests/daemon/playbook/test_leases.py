"""What leases live through: logins, Starts, Stops, reboots, restarts, disks that refuse, addresses that are stolen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.api.views import decision_view
from ipam import definition_rows
from ipam.address import Unit, read_unit
from ipam.history import broken
from ipam.kinds import Kind, LeaseState
from ipam.model import Match, Pool, Reservation, Selector, range_of
from ipam.restore import faults
from ipam.selection import Selectors
from ipam.store import events_of, history_of, kept_from
from radius.codes import Code
from tests.daemon.playbook.stage import PASSWORD, Play, _shipped, play
from tests.twins.bng import BngTwin, CpeTwin

_UNIT_LENGTH = {Kind.V4: 32, Kind.PD: 56}


async def pools(play: Play, v4: str = "203.0.113.0/29", vrf: str = "", **settings: Any) -> None:
    """Let the provider lease IPv4 addresses and delegated prefixes of its own to everybody."""
    made = []
    for name, kind, given in (("v4", Kind.V4, v4), ("pd", Kind.PD, "2001:db8:100::/48")):
        pool = Pool(
            tenant="demo",
            vrf=vrf,
            name=name,
            kind=kind,
            unit_length=_UNIT_LENGTH[kind],
            ranges=(),
            **settings,
        )
        made.append(replace(pool, ranges=(range_of(given, pool),)))
    everybody = Selector(
        name="everybody",
        priority=10,
        match=Match(tenant="demo"),
        pools=((Kind.V4, ("v4",)), (Kind.PD, ("pd",))),
    )

    async def save(connection: AsyncConnection) -> None:
        for pool in made:
            await definition_rows.save_pool(connection, pool)
        await definition_rows.save_selector(connection, everybody)

    await play.edge.writer.commit(save)
    for pool in made:
        play.edge.addresses.register.add_pool(pool)
    play.edge.addresses.choose_by({"demo": Selectors([everybody])})


def state(play: Play, given: str) -> tuple[str, str]:
    """Return state and subscriber of an address or prefix."""
    addresses = play.edge.addresses
    place = addresses.register.locate("demo", "", read_unit(given))
    assert place is not None
    shelf, slot = place
    cell = shelf.allocator.cell_at(slot)
    if cell < 0:
        return LeaseState.FREE, ""
    found = addresses.book.standing(shelf, cell, play.clock.monotonic(), play.clock.wall())
    return found.state, found.party.subscriber


async def history(play: Play, address: str) -> list[tuple[str, str]]:
    """Return new state and cause of what happened to an address, oldest first, as it is on disk."""
    await play.until(lambda: not play.edge.addresses.register.ledger.waiting)
    async with play.edge.engine.connect() as connection:
        found = await history_of(connection, "demo", "", address, 1e12, 100)
    return [(each.change.new, each.change.cause) for each in reversed(found)]


async def sound(play: Play) -> None:
    """The book is as it must be, on disk as in memory, and its history is unbroken."""
    addresses = play.edge.addresses
    await play.until(lambda: not addresses.register.ledger.waiting)
    assert faults(addresses.register) == ()
    async with play.edge.engine.connect() as connection:
        begin = await kept_from(connection, "edge")
        events = [each async for each in events_of(connection, "edge", begin)]
    assert broken(events, await _begin(play)) is None


async def _begin(play: Play) -> Any:
    async with play.edge.engine.connect() as connection:
        return await kept_from(connection, "edge")


async def alice(play: Play) -> tuple[BngTwin, CpeTwin]:
    """Return a BNG, and alice's equipment at it, offline."""
    bng = await play.bng()
    return bng, bng.cpe("alice", PASSWORD)


def run(directory: Path, story: Any) -> None:
    async def everything() -> None:
        async with play(directory) as stage:
            await pools(stage)
            await story(stage)
            await sound(stage)

    asyncio.run(everything())


def test_a_login_is_told_address_and_prefix_from_one_bundle_and_its_session_keeps_them(
    tmp_path: Path,
) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        session = await play.connect(bng, cpe)
        assert cpe.address == IPv4Address("203.0.113.0")
        assert cpe.delegated is not None
        assert IPv6Network((cpe.delegated[2:], cpe.delegated[1])) == IPv6Network("2001:db8:100::/56")
        assert state(play, "203.0.113.0") == ("bound", "A1")
        assert state(play, "2001:db8:100::/56") == ("bound", "A1")
        assert len(session.bundles) == 1
        bng.hang_up(cpe)
        await play.until(lambda: state(play, "203.0.113.0")[0] == "held")
        assert state(play, "2001:db8:100::/56") == ("held", "A1")
        assert await history(play, "203.0.113.0") == [
            ("tentative", "login"),
            ("bound", "start"),
            ("held", "stop"),
        ]

    run(tmp_path, story)


def test_the_same_subscriber_gets_the_same_address_again_after_a_restart_too(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        await play.provide(
            "subscriber", "B1", username="bob", password="b", access_mode="active", plan="basic"
        )
        bob = bng.cpe("bob", "b", mac="02-00-00-00-00-02")
        await play.connect(bng, cpe)
        await play.connect(bng, bob)
        first, other = cpe.address, bob.address
        assert first != other
        bng.hang_up(cpe)
        bng.hang_up(bob)
        await play.until(lambda: play.find(cpe) is None and play.find(bob) is None)
        await play.restart()
        bng.auth_port, bng.acct_port = play.edge.ports()
        await play.connect(bng, bob)
        await play.connect(bng, cpe)
        assert (cpe.address, bob.address) == (first, other)

    run(tmp_path, story)


def test_a_lease_outlives_the_restart_with_its_session_and_is_released_with_it(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        await play.connect(bng, cpe)
        await play.restart()
        bng.auth_port, bng.acct_port = play.edge.ports()
        session = play.find(cpe)
        assert session is not None
        assert len(session.bundles) == 1
        assert state(play, "203.0.113.0") == ("bound", "A1")
        bng.hang_up(cpe)
        await play.until(lambda: state(play, "203.0.113.0")[0] == "held")
        assert state(play, "2001:db8:100::/56")[0] == "held"

    run(tmp_path, story)


def test_nothing_heard_for_hours_does_not_end_the_lease_of_a_session_that_may_live(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        await play.connect(bng, cpe)
        await play.pass_time(
            6 * 3600, step_s=120
        )  # the link to the BNG is down: no other session is heard of
        assert play.find(cpe) is not None
        assert state(play, "203.0.113.0") == ("bound", "A1")

    run(tmp_path, story)


def test_a_login_whose_start_never_comes_gives_its_address_up(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        bng.late = []
        await bng.login(cpe)
        assert state(play, "203.0.113.0") == ("tentative", "A1")
        await play.pass_time(62)
        assert state(play, "203.0.113.0") == ("held", "A1")
        assert (await history(play, "203.0.113.0"))[-1] == ("held", "tentative-over")
        bng.send_late()  # it comes after all: nobody else got the address meanwhile
        await play.until(lambda: state(play, "203.0.113.0") == ("bound", "A1"))
        assert state(play, "2001:db8:100::/56") == ("bound", "A1")

    run(tmp_path, story)


def test_a_reboot_of_the_nas_releases_the_leases_of_its_sessions(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        await play.connect(bng, cpe)
        await play.pass_time(5)
        bng.reboot()
        await play.until(lambda: state(play, "203.0.113.0")[0] == "held")
        assert (await history(play, "203.0.113.0"))[-1] == ("held", "nas-restart")

    run(tmp_path, story)


def test_an_exhausted_pool_refuses_with_its_reason_and_an_event_and_nothing_is_half_taken(
    tmp_path: Path,
) -> None:
    async def story(play: Play) -> None:
        bng = await play.bng()
        cpes = []
        for number in range(9):
            name = f"s{number}"
            await play.provide(
                "subscriber", name, username=name, password="x", access_mode="active", plan="basic"
            )
            cpes.append(bng.cpe(name, "x", mac=f"02-00-00-00-01-{number:02x}"))
        for cpe in cpes[:8]:
            await play.connect(bng, cpe)
        assert len({cpe.address for cpe in cpes[:8]}) == 8
        reply = await bng.login(cpes[8])
        assert reply.code == Code.ACCESS_REJECT
        assert play.last_reason() == "pool-exhausted"
        assert play.story("lease-refused") == [("lease-refused", "")] or play.events("lease-refused")
        used = play.edge.addresses.register.utilisation("demo", "pd")
        assert used is not None
        assert (used.tentative, used.bound) == (
            0,
            8,
        )  # the prefix was not taken for a bundle without an address
        bng.hang_up(cpes[0])
        await play.until(lambda: state(play, "203.0.113.0")[0] == "held")
        await bng.login(cpes[8])
        assert play.last_reason() == "pool-waiting"  # it is kept for its owner for an hour
        await play.pass_time(3_700, step_s=60)
        assert (await bng.login(cpes[8])).code == Code.ACCESS_ACCEPT
        assert cpes[8].address == cpes[0].address

    run(tmp_path, story)


def test_an_address_that_is_somebody_elses_is_told_kept_and_acted_on(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        await play.connect(bng, cpe)
        await play.provide(
            "subscriber", "T1", username="thief", password="t", access_mode="active", plan="basic"
        )
        thief = bng.cpe("thief", "t", mac="02-00-00-00-00-07", stubborn=True)
        thief.address = cpe.address
        play.path.enforcement.disconnects_conflicts = True
        await bng.login(thief)
        await play.until(lambda: bool(play.events("address-conflict")))
        (event,) = play.events("address-conflict")
        assert event.subscriber == "T1"
        assert "A1" in dict(event.fields)["why"]
        await play.until(lambda: not thief.online)
        assert cpe.online
        bng.hang_up(cpe)
        await play.until(lambda: state(play, str(cpe.address))[0] == "quarantined")
        assert ("bound", "conflict") in await history(play, str(cpe.address))

    run(tmp_path, story)


def test_a_fixed_address_is_in_the_book_and_its_login_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        await play.provide("subscriber", "A1", ipv4_address="198.51.100.7")
        session = await play.connect(bng, cpe)
        assert cpe.address == IPv4Address("198.51.100.7")
        assert cpe.delegated is not None  # still from the pool
        assert state(play, "198.51.100.7") == ("bound", "A1")
        assert session.bundles
        bng.hang_up(cpe)
        await play.until(lambda: state(play, "198.51.100.7")[0] == "held")

    run(tmp_path, story)


def test_a_reservation_is_what_its_subscriber_gets_with_any_equipment(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        unit = Unit(*read_unit("203.0.113.5"))
        reservation = Reservation(tenant="demo", vrf="", unit=unit, owner="A1")
        play.edge.addresses.steward.reserve(reservation, play.clock.wall())
        await play.connect(bng, cpe)
        assert cpe.address == IPv4Address("203.0.113.5")
        bng.hang_up(cpe)
        await play.until(lambda: play.find(cpe) is None)
        other = bng.cpe("alice", PASSWORD, mac="02-00-00-00-00-99")
        await play.connect(bng, other)
        assert other.address == IPv4Address("203.0.113.5")

    run(tmp_path, story)


def test_a_disk_that_refuses_answers_nobody_who_needs_a_new_address_and_all_who_have_theirs(
    tmp_path: Path,
) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        await play.connect(bng, cpe)
        await play.provide(
            "subscriber", "B1", username="bob", password="b", access_mode="active", plan="basic"
        )
        bob = bng.cpe("bob", "b", mac="02-00-00-00-00-02")
        other = await play.bng("bng-2", "127.0.0.2")
        mend = _refuse(play)
        login = asyncio.ensure_future(bng.login(bob))
        await play.until(lambda: play.edge.addresses.lessor.failing is not None)
        assert not login.done()
        again = other.cpe("alice", PASSWORD)
        other.late = []
        assert (await other.login(again)).code == Code.ACCESS_ACCEPT
        assert again.address == cpe.address  # leased and on disk long ago
        mend()
        login.cancel()
        await asyncio.gather(login, return_exceptions=True)
        await play.until(lambda: play.edge.addresses.lessor.failing is None)
        reply = await bng.login(bob)
        assert reply.code == Code.ACCESS_ACCEPT

    run(tmp_path, story)


def _refuse(play: Play) -> Any:
    """Let every commit of leases fail until the returned function is called."""
    lessor = play.edge.addresses.lessor
    write = lessor.write

    async def refuse(_connection: AsyncConnection) -> None:
        raise OSError("disk full")

    lessor.write = refuse  # type: ignore[method-assign]

    def mend() -> None:
        lessor.write = write  # type: ignore[method-assign]

    return mend


def test_why_tells_the_lease_and_the_attributes_that_were_sent(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        await play.connect(bng, cpe)
        decision = next(iter(play.path.trace.newest_first()))
        told = decision_view(decision, _shipped(), play.path.leasing.attributes)
        lease = next(each.detail for each in told.steps if each.step == "lease")
        assert lease == "203.0.113.0 of pool v4 (fresh); 2001:db8:100::/56 of pool pd (fresh)"
        assert told.reply[-2:] == [
            "Framed-IP-Address = 203.0.113.0  (lease)",
            "Delegated-IPv6-Prefix = 2001:db8:100::/56  (lease)",
        ]

    run(tmp_path, story)
