"""A real FRR in a network namespace, and a real sshd on loopback in front of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import asyncssh

from drivers.redact import Secret
from drivers.target import Credentials, Deadlines, Target, Trust

MISSING = [tool for tool in ("vtysh", "sshd", "ip", "setsid") if shutil.which(tool) is None]
_DAEMONS = Path("/usr/lib/frr")
_CONFIG = "hostname frr1\nlog file {log}\nip route 198.51.100.0/24 blackhole\n"


def available() -> bool:
    """Return whether this machine can run it."""
    return not MISSING and os.geteuid() == 0 and (_DAEMONS / "staticd").exists()


class FrrBox:
    """zebra and staticd in a namespace of their own; sshd for root by key; all stopped by their own pid."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.namespace = f"dmfrr{os.getpid()}"
        self.etc, self.vty, self.state = home / "etc", home / "vty", home / "state"
        self._processes: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])

    def start(self) -> None:
        """Start everything and wait until vtysh answers and sshd listens."""
        for each in (self.home, self.etc, self.vty, self.state):
            each.mkdir(exist_ok=True)
            each.chmod(0o755)
            shutil.chown(each, "frr", "frr")
        (self.etc / "frr.conf").write_text(_CONFIG.format(log=self.home / "frr.log"))
        (self.etc / "vtysh.conf").write_text("service integrated-vtysh-config\n")
        for each in self.etc.iterdir():
            shutil.chown(each, "frr", "frr")
        subprocess.run(["ip", "netns", "add", self.namespace], check=True)
        subprocess.run(["ip", "-n", self.namespace, "link", "set", "lo", "up"], check=True)
        common = ["--vty_socket", str(self.vty), "-z", str(self.vty / "zserv.api"), "-f", "/dev/null"]
        for daemon in ("zebra", "staticd"):
            pid_file = str(self.vty / f"{daemon}.pid")
            program = ("ip", "netns", "exec", self.namespace, str(_DAEMONS / daemon))
            self._spawn(*program, *common, "-i", pid_file)
            self._wait((self.vty / f"{daemon}.vty").exists)
        self.vtysh("-b")
        self._start_sshd()

    def _start_sshd(self) -> None:
        host = asyncssh.generate_private_key("ssh-ed25519")
        login = asyncssh.generate_private_key("ssh-ed25519")
        host.write_private_key(str(self.home / "host"))
        (self.home / "host").chmod(0o600)
        login.write_public_key(str(self.home / "authorized"))
        self.fingerprint = host.get_fingerprint()
        self.login_key = login.export_private_key("openssh").decode()
        Path("/run/sshd").mkdir(exist_ok=True)
        settings = (
            f"HostKey={self.home / 'host'}",
            f"AuthorizedKeysFile={self.home / 'authorized'}",
            f"PidFile={self.home / 'sshd.pid'}",
            *("StrictModes=no", "UsePAM=no", "PermitRootLogin=yes", "PasswordAuthentication=yes"),
        )
        options = [part for each in settings for part in ("-o", each)]
        sshd = shutil.which("sshd") or "sshd"
        address = f"ListenAddress=127.0.0.1:{self.port}"
        self._spawn(sshd, "-D", "-e", "-f", "/dev/null", "-o", address, *options)
        self._wait(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _spawn(self, *command: str) -> None:
        log = (self.home / "daemons.log").open("ab")
        with log:
            self._processes.append(
                subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            )

    def _wait(self, ready: Any) -> None:
        end = time.monotonic() + 15
        while not ready():
            assert time.monotonic() < end, (self.home / "daemons.log").read_text()
            time.sleep(0.05)

    def vtysh(self, *arguments: str) -> str:
        """Run vtysh on the router, past every driver."""
        command = ["vtysh", "--vty_socket", str(self.vty), "--config_dir", str(self.etc), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    def target(self, **more: Any) -> Target:
        """Return how to reach it."""
        options = {"vty_socket": str(self.vty), "config_dir": str(self.etc), "state_dir": str(self.state)}
        told: dict[str, Any] = {
            "name": "frr1",
            "host": "127.0.0.1",
            "port": self.port,
            "credentials": Credentials("root", private_key=Secret(self.login_key)),
            "trust": Trust(pinned=(self.fingerprint,)),
            "deadlines": Deadlines(connect_s=5, login_s=10, command_s=20, commit_s=30, close_s=2),
            "may_write": True,
            "options": options,
        }
        return Target(**{**told, **more})

    def stop(self) -> None:
        """End what was started, by its own process id."""
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        subprocess.run(["ip", "netns", "del", self.namespace], check=False)
