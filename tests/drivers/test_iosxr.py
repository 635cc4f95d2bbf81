"""Cisco IOS-XR against an emulated device: the conformance kit, trials that belong to their session, and chaos."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from drivers.emulator.iosxr_device import FIRST, IosXrDevice
from drivers.errors import CommandRefused, LockHeld, NotSupported
from drivers.iosxr import DRIVER
from drivers.model import Change, Mode, Secrets, ServiceIntent, ServiceVerb
from drivers.outcomes import CommitState, ConfirmState, RollbackState
from tests.drivers.beds import run, serving, target_of
from tests.drivers.ios_chaos import LOG, STRIKES, Bed, failures, kit, matrix, whole

ADD = Change(
    Mode.MERGE,
    "snmp-server location rack-4\nusername bob\n secret hunter2-hunter2",
    secrets=("hunter2-hunter2",),
)
BACK = Change(Mode.MERGE, "no snmp-server location\nno username bob")
BAD = Change(Mode.MERGE, "router bgp 200\n bgp router-id 192.0.2.9")
BED = Bed(DRIVER, IosXrDevice, ADD, "snmp-server location rack-4")


def test_iosxr_passes_the_conformance_kit() -> None:
    async def work() -> None:
        bed = Bed(DRIVER, lambda: IosXrDevice(scale=30), ADD, "")
        assert failures(await kit(bed, BACK, BAD, "commit label.*", "$6$canary$on-the-box", 30)) == {}

    run(work)


@pytest.mark.parametrize("fault", STRIKES)
def test_no_fault_at_any_command_makes_a_success_of_what_is_none(fault: str) -> None:
    outcomes = run(lambda: matrix(BED, fault), 100)
    assert len(outcomes) > 12
    assert outcomes["commit", r"commit\ label\ dm[0-9a-f-]+\ confirmed\ 60"] != {"pending"}


@pytest.mark.parametrize(
    "faults", [{"slow_echo_s": 0.0005}, {"late_s": 0.005}, {"noise": f"RP/0/RP0/CPU0:{LOG[1:]}"}], ids=str
)
def test_a_slow_or_noisy_terminal_is_no_fault(faults: dict[str, Any]) -> None:
    assert run(lambda: whole(BED, **faults)) == "confirmed"


@pytest.mark.parametrize("echo", ["wrong", "none"])
def test_a_bad_echo_makes_no_success_of_what_is_none(echo: str) -> None:
    assert run(lambda: whole(BED, echo=echo)) in {"confirmed", "unverified", "refused", "lapsed"}


# Trials -----------------------------------------------------------------------------------------------------------


def test_only_the_session_that_committed_confirms_its_trial() -> None:
    async def work() -> None:
        device = IosXrDevice()
        async with serving(device) as emulator:
            target = target_of(emulator)
            async with DRIVER.session(target) as first:
                async with first.lock():
                    staged = await first.stage(ADD)
                    ref = first.reference(staged, 60)
                    assert (await first.commit(staged, ref)).state is CommitState.PENDING
                async with DRIVER.session(target) as second:
                    assert (await second.pending()).ids == (ref.id,)
                    told = await second.confirm(ref)
                    assert (told.state, told.slug) == (ConfirmState.REFUSED, "session-bound")
                    assert (await second.rollback(ref)).state is RollbackState.REFUSED
                    with pytest.raises(LockHeld, match="trial commit is underway"):
                        async with second.lock():
                            pass
                assert (await first.confirm(ref)).state is ConfirmState.CONFIRMED
                assert (await first.confirm(ref)).slug == "already-confirmed"
            assert "snmp-server location rack-4" in device.running.lines
            async with DRIVER.session(target) as third:
                assert (await third.confirm(ref)).slug == "already-confirmed"
                assert (await third.rollback(ref)).state is RollbackState.REVERTED

    run(work)


def test_a_confirm_proves_that_the_device_can_still_be_reached() -> None:
    async def work() -> None:
        device = IosXrDevice(scale=50)
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 30)
            assert (await session.commit(staged, ref)).state is CommitState.PENDING
            assert emulator._server is not None
            emulator._server.close()  # what was committed has cut off new logins
            told = await session.confirm(ref)
            assert (told.state, told.slug) == (ConfirmState.REFUSED, "no-new-session")
            await asyncio.sleep(0.8)
            assert (await session.confirm(ref)).state is not ConfirmState.CONFIRMED
        assert "snmp-server location rack-4" not in device.running.lines

    run(work)


def test_a_close_without_a_confirm_takes_the_trial_back_at_once() -> None:
    async def work() -> None:
        device = IosXrDevice()
        before = device.running
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator)) as session:
                async with session.lock():
                    staged = await session.stage(ADD)
                    await session.commit(staged, session.reference(staged, 600))
                assert device.running != before  # the lock's end does not leave configuration mode
            assert device.running == before
            assert device.timer.reverted == 1

    run(work)


def test_the_timer_of_the_device_takes_the_trial_of_a_lost_session_back() -> None:
    async def work() -> None:
        device = IosXrDevice(scale=100)
        before = device.running
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator)) as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged, 30)
                await session.commit(staged, ref)
                session.abort()
            assert device.running != before
            await asyncio.sleep(0.5)
            assert device.running == before
            async with DRIVER.session(target_of(emulator)) as session:
                assert (await session.confirm(ref)).state is ConfirmState.LAPSED
                assert [client for _, client in await session._commits()] == ["Rollback", "CLI"]  # type: ignore[attr-defined]

    run(work)


def test_a_rollback_of_a_trial_is_immediate() -> None:
    async def work() -> None:
        device = IosXrDevice()
        before = device.running
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 600)
            await session.commit(staged, ref)
            assert (await session.rollback(ref)).state is RollbackState.REVERTED
            assert device.running == before

    run(work)


# Committing -------------------------------------------------------------------------------------------------------


def test_a_failed_commit_tells_why_and_leaves_no_candidate() -> None:
    async def work() -> None:
        device = IosXrDevice()
        async with (
            serving(device) as emulator,
            DRIVER.session(target_of(emulator)) as session,
            session.lock(),
        ):
            staged = await session.stage(BAD)
            result = await session.commit(staged, session.reference(staged, 60))
            assert result.state is CommitState.REJECTED
            assert "'BGP' detected" in result.detail
            (target,) = device.targets.values()
            assert target.exclusive  # the lock is still held
            assert not target.dirty

    run(work)


def test_commits_of_others_in_between_are_not_overwritten() -> None:
    async def work() -> None:
        device = IosXrDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            device.commits.append(("1000000001", "CLI", device.running))
            result = await session.commit(staged, session.reference(staged, 60))
            assert (result.state, result.slug) == (CommitState.REJECTED, "others-committed")
            assert "snmp-server location rack-4" not in device.running.lines

    run(work)


def test_a_replace_is_compared_and_committed_as_one() -> None:
    async def work() -> None:
        device = IosXrDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            text = (await session.get_config(secrets=Secrets.KEEP)).text
            wanted = text.replace("uplink to core1", "uplink to core2").replace("grpc\n port 57400\n!\n", "")
            staged = await session.stage(Change(Mode.REPLACE, wanted))
            diff = await session.diff(staged)
            assert (diff.added, diff.removed) == (1, 3)
            result = await session.commit(staged, session.reference(staged, 60))
            assert result.state is CommitState.PENDING
            assert (await session.confirm(result.ref)).state is ConfirmState.CONFIRMED
            assert "grpc" not in device.running.lines

    run(work)


def test_an_untimed_commit_has_its_comment_and_its_label() -> None:
    async def work() -> None:
        device = IosXrDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged)
            result = await session.commit(staged, ref, "ticket 17\nreload; now")
            assert result.state is CommitState.COMMITTED
            assert f"commit label {ref.id} comment ticket 17reload now" in device.commands
            device.commits.append(("1000000009", "CLI", device.running))
            device.running = device.running.copy()
            assert (await session.rollback(ref)).slug == "moved-on"

    run(work)


def test_the_same_change_again_is_no_commit() -> None:
    async def work() -> None:
        device = IosXrDevice(FIRST + "snmp-server location rack-4\nusername bob\n secret hunter2-hunter2\n")
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            assert (await session.diff(staged)).empty
            result = await session.commit(staged, session.reference(staged, 60))
            assert (result.state, result.slug) == (CommitState.REJECTED, "nothing-to-commit")

    run(work)


# Typing -----------------------------------------------------------------------------------------------------------


def test_blocks_are_left_before_a_word_means_something_else_inside() -> None:
    text = (
        "grpc\n port 57400\n!\nvrf mgmt\n description the vrf, not that of grpc\n address-family ipv4 unicast\n !\n!\n"
        "prefix-set LAN\n 192.0.2.0/24 le 32\nend-set\n!\nrouter bgp 64512\n neighbor 192.0.2.9\n  remote-as 64513\n"
    )

    async def work() -> None:
        device = IosXrDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(Change(Mode.MERGE, text))
            await session.commit(staged, session.reference(staged))
            assert "description the vrf, not that of grpc" in device.running.lines["vrf mgmt"].lines
            assert list(device.running.lines["prefix-set LAN"].lines) == ["192.0.2.0/24 le 32"]
            bgp = device.running.lines["router bgp 64512"]
            assert list(bgp.lines["neighbor 192.0.2.9"].lines) == ["remote-as 64513"]
            again = await session.stage(Change(Mode.MERGE, "prefix-set LAN\n 192.0.2.0/24 le 32\nend-set"))
            assert (await session.diff(again)).empty  # a policy that exists already is a warning, no error

    run(work)


def test_flat_text_is_typed_as_it_stands() -> None:
    async def work() -> None:
        device = IosXrDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(Change(Mode.MERGE, "interface Loopback7\ndescription seven"))
            assert (await session.diff(staged)).added == 2
            await session.commit(staged, session.reference(staged))
            assert list(device.running.lines["interface Loopback7"].lines) == ["description seven"]

    run(work)


def test_a_refused_line_drops_the_whole_candidate() -> None:
    async def work() -> None:
        device = IosXrDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            with pytest.raises(CommandRefused, match="frobnicate"):
                await session.stage(Change(Mode.MERGE, "snmp-server location x\nfrobnicate all"))
            assert device.targets == {}
            with pytest.raises(NotSupported, match="banner"):
                await session.stage(Change(Mode.MERGE, "banner motd ^C\nhello\n^C"))

    run(work)


def test_a_release_that_prints_the_time_has_the_same_digest_each_time() -> None:
    async def work() -> None:
        device = IosXrDevice()
        device.old_clock = True
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            first, second = await session.get_config(), await session.get_config()
            assert first.digest == second.digest
            assert "20:10" not in first.text
            staged = await session.stage(ADD)
            assert (await session.diff(staged)).added == 3
            result = await session.commit(staged, session.reference(staged, 60))
            assert (await session.confirm(result.ref)).state is ConfirmState.CONFIRMED

    run(work)


@pytest.mark.parametrize(
    ("model", "version", "writes"),
    [
        ("ASR9K Series", "7.5.2", True),
        ("NCS-5500", "24.3.1", True),
        ("8201", "7.11.1", True),
        ("ASR9K Series", "4.3.4", False),
        ("ASR9K Series", "99.1.1", False),
        ("ISR4331", "7.5.2", False),
    ],
)
def test_unknown_models_and_firmware_are_read_only(model: str, version: str, writes: bool) -> None:
    async def work() -> None:
        device = IosXrDevice(model=model, version=version)
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            assert session.capabilities.writes is writes
            assert session.identity.version == version

    run(work)


def test_facts_are_read_inside_the_lock_too() -> None:
    async def work() -> None:
        async with (
            serving(IosXrDevice()) as emulator,
            DRIVER.session(target_of(emulator)) as session,
            session.lock(),
        ):
            facts = await session.facts()
            assert (facts.hostname, facts.uptime_s) == ("xr1", 266460)
            assert "7.5.2" in (await session.exec("show version")).text
            assert len(await session.neighbors()) == 1

    run(work)


def test_a_service_is_a_sub_interface() -> None:
    intent = ServiceIntent(
        ServiceVerb.ADD, "svc-17", "GigabitEthernet0/0/0/0", s_vlan=100, address="198.51.100.1/30"
    )

    async def work() -> None:
        device = IosXrDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(await session.apply_service(intent))
            await session.commit(staged, session.reference(staged))
            there = device.running.lines["interface GigabitEthernet0/0/0/0.100"]
            assert list(there.lines) == [
                "description svc-17",
                "encapsulation dot1q 100",
                "ipv4 address 198.51.100.1 255.255.255.252",
            ]
            assert (await session.apply_service(intent)).text == ""

    run(work)
