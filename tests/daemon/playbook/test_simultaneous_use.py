"""Playbooks of a limit on sessions: the oldest is kicked on the wire, and a restart in between."""

from __future__ import annotations

import asyncio
from pathlib import Path

from radius.codes import Code
from tests.daemon.playbook.stage import PASSWORD, play
from tests.twins.bng import Told

DISCONNECT = Code.DISCONNECT_REQUEST
OTHER = "02-00-00-00-00-99"


def test_kick_old_ends_the_old_session_once_the_new_one_is_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            await edge.provide("plan", "basic", simultaneous_use=1, simultaneous_mode="kick-old")
            bng = await edge.bng()
            old, new = bng.cpe("alice", PASSWORD), bng.cpe("alice", PASSWORD, mac=OTHER)
            before = await edge.connect(bng, old)
            await edge.pass_time(10)
            after = await edge.connect(bng, new)
            await edge.until(lambda: before.closed_at is not None)
            await edge.settled()
            assert bng.told() == [Told(DISCONNECT, "alice")]
            assert (old.online, new.online, after.closed_at) == (False, True, None)
            assert edge.story("coa-outcome") == [("coa-outcome", "too-many-sessions")]
            about = [each.session for each in edge.events("simultaneous-kicked")]
            assert about == [before.uid], "of the session that goes, and not of the login"

    asyncio.run(scenario())


def test_a_limit_holds_over_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            await edge.provide("plan", "basic", simultaneous_use=1)
            bng = await edge.bng()
            one, two = bng.cpe("alice", PASSWORD), bng.cpe("alice", PASSWORD, mac=OTHER)
            await edge.connect(bng, one)
            await edge.restart()
            assert (await bng.login(two)).code == Code.ACCESS_REJECT
            assert edge.last_reason() == "too-many-sessions"
            bng.hang_up(one)
            await edge.until(lambda: not bng.unanswered)
            await edge.connect(bng, two)
            await edge.settled()
            assert bng.told() == []

    asyncio.run(scenario())


def test_a_session_let_in_before_a_restart_and_begun_after_it_is_left_as_it_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            await edge.provide("plan", "basic", simultaneous_use=1)
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            late: list[bytes] = []
            bng.late = late
            assert (await bng.login(cpe)).code == Code.ACCESS_ACCEPT
            assert len(late) == 1, "its Start has not been sent yet"
            await edge.restart()
            bng.send_late()
            await edge.until(lambda: edge.find(cpe) is not None)
            await edge.pass_time(70)
            await edge.settled()
            session = edge.find(cpe)
            assert session is not None
            assert (session.subscriber, bng.told(), edge.story()) == ("A1", [], [])
            await edge.provide("subscriber", "A1", access_mode="captive")
            await edge.settled()
            assert cpe.address_list == "garden", "what it was given before is not known, and must not matter"

    asyncio.run(scenario())
