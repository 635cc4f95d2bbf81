"""Killed anywhere: every fact has its event, and every event its effect, once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from daemon.store import journal, session_rows
from tests.daemon.outbox.conftest import PlacedStore
from tests.effort import THOROUGH

KILLED = -9
COUNTS = (1, 3, 6, 9) if THOROUGH else (1, 6)


def run(directory: Path, point: str = "", count: int = 1) -> int:
    module = "tests.daemon.outbox.crash_child"
    command = [sys.executable, "-m", module, str(directory), point, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, KILLED), done.stderr
    return done.returncode


@pytest.mark.parametrize("point", ["commit-before", "commit-after", "deliver-before", "deliver-after"])
def test_killed_at_a_point_again_and_again_nothing_is_lost_or_doubled(tmp_path: Path, point: str) -> None:
    killed = [run(tmp_path, point, count) for count in COUNTS]
    assert killed.count(KILLED) >= len(COUNTS) - 1
    assert run(tmp_path) == 0
    with sqlite3.connect(tmp_path / "receiver.db") as receiver:
        rows = receiver.execute("select stream, incarnation, seq, body from event order by seq").fetchall()
    assert len({(stream, incarnation) for stream, incarnation, _, _ in rows}) == 2
    for stream in ("accounting", "sessions"):
        numbers = [seq for name, _, seq, _ in rows if name == stream]
        assert numbers == list(range(1, len(numbers) + 1))

    async def check() -> None:
        store = PlacedStore(tmp_path / "edge.db")
        last = await journal.read_last_seq(store.engine)
        told = [json.loads(body) for stream, _, _, body in rows if stream == "accounting"]
        assert len(told) == last
        sessions = await session_rows.read_recent(store.engine, 0.0)
        lives = [json.loads(body) for stream, _, _, body in rows if stream == "sessions"]
        kinds = Counter(each["type"] for each in lives)
        assert kinds["session.started"] == len(sessions)
        assert kinds["session.ended"] == sum(row.closed_at is not None for row in sessions)
        assert {each["source"] for each in lives} == {"pop7"}
        await store.engine.dispose()

    asyncio.run(check())
