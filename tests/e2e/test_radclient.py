"""FreeRADIUS's radclient as the NAS: it signs, verifies and decodes by itself."""

from __future__ import annotations

import subprocess

import pytest

from tests.e2e.conftest import Daemon


def radclient(
    port: int, kind: str, attributes: str, secret: str = "testing123"
) -> subprocess.CompletedProcess[str]:
    """Send one request and return what radclient says; it leaves with 0 for an accept or acknowledgement."""
    return subprocess.run(
        ["radclient", "-x", "-r", "1", "-t", "3", f"127.0.0.1:{port}", kind, secret],
        input=attributes,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(
    "credential",
    [
        'User-Password = "wonderland"',
        'CHAP-Password = "wonderland"',
        'MS-CHAP-Password = "wonderland"',
    ],
)
@pytest.mark.parametrize("signed", ["", "\nMessage-Authenticator = 0x00"])
def test_logs_in_by(daemon: Daemon, credential: str, signed: str) -> None:
    done = radclient(daemon.auth, "auth", f'User-Name = "alice"\n{credential}{signed}')
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Received Access-Accept" in done.stdout
    assert 'Mikrotik-Rate-Limit = "20M/100M"' in done.stdout
    assert "Message-Authenticator" in done.stdout


def test_is_told_fixed_addresses(daemon: Daemon) -> None:
    done = radclient(daemon.auth, "auth", 'User-Name = "dave"\nUser-Password = "dragonfly"')
    assert "Framed-IP-Address = 203.0.113.10" in done.stdout
    assert "Delegated-IPv6-Prefix = 2001:db8:1000::/56" in done.stdout


@pytest.mark.parametrize(("user", "password"), [("bob", "builder"), ("alice", "x"), ("eve", "x")])
def test_is_rejected(daemon: Daemon, user: str, password: str) -> None:
    done = radclient(daemon.auth, "auth", f'User-Name = "{user}"\nUser-Password = "{password}"')
    assert "Received Access-Reject" in done.stdout
    assert "Mikrotik" not in done.stdout


def test_gets_no_answer_with_a_wrong_secret(daemon: Daemon) -> None:
    signed = 'User-Name = "alice"\nUser-Password = "wonderland"\nMessage-Authenticator = 0x00'
    assert "No reply" in radclient(daemon.auth, "auth", signed, "wrong").stdout
    started = "Acct-Status-Type = Start\nAcct-Session-Id = w1"
    assert "No reply" in radclient(daemon.acct, "acct", started, "wrong").stdout
    metrics = daemon.metrics()
    assert 'outcome="drop",reason="bad-message-authenticator"' in metrics
    assert 'outcome="drop",reason="bad-request-authenticator"' in metrics


def test_accounts_a_session(daemon: Daemon) -> None:
    common = 'User-Name = "dave"\nAcct-Session-Id = "rc-1"\nFramed-IP-Address = 203.0.113.10\n'
    counters = "Acct-Session-Time = 60\nAcct-Input-Octets = 1000\nAcct-Output-Octets = 5000\n"
    counters += "Acct-Output-Gigawords = 1\n"
    for status, more in (
        ("Start", ""),
        ("Interim-Update", counters),
        ("Stop", counters + "Acct-Terminate-Cause = Idle-Timeout\n"),
    ):
        done = radclient(daemon.acct, "acct", common + more + f"Acct-Status-Type = {status}\n")
        assert "Received Accounting-Response" in done.stdout, done.stdout + done.stderr
    (session,) = daemon.ask("session", "list", "--username", "dave")["items"]
    assert session["state"] == "closed"
    assert session["octets_upload"] == 1000
    assert session["octets_download"] == (1 << 32) + 5000
    assert session["terminate_cause"] == "idle-timeout"
    assert session["framed_ip_address"] == "203.0.113.10"


def test_is_answered_a_status_server_on_both_ports(daemon: Daemon) -> None:
    for port, answer in ((daemon.auth, "Access-Accept"), (daemon.acct, "Accounting-Response")):
        done = radclient(port, "status", "Message-Authenticator = 0x00")
        assert f"Received {answer}" in done.stdout, done.stdout + done.stderr
