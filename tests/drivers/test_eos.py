"""Arista EOS against an emulated device: the conformance kit in the old and the new way, sessions, and chaos."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from drivers.emulator.eos_device import FIRST, ConfigSession, EosDevice
from drivers.emulator.ios_like_device import Editor
from drivers.eos import DRIVER
from drivers.errors import CommandRefused, LockHeld, NotSupported
from drivers.model import Change, Identity, Mode, Secrets, ServiceIntent, ServiceVerb
from drivers.outcomes import CommitState, ConfirmState, RollbackState
from tests.drivers.beds import run, serving, target_of
from tests.drivers.ios_chaos import LOG, STRIKES, Bed, failures, kit, matrix, whole

ADD = Change(
    Mode.MERGE,
    "snmp-server location rack-4\nusername bob secret 0 hunter2-hunter2",
    secrets=("hunter2-hunter2",),
)
BACK = Change(Mode.MERGE, "no snmp-server location\nno username bob")
BAD = Change(Mode.MERGE, "snmp-server location x\nfrobnicate all")
BED = Bed(DRIVER, EosDevice, ADD, "snmp-server location rack-4")
OLD, NEW = "4.31.1F", "4.35.0F"


@pytest.mark.parametrize("version", [OLD, NEW])
def test_eos_passes_the_conformance_kit(version: str) -> None:
    async def work() -> None:
        bed = Bed(DRIVER, lambda: EosDevice(version=version, scale=30), ADD, "")
        cut = "configure session .* commit timer.*"
        assert failures(await kit(bed, BACK, BAD, cut, "$6$canary$on-the-box", 30)) == {}

    run(work)


@pytest.mark.parametrize("fault", STRIKES)
def test_no_fault_at_any_command_makes_a_success_of_what_is_none(fault: str) -> None:
    outcomes = run(lambda: matrix(BED, fault), 100)
    assert len(outcomes) > 20
    assert outcomes["commit", r"configure\ session\ dm[0-9a-f-]+\ commit\ timer\ 00:01:00"] != {"pending"}


@pytest.mark.parametrize(
    "faults",
    [{"slow_echo_s": 0.0005}, {"late_s": 0.005}, {"noise": f"Nov 21 20:00:00 sw1 ConfigAgent: {LOG[26:]}"}],
    ids=str,
)
def test_a_slow_or_noisy_terminal_is_no_fault(faults: dict[str, Any]) -> None:
    assert run(lambda: whole(BED, **faults)) == "confirmed"


@pytest.mark.parametrize("echo", ["wrong", "none"])
def test_a_bad_echo_makes_no_success_of_what_is_none(echo: str) -> None:
    assert run(lambda: whole(BED, echo=echo)) in {"confirmed", "unverified", "refused", "lapsed"}


# Sessions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [OLD, NEW])
def test_a_commit_that_waits_is_seen_under_its_own_name(version: str) -> None:
    async def work() -> None:
        device = EosDevice(version=version)
        async with serving(device) as emulator:
            target = target_of(emulator)
            async with DRIVER.session(target) as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged, 90)
                assert (await session.commit(staged, ref)).state is CommitState.PENDING
                assert f"configure session {ref.id} commit timer 00:01:30" in device.commands
            async with DRIVER.session(target) as session:
                assert (await session.pending()).ids == (ref.id,)
                with pytest.raises(LockHeld, match="waits"):
                    async with session.lock():
                        pass
                assert (await session.confirm(ref)).state is ConfirmState.CONFIRMED
                assert (await session.pending()).ids == ()
                assert (await session.confirm(ref)).slug == "already-confirmed"
                await session.save()
            assert device.startup == device.running

    run(work)


def test_a_late_confirm_does_not_become_a_commit() -> None:
    async def work() -> None:
        device = EosDevice(scale=300)
        before = device.running
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 60)
            await session.commit(staged, ref)
            await asyncio.sleep(0.3)
            device.sessions[ref.id] = ConfigSession(Editor(device.running.copy()))  # somebody made it again
            sent = len(device.commands)
            assert (await session.confirm(ref)).state is ConfirmState.LAPSED
            assert not [line for line in device.commands[sent:] if line.endswith("commit")]
            assert device.running == before

    run(work)


def test_what_others_have_changed_since_is_not_laid_over() -> None:
    async def work() -> None:
        device = EosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            device.running = device.running.copy()
            device.running.lines["ntp server 192.0.2.9"] = type(device.running)()
            result = await session.commit(staged, session.reference(staged, 60))
            assert (result.state, result.slug) == (CommitState.REJECTED, "base-changed")
            assert "ntp server 192.0.2.9" in device.running.lines

    run(work)


def test_staging_leaves_its_sub_modes_before_it_compares() -> None:
    async def work() -> None:
        async with serving(EosDevice()) as emulator, DRIVER.session(target_of(emulator)) as session:
            for text in ("interface Ethernet1\n   description new", "interface Ethernet1\ndescription new"):
                staged = await session.stage(Change(Mode.MERGE, text))
                diff = await session.diff(staged)
                assert (diff.added, diff.removed) == (1, 1)
                await session.discard(staged)

    run(work)


def test_no_configuration_session_is_left_behind() -> None:
    async def work() -> None:
        device = EosDevice()
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator)) as session:
                await session.discard(await session.stage(ADD))
                assert device.sessions == {}
                with pytest.raises(CommandRefused, match="frobnicate"):
                    await session.stage(BAD)
                assert device.sessions == {}
                await session.stage(ADD)
            assert device.sessions == {}

    run(work)


def test_too_many_sessions_are_told_as_the_device_says_it() -> None:
    async def work() -> None:
        device = EosDevice()
        device.sessions = {f"other{n}": ConfigSession(Editor(device.running.copy())) for n in range(5)}
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            with pytest.raises(CommandRefused, match="Maximum number of pending sessions"):
                await session.stage(ADD)

    run(work)


def test_a_commit_that_is_refused_leaves_no_session() -> None:
    async def work() -> None:
        device = EosDevice()
        device.refuse_commit = "% Commit of session failed: hardware resources exhausted"
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            result = await session.commit(staged, session.reference(staged, 60))
            assert (result.state, result.slug) == (CommitState.REJECTED, "command-refused")
            assert device.sessions == {}

    run(work)


def test_banners_and_comments_are_typed_up_to_their_end() -> None:
    text = "banner motd\nno entry # here\n   indented\nEOF\n!\ninterface Ethernet1\n   !! seen by the NOC\n"

    async def work() -> None:
        device = EosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(Change(Mode.MERGE, text))
            await session.commit(staged, session.reference(staged))
            assert "banner motd\nno entry # here\n   indented\nEOF" in device.running.lines
            assert "!! seen by the NOC" in device.running.lines["interface Ethernet1"].lines

    run(work)


def test_a_replace_starts_from_nothing_and_gives_the_same_text_back() -> None:
    async def work() -> None:
        device = EosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            text = (await session.get_config(secrets=Secrets.KEEP)).text
            same = await session.stage(Change(Mode.REPLACE, text))
            assert (await session.diff(same)).empty
            staged = await session.stage(Change(Mode.REPLACE, text.replace("snmp-server contact noc\n", "")))
            assert (await session.diff(staged)).removed == 1
            result = await session.commit(staged, session.reference(staged))
            assert result.state is CommitState.COMMITTED
            assert "snmp-server contact noc" not in device.running.lines

    run(work)


def test_a_confirmed_commit_is_rolled_back_unless_others_have_changed_the_device() -> None:
    async def work() -> None:
        device = EosDevice()
        before = device.running.copy()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged)
            assert (await session.commit(staged, ref)).state is CommitState.COMMITTED
            there = device.running
            device.running = there.copy()
            device.running.lines.pop("snmp-server contact noc")
            assert (await session.rollback(ref)).slug == "moved-on"
            device.running = there
            assert (await session.rollback(ref)).state is RollbackState.REVERTED
            assert device.running == before

    run(work)


# Reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "version", "writes"),
    [
        ("DCS-7280SR-48C6-F", OLD, True),
        ("vEOS-lab", NEW, True),
        ("DCS-7280SR-48C6-F", "4.15.2F", False),
        ("DCS-7280SR-48C6-F", "5.1.0F", False),
        ("toaster", OLD, False),
    ],
)
def test_unknown_models_and_firmware_are_read_only(model: str, version: str, writes: bool) -> None:
    async def work() -> None:
        device = EosDevice(model=model, version=version)
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            assert session.capabilities.writes is writes
            assert session.identity == Identity("Arista", model, "eos", version, "JPE1234")

    run(work)


def test_facts_and_neighbours_are_read_from_json() -> None:
    async def work() -> None:
        async with serving(EosDevice()) as emulator, DRIVER.session(target_of(emulator)) as session:
            facts = await session.facts()
            assert (facts.hostname, facts.uptime_s, facts.interfaces[0].speed_bps) == ("sw1", 93784, 10**10)
            (near,) = await session.neighbors()
            assert (near.local_port, near.port_id, near.address) == ("Ethernet1", "Ethernet7", "192.0.2.254")
            first, second = await session.get_config(), await session.get_config()
            assert first.digest == second.digest
            assert "! Time" not in first.text

    run(work)


def test_a_service_is_a_sub_interface_with_one_tag() -> None:
    async def work() -> None:
        text = FIRST + "interface Ethernet1.100\n   description svc-17\n   encapsulation dot1q vlan 100\n"
        async with serving(EosDevice(text)) as emulator, DRIVER.session(target_of(emulator)) as session:
            there = ServiceIntent(ServiceVerb.ADD, "svc-17", "Ethernet1", s_vlan=100)
            assert (await session.apply_service(there)).text == ""
            wanted = ServiceIntent(
                ServiceVerb.ADD, "svc-18", "Ethernet1", s_vlan=101, address="198.51.100.1/30"
            )
            assert (await session.apply_service(wanted)).text == (
                "interface Ethernet1.101\n description svc-18\n encapsulation dot1q vlan 101\n"
                " ip address 198.51.100.1/30\n"
            )
            for refused in (
                ServiceIntent(ServiceVerb.ADD, "svc-17", "Ethernet1", s_vlan=100, c_vlan=7),
                ServiceIntent(ServiceVerb.KICK, "svc-17", "Ethernet1", s_vlan=100),
            ):
                with pytest.raises(NotSupported):
                    await session.apply_service(refused)

    run(work)
