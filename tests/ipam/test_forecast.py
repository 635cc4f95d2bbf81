"""Pool forecasts: figures by hand, and what must not move them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.forecast import (
    DAY_S,
    Change,
    Confidence,
    Driver,
    Forecast,
    Outlook,
    Peak,
    TooLittleData,
    fit,
    forecast,
    size_for,
    what_if,
)
from ipam.forecast_chart import chart

FIRST = 20_000


def line(days: int, *, start: int = 1_000, slope: float = 10.0, held: float = 0.0) -> list[Peak]:
    return [Peak(FIRST + day, round(start + slope * day), round(100 + held * day)) for day in range(days)]


def made(peaks: Iterable[Peak], critical: int, at: float) -> Forecast:
    found = forecast(peaks, critical, at)
    assert isinstance(found, Forecast), found
    return found


def morning(day: int) -> float:
    """The epoch second at the beginning of a day, counted from the first."""
    return float((FIRST + day) * DAY_S)


def test_a_straight_line_is_followed_to_the_day() -> None:
    found = made(line(28), 2_000, morning(28) + 3_600)  # 1,000 + 10 x 100 on day 100
    assert found.seconds == 72 * DAY_S - 3_600
    assert (found.earliest_s, found.latest_s) == (found.seconds, found.seconds)
    assert (found.outlook, found.driver) == (Outlook.GROWING, Driver.SUBSCRIBERS)
    assert found.trend.slope == 10.0


def test_one_storm_does_not_move_the_trend() -> None:
    peaks = line(28)
    peaks[20] = replace(peaks[20], used=1_990)
    peaks[7] = replace(peaks[7], used=0)
    assert made(peaks, 2_000, morning(28)).trend.slope == 10.0
    assert made(peaks, 2_000, morning(28)).seconds == 72 * DAY_S


def test_a_weekly_rhythm_is_no_trend() -> None:
    """Ending on busy days looks like growth to a plain line."""
    peaks = [Peak(FIRST + day, 1_000 + (500 if day % 7 >= 5 else 0)) for day in range(28)]
    found = made(peaks, 2_000, morning(28))
    assert (found.outlook, found.seconds) == (Outlook.STABLE, None)
    assert found.trend.expected(FIRST + 33) == 1_500
    assert found.trend.expected(FIRST + 28) == 1_000


def test_the_busy_day_of_the_week_comes_first() -> None:
    peaks = [Peak(FIRST + day, 1_000 + 10 * day + (100 if day % 7 == 5 else 0)) for day in range(28)]
    # 10 x day + 100 reaches 1,000 on day 90 at the earliest; the next busy day is 96, a plain day needs 100
    assert made(peaks, 2_000, morning(28)).seconds == (96 - 28) * DAY_S


def test_gaps_do_not_change_a_straight_line() -> None:
    peaks = [peak for peak in line(40) if peak.day % 3]
    assert made(peaks, 2_000, morning(40)).seconds == 60 * DAY_S


def test_the_order_and_repeats_of_the_peaks_do_not_matter() -> None:
    peaks = line(28)
    shuffled = [*peaks, *(replace(peak, used=peak.used - 50) for peak in peaks)]
    Random(7).shuffle(shuffled)
    assert made(shuffled, 2_000, morning(28)) == made(peaks, 2_000, morning(28))


def test_today_is_not_over_and_does_not_count() -> None:
    quiet = Peak(FIRST + 28, 3)  # just after midnight
    assert made([*line(28), quiet], 2_000, morning(28) + 60) == made(line(28), 2_000, morning(28) + 60)
    full = Peak(FIRST + 28, 2_000)
    assert made([*line(28), full], 2_000, morning(28) + 60).outlook is Outlook.CRITICAL


def test_too_little_data_says_how_much_is_needed() -> None:
    assert forecast(line(6), 2_000, morning(6)) == TooLittleData(6, 7)
    assert forecast([], 2_000, 0.0) == TooLittleData(0, 7)
    assert made(line(7), 2_000, morning(7)).confidence is Confidence.LOW


def test_a_full_pool_is_critical_now() -> None:
    found = made(line(28), 1_200, morning(28))
    assert (found.outlook, found.seconds) == (Outlook.CRITICAL, 0.0)


@pytest.mark.parametrize(("slope", "outlook"), [(0.0, Outlook.STABLE), (-5.0, Outlook.SHRINKING)])
def test_what_does_not_grow_has_no_time(slope: float, outlook: Outlook) -> None:
    found = made(line(28, slope=slope), 2_000, morning(28))
    assert (found.outlook, found.seconds, found.latest_s) == (outlook, None, None)
    assert found.driver is Driver.NONE


def test_what_takes_longer_than_ten_years_is_far() -> None:
    found = made(line(28, slope=1.0), 100_000, morning(28))
    assert (found.outlook, found.seconds) == (Outlook.FAR, None)


def noisy(days: int, slope: float, seed: int) -> list[Peak]:
    chance = Random(seed)
    return [Peak(FIRST + day, round(5_000 + slope * day + chance.gauss(0, 60))) for day in range(days)]


def test_chance_alone_is_not_called_growth() -> None:
    """The interval is of 90 %, so 5 % of the flat pools look as if they grew; more would be a false alarm machine."""
    called = sum(made(noisy(60, 0.0, seed), 5_400, morning(60)).seconds is not None for seed in range(200))
    assert called <= 20


def test_the_interval_holds_the_truth() -> None:
    held = 0
    for seed in range(200):
        trend = made(noisy(60, 12.0, seed), 20_000, morning(60)).trend
        held += trend.slope_low <= 12.0 <= trend.slope_high
    assert held >= 170


def test_the_time_lies_within_its_interval() -> None:
    found = made(noisy(60, 12.0, 3), 8_000, morning(60))
    assert found.seconds is not None
    assert found.earliest_s is not None
    assert found.latest_s is not None
    assert 0 < found.earliest_s < found.seconds < found.latest_s
    assert found.confidence is Confidence.HIGH


@given(
    st.integers(7, 60),
    st.sampled_from([-3.0, 0.0, 0.2, 1.5, 10.0]),
    st.sampled_from([1_100, 1_500, 3_000, 20_000]),
    st.integers(0, 30),
    st.integers(0, 1_000),
)
def test_the_day_is_the_first_that_reaches_it(
    days: int, slope: float, critical: int, later: int, seed: int
) -> None:
    chance = Random(seed)
    peaks = [
        Peak(FIRST + day, max(0, round(1_000 + slope * day + 100 * (day % 7 > 4) + chance.gauss(0, 30))))
        for day in range(days)
    ]
    at = morning(days + later)
    found = made(peaks, critical, at)
    if found.outlook is Outlook.CRITICAL:
        return
    today = FIRST + days + later
    ahead = range(today, today + 3_650)
    early = next((day for day in ahead if found.trend.bounds(day)[1] >= critical), None)
    assert found.earliest_s == (None if early is None else early * DAY_S - at)
    if found.outlook in (Outlook.GROWING, Outlook.FAR):
        expected = next((day for day in ahead if found.trend.expected(day) >= critical), None)
        late = next((day for day in ahead if found.trend.bounds(day)[0] >= critical), None)
        assert found.seconds == (None if expected is None else expected * DAY_S - at)
        assert found.latest_s == (None if late is None else late * DAY_S - at)


def test_that_nothing_grows_is_known_well_where_no_growth_would_matter() -> None:
    assert made(noisy(90, 0.0, 2), 20_000, morning(90)).confidence is Confidence.HIGH
    assert made(noisy(90, 0.0, 2), 5_200, morning(90)).confidence is Confidence.MEDIUM


def test_many_gaps_lower_the_confidence() -> None:
    sparse = [peak for peak in noisy(120, 12.0, 3) if peak.day % 3 == 0]
    assert made(sparse, 8_000, morning(120)).confidence is Confidence.LOW


def test_growing_holds_are_named_as_the_driver() -> None:
    assert made(line(28, held=8.0), 2_000, morning(28)).driver is Driver.HOLDS
    assert made(line(28, held=2.0), 2_000, morning(28)).driver is Driver.SUBSCRIBERS


def test_half_the_hold_time_frees_half_of_what_is_held() -> None:
    peaks = [Peak(FIRST + day, 1_000 + 10 * day, 400) for day in range(28)]
    shorter = what_if(peaks, 2_000, morning(28), Change(hold_s=7_200, new_hold_s=3_600))
    assert isinstance(shorter, Forecast)
    assert shorter.seconds == (72 + 20) * DAY_S  # 200 units fewer at 10 a day


def test_a_larger_pool_lasts_longer() -> None:
    larger = what_if(line(28), 2_000, morning(28), Change(critical=2_500))
    assert isinstance(larger, Forecast)
    assert larger.seconds == (72 + 50) * DAY_S


def test_a_hold_time_needs_the_present_one() -> None:
    with pytest.raises(ValueError, match="present"):
        what_if(line(28), 2_000, morning(28), Change(new_hold_s=60))


def test_the_size_for_a_time_is_enough_for_it_and_one_less_is_not() -> None:
    trend = fit(line(28))
    size = size_for(trend, morning(28), 100 * DAY_S, critical_share=0.9)
    critical = int(size * 0.9)
    assert trend.expected(FIRST + 128) == 2_280
    assert size == 2_534  # 2,280 / 0.9 = 2,533.3
    assert critical >= 2_280
    with pytest.raises(ValueError, match="critical_share"):
        size_for(trend, 0.0, DAY_S, critical_share=0.0)


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 5_000)),
        min_size=2,
        max_size=13,
        unique_by=lambda e: e[0],
    )
)
def test_the_slope_is_the_median_of_all_pairs(points: list[tuple[int, int]]) -> None:
    """Below two weeks no season is taken out, so this is Theil and Sen's own definition."""
    peaks = [Peak(day, used) for day, used in sorted(points)]
    pairs = [
        (later.used - earlier.used) / (later.day - earlier.day)
        for spot, earlier in enumerate(peaks)
        for later in peaks[spot + 1 :]
    ]
    trend = fit(peaks)
    assert trend.slope == pytest.approx(median(pairs))
    assert trend.slope_low <= trend.slope <= trend.slope_high


