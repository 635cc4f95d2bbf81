"""Cisco IOS and IOS-XE against an emulated device: the conformance kit, the vendor's traps, and chaos."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from drivers.emulator.cli import CliSession
from drivers.emulator.ios_device import ENABLE, FIRST, IosDevice
from drivers.errors import Garbled, LockHeld, NotAuthorized, NotSupported, WrongPlatform
from drivers.ios import DRIVER
from drivers.ios_like import LOG_LINE
from drivers.ios_text import cdp, interfaces, pieces, tcl
from drivers.model import Change, ConfigKind, DiffSource, Mode, Secrets, Severity
from drivers.outcomes import CommitState, ConfirmState, RollbackState
from drivers.redact import Redactor, Secret
from drivers.target import Credentials
from drivers.transcript import Transcript
from tests.drivers.beds import PASSWORD, USER, run, serving, target_of
from tests.drivers.ios_chaos import LOG, STRIKES, Bed, failures, kit, matrix, whole

ADD = Change(
    Mode.MERGE,
    "snmp-server location rack-4\nusername bob secret hunter2-hunter2",
    secrets=("hunter2-hunter2",),
)
BACK = Change(Mode.MERGE, "no snmp-server location\nno username bob")
BAD = Change(Mode.MERGE, "ntp server 192.0.2.9\nfrobnicate all")
BED = Bed(DRIVER, lambda: IosDevice(scale=1), ADD, "snmp-server location rack-4")


def test_ios_passes_the_conformance_kit() -> None:
    async def work() -> None:
        bed = Bed(DRIVER, lambda: IosDevice(scale=30), ADD, "")
        cut, canary = r"copy \S+ running-config", "$9$canary$on-the-box"
        assert failures(await kit(bed, BACK, BAD, cut, canary, 30)) == {}

    run(work)


def test_a_cut_before_the_timer_runs_leaves_nothing() -> None:
    async def work() -> None:
        bed = Bed(DRIVER, lambda: IosDevice(scale=30), ADD, "")
        cuts = ("cut-before-commit", "cut-after-commit")
        report = await kit(bed, BACK, BAD, "configure terminal revert timer.*", "", 30, cuts)
        assert [check.detail for check in report.checks if not check.passed] == []
        assert len(report.checks) == 2

    run(work)


@pytest.mark.parametrize("fault", STRIKES)
def test_no_fault_at_any_command_makes_a_success_of_what_is_none(fault: str) -> None:
    outcomes = run(lambda: matrix(BED, fault), 100)
    assert len(outcomes) > 25
    assert outcomes["commit", r"configure\ terminal\ revert\ timer\ 1"] != {"pending"}


@pytest.mark.parametrize(
    "faults", [{"slow_echo_s": 0.0005}, {"late_s": 0.005}, {"noise": LOG}, {"echo": "none"}], ids=str
)
def test_a_slow_or_noisy_terminal_is_no_fault(faults: dict[str, Any]) -> None:
    assert run(lambda: whole(BED, **faults)) == "confirmed"


def test_a_wrong_echo_makes_no_success_of_what_is_none() -> None:
    assert run(lambda: whole(BED, echo="wrong")) in {"confirmed", "unverified", "refused", "lapsed"}


@pytest.mark.parametrize(
    "line", [LOG, "Nov 21 20:00:00: %LINK-3-UPDOWN: Interface Gi0/1, changed state to up"]
)
def test_log_lines_are_known_and_prompts_are_none(line: str) -> None:

    assert re.sub(LOG_LINE, "", f"a\n{line}\nb") == "a\nb"
    assert re.sub(LOG_LINE, "", "% Invalid input") == "% Invalid input"


# Login ------------------------------------------------------------------------------------------------------------


def test_the_enable_secret_is_given_once_and_never_shown() -> None:
    async def work() -> None:
        device = IosDevice(level=1)
        login = Credentials(USER, Secret(PASSWORD), enable=Secret(ENABLE))
        transcript = Transcript(Redactor())
        async with serving(device) as emulator:
            target = target_of(emulator, credentials=login)
            async with DRIVER.session(target, transcript=transcript) as session:
                assert "hostname r1" in (await session.get_config()).text
        assert device.enable_tries == 1
        assert ENABLE not in transcript.text()

    run(work)


@pytest.mark.parametrize("secret", ["wrong-enable", None])
def test_a_wrong_enable_secret_is_tried_once(secret: str | None) -> None:
    async def work() -> None:
        device = IosDevice(level=1)
        login = Credentials(USER, Secret(PASSWORD), enable=Secret(secret) if secret else None)
        async with serving(device) as emulator:
            with pytest.raises(NotAuthorized, match="user mode"):
                async with DRIVER.session(target_of(emulator, credentials=login)):
                    pass
        assert device.enable_tries == 3  # the device asks three times: two of the answers were empty

    run(work)


def test_another_platform_is_told() -> None:
    class Nexus(IosDevice):
        def _version(self) -> str:
            return "Cisco Nexus Operating System (NX-OS) Software"

    async def work() -> None:
        async with serving(Nexus()) as emulator:
            with pytest.raises(WrongPlatform):
                async with DRIVER.session(target_of(emulator)):
                    pass

    run(work)


@pytest.mark.parametrize(
    ("model", "version", "writes"),
    [
        ("ISR4331/K9", "17.09.04a", True),
        ("WS-C3560CX-12PD-S", "15.2(7)E", True),
        ("C9300-48P", "16.12.5", True),
        ("ISR4331/K9", "12.4(15)T", False),
        ("ISR4331/K9", "18.1.1", False),
        ("N9K-C93180", "17.09.04a", False),
    ],
)
def test_unknown_models_and_firmware_are_read_only(model: str, version: str, writes: bool) -> None:
    async def work() -> None:
        device = IosDevice(model=model, version=version)
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            assert session.capabilities.writes is writes
            assert session.identity.model == model

    run(work)


# Reading ----------------------------------------------------------------------------------------------------------


def test_a_banner_that_looks_like_an_error_is_a_part_of_the_configuration() -> None:
    async def work() -> None:
        async with serving(IosDevice()) as emulator, DRIVER.session(target_of(emulator)) as session:
            first, second = await session.get_config(), await session.get_config()
            assert "% Invalid access is prohibited #" in first.text
            assert first.digest == second.digest
            assert "Last configuration change" not in first.text
            startup = await session.get_config(ConfigKind.STARTUP)
            assert "hostname r1" in startup.text
            assert "out of" not in startup.text

    run(work)


def test_facts_and_neighbours_are_read() -> None:
    async def work() -> None:
        async with serving(IosDevice()) as emulator, DRIVER.session(target_of(emulator)) as session:
            facts = await session.facts()
            assert (facts.hostname, facts.uptime_s) == ("r1", 788640)
            first, second = facts.interfaces
            assert (first.mac, first.speed_bps, first.up) == ("00:50:56:aa:00:01", 10**9, True)
            assert (second.enabled, second.up) == (False, False)
            near, far = await session.neighbors()
            assert (near.protocol, near.chassis_id, near.port_id) == ("lldp", "00:50:56:bb:00:01", "Gi0/2")
            assert (far.protocol, far.local_port, far.address) == ("cdp", "GigabitEthernet0/0", "192.0.2.254")

    run(work)


def test_nothing_is_made_of_nothing() -> None:
    assert interfaces("") == ()
    assert cdp("% CDP is not enabled") == ()


# Staging ----------------------------------------------------------------------------------------------------------


def test_signs_that_the_command_line_takes_for_itself_reach_the_file() -> None:
    text = 'username eve secret a?b$c[d]"e\\f\nsnmp-server location\tend;x{y}'

    async def work() -> None:
        device = IosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(Change(Mode.MERGE, text))
            assert device.files[staged.handle] == f"{text}\nend\n"
            await session.discard(staged)
        assert device.files == {}

    run(work)


def test_a_secret_is_hidden_as_it_stands_in_the_tcl_shell_and_in_pieces() -> None:
    secret = "p$w" + "x" * 150

    async def work() -> None:
        transcript = Transcript(Redactor())
        device = IosDevice()
        async with (
            serving(device) as emulator,
            DRIVER.session(target_of(emulator), transcript=transcript) as session,
        ):
            staged = await session.stage(Change(Mode.MERGE, f"username eve secret {secret}"))
            assert secret in device.files[staged.handle]
        assert "p$w" not in transcript.text()
        assert r"p\044w" not in transcript.text()
        assert "x" * 20 not in transcript.text()

    run(work)


def test_long_lines_are_cut_after_spaces_and_put_together_again() -> None:
    line = "access-list " + " ".join(f"word{number}" for number in range(80))
    assert "".join(pieces(line)) == line
    assert max(map(len, pieces(line))) <= 120
    assert all(piece.endswith(" ") for piece in pieces(line)[:-1])
    assert pieces("") == [""]
    assert tcl("a?b") == '"a\\077b"'


def test_a_file_that_arrives_garbled_is_not_applied() -> None:
    async def work() -> None:
        device = IosDevice()
        device.corrupts = 1
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            with pytest.raises(Garbled):
                await session.stage(ADD)
            assert device.files == {}

    run(work)


def test_a_replace_keeps_the_banner_and_shows_its_diff() -> None:
    async def work() -> None:
        device = IosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            text = (await session.get_config(secrets=Secrets.KEEP)).text
            wanted = Change(Mode.REPLACE, text.replace("uplink to core1", "uplink to core2"))
            staged = await session.stage(wanted)
            diff = await session.diff(staged)
            assert (diff.source, diff.added, diff.removed) == (DiffSource.NATIVE, 1, 1)
            result = await session.commit(staged, session.reference(staged, 120))
            assert result.state is CommitState.PENDING
            assert (await session.confirm(result.ref)).state is ConfirmState.CONFIRMED
            after = (await session.get_config(secrets=Secrets.KEEP)).text
            assert after == wanted.text  # the banner too: ^C went out as the character that it stands for

    run(work)


def test_a_replace_that_is_refused_is_taken_back_by_the_device() -> None:
    async def work() -> None:
        device = IosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            before = device.running.copy()
            staged = await session.stage(Change(Mode.REPLACE, FIRST + "frobnicate all\n"))
            result = await session.commit(staged, session.reference(staged, 60))
            assert result.state is CommitState.REJECTED
            assert device.running == before
            assert not device.timer.pending

    run(work)


# Committing -------------------------------------------------------------------------------------------------------


def test_without_the_archive_there_is_no_timer_and_nothing_is_sent() -> None:
    async def work() -> None:
        device = IosDevice(FIRST.replace("archive\n path flash:archive\n", ""))
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            (found,) = await session.validate(staged)
            assert (found.severity, "archive" in found.message) == (Severity.WARNING, True)
            with pytest.raises(NotSupported, match="path"):
                await session.commit(staged, session.reference(staged, 60))
            assert "snmp-server location rack-4" not in device.running.lines
            result = await session.commit(
                staged, session.reference(staged)
            )  # the archive itself may be pushed
            assert result.state is CommitState.COMMITTED

    run(work)


@pytest.mark.parametrize("within_s", [None, 60])
def test_a_merge_that_is_refused_half_way_is_taken_back(within_s: int | None) -> None:
    async def work() -> None:
        device = IosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            before = device.running.copy()
            staged = await session.stage(BAD)
            result = await session.commit(staged, session.reference(staged, within_s))
            assert (result.state, result.slug) == (CommitState.REJECTED, "command-refused")
            assert device.running == before
            assert not device.timer.pending

    run(work)


def test_the_warning_behind_the_prompt_does_not_stop_us() -> None:
    async def work() -> None:
        device = IosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 1)
            assert ref.confirm_within_s == 60
            assert (await session.commit(staged, ref)).state is CommitState.PENDING

    run(work)


def test_nothing_is_applied_where_the_timer_does_not_start() -> None:
    async def work() -> None:
        device = IosDevice()
        device.faults.lie_at = "configure terminal revert timer.*"
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            result = await session.commit(staged, session.reference(staged, 60))
            assert (result.state, result.slug) == (CommitState.REJECTED, "no-timer")
            assert "snmp-server location rack-4" not in device.running.lines

    run(work)


def test_a_replace_without_the_timer_that_was_asked_for_is_unverified() -> None:
    class Forgetful(IosDevice):
        def _replace(self, session: CliSession, path: str, rest: list[str]) -> str:
            del rest
            return super()._replace(session, path, [])

    async def work() -> None:
        async with serving(Forgetful()) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(Change(Mode.REPLACE, FIRST + "snmp-server location x\n"))
            result = await session.commit(staged, session.reference(staged, 60))
            assert (result.state, result.slug) == (CommitState.UNVERIFIED, "no-timer")

    run(work)


def test_the_timer_of_somebody_else_is_neither_confirmed_nor_disturbed() -> None:
    async def work() -> None:
        device = IosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 60)
            assert (await session.commit(staged, ref)).state is CommitState.PENDING
            device.user = "alice"
            assert (await session.pending()).ids == ()
            assert (await session.confirm(ref)).slug == "foreign-timer"
            with pytest.raises(LockHeld, match="waits"):
                async with session.lock():
                    pass
            again = await session.stage(BACK)
            second = await session.commit(again, session.reference(again, 60))
            assert (second.state, second.slug) == (CommitState.REJECTED, "timer-running")
            assert device.timer.pending

    run(work)


def test_a_second_confirm_says_that_it_was_confirmed_already() -> None:
    async def work() -> None:
        device = IosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 60)
            await session.commit(staged, ref)
            assert (await session.confirm(ref)).slug == ""
            again = await session.confirm(ref)
            assert (again.state, again.slug) == (ConfirmState.CONFIRMED, "already-confirmed")
            device.running.lines.pop("snmp-server location rack-4")
            assert (await session.confirm(ref)).state is ConfirmState.UNVERIFIED

    run(work)


def test_a_confirmed_commit_is_rolled_back_unless_others_have_changed_the_device() -> None:
    async def work() -> None:
        device = IosDevice()
        before = device.running.copy()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 60)
            await session.commit(staged, ref)
            await session.confirm(ref)
            there = device.running
            device.running = there.copy()
            device.running.lines.pop("hostname r1")
            assert (await session.rollback(ref)).slug == "moved-on"
            device.running = there
            assert (await session.rollback(ref)).state is RollbackState.REVERTED
            assert device.running == before

    run(work)


def test_the_next_commit_sweeps_the_files_of_the_one_before() -> None:
    async def work() -> None:
        device = IosDevice()
        device.files["flash:startup.bak"] = "not ours"
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            for change in (ADD, BACK, ADD):
                staged = await session.stage(change)
                await session.commit(staged, session.reference(staged))
            assert len(device.files) == 2
            assert device.files["flash:startup.bak"] == "not ours"

    run(work)


def test_a_device_that_asks_nothing_about_files_is_no_trouble() -> None:
    async def work() -> None:
        device = IosDevice()
        device.quiet_files = True  # `file prompt quiet`: no questions at all
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 60)
            await session.commit(staged, ref)
            assert (await session.confirm(ref)).state is ConfirmState.CONFIRMED
            await session.save()
        assert device.startup == device.running

    run(work)


def test_the_timer_of_the_device_reverts_a_lost_session() -> None:
    async def work() -> None:
        device = IosDevice(scale=300)
        before = device.running.copy()
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator)) as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged, 60)
                assert (await session.commit(staged, ref)).state is CommitState.PENDING
                session.abort()
            await asyncio.sleep(0.3)
            assert device.running == before
            async with DRIVER.session(target_of(emulator)) as session:
                assert (await session.confirm(ref)).state is ConfirmState.LAPSED

    run(work)
