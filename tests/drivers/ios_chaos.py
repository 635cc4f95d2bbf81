"""Chaos for command-line devices: every fault at every command of every phase; no success that is none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any

import asyncssh

from drivers.base import Driver, Session
from drivers.capabilities import ConfirmKind
from drivers.conformance import Report, Subject, verify
from drivers.errors import DriverError
from drivers.model import Change, CommitRef, Staged
from drivers.outcomes import CommitState, ConfirmState, RollbackState
from tests.drivers.beds import QUICK, Cutter, serving, target_of

STRIKES = ("cut_before", "cut_after", "hang_at", "lie_at", "refused")
PHASES = ("stage", "commit", "confirm", "rollback")
HASTY = replace(QUICK, command_s=0.6, commit_s=1.2, login_s=3, close_s=0.3, echo_s=0.2)
LOG = "*Nov 21 20:00:00.000: %SYS-5-CONFIG_I: Configured from console by admin on vty0"
_KEY = asyncssh.generate_private_key("ssh-ed25519")


@dataclass
class Bed:
    """A driver, how to make its device, and a change that adds a line to it."""

    driver: Driver
    device: Callable[[], Any]
    change: Change
    mark: str  # a line of the configuration once the change is in force

    def applied(self, device: Any) -> bool:
        """Return whether the change is in force on the device."""
        return self.mark in device.running.lines


async def kit(
    bed: Bed, back: Change, bad: Change, cut: str, canary: str, scale: float, only: tuple[str, ...] = ()
) -> Report:
    """Run the conformance kit, or some of its checks, against a device of the bed."""
    device = bed.device()
    async with serving(device) as emulator:
        return await verify(
            Subject(
                bed.driver,
                target_of(emulator),
                bed.change,
                back,
                "show version",
                bad=bad,
                scale=scale,
                cut=Cutter(device.faults, cut),
                attempts=lambda: emulator.attempts,
                canaries=(canary,),
            ),
            only,
        )


def failures(report: Report) -> dict[str, str]:
    """Return what failed and why, and that nothing may be written if so."""
    found = {check.name: check.detail for check in report.failed}
    return found if report.may_write else {**found, "may_write": "no"}


@dataclass
class Run:
    """One push, phase by phase."""

    bed: Bed
    device: Any
    target: Any
    stack: AsyncExitStack
    session: Session | None = None
    staged: Staged | None = None
    ref: CommitRef | None = None

    async def _again(self) -> Session:
        """Return a new session, unless only the one that committed can go on."""
        held = self.session
        if held is not None and held.capabilities.confirm is ConfirmKind.SESSION_BOUND and not held.broken:
            return held
        return await self.stack.enter_async_context(self.bed.driver.session(self.target))

    async def do(self, phase: str) -> str:
        """Do one phase; return what came of it, and AssertionError if the device knows better."""
        if phase == "stage":
            self.session = await self.stack.enter_async_context(self.bed.driver.session(self.target))
            self.staged = await self.session.stage(self.bed.change)
            diff = await self.session.diff(self.staged)
            assert not self.bed.applied(self.device), "in force before the commit"
            return "staged" if not diff.empty else "no diff"
        if phase == "commit":
            assert self.session
            assert self.staged
            self.ref = self.session.reference(self.staged, 60)
            done = (await self.session.commit(self.staged, self.ref)).state
            if done is CommitState.PENDING:
                assert self.bed.applied(self.device), "pending, and not in force"
                assert self.device.timer.pending, "pending without a timer"
            assert done is not CommitState.COMMITTED, "committed without the timer that was asked for"
            if done in {CommitState.REJECTED, CommitState.PARTIAL}:
                assert not self.bed.applied(self.device), f"{done}, and in force"
            return done
        assert self.ref
        session = await self._again()
        if phase == "confirm":
            confirmed = (await session.confirm(self.ref)).state
            if confirmed is ConfirmState.CONFIRMED:
                assert self.bed.applied(self.device), "confirmed, and not in force"
                assert not self.device.timer.pending, "confirmed, and the timer runs"
            if confirmed is ConfirmState.REFUSED:
                assert self.device.timer.pending, "refused, and the timer does not run"
            if confirmed is ConfirmState.LAPSED:
                assert not self.bed.applied(self.device), "lapsed, and in force"
            return confirmed
        back = (await session.rollback(self.ref)).state
        if back is RollbackState.REVERTED:
            assert not self.bed.applied(self.device), "reverted, and in force"
        return back


def _pattern(command: str) -> str:
    return re.sub(r"dm[0-9a-f]{6,10}(?:\\?-[0-9a-f]{8})?", r"dm[0-9a-f-]+", re.escape(command))


async def commands_of(bed: Bed, last: str) -> dict[str, list[str]]:
    """Return the patterns of the commands that each phase sends on a sound device."""
    device = bed.device()
    found: dict[str, list[str]] = {}
    async with serving(device, key=_KEY) as emulator, AsyncExitStack() as stack:
        run = Run(bed, device, target_of(emulator, deadlines=QUICK), stack)
        for phase in ("stage", "commit", last):
            before = len(device.commands)
            await run.do(phase)
            sent = [_pattern(each) for each in device.commands[before:]]
            found[phase] = list(dict.fromkeys(each for each in sent if not each.startswith("terminal")))
    return found


def _refuse(device: Any, pattern: str) -> None:
    """Let the login not be authorized for a command."""
    handle = device.handle

    async def refusing(session: Any, line: str) -> str:
        return "% Authorization failed." if re.fullmatch(pattern, line) else str(await handle(session, line))

    device.handle = refusing


async def _struck(bed: Bed, struck: str, fault: str, pattern: str) -> str:
    device = bed.device()
    async with serving(device, key=_KEY) as emulator, AsyncExitStack() as stack:
        run = Run(bed, device, target_of(emulator, deadlines=HASTY), stack)
        phases = ["stage", "commit", "rollback" if struck == "rollback" else "confirm"]
        for phase in phases[: phases.index(struck)]:
            await run.do(phase)
        if fault == "refused":
            _refuse(device, pattern)
        else:
            setattr(device.faults, fault, pattern)
        came = "error"
        try:
            with suppress(DriverError):
                came = await run.do(struck)
        except AssertionError as error:
            raise AssertionError(f"{fault} at {pattern} while {struck}: {error}") from error
        device.faults.lie_at = ""
        return came


async def matrix(bed: Bed, fault: str) -> dict[tuple[str, str], set[str]]:
    """Strike each command of each phase with one fault; return the outcomes by (phase, pattern)."""
    sent = await commands_of(bed, "rollback")
    sent["confirm"] = (await commands_of(bed, "confirm"))["confirm"]
    gate = asyncio.Semaphore(12)
    outcomes: dict[tuple[str, str], set[str]] = {}

    async def strike(phase: str, pattern: str) -> None:
        async with gate:
            outcomes.setdefault((phase, pattern), set()).add(await _struck(bed, phase, fault, pattern))

    async with asyncio.TaskGroup() as group:
        for phase in PHASES:
            for pattern in sent[phase]:
                group.create_task(strike(phase, pattern))
    return outcomes


async def whole(bed: Bed, **faults: Any) -> str:
    """Push and confirm on a device with these faults all the time; return what came of it."""
    device = bed.device()
    for name, value in faults.items():
        setattr(device.faults, name, value)
    async with serving(device, key=_KEY) as emulator, AsyncExitStack() as stack:
        run = Run(bed, device, target_of(emulator, deadlines=replace(QUICK, echo_s=0.02)), stack)
        came = ""
        for phase in ("stage", "commit", "confirm"):
            came = await run.do(phase)
        return came
