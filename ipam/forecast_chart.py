"""Draws a pool's daily peaks and their forecast with characters, for a terminal of any width."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from ipam.forecast import Forecast, Peak

PEAK, EXPECTED, BAND, CRITICAL = "#", "*", ".", "-"
LEAST_WIDTH = 30
LEAST_HEIGHT = 4


def chart(
    peaks: Sequence[Peak], forecast: Forecast, width: int, height: int = 12, ahead_days: int = 90
) -> tuple[str, ...]:
    """Return at least `height` + 2 lines of at most `width` characters: peaks, the expectation, its 90 % interval
    and the critical line, days below. Each column is one day or the highest of several; days without a peak
    stay empty. Widths below 30 and heights below 4 are taken as those.
    """
    width, height = max(width, LEAST_WIDTH), max(height, LEAST_HEIGHT)
    last = forecast.trend.last_day
    known = {peak.day: peak.used for peak in peaks if peak.day <= last}
    first = min(known, default=last)
    scale = len(str(_top(known, forecast, last + ahead_days)))
    columns = _columns(first, last + ahead_days, width - scale - 2)
    marks = [_marks(days, known, forecast) for days in columns]
    top = _top(known, forecast, last + ahead_days)
    lines = [_line(row, height, top, scale, marks, forecast.critical) for row in range(height, -1, -1)]
    return (*lines, _days_line(columns, last, scale, width))


def _top(known: dict[int, int], forecast: Forecast, end: int) -> int:
    ahead = max(forecast.trend.expected(end - back) for back in range(7))
    # The interval may be many times the peaks: what lies above the picture is left out.
    return max(ceil(max((forecast.critical, ahead, *known.values())) * 1.05), 1)


def _columns(first: int, end: int, room: int) -> list[range]:
    step = max(1, ceil((end - first + 1) / room))
    return [range(day, min(day + step, end + 1)) for day in range(first, end + 1, step)]


def _marks(days: range, known: dict[int, int], forecast: Forecast) -> tuple[tuple[float, float, str], ...]:
    """Return what stands in a column: from a value to a value, with which character; later ones go on top."""
    past = [known[day] for day in days if day in known]
    if past:
        return ((0, max(past), PEAK),)
    if days[0] <= forecast.trend.last_day:
        return ()
    bounds = [forecast.trend.bounds(day) for day in days]
    expected = max(forecast.trend.expected(day) for day in days)
    low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
    return ((low, high, BAND), (expected, expected, EXPECTED))


def _line(
    row: int,
    height: int,
    top: int,
    scale: int,
    marks: list[tuple[tuple[float, float, str], ...]],
    critical: int,
) -> str:
    here = [_character(row, height, top, each, critical) for each in marks]
    said = f"{round(row * top / height):>{scale}}" if row % 4 == 0 or row == height else " " * scale
    return f"{said} |{''.join(here)}".rstrip()


def _character(
    row: int, height: int, top: int, marks: tuple[tuple[float, float, str], ...], critical: int
) -> str:
    found = CRITICAL if row == round(critical * height / top) else " "
    for low, high, mark in marks:
        if round(low * height / top) <= row <= round(high * height / top):
            found = mark
    return found


def _days_line(columns: list[range], last: int, scale: int, width: int) -> str:
    today = next(spot for spot, days in enumerate(columns) if last in days)
    before, after = f"{last - columns[0][0]} d ago", f"+{columns[-1][-1] - last} d"
    line = list(" " * (len(columns)))
    for start, text in ((0, before), (today, "^"), (len(columns) - len(after), after)):
        if start >= 0 and all(each == " " for each in line[start : start + len(text)]):
            line[start : start + len(text)] = text
    return (" " * (scale + 2) + "".join(line))[:width].rstrip()
