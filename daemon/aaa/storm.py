"""Tells when subscribers come back in a storm, so that work which can wait does wait.

A storm is a rate of Access-Requests far above the usual one, or NASes that repeat because they wait too long, or
the reboot of a NAS that had many sessions. It is over when all of that has been absent for a while. One NAS alone
that repeats may just not hear us: that is a storm only where it repeats very much, and none repeats for minutes
because of a storm. Pure: time is an argument, and one batch of datagrams costs one call for each NAS in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

_SECONDS = 3  # over which the rate of now is taken
_USUAL_S = 600.0  # time constant of the usual rate: a load that stays becomes the usual one within minutes
_LEAVING = 0.5  # of the rates that begin a storm: below these it is calm
_DEAF_S = 180.0  # of repeating: whoever has not got an answer by then does not hear us, busy or not
_HEARS_S = 60.0  # without repeating: it hears us again
_HINDERS_S = 900.0  # of a storm: what lasts longer is no reason to leave ghosts alone

_Heard = dict[str, tuple[int, int]]  # label of a NAS: datagrams, how many of them repeats


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
    lone_repeats_per_s: float = 500.0  # where only one NAS repeats
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
    """Counts by whole seconds. `active`, `began_at` (monotonic), `reason`, `nas` and `deaf` are there to be read.

    `nas` is the label of the NAS that sent most when it began, or of the one that rebooted. `deaf` are the labels
    of those that have repeated for minutes; what they repeat makes no storm.
    """

    __slots__ = (
        "_access",
        "_heard",
        "_limits",
        "_live_sessions",
        "_repeating",
        "_second_ends",
        "_stormy_at",
        "_usual_per_s",
        "active",
        "began_at",
        "deaf",
        "nas",
        "reason",
    )

    def __init__(self, limits: Limits, live_sessions: Callable[[str], int]) -> None:
        """`live_sessions` returns how many sessions the NAS of a label has."""
        self._limits = limits
        self._live_sessions = live_sessions
        self._access = [0] * (_SECONDS + 1)  # this second first, then those before
        self._heard: list[_Heard] = [{} for _ in self._access]
        self._repeating: dict[str, tuple[float, float]] = {}  # label: since when, and when last
        self._second_ends = 0.0
        self._usual_per_s = 0.0
        self._stormy_at = 0.0
        self.active = False
        self.began_at: float | None = None
        self.reason: Reason | None = None
        self.nas: str | None = None
        self.deaf: tuple[str, ...] = ()

    def note(self, now: float, nas: str, total: int, access: int, repeats: int) -> None:
        """Count what came of a NAS in a batch: datagrams, how many of them came to an authentication port, how many
        were seen before. `nas` is its label, `now` monotonic seconds.
        """
        if now >= self._second_ends:
            self.turn(now)
        self._access[0] += access
        before = self._heard[0].get(nas, (0, 0))
        self._heard[0][nas] = before[0] + total, before[1] + repeats

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
        last = self._heard[0]
        self._pass(seconds)
        self._second_ends += seconds
        heard = self._lately()
        self._listen(now, heard)
        cause = self._cause(heard)
        if cause is not None:
            self._stormy(now, cause, max(last, key=lambda label: last[label][0]) if last else None)
        elif self.active and now - self._stormy_at >= self._limits.calm_s:
            self.active = False
            self.began_at = self.reason = self.nas = None
        return self.active

    def hinders(self, now: float) -> bool:
        """Tell whether reports may get lost on our side: in a storm that is not older than a quarter of an hour."""
        return self.turn(now) and self.began_at is not None and now - self.began_at < _HINDERS_S

    def snapshot(self, now: float, at: float) -> Snapshot:
        """Return the state for people and metrics; `at` is the same time as `now`, epoch seconds."""
        self.turn(now)
        since = None if self.began_at is None else at - (now - self.began_at)
        total, repeats = _sum(self._lately())
        share = repeats / total if total else 0.0
        return Snapshot(
            self.active, since, self.reason, self.nas, self._access_per_s(), self._usual_per_s, share
        )

    def _pass(self, seconds: int) -> None:
        """End the current second, and `seconds` - 1 more in which nothing came."""
        usual = self._usual_per_s
        usual += (self._access[0] - usual) / _USUAL_S
        self._usual_per_s = usual * (1.0 - 1.0 / _USUAL_S) ** (seconds - 1)
        shift = min(seconds, _SECONDS + 1)
        del self._access[_SECONDS + 1 - shift :]
        self._access[:0] = [0] * shift
        del self._heard[_SECONDS + 1 - shift :]
        self._heard[:0] = [{} for _ in range(shift)]

    def _access_per_s(self) -> float:
        return sum(self._access[1:]) / _SECONDS

    def _lately(self) -> _Heard:
        """Return what came of each NAS in the last whole seconds."""
        found: _Heard = {}
        for second in self._heard[1:]:
            for label, (total, repeats) in second.items():
                before = found.get(label, (0, 0))
                found[label] = before[0] + total, before[1] + repeats
        return found

    def _repeats(self, total: int, repeats: int) -> bool:
        """Tell whether a NAS does so, of which that came in the last whole seconds; a lost datagram is no repeating."""
        return repeats >= max(_SECONDS, _LEAVING * self._limits.repeats_share * total)

    def _listen(self, now: float, heard: _Heard) -> None:
        """Note who repeats, and who has done so for too long."""
        repeating = self._repeating
        for label, (total, repeats) in heard.items():
            if self._repeats(total, repeats):
                repeating[label] = repeating.get(label, (now, now))[0], now
        if repeating:
            self._repeating = {label: each for label, each in repeating.items() if now - each[1] < _HEARS_S}
            long = [label for label, each in self._repeating.items() if now - each[0] >= _DEAF_S]
            self.deaf = tuple(sorted(long))

    def _cause(self, heard: _Heard) -> Reason | None:
        """Return what speaks for a storm now; while there is one, half as much keeps it up."""
        limits = self._limits
        factor = _LEAVING if self.active else 1.0
        if self._access_per_s() >= factor * max(limits.least_per_s, limits.times_usual * self._usual_per_s):
            return Reason.RATE
        hearing = {label: each for label, each in heard.items() if label not in self.deaf}
        total, repeats = _sum(hearing)
        several = sum(self._repeats(*each) for each in hearing.values()) > 1
        least_per_s = limits.least_repeats_per_s if several else limits.lone_repeats_per_s
        many = repeats >= factor * least_per_s * _SECONDS
        return Reason.REPEATS if many and repeats >= factor * limits.repeats_share * total else None

    def _stormy(self, now: float, reason: Reason, nas: str | None) -> None:
        self._stormy_at = now
        if not self.active:
            self.active = True
            self.began_at, self.reason, self.nas = now, reason, nas


def _sum(heard: _Heard) -> tuple[int, int]:
    """Return datagrams and repeats of all NASes together."""
    return sum(each[0] for each in heard.values()), sum(each[1] for each in heard.values())
