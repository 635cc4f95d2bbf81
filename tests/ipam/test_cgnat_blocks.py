"""Reported port blocks: who held a port, and what an answer says about reports that are missing."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.cgnat_blocks import BlockIndex, BlockLease, Ending, Gap, NotHeld

OUTSIDE = IPv4Address("203.0.113.1")


def inside(number: int) -> IPv4Address:
    return IPv4Address("100.64.0.0") + number


def lease(since: float, holder: int = 1, first: int = 1_024, **changed: Any) -> BlockLease:
    values: dict[str, Any] = {
        "outside": OUTSIDE,
        "first_port": first,
        "last_port": first + 511,
        "inside": inside(holder),
        "since": since,
    }
    return BlockLease(**(values | changed))


def holders(index: BlockIndex, port: int | None, at: float, skew_s: float = 0.0) -> list[str]:
    return [str(each.inside) for each in index.find(OUTSIDE, port, at, skew_s).leases]


def test_a_port_is_held_from_its_assignment_until_its_release() -> None:
    index = BlockIndex(0.0)
    assert index.assigned(lease(10.0))
    assert index.released(OUTSIDE, 1_024, 1_535, 20.0)
    assert holders(index, 1_024, 10.0) == ["100.64.0.1"]
    assert holders(index, 1_535, 19.9) == ["100.64.0.1"]
    for port, at in ((1_024, 9.9), (1_024, 20.0), (1_536, 15.0), (1_023, 15.0)):
        answer = index.find(OUTSIDE, port, at)
        assert answer.leases == ()
        assert answer.why is NotHeld.FREE


def test_a_time_that_is_not_exact_names_everyone_of_the_time() -> None:
    index = BlockIndex(0.0)
    index.assigned(lease(10.0, 1))
    index.released(OUTSIDE, 1_024, 1_535, 20.0)
    index.assigned(lease(21.0, 2))
    assert holders(index, 1_100, 20.5) == []
    assert holders(index, 1_100, 20.5, skew_s=1.0) == ["100.64.0.1", "100.64.0.2"]


def test_without_a_port_everyone_behind_the_address_is_named() -> None:
    index = BlockIndex(0.0)
    index.assigned(lease(10.0, 2, first=4_096))
    index.assigned(lease(10.0, 1))
    assert holders(index, None, 15.0) == ["100.64.0.1", "100.64.0.2"]


def test_a_lost_release_ends_where_the_next_holder_begins() -> None:
    index = BlockIndex(0.0)
    index.assigned(lease(10.0, 1))
    index.assigned(lease(30.0, 2))
    first = index.find(OUTSIDE, 1_024, 29.0).leases[0]
    assert (first.until, first.ending) == (30.0, Ending.SUPERSEDED)
    assert holders(index, 1_024, 30.0) == ["100.64.0.2"]


def test_the_end_of_the_session_bounds_a_block_but_proves_nothing() -> None:
    """Unlike a release, it does not say that the block was still the session's: gaps before it count."""
    index = BlockIndex(0.0)
    gap = Gap(15.0, 16.0, "edge was down")
    index.missing(gap)
    index.assigned(lease(10.0, 1, until=40.0, ending=Ending.SESSION_ENDED))
    assert index.find(OUTSIDE, 1_024, 20.0).gaps == (gap,)
    index.assigned(lease(30.0, 2))
    assert holders(index, 1_024, 29.0) == ["100.64.0.1"]
    assert holders(index, 1_024, 31.0) == ["100.64.0.2"]


def test_ports_of_other_protocols_take_nothing_away() -> None:
    index = BlockIndex(0.0)
    index.assigned(lease(10.0, 1, transport=3))
    index.assigned(lease(20.0, 2, transport=4))
    assert holders(index, 1_024, 25.0) == ["100.64.0.1", "100.64.0.2"]
    assert index.released(OUTSIDE, 1_024, 1_535, 27.0, transport=3)
    assert holders(index, 1_024, 28.0) == ["100.64.0.2"]
    index.assigned(lease(30.0, 3))  # all protocols: nobody else is left
    assert holders(index, 1_024, 31.0) == ["100.64.0.3"]


def test_two_sessions_behind_the_same_inside_address_are_two_leases() -> None:
    index = BlockIndex(0.0)
    assert index.assigned(lease(10.0, 1, session="7"))
    assert not index.assigned(lease(12.0, 1, session="7"))
    assert index.assigned(lease(20.0, 1, session="8"))
    assert [each.session for each in index.find(OUTSIDE, 1_024, 15.0).leases] == ["7"]
    assert [each.session for each in index.find(OUTSIDE, 1_024, 20.0).leases] == ["8"]


def test_a_block_of_other_bounds_ends_what_it_covers() -> None:
    index = BlockIndex(0.0)
    index.assigned(lease(10.0, 1))
    index.assigned(lease(30.0, 2, first=1_500, last_port=2_000))
    assert holders(index, 1_024, 31.0) == []
    assert holders(index, 1_600, 31.0) == ["100.64.0.2"]


