"""Logins that are refused again and again: after so many they get a pause in which nobody looks at them.

A CPE with a wrong password asks for ever, and each try costs a hash. A change of the subscriber's data ends its
pause, so that a corrected subscriber is let in at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from daemon.replica.records import Subscriber

_MOST = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopLimits:
    """So many refusals of one user and MAC within `window_s` earn a pause of `pause_s`; 0 refusals: never."""

    refusals: int
    window_s: float
    pause_s: float


class Loops:
    """Who is being refused, by user name and Calling-Station-Id; bounded."""

    __slots__ = ("_counted", "_paused", "limits")

    def __init__(self, limits: LoopLimits) -> None:
        self.limits = limits
        self._counted: dict[bytes, tuple[int, float]] = {}
        self._paused: dict[bytes, tuple[float, Subscriber | None]] = {}

    @property
    def idle(self) -> bool:
        """Whether nobody is paused, which is the usual case."""
        return not self._paused

    @property
    def counting(self) -> bool:
        """Whether anything is counted that `permitted` could take back."""
        return bool(self._counted)

    def __len__(self) -> int:
        return len(self._paused)

    def paused(self, key: bytes, subscriber: Subscriber | None, at: float) -> bool:
        """Tell whether that login gets no look now; `subscriber` is whom it names by the data of now."""
        pause = self._paused.get(key)
        if pause is None:
            return False
        until, then = pause
        if then is subscriber and at < until <= at + self.limits.pause_s:  # else the clock was set back
            return True
        del self._paused[key]
        return False

    def refused(self, key: bytes, subscriber: Subscriber | None, at: float) -> bool:
        """Count a refusal; True when it earns a pause."""
        limits = self.limits
        if not limits.refusals:
            return False
        count, since = self._counted.get(key, (0, at))
        if not 0 <= at - since <= limits.window_s:
            count, since = 0, at
        if count + 1 < limits.refusals:
            if len(self._counted) >= _MOST:
                self._counted.clear()
            self._counted[key] = (count + 1, since)
            return False
        self._counted.pop(key, None)
        if len(self._paused) >= _MOST:
            self._paused.clear()
        self._paused[key] = (at + limits.pause_s, subscriber)
        return True

    def permitted(self, key: bytes) -> None:
        """A login went well: what was counted before does not matter any more."""
        self._counted.pop(key, None)
