"""FreeRADIUS's radclient as the platform: it signs, verifies and decodes by itself, over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from radius.udp import BatchSocket
from tests.daemon.relay_stage import SECRET, Outcome, Stage, play

ALICE = 'User-Name = "alice"\nFramed-IP-Address = 100.64.0.1\nAcct-Session-Id = "8000"\n'
RATE = 'Mikrotik-Rate-Limit = "10M/50M"\nFilter-Id = "home-50"\n'

Ask = Callable[..., Awaitable[str]]


async def radclient(port: int, kind: str, attributes: str, secret: str, timeout: str) -> str:
    """Send one request, once, and return what radclient says."""
    process = await asyncio.create_subprocess_exec(
        *("radclient", "-x", "-r", "1", "-t", timeout, f"127.0.0.1:{port}", kind, secret),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(attributes.encode()), 20.0)
    return said.decode()


def over_udp(stage: Stage, scene: Callable[[Stage, Ask], Awaitable[None]]) -> Stage:
    """Run a scene with the relay on a real socket."""

    async def whole(stage: Stage) -> None:
        sock = BatchSocket("127.0.0.1", 0)
        endpoint = stage.endpoint_on(sock)
        endpoint.start()

        async def ask(kind: str, attributes: str, secret: str = SECRET.decode(), timeout: str = "5") -> str:
            return await radclient(sock.port, kind, attributes, secret, timeout)

        try:
            await scene(stage, ask)
        finally:
            endpoint.stop()
            endpoint.close()

    return play(stage, whole)


def home() -> Stage:
    stage = Stage()
    stage.session("8000", framed_ip_address=ip_address("100.64.0.1").packed)
    return stage


def test_the_platforms_disconnect_and_change_are_acknowledged_when_the_nas_did() -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        said = await ask("disconnect", ALICE)
        assert "Received Disconnect-ACK" in said, said
        assert "Message-Authenticator" not in said
        assert "Error-Cause" not in said
        said = await ask("coa", ALICE + RATE)
        assert "Received CoA-ACK" in said, said

    stage = over_udp(home(), scene)
    assert stage.engine.disconnects == [(1, "platform")]
    ((uid, service, _),) = stage.engine.changes
    assert uid == 1
    assert b"10M/50M" in service
    assert b"home-50" in service
    assert b"alice" not in service


def test_what_the_nas_refused_is_refused_with_its_cause() -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        stage.engine.answer = Outcome(ok=False, cause=504)
        said = await ask("disconnect", ALICE)
        assert "Received Disconnect-NAK" in said, said
        assert "Error-Cause = Session-Context-Not-Removable" in said
        stage.engine.answer = Outcome(ok=False, cause=401)
        said = await ask("coa", ALICE + RATE)
        assert "Received CoA-NAK" in said, said
        assert "Error-Cause = Unsupported-Attribute" in said
        stage.engine.answer = Outcome(ok=False, answered=False)
        said = await ask("disconnect", ALICE)
        assert "Error-Cause = Proxy-Request-Not-Routable" in said, said

    over_udp(home(), scene)


def test_a_request_that_means_no_one_session_is_refused_with_the_cause() -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        for attributes, cause in (
            ('User-Name = "eve"', "Session-Context-Not-Found"),
            (ALICE + "NAS-IP-Address = 10.9.0.2", "NAS-Identification-Mismatch"),
            ("NAS-IP-Address = 10.9.0.1", "Missing-Attribute"),
        ):
            said = await ask("disconnect", attributes)
            assert "Received Disconnect-NAK" in said, said
            assert f"Error-Cause = {cause}" in said
        stage.session("8001")
        said = await ask("coa", 'User-Name = "alice"\n' + RATE)
        assert "Error-Cause = Multiple-Session-Selection-Unsupported" in said, said

    assert over_udp(home(), scene).engine.disconnects == []


def test_a_wrong_secret_gets_no_answer() -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        said = await ask("disconnect", ALICE, "wrong", "0.5")
        assert "No reply" in said, said

    stage = over_udp(home(), scene)
    assert stage.engine.disconnects == []
    assert set(stage.reasons()) == {"platform drop bad-request-authenticator"}


def test_a_signed_request_with_proxy_state_is_answered_in_kind() -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        said = await ask("disconnect", ALICE + "Message-Authenticator = 0x00\nProxy-State = 0x6f6e65\n")
        received = said[said.index("Received Disconnect-ACK") :]
        assert "Message-Authenticator = 0x" in received
        assert "Proxy-State = 0x6f6e65" in received

    over_udp(home(), scene)


def test_a_late_answer_of_the_nas_reaches_the_platform() -> None:
    async def scene(stage: Stage, ask: Ask) -> None:
        async def late(_session: object) -> None:
            await asyncio.sleep(0.3)

        stage.engine.during = late
        assert "Received Disconnect-ACK" in await ask("disconnect", ALICE)

    over_udp(home(), scene)
