"""Playbooks of a NAS that changes, falls silent and comes back, and of a platform that does not say a word."""

from __future__ import annotations

import asyncio
from pathlib import Path

from daemon.aaa.session import Closed, State
from radius.codes import Code
from tests.daemon.playbook.stage import PASSWORD, T0, Play, play
from tests.twins.bng import BngTwin, Told, obey
from tests.twins.dae import silence

COA, DISCONNECT = Code.COA_REQUEST, Code.DISCONNECT_REQUEST


def test_a_nas_change_leaves_sessions_alone_and_counts_for_the_next_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            await bng.stop()
            await bng.start("127.0.0.1")  # on another port
            await edge.provide(
                "nas",
                "bng-1",
                coa_port=bng.port,
                secret="fresh-secret",
                previous_secret="testing123",
                site="north",
            )
            await edge.pass_time(70)
            assert (bng.told(), edge.events(), session.closed_at) == ([], [], None)
            bng.rekey(b"fresh-secret")
            await edge.provide("subscriber", "A1", plan="fast")
            await edge.settled()
            assert bng.told() == [Told(COA, "alice", "20M/100M")]
            assert (cpe.rate, bng.refused) == ("20M/100M", 0)
            bng.interim(cpe)
            await edge.until(lambda: not bng.unanswered)

    asyncio.run(scenario())


def test_a_subscriber_that_moves_to_another_nas_takes_its_old_session_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            await edge.provide("plan", "basic", simultaneous_use=1)
            old_bng, new_bng = await edge.bng(), await edge.bng("bng-2", "127.0.0.2")
            old = old_bng.cpe("alice", PASSWORD)
            before = await edge.connect(old_bng, old)
            await edge.pass_time(30)
            await edge.connect(new_bng, new_bng.cpe("alice", PASSWORD))
            assert (before.closed_by, before.terminate_cause) == (Closed.TAKEN_OVER, "port-preempted")
            other = new_bng.cpe("alice", PASSWORD, mac="02-00-00-00-00-99")
            assert (await new_bng.login(other)).code == Code.ACCESS_REJECT
            assert edge.story() == [("simultaneous-denied", "too-many-sessions")]
            await edge.settled()
            assert old_bng.told() == new_bng.told() == []

    asyncio.run(scenario())


def test_with_the_platform_silent_everything_goes_on_even_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            quota = {"name": "daily", "octets": "1GB", "window": "day", "then": "captive"}
            await edge.provide("plan", "basic", allowances=[quota])
            await edge.provide("subscriber", "A1", valid_until=int(T0) + 300)
            await edge.provide(
                "subscriber", "B1", username="bob", password="builder", access_mode="active", plan="basic"
            )
            bng = await edge.bng()
            alice, bob = bng.cpe("alice", PASSWORD), bng.cpe("bob", "builder")
            await edge.connect(bng, alice)
            await edge.restart()
            bob_session = await edge.connect(bng, bob)
            alice_session = edge.find(alice)
            assert alice_session is not None
            bng.interim(bob, download_octets=2_000_000_000)
            await edge.until(lambda: bob.address_list == "garden")
            await edge.until(lambda: not alice.online, most_s=400, step_s=1)
            await edge.settled()
            assert edge.clock.wall() >= T0 + 300
            assert bng.told() == [Told(COA, "bob", "1M/1M", "garden"), Told(DISCONNECT, "alice")]
            assert edge.story("session-deviates") == [
                ("session-deviates", "octets-used-up"),
                ("session-deviates", "expired"),
            ]
            assert (alice_session.state, bob_session.state) == (State.CLOSED, State.ACTIVE)

    asyncio.run(scenario())


async def _dead(edge: Play) -> BngTwin:
    """Return a BNG with a session that is wanted faster, after it has been silent for long."""
    bng = await edge.bng()
    await edge.connect(bng, bng.cpe("alice", PASSWORD))
    bng.otherwise = silence
    await edge.provide("subscriber", "A1", plan="fast")
    await edge.until(lambda: bool(edge.events("coa-nas-suspect")), most_s=400, step_s=1)
    return bng


def test_a_dead_nas_costs_no_session_and_stays_visible(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await _dead(edge)
            (cpe,) = bng.cpes
            session = edge.find(cpe)
            assert session is not None
            assert (session.closed_at, cpe.rate) == (None, "4M/20M")
            assert edge.deviating() == ["alice"]
            (job,) = edge.path.enforcement.engine.jobs()
            assert (job.state, job.outcome, job.kind) == ("waiting", "timeout", "change")
            asked = {(each.code, each.rate) for each in bng.told()}
            assert asked == {(COA, "20M/100M"), (DISCONNECT, None)}
            assert {each.username[:9] for each in bng.told() if each.code is DISCONNECT} == {"coa-test-"}
            assert edge.story() == [("session-deviates", ""), ("coa-nas-suspect", "")]

    asyncio.run(scenario())


def test_a_nas_that_is_back_gets_what_it_has_missed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await _dead(edge)
            (cpe,) = bng.cpes
            await edge.provide("subscriber", "A1", access_mode="captive")  # wanted otherwise meanwhile
            before = len(bng.told())
            bng.otherwise = obey
            await edge.until(lambda: cpe.address_list == "garden", most_s=400, step_s=1)
            await edge.settled()
            assert bng.told()[before:] == [Told(COA, "alice", "1M/1M", "garden")]
            assert (cpe.logins, edge.deviating()) == (1, [])
            assert edge.story("session-matches") == []
            assert edge.story()[-1][0] == "coa-nas-back"
            await edge.confirmed(bng, cpe)
            assert edge.story("session-matches") == [("session-matches", "access-captive")]

    asyncio.run(scenario())


def test_a_nas_that_is_back_from_a_reboot_has_nothing_left_to_change(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await _dead(edge)
            (cpe,) = bng.cpes
            session = edge.find(cpe)
            assert session is not None
            bng.otherwise = obey
            bng.reboot()
            await edge.until(lambda: session.closed_at is not None)
            await edge.settled()
            assert session.closed_by is Closed.NAS_REBOOT
            (told,) = edge.events("coa-outcome")
            assert dict(told.fields)["outcome"] == "no-session"
            before = len(bng.told())
            await edge.connect(bng, cpe)
            assert (cpe.rate, len(bng.told())) == ("20M/100M", before)

    asyncio.run(scenario())
