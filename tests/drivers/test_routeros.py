"""RouterOS: an emulated router with REST, console and schedulers; kicks, services, timers with and without reboot."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from drivers.conformance import Subject, Verdict, verify
from drivers.emulator.routeros_device import RouterOsDevice
from drivers.emulator.routeros_http import RouterOsEmulator
from drivers.errors import CommandNotAllowed, CommandRefused, DriverError, Garbled, NotSupported, Unreachable
from drivers.kick import KickState, LiveSession
from drivers.model import Action, Change, CommitRef, Mode, Secrets, ServiceIntent, ServiceVerb
from drivers.outcomes import CommitState, ConfirmState, RollbackState, Settled
from drivers.redact import Secret
from drivers.routeros import DRIVER, RouterOsSession
from drivers.settle import settle
from drivers.target import Credentials, Deadlines, Target, Trust
from tests.drivers.beds import PASSWORD, USER, Cutter, run
from tests.drivers.test_http import _certificate

WAIT = Deadlines(connect_s=3, login_s=3, command_s=3, commit_s=5, close_s=1)
BODY = {"list": "suspended", "address": "192.0.2.7", "comment": "edge:k7"}
ADD = Change(
    Mode.ACTIONS,
    actions=(
        Action(
            f"PUT /ip/firewall/address-list {json.dumps(BODY)}",
            ('/ip/firewall/address-list/remove [find where comment="edge:k7"]',),
            "GET /ip/firewall/address-list?comment=edge:k7",
            '"address":"192.0.2.7"',
        ),
    ),
)
TEXT = Change(Mode.MERGE, "/ip firewall address-list\nadd list=suspended address=192.0.2.7 comment=edge:k7\n")
TEXT_BACK = Change(Mode.MERGE, "/ip firewall address-list remove [find comment=edge:k7]\n")
TEXT_BAD = Change(Mode.MERGE, "/ip firewall adress-list add list=suspended address=192.0.2.7\n")
HUSH = ('hush "quoted" pw', 'hush \\"quoted\\" pw', "hush-community")
ACTION, RUN = "PUT /ip/firewall/address-list", "POST /system/script/run"


@dataclass
class Bed:
    device: RouterOsDevice
    emulator: RouterOsEmulator
    target: Target

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[RouterOsSession]:
        async with DRIVER.session(self.target) as session:
            assert isinstance(session, RouterOsSession)
            yield session


@asynccontextmanager
async def bed(home: Path, options: dict[str, str] | None = None, **more: Any) -> AsyncGenerator[Bed]:
    context, fingerprint = _certificate(home)
    device = RouterOsDevice(**more)
    async with RouterOsEmulator(device, USER, PASSWORD, context) as emulator:
        told = {"ssh_port": str(emulator.ssh.port), **(options or {})}
        target = Target(
            "bng1",
            emulator.host,
            Credentials(USER, Secret(PASSWORD)),
            emulator.port,
            Trust(pinned=(fingerprint, emulator.ssh.fingerprint)),
            deadlines=WAIT,
            may_write=True,
            options=told,
        )
        yield Bed(device, emulator, target)


class BackOf:
    """The change that takes the address away; its item has an id that is known only when it is there."""

    @staticmethod
    def change() -> Change:
        item = Action(
            "DELETE /ip/firewall/address-list/*7",
            ("/ip/firewall/address-list/add list=suspended address=192.0.2.7 comment=edge:k7",),
            "GET /ip/firewall/address-list?comment=edge:k7",
            "[]",
        )
        return Change(Mode.ACTIONS, actions=(item,))


def _pinned_ids(device: RouterOsDevice) -> None:
    """Give the address of the test the same id each time, so that the kit's way back finds it."""
    plain = device.add

    def add(menu: str, attrs: dict[str, str]) -> dict[str, str]:
        row = plain(menu, attrs)
        if attrs.get("comment") == "edge:k7":
            row[".id"] = "*7"
        return row

    device.many["/ip/neighbor"][0][".id"] = "*70"
    device.add = add  # type: ignore[method-assign]


