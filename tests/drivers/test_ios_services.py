"""Cisco IOS: sub-interfaces with our mark, kicks that are read back, and which words of its lines are secret."""

from __future__ import annotations

from typing import Any

import pytest

from drivers.emulator.ios_device import FIRST, IosDevice
from drivers.errors import NotSupported
from drivers.ios import DRIVER, IosSession
from drivers.kick import KickState, LiveSession
from drivers.model import ServiceIntent, ServiceVerb
from drivers.outcomes import CommitState
from drivers.redact import Redactor
from tests.drivers.beds import run, serving, target_of


def test_a_service_is_a_sub_interface_with_the_key_as_its_mark() -> None:
    intent = ServiceIntent(
        ServiceVerb.ADD,
        "svc-17",
        "GigabitEthernet0/0",
        s_vlan=100,
        c_vlan=200,
        profile="GOLD",
        address="198.51.100.1/30",
    )

    async def push(session: Any, verb: ServiceVerb) -> str:
        change = await session.apply_service(ServiceIntent(**{**_fields(intent), "verb": verb}))
        if change.text:
            staged = await session.stage(change)
            assert (await session.commit(staged, session.reference(staged))).state is CommitState.COMMITTED
        return str(change.text)

    async def work() -> None:
        device = IosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            assert await push(session, ServiceVerb.ADD) == (
                "interface GigabitEthernet0/0.1000200\n description svc-17\n encapsulation dot1Q 100 second-dot1q 200\n"
                " ip address 198.51.100.1 255.255.255.252\n service-policy output GOLD\n"
            )
            assert await push(session, ServiceVerb.ADD) == ""  # it is there already
            assert await push(session, ServiceVerb.SUSPEND) != ""
            assert await push(session, ServiceVerb.SUSPEND) == ""
            assert "no shutdown" in await push(session, ServiceVerb.RESUME)
            assert await push(session, ServiceVerb.REMOVE) == "no interface GigabitEthernet0/0.1000200\n"
            assert await push(session, ServiceVerb.REMOVE) == ""

    run(work)


def test_what_does_not_carry_the_key_is_not_touched() -> None:
    async def work() -> None:
        text = FIRST + "interface GigabitEthernet0/0.100\n description somebody else\n"
        async with serving(IosDevice(text)) as emulator, DRIVER.session(target_of(emulator)) as session:
            for verb in (ServiceVerb.ADD, ServiceVerb.REMOVE, ServiceVerb.SUSPEND):
                with pytest.raises(NotSupported, match="not ours"):
                    await session.apply_service(
                        ServiceIntent(verb, "svc-17", "GigabitEthernet0/0", s_vlan=100)
                    )

    run(work)


@pytest.mark.parametrize(
    "more",
    [
        {"s_vlan": 5000},
        {"s_vlan": None},
        {"address": "198.51.100.1"},
        {"download_bps": 10**6},
        {"key": "svc\nno hostname"},
        {"port": "Gi0/0\nreload"},
        {"profile": "a\nb"},
    ],
    ids=str,
)
def test_what_cannot_be_said_to_the_device_is_refused(more: dict[str, Any]) -> None:
    intent = ServiceIntent(
        **{"verb": ServiceVerb.ADD, "key": "svc-17", "port": "Gi0/0", "s_vlan": 100, **more}
    )

    async def work() -> None:
        async with serving(IosDevice()) as emulator, DRIVER.session(target_of(emulator)) as session:
            with pytest.raises(NotSupported):
                await session.apply_service(intent)

    run(work)


def _fields(intent: ServiceIntent) -> dict[str, Any]:
    return {name: getattr(intent, name) for name in ServiceIntent.__slots__}


def test_a_kick_ends_the_sessions_of_the_name_and_sees_them_gone() -> None:
    async def work() -> None:
        device = IosDevice()
        async with serving(device) as emulator, DRIVER.session(target_of(emulator)) as session:
            assert isinstance(session, IosSession)
            result = await session.kick(LiveSession("bob@isp", address="198.51.100.9"), within_s=0.2)
            assert (result.state, result.ended) == (KickState.KICKED, ("9",))
            assert set(device.subscribers) == {"7", "12"}
            assert (await session.kick(LiveSession("nobody"))).state is KickState.ABSENT
            device.faults.lie_at = "clear subscriber.*"
            assert (await session.kick(LiveSession("eve@isp"), within_s=0.2)).state is KickState.UNVERIFIED
            with pytest.raises(NotSupported, match="user name"):
                await session.kick(LiveSession("bob@isp", session_id="0000001F"))

    run(work)


SECRET_LINES = (
    "crypto isakmp key LEAKLEAK address 0.0.0.0",
    " ip ospf message-digest-key 1 md5 7 LEAKLEAK",
    " server-private 192.0.2.1 auth-port 1812 key 7 LEAKLEAK",
    "snmp-server host 192.0.2.9 version 2c LEAKLEAK",
    "snmp-server user u g v3 auth sha LEAKLEAK priv aes 128 LEAKLEAK",
    "snmp-server community encrypted LEAKLEAK RO",
    "ntp authentication-key 1 md5 LEAKLEAK 7",
    " key-string password LEAKLEAK",
    "username a privilege 15 role network-admin secret sha512 LEAKLEAK",
    "enable password sha512 LEAKLEAK",
    " neighbor 192.0.2.1 password 8a LEAKLEAK",
    " vrrp 1 authentication text LEAKLEAK",
    " client 192.0.2.7 server-key 7 LEAKLEAK",
)


@pytest.mark.parametrize("line", SECRET_LINES)
def test_secrets_of_these_command_lines_are_hidden(line: str) -> None:
    assert "LEAKLEAK" not in Redactor((), DRIVER.secret_patterns).redact(line)


def test_what_is_no_secret_stays() -> None:
    for line in (
        "snmp-server community x RO",
        "crypto ipsec transform-set T esp-aes 256 esp-sha-hmac",
        "aaa new-model",
    ):
        shown = Redactor((), DRIVER.secret_patterns).redact(line)
        assert shown.split()[-1] == line.split()[-1]
