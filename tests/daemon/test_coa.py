"""The CoA engine makes sessions what they are wanted to be, and says truly what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from daemon.aaa.coa.job import Intent, JobState, Kind, Outcome
from daemon.aaa.coa.pace import PaceOptions
from daemon.aaa.coa.wire import ErrorCause
from daemon.aaa.session import Session
from radius.codes import Code, Vendor
from radius.grant import Grant
from radius.packet import Packet, attribute, vendor_attribute
from tests.daemon.coa_stack import CHANGE, DISCONNECT, FAST, SLOW, CoaStack, with_options
from tests.daemon.conftest import Store
from tests.twins.dae import Answer, DaeTwin, ack, forged, nak, silence, told, twice

COA, DM = Code.COA_REQUEST, Code.DISCONNECT_REQUEST
WALLED = Grant(rate=SLOW.rate, address_list="walled", captive=True)


def run(store: Store, scenario: Callable[[CoaStack], Awaitable[None]], **options: object) -> None:
    async def everything() -> None:
        stack = CoaStack(store)
        with_options(stack, **options)
        async with stack.running():
            await scenario(stack)
        assert stack.faults == []

    asyncio.run(everything())


async def twin_of(stack: CoaStack, *script: Answer, otherwise: Answer = ack, **nas: object) -> DaeTwin:
    twin = await DaeTwin(*script, otherwise=otherwise).start()
    stack.nas(twin, **nas)
    return twin


def rate_limit(text: bytes) -> bytes:
    return vendor_attribute(Vendor.MIKROTIK, 8, text)


def test_a_change_that_the_nas_takes_and_accounting_does_not_show_is_acked(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        session = stack.session()
        job = stack.engine.submit(session, CHANGE)
        await stack.settle_until(lambda: job.state is JobState.VERIFYING)
        assert stack.applied == [(session.uid, FAST)]
        stack.account(session)
        assert await stack.end(job) is Outcome.ACKED
        assert twin.kinds() == [(COA, (1, 44, 8, 26))]
        assert twin.requests[0].find_vendor(Vendor.MIKROTIK, 8) == b"20M/100M"
        assert stack.engine.requests == {("lab", "change", "ack", ""): 1}
        assert stack.engine.counts == {("lab", "change", "acked", ""): 1}

    run(store, scenario)


def test_a_change_that_accounting_shows_is_verified(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        await twin_of(stack)
        session = stack.session()
        job = stack.engine.submit(session, CHANGE)
        await stack.settle_until(lambda: job.state is JobState.VERIFYING)
        stack.account(session, rate_limit(b"20M/100M"))
        assert await stack.end(job) is Outcome.VERIFIED

    run(store, scenario)


def test_a_change_that_accounting_contradicts_ends_in_a_disconnect(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        session = stack.session()
        twin.script.extend([ack, told(lambda _: stack.stop(session))])
        job = stack.engine.submit(session, CHANGE)
        await stack.settle_until(lambda: job.state is JobState.VERIFYING)
        stack.account(session, rate_limit(b"2M/10M"))  # was on its way when the NAS answered
        await stack.settle()
        assert job.state is JobState.VERIFYING
        await stack.clock.advance(60)
        stack.account(session, rate_limit(b"2M/10M"))
        assert await stack.end(job) is Outcome.VERIFIED
        assert twin.codes() == [COA, DM]
        assert twin.kinds()[1] == (DM, (1, 44, 8)), "a Disconnect carries identification only"

    run(store, scenario)


def test_a_change_is_acked_when_no_accounting_comes(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        await twin_of(stack)
        job = stack.engine.submit(stack.session(), CHANGE)
        await stack.settle_until(lambda: job.state is JobState.VERIFYING)
        await stack.clock.advance(899)
        await stack.settle()
        assert not job.ended.done()
        await stack.clock.advance(2)
        assert await stack.end(job) is Outcome.ACKED

    run(store, scenario)


@pytest.mark.parametrize("early", [True, False])
def test_a_disconnect_is_verified_by_the_stop_before_or_after_the_answer(store: Store, early: bool) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        session = stack.session()
        if early:
            twin.script.append(told(lambda _: stack.stop(session)))
        job = stack.engine.submit(session, DISCONNECT)
        if not early:
            await stack.settle_until(lambda: job.state is JobState.VERIFYING)
            await stack.clock.advance(10)
            assert not job.ended.done()
            stack.stop(session)
        assert await stack.end(job) is Outcome.VERIFIED
        assert twin.codes() == [DM]

    run(store, scenario)


def test_the_stop_counts_where_the_answer_is_lost(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        session = stack.session()
        twin = await twin_of(stack, told(lambda _: stack.stop(session), silence))
        assert await stack.end(stack.engine.submit(session, DISCONNECT)) is Outcome.VERIFIED
        assert len(twin.datagrams) == 1

    run(store, scenario)


def test_a_yes_without_a_stop_is_tried_again_and_shown(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        session = stack.session()
        job = stack.engine.submit(session, DISCONNECT)
        await stack.settle_until(lambda: job.state is JobState.WAITING)
        (shown,) = stack.engine.jobs()
        assert (shown.outcome, shown.state, shown.attempts) == ("unverified", "waiting", 1)
        assert shown.next_at is not None
        twin.script.append(told(lambda _: stack.stop(session)))
        assert await stack.end(job) is Outcome.VERIFIED
        assert twin.codes() == [DM, DM]

    run(store, scenario)


def test_a_lost_answer_is_asked_for_with_the_same_octets(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, silence, silence)
        job = stack.engine.submit(stack.session(), CHANGE)
        await stack.settle_until(lambda: job.state is JobState.VERIFYING)
        assert len(twin.datagrams) == 3
        assert len(set(twin.datagrams)) == 1

    run(store, scenario)


def test_accounting_tells_that_a_change_took_whose_answer_was_lost(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        session = stack.session()
        shows = told(lambda _: stack.account(session, rate_limit(b"20M/100M")), silence)
        twin = await twin_of(stack, shows, otherwise=silence)
        assert await stack.end(stack.engine.submit(session, CHANGE)) is Outcome.VERIFIED
        assert len(twin.datagrams) == 3
        assert session.applied == FAST

    run(store, scenario)


def test_twice_the_same_answer_is_one_answer(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        await twin_of(stack, otherwise=twice)
        sessions = [stack.session(number) for number in range(1, 6)]
        jobs = [stack.engine.submit(session, CHANGE) for session in sessions]
        await stack.settle_until(lambda: all(job.state is JobState.VERIFYING for job in jobs))
        assert stack.engine.requests == {("lab", "change", "ack", ""): 5}

    run(store, scenario)


# What each Error-Cause leads to for a change and for a Disconnect: requests sent, and how it stands then.
GONE, DOWN = (Outcome.NO_SESSION, 2), (Outcome.VERIFIED, 0)
CAUSES = [
    (ErrorCause.UNSUPPORTED_ATTRIBUTE, [COA, DM], [DM, DM]),
    (ErrorCause.MISSING_ATTRIBUTE, [COA, COA, DM], [DM, DM]),
    (ErrorCause.INVALID_REQUEST, [COA, COA, DM], [DM, DM]),
    (ErrorCause.INVALID_ATTRIBUTE_VALUE, [COA, COA, DM], [DM, DM]),
    (None, [COA, COA, DM], [DM, DM]),
    (ErrorCause.UNSUPPORTED_SERVICE, [COA, DM], [DM]),
    (ErrorCause.UNSUPPORTED_EXTENSION, [COA, DM], [DM]),
    (ErrorCause.ADMINISTRATIVELY_PROHIBITED, [COA, DM], [DM]),
    (ErrorCause.PROXY_REQUEST_NOT_ROUTABLE, [COA, DM], [DM]),
    (ErrorCause.SESSION_CONTEXT_NOT_REMOVABLE, [COA, DM], [DM]),
    (ErrorCause.PROXY_PROCESSING_ERROR, [COA, DM], [DM]),
    (ErrorCause.REQUEST_INITIATED, [COA, DM], [DM]),
    (ErrorCause.RESPONSE_TOO_BIG, [COA, DM], [DM]),
]


@pytest.mark.parametrize(("cause", "changed", "_ended"), CAUSES)
def test_a_refused_change_ends_in_a_disconnect(
    store: Store, cause: ErrorCause | None, changed: list[Code], _ended: list[Code]
) -> None:
    async def scenario(stack: CoaStack) -> None:
        session = stack.session()

        def answer(twin: DaeTwin, request: Packet) -> list[bytes]:
            if request.code == COA:
                return nak(cause)(twin, request)
            return told(lambda _: stack.stop(session))(twin, request)

        twin = await twin_of(stack, otherwise=answer)
        assert await stack.end(stack.engine.submit(session, CHANGE)) is Outcome.VERIFIED
        assert twin.codes() == changed
        assert session.applied == SLOW

    run(store, scenario)


@pytest.mark.parametrize(("cause", "_changed", "ended"), CAUSES)
def test_a_refused_disconnect_waits_for_its_next_try(
    store: Store, cause: ErrorCause | None, _changed: list[Code], ended: list[Code]
) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, otherwise=nak(cause))
        job = stack.engine.submit(stack.session(), DISCONNECT)
        await stack.settle_until(lambda: job.state is JobState.WAITING)
        assert twin.codes() == ended
        assert (job.outcome, job.cause_slug) == (Outcome.NAKED, "" if cause is None else cause.slug)

    run(store, scenario)


@pytest.mark.parametrize("intent", [CHANGE, DISCONNECT])
def test_a_session_unknown_by_every_name_is_gone(store: Store, intent: Intent) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, otherwise=nak(503))
        session = stack.session()
        assert await stack.end(stack.engine.submit(session, intent)) is Outcome.NO_SESSION
        assert twin.kinds()[0][1][:3] == (1, 44, 8)
        assert len(twin.requests) == 2
        assert stack.gone == [session.uid]

    run(store, scenario)


def test_a_way_of_naming_that_worked_never_comes_before_a_more_exact_one(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, nak(503), ack, ack)
        for number in (1, 2):
            session = stack.session(number)
            job = stack.engine.submit(session, DISCONNECT)
            await stack.settle_until(lambda job=job: job.state is JobState.VERIFYING)
            stack.stop(session)
            await stack.end(job)
        assert [kinds for _, kinds in twin.kinds()] == [(1, 44, 8), (1, 8), (1, 44, 8)]
        assert stack.gone == []

    run(store, scenario)


def test_a_nas_of_another_name_is_tried_without_it_and_then_left_alone(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, otherwise=nak(403), vendor="accel-ppp")
        job = stack.engine.submit(stack.session(), DISCONNECT)
        assert await stack.end(job) is Outcome.NAKED
        assert [kinds for _, kinds in twin.kinds()] == [(44, 1, 4), (44, 1)]
        assert job.cause_slug == "nas-identification-mismatch"
        assert job.note == "nas-identity 127.0.0.1"

    run(store, scenario)


def test_a_nas_without_resources_is_asked_later_but_not_for_ever(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        session = stack.session()
        twin = await twin_of(stack, otherwise=nak(506))
        job = stack.engine.submit(session, CHANGE)
        await stack.settle_until(lambda: job.state is JobState.WAITING)
        assert job.cause_slug == "resources-unavailable"
        await stack.settle_until(lambda: DM in twin.codes(), 600, 5)
        assert twin.codes().count(COA) == 5

    run(store, scenario)


def test_one_of_several_matches_is_named_more_closely(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, nak(503), nak(508))
        session = stack.session()
        job = stack.engine.submit(session, DISCONNECT)
        await stack.settle_until(lambda: job.state is JobState.WAITING)
        assert [kinds for _, kinds in twin.kinds()] == [(1, 44, 8), (1, 8)]
        assert job.outcome is Outcome.NAKED

    run(store, scenario)


def test_a_change_that_no_coa_can_make_is_a_disconnect_at_once(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        session = stack.session(applied=WALLED)  # RouterOS has no words for leaving an address list
        twin.script.append(told(lambda _: stack.stop(session)))
        assert await stack.end(stack.engine.submit(session, CHANGE)) is Outcome.VERIFIED
        assert twin.codes() == [DM]

    run(store, scenario)


def test_what_is_so_already_needs_no_packet(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        assert await stack.end(stack.engine.submit(stack.session(applied=FAST), CHANGE)) is Outcome.ACKED
        assert twin.datagrams == []

    run(store, scenario)


def test_after_a_refusal_the_next_change_is_right_from_either_state(store: Store) -> None:
    """A NAS that refuses may have done a part: going back to what was applied must still be said."""

    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, nak(506))
        session = stack.session()
        stack.engine.submit(session, CHANGE)
        await stack.settle_until(lambda: len(twin.requests) == 1)
        await stack.settle()
        back = stack.engine.submit(session, replace(CHANGE, wanted=SLOW))
        await stack.settle_until(lambda: back.state is JobState.VERIFYING)
        assert [request.find_vendor(Vendor.MIKROTIK, 8) for request in twin.requests] == [
            b"20M/100M",
            b"2M/10M",
        ]

    run(store, scenario)


def test_a_nas_that_ignores_coa_but_takes_disconnects_gets_a_disconnect(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        session = stack.session()

        def answer(twin: DaeTwin, request: Packet) -> list[bytes]:
            if request.code == COA:
                return []
            if request.find(44) != session.acct_session_id:
                return nak(503)(twin, request)
            return told(lambda _: stack.stop(session))(twin, request)

        twin = await twin_of(stack, otherwise=answer)
        assert await stack.end(stack.engine.submit(session, CHANGE)) is Outcome.VERIFIED
        assert stack.engine.requests[("lab", "probe", "nak", "session-context-not-found")] == 2
        assert twin.codes()[-1] == DM

    run(store, scenario)


def test_a_silent_nas_costs_nobody_the_connection(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, otherwise=silence)
        session = stack.session()
        job = stack.engine.submit(session, CHANGE)
        await stack.settle_until(lambda: job.attempts == 4, 600, 2)
        asked = [request for request in twin.requests if request.find(44) == session.acct_session_id]
        assert {request.code for request in asked} == {COA}
        twin.otherwise = ack
        await stack.settle_until(lambda: job.state is JobState.VERIFYING, 600, 2)
        assert session.applied == FAST

    run(store, scenario)


def test_a_forged_answer_is_no_answer(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, forged, ack)
        session = stack.session()
        job = stack.engine.submit(session, CHANGE)
        await stack.settle_until(lambda: job.state is JobState.VERIFYING)
        assert len(twin.datagrams) == 2
        assert stack.client.strays == 1

    run(store, scenario)


def test_a_closed_port_is_unreachable_and_tried_again(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        port = twin.port
        await twin.stop()
        session = stack.session()
        job = stack.engine.submit(session, DISCONNECT)
        await stack.settle_until(lambda: job.state is JobState.WAITING)
        assert job.outcome is Outcome.UNREACHABLE
        await twin.start(port=port)
        twin.script.append(told(lambda _: stack.stop(session)))
        assert await stack.end(job) is Outcome.VERIFIED

    run(store, scenario)


def test_a_dead_nas_gets_one_job_at_a_time_and_stalls_nobody(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        dead = await DaeTwin(otherwise=silence).start()
        stack.nas(dead, "dead")
        alive = await DaeTwin().start()
        stack.nas(alive, "alive")
        ghosts = [stack.engine.submit(stack.session(n, nas="dead"), DISCONNECT) for n in range(1, 31)]
        live = [stack.engine.submit(stack.session(n, nas="alive"), CHANGE) for n in range(31, 61)]
        await stack.settle_until(lambda: all(job.state is JobState.VERIFYING for job in live))
        await stack.settle_until(lambda: any(kind == "coa-nas-suspect" for kind, _ in stack.events), 60)
        await stack.settle_until(lambda: all(job.state is not JobState.RUNNING for job in ghosts), 60)
        for _ in range(20):
            await stack.settle_until(lambda: True)
            await stack.clock.advance(3)
            await stack.settle()
            assert sum(job.state is JobState.RUNNING for job in ghosts) <= 1
        dead.otherwise = ack
        await stack.settle_until(lambda: any(kind == "coa-nas-back" for kind, _ in stack.events), 120)
        await stack.settle_until(lambda: all(job.attempts and job.outcome != "timeout" for job in ghosts), 30)

    run(store, scenario, pace=PaceOptions(nas_in_flight=8), most_attempts=99)


def test_a_newer_intent_takes_the_place_of_one_that_waits(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        stack.storm = True
        session = stack.session()
        first = stack.engine.submit(session, replace(CHANGE, wanted=WALLED))
        second = stack.engine.submit(session, CHANGE)
        assert stack.engine.submit(session, CHANGE) is second
        stack.storm = False
        await stack.settle_until(lambda: second.state is JobState.VERIFYING)
        assert first.outcome is Outcome.SUPERSEDED
        assert [request.find_vendor(Vendor.MIKROTIK, 19) for request in twin.requests] == [None]

    run(store, scenario)


def test_a_newer_intent_follows_one_that_is_under_way(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, silence)
        session = stack.session()
        first = stack.engine.submit(session, replace(CHANGE, wanted=WALLED))
        await stack.settle_until(lambda: len(twin.datagrams) == 1)
        middle = stack.engine.submit(session, replace(CHANGE, wanted=FAST))
        last = stack.engine.submit(session, DISCONNECT)
        assert len(twin.datagrams) == 1
        await stack.settle_until(lambda: last.state is JobState.VERIFYING)
        assert [(job.outcome, job.attempts) for job in (first, middle)] == [("acked", 1), ("superseded", 0)]
        assert twin.codes() == [COA, COA, DM], "a repeat, and never two at once"
        stack.stop(session)
        assert await stack.end(last) is Outcome.VERIFIED

    run(store, scenario)


def test_a_kick_that_somebody_asked_for_stands_against_changes(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, otherwise=silence)
        session = stack.session()
        kick = stack.engine.submit(session, replace(DISCONNECT, urgent=True))
        assert stack.engine.submit(session, CHANGE) is kick
        await stack.settle_until(lambda: len(twin.datagrams) == 1)
        assert twin.codes() == [DM]

    run(store, scenario)


def test_a_storm_holds_back_the_many_and_not_the_one_that_somebody_waits_for(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        stack.storm = True
        bulk = [stack.engine.submit(stack.session(number), CHANGE) for number in range(1, 11)]
        urgent = stack.engine.submit(stack.session(99), replace(DISCONNECT, urgent=True))
        await stack.settle_until(lambda: urgent.state is JobState.VERIFYING)
        stack.stop(urgent.session)
        await stack.clock.advance(30)
        await stack.settle()
        assert twin.codes() == [DM]
        assert stack.engine.submit(bulk[3].session, replace(CHANGE, urgent=True)) is bulk[3]
        await stack.settle_until(lambda: bulk[3].state is JobState.VERIFYING)
        assert len(twin.requests) == 2
        stack.storm = False
        await stack.settle_until(lambda: all(job.state is JobState.VERIFYING for job in bulk), 3)

    run(store, scenario)


def test_many_changes_keep_to_the_pace(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        jobs = [stack.engine.submit(stack.session(number), CHANGE) for number in range(1, 101)]
        for _ in range(10):
            await stack.settle()
        assert len(twin.requests) == 10
        for second in range(1, 10):
            await stack.clock.advance(1)
            await stack.settle()
            assert len(twin.requests) <= 10 * (second + 1)
        await stack.settle_until(lambda: all(job.state is JobState.VERIFYING for job in jobs), 2)

    run(store, scenario, pace=PaceOptions(nas_per_s=10, nas_burst=10))


def test_the_device_driver_comes_last(store: Store) -> None:
    kicked: list[int] = []

    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, otherwise=nak(501))
        session = stack.session()
        assert await stack.end(stack.engine.submit(session, CHANGE)) is Outcome.VERIFIED
        assert twin.codes() == [COA, DM]
        assert kicked == [session.uid]

    async def everything() -> None:
        stack = CoaStack(store)

        async def kick(session: object) -> bool:
            kicked.append(session.uid)  # type: ignore[attr-defined]
            stack.stop(session)  # type: ignore[arg-type]
            return True

        stack.kick = kick
        async with stack.running():
            await scenario(stack)

    asyncio.run(everything())


def test_a_driver_that_fails_is_tried_again_after_the_nas_was(store: Store) -> None:
    async def everything() -> None:
        stack = CoaStack(store)

        async def kick(_session: object) -> bool:
            raise ConnectionError("the device does not answer")

        stack.kick = kick
        async with stack.running():
            twin = await twin_of(stack, otherwise=nak(504))
            job = stack.engine.submit(stack.session(), DISCONNECT)
            await stack.settle_until(lambda: job.attempts >= 4, 60)
            assert twin.codes() == [DM, DM]
            assert stack.engine.requests[("lab", "kick", "nak", "")] == 2
        assert stack.faults == []

    asyncio.run(everything())


def test_a_session_that_ends_while_the_driver_fails_is_done(store: Store) -> None:
    async def everything() -> None:
        stack = CoaStack(store)

        async def kick(session: Session) -> bool:
            stack.stop(session)
            await asyncio.sleep(0.001)
            return False

        stack.kick = kick
        async with stack.running():
            await twin_of(stack, otherwise=nak(504))
            job = stack.engine.submit(stack.session(), DISCONNECT)
            assert await stack.end(job, 1) is Outcome.VERIFIED

    asyncio.run(everything())


def test_a_nas_that_is_back_is_asked_all_at_once(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, otherwise=silence)
        jobs = [stack.engine.submit(stack.session(number), CHANGE) for number in range(1, 6)]
        await stack.settle_until(lambda: all(job.state is JobState.WAITING for job in jobs), 120)
        twin.otherwise = ack
        last = stack.engine.submit(stack.session(9), CHANGE)
        everybody = [*jobs, last]
        await stack.settle_until(lambda: all(job.state is JobState.VERIFYING for job in everybody), 30)

    run(store, scenario, first_retry_s=3600.0, longest_retry_s=3600.0)


def test_a_nas_that_takes_no_coa_is_not_asked(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, coa=False)
        job = stack.engine.submit(stack.session(), DISCONNECT)
        assert await stack.end(job) is Outcome.UNABLE
        assert job.cause_slug == "coa-off"
        assert twin.datagrams == []

    run(store, scenario)


def test_a_session_that_closes_meanwhile_needs_nothing(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        stack.storm = True
        session = stack.session()
        job = stack.engine.submit(session, CHANGE)
        stack.stop(session)
        assert await stack.end(job, 1) is Outcome.NO_SESSION
        assert twin.datagrams == []
        assert stack.gone == []

    run(store, scenario)


def test_a_job_that_gets_nowhere_is_told_of_once_and_stays_in_sight(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        await twin_of(stack, otherwise=nak(501))
        job = stack.engine.submit(stack.session(), DISCONNECT)
        await stack.settle_until(lambda: job.attempts == 5, 3000, 5)
        await stack.settle()
        told_of = [fields for kind, fields in stack.events if kind == "coa-outcome"]
        assert [(fields["state"], fields["cause"]) for fields in told_of] == [
            ("waiting", "administratively-prohibited")
        ]
        (shown,) = stack.engine.jobs()
        assert shown.state == "waiting"
        assert shown.subscriber == "S1"
        assert shown.age_s > 30

    run(store, scenario, most_attempts=3)


def test_raw_attributes_are_passed_on_once_and_never_turn_into_a_disconnect(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, nak(401), ack)
        session = stack.session()
        raw = Intent(
            kind=Kind.CHANGE, attributes=attribute(11, b"slow"), reason="relay", urgent=True, retries=False
        )
        refused = await asyncio.wait_for(stack.engine.ask(session, raw), 5)
        assert (refused.ok, refused.cause) == (False, 401)
        taken = await asyncio.wait_for(stack.engine.ask(session, raw), 5)
        assert taken.ok
        assert twin.kinds() == [(COA, (1, 44, 8, 11))] * 2

    run(store, scenario)


def test_whoever_waits_is_told_of_the_answer_before_its_effect(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        await twin_of(stack)
        session = stack.session()
        answered = await asyncio.wait_for(stack.engine.ask(session, replace(DISCONNECT, urgent=True)), 5)
        assert answered.ok
        assert session.closed_at is None
        stack.stop(session)

    run(store, scenario)


def test_a_session_of_which_little_is_known_is_changed_and_not_cut(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        wanted = replace(FAST, ipv4_address=IPv4Address("10.0.0.1"))
        job = stack.engine.submit(stack.session(applied=None), replace(CHANGE, wanted=wanted))
        await stack.settle_until(lambda: job.state is JobState.VERIFYING)
        assert twin.codes() == [COA]

    run(store, scenario)


def test_a_single_try_becomes_a_lasting_one_when_somebody_wants_that(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        await twin_of(stack, otherwise=nak(501))
        session = stack.session()
        job = stack.engine.submit(session, replace(DISCONNECT, retries=False))
        assert stack.engine.submit(session, DISCONNECT) is job
        await stack.settle_until(lambda: job.state is JobState.WAITING)
        again = stack.session(2)
        assert (
            await stack.end(stack.engine.submit(again, replace(DISCONNECT, retries=False))) is Outcome.NAKED
        )

    run(store, scenario)


def test_a_plan_that_cannot_be_said_leaves_the_session_alone(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        wanted = Grant(rate=FAST.rate, rate_text="no rate at all")
        job = stack.engine.submit(stack.session(), replace(CHANGE, wanted=wanted))
        assert await stack.end(job) is Outcome.UNABLE
        assert job.cause_slug == "unencodable"
        assert twin.datagrams == []

    run(store, scenario)


def test_a_fault_of_ours_is_reported_and_the_job_goes_on(store: Store) -> None:
    async def everything() -> None:
        stack = CoaStack(store)
        faults = [RuntimeError("broken")]
        find = stack._find

        def find_badly(tenant: str, name: str) -> object:
            if faults:
                raise faults.pop()
            return find(tenant, name)

        stack._find = find_badly  # type: ignore[method-assign,assignment]
        async with stack.running():
            await twin_of(stack)
            job = stack.engine.submit(stack.session(), CHANGE)
            await stack.settle_until(lambda: job.state is JobState.WAITING)
            assert (job.outcome, job.cause_slug) == (Outcome.FAILED, "internal-error")
            await stack.settle_until(lambda: job.state is JobState.VERIFYING)
        assert [fault["error"] for fault in stack.faults] == ["RuntimeError: broken"]

    asyncio.run(everything())


@pytest.mark.parametrize("says", [{}, {"wanted": FAST, "attributes": b"x"}])
def test_an_intent_that_contradicts_itself_is_refused(says: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="things to set"):
        Intent(kind=Kind.CHANGE, reason="test", **says)
