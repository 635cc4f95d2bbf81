"""Staff log in to a device: pam_radius as the device, and for MS-CHAPv2 wpa_supplicant's code behind FreeRADIUS."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Daemon, free_port
from tests.e2e.freeradius import ttls_front
from tests.e2e.netns import Lab, needs, write_data

SECRET = "testing123"
PASSWORD = "Kanarie-northern-lights"
PAM = {"pamtester": "pamtester", "unshare": "util-linux"}
EAP = {"eapol_test": "eapoltest", "freeradius": "freeradius", "openssl": "openssl"}

DATA: list[dict[str, Any]] = [
    {"kind": "tenant", "id": "demo"},
    {
        "kind": "nas",
        "id": "core-1",
        "tenant": "demo",
        "body": {"prefixes": ["127.0.0.0/8"], "secret": SECRET, "vendor": "mikrotik"},
    },
    {
        "kind": "staff",
        "id": "NORA",
        "tenant": "demo",
        "body": {"username": "nora", "password": PASSWORD, "privilege": "write"},
    },
    {
        "kind": "subscriber",
        "id": "4711",
        "tenant": "demo",
        "body": {"username": "alice", "password": "wonderland", "access_mode": "active"},
    },
]

_SERVICE = """
auth required pam_radius_auth.so conf={conf} client_id=core-1
account required pam_permit.so
session required pam_radius_auth.so conf={conf}
"""
_NETWORK = """
network={{
  key_mgmt=IEEE8021X
  eap=TTLS
  identity="{name}"
  password="{password}"
  phase2="auth=MSCHAPV2"
  ca_cert="{certificate}"
}}
"""


def two_ports() -> int:
    """Return a port that is free together with the next one, where pam_radius sends its accounting."""
    while True:
        port = free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


@pytest.fixture
def port() -> int:
    """The port of staff logins; that of their accounting is the next."""
    return two_ports()


@pytest.fixture
def edge(tmp_path: Path, make_daemon: Any, port: int) -> Daemon:
    loaded = write_data(tmp_path / "data.json", DATA)
    edge: Daemon = make_daemon(
        **{
            "data.files": json.dumps([str(loaded)]),
            "staff.auth_listen": json.dumps([f"127.0.0.1:{port}"]),
            "staff.acct_listen": json.dumps([f"127.0.0.1:{port + 1}"]),
        }
    )
    edge.start()
    return edge


def log_in(directory: Path, port: int, name: str, password: str) -> subprocess.CompletedProcess[str]:
    """Log in and out through pam_radius; the PAM directory is replaced for that process alone."""
    conf, service = directory / "pam_radius.conf", directory / "service"
    conf.touch(mode=0o600)
    conf.write_text(f"127.0.0.1:{port} {SECRET} 3\n")
    service.write_text(_SERVICE.format(conf=conf))
    shell = f"mount -t tmpfs tmpfs /etc/pam.d && cp {service} /etc/pam.d/core-1 && exec "
    shell += f"pamtester core-1 {name} authenticate open_session close_session"
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", shell],
        input=password + "\n",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def eap_log_in(lab: Lab, front: int, certificate: Path, name: str, password: str) -> str:
    """Log in with MS-CHAPv2 inside EAP-TTLS and return the last line that eapol_test says: SUCCESS or FAILURE."""
    conf = lab.directory / "eapol.conf"
    conf.write_text(_NETWORK.format(name=name, password=password, certificate=certificate))
    command = ["eapol_test", "-c", str(conf), "-a", "127.0.0.1", "-p", str(front), "-s", SECRET, "-t", "8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.splitlines()[-1]


def logins(edge: Daemon) -> list[tuple[str, str]]:
    """Return the method and the outcome of each login of staff, the oldest first."""
    events = edge.ask("event", "list", "--kind", "staff-login")["items"]
    return [(each["fields"]["method"], each["reason"]) for each in reversed(events)]


def assert_is_no_secret_told(edge: Daemon) -> None:
    """The password is in nothing that the daemon has written or tells."""
    told = edge.log.read_text() + edge.run("event", "list").stdout + edge.run("why", "nora").stdout
    assert PASSWORD not in told + edge.run("staff", "log").stdout


def test_pam_radius_logs_staff_in_and_out(edge: Daemon, port: int, tmp_path: Path) -> None:
    needs(PAM)
    if not list(Path("/lib").glob("*/security/pam_radius_auth.so")):
        pytest.fail("not installed: libpam-radius-auth; run scripts/test-packages.sh", pytrace=False)
    done = log_in(tmp_path, port, "nora", PASSWORD)
    assert done.returncode == 0, done.stderr
    assert "successfully authenticated" in done.stdout
    stop, start = edge.ask("staff", "log", "--staff", "NORA")[
        "items"
    ]  # one record for each of open and close
    assert (start["status"], stop["status"]) == ("start", "stop")
    assert start["nas"] == "core-1"
    assert edge.ask("staff", "sessions")["items"] == []
    assert logins(edge) == [("pap", "")]
    assert_is_no_secret_told(edge)


def test_pam_radius_refuses_a_wrong_password_and_a_subscriber(
    edge: Daemon, port: int, tmp_path: Path
) -> None:
    needs(PAM)
    for name, password in (("nora", "x"), ("alice", "wonderland")):
        done = log_in(tmp_path, port, name, password)
        assert done.returncode != 0
        assert "Authentication failure" in done.stderr
    assert logins(edge) == [("pap", "wrong-password"), ("pap", "unknown-user")]
    assert edge.ask("staff", "log")["items"] == []


def test_a_foreign_client_logs_in_with_mschapv2(edge: Daemon, port: int, tmp_path: Path) -> None:
    """FreeRADIUS takes the inside of EAP-TTLS to the staff port; the client verifies what our daemon proves."""
    needs(EAP, root=False)
    with Lab(tmp_path) as lab:
        front, certificate = ttls_front(lab, SECRET, port)
        assert eap_log_in(lab, front, certificate, "nora", PASSWORD) == "SUCCESS"
        assert eap_log_in(lab, front, certificate, "nora", "x") == "FAILURE"
        assert eap_log_in(lab, front, certificate, "alice", "wonderland") == "FAILURE"
    assert logins(edge) == [("mschapv2", ""), ("mschapv2", "wrong-password"), ("mschapv2", "unknown-user")]
    assert_is_no_secret_told(edge)
