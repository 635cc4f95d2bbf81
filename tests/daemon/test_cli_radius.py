"""`dotmac-edge radius` against Debian's FreeRADIUS and against servers that lie."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from daemon.cli.nas import Server
from daemon.cli.radius import group
from radius import passwords
from radius.authenticator import Key, sign_plain_reply, sign_reply
from radius.codes import Code

SECRET = "testing123"
KEY = Key(SECRET.encode())

CONFIGURATION = """
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {home}
logdir = {home}
run_dir = {home}
pidfile = {home}/radiusd.pid
security {{
  status_server = yes
  reject_delay = 0
}}
thread pool {{
  start_servers = 1
  max_servers = 1
  min_spare_servers = 1
  max_spare_servers = 1
}}
client nas {{
  ipaddr = 127.0.0.1
  secret = testing123
}}
modules {{
  always ok {{
    rcode = ok
  }}
  pap {{
  }}
  chap {{
  }}
  mschap {{
    use_mppe = yes
  }}
  files {{
    filename = {home}/users
  }}
  detail {{
    filename = {home}/detail
  }}
}}
server default {{
  listen {{
    type = auth
    ipaddr = 127.0.0.1
    port = {auth}
  }}
  listen {{
    type = acct
    ipaddr = 127.0.0.1
    port = {acct}
  }}
  authorize {{
    Autz-Type Status-Server {{
      ok
    }}
    chap
    mschap
    files
    pap
  }}
  authenticate {{
    Auth-Type PAP {{
      pap
    }}
    Auth-Type CHAP {{
      chap
    }}
    Auth-Type MS-CHAP {{
      mschap
    }}
  }}
  accounting {{
    detail
  }}
}}
"""
BOB = """
bob Cleartext-Password := "hello"
    Reply-Message = "Hello, %{User-Name}",
    Framed-IP-Address = 192.0.2.7,
    Mikrotik-Rate-Limit = "10M/20M",
    Tunnel-Password:1 = "tunnelled"
"""
# Stored passwords of `hello` that FreeRADIUS and we must judge alike: (user, kind, stored, what files says).
_SALTED = hashlib.sha1(b"hellosalt").digest() + b"salt"
_SALT = base64.b64encode(b"sixteen of salt!").decode()
_DERIVED = base64.b64encode(hashlib.pbkdf2_hmac("sha256", b"hello", b"sixteen of salt!", 1000)).decode()
_SALTED_512 = hashlib.sha512(b"hellosalt").digest() + b"salt"
STORED = [
    ("crypt-md5", "crypt", "$1$abcdefgh$rwnEbRiN0agqVgZBovWNQ/", "Crypt-Password"),
    (
        "crypt-sha256",
        "crypt",
        "$5$toolongsaltstrin$WTgCiziuKAFphAxOVAMTpslazlD8vDaLhnD3zU8W1B4",
        "Crypt-Password",
    ),
    (
        "crypt-bcrypt",
        "crypt",
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.3Nxn4wBbCPuUupOgwKEXOSgZpCHWsqG",
        "Crypt-Password",
    ),
    ("nt", "nt-hash", "066ddfd4ef0e9cd7c256fe77191ef43c", "NT-Password"),
    (
        "sha",
        "ldap",
        "{SHA}" + base64.b64encode(hashlib.sha1(b"hello").digest()).decode(),
        "Password-With-Header",
    ),
    ("md5-hex", "ldap", "{MD5}" + hashlib.md5(b"hello").hexdigest(), "Password-With-Header"),
    ("ssha", "ldap", "{SSHA}" + base64.b64encode(_SALTED).decode(), "Password-With-Header"),
    ("perl", "pbkdf2", f"HMACSHA2+256:AAAD6A:{_SALT}:{_DERIVED}", "Auth-Type := PAP, PBKDF2-Password"),
    (
        "perl-dollar",
        "pbkdf2",
        f"$PBKDF2$HMACSHA2+256:1000:{_SALT}${_DERIVED}",
        "Auth-Type := PAP, PBKDF2-Password",
    ),
    ("ssha512", "ldap", "{SSHA512}" + base64.b64encode(_SALTED_512).decode(), "Password-With-Header"),
]


@dataclass(frozen=True, slots=True)
class Peer:
    """A running FreeRADIUS."""

    home: Path
    auth: int
    acct: int

    @property
    def auth_server(self) -> str:
        return f"127.0.0.1:{self.auth}"

    @property
    def acct_server(self) -> str:
        return f"127.0.0.1:{self.acct}"

    def last_record(self) -> dict[str, str]:
        """Return the record that came last, as FreeRADIUS wrote it down."""
        text = (self.home / "detail").read_text().rstrip().rpartition("\n\n")[2]
        pairs = (line.strip().partition(" = ") for line in text.splitlines() if " = " in line)
        return {name: value.strip('"') for name, _, value in pairs}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """Run FreeRADIUS with a configuration of our own on free ports."""
    program = shutil.which("freeradius") or shutil.which("radiusd")
    if program is None:
        pytest.skip("FreeRADIUS is not installed (Debian: freeradius)")
    home = tmp_path_factory.mktemp("freeradius")
    auth, acct = _free_ports(2)
    (home / "radiusd.conf").write_text(CONFIGURATION.format(home=home, auth=auth, acct=acct))
    users = [f'{user} {attribute} := "{stored}"\n' for user, _, stored, attribute in STORED]
    (home / "users").write_text(BOB + "".join(users))
    log = home / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program, "-f", "-l", "stdout", "-n", "radiusd", "-d", str(home)], stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + 20
        while b"Ready to process requests" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Peer(home, auth, acct)
    finally:
        process.terminate()
        process.wait(10)


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """Run `dotmac-edge radius ...`."""
    return CliRunner(env=env).invoke(group, arguments, prog_name="dotmac-edge radius")


def run_json(*arguments: str, exit_code: int = 0) -> Any:
    """Run with `--output json` and return the document."""
    result = run(*arguments, "--output", "json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


@contextmanager
def lying_server(answer: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """Serve on a free port: every datagram is answered by what `answer` makes of it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                octets, client = sock.recvfrom(65535)
                if not octets:
                    return
                reply = answer(octets)
                if reply is not None:
                    sock.sendto(reply, client)

        thread = threading.Thread(target=serve)
        thread.start()
        host, port = sock.getsockname()
        try:
            yield f"{host}:{port}"
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stop:
                stop.sendto(b"", (host, port))
            thread.join()


