"""The units for systemd are valid, tight, and agree with the settings; checked by systemd's own tools."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from config.load import DEFAULT_PATHS
from config.settings import Settings

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
MOST_EXPOSED = 20  # tenths, as systemd-analyze security counts; other daemons reach 22 to 29

_MDWE = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
    sys.exit(77)
import daemon.app, uvicorn, httpx, yaml, pyrad.client
"""


def unit() -> dict[str, list[str]]:
    """Return the values of each directive, in order."""
    out: dict[str, list[str]] = {}
    for line in (UNITS / "dotmac-edge.service").read_text().splitlines():
        found = re.fullmatch(r"([A-Za-z]+)=(.*)", line)
        if found:
            out.setdefault(found[1], []).append(found[2])
    return out


def analyze(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze on a copy of the unit whose program exists here."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    text = (UNITS / "dotmac-edge.service").read_text()
    copy = directory / "dotmac-edge.service"
    copy.write_text(text.replace("/opt/dotmac-edge/bin/dotmac-edge", "/bin/true"))
    return subprocess.run([program, *arguments, str(copy)], capture_output=True, text=True, check=False)


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    done = analyze(tmp_path, "verify", "--man=no")
    about_us = [line for line in done.stderr.splitlines() if "dotmac-edge" in line]
    assert (done.returncode, about_us) == (0, [])


def test_the_unit_is_hardened(tmp_path: Path) -> None:
    done = analyze(tmp_path, "security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager")
    assert done.returncode == 0, done.stdout[-300:]


def test_the_unit_agrees_with_the_settings() -> None:
    directives, defaults = unit(), Settings()
    assert f"/var/lib/{directives['StateDirectory'][0]}" == str(defaults.edge.state_dir)
    (command,) = directives["ExecStart"]
    assert Path(command.rpartition(" --config ")[2]) in DEFAULT_PATHS
    sysctl = (UNITS / "dotmac-edge.sysctl.conf").read_text()
    assert f"net.core.rmem_max = {defaults.radius.receive_buffer_octets}\n" in sysctl
    assert (directives["Type"], directives["WatchdogSec"]) == (["notify"], ["30s"])


def test_user_and_directories_are_made(tmp_path: Path) -> None:
    sysusers, tmpfiles = shutil.which("systemd-sysusers"), shutil.which("systemd-tmpfiles")
    if sysusers is None or tmpfiles is None or os.geteuid() != 0:
        pytest.skip("needs root, systemd-sysusers and systemd-tmpfiles")
    (tmp_path / "etc").mkdir()
    for program, kind in ((sysusers, "sysusers"), (tmpfiles, "tmpfiles")):
        option = ["--create"] if kind == "tmpfiles" else []
        source = UNITS / f"dotmac-edge.{kind}.conf"
        subprocess.run(
            [program, f"--root={tmp_path}", *option, "-"],
            input=source.read_bytes(),
            check=True,
            capture_output=True,
        )
    (line,) = re.findall(r"^dotmac-edge:.*$", (tmp_path / "etc/passwd").read_text(), re.MULTILINE)
    user = int(line.split(":")[2])
    state, settings = (tmp_path / each for each in ("var/lib/dotmac-edge", "etc/dotmac-edge"))
    assert (state.stat().st_mode & 0o777, state.stat().st_uid) == (0o700, user)
    assert (settings.stat().st_mode & 0o777, settings.stat().st_uid) == (0o750, 0)


def test_the_daemon_needs_no_memory_that_is_writable_and_executable() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MDWE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    assert done.returncode == 0, done.stderr[-500:]
