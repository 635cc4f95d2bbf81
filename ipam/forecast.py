"""When a pool runs out: the trend of its daily peaks, robust against outliers, gaps and the weekly rhythm.

The slope is the median of the slopes between all pairs of days of the same weekday (Theil and Sen, with the
season taken out as Hirsch does), so one storm or one holiday does not move it. Its interval comes from the
ranks of those slopes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import combinations
from math import ceil, floor, isfinite, sqrt
from statistics import median

DAY_S = 86_400
FEWEST_DAYS = 7  # with less, any line fits
SEASON_DAYS = 14  # two of each weekday are needed to tell a rhythm from a trend
SURE_DAYS = 56
HORIZON_DAYS = 3_650
MAX_DAYS = 730  # what is older says nothing of the next months, and the pairs grow with the square
_LONG_S = 365 * DAY_S  # what cannot be full within a year surely is not filling
_Z = 1.645  # 90 % of a normal distribution lies within
_SPREAD = 1.4826  # median deviation to standard deviation of a normal distribution


class Outlook(StrEnum):
    """Where the pool goes."""

    CRITICAL = "critical"  # the last peak was there already
    GROWING = "growing"
    STABLE = "stable"  # no growth that the data could tell from chance
    SHRINKING = "shrinking"
    FAR = "far"  # growing, but not critical within ten years


class Confidence(StrEnum):
    """How much of the answer the data carry."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Driver(StrEnum):
    """What makes the pool fill."""

    NONE = "none"
    SUBSCRIBERS = "subscribers"  # more leases are bound at once
    HOLDS = "holds"  # more addresses are kept for owners who left


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest use of one day, `day` counted in days since the epoch (day 0 was a Thursday).

    `used` is what cannot be given to another owner; `held` is the part of it that is kept for owners who left.
    """

    day: int
    used: int
    held: int = 0


@dataclass(frozen=True, slots=True)
class Trend:
    """used = level + slope x day + season[weekday], with the 90 % interval of the slope (units a day).

    `season` has seven values around 0, for day % 7; all 0 where the data are too few to show one. `spread` is
    the standard deviation of what the line leaves over.
    """

    level: float
    slope: float
    slope_low: float
    slope_high: float
    season: tuple[float, ...]
    spread: float
    first_day: int
    last_day: int
    days: int  # with a peak; the rest of the time has gaps

    def expected(self, day: int) -> float:
        """Return the expected peak of a day, never below 0."""
        return max(0.0, self.level + self.slope * day + self.season[day % 7])

    def bounds(self, day: int) -> tuple[float, float]:
        """Return the 90 % interval of the peak of a day: of the slope, widened by the spread of single days."""
        ahead = day - (self.first_day + self.last_day) / 2
        around = self.level + self.slope * day + self.season[day % 7]
        ends = ((self.slope_low - self.slope) * ahead, (self.slope_high - self.slope) * ahead)
        return max(0.0, around + min(ends) - _Z * self.spread), around + max(ends) + _Z * self.spread


@dataclass(frozen=True, slots=True)
class TooLittleData:
    """There are peaks of `days` days, at least `needed` are needed."""

    days: int
    needed: int = FEWEST_DAYS


@dataclass(frozen=True, slots=True)
class Forecast:
    """When the peaks reach `critical`, in seconds from the time that was asked.

    `seconds` is None where the pool does not grow, or not enough to matter within ten years. `earliest_s` and
    `latest_s` are the 90 % interval, None for never.
    """

    outlook: Outlook
    critical: int
    seconds: float | None
    earliest_s: float | None
    latest_s: float | None
    confidence: Confidence
    driver: Driver
    trend: Trend


def forecast(peaks: Iterable[Peak], critical: int, at: float) -> Forecast | TooLittleData:
    """Return when the daily peaks reach `critical` units, seen from the epoch second `at`.

    The order of the peaks does not matter; of a day given twice the higher one counts, and days from `at` on
    are not looked at, except today, whose peak so far only counts where it is critical already.
    """
    today = floor(at / DAY_S)
    known = _days(peak for peak in peaks if peak.day <= today)
    so_far = known[-1] if known and known[-1].day == today else None
    past = known[:-1] if so_far else known
    if len(past) < FEWEST_DAYS:
        return TooLittleData(len(past))
    trend = fit(past)
    last = max(past[-1].used, so_far.used if so_far else 0)
    driver = _driver(past, trend)
    confidence = _confidence(trend, sure=_is_known(trend))
    if last >= critical:
        return Forecast(Outlook.CRITICAL, critical, 0.0, 0.0, 0.0, confidence, driver, trend)
    earliest = _reaches(trend, critical, at, 1)
    if trend.slope_low <= 0:
        outlook = Outlook.SHRINKING if trend.slope_high < 0 else Outlook.STABLE
        confidence = _confidence(trend, sure=earliest is None or earliest > _LONG_S)
        return Forecast(outlook, critical, None, earliest, None, confidence, Driver.NONE, trend)
    seconds = _reaches(trend, critical, at, 0)
    latest = _reaches(trend, critical, at, -1)
    outlook = Outlook.FAR if seconds is None else Outlook.GROWING
    return Forecast(outlook, critical, seconds, earliest, latest, confidence, driver, trend)


def fit(peaks: Sequence[Peak]) -> Trend:
    """Return the trend of peaks in the order of their days, one for each day, at least two."""
    seasonal = peaks[-1].day - peaks[0].day + 1 >= SEASON_DAYS and len(peaks) >= SEASON_DAYS
    groups: dict[int, list[Peak]] = defaultdict(list)
    for peak in peaks:
        groups[peak.day % 7 if seasonal else 0].append(peak)
    slopes = sorted(
        (later.used - earlier.used) / (later.day - earlier.day)
        for group in groups.values()
        for earlier, later in combinations(group, 2)
    )
    slope = median(slopes)
    low, high = _interval(slopes, [len(group) for group in groups.values()])
    rests = {peak.day: peak.used - slope * peak.day for peak in peaks}
    season: tuple[float, ...] = (0.0,) * 7
    if seasonal:
        level = median(rests.values())
        by_weekday = [
            median([rests[peak.day] for peak in groups[day]]) - level if groups[day] else 0.0
            for day in range(7)
        ]
        middle = median(by_weekday)
        season = tuple(each - middle for each in by_weekday)
    level = median(rest - season[day % 7] for day, rest in rests.items())
    spread = _SPREAD * median(abs(rest - season[day % 7] - level) for day, rest in rests.items())
    return Trend(level, slope, low, high, season, spread, peaks[0].day, peaks[-1].day, len(peaks))


def _interval(slopes: list[float], sizes: list[int]) -> tuple[float, float]:
    """Return the 90 % interval of the median slope, by Sen: ranks around the middle, from the variance of S."""
    variance = sum(size * (size - 1) * (2 * size + 5) for size in sizes) / 18
    half = _Z * sqrt(variance) / 2
    low = max(0, floor(len(slopes) / 2 - half))
    high = min(len(slopes) - 1, ceil(len(slopes) / 2 + half))
    return slopes[low], slopes[high]


def _days(peaks: Iterable[Peak]) -> list[Peak]:
    """Return the last days in order, one peak for each."""
    highest: dict[int, Peak] = {}
    for peak in peaks:
        if peak.day not in highest or peak.used > highest[peak.day].used:
            highest[peak.day] = peak
    return [highest[day] for day in sorted(highest)][-MAX_DAYS:]


def _reaches(trend: Trend, critical: int, at: float, side: int) -> float | None:
    """Return the seconds until the first day with such a peak: the expected one, or the end of its interval.

    Each weekday has a straight line of its own, for today is never before the middle of the peaks.
    """
    today = floor(at / DAY_S)
    found = [
        day for start in range(today, today + 7) if (day := _meets(trend, critical, start, side)) is not None
    ]
    return max(0.0, min(found) * DAY_S - at) if found else None


def _meets(trend: Trend, critical: int, start: int, side: int) -> int | None:
    """Return the first day with such a peak of those `start`, a week later, and so on."""

    def reached(day: int) -> bool:
        low, high = trend.bounds(day)
        return (high if side > 0 else low if side < 0 else trend.expected(day)) >= critical

    if reached(start):
        return start
    slope = trend.slope_high if side > 0 else trend.slope_low if side < 0 else trend.slope
    if slope <= 0:
        return None
    middle = (trend.first_day + trend.last_day) / 2
    wanted = critical - trend.level - trend.season[start % 7] - side * _Z * trend.spread
    meets = (wanted - (trend.slope - slope) * middle) / slope  # level + slope x middle is on all three lines
    weeks = max(0, ceil((min(meets, start + HORIZON_DAYS) - start) / 7) - 1)  # a rounding more or less
    for day in range(start + 7 * weeks, start + 7 * weeks + 22, 7):
        if day < start + HORIZON_DAYS and reached(day):
            return day
    return None


def _driver(peaks: Sequence[Peak], trend: Trend) -> Driver:
    if trend.slope <= 0:
        return Driver.NONE
    held = fit([replace(peak, used=peak.held) for peak in peaks])
    return Driver.HOLDS if held.slope > trend.slope / 2 else Driver.SUBSCRIBERS


def _is_known(trend: Trend) -> bool:
    """Tell whether the slope is known to a third."""
    return trend.slope_high - trend.slope_low <= abs(trend.slope) * 2 / 3


def _confidence(trend: Trend, *, sure: bool) -> Confidence:
    """Return high for two months with few gaps of which the answer is sure, low while no season can be seen or
    more than half of the days are missing.

    The answer is sure where the slope is known well, or where no slope that the data allow matters within a year.
    """
    covered = trend.days / (trend.last_day - trend.first_day + 1)
    if trend.days < SEASON_DAYS or covered < 0.5:
        return Confidence.LOW
    return Confidence.HIGH if trend.days >= SURE_DAYS and covered >= 0.8 and sure else Confidence.MEDIUM


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What could be changed: how many units become critical, and how long addresses are held (s, from and to)."""

    critical: int | None = None
    hold_s: float | None = None
    new_hold_s: float | None = None


