"""accel-ppp: an emulated daemon behind a real shell over SSH; kicks that are read back, a file that reverts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from drivers.accel_ppp import DRIVER
from drivers.accel_text import findings, merged, sessions
from drivers.conformance import Subject, Verdict, verify
from drivers.emulator.accel_ppp_device import ACCEL_CMD, AccelDevice, Subscriber
from drivers.emulator.commands import CommandEmulator, in_shell
from drivers.emulator.faults import Faults
from drivers.errors import DriverError, NotAuthorized, NotSupported, WritesRefused
from drivers.kick import KickingSession, KickState, LiveSession
from drivers.model import Change, Identity, Mode, Severity
from drivers.outcomes import CommitState, ConfirmState, Settled
from drivers.redact import Secret
from drivers.settle import settle
from drivers.target import Credentials, Deadlines, Target
from tests.drivers.beds import PASSWORD, USER, Cutter, run, target_of

CONFIG = """[modules]
pppoe
radius

[cli]
tcp=127.0.0.1:2001

[pppoe]
interface=eth1
verbose=1

[radius]
server=192.0.2.10,hush-hush-radius,auth-port=1812
dae-server=127.0.0.1:3799,hush-hush-dae
"""
ADD = Change(Mode.MERGE, "[pppoe]\nverbose=0\ninterface=eth2\n")
BACK = Change(Mode.MERGE, "[pppoe]\nverbose=1\n-interface=eth2\n")
BAD = Change(Mode.MERGE, "[pppoe]\nbroken=1\n")
COMMIT = r".*mv -f.*reload"
WAIT = Deadlines(connect_s=3, login_s=3, command_s=5, commit_s=8, close_s=1)


@dataclass
class Bed:
    device: AccelDevice
    emulator: CommandEmulator
    target: Target
    state: Path


@asynccontextmanager
async def bed(home: Path, **more: Any) -> AsyncGenerator[Bed]:
    config, program, state = home / "accel-ppp.conf", home / "accel-cmd", home / "state"
    config.write_text(CONFIG)
    program.write_text(ACCEL_CMD)
    program.chmod(0o755)
    state.mkdir(exist_ok=True)
    device = AccelDevice(config, **more)
    await device.start()
    run_it = in_shell({"PATH": f"{home}:/usr/sbin:/usr/bin:/sbin:/bin"})
    async with CommandEmulator(run_it, {USER: PASSWORD}, Faults()) as emulator:
        options = {"config": str(config), "state_dir": str(state), "cli_port": str(device.port)}
        options["cli_host"] = "127.0.0.1"
        yield Bed(device, emulator, target_of(emulator, options=options, deadlines=WAIT), state)
    await device.stop()


@asynccontextmanager
async def opened(place: Bed) -> AsyncGenerator[KickingSession]:
    async with DRIVER.session(place.target) as session:
        assert isinstance(session, KickingSession)
        yield session


def test_accel_ppp_passes_the_conformance_kit(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place:
            subject = Subject(
                DRIVER,
                place.target,
                ADD,
                BACK,
                "show version",
                bad=BAD,
                confirm_within_s=5,
                cut=Cutter(place.emulator.faults, f"(?s){COMMIT}"),
                attempts=lambda: place.emulator.attempts,
                canaries=("hush-hush-radius", "hush-hush-dae"),
            )
            report = await verify(subject)
        assert {c.name: c.detail for c in report.failed} == {}
        assert report.may_write
        assert [c.name for c in report.checks if c.verdict is Verdict.SKIPPED] == ["lock-refused"]

    run(work, limit_s=110)


def test_a_kick_is_kicked_only_when_the_session_is_seen_gone(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, opened(place) as session:
            other = Subscriber("aa02", "carol", "192.0.2.2")
            place.device.sessions = [Subscriber("aa01", "bob", "192.0.2.1"), other]
            done = await session.kick(LiveSession("bob", "AA01", "192.0.2.1"))
            assert (done.state, done.ended) == (KickState.KICKED, ("aa01",))
            assert place.device.sessions == [other]
            assert (await session.kick(LiveSession("bob", "aa01"))).state is KickState.ABSENT

    run(work)


def test_silence_is_no_kick(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, opened(place) as session:
            place.device.sessions = [Subscriber("aa01", "bob", "192.0.2.1")]
            place.device.faults.lie_at = "terminate .*"
            done = await session.kick(LiveSession("bob"), within_s=0.5)
            assert done.state is KickState.UNVERIFIED
            assert "still there" in done.detail

    run(work)


def test_a_stubborn_session_is_ended_hard_after_half_the_time(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, opened(place) as session:
            place.device.sessions = [Subscriber("aa01", "bob", stubborn=True)]
            assert (await session.kick(LiveSession("bob"), within_s=3)).state is KickState.KICKED
            sent = [line for line in place.device.commands if line.startswith("terminate")]
            assert sent == ["terminate sid aa01 soft", "terminate sid aa01 hard"]

    run(work)


def test_a_newer_session_and_a_neighbour_without_an_address_are_left_alone(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, opened(place) as session:
            place.device.sessions = [Subscriber("aa09", "dave"), Subscriber("aa02", "bob", "192.0.2.1")]
            assert (await session.kick(LiveSession("bob", "aa01"))).state is KickState.ABSENT
            assert (await session.kick(LiveSession("bo"))).state is KickState.ABSENT  # a part of a name
            assert (await session.kick(LiveSession("bob", address="192.0.2.1"))).state is KickState.KICKED
            assert [each.username for each in place.device.sessions] == ["dave"]
            assert not [line for line in place.device.commands if " ip " in line or "match user" in line]

    run(work)


@pytest.mark.parametrize("fault", ["cut_before", "cut_after", "hang_at"])
def test_a_kick_whose_reply_is_lost_is_unverified(tmp_path: Path, fault: str) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place:
            place.target = replace(place.target, deadlines=replace(WAIT, command_s=1))
            place.device.sessions = [Subscriber("aa01", "bob", "192.0.2.1")]
            async with opened(place) as session:
                setattr(place.emulator.faults, fault, r".*terminate.*")
                assert (await session.kick(LiveSession("bob"))).state is KickState.UNVERIFIED
            await asyncio.sleep(0.3)
            async with opened(place) as session:  # asked again, it is looked at first
                again = (await session.kick(LiveSession("bob"))).state
            assert again is (KickState.ABSENT if fault == "cut_after" else KickState.KICKED)

    run(work)


def test_a_kick_needs_the_right_to_write_and_somebody_to_kick(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place:
            async with opened(place) as session:
                with pytest.raises(NotSupported):
                    await session.kick(LiveSession(address="192.0.2.1"))
            place.target = replace(place.target, may_write=False)
            async with opened(place) as session:
                with pytest.raises(WritesRefused):
                    await session.kick(LiveSession("bob"))
            assert not [line for line in place.device.commands if line.startswith("terminate")]

    run(work)


@pytest.mark.parametrize(
    ("fault", "pattern"),
    [
        (fault, pattern)
        for fault in ("cut_before", "cut_after", "hang_at")
        for pattern in (".*run.sh.*", rf"(?s){COMMIT}", ".*show version")
    ],
)
def test_no_fault_in_a_commit_looks_like_success(tmp_path: Path, fault: str, pattern: str) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place:
            place.target = replace(place.target, deadlines=replace(WAIT, command_s=1, commit_s=2))
            async with opened(place) as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged, 30)
                setattr(place.emulator.faults, fault, f"(?s){pattern}")
                result = await session.commit(staged, ref)
            assert result.state is CommitState.UNVERIFIED
            async with opened(place) as session:
                found = await settle(session, ref, ADD)
                assert found in {Settled.PENDING, Settled.REVERTED}
                await session.rollback(ref)
            assert place.device.config.read_text().split() == CONFIG.split()

    run(work)


def test_a_reload_that_lies_is_seen_by_its_dead_command_line(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, opened(place) as session:
            staged = await session.stage(ADD)
            place.device.faults.lie_at = ".*"
            result = await session.commit(staged, session.reference(staged, 30))
            assert (result.state, result.slug) == (CommitState.UNVERIFIED, "no-receipt")

    run(work)


def test_a_push_that_says_nothing_and_does_nothing_is_no_push(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, opened(place) as session:
            staged = await session.stage(ADD)
            place.emulator.faults.lie_at = f"(?s){COMMIT}"
            result = await session.commit(staged, session.reference(staged, 30))
            assert (result.state, result.slug) == (CommitState.UNVERIFIED, "not-read-back")

    run(work)


def test_a_refused_reload_is_taken_back_at_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, opened(place) as session:
            staged = await session.stage(BAD)
            result = await session.commit(staged, session.reference(staged, 30))
            assert (result.state, result.detail) == (CommitState.REJECTED, "failed")
            assert place.device.config.read_text() == place.device.loaded == CONFIG
            assert place.device.config.stat().st_mode & 0o777 == 0o644

    run(work)


def test_an_unconfirmed_commit_is_loaded_back_by_the_device(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place:
            async with opened(place) as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged, 5)
                assert (await session.commit(staged, ref)).state is CommitState.PENDING
                assert "interface=eth2" in place.device.loaded
            for _ in range(100):
                await asyncio.sleep(0.1)
                if place.device.loaded == CONFIG:
                    break
            async with opened(place) as session:
                assert (await session.confirm(ref)).state is ConfirmState.LAPSED

    run(work)


def test_a_wrong_password_of_the_command_line_is_told(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path, password="cli-s3cret") as place:
            with pytest.raises(NotAuthorized, match="enable"):
                async with opened(place):
                    pass
            login = Credentials(USER, Secret(PASSWORD), enable=Secret("cli-s3cret"))
            place.target = replace(place.target, credentials=login)
            async with opened(place) as session:
                assert (await session.facts()).uptime_s == 93784
                assert "cli-s3cret" not in session.transcript.text()

    run(work)


@pytest.mark.parametrize(
    ("version", "writes"),
    [("1.12.0", True), ("1.13.0-42-gabc1234", True), ("1.10.3", False), ("2.0.0", False), ("g1a2b3c", False)],
)
def test_unknown_versions_are_read_only(tmp_path: Path, version: str, *, writes: bool) -> None:
    async def work() -> None:
        async with bed(tmp_path, version=version) as place, opened(place) as session:
            assert session.capabilities.writes is writes
            assert session.identity == Identity("accel-ppp", "Linux", "accel-ppp", version)
            assert "eth1" in (await session.get_config()).text

    run(work)


def test_a_daemon_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place:
            await place.device.stop()
            with pytest.raises(DriverError):
                async with opened(place):
                    pass

    run(work)


def test_a_merge_sets_adds_and_takes_out() -> None:
    text = merged(
        CONFIG, "[pppoe]\nverbose=5\ninterface=eth7\n-interface=eth1\n[new]\nkey=1\n[modules]\n-radius"
    )
    assert "verbose=5" in text
    assert "interface=eth7" in text
    assert "eth1" not in text
    assert "radius\n\n" not in text
    assert text.endswith("[new]\nkey=1\n")
    assert merged(text, "[pppoe]\ninterface=eth7") == text


def test_a_file_without_its_modules_does_not_validate() -> None:
    assert findings(CONFIG) == ()
    found = findings("stray=1\n[cli\n[pppoe]\n")
    assert [each.where for each in found if each.severity is Severity.ERROR] == [
        "line 1",
        "line 2",
        "[modules]",
    ]


def test_a_name_with_a_border_in_it_stays_a_name() -> None:
    table = " sid  | state  |    ip     | username \n------+--------+-----------+----------\n"
    assert sessions(f"{table} aa01 | active | 192.0.2.1 | bo|b     \n") == [
        {"sid": "aa01", "state": "active", "ip": "192.0.2.1", "username": "bo|b"}
    ]
    assert sessions(table) == []
    assert sessions("command unknown\n") is None
