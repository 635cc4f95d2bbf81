"""SSH: trust in host keys, one login try, jump hosts, and errors that say whose fault it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from drivers.emulator.acme import DRIVER
from drivers.emulator.sample import SampleRouter
from drivers.errors import Fault, HostKeyMismatch, HostKeyUnknown, LoginRefused, Phase, TimedOut, Unreachable
from drivers.redact import Secret
from drivers.target import Credentials, HostKey, Target, Trust
from tests.drivers.beds import QUICK, USER, run, serving, target_of


async def _login(target: Target) -> None:
    async with DRIVER.session(target):
        pass


def test_first_contact_fails_without_approval_and_tells_the_fingerprint() -> None:
    async def work() -> None:
        async with serving(SampleRouter()) as emulator:
            with pytest.raises(HostKeyUnknown) as caught:
                await _login(target_of(emulator, trust=Trust()))
            assert caught.value.fingerprint == emulator.fingerprint
            assert emulator.attempts == 0

    run(work)


def test_an_approved_key_is_used_and_a_refused_one_is_not() -> None:
    async def work() -> None:
        seen: list[HostKey] = []

        async def approve(key: HostKey) -> bool:
            seen.append(key)
            return len(seen) > 1

        async with serving(SampleRouter()) as emulator:
            target = target_of(emulator, trust=Trust(approve=approve))
            with pytest.raises(HostKeyUnknown):
                await _login(target)
            assert emulator.attempts == 0
            await _login(target)
            assert seen[0] == HostKey(emulator.host, emulator.port, "ssh-ed25519", emulator.fingerprint)

    run(work)


def test_another_key_than_the_pinned_one_is_never_approved() -> None:
    async def work() -> None:
        async def approve(key: HostKey) -> bool:
            raise AssertionError(f"asked about {key}")

        async with serving(SampleRouter()) as emulator:
            trust = Trust(pinned=("SHA256:other",), approve=approve)
            with pytest.raises(HostKeyMismatch) as caught:
                await _login(target_of(emulator, trust=trust))
            assert caught.value.slug == "host-key-mismatch"
            assert emulator.attempts == 0

    run(work)


@pytest.mark.parametrize("login", ["password", "keyboard-interactive"])
def test_a_wrong_password_is_tried_once(login: str) -> None:
    async def work() -> None:
        async with serving(SampleRouter(), login=login) as emulator:
            await _login(target_of(emulator))
            assert emulator.attempts == 1
            with pytest.raises(LoginRefused) as caught:
                await _login(target_of(emulator, credentials=Credentials(USER, Secret("wr0ng-one"))))
            assert emulator.attempts == 2
            assert caught.value.fault is Fault.CREDENTIAL
            assert "wr0ng-one" not in f"{caught.value!r}{caught.value}"

    run(work)


def test_a_device_behind_a_jump_host_is_reached() -> None:
    async def work() -> None:
        async with serving(SampleRouter("hop")) as hop, serving(SampleRouter("far1")) as far:
            target = target_of(far, jump=target_of(hop))
            with pytest.raises(Unreachable):  # this hop forwards nothing, and says so
                await _login(target)

    run(work)


def test_nobody_there_and_a_silent_host_are_told_apart() -> None:
    async def work() -> None:
        async with serving(SampleRouter()) as emulator:
            target = target_of(emulator)
        with pytest.raises(Unreachable) as caught:
            await _login(target)
        assert caught.value.phase is Phase.DIAL

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        slow = replace(target, port=port, deadlines=replace(QUICK, connect_s=0.3, login_s=0.3))
        with pytest.raises((TimedOut, Unreachable)):
            await _login(slow)
        server.close()
        await server.wait_closed()

    run(work)


def test_an_unreadable_private_key_is_about_the_credentials() -> None:
    async def work() -> None:
        async with serving(SampleRouter()) as emulator:
            with pytest.raises(LoginRefused):
                await _login(
                    target_of(emulator, credentials=Credentials(USER, private_key=Secret("nonsense")))
                )

    run(work)


def test_old_algorithms_are_offered_for_one_device_only() -> None:
    async def work() -> None:
        async with serving(SampleRouter()) as emulator:
            await _login(target_of(emulator, legacy_ssh=True))

    run(work)
