"""Nokia SR OS MD-CLI against an emulated node: the conformance kit, session-bound commits, a chaos matrix."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from drivers.capabilities import ConfirmKind, LockKind
from drivers.conformance import Subject, Verdict, verify
from drivers.emulator.sros_device import SrosDevice
from drivers.errors import CommandRefused, LockHeld, NotSupported, WrongPlatform
from drivers.model import Change, ConfigKind, DiffSource, Identity, Mode, ServiceIntent, ServiceVerb
from drivers.outcomes import CommitState, ConfirmState, RollbackState, Settled
from drivers.redact import Redactor
from drivers.settle import settle
from drivers.sros import DRIVER
from drivers.sros_text import commands, under
from tests.drivers.beds import QUICK, Cutter, run, serving, target_of
from tests.drivers.chaos import ECHOES, FAULTS, PATIENT, Case, echoing, strike

ADD = Change(Mode.MERGE, '/configure system contact "noc"\nconfigure system coordinates "1 2"')
BACK = Change(Mode.MERGE, "delete /configure system contact\ndelete system coordinates")
BAD = Change(Mode.MERGE, "delete system name")
CONTACT = ("system", "contact", '"noc"')


@pytest.mark.parametrize("old_prompt", [False, True])
def test_sros_passes_the_conformance_kit(old_prompt: bool) -> None:
    async def work() -> None:
        device = SrosDevice(scale=100, old_prompt=old_prompt)
        async with serving(device) as emulator:
            subject = Subject(
                DRIVER,
                target_of(emulator),
                ADD,
                BACK,
                "show system information",
                bad=BAD,
                scale=100,
                cut=Cutter(device.faults, r"commit confirmed \d+"),
                attempts=lambda: emulator.attempts,
                canaries=("$2y$10$n0tre4l",),
            )
            report = await verify(subject)
        assert {c.name: c.detail for c in report.failed} == {}
        assert report.may_write
        assert [c.name for c in report.checks if c.verdict is Verdict.SKIPPED] == []

    run(work)


PHASES = {
    "probe": "show system information",
    "read": "/admin show configuration",
    "lock": "configure exclusive",
    "stage": "/configure system contact .*",
    "diff": "compare",
    "validate": "validate",
    "commit": r"commit confirmed \d+",
    "confirm": "commit confirmed accept",
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("phase", PHASES)
def test_no_fault_is_taken_for_success(fault: str, phase: str) -> None:
    async def work() -> None:
        one_line = replace(ADD, text=ADD.text.splitlines()[0])
        case = Case(DRIVER, SrosDevice, one_line, lambda d: CONTACT in d.running and not d.timer.pending, {})
        outcome, true = await strike(case, fault, PHASES[phase])
        assert true, outcome
        # Only a validation that was skipped by a lying device may still end well: the commit validates again.
        assert outcome != "confirmed" or (phase, fault) == ("validate", "lie_at")

    run(work)


@pytest.mark.parametrize("echo", ECHOES)
def test_any_echo_is_tolerated_in_a_push(echo: str) -> None:
    async def work() -> None:
        device = SrosDevice()
        echoing(device, echo)
        async with (
            serving(device) as emulator,
            DRIVER.session(target_of(emulator, deadlines=PATIENT)) as session,
        ):
            staged = await session.stage(ADD)
            ref = session.reference(staged, 60)
            assert (await session.commit(staged, ref)).state is CommitState.PENDING
            assert (await session.confirm(ref)).state is ConfirmState.CONFIRMED
        assert CONTACT in device.running

    run(work)


def test_a_confirmed_commit_ends_with_its_session() -> None:
    async def work() -> None:
        device = SrosDevice()
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator)) as session, session.lock():
                assert session.capabilities.confirm is ConfirmKind.SESSION_BOUND
                staged = await session.stage(ADD)
                ref = session.reference(staged, 60)
                assert (await session.commit(staged, ref)).state is CommitState.PENDING
                async with DRIVER.session(target_of(emulator)) as other:
                    assert (await other.confirm(ref)).slug == "not-this-session"
                assert CONTACT in device.running
            assert "commit confirmed cancel" in device.commands
            async with DRIVER.session(target_of(emulator)) as session:
                assert (await session.confirm(ref)).state is ConfirmState.LAPSED
        assert CONTACT not in device.running
        assert device.timer.reverted == 1

    run(work)


def test_a_cut_after_the_commit_is_seen_as_reverted_by_a_new_session() -> None:
    async def work() -> None:
        device = SrosDevice()
        device.faults.cut_after = "commit confirmed .*"
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator)) as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged, 60)
                assert (await session.commit(staged, ref)).state is CommitState.UNVERIFIED
            await asyncio.sleep(0.05)
            async with DRIVER.session(target_of(emulator)) as session:
                assert await settle(session, ref, ADD) is Settled.REVERTED

    run(work)


@pytest.mark.parametrize("command", ["commit confirmed 1", "commit", "commit confirmed accept"])
def test_silence_is_no_success(command: str) -> None:
    """A commit that works says nothing, so one that was swallowed must be seen otherwise."""

    async def work() -> None:
        device = SrosDevice()
        device.faults.lie_at = command
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, None if command == "commit" else 60)
            result = await session.commit(staged, ref)
            if command == "commit confirmed accept":
                assert (await session.confirm(ref)).state is ConfirmState.UNVERIFIED
            else:
                assert result.state is CommitState.UNVERIFIED

    run(work)


def test_an_exclusive_candidate_is_held_by_one() -> None:
    async def work() -> None:
        async with serving(SrosDevice()) as emulator:
            target = target_of(emulator)
            async with DRIVER.session(target) as first, DRIVER.session(target) as second:
                async with first.lock():
                    with pytest.raises(LockHeld, match="Exclusive datastore"):
                        async with second.lock():
                            pass
                    private = target_of(emulator, options={"candidate": "private"})
                    async with DRIVER.session(private) as third:
                        assert third.capabilities.lock is LockKind.NONE
                        assert (await third.diff(await third.stage(ADD))).added == 2
                async with second.lock():
                    pass

    run(work)


def test_a_refused_line_discards_the_candidate() -> None:
    async def work() -> None:
        device = SrosDevice()
        async with (
            serving(device) as emulator,
            DRIVER.session(target_of(emulator)) as session,
            session.lock(),
        ):
            with pytest.raises(CommandRefused, match="Unknown element"):
                await session.stage(Change(Mode.MERGE, f"{ADD.text}\n/configure frobnicate 1 2"))
            assert set(device.candidates.values()) == {device.running}

    run(work)


def test_validation_speaks_before_the_commit_does() -> None:
    async def work() -> None:
        async with serving(SrosDevice()) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(BAD)
            [finding] = await session.validate(staged)
            assert "Missing mandatory element" in finding.message
            assert (await session.diff(staged)).source is DiffSource.NATIVE
            assert (await session.commit(staged, session.reference(staged, 60))).state is CommitState.REJECTED

    run(work)


def test_a_rollback_loads_only_what_is_the_state_before() -> None:
    async def work() -> None:
        device = SrosDevice()
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator)) as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged)
                assert (
                    await session.commit(staged, ref, 'a "quoted" comment')
                ).state is CommitState.COMMITTED
                await session.save()  # the state before is saved configuration 1 now
            assert 'commit comment "a  quoted  comment"' in device.commands
            async with DRIVER.session(target_of(emulator)) as session:
                assert (await session.rollback(ref)).state is RollbackState.REVERTED
            assert CONTACT not in device.running
            device.saved = [frozenset({("system", "name", '"node-1"')})]
            device.running |= {CONTACT}
            async with DRIVER.session(target_of(emulator)) as session:
                assert (await session.rollback(ref)).slug == "nothing-kept"
        assert CONTACT in device.running

    run(work)


def test_pages_and_headers_are_in_no_digest() -> None:
    async def work() -> None:
        device = SrosDevice()
        async with serving(device) as emulator:
            async with DRIVER.session(target_of(emulator)) as session:
                whole = await session.get_config()
                assert "TiMOS" not in whole.text
                assert "Generated" not in whole.text
                with pytest.raises(NotSupported):
                    await session.get_config(ConfigKind.STARTUP)
            device.faults.lie_at = "environment more false"
            async with DRIVER.session(target_of(emulator)) as session:
                assert (await session.get_config()).digest == whole.digest

    run(work)


@pytest.mark.parametrize(
    ("identity", "writes"),
    [
        (Identity("Nokia", "7750 SR-1", "sros-md", "B-22.10.R1"), True),
        (Identity("Nokia", "7750 SR-1", "sros-md", "B-16.0.R4"), False),
        (Identity("Nokia", "Toaster", "sros-md", "B-22.10.R1"), False),
        (Identity("Nokia", "7750 SR-1", "sros-classic", "B-22.10.R1"), False),
        (Identity("Nokia", "7750 SR-1", "sros-mixed", "B-22.10.R1"), False),
    ],
)
def test_identity_decides_what_may_be_done(identity: Identity, writes: bool) -> None:
    async def work() -> None:
        async with serving(SrosDevice()) as emulator, DRIVER.session(target_of(emulator)) as session:
            assert session._capabilities(identity).writes is writes

    run(work)


def test_a_node_in_classic_mode_is_read() -> None:
    async def work() -> None:
        device = SrosDevice(mode="classic")
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            assert "classic" in session.capabilities.reason
            assert "rack 1" in (await session.get_config()).text
            assert "admin display-config" in device.commands
        async with serving(SrosDevice(version="something else")) as emulator:
            with pytest.raises(WrongPlatform):
                async with DRIVER.session(target_of(emulator)):
                    pass

    run(work)


def test_facts_and_neighbours_are_read() -> None:
    async def work() -> None:
        async with serving(SrosDevice()) as emulator, DRIVER.session(target_of(emulator)) as session:
            facts = await session.facts()
            assert (facts.hostname, facts.uptime_s) == ("node-1", 267015)
            [found] = await session.neighbors()
            assert (found.local_port, found.chassis_id) == ("1/1/c1/1", "0c:00:be:27:00:00")
            assert (found.port_id, found.name) == ("1/1/c2/1", "PE2")

    run(work)


def test_a_service_is_a_sap_that_carries_its_key() -> None:
    async def work() -> None:
        device = SrosDevice()
        intent = ServiceIntent(ServiceVerb.ADD, "svc-9", "1/1/1", s_vlan=100, c_vlan=200, profile="access")
        sap = ("service", "vpls", '"access"', "sap", "1/1/1:100.200")
        async with (
            serving(device) as emulator,
            DRIVER.session(target_of(emulator, deadlines=QUICK)) as session,
        ):
            for verb, last in (
                (ServiceVerb.ADD, (*sap, "admin-state", "enable")),
                (ServiceVerb.SUSPEND, (*sap, "admin-state", "disable")),
                (ServiceVerb.RESUME, (*sap, "admin-state", "enable")),
                (ServiceVerb.REMOVE, None),
            ):
                change = await session.apply_service(replace(intent, verb=verb))
                staged = await session.stage(change)
                assert (
                    await session.commit(staged, session.reference(staged))
                ).state is CommitState.COMMITTED
                there = {path for path in device.running if path[:5] == sap}
                assert last in there if last else not there
                assert (await session.apply_service(replace(intent, verb=verb))).text == ""
            for other in (
                replace(intent, port="1/1/2", s_vlan=7, c_vlan=None),  # somebody else's
                replace(intent, verb=ServiceVerb.SUSPEND),
                replace(intent, profile=""),
                replace(intent, download_bps=1),
            ):
                with pytest.raises(NotSupported):
                    await session.apply_service(other)

    run(work)


def test_lines_have_one_form_and_only_configuration_is_taken() -> None:
    text = "configure system a b\n/configure delete router x\ndelete /configure system c\nsystem d e\n# note"
    assert commands(text) == [
        "/configure system a b",
        "delete router x",
        "delete system c",
        "/configure system d e",
    ]
    for wrong in ("commit", "/admin reboot", "system { name x }", "//show", "/!classic-cli", "discard"):
        with pytest.raises(ValueError, match=r"."):
            commands(wrong)
    nested = 'configure {\n  service {\n    vpls "a" {\n      sap 1/1/1:1 {\n        description "k"\n'
    assert under(nested, 'configure service vpls "a" sap 1/1/1:1') == '{}\ndescription "k"'


@pytest.mark.parametrize(
    "line",
    [
        'community "LEAKLEAK hash2" {',
        'secret "LEAKLEAK hash2"',
        'authentication-key "LEAKLEAK hash"',
        'password "LEAKLEAK"',
    ],
)
def test_secrets_of_sros_are_not_shown(line: str) -> None:
    shown = Redactor((), DRIVER.secret_patterns).redact(line)
    assert "LEAKLEAK" not in shown
    assert 'community "65000:1"' in Redactor((), DRIVER.secret_patterns).redact('community "65000:1"')
