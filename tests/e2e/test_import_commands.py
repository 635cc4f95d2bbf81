"""`dotmac-edge ipam import` against a daemon of its own: taken over while it serves, and there after a kill."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Daemon

USAGE, UNREACHABLE = 2, 6
ROWS = 20_000


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A radippool of the size of a small provider: half of it online."""
    lines = ["pool_name,framedipaddress,nasipaddress,callingstationid,expiry_time,username,pool_key"]
    for number in range(ROWS):
        until = int(time.time()) + (7200 if number % 2 else -90_000)
        address = f"10.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        mac = f"02-00-00-00-{number >> 8:02x}-{number & 255:02x}"
        lines.append(f"main,{address},192.0.2.1,{mac},{until},user{number},{number}")
    file = tmp_path / "radippool.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_book_is_there_after_a_kill(make_daemon: Any, dump: Path) -> None:
    daemon: Daemon = make_daemon()
    daemon.start()
    dry = daemon.ask("ipam", "import", "radippool", str(dump), "--dry-run")
    assert dry["made"] == {"pools": 1, "ranges": 1, "leases": ROWS // 2, "kept for their owners": ROWS // 2}
    done = daemon.ask("ipam", "import", "radippool", str(dump))
    assert done["done"]
    assert done["made"] == dry["made"]
    assert done["note_count"] == ROWS  # none of them is a subscriber of the sample provider
    daemon.end(signal.SIGKILL)
    daemon.start()
    again = daemon.ask("ipam", "import", "radippool", str(dump))
    assert (again["made"], again["unchanged"]) == ({}, {"leases": ROWS})
    assert daemon.run("ipam", "check", "--deep").returncode == 0
    assert "Traceback" not in daemon.log.read_text()


def test_wrong_use_and_no_daemon(make_daemon: Any, dump: Path) -> None:
    daemon: Daemon = make_daemon()
    assert daemon.run("ipam", "import", "excel", str(dump), check=False).returncode == USAGE
    assert daemon.run("ipam", "import", "radippool", "missing.sql", check=False).returncode == USAGE
    done = daemon.run("ipam", "import", "radippool", str(dump), "--zone", "Mars", check=False)
    assert done.returncode == USAGE
    assert "no time zone" in done.stderr
    assert daemon.run("ipam", "import", "radippool", str(dump), check=False).returncode == UNREACHABLE
