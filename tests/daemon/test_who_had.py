"""Who had an address: leases, delegated prefixes, what sessions reported, CGNAT, gaps, and evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from daemon.leases.cgnat import StoredPlan
from daemon.leases.who_had_model import Answer, Claim, Source, read_target
from daemon.store import cgnat_rows
from daemon.store.cgnat_rows import BlockRow
from ipam import store as ipam_store
from ipam.address import Malformed
from ipam.cgnat import DeterministicPlan
from ipam.kinds import Cause, ClockQuality, Kind
from ipam.lease import Wanted
from ipam.schema import EVENT
from tests.daemon.cgnat_stage import HELD, OUTSIDE, RELEASED, Feed, Said
from tests.daemon.who_had_stage import DAY, T0, Stage, stage, told
from tests.ipam.pools import fixed


def play(path: Path, scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def go() -> None:
        async with stage(path) as made:
            await scene(made)

    asyncio.run(go())


async def alice_for_an_hour(stage: Stage) -> str:
    """Alice logs in at T0, her session begins 2 s later and ends after an hour; bob then gets the same address."""
    (address,) = stage.login("alice")
    stage.at = T0 + 2
    stage.start("alice", "7001")
    stage.at = T0 + 3600
    stage.stop("alice")
    stage.at = T0 + 4000
    stage.book.expire_due(stage.at, stage.at, 100)
    stage.at = T0 + 4100
    stage.book.expire_due(stage.at, stage.at, 100)
    stage.at = T0 + 4500
    for name in "bcdefgh":  # the address was alice's last, so it is given out last
        stage.login(name)
    (again,) = stage.login("bob")
    assert again == address
    stage.start("bob", "7002")
    stage.at = T0 + DAY
    await stage.stored()
    return address


def test_the_holder_is_told_with_session_line_and_evidence(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        address = await alice_for_an_hour(stage)
        (holder,) = (await stage.ask(address, T0 + 1800)).holders
        assert (holder.claim, holder.subscriber, holder.session) == (Claim.HAD, "alice", "7001")
        assert (holder.nas, holder.circuit, holder.mac) == ("bng-1", "line of alice", "02:00:00:00:00:01")
        assert (holder.from_at, holder.until_at) == (T0 + 2, T0 + 3600)
        assert [each.what for each in holder.evidence] == [
            "login: free to tentative",
            "start: tentative to bound",
            "stop: bound to held",
        ]
        assert told(await stage.ask(address, T0 + DAY)) == [("had", "bob", "7002")]

    play(tmp_path, scene)


def test_between_two_holders_nobody_is_named_and_the_last_one_is(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        address = await alice_for_an_hour(stage)
        answer = await stage.ask(address, T0 + 4000)
        assert answer.holders == ()
        assert [each.subscriber for each in answer.last] == ["alice"]
        assert answer.gaps == ()

    play(tmp_path, scene)


def test_an_offer_is_not_a_session(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (address,) = stage.login("alice")
        stage.at = T0 + 30
        stage.book.expire_due(stage.at, stage.at, 10)
        await stage.stored()
        answer = await stage.ask(address, T0 + 10)
        assert told(answer) == [("offered", "alice", "")]
        assert (await stage.ask(address, T0 + 300)).holders == ()

    play(tmp_path, scene)


def test_within_the_uncertainty_of_the_time_both_holders_are_told(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        address = await alice_for_an_hour(stage)
        answer = await stage.ask(address, T0 + 4000, skew_s=600)
        assert sorted(told(answer)) == [("had", "alice", "7001"), ("had", "bob", "7002")]
        assert any("several candidates" in note for note in answer.notes)

    play(tmp_path, scene)


@pytest.mark.parametrize("asked", ["2001:db8:1000::1", "2001:db8:1000:ff:1:2:3:4", "2001:db8:1000:7::/64"])
def test_an_address_in_a_delegated_prefix_is_its_holders(tmp_path: Path, asked: str) -> None:
    async def scene(stage: Stage) -> None:
        units = stage.login("carol", Wanted(Kind.PD, ("pd",)), Wanted(Kind.V6_NA, ("na",)))
        assert units[0] == "2001:db8:1000::/56"
        stage.start("carol", "7003")
        await stage.stored()
        (holder,) = (await stage.ask(asked, T0 + 60)).holders
        assert (holder.unit, holder.kind, holder.subscriber) == ("2001:db8:1000::/56", "pd", "carol")
        assert told(await stage.ask(units[1], T0 + 60)) == [("had", "carol", "7003")]
        assert (await stage.ask("2001:db8:1000:100::1", T0 + 60)).holders == ()

    play(tmp_path, scene)


def test_an_address_of_a_routed_block_is_its_holders(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.login("dave", fixed("198.51.100.64/28"))
        stage.start("dave", "7004")
        await stage.stored()
        assert told(await stage.ask("198.51.100.77", T0 + 1)) == [("had", "dave", "7004")]
        assert (await stage.ask("198.51.100.80", T0 + 1)).holders == ()

    play(tmp_path, scene)


def test_a_clock_that_stepped_back_makes_times_uncertain_and_not_the_order(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (address,) = stage.login("alice")
        stage.start("alice", "7001")
        stage.book.release(stage.bundles["alice"].id, Cause.STOP, stage.at + 900, T0 - 600)
        stage.at = T0 + DAY
        await stage.stored()
        assert (await stage.ask(address, T0 + 3600)).holders == ()
        answer = await stage.ask(address, T0 - 300)
        assert told(answer) == [("had", "alice", "7001")]
        assert any("stepped back" in note for note in answer.holders[0].notes)
        assert answer.clock == ClockQuality.UNKNOWN

    play(tmp_path, scene)


def test_the_time_of_a_lease_is_told_where_its_beginning_was_pruned(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        address = await alice_for_an_hour(stage)
        async with stage.store.engine.begin() as connection:
            assert await ipam_store.prune(connection, "edge", T0 + 3000, 100) == 2
        answer = await stage.ask(address, T0 + 3500)
        assert told(answer) == [("had", "alice", "7001")]
        assert answer.holders[0].from_at is None

    play(tmp_path, scene)


def test_a_lease_older_than_the_history_is_told_as_long_as_it_stands(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (address,) = stage.login("alice")
        stage.start("alice", "7001")
        stage.at = T0 + 400 * DAY
        stage.login("bob")
        await stage.stored()
        async with stage.store.engine.begin() as connection:
            assert await ipam_store.prune(connection, "edge", T0 + DAY, 100) == 2
        answer = await stage.ask(address, stage.at)
        assert told(answer) == [("had", "alice", "7001")]
        assert "older than the history" in answer.holders[0].notes[0]

    play(tmp_path, scene)


def test_a_lease_with_many_events_is_told_from_its_beginning(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (address,) = stage.login("alice")
        stage.start("alice", "7001")
        for number in range(30):  # another login of hers, and its session, share the address for a moment
            stage.at += 60
            stage.login("alice")
            stage.start("alice", f"8{number:03}")
            stage.stop("alice")
        stage.at += 60
        await stage.stored()
        (holder,) = (await stage.ask(address, stage.at)).holders
        assert (holder.session, holder.from_at) == ("7001", stage.at - 60)
        beyond = await stage.ask(address, T0 + 30, skew_s=1)
        assert told(beyond) == [("had", "alice", "7001")]
        assert beyond.holders[0].until_at == T0 + 60

    play(tmp_path, scene)


def test_two_tenants_with_the_same_address_are_both_told_unless_one_is_asked_for(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (address,) = stage.login("alice")
        stage.start("alice", "7001")
        await stage.stored()
        await stage.report(uid=9, tenant="other", address=address, subscriber="X")
        assert sorted(told(await stage.ask(address, T0 + 60))) == [
            ("had", "X", "9"),
            ("had", "alice", "7001"),
        ]
        assert told(await stage.ask(address, T0 + 60, tenant="other")) == [("had", "X", "9")]
        assert told(await stage.ask(address, T0 + 60, tenant="acme")) == [("had", "alice", "7001")]

    play(tmp_path, scene)


# --- sessions ---------------------------------------------------------------------------------------


def test_an_address_from_a_pool_of_the_nas_is_told_by_what_the_session_reported(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.report(address="192.0.2.7", closed_at=T0 + 700, last_at=T0 + 700)
        (holder,) = (await stage.ask("192.0.2.7", T0 + 300)).holders
        assert (holder.claim, holder.subscriber, holder.username) == (Claim.HAD, "S1", "s1@isp")
        assert (holder.acct_session_id, holder.circuit) == ("81a0", "eth 1/2:100")
        assert (holder.from_at, holder.until_at) == (T0 + 10, T0 + 700)
        assert told(await stage.ask("192.0.2.7", T0 + 2, skew_s=1)) == [("perhaps", "S1", "1")]
        after = await stage.ask("192.0.2.7", T0 + 3600)
        assert (after.holders, [each.subscriber for each in after.last]) == ((), ["S1"])

    play(tmp_path, scene)


def test_a_session_that_changed_its_address_had_each_in_its_time(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.report(address="192.0.2.7")
        await stage.report(address="192.0.2.8", first_at=T0 + 1200, last_at=T0 + 1800)
        assert told(await stage.ask("192.0.2.7", T0 + 300)) == [("had", "S1", "1")]
        assert told(await stage.ask("192.0.2.7", T0 + 900)) == [("perhaps", "S1", "1")]
        assert (await stage.ask("192.0.2.7", T0 + 1500)).holders == ()
        assert told(await stage.ask("192.0.2.8", T0 + 900)) == [("perhaps", "S1", "1")]
        assert told(await stage.ask("192.0.2.8", T0 + 9000)) == [("had", "S1", "1")]

    play(tmp_path, scene)


def test_a_session_with_a_lease_is_told_once_and_the_report_is_a_second_witness(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (address,) = stage.login("alice")
        stage.start("alice", "7001")
        await stage.stored()
        await stage.report(uid=7001, address=address, subscriber="alice", username="alice@isp")
        (holder,) = (await stage.ask(address, T0 + 60)).holders
        assert (holder.username, holder.acct_session_id) == ("alice@isp", "81a0")
        assert [each.source for each in holder.evidence] == [
            Source.LEASE,
            Source.LEASE,
            Source.ACCOUNTING,
        ]

    play(tmp_path, scene)


# --- CGNAT ------------------------------------------------------------------------------------------


def plan() -> DeterministicPlan:
    return DeterministicPlan(
        id="home",
        version=1,
        inside=(IPv4Network("100.64.0.0/28"),),
        outside=(IPv4Network("198.51.100.0/30"),),
        block_size=8000,
        sharing=8,
        first_port=1024,
        valid_from=T0 - DAY,
    )


async def alice_inside(stage: Stage) -> None:
    """The first inside address is alice's, the second bob's."""
    assert isinstance(await stage.cgnat.add("acme", plan(), T0 - DAY), StoredPlan)
    assert stage.login("alice", Wanted(Kind.V4, ("inside",))) == ["100.64.0.0"]
    assert stage.login("bob", Wanted(Kind.V4, ("inside",))) == ["100.64.0.1"]
    stage.start("alice", "7001")
    stage.start("bob", "7002")
    await stage.stored()


def test_behind_a_plan_the_port_names_the_subscriber(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await alice_inside(stage)
        (holder,) = (await stage.ask("198.51.100.0:9500", T0 + 60)).holders
        assert (holder.subscriber, holder.session) == ("bob", "7002")
        assert holder.via is not None
        assert (holder.via.inside, holder.via.plan, holder.via.version) == ("100.64.0.1", "home", 1)
        assert holder.evidence[0].source is Source.PLAN

    play(tmp_path, scene)


def test_without_the_port_everybody_behind_the_address_is_told_and_counted(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await alice_inside(stage)
        answer = await stage.ask("198.51.100.0", T0 + 60)
        assert answer.count == 8
        assert [each.subscriber for each in answer.holders][:2] == ["alice", "bob"]
        assert {each.claim for each in answer.holders[2:]} == {Claim.PERHAPS}  # nobody is known inside
        assert any("8 inside addresses may be meant" in note for note in answer.notes)
        few = await stage.ask("198.51.100.0", T0 + 60, limit=3)
        assert (len(few.holders), few.count) == (3, 8)
        assert any("5 more of 8" in note for note in few.notes)

    play(tmp_path, scene)


def test_reports_of_port_blocks_that_are_not_written_yet_are_noted(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        feed = Feed()
        stage.cgnat.unwritten = feed.ingest.unwritten
        await stage.lived()
        feed.say(Said(1, 7, HELD, T0 + 10))
        outside = f"{OUTSIDE}:1024"
        note = "1 of the last reports of its port blocks are not written yet: ask again in some seconds"
        early = await stage.ask(outside, T0 + 60)
        assert (early.holders, note in early.notes) == ((), True)
        assert note not in (await stage.ask("203.0.113.77:1024", T0 + 60)).notes
        await feed.ingest.flush(stage.store.writer)
        later = await stage.ask(outside, T0 + 60)
        assert [each.session for each in later.holders] == ["7"]
        assert note not in later.notes
        feed.say(Said(2, 7, RELEASED, T0 + 70))
        assert note in (await stage.ask(outside, T0 + 60)).notes

    play(tmp_path, scene)


def test_a_reported_port_block_names_its_session(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        row = BlockRow(5, 1, "acme", "198.51.100.9", 2048, 3071, 0, "", "S1", 1, "cgn-1", T0 + 20)
        async with stage.store.engine.begin() as connection:
            await cgnat_rows.save_blocks(connection, [row])
        await stage.report(address="10.0.0.7")
        (holder,) = (await stage.ask("198.51.100.9:3000", T0 + 60)).holders
        assert (holder.claim, holder.session, holder.username) == (Claim.HAD, "1", "s1@isp")
        assert holder.evidence[0].source is Source.BLOCK
        assert (await stage.ask("198.51.100.9:4000", T0 + 60)).holders == ()

    play(tmp_path, scene)


# --- gaps and evidence ------------------------------------------------------------------------------


async def down_for_four_minutes(stage: Stage) -> None:
    await stage.lived()
    stage.at += 240
    await stage.begin()


def test_a_time_without_the_edge_is_a_gap_where_it_could_have_changed_the_answer(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        stage.at = T0 + 60
        await down_for_four_minutes(stage)
        stage.at = T0 + DAY
        await stage.stored()
        answer = await stage.ask("203.0.113.1", T0 + 120)
        assert [(each.since, each.until) for each in answer.gaps] == [(T0 + 60, T0 + 300)]
        assert answer.gaps[0].why == "edge edge was down or could not write"
        assert (await stage.ask("203.0.113.1", T0 + 3 * DAY)).gaps == ()

    play(tmp_path, scene)


def test_a_gap_that_a_later_event_has_closed_is_not_told(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        (address,) = stage.login("alice")
        stage.start("alice", "7001")
        await stage.stored()
        book, register = stage.book, stage.register
        await down_for_four_minutes(stage)
        stage.book, stage.register = book, register
        open_end = await stage.ask(address, T0 + 100)
        assert [each.why for each in open_end.gaps] == ["edge edge was down or could not write"]
        stage.at = T0 + 600
        stage.stop("alice")
        await stage.stored()
        answer = await stage.ask(address, T0 + 100)
        assert (told(answer), answer.gaps) == ([("had", "alice", "7001")], ())

    play(tmp_path, scene)


def test_before_the_first_record_it_is_said_that_none_are_kept(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await alice_for_an_hour(stage)
        answer = await stage.ask("203.0.113.1", T0 - 30 * DAY)
        assert [each.why for each in answer.gaps] == ["no records are kept of that time"]

    play(tmp_path, scene)


async def seq_of(stage: Stage, answer: Answer) -> int:
    return answer.holders[0].evidence[1].seq


def test_an_altered_event_is_found_at_once(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        address = await alice_for_an_hour(stage)
        seq = await seq_of(stage, await stage.ask(address, T0 + 60))
        async with stage.store.engine.begin() as connection:
            await connection.execute(update(EVENT).where(EVENT.c.seq == seq).values(subscriber="mallory"))
        (holder,) = (await stage.ask(address, T0 + 60)).holders
        assert [note for note in holder.notes if "altered" in note] == [
            f"the evidence was altered: its hash does not fit (edge/{seq})"
        ]

    play(tmp_path, scene)


def test_the_chain_around_the_evidence_is_recomputed_when_asked(tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        address = await alice_for_an_hour(stage)
        (run,) = (await stage.ask(address, T0 + 60, verify=100)).verified
        assert (run.first_seq, run.broken_at) == (1, None)
        assert run.last_seq >= 10
        async with stage.store.engine.begin() as connection:  # an event that the answer does not stand on
            await connection.execute(delete(EVENT).where(EVENT.c.seq == 8))
        (run,) = (await stage.ask(address, T0 + 60, verify=100)).verified
        assert run.broken_at == 9

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("given", "unit", "port"),
    [
        ("203.0.113.9", "203.0.113.9", None),
        ("203.0.113.9:40000", "203.0.113.9", 40000),
        ("203.0.113.0/28", "203.0.113.0/28", None),
        ("2001:db8::1", "2001:db8::1", None),
        ("[2001:db8::1]:443", "2001:db8::1", 443),
        ("2001:db8::/56", "2001:db8::/56", None),
    ],
)
def test_what_is_asked_for_is_read(given: str, unit: str, port: int | None) -> None:
    found, read_port = read_target(given)
    assert (str(found), read_port) == (unit, port)


@pytest.mark.parametrize(
    "given", ["203.0.113.9:70000", "203.0.113.9/24", "host", "", "203.0.113.0/28:80", "1:x"]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(Malformed):
        read_target(given)
