"""A MariaDB server of our own, on a Unix socket in a temporary directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STARTS_S = 60.0


def server() -> str | None:
    """Return the program, None where it is not installed."""
    return shutil.which("mariadbd")


@contextmanager
def mariadb() -> Iterator[tuple[str, Path]]:
    """Yield the URL of the empty database `radius`, for aiomysql, and the socket; the server ends with the context."""
    program = server()
    assert program is not None
    directory = Path(tempfile.mkdtemp(prefix="my-"))  # the path of a socket must be short
    user = "mysql" if os.geteuid() == 0 else ""
    if user:
        shutil.chown(directory, "mysql", "mysql")
    data, socket = directory / "data", directory / "s"
    named = [f"--user={user}"] if user else []
    try:
        _run(
            "mariadb-install-db",
            "--no-defaults",
            *named,
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
        )
        running = subprocess.Popen(
            [
                program,
                "--no-defaults",
                *named,
                f"--datadir={data}",
                f"--socket={socket}",
                "--skip-networking",
                "--innodb-buffer-pool-size=32M",
                "--innodb-flush-log-at-trx-commit=0",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        try:
            _wait(running, socket)
            execute(socket, "CREATE DATABASE radius", "mysql")
            yield f"mysql+aiomysql://root@localhost/radius?unix_socket={socket}", socket
        finally:
            running.terminate()
            running.wait(30)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def execute(socket: Path, script: str, database: str = "radius") -> str:
    """Run SQL through the client and return what it prints, without headings."""
    done = subprocess.run(
        [
            "mariadb",
            "--no-defaults",
            f"--socket={socket}",
            "--user=root",
            "--batch",
            "--skip-column-names",
            database,
        ],
        input=script,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def _wait(running: subprocess.Popen[bytes], socket: Path) -> None:
    until = time.monotonic() + _STARTS_S
    while time.monotonic() < until:
        assert running.poll() is None, "the server has ended"
        done = subprocess.run(
            ["mariadb-admin", "--no-defaults", f"--socket={socket}", "--user=root", "ping"],
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            return
        time.sleep(0.1)
    raise TimeoutError("the server does not answer")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
