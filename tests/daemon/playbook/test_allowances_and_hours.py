"""Playbooks of what no change of data announces: a quota reached, the turn of a month, the night."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from radius.codes import Code
from tests.daemon.playbook.stage import PASSWORD, play
from tests.twins.bng import Told

COA, DISCONNECT = Code.COA_REQUEST, Code.DISCONNECT_REQUEST
SLOW = {"download": "2M", "upload": "512k"}
GB = 1_000_000_000


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_quota_reached_slows_the_session_down_at_the_next_interim(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            quota = {"name": "monthly", "octets": "10GB", "then": SLOW}
            await edge.provide("plan", "basic", allowances=[quota])
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            bng.interim(cpe, upload_octets=1 * GB, download_octets=8 * GB)
            await edge.pass_time(5)
            assert bng.told() == []
            bng.interim(cpe, download_octets=1 * GB)
            await edge.until(lambda: cpe.rate == "512k/2M")
            await edge.settled()
            assert bng.told() == [Told(COA, "alice", "512k/2M")]
            assert edge.story() == [("allowance-reached", ""), ("session-deviates", "")]
            await edge.confirmed(bng, cpe)
            assert edge.story("session-matches") == [("session-matches", "")]
            assert dict(edge.events("allowance-reached")[0].fields)["allowance"] == "monthly"
            await edge.provide("subscriber", "A1", bonus_octets="20GB")
            await edge.settled()
            assert cpe.rate == "4M/20M", "what was bought besides counts at once"
            assert edge.story("allowance-restored") == [("allowance-restored", "")]
            assert (cpe.logins, session.closed_at) == (1, None)

    asyncio.run(scenario())


def test_quota_reached_may_wall_in_and_outlives_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            quota = {"name": "hard", "octets": "5GB", "then": "captive", "direction": "download"}
            await edge.provide("plan", "basic", allowances=[quota])
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            await edge.connect(bng, cpe)
            bng.interim(cpe, upload_octets=50 * GB, download_octets=6 * GB)
            await edge.until(lambda: cpe.address_list == "garden")
            await edge.settled()
            assert bng.told() == [Told(COA, "alice", "1M/1M", "garden")]
            assert ("session-deviates", "octets-used-up") in edge.story()
            await edge.pass_time(5)
            await edge.restart()
            await edge.settled()
            assert len(bng.told()) == 1, "what the session was given is known after the restart"
            bng.hang_up(cpe)
            await edge.connect(bng, cpe)
            assert cpe.address_list == "garden"

    asyncio.run(scenario())


def test_the_turn_of_the_month_gives_the_plan_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path, at("2027-01-31T23:56:00")) as edge:
            quota = {"name": "monthly", "octets": "10GB", "then": SLOW}
            await edge.provide("plan", "basic", allowances=[quota])
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            await edge.pass_time(30)
            bng.interim(cpe, download_octets=11 * GB)
            await edge.until(lambda: cpe.rate == "512k/2M")
            await edge.pass_time(120, step_s=5)
            assert cpe.rate == "512k/2M", "it is January still"
            await edge.until(lambda: edge.clock.wall() > at("2027-02-01T00:00:00"), most_s=120, step_s=5)
            await edge.until(lambda: cpe.rate == "4M/20M", most_s=70)
            await edge.settled()
            assert bng.told() == [Told(COA, "alice", "512k/2M"), Told(COA, "alice", "4M/20M")]
            assert edge.story("allowance-reached", "allowance-restored") == [
                ("allowance-reached", ""),
                ("allowance-restored", ""),
            ]
            assert (cpe.logins, session.closed_at) == (1, None)

    asyncio.run(scenario())


def test_the_night_boosts_the_rate_and_the_day_takes_it_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path, at("2027-01-15T21:58:30")) as edge:
            await edge.provide("tenant", "demo", timezone="Europe/Berlin")  # an hour ahead
            night = {"hours": ["23:00-23:04"], "download": "200M", "upload": "40M"}
            later = {"hours": ["23:04-23:06"], "download": "50M", "upload": "10M"}
            await edge.provide("plan", "basic", rate_hours=[night, later])
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            assert cpe.rate == "4M/20M"
            await edge.pass_time(8 * 60 + 30, step_s=5)
            await edge.settled()
            assert bng.told() == [
                Told(COA, "alice", "40M/200M"),
                Told(COA, "alice", "10M/50M"),
                Told(COA, "alice", "4M/20M"),
            ]
            assert (cpe.rate, cpe.logins, session.closed_at) == ("4M/20M", 1, None)

    asyncio.run(scenario())


def test_login_hours_end_the_session_of_a_bng_that_does_not_do_it_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path, at("2027-01-15T19:58:00")) as edge:
            await edge.provide("plan", "basic", login_hours=["08:00-20:00"])
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            assert cpe.session_timeout_s == 120
            await edge.until(lambda: session.closed_at is not None, most_s=200, step_s=1)
            await edge.settled()
            assert bng.told() == [Told(DISCONNECT, "alice")]
            assert edge.story("session-deviates") == [("session-deviates", "outside-hours")]
            assert (await bng.login(cpe)).code == Code.ACCESS_REJECT
            assert edge.last_reason() == "outside-hours"

    asyncio.run(scenario())
