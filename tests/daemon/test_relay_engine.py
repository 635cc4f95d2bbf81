"""What the CoA engine brings is told to the platform as RFC 5176 would have it."""

from __future__ import annotations

import asyncio

import pytest

from daemon.aaa.coa.job import Answered, Intent, Kind, Outcome
from daemon.aaa.relay.engine import RelayEngine
from daemon.aaa.session import Session
from tests.daemon.relay_stage import Stage


class Asked:
    """Brings what the test has written."""

    def __init__(self, outcome: Outcome, cause: int | None = None) -> None:
        self.answered = Answered(outcome, cause)
        self.intents: list[Intent] = []

    async def ask(self, session: Session, intent: Intent) -> Answered:
        self.intents.append(intent)
        return self.answered


def ask(engine: Asked, attributes: bytes = b"") -> tuple[bool, int | None, bool]:
    relay, session = RelayEngine(engine), Stage().session("1")
    asking = (
        relay.forward(session, attributes, "platform")
        if attributes
        else relay.disconnect(session, "platform")
    )
    result = asyncio.run(asking)
    return result.ok, result.cause, result.answered


@pytest.mark.parametrize(
    ("outcome", "cause", "expected"),
    [
        (Outcome.ACKED, None, (True, None, True)),
        (Outcome.VERIFIED, 503, (True, None, True)),  # gone, whatever was said on the way
        (Outcome.NAKED, 504, (False, 504, True)),
        (Outcome.NAKED, None, (False, None, True)),
        (Outcome.NO_SESSION, None, (False, 503, True)),
        (Outcome.TIMEOUT, None, (False, None, False)),
        (Outcome.UNREACHABLE, None, (False, None, False)),
        (Outcome.UNABLE, None, (False, 502, True)),
        (Outcome.UNVERIFIED, None, (False, 504, True)),
        (Outcome.SUPERSEDED, None, (False, 505, True)),
        (Outcome.FAILED, None, (False, 505, True)),
    ],
)
def test_every_outcome_has_its_cause(
    outcome: Outcome, cause: int | None, expected: tuple[bool, int | None, bool]
) -> None:
    assert ask(Asked(outcome, cause)) == expected


def test_a_change_is_not_said_to_be_a_session_that_cannot_be_removed() -> None:
    assert ask(Asked(Outcome.UNVERIFIED), b"\x0b\x03x") == (False, 505, True)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_no_outcome_is_forgotten(outcome: Outcome) -> None:
    ok, cause, answered = ask(Asked(outcome))
    assert ok or cause is not None or not answered or outcome is Outcome.NAKED


def test_it_is_asked_once_and_at_once_with_what_is_wanted() -> None:
    engine = Asked(Outcome.ACKED)
    ask(engine)
    ask(engine, b"\x0b\x03x")
    disconnect, change = engine.intents
    assert (disconnect.kind, disconnect.attributes) == (Kind.DISCONNECT, b"")
    assert (change.kind, change.attributes) == (Kind.CHANGE, b"\x0b\x03x")
    for intent in engine.intents:
        assert intent.urgent
        assert not intent.retries
        assert "platform" in intent.why
