"""Two daemons on one PostgreSQL, killed, frozen and taken over while lines log in: no address has two users."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from radius.codes import AcctStatus, Attr, Code
from radius.exchange import Request, check_reply
from radius.packet import Packet, attribute
from tests.e2e.conftest import Daemon
from tests.e2e.nas import Nas
from tests.ipam.postgres import bin_dir, postgresql

pytestmark = pytest.mark.skipif(bin_dir() is None, reason="no PostgreSQL server is installed")

LINES = 24  # of each daemon
CROWD = 60  # more than there are addresses
LAST_S = 6.0
SEED = 20

DATA = """\
- {kind: tenant, id: demo}
- {kind: nas, id: lab, body: {prefixes: [127.0.0.0/8], secret: testing123, vendor: mikrotik}}
- {kind: plan, id: home, body: {access: ppp, download: 100M, upload: 20M, interim_interval_s: 300}}
- kind: pool
  id: home
  body: {kind: v4, ranges: 10.0.0.0-10.0.0.47, sticky: false, hold: 0s, quarantine: 1s, min_reuse: 1s}
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
        self.crowd = 0  # how many of it are in

    def run(self) -> None:
        with Nas(self.daemon_at) as nas:
            while not self.ends.is_set():
                line = f"{self.name}{self.random.randrange(LINES)}"
                if line in self.online:
                    self._go(nas, line)
                else:
                    self.come(nas, line)
                self.ends.wait(0.005)

    def come(self, nas: Nas, line: str) -> bool:
        """Log in; tell whether that worked."""
        reply = nas.ask(self.daemon_at.auth, nas.login(line.encode(), b"secret"), 0.5)
        if reply is None or reply.code != Code.ACCESS_ACCEPT:
            self.users.did["not answered" if reply is None else "refused"] += 1
            if reply is None:
                time.sleep(0.05)
            return False
        self._use(nas, line, reply)
        return True

    def _use(self, nas: Nas, line: str, reply: Packet) -> None:
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

    def leave_some(self, nas: Nas) -> None:
        """See to it that some lines are online, and some are not."""
        for number in range(LINES):
            line = f"{self.name}{number}"
            if number % 3 == 0 and line in self.online:
                self._go(nas, line)
            elif number % 3 and line not in self.online:
                self.come(nas, line)
        line = f"{self.name}0"
        tries = 0
        while not self.come(nas, line):  # quarantine, and the least time before an address is used again
            tries += 1
            assert tries < 40, "nothing is free here for another"
            time.sleep(0.5)
        self._go(nas, line)

    def fill(self, nas: Nas) -> None:
        """Let as many in as there is room for."""
        refused = 0
        while refused < 3:
            line = f"crowd{self.crowd}"
            refused = 0 if self.come(nas, line) else refused + 1
            self.crowd += line in self.online
        assert self.crowd < CROWD, "the pool has no end"

    def told_after(self, nas: Nas, wakes: Callable[[], None]) -> int:
        """Ask for all lines that are offline while the daemon cannot answer, then wake it; return who is let in."""
        asked = {
            line: nas.login(line.encode(), b"secret")
            for line in (f"{self.name}{number}" for number in range(LINES))
            if line not in self.online
        }
        for request in asked.values():
            nas.send(self.daemon_at.auth, request.octets)
        wakes()
        replies = _replies(nas, list(asked.values()), 1.5)
        for line, request in asked.items():
            reply = replies.get(request.identifier)
            framed = None if reply is None else reply.find(Attr.FRAMED_IP_ADDRESS)
            if framed is not None:
                self.users.told(line, IPv4Address(framed))
        return len(asked)

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


def _replies(nas: Nas, requests: list[Request], wait_s: float) -> dict[int, Packet]:
    """Return the replies that come in time, by identifier."""
    found: dict[int, Packet] = {}
    end = time.monotonic() + wait_s
    while (left := end - time.monotonic()) > 0 and len(found) < len(requests):
        nas._socket.settimeout(left)
        try:
            octets = nas._socket.recv(4096)
        except TimeoutError:
            break
        for request in requests:
            if request.identifier == octets[1]:
                found[octets[1]] = check_reply(request, octets, nas.key)
    return found


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


