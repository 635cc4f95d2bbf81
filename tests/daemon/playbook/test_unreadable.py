"""A stored object that cannot be read after a restart costs nobody who is online anything."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import update

from daemon.store.schema import OBJECT
from daemon.sync.load import LoadRequest
from tests.daemon.playbook.stage import PASSWORD, Play, play

NEWER = b'{"v":99}'


async def _spoil(edge: Play, kind: str) -> None:
    """Let all stored objects of a kind be of a version that this daemon does not know."""
    async with edge.edge.engine.begin() as connection:
        await connection.execute(update(OBJECT).where(OBJECT.c.kind == kind).values(body=NEWER))


@pytest.mark.parametrize("kind", ["plan", "subscriber", "nas", "tenant"])
def test_an_object_that_cannot_be_read_ends_no_session(tmp_path: Path, kind: str) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            session = await edge.connect(bng, cpe)
            await edge.pass_time(15)
            await _spoil(edge, kind)
            await edge.restart()
            await edge.pass_time(130)
            assert (bng.told(), cpe.online) == ([], True)
            assert edge.story("session-deviates") == []
            live = edge.path.sessions.find_uid(session.uid)
            assert live is not None
            assert live.closed_at is None

    asyncio.run(scenario())


def test_what_is_loaded_again_counts_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            await edge.connect(bng, cpe)
            await edge.pass_time(15)
            await _spoil(edge, "plan")
            await edge.restart()
            assert edge.edge.index.unreadable == {("demo", "plan", "basic"), ("demo", "plan", "fast")}
            await edge.provide("plan", "basic", download="30M")
            assert edge.edge.index.unreadable == {("demo", "plan", "fast")}
            await edge.settled()
            assert cpe.rate == "4M/30M"

    asyncio.run(scenario())


def test_a_restricted_plan_that_cannot_be_read_ends_no_session(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            treatments = {"expired": "plan:fast"}
            await edge.provide("plan", "basic", treatments=treatments)
            await edge.provide("subscriber", "A1", valid_until="2026-01-01T00:00:00Z")
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            await edge.connect(bng, cpe)
            await edge.pass_time(15)
            async with edge.edge.engine.begin() as connection:
                await connection.execute(update(OBJECT).where(OBJECT.c.id == "fast").values(body=NEWER))
            await edge.restart()
            await edge.pass_time(130)
            assert (bng.told(), cpe.online) == ([], True)

    asyncio.run(scenario())


def test_a_load_that_replaces_everything_removes_what_could_not_be_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with play(tmp_path) as edge:
            bng = await edge.bng()
            cpe = bng.cpe("alice", PASSWORD)
            await edge.connect(bng, cpe)
            await edge.pass_time(15)
            await _spoil(edge, "subscriber")
            await edge.restart()
            await edge.pass_time(10)
            assert (edge.edge.index.unreadable, cpe.online) == ({("demo", "subscriber", "A1")}, True)
            whole = [
                {"kind": kind, "id": name, "body": body} | ({} if kind == "tenant" else {"tenant": "demo"})
                for (kind, name), body in edge.data.items()
                if kind != "subscriber"
            ]
            octets = json.dumps(whole).encode()
            await edge.edge.loader.load(LoadRequest(octets=octets, name="provider.json", replace=True))
            assert edge.edge.index.unreadable == set()
            await edge.until(lambda: not cpe.online)
            assert edge.story("session-deviates") == [("session-deviates", "unknown-user")]

    asyncio.run(scenario())
