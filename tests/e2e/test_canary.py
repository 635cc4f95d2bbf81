"""A secret in every place that can hold one, a busy life of the daemon, a crash: none of them is found in clear.

Looked through are the log at level debug, what every command prints, the answers of the API, /metrics and the files
of the database, for each secret as it is, in hex and in base64. `data export --secrets` is the one exception.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from radius.codes import Attr
from radius.exchange import pap
from radius.mschap import nt_hash
from radius.packet import attribute
from tests.e2e.conftest import Daemon
from tests.e2e.nas import Nas

SHARED = "Kanarie-shared-51c0"
PREVIOUS = "Kanarie-previous-9b2e"
LINE = "Kanarie-line-77aa"
PASSWORD = "Kanarie-password-e4d1"
WRONG = "Kanarie-wrong-0c9f"
IN_ACCOUNTING = "Kanarie-accounting-3d6b"
IN_BAD_DATA = "Kanarie-bad-data-8f42"
SEALING = b"Kanarie-sealing-key-of-32-octets"
STORED = (SHARED, PREVIOUS, LINE, PASSWORD)
MAC = "00:53:00:12:34:56"

PROVIDER = f"""
- {{kind: tenant, id: demo}}
- kind: nas
  id: lab
  body:
    prefixes: [127.0.0.0/8]
    secret: {SHARED}
    previous_secret: {PREVIOUS}
    line_password: {LINE}
    vendor: mikrotik
- {{kind: plan, id: home, body: {{download: 100M, upload: 20M}}}}
- {{kind: subscriber, id: alice, body: {{username: alice, password: {PASSWORD}, access_mode: active, plan: home}}}}
- {{kind: subscriber, id: frank, body: {{mac: "{MAC}", access_mode: active, plan: home}}}}
"""


def subscriber(body: str) -> str:
    return f"- kind: subscriber\n  id: x\n  tenant: demo\n  body: {body}\n"


BAD_DATA = {
    "reference.yaml": subscriber(f"{{username: x, password: 'env:{IN_BAD_DATA}', plan: home}}"),
    "list.yaml": subscriber(f"{{username: x, password: [{IN_BAD_DATA}]}}"),
    "object.yaml": subscriber(f"{{username: x, password: {{value: {IN_BAD_DATA}}}}}"),
    "no-hash.yaml": subscriber(f"{{username: x, secret: {{kind: nt-hash, value: {IN_BAD_DATA}}}}}"),
    "no-kind.yaml": subscriber(f"{{username: x, secret: {{kind: {IN_BAD_DATA}, value: {IN_BAD_DATA}}}}}"),
    "misspelt.yaml": subscriber(f"{{username: x, pasword: {IN_BAD_DATA}, passwd: {IN_BAD_DATA}}}"),
    "long.yaml": subscriber(f"{{username: x, password: {IN_BAD_DATA * 9}}}"),
    "twice.yaml": subscriber(f"{{username: x, password: {IN_BAD_DATA}, password: {IN_BAD_DATA}2}}"),
    "both.yaml": subscriber(f"{{username: x, password: {IN_BAD_DATA}, radius_password: {IN_BAD_DATA}2}}"),
    "attribute.yaml": subscriber(f"{{username: x, attributes: ['Tunnel-Password = {IN_BAD_DATA}']}}"),
    "open.yaml": subscriber(f'{{username: x, password: "{IN_BAD_DATA}}}'),
    "two.yaml": subscriber(f"{{username: x, password: 'a' {IN_BAD_DATA}}}"),
    "alias.yaml": subscriber(f"{{username: x, password: *{IN_BAD_DATA}}}"),
    "anchor.yaml": subscriber(f"{{username: x, password: &{IN_BAD_DATA} a}}"),
    "at.yaml": subscriber(f"{{username: x, password: @{IN_BAD_DATA}}}"),
    "comma.json": '[{"kind": "subscriber", "id": "x", "body": {"password": "' + IN_BAD_DATA + '",}}]',
    "open.json": '[{"kind": "subscriber", "id": "x", "body": {"password": "' + IN_BAD_DATA,
    "line.ndjson": '{"kind": "subscriber", "id": "x", "body": {"password": "' + IN_BAD_DATA + '"}\n',
    "secret.yaml": f"- {{kind: nas, id: y, tenant: demo, body: {{address: 192.0.2.9, secret: 'env:{IN_BAD_DATA}'}}}}",
}


def forms(secret: bytes) -> set[bytes]:
    """Return how a secret may look: as it is, in hex, in base64 at each of the three offsets."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode(), repr(secret)[2:-1].encode()}
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + secret)
        found.add(coded[4 if shift else 0 : -4])  # the rim depends on what stands beside it
    return found


CANARIES = {
    text: forms(text.encode())
    for text in (SHARED, PREVIOUS, LINE, PASSWORD, WRONG, IN_ACCOUNTING, IN_BAD_DATA)
} | {"sealing key": forms(SEALING), "NT hash": forms(nt_hash(PASSWORD))}


def found_in(octets: bytes) -> list[str]:
    return [name for name, shapes in CANARIES.items() if any(shape in octets for shape in shapes)]


