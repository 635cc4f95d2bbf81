"""Playbooks of requests that do not go smoothly: overtaken, acknowledged without effect, for nobody, answer lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

from daemon.aaa.session import Closed
from radius.codes import Code
from tests.daemon.playbook.stage import PASSWORD, Play, play
from tests.twins.bng import Told, lose, obey
from tests.twins.dae import silence

COA, DISCONNECT = Code.COA_REQUEST, Code.DISCONNECT_REQUEST


def outcomes(edge: Play) -> list[tuple[str, str]]:
    found = [dict(each.fields) for each in edge.events("coa-outcome")]
    return [(str(each["asked"]), str(each["outcome"])) for each in found]


def test_a_change_while_another_is_under_way_follows_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            await edge.provide("plan", "gold", download="500M", upload="50M", address_list="full")
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            bng.script.append(silence)
            await edge.provide("subscriber", "A1", plan="fast")
            await edge.until(lambda: len(bng.requests) == 1)
            await edge.provide("subscriber", "A1", plan="gold")
            await edge.settled()
            rates = [each.rate for each in bng.told()]
            assert rates == ["20M/100M", "20M/100M", "50M/500M"], (
                "sent, sent again, and then what is wanted now"
            )
            assert (cpe.rate, cpe.logins, session.closed_at) == ("50M/500M", 1, None)
            assert outcomes(edge) == [("change", "acked")], (
                "the first came to its end; the second is still watched"
            )

    asyncio.run(scenario())


def test_back_to_the_old_plan_while_the_answer_is_lost_leaves_no_doubt(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            await edge.connect(bng, cpe)
            bng.otherwise = lose()  # obeys, but nobody hears of it
            await edge.provide("subscriber", "A1", plan="fast")
            await edge.until(lambda: cpe.rate == "20M/100M")
            await edge.provide("subscriber", "A1", plan="basic")
            await edge.pass_time(10)
            bng.otherwise = obey
            await edge.until(lambda: cpe.rate == "4M/20M", most_s=200, step_s=1)
            await edge.settled()
            assert cpe.logins == 1

    asyncio.run(scenario())


def test_an_ack_without_effect_ends_the_session(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            bng.deaf = bng.tells = True
            await edge.provide("subscriber", "A1", plan="fast")
            await edge.until(lambda: len(bng.requests) == 1)
            await edge.pass_time(5)
            bng.interim(cpe)
            await edge.until(lambda: session.closed_at is not None)
            await edge.settled()
            assert bng.told() == [Told(COA, "alice", "20M/100M"), Told(DISCONNECT, "alice")]
            assert session.closed_by is Closed.STOP
            assert outcomes(edge) == [("change", "verified")]
            await edge.connect(bng, cpe)
            assert cpe.rate == "20M/100M"

    asyncio.run(scenario())


def test_a_session_that_the_nas_does_not_know_is_closed_once_it_should_have_been_heard_of(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            cpe.online = False  # and its Stop was lost
            await edge.provide("subscriber", "A1", access_mode="captive")
            await edge.until(lambda: bool(outcomes(edge)))
            assert edge.deviating() == ["alice"], (
                "it has just been heard of, and some NASes say 503 to anything"
            )
            await edge.until(lambda: session.closed_at is not None, most_s=1200, step_s=5)
            await edge.settled()
            assert {each.code for each in bng.told()} == {COA}, "every name was tried, and nothing else"
            assert (session.closed_by, session.terminate_cause) == (Closed.NOT_ON_NAS, "lost-service")
            assert edge.story("session-deviates", "session-ghost-closed") == [
                ("session-deviates", "access-captive"),
                ("session-ghost-closed", "session-context-not-found"),
            ]
            assert set(outcomes(edge)) == {("change", "no-session")}

    asyncio.run(scenario())
