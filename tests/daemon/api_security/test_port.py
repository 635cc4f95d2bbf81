"""The API port on real sockets: TLS, client certificates, rotation without a restart, and connections that dawdle."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from fastapi import FastAPI

from daemon.api.application import api_app
from daemon.api.security.names import Name, names_of, read_name
from daemon.api.security.options import CertificatePrincipal, PortOptions, TlsOptions
from daemon.api.security.tls import Tls, TlsUnusable
from daemon.api.server import ApiServer, listen_tcp
from daemon.api.services import Services
from tests.daemon.api_security.test_doors import Desk, Hollow, desk
from tests.daemon.conftest import Store
from tests.twins.clock import ClockTwin

AT = dt.datetime.now(dt.UTC).replace(microsecond=0)


class Authority:
    """A CA of our own."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (
            self._builder(self.name, self.key, 365)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: float
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(AT - dt.timedelta(days=1))
            .not_valid_after(AT + dt.timedelta(days=days))
        )

    def write(
        self, folder: Path, name: str, *, days: float = 90, organisation: str = "Example"
    ) -> tuple[Path, Path]:
        """Write a certificate and its key; return both paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            ]
        )
        names: list[x509.GeneralName] = [
            x509.IPAddress(ip_address("127.0.0.1")),
            x509.UniformResourceIdentifier(f"spiffe://example/{name}"),
        ]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            self._builder(subject, key, days)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        public, private = folder / f"{name}.pem", folder / f"{name}.key"
        _put(public, certificate.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        _put(private, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        return public, private

    def trust(self, folder: Path) -> Path:
        """Write the CA's own certificate."""
        path = folder / "ca.pem"
        _put(path, self.certificate.public_bytes(serialization.Encoding.PEM))
        return path


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _put(path: Path, octets: bytes) -> None:
    draft = path.with_suffix(".new")
    draft.write_bytes(octets)
    draft.replace(path)


@asynccontextmanager
async def port(app: Any, tls: Tls | None = None, limits: PortOptions | None = None) -> AsyncIterator[int]:
    """Serve an application on a free port."""
    sock = listen_tcp("127.0.0.1", 0)
    number: int = sock.getsockname()[1]
    server = ApiServer(app, sock, admin=False, tls=None if tls is None else tls.context, port=limits)
    serving = asyncio.create_task(server.serve())
    try:
        while not server._server.started:
            await asyncio.sleep(0.01)
        yield number
    finally:
        server.stop()
        await serving


def trusting(ca: Path, mine: tuple[Path, Path] | None = None) -> httpx.AsyncClient:
    context = ssl.create_default_context(cafile=str(ca))
    if mine is not None:
        context.load_cert_chain(*mine)
    return httpx.AsyncClient(verify=context)


def served_until(number: int, ca: Path) -> dt.datetime:
    """Return until when the certificate is good that a new connection is shown."""
    context = ssl.create_default_context(cafile=str(ca))
    with (
        socket.create_connection(("127.0.0.1", number), 5) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as sock,
    ):
        shown = sock.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).not_valid_after_utc


