"""Huawei VRP5 against an emulated device: the conformance kit, what happens without a candidate, a chaos matrix."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from drivers.capabilities import ConfirmKind, RollbackMethod
from drivers.conformance import Subject, Verdict, verify
from drivers.emulator.vrp5_device import Vrp5Device
from drivers.emulator.vrp_device import FIRST
from drivers.errors import NotSupported, WrongPlatform
from drivers.model import (
    Change,
    CommitRef,
    ConfigKind,
    DiffSource,
    Identity,
    Mode,
    ServiceIntent,
    ServiceVerb,
)
from drivers.outcomes import CommitState, RollbackState
from drivers.redact import Redactor
from drivers.vrp5 import DRIVER
from drivers.vrp_text import delta, lines_of, merged, text_of
from tests.drivers.beds import Cutter, run, serving, target_of
from tests.drivers.chaos import ECHOES, FAULTS, PATIENT, Case, echoing, strike

PORT = "interface GigabitEthernet0/0/1"
ADD = Change(Mode.MERGE, f"vlan batch 20\n#\n{PORT}\n description new customer")
BACK = Change(Mode.MERGE, f"undo vlan batch 20\n#\n{PORT}\n undo description")
BAD = Change(Mode.MERGE, f"vlan batch 30\n#\n{PORT}\n frobnicate")
CANARY = "$1c$n0tre4l-c1pher$"


def test_vrp5_passes_the_conformance_kit() -> None:
    async def work() -> None:
        device = Vrp5Device()
        async with serving(device) as emulator:
            subject = Subject(
                DRIVER,
                target_of(emulator),
                replace(ADD, text=f"{PORT}\n description new customer"),
                replace(BACK, text=f"{PORT}\n undo description"),
                "display version",
                bad=BAD,
                cut=Cutter(device.faults, "description .*"),
                attempts=lambda: emulator.attempts,
                canaries=(CANARY,),
            )
            report = await verify(subject)
        assert {c.name: c.detail for c in report.failed} == {}
        assert report.may_write
        skipped = [c.name for c in report.checks if c.verdict is Verdict.SKIPPED]
        assert skipped == ["lock-refused", "push-unconfirmed-reverts"]

    run(work)


PHASES = {
    "probe": "display version",
    "read": "display current-configuration",
    "backup": r"save \S+",
    "view": "system-view",
    "first line": "vlan batch 20",
    "second line": "description .*",
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("phase", PHASES)
def test_no_fault_is_taken_for_success(fault: str, phase: str) -> None:
    async def work() -> None:
        case = Case(
            DRIVER, Vrp5Device, ADD, lambda device: "description new customer" in device.running[PORT], {}
        )
        outcome, true = await strike(case, fault, PHASES[phase])
        assert true, outcome
        assert outcome != "committed"

    run(work)


@pytest.mark.parametrize("echo", ECHOES)
def test_any_echo_is_tolerated_in_a_push(echo: str) -> None:
    async def work() -> None:
        device = Vrp5Device()
        echoing(device, echo)
        async with (
            serving(device) as emulator,
            DRIVER.session(target_of(emulator, deadlines=PATIENT)) as session,
        ):
            staged = await session.stage(ADD)
            assert (await session.commit(staged, session.reference(staged))).state is CommitState.COMMITTED

    run(work)


def test_a_line_that_is_refused_half_way_is_taken_back_and_read_back() -> None:
    async def work() -> None:
        device = Vrp5Device()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(BAD)
            result = await session.commit(staged, session.reference(staged))
            assert result.state is CommitState.REJECTED
            assert "vlan batch 30" in device.commands
            device.loses_undo = "vlan batch"  # matches no line: VLANs go
        assert device.running == FIRST

    run(work)


def test_what_cannot_be_taken_back_is_partial() -> None:
    async def work() -> None:
        device = Vrp5Device()
        device.loses_undo = "mtu"
        change = Change(Mode.MERGE, f"{PORT}\n mtu 1600\n frobnicate")
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(change)
            result = await session.commit(staged, session.reference(staged))
            assert (result.state, result.slug) == (CommitState.PARTIAL, "command-refused")
        assert "mtu 1600" in device.running[PORT]

    run(work)


def test_without_a_file_of_the_state_before_nothing_is_changed() -> None:
    async def work() -> None:
        device = Vrp5Device()
        device.full = True
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            result = await session.commit(staged, session.reference(staged))
            assert (result.state, result.slug) == (CommitState.REJECTED, "no-backup")
        assert device.running == FIRST

    run(work)


def test_a_rollback_that_falls_short_is_refused_and_says_what_would_reboot() -> None:
    async def work() -> None:
        device = Vrp5Device()
        device.loses_undo = "mtu"
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            assert session.capabilities.rollback is RollbackMethod.INVERSE_COMMANDS
            staged = await session.stage(Change(Mode.MERGE, f"{PORT}\n mtu 1600"))
            ref = session.reference(staged)
            assert (await session.commit(staged, ref)).state is CommitState.COMMITTED
            done = await session.rollback(ref)
            assert (done.state, done.slug) == (RollbackState.REFUSED, "not-restored")
            assert f"startup saved-configuration {ref.id}.cfg" in done.detail
        assert device.reboots == 0
        assert device.startup_file == "vrpcfg.zip"

    run(work)


def test_where_a_reboot_is_allowed_the_saved_file_comes_back_with_it() -> None:
    async def work() -> None:
        device = Vrp5Device()
        device.loses_undo = "mtu"
        async with serving(device) as emulator:
            device.cut = emulator.cut
            target = target_of(emulator, options={"rollback": "reboot"})
            async with DRIVER.session(target) as session:
                assert session.capabilities.reboots
                assert session.capabilities.rollback is RollbackMethod.REBOOT
                staged = await session.stage(Change(Mode.MERGE, f"{PORT}\n mtu 1600"))
                ref = session.reference(staged)
                await session.commit(staged, ref)
                assert (await session.rollback(ref)).state is RollbackState.REBOOTING
        assert device.reboots == 1
        assert device.running == FIRST
        assert device.startup_file == f"{ref.id}.cfg"

    run(work)


def test_a_rollback_works_from_another_session_that_knows_only_the_reference() -> None:
    async def work() -> None:
        device = Vrp5Device()
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator)) as session:
                staged = await session.stage(ADD)
                assert staged.undo == ("undo vlan batch 20", PORT, " undo description")
                ref = session.reference(staged)
                await session.commit(staged, ref)
            async with DRIVER.session(target_of(emulator)) as session:
                done = await session.rollback(CommitRef.loads(ref.dumps()))
                assert done.state is RollbackState.REVERTED
                missing = replace(ref, id="dm00000000ff", before="f" * 32)
                assert (await session.rollback(missing)).slug == "nothing-kept"
        assert device.running == FIRST

    run(work)


@pytest.mark.parametrize(("options", "state"), [({}, "rejected"), ({"questions": "yes"}, "committed")])
def test_a_question_to_a_line_is_answered_no_unless_told_otherwise(
    options: dict[str, str], state: str
) -> None:
    async def work() -> None:
        device = Vrp5Device()
        device.asks["port link-type access"] = (
            "Warning: This deletes other configuration of the port. Continue?"
        )
        more = {"options": options}
        async with serving(device) as emulator, DRIVER.session(target_of(emulator, **more)) as session:
            staged = await session.stage(Change(Mode.MERGE, f"{PORT}\n port link-type access"))
            result = await session.commit(staged, session.reference(staged))
        assert result.state == state
        assert ("port link-type access" in device.running[PORT]) is (state == "committed")

    run(work)


def test_a_change_of_the_host_name_is_followed() -> None:
    async def work() -> None:
        device = Vrp5Device()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(Change(Mode.MERGE, "sysname SW-1\nvlan batch 30"))
            ref = session.reference(staged)
            assert (await session.commit(staged, ref)).state is CommitState.COMMITTED
            assert device.name() == "SW-1"
            await session.save()
            assert (await session.rollback(ref)).state is RollbackState.REVERTED
        assert device.name() == "HUAWEI"
        assert "sysname SW-1" in device.startup[""]

    run(work)


def test_the_diff_is_labelled_as_ours_and_the_startup_can_be_read() -> None:
    async def work() -> None:
        async with serving(Vrp5Device()) as emulator, DRIVER.session(target_of(emulator)) as session:
            diff = await session.diff(await session.stage(ADD))
            assert (diff.source, diff.added, diff.removed) == (DiffSource.OFFLINE, 2, 0)
            assert "sysname HUAWEI" in (await session.get_config(ConfigKind.STARTUP)).text
            with pytest.raises(NotSupported):
                await session.get_config(ConfigKind.CANDIDATE)

    run(work)


@pytest.mark.parametrize(
    ("identity", "writes"),
    [
        (Identity("Huawei", "S5720-28X-LI-AC", "vrp5", "5.170 V200R011C10SPC600"), True),
        (Identity("Huawei", "S5720-28X-LI-AC", "vrp5", "5.20"), False),
        (Identity("Huawei", "Toaster", "vrp5", "5.170"), False),
        (Identity("Huawei", "S5720-28X-LI-AC", "vrp8", "5.170"), False),
    ],
)
def test_identity_decides_what_may_be_done(identity: Identity, writes: bool) -> None:
    async def work() -> None:
        async with serving(Vrp5Device()) as emulator, DRIVER.session(target_of(emulator)) as session:
            found = session._capabilities(identity)
            assert found.writes is writes
            assert found.confirm is ConfirmKind.NONE
        async with serving(Vrp5Device(version="8.180")) as emulator:
            with pytest.raises(WrongPlatform):
                async with DRIVER.session(target_of(emulator)):
                    pass

    run(work)


def test_a_service_comes_stops_resumes_and_goes_and_leaves_others_alone() -> None:
    async def work() -> None:
        device = Vrp5Device()
        intent = ServiceIntent(
            ServiceVerb.ADD,
            "svc-7",
            "GigabitEthernet0/0/1",
            s_vlan=107,
            upload_bps=5_000_001,
            download_bps=10_000_000,
        )
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            for verb, there in (
                (ServiceVerb.ADD, {"description svc-7", "port default vlan 107", "qos lr inbound cir 5001"}),
                (ServiceVerb.SUSPEND, {"shutdown", "description svc-7"}),
                (ServiceVerb.RESUME, {"description svc-7"}),
                (ServiceVerb.REMOVE, {"port link-type access"}),
            ):
                staged = await session.stage(await session.apply_service(replace(intent, verb=verb)))
                result = await session.commit(staged, session.reference(staged))
                assert result.state is CommitState.COMMITTED, (verb, result)
                assert there <= set(device.running[PORT]), verb
                assert (await session.apply_service(replace(intent, verb=verb))).text == ""
            assert not any("qos" in line or "vlan 107" in line for line in device.running[PORT])
            for other in (
                replace(intent, port="GigabitEthernet0/0/2"),
                replace(intent, verb=ServiceVerb.SUSPEND),
                replace(intent, port="GigabitEthernet0/0/77"),
                replace(intent, c_vlan=5),
            ):
                with pytest.raises(NotSupported):
                    await session.apply_service(other)

    run(work)


def test_commands_know_their_views_and_batches_their_vlans() -> None:
    text = "vlan batch 10 20 to 22\n#\naaa\n domain x\n  scheme y\n#\ninterface E1\n mtu 9"
    lines = lines_of(text)
    assert lines[1:4] == [((), "vlan batch 20"), ((), "vlan batch 21"), ((), "vlan batch 22")]
    assert (("aaa", "domain x"), "scheme y") in lines
    assert lines_of(text_of(lines)) == lines


def test_a_delta_turns_one_configuration_into_the_other() -> None:
    before = lines_of("sysname A\ninterface E1\n description x\n mtu 9\ninterface E2\n shutdown")
    after = lines_of("sysname B\ninterface E1\n description y\ninterface E3\n shutdown")
    commands = delta(before, after)
    assert ((), "undo interface E2") in commands
    assert (("interface E1",), "undo mtu") in commands
    assert (("interface E1",), "undo description") not in commands  # the new value takes its place
    assert set(merged(before, commands)) == set(after)
    assert merged(copy.copy(after), commands) == after


@pytest.mark.parametrize(
    "line",
    [
        "snmp-agent community read cipher LEAKLEAK",
        "radius-server shared-key cipher LEAKLEAK",
        "local-user x password irreversible-cipher LEAKLEAK",
        "snmp-agent usm-user v3 noc authentication-mode sha cipher LEAKLEAK",
        "ospf authentication-mode md5 1 cipher LEAKLEAK",
        "snmp-agent community write LEAKLEAK",
    ],
)
def test_secrets_of_vrp_are_not_shown(line: str) -> None:
    assert "LEAKLEAK" not in Redactor((), DRIVER.secret_patterns).redact(line)
