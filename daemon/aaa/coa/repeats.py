"""Spaces out intents that come again after they have failed: a NAS is not asked the same at every sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from daemon.aaa.coa.job import Intent, Job, Outcome

_MANY = 1000
_FIRST_S = 60.0
_LONGEST_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Failed:
    """What a session was asked to become in vain; `until` is monotonic seconds."""

    intent: Intent
    times: int
    until: float


class Repeats:
    """Remembers by session what ended without success. `lives` tells whether a session does."""

    def __init__(self, lives: Callable[[int], bool]) -> None:
        self._lives = lives
        self._failed: dict[int, _Failed] = {}
        self._crowded = _MANY

    def wait_s(self, session_uid: int, intent: Intent, now: float) -> float:
        """Return how long an intent has to wait because it has just failed: a minute, two, up to an hour.

        An urgent one never waits. Something else that is wanted makes us forget.
        """
        failed = self._failed.get(session_uid)
        if failed is None:
            return 0.0
        if not failed.intent.same(intent):
            del self._failed[session_uid]
            return 0.0
        return 0.0 if intent.urgent else max(0.0, failed.until - now)

    def ended(self, job: Job, now: float) -> None:
        """Note how a job has ended."""
        uid, intent = job.session_uid, job.intent
        if job.outcome is Outcome.SUPERSEDED or not intent.retries:
            return
        before = self._failed.pop(uid, None)
        if job.outcome.ok or job.session.closed_at is not None:
            return
        times = before.times + 1 if before is not None and before.intent.same(intent) else 1
        wait_s = min(_FIRST_S * 2.0 ** min(times - 1, 10), _LONGEST_S)
        self._failed[uid] = _Failed(intent, times, now + wait_s)
        if len(self._failed) > self._crowded:
            self._failed = {uid: failed for uid, failed in self._failed.items() if self._lives(uid)}
            self._crowded = max(_MANY, 2 * len(self._failed))