def test_daemons_killed_frozen_and_taken_over_never_give_an_address_to_two(
    make_daemon: Any, store: Path
) -> None:
    daemons = _two(make_daemon, store)
    users = Users()
    lines = {name: Lines(name, daemon, users) for name, daemon in daemons.items()}
    _come_and_go_while_daemons_die(daemons, lines, users)
    for name, daemon in daemons.items():
        _leases_are_those_of_the_lines(daemon, lines[name])
        assert "address-conflict" not in daemon.log.read_text()
    _a_node_that_was_taken_over_while_frozen_tells_nothing(daemons["north"], lines["north"], lines["south"])
    assert not users.faults, users.faults[0]


def _two(make_daemon: Any, store: Path) -> dict[str, Daemon]:
    data = store.with_name("data.yaml")
    names = [f"{name}{number}" for name in ("north", "south") for number in range(LINES)]
    data.write_text(DATA + "".join(map(LINE.format, [*names, *(f"crowd{each}" for each in range(CROWD))])))
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
    return daemons


def _come_and_go_while_daemons_die(daemons: dict[str, Daemon], lines: dict[str, Lines], users: Users) -> None:
    for each in lines.values():
        each.start()
    chance = random.Random(SEED)
    end = time.monotonic() + LAST_S
    while (time.monotonic() < end or users.did["killed"] < 2) and not users.faults:
        time.sleep(chance.uniform(0.2, 1.5))
        killed = daemons[chance.choice(["north", "south"])]
        assert killed.end(signal.SIGKILL) == -signal.SIGKILL
        users.did["killed"] += 1
        killed.start()
    time.sleep(0.5)
    for each in lines.values():
        each.ends.set()
    for each in lines.values():
        each.join(45)
        assert not each.is_alive()
    assert not users.faults, users.faults[0]
    assert users.did["told"] > 60, users.did


def _a_node_that_was_taken_over_while_frozen_tells_nothing(
    north: Daemon, lines: Lines, others: Lines
) -> None:
    """What it has told is kept by the other node, which gives out all the rest; awake again, it can store nothing."""
    assert north.process is not None
    with Nas(north) as nas, Nas(others.daemon_at) as nas_of_others:
        lines.leave_some(nas)
        others.fill(nas_of_others)  # now, so that north sleeps for less than it takes to compare its blocks
        north.process.send_signal(signal.SIGSTOP)
        try:
            _take_over(others.daemon_at)
            others.fill(nas_of_others)
            asked = lines.told_after(nas, lambda: north.process.send_signal(signal.SIGCONT))  # type: ignore[union-attr]
        finally:
            north.process.send_signal(signal.SIGCONT)
    assert lines.online, "somebody was to be online there"
    assert asked > 4


def _take_over(daemon: Daemon) -> None:
    """Take north over; frozen in a transaction, it keeps its locks until the database ends that."""
    for _ in range(4):
        done = daemon.run("ipam", "takeover", "north", "--force", "--output", "json", check=False)
        if done.returncode == 0:
            assert json.loads(done.stdout)["blocks"] > 0, "nothing was to be taken over"
            return
    raise AssertionError(done.stdout + done.stderr)


def _leases_are_those_of_the_lines(daemon: Daemon, lines: Lines) -> None:
    """Every line that is online has its address in the book of its daemon."""
    listed = daemon.ask("session", "list", "--state", "active", "--limit", "500")
    rows = listed["items"] if isinstance(listed, dict) else listed
    shown = {row["username"]: row["framed_ip_address"] for row in rows}
    for line, (_, address, _) in lines.online.items():
        assert shown.get(line) == str(address), (line, address, shown)
