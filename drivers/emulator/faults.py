"""Faults of emulated devices: set them before or during a session. Mutable on purpose."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(slots=True)
class Faults:
    """Patterns are matched against a whole command (CLI) or the name of an operation (NETCONF); empty: never.

    A cut or a hang strikes once and is then forgotten, so that the next session finds a sound device.
    """

    cut_before: str = ""  # the connection goes down before the command does anything
    cut_after: str = ""  # the command takes effect, its answer is lost
    hang_at: str = ""  # the command is never answered, nor executed
    lie_at: str = ""  # says all is well and does nothing (not forgotten)
    slow_echo_s: float = 0.0  # between the characters of the echo
    echo: str = "right"  # right, wrong (other characters), none
    late_s: float = 0.0  # before every answer
    noise: str = ""  # pushed before every answer, like a log line on the console
    banner: str = ""
    refuse: dict[str, tuple[tuple[str, str], ...]] = field(
        default_factory=dict
    )  # operation: (error-tag, message)

    def strikes(self, which: str, command: str) -> bool:
        """Return whether the fault of this name hits the command, and forget it if it does."""
        pattern = getattr(self, which)
        if not pattern or not re.fullmatch(pattern, command):
            return False
        if which != "lie_at":
            setattr(self, which, "")
        return True
