"""What subscribers have used: split at the windows' bounds, whole in all time, honest about gaps."""

from __future__ import annotations

import dataclasses
from zoneinfo import ZoneInfo

import pytest

from daemon.aaa.session import Closed, Report, Session
from daemon.aaa.sessions import Reboot, SessionTable
from daemon.aaa.usage import (
    CLOCK,
    LOST_STOP,
    START_NOT_SEEN,
    Tally,
    Usage,
    UsageBook,
    Used,
    balances,
    crossed,
    from_row,
    to_row,
    used,
)
from daemon.replica.rules import Allowance, Direction, Measure, Rules, Window
from daemon.store.usage_rows import UsageRow
from tests.daemon.usage_lines import INTERIM, LAGOS, START, STOP, Line, at

HOUR = 3600
NOON = at("2026-03-11T12:00:00")  # a Wednesday
LATE_EVENING = at("2026-03-11T23:00:00")
SKEW_S = 300.0


class Desk:
    """A table of sessions and a book; each report is counted when it is heard."""

    def __init__(self, zone: ZoneInfo = LAGOS, month_day: int = 1) -> None:
        self.table = SessionTable()
        self.book = UsageBook(SKEW_S)
        self.zone = zone
        self.month_day = month_day
        self._seq = 0

    def hear(self, report: Report, *, heard_at: float | None = None) -> Session:
        self._seq += 1
        _, session = self.table.apply(report._replace(seq=self._seq))
        self.count(session, report.heard_at if heard_at is None else heard_at)
        return session

    def count(self, session: Session, now: float) -> None:
        self.book.count(session, self.zone, self.month_day, now)

    @property
    def usage(self) -> Usage:
        usage = self.book.find("demo", "S1")
        assert usage is not None
        return usage


def octets(tally: Tally) -> tuple[int, int]:
    return tally.upload_octets, tally.download_octets


def test_each_window_counts_what_a_session_says() -> None:
    desk, line = Desk(), Line(NOON)
    desk.hear(line.report(START, 0))
    desk.hear(line.report(INTERIM, 600, 1000))
    desk.hear(line.report(STOP, 900, 1500))
    for tally in (desk.usage.day, desk.usage.week, desk.usage.month, desk.usage.total):
        assert (*octets(tally), tally.seconds, tally.gap) == (1500, 4500, 900, "")
    assert desk.usage.day.start == at("2026-03-11T00:00:00")
    assert desk.usage.week.start == at("2026-03-09T00:00:00")
    assert desk.usage.month.start == at("2026-03-01T00:00:00")
    assert desk.usage.total.start == 0.0


def test_counting_again_adds_nothing() -> None:
    desk, line = Desk(), Line(NOON)
    desk.hear(line.report(START, 0))
    session = desk.hear(line.report(INTERIM, 600, 1000))
    desk.count(session, NOON + 700)
    desk.hear(line.report(INTERIM, 600, 1000))
    assert octets(desk.usage.total) == (1000, 3000)


def test_what_crosses_midnight_is_split_there_by_time() -> None:
    desk, line = Desk(), Line(LATE_EVENING)
    desk.hear(line.report(START, 0))
    desk.hear(line.report(INTERIM, HOUR / 2, 600))
    desk.hear(line.report(INTERIM, 2 * HOUR, 1500))
    assert octets(desk.usage.day) == (600, 1800), "an hour of the hour and a half since the last count"
    assert desk.usage.day.seconds == HOUR
    assert desk.usage.day.start == at("2026-03-12T00:00:00")
    assert octets(desk.usage.week) == octets(desk.usage.month) == octets(desk.usage.total) == (1500, 4500)


def test_a_difference_over_several_bounds_leaves_each_window_its_own_part() -> None:
    begins = at("2026-02-27T00:00:00")  # Friday
    desk, line = Desk(), Line(begins)
    desk.hear(line.report(START, 0))
    desk.hear(line.report(INTERIM, 6 * 24 * HOUR, 6000))  # to Thursday, 5 March, midnight
    desk.hear(line.report(INTERIM, 6.5 * 24 * HOUR, 6500))
    assert octets(desk.usage.day) == (500, 1500)
    assert octets(desk.usage.week) == (3500, 10500)
    assert octets(desk.usage.month) == (4500, 13500)
    assert octets(desk.usage.total) == (6500, 19500)


