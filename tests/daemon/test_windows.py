"""Windows of allowances: they follow each other without a hole, on the tenant's clock."""

from __future__ import annotations

from datetime import datetime
from math import inf
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.aaa.windows import end_of, frame_of, start_of
from daemon.replica.rules import Window

BERLIN = ZoneInfo("Europe/Berlin")
LAGOS = ZoneInfo("Africa/Lagos")
ZONES = ("Europe/Berlin", "Africa/Lagos", "Africa/Cairo", "America/Havana", "America/Santiago", "Asia/Beirut")


def at(text: str, zone: ZoneInfo = LAGOS) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def span(window: Window, text: str, zone: ZoneInfo = LAGOS, month_day: int = 1) -> tuple[str, str]:
    """Return the local start and end of a window."""
    then = at(text, zone)
    ends = start_of(window, then, zone, month_day), end_of(window, then, zone, month_day)
    first, last = (datetime.fromtimestamp(each, zone).isoformat(" ", "minutes")[:16] for each in ends)
    return first, last


def test_a_day_begins_at_local_midnight() -> None:
    assert span(Window.DAY, "2026-03-06T00:00:00") == ("2026-03-06 00:00", "2026-03-07 00:00")
    assert span(Window.DAY, "2026-03-06T23:59:59") == ("2026-03-06 00:00", "2026-03-07 00:00")
    assert start_of(Window.DAY, at("2026-03-06T00:30:00"), LAGOS, 1) % 86_400 == 23 * 3600


def test_a_week_begins_on_monday() -> None:
    for day in range(2, 9):
        assert span(Window.WEEK, f"2026-03-{day:02}T12:00:00") == ("2026-03-02 00:00", "2026-03-09 00:00")


@pytest.mark.parametrize(
    ("text", "month_day", "first", "last"),
    [
        ("2026-03-31T12:00:00", 1, "2026-03-01", "2026-04-01"),
        ("2026-03-14T23:59:59", 15, "2026-02-15", "2026-03-15"),
        ("2026-03-15T00:00:00", 15, "2026-03-15", "2026-04-15"),
        ("2026-01-05T00:00:00", 15, "2025-12-15", "2026-01-15"),
        ("2026-12-20T00:00:00", 15, "2026-12-15", "2027-01-15"),
        ("2026-02-27T12:00:00", 31, "2026-01-31", "2026-02-28"),
        ("2026-02-28T00:00:00", 31, "2026-02-28", "2026-03-31"),
        ("2026-03-30T12:00:00", 31, "2026-02-28", "2026-03-31"),
        ("2026-04-30T00:00:00", 31, "2026-04-30", "2026-05-31"),
        ("2028-02-28T12:00:00", 30, "2028-01-30", "2028-02-29"),
        ("2028-02-29T12:00:00", 30, "2028-02-29", "2028-03-30"),
    ],
)
def test_a_month_begins_on_the_plans_day_or_the_last(
    text: str, month_day: int, first: str, last: str
) -> None:
    assert span(Window.MONTH, text, month_day=month_day) == (f"{first} 00:00", f"{last} 00:00")


def test_all_time_has_no_bounds() -> None:
    assert start_of(Window.TOTAL, at("2026-03-06T12:00:00"), LAGOS, 1) == 0.0
    assert end_of(Window.TOTAL, at("2026-03-06T12:00:00"), LAGOS, 1) == inf


def test_the_day_of_a_change_of_the_clock_is_longer_or_shorter() -> None:
    for text, length_h in (("2026-03-29T12:00:00", 23), ("2026-10-25T12:00:00", 25)):
        frame = frame_of(at(text, BERLIN), BERLIN, 1)
        assert frame.ends[0] - frame.starts[0] == length_h * 3600


def test_all_moments_of_a_day_share_one_frame() -> None:
    assert frame_of(at("2026-03-06T00:00:00"), LAGOS, 7) is frame_of(at("2026-03-06T23:59:59"), LAGOS, 7)


@settings(deadline=None)
@given(
    second=st.integers(1_700_000_000, 2_000_000_000),
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    month_day=st.integers(1, 31),
    window=st.sampled_from([Window.DAY, Window.WEEK, Window.MONTH]),
)
def test_windows_hold_their_moments_and_follow_each_other(
    second: int, zone: ZoneInfo, month_day: int, window: Window
) -> None:
    start, end = (edge(window, second, zone, month_day) for edge in (start_of, end_of))
    assert start <= second < end
    assert start_of(window, start, zone, month_day) == start
    assert end_of(window, end - 1, zone, month_day) == end
    assert start_of(window, end, zone, month_day) == end
