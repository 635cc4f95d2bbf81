"""The dead man's timer on a POSIX target: one of confirm, rollback and timer wins, whatever the order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.deadman import DeadMan
from drivers.errors import CommandRefused, TimedOut, Unreachable
from drivers.redact import Secret
from drivers.target import Credentials, Target
from drivers.transports.subprocess import LocalRunner
from tests.drivers.beds import QUICK, opening_of, run

ID = "dm0123456789"
RESTORE = 'cat "$1/old" > "$1/../state"\n'


def _runner(**more: object) -> LocalRunner:
    target = Target("here", "localhost", Credentials("root", Secret("unused-here")), deadlines=QUICK)
    return LocalRunner(opening_of(replace(target, **more)))  # type: ignore[arg-type]


async def _armed(home: Path, seconds: int) -> DeadMan:
    deadman = DeadMan(_runner(), str(home))
    (home / "state").write_text("new")
    await deadman.put(ID, {"old": "old"})
    await deadman.arm(ID, seconds, RESTORE)
    return deadman


def test_without_a_confirm_the_old_state_comes_back(tmp_path: Path) -> None:
    async def work() -> None:
        deadman = await _armed(tmp_path, 1)
        assert await deadman.waiting() == (ID,)
        for _ in range(60):
            await asyncio.sleep(0.1)
            if (tmp_path / f"{ID}.reverted").exists():
                break
        assert (tmp_path / "state").read_text() == "old"
        assert await deadman.waiting() == ()
        assert not await deadman.keep(ID)

    run(work)


def test_a_confirm_beats_the_timer_and_may_be_said_twice(tmp_path: Path) -> None:
    async def work() -> None:
        deadman = await _armed(tmp_path, 1)
        assert await deadman.keep(ID)
        assert await deadman.keep(ID)
        await asyncio.sleep(1.4)
        assert (tmp_path / "state").read_text() == "new"
        assert await deadman.take_back(ID)  # also after the confirm
        assert (tmp_path / "state").read_text() == "old"
        assert not await deadman.take_back(ID)

    run(work)


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    async def work() -> None:
        await _armed(tmp_path, 1)
        assert {path.stat().st_mode & 0o077 for path in (tmp_path / ID).iterdir()} == {0}

    run(work)


def test_a_restore_that_fails_is_told(tmp_path: Path) -> None:
    async def work() -> None:
        deadman = DeadMan(_runner(), str(tmp_path))
        await deadman.arm(ID, 50, "echo no way back; exit 1\n")
        with pytest.raises(CommandRefused, match="no way back"):
            await deadman.take_back(ID)
        (tmp_path / f"{ID}.reverting").rename(tmp_path / "done")

    run(work)


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    async def work() -> None:
        runner = _runner()
        script = f"sleep 30 & echo $! > {tmp_path}/child; wait"
        with pytest.raises(TimedOut):
            await runner.run(["sh", "-c", script], timeout_s=0.3)
        child = (tmp_path / "child").read_text().strip()
        for _ in range(20):
            stat = Path(f"/proc/{child}/stat")
            if not stat.exists() or stat.read_text().split()[2] == "Z":
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("the child goes on")

    run(work)


def test_a_program_that_is_not_there_is_told() -> None:
    async def work() -> None:
        with pytest.raises(Unreachable, match="no-such-program"):
            await _runner().run(["no-such-program"])

    run(work)