def test_routeros_passes_the_conformance_kit_with_actions(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path, scale=20) as place:
            _pinned_ids(place.device)
            wrong = replace(ADD.actions[0], command='PUT /ip/firewall/address-list {"list": "x"}', expect="-")
            subject = Subject(
                DRIVER,
                place.target,
                ADD,
                BackOf.change(),
                "GET /system/identity",
                bad=Change(Mode.ACTIONS, actions=(wrong,)),
                scale=20,
                cut=Cutter(place.device.faults, ACTION),
                attempts=lambda: place.emulator.attempts,
                canaries=HUSH,
            )
            report = await verify(subject)
            assert {c.name: c.detail for c in report.failed} == {}
            assert report.may_write
            assert [c.name for c in report.checks if c.verdict is Verdict.SKIPPED] == ["lock-refused"]
            assert place.device.reboots == 0

    run(work, limit_s=110)


def test_routeros_passes_the_conformance_kit_with_texts_and_a_backup(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path, {"rollback": "backup"}, scale=20) as place:
            subject = Subject(
                DRIVER,
                place.target,
                TEXT,
                TEXT_BACK,
                "GET /system/identity",
                bad=TEXT_BAD,
                scale=20,
                cut=Cutter(place.device.faults, r"/import file-name=\S+"),
                attempts=lambda: place.emulator.attempts,
                canaries=HUSH,
            )
            # rollback-now leaves its commit pending where a rollback reboots
            names = ("probe-is-steady", "unknown-is-read-only", "read-only-writes-nothing", "wrong-password")
            names += ("wrong-host-key", "base-changed", "stage-changes-nothing", "bad-change-refused")
            names += ("push-confirmed", "push-unconfirmed-reverts", "cut-before-commit", "cut-after-commit")
            report = await verify(subject, (*names, "no-secret-in-transcripts"))
            assert {c.name: c.detail for c in report.failed} == {}
            assert report.may_write
            assert len(report.checks) == len(names) + 1
            assert place.device.reboots > 0

    run(work, limit_s=110)


# Sessions -----------------------------------------------------------------------------------------------------


def test_a_kick_goes_by_session_id_and_is_read_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, place.opened() as session:
            place.device.subscriber("bob", "0x81A00003", "192.0.2.1")
            place.device.subscriber("carol", "0x81A00004", "192.0.2.2")
            done = await session.kick(LiveSession("bob", "81a00003", "192.0.2.1"))
            assert (done.state, done.ended) == (KickState.KICKED, ("0x81A00003",))
            assert [row["name"] for row in place.device.many["/ppp/active"]] == ["carol"]
            place.device.subscriber("bob", "0x81A00005", "192.0.2.1")  # dialled in again
            assert (await session.kick(LiveSession("bob", "81a00003"))).state is KickState.ABSENT
            assert not place.emulator.ssh.commands  # no export for a kick

    run(work)