def test_the_month_turns_on_the_plans_day() -> None:
    desk, line = Desk(month_day=12), Line(LATE_EVENING)
    desk.hear(line.report(START, 0))
    desk.hear(line.report(INTERIM, HOUR, 100))
    assert desk.usage.month.start == at("2026-03-12T00:00:00"), "midnight itself is the new month's"
    assert octets(desk.usage.month) == (0, 0)
    desk.hear(line.report(INTERIM, 2 * HOUR, 300))
    assert octets(desk.usage.month) == (200, 600)


def test_two_sessions_of_a_subscriber_add_up() -> None:
    desk = Desk()
    for number in range(2):
        line = Line(NOON, b"%d" % number)
        desk.hear(line.report(START, 0))
        desk.hear(line.report(STOP, 60, 100))
    assert (*octets(desk.usage.day), desk.usage.day.seconds) == (200, 600, 120)
    assert len(desk.book) == 1


def test_what_is_told_after_its_day_is_over_goes_to_the_windows_that_still_run() -> None:
    desk = Desk()
    slow, quick = Line(LATE_EVENING), Line(LATE_EVENING, b"0002")
    desk.hear(slow.report(START, 0))
    desk.hear(quick.report(START, 0))
    desk.hear(quick.report(STOP, 2 * HOUR, 200))
    late = slow.report(STOP, 1800, 50)
    desk.hear(late, heard_at=LATE_EVENING + 3 * HOUR)
    assert desk.usage.day.start == at("2026-03-12T00:00:00")
    assert octets(desk.usage.day) == (100, 300)
    assert octets(desk.usage.week) == (250, 750)
    assert desk.book.late_octets == 200


def test_half_of_what_is_told_late_may_still_be_of_today() -> None:
    desk = Desk()
    slow, quick = Line(LATE_EVENING), Line(LATE_EVENING, b"0002")
    desk.hear(slow.report(START, 0))
    desk.hear(quick.report(START, 0))
    desk.hear(quick.report(STOP, 2 * HOUR, 200))
    desk.hear(slow.report(STOP, 2 * HOUR, 50))
    assert octets(desk.usage.day) == (125, 375)
    assert desk.book.late_octets == 100


def test_counters_corrected_downwards_are_taken_back_but_not_below_zero() -> None:
    desk, line = Desk(), Line(NOON)
    desk.hear(line.report(START, 0))
    session = desk.hear(line.report(INTERIM, 600, 1000))
    session.counted = 1400, 3000, 600  # as if more had been believed before
    desk.count(session, NOON + 600)
    assert octets(desk.usage.day) == (600, 3000)
    session.counted = 9_000_000, 3000, 600
    desk.count(session, NOON + 600)
    assert octets(desk.usage.day) == (0, 3000)


def test_a_wrap_that_only_a_late_sample_reveals_is_added() -> None:
    desk, line = Desk(), Line(NOON)
    desk.hear(line.report(START, 0))
    low, high = (line.report(INTERIM, after) for after in (600, 300))
    for report, upload in ((low, 500), (high, (1 << 32) - 1)):
        assert report.sample is not None
        desk.hear(report._replace(sample=report.sample._replace(upload_octets=upload, gigawords=False)))
    assert desk.usage.day.upload_octets == (1 << 32) + 500


def test_traffic_of_nobody_is_counted_once_it_is_known_whose_it_is() -> None:
    desk, line = Desk(), Line(NOON)
    desk.hear(line.report(START, 0, subscriber=""))
    desk.hear(line.report(INTERIM, 600, 1000, subscriber=""))
    assert len(desk.book) == 0
    desk.hear(line.report(INTERIM, 1200, 2000))
    assert octets(desk.usage.day) == (2000, 6000)


