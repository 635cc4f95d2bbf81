"""Interims in a storm: which of them give way, and when they are due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daemon.aaa.interim_queue import InterimQueue
from radius.authenticator import Key
from radius.codes import AcctStatus, Attr
from radius.exchange import accounting_request
from radius.packet import Packet, attribute, decode, vendor_attribute

KEY = Key(b"testing123")
NOW = 1000.0


def number(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(4, "big"))


def interim(session: bytes = b"0001", after_s: int = 300, upload: int = 0, extra: bytes = b"") -> Packet:
    body = number(Attr.ACCT_STATUS_TYPE, AcctStatus.INTERIM_UPDATE) + attribute(Attr.ACCT_SESSION_ID, session)
    body += attribute(Attr.USER_NAME, b"alice") + number(Attr.EVENT_TIMESTAMP, 1_700_000_000 + after_s)
    body += number(Attr.ACCT_SESSION_TIME, after_s) + number(Attr.ACCT_INPUT_OCTETS, upload % (1 << 32))
    body += number(Attr.ACCT_INPUT_GIGAWORDS, upload >> 32)
    return decode(accounting_request(1, body + extra, KEY).octets)


class Queue:
    """A queue of names; `records` is what would be journaled, each with those answered with it."""

    def __init__(self, most: int = 100) -> None:
        self.interims: InterimQueue[str] = InterimQueue(1.0, most)

    def put(self, name: str, packet: Packet, now: float = NOW, origin: bytes = b"demo\0bras1") -> bool:
        return self.interims.put(origin, packet, name, now)

    def records(self, now: float = NOW + 1.0, most: int = 100) -> list[tuple[str, list[str]]]:
        return [(each.newest, each.others) for each in self.interims.take_due(now, most)]


def test_the_newest_of_a_session_stands_for_the_others() -> None:
    queue = Queue()
    queue.put("first", interim(after_s=300, upload=10))
    queue.put("second", interim(after_s=301, upload=20))
    queue.put("third", interim(after_s=302, upload=5 << 32))
    assert len(queue.interims) == 3
    assert queue.records() == [("third", ["first", "second"])]
    assert (len(queue.interims), queue.interims.coalesced) == (0, 2)


def test_one_overtaken_on_its_way_does_not_win() -> None:
    queue = Queue()
    queue.put("newer", interim(after_s=310, upload=20))
    queue.put("older", interim(after_s=300, upload=10))
    assert queue.records() == [("newer", ["older"])]


def test_a_repeat_with_a_longer_delay_is_the_same_interim() -> None:
    queue = Queue()
    queue.put("sent", interim(extra=number(Attr.ACCT_DELAY_TIME, 0)))
    queue.put("again", interim(extra=number(Attr.ACCT_DELAY_TIME, 3)))
    assert queue.records() == [("again", ["sent"])]


def test_what_the_newer_one_does_not_say_is_kept() -> None:
    for one, other in (
        (b"", attribute(Attr.FRAMED_IP_ADDRESS, bytes(4))),
        (
            attribute(Attr.FRAMED_IP_ADDRESS, bytes((10, 0, 0, 1))),
            attribute(Attr.FRAMED_IP_ADDRESS, bytes(4)),
        ),
        (vendor_attribute(2636, 151, b"\0\0\0\1"), vendor_attribute(2636, 151, b"\0\0\0\2")),
        (attribute(Attr.CLASS, b"one"), attribute(Attr.CLASS, b"two")),
        (b"", number(Attr.ACCT_OUTPUT_OCTETS, 0)),
    ):
        queue = Queue()
        queue.put("first", interim(upload=10, extra=one))
        queue.put("second", interim(after_s=301, upload=20, extra=other))
        assert queue.records() == [("first", []), ("second", [])], (one, other)


def test_counters_that_fell_are_kept() -> None:
    queue = Queue()
    queue.put("before", interim(after_s=300, upload=1_000))
    queue.put("began again", interim(after_s=301, upload=10))
    queue.put("after", interim(after_s=302, upload=20))
    assert queue.records() == [("before", []), ("after", ["began again"])]


def test_sessions_boxes_and_nas_entries_are_kept_apart() -> None:
    queue = Queue()
    queue.put("a", interim(session=b"0001"))
    queue.put("b", interim(session=b"0002"))
    queue.put("c", interim(session=b"0001"), origin=b"demo\0bras2")
    queue.put("d", interim(session=b"0001", extra=attribute(Attr.NAS_IDENTIFIER, b"x")))
    assert [name for name, _ in queue.records()] == ["a", "b", "c", "d"]


def test_an_interim_waits_no_longer_than_it_may_though_newer_ones_come() -> None:
    queue = Queue()
    assert queue.interims.next_due_at is None
    queue.put("first", interim(after_s=300), NOW)
    queue.put("second", interim(after_s=301), NOW + 0.9)
    assert queue.interims.next_due_at == NOW + 1.0
    assert queue.records(NOW + 0.99) == []
    assert queue.records(NOW + 1.0) == [("second", ["first"])]
    queue.put("third", interim(after_s=302), NOW + 1.5)
    assert queue.interims.next_due_at == NOW + 2.5


def test_they_are_taken_in_portions_in_order() -> None:
    queue = Queue()
    for i in range(5):
        queue.put(str(i), interim(session=b"%d" % i))
    assert [name for name, _ in queue.records(most=2)] == ["0", "1"]
    assert [each.newest for each in queue.interims.take_all()] == ["2", "3", "4"]


def test_a_full_queue_takes_nothing_until_there_is_room() -> None:
    queue = Queue(most=2)
    assert queue.put("a", interim(session=b"a"))
    assert queue.put("a2", interim(session=b"a", after_s=301))
    assert not queue.put("b", interim(session=b"b"))
    queue.records()
    assert queue.put("b", interim(session=b"b"))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_nothing_is_lost_and_what_gives_way_said_no_more(told: list[tuple[int, int, int]]) -> None:
    queue = Queue()
    for i, (session, time_s, upload) in enumerate(told):
        queue.put(str(i), interim(b"%d" % session, time_s, upload << 31))
    records = queue.records()
    assert sorted(int(name) for newest, others in records for name in (newest, *others)) == list(
        range(len(told))
    )
    for newest, others in records:
        session, *most = told[int(newest)]
        for other in others:
            same, *numbers = told[int(other)]
            assert same == session
            assert all(low <= high for low, high in zip(numbers, most, strict=True))
