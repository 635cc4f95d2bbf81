"""A PostgreSQL server of our own, on a Unix socket in a temporary directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def bin_dir() -> Path | None:
    """Return where the newest installed server is, None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def postgresql(where: Path) -> Iterator[str]:
    """Yield the URL of an empty database, for asyncpg; the server ends with the context."""
    directory = Path(tempfile.mkdtemp(prefix="pg-"))  # the path of a socket must be short
    try:
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(directory, "postgres", "postgres")
        data = directory / "data"
        _run(
            where / "initdb",
            "-D",
            data,
            "-U",
            "edge",
            "-A",
            "trust",
            "--no-sync",
            "--no-locale",
            "-E",
            "UTF8",
        )
        options = f"-c listen_addresses= -c unix_socket_directories={directory} -c max_connections=30"
        _run(where / "pg_ctl", "-D", data, "-w", "-l", directory / "log", "-o", options, "start")
        try:
            yield f"postgresql+asyncpg://edge@/postgres?host={directory}"
        finally:
            _run(where / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _run(*command: str | Path) -> None:
    runner = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
    subprocess.run(
        [*runner, *map(str, command)],
        check=True,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