def test_numbers_that_no_network_can_have_carried_do_not_break_the_book() -> None:
    desk, line = Desk(), Line(NOON)
    desk.hear(line.report(START, 0))
    desk.hear(line.report(INTERIM, 600, (1 << 64) - 1))
    assert desk.usage.day.upload_octets == (1 << 63) - 1


# Gaps


def test_a_session_first_heard_of_in_the_middle_is_spread_over_its_whole_length() -> None:
    desk = Desk()
    desk.hear(Line(at("2026-03-10T12:00:00")).report(INTERIM, 24 * HOUR, 2400))
    assert (octets(desk.usage.day), desk.usage.day.gap) == ((1200, 3600), START_NOT_SEEN)
    assert (octets(desk.usage.week), desk.usage.week.gap) == ((2400, 7200), "")
    assert desk.usage.month.gap == desk.usage.total.gap == ""


def test_a_lost_start_is_no_gap_where_the_window_holds_the_whole_session() -> None:
    desk = Desk()
    session = desk.hear(Line(NOON).report(INTERIM, 600, 1000))
    assert (octets(desk.usage.day), desk.usage.day.gap, session.count_gap) == ((1000, 3000), "", "")


def test_without_a_start_and_a_session_time_every_bounded_window_has_a_gap() -> None:
    desk = Desk()
    desk.hear(Line(NOON).report(INTERIM, 0, 1000, began_at=None, session_time_s=None))
    gaps = [tally.gap for tally in (desk.usage.day, desk.usage.week, desk.usage.month, desk.usage.total)]
    assert gaps == [START_NOT_SEEN, START_NOT_SEEN, START_NOT_SEEN, ""]


def test_a_gap_goes_with_its_window() -> None:
    desk, line = Desk(), Line(at("2026-03-10T12:00:00"))
    desk.hear(line.report(INTERIM, 24 * HOUR, 2400))
    desk.hear(line.report(INTERIM, 48 * HOUR, 4800))
    assert desk.usage.day.gap == ""


@pytest.mark.parametrize("by", [Closed.GHOST, Closed.NOT_ON_NAS, Closed.TAKEN_OVER])
def test_a_session_that_only_we_closed_leaves_a_gap_until_it_is_heard_of_again(by: Closed) -> None:
    desk, line = Desk(), Line(NOON)
    desk.hear(line.report(START, 0))
    session = desk.hear(line.report(INTERIM, 600, 1000))
    desk.table.conclude(session, by, by)
    for _ in range(2):
        desk.count(session, NOON + 4000)
        assert [desk.usage.day.gap, desk.usage.total.gap] == [LOST_STOP, LOST_STOP]
    desk.hear(line.report(INTERIM, 5000, 9000))
    assert (octets(desk.usage.total), desk.usage.total.gap, session.count_gap) == ((9000, 27000), "", "")


def test_a_reboot_leaves_a_gap_until_the_stop_comes_after_all() -> None:
    desk, line = Desk(), Line(LATE_EVENING)
    desk.hear(line.report(START, 0))
    session = desk.hear(line.report(INTERIM, 600, 1000))
    desk.table.reboot(Reboot(9, "demo", "lab", b"\x04lab", LATE_EVENING + 2 * HOUR))
    desk.table.close_some(10)
    desk.count(session, LATE_EVENING + 2 * HOUR)
    assert desk.usage.day.start == at("2026-03-12T00:00:00"), "it was online until the reboot, after midnight"
    assert desk.usage.day.gap == desk.usage.week.gap == LOST_STOP
    desk.hear(line.report(STOP, 2 * HOUR - 60, 5000))
    assert desk.usage.day.gap == desk.usage.week.gap == ""
    assert octets(desk.usage.total) == (5000, 15000)


def test_taking_back_one_lost_stop_leaves_the_gap_of_another() -> None:
    desk = Desk()
    sessions = []
    for number in range(2):
        line = Line(NOON, b"%d" % number)
        desk.hear(line.report(START, 0))
        sessions.append(desk.hear(line.report(INTERIM, 600, 10)))
        desk.table.conclude(sessions[-1], Closed.GHOST, "ghost")
        desk.count(sessions[-1], NOON + 700)
    desk.hear(Line(NOON, b"0").report(STOP, 900, 20))
    assert desk.usage.day.gap == LOST_STOP
    desk.hear(Line(NOON, b"1").report(STOP, 900, 20))
    assert desk.usage.day.gap == ""


