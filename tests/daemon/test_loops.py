"""Logins that are refused again and again: who gets a pause, for how long, and what ends it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from daemon.aaa.loops import LoopLimits, Loops
from radius.packet import Packet
from tests.daemon.policy_stage import MAC, OTHER_MAC, shown
from tests.daemon.stack import Stack, clear, subscriber
from tests.twins.nas import NasTwin

LIMITS = LoopLimits(refusals=3, window_s=60.0, pause_s=20.0)
ALICE = subscriber("alice", "x")
KEY = b"alice\0aa"


def refuse(loops: Loops, *moments: float) -> list[bool]:
    return [loops.refused(KEY, ALICE, at) for at in moments]


def test_so_many_refusals_within_the_window_earn_a_pause() -> None:
    loops = Loops(LIMITS)
    assert refuse(loops, 0, 30, 60) == [False, False, True]
    assert [loops.paused(KEY, ALICE, at) for at in (60, 79.9, 80, 80)] == [True, True, False, False]
    assert loops.idle


def test_refusals_far_apart_earn_none() -> None:
    loops = Loops(LIMITS)
    assert refuse(loops, 0, 31, 61, 93, 123) == [False, False, False, False, False]


def test_a_pause_is_earned_again_by_as_many_refusals() -> None:
    loops = Loops(LIMITS)
    refuse(loops, 0, 0, 0)
    assert not loops.paused(KEY, ALICE, 25)
    assert refuse(loops, 25, 25, 25) == [False, False, True]


def test_changed_data_end_the_pause() -> None:
    loops = Loops(LIMITS)
    refuse(loops, 0, 0, 0)
    assert not loops.paused(KEY, replace(ALICE, secret=clear("new")), 1)
    assert not loops.paused(KEY, ALICE, 1), "for good"


def test_a_clock_that_is_set_back_keeps_nobody_out() -> None:
    loops = Loops(LIMITS)
    refuse(loops, 1000, 1000, 1000)
    assert not loops.paused(KEY, ALICE, 500)
    assert refuse(loops, 100, 50, 50, 50) == [False, False, False, True]


def test_zero_refusals_is_never() -> None:
    loops = Loops(replace(LIMITS, refusals=0))
    assert not any(refuse(loops, *([0] * 100)))


def test_a_login_that_went_well_clears_the_count() -> None:
    loops = Loops(LIMITS)
    refuse(loops, 0, 0)
    counting = [loops.counting]
    loops.permitted(KEY)
    assert [*counting, loops.counting] == [True, False]
    assert refuse(loops, 1, 1) == [False, False]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.booleans()), max_size=60))
def test_nobody_is_paused_without_as_many_refusals_in_the_window(steps: list[tuple[int, int, bool]]) -> None:
    loops, at = Loops(LIMITS), 0.0
    refusals: dict[bytes, list[float]] = {}
    for who, apart, well in steps:
        at += apart
        key = b"%d" % who
        if loops.paused(key, ALICE, at):
            last = refusals[key][-LIMITS.refusals :]
            assert len(last) == LIMITS.refusals
            assert last[-1] - last[0] <= LIMITS.window_s
            assert at - last[-1] < LIMITS.pause_s
        elif well:
            loops.permitted(key)
            refusals[key] = []
        else:
            loops.refused(key, ALICE, at)
            refusals.setdefault(key, []).append(at)


# --- from packet to packet -----------------------------------------------------------------------------


def login(twin: NasTwin, password: str, mac: str | None = MAC, name: str = "alice") -> Packet:
    reply = twin.ask(twin.login(name, password, shown(mac)))
    assert reply is not None
    return reply


def test_a_looping_cpe_is_refused_unseen_and_its_neighbour_is_not() -> None:
    stack = Stack(refusals=3)
    twin = stack.nas()
    assert [login(twin, "wrong").code for _ in range(5)] == [3] * 5
    assert stack.reasons() == {"wrong-password": 3, "retry-loop": 2}
    assert [kind for kind, _, _ in stack.told] == ["retry-loop"], "told once"
    assert login(twin, "wonderland").code == 3, "nobody looks, so the right password is not seen either"
    assert login(twin, "wonderland", OTHER_MAC).code == 2
    stack.at += 20
    assert login(twin, "wonderland").code == 2


def test_a_corrected_subscriber_is_let_in_at_once() -> None:
    stack = Stack(refusals=3)
    twin = stack.nas()
    for _ in range(4):
        login(twin, "fixed")
    alice = stack.index.tenants["demo"].subscribers["ALICE"]
    stack.index.put(replace(alice, secret=clear("fixed")))
    assert login(twin, "fixed").code == 2


def test_a_stranger_that_becomes_a_subscriber_is_let_in_at_once() -> None:
    stack = Stack(refusals=3)
    twin = stack.nas()
    for _ in range(4):
        login(twin, "pw", name="newcomer")
    assert stack.reasons()["retry-loop"] == 1
    stack.index.put(subscriber("newcomer", "pw"))
    assert login(twin, "pw", name="newcomer").code == 2


def test_a_good_login_between_two_bad_ones_counts_them_from_the_beginning() -> None:
    stack = Stack(refusals=3)
    twin = stack.nas()
    for password in ("wrong", "wrong", "wonderland", "wrong", "wrong", "wonderland"):
        login(twin, password)
    assert stack.reasons() == {"wrong-password": 4, "pap": 2}


def test_without_a_mac_nobodys_tries_keep_a_subscriber_out() -> None:
    stack = Stack(refusals=3)
    twin = stack.nas()
    for _ in range(9):
        login(twin, "wrong", None)
    assert login(twin, "wonderland", None).code == 2