@pytest.mark.parametrize("method", ["pap", "chap", "mschap", "mschapv2"])
def test_freeradius_accepts_each_method(peer: Peer, method: str) -> None:
    answer = run_json("auth", "bob", "hello", "--method", method, "--server", peer.auth_server)
    assert answer["result"] == "accept"
    assert answer["reply"] == "Access-Accept"
    assert answer["sends"] == 1
    assert 0 < answer["latency_ms"] < 3000
    assert answer.get("server_proof") == (True if method == "mschapv2" else None)
    values = {each["name"]: each["value"] for each in answer["attributes"]}
    assert values["Framed-IP-Address"] == "192.0.2.7"
    assert "Hello, bob" in values["Reply-Message"]
    assert "10M/20M" in values["Mikrotik-Rate-Limit"]


@pytest.mark.parametrize("method", ["pap", "chap", "mschap", "mschapv2"])
def test_freeradius_rejects_a_wrong_password_of_each_method(peer: Peer, method: str) -> None:
    answer = run_json("auth", "bob", "hullo", "--method", method, "--server", peer.auth_server, exit_code=5)
    assert answer["result"] == "reject"


def test_the_domain_of_a_user_does_not_break_mschapv2(peer: Peer) -> None:
    """FreeRADIUS finds no such user, but must not find the response malformed."""
    answer = run_json(
        "auth", "ISP\\bob", "hello", "--method", "mschapv2", "--server", peer.auth_server, exit_code=5
    )
    assert answer["result"] == "reject"


@pytest.mark.parametrize(("user", "kind", "stored", "_attribute"), STORED)
def test_freeradius_and_we_judge_a_stored_password_alike(
    peer: Peer, user: str, kind: str, stored: str, _attribute: str
) -> None:
    for password, right in (("hello", True), ("hullo", False)):
        run_json("auth", user, password, "--server", peer.auth_server, exit_code=0 if right else 5)
        assert passwords.check_pap(kind, stored.encode(), password.encode()) is right


def test_the_table_fits_and_hides_the_tunnel_password(peer: Peer) -> None:
    result = run("auth", "bob", "hello", "--server", peer.auth_server)
    assert result.exit_code == 0
    assert "accept" in result.stdout
    assert "Mikrotik-Rate-Limit" in result.stdout
    assert "Tunnel-Password" in result.stdout
    assert "tunnelled" not in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 100