def test_taking_back_a_lost_stop_of_yesterday_leaves_that_of_today() -> None:
    desk = Desk()
    old, new = Line(LATE_EVENING), Line(LATE_EVENING + 2 * HOUR, b"2")
    for line in (old, new):
        desk.hear(line.report(START, 0))
        session = desk.hear(line.report(INTERIM, 600, 10))
        desk.table.conclude(session, Closed.GHOST, "ghost")
        desk.count(session, line.began + 700)
    desk.hear(old.report(STOP, 3 * HOUR, 10))
    assert desk.usage.day.gap == LOST_STOP
    assert desk.usage.week.gap == LOST_STOP
    desk.hear(new.report(STOP, HOUR, 10))
    assert desk.usage.day.gap == desk.usage.week.gap == ""


def test_a_marked_gap_is_in_the_windows_that_run_then() -> None:
    desk = Desk()
    desk.book.mark_gap("demo", "S1", "records-lost", NOON, LAGOS, 1)
    assert desk.usage.day.gap == desk.usage.total.gap == "records-lost"
    desk.book.mark_gap("demo", "S1", "other", NOON + 24 * HOUR, LAGOS, 1)
    assert (desk.usage.day.gap, desk.usage.week.gap) == ("other", "records-lost"), "the first reason stays"
    assert list(desk.book.dirty) == [("demo", "S1")]


# Clocks


def test_a_time_far_ahead_of_our_clock_opens_no_window() -> None:
    desk, line = Desk(), Line(NOON)
    desk.hear(line.report(START, 0))
    session = desk.hear(line.report(INTERIM, 40 * 24 * HOUR, 1000), heard_at=NOON + 600)
    assert desk.usage.day.start == at("2026-03-11T00:00:00")
    assert octets(desk.usage.day) == octets(desk.usage.total) == (1000, 3000)
    assert session.counted_at == NOON + 600 + SKEW_S


def test_a_clock_that_goes_back_opens_no_earlier_window_and_loses_nothing() -> None:
    desk, line = Desk(), Line(NOON)
    desk.hear(line.report(START, 0))
    desk.hear(line.report(INTERIM, 600, 1000))
    desk.hear(line.report(INTERIM, 1200, 2000), heard_at=0.0)
    assert desk.usage.day.start == at("2026-03-11T00:00:00")
    assert octets(desk.usage.day) == (2000, 6000)


def test_a_plan_that_moves_its_month_back_goes_on_counting() -> None:
    desk, line = Desk(month_day=1), Line(NOON)
    desk.hear(line.report(START, 0))
    desk.hear(line.report(INTERIM, 600, 1000))
    desk.month_day = 20  # the window would have begun on 20 February
    desk.hear(line.report(INTERIM, 1200, 2000))
    assert desk.usage.month.start == at("2026-03-01T00:00:00")
    assert octets(desk.usage.month) == (2000, 6000)
    assert used(desk.usage, Allowance(name="m", most=1), NOON + 1200, LAGOS, 20) == Used(8000, "")


def online(desk: Desk, begins: str, month_day: int) -> Line:
    """Let a subscriber upload 1,000 octets and download 3,000 in the ten minutes from then."""
    line = Line(at(begins))
    desk.month_day = month_day
    desk.hear(line.report(START, 0))
    desk.hear(line.report(INTERIM, 600, 1000))
    return line


def use_on(desk: Desk, line: Line, then: str, upload: int, month_day: int | None) -> None:
    """Let the subscriber have uploaded so much by then, while its plan has that day."""
    after_s = at(then) - line.began
    _, session = desk.table.apply(line.report(INTERIM, after_s, upload, seq=1000 + int(after_s)))
    desk.book.count(session, desk.zone, month_day, at(then))


