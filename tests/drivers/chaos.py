"""A push with one fault in one phase: what came of it, and whether it is true."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from drivers.base import Driver
from drivers.capabilities import ConfirmKind
from drivers.emulator.cli import CliDevice
from drivers.errors import DriverError
from drivers.model import Change
from drivers.outcomes import CommitState, ConfirmState
from drivers.target import Target
from tests.drivers.beds import QUICK, serving, target_of

FAULTS = ("cut_before", "cut_after", "hang_at", "lie_at")
HURRY = replace(QUICK, login_s=2, command_s=0.6, commit_s=0.8, close_s=0.3, echo_s=0.2)
DONE = {"confirmed", "committed"}
TYPED = {
    *(f"{state}" for state in CommitState),
    *(f"{state}" for state in ConfirmState),
    *("dropped", "timed-out", "wrong-platform", "command-refused", "garbled", "unreachable", "lock-held"),
    *("base-changed", "not-supported", "read-only", "empty-diff"),
}


PATIENT = replace(QUICK, command_s=8, commit_s=8, login_s=8, echo_s=0.05)
ECHOES = ("wrong", "none", "slow")


def echoing(device: CliDevice, how: str) -> None:
    """Make the device echo wrongly, not at all, or one character after the other with late answers."""
    if how == "slow":
        device.faults.slow_echo_s, device.faults.late_s = 0.0005, 0.01
    else:
        device.faults.echo = how


@dataclass
class Case:
    """One driver with its emulated device; `in_force` says whether the change is there for good."""

    driver: Driver
    device: Callable[[], Any]
    change: Change
    in_force: Callable[[Any], bool]
    options: dict[str, str]


async def push(driver: Driver, target: Target, change: Change) -> str:
    """Return what a careful caller makes of a push."""
    try:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(driver.session(target))
            await stack.enter_async_context(session.lock())
            kind = session.capabilities.confirm
            staged = await session.stage(change)
            if (await session.diff(staged)).empty:
                return "empty-diff"
            await session.validate(staged)
            ref = session.reference(staged, None if kind is ConfirmKind.NONE else 60)
            result = await session.commit(staged, ref, "chaos")
            if result.state is not CommitState.PENDING:
                return result.state
            if kind is ConfirmKind.SESSION_BOUND:
                return (await session.confirm(ref)).state
        async with driver.session(target) as session:
            return (await session.confirm(ref)).state
    except DriverError as error:
        return error.slug


async def strike(case: Case, fault: str, pattern: str) -> tuple[str, bool]:
    """Return the outcome of a push with this fault at these commands, and whether it told the truth."""
    device: CliDevice = case.device()
    async with serving(device) as emulator:
        target = target_of(emulator, deadlines=HURRY, options=case.options)
        setattr(device.faults, fault, pattern)
        outcome = await push(case.driver, target, case.change)
        assert outcome in TYPED, outcome
        return outcome, outcome not in DONE or case.in_force(device)
