"""When it is a storm, and when it is over."""

from __future__ import annotations

from daemon.aaa.storm import Limits, Reason, Storm
from tests.daemon.stack import T0

LIMITS = Limits(
    least_per_s=200,
    times_usual=5,
    repeats_share=0.2,
    least_repeats_per_s=50,
    lone_repeats_per_s=500,
    reboot_sessions=500,
    calm_s=30,
)


class Weather:
    """A storm and its time; `blow` lets seconds pass with that much traffic in each."""

    def __init__(self, sessions: int = 10_000) -> None:
        self.now = 5_000.0
        self.storm = Storm(LIMITS, lambda label: sessions if label == "bras1" else 0)

    def blow(self, seconds: int, access: int, acct: int = 0, repeats: int = 0, nas: str = "bras1") -> bool:
        """Return whether it is a storm at the end."""
        for _ in range(seconds):
            for tenth in range(10):
                part = [each // 10 + (tenth < each % 10) for each in (access, acct, repeats)]
                if part[0] or part[1]:
                    self.storm.note(self.now, nas, part[0] + part[1], part[0], part[2])
                self.now += 0.1
        return self.storm.turn(self.now)

    def both(self, seconds: int, access: int, repeats: int) -> bool:
        """Let two NASes send that much each; return whether it is a storm at the end."""
        for _ in range(seconds):
            for nas in ("bras1", "bras2"):
                self.storm.note(self.now, nas, access, access, repeats)
            self.now += 1.0
        return self.storm.turn(self.now)


def test_the_usual_load_is_no_storm() -> None:
    weather = Weather()
    assert not weather.blow(60, access=150, acct=3_000)


def test_a_rate_far_above_the_usual_one_is_a_storm_within_seconds() -> None:
    weather = Weather()
    weather.blow(300, access=20)
    began = weather.now
    assert weather.blow(2, access=2_000)
    assert weather.storm.reason is Reason.RATE
    assert weather.storm.nas == "bras1"
    assert weather.storm.began_at is not None
    assert 0 < weather.storm.began_at - began <= 2.1


def test_a_small_provider_has_no_storm_however_far_above_its_usual_rate() -> None:
    weather = Weather()
    weather.blow(300, access=1)
    assert not weather.blow(20, access=150)


def test_a_provider_that_is_always_busy_has_none_at_twice_its_rate() -> None:
    weather = Weather()
    weather.blow(3_000, access=400)  # a storm at first, since nothing is usual yet
    assert not weather.storm.active
    assert not weather.blow(20, access=800)
    assert weather.blow(3, access=4_000)


def test_repeats_of_several_nases_are_a_storm_whatever_the_rate() -> None:
    weather = Weather()
    assert weather.both(4, access=100, repeats=40)
    assert weather.storm.reason is Reason.REPEATS


def test_one_nas_that_repeats_is_no_storm_unless_it_repeats_very_much() -> None:
    weather = Weather()
    assert not weather.blow(60, access=150, acct=100, repeats=150)
    assert weather.blow(4, access=150, acct=400, repeats=520)
    assert weather.storm.reason is Reason.REPEATS


def test_a_lost_datagram_here_and_there_does_not_make_them_several() -> None:
    weather = Weather()
    for _ in range(60):
        weather.storm.note(weather.now, "bras2", 20, 20, 1)
        assert not weather.blow(1, access=100, repeats=100)


def test_who_repeats_for_minutes_is_deaf_and_makes_no_storm() -> None:
    weather = Weather()
    assert weather.both(150, access=40, repeats=30)
    assert list(weather.storm.deaf) == []
    assert not weather.both(70, access=40, repeats=30), "three minutes and a calm time later"
    assert list(weather.storm.deaf) == ["bras1", "bras2"]
    assert not weather.both(3600, access=40, repeats=30)


def test_a_deaf_nas_hides_no_storm_of_others() -> None:
    weather = Weather()
    weather.blow(300, access=100, repeats=80)
    assert list(weather.storm.deaf) == ["bras1"]
    for nas in ("bras2", "bras3") * 10:
        weather.storm.note(weather.now, "bras1", 100, 100, 80)
        weather.blow(1, access=0, acct=120, repeats=60, nas=nas)
    assert weather.storm.active
    assert weather.storm.reason is Reason.REPEATS


def test_a_nas_that_hears_again_is_like_any_other() -> None:
    weather = Weather()
    weather.blow(300, access=100, repeats=80)
    weather.blow(70, access=100)
    assert list(weather.storm.deaf) == []
    assert weather.both(4, access=100, repeats=40)


def test_a_storm_that_goes_on_hinders_nothing_for_ever() -> None:
    weather = Weather()
    assert not weather.storm.hinders(weather.now)
    for second in range(1000):
        weather.storm.note_reboot("bras1", weather.now)
        assert weather.storm.active
        assert weather.storm.hinders(weather.now) is (second < 900)
        weather.now += 1
    assert not weather.storm.hinders(weather.now + 40)


def test_few_repeats_are_none() -> None:
    weather = Weather()
    assert not weather.blow(20, access=40, repeats=30), "a large share of little"
    assert not weather.blow(20, access=150, acct=3_000, repeats=200), "a small share of much"


def test_the_reboot_of_a_nas_with_many_sessions_is_a_storm_before_anybody_is_back() -> None:
    weather = Weather()
    weather.blow(10, access=10)
    weather.storm.note_reboot("bras1", weather.now)
    assert weather.storm.active
    assert (weather.storm.reason, weather.storm.nas) == (Reason.REBOOT, "bras1")
    assert weather.storm.began_at == weather.now


def test_the_reboot_of_a_small_nas_is_none() -> None:
    weather = Weather(sessions=499)
    weather.storm.note_reboot("bras1", weather.now)
    weather.storm.note_reboot("cpe7", weather.now)
    assert not weather.storm.active


def test_it_is_over_after_a_calm_time() -> None:
    weather = Weather()
    weather.blow(60, access=20)
    weather.blow(10, access=5_000)
    assert weather.blow(28, access=20), "still too early"
    assert not weather.blow(10, access=20)
    storm = weather.storm
    assert (storm.began_at, storm.reason, storm.nas) == (None, None, None)


def test_half_of_what_begins_a_storm_keeps_it_up() -> None:
    weather = Weather()
    weather.blow(3_000, access=150)
    assert not weather.blow(10, access=600)
    assert weather.blow(5, access=5_000)
    assert weather.blow(60, access=600), "below five times the usual rate, above half of that"


def test_a_lull_does_not_end_it() -> None:
    weather = Weather()
    for _ in range(5):
        weather.blow(5, access=3_000)
        assert weather.blow(20, access=0)


def test_it_ends_though_no_nas_speaks_any_more() -> None:
    weather = Weather()
    weather.blow(5, access=3_000)
    assert not weather.storm.turn(weather.now + 40)


def test_a_silent_night_does_not_count_as_traffic() -> None:
    weather = Weather()
    weather.blow(2, access=190)
    weather.now += 8 * 3600
    weather.storm.note(weather.now, "bras1", 150, 150, 0)
    assert not weather.storm.turn(weather.now + 1)


def test_the_busiest_nas_is_named() -> None:
    weather = Weather()
    weather.blow(20, access=10, nas="bras2")
    for _ in range(30):
        weather.storm.note(weather.now, "bras2", 5, 5, 0)
        weather.storm.note(weather.now, "bras1", 60, 60, 0)
        weather.now += 0.1
    assert weather.storm.turn(weather.now)
    assert weather.storm.nas == "bras1"


def test_a_snapshot_tells_the_time_of_the_wall() -> None:
    weather = Weather()
    calm = weather.storm.snapshot(weather.now, T0)
    assert (calm.active, calm.since, calm.reason, calm.nas) == (False, None, None, None)
    weather.storm.note_reboot("bras1", weather.now)
    weather.blow(4, access=900, acct=300, repeats=300)
    seen = weather.storm.snapshot(weather.now, T0 + 4)
    assert seen.since is not None
    assert (seen.active, round(seen.since - T0, 6), seen.reason) == (True, 0, Reason.REBOOT)
    assert (round(seen.access_per_s), round(seen.repeats_share, 3)) == (900, 0.25)
    assert 0 < seen.usual_per_s < 10
