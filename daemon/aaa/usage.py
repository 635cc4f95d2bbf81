"""What subscribers have used in the windows of their allowances, counted from what their sessions report.

A session carries what of it was counted already; `UsageBook.count` adds the difference, so that counting twice,
late or after corrections gives the same sums. The difference is spread evenly over the time since the last
count, and each window takes the part that lies in it. Windows only move forward, and never past our own clock,
which is not believed at once when it leaps (`aaa.steady_clock`).

Crash safety. A usage row and the `counted` of the sessions in it are two halves of one fact. `take` hands out
both halves whole: the rows, and every session whose row belongs into the same transaction, also those that were
counted but whose transaction failed. So what is on disk always agrees: a subscriber's total is the sum of the
`counted` of its sessions. After a crash the journal is folded in again, sessions reach the same totals, and
their difference to `counted` is exactly what the rows do not have.

A subscriber takes 380 octets of memory, its place in the table included, and after a start those of its id.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from sys import intern
from typing import NamedTuple
from zoneinfo import ZoneInfo

from daemon.aaa.session import Closed, Session
from daemon.aaa.steady_clock import SteadyClock
from daemon.aaa.windows import PLACE, WINDOWS, Four, frame_of, moved, over
from daemon.replica.rules import Allowance, Direction, Measure, Rules, Window
from daemon.store.usage_rows import UsageRow

START_NOT_SEEN = "start-not-seen"  # part of a session's traffic is older than the window, nobody knows which
LOST_STOP = "lost-stop"  # a session ended without telling its last counters
CLOCK = "clock"  # the window that was counted lies in the future

Key = tuple[str, str]  # tenant, subscriber
_Gaps = tuple[str, str, str, str]
_More = tuple[int, int, int]  # upload octets, download octets, seconds
_Day = tuple[float, ZoneInfo, int | None]  # a moment of it, and what tells the windows that hold it

_VERSION = 1
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_DAY = PLACE[Window.DAY]
_TOTAL = PLACE[Window.TOTAL]
_WIDTH = 4  # numbers of each window: upload, download, seconds, sessions that lost their Stop
_LOST = 3
_MOST = (1 << 63) - 1
_EMPTY = array("q", bytes(8 * _WIDTH * len(WINDOWS)))
_NO_GAPS: _Gaps = ("", "", "", "")


class Tally(NamedTuple):
    """What was used in a window since epoch second `start`; `gap` says why that may not be all, else empty."""

    start: float
    upload_octets: int
    download_octets: int
    seconds: int
    gap: str


class Usage:
    """What one subscriber has used: four windows in one array, because there are very many of these."""

    __slots__ = ("_gaps", "_numbers", "starts", "updated_at")

    def __init__(
        self, starts: Four, updated_at: float = 0.0, numbers: array[int] = _EMPTY, gaps: _Gaps = _NO_GAPS
    ) -> None:
        self.starts = starts  # mostly shared with every other subscriber
        self.updated_at = updated_at  # event time
        self._numbers = array("q", numbers)
        self._gaps = gaps

    def tally(self, window: Window) -> Tally:
        """Return what was used in a window, which may be over by now."""
        place = PLACE[window]
        at = place * _WIDTH
        upload, download, seconds, lost = self._numbers[at : at + _WIDTH]
        gap = self._gaps[place] or (LOST_STOP if lost else "")
        return Tally(self.starts[place], upload, download, seconds, gap)

    @property
    def day(self) -> Tally:
        """What was used in the last day counted."""
        return self.tally(Window.DAY)

    @property
    def week(self) -> Tally:
        """What was used in the last week counted."""
        return self.tally(Window.WEEK)

    @property
    def month(self) -> Tally:
        """What was used in the last month counted."""
        return self.tally(Window.MONTH)

    @property
    def total(self) -> Tally:
        """What was used since this subscriber was first online here."""
        return self.tally(Window.TOTAL)

    def advance(self, at: float, zone: ZoneInfo, month_day: int | None) -> bool:
        """Begin the windows anew that are over at epoch second `at`; True when the day is one of them."""
        held = self.starts
        starts = self.starts = moved(held, at, zone, month_day)
        if starts is held or starts == held:
            return False
        gaps = list(self._gaps)
        for place, start in enumerate(starts):
            if start > held[place]:
                self._numbers[place * _WIDTH : (place + 1) * _WIDTH] = _EMPTY[:_WIDTH]
                gaps[place] = ""
        self._gaps = _gaps(gaps)
        return starts[_DAY] > held[_DAY]

    def add(self, more: _More, since: float, until: float) -> None:
        """Add upload octets, download octets and seconds that came about from `since` to `until`; may be negative."""
        numbers = self._numbers
        place = 0
        for start in self.starts:
            if since >= start:
                parts = more
            elif until <= start:
                place += _WIDTH
                continue
            else:
                share = (until - start) / (until - since)
                parts = int(more[0] * share), int(more[1] * share), int(more[2] * share)
            for part in parts:
                number = numbers[place] + part
                numbers[place] = number if 0 <= number <= _MOST else 0 if number < 0 else _MOST
                place += 1
            place += 1

    def mark_gap(self, reason: str, places: Iterable[int]) -> None:
        """Say why the numbers of some windows may not be complete; the first reason stays."""
        gaps = list(self._gaps)
        for place in places:
            gaps[place] = gaps[place] or reason
        self._gaps = _gaps(gaps)

    def lose_stop(self, at: float, by: int) -> None:
        """Change by how many sessions the windows that hold epoch second `at` lack a Stop."""
        for place, start in enumerate(self.starts):
            if start <= at:
                spot = place * _WIDTH + _LOST
                self._numbers[spot] = max(self._numbers[spot] + by, 0)

    def detail(self) -> bytes:
        """Return everything but `updated_at`, as JSON."""
        found = {"v": _VERSION, "starts": self.starts, "numbers": self._numbers.tolist(), "gaps": self._gaps}
        return _ENCODE(found).encode()


def _gaps(reasons: Sequence[str]) -> _Gaps:
    """Return reasons as they are held: without any, the one object that all share."""
    day, week, month, total = reasons
    found = day, week, month, total
    return found if any(found) else _NO_GAPS


def to_row(key: Key, usage: Usage) -> UsageRow:
    """Return the row of a subscriber's usage as it is now."""
    return UsageRow(key[0], key[1], usage.updated_at, usage.detail())


