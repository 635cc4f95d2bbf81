"""The daemon as its users run it: a process of its own, on free loopback ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("dotmac-edge")
PROVIDER = ROOT / "config" / "examples" / "provider.yaml"


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """Return a port that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Daemon:
    """One daemon: start, kill, start again on the same state."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.auth, self.acct = free_port(), free_port()
        self.api = free_port(socket.SOCK_STREAM)
        self.log = directory / "log"
        self.config = directory / "edge.toml"
        more = {"radius.reject_delay_s": "0", "data.files": json.dumps([str(PROVIDER)])} | settings
        sections: dict[str, list[str]] = {
            "edge": [f'state_dir = "{directory}/state"'],
            "radius": [
                f'auth_listen = ["127.0.0.1:{self.auth}"]',
                f'acct_listen = ["127.0.0.1:{self.acct}"]',
            ],
            "api": [f'listen = "127.0.0.1:{self.api}"'],
        }
        for name, value in more.items():
            section, _, key = name.partition(".")
            sections.setdefault(section, []).append(f"{key} = {value}")
        self.config.write_text(
            "\n".join(f"[{name}]\n" + "\n".join(lines) for name, lines in sections.items())
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which commands find this daemon."""
        return {**os.environ, "DOTMAC_EDGE_CONFIG": str(self.config)}

    def start(self) -> None:
        """Start and wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [COMMAND, "run", "--quiet"], env=self.environ, stdout=log, stderr=log, cwd=ROOT
            )
        end = time.monotonic() + 30
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.api}/readyz", timeout=1) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise AssertionError(f"not ready after 30 s: {self.log.read_text()}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self.process = None
        return code

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of ours against this daemon."""
        done = subprocess.run(
            [COMMAND, *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def ask(self, *arguments: str) -> Any:
        """Run a command with JSON output and return it."""
        return json.loads(self.run(*arguments, "--output", "json").stdout)

    def metrics(self) -> str:
        """Return what Prometheus would scrape."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.api}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
            return text


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Any]:
    """Make daemons that are stopped whatever happens."""
    made: list[Daemon] = []

    def make(**settings: str) -> Daemon:
        directory = tmp_path / f"edge{len(made)}"
        directory.mkdir()
        made.append(Daemon(directory, **settings))
        return made[-1]

    yield make
    for daemon in made:
        if daemon.process is not None:
            daemon.process.kill()
            daemon.process.wait()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon on the sample provider for all tests of a module."""
    running = Daemon(tmp_path_factory.mktemp("edge"))
    running.start()
    yield running
    if running.process is not None:
        assert running.end() == 0, running.log.read_text()