def what_if(peaks: Iterable[Peak], critical: int, at: float, change: Change) -> Forecast | TooLittleData:
    """Return the forecast as it were if `change` had been in force all the time.

    The number of held addresses is taken to follow the hold time: as many owners leave, each is kept longer or
    shorter (Little). That is an upper estimate of what a shorter time frees where owners come back sooner.
    Raises ValueError for a hold time that is not above 0, or a new one without the present one.
    """
    scale = _scale(change)
    changed = [
        replace(peak, used=peak.used - peak.held + round(peak.held * scale), held=round(peak.held * scale))
        for peak in peaks
    ]
    return forecast(changed, critical if change.critical is None else change.critical, at)


def size_for(trend: Trend, at: float, seconds: float, critical_share: float = 0.9) -> int:
    """Return how many units a pool needs so that its peaks stay below `critical_share` for `seconds` from `at`.

    Counts with the upper end of the 90 % interval. Raises ValueError for a share not above 0 and at most 1.
    """
    if not 0 < critical_share <= 1 or not isfinite(seconds):
        raise ValueError("critical_share is a part of 1, and seconds are finite")
    first, last = floor(at / DAY_S), floor((at + seconds) / DAY_S)
    ends = (
        *range(first, min(first + 7, last + 1)),
        *range(max(first, last - 6), last + 1),
    )  # a week at either end
    highest = max(trend.bounds(day)[1] for day in ends)
    return floor(highest / critical_share) + 1


def _scale(change: Change) -> float:
    if change.new_hold_s is None:
        return 1.0
    if change.hold_s is None or change.hold_s <= 0 or change.new_hold_s < 0:
        raise ValueError("a new hold time needs the present one, above 0")
    return change.new_hold_s / change.hold_s