@given(st.integers(14, 60), st.integers(-20, 20), st.integers(0, 300))
def test_more_use_moves_the_level_and_nothing_else(days: int, slope: int, more: int) -> None:
    peaks = line(days, start=2_000, slope=slope)
    lifted = [replace(peak, used=peak.used + more) for peak in peaks]
    one, other = fit(peaks), fit(lifted)
    assert other.slope == one.slope
    assert other.level == pytest.approx(one.level + more)


@pytest.mark.parametrize("width", [30, 41, 80, 132, 300])
def test_the_chart_keeps_to_its_width(width: int) -> None:
    peaks = noisy(90, 12.0, 5)
    lines = chart(peaks, made(peaks, 8_000, morning(90)), width)
    assert max(len(each) for each in lines) <= width
    assert len(lines) == 12 + 2
    assert any("#" in each for each in lines)
    assert any("*" in each for each in lines)
    assert "d ago" in lines[-1]
    assert lines[-1].endswith("+90 d")


def test_the_chart_shows_the_line_rising_to_the_critical_one() -> None:
    peaks = line(30, start=0, slope=10.0)
    lines = chart(peaks, made(peaks, 600, morning(30)), 66, height=6, ahead_days=30)
    assert lines[0].startswith("630 |")
    assert lines[6].startswith("  0 |##########")
    row = {spot for spot, each in enumerate(lines) for spot_, mark in enumerate(each) if mark == "-"}
    assert len(row) == 1  # the critical line is one line
    heights = [
        next(row for row, each in enumerate(lines) if len(each) > column and each[column] in "#*")
        for column in range(10, 60)
    ]
    assert heights == sorted(heights, reverse=True)
