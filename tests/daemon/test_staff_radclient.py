"""FreeRADIUS's radclient as a device that asks about staff, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from daemon.aaa.endpoint import Port
from daemon.aaa.staff import accounting as staff_accounting
from daemon.store.staff_rows import StaffSearch
from radius.udp import BatchSocket
from tests.daemon.conftest import Store
from tests.daemon.staff_stack import StaffStack

PASSWORD = "Kanarie-password-77c1"


@asynccontextmanager
async def served(store: Store, **options: float) -> AsyncIterator[tuple[StaffStack, int, int]]:
    """Yield a stack whose two ports listen on loopback, and their numbers."""
    async with store.running():
        stack = StaffStack(writer=store.writer, **options)  # type: ignore[arg-type] # reject_delay_s
        sockets = [BatchSocket("127.0.0.1", 0) for _ in range(2)]
        ports = (Port.STAFF_AUTH, Port.STAFF_ACCT)
        endpoints = [stack.endpoint(port, sock) for port, sock in zip(ports, sockets, strict=True)]
        for endpoint in endpoints:
            endpoint.start()
        try:
            yield stack, sockets[0].port, sockets[1].port
        finally:
            for endpoint in endpoints:
                endpoint.stop()
                endpoint.close()
    assert stack.faults == []


async def radclient(port: int, kind: str, attributes: str) -> str:
    """Send one request and return what radclient prints; it verifies and decodes by itself."""
    process = await asyncio.create_subprocess_exec(
        *("radclient", "-x", "-r", "1", "-t", "3", f"127.0.0.1:{port}", kind, "testing123"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(20):
        out, _ = await process.communicate(attributes.encode())
    return out.decode()


def test_logs_in_with_each_method_and_is_told_the_group(store: Store) -> None:
    async def scenario() -> None:
        async with served(store) as (stack, auth, _):
            for credential in ("User-Password", "CHAP-Password", "MS-CHAP-Password"):
                for signed in ("", "\nMessage-Authenticator = 0x00"):
                    said = await radclient(
                        auth, "auth", f'User-Name = "root"\n{credential} = "{PASSWORD}"{signed}'
                    )
                    assert "Received Access-Accept" in said, said
                    assert 'Mikrotik-Group = "full"' in said
            assert [each.fields["reason"] for each in stack.events] == [""] * 6

    asyncio.run(scenario())


def test_is_rejected_after_the_delay(store: Store) -> None:
    async def scenario() -> None:
        async with served(store, reject_delay_s=0.2) as (stack, auth, _):
            for name, password in (("root", "x"), ("gone", PASSWORD), ("alice", "wonderland")):
                said = await radclient(auth, "auth", f'User-Name = "{name}"\nUser-Password = "{password}"')
                assert "Received Access-Reject" in said, said
                assert "Mikrotik" not in said
            reasons = [each.fields["reason"] for each in stack.events]
            assert reasons == ["wrong-password", "staff-disabled", "unknown-user"]

    asyncio.run(scenario())


def test_accounts_a_login_and_asks_for_the_servers_health(store: Store) -> None:
    async def scenario() -> None:
        async with served(store) as (stack, auth, acct):
            common = 'User-Name = "root"\nAcct-Session-Id = "81b"\nCalling-Station-Id = "198.51.100.7"\n'
            said = await radclient(acct, "acct", common + "Acct-Status-Type = Start\n")
            assert "Received Accounting-Response" in said, said
            assert [each.staff for each in stack.accounting.sessions.now(stack.at)] == ["ROOT"]
            ended = "Acct-Status-Type = Stop\nAcct-Session-Time = 7\nAcct-Terminate-Cause = User-Request\n"
            said = await radclient(acct, "acct", common + ended)
            assert "Received Accounting-Response" in said, said
            stop, start = await staff_accounting.search(store.engine, StaffSearch(staff="ROOT"))
            assert (start.status, stop.status, stop.terminate_cause) == ("start", "stop", "user-request")
            for port, answer in ((auth, "Access-Accept"), (acct, "Accounting-Response")):
                said = await radclient(port, "status", "Message-Authenticator = 0x00")
                assert f"Received {answer}" in said, said

    asyncio.run(scenario())
