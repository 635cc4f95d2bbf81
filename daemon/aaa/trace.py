"""The last decisions, always recorded, explained when somebody asks.

Recording costs one append: a decision is a function of its inputs, so the steps are told later from what is
kept. Permits and denials have a ring each, so that a loop of rejects does not push out what worked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from daemon.aaa.decision import Decision


class Trace:
    """Two bounded rings of decisions; `permit` and `deny` record one."""

    __slots__ = ("_denials", "_permits", "deny", "permit")

    def __init__(self, permits: int, denials: int) -> None:
        self._permits: deque[Decision] = deque(maxlen=permits)
        self._denials: deque[Decision] = deque(maxlen=denials)
        self.permit = self._permits.append
        self.deny = self._denials.append

    def newest_first(self) -> Iterator[Decision]:
        """Yield all recorded decisions, newest first, as of now."""
        permits, denials = list(self._permits), list(self._denials)
        while permits or denials:
            if not denials or (permits and permits[-1].at >= denials[-1].at):
                yield permits.pop()
            else:
                yield denials.pop()
