"""REST: certificates are looked at before a password is sent, errors are typed, nothing is sent twice."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from drivers.errors import (
    CommandRefused,
    DriverError,
    Dropped,
    HostKeyMismatch,
    HostKeyUnknown,
    LoginRefused,
    TimedOut,
    Unreachable,
)
from drivers.redact import Secret
from drivers.target import Credentials, Target, Trust
from drivers.transports import http
from tests.drivers.beds import PASSWORD, QUICK, USER, opening_of, run

LOGIN = Credentials(USER, Secret(PASSWORD))


def _certificate(home: Path) -> tuple[ssl.SSLContext, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "router")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(7).not_valid_before(now - dt.timedelta(1))
    signed = made.not_valid_after(now + dt.timedelta(9)).sign(key, hashes.SHA256())
    pem = home / "router.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    der = signed.public_bytes(serialization.Encoding.DER)
    return context, "SHA256:" + hashlib.sha256(der).hexdigest()


@asynccontextmanager
async def rest(heard: list[str], context: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """Serve a few paths; `heard` gets every request as it came."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            heard.append(head)
            path = head.split()[1]
            if path == "/hang":
                await reader.read()
            elif path != "/cut":
                status = {"/no": "401 No", "/bad": "400 Bad", "/moved": "302 Found"}.get(path, "200 OK")
                body = b'{"ok": true, "password": "in-the-reply"}'
                reply = f"HTTP/1.1 {status}\r\nLocation: /else\r\nContent-Type: application/json\r\n"
                writer.write(
                    f"{reply}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def _target(port: int, trust: Trust = Trust()) -> Target:  # noqa: B008 - a frozen value
    return Target("dut", "127.0.0.1", LOGIN, port, trust, deadlines=replace(QUICK, command_s=0.5))


def test_a_pinned_certificate_is_used(tmp_path: Path) -> None:
    async def work() -> None:
        context, fingerprint = _certificate(tmp_path)
        heard: list[str] = []
        async with rest(heard, context) as port:
            opening = opening_of(_target(port, Trust(pinned=(fingerprint,))))
            client = await http.connect(opening, base="/rest")
            reply = await client.request("GET", "/system")
            assert reply.data["ok"] is True
            assert "/rest/system" in heard[-1]
            assert "Basic" in heard[-1]
            assert "in-the-reply" not in opening.transcript.text()
            await client.close()

    run(work)


def test_a_foreign_certificate_gets_no_password(tmp_path: Path) -> None:
    async def work() -> None:
        context, _ = _certificate(tmp_path)
        heard: list[str] = []
        async with rest(heard, context) as port:
            with pytest.raises(HostKeyMismatch):
                await http.connect(opening_of(_target(port, Trust(pinned=("SHA256:00",)))))
            with pytest.raises(HostKeyUnknown):
                await http.connect(opening_of(_target(port)))
            client = await http.connect(opening_of(_target(port, Trust(system=True))))
            with pytest.raises(Unreachable):
                await client.request("GET", "/")
            await client.close()
        assert heard == []

    run(work)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/no", LoginRefused),
        ("/bad", CommandRefused),
        ("/moved", CommandRefused),
        ("/cut", Dropped),
        ("/hang", TimedOut),
    ],
)
def test_errors_are_typed_and_nothing_is_sent_twice(path: str, kind: type[DriverError]) -> None:
    async def work() -> None:
        heard: list[str] = []
        async with rest(heard) as port:
            opening = opening_of(_target(port))
            client = await http.connect(opening, tls=False)
            with pytest.raises(kind) as caught:
                await client.request("POST", path, body={"name": "x"})
            assert len(heard) == 1
            assert PASSWORD not in f"{caught.value!r} {caught.value} {opening.transcript.text()} {client!r}"
            await client.close()

    run(work)