class Life:
    """A daemon and everything that was printed by it or about it."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.said: dict[str, bytes] = {}

    def run(self, *arguments: str, expected: int = 0) -> str:
        """Run a command, keep what it prints, and return that."""
        done = self.daemon.run(*arguments, check=False)
        assert done.returncode == expected, done.stdout + done.stderr
        self.said[f"{' '.join(arguments)[:60]} #{len(self.said)}"] = (done.stdout + done.stderr).encode()
        return done.stdout

    def post(self, name: str, data: str) -> int:
        """Load data over the admin socket, keep the whole answer, and return its status."""
        socket = str(self.daemon.directory / "state" / "admin.sock")
        with httpx.Client(transport=httpx.HTTPTransport(uds=socket), timeout=30) as client:
            answer = client.post("http://edge/api/v1/data", params={"name": name}, content=data.encode())
        self.said[f"answer to {name}"] = answer.content
        return answer.status_code


@pytest.fixture
def life(make_daemon: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Life:
    provider = tmp_path / "provider.yaml"
    provider.write_text(PROVIDER)
    monkeypatch.setenv("CANARY_SEALING_KEY", SEALING.decode())
    monkeypatch.setenv("DOTMAC_EDGE_RADIUS_SECRET", SHARED)
    daemon: Daemon = make_daemon(
        **{
            "log.level": '"debug"',
            "secrets.sealing_key": '"env:CANARY_SEALING_KEY"',
            "data.files": json.dumps([str(provider)]),
            "accounting.session_flush_s": "0.1",
        }
    )
    daemon.start()
    assert daemon.process is not None
    resource.prlimit(daemon.process.pid, resource.RLIMIT_CORE, (0, 0))
    return Life(daemon)


def log_in(life: Life) -> None:
    for method in ("pap", "chap", "mschap", "mschapv2"):
        life.run("radius", "auth", "alice", PASSWORD, "--method", method)
        life.run("radius", "auth", "alice", WRONG, "--method", method, expected=5)
    with Nas(life.daemon, SHARED.encode()) as nas, Nas(life.daemon, PREVIOUS.encode()) as other:
        assert nas.is_accepted(MAC.encode(), LINE.encode())
        assert not nas.is_accepted(MAC.encode(), WRONG.encode())
        assert other.is_accepted(b"alice", PASSWORD.encode())
        assert nas.is_accepted(b"alice", PASSWORD.encode())
        nas.send(life.daemon.auth, nas.login(b"alice", PASSWORD.encode()).octets[:-1])
        nas.send(life.daemon.auth, PASSWORD.encode() + SHARED.encode())
    with Nas(life.daemon, WRONG.encode()) as stranger:
        assert not stranger.is_accepted(b"alice", PASSWORD.encode(), wait_s=0.3)


def account(life: Life) -> bytes:
    """Run a session whose records hold a password; return that as it was on the wire."""
    with Nas(life.daemon, SHARED.encode()) as nas:
        hidden = pap(IN_ACCOUNTING.encode(), bytes(16), nas.key)
        clear = attribute(Attr.CHAP_PASSWORD, IN_ACCOUNTING.encode())
        assert nas.is_acknowledged("s1", attribute(Attr.USER_NAME, b"alice") + hidden + clear)
    return hidden[2:]


def look(life: Life) -> None:
    for arguments in (
        ("why", "alice", "--last", "20"),
        ("why", "alice", "--last", "20", "--output", "json"),
        ("why", MAC),
        ("config", "show"),
        ("config", "show", "--output", "json"),
        ("config", "reload"),
        ("status", "--output", "json"),
        ("nas", "list", "--output", "json"),
        ("nas", "show", "lab"),
        ("subscriber", "show", "alice", "--output", "json"),
        ("subscriber", "list"),
        ("session", "show", "s1", "--output", "json"),
        ("data", "export"),
        ("data", "export", "--output", "yaml"),
    ):
        life.run(*arguments)
    with Nas(life.daemon, SHARED.encode()) as nas:
        request = nas.login(b"alice", PASSWORD.encode()).octets.hex()
    life.run("radius", "decode", request, "--output", "json")


def load_bad_data(life: Life, directory: Path) -> None:
    assert [name for name, text in BAD_DATA.items() if life.post(name, text) != 422] == []
    for name in ("reference.yaml", "open.yaml"):
        (directory / name).write_text(BAD_DATA[name])
        life.run("data", "load", str(directory / name), expected=1)
    settings = directory / "bad.toml"
    settings.write_text(f'[secrets]\nsealing_key = "{SEALING.decode()}"\n')
    life.run("--config", str(settings), "config", "check", expected=2)


def test_no_secret_is_ever_shown_or_stored_in_clear(life: Life, tmp_path: Path) -> None:
    log_in(life)
    hidden = account(life)
    load_bad_data(life, tmp_path)
    look(life)
    life.said["metrics"] = life.daemon.metrics().encode()
    exported = life.daemon.run("data", "export", "--secrets").stdout
    assert [secret for secret in STORED if secret not in exported] == []

    assert life.daemon.end(signal.SIGABRT) == -signal.SIGABRT
    state = life.daemon.directory / "state"
    files = {path.name: path.read_bytes() for path in state.iterdir() if path.is_file()}
    assert {"edge.db", "edge.db-wal"} <= set(files)
    life.daemon.start()
    life.run("session", "show", "s1")
    with Nas(life.daemon, SHARED.encode()) as nas:
        assert nas.is_accepted(b"alice", PASSWORD.encode()), "the sealed secrets can be opened again"
    files |= {f"{path.name} later": path.read_bytes() for path in state.iterdir() if path.is_file()}

    assert all(hidden not in octets for octets in files.values()), "nor as it was on the wire"
    everything = life.said | files | {"log": life.daemon.log.read_bytes()}
    assert {name: found for name, octets in everything.items() if (found := found_in(octets))} == {}


@pytest.mark.parametrize("canary", CANARIES)
def test_each_canary_would_be_found(canary: str) -> None:
    for shape in CANARIES[canary]:
        assert found_in(b"a line with " + shape + b" in it") == [canary]
    if canary == PASSWORD:
        for before in range(3):
            text = base64.b64encode(os.urandom(before + 9) + canary.encode() + b"rest")
            assert found_in(text) == [canary]
