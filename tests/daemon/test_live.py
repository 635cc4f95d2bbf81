"""Live sessions are found by whom and what they are of, whatever was reported, and only while they live."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from daemon.aaa.session import TRACKED, Closed, Session
from daemon.aaa.sessions import Reboot, SessionTable
from tests.daemon.coa_stack import INTERIM, START, STOP, report
from tests.daemon.stack import T0

ADDRESSES = (b"\x0a\0\0\x01", b"\x0a\0\0\x02", b"\x0a\0\0\x03")
WAYS: dict[str, Callable[[Session], object]] = {
    "of_subscriber": lambda session: session.subscriber or None,
    "of_username": lambda session: session.username or None,
    "of_address": lambda session: session.ipv4_octets,
    "of_acct_session_id": lambda session: session.acct_session_id,
}


def tell(
    table: SessionTable,
    number: int,
    status: int,
    seq: int,
    address: bytes | None = None,
    subscriber: str = "S",
) -> Session:
    """Fold in a report of session `number`."""
    tracked = (address,) + (None,) * (len(TRACKED) - 1)
    _, session = table.apply(
        report(number, status, seq, T0 + seq, tracked=tracked, username="u", subscriber=subscriber)
    )
    return session


def test_a_session_is_found_by_the_address_of_its_start() -> None:
    table = SessionTable()
    session = tell(table, 1, START, 1, ADDRESSES[0])
    assert table.live.of_address("demo", ADDRESSES[0]) == (session,)
    assert table.live.of_address("other", ADDRESSES[0]) == ()


def test_a_session_is_found_by_its_latest_address_only() -> None:
    table = SessionTable()
    session = tell(table, 1, START, 1, ADDRESSES[0])
    tell(table, 1, INTERIM, 2, ADDRESSES[1])
    assert table.live.of_address("demo", ADDRESSES[0]) == ()
    assert table.live.of_address("demo", ADDRESSES[1]) == (session,)


def test_a_session_that_begins_with_its_stop_is_not_live() -> None:
    table = SessionTable()
    session = tell(table, 1, STOP, 1, ADDRESSES[0])
    assert session.closed_at is not None
    assert table.live.of_address("demo", ADDRESSES[0]) == ()
    assert table.live.of_subscriber("demo", "S") == ()
    assert table.boxes() == {}


@given(
    st.lists(
        st.tuples(
            st.integers(1, 4),
            st.sampled_from([START, INTERIM, INTERIM, STOP, "ghost", "reboot"]),
            st.none() | st.sampled_from(ADDRESSES),
            st.sampled_from(["", "S", "T"]),
        ),
        max_size=25,
    )
)
def test_every_way_of_looking_finds_exactly_the_live_sessions(
    steps: list[tuple[int, int | str, bytes | None, str]],
) -> None:
    table = SessionTable()
    for seq, (number, what, address, subscriber) in enumerate(steps, 1):
        if what == "ghost":
            for session in list(table)[:number]:
                table.conclude(session, Closed.GHOST, "lost-service")
        elif what == "reboot":
            table.reboot(Reboot(seq, "demo", "lab", bytes((4, 127, 0, 0, 1)), T0 + seq))
            table.close_some(100)
        elif isinstance(what, int):
            tell(table, number, what, seq, address, subscriber)
        live = [session for session in table if session.closed_at is None]
        for name, key_of in WAYS.items():
            for key in {key_of(session) for session in table} - {None}:
                found = getattr(table.live, name)("demo", key)
                assert len(found) == len(set(found))
                assert set(found) == {session for session in live if key_of(session) == key}
        assert sum(len(found) for found in table.boxes().values()) == len(live)