@pytest.mark.parametrize("other", [1, 25, None])
def test_a_month_is_not_lost_while_the_plan_has_another_day_or_is_missing(other: int | None) -> None:
    desk = Desk()
    line = online(desk, "2026-02-16T12:00:00", 15)
    use_on(desk, line, "2026-03-10T12:00:00", 2000, other)
    use_on(desk, line, "2026-03-10T13:00:00", 3000, 15)
    assert (desk.usage.month.start, octets(desk.usage.month)) == (at("2026-02-15T00:00:00"), (3000, 9000))
    assert used(desk.usage, quota(), at("2026-03-10T14:00:00"), LAGOS, other or 1) == Used(12_000, "")


@pytest.mark.parametrize(
    ("other", "begins"),
    [(1, "2026-03-01T00:00:00"), (10, "2026-03-10T00:00:00"), (None, "2026-03-15T00:00:00")],
)
def test_a_month_of_the_old_day_runs_to_its_end_and_the_next_is_of_the_new(
    other: int | None, begins: str
) -> None:
    desk = Desk()
    line = online(desk, "2026-02-16T12:00:00", 15)
    use_on(desk, line, "2026-03-14T23:59:59", 2000, other)
    assert octets(desk.usage.month) == (2000, 6000)
    assert used(desk.usage, quota(), at("2026-03-14T23:59:59"), LAGOS, other or 1).amount == 8000
    assert used(desk.usage, quota(), at("2026-03-15T00:00:00"), LAGOS, other or 1).amount == 0
    use_on(desk, line, "2026-03-15T00:00:01", 2000, other)
    use_on(desk, line, "2026-03-15T12:00:00", 2500, other)
    assert (desk.usage.month.start, octets(desk.usage.month)) == (at(begins), (500, 1500))


def test_the_tenants_move_to_another_time_zone_loses_no_month() -> None:
    desk = Desk()
    line = online(desk, "2026-03-05T12:00:00", 1)
    desk.zone = ZoneInfo("America/Bogota")
    use_on(desk, line, "2026-03-20T12:00:00", 2000, 1)
    assert octets(desk.usage.month) == (2000, 6000)
    use_on(desk, line, "2026-04-01T12:00:00", 2000, 1)
    assert desk.usage.month.start == at("2026-04-01T00:00:00", desk.zone)


def test_a_subscriber_without_a_plan_is_counted_by_the_calendars_month() -> None:
    desk = Desk()
    line = Line(NOON)
    desk.table.apply(line.report(START, 0))
    use_on(desk, line, "2026-03-11T13:00:00", 10, None)
    assert desk.usage.month.start == at("2026-03-01T00:00:00")


MONOTONIC = 5_000.0


def use_at(desk: Desk, second: float, wrong_s: float = 0.0) -> None:
    """Let a session of a minute upload 100 octets that second after NOON, the clock being so many seconds wrong."""
    line = Line(NOON + second - 60 + wrong_s, b"%d" % second)
    for report in (line.report(START, 0, seq=1), line.report(STOP, 60, 100, seq=2)):
        _, session = desk.table.apply(report)
    desk.book.count(session, LAGOS, 1, NOON + second + wrong_s, MONOTONIC + second)


def test_a_clock_that_leaps_ahead_for_minutes_ends_no_window() -> None:
    desk = Desk()
    for second, wrong_s in ((700, 0), (760, 31 * 86_400), (1300, 31 * 86_400), (1320, 0), (1400, 0)):
        use_at(desk, second, wrong_s)
    assert desk.usage.month.start == at("2026-03-01T00:00:00")
    assert desk.usage.day.start == at("2026-03-11T00:00:00")
    assert octets(desk.usage.month) == octets(desk.usage.day) == (500, 1500)
    assert used(desk.usage, quota(), NOON + 1400, LAGOS, 1) == Used(2000, "")


def test_a_clock_that_stays_ahead_is_believed_in_the_end() -> None:
    desk = Desk()
    for second, wrong_s in ((700, 0), (760, 31 * 86_400), (1370, 31 * 86_400)):
        use_at(desk, second, wrong_s)
    assert desk.usage.day.start == at("2026-04-11T00:00:00")


# Allowances


