"""Two daemons on one PostgreSQL, killed at random while they let subscribers in: no address has two users."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from radius.codes import AcctStatus, Attr, Code
from radius.packet import attribute
from tests.e2e.conftest import Daemon
from tests.e2e.nas import Nas
from tests.ipam.postgres import bin_dir, postgresql

pytestmark = pytest.mark.skipif(bin_dir() is None, reason="no PostgreSQL server is installed")

LINES = 24  # of each daemon
LAST_S = 25.0
SEED = 20

DATA = """\
- {kind: tenant, id: demo}
- {kind: nas, id: lab, body: {prefixes: [127.0.0.0/8], secret: testing123, vendor: mikrotik}}
- {kind: plan, id: home, body: {access: ppp, download: 100M, upload: 20M, interim_interval_s: 300}}
- kind: pool
  id: home
  body: {kind: v4, ranges: 10.0.0.0/24, sticky: false, hold: 0s, quarantine: 1s, min_reuse: 1s}
- {kind: selector, id: home, body: {pools: {v4: home}}}
"""
LINE = "- {{kind: subscriber, id: {0}, body: {{username: {0}, password: secret, access_mode: active, plan: home}}}}\n"


class Users:
    """Who uses which address, by what the subscribers were told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._using: dict[IPv4Address, str] = {}
        self.faults: list[str] = []
        self.did: Counter[str] = Counter()

    def told(self, line: str, address: IPv4Address) -> None:
        with self._lock:
            other = self._using.get(address)
            if other not in (None, line):
                self.faults.append(f"{address} is told to {line}, and {other} uses it")
            self._using[address] = line
            self.did["told"] += 1

    def done(self, address: IPv4Address) -> None:
        with self._lock:
            del self._using[address]
            self.did["stopped"] += 1


class Lines(threading.Thread):
    """The subscribers behind one NAS, which knows one daemon: they come and go."""

    def __init__(self, name: str, daemon: Daemon, users: Users) -> None:
        super().__init__(daemon=True)
        self.name = name
        self.daemon_at = daemon
        self.users = users
        self.ends = threading.Event()
        self.random = random.Random(f"{SEED} {name}")
        self.online: dict[str, tuple[str, IPv4Address, bytes]] = {}
        self.numbers = 0

    def run(self) -> None:
        with Nas(self.daemon_at) as nas:
            while not self.ends.is_set():
                line = f"{self.name}{self.random.randrange(LINES)}"
                if line in self.online:
                    self._go(nas, line)
                else:
                    self._come(nas, line)
                self.ends.wait(0.005)

    def _come(self, nas: Nas, line: str) -> None:
        reply = nas.ask(self.daemon_at.auth, nas.login(line.encode(), b"secret"), 0.5)
        if reply is None or reply.code != Code.ACCESS_ACCEPT:
            self.users.did["not answered" if reply is None else "refused"] += 1
            if reply is None:
                time.sleep(0.05)
            return
        framed = reply.find(Attr.FRAMED_IP_ADDRESS)
        if framed is None:
            self.users.faults.append(f"{line} was let in without an address")
            return
        address = IPv4Address(framed)
        self.users.told(line, address)
        self.numbers += 1
        session = f"{self.name}-{self.numbers:05d}"
        said = attribute(Attr.USER_NAME, line.encode()) + attribute(Attr.FRAMED_IP_ADDRESS, framed)
        said += attribute(Attr.CLASS, reply.find(Attr.CLASS) or b"")
        self.online[line] = session, address, said
        self._record(nas, session, said, AcctStatus.START)

    def _go(self, nas: Nas, line: str) -> None:
        session, address, said = self.online.pop(line)
        self.users.done(address)
        self._record(nas, session, said, AcctStatus.STOP)

    def _record(self, nas: Nas, session: str, said: bytes, status: int) -> None:
        """Send a record until it is acknowledged, as a NAS does; the daemon may be dead for a while."""
        request = nas.record(session, said, status)
        end = time.monotonic() + 40
        while nas.ask(self.daemon_at.acct, request, 0.5) is None:
            if time.monotonic() > end:
                self.users.faults.append(f"a record of {session} is not acknowledged")
                return
            time.sleep(0.05)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """A file with the URL of a database that two edges share."""
    where = bin_dir()
    assert where is not None
    with postgresql(where) as url:
        file = tmp_path / "store-url"
        file.write_text(url.replace("+asyncpg", ""))
        file.chmod(0o600)
        yield file


def test_daemons_killed_at_random_never_give_an_address_to_two(make_daemon: Any, store: Path) -> None:
    data = store.with_name("data.yaml")
    lines = "".join(LINE.format(f"{name}{number}") for name in ("north", "south") for number in range(LINES))
    data.write_text(DATA + lines)
    daemons: dict[str, Daemon] = {
        name: make_daemon(
            **{
                "data.files": json.dumps([str(data)]),
                "ipam.shared_store": f'"file:{store}"',
                "ipam.node": f'"{name}"',
                "ipam.block_slots": "8",
            }
        )
        for name in ("north", "south")
    }
    for each in daemons.values():
        each.start()
    users = Users()
    nases = {name: Lines(name, daemon, users) for name, daemon in daemons.items()}
    for each_nas in nases.values():
        each_nas.start()
    chance = random.Random(SEED)
    end = time.monotonic() + LAST_S
    while time.monotonic() < end and not users.faults:
        time.sleep(chance.uniform(0.2, 1.5))
        killed = daemons[chance.choice(["north", "south"])]
        assert killed.process is not None
        assert killed.end(signal.SIGKILL) == -signal.SIGKILL
        users.did["killed"] += 1
        killed.start()
    time.sleep(1.0)
    for each_nas in nases.values():
        each_nas.ends.set()
    for each_nas in nases.values():
        each_nas.join(45)
        assert not each_nas.is_alive()
    assert not users.faults, users.faults[0]
    assert users.did["told"] > 100, users.did
    assert users.did["killed"] > 1, users.did
    for name, daemon in daemons.items():
        _leases_are_those_of_the_lines(daemon, nases[name])


def _leases_are_those_of_the_lines(daemon: Daemon, lines: Lines) -> None:
    """Every line that is online has its address in the book of its daemon."""
    listed = daemon.ask("session", "list", "--state", "active", "--limit", "500")
    rows = listed["items"] if isinstance(listed, dict) else listed
    shown = {row["username"]: row["framed_ip_address"] for row in rows}
    for line, (_, address, _) in lines.online.items():
        assert shown.get(line) == str(address), (line, address, shown)