def test_yaml_says_what_json_says(peer: Peer) -> None:
    result = run("status", "--server", peer.auth_server, "--output", "yaml")
    assert yaml.safe_load(result.stdout)["result"] == "accept"


def test_a_start_and_a_stop_arrive_with_all_their_counters(peer: Peer) -> None:
    common = ("bob", "--session-id", "4f2a", "--server", peer.acct_server, "--nas-ip", "192.0.2.1")
    assert run_json("acct", "start", *common)["result"] == "acknowledged"
    record = peer.last_record()
    assert (record["Acct-Status-Type"], record["User-Name"]) == ("Start", "bob")
    assert record["NAS-IP-Address"] == "192.0.2.1"
    run_json(
        *("acct", "stop", *common, "--octets-upload", "1000", "--octets-download", str(2 * 2**32 + 5)),
        *("--session-time", "3600", "--framed-ip", "192.0.2.7", "--class", "0xc0ffee"),
        *("--terminate-cause", "lost-carrier", "--calling-station", "00-00-5E-00-53-01"),
        *("--attribute", "NAS-Port-Id=ge-0/0/1:100", "--attribute", "Mikrotik-Host-IP=192.0.2.9"),
    )
    record = peer.last_record()
    assert record["Acct-Status-Type"] == "Stop"
    assert record["Acct-Session-Id"] == "4f2a"
    assert record["Acct-Input-Octets"] == "1000"
    assert "Acct-Input-Gigawords" not in record
    assert (record["Acct-Output-Gigawords"], record["Acct-Output-Octets"]) == ("2", "5")
    assert record["Acct-Session-Time"] == "3600"
    assert record["Framed-IP-Address"] == "192.0.2.7"
    assert record["Class"] == "0xc0ffee"
    assert record["Acct-Terminate-Cause"] == "Lost-Carrier"
    assert record["Calling-Station-Id"] == "00-00-5E-00-53-01"
    assert record["NAS-Port-Id"] == "ge-0/0/1:100"
    assert record["Mikrotik-Host-IP"] == "192.0.2.9"


def test_a_nas_that_comes_up_is_recorded_without_a_user(peer: Peer) -> None:
    assert run_json("acct", "on", "--server", peer.acct_server)["reply"] == "Accounting-Response"
    record = peer.last_record()
    assert record["Acct-Status-Type"] == "Accounting-On"
    assert "User-Name" not in record


@pytest.mark.parametrize(("kind", "result"), [("auth", "accept"), ("acct", "acknowledged")])
def test_status_server_is_answered_on_both_ports(peer: Peer, kind: str, result: str) -> None:
    server = peer.auth_server if kind == "auth" else peer.acct_server
    assert run_json("status", "--port-kind", kind, "--server", server)["result"] == result


def test_under_a_wrong_secret_the_server_is_silent(peer: Peer) -> None:
    result = run(
        *("auth", "bob", "hello", "--secret", "wrong", "--server", peer.auth_server),
        *("--timeout", "0.1", "--tries", "2"),
    )
    assert result.exit_code == 6
    assert "no reply to 2 sends" in result.stderr


def test_nobody_on_the_port_is_said_at_once() -> None:
    (port,) = _free_ports(1)
    result = run("status", "--server", f"127.0.0.1:{port}", "--timeout", "30")
    assert result.exit_code == 6
    assert "nobody listens" in result.stderr


def test_a_reply_under_another_secret_is_a_failure() -> None:
    def answer(octets: bytes) -> bytes:
        return sign_reply(Code.ACCESS_ACCEPT, octets[1], octets[4:20], b"", Key(b"other"))

    with lying_server(answer) as server:
        result = run("auth", "bob", "hello", "--server", server, "--timeout", "0.1", "--tries", "1")
    assert result.exit_code == 1
    assert "bad-response-authenticator" in result.stderr


def test_a_forged_reply_before_the_true_one_does_no_harm() -> None:
    forged = Key(b"other")
    replies: list[bytes] = []

    def answer(octets: bytes) -> bytes:
        key = KEY if replies else forged
        replies.append(sign_reply(Code.ACCESS_REJECT, octets[1], octets[4:20], b"", key))
        return replies[-1]

    with lying_server(answer) as server:
        answered = run_json("auth", "bob", "hello", "--server", server, "--timeout", "0.2", exit_code=5)
    assert answered["sends"] == 2


