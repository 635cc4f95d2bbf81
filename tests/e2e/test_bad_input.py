"""Whatever a datagram holds: it is counted under its reason, nothing breaks, and the next login is answered."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest

from radius.authenticator import sign_access, sign_request
from radius.codes import AcctStatus, Attr, Code
from radius.exchange import accounting_request
from radius.packet import HEADER, attribute, header
from tests.e2e.conftest import Daemon
from tests.e2e.nas import Nas, counted, number

GARBAGE = 2000
FUZZED = 1000
PORTS = ("auth", "acct")


@pytest.fixture
def nas(daemon: Daemon) -> Iterator[Nas]:
    with Nas(daemon) as sender:
        yield sender


def code_of(port: str) -> Code:
    return Code.ACCESS_REQUEST if port == "auth" else Code.ACCOUNTING_REQUEST


def good(nas: Nas, port: str, extra: bytes = b"") -> bytes:
    """Return a request that would be answered."""
    if port == "auth":
        return nas.login(b"alice", b"wonderland", extra).octets
    return nas.record(f"good-{os.urandom(4).hex()}", extra).octets


def bare(nas: Nas, port: str, attributes: bytes) -> bytes:
    """Return a request with a right Length and no right authenticator."""
    return header(code_of(port), nas.identifier(), HEADER + len(attributes), os.urandom(16)) + attributes


def says(octets: bytes, length: int) -> bytes:
    """Return a datagram with another Length."""
    return octets[:2] + length.to_bytes(2, "big") + octets[4:]


def is_answered(nas: Nas, port: str) -> bool:
    """Say whether the port does its work; what was sent to it before has then been handled, too."""
    return nas.is_accepted() if port == "auth" else nas.is_acknowledged(f"after-{os.urandom(4).hex()}")


def assert_calm(daemon: Daemon) -> None:
    log = daemon.log.read_text()
    assert "Traceback" not in log
    assert '"level": "error"' not in log


def hurt(octets: bytes, spot: int, value: int) -> bytes:
    return octets[:spot] + bytes((value,)) + octets[spot + 1 :]


MALFORMED: dict[str, tuple[str, Callable[[Nas, str], bytes]]] = {
    "no header": ("short-packet", lambda nas, port: good(nas, port)[: HEADER - 1]),
    "one octet": ("short-packet", lambda nas, port: bytes((code_of(port),))),
    "cut off": ("bad-length", lambda nas, port: good(nas, port)[:-1]),
    "Length above the datagram": ("bad-length", lambda nas, port: says(good(nas, port), 4000)),
    "Length below the header": ("bad-length", lambda nas, port: says(good(nas, port), HEADER - 1)),
    "Length zero": ("bad-length", lambda nas, port: says(good(nas, port), 0)),
    "Length above 4096": ("bad-length", lambda nas, port: says(good(nas, port).ljust(4200, b"\0"), 4100)),
    "5000 octets": ("bad-length", lambda nas, port: says(good(nas, port).ljust(5000, b"\1"), 5000)),
    "attribute of length zero": ("bad-attribute", lambda nas, port: bare(nas, port, b"\1\0\1\0")),
    "attribute of length one": ("bad-attribute", lambda nas, port: bare(nas, port, b"\1\1")),
    "attribute beyond the end": ("bad-attribute", lambda nas, port: bare(nas, port, b"\1\7alic")),
    "one octet behind the last": ("bad-attribute", lambda nas, port: bare(nas, port, b"\1\7alice\1")),
    "201 attributes": ("too-many-attributes", lambda nas, port: bare(nas, port, b"\1\3a" * 201)),
    "1000 empty attributes": ("too-many-attributes", lambda nas, port: bare(nas, port, b"\1\2" * 1000)),
}


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("kind", MALFORMED)
def test_what_is_no_packet_is_counted_and_dropped(daemon: Daemon, nas: Nas, kind: str, port: str) -> None:
    reason, make = MALFORMED[kind]
    labels = {"code": code_of(port).title, "nas": "lab", "outcome": "drop", "reason": reason}
    before = counted(daemon, **labels)
    nas.send(getattr(daemon, port), make(nas, port))
    assert is_answered(nas, port)
    assert counted(daemon, **labels) == before + 1


@pytest.mark.parametrize("port", PORTS)
def test_an_empty_datagram_is_counted_and_dropped(daemon: Daemon, nas: Nas, port: str) -> None:
    labels = {"code": "other", "outcome": "drop", "reason": "short-packet"}
    before = counted(daemon, **labels)
    nas.send(getattr(daemon, port), b"")
    assert is_answered(nas, port)
    assert counted(daemon, **labels) == before + 1


UNWANTED: dict[str, tuple[str, str, str, Callable[[Nas], bytes]]] = {
    "another code on auth": ("auth", "other", "unknown-code", lambda nas: hurt(good(nas, "auth"), 0, 250)),
    "another code on acct": ("acct", "other", "unknown-code", lambda nas: hurt(good(nas, "acct"), 0, 250)),
    "an accept as a request": (
        "auth",
        "Access-Accept",
        "unknown-code",
        lambda nas: hurt(good(nas, "auth"), 0, 2),
    ),
    "a record on auth": ("auth", "Accounting-Request", "wrong-port", lambda nas: good(nas, "acct")),
    "a login on acct": ("acct", "Access-Request", "wrong-port", lambda nas: good(nas, "auth")),
    "a changed login": (
        "auth",
        "Access-Request",
        "bad-message-authenticator",
        lambda nas: hurt(good(nas, "auth"), 4, 0),
    ),
    "a changed record": (
        "acct",
        "Accounting-Request",
        "bad-request-authenticator",
        lambda nas: hurt(good(nas, "acct"), 25, 7),
    ),
    "a short Message-Authenticator": (
        "auth",
        "Access-Request",
        "bad-message-authenticator",
        lambda nas: bare(nas, "auth", attribute(Attr.USER_NAME, b"alice") + attribute(80, bytes(15))),
    ),
    "a password of 15 octets": (
        "auth",
        "Access-Request",
        "bad-password-attribute",
        lambda nas: bare(nas, "auth", attribute(Attr.USER_NAME, b"alice") + attribute(2, bytes(15))),
    ),
    "a status nobody knows": (
        "acct",
        "Accounting-Request",
        "bad-status-type",
        lambda nas: nas.record("x", status=99).octets,
    ),
    "no status": (
        "acct",
        "Accounting-Request",
        "bad-status-type",
        lambda nas: accounting_request(1, attribute(Attr.ACCT_SESSION_ID, b"x"), nas.key).octets,
    ),
    "a status of three octets": (
        "acct",
        "Accounting-Request",
        "bad-status-type",
        lambda nas: accounting_request(2, attribute(Attr.ACCT_STATUS_TYPE, bytes(3)), nas.key).octets,
    ),
}


@pytest.mark.parametrize("kind", UNWANTED)
def test_what_is_no_request_of_ours_is_counted_and_dropped(daemon: Daemon, nas: Nas, kind: str) -> None:
    port, code, reason, make = UNWANTED[kind]
    labels = {"code": code, "nas": "lab", "outcome": "drop", "reason": reason}
    before = counted(daemon, **labels)
    nas.send(getattr(daemon, port), make(nas))
    assert is_answered(nas, port)
    assert counted(daemon, **labels) == before + 1


@pytest.mark.parametrize("port", PORTS)
def test_a_wrong_secret_is_counted_and_dropped(daemon: Daemon, nas: Nas, port: str) -> None:
    reason = "bad-message-authenticator" if port == "auth" else "bad-request-authenticator"
    before = counted(daemon, outcome="drop", reason=reason)
    with Nas(daemon, b"another secret") as stranger:
        stranger.send(getattr(daemon, port), good(stranger, port))
    assert is_answered(nas, port)
    assert counted(daemon, outcome="drop", reason=reason) == before + 1


def test_padding_behind_the_packet_is_ignored(daemon: Daemon, nas: Nas) -> None:
    request = nas.login(b"alice", b"wonderland")
    nas.send(daemon.auth, request.octets + bytes(700))
    before = counted(daemon, outcome="repeat")
    reply = nas.ask(daemon.auth, request)
    assert reply is not None
    assert reply.code == Code.ACCESS_ACCEPT
    assert counted(daemon, outcome="repeat") == before + 1, "the padded one was answered, this was its repeat"


def test_a_user_name_of_any_octets_is_nobody(daemon: Daemon, nas: Nas) -> None:
    before = counted(daemon, outcome="reject", reason="unknown-user")
    reply = nas.ask(daemon.auth, nas.login(b"\xff\xfe\0\x1b[2J", b"x"))
    assert reply is not None
    assert reply.code == Code.ACCESS_REJECT
    assert counted(daemon, outcome="reject", reason="unknown-user") == before + 1
    assert nas.is_accepted()


def test_a_session_of_any_octets_can_be_listed(daemon: Daemon, nas: Nas) -> None:
    name = attribute(Attr.USER_NAME, b"\xff\xfe\0\x1b[2J") + attribute(Attr.CALLING_STATION_ID, b"\x80" * 200)
    assert nas.is_acknowledged("any-octets", name)
    (found,) = [
        each for each in daemon.ask("session", "list")["items"] if each["acct_session_id"] == "any-octets"
    ]
    assert found["state"] == "active"
    table = daemon.run("session", "list", "--limit", "1").stdout
    assert "\x1b" not in table
    assert r"\xff\xfe\x00" in table


@pytest.mark.parametrize("port", PORTS)
def test_garbage_is_counted_to_the_last_datagram(daemon: Daemon, nas: Nas, port: str) -> None:
    dice = random.Random(2865)
    before = counted(daemon, outcome="drop")
    for i in range(GARBAGE):
        nas.send(getattr(daemon, port), dice.randbytes(dice.choice((0, 1, 19, 20, 21, 60, 300, 4096, 5000))))
        if i % 100 == 99:
            assert is_answered(nas, port)
    assert counted(daemon, outcome="drop") == before + GARBAGE
    assert_calm(daemon)


def fuzzed(dice: random.Random) -> bytes:
    """Return attributes that are well formed and otherwise senseless."""
    kinds = [*(int(kind) for kind in Attr), 26, 26, 241, 245, 255]
    out = b""
    for _ in range(dice.randrange(12)):
        kind, size = dice.choice(kinds), dice.choice((1, 2, 3, 4, 8, 16, 17, 18, 19, 50, 128, 200, 253))
        value = dice.randbytes(size)
        if kind == Attr.VENDOR_SPECIFIC and size > 5 and dice.random() < 0.8:
            vendor = dice.choice((9, 311, 529, 14988, 4874))
            value = vendor.to_bytes(4, "big") + bytes((dice.choice((1, 11, 25, 26)), size - 4)) + value[6:]
        if kind not in (Attr.MESSAGE_AUTHENTICATOR, Attr.ACCT_STATUS_TYPE):
            out += attribute(kind, value)
    return out


def test_signed_logins_of_any_attributes_break_nothing(daemon: Daemon, nas: Nas) -> None:
    dice = random.Random(3579)
    before = counted(daemon, code="Access-Request")
    for i in range(FUZZED):
        body = attribute(Attr.USER_NAME, b"alice") + fuzzed(dice)
        nas.send(daemon.auth, sign_access(1, nas.identifier(), dice.randbytes(16), body, nas.key))
        if i % 100 == 99:
            assert is_answered(nas, "auth")
    assert counted(daemon, code="Access-Request") == before + FUZZED + FUZZED // 100
    assert daemon.ask("why", "alice", "--last", "1000")["count"] > FUZZED // 2
    assert_calm(daemon)


def test_signed_records_of_any_attributes_break_nothing(daemon: Daemon, nas: Nas) -> None:
    dice = random.Random(2866)
    before = counted(daemon, code="Accounting-Request")
    for i in range(FUZZED):
        body = number(Attr.ACCT_STATUS_TYPE, dice.choice(list(AcctStatus))) + fuzzed(dice)
        nas.send(daemon.acct, sign_request(4, nas.identifier(), body, nas.key))
        if i % 100 == 99:
            assert is_answered(nas, "acct")
    assert counted(daemon, code="Accounting-Request") == before + FUZZED + FUZZED // 100
    assert daemon.ask("session", "list", "--limit", "10000")["count"] > 0
    assert_calm(daemon)


def test_the_log_stays_calm(daemon: Daemon) -> None:
    assert_calm(daemon)
    assert all(task["state"] == "running" for task in daemon.ask("status")["tasks"])
