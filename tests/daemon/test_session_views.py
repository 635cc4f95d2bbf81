"""What the API shows of sessions that are suspect or not as they should be."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from daemon.aaa.reconcile import Deviation
from daemon.aaa.session import Closed
from daemon.api.session_views import grant_texts, session_view, value_text
from radius.grant import Burst, Grant, Rate, Route
from tests.daemon.coa_stack import CoaStack
from tests.daemon.conftest import Store

RATE = Rate(download_bps=100_000_000, upload_bps=20_000_000)
WRONG = Deviation(since=5.0, reason="octets-used-up", fields=("rate",), live=True)


@pytest.fixture
def stack(tmp_path: Path) -> CoaStack:
    return CoaStack(Store(tmp_path / "edge.db"))


def test_a_suspect_session_says_since_when(stack: CoaStack) -> None:
    session = stack.session()
    stack.sessions.suspect(session, 77.0)
    shown = session_view(session, None)
    assert (shown.state, shown.suspect_since) == ("suspect", 77.0)


def test_a_deviation_is_shown_while_the_session_lives(stack: CoaStack) -> None:
    session = stack.session()
    shown = session_view(session, WRONG).deviation
    assert shown is not None
    assert (shown.since, shown.reason, shown.fields, shown.live) == (5.0, "octets-used-up", ["rate"], True)
    stack.sessions.conclude(session, Closed.GHOST, "lost-service")
    closed = session_view(session, WRONG)
    assert (closed.deviation, closed.closed_by, closed.terminate_cause) == (None, "ghost", "lost-service")


def test_a_grant_is_shown_without_what_it_does_not_say() -> None:
    assert grant_texts(Grant(rate=RATE, captive=True)) == {
        "access": "ppp",
        "rate": "100 Mbit/s down, 20 Mbit/s up",
        "captive": "yes",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        ((), "nothing"),
        (("A", "B"), "A, B"),
        (False, "no"),
        (Route(prefix=IPv4Network("192.0.2.0/24")), "192.0.2.0/24"),
        (
            Burst(rate=RATE, threshold=RATE, seconds=9),
            "100 Mbit/s down, 20 Mbit/s up, above 100 Mbit/s down, 20 Mbit/s up for 9 s",
        ),
    ],
)
def test_values_are_shown_as_people_say_them(value: object, text: str) -> None:
    assert value_text(value) == text