def from_row(row: UsageRow) -> Usage:
    """Return the usage in a row. Raises ValueError, KeyError, TypeError or OverflowError where it is none."""
    found = json.loads(row.detail)
    day, week, month, total = map(float, found["starts"])
    numbers = array("q", found["numbers"])
    if len(numbers) != len(_EMPTY):
        raise ValueError(f"{len(numbers)} numbers of usage, not {len(_EMPTY)}")
    return Usage((day, week, month, total), row.updated_at, numbers, _gaps(found["gaps"]))


@dataclass(frozen=True, slots=True)
class Taken:
    """Usage rows, and all sessions whose rows must be written in the same transaction."""

    rows: list[UsageRow]
    sessions: list[Session]
    counted: list[tuple[Key, tuple[Session, ...]]]


class UsageBook:
    """What every subscriber has used. The only writer of usage and of what sessions carry of it.

    `skew_s` is how far ahead of our clock a NAS's may be. `dirty` holds the subscribers whose row on disk is
    older than what is here, with the sessions that were counted since. `late_octets` counts what was told only
    when the day that it belongs to was over for its subscriber; the day takes no more, week and month may.
    """

    def __init__(self, skew_s: float) -> None:
        self.skew_s = skew_s
        self.dirty: dict[Key, tuple[Session, ...]] = {}
        self.late_octets = 0
        self._usages: dict[Key, Usage] = {}
        self._clock = SteadyClock()

    def __len__(self) -> int:
        return len(self._usages)

    def find(self, tenant: str, subscriber: str) -> Usage | None:
        """Return what a subscriber has used, None when it has never been online here."""
        return self._usages.get((tenant, subscriber))

    def load(self, rows: Iterable[UsageRow]) -> int:
        """Take in what the store has; return how many rows could not be read, which are left out."""
        shared: dict[Four, Four] = {}
        unreadable = 0
        for row in rows:
            try:
                usage = from_row(row)
            except (ValueError, KeyError, TypeError, OverflowError):
                unreadable += 1
                continue
            usage.starts = shared.setdefault(usage.starts, usage.starts)
            self._usages[intern(row.tenant), row.subscriber] = usage
        return unreadable

    def count(
        self, session: Session, zone: ZoneInfo, month_day: int | None, at: float, now: float | None = None
    ) -> None:
        """Add what a session has used and was not counted yet; `at` is our clock's epoch second, `now` monotonic.

        Does nothing for a session of nobody; all of it is counted once its subscriber is known. Without `now`
        the clock is believed; without a `month_day`, as without a plan, the month goes on from the day it began.
        """
        if now is not None:
            at = self._clock.read(at, now)
        if not session.subscriber:
            return
        totals, before = session.counters.totals, session.counted
        counted = totals.upload_octets, totals.download_octets, session.session_time_s
        more = counted[0] - before[0], counted[1] - before[1], counted[2] - before[2]
        latest = at + self.skew_s
        since = session.counted_at or min(session.started_at, latest)
        until = max(since, min(session.updated_at, latest))
        lost = session.closed_at is not None and session.closed_by is not Closed.STOP
        if lost or any(more) or session.count_gap == LOST_STOP:
            first = not session.counted_at
            end = max(until, min(session.closed_at or 0.0, latest)) if lost else until
            usage = self._add(session, more, since, until, (end, zone, month_day))
            if first and not session.start_seen and (more[0] or more[1]):
                _mark_estimate(usage, session, since, until)
            if session.count_gap == LOST_STOP:  # a conclusion that was wrong is taken back, another is moved
                usage.lose_stop(since, -1)
                session.count_gap = ""
            if lost:
                usage.lose_stop(end, 1)
                session.count_gap = LOST_STOP
            until = end
        session.counted = counted
        session.counted_at = until

    def _add(self, session: Session, more: _More, since: float, until: float, day: _Day) -> Usage:
        """Add what came about from `since` to `until` to the usage, moved on to the windows that hold `day`."""
        key = session.tenant, session.subscriber
        counted = self.dirty.get(key, ())
        if session not in counted:
            self.dirty[key] = (*counted, session)
        usage = self._usages.get(key)
        if usage is None:
            usage = self._usages[key] = Usage(frame_of(day[0], day[1], day[2] or 1).starts)
        elif not usage.advance(*day) and since < usage.starts[_DAY]:
            share = 1.0 if until <= usage.starts[_DAY] else (usage.starts[_DAY] - since) / (until - since)
            self.late_octets += int(max(more[0] + more[1], 0) * share)
        usage.add(more, since, until)
        usage.updated_at = max(usage.updated_at, until)
        return usage

    def mark_gap(
        self, tenant: str, subscriber: str, reason: str, at: float, zone: ZoneInfo, month_day: int
    ) -> None:
        """Say that what a subscriber used at epoch second `at` may not have been counted, and why."""
        key = tenant, subscriber
        usage = self._usages.setdefault(key, Usage(frame_of(at, zone, month_day).starts))
        usage.advance(at, zone, month_day)
        usage.mark_gap(reason, [place for place, start in enumerate(usage.starts) if start <= at])
        usage.updated_at = max(usage.updated_at, at)
        self.dirty.setdefault(key, ())

    def take(self, sessions: Iterable[Session]) -> Taken:
        """Return what must be written together with the rows of `sessions`, which are among it, and call it clean.

        Make the session rows before anything else can count, and write all in one transaction. Whoever
        writes a session row must come through here. A `Taken` that could not be written is given back
        before the next is taken.
        """
        written = list(sessions)
        return self._take([(each.tenant, each.subscriber) for each in written], written)

    def take_some(self, most: int) -> Taken:
        """Return up to `most` rows that no session has asked for, such as marked gaps; as `take` does."""
        return self._take(list(islice(self.dirty, most)), [])

    def _take(self, keys: list[Key], sessions: list[Session]) -> Taken:
        counted = [(key, self.dirty.pop(key)) for key in keys if key in self.dirty]
        rows = [to_row(key, self._usages[key]) for key, _ in counted if key in self._usages]
        together = dict.fromkeys([*sessions, *(each for _, found in counted for each in found)])
        return Taken(rows, list(together), counted)

    def give_back(self, taken: Taken) -> None:
        """Call dirty again what could not be written; the sessions must be called so by their own table."""
        for key, sessions in taken.counted:
            self.dirty[key] = tuple(dict.fromkeys((*sessions, *self.dirty.get(key, ()))))

    def forget(self, updated_before: float) -> int:
        """Drop subscribers not heard of since that event time; the store does the same. Returns how many went.

        What they used in all begins again at zero with them.
        """
        old = [key for key, usage in self._usages.items() if usage.updated_at < updated_before]
        gone = [key for key in old if key not in self.dirty]
        for key in gone:
            del self._usages[key]
        return len(gone)


