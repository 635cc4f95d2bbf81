"""The reply cache of RFC 5080 section 2.2.2."""

from __future__ import annotations

from radius.duplicates import PENDING, Duplicates

KEY, AUTH, OTHER = b"peer\x07", bytes(16), bytes(15) + b"\1"


def fresh(window_s: float = 10.0) -> Duplicates:
    return Duplicates(window_s, 100.0)


def test_a_repeat_gets_the_same_reply() -> None:
    cache = fresh()
    assert cache.find(KEY, AUTH) is None
    cache.keep(KEY, AUTH, b"reply")
    assert cache.find(KEY, AUTH) == b"reply"


def test_the_same_identifier_with_another_authenticator_is_new() -> None:
    cache = fresh()
    cache.keep(KEY, AUTH, b"reply")
    assert cache.find(KEY, OTHER) is None


def test_a_repeat_of_a_pending_request_is_told_so() -> None:
    cache = fresh()
    cache.keep(KEY, AUTH, PENDING)
    assert cache.find(KEY, AUTH) == PENDING
    assert cache.finish(KEY, AUTH, b"reply")
    assert cache.find(KEY, AUTH) == b"reply"


def test_a_conflicting_request_supersedes_the_pending_one() -> None:
    cache = fresh()
    cache.keep(KEY, AUTH, PENDING)
    cache.keep(KEY, OTHER, PENDING)
    assert not cache.finish(KEY, AUTH, b"too late")
    assert cache.finish(KEY, OTHER, b"reply")


def test_a_reply_lives_between_one_and_two_windows() -> None:
    cache = fresh()
    cache.keep(KEY, AUTH, b"reply")
    for now in (105.0, 110.0, 119.0):
        cache.turn(now)
    assert cache.find(KEY, AUTH) == b"reply"
    cache.turn(120.0)
    assert cache.find(KEY, AUTH) is None


def test_after_a_long_silence_nothing_old_is_left() -> None:
    cache = fresh()
    cache.keep(KEY, AUTH, b"reply")
    cache.turn(1000.0)
    assert cache.find(KEY, AUTH) is None
    assert len(cache) == 0


def test_memory_is_bounded_whatever_comes() -> None:
    cache = Duplicates(10.0, 100.0, most=100)
    for number in range(1000):
        cache.turn(100.0)
        cache.keep(number.to_bytes(4, "big"), AUTH, b"reply")
    assert len(cache) <= 201


def test_a_forgotten_request_is_tried_afresh() -> None:
    cache = fresh()
    cache.keep(KEY, AUTH, PENDING)
    cache.forget(KEY, AUTH)
    assert cache.find(KEY, AUTH) is None
