"""The state directory belongs to one daemon at a time."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import BinaryIO


def hold(directory: Path) -> BinaryIO:
    """Hold the directory for this process until the file is closed; the kernel lets go of it however we end.

    Raises OSError where another daemon has it.
    """
    lock = (directory / "lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise OSError(f"{directory}: another daemon is running on this state directory") from None
    return lock
