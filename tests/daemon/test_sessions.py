"""Sessions are a function of what a NAS said, not of the order in which it arrived."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.aaa import token
from daemon.aaa.counters import Sample
from daemon.aaa.session import TRACKED, Report, Session, State
from daemon.aaa.session_codec import from_row, to_row
from daemon.aaa.sessions import Effect, Reboot, SessionTable, place

START, STOP, INTERIM = 1, 2, 3
T0 = 1_700_000_000.0


@dataclasses.dataclass
class Line:
    """Makes the reports of one session as its NAS would send them."""

    session_id: bytes = b"0001"
    began: float = T0
    username: str = "alice"
    class_octets: bytes | None = None
    box: bytes = b"\x04lab"
    seq: int = 0

    def report(
        self, status: int, after_s: int, upload: int = 0, address: bytes | None = b"\x0a\0\0\1", **more: Any
    ) -> Report:
        at = self.began + after_s
        sample = Sample(at, after_s, upload, upload * 5, 0, 0, gigawords=True) if status != START else None
        self.seq += 1
        fields: dict[str, Any] = {
            "seq": self.seq,
            "key": place("demo", "lab", self.box) + b"\0" + self.session_id,
            "tenant": "demo",
            "nas": "lab",
            "box": self.box,
            "acct_session_id": self.session_id,
            "status": status,
            "at": at,
            "heard_at": at,
            "began_at": at - after_s,
            "username": self.username,
            "subscriber": "S1",
            "class_octets": self.class_octets,
            "uid": token.read(self.class_octets),
            "session_time_s": after_s if status != START else None,
            "sample": sample,
            "ipv6_octets": None,
            "tracked": (address,) + (None,) * (len(TRACKED) - 1),
            "terminate_cause": "user-request" if status == STOP else None,
        }
        return Report(**(fields | more))


def apply(*reports: Report) -> SessionTable:
    table = SessionTable()
    for number, report in enumerate(reports, 1):
        table.apply(report._replace(seq=number))
    return table


def only(table: SessionTable) -> Session:
    (session,) = table
    return session


def truth(session: Session) -> tuple[object, ...]:
    """What must not depend on the order of arrival."""
    return (
        session.state,
        session.started_at,
        session.start_seen,
        session.updated_at,
        session.closed_at,
        session.terminate_cause,
        session.counters.totals,
        session.session_time_s,
        session.tracked()[0],
        session.username,
        session.class_octets,
    )


def test_a_session_opens_grows_and_closes() -> None:
    line = Line()
    session = only(
        apply(line.report(START, 0), line.report(INTERIM, 300, 1000), line.report(STOP, 420, 1800))
    )
    assert session.state is State.CLOSED
    assert session.started_at == T0
    assert session.closed_at == T0 + 420
    assert session.counters.totals.upload_octets == 1800
    assert session.terminate_cause == "user-request"


def test_a_lost_start_is_recovered_from_the_first_interim() -> None:
    line = Line()
    table = SessionTable()
    effect, session = table.apply(line.report(INTERIM, 300, 10))
    assert effect is Effect.RECOVERED
    assert session.started_at == T0
    assert not session.start_seen


def test_a_late_interim_never_opens_a_closed_session_again() -> None:
    line = Line()
    table = apply(line.report(START, 0), line.report(STOP, 420, 1800))
    effect, session = table.apply(line.report(INTERIM, 300, 1000, seq=9))
    assert effect is Effect.LATE
    assert session.state is State.CLOSED
    assert session.closed_at == T0 + 420
    assert session.counters.totals.upload_octets == 1800


def test_a_stop_of_zeros_keeps_the_last_interim() -> None:
    line = Line()
    stop = line.report(STOP, 420, sample=None)
    session = only(apply(line.report(START, 0), line.report(INTERIM, 300, 1000), stop))
    assert session.counters.totals.upload_octets == 1000
    assert session.closed_at == T0 + 420


def test_an_id_used_again_after_a_reboot_is_a_new_session() -> None:
    first, second = Line(), Line(began=T0 + 7200)
    table = apply(first.report(START, 0), first.report(STOP, 600, 5), second.report(START, 0))
    assert len(table) == 2
    assert sorted(session.state for session in table) == [State.ACTIVE, State.CLOSED]


def test_a_late_packet_of_the_older_session_of_that_id_finds_it() -> None:
    first, second = Line(), Line(began=T0 + 7200)
    table = apply(
        first.report(START, 0),
        second.report(START, 0),
        second.report(INTERIM, 300, 7),
        first.report(STOP, 600, 5),
    )
    closed = [session for session in table if session.state is State.CLOSED]
    assert [(each.started_at, each.counters.totals.upload_octets) for each in closed] == [(T0, 5)]


def test_our_class_token_tells_sessions_of_one_id_apart_even_when_clocks_do_not() -> None:
    one, two = (token.class_attribute(number, b"abcd")[2:] for number in (5, 6))
    first, second = Line(class_octets=one), Line(class_octets=two, began=T0 + 300)
    table = apply(first.report(START, 0), second.report(START, 0), first.report(STOP, 900, 5))
    assert {session.uid: session.state for session in table} == {1: State.CLOSED, 2: State.ACTIVE}


def test_a_class_token_shared_by_two_sessions_does_not_merge_them() -> None:
    shared = token.class_attribute(5, b"abcd")[2:]
    one, two = Line(class_octets=shared), Line(class_octets=shared, session_id=b"0002")
    table = apply(one.report(START, 0), two.report(START, 0))
    assert len(table) == 2


def test_a_new_token_in_the_middle_of_a_session_is_a_new_login_not_a_new_session() -> None:
    one, two = (token.class_attribute(number, b"abcd")[2:] for number in (5, 6))
    line = Line(class_octets=one)
    table = apply(
        line.report(START, 0), line.report(INTERIM, 300, 5), Line(class_octets=two).report(INTERIM, 600, 9)
    )
    assert len(table) == 1


def test_the_same_id_on_another_box_is_another_session() -> None:
    table = apply(Line().report(START, 0), Line(box=b"\x04other").report(START, 0))
    assert len(table) == 2


def test_a_reboot_closes_what_began_before_it_and_nothing_else() -> None:
    old, new, other = Line(), Line(session_id=b"0002", began=T0 + 1000), Line(session_id=b"3", box=b"\x04b")
    table = apply(old.report(START, 0), new.report(START, 0), other.report(START, 0))
    table.reboot(Reboot(4, "demo", "lab", old.box, T0 + 900))
    assert table.settled_seq == 3
    (closed,) = table.close_some(100)
    assert (closed.acct_session_id, closed.terminate_cause, closed.closed_at) == (
        b"0001",
        "nas-reboot",
        T0 + 900,
    )
    assert not table.close_some(100)
    assert table.settled_seq == 4


def test_a_real_stop_outweighs_a_close_by_reboot() -> None:
    line = Line()
    table = apply(line.report(START, 0))
    table.reboot(Reboot(2, "demo", "lab", line.box, T0 + 900))
    table.close_some(100)
    table.apply(line.report(STOP, 700, 5, seq=3))
    session = only(table)
    assert (session.closed_at, session.terminate_cause) == (T0 + 700, "user-request")
    assert table.counts()[("demo", "lab", State.CLOSED)] == 1


def test_closed_sessions_are_forgotten_in_memory_and_asked_for_when_a_packet_is_late() -> None:
    line = Line()
    table = apply(line.report(START, 0), line.report(STOP, 60, 5))
    table.dirty.clear()
    assert table.forget(T0 + 5000, 10) == 1
    assert not table.knows(line.report(INTERIM, 30, 3))
    assert not table.knows(line.report(INTERIM, 6000, 3)), "whatever its time says: the store knows"
    assert table.knows(Line(began=T0 + 6000).report(START, 0))


def test_a_session_survives_the_store() -> None:
    line = Line(class_octets=token.class_attribute(5, b"abcd")[2:])
    session = only(apply(line.report(START, 0), line.report(INTERIM, 300, 1000)))
    again = from_row(to_row(session))
    assert truth(again) == truth(session)
    stop = line.report(STOP, 420, 1800)
    for each in (session, again):
        each.fold(stop, start=False, stop=True)
    assert truth(again) == truth(session)
    assert to_row(again) == to_row(session)


@settings(max_examples=300)
@given(
    interims=st.lists(st.tuples(st.integers(1, 500), st.integers(0, 1 << 34)), max_size=8),
    addresses=st.lists(st.sampled_from([None, b"\x0a\0\0\1", b"\x0a\0\0\2"]), min_size=10, max_size=10),
    zero_stop=st.booleans(),
    seed=st.integers(0, 1 << 32),
)
def test_any_order_delay_and_repetition_yields_the_same_closed_session(
    interims: list[tuple[int, int]], addresses: list[bytes | None], zero_stop: bool, seed: int
) -> None:
    line = Line(class_octets=token.class_attribute(5, b"abcd")[2:])
    after_s, upload = 0, 0
    reports = [line.report(START, 0, address=addresses[0])]
    for number, (step, octets) in enumerate(interims):
        after_s += step
        upload += octets
        reports.append(line.report(INTERIM, after_s, upload, address=addresses[number + 1]))
    more: dict[str, Any] = {"sample": None} if zero_stop else {}
    reports.append(line.report(STOP, after_s + 30, upload + 5, address=addresses[9], **more))
    expected = truth(only(apply(*reports)))
    dice = random.Random(seed)
    delayed = [
        report._replace(heard_at=report.heard_at + dice.uniform(0, 5000))
        for report in reports + dice.choices(reports, k=len(reports))
    ]
    dice.shuffle(delayed)
    table = apply(*delayed)
    assert truth(only(table)) == expected
    assert table.counts() == {("demo", "lab", State.ACTIVE): 0, ("demo", "lab", State.CLOSED): 1}


@pytest.mark.parametrize("without", [START, INTERIM])
def test_counts_by_state_stay_right(without: int) -> None:
    line = Line()
    reports = [line.report(START, 0), line.report(INTERIM, 300, 1), line.report(STOP, 400, 2)]
    table = apply(*(report for report in reports if report.status != without))
    assert table.counts()[("demo", "lab", State.ACTIVE)] == 0
    assert table.counts()[("demo", "lab", State.CLOSED)] == 1


def test_forgetting_goes_by_age_past_one_that_is_still_heard_of() -> None:
    lines = [Line(session_id=b"%04d" % number, began=T0 + number) for number in range(300)]
    table = apply(*(report for line in lines for report in (line.report(START, 0), line.report(STOP, 1))))
    zombie = lines[0].report(INTERIM, 1, 1)
    table.apply(zombie._replace(heard_at=T0 + 9000))
    table.dirty.clear()
    assert table.forget(T0, 100) == 0, "nothing is old enough, and nothing changes its place"
    assert table.forget(T0 + 101, 1000) == 99
    assert sorted(session.acct_session_id for session in table)[:2] == [b"0000", b"0100"]
