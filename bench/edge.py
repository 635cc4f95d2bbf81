"""DotMac Edge as a server under test: its settings, its data, its process."""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from load import SECRET, USERS, Live
from machine import BenchError, free_port, run, start, stop, wait_until

_SETTINGS = """\
[edge]
name = "bench"
state_dir = "{state}"

[policy]
timer_spread_percent = 0

[radius]
auth_listen = ["127.0.0.1:{auth_port}"]
acct_listen = ["127.0.0.1:{acct_port}"]

[accounting]
clock_skew_s = 3600  # the load generator's sessions live for minutes of simulated time

[api]
listen = "127.0.0.1:{api_port}"
admin_socket = "{state}/admin.sock"
"""


@dataclass(frozen=True, slots=True)
class Edge:
    """Where one benchmark keeps the daemon's settings and state; several runs share both."""

    settings: Path
    state: Path
    log: Path
    auth_port: int
    acct_port: int
    api_port: int

    def ask(self, *arguments: str) -> str:
        """Run one `dotmac-edge` command against the running daemon and return its output."""
        return run([*_program(), *arguments], environ=self._environ(), timeout_s=900)

    @contextmanager
    def running(self, core: int) -> Iterator[Live]:
        """The daemon on one core; the data are those that an earlier `provision` left in its state."""
        command = [*_program(), "run", "--config", str(self.settings)]
        process = start(command, self.log, core, environ=self._environ())
        try:
            wait_until(self._ready, process, self.log, timeout_s=120)
            yield Live(
                name="DotMac Edge",
                auth_port=self.auth_port,
                acct_port=self.acct_port,
                roots=(process.pid,),
                stored=lambda: int(json.loads(self.ask("journal", "count", "--output", "json"))["records"]),
            )
        finally:
            stop(process)

    def provision(self, core: int, users: int = USERS) -> None:
        """Start the daemon once, hand it all subscribers, and stop it again."""
        data = self.settings.with_name("edge-data.ndjson")
        with data.open("w") as lines:
            lines.writelines(f"{json.dumps(each)}\n" for each in _objects(users))
        with self.running(core):
            self.ask("data", "load", str(data))

    def sessions(self) -> Mapping[str, int]:
        """Return how many sessions the running daemon has, by state."""
        counts: dict[str, int] = json.loads(self.ask("status", "--output", "json"))["sessions"]
        return counts

    def kernel_drops(self) -> int:
        """Return how many datagrams the kernel has dropped because a socket of the daemon was full."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.api_port}/metrics", timeout=30) as reply:
            lines = reply.read().decode().splitlines()
        return sum(
            int(float(line.split()[-1]))
            for line in lines
            if line.startswith("dotmac_edge_udp_kernel_drops_total")
        )

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.api_port}/readyz", timeout=2) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _environ(self) -> Mapping[str, str]:
        """Our environment without settings of another daemon in it, and with the path of this one's."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("DOTMAC_EDGE_")}
        return kept | {"DOTMAC_EDGE_CONFIG": str(self.settings)}


def prepare(out: Path, scratch: Path) -> Edge:
    """Write the daemon's settings into `out`; its state is to be kept in `scratch`."""
    edge = Edge(
        settings=out / "edge.toml",
        state=scratch / "edge",
        log=out / "edge.log",
        auth_port=free_port(socket.SOCK_DGRAM),
        acct_port=free_port(socket.SOCK_DGRAM),
        api_port=free_port(socket.SOCK_STREAM),
    )
    edge.state.mkdir()
    text = _SETTINGS.format(
        state=edge.state, auth_port=edge.auth_port, acct_port=edge.acct_port, api_port=edge.api_port
    )
    edge.settings.write_text(text)
    return edge


def version() -> str:
    """Return the version of the installed daemon; raises BenchError if there is none."""
    try:
        return importlib.metadata.version("dotmac-edge")
    except importlib.metadata.PackageNotFoundError as missing:
        raise BenchError(
            f"dotmac-edge is not installed for {sys.executable}: run `pip install -e .`"
        ) from missing


def _objects(users: int) -> Iterator[Mapping[str, object]]:
    """The same users as FreeRADIUS gets, and a plan that renders the same four attributes."""
    plan = {"download": "100M", "upload": "20M", "interim_interval_s": 600, "access": "ppp"}
    yield {"kind": "tenant", "id": "bench", "body": {}}
    yield {
        "kind": "nas",
        "id": "load",
        "body": {"address": "127.0.0.1", "secret": SECRET, "vendor": "mikrotik"},
    }
    yield {"kind": "plan", "id": "home-100", "body": plan}
    for number in range(users):
        body = {
            "username": f"user{number:07d}",
            "password": f"pw{number:07d}",
            "plan": "home-100",
            "access_mode": "active",
        }
        yield {"kind": "subscriber", "id": f"s{number:07d}", "body": body}


def _program() -> list[str]:
    """The command beside this interpreter, so that the environment of the benchmark is the one measured."""
    command = Path(sys.executable).with_name("dotmac-edge")
    return [str(command)] if command.exists() else [sys.executable, "-m", "daemon.cli.main"]