def _mark_estimate(usage: Usage, session: Session, since: float, until: float) -> None:
    """Mark the windows whose part of a session without a Start is a guess.

    The NAS tells totals, so a window that holds the whole session has all of it, and all time always has.
    Where the session's length is unknown too, any of its traffic may be older than a window.
    """
    begins = since if session.session_time_s else 0.0
    places = [place for place, start in enumerate(usage.starts[:_TOTAL]) if begins < start <= until]
    if places:
        usage.mark_gap(START_NOT_SEEN, places)
        session.count_gap = START_NOT_SEEN


class Used(NamedTuple):
    """How much of an allowance is used, in its measure; `gap` says why it may be another amount, else empty."""

    amount: int
    gap: str


class Balance(NamedTuple):
    """How a subscriber stands with an allowance; `most` has the subscriber's bonus in it."""

    allowance: Allowance
    used: Used
    most: int

    @property
    def left(self) -> int:
        """What may still be used before something happens; 0 when it is used up."""
        return max(0, self.most - self.used.amount)

    @property
    def acts(self) -> bool:
        """Whether it is used up, and surely so, as the more was used where a Stop is lost, or told to act on gaps."""
        return self.used.amount >= self.most and (self.used.gap in ("", LOST_STOP) or self.allowance.on_gap)