def quota(window: Window = Window.MONTH, most: int = 4000, **more: object) -> Allowance:
    return dataclasses.replace(Allowance(name="quota", most=most, window=window), **more)  # type: ignore[arg-type]


@pytest.fixture
def usage() -> Usage:
    desk, line = Desk(), Line(NOON)
    desk.hear(line.report(START, 0))
    desk.hear(line.report(INTERIM, 600, 1000))
    return desk.usage


@pytest.mark.parametrize(
    ("allowance", "amount"),
    [
        (quota(), 4000),
        (quota(direction=Direction.UPLOAD), 1000),
        (quota(direction=Direction.DOWNLOAD), 3000),
        (quota(measure=Measure.SECONDS), 600),
        (quota(Window.DAY), 4000),
        (quota(Window.TOTAL), 4000),
    ],
)
def test_an_allowance_counts_its_own_measure(usage: Usage, allowance: Allowance, amount: int) -> None:
    assert used(usage, allowance, NOON + 600, LAGOS, 1) == Used(amount, "")


@pytest.mark.parametrize(
    ("window", "then", "amount"),
    [
        (Window.DAY, "2026-03-11T23:59:59", 4000),
        (Window.DAY, "2026-03-12T00:00:00", 0),
        (Window.WEEK, "2026-03-15T23:59:59", 4000),
        (Window.WEEK, "2026-03-16T00:00:00", 0),
        (Window.MONTH, "2026-03-31T23:59:59", 4000),
        (Window.MONTH, "2026-04-01T00:00:00", 0),
        (Window.TOTAL, "2036-04-01T00:00:00", 4000),
    ],
)
def test_a_window_that_is_over_counts_as_nothing(
    usage: Usage, window: Window, then: str, amount: int
) -> None:
    assert used(usage, quota(window), at(then), LAGOS, 1) == Used(amount, "")


def test_who_was_never_online_has_used_nothing() -> None:
    assert used(None, quota(), NOON, LAGOS, 1) == Used(0, "")


def test_a_window_that_lies_ahead_of_our_clock_is_a_gap(usage: Usage) -> None:
    found = used(usage, quota(Window.DAY), at("2026-03-10T23:59:50"), LAGOS, 1)
    assert found == Used(0, CLOCK)


def test_allowances_used_up_come_in_the_plans_order(usage: Usage) -> None:
    plan = Rules(
        allowances=(
            quota(name="big", most=1_000_000),
            quota(name="exact", most=4000),
            quota(name="time", most=500, measure=Measure.SECONDS),
            quota(name="one-more", most=4001),
        )
    )
    found = crossed(usage, plan, 0, NOON + 600, LAGOS)
    assert [each.allowance.name for each in found] == ["exact", "time"]
    assert all(each.acts for each in found)
    left = {each.allowance.name: each.left for each in balances(usage, plan, 0, NOON + 600, LAGOS)}
    assert left == {"big": 996_000, "exact": 0, "time": 0, "one-more": 1}


def test_a_bonus_raises_allowances_of_octets_and_no_others(usage: Usage) -> None:
    plan = Rules(allowances=(quota(most=4000), quota(name="time", most=500, measure=Measure.SECONDS)))
    found = balances(usage, plan, 10, NOON + 600, LAGOS)
    assert [(each.most, each.left) for each in found] == [(4010, 10), (500, 0)]


def test_used_up_with_a_gap_acts_only_where_told_to(usage: Usage) -> None:
    usage.mark_gap("records-lost", [2])
    plan = Rules(allowances=(quota(), quota(name="strict", on_gap=True), quota(Window.DAY, name="day")))
    found = crossed(usage, plan, 0, NOON + 600, LAGOS)
    assert [each.acts for each in found] == [False, True, True]
    assert found[0].used == Used(4000, "records-lost")


@pytest.mark.parametrize(("gap", "acts"), [(START_NOT_SEEN, False), (CLOCK, False), (LOST_STOP, True)])
def test_a_lost_stop_makes_a_count_only_too_small_so_that_what_is_used_up_is(
    usage: Usage, gap: str, acts: bool
) -> None:
    usage.mark_gap(gap, [2])
    (found,) = crossed(usage, Rules(allowances=(quota(),)), 0, NOON + 600, LAGOS)
    assert found.acts is acts