def test_a_lost_request_is_sent_again_unchanged() -> None:
    came: list[bytes] = []

    def answer(octets: bytes) -> bytes | None:
        came.append(octets)
        if len(came) < 3:
            return None
        return sign_plain_reply(Code.ACCOUNTING_RESPONSE, octets[1], octets[4:20], b"", KEY)

    with lying_server(answer) as server:
        answered = run_json("acct", "on", "--server", server, "--timeout", "0.1", "--tries", "3")
    assert answered["sends"] == 3
    assert came[0] == came[1] == came[2]


def test_a_server_that_accepts_mschapv2_without_proof_is_a_failure() -> None:
    def answer(octets: bytes) -> bytes:
        return sign_reply(Code.ACCESS_ACCEPT, octets[1], octets[4:20], b"", KEY)

    with lying_server(answer) as server:
        result = run("auth", "bob", "hello", "--method", "mschapv2", "--server", server)
    assert result.exit_code == 1
    assert "did not prove" in result.stderr


@pytest.mark.parametrize("given", [[], ["-"]])
def test_the_password_comes_from_the_environment(peer: Peer, given: list[str]) -> None:
    arguments = ("auth", "bob", *given, "--server", peer.auth_server)
    assert run(*arguments, env={"DOTMAC_EDGE_PASSWORD": "hello"}).exit_code == 0
    assert run(*arguments, env={"DOTMAC_EDGE_PASSWORD": "hullo"}).exit_code == 5


def test_without_a_terminal_nothing_is_asked() -> None:
    result = run("auth", "bob", "-")
    assert result.exit_code == 2
    assert "DOTMAC_EDGE_PASSWORD" in result.stderr


def test_on_a_terminal_the_password_is_asked_for_and_not_echoed(peer: Peer) -> None:
    code = "from daemon.cli.radius import group; group()"
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "auth", "bob", "--server", peer.auth_server, "--output", "json"],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)  # so that a read ends when the program does
        seen = b""
        while b"Password" not in seen:
            seen += os.read(ours, 1024)
        time.sleep(0.2)  # until echo is off
        os.write(ours, b"hello\n")
        seen += os.read(ours, 1024)
        out, _ = process.communicate(timeout=20)
    finally:
        os.close(ours)
    assert process.returncode == 0
    assert json.loads(out[out.index(b"{") :])["result"] == "accept"
    assert b"hello" not in seen


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["acct", "start", "bob"], "--session-id"),
        (["acct", "stop", "--session-id", "1"], "needs USER"),
        (["auth", "bob", "x", "--server", "192.0.2.1:0"], "is no port"),
        (["auth", "bob", "x", "--server", ":1812"], "names no host"),
        (["auth", "bob", "x", "--nas-ip", "192.0.2"], "is no IP address"),
        (["acct", "on", "--class", "xyz"], "is no hex"),
        (["auth", "bob", "x", "--attribute", "Framed-Pool"], "NAME=VALUE"),
        (["auth", "bob", "x", "--attribute", "Framed-Poll=a"], "Framed-Pool"),
        (["auth", "bob", "x", "--attribute", "Session-Timeout=soon"], "Session-Timeout"),
    ],
)
def test_a_wrong_argument_is_a_usage_error_that_says_why(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("command", ["auth", "acct", "status", "decode"])
def test_the_help_of_each_command_has_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"dotmac-edge radius {command}" in result.stdout.partition("Example:")[2]


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1", Server("192.0.2.1", 1812)),
        ("nas.example:99", Server("nas.example", 99)),
        ("2001:db8::1", Server("2001:db8::1", 1812)),
        ("[2001:db8::1]:99", Server("2001:db8::1", 99)),
        ("[2001:db8::1]", Server("2001:db8::1", 1812)),
    ],
)
def test_a_server_is_a_host_with_or_without_a_port(text: str, server: Server) -> None:
    assert Server.parse(text, 1812) == server
    assert Server.parse(str(server), 1) == server


@dataclass(frozen=True, slots=True)
class Recorded:
    """A datagram that went through the relay."""

    at: float
    from_client: bool
    octets: bytes


def _record(server_port: int, *arguments: str) -> list[Recorded]:
    """Run a command through a relay and return what went by."""
    recorded: list[Recorded] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as behind:
        behind.settimeout(5)
        behind.connect(("127.0.0.1", server_port))

        def relay(octets: bytes) -> bytes:
            recorded.append(Recorded(time.time(), True, octets))
            behind.send(octets)
            reply = behind.recv(65535)
            recorded.append(Recorded(time.time(), False, reply))
            return reply

        with lying_server(relay) as server:
            run(*arguments, "--server", server)
    return recorded


