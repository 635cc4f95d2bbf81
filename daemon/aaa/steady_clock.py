"""A wall clock that a step forward does not carry away at once: what counts by windows goes by it.

A clock that is set far ahead by mistake would end every window, and what was counted in them could not be had back.
So a step ahead is believed only when it has stood for ten minutes; until then time goes on as it did before.
"""

from __future__ import annotations

_AHEAD_S = 300.0  # of the wall clock against the monotonic one; less is what clocks do
_DOUBT_S = 600.0  # a step that was a mistake is mended within that


class SteadyClock:
    """Knows how far the wall clock should be from the monotonic one. A step back is believed at once."""

    __slots__ = ("_apart_s", "_doubted_s", "_since")

    def __init__(self) -> None:
        self._apart_s: float | None = None  # wall less monotonic, as it is believed
        self._doubted_s = 0.0  # the same, as it is since the step that is in doubt
        self._since: float | None = None  # monotonic, when that step was seen

    def read(self, at: float, now: float) -> float:
        """Return the epoch second to go by; `at` is what the wall clock says at monotonic second `now`."""
        apart_s = at - now
        if self._apart_s is None or apart_s - self._apart_s <= _AHEAD_S:
            self._since = None
            self._apart_s = apart_s
            return at
        if self._since is None or abs(apart_s - self._doubted_s) > _AHEAD_S:
            self._since, self._doubted_s = now, apart_s
        if now - self._since < _DOUBT_S:
            return now + self._apart_s
        self._since = None
        self._apart_s = apart_s
        return at