def test_a_subscriber_who_dials_in_again_at_once_was_kicked_all_the_same(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, place.opened() as session:
            place.device.subscriber("bob", "0x81A00003", "192.0.2.1")
            drop = place.device._drop

            def redial(menu: str, row: dict[str, str]) -> None:
                drop(menu, row)
                place.device.subscriber("bob", "0x81A00009", "192.0.2.1")

            place.device._drop = redial  # type: ignore[method-assign]
            assert (await session.kick(LiveSession("bob"))).state is KickState.KICKED

    run(work)


@pytest.mark.parametrize("fault", ["cut_before", "cut_after", "hang_at", "lie_at"])
def test_a_kick_that_was_not_seen_to_work_is_unverified(tmp_path: Path, fault: str) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place:
            place.target = replace(place.target, deadlines=replace(WAIT, command_s=0.5))
            place.device.subscriber("bob", "0x81A00003", "192.0.2.1")
            setattr(place.device.faults, fault, r"DELETE /ppp/active/.*")
            async with place.opened() as session:
                assert (await session.kick(LiveSession("bob"), within_s=0.6)).state is KickState.UNVERIFIED
            place.device.faults.lie_at = ""
            async with place.opened() as session:
                again = (await session.kick(LiveSession("bob"))).state
            assert again is (KickState.ABSENT if fault == "cut_after" else KickState.KICKED)

    run(work)


def test_a_kick_may_be_an_action_too(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, place.opened() as session:
            place.device.subscriber("bob & co; $x", "0x81A00003", "192.0.2.1")
            change = await session.apply_service(
                ServiceIntent(ServiceVerb.KICK, "", user_name="bob & co; $x")
            )
            staged = await session.stage(change)
            result = await session.commit(staged, session.reference(staged))
            assert result.state is CommitState.COMMITTED
            assert place.device.many["/ppp/active"] == []
            gone = await session.apply_service(ServiceIntent(ServiceVerb.KICK, "", session_id="81a00003"))
            assert gone.actions == ()

    run(work)


# Secrets ------------------------------------------------------------------------------------------------------


def test_local_logins_that_shadow_radius_are_listed_without_their_passwords(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, place.opened() as session:
            place.device.add("/ppp/secret", {"name": "carol", "password": "x", "disabled": "yes"})
            place.device.add("/ppp/secret", {"name": "noc", "password": "x"})
            audit = await session.audit_secrets(frozenset({"bob", "carol", "dave"}))
            assert audit.use_radius
            assert [each.name for each in audit.secrets] == ["Bob", "carol", "noc"]
            assert [each.name for each in audit.shadowing] == ["Bob"]
            assert "hush" not in session.transcript._redactor.literals(repr(session.transcript._lines))

    run(work)


@pytest.mark.parametrize(
    "change",
    [
        Change(Mode.MERGE, "/ppp secret add name=x password=y\n"),
        Change(Mode.MERGE, "/ppp/secret/add name=x password=y\n"),
        Change(Mode.MERGE, "/ppp\nsecret add name=x password=y\n"),
        Change(Mode.MERGE, "/ppp secret\nset [find name=Bob] disabled=yes\n"),
        Change(Mode.MERGE, ':execute "/ppp secret add name=x"\n'),
        Change(Mode.ACTIONS, actions=(Action('PUT /ppp/secret {"name": "x"}'),)),
        Change(Mode.ACTIONS, actions=(Action("DELETE /ppp/secret/*1"),)),
        Change(Mode.ACTIONS, actions=(Action('POST /execute {"script": "/ppp secret remove 0"}'),)),
    ],
)
def test_a_local_login_is_never_written(tmp_path: Path, change: Change) -> None:
    async def work() -> None:
        async with bed(tmp_path, {"rollback": "backup"}) as place, place.opened() as session:
            with pytest.raises(CommandRefused):
                await session.stage(change)
            assert [line for line in place.device.requests if not line.startswith("GET")] == []
            assert len(place.device.many["/ppp/secret"]) == 1

    run(work)


def test_secrets_of_reads_and_exports_are_redacted(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, place.opened() as session:
            place.device.add("/file", {"name": "old.rsc", "contents": "password=in-a-file"})
            shown = [(await session.exec(f"GET {menu}")).text for menu in ("/ppp/secret", "/file")]
            shown += [(await session.get_config()).text, session.transcript.text()]
            kept = (await session.get_config(secrets=Secrets.KEEP)).text
            assert "quoted" in kept
            assert not [text for text in shown if "quoted" in text or "in-a-file" in text]
            for bad in ("/system reboot", "POST /system/reboot", "/import x", "GET /a\n/system reboot"):
                with pytest.raises(CommandNotAllowed):
                    await session.exec(bad)

    run(work)


# Services -----------------------------------------------------------------------------------------------------


def _service(verb: ServiceVerb, **more: Any) -> ServiceIntent:
    return ServiceIntent(verb, "s-1", **more)


async def _push(session: RouterOsSession, change: Change) -> CommitRef:
    staged = await session.stage(change)
    ref = session.reference(staged)
    result = await session.commit(staged, ref)
    assert result.state is CommitState.COMMITTED, result
    return ref


def test_a_pppoe_service_on_qinq_comes_and_goes(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, place.opened() as session:
            intent = _service(
                ServiceVerb.ADD, port="ether1", s_vlan=100, c_vlan=7, profile="home", user_name="bob"
            )
            await _push(session, await session.apply_service(intent))
            vlans = {row["name"]: row for row in place.device.many["/interface/vlan"]}
            assert vlans["ether1-s100"]["use-service-tag"] == "true"
            assert vlans["ether1-s100-c7"]["interface"] == "ether1-s100"
            server = place.device.many["/interface/pppoe-server/server"][0]
            assert (server["interface"], server["default-profile"]) == ("ether1-s100-c7", "home")
            assert (await session.apply_service(intent)).actions == ()
            ref = await _push(session, await session.apply_service(_service(ServiceVerb.REMOVE)))
            assert [row["name"] for row in place.device.many["/interface/vlan"]] == ["ether1-s100"]  # shared
            assert (await session.rollback(ref)).state is RollbackState.REVERTED
            assert len(place.device.many["/interface/pppoe-server/server"]) == 1

    run(work)


def test_an_address_gets_a_queue_with_upload_first_and_is_suspended(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, place.opened() as session:
            intent = _service(
                ServiceVerb.ADD, address="192.0.2.8", upload_bps=5_000_000, download_bps=20_000_000
            )
            await _push(session, await session.apply_service(intent))
            assert place.device.many["/queue/simple"][0]["max-limit"] == "5000000/20000000"
            faster = replace(intent, download_bps=50_000_000)
            ref = await _push(session, await session.apply_service(faster))
            assert place.device.many["/queue/simple"][0]["max-limit"] == "5000000/50000000"
            await session.rollback(ref)
            assert place.device.many["/queue/simple"][0]["max-limit"] == "5000000/20000000"
            stop = _service(ServiceVerb.SUSPEND, address="192.0.2.8")
            await _push(session, await session.apply_service(stop))
            assert (await session.apply_service(stop)).actions == ()
            place.device.add("/ip/firewall/address-list", {"list": "suspended", "address": "192.0.2.9"})
            foreign = replace(stop, verb=ServiceVerb.RESUME, key="s-2", address="192.0.2.9")
            assert (await session.apply_service(foreign)).actions == ()  # without our mark
            await _push(session, await session.apply_service(replace(stop, verb=ServiceVerb.RESUME)))
            assert [row["address"] for row in place.device.many["/ip/firewall/address-list"]] == ["192.0.2.9"]

    run(work)


def test_what_somebody_else_made_is_not_taken_over(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, place.opened() as session:
            place.device.add("/interface/vlan", {"name": "v7", "interface": "ether1", "vlan-id": "7"})
            with pytest.raises(CommandRefused, match="not ours"):
                await session.apply_service(_service(ServiceVerb.ADD, port="ether1", c_vlan=7))

    run(work)


# Timers -------------------------------------------------------------------------------------------------------


def test_inverse_commands_take_an_unconfirmed_commit_back_without_a_reboot(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path, scale=100) as place:
            async with place.opened() as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged, 60)
                assert (await session.commit(staged, ref)).state is CommitState.PENDING
            await asyncio.sleep(0.9)
            async with place.opened() as session:
                assert (await session.get_config()).digest == ref.before
                assert (await session.confirm(ref)).state is ConfirmState.LAPSED
            assert (place.device.reboots, place.device.log) == (0, [])
            assert place.device.many["/system/script"] == place.device.many["/system/scheduler"] == []

    run(work)


def test_a_text_is_taken_back_by_a_reboot_and_the_router_is_away_for_a_while(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path, {"rollback": "backup"}) as place:
            place.device.reboot_s = 0.5
            async with place.opened() as session:
                assert session.capabilities.reboots
                place.device.add("/file", {"name": "flash", "type": "directory"})
                staged = await session.stage(TEXT)
                ref = session.reference(staged, 60)
                assert (await session.commit(staged, ref)).state is CommitState.PENDING
                assert [row["name"] for row in place.device.many["/file"]][1:] == [f"flash/{ref.id}.backup"]
                assert (await session.rollback(ref)).state is RollbackState.REBOOTING
            with pytest.raises(DriverError) as caught:
                async with place.opened():
                    pass
            assert caught.value.fault == "network"
            await asyncio.sleep(0.6)
            async with place.opened() as session:
                assert (await session.get_config()).digest == ref.before
            assert place.device.reboots == 1

    run(work)


def test_a_confirm_said_twice_is_confirmed_and_still_can_be_taken_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path, scale=100) as place:
            async with place.opened() as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged, 60)
                await session.commit(staged, ref)
            async with place.opened() as session:
                assert (await session.confirm(ref)).state is ConfirmState.CONFIRMED
                assert (await session.confirm(ref)).state is ConfirmState.CONFIRMED
                await asyncio.sleep(0.8)
                assert place.device.many["/ip/firewall/address-list"]
                assert (await session.rollback(ref)).state is RollbackState.REVERTED

    run(work)


def test_a_timer_that_fires_while_the_confirm_is_under_way_wins(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, place.opened() as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 60)
            await session.commit(staged, ref)
            rest = place.device.rest

            def fires(method: str, path: str, query: Any, body: Any) -> Any:
                if method == "PATCH" and path.startswith("/system/scheduler"):
                    place.device._fire(place.device.many["/system/scheduler"][0])
                return rest(method, path, query, body)

            place.device.rest = fires  # type: ignore[method-assign]
            assert (await session.confirm(ref)).state is ConfirmState.LAPSED
            assert place.device.many["/ip/firewall/address-list"] == []

    run(work)


def test_a_confirm_does_not_overtake_a_timer_that_is_at_work(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, place.opened() as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 60)
            await session.commit(staged, ref)
            place.device.many["/system/script"][0]["comment"] = "reverting"  # its first line has run
            assert (await session.confirm(ref)).state is ConfirmState.LAPSED

    run(work)


def test_an_import_needs_its_receipt(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path, {"rollback": "backup"}) as place, place.opened() as session:
            staged = await session.stage(TEXT)
            place.device.faults.lie_at = "/import .*"
            result = await session.commit(staged, session.reference(staged, 60))
            assert (result.state, result.slug) == (CommitState.UNVERIFIED, "garbled")

    run(work)


def test_a_text_that_the_router_does_not_understand_does_not_validate(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path, {"rollback": "backup"}) as place, place.opened() as session:
            found = await session.validate(await session.stage(TEXT_BAD))
            assert "bad command name adress-list" in found[0].message
            assert place.device.many["/file"] == []
            assert await session.validate(await session.stage(TEXT)) == ()
            assert place.device.many["/ip/firewall/address-list"] == []  # a dry run

    run(work)


def test_a_backup_that_could_not_be_loaded_is_no_lapse(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path, {"rollback": "backup"}) as place, place.opened() as session:
            staged = await session.stage(TEXT)
            ref = session.reference(staged, 60)
            await session.commit(staged, ref)
            place.device.many["/file"] = []
            place.device.many["/system/scheduler"][0]["run-count"] = "1"
            assert (await session.confirm(ref)).state is ConfirmState.UNVERIFIED

    run(work)


@pytest.mark.parametrize("fault", ["cut_before", "cut_after", "hang_at", "lie_at"])
@pytest.mark.parametrize("phase", ["PUT /system/script", "PUT /system/scheduler", ACTION])
def test_no_fault_in_an_action_looks_like_success(tmp_path: Path, fault: str, phase: str) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place:
            place.target = replace(place.target, deadlines=replace(WAIT, command_s=0.5))
            async with place.opened() as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged, 60)
                setattr(place.device.faults, fault, phase)
                result = await session.commit(staged, ref)
            place.device.faults.lie_at = ""
            told = CommitState.REJECTED if fault == "lie_at" and phase != ACTION else CommitState.UNVERIFIED
            assert result.state is told
            async with place.opened() as session:
                assert await settle(session, ref, ADD) in {Settled.PENDING, Settled.REVERTED}
                await session.rollback(ref)
                assert (await session.get_config()).digest == ref.before

    run(work)


@pytest.mark.parametrize("fault", ["cut_before", "cut_after", "hang_at", "lie_at"])
@pytest.mark.parametrize(
    "phase", ["POST /system/backup/save", "PUT /system/scheduler", "PUT /file", "/import file-name=.*"]
)
def test_no_fault_in_a_text_looks_like_success(tmp_path: Path, fault: str, phase: str) -> None:
    async def work() -> None:
        async with bed(tmp_path, {"rollback": "backup"}) as place:
            place.target = replace(place.target, deadlines=replace(WAIT, command_s=0.5, commit_s=1))
            async with place.opened() as session:
                staged = await session.stage(TEXT)
                ref = session.reference(staged, 60)
                setattr(place.device.faults, fault, phase)
                result = await session.commit(staged, ref)
            place.device.faults.lie_at = ""
            assert result.state in {CommitState.UNVERIFIED, CommitState.REJECTED}
            assert (result.state is CommitState.REJECTED) == (fault == "lie_at" and "import" not in phase)
            async with place.opened() as session:
                found = await settle(session, ref, TEXT)
                assert found in {Settled.PENDING, Settled.REVERTED}
                if found is Settled.PENDING:
                    assert (await session.rollback(ref)).state is RollbackState.REBOOTING
            async with place.opened() as session:
                assert (await session.get_config()).digest == ref.before

    run(work)


def test_a_text_that_stops_half_way_is_partial_and_its_timer_runs(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path, {"rollback": "backup"}) as place, place.opened() as session:
            place.device.add("/interface/vlan", {"name": "v9", "interface": "ether1", "vlan-id": "9"})
            staged = await session.stage(
                Change(Mode.MERGE, f"{TEXT.text}/interface vlan add name=v9 vlan-id=10 interface=ether1\n")
            )
            ref = session.reference(staged, 60)
            result = await session.commit(staged, ref)
            assert (result.state, result.detail) == (
                CommitState.PARTIAL,
                "failure: already have such entry",
            )
            assert (await session.pending()).ids == (ref.id,)

    run(work)


# Identity -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("board", "version", "writes"),
    [
        ("CCR2116-12G-4S+", "7.16.2 (stable)", True),
        ("CHR QEMU Standard PC", "7.12 (long-term)", True),
        ("CCR2116-12G-4S+", "7.17beta2 (testing)", False),
        ("CCR2116-12G-4S+", "7.1.5 (stable)", False),
        ("CCR2116-12G-4S+", "8.0 (stable)", False),
        ("Toaster 9000", "7.16.2 (stable)", False),
    ],
)
def test_unknown_models_and_firmware_are_read_only(
    tmp_path: Path, board: str, version: str, *, writes: bool
) -> None:
    async def work() -> None:
        async with bed(tmp_path, board=board, version=version) as place, place.opened() as session:
            assert session.capabilities.writes is writes
            assert not session.capabilities.merge
            assert (await session.facts()).uptime_s == 93784
            assert (await session.neighbors())[0].port_id == "sfp2"

    run(work)


def test_a_text_is_not_taken_where_nothing_may_reboot(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, place.opened() as session:
            assert not session.capabilities.reboots
            with pytest.raises(NotSupported):
                await session.stage(TEXT)

    run(work)


def test_an_answer_that_is_no_export_is_no_empty_configuration(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place, place.opened() as session:
            place.device.faults.lie_at = "/export .*"
            with pytest.raises(Garbled):
                await session.get_config()

    run(work)


def test_a_router_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    async def work() -> None:
        async with bed(tmp_path) as place:
            place.target = replace(place.target, port=1)
            with pytest.raises(Unreachable):
                async with place.opened():
                    pass

    run(work)