def test_a_hex_dump_of_a_login_is_decoded_verified_and_paired(peer: Peer, tmp_path: Path) -> None:
    request, reply = _record(peer.auth, "auth", "bob", "hello")
    path = tmp_path / "login.txt"
    path.write_text(request.octets.hex(":") + "\n\n" + reply.octets.hex(" ") + "\n")
    first, second = run_json("decode", str(path), "--secret", SECRET)
    assert (first["code"], first["authentic"]) == ("Access-Request", "yes")
    assert (second["code"], second["authentic"]) == ("Access-Accept", "yes")
    assert first["identifier"] == second["identifier"] == request.octets[1]
    values = {each["name"]: each["value"] for each in first["attributes"]}
    assert values["User-Name"].strip('"') == "bob"
    assert "hello" not in values["User-Password"]


def test_passwords_are_shown_on_demand_only(peer: Peer) -> None:
    request, _ = _record(peer.auth, "auth", "bob", "hello")
    arguments = ("decode", request.octets.hex(), "--secret", SECRET)
    assert "hello" not in run(*arguments).stdout
    assert "hello" in run(*arguments, "--show-secrets").stdout


def test_a_wrong_secret_is_a_failure_of_decode(peer: Peer) -> None:
    request, _ = _record(peer.auth, "auth", "bob", "hello")
    result = run("decode", request.octets.hex(), "--secret", "wrong")
    assert result.exit_code == 1
    assert "authentic: no" in result.stdout


def test_a_capture_of_accounting_gives_latencies(peer: Peer, tmp_path: Path) -> None:
    pytest.importorskip("scapy", reason="the capture extra is not installed")
    from scapy.layers import inet, l2
    from scapy.utils import wrpcapng

    frames = []
    for each in _record(peer.acct, "acct", "on"):
        nas, server = ("192.0.2.1", 40000), ("192.0.2.2", 1813)
        source, destination = (nas, server) if each.from_client else (server, nas)
        frame = (
            l2.Ether(src="00:00:5e:00:53:01", dst="00:00:5e:00:53:02")
            / inet.IP(src=source[0], dst=destination[0])
            / inet.UDP(sport=source[1], dport=destination[1])
            / each.octets
        )
        frame.time = 1_700_000_000 if each.from_client else 1_700_000_000.0125
        frames.append(frame)
    path = tmp_path / "acct.pcapng"
    wrpcapng(str(path), frames)
    request, reply = run_json("decode", str(path), "--secret", SECRET)
    assert request["at"] == "2023-11-14T22:13:20.000000Z"
    assert (request["source"], request["destination"]) == ("192.0.2.1:40000", "192.0.2.2:1813")
    assert (request["code"], request["authentic"]) == ("Accounting-Request", "yes")
    assert (reply["code"], reply["authentic"]) == ("Accounting-Response", "yes")
    assert reply["latency_ms"] == pytest.approx(12.5, abs=0.01)
    lines = run("decode", str(path)).stdout
    assert "Accounting-Request" in lines
    assert "Acct-Status-Type = Accounting-On" in lines


def test_decode_reads_standard_input() -> None:
    octets = sign_plain_reply(Code.ACCESS_REJECT, 9, bytes(16), b"", KEY)
    result = CliRunner().invoke(group, ["decode", "-", "--secret", SECRET], input=octets.hex())
    assert result.exit_code == 0
    assert "Access-Reject id 9, 20 octets  authentic: request not seen" in result.stdout


@pytest.mark.parametrize(
    ("source", "message"), [("no such file", "neither a file nor hex"), ("  ", "no packet in there")]
)
def test_what_is_no_packet_source_is_said(source: str, message: str) -> None:
    result = run("decode", source)
    assert result.exit_code == 1
    assert message in result.stderr


def test_a_malformed_packet_among_others_is_said_and_the_others_are_decoded(tmp_path: Path) -> None:
    good = sign_plain_reply(Code.ACCESS_REJECT, 9, bytes(16), b"", KEY).hex()
    path = tmp_path / "two.txt"
    path.write_text(f"0102\n\n{good}\n")
    broken, whole = run_json("decode", str(path), exit_code=1)
    assert broken["problem"].startswith("short-packet")
    assert whole["code"] == "Access-Reject"
