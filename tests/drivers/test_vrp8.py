"""Huawei VRP8 against an emulated device: the conformance kit, the traps of two-stage mode, a chaos matrix."""

from __future__ import annotations

import asyncio

import pytest

from drivers.capabilities import ConfirmKind
from drivers.conformance import Subject, Verdict, verify
from drivers.emulator.vrp8_device import Vrp8Device
from drivers.errors import CommandRefused, LockHeld, NotSupported, WrongPlatform
from drivers.model import Change, CommitRef, ConfigKind, Identity, Mode, ServiceIntent, ServiceVerb
from drivers.outcomes import CommitState, ConfirmState, RollbackState
from drivers.vrp8 import DRIVER
from tests.drivers.beds import Cutter, run, serving, target_of
from tests.drivers.chaos import ECHOES, FAULTS, PATIENT, Case, echoing, strike

ADD = Change(
    Mode.MERGE,
    "interface GigabitEthernet0/0/1\n description new customer\n#\nsnmp-agent sys-info location r4",
)
BACK = Change(
    Mode.MERGE, "interface GigabitEthernet0/0/1\n undo description\n#\nundo snmp-agent sys-info location r4"
)
BAD = Change(
    Mode.MERGE, "interface LoopBack9\n ip address 198.51.100.1 255.255.255.255"
)  # is another's already
PORT = "interface GigabitEthernet0/0/1"
CANARY = "$1c$n0tre4l-c1pher$"


@pytest.mark.parametrize(("version", "confirm"), [("8.200", "native-persist"), ("8.180", "none")])
def test_vrp8_passes_the_conformance_kit(version: str, confirm: str) -> None:
    async def work() -> None:
        device = Vrp8Device(version=version, scale=100)
        async with serving(device) as emulator:
            subject = Subject(
                DRIVER,
                target_of(emulator),
                ADD,
                BACK,
                "display version",
                bad=BAD,
                scale=100,
                cut=Cutter(device.faults, "commit .*"),
                attempts=lambda: emulator.attempts,
                canaries=(CANARY,),
            )
            report = await verify(subject)
            async with DRIVER.session(target_of(emulator)) as session:
                assert session.capabilities.confirm == confirm
        assert {c.name: c.detail for c in report.failed} == {}
        assert report.may_write
        skipped = [c.name for c in report.checks if c.verdict is Verdict.SKIPPED]
        assert skipped == ([] if version == "8.200" else ["push-unconfirmed-reverts"])

    run(work)


PHASES = {
    "probe": "display version",
    "read": "display current-configuration",
    "lock": "configuration exclusive",
    "points": "display configuration commit list",
    "stage": "description new customer",
    "diff": "display configuration candidate changes",
    "commit": "commit trial .*",
    "status": "display configuration trial status",
    "confirm": "commit persist .*",
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("phase", PHASES)
def test_no_fault_is_taken_for_success(fault: str, phase: str) -> None:
    async def work() -> None:
        case = Case(DRIVER, Vrp8Device, ADD, _kept, {})
        outcome, true = await strike(case, fault, PHASES[phase])
        assert true, outcome
        if phase in {"stage", "commit", "status", "confirm"}:
            assert outcome not in {"committed", "confirmed"} or (phase, fault) == ("stage", "lie_at")

    run(work)


def _kept(device: Vrp8Device) -> bool:
    there = "snmp-agent sys-info location r4" in device.running[""]
    return there and not device.timer.pending


@pytest.mark.parametrize("echo", ECHOES)
def test_any_echo_is_tolerated_in_a_push(echo: str) -> None:
    async def work() -> None:
        device = Vrp8Device()
        echoing(device, echo)
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator, deadlines=PATIENT)) as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged, 60)
                assert (await session.commit(staged, ref)).state is CommitState.PENDING
            async with DRIVER.session(target_of(emulator, deadlines=PATIENT)) as session:
                assert (await session.confirm(ref)).state is ConfirmState.CONFIRMED
        assert _kept(device)

    run(work)


@pytest.mark.parametrize("command", ["commit trial .*", "commit label .*"])
def test_silence_is_no_success(command: str) -> None:
    async def work() -> None:
        device = Vrp8Device()
        device.faults.lie_at = command
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 60 if "trial" in command else None)
            assert (await session.commit(staged, ref)).state is CommitState.UNVERIFIED

    run(work)


