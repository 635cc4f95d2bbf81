"""The relay answers what the NAS answered, once, and only to those who may ask."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

import pytest

from daemon.aaa.coa.wire import ErrorCause
from daemon.aaa.session import Closed, Session
from radius.authenticator import Key, message_is_authentic
from radius.codes import Attr, Code, Vendor
from radius.exchange import Request, accounting_request, check_reply
from radius.packet import Packet, attribute, vendor_attribute
from tests.daemon.relay_stage import (
    SECRET,
    Outcome,
    Stage,
    change,
    client,
    disconnect,
    play,
    sid,
    user,
)
from tests.twins.clock import settle

RATE = vendor_attribute(Vendor.MIKROTIK, 8, b"10M/50M")


def asking_all(stage: Stage, *requests: Request) -> list[Packet | None]:
    """Return the reply to each request, one after the other."""
    replies: list[Packet | None] = []

    async def scene(stage: Stage) -> None:
        replies.extend([await stage.ask(request) for request in requests])

    play(stage, scene)
    return replies


def asking(stage: Stage, request: Request) -> Packet | None:
    """Return the reply to the only request of a scene."""
    (reply,) = asking_all(stage, request)
    return reply


def one_session(**options: float) -> Stage:
    stage = Stage(**options)  # type: ignore[arg-type]
    stage.session("8000")
    return stage


def cause(reply: Packet | None) -> int | None:
    assert reply is not None
    return reply.find_int(Attr.ERROR_CAUSE)


@pytest.mark.parametrize(
    ("request_", "outcome", "code", "expected"),
    [
        (disconnect(user()), Outcome(ok=True), Code.DISCONNECT_ACK, None),
        (disconnect(user()), Outcome(ok=False, cause=504), Code.DISCONNECT_NAK, 504),
        (disconnect(user()), Outcome(ok=False), Code.DISCONNECT_NAK, None),
        (disconnect(user()), Outcome(ok=False, answered=False), Code.DISCONNECT_NAK, 502),
        (disconnect(user()), Outcome(ok=False, cause=406, answered=False), Code.DISCONNECT_NAK, 406),
        (change(user(), RATE), Outcome(ok=True), Code.COA_ACK, None),
        (change(user(), RATE), Outcome(ok=False, cause=401), Code.COA_NAK, 401),
        (change(user(), RATE), Outcome(ok=False, cause=550), Code.COA_NAK, 550),  # a vendor's own
        (change(user(), RATE), Outcome(ok=False, answered=False), Code.COA_NAK, 502),
    ],
)
def test_the_reply_is_that_of_the_nas(
    request_: Request, outcome: Outcome, code: Code, expected: int | None
) -> None:
    stage = one_session()
    stage.engine.answer = outcome
    reply = asking(stage, request_)
    assert reply is not None
    assert (reply.code, cause(reply)) == (code, expected)


def test_the_engine_gets_the_session_the_change_and_who_asked() -> None:
    stage = one_session()
    asking(stage, change(user(), sid("8000"), RATE))
    assert stage.engine.changes == [(1, RATE, "platform")]
    assert stage.engine.disconnects == []


def test_a_refusal_asks_no_nas() -> None:
    stage = one_session()
    replies = asking_all(stage, disconnect(user("eve")), disconnect())
    assert [cause(reply) for reply in replies] == [503, 402]
    assert stage.engine.disconnects == []
    assert stage.reasons() == {
        "platform nak session-context-not-found": 1,
        "platform nak missing-attribute": 1,
    }


def closing(stage: Stage, outcome: Outcome, by: Closed = Closed.STOP) -> None:
    async def during(session: Session) -> None:
        await asyncio.sleep(0)
        stage.close(session, by)

    stage.engine.during = during
    stage.engine.answer = outcome


@pytest.mark.parametrize(
    "outcome", [Outcome(ok=False, cause=503), Outcome(ok=False, answered=False), Outcome(ok=False)]
)
def test_a_session_that_closes_meanwhile_is_disconnected_and_cannot_be_changed(outcome: Outcome) -> None:
    stage = one_session()
    closing(stage, outcome)
    reply = asking(stage, disconnect(user()))
    assert reply is not None
    assert reply.code == Code.DISCONNECT_ACK
    assert stage.reasons() == {"platform ack gone": 1}
    stage = one_session()
    closing(stage, outcome)
    assert cause(asking(stage, change(user(), RATE))) == ErrorCause.SESSION_CONTEXT_NOT_FOUND


def test_a_session_that_is_only_concluded_to_be_gone_keeps_the_answer_of_its_nas() -> None:
    stage = one_session()
    closing(stage, Outcome(ok=False, cause=503), Closed.NOT_ON_NAS)
    assert cause(asking(stage, disconnect(user()))) == ErrorCause.SESSION_CONTEXT_NOT_FOUND


@pytest.mark.parametrize("refuser", [1, 2])
def test_all_sessions_of_a_subscriber_are_disconnected_and_all_must_be(refuser: int) -> None:
    stage = one_session()
    stage.session("8001")
    reply = asking(stage, disconnect(user()))
    assert reply is not None
    assert reply.code == Code.DISCONNECT_ACK
    assert stage.engine.disconnects == [(1, "platform"), (2, "platform")]
    stage = one_session()
    stage.session("8001")
    stage.engine.answers[refuser] = Outcome(ok=False, cause=506)
    assert cause(asking(stage, disconnect(user()))) == ErrorCause.RESOURCES_UNAVAILABLE
    assert len(stage.engine.disconnects) == 2


def test_proxy_state_comes_back_in_order_and_is_not_passed_on() -> None:
    stage = one_session()
    states = attribute(Attr.PROXY_STATE, b"one"), attribute(Attr.PROXY_STATE, b"two")
    reply = asking(stage, change(states[0], user(), RATE, states[1]))
    assert reply is not None
    assert reply.all(Attr.PROXY_STATE) == [b"one", b"two"]
    assert stage.engine.changes[0][1] == RATE


def test_the_reply_has_a_message_authenticator_where_the_request_has_one() -> None:
    for signed in (True, False):
        for name in ("alice", "eve"):
            request = disconnect(user(name), message=signed)
            reply = asking(one_session(), request)
            assert reply is not None
            assert (Attr.MESSAGE_AUTHENTICATOR in reply.spots) is signed
            assert not signed or message_is_authentic(reply, Key(SECRET), request.authenticator)


def test_a_message_authenticator_may_be_demanded_of_a_client() -> None:
    stage = one_session()
    stage.clients.replace([client(require_message_authenticator=True)])
    unsigned, signed = asking_all(stage, disconnect(user()), disconnect(user(), message=True))
    assert unsigned is None
    assert signed is not None
    assert stage.reasons() == {"platform drop no-message-authenticator": 1, "platform ack acked": 1}


def tampered(request: Request) -> bytes:
    """Return a request whose Message-Authenticator is wrong, though its Request Authenticator is right."""
    attributes = bytearray(request.octets[20:])
    attributes[5] ^= 1
    return disconnect(bytes(attributes)).octets


@pytest.mark.parametrize(
    ("octets", "address", "reason"),
    [
        (disconnect(user(), key=b"other").octets, "127.0.0.1", "platform drop bad-request-authenticator"),
        (disconnect(user()).octets, "198.51.100.1", "unknown drop unknown-client"),
        (disconnect(user()).octets, "2001:db8::1", "unknown drop unknown-client"),
        (tampered(disconnect(user(), message=True)), "127.0.0.1", "platform drop bad-message-authenticator"),
        (disconnect(user()).octets[:19], "127.0.0.1", "platform drop short-packet"),
        (b"", "127.0.0.1", "platform drop short-packet"),
        (accounting_request(1, user(), Key(SECRET)).octets, "127.0.0.1", "platform drop unknown-code"),
    ],
)
def test_who_may_not_ask_or_asks_wrongly_gets_no_answer(octets: bytes, address: str, reason: str) -> None:
    stage = one_session()

    async def scene(stage: Stage) -> None:
        assert stage.send(octets, address) == []
        await settle()

    play(stage, scene)
    assert stage.wire.sent == []
    assert stage.engine.disconnects == []
    assert stage.reasons() == {reason: 1}


def test_an_event_timestamp_must_be_of_now_where_there_is_one() -> None:
    stage = one_session()
    now = int(stage.clock.wall())
    stamps = now, now - 299, now - 301, now + 301
    requests = [disconnect(user(), attribute(55, stamp.to_bytes(4, "big"))) for stamp in stamps]
    answered = [reply is not None for reply in asking_all(stage, *requests)]
    assert answered == [True, True, False, False]
    assert stage.reasons()["platform drop stale-timestamp"] == 2


def test_both_secrets_of_a_rotation_are_valid_and_sign_their_own_reply() -> None:
    stage = one_session()
    stage.clients.replace([client(keys=(Key(b"new"), Key(b"old")))])

    async def scene(stage: Stage) -> None:
        for secret in (b"new", b"old"):
            assert await stage.ask(disconnect(user(), key=secret), secret) is not None

    play(stage, scene)


def test_the_longest_prefix_says_who_asks() -> None:
    stage = one_session()
    stage.session("9000", tenant="other")
    host = (ip_network("192.0.2.7/32"),)
    stage.clients.replace(
        [
            client(),
            client(name="theirs", tenant="other", networks=host, keys=(Key(b"theirs"),)),
            client(name="ours", networks=host, keys=(Key(b"ours"),)),
        ]
    )

    async def scene(stage: Stage) -> None:
        assert await stage.ask(disconnect(user()), address="192.0.2.8") is not None
        assert await stage.ask(disconnect(user()), address="192.0.2.7") is None  # the wider one's secret
        assert await stage.ask(disconnect(user(), key=b"theirs"), b"theirs", "192.0.2.7") is not None
        assert await stage.ask(disconnect(user(), key=b"ours"), b"ours", "192.0.2.7") is not None

    play(stage, scene)
    assert stage.engine.disconnects == [(1, "platform"), (2, "theirs"), (1, "ours")]


def test_a_reload_takes_effect_for_sources_that_have_asked_before() -> None:
    async def scene(stage: Stage) -> None:
        assert await stage.ask(disconnect(user())) is not None
        stage.clients.replace([client(networks=(ip_network("198.51.100.0/24"),))])
        assert await stage.ask(disconnect(user(), identifier=2)) is None
        assert await stage.ask(disconnect(user(), identifier=2), address="198.51.100.1") is not None

    play(one_session(), scene)


def test_the_repeat_of_a_refused_request_gets_the_same_refusal() -> None:
    request = disconnect(user("late"))

    async def scene(stage: Stage) -> None:
        refused = stage.send(request.octets)
        stage.session("9000", "late")
        assert stage.send(request.octets) == refused

    stage = play(one_session(), scene)
    assert stage.engine.disconnects == []
    assert stage.reasons()["platform repeat duplicate"] == 1


def slow(stage: Stage) -> asyncio.Event:
    """Let the NAS answer only when the event is set."""
    answered = asyncio.Event()

    async def during(_session: Session) -> None:
        await answered.wait()

    stage.engine.during = during
    return answered


def test_repeats_wait_in_silence_for_the_nas_and_then_get_the_same_reply() -> None:
    request = disconnect(user())

    async def scene(stage: Stage) -> None:
        answered = slow(stage)
        assert await stage.ask(request) is None
        assert await stage.ask(request) is None
        assert stage.relay.pending == 1
        answered.set()
        await settle()
        ((first, _),) = stage.wire.sent
        assert check_reply(request, first, Key(SECRET)).code == Code.DISCONNECT_ACK
        assert stage.send(request.octets) == [first]
        assert stage.relay.pending == 0

    stage = play(one_session(), scene)
    assert stage.engine.disconnects == [(1, "platform")]
    assert stage.reasons() == {
        "platform drop in-progress": 1,
        "platform ack acked": 1,
        "platform repeat duplicate": 1,
    }


def test_a_repeat_after_the_window_of_duplicates_is_still_known_while_the_nas_is_asked() -> None:
    request = disconnect(user())

    async def scene(stage: Stage) -> None:
        answered = slow(stage)
        for _ in range(4):
            assert await stage.ask(request) is None
            await stage.clock.advance(11.0)
        answered.set()
        await settle()
        assert len(stage.wire.sent) == 1

    assert play(one_session(window_s=10.0), scene).engine.disconnects == [(1, "platform")]


def test_a_newer_request_with_the_same_identifier_takes_the_place_of_the_older() -> None:
    async def scene(stage: Stage) -> None:
        answered = slow(stage)
        assert stage.send(disconnect(user()).octets) == []
        newer = disconnect(user(), sid("8000"))
        assert stage.send(newer.octets) == []
        answered.set()
        await settle()
        ((octets, _),) = stage.wire.sent
        check_reply(newer, octets, Key(SECRET))

    assert play(one_session(), scene).reasons()["unknown drop superseded"] == 1


def test_more_requests_than_can_wait_are_refused_for_want_of_resources() -> None:
    async def scene(stage: Stage) -> None:
        answered = slow(stage)
        assert await stage.ask(disconnect(user(), identifier=1)) is None
        reply = await stage.ask(disconnect(user(), identifier=2))
        assert cause(reply) == ErrorCause.RESOURCES_UNAVAILABLE
        answered.set()
        await settle()
        assert await stage.ask(disconnect(user(), identifier=3)) is not None

    play(one_session(most_pending=1), scene)


def test_an_engine_that_never_comes_back_holds_no_place_for_ever() -> None:
    request = disconnect(user())

    async def scene(stage: Stage) -> None:
        slow(stage)
        assert await stage.ask(request) is None
        while stage.relay.pending:
            await asyncio.sleep(0.005)
        ((octets, _),) = stage.wire.sent
        assert cause(check_reply(request, octets, Key(SECRET))) == ErrorCause.PROXY_REQUEST_NOT_ROUTABLE

    stage = play(one_session(give_up_s=0.02), scene)
    assert stage.reasons() == {"platform nak no-answer": 1}


def test_a_fault_of_ours_is_said_to_be_one() -> None:
    async def broken(_session: Session) -> None:
        raise ValueError("no such thing")

    stage = one_session()
    stage.engine.during = broken

    async def scene(stage: Stage) -> None:
        assert cause(await stage.ask(disconnect(user()))) == ErrorCause.PROXY_PROCESSING_ERROR
        (fault,) = stage.faults
        assert "no such thing" in fault
        stage.faults.clear()

    play(stage, scene)


def test_every_answer_is_an_event_without_secrets() -> None:
    stage = one_session()
    asking_all(stage, disconnect(user()), change(user("eve"), RATE))
    refused, done = stage.events.newest_first(10)
    assert (done.kind, done.tenant, done.subscriber, done.session, done.nas, done.reason) == (
        "relay-request",
        "demo",
        "ALICE",
        1,
        "lab",
        "acked",
    )
    assert done.fields == (("client", "platform"), ("request", "disconnect"), ("answer", "ack"))
    assert (refused.session, refused.reason) == (None, "session-context-not-found")
    assert refused.fields[-1] == ("cause", 503)
    assert SECRET.decode() not in repr((refused, done, stage.logged, client()))


def test_a_reply_that_would_be_too_long_is_not_sent() -> None:
    stage = one_session()
    most = attribute(Attr.PROXY_STATE, bytes(253)) * 15
    fits = disconnect(most, attribute(Attr.PROXY_STATE, bytes(235)), user("e" * 12))
    full = disconnect(most, attribute(Attr.PROXY_STATE, bytes(249)))
    assert len(fits.octets) == len(full.octets) == 4096
    answered, unanswered = asking_all(stage, fits, full)
    assert answered is not None  # identification stays behind, so that the cause has room
    assert unanswered is None
    assert stage.reasons()["platform drop reply-too-long"] == 1
