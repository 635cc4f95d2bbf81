"""Commit timers of emulated devices: they run on the device and outlive every session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class CommitTimer:
    """One pending commit. `scale` makes a device's minute pass in less: 60 turns minutes into seconds."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.id = ""
        self.reverted = 0
        self._handle: asyncio.TimerHandle | None = None
        self._revert: Callable[[], None] | None = None

    @property
    def pending(self) -> bool:
        """Return whether a commit waits for its confirm."""
        return self._handle is not None

    def arm(self, seconds: float, revert: Callable[[], None], id: str = "") -> None:  # noqa: A002
        """Start the timer; arming again keeps the first state to go back to."""
        if self._handle is not None:
            self._handle.cancel()
        else:
            self._revert = revert
        self.id = id
        self._handle = asyncio.get_running_loop().call_later(seconds / self.scale, self.lapse)

    def confirm(self) -> bool:
        """Keep the commit; False if none was pending."""
        if self._handle is None:
            return False
        self._handle.cancel()
        self._handle = self._revert = None
        self.id = ""
        return True

    def lapse(self) -> None:
        """Take the commit back now, as if its time were over."""
        revert = self._revert
        if self.confirm() and revert is not None:
            self.reverted += 1
            revert()