def test_a_reboot_frees_nobody_who_is_over_quota() -> None:
    desk, line = Desk(), Line(NOON)
    desk.hear(line.report(START, 0))
    session = desk.hear(line.report(INTERIM, 600, 1000))
    desk.table.reboot(Reboot(9, "demo", "lab", b"\x04lab", NOON + 700))
    desk.table.close_some(10)
    desk.count(session, NOON + 700)
    (found,) = crossed(desk.usage, Rules(allowances=(quota(),)), 0, NOON + 800, LAGOS)
    assert (found.used, found.acts) == (Used(4000, LOST_STOP), True)
    assert not crossed(desk.usage, Rules(allowances=(quota(most=4001),)), 0, NOON + 800, LAGOS)


# Rows


def test_usage_survives_its_row(usage: Usage) -> None:
    usage.mark_gap("records-lost", [1])
    usage.lose_stop(NOON, 1)
    again = from_row(to_row(("demo", "S1"), usage))
    for window in Window:
        assert again.tally(window) == usage.tally(window)
    assert again.updated_at == usage.updated_at
    assert to_row(("demo", "S1"), again) == to_row(("demo", "S1"), usage)


def test_a_row_that_cannot_be_read_is_left_out_and_told(usage: Usage) -> None:
    book = UsageBook(SKEW_S)
    good = to_row(("demo", "S1"), usage)
    bad = [b"", b"[]", b"{}", good.detail.replace(b"numbers", b"number"), b'{"starts":[1],"numbers":[1]}']
    bad.append(good.detail.replace(b'"numbers":[', b'"numbers":[5,'))
    rows = [UsageRow("demo", f"B{number}", 0.0, detail) for number, detail in enumerate(bad)]
    assert book.load([*rows, good]) == len(bad)
    assert len(book) == 1


def test_forgetting_keeps_what_is_young_or_not_yet_written() -> None:
    desk = Desk()
    for number, began in enumerate((NOON, NOON, NOON + 9000)):
        line = Line(began, b"%d" % number, f"S{number}")
        desk.hear(line.report(START, 0))
        desk.hear(line.report(STOP, 60, 10))
    desk.book.take([session for session in desk.table if session.subscriber != "S1"])
    assert desk.book.forget(NOON + 5000) == 1
    assert [desk.book.find("demo", f"S{number}") is None for number in range(3)] == [True, False, False]


# What is written together


def test_a_row_goes_with_every_session_that_was_counted_into_it() -> None:
    desk = Desk()
    first, second = (desk.hear(Line(NOON, b"%d" % number).report(START, 0)) for number in range(2))
    other = desk.hear(Line(NOON, b"9", "S9").report(START, 0))
    for number in range(2):
        desk.hear(Line(NOON, b"%d" % number).report(INTERIM, 60, 10))
    taken = desk.book.take([other, second])
    assert taken.sessions == [other, second, first]
    assert [row.subscriber for row in taken.rows] == ["S1"]
    assert not desk.book.dirty
    assert desk.book.take([first]).rows == []


def test_what_could_not_be_written_is_written_with_the_next_session_of_that_subscriber() -> None:
    desk = Desk()
    lines = [Line(NOON, b"%d" % number) for number in range(2)]
    first, second = (desk.hear(line.report(START, 0)) for line in lines)
    desk.hear(lines[0].report(INTERIM, 60, 10))
    desk.book.give_back(desk.book.take([first]))
    desk.hear(lines[1].report(INTERIM, 60, 10))
    taken = desk.book.take([second])
    assert set(taken.sessions) == {first, second}
    assert len(taken.rows) == 1


def test_marked_gaps_are_written_though_no_session_asks() -> None:
    desk = Desk()
    for number in range(3):
        desk.book.mark_gap("demo", f"S{number}", "records-lost", NOON, LAGOS, 1)
    assert [len(desk.book.take_some(2).rows) for _ in range(3)] == [2, 1, 0]
