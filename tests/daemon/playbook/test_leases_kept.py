"""Leases of sessions that live: given up too early, shared, found again after a crash, reported before there was a
pool. As long as a session may be online, what it was given is nobody else's."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from daemon.aaa.session import Closed
from daemon.leases.definitions import Definitions
from ipam.address import Unit, read_unit
from ipam.kinds import Kind
from ipam.model import Pool, Reservation
from radius.codes import AcctStatus, Attr, Code
from radius.packet import attribute
from tests.daemon.playbook.stage import Play, play
from tests.daemon.playbook.test_leases import alice, pools, sound, state
from tests.twins.bng import BngTwin, CpeTwin

V4, PD = "203.0.113.0", "2001:db8:100::/56"
_QUICK = {"hold_s": 60.0, "quarantine_s": 60.0, "min_reuse_s": 60.0, "decline_s": 120.0}


def run(directory: Path, story: Any, **settings: Any) -> None:
    async def everything() -> None:
        async with play(directory) as stage:
            await pools(stage, **settings)
            await story(stage)
            await sound(stage)

    asyncio.run(everything())


async def restart(play: Play, *bngs: BngTwin) -> None:
    await play.restart()
    for bng in bngs:
        bng.auth_port, bng.acct_port = play.edge.ports()


async def give_up(play: Play, cpe: CpeTwin) -> None:
    """Conclude wrongly that a session is gone."""
    session = play.find(cpe)
    assert session is not None
    play.path.sessions.conclude(session, Closed.GHOST, "lost-service")
    await play.pass_time(5)


async def hear(play: Play, bng: BngTwin, cpe: CpeTwin) -> None:
    bng.interim(cpe)
    await play.until(lambda: play.find(cpe) is not None and not bng.unanswered)


def tells(bng: BngTwin, *, v4: bool) -> None:
    """Let a BNG tell no prefix in accounting, and no address without `v4`; its subscribers have both all the same."""
    send = bng._send

    def less(attributes: bytes) -> None:
        for cpe in bng.cpes:
            if cpe.delegated is not None:
                attributes = attributes.replace(attribute(Attr.DELEGATED_IPV6_PREFIX, cpe.delegated), b"")
            if not v4:
                attributes = attributes.replace(attribute(Attr.FRAMED_IP_ADDRESS, cpe.address.packed), b"")
        send(attributes)

    bng._send = less  # type: ignore[method-assign]


def test_a_session_that_was_given_up_too_early_has_its_whole_bundle_again(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        tells(bng, v4=True)
        await play.connect(bng, cpe)
        await give_up(play, cpe)
        assert state(play, PD) == ("held", "A1")
        await hear(play, bng, cpe)
        assert state(play, V4) == ("bound", "A1")
        assert state(play, PD) == ("bound", "A1")  # which its NAS never reports

    run(tmp_path, story)


def test_the_whole_bundle_is_found_again_when_a_restart_came_between(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        tells(bng, v4=True)
        await play.connect(bng, cpe)
        await give_up(play, cpe)
        await restart(play, bng)
        await hear(play, bng, cpe)
        assert state(play, V4) == ("bound", "A1")
        assert state(play, PD) == ("bound", "A1")

    run(tmp_path, story)


def test_it_is_found_again_where_the_nas_reports_no_address_at_all(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        tells(bng, v4=False)
        await play.connect(bng, cpe)
        await give_up(play, cpe)
        await restart(play, bng)
        await hear(play, bng, cpe)
        assert state(play, V4) == ("bound", "A1")
        assert state(play, PD) == ("bound", "A1")

    run(tmp_path, story)


def test_what_another_got_meanwhile_is_told_as_a_conflict_though_no_report_names_it(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        tells(bng, v4=False)
        await play.connect(bng, cpe)
        await give_up(play, cpe)
        await play.pass_time(130, step_s=5)
        addresses, clock = play.edge.addresses, play.clock
        unit = Unit(*read_unit(PD))
        taken = addresses.steward.observe("demo", "", unit, "B1", "9", clock.monotonic(), clock.wall())
        assert taken.sighting == "adopted"
        await hear(play, bng, cpe)
        (event,) = play.events("address-conflict")
        assert event.subscriber == "A1"
        assert PD in str(dict(event.fields)["why"])
        assert state(play, V4) == ("bound", "A1")

    run(tmp_path, story, **_QUICK)


def test_a_late_start_has_the_whole_bundle(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        tells(bng, v4=True)
        bng.late = []
        await bng.login(cpe)
        await play.pass_time(62)
        assert state(play, PD) == ("held", "A1")
        bng.send_late()
        await play.until(lambda: state(play, V4) == ("bound", "A1"))
        assert state(play, PD) == ("bound", "A1")

    run(tmp_path, story)


def test_the_stop_of_an_earlier_try_leaves_the_address_to_the_session_that_came_of_the_later(
    tmp_path: Path,
) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        bng.late = []
        await bng.login(cpe)
        bng.hang_up(cpe)
        await bng.login(cpe)
        start1, stop1, start2 = bng.late
        bng.late = None
        for each in (start2, start1, stop1):
            bng._send(each)
            await play.until(lambda: not bng.unanswered)
        assert play.find(cpe) is not None
        assert state(play, V4) == ("bound", "A1")
        assert state(play, PD) == ("bound", "A1")
        bng.hang_up(cpe)
        await play.until(lambda: state(play, V4)[0] == "held")

    run(tmp_path, story)


def test_of_two_accounting_sessions_of_one_login_the_later_may_stop_first(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        await play.connect(bng, cpe)
        first = cpe.session_id
        cpe.session_id = b"ffff0001"
        for status in (AcctStatus.START, AcctStatus.STOP):
            bng._account(cpe, status)
            await play.until(lambda: not bng.unanswered)
        cpe.session_id = first
        assert state(play, V4) == ("bound", "A1")
        bng.hang_up(cpe)
        await play.until(lambda: state(play, V4)[0] == "held")
        assert not play.edge.addresses.book.bundles()

    run(tmp_path, story)


def test_an_address_in_dispute_is_given_to_nobody_while_a_session_has_it(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        await play.connect(bng, cpe)
        await play.provide(
            "subscriber", "T1", username="thief", password="t", access_mode="active", plan="basic"
        )
        thief = bng.cpe("thief", "t", mac="02-00-00-00-00-07", stubborn=True)
        thief.address = cpe.address
        await bng.login(thief)
        await play.until(lambda: bool(play.events("address-conflict")))
        bng.hang_up(cpe)
        await play.until(lambda: state(play, V4)[0] == "quarantined")
        await play.pass_time(300, step_s=5)  # twice the time for a conflict that is over; nothing is reported
        assert state(play, V4)[0] == "quarantined"
        assert len(play.events("address-conflict")) == 1
        bng.hang_up(thief)
        await play.pass_time(140, step_s=5)
        assert state(play, V4)[0] == "free"

    run(tmp_path, story, **_QUICK)


def test_a_new_pool_gives_out_nothing_that_a_live_session_reports(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        edge = play.edge
        bng, cpe = await alice(play)
        cpe.stubborn, cpe.address = True, IPv4Address("198.51.100.0")
        await play.connect(bng, cpe)
        defined = Definitions(edge.addresses, edge.index, edge.events, edge.supervisor.spawn)
        await defined.start()
        empty = Pool(tenant="demo", vrf="", name="new", kind=Kind.V4, unit_length=32, ranges=())
        assert not isinstance(await defined.pools.add(empty, ["198.51.100.0/30"]), tuple)
        assert state(play, "198.51.100.0") == ("bound", "A1")
        assert not isinstance(await defined.pools.resize("demo", "new", ["198.51.100.8/30"]), tuple)
        bng.hang_up(cpe)
        await play.until(lambda: state(play, "198.51.100.0")[0] == "held")

    run(tmp_path, story)


def test_a_start_without_an_address_finds_the_lease_of_its_login_after_a_restart(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        tells(bng, v4=False)
        bng.late = []
        await bng.login(cpe)
        await restart(play, bng)
        assert state(play, V4) == ("tentative", "A1")
        bng.send_late()
        await play.until(lambda: play.find(cpe) is not None and not bng.unanswered)
        assert state(play, V4) == ("bound", "A1")
        assert state(play, PD) == ("bound", "A1")

    run(tmp_path, story)


def test_a_start_that_a_crash_has_kept_from_the_book_is_bound_at_the_next_start(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        tells(bng, v4=False)
        bng.late = []
        await bng.login(cpe)
        play.edge.addresses.lessor.turn = lambda: None  # type: ignore[method-assign]  # nothing is written any more
        bng.send_late()
        await play.until(lambda: play.find(cpe) is not None and not bng.unanswered)
        await restart(play, bng)
        assert play.find(cpe) is not None
        assert state(play, V4) == ("bound", "A1")

    run(tmp_path, story)


def test_a_bound_lease_is_on_its_way_to_the_disk_at_once(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        await bng.login(cpe)
        for _ in range(1000):  # no time passes, so that no turn comes
            await asyncio.sleep(0.001)
            if state(play, V4)[0] == "bound" and not play.edge.addresses.register.ledger.waiting:
                break
        assert state(play, V4)[0] == "bound"
        assert not play.edge.addresses.register.ledger.waiting

    run(tmp_path, story)


def test_a_reserved_address_is_its_subscribers_own_when_its_session_is_heard_of_again(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        reservation = Reservation(tenant="demo", vrf="", unit=Unit(*read_unit("203.0.113.5")), owner="A1")
        play.edge.addresses.steward.reserve(reservation, play.clock.wall())
        await play.connect(bng, cpe)
        await give_up(play, cpe)
        await restart(play, bng)
        play.edge.addresses.steward.reserve(reservation, play.clock.wall())
        await hear(play, bng, cpe)
        assert state(play, "203.0.113.5") == ("bound", "A1")
        assert not play.events("address-conflict")
        assert (await bng.login(cpe)).code == Code.ACCESS_ACCEPT

    run(tmp_path, story)


def test_a_fixed_address_is_its_subscribers_own_when_nothing_is_known_of_its_login(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        await play.provide("subscriber", "A1", ipv4_address="203.0.113.6")
        play.edge.addresses.choose_by({})
        play.edge.addresses.lessor.turn = lambda: None  # type: ignore[method-assign]  # nothing is written any more
        await play.connect(bng, cpe)
        await restart(play, bng)
        assert state(play, "203.0.113.6") == ("bound", "A1")
        assert (await bng.login(cpe)).code == Code.ACCESS_ACCEPT, play.last_reason()

    run(tmp_path, story)


def test_a_login_is_not_served_from_a_pool_of_another_vrf(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        assert (await bng.login(cpe)).code == Code.ACCESS_REJECT
        assert play.last_reason() == "pool-unknown"
        detail = next(iter(play.path.trace.newest_first())).detail
        assert detail == "pool v4 is of VRF blue, and the subscriber of VRF default"
        assert not play.edge.addresses.register.ledger.waiting  # nothing was taken, not for a moment

    run(tmp_path, story, vrf="blue")
