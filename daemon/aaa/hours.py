"""Hours of the week on a tenant's own clock: whether a moment is inside, and when that changes.

A span begins the first time that its start is on the clock that day and ends the last time that its end is.
Where the clock jumps over one of them, that is the moment of the jump. So a span is one piece on the days on
which the clock changes too, longer or shorter by the change; a span that the clock jumps over wholly is not.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from math import inf
from zoneinfo import ZoneInfo

from daemon.replica.rules import Hours

Span = tuple[float, float]

_DAY_MIN = 24 * 60
# A week, and another where the only change of a week is one that the clock jumps over, and the day that runs.
_HORIZON_DAYS = 16


def inside(hours: tuple[Hours, ...], at: float, zone: ZoneInfo) -> bool:
    """Tell whether epoch second `at` is inside one of the spans. No hours at all hold no moment."""
    for start, end in _outlook(hours, zone, day_of(at, zone)):
        if at < end:
            return at >= start
    return False


def next_change(hours: tuple[Hours, ...], at: float, zone: ZoneInfo) -> float | None:
    """Return the next epoch second at which `inside` changes, None where it never does."""
    for start, end in _outlook(hours, zone, day_of(at, zone)):
        if at < start:
            return start
        if at < end:
            return None if end == inf else end
    return None


def ends_at(hours: tuple[Hours, ...], at: float, zone: ZoneInfo) -> float | None:
    """Return the epoch second at which the span that holds `at` ends, joined with those that go on from there.

    None where it never ends, and where no span holds `at`.
    """
    for start, end in _outlook(hours, zone, day_of(at, zone)):
        if at < end:
            return end if at >= start and end != inf else None
    return None


def day_of(at: float, zone: ZoneInfo) -> int:
    """Return the local date of epoch second `at` as its ordinal, in which day 1 is a Monday."""
    return datetime.fromtimestamp(at, zone).toordinal()


def moment(day: int, minute: int, zone: ZoneInfo, *, last: bool = False) -> float:
    """Return the epoch second at which the clock shows `minute` of the day with that ordinal, or jumps over it.

    The first such moment where the clock is set back, else the `last`. Minutes may go on past midnight.
    """
    more, minute = divmod(minute, _DAY_MIN)
    shown = datetime.combine(date.fromordinal(day + more), datetime.min.time(), zone)
    shown = shown.replace(hour=minute // 60, minute=minute % 60)
    first, second = shown.timestamp(), shown.replace(fold=1).timestamp()
    if first <= second:
        return second if last else first
    return _jump_between(int(second), int(first), zone)


def _jump_between(low: int, high: int, zone: ZoneInfo) -> float:
    """Return when the clock jumps, which it does once after `low` and not after `high`."""
    after = datetime.fromtimestamp(high, zone).utcoffset()
    while low < high:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == after:
            high = middle
        else:
            low = middle + 1
    return float(high)


@lru_cache(maxsize=4096)
def _outlook(hours: tuple[Hours, ...], zone: ZoneInfo, day: int) -> tuple[Span, ...]:
    """Return the joined spans that touch a day, and the one after them; an end of infinity means never."""
    begins, ends = moment(day, 0, zone), moment(day + 1, 0, zone)
    beyond = moment(day + _HORIZON_DAYS, 0, zone)
    out: list[Span] = []
    for start, end in _joined(_spans(hours, zone, day - 1, day + _HORIZON_DAYS)):
        if end <= begins:
            continue
        out.append((start, inf if end >= beyond else end))
        if start >= ends:
            break
    return tuple(out)


def _spans(hours: tuple[Hours, ...], zone: ZoneInfo, first: int, last: int) -> list[Span]:
    """Return the spans that begin on the days from `first` to `last`, sorted."""
    out: list[Span] = []
    for each in hours:
        end_min = each.end_min if each.end_min > each.start_min else each.end_min + _DAY_MIN
        to_midnight = end_min % _DAY_MIN == 0  # the day that follows begins the first time
        for day in range(first, last + 1):
            if (day - 1) % 7 in each.days:
                start = moment(day, each.start_min, zone)
                end = moment(day, end_min, zone, last=not to_midnight)
                if start < end:
                    out.append((start, end))
    return sorted(out)


def _joined(spans: list[Span]) -> list[Span]:
    """Return sorted spans without overlaps; those that adjoin become one."""
    out: list[Span] = []
    for start, end in spans:
        if out and start <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], end)
        else:
            out.append((start, end))
    return out