def test_reports_may_come_in_any_order() -> None:
    index = BlockIndex(0.0)
    index.assigned(lease(30.0, 2))
    index.assigned(lease(10.0, 1))
    assert holders(index, 1_024, 29.0) == ["100.64.0.1"]
    assert index.released(OUTSIDE, 1_024, 1_535, 20.0)  # the late release of the first
    assert holders(index, 1_024, 29.0) == []
    assert holders(index, 1_024, 31.0) == ["100.64.0.2"]


def test_a_repeated_report_changes_nothing() -> None:
    index = BlockIndex(0.0)
    assert index.assigned(lease(10.0))
    assert not index.assigned(lease(10.0))
    assert not index.assigned(lease(12.0))  # an interim report of the same holder
    assert index.released(OUTSIDE, 1_024, 1_535, 20.0)
    assert not index.released(OUTSIDE, 1_024, 1_535, 21.0)
    assert not index.released(OUTSIDE, 4_096, 4_607, 21.0)
    assert [each.since for each in index.find(OUTSIDE, 1_024, 15.0).leases] == [10.0]


def test_before_the_records_nothing_is_claimed() -> None:
    index = BlockIndex(100.0)
    index.assigned(lease(150.0))
    assert index.find(OUTSIDE, 1_024, 50.0).why is NotHeld.NOT_KEPT
    assert index.find(OUTSIDE, 1_024, 120.0).why is NotHeld.FREE
    assert index.find(IPv4Address("192.0.2.7"), 1_024, 120.0).why is NotHeld.UNKNOWN_OUTSIDE


def test_a_gap_that_could_hide_a_holder_is_said() -> None:
    index = BlockIndex(0.0)
    gap = Gap(40.0, 50.0, "edge was down")
    index.missing(gap)
    assert index.find(OUTSIDE, 1_024, 30.0).why is NotHeld.UNKNOWN_OUTSIDE
    hidden = index.find(OUTSIDE, 1_024, 60.0)  # assigned in the gap, and never heard of
    assert (hidden.why, hidden.gaps) == (NotHeld.IN_GAP, (gap,))
    index.assigned(lease(55.0))
    index.released(OUTSIDE, 1_024, 1_535, 58.0)
    assert index.find(OUTSIDE, 1_024, 60.0).why is NotHeld.FREE  # the report after the gap settles it


def test_a_holder_across_a_gap_is_doubted_until_the_release_names_the_block() -> None:
    index = BlockIndex(0.0)
    gap = Gap(40.0, 50.0, "edge was down")
    index.missing(gap)
    index.assigned(lease(10.0))
    assert index.find(OUTSIDE, 1_024, 30.0).gaps == ()
    assert index.find(OUTSIDE, 1_024, 60.0).gaps == (gap,)
    index.released(OUTSIDE, 1_024, 1_535, 70.0)
    assert index.find(OUTSIDE, 1_024, 60.0).gaps == ()


def test_reports_that_contradict_each_other_are_both_shown() -> None:
    index = BlockIndex(0.0)
    index.assigned(lease(10.0, 1, until=40.0, ending=Ending.RELEASED))
    index.assigned(lease(30.0, 2))
    assert holders(index, 1_024, 35.0) == ["100.64.0.1", "100.64.0.2"]


@pytest.mark.parametrize("changed", [{"until": 20.0}, {"ending": Ending.RELEASED}, {"last_port": 70_000}])
def test_a_lease_that_contradicts_itself_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        lease(10.0, **changed)


EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 5), st.integers(1, 3)), min_size=1, max_size=40
)


@given(EVENTS, st.integers(0, 3), st.integers(0, 120), st.integers(0, 5))
def test_answers_agree_with_a_replay(
    events: list[tuple[int, bool, int, int]], block: int, at: int, skew: int
) -> None:
    """In the order of time the book is what a replay of the reports says, for every port and time."""
    index = BlockIndex(0.0)
    spans: list[list[int]] = []  # [block, holder, since, until]
    now = 0
    for number, give, holder, step in events:
        now += step
        running = [span for span in spans if span[0] == number and span[3] == 1_000]
        first = 1_024 + 512 * number
        if give:
            if running and running[0][1] != holder:
                running[0][3] = now
            if not running or running[0][1] != holder:
                spans.append([number, holder, now, 1_000])
            index.assigned(lease(float(now), holder, first=first))
        else:
            if running:
                running[0][3] = now
            index.released(OUTSIDE, first, first + 511, float(now))
    expected = sorted(
        (since, str(inside(holder)))
        for number, holder, since, until in spans
        if number == block and since <= at + skew and at - skew < until
    )
    found = index.find(OUTSIDE, 1_024 + 512 * block + 77, float(at), float(skew)).leases
    assert [(each.since, str(each.inside)) for each in found] == expected
