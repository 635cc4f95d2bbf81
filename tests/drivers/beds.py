"""Emulated devices under test, ready to be looked at by the conformance kit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from drivers.clock import LoopClock
from drivers.emulator.server import Device, SshEmulator
from drivers.redact import Redactor, Secret
from drivers.target import Credentials, Deadlines, Opening, Target, Trust
from drivers.transcript import Transcript

USER = "edge"
PASSWORD = "corr3ct-h0rse"
QUICK = Deadlines(connect_s=3, login_s=3, command_s=3, commit_s=4, approve_s=1, close_s=1, echo_s=0.3)


def run(work: Callable[[], Awaitable[Any]], limit_s: float = 60) -> Any:
    """Run a test's coroutine."""

    async def main() -> Any:
        async with asyncio.timeout(limit_s):
            return await work()

    return asyncio.run(main())


def target_of(emulator: SshEmulator, **more: Any) -> Target:
    """Return a target that trusts the emulator."""
    told: dict[str, Any] = {
        "name": "dut",
        "host": emulator.host,
        "port": emulator.port,
        "credentials": Credentials(USER, Secret(PASSWORD)),
        "trust": Trust(pinned=(emulator.fingerprint,)),
        "deadlines": QUICK,
        "may_write": True,
    }
    return Target(**{**told, **more})


def opening_of(target: Target) -> Opening:
    """Return what a transport needs."""
    redactor = Redactor(target.credentials.values())
    return Opening(target, LoopClock(), Transcript(redactor), redactor)


@dataclass
class Cutter:
    """Arranges for the next commit of an emulated device to be cut."""

    faults: Any
    pattern: str
    seen: list[str] = field(default_factory=list)

    def __call__(self, when: str) -> None:
        self.seen.append(when)
        setattr(self.faults, f"cut_{when}", self.pattern)


@asynccontextmanager
async def serving(device: Device, **more: Any) -> AsyncGenerator[SshEmulator]:
    """Serve an emulated device inside the block."""
    async with SshEmulator(device, {USER: PASSWORD}, **more) as emulator:
        yield emulator
