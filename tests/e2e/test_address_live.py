"""The book and what is on the network already: all come back at once, pools come late, accounting comes late."""

from __future__ import annotations

import shutil
import subprocess
import time
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from radius.codes import Attr
from radius.packet import attribute
from tests.e2e.conftest import ROOT, Daemon
from tests.e2e.logins import PASSWORD, provider
from tests.e2e.nas import Nas
from tests.e2e.netns import until

STORM = 1500


def leased(daemon: Daemon, kind: str = "v4") -> dict[str, tuple[str, str]]:
    """Return who has each address, and how."""
    items = daemon.ask("lease", "list", "--limit", "100000")["items"]
    return {each["address"]: (each["subscriber"], each["state"]) for each in items if each["kind"] == kind}


@pytest.fixture
def edge(make_daemon: Any, tmp_path: Path) -> Daemon:
    """A daemon that runs, with subscribers and without a pool."""
    daemon: Daemon = make_daemon(**{"data.files": provider(tmp_path / "provider.json", STORM)})
    daemon.start()
    return daemon


def add(daemon: Daemon, *lines: str) -> None:
    for line in lines:
        daemon.run(*line.split())


def storm(daemon: Daemon, program: Path) -> None:
    """Let all subscribers come back after a restart of their NAS; radload checks every answer."""
    load = ["-p", daemon.auth, "-A", daemon.acct, "-m", "storm", "-N", STORM, "-w", 200, "-S", 4, "--reboot"]
    users = ["-u", "user%04d", "-P", PASSWORD.decode(), "-s", "testing123", "-T", 60]
    command = [str(program), *map(str, load + users)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="radload needs a C compiler")
def test_all_come_back_at_once_and_each_has_one_address_twice_the_same(edge: Daemon, tmp_path: Path) -> None:
    program = tmp_path / "radload"
    subprocess.run(["cc", "-O2", "-o", program, ROOT / "bench" / "radload.c"], check=True)
    add(edge, "pool add home --kind v4 --range 100.64.0.0/21", "selector add everybody --pool v4=home")
    storm(edge, program)
    first = leased(edge)
    assert sorted(who for who, _ in first.values()) == [f"user{each:04d}" for each in range(STORM)]
    assert {state for _, state in first.values()} == {"bound"}
    storm(edge, program)
    assert leased(edge) == first
    edge.run("ipam", "check", "--deep")


def online(nas: Nas, session: str, user: bytes, address: str, more: bytes = b"") -> None:
    shown = attribute(Attr.FRAMED_IP_ADDRESS, IPv4Address(address).packed)
    assert nas.is_acknowledged(session, attribute(Attr.USER_NAME, user) + shown + more)


def told(nas: Nas, user: bytes) -> tuple[str, bytes]:
    """Log in; return the address and the Class."""
    reply = nas.ask(nas.daemon.auth, nas.login(user, PASSWORD))
    assert reply is not None
    address = reply.find(Attr.FRAMED_IP_ADDRESS)
    assert address is not None
    return str(IPv4Address(address)), reply.find(Attr.CLASS) or b""


def test_a_new_pool_gives_out_no_address_that_a_live_session_has(edge: Daemon) -> None:
    with Nas(edge) as nas:
        online(nas, "s1", b"user0001", "100.64.0.0")
        add(edge, "pool add home --kind v4 --range 100.64.0.0/24", "selector add everybody --pool v4=home")
        address, _ = told(nas, b"user0002")
        assert address != "100.64.0.0"
    assert leased(edge)["100.64.0.0"] == ("user0001", "bound")


def test_a_late_start_has_all_that_its_login_was_told_of(edge: Daemon) -> None:
    add(
        edge,
        "pool add home --kind v4 --range 100.64.0.0/24 --tentative 1s",
        "pool add home-pd --kind pd --range 2001:db8:100::/48 --tentative 1s",
        "selector add everybody --pool v4=home --pool pd=home-pd",
    )
    with Nas(edge) as nas:
        address, echo = told(nas, b"user0001")
        until(lambda: leased(edge)[address][1] == "held", "the login to be over")
        online(nas, "s1", b"user0001", address, attribute(Attr.CLASS, echo))
        until(lambda: leased(edge)[address] == ("user0001", "bound"), "the address to be bound")
        time.sleep(0.2)
    (prefix,) = leased(edge, "pd").values()
    assert prefix == ("user0001", "bound"), "the subscriber uses it, whether or not the NAS reports it"
