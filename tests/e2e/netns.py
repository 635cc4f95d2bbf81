"""NASes and subscribers that are not ours, each in a network namespace of its own, with links between them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import pytest

from tests.e2e.conftest import Daemon, free_port

Found = TypeVar("Found")

_NUMBERS = count()
_STOP_S = 5.0
ENVIRON = os.environ | {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}  # servers lie there
PLATFORM_SECRET = "a-secret-of-the-platform"


def needs(programs: dict[str, str], *, root: bool = True) -> None:
    """Fail where a program or file is missing, naming its Debian package; skip where `root` is
    needed, for namespaces, and we may not make them."""
    missing = {
        package
        for program, package in programs.items()
        if shutil.which(program, path=ENVIRON["PATH"]) is None and not Path(program).is_file()
    }
    if missing:
        pytest.fail(
            f"not installed: {' '.join(sorted(missing))}; run scripts/test-packages.sh", pytrace=False
        )
    if root and subprocess.run(["unshare", "--net", "--mount", "true"], check=False).returncode != 0:
        pytest.skip("namespaces are not permitted here")


def until(
    find: Callable[[], Found | None], what: str, within_s: float = 10.0, every_s: float = 0.05
) -> Found:
    """Return what `find` finds as soon as that is something."""
    end = time.monotonic() + within_s
    while not (found := find()):
        assert time.monotonic() < end, f"not within {within_s:g} s: {what}"
        time.sleep(every_s)
    return found


class Peer:
    """A process in a namespace; what it prints is in `log`."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, log: Path) -> None:
        self.process = process
        self.name = name
        self.log = log

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def tells(self, text: str, within_s: float = 10.0) -> None:
        """Wait until it has printed a text."""
        end = time.monotonic() + within_s
        while text not in self.said:
            assert self.process.poll() is None, f"{self.name} has ended: {self.said}"
            assert time.monotonic() < end, f"{self.name} has not said {text!r}: {self.said}"
            time.sleep(0.05)

    def stop(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(_STOP_S)


class Lab:
    """Namespaces, links and processes of one test; they are gone when the context is left.

    The daemon stays outside: `near` is its address on the link to the NAS, `far` that of the NAS.
    """

    def __init__(self, directory: Path) -> None:
        number = (os.getpid() * 16 + next(_NUMBERS)) % (1 << 15)
        self.directory = directory
        self._mark = f"edge{number:x}"
        self._namespaces: list[str] = []
        self._peers: list[Peer] = []
        network = (198 << 24) + (18 << 16) + number * 4  # 198.18.0.0/15 is for tests (RFC 2544)
        self.near, self.far = (".".join(map(str, (network + host).to_bytes(4, "big"))) for host in (1, 2))

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for peer in reversed(self._peers):
            peer.stop()
        for name in self._namespaces:
            subprocess.run(["ip", "netns", "delete", name], env=ENVIRON, check=False)

    def namespace(self, name: str) -> str:
        """Make a namespace with a loopback interface; its links go with it."""
        full = f"{self._mark}-{name}"
        ip("netns", "add", full)
        self._namespaces.append(full)
        ip("-n", full, "link", "set", "lo", "up")
        return full

    def link(self, one: str, device: str, other: str, other_device: str) -> None:
        """Lay a cable between two namespaces."""
        ends = "type", "veth", "peer", "name", other_device, "netns", other
        ip("link", "add", device, "netns", one, *ends)
        ip("-n", one, "link", "set", device, "up")
        ip("-n", other, "link", "set", other_device, "up")

    def uplink(self, namespace: str) -> None:
        """Lay a cable between a NAS and the daemon, with addresses at both ends."""
        device = f"{self._mark}-up"
        ip("link", "add", device, "type", "veth", "peer", "name", "edge0", "netns", namespace)
        ip("addr", "add", f"{self.near}/30", "dev", device)
        ip("link", "set", device, "up")
        ip("-n", namespace, "addr", "add", f"{self.far}/30", "dev", "edge0")
        ip("-n", namespace, "link", "set", "edge0", "up")

    def start(self, namespace: str, *command: str | Path, name: str = "", **environ: str) -> Peer:
        """Start a program in a namespace, or outside of them all where that is empty."""
        name = name or Path(command[0]).name
        log = self.directory / f"{name}.log"
        entering = ("ip", "netns", "exec", namespace) if namespace else ()
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*entering, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.directory,
                env=ENVIRON | environ,
            )
        self._peers.append(Peer(process, name, log))
        return self._peers[-1]


def ip(*arguments: str) -> str:
    """Run `ip` and return what it prints."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, env=ENVIRON, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def write_data(path: Path, objects: list[dict[str, Any]]) -> Path:
    """Write a data file."""
    path.write_text(json.dumps(objects))
    return path


def listen_on(edge: Daemon, address: str) -> None:
    """Let a daemon that is not started yet serve NASes on this address instead of loopback."""
    text = edge.config.read_text()
    for port in (edge.auth, edge.acct):
        text = text.replace(f'"127.0.0.1:{port}"', f'"{address}:{port}"')
    edge.config.write_text(text)


class Platform:
    """The platform's own RADIUS client, played by FreeRADIUS's radclient, and the relay's settings for it."""

    def __init__(self, directory: Path) -> None:
        secret = directory / "relay-secret"
        secret.touch(mode=0o600)
        secret.write_text(PLATFORM_SECRET)
        self.port = free_port()
        self.settings = {
            "coa.relay_listen": json.dumps([f"127.0.0.1:{self.port}"]),
            "coa.relay_clients": json.dumps([f"demo 127.0.0.1 file:{secret}"]),
        }

    def asking(
        self, kind: str, attributes: str, secret: str = PLATFORM_SECRET, wait_s: float = 5.0
    ) -> subprocess.Popen[str]:
        """Send one request, once; radclient goes on waiting for the answer."""
        process = subprocess.Popen(
            ["radclient", "-x", "-r", "1", "-t", f"{wait_s:g}", f"127.0.0.1:{self.port}", kind, secret],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(attributes)
        process.stdin.close()
        process.stdin = None
        return process

    def ask(self, kind: str, attributes: str, secret: str = PLATFORM_SECRET, wait_s: float = 5.0) -> str:
        """Send one request, once, and return what radclient says."""
        said, _ = self.asking(kind, attributes, secret, wait_s).communicate(timeout=30)
        return said


def session_of(edge: Daemon, username: str, state: str, but: str = "") -> dict[str, Any]:
    """Return the session of a user that is, or soon becomes, so; `but` is the Acct-Session-Id of one not meant."""

    def found() -> dict[str, Any] | None:
        every = edge.ask("session", "list", "--username", username, "--state", state)["items"]
        return next((each for each in every if each["acct_session_id"] != but), None)

    return until(found, f"a session of {username} that is {state}")


def finished_job(edge: Daemon, reason: str) -> dict[str, Any]:
    """Return the latest CoA job with this reason, when it is finished."""

    def found() -> dict[str, Any] | None:
        every = edge.ask("coa", "list", "--finished")["items"]
        return next((each for each in every if each["reason"] == reason), None)

    return until(found, f"a finished job because of {reason}")
