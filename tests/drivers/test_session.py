"""The rules that every driver gets: what is refused before sending, what is unverified, what is redacted."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace

import pytest

from drivers.base import Session
from drivers.capabilities import Capabilities
from drivers.emulator.acme import DRIVER
from drivers.emulator.sample import SampleRouter
from drivers.errors import (
    CommandNotAllowed,
    LockHeld,
    NotSupported,
    TimedOut,
    WritesRefused,
    WrongPlatform,
)
from drivers.model import Change, CommitRef, ConfigKind, Mode, ServiceIntent, ServiceVerb, digest
from drivers.outcomes import CommitState, ConfirmState, Settled
from drivers.redact import MARK, Redactor, Secret
from drivers.settle import settle
from drivers.target import Target
from drivers.transcript import Transcript
from tests.drivers.beds import PASSWORD, QUICK, run, serving, target_of

CHANGE = Change(Mode.MERGE, "set ntp 192.0.2.123")


def test_an_unknown_firmware_is_read_only() -> None:
    async def work() -> None:
        router = SampleRouter(version="8.0")
        async with serving(router) as emulator, DRIVER.session(target_of(emulator)) as session:
            assert (await session.exec("show version")).text.startswith("Acme OS 8.0")
            for refused in (session.stage(CHANGE), session.save()):
                with pytest.raises(WritesRefused, match=r"8\.0"):
                    await refused
            with pytest.raises(WritesRefused):
                async with session.lock():
                    pass
        assert not [line for line in router.commands if not line.startswith(("show", "terminal"))]

    run(work)


@pytest.mark.parametrize(
    "command",
    ["configure", "show version\nconfigure", "show version; reload", "show config | redirect x", ""],
)
def test_only_reading_commands_are_executed(command: str) -> None:
    async def work() -> None:
        router = SampleRouter()
        async with serving(router) as emulator, DRIVER.session(target_of(emulator)) as session:
            before = len(router.commands)
            with pytest.raises(CommandNotAllowed):
                await session.exec(command)
            assert len(router.commands) == before

    run(work)


def test_what_the_device_cannot_do_is_not_sent() -> None:
    async def work() -> None:
        router = SampleRouter()
        async with serving(router) as emulator, DRIVER.session(target_of(emulator)) as session:
            before = len(router.commands)
            for refused in (
                session.neighbors(),
                session.apply_service(ServiceIntent(ServiceVerb.ADD, "svc-1")),
                session.stage(Change(Mode.ACTIONS)),
            ):
                with pytest.raises(NotSupported):
                    await refused
            assert len(router.commands) == before
            with pytest.raises(NotSupported):
                await session.get_config(ConfigKind.STARTUP)

    run(work)


def test_a_lock_of_another_session_is_typed() -> None:
    async def work() -> None:
        async with serving(SampleRouter()) as emulator:
            target = target_of(emulator)
            async with DRIVER.session(target) as first, DRIVER.session(target) as second, first.lock():
                with pytest.raises(LockHeld, match="session 1"):
                    async with second.lock():
                        pass

    run(work)


@pytest.mark.parametrize(
    ("fault", "settled"),
    [("cut_before", Settled.REVERTED), ("cut_after", Settled.PENDING), ("hang_at", Settled.REVERTED)],
)
def test_a_commit_without_a_reply_is_unverified_until_a_new_session_has_looked(
    fault: str, settled: Settled
) -> None:
    async def work() -> None:
        router = SampleRouter()
        async with serving(router) as emulator:
            target = target_of(emulator, deadlines=replace(QUICK, commit_s=0.5, command_s=0.5))
            async with DRIVER.session(target) as session:
                staged = await session.stage(CHANGE)
                ref = session.reference(staged, 30)
                setattr(router.faults, fault, "commit.*")
                result = await session.commit(staged, ref)
                assert result.state is CommitState.UNVERIFIED
                assert session.broken
            ref = CommitRef.loads(ref.dumps())  # as after a restart
            async with DRIVER.session(target) as session:
                assert await settle(session, ref, CHANGE) is settled
        assert sum(line.startswith("commit") for line in router.commands) == 1

    run(work)


def test_settle_tells_an_applied_change_from_something_else() -> None:
    async def work() -> None:
        router = SampleRouter()
        async with serving(router) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(CHANGE)
            ref = session.reference(staged)
            assert (await session.commit(staged, ref)).state is CommitState.COMMITTED
            assert await settle(session, ref, CHANGE) is Settled.APPLIED
            router.running["ntp"] = "198.51.100.1"
            assert await settle(session, ref, CHANGE) is Settled.UNVERIFIED

    run(work)


def test_a_commit_that_was_not_confirmed_has_lapsed() -> None:
    async def work() -> None:
        router = SampleRouter(scale=100)
        async with serving(router) as emulator, DRIVER.session(target_of(emulator)) as session:
            staged = await session.stage(CHANGE)
            ref = session.reference(staged, 1)
            assert ref.confirm_within_s == 10  # the device's least
            await session.commit(staged, ref)
            await asyncio.sleep(0.2)
            assert (await session.confirm(ref)).state is ConfirmState.LAPSED
        assert router.running["ntp"] == "192.0.2.1"

    run(work)


async def _read_a_hanging_one(router: SampleRouter, target: Target) -> None:
    async with DRIVER.session(target) as session:
        router.faults.hang_at = "show config"
        await session.get_config()


def test_a_deadline_drops_the_connection() -> None:
    async def work() -> None:
        router = SampleRouter()
        async with serving(router) as emulator:
            target = target_of(emulator, deadlines=replace(QUICK, command_s=0.3))
            with pytest.raises(TimedOut):
                await _read_a_hanging_one(router, target)
            await asyncio.sleep(0.1)
            assert not emulator.connections

    run(work)


def test_a_cancelled_caller_leaves_no_connection() -> None:
    async def work() -> None:
        router = SampleRouter()
        async with serving(router) as emulator:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(_read_a_hanging_one(router, target_of(emulator)), 0.5)
            await asyncio.sleep(0.1)
            assert not emulator.connections

    run(work)


def test_another_platform_is_told() -> None:
    class Other(SampleRouter):
        async def handle(self, session: object, line: str) -> str:
            return "Other OS"

    async def work() -> None:
        async with serving(Other()) as emulator:
            with pytest.raises(WrongPlatform):
                async with DRIVER.session(target_of(emulator)):
                    pass

    run(work)


def test_the_transcript_of_a_failed_login_is_there() -> None:
    async def work() -> None:
        transcript = Transcript(Redactor())
        router = SampleRouter()
        router.faults.banner = f"welcome {PASSWORD}"
        async with serving(router) as emulator:
            router.faults.hang_at = "show version"
            with pytest.raises(TimedOut):
                async with DRIVER.session(target_of(emulator), transcript=transcript):
                    pass
        assert "show version" in transcript.text()
        assert f"welcome {MARK}" in transcript.text()

    run(work)


def test_a_confirm_time_is_the_devices() -> None:
    minutes = Capabilities(confirm_min_s=60, confirm_max_s=7200, confirm_step_s=60)
    assert [minutes.confirm_within(s) for s in (1, 60, 61, 119, 9999)] == [60, 60, 120, 120, 7200]


def test_a_digest_counts_lines_and_not_spaces() -> None:
    assert digest("a\nb\n") == digest("a  \n\nb")
    assert digest("a\nb") != digest("b\na")


def test_volatile_lines_do_not_count() -> None:
    async def work() -> None:
        async with serving(SampleRouter()) as emulator, DRIVER.session(target_of(emulator)) as session:
            assert isinstance(session, Session)
            assert "! time" not in (await session.get_config()).text

    run(work)


def test_a_secret_does_not_print_itself() -> None:
    secret = Secret("s3cr3t-value")
    assert "s3cr3t" not in f"{secret} {secret!r} {[secret]} {secret:>20}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret == Secret("s3cr3t-value")


@pytest.mark.parametrize(
    "text",
    [
        "username bob privilege 15 secret 9 LEAKLEAK",
        "enable secret LEAKLEAK",
        "snmp-server community LEAKLEAK ro",
        "snmp-agent community read cipher LEAKLEAK",
        'set system login user x authentication encrypted-password "LEAKLEAK"',
        "set password=LEAKLEAK name=bob",
        "key-string 7 LEAKLEAK",
        "radius-server host 192.0.2.1 key LEAKLEAK",
        " neighbor 192.0.2.1 password LEAKLEAK",
        "local-user x password irreversible-cipher LEAKLEAK",
        '{"password": "LEAKLEAK"}',
        "<password>LEAKLEAK</password>",
        "Authorization: Bearer LEAKLEAK",
        "tacacs-server key 7 LEAKLEAK",
        "pre-shared-key address 0.0.0.0 key LEAKLEAK",
        'ppp secret add name=x password="LEAKLEAK"',
        "-----BEGIN OPENSSH PRIVATE KEY-----\nLEAKLEAK\n-----END OPENSSH PRIVATE KEY-----",
    ],
)
def test_what_follows_the_words_of_secrets_is_taken_out(text: str) -> None:
    assert "LEAKLEAK" not in Redactor().redact(text)


def test_known_values_are_taken_out_in_all_their_forms() -> None:
    redactor = Redactor(['pa"ss<&w rd'])
    for form in ('pa"ss<&w rd', "pa&quot;ss&lt;&amp;w rd", 'pa\\"ss<&w rd', "pa%22ss%3C%26w%20rd"):
        assert redactor.redact(f"x {form} y") == f"x {MARK} y"


def test_a_short_secret_does_not_eat_the_words_around_it() -> None:
    assert Redactor(["ab"]).redact("abba ab cab") == f"abba {MARK} cab"


def test_a_secret_that_arrives_in_two_pieces_is_taken_out() -> None:
    transcript = Transcript(Redactor(["s3cr3t-value"]))
    transcript.received("x s3cr3t-")
    transcript.received("value y")
    assert "s3cr3t" not in transcript.text()
    assert "value" not in transcript.tail()


def test_a_transcript_is_bounded_and_says_what_it_left_out() -> None:
    transcript = Transcript(Redactor(), limit=1000)
    for number in range(1000):
        transcript.received(f"line {number}\n")
    transcript.received("x" * 5000)
    text = transcript.text()
    assert len(text) < 1200
    assert "lines left out" in text
    assert "xxxx" not in text
