"""The kit that a driver must pass before it may write: named checks against an emulator or a real device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from drivers.base import Driver
from drivers.clock import Clock, LoopClock
from drivers.errors import DriverError
from drivers.model import Change, Identity
from drivers.redact import Redactor
from drivers.target import Target
from drivers.transcript import Transcript

_PUSHING = ("push-", "rollback-", "cut-", "bad-")


class Verdict(StrEnum):
    """What a check came to. A skipped check does not apply to this device, and says why."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a report."""

    name: str
    verdict: Verdict
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Return whether it passed; skipped is not passed."""
        return self.verdict is Verdict.PASSED


@dataclass(frozen=True, slots=True)
class Report:
    """What the kit found. `may_write`: nothing failed, and a push was seen to work and to be taken back."""

    driver: str
    identity: Identity
    checks: tuple[Check, ...]

    @property
    def may_write(self) -> bool:
        """Return whether this driver may write to devices of this identity."""
        needed = {"push-confirmed", "read-only-writes-nothing", "no-secret-in-transcripts"}
        passed = {check.name for check in self.checks if check.passed}
        return needed <= passed and not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """Return the checks that failed."""
        return tuple(check for check in self.checks if check.verdict is Verdict.FAILED)

    def get(self, name: str) -> Check:
        """Return the check of this name; KeyError if it was not run."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)


class Failed(Exception):
    """Raised by a check that fails; its text says what was expected and what was seen."""


class Skipped(Exception):
    """Raised by a check that does not apply."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tested. The device must be one that may be changed and disturbed.

    `change` is harmless and not in force, `back` takes it away. `bad` is refused by the device. `show` is a
    reading command. `cut` arranges for the next commit to lose the connection `before` or `after` the device
    acts; without it the kit cuts by itself and accepts either. `attempts` returns how many passwords the
    device has seen. `scale`: an emulator's seconds pass that much faster. `canaries` are values that stand
    in the device's configuration and must not be shown.
    """

    driver: Driver
    target: Target
    change: Change
    back: Change
    show: str
    bad: Change | None = None
    confirm_within_s: int = 60
    scale: float = 1.0
    cut: Callable[[str], None] | None = None
    attempts: Callable[[], int] | None = None
    canaries: tuple[str, ...] = ()
    clock: Clock = field(default_factory=LoopClock)
    transcripts: list[Transcript] = field(default_factory=list)
    said: list[str] = field(default_factory=list)  # errors and outcomes, as people would see them

    def reading(self) -> Target:
        """Return the target with writing switched off."""
        return replace(self.target, may_write=False)

    def transcript(self) -> Transcript:
        """Return a new transcript that the last check looks at."""
        transcript = Transcript(Redactor())
        self.transcripts.append(transcript)
        return transcript


async def verify(subject: Subject, only: tuple[str, ...] = ()) -> Report:
    """Run the checks, all or those named in `only`, in order. Never raises for what a driver or device does."""
    # The checks are written in the words of this module.
    from drivers.checks import CHECKS  # noqa: PLC0415
    from drivers.checks.pushing import restore  # noqa: PLC0415

    identity = Identity(vendor="")
    try:
        async with subject.driver.session(subject.reading(), subject.clock, subject.transcript()) as session:
            identity = session.identity
    except DriverError as error:
        return Report(subject.driver.name, identity, (Check("login", Verdict.FAILED, str(error)),))
    checks = []
    for name, work in CHECKS:
        if only and name not in only:
            continue
        try:
            check = Check(name, Verdict.PASSED, await work(subject))
        except Skipped as skipped:
            check = Check(name, Verdict.SKIPPED, str(skipped))
        except Failed as failed:
            check = Check(name, Verdict.FAILED, str(failed))
        except DriverError as error:
            subject.said.append(f"{error} {error!r}")
            check = Check(name, Verdict.FAILED, f"{error.slug}: {error}")
        except Exception as error:  # noqa: BLE001 - a driver that raises anything else has failed the check
            check = Check(name, Verdict.FAILED, f"raised {type(error).__name__}, not a DriverError: {error}")
        if check.verdict is Verdict.FAILED and name.startswith(_PUSHING):
            await restore(subject)
        checks.append(check)
    return Report(subject.driver.name, identity, tuple(checks))
