"""A step ahead is believed when it has stood, a step back at once."""

from __future__ import annotations

from daemon.aaa.steady_clock import SteadyClock

WALL, HOUR = 1_800_000_000.0, 3600.0


class Watch:
    """A steady clock, read at monotonic seconds with the wall clock so many seconds wrong."""

    def __init__(self) -> None:
        self.clock = SteadyClock()

    def error(self, now: float, wrong_s: float = 0.0) -> float:
        """Return by how many seconds what it says is wrong."""
        return self.clock.read(WALL + now + wrong_s, now) - WALL - now


def test_the_first_time_read_is_believed() -> None:
    assert Watch().error(0, HOUR) == HOUR


def test_a_step_ahead_is_believed_after_ten_minutes() -> None:
    watch = Watch()
    watch.error(0)
    assert [watch.error(now, HOUR) for now in (60, 300, 659, 660, 700)] == [0, 0, 0, HOUR, HOUR]


def test_a_step_that_was_taken_back_is_forgotten() -> None:
    watch = Watch()
    for now, wrong_s in ((0, 0.0), (60, HOUR), (120, 0.0), (650, HOUR), (700, HOUR)):
        assert watch.error(now, wrong_s) == 0


def test_each_further_step_is_doubted_anew() -> None:
    watch = Watch()
    watch.error(0)
    for now in range(60, 6000, 60):
        assert watch.error(now, now * HOUR) == 0


def test_small_steps_and_steps_back_are_believed_at_once() -> None:
    watch = Watch()
    watch.error(0)
    assert [watch.error(60, 299.0), watch.error(120, -HOUR)] == [299.0, -HOUR]
    assert watch.error(180) == -HOUR, "back to the right time is a step ahead again"
    assert watch.error(800) == 0
