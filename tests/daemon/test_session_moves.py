"""Sessions whose NAS entry is renamed, or whose box has two, and sessions that outlive an Accounting-On."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.aaa import token
from daemon.aaa.session import Closed, Report, Session, State
from daemon.aaa.session_codec import from_row, to_row
from daemon.aaa.sessions import Effect, Reboot, SessionTable, place
from tests.daemon.coa_stack import INTERIM, START, STOP, report
from tests.daemon.stack import T0

BOX = bytes((4, 127, 0, 0, 1))
CLASS = token.class_attribute(77, token.subscriber_check("S1"))[2:]


def said(status: int, seq: int, after_s: int, nas: str = "old", **more: Any) -> Report:
    """Return what a NAS entry says of session 1, which began at T0."""
    return report(1, status, seq, T0 + after_s, nas, **({"began_at": T0} | more))


def with_class(status: int, seq: int, after_s: int, nas: str = "old", **more: Any) -> Report:
    """Return the same with our Class."""
    return said(status, seq, after_s, nas, class_octets=CLASS, uid=77, **more)


def places(table: SessionTable) -> dict[tuple[str, State], int]:
    return {(nas, state): count for (_, nas, state), count in table.counts().items() if count}


def lives_at(table: SessionTable, session: Session, nas: str) -> None:
    """See that a session is at that NAS only, and found by all that it is found by."""
    assert (session.nas, session.closed_at) == (nas, None)
    assert table.boxes() == {place("demo", nas, BOX): {session}}
    assert places(table) == {(nas, State.ACTIVE): 1}
    assert table.live.of_username("demo", "user1") == (session,)


@pytest.mark.parametrize("make", [said, with_class])
def test_a_session_goes_with_its_nas_entry_to_another_name(make: Any) -> None:
    table = SessionTable()
    _, session = table.apply(make(START, 1, 0))
    session.source = b"\x7f\0\0\1"
    assert table.apply(make(INTERIM, 2, 600, "new")) == (Effect.UPDATED, session)
    lives_at(table, session, "new")
    assert session.source == b"", "where its packets come from is learned anew"
    assert table.apply(make(STOP, 3, 900, "new")) == (Effect.CLOSED, session)
    assert (len(table), table.boxes(), places(table)) == (1, {}, {("new", State.CLOSED): 1})
    table.dirty.clear()
    assert table.forget(T0 + 9000, 10) == 1
    assert (len(table), places(table)) == (0, {})


def test_a_packet_that_comes_late_through_the_old_entry_moves_nothing_back() -> None:
    table = SessionTable()
    _, session = table.apply(said(START, 1, 0))
    table.apply(said(INTERIM, 2, 600, "new"))
    assert table.apply(said(INTERIM, 3, 300))[1] is session
    lives_at(table, session, "new")


def test_a_suspect_session_that_moves_is_active_where_it_is_heard_of() -> None:
    table = SessionTable()
    _, session = table.apply(said(START, 1, 0))
    table.suspect(session, T0 + 500)
    table.apply(said(INTERIM, 2, 600, "new"))
    lives_at(table, session, "new")


@pytest.mark.parametrize(
    "more",
    [
        {"username": "user2"},
        {"began_at": T0 + 61},
        {"began_at": None},
        {"tracked": (bytes((10, 0, 0, 9)),) + (None,) * 9},
        {"tracked": (None,) * 10},
        {"acct_session_id": b"other"},
        {"tenant": "other", "key": place("other", "new", BOX) + b"\0" + b"00000001"},
    ],
)
def test_without_class_a_session_of_the_same_name_elsewhere_is_another(more: dict[str, Any]) -> None:
    table = SessionTable()
    _, session = table.apply(said(START, 1, 0))
    effect, other = table.apply(said(INTERIM, 2, 600, "new", **more))
    assert (effect, other is session, session.nas) == (Effect.RECOVERED, False, "old")
    assert not other.start_seen


def test_a_start_elsewhere_is_always_another_session() -> None:
    table = SessionTable()
    table.apply(said(START, 1, 0))
    assert table.apply(said(START, 2, 1, "new"))[0] is Effect.OPENED


def test_the_row_of_a_session_keeps_where_it_has_moved_to() -> None:
    table = SessionTable()
    _, session = table.apply(said(START, 1, 0))
    before = to_row(session)
    table.apply(said(INTERIM, 2, 600, "new"))
    row = to_row(session)._replace(nas=before.nas, box=before.box)  # the store never changes these
    back = from_row(row)
    assert (back.nas, back.box, back.key, back.moved) == ("new", BOX, session.key, True)
    again = SessionTable()
    again.add(back)
    assert again.apply(said(STOP, 3, 900, "new")) == (Effect.CLOSED, back)


def test_a_stranger_stays_of_nobody_whatever_its_reports_say() -> None:
    table = SessionTable()
    _, session = table.apply(said(START, 1, 0, subscriber=""))
    session.stranger = True
    back = from_row(to_row(session))
    again = SessionTable()
    again.add(back)
    again.apply(said(INTERIM, 2, 600))
    assert (back.stranger, back.subscriber) == (True, "")


def rebooted(at: float) -> tuple[SessionTable, Session]:
    """Return a table with session 1, which an Accounting-On has closed."""
    table = SessionTable()
    _, session = table.apply(said(START, 1, 0))
    table.reboot(Reboot(2, "demo", "old", BOX, at))
    table.close_some(10)
    assert session.closed_by is Closed.NAS_REBOOT
    return table, session


def test_a_session_that_outlives_an_accounting_on_goes_on() -> None:
    table, session = rebooted(T0 + 100)
    assert table.apply(said(INTERIM, 3, 700)) == (Effect.REOPENED, session)
    lives_at(table, session, "old")
    assert session.reopened_from is Closed.NAS_REBOOT


@pytest.mark.parametrize(
    "late",
    [
        said(INTERIM, 3, 160),
        said(INTERIM, 3, 700, began_at=None),
        said(INTERIM, 3, 700, began_at=T0 + 100),
        said(START, 3, 700),
    ],
)
def test_what_does_not_prove_that_a_session_outlived_the_reboot_opens_nothing(late: Report) -> None:
    table, session = rebooted(T0 + 100)
    table.apply(late)
    assert session.closed_by is Closed.NAS_REBOOT
