"""Playbooks of what the platform decides about a subscriber: suspend, captive, pay, upgrade, downgrade, password."""

from __future__ import annotations

import asyncio
from pathlib import Path

from daemon.aaa.session import Closed
from radius.codes import Attr, Code
from tests.daemon.playbook.stage import PASSWORD, play
from tests.twins.bng import Told

COA, DISCONNECT = Code.COA_REQUEST, Code.DISCONNECT_REQUEST


def test_suspend_ends_the_session_and_keeps_the_subscriber_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            await edge.provide("subscriber", "A1", access_mode="reject")
            await edge.until(lambda: session.closed_at is not None)
            await edge.settled()
            assert bng.told() == [Told(DISCONNECT, "alice")]
            assert not cpe.online
            assert (session.closed_by, session.terminate_cause) == (Closed.STOP, "admin-reset")
            assert edge.story() == [("session-deviates", "access-reject"), ("coa-outcome", "access-reject")]
            assert dict(edge.events("coa-outcome")[0].fields)["outcome"] == "verified"
            assert (await bng.login(cpe)).code == Code.ACCESS_REJECT
            assert edge.last_reason() == "access-reject"

    asyncio.run(scenario())


def test_captive_walls_the_live_session_in_and_new_logins_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            assert (cpe.rate, cpe.address_list) == ("4M/20M", "full")
            await edge.provide("subscriber", "A1", access_mode="captive")
            await edge.settled()
            assert bng.told() == [Told(COA, "alice", "1M/1M", "garden")]
            assert (cpe.rate, cpe.address_list, cpe.logins) == ("1M/1M", "garden", 1)
            assert session.closed_at is None
            assert session.applied is not None
            assert session.applied.captive
            assert edge.story() == [("session-deviates", "access-captive")]
            await edge.confirmed(bng, cpe)
            assert edge.story("session-matches") == [("session-matches", "access-captive")]
            bng.hang_up(cpe)
            await edge.connect(bng, cpe)
            assert (cpe.rate, cpe.address_list, cpe.session_timeout_s) == ("1M/1M", "garden", 300)
            await edge.settled()
            assert len(bng.told()) == 1, "what a login has given needs no CoA"

    asyncio.run(scenario())


def test_captive_ends_the_session_where_the_vendor_has_no_garden(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng(vendor="accel-ppp")
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            await edge.provide("subscriber", "A1", access_mode="captive")
            await edge.until(lambda: session.closed_at is not None)
            await edge.settled()
            assert bng.told() == [Told(DISCONNECT, "alice")]
            assert edge.story("session-deviates") == [("session-deviates", "captive-unsupported")]
            assert (await bng.login(cpe)).code == Code.ACCESS_REJECT
            assert edge.last_reason() == "captive-unsupported"

    asyncio.run(scenario())


def test_pay_restores_full_service_without_a_new_login(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            await edge.provide("subscriber", "A1", access_mode="captive")
            session = await edge.connect(bng, cpe)
            assert (session.applied_reason, cpe.address_list) == ("access-captive", "garden")
            await edge.provide("subscriber", "A1", access_mode="active")
            await edge.settled()
            assert bng.told() == [Told(COA, "alice", "4M/20M", "full")]
            assert (cpe.rate, cpe.address_list, cpe.logins) == ("4M/20M", "full", 1)
            assert (session.closed_at, session.applied_reason) == (None, "")
            assert edge.story() == [("session-deviates", "")]
            bng.tells = True
            await edge.confirmed(bng, cpe)
            assert edge.story("session-matches") == [("session-matches", "")]
            assert dict(edge.events("coa-outcome")[0].fields)["outcome"] == "verified"

    asyncio.run(scenario())


def test_pay_takes_a_new_login_where_the_vendor_cannot_leave_its_garden(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            await edge.provide("plan", "basic", address_list=None)  # RouterOS has no words for no list
            await edge.provide("subscriber", "A1", access_mode="captive")
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            await edge.provide("subscriber", "A1", access_mode="active")
            await edge.until(lambda: session.closed_at is not None)
            await edge.settled()
            assert bng.told() == [Told(DISCONNECT, "alice")]
            await edge.connect(bng, cpe)
            assert (cpe.rate, cpe.address_list) == ("4M/20M", "")
            await edge.settled()
            assert len(bng.told()) == 1

    asyncio.run(scenario())


def test_upgrade_and_downgrade_change_the_rate_of_the_live_session(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            await edge.provide("subscriber", "A1", plan="fast")
            await edge.settled()
            assert (cpe.rate, cpe.address_list, cpe.logins) == ("20M/100M", "full", 1)
            await edge.confirmed(bng, cpe)
            await edge.provide("subscriber", "A1", plan="basic")
            await edge.settled()
            assert (cpe.rate, cpe.logins) == ("4M/20M", 1)
            assert bng.told() == [Told(COA, "alice", "20M/100M"), Told(COA, "alice", "4M/20M")]
            assert session.closed_at is None
            await edge.confirmed(bng, cpe)
            assert (
                edge.story("session-deviates", "session-matches")
                == [
                    ("session-deviates", ""),
                    ("session-matches", ""),
                ]
                * 2
            )
            assert dict(edge.events("session-deviates")[0].fields)["fields"] == "rate"

    asyncio.run(scenario())


def test_a_rate_written_otherwise_is_no_change(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            await edge.connect(bng, cpe)
            for text in ("4000k/20000k", "4096k/20480k", "4096000/20480000", None):
                await edge.provide("plan", "basic", mikrotik_rate_limit=text)
                await edge.settled()
            assert [each.rate for each in bng.told()] == ["4096k/20480k", "4M/20M"]

    asyncio.run(scenario())


def test_a_password_change_concerns_the_next_login_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            await edge.provide("subscriber", "A1", password="looking-glass")
            await edge.pass_time(70)  # a sweep, too
            await edge.settled()
            assert (bng.told(), session.closed_at, edge.events()) == ([], None, [])
            bng.hang_up(cpe)
            reply = await bng.login(cpe)
            assert (reply.code, edge.last_reason()) == (Code.ACCESS_REJECT, "wrong-password")
            assert Attr.REPLY_MESSAGE not in reply.spots
            cpe.password = "looking-glass"
            await edge.connect(bng, cpe)
            assert cpe.rate == "4M/20M"

    asyncio.run(scenario())