@pytest.mark.parametrize("swallowed", ["", "clear configuration candidate"])
def test_leaving_with_uncommitted_lines_never_commits_them(swallowed: str) -> None:
    async def work() -> None:
        device = Vrp8Device()
        device.faults.lie_at = swallowed
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            await session.stage(ADD)
        await asyncio.sleep(0.05)
        assert "description new customer" not in device.running[PORT]
        assert len(device.points) == 1

    run(work)


def test_a_new_host_name_is_in_the_prompt_only_after_the_commit_and_reverts_with_it() -> None:
    async def work() -> None:
        device = Vrp8Device()
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator)) as session, session.lock():
                staged = await session.stage(Change(Mode.MERGE, "sysname PE-2\nvlan batch 7"))
                ref = session.reference(staged, 60)
                assert (await session.commit(staged, ref)).state is CommitState.PENDING
            assert device.name() == "PE-2"
            async with DRIVER.session(target_of(emulator)) as session:
                assert (await session.rollback(ref)).state is RollbackState.REVERTED
                assert (await session.facts()).hostname == "HUAWEI"
        assert device.name() == "HUAWEI"

    run(work)


def test_a_commit_that_the_device_refuses_is_read_back_as_rejected() -> None:
    async def work() -> None:
        device = Vrp8Device()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(BAD)
            result = await session.commit(staged, session.reference(staged, 60))
            assert result.state is CommitState.REJECTED
            assert "conflicts" in result.detail
        assert "interface LoopBack9" not in device.running

    run(work)


def test_somebody_elses_trial_run_is_neither_confirmed_nor_aborted() -> None:
    async def work() -> None:
        device = Vrp8Device()
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator)) as session:
                staged = await session.stage(ADD)
                other = session.reference(staged, 60)
                assert (await session.commit(staged, other)).state is CommitState.PENDING
            mine = CommitRef("vrp8", "dm0123456789", "f" * 32, 60, "1000000001")
            async with DRIVER.session(target_of(emulator)) as session:
                assert (await session.confirm(mine)).state is ConfirmState.REFUSED
                assert (await session.rollback(mine)).state is RollbackState.REFUSED
                assert (await session.pending()).ids == (other.id,)
        assert device.timer.pending

    run(work)


def test_a_rollback_is_refused_once_another_user_has_committed() -> None:
    async def work() -> None:
        device = Vrp8Device()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged)
            assert (await session.commit(staged, ref)).state is CommitState.COMMITTED
            device.points.append(("1000000009", "-", "somebody", device.running))
            assert (await session.rollback(ref)).slug == "moved-on"
            device.points.pop()
            assert (await session.rollback(ref)).state is RollbackState.REVERTED
        assert "description new customer" not in device.running[PORT]

    run(work)


def test_the_exclusive_lock_of_another_session_is_typed_and_comes_back() -> None:
    async def work() -> None:
        async with serving(Vrp8Device()) as emulator:
            target = target_of(emulator)
            async with DRIVER.session(target) as first, DRIVER.session(target) as second:
                async with first.lock():
                    with pytest.raises(LockHeld, match="another user"):
                        async with second.lock():
                            pass
                async with second.lock():
                    pass

    run(work)


@pytest.mark.parametrize(
    "line", ["return", "commit", "save", "reboot", "interface GigabitEthernet0/0/1\n quit"]
)
def test_what_is_no_configuration_is_not_sent(line: str) -> None:
    async def work() -> None:
        device = Vrp8Device()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            if line == "return":  # the end of a printed configuration
                assert (await session.diff(await session.stage(Change(Mode.MERGE, line)))).empty
                return
            with pytest.raises(NotSupported, match="no configuration"):
                await session.stage(Change(Mode.MERGE, line))
            assert not [
                each for each in device.commands if each in {"commit", "save", "reboot", "system-view"}
            ]

    run(work)


def test_a_refused_line_leaves_no_candidate() -> None:
    async def work() -> None:
        device = Vrp8Device()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            with pytest.raises(CommandRefused, match="Unrecognized"):
                await session.stage(Change(Mode.MERGE, f"{PORT}\n description x\n frobnicate"))
            assert "description x" not in (await session.get_config(ConfigKind.CANDIDATE)).text

    run(work)