def used(usage: Usage | None, allowance: Allowance, at: float, zone: ZoneInfo, month_day: int) -> Used:
    """Return how much of an allowance is used in the window that holds epoch second `at`.

    A window that moved to another day or zone counts from where it began under the old rule, a month to its end.
    """
    if usage is None:
        return Used(0, "")
    tally = usage.tally(allowance.window)
    if over(allowance.window, tally.start, at, zone, month_day):
        return Used(0, "")
    if tally.start > at:
        return Used(0, CLOCK)
    if allowance.measure is Measure.SECONDS:
        return Used(tally.seconds, tally.gap)
    upload = 0 if allowance.direction is Direction.DOWNLOAD else tally.upload_octets
    download = 0 if allowance.direction is Direction.UPLOAD else tally.download_octets
    return Used(upload + download, tally.gap)


def balances(
    usage: Usage | None, rules: Rules, bonus_octets: int, at: float, zone: ZoneInfo
) -> tuple[Balance, ...]:
    """Return how a subscriber stands with each allowance of its plan, in the plan's order."""
    return tuple(
        Balance(
            each,
            used(usage, each, at, zone, rules.month_day),
            each.most + (bonus_octets if each.measure is Measure.OCTETS else 0),
        )
        for each in rules.allowances
    )


def crossed(
    usage: Usage | None, rules: Rules, bonus_octets: int, at: float, zone: ZoneInfo
) -> tuple[Balance, ...]:
    """Return the allowances of a plan that are used up, in the plan's order, whether they act or not."""
    return tuple(each for each in balances(usage, rules, bonus_octets, at, zone) if not each.left)