def test_certificates_are_rotated_without_a_restart(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        authority, clock = Authority("ours"), ClockTwin(AT.timestamp())
        ca = authority.trust(tmp_path)
        public, private = authority.write(tmp_path, "edge", days=20)
        tls = Tls(TlsOptions(certificate=public, key=private), clock)
        assert tls.expires_in_days(AT.timestamp()) == pytest.approx(20)
        assert "expires in 20 days" in tls.degraded(AT.timestamp())[0]
        async with desk(store, tmp_path) as made, port(made.app, tls) as number, trusting(ca) as client:
            watching = asyncio.create_task(tls.run())
            assert (await client.get(f"https://127.0.0.1:{number}/livez")).status_code == 200
            assert await asyncio.to_thread(served_until, number, ca) == AT + dt.timedelta(days=20)
            authority.write(tmp_path, "edge", days=90)
            await clock.advance(5)
            while tls.expires_in_days(AT.timestamp()) < 80:  # it is read in a thread
                await asyncio.sleep(0.01)
            assert await asyncio.to_thread(served_until, number, ca) == AT + dt.timedelta(days=90)
            assert (await client.get(f"https://127.0.0.1:{number}/livez")).status_code == 200  # kept alive
            assert tls.degraded(AT.timestamp()) == []
            watching.cancel()
            _put(public, b"-----BEGIN CERTIFICATE-----\nno\n")
            tls.look()
            assert await asyncio.to_thread(served_until, number, ca) == AT + dt.timedelta(days=90)
            assert str(public) in tls.degraded(AT.timestamp())[0]

    asyncio.run(go())


def test_a_client_is_who_its_certificate_says(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        authority, stranger = Authority("ours"), Authority("theirs")
        ca = authority.trust(tmp_path)
        server, other, third = (authority.write(tmp_path, name) for name in ("edge", "platform", "unmapped"))
        (tmp_path / "theirs").mkdir()
        forged = stranger.write(tmp_path / "theirs", "platform")
        people = {
            "subject:CN=platform,O=Example": CertificatePrincipal(
                name="platform", scopes=("viewer",), tenant="alpha"
            ),
            "URI:spiffe://example/edge": CertificatePrincipal(name="another edge", scopes=("admin",)),
        }
        options = TlsOptions(certificate=server[0], key=server[1], client_ca=ca, principals=people)
        tls = Tls(options, ClockTwin())
        async with desk(store, tmp_path) as made:
            made.security.know(people)
            async with port(made.app, tls) as number:
                who = f"https://127.0.0.1:{number}/who"
                async with trusting(ca, other) as client:
                    told = (await client.get(who)).json()
                    assert told == {"name": "certificate platform", "tenant": "alpha"}
                    assert (await client.get(who, params={"tenant": "beta"})).status_code == 404
                    key = await made.key(tenant="beta")
                    assert (await client.get(who, headers=key)).json()["tenant"] == "beta"
                async with trusting(ca, server) as client:
                    assert (await client.get(who)).json() == {
                        "name": "certificate another edge",
                        "tenant": "*",
                    }
                for mine in (None, third):
                    async with trusting(ca, mine) as client:
                        assert (await client.get(who)).status_code == 401
                async with trusting(ca, forged) as client:
                    with pytest.raises(httpx.TransportError):
                        await client.get(who)

    asyncio.run(go())


def test_nobody_without_a_certificate_gets_as_far_as_a_request_where_it_is_required(
    store: Store, tmp_path: Path
) -> None:
    async def go() -> None:
        authority = Authority("ours")
        ca = authority.trust(tmp_path)
        server, client = authority.write(tmp_path, "edge"), authority.write(tmp_path, "client")
        options = TlsOptions(certificate=server[0], key=server[1], client_ca=ca, require_client=True)
        async with desk(store, tmp_path) as made, port(made.app, Tls(options, ClockTwin())) as number:
            where = f"https://127.0.0.1:{number}/livez"
            async with trusting(ca, client) as known:
                assert (await known.get(where)).status_code == 200
            async with trusting(ca) as unknown:
                with pytest.raises(httpx.TransportError):
                    await unknown.get(where)

    asyncio.run(go())


def test_a_new_ca_is_in_force_for_the_next_connection(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        before, after = Authority("before"), Authority("after")
        ca = before.trust(tmp_path)
        server = before.write(tmp_path, "edge")
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        old, new = before.write(tmp_path / "a", "client"), after.write(tmp_path / "b", "client")
        trusted = before.trust(tmp_path / "a")
        options = TlsOptions(certificate=server[0], key=server[1], client_ca=trusted, require_client=True)
        tls = Tls(options, ClockTwin())

        async def let_in(mine: tuple[Path, Path]) -> bool:
            async with trusting(ca, mine) as client:
                try:
                    return (await client.get(f"https://127.0.0.1:{number}/livez")).status_code == 200
                except httpx.TransportError:
                    return False

        async with desk(store, tmp_path) as made, port(made.app, tls) as number:
            assert [await let_in(old), await let_in(new)] == [True, False]
            after.trust(tmp_path / "a")
            tls.look()
            assert [await let_in(old), await let_in(new)] == [False, True]

    asyncio.run(go())


@pytest.mark.parametrize("broken", ["certificate", "key", "client_ca"])
def test_what_cannot_be_used_for_tls_is_named(tmp_path: Path, broken: str) -> None:
    authority = Authority("ours")
    public, private = authority.write(tmp_path, "edge")
    given = {"certificate": public, "key": private, "client_ca": authority.trust(tmp_path)}
    given[broken] = tmp_path / "missing.pem"
    with pytest.raises(TlsUnusable, match=r"missing\.pem"):
        Tls(TlsOptions(**given), ClockTwin())
    given[broken].write_text("no PEM")
    with pytest.raises(TlsUnusable):
        Tls(TlsOptions(**given), ClockTwin())


def test_the_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority("ours")
    public, _ = authority.write(tmp_path, "edge")
    _, private = authority.write(tmp_path, "other")
    with pytest.raises(TlsUnusable):
        Tls(TlsOptions(certificate=public, key=private), ClockTwin())


def test_names_are_the_subject_the_alternative_names_and_the_common_name_each_with_its_kind() -> None:
    shown = {
        "subject": ((("countryName", "NG"),), (("commonName", "platform"),)),
        "subjectAltName": (("DNS", "P.example"), ("URI", "spiffe://x"), ("IP Address", "192.0.2.1")),
    }
    assert set(names_of(shown)) == {
        Name("subject", "C=NG,CN=platform"),
        Name("DNS", "p.example"),
        Name("URI", "spiffe://x"),
        Name("", "p.example"),
        Name("", "spiffe://x"),
        Name("CN", "platform"),
    }
    del shown["subjectAltName"]
    assert read_name("Platform") in names_of(shown)
    assert names_of(None) == names_of({}) == ()


@pytest.mark.parametrize(
    "forged",
    [
        {"subject": ((("commonName", "platform,O=Example"),),)},
        {"subject": ((("commonName", "platform"), ("organizationName", "Example")),)},
        {"subject": ((("commonName", "c7"),),), "subjectAltName": (("URI", "CN=platform,O=Example"),)},
        {
            "subject": ((("commonName", "c7"),),),
            "subjectAltName": (("URI", "subject:CN=platform,O=Example"),),
        },
        {"subject": ((("commonName", "c7"),),), "subjectAltName": (("URI", "DNS:p.example"),)},
        {
            "subject": ((("commonName", "c7"),),),
            "subjectAltName": (("DNS", "spiffe://x"), ("URI", "p.example")),
        },
        {"subject": ((("commonName", "c7"),),), "subjectAltName": (("email", "p.example"),)},
        {"subject": ((("commonName", "spiffe://x"),),)},
        {"subject": ((("commonName", "DNS:p.example"),),)},
        {"subject": ((("commonName", "p.example"),),), "subjectAltName": (("DNS", "other.example"),)},
        {"subject": ((("commonName", "a"),), (("commonName", "p.example"),))},
    ],
)
def test_what_one_field_of_a_certificate_says_never_passes_for_another(forged: dict[str, Any]) -> None:
    entries = ("subject:CN=platform,O=Example", "DNS:p.example", "spiffe://x", "p.example", "CN:p.example")
    kept = entries[:4] if forged["subject"] == ((("commonName", "p.example"),),) else entries
    assert not {read_name(each) for each in kept} & set(names_of(forged))


def test_a_subject_is_escaped_as_rfc_4514_has_it() -> None:
    told = names_of(
        {"subject": ((("commonName", ' a"b\\c+d;e<f>g=h\0 '),), (("organizationName", "#x, y"),))}
    )
    assert told[0].value == 'CN=\\ a\\"b\\\\c\\+d\\;e\\<f\\>g\\=h\\00\\ ,O=\\#x\\, y'


# --- connections that dawdle -----------------------------------------------------------------------

FAST = PortOptions(header_s=0.3, body_grace_s=0.3, body_least_octets_per_s=1e6)


async def dribble(number: int, *pieces: bytes, pause_s: float = 0.1) -> bytes:
    """Send pieces slowly; return what comes back until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    said = bytearray()

    async def listen() -> None:
        with suppress(ConnectionError):
            while octets := await reader.read(4096):
                said.extend(octets)

    listening = asyncio.create_task(listen())
    with suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)
    async with asyncio.timeout(5):
        await listening
    writer.close()
    return bytes(said)


def test_headers_that_come_too_slowly_end_the_connection(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made, port(made.app, limits=FAST) as number:
            assert await dribble(number) == b""  # says nothing at all
            assert (
                await dribble(number, *[b"G", b"ET /livez HT", b"TP/1.1\r\n", b"Host: x\r\n", b"A: b\r\n"])
                == b""
            )
            whole = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
            slow_second = await dribble(
                number, whole, b"GET /livez", b" HTTP/1.1\r\n", b"Host: x\r\n", b"A: b\r\n"
            )
            assert slow_second.count(b"HTTP/1.1 200") == 1
            assert b"200 OK" in await dribble(number, whole.replace(b"Host", b"Connection: close\r\nHost"))

    asyncio.run(go())


def test_a_body_that_comes_too_slowly_is_refused(store: Store, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk(store, tmp_path) as made:
            app = _with_limits(made)
            key = (await made.key("admin"))["X-Api-Key"].encode()
            head = b"POST /api/v1/api-keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Api-Key: " + key
            head += b"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
            async with port(app, limits=FAST) as number:
                told = await dribble(number, head, *[b"{"] * 8)
                assert b"HTTP/1.1 408" in told
                assert b'"code":"too-slow"' in told
                body = b'{"name": "n", "scopes": ["viewer"]}'.ljust(100)
                assert b"HTTP/1.1 201" in await dribble(number, head + body)

    asyncio.run(go())


def _with_limits(made: Desk) -> FastAPI:
    services = Hollow(engine=made.store.engine, writer=made.store.writer, clock=made.clock)
    return api_app(cast("Services", services), "0", made.security, FAST)
