"""Counters: wraps, resets and late samples, in any order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.aaa.counters import WRAP, Counters, Sample


def sample(at: float, upload: int, *, time_s: int | None = None, gigawords: bool = False) -> Sample:
    return Sample(at, int(at) if time_s is None else time_s, upload, upload * 3, 0, 0, gigawords)


def upload_of(*samples: Sample) -> int:
    counters = Counters()
    for each in samples:
        counters.add(each)
    return counters.totals.upload_octets


def test_totals_follow_the_last_sample() -> None:
    assert upload_of(sample(10, 100), sample(20, 250)) == 250


def test_a_late_lower_sample_changes_nothing() -> None:
    assert upload_of(sample(20, 250), sample(10, 100)) == 250


def test_a_counter_without_gigawords_wraps_at_four_gib() -> None:
    high = Sample(10, 10, WRAP - 50, 0, 0, 0, gigawords=False)
    low = Sample(20, 20, 100, 0, 0, 0, gigawords=False)
    assert upload_of(high, low) == WRAP + 100
    assert upload_of(low, high) == WRAP + 100


def test_with_gigawords_a_fall_is_a_new_beginning() -> None:
    high = Sample(10, 10, WRAP - 50, 0, 0, 0, gigawords=True)
    low = Sample(20, 20, 100, 0, 0, 0, gigawords=True)
    assert upload_of(high, low) == WRAP - 50 + 100


def test_a_nas_that_begins_again_keeps_what_was_counted() -> None:
    assert upload_of(sample(100, 500), sample(110, 20, time_s=5), sample(120, 30, time_s=15)) == 530


def test_a_sample_between_two_others_reveals_a_wrap() -> None:
    first, hidden, last = (
        Sample(10, 10, 1_000, 0, 0, 0, gigawords=False),
        Sample(20, 20, WRAP - 1, 0, 0, 0, gigawords=False),
        Sample(30, 30, 1_500, 0, 0, 0, gigawords=False),
    )
    assert upload_of(first, hidden, last) == upload_of(first, last, hidden) == WRAP + 1_500


def test_the_same_sample_again_changes_nothing() -> None:
    counters = Counters()
    assert counters.add(sample(10, 100))
    assert not counters.add(sample(10, 100))


@st.composite
def histories(draw: st.DrawFn) -> list[Sample]:
    """What a NAS that counts in 32 bits and may begin again would report."""
    out: list[Sample] = []
    at, time_s, upload = 0.0, 0, 0
    for step in draw(
        st.lists(st.tuples(st.integers(1, 900), st.integers(0, 1 << 31)), min_size=1, max_size=12)
    ):
        at += step[0]
        time_s += step[0]
        upload += step[1]
        out.append(Sample(at, time_s, upload % WRAP, upload % WRAP // 2, 0, 0, gigawords=False))
    return out


@given(histories())
def test_in_order_no_octet_of_a_wrapping_counter_is_lost(history: list[Sample]) -> None:
    true = 0
    before = 0
    for each in history:
        true += (each.upload_octets - before) % WRAP
        before = each.upload_octets
    counters = Counters()
    for each in history:
        counters.add(each)
    assert counters.totals.upload_octets == true


@given(histories(), st.randoms(use_true_random=False))
def test_without_wraps_any_order_gives_the_same_totals(history: list[Sample], dice: object) -> None:
    rising = []
    most = 0
    for each in history:
        most = max(most, each.upload_octets)
        rising.append(each._replace(upload_octets=most, download_octets=most // 2))
    shuffled = rising * 2
    dice.shuffle(shuffled)  # type: ignore[attr-defined] # random.Random
    assert upload_of(*shuffled) == upload_of(*rising)
