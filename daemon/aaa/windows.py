"""Windows over which allowances count: the day, the week from Monday, the month from the plan's day, all time.

They begin at midnight of the tenant's own clock, or when the clock jumps over it. A month without the plan's
day begins its window on its last day. A month that has begun runs to its end though the plan's day changes.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date
from functools import lru_cache
from math import inf
from typing import NamedTuple
from zoneinfo import ZoneInfo

from daemon.aaa.hours import day_of, moment
from daemon.replica.rules import Window

WINDOWS = (Window.DAY, Window.WEEK, Window.MONTH, Window.TOTAL)
PLACE = {window: place for place, window in enumerate(WINDOWS)}
"""Where a window stands in `WINDOWS`, in `Frame.starts` and in `Frame.ends`."""

Four = tuple[float, float, float, float]

_HALF_DAY_S = 43_200.0
_MONTH = PLACE[Window.MONTH]


class Frame(NamedTuple):
    """The windows that one day is in: when each starts and ends, epoch seconds, in the order of `WINDOWS`."""

    starts: Four
    ends: Four


def frame_of(at: float, zone: ZoneInfo, month_day: int) -> Frame:
    """Return the windows that epoch second `at` is in; the same object for every moment of a day."""
    return _frame(day_of(at, zone), zone, month_day)


def start_of(window: Window, at: float, zone: ZoneInfo, month_day: int) -> float:
    """Return when the window that holds epoch second `at` starts; 0 for all time."""
    return _frame(day_of(at, zone), zone, month_day).starts[PLACE[window]]


def end_of(window: Window, at: float, zone: ZoneInfo, month_day: int) -> float:
    """Return when the window that holds epoch second `at` ends and the next starts; infinity for all time."""
    return _frame(day_of(at, zone), zone, month_day).ends[PLACE[window]]


def over(window: Window, start: float, at: float, zone: ZoneInfo, month_day: int) -> bool:
    """Tell whether a window that began at epoch second `start` is over at `at`."""
    if start_of(window, at, zone, month_day) <= start:
        return False
    if window is not Window.MONTH or start_of(window, start, zone, month_day) == start:
        return True
    return at >= _month_after(start, zone)


def moved(held: Four, at: float, zone: ZoneInfo, month_day: int | None) -> Four:
    """Return when the windows begin that are held since `held`, at epoch second `at`; they only move forward.

    None for `month_day` is a day that is not known just now: the month is then the one after that held.
    """
    if month_day is None:
        month_day = date.fromordinal(day_of(held[_MONTH] + _HALF_DAY_S, zone)).day
    starts = frame_of(at, zone, month_day).starts
    if starts is held:
        return held
    day, week, month, total = map(max, starts, held)
    if not over(Window.MONTH, held[_MONTH], at, zone, month_day):
        month = held[_MONTH]
    latest = day, week, month, total
    return starts if latest == starts else held if latest == held else latest


def _month_after(start: float, zone: ZoneInfo) -> float:
    """Return when a month ends that began at the midnight next to `start`, if not in this zone in another."""
    begin = date.fromordinal(day_of(start + _HALF_DAY_S, zone))
    return moment(_month(begin, begin.day)[1], 0, zone)


@lru_cache(maxsize=4096)
def _frame(day: int, zone: ZoneInfo, month_day: int) -> Frame:
    monday = day - (day - 1) % 7
    month, next_month = _month(date.fromordinal(day), month_day)
    days = day, monday, month, day + 1, monday + 7, next_month
    starts = [moment(each, 0, zone) for each in days]
    return Frame((starts[0], starts[1], starts[2], 0.0), (starts[3], starts[4], starts[5], inf))


def _month(day: date, month_day: int) -> tuple[int, int]:
    """Return on which day, as ordinals, the month window of a day begins and the next one does."""
    year, month = day.year, day.month
    if day.day < min(month_day, monthrange(year, month)[1]):
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    after = (year, month + 1) if month < 12 else (year + 1, 1)
    return _begin(year, month, month_day), _begin(*after, month_day)


def _begin(year: int, month: int, month_day: int) -> int:
    return date(year, month, min(month_day, monthrange(year, month)[1])).toordinal()
