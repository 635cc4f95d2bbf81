"""Kea with a memfile and perfdhcp, between two network namespaces of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from machine import BenchError, cpu_s, memory_mib, run, start, stop, wait_until

NAME = "Kea"
_KEA = "/usr/sbin/kea-dhcp4"
_PERFDHCP = "/usr/sbin/perfdhcp"
_PACKAGES = {_KEA: "kea-dhcp4-server", _PERFDHCP: "kea-admin", "/usr/sbin/ip": "iproute2"}
_SERVER, _RELAY = "10.255.255.1", "10.255.255.2"
_FIRST = 0x0A000010  # 10.0.0.16
_MAC = 0x000C00000000  # of the first client of group 0
_STORED_MAC = 0x020000000000
_LEASE_S = 7200
_WAIT_US = 500_000  # for the last answers
_FAILED = 3  # perfdhcp: something was dropped, which the counts say
_MOST_DROPPED = 0.001

_HEADER = (
    "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n"
)


class Missing(Exception):
    """Kea cannot be measured here; the text says why."""


@dataclass(frozen=True, slots=True)
class Exchanges:
    """One run of perfdhcp: discover, offer, request, acknowledgement. Times are both round trips together."""

    offered: int  # exchanges a second that were begun
    begun: int
    done: int
    wrong: int  # refused, or the same address for two
    rate: float  # exchanges that were done, a second
    cpu_us: float
    p50_ms: float
    p99_ms: float
    memory_mib: float

    @property
    def dropped(self) -> int:
        """Exchanges that were begun and never ended."""
        return self.begun - self.done

    @property
    def kept_up(self) -> bool:
        """Tell whether next to nothing was dropped and the rate was that offered."""
        return self.dropped <= self.begun * _MOST_DROPPED and self.rate > 0.95 * self.offered


@dataclass(frozen=True, slots=True)
class Server:
    """A running Kea: the process, and the namespace that perfdhcp is to run in."""

    pid: int
    relay: str
    core: int  # for perfdhcp
    ready_s: float  # from its start until it listened

    def offer(self, rate: int, seconds: int, clients: int, group: int, *, known: bool = False) -> Exchanges:
        """Begin `rate` exchanges a second, by the clients of a group in turn, and return what became of them.

        Clients that are not `known` may not get an address that another one got.
        """
        cpu = -cpu_s([self.pid])
        mac = ":".join(f"{_MAC + (group << 24):012x}"[at : at + 2] for at in range(0, 12, 2))
        options = ["-4", "-l", _RELAY, "-L", "67", "-r", str(rate), "-R", str(clients), "-b", f"mac={mac}"]
        options += ["-p", str(seconds), "-W", str(_WAIT_US), "-x", "t"]
        options += [_SERVER] if known else ["-u", _SERVER]
        command = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(self.core)]
        command += ["ip", "netns", "exec", self.relay, _PERFDHCP, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
        if done.returncode not in (0, _FAILED):
            raise BenchError(f"perfdhcp: status {done.returncode}\n{done.stderr or done.stdout[-500:]}")
        cpu += cpu_s([self.pid])
        return _read(done.stdout, rate, cpu, memory_mib([self.pid]))


def install() -> None:
    """Install what is missing; raises Missing where that cannot be done, or no namespace can be made."""
    packages = sorted({package for path, package in _PACKAGES.items() if not Path(path).exists()})
    if os.geteuid():
        raise Missing("network namespaces need root")
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    try:
        if packages:
            run(["apt-get", "update"], environ=environ)
            install = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
            run(install, environ=environ, timeout_s=600)
        with _namespaces():
            pass
    except BenchError as problem:
        raise Missing(str(problem).splitlines()[-1]) from problem


def stored(scratch: Path) -> tuple[int, int]:
    """Return how many leases of perfdhcp's clients the file has, and of how many addresses."""
    with (scratch / "kea" / "leases.csv").open() as file:
        rows = [line.split(",", 2)[:2] for line in file if not line.startswith("address")]
    ours = [(address, mac) for address, mac in rows if not mac.startswith("02:")]
    return len({mac for _, mac in ours}), len({address for address, _ in ours})


def version() -> str:
    """Return Kea's version."""
    return run([_KEA, "-v"]).split()[0]


