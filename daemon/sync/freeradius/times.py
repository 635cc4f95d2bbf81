"""Times as FreeRADIUS writes them: Expiration, and Login-Time in the manner of UUCP."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2}))?")
_NUMBER = re.compile(r"[0-9]{1,4}")
_DAYS = ("su", "mo", "tu", "we", "th", "fr", "sa")
_OURS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(?P<days>[a-z,-]*)(?P<hours>[0-9]{4}(?:-[0-9]{4})?)?")
_DAY_MIN = 1440


def read_expiration(text: str, zone: tzinfo) -> float | None:
    """Return the epoch seconds of an Expiration such as `24 Dec 2026 18:00:00`, None where it is none.

    Times without a zone are local to `zone`. ISO 8601 is read too, which FreeRADIUS refuses.
    """
    given = text.strip()
    if re.fullmatch(r"[0-9]{5,11}", given):
        return float(given)
    try:
        iso = datetime.fromisoformat(given)
    except ValueError:
        return _words(given, zone)
    try:
        return (iso if iso.tzinfo is not None else iso.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):  # the first and last hours of the calendar in some zones
        return None


def _words(given: str, zone: tzinfo) -> float | None:
    month = day = year = None
    hour = minute = second = 0
    for word in given.replace(",", " ").split():
        clock = _CLOCK.fullmatch(word)
        if clock is not None:
            hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3] or 0)
        elif word[:3].lower() in _MONTHS:
            month = _MONTHS.index(word[:3].lower()) + 1
        elif _NUMBER.fullmatch(word):
            number = int(word)
            year, day = (number, day) if number > 31 else (year, number)
        elif word.lower() != "utc":
            return None
    if month is None or day is None or year is None:
        return None
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=zone).timestamp()
    except (ValueError, OverflowError):
        return None


def read_login_time(text: str) -> list[str] | None:
    """Return a Login-Time as hours of our plans, empty for `any time`, None where it cannot be said.

    `Wk0855-2305,Sa2200-0600` has inclusive ends, and what goes past midnight is of the same day's two ends.
    """
    hours: list[str] = []
    for part in re.split(r"[,|]", text.strip().lower()):
        match = _PART.fullmatch(part.strip())
        if match is None or not (match["days"] or match["hours"]):
            return None
        days = _read_days(match["days"])
        if days is None:
            return None
        spans = _spans(match["hours"])
        if spans is None:
            return None
        if len(days) == 7 and spans == [(0, _DAY_MIN)]:
            return []
        said = "" if len(days) == 7 else ",".join(_OURS[day] for day in days) + " "
        hours += [f"{said}{_clock(start)}-{_clock(end)}" for start, end in spans]
    return hours


def _read_days(text: str) -> list[int] | None:
    found: set[int] = set()
    rest = text or "al"
    while rest:
        if rest.startswith(("any", "al")):
            found.update(range(7))
            rest = rest[3:] if rest.startswith("any") else rest[2:]
        elif rest.startswith("wk"):
            found.update(range(1, 6))
            rest = rest[2:]
        elif rest[:2] in _DAYS:
            first = last = _DAYS.index(rest[:2])
            rest = rest[2:]
            if rest.startswith("-") and rest[1:3] in _DAYS:
                last = _DAYS.index(rest[1:3])
                rest = rest[3:]
            found.update((first + each) % 7 for each in range((last - first) % 7 + 1))
        else:
            return None
    return sorted(found)


def _spans(text: str | None) -> list[tuple[int, int]] | None:
    """Return spans of minutes of a day, their ends exclusive."""
    if text is None:
        return [(0, _DAY_MIN)]
    first, _, last = text.partition("-")
    start, end = (min(int(each[:2]) * 60 + int(each[2:]), _DAY_MIN - 1) for each in (first, last or first))
    if start <= end:
        return [(start, end + 1)]
    return [(0, end + 1), (start, _DAY_MIN)]


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
