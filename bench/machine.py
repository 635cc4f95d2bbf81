"""Processes on a chosen core: starting, stopping, their CPU time and memory; facts about this machine."""

from __future__ import annotations

import os
import platform
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The benchmark cannot go on; the message is for the person who started it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a reader must know of the machine to judge the numbers."""

    date: str
    cpu: str
    cores: int
    kernel: str
    python: str
    filesystem: str  # where both servers keep what they acknowledge
    fsync_us: float  # median of appending 4 KiB and calling fsync there


def cores() -> tuple[int, int]:
    """Return the core for the server and the one for the load generator; the same where there is but one."""
    ours = sorted(os.sched_getaffinity(0))
    return ours[0], ours[1 % len(ours)]


def start(
    command: Sequence[str | Path],
    log: Path,
    core: int,
    *,
    user: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a server on one core, its output in `log`; it is told to end should this process be killed.

    It leads a session of its own, so that Ctrl-C reaches this process alone and servers end in order.
    """
    pinned = ["setpriv", "--pdeathsig", "INT", "taskset", "-c", str(core), *map(str, command)]
    with log.open("wb") as output:
        return subprocess.Popen(
            pinned,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environ is None else dict(environ),
            start_new_session=True,
            cwd="/" if user else None,  # another user may not be let into this directory
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )


def stop(
    process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM, patience_s: float = 20
) -> None:
    """End a process started here: politely, and by SIGKILL after `patience_s`."""
    if process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, *, timeout_s: float
) -> None:
    """Wait until `ready()`; raises BenchError with the end of `log` if the process ends or takes too long."""
    until = time.monotonic() + timeout_s
    while not ready():
        ended = process.poll()
        if ended is not None or time.monotonic() > until:
            what = f"not ready after {timeout_s:.0f} s" if ended is None else f"ended with status {ended}"
            tail = log.read_text(errors="replace").splitlines()[-15:]
            raise BenchError("\n".join((f"{log.stem}: {what}; the end of {log}:", *tail)))
        time.sleep(0.05)


def tree(roots: Sequence[int]) -> list[int]:
    """Return the process ids of `roots` and all that descend from them."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found = list(roots)
    for pid in found:
        found += children.get(pid, ())
    return found


def cpu_s(roots: Sequence[int]) -> float:
    """Return the CPU seconds, user and system, that the trees under `roots` have used so far.

    Children that have ended are in their parent's account, so that the sum never shrinks.
    """
    ticks = sum(sum(map(int, stat[11:15])) for pid in tree(roots) if (stat := _stat(pid)))
    return ticks / _TICKS_PER_S


def memory_mib(roots: Sequence[int]) -> float:
    """Return the memory of the trees under `roots` in MiB, a shared page counted once (PSS)."""
    kib = 0
    for pid in tree(roots):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:  # it has just ended
            continue
        kib += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return kib / 1024


def free_port(kind: socket.SocketKind) -> int:
    """Return a port of the loopback address that nobody uses at this moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def facts(scratch: Path) -> Facts:
    """Return the facts about this machine; `scratch` is the directory of everything durable."""
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    filesystem = run(["df", "--output=fstype", scratch]).split()[-1]
    return Facts(
        date=time.strftime("%Y-%m-%d"),
        cpu=models[0].partition(":")[2].strip() if models else platform.machine(),
        cores=os.cpu_count() or 1,
        kernel=platform.release(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        filesystem=filesystem,
        fsync_us=_fsync_us(scratch),
    )


def run(
    command: Sequence[str | Path],
    *,
    user: str | None = None,
    given: str | None = None,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = 300,
) -> str:
    """Run a command to its end and return its output; raises BenchError where it fails."""
    text = [str(part) for part in command]
    try:
        done = subprocess.run(
            text,
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=None if environ is None else dict(environ),
            cwd="/" if user else None,
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise BenchError(f"{' '.join(text)}: {problem}") from problem
    if done.returncode:
        raise BenchError(f"{' '.join(text)}: status {done.returncode}\n{done.stderr or done.stdout}")
    return done.stdout


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the name: state, parent, ...; None when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _fsync_us(directory: Path) -> float:
    path = directory / "fsync.probe"
    block = bytes(4096)
    times: list[float] = []
    with path.open("wb", buffering=0) as probe:
        for _ in range(200):
            before = time.perf_counter()
            probe.write(block)
            os.fsync(probe.fileno())
            times.append((time.perf_counter() - before) * 1e6)
    path.unlink()
    return statistics.median(times)
