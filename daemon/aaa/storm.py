"""Tells when subscribers come back in a storm, so that work which can wait does wait.

A storm is a rate of Access-Requests far above the usual one, or NASes that repeat because they wait too long, or
the reboot of a NAS that had many sessions. It is over when all of that has been absent for a while. Pure: time is
an argument, and one batch of datagrams costs one call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

_SECONDS = 3  # over which the rate of now is taken
_USUAL_S = 600.0  # time constant of the usual rate: a load that stays becomes the usual one within minutes
_LEAVING = 0.5  # of the rates that begin a storm: below these it is calm


class Reason(StrEnum):
    """What made it a storm."""

    RATE = "rate"
    REPEATS = "repeats"
    REBOOT = "reboot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where a storm begins, and how long it must be calm before it ends."""

    least_per_s: float = 200.0  # Access-Requests a second below which no rate is a storm
    times_usual: float = 5.0
    repeats_share: float = 0.2  # of all datagrams
    least_repeats_per_s: float = 50.0
    reboot_sessions: int = 500
    calm_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state at one time; `since` is epoch seconds, rates are Access-Requests a second."""

    active: bool
    since: float | None
    reason: Reason | None
    nas: str | None
    access_per_s: float
    usual_per_s: float
    repeats_share: float


class Storm:
    """Counts by whole seconds. `active`, `began_at` (monotonic), `reason` and `nas` are there to be read.

    `nas` is the label of the NAS that sent most when it began, or of the one that rebooted.
    """

    __slots__ = (
        "_access",
        "_by_nas",
        "_limits",
        "_live_sessions",
        "_repeats",
        "_second_ends",
        "_stormy_at",
        "_total",
        "_usual_per_s",
        "active",
        "began_at",
        "nas",
        "reason",
    )

    def __init__(self, limits: Limits, live_sessions: Callable[[str], int]) -> None:
        """`live_sessions` returns how many sessions the NAS of a label has."""
        self._limits = limits
        self._live_sessions = live_sessions
        self._access = [0] * (_SECONDS + 1)  # this second first, then those before
        self._total = [0] * (_SECONDS + 1)
        self._repeats = [0] * (_SECONDS + 1)
        self._by_nas: dict[str, int] = {}
        self._second_ends = 0.0
        self._usual_per_s = 0.0
        self._stormy_at = 0.0
        self.active = False
        self.began_at: float | None = None
        self.reason: Reason | None = None
        self.nas: str | None = None

    def note(self, now: float, nas: str, total: int, access: int, repeats: int) -> None:
        """Count a batch: datagrams of known NASes, how many of them came to an authentication port, how many were
        seen before. `nas` is the label of the NAS with most of them.
        """
        if now >= self._second_ends:
            self.turn(now)
        self._total[0] += total
        self._access[0] += access
        self._repeats[0] += repeats
        self._by_nas[nas] = self._by_nas.get(nas, 0) + total

    def note_reboot(self, label: str, now: float) -> None:
        """A NAS has said that it begins or ends accounting: its subscribers will be back at once."""
        self.turn(now)
        if self._live_sessions(label) >= self._limits.reboot_sessions:
            self._stormy(now, Reason.REBOOT, label)

    def turn(self, now: float) -> bool:
        """Let time pass and return `active`; whoever reads it while no NAS speaks calls this before."""
        if now < self._second_ends:
            return self.active
        if self._second_ends == 0.0:
            self._second_ends = now + 1.0
            return self.active
        seconds = int(now - self._second_ends) + 1
        self._pass(seconds)
        self._second_ends += seconds
        cause = self._cause()
        if cause is not None:
            nas = max(self._by_nas, key=self._by_nas.__getitem__) if self._by_nas else None
            self._stormy(now, cause, nas)
        elif self.active and now - self._stormy_at >= self._limits.calm_s:
            self.active = False
            self.began_at = self.reason = self.nas = None
        self._by_nas = {}
        return self.active

    def snapshot(self, now: float, at: float) -> Snapshot:
        """Return the state for people and metrics; `at` is the same time as `now`, epoch seconds."""
        self.turn(now)
        since = None if self.began_at is None else at - (now - self.began_at)
        share = self._share()
        return Snapshot(
            self.active, since, self.reason, self.nas, self._access_per_s(), self._usual_per_s, share
        )

    def _pass(self, seconds: int) -> None:
        """End the current second, and `seconds` - 1 more in which nothing came."""
        usual = self._usual_per_s
        usual += (self._access[0] - usual) / _USUAL_S
        self._usual_per_s = usual * (1.0 - 1.0 / _USUAL_S) ** (seconds - 1)
        shift = min(seconds, _SECONDS + 1)
        for counts in (self._access, self._total, self._repeats):
            del counts[_SECONDS + 1 - shift :]
            counts[:0] = [0] * shift

    def _access_per_s(self) -> float:
        return sum(self._access[1:]) / _SECONDS

    def _share(self) -> float:
        total = sum(self._total[1:])
        return sum(self._repeats[1:]) / total if total else 0.0

    def _cause(self) -> Reason | None:
        """Return what speaks for a storm now; while there is one, half as much keeps it up."""
        limits = self._limits
        factor = _LEAVING if self.active else 1.0
        if self._access_per_s() >= factor * max(limits.least_per_s, limits.times_usual * self._usual_per_s):
            return Reason.RATE
        many = sum(self._repeats[1:]) >= factor * limits.least_repeats_per_s * _SECONDS
        return Reason.REPEATS if many and self._share() >= factor * limits.repeats_share else None

    def _stormy(self, now: float, reason: Reason, nas: str | None) -> None:
        self._stormy_at = now
        if not self.active:
            self.active = True
            self.began_at, self.reason, self.nas = now, reason, nas
