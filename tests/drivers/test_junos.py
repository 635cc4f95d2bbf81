"""Junos over NETCONF, against an emulated device: the whole conformance kit, and what is special to Junos."""

from __future__ import annotations

import pytest

from drivers.conformance import Subject, Verdict, verify
from drivers.emulator.junos import JunosDevice, flatten
from drivers.errors import NotAuthorized
from drivers.junos import DRIVER
from drivers.model import Change, Identity, Mode, Secrets
from drivers.outcomes import CommitState, ConfirmState
from tests.drivers.beds import Cutter, run, serving, target_of

ADD = Change(Mode.MERGE, "set snmp location rack-4")
BACK = Change(Mode.MERGE, "delete snmp location")
BAD = Change(Mode.MERGE, "delete system host-name")


def test_junos_passes_the_conformance_kit() -> None:
    async def work() -> None:
        device = JunosDevice(scale=100)
        async with serving(device) as emulator:
            subject = Subject(
                DRIVER,
                target_of(emulator),
                ADD,
                BACK,
                "show version",
                bad=BAD,
                scale=100,
                cut=Cutter(device.faults, "commit"),
                attempts=lambda: emulator.attempts,
                canaries=("$6$notreal$abcdef",),
            )
            report = await verify(subject)
        assert {c.name: c.detail for c in report.failed} == {}
        assert report.may_write
        skipped = [c.name for c in report.checks if c.verdict is Verdict.SKIPPED]
        assert skipped == []

    run(work)


def test_a_commit_that_lies_is_not_confirmed() -> None:
    async def work() -> None:
        device = JunosDevice()
        device.faults.lie_at = "commit"
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            async with session.lock():
                staged = await session.stage(ADD)
                result = await session.commit(staged, session.reference(staged, 60))
            assert result.state is CommitState.PENDING  # so it says
            assert (await session.confirm(result.ref)).state is ConfirmState.LAPSED

    run(work)


def test_an_unknown_model_is_read_only() -> None:
    async def work() -> None:
        device = JunosDevice(model="toaster9000")
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            assert not session.capabilities.writes
            assert "toaster9000" in session.capabilities.reason
            assert "host-name mx1" in (await session.get_config()).text

    run(work)


def test_a_replace_in_set_format_deletes_what_is_too_much() -> None:
    async def work() -> None:
        device = JunosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(Change(Mode.REPLACE, "set system host-name mx2"))
            diff = await session.diff(staged)
            assert (diff.added, diff.removed) == (1, 3)
            await session.commit(staged, session.reference(staged))
        assert device.running == ("set system host-name mx2",)

    run(work)


def test_curly_braces_are_loaded_as_text() -> None:
    async def work() -> None:
        device = JunosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            text = 'snmp { location "rack 4"; contact noc; }'
            staged = await session.stage(Change(Mode.MERGE, text))
            await session.commit(staged, session.reference(staged))
        assert 'set snmp location "rack 4"' in device.running

    run(work)


def test_access_denied_is_about_the_login() -> None:
    async def work() -> None:
        device = JunosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            device.faults.refuse["get-configuration"] = (("access-denied", "no permission"),)
            with pytest.raises(NotAuthorized):
                await session.get_config()

    run(work)


def test_secrets_of_the_configuration_are_shown_only_on_demand() -> None:
    async def work() -> None:
        async with serving(JunosDevice()) as emulator, DRIVER.session(target_of(emulator)) as session:
            shown = await session.get_config()
            kept = await session.get_config(secrets=Secrets.KEEP)
            assert "$6$notreal" not in shown.text
            assert "$6$notreal" in kept.text
            assert shown.digest == kept.digest
            assert session.identity == Identity("Juniper", "mx204", "junos", "22.4R1.10", "JN1234")

    run(work)


def test_braces_become_set_lines() -> None:
    text = 'system { host-name r1; services { ssh; } } snmp { contact "a; b"; }'
    assert flatten(text) == ["set system host-name r1", "set system services ssh", 'set snmp contact "a; b"']