@contextmanager
def serving(
    out: Path, scratch: Path, cores: tuple[int, int], size: int, *, one_free_in: int = 0
) -> Iterator[Server]:
    """Kea with one pool of `size` addresses, its leases in `scratch`, one thread on the first of the cores.

    With `one_free_in` it starts with leases: one address of so many is free, all others are somebody's.
    """
    home = scratch / "kea"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    leases = home / "leases.csv"
    if one_free_in:
        _fill(leases, size, one_free_in)
    with _namespaces() as (server, relay):
        settings = out / "kea.json"
        settings.write_text(json.dumps(_settings(leases, size), indent=1))
        environ = os.environ | {"KEA_PIDFILE_DIR": str(home), "KEA_LOCKFILE_DIR": str(home)}
        log = out / "kea.log"
        command = ["ip", "netns", "exec", server, _KEA, "-c", str(settings)]
        began = time.monotonic()
        process = start(command, log, cores[0], environ=environ)
        try:
            wait_until(lambda: _listens(server), process, log, timeout_s=120)
            yield Server(process.pid, relay, cores[1], time.monotonic() - began)
        finally:
            stop(process)


@contextmanager
def _namespaces() -> Iterator[tuple[str, str]]:
    """Two namespaces and a cable between them: of the server and of a relay agent."""
    server, relay = f"dotmac-kea-{os.getpid()}", f"dotmac-relay-{os.getpid()}"
    with ExitStack() as stack:
        for name in (server, relay):
            run(["ip", "netns", "add", name])
            stack.callback(run, ["ip", "netns", "del", name])
        ends = ["k0", "netns", server, "type", "veth", "peer", "name", "k1", "netns", relay]
        run(["ip", "link", "add", *ends])
        for name, device, address in ((server, "k0", _SERVER), (relay, "k1", _RELAY)):
            run(["ip", "-n", name, "address", "add", f"{address}/8", "dev", device])
            run(["ip", "-n", name, "link", "set", device, "up"])
        yield server, relay


def _listens(namespace: str) -> bool:
    return ":67 " in run(["ip", "netns", "exec", namespace, "ss", "-Hlun"])


def _settings(leases: Path, size: int) -> Mapping[str, object]:
    """Nothing that costs and is not needed: no reservations, no cleaning of the file meanwhile, no log of leases."""
    pool = f"{_address(_FIRST)} - {_address(_FIRST + size - 1)}"
    return {
        "Dhcp4": {
            "interfaces-config": {"interfaces": ["k0"], "dhcp-socket-type": "udp"},
            "lease-database": {"type": "memfile", "persist": True, "name": str(leases), "lfc-interval": 0},
            "multi-threading": {"enable-multi-threading": False},
            "valid-lifetime": _LEASE_S,
            "reservations-global": False,
            "reservations-in-subnet": False,
            "subnet4": [{"id": 1, "subnet": "10.0.0.0/8", "interface": "k0", "pools": [{"pool": pool}]}],
            "loggers": [{"name": "kea-dhcp4", "severity": "WARN", "output_options": [{"output": "stdout"}]}],
        }
    }


def _fill(leases: Path, size: int, one_free_in: int) -> None:
    expire = int(time.time()) + 86_400
    with leases.open("w") as file:
        file.write(_HEADER)
        for number in range(size):
            if number % one_free_in == one_free_in - 1:
                continue
            mac = ":".join(f"{_STORED_MAC + number:012x}"[at : at + 2] for at in range(0, 12, 2))
            file.write(f"{_address(_FIRST + number)},{mac},01:{mac},86400,{expire},1,0,0,,0,\n")


def _address(number: int) -> str:
    return socket.inet_ntoa(number.to_bytes(4, "big"))


def _read(printed: str, offered: int, cpu: float, memory: float) -> Exchanges:
    """Read what perfdhcp has printed: counts, then the times of every packet, for each half of the exchange."""
    _, _, text = printed.partition("***Statistics for: DISCOVER-OFFER***")
    counts: dict[str, list[int]] = {}
    for name, value in re.findall(r"^(\w[\w ]*): (\d+)$", text, re.MULTILINE):
        counts.setdefault(name, []).append(int(value))
    halves = [
        [(float(sent), float(received)) for sent, received in re.findall(r": ([\d.]+) / ([\d.]+)", half)]
        for half in text.split("***Timestamps for packets: ")[1:3]
    ]
    if len(halves) != 2:
        raise BenchError(f"perfdhcp says nothing of exchanges:\n{printed[:2000]}")
    done = counts["received packets"][1] if all(halves) else 0
    begun = min((sent for sent, _ in halves[0]), default=0.0)
    ended = max((received for _, received in halves[1]), default=1.0)
    delays = [sorted(received - sent for sent, received in half) or [0.0] for half in halves]
    return Exchanges(
        offered=offered,
        begun=counts["sent packets"][0],
        done=done,
        wrong=sum(counts["rejected leases"]) + sum(counts["non unique addresses"]),
        rate=done / max(ended - begun, 0.001),
        cpu_us=cpu * 1e6 / max(1, done),
        p50_ms=sum(1000 * each[len(each) // 2] for each in delays),
        p99_ms=sum(1000 * each[int(len(each) * 0.99)] for each in delays),
        memory_mib=memory,
    )
