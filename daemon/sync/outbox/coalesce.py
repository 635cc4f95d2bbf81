"""Interims that a later record makes needless, found among those that the platform has not acknowledged.

Counters of a session are totals, so that of a run that only rises the first and the last record say all. A record
goes only where the one before and the one after are of the same session, with the same addresses, in the order of
their time, and no counter falls from the first to the last of the three: what any receiver adds up stays the same.
A session whose records came out of order is left as it is.
"""

from __future__ import annotations

from array import array
from itertools import chain
from typing import NamedTuple

from daemon.aaa.counters import Sample
from daemon.aaa.session import Report
from radius.codes import AcctStatus

_INTERIM = int(AcctStatus.INTERIM_UPDATE)
_MOST_SESSIONS = 100_000
_DRIFT_S = 5.0  # a report that computes back to another start may be of another session of that id


class _Seen(NamedTuple):
    """The last record of a session, and whether it may go once the next one says more. `began` is the earliest."""

    seq: int
    at: float
    same: tuple[object, ...]  # what must not differ
    sample: Sample | None
    ipv6: tuple[int, int]
    session_time_s: int
    began: float
    last_began: float
    inner: bool
    tainted: bool


class Coalescer:
    """Fed with the reports of a journal in its order; `take` gives the numbers of those that may go.

    Remembers the last report of each of so many sessions, the longest unheard of are forgotten first. A report that
    is late takes back what was found needless of its session since the last `take`.
    """

    def __init__(self, most_sessions: int = _MOST_SESSIONS) -> None:
        self._most = most_sessions
        self._seen: dict[tuple[bytes, bytes | None], _Seen] = {}
        self._needless: dict[tuple[bytes, bytes | None], array[int]] = {}
        self.found = 0  # since the last `take`

    def feed(self, report: Report) -> None:
        """Take the next report."""
        key = report.key, report.class_octets
        before = self._seen.pop(key, None)
        now = _seen(report, before)
        if before is not None and before.inner and not now.tainted and _follows(before, now):
            self._needless.setdefault(key, array("Q")).append(before.seq)
            self.found += 1
        elif now.tainted:
            self.found -= len(self._needless.pop(key, ()))
        self._seen[key] = now
        if len(self._seen) > self._most:
            del self._seen[next(iter(self._seen))]

    def take(self) -> list[int]:
        """Return the numbers of what may go, sorted, and forget them."""
        found = sorted(chain.from_iterable(self._needless.values()))
        self._needless = {}
        self.found = 0
        return found


def _seen(report: Report, before: _Seen | None) -> _Seen:
    began = report.at if report.began_at is None else report.began_at
    same = (report.username, report.subscriber, report.tracked)
    now = _Seen(
        seq=report.seq,
        at=report.at,
        same=same,
        sample=report.sample,
        ipv6=report.ipv6_octets or (0, 0),
        session_time_s=report.session_time_s or 0,
        began=began if before is None else min(began, before.began),
        last_began=began,
        inner=False,
        tainted=before is not None and (before.tainted or report.at <= before.at),
    )
    inner = (
        report.status == _INTERIM
        and before is not None
        and not now.tainted
        and before.began <= began
        and (report.began_at is None or abs(began - before.last_began) <= _DRIFT_S)
        and _follows(before, now)
    )
    return now._replace(inner=inner)


def _follows(earlier: _Seen, later: _Seen) -> bool:
    """Tell whether a record says all that the one before it said, but for what that one alone began."""
    if earlier.same != later.same or earlier.sample is None or later.sample is None:
        return False
    return (
        all(one <= other for one, other in zip(earlier.sample[1:6], later.sample[1:6], strict=True))
        and earlier.ipv6[0] <= later.ipv6[0]
        and earlier.ipv6[1] <= later.ipv6[1]
        and earlier.session_time_s <= later.session_time_s
    )