def test_pages_that_are_wiped_with_the_cursor_leave_no_blanks() -> None:
    async def work() -> None:
        device = Vrp8Device()
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator)) as session:
                whole = await session.get_config()
            device.page_lines = 3
            device.faults.lie_at = "screen-length .*"  # the right to switch pages off is missing
            async with DRIVER.session(target_of(emulator)) as session:
                paged = await session.get_config()
        assert paged.digest == whole.digest

    run(work)


def test_what_changes_by_itself_is_in_no_digest() -> None:
    async def work() -> None:
        async with serving(Vrp8Device()) as emulator, DRIVER.session(target_of(emulator)) as session:
            text = (await session.get_config()).text
            assert "Last configuration" not in text
            assert "Software Version" not in text
            assert "description uplink" in text

    run(work)


@pytest.mark.parametrize(
    ("model", "version", "writes", "confirm", "services"),
    [
        ("NE40E-X8A", "8.180 V800R010C10SPC500", True, ConfirmKind.NONE, False),
        ("NetEngine", "8.210 V800R021C00", True, ConfirmKind.NATIVE_PERSIST, False),
        ("CE6881-48S6CQ", "8.200 V200R020C10", True, ConfirmKind.NATIVE_PERSIST, True),
        ("Toaster", "8.200", False, ConfirmKind.NONE, False),
        ("NE40E-X8A", "9.1", False, ConfirmKind.NONE, False),
    ],
)
def test_identity_decides_what_may_be_done(
    model: str, version: str, writes: bool, confirm: ConfirmKind, services: bool
) -> None:
    async def work() -> None:
        async with serving(Vrp8Device()) as emulator, DRIVER.session(target_of(emulator)) as session:
            found = session._capabilities(Identity("Huawei", model, "vrp8", version))
            assert (found.writes, found.confirm, found.services) == (writes, confirm, services)
            assert not session._capabilities(Identity("Huawei", "CE6881", "yunshan", "1.22.1.0")).writes

    run(work)


def test_a_vrp5_is_another_platform_and_the_successor_is_read_only() -> None:
    class YunShan(Vrp8Device):
        def version_text(self) -> str:
            return "Huawei YunShan OS\nYunShan OS Version 1.22.1.0 (CE6881 V300R022C00)\nHUAWEI CE6881 uptime is 1 day"

    async def work() -> None:
        async with serving(YunShan()) as emulator, DRIVER.session(target_of(emulator)) as session:
            assert not session.capabilities.writes
            assert "1.22.1.0" in session.capabilities.reason
        async with serving(Vrp8Device(version="5.170")) as emulator:
            with pytest.raises(WrongPlatform):
                async with DRIVER.session(target_of(emulator)):
                    pass

    run(work)


def test_facts_and_neighbours_are_read() -> None:
    async def work() -> None:
        async with serving(Vrp8Device()) as emulator, DRIVER.session(target_of(emulator)) as session:
            facts = await session.facts()
            assert (facts.hostname, facts.uptime_s) == ("HUAWEI", 788640)
            assert [(each.name, each.up, each.enabled) for each in facts.interfaces] == [
                ("GE0/0/1", False, False),
                ("GE0/0/2", True, True),
            ]
            [found] = await session.neighbors()
            assert (found.local_port, found.chassis_id) == ("GigabitEthernet0/0/2", "00:e0:fc:12:34:56")
            assert session.identity.serial == "2102351820"

    run(work)


def test_a_service_is_staged_as_any_change_and_asks_for_nothing_twice() -> None:
    async def work() -> None:
        device = Vrp8Device()
        intent = ServiceIntent(
            ServiceVerb.ADD, "svc-7", "GigabitEthernet0/0/1", s_vlan=107, download_bps=10_000_000
        )
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(await session.apply_service(intent))
            result = await session.commit(staged, session.reference(staged))
            assert result.state is CommitState.COMMITTED, result
            assert {"port default vlan 107", "qos lr outbound cir 10000"} <= set(device.running[PORT])
            assert (await session.apply_service(intent)).text == ""

    run(work)
