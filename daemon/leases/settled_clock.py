"""What may be forgotten for its age: a clock that is set wrong must not take away what cannot be had back.

Two guards. A wall clock is gone by only when it has kept step with the monotonic one for an hour: within that a mistake
is seen, or put right by NTP after a start. And where it is wrong for longer, what is kept melts slowly.
"""

from __future__ import annotations

_STEP_S = 60.0  # between two readings, of the wall clock against the monotonic one; less is what clocks do
_SETTLED_S = 3600.0
_PACE = 24.0  # seconds of history that may go in a second: a day in an hour
_PAUSE_S = 120.0  # longer ones earn no more
_EMPTY_S = 7 * 86_400.0  # a time without any record is leapt over, such as behind one that was dated 1970


class SettledClock:
    """Tells whether the wall clock may be gone by. To be read every minute or so: a step is seen between readings."""

    __slots__ = ("_apart_s", "_since")

    def __init__(self) -> None:
        self._apart_s: float | None = None  # wall less monotonic, when last read
        self._since = 0.0  # monotonic, when they began to keep step

    def settled(self, at: float, now: float) -> bool:
        """Tell whether epoch second `at`, read at monotonic second `now`, may be gone by."""
        apart_s = at - now
        if self._apart_s is None or abs(apart_s - self._apart_s) > _STEP_S:
            self._since = now
        self._apart_s = apart_s
        return now - self._since >= _SETTLED_S


class Horizon:
    """Up to which epoch second a store may forget: it moves through what is kept a day in an hour at most."""

    __slots__ = ("_moved", "_reached")

    def __init__(self) -> None:
        self._reached: float | None = None
        self._moved = 0.0

    def move(self, wanted: float, now: float, oldest: float | None) -> float:
        """Return the horizon at monotonic second `now`; `wanted` is where it should be, `oldest` what is kept."""
        if oldest is None:
            reached = wanted
        elif self._reached is None or oldest - self._reached > _EMPTY_S:
            reached = oldest
        else:
            reached = self._reached + _PACE * min(now - self._moved, _PAUSE_S)
        self._reached, self._moved = min(wanted, reached), now
        return self._reached
