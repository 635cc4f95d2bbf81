"""VyOS against an emulated router: the conformance kit, what an unconfirmed commit does, a chaos matrix."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from drivers.capabilities import RollbackMethod
from drivers.conformance import Subject, Verdict, verify
from drivers.emulator.vyos_device import VyosDevice
from drivers.errors import CommandRefused, Garbled, NotSupported, WrongPlatform
from drivers.model import Change, CommitRef, ConfigKind, Identity, Mode, Secrets, ServiceIntent, ServiceVerb
from drivers.outcomes import CommitState, ConfirmState, RollbackState
from drivers.redact import Redactor
from drivers.vyos import DRIVER
from drivers.vyos_text import commands, delta, paths
from tests.drivers.beds import Cutter, run, serving, target_of
from tests.drivers.chaos import ECHOES, FAULTS, PATIENT, Case, echoing, strike

ADD = Change(Mode.MERGE, "set interfaces ethernet eth1 vif 20 description 'new customer'\nset system ntp on")
BACK = Change(Mode.MERGE, "delete interfaces ethernet eth1 vif 20\ndelete system ntp")
BAD = Change(Mode.MERGE, "set service ssh port twenty-two")
VIF = ("interfaces", "ethernet", "eth1", "vif", "20", "description", "new customer")


def test_vyos_passes_the_conformance_kit_where_an_unconfirmed_commit_is_reloaded() -> None:
    async def work() -> None:
        device = VyosDevice(scale=100)
        async with serving(device) as emulator:
            subject = Subject(
                DRIVER,
                target_of(emulator),
                ADD,
                BACK,
                "show version",
                bad=BAD,
                scale=100,
                cut=Cutter(device.faults, "commit-confirm .*"),
                attempts=lambda: emulator.attempts,
                canaries=("$6$n0tre4l$hash",),
            )
            report = await verify(subject)
        assert {c.name: c.detail for c in report.failed} == {}
        assert report.may_write
        assert [c.name for c in report.checks if c.verdict is Verdict.SKIPPED] == ["lock-refused"]

    run(work)


PHASES = {
    "probe": "show version",
    "read": "show configuration commands",
    "configure": "configure",
    "stage": "set interfaces ethernet eth1 vif .*",
    "diff": "compare",
    "commit": "commit-confirm .*",
    "read back": "run show configuration commands",
    "confirm": "confirm",
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("phase", PHASES)
def test_no_fault_is_taken_for_success(fault: str, phase: str) -> None:
    async def work() -> None:
        one_line = replace(ADD, text=ADD.text.splitlines()[0])
        case = Case(DRIVER, VyosDevice, one_line, lambda d: VIF in d.running and not d.timer.pending, {})
        outcome, true = await strike(case, fault, PHASES[phase])
        assert true, outcome
        # A read-back that the push does not make cannot be disturbed.
        assert outcome != "confirmed" or phase == "read back"

    run(work)


@pytest.mark.parametrize("echo", ECHOES)
def test_any_echo_is_tolerated_in_a_push(echo: str) -> None:
    async def work() -> None:
        device = VyosDevice()
        echoing(device, echo)
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator, deadlines=PATIENT)) as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged, 60)
                assert (await session.commit(staged, ref)).state is CommitState.PENDING
            async with DRIVER.session(target_of(emulator, deadlines=PATIENT)) as session:
                assert (await session.confirm(ref)).state is ConfirmState.CONFIRMED
        assert VIF in device.running

    run(work)


def test_a_router_that_reboots_says_so_and_comes_back_with_its_saved_configuration() -> None:
    async def work() -> None:
        device = VyosDevice(reload=False, scale=600)
        async with serving(device) as emulator:
            device.cut = emulator.cut
            async with DRIVER.session(target_of(emulator)) as session:
                assert session.capabilities.reboots
                assert session.capabilities.rollback is RollbackMethod.INVERSE_COMMANDS
                staged = await session.stage(ADD)
                ref = session.reference(staged, 60)
                result = await session.commit(staged, ref)
                assert (result.state, result.detail) == (CommitState.PENDING, "a reboot takes it back")
            await asyncio.sleep(0.3)
            assert device.reboots == 1
            async with DRIVER.session(target_of(emulator)) as session:
                assert (await session.confirm(ref)).state is ConfirmState.LAPSED
        assert VIF not in device.running

    run(work)


def test_no_timer_that_reboots_is_started_over_commits_that_are_not_saved() -> None:
    async def work() -> None:
        device = VyosDevice(reload=False)
        device.running |= {("system", "time-zone", "UTC")}  # committed by somebody, not saved
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            result = await session.commit(staged, session.reference(staged, 60))
            assert (result.state, result.slug) == (CommitState.REJECTED, "unsaved-commits")
            assert not device.timer.pending
            await session.discard(staged)
            await session.save()
            staged = await session.stage(ADD)
            assert (await session.commit(staged, session.reference(staged, 60))).state is CommitState.PENDING

    run(work)


@pytest.mark.parametrize("partial", [False, True])
def test_a_failed_commit_leaves_a_timer_only_where_there_is_something_to_take_back(partial: bool) -> None:
    async def work() -> None:
        device = VyosDevice()
        device.partial = partial
        change = Change(Mode.MERGE, f"{BAD.text}\n{ADD.text}")
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(change)
            result = await session.commit(staged, session.reference(staged, 60))
            assert result.state is (CommitState.PARTIAL if partial else CommitState.REJECTED)
            assert "must be a number" in result.detail
        assert device.timer.pending is partial
        assert (VIF in device.running) is partial

    run(work)


def test_another_pending_confirm_is_a_refusal_and_is_left_alone() -> None:
    async def work() -> None:
        device = VyosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            device.timer.arm(600, lambda: None, "somebody")
            staged = await session.stage(ADD)
            result = await session.commit(staged, session.reference(staged, 60))
            assert result.state is CommitState.REJECTED
            assert "Another confirm" in result.detail
        assert device.timer.pending

    run(work)


@pytest.mark.parametrize("command", ["commit-confirm .*", "commit", "confirm", "save"])
def test_silence_is_no_success(command: str) -> None:
    async def work() -> None:
        device = VyosDevice()
        device.faults.lie_at = command
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, None if command == "commit" else 60)
            result = await session.commit(staged, ref)
            if command == "confirm":
                assert (await session.confirm(ref)).state is ConfirmState.UNVERIFIED
            elif command == "save":
                with pytest.raises(Garbled):
                    await session.save()
            else:
                assert result.state is CommitState.UNVERIFIED

    run(work)


def test_a_rollback_leaves_no_empty_nodes_and_stops_the_timer() -> None:
    async def work() -> None:
        device = VyosDevice()
        before = device.running
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator)) as session:
                staged = await session.stage(ADD)
                assert staged.undo == ("delete interfaces ethernet eth1 vif 20", "delete system ntp")
                ref = session.reference(staged, 60)
                await session.commit(staged, ref)
            async with DRIVER.session(target_of(emulator)) as session:
                done = await session.rollback(CommitRef.loads(ref.dumps()))
                assert done.state is RollbackState.REVERTED
                unknown = replace(ref, undo=(), before="f" * 32)
                assert (await session.rollback(unknown)).slug == "nothing-kept"
        assert device.running == before
        assert not device.timer.pending

    run(work)


def test_a_confirm_with_nothing_pending_is_refused_if_the_change_is_in_force() -> None:
    async def work() -> None:
        async with serving(VyosDevice()) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 60)
            await session.commit(staged, ref)
            assert (await session.confirm(ref)).state is ConfirmState.CONFIRMED
            assert (await session.confirm(ref)).slug == "nothing-pending"

    run(work)


def test_a_replace_deletes_what_is_too_much() -> None:
    async def work() -> None:
        device = VyosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            now = await session.get_config(secrets=Secrets.KEEP)
            wanted = now.text.replace("vif '7'", "").replace("to customers", "to others")
            kept = [line for line in wanted.splitlines() if "somebody" not in line]
            staged = await session.stage(Change(Mode.REPLACE, "\n".join(kept)))
            diff = await session.diff(staged)
            assert (diff.added, diff.removed) == (1, 2)
            assert (await session.commit(staged, session.reference(staged))).state is CommitState.COMMITTED
        assert not any("vif" in path for path in device.running)

    run(work)


@pytest.mark.parametrize(
    "text",
    [
        "set system x $(reboot)",
        "set system x 'a; reboot'",
        "set system x `reboot`",
        "set system x 'a' && reboot",
        "set system x y; reboot",
    ],
)
def test_a_value_never_reaches_the_shell(text: str) -> None:
    async def work() -> None:
        device = VyosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            await session.stage(Change(Mode.MERGE, text))
        assert device.ran == []

    run(work)


@pytest.mark.parametrize(
    "text", ["commit", "run reboot", "set", "set system 'open", "load /tmp/x", "sudo id"]
)
def test_what_is_no_configuration_is_not_sent(text: str) -> None:
    async def work() -> None:
        device = VyosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            with pytest.raises(NotSupported, match="no configuration"):
                await session.stage(Change(Mode.MERGE, text))
            assert "configure" not in device.commands

    run(work)


def test_a_refused_line_leaves_no_candidate_and_a_missing_node_is_no_error() -> None:
    async def work() -> None:
        async with serving(VyosDevice()) as emulator, DRIVER.session(target_of(emulator)) as session:
            with pytest.raises(CommandRefused, match="not valid"):
                await session.stage(Change(Mode.MERGE, f"{ADD.text}\nset frobnicate on"))
            candidate = await session.get_config(ConfigKind.CANDIDATE)
            assert candidate.digest == (await session.get_config()).digest
            assert (await session.diff(await session.stage(BACK))).empty
            with pytest.raises(NotSupported):
                await session.get_config(ConfigKind.STARTUP)

    run(work)


@pytest.mark.parametrize(
    ("version", "writes"),
    [
        ("1.4.0", True),
        ("1.5-rolling-202410060007", True),
        ("1.3.8", False),
        ("1.41", False),
        ("2026.02", False),
    ],
)
def test_identity_decides_what_may_be_done(version: str, writes: bool) -> None:
    async def work() -> None:
        device = VyosDevice(version=version)
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            assert session.capabilities.writes is writes
            assert writes or version in session.capabilities.reason
            assert not session._capabilities(Identity("Other", "", "other", "1.4.0")).writes

    run(work)


def test_another_platform_is_told() -> None:
    class Other(VyosDevice):
        def _operational(self, session: object, words: list[str]) -> str:
            return "Other OS 1.4"

    async def work() -> None:
        async with serving(Other()) as emulator:
            with pytest.raises(WrongPlatform):
                async with DRIVER.session(target_of(emulator)):
                    pass

    run(work)


def test_facts_and_neighbours_are_read() -> None:
    async def work() -> None:
        async with serving(VyosDevice()) as emulator, DRIVER.session(target_of(emulator)) as session:
            facts = await session.facts()
            assert facts.hostname == "vyos"
            assert [(p.name, p.up, p.enabled, p.description) for p in facts.interfaces] == [
                ("eth0", True, True, ""),
                ("eth1", False, False, "to customers"),
            ]
            [found] = await session.neighbors()
            assert (found.local_port, found.chassis_id, found.port_id) == (
                "eth0",
                "50:00:00:01:00:00",
                "xe-1",
            )
            assert (await session.exec("show version")).text.startswith("Version:")

    run(work)


def test_a_new_host_name_changes_the_prompt() -> None:
    async def work() -> None:
        device = VyosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(Change(Mode.MERGE, "set system host-name edge-2"))
            assert (await session.commit(staged, session.reference(staged, 60))).state is CommitState.PENDING
            assert (await session.facts()).hostname == "edge-2"

    run(work)


def test_a_service_comes_stops_resumes_and_goes_and_leaves_others_alone() -> None:
    async def work() -> None:
        device = VyosDevice()
        before = device.running
        intent = ServiceIntent(ServiceVerb.ADD, "svc-3", "eth1", s_vlan=30, address="198.51.100.1/31")
        vif = ("interfaces", "ethernet", "eth1", "vif", "30")
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            for verb, there in (
                (ServiceVerb.ADD, {("description", "svc-3"), ("address", "198.51.100.1/31")}),
                (
                    ServiceVerb.SUSPEND,
                    {("description", "svc-3"), ("address", "198.51.100.1/31"), ("disable",)},
                ),
                (ServiceVerb.RESUME, {("description", "svc-3"), ("address", "198.51.100.1/31")}),
                (ServiceVerb.REMOVE, set()),
            ):
                staged = await session.stage(await session.apply_service(replace(intent, verb=verb)))
                assert (
                    await session.commit(staged, session.reference(staged))
                ).state is CommitState.COMMITTED
                assert {path[5:] for path in device.running if path[:5] == vif} == there, verb
                assert (await session.apply_service(replace(intent, verb=verb))).text == ""
            stacked = await session.apply_service(replace(intent, c_vlan=4, address=""))
            assert stacked.text == "set interfaces ethernet eth1 vif-s 30 vif-c 4 description svc-3"
            for other in (
                replace(intent, s_vlan=7),  # somebody else's
                replace(intent, verb=ServiceVerb.SUSPEND),
                replace(intent, port="eth1; reboot"),
                replace(intent, download_bps=1),
            ):
                with pytest.raises(NotSupported):
                    await session.apply_service(other)
        assert device.running == before

    run(work)


def test_a_delta_is_as_short_as_it_can_be() -> None:
    now = paths("set a b 'c d'\nset x y 1\nset x y 2\nset x z 3")
    wanted = paths("set a b 'c e'\nset x z 3")
    assert delta(now, wanted) == ["delete a b 'c d'", "delete x y", "set a b 'c e'"]
    assert delta(now, now) == []
    assert commands("set a 'b c'\n\n# note\ndelete d") == ["set a 'b c'", "delete d"]


@pytest.mark.parametrize(
    "line",
    [
        "set service snmp community LEAKLEAK authorization ro",
        "set interfaces wireguard wg0 private-key 'LEAKLEAK='",
        "set interfaces wireguard wg0 peer a preshared-key 'LEAKLEAK='",
        "set service pppoe-server authentication radius server 192.0.2.1 key 'LEAKLEAK'",
        "set system login user x authentication plaintext-password 'LEAKLEAK'",
    ],
)
def test_secrets_of_vyos_are_not_shown(line: str) -> None:
    assert "LEAKLEAK" not in Redactor((), DRIVER.secret_patterns).redact(line)
