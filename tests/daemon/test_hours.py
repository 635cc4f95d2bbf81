"""Hours of the week: over midnight, through changes of the clock, joined where they adjoin."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.aaa.hours import ends_at, inside, moment, next_change
from daemon.replica.rules import Hours

BERLIN = ZoneInfo("Europe/Berlin")
LAGOS = ZoneInfo("Africa/Lagos")
UTC = ZoneInfo("UTC")
MON, TUE, WED, THU, FRI, SAT, SUN = range(7)
EVERY_DAY = tuple(range(7))


def hours(days: tuple[int, ...], start: str, end: str) -> Hours:
    return Hours(days=days, start_min=minutes(start), end_min=minutes(end))


def minutes(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


def at(text: str, zone: ZoneInfo = UTC) -> float:
    """Return the epoch second of a local time; one with an offset in it means that."""
    read = datetime.fromisoformat(text)
    return (read if read.tzinfo else read.replace(tzinfo=zone)).timestamp()


OFFICE = (hours((MON, TUE, WED, THU, FRI), "08:00", "20:00"),)
NIGHT = (hours(EVERY_DAY, "22:00", "05:00"),)
ALWAYS = (hours(EVERY_DAY, "00:00", "00:00"),)


@pytest.mark.parametrize(
    ("moment_text", "expected"),
    [
        ("2026-03-06T07:59:59", False),
        ("2026-03-06T08:00:00", True),
        ("2026-03-06T19:59:59", True),
        ("2026-03-06T20:00:00", False),
        ("2026-03-07T12:00:00", False),  # Saturday
    ],
)
def test_office_hours_are_local_to_the_tenant(moment_text: str, expected: bool) -> None:
    assert inside(OFFICE, at(moment_text, LAGOS), LAGOS) is expected
    assert inside(OFFICE, at(moment_text, BERLIN), BERLIN) is expected


def test_the_same_moment_is_inside_in_one_zone_and_outside_in_another() -> None:
    evening = at("2026-07-01T19:30:00", LAGOS)
    assert inside(OFFICE, evening, LAGOS)
    assert not inside(OFFICE, evening, BERLIN), "it is 20:30 in Berlin in summer"


def test_after_friday_the_next_change_is_on_monday() -> None:
    friday_night = at("2026-03-06T21:00:00", LAGOS)
    assert next_change(OFFICE, friday_night, LAGOS) == at("2026-03-09T08:00:00", LAGOS)
    assert ends_at(OFFICE, friday_night, LAGOS) is None


def test_a_span_over_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    friday_night = (hours((FRI,), "22:00", "06:00"),)
    assert inside(friday_night, at("2026-03-07T05:59:59"), UTC)
    assert not inside(friday_night, at("2026-03-06T05:00:00"), UTC)
    assert ends_at(friday_night, at("2026-03-06T23:00:00"), UTC) == at("2026-03-07T06:00:00")
    assert next_change(friday_night, at("2026-03-07T06:00:00"), UTC) == at("2026-03-13T22:00:00")


def test_the_end_that_is_the_start_is_a_day_later() -> None:
    monday_to_tuesday = (hours((MON,), "06:00", "06:00"),)
    assert ends_at(monday_to_tuesday, at("2026-03-02T06:00:00"), UTC) == at("2026-03-03T06:00:00")
    assert not inside(monday_to_tuesday, at("2026-03-02T05:59:59"), UTC)


def test_a_whole_day_goes_from_midnight_to_midnight() -> None:
    sunday = (hours((SUN,), "00:00", "00:00"),)
    assert next_change(sunday, at("2026-03-07T12:00:00"), UTC) == at("2026-03-08T00:00:00")
    assert ends_at(sunday, at("2026-03-08T00:00:00"), UTC) == at("2026-03-09T00:00:00")


def test_adjoining_and_overlapping_spans_end_together() -> None:
    weekend = (
        hours((FRI,), "18:00", "00:00"),
        hours((SAT, SUN), "00:00", "00:00"),
        hours((SUN,), "23:00", "04:00"),
    )
    assert ends_at(weekend, at("2026-03-06T18:00:00"), UTC) == at("2026-03-09T04:00:00")
    assert next_change(weekend, at("2026-03-07T12:00:00"), UTC) == at("2026-03-09T04:00:00")


@pytest.mark.parametrize("always", [ALWAYS, (hours(EVERY_DAY, "07:30", "07:30"),)])
def test_what_never_ends_never_changes(always: tuple[Hours, ...]) -> None:
    for day in range(1, 29):
        moment_then = at(f"2026-03-{day:02}T07:30:00", BERLIN)
        assert inside(always, moment_then, BERLIN)
        assert next_change(always, moment_then, BERLIN) is None
        assert ends_at(always, moment_then, BERLIN) is None


@pytest.mark.parametrize("never", [(), (hours((), "08:00", "20:00"),)])
def test_no_hours_hold_no_moment(never: tuple[Hours, ...]) -> None:
    assert not inside(never, at("2026-03-06T12:00:00"), UTC)
    assert next_change(never, at("2026-03-06T12:00:00"), UTC) is None
    assert ends_at(never, at("2026-03-06T12:00:00"), UTC) is None


def test_a_night_is_an_hour_shorter_in_spring_and_longer_in_autumn() -> None:
    spring, autumn = at("2026-03-28T22:00:00+01:00"), at("2026-10-24T22:00:00+02:00")
    assert ends_at(NIGHT, spring, BERLIN) == at("2026-03-29T05:00:00+02:00") == spring + 6 * 3600
    assert ends_at(NIGHT, autumn, BERLIN) == at("2026-10-25T05:00:00+01:00") == autumn + 8 * 3600
    assert ends_at(NIGHT, at("2026-03-28T22:00:00", LAGOS), LAGOS) == at("2026-03-29T05:00:00", LAGOS)


def test_an_end_or_start_that_the_clock_jumps_over_is_the_jump() -> None:
    jump = at("2026-03-29T03:00:00+02:00")
    until_half_past_two = (hours(EVERY_DAY, "22:00", "02:30"),)
    assert ends_at(until_half_past_two, at("2026-03-28T23:00:00+01:00"), BERLIN) == jump
    from_half_past_two = (hours(EVERY_DAY, "02:30", "06:00"),)
    assert next_change(from_half_past_two, at("2026-03-29T01:00:00+01:00"), BERLIN) == jump
    assert not inside(from_half_past_two, jump - 1, BERLIN)
    assert inside(from_half_past_two, jump, BERLIN)


def test_a_span_that_the_clock_jumps_over_wholly_is_not() -> None:
    sunday_at_two = (hours((SUN,), "02:00", "03:00"),)
    before = at("2026-03-28T12:00:00", BERLIN)
    assert next_change(sunday_at_two, before, BERLIN) == at("2026-04-05T02:00:00", BERLIN)


def test_what_pauses_only_for_an_hour_that_is_jumped_over_goes_on_for_two_weeks() -> None:
    all_but_sunday_at_two = (
        hours((MON, TUE, WED, THU, FRI, SAT), "00:00", "00:00"),
        hours((SUN,), "00:00", "02:00"),
        hours((SUN,), "03:00", "00:00"),
    )
    resumed = at("2026-03-22T03:00:00", BERLIN)
    assert ends_at(all_but_sunday_at_two, resumed, BERLIN) == at("2026-04-05T02:00:00", BERLIN)
    assert not inside(all_but_sunday_at_two, resumed - 1, BERLIN)


def test_a_span_in_the_hour_that_comes_twice_is_one_piece() -> None:
    one_hour = (hours((SUN,), "02:00", "02:30"),)
    first, second = at("2026-10-25T02:00:00+02:00"), at("2026-10-25T02:30:00+01:00")
    assert next_change(one_hour, first - 1, BERLIN) == first
    assert ends_at(one_hour, first, BERLIN) == second
    assert inside(one_hour, at("2026-10-25T02:45:00+02:00"), BERLIN)


def test_a_day_whose_midnight_is_jumped_over_begins_at_the_jump() -> None:
    cairo = ZoneInfo("Africa/Cairo")  # from Thursday 24:00 to Friday 01:00, 24 April 2026
    friday = (hours((FRI,), "00:00", "00:00"),)
    begins = at("2026-04-24T01:00:00+03:00")
    assert next_change(friday, begins - 3600, cairo) == begins
    assert ends_at(friday, begins, cairo) == at("2026-04-25T00:00:00", cairo)


def test_a_day_whose_midnight_comes_twice_does_not_reach_into_the_next() -> None:
    havana = ZoneInfo("America/Havana")  # Sunday 01:00 becomes 00:00, 1 November 2026
    saturday = (hours((SAT,), "00:00", "00:00"),)
    sunday_begins = at("2026-11-01T00:00:00-04:00")
    assert ends_at(saturday, at("2026-10-31T12:00:00", havana), havana) == sunday_begins


CLOCK = st.integers(0, 24 * 60 - 1)
SPANS = st.lists(
    st.builds(
        Hours,
        days=st.sets(st.integers(0, 6), max_size=7).map(lambda days: tuple(sorted(days))),
        start_min=CLOCK,
        end_min=CLOCK,
    ),
    min_size=1,
    max_size=3,
).map(tuple)


@settings(max_examples=200, deadline=None)
@given(spans=SPANS, start=st.integers(1_774_400_000, 1_775_200_000), lagos=st.booleans())
def test_the_answer_holds_until_the_next_change_and_changes_then(
    spans: tuple[Hours, ...], start: int, lagos: bool
) -> None:
    zone = LAGOS if lagos else BERLIN
    now, answer = float(start), inside(spans, start, zone)
    for _ in range(6):
        change = next_change(spans, now, zone)
        if change is None:
            assert inside(spans, now + 9 * 86_400, zone) is answer
            return
        assert change > now
        assert inside(spans, (now + change) / 2, zone) is answer
        assert inside(spans, change - 0.5, zone) is answer
        answer = not answer
        assert inside(spans, change, zone) is answer
        assert ends_at(spans, change, zone) == (next_change(spans, change, zone) if answer else None)
        now = change


@settings(max_examples=300, deadline=None)
@given(spans=SPANS, second=st.integers(1_700_000_000, 1_900_000_000))
def test_where_the_clock_never_changes_the_answer_is_that_of_the_clock(
    spans: tuple[Hours, ...], second: int
) -> None:
    local = datetime.fromtimestamp(second, LAGOS)
    minute, weekday = local.hour * 60 + local.minute, local.weekday()
    expected = False
    for each in spans:
        over = each.end_min <= each.start_min
        today, yesterday = weekday in each.days, (weekday - 1) % 7 in each.days
        if over:
            expected |= (today and minute >= each.start_min) or (yesterday and minute < each.end_min)
        else:
            expected |= today and each.start_min <= minute < each.end_min
    assert inside(spans, second, LAGOS) is expected


def test_a_moment_is_what_the_clock_shows() -> None:
    day = date(2026, 10, 25).toordinal()
    assert moment(day, 150, BERLIN) == at("2026-10-25T02:30:00+02:00")
    assert moment(day, 150, BERLIN, last=True) == at("2026-10-25T02:30:00+01:00")
    assert moment(day, 26 * 60, BERLIN) == at("2026-10-26T02:00:00+01:00")
