"""Connections to a platform: deadlines, a least pace, certificates, and no secret in anything that is told."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from daemon.clock import SystemClock
from daemon.sync.feed.link import Link, LinkFailed, certificate_until
from daemon.sync.feed.pace import Pace
from daemon.sync.feed.pull_options import LinkOptions
from tests.daemon.sync_feeds.stage import (
    FEED,
    Told,
    feed_at,
    fill,
    line,
    options,
    running,
    same,
    source,
    until,
)
from tests.twins.fault_proxy import Fault, FaultProxy
from tests.twins.platform import Platform

TOKEN = "tok-4711-do-not-show"
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def answer_of(handle: Handle, **of: Any) -> str:
    """Ask a server that does as `handle` says; return why it came to nothing."""
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wanted = LinkOptions(
        url=f"http://127.0.0.1:{port}",
        plain=True,
        token=TOKEN,
        **({"answer_s": 0.5, "pace": Pace(0.3, 1000.0)} | of),
    )
    try:
        async with Link(wanted, SystemClock()) as link, asyncio.timeout(5.0):
            answer = await link.ask("GET", "x")
            return f"{answer.status} {len(answer.body)}"
    except LinkFailed as failed:
        return f"{failed} after {failed.after_s}"
    finally:
        server.close()


def says(head: bytes, *parts: bytes, pause_s: float = 0.0, close: bool = True) -> Handle:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_s)
            if not close:
                await asyncio.sleep(30.0)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    return handle


OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("handle", "said"),
    [
        (says(OK % 3, b"abc"), "200 3"),
        (says(OK % 1000, *[b"a"] * 1000, pause_s=0.02), "too slowly"),
        (says(b"", *[b"H"] * 1000, pause_s=0.05), "no answer came within"),
        (says(b"", close=False), "no answer came within"),
        (says(b""), "without sending a response"),
        (says(OK % 9, b"abc"), "broke off"),
        (says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"5\r\nab"), "broke off"),
        (says(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n", b"abc"), "not gzip"),
        (
            says(b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 3\r\n\r\n", b"abc"),
            "packs with br",
        ),
        (says(b"HTTP/1.1 302 F\r\nlocation: http://evil/\r\ncontent-length: 0\r\n\r\n"), "answered 302"),
        (says(b"HTTP/1.1 401 F\r\ncontent-length: 0\r\n\r\n"), "refuses this edge (401); check the token"),
        (says(b"HTTP/1.1 503 F\r\nretry-after: 17\r\ncontent-length: 0\r\n\r\n"), "busy (503) after 17.0"),
        (says(b"HTTP/1.1 429 F\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n"), "busy (429) after None"),
        (
            says(
                b"HTTP/1.1 429 F\r\nretry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\ncontent-length: 0\r\n\r\n"
            ),
            "after 0.0",
        ),
        (says(f"HTTP/1.1 200 {TOKEN}\x00\r\n\r\n".encode()), "after None"),
    ],
)
def test_whatever_a_platform_does_ends_in_time_and_says_why(handle: Handle, said: str) -> None:
    told = asyncio.run(answer_of(handle))
    assert said in told
    assert TOKEN not in told


def test_a_server_that_is_not_there_is_told_in_time() -> None:
    async def run() -> str:
        wanted = LinkOptions(url="http://127.0.0.1:1", plain=True, token=TOKEN)
        async with Link(wanted, SystemClock()) as link:
            with pytest.raises(LinkFailed) as failed:
                await link.ask("GET", "x")
        return str(failed.value)

    said = asyncio.run(run())
    assert said
    assert TOKEN not in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "http://central.example.net"}, "use https"),
        ({"url": f"https://edge:{TOKEN}@central.example.net"}, "names and passwords do not belong there"),
        ({"url": "central.example.net"}, "expected one such as"),
        ({"url": "https://central.example.net", "token": f"{TOKEN}\n"}, "token:"),
        ({"url": "https://central.example.net", "key_file": Path("k")}, "no certificate_file"),
    ],
)
def test_options_that_cannot_be_are_refused_without_showing_them(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as refused:
        LinkOptions(**given)
    assert said in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_neither_options_nor_sources_nor_what_is_told_show_the_token(tmp_path: Path) -> None:
    async def run() -> None:
        platform, told = Platform(FEED, token="another"), Told()
        async with feed_at(tmp_path) as feed, platform.serving() as port:
            wanted = options(port, {"token": TOKEN})
            pulled = source(feed, wanted, told=told)
            async with running(pulled):
                await until(lambda: pulled.status.failures >= 2)
            for shown in (wanted, wanted.link, pulled, pulled.status, told):
                assert TOKEN not in repr(shown)
            assert "refuses this edge (401)" in pulled.status.error
            platform.token = TOKEN
            async with running(source(feed, wanted)):
                await same(feed, platform)

    asyncio.run(run())


def test_an_octet_a_second_does_not_hold_a_source(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 20)
        async with (
            feed_at(tmp_path) as feed,
            platform.serving() as port,
            FaultProxy(port, slow_s=0.3) as proxy,
        ):
            for stream in (False, True):
                proxy.order(Fault.SLOW, Fault.SLOW, only="/changes" if stream else "/snapshot")
                pulled = source(feed, options(proxy.port, stream=stream))
                async with running(pulled):
                    await until(lambda pulled=pulled: "too slowly" in pulled.status.error)
                    platform.put("subscriber", "S00001", line(1, vlan_id=1 + stream))
                    await same(feed, platform)
                    await until(lambda pulled=pulled: not pulled.status.error)

    asyncio.run(run())


class Authority:
    """Issues certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        made = self._builder(self.name, self.key, 9.0).add_extension(x509.BasicConstraints(True, None), True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: float
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=days))
        )

    def issue(self, name: str, days: float = 5.0, password: bytes = b"") -> tuple[Path, Path]:
        """Return the files of a certificate for a host name, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._builder(subject, key, days).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), False
        )
        certificate, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        sealed: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            sealed = serialization.BestAvailableEncryption(password)
        key_file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)
        )
        return certificate, key_file


def test_both_sides_show_certificates_and_how_long_ours_is_good_for(tmp_path: Path) -> None:
    async def run() -> None:
        authority = Authority(tmp_path)
        server, server_key = authority.issue("localhost")
        ours, our_key = authority.issue("pop7")
        platform = Platform(FEED)
        fill(platform, 20)
        tls = {
            "ssl_certfile": str(server),
            "ssl_keyfile": str(server_key),
            "ssl_ca_certs": str(authority.file),
            "ssl_cert_reqs": ssl.CERT_REQUIRED,
        }
        async with feed_at(tmp_path) as feed, platform.serving(**tls) as port:
            there = {"url": f"https://localhost:{port}", "plain": False}
            known = there | {"ca_file": authority.file, "certificate_file": ours, "key_file": our_key}
            pulled = source(feed, options(port, known))
            async with running(pulled):
                await same(feed, platform)
                days = pulled.status.certificate_days(SystemClock().wall())
                assert days is not None
                assert 4.9 < days < 5.0
            for given in (
                there,
                there | {"ca_file": authority.file},
                known | {"url": f"https://127.0.0.1:{port}"},
            ):
                stranger = source(feed, options(port, given))
                async with running(stranger):
                    await until(lambda stranger=stranger: stranger.status.failures)
                    assert stranger.status.snapshots == 0

    asyncio.run(run())


def test_files_that_cannot_be_used_are_named_and_not_shown(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("sealed", password=b"pw")
    missing = tmp_path / "missing.pem"
    for given, named in (
        ({"certificate_file": certificate, "key_file": key}, certificate),
        ({"certificate_file": missing}, missing),
        ({"ca_file": missing}, missing),
        ({"certificate_file": key}, key),
    ):
        wanted = LinkOptions(url="https://central.example.net", **given)
        with pytest.raises(LinkFailed) as failed:
            Link(wanted, SystemClock())
        assert f"{named} cannot be used" in str(failed.value)
    assert certificate_until(LinkOptions(url="https://x.example", certificate_file=missing)) is None
