"""How much room the database takes, and how much the disk has left."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple


class Room(NamedTuple):
    """Octets that are in use in the database, and octets that anybody may still write to its disk."""

    used_octets: int
    free_octets: int


def measure(path: Path) -> Room | None:
    """Return the room of the database at `path`; None where it cannot be told now. Blocks: call it in a thread.

    Pages that were freed do not count as used, since they are written again before the file grows.
    """
    try:
        with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as connection:
            pages, unused, size = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
        disk = os.statvfs(path.parent)
    except (sqlite3.Error, OSError):
        return None
    return Room((pages - unused) * size, disk.f_bavail * disk.f_frsize)
