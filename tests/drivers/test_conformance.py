"""The conformance kit: a good driver passes, and each kind of bad driver or device is found out."""

from __future__ import annotations

from typing import Any

import pytest

from drivers.base import Driver, Session
from drivers.capabilities import Capabilities
from drivers.conformance import Report, Subject, verify
from drivers.emulator.acme import DRIVER, AcmeSession, connect
from drivers.emulator.sample import SampleRouter
from drivers.model import Change, CommitRef, Config, ConfigKind, Identity, Mode, Staged
from drivers.outcomes import CommitResult, CommitState, ConfirmResult, ConfirmState
from drivers.target import Opening
from tests.drivers.beds import Cutter, run, serving, target_of

ADD = Change(
    Mode.MERGE, "set ntp 192.0.2.123\nset user-bob-password hunter2-hunter2", secrets=("hunter2-hunter2",)
)
BACK = Change(Mode.MERGE, "set ntp 192.0.2.1\nunset user-bob-password")
BAD = Change(Mode.MERGE, "unset hostname")
CANARY = "s3cr3t-on-the-box"


async def _verified(driver: Driver, router: SampleRouter, *only: str, **more: Any) -> Report:
    async with serving(router) as emulator:
        told: dict[str, Any] = {
            "bad": BAD,
            "confirm_within_s": 10,
            "scale": router.timer.scale,
            "cut": Cutter(router.faults, "commit.*"),
            "attempts": lambda: emulator.attempts,
            "canaries": (CANARY,),
        }
        subject = Subject(driver, target_of(emulator), ADD, BACK, "show version", **{**told, **more})
        return await verify(subject, only)


def test_the_sample_driver_passes_every_check() -> None:
    async def work() -> None:
        report = await _verified(DRIVER, SampleRouter(scale=20))
        assert [(c.name, c.detail) for c in report.checks if not c.passed] == []
        assert len(report.checks) == 15
        assert report.may_write
        assert report.identity.model == "AR-1000"

    run(work)


def test_without_an_arranged_cut_the_kit_cuts_by_itself() -> None:
    async def work() -> None:
        report = await _verified(DRIVER, SampleRouter(scale=20), "cut-before-commit", cut=None)
        assert report.checks[0].passed, report.checks[0].detail
        assert not report.may_write  # a part of the kit is not the kit

    run(work)


def test_an_unreachable_device_is_a_report_and_no_exception() -> None:
    async def work() -> None:
        router = SampleRouter()
        async with serving(router) as emulator:
            target = target_of(emulator)
        report = await verify(Subject(DRIVER, target, ADD, BACK, "show version"))
        assert [c.name for c in report.failed] == ["login"]

    run(work)


class Boastful(AcmeSession):
    """Takes every commit for confirmed, and every lost reply for a success."""

    async def _confirm(self, ref: CommitRef) -> ConfirmResult:
        return ConfirmResult(ConfirmState.CONFIRMED)


class Careless(AcmeSession):
    """Thinks that it knows every device."""

    def _capabilities(self, identity: Identity) -> Capabilities:
        return super()._capabilities(Identity("Acme", "AR-1000", "acme", "7.0"))


class Hasty(AcmeSession):
    """Writes while it stages."""

    async def _stage(self, change: Change, before: Config) -> Staged:
        staged = await super()._stage(change, before)
        await self._cli.run("commit")
        return staged


class Talkative(AcmeSession):
    """Lets a secret out through an error, past the redactor."""

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        return CommitResult(CommitState.PENDING, ref, "", f"sent {staged.change.text}")


class Restless(AcmeSession):
    """Its configuration is another one at each reading."""

    volatile = ()

    async def _read(self, kind: ConfigKind) -> str:
        return f"{await super()._read(kind)}! read at {self.clock.now()}\n"


class Untyped(AcmeSession):
    """Raises what no caller expects."""

    async def _validate(self, staged: Staged) -> Any:
        raise KeyError("line")


class Timerless(AcmeSession):
    """Forgets the device's timer."""

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        await self._cli.run("commit")
        return CommitResult(CommitState.PENDING, ref)


@pytest.mark.parametrize(
    ("session", "check"),
    [
        (Boastful, "push-unconfirmed-reverts"),
        (Careless, "unknown-is-read-only"),
        (Hasty, "stage-changes-nothing"),
        (Talkative, "no-secret-in-transcripts"),
        (Restless, "read-only-writes-nothing"),
        (Untyped, "stage-changes-nothing"),
        (Timerless, "push-unconfirmed-reverts"),
    ],
)
def test_a_bad_driver_is_found_out(session: type[AcmeSession], check: str) -> None:
    async def bad(opening: Opening) -> Session:
        good = await connect(opening)
        assert isinstance(good, AcmeSession)
        return session(opening, good._connection, good._cli)

    async def work() -> None:
        router = SampleRouter(scale=100)
        report = await _verified(Driver("acme", "bad", bad), router, "push-confirmed", check)
        assert not report.may_write
        assert check in [c.name for c in report.failed]

    run(work)


def test_a_device_that_lies_about_a_commit_is_found_out() -> None:
    async def work() -> None:
        router = SampleRouter(scale=100)
        router.faults.lie_at = "commit.*"
        report = await _verified(DRIVER, router, "push-confirmed", cut=None)
        assert "unverified" in report.get("push-confirmed").detail

    run(work)
