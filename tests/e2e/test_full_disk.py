"""A store that takes no more: logins go on, records are not acknowledged, and all is well when there is space again.

The disk is filled in two ways: a small tmpfs that holds the state, where mounting is permitted, and a limit on the
size of files (RLIMIT_FSIZE, set and lifted from outside while the daemon runs), which needs no rights.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from radius.codes import Attr
from tests.e2e.conftest import Daemon
from tests.e2e.nas import Nas, counted

SIZE = "4m"
ENOUGH = 8 << 20
SHORT_S = 0.3


class SmallDisk:
    """A tmpfs that a file fills to the last octet."""

    def __init__(self, directory: Path) -> None:
        self._filler = directory / "filler"

    def fill(self, _daemon: Daemon) -> None:
        with pytest.raises(OSError, match="No space left"):
            self._filler.write_bytes(bytes(ENOUGH))

    def free(self, _daemon: Daemon) -> None:
        self._filler.unlink()


class SmallFiles:
    """The daemon may write into no file beyond its first page, so that not even a log begun anew has room."""

    def fill(self, daemon: Daemon) -> None:
        assert daemon.process is not None
        _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (4096, hard))

    def free(self, daemon: Daemon) -> None:
        if daemon.process is None:
            return  # its limit has gone with it
        _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (hard, hard))


Disk = SmallDisk | SmallFiles


@pytest.fixture(params=["tmpfs", "limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Something that can be full; the state of the daemon that is made first lies on it."""
    if request.param == "limit":
        yield SmallFiles()
        return
    state = tmp_path / "edge0" / "state"
    state.mkdir(parents=True, mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", state],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not permitted here, the limit alone is tested: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(state)
    finally:
        subprocess.run(["umount", "--lazy", state], check=True)


@pytest.fixture
def daemon(disk: Disk, tmp_path: Path) -> Iterator[Daemon]:
    directory = tmp_path / "edge0"
    directory.mkdir(exist_ok=True)
    running = Daemon(
        directory, **{"outbox.least_free_mib": "0"}
    )  # else so small a disk is full from the start
    try:
        running.start()
        yield running
    finally:
        if running.process is not None:
            running.process.kill()
            running.process.wait()


def ready(daemon: Daemon) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.api}/readyz", timeout=5) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def until(condition: Callable[[], bool]) -> bool:
    """Wait up to ten seconds for a condition."""
    end = time.monotonic() + 10
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def leased(
    nas: Nas, user: bytes = b"alice", password: bytes = b"wonderland", wait_s: float = 3.0
) -> bytes | None:
    """Log in and return the address that was told, None where there was no answer."""
    reply = nas.ask(nas.daemon.auth, nas.login(user, password), wait_s)
    return None if reply is None else reply.find(Attr.FRAMED_IP_ADDRESS)


def is_refused(nas: Nas) -> bool:
    """Say whether one more record gets no answer: SQLite may have some room left in pages it has already."""
    return not nas.is_acknowledged(f"full-{os.urandom(4).hex()}", wait_s=SHORT_S)


def test_a_full_disk_stops_acknowledgements_only_and_heals(daemon: Daemon, disk: Disk) -> None:
    with Nas(daemon) as nas:
        assert nas.is_acknowledged("before")
        assert ready(daemon) == {"status": "ready", "degraded": []}
        disk.fill(daemon)
        assert until(lambda: is_refused(nas))
        assert counted(daemon, code="Accounting-Request", outcome="drop", reason="store-unavailable") >= 1
        (degraded,) = ready(daemon)["degraded"]
        assert degraded.startswith("accounting is not acknowledged: ")
        assert daemon.ask("status")["degraded"] == [degraded]
        assert nas.is_accepted(), "logins go on"
        assert nas.is_told_alive(daemon.auth), "the authentication port is well"
        assert not nas.is_told_alive(daemon.acct, SHORT_S), "a NAS shall turn to another server"
        assert not nas.is_acknowledged("during", wait_s=SHORT_S)
        disk.free(daemon)
        assert nas.is_acknowledged("during"), "without a restart"
        assert nas.is_told_alive(daemon.acct)
        assert ready(daemon)["degraded"] == []
        assert daemon.ask("status")["degraded"] == []
        assert daemon.ask("session", "list")["count"] >= 2
        assert "Traceback" not in daemon.log.read_text()
    assert daemon.end() == 0
    daemon.start()
    sessions = {each["acct_session_id"] for each in daemon.ask("session", "list", "--limit", "1000")["items"]}
    assert {"before", "during"} <= sessions


def test_a_daemon_that_cannot_store_still_stops(daemon: Daemon, disk: Disk) -> None:
    with Nas(daemon) as nas:
        disk.fill(daemon)
        assert until(lambda: is_refused(nas))
        assert daemon.end() == 0
        disk.free(daemon)
        daemon.start()
        assert nas.is_acknowledged("after")


def test_nobody_new_is_told_of_a_lease_that_cannot_be_stored(daemon: Daemon, disk: Disk) -> None:
    daemon.run("pool", "add", "home", "--kind", "v4", "--range", "100.64.0.0/24")
    daemon.run("selector", "add", "everybody", "--pool", "v4=home")
    with Nas(daemon) as nas:
        first = leased(nas)
        assert first is not None
        disk.fill(daemon)
        assert until(lambda: is_refused(nas))
        assert until(lambda: leased(nas, b"carol", b"christmas", SHORT_S) is None)
        assert counted(daemon, code="Access-Request", outcome="drop", reason="store-unavailable") >= 1
        assert leased(nas) == first, "alice has hers: that is on disk"
        assert nas.is_accepted(b"dave", b"dragonfly"), "his address is the platform's to promise"
        disk.free(daemon)
        assert until(lambda: leased(nas, b"carol", b"christmas", SHORT_S) not in (None, first))
        assert leased(nas) == first
    daemon.run("ipam", "check", "--deep")
    daemon.end(signal.SIGKILL)
    daemon.start()
    assert {each["subscriber"] for each in daemon.ask("lease", "list")["items"]} >= {"alice", "carol"}
    daemon.run("ipam", "check", "--deep")
