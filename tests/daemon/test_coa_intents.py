"""What is wanted of a session changes while its job is at work: what goes on, what gives way, and what waits."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from daemon.aaa.coa.job import Intent, Job, JobState, Kind, Outcome, row_view
from daemon.aaa.coa.queue import MOST_HELD_S
from daemon.aaa.session import Closed, Session
from daemon.store import jobs
from daemon.store.jobs import Search
from radius.codes import Attr, Code, Vendor
from radius.grant import Grant
from radius.packet import Packet, attribute
from tests.daemon.coa_stack import CHANGE, DISCONNECT, FAST, SLOW, START, CoaStack, report
from tests.daemon.conftest import Store
from tests.twins.dae import Answer, DaeTwin, ack, nak, silence, told

COA, DM = Code.COA_REQUEST, Code.DISCONNECT_REQUEST
RAW = Intent(
    kind=Kind.CHANGE, attributes=attribute(11, b"x"), reason="relay-request", urgent=True, retries=False
)
KICK = replace(DISCONNECT, urgent=True)
WALLED = Grant(rate=SLOW.rate, address_list="walled", captive=True)


def run(store: Store, scenario: Callable[[CoaStack], Awaitable[None]]) -> None:
    async def everything() -> None:
        stack = CoaStack(store)
        async with stack.running():
            await scenario(stack)
        assert stack.faults == []

    asyncio.run(everything())


async def twin_of(stack: CoaStack, *script: Answer, otherwise: Answer = ack, **nas: Any) -> DaeTwin:
    twin = await DaeTwin(*script, otherwise=otherwise).start()
    stack.nas(twin, **nas)
    return twin


def drops_coa(twin: DaeTwin, request: Packet) -> list[bytes]:
    return [] if request.code == COA else nak(503)(twin, request)


def session_of(stack: CoaStack, number: int, **fields: Any) -> Session:
    """Return a live session of which some fields are given, as a user who comes back has them."""
    stack._seq += 1
    seen = report(number, START, stack._seq, stack.clock.wall(), **fields)
    return stack.sessions.apply(seen)[1]


@pytest.mark.parametrize("vendor", ["mikrotik", "nokia", "standard", "wispr"])
def test_a_disconnect_is_not_said_so_that_it_hits_the_new_session_of_the_user(
    store: Store, vendor: str
) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, otherwise=nak(503), vendor=vendor)
        tracked = report(1, START, 1, 0.0).tracked
        old = stack.session(1)
        newer = session_of(stack, 2, username=old.username, tracked=tracked)
        assert await stack.end(stack.engine.submit(old, DISCONNECT)) is Outcome.NO_SESSION
        assert twin.requests
        assert all(request.find(Attr.ACCT_SESSION_ID) == old.acct_session_id for request in twin.requests)
        twin.requests.clear()
        stack.sessions.conclude(newer, Closed.GHOST, "lost-service")
        await stack.end(stack.engine.submit(stack.session(7), DISCONNECT))
        assert twin.requests[0].find(Attr.ACCT_SESSION_ID) is not None

    run(store, scenario)


def test_another_session_that_the_name_cannot_hit_changes_nothing(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, nak(503))
        session = stack.session(1)
        session_of(stack, 2, username=session.username)  # a shared login: the address tells them apart
        job = stack.engine.submit(session, DISCONNECT)
        await stack.settle_until(lambda: job.state is JobState.VERIFYING)
        assert [kinds for _, kinds in twin.kinds()] == [(1, 44, 8), (1, 8)]

    run(store, scenario)


def test_a_timer_that_runs_down_is_no_new_intent(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, otherwise=drops_coa)
        session = stack.session()
        first = stack.engine.submit(session, CHANGE)
        for left_s in range(3600, 3540, -5):
            timed = replace(FAST, session_timeout_s=left_s, volume_octets=left_s)
            assert stack.engine.submit(session, replace(CHANGE, wanted=timed)) is first
            assert first.intent.wanted == timed
            for _ in range(5):
                await stack.clock.advance(1)
                await stack.settle()
            if DM in {each.code for each in twin.requests if each.find(44) == session.acct_session_id}:
                return
        raise AssertionError("the ladder was not reached")

    run(store, scenario)


def test_what_a_job_has_learned_of_the_nas_its_successor_need_not_learn(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, otherwise=drops_coa)
        session = stack.session()
        job = stack.engine.submit(session, CHANGE)
        for n in range(6):
            await stack.settle_until(
                lambda job=job: job.attempts > 0 and job.state is not JobState.RUNNING, 60
            )
            if job.rung is Kind.DISCONNECT:
                break
            rate = replace(FAST, address_list=f"list-{n}")
            job = stack.engine.submit(session, replace(CHANGE, wanted=rate))
        assert job.rung is Kind.DISCONNECT
        assert twin.requests

    run(store, scenario)


def test_the_question_of_the_platform_ends_no_job_that_lasts(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, nak(504), ack)
        session = stack.session()
        kick = stack.engine.submit(session, KICK)
        await stack.settle_until(lambda: kick.state is JobState.WAITING)
        assert (await asyncio.wait_for(stack.engine.ask(session, RAW), 5)).ok
        assert kick.state is JobState.WAITING
        assert stack.engine.find(session.uid) is kick
        twin.otherwise = told(lambda _: stack.stop(session))
        assert await stack.end(kick) is Outcome.VERIFIED
        assert twin.codes() == [DM, COA, DM]

    run(store, scenario)


def test_two_questions_beside_a_job_wait_for_each_other_and_a_third_is_told_that_we_are_busy(
    store: Store,
) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, silence)
        session = stack.session()
        change = stack.engine.submit(session, CHANGE)
        await stack.settle_until(lambda: len(twin.datagrams) == 1)
        raw = stack.engine.submit(session, RAW)
        await stack.settle()
        assert (len(twin.datagrams), raw.state) == (1, JobState.QUEUED), "never two requests at once"
        assert stack.engine.submit(session, RAW) is raw
        other = stack.engine.submit(session, replace(RAW, attributes=attribute(11, b"y")))
        assert (other.outcome, other.cause) == (Outcome.NAKED, 506)
        assert await stack.end(raw) is Outcome.ACKED
        assert await stack.end(change) is Outcome.ACKED
        assert session.applied == FAST
        assert stack.engine.job_counts() == {}

    run(store, scenario)


def test_a_change_that_may_not_end_the_session_ends_with_the_refusal(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, otherwise=nak(405))
        mild = replace(CHANGE, may_end=False)
        job = stack.engine.submit(stack.session(), mild)
        assert await stack.end(job) is Outcome.NAKED
        unsayable = stack.engine.submit(stack.session(2, applied=WALLED), mild)
        assert await stack.end(unsayable) is Outcome.UNABLE
        assert unsayable.cause_slug == "not-in-a-live-session"
        assert twin.codes() == [COA]

    run(store, scenario)


def test_what_has_just_failed_is_tried_again_slower_and_slower(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, otherwise=nak(503))
        session = stack.session()
        began, tries = stack.clock.monotonic(), 0
        while stack.clock.monotonic() - began < 7200:
            job = stack.engine.submit(session, CHANGE)  # as each sweep does
            await stack.settle()
            tries += job.ended.done()
            await stack.clock.advance(30)
        assert 5 <= len(twin.requests) / 2 <= 8, "after 1, 2, 4, 8, 16, 32, 60 minutes"
        assert stack.engine.submit(session, CHANGE).state is JobState.WAITING
        kick = stack.engine.submit(session, KICK)
        assert kick.state is JobState.QUEUED, "somebody waits for it, and it is something else"
        assert len(stack.sessions._closings) == 1
        await stack.end(kick)
        stack.engine._board._recent.clear()  # kept on purpose
        gc.collect()
        kept = [each for each in gc.get_objects() if isinstance(each, Job) and each.session is session]
        assert {each.id for each in kept} <= {job.id, kick.id}, "the live session refers to no finished job"

    run(store, scenario)


def test_a_session_keeps_nothing_of_the_jobs_it_has_had(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        await twin_of(stack)
        session = stack.session()
        for n in range(10):
            session.applied = SLOW
            job = stack.engine.submit(
                session, replace(CHANGE, wanted=replace(FAST, filter_id=None, address_list=f"l{n}"))
            )
            await stack.settle_until(lambda job=job: job.state is JobState.VERIFYING or job.ended.done())
        await stack.settle()
        assert len(stack.sessions._reportings[session.uid]) <= 2
        stack.sessions.conclude(session, Closed.GHOST, "lost-service")
        await stack.settle()
        assert stack.sessions._reportings == {}
        assert stack.sessions._closings == {}

    run(store, scenario)


def test_a_job_is_withdrawn_when_the_data_go_back(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        stack.storm = True
        session, kicked = stack.session(1), stack.session(2)
        queued = stack.engine.submit(session, CHANGE)
        stack.engine.withdraw(session.uid, {"another-reason"})
        assert not queued.ended.done()
        stack.engine.withdraw(session.uid)
        assert queued.outcome is Outcome.SUPERSEDED
        kick = stack.engine.submit(kicked, KICK)
        stack.engine.withdraw(kicked.uid)
        assert not kick.ended.done()
        stack.storm = False
        await stack.settle_until(lambda: kick.state is JobState.VERIFYING)
        assert twin.codes() == [DM]
        stack.stop(kicked)

    run(store, scenario)


def test_a_change_that_may_have_been_made_is_undone_when_it_is_withdrawn(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack, otherwise=silence)
        session = stack.session()
        job = stack.engine.submit(session, CHANGE)
        await stack.settle_until(lambda: job.state is JobState.WAITING)
        twin.otherwise = ack
        for _ in range(3):  # each look at the session says so anew
            stack.engine.withdraw(session.uid)
        back = stack.engine.find(session.uid)
        assert job.outcome is Outcome.SUPERSEDED
        assert back is not None
        await stack.settle_until(lambda: back.state is JobState.VERIFYING)
        said = [each.find_vendor(Vendor.MIKROTIK, 8) for each in twin.requests if each.code == COA]
        assert said[-1] == b"2M/10M"

    run(store, scenario)


def test_a_disconnect_that_was_refused_has_not_ended_the_session(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        await twin_of(stack, otherwise=nak(504))
        session = stack.session()
        job = stack.engine.submit(session, DISCONNECT)
        await stack.settle_until(lambda: job.state is JobState.WAITING)
        stack.stop(session)
        assert await stack.end(job) is Outcome.NO_SESSION
        assert job.note == "closed"

    run(store, scenario)


def test_a_stop_after_a_disconnect_that_nobody_answered_is_its_effect(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        await twin_of(stack, otherwise=silence)
        session = stack.session()
        job = stack.engine.submit(session, DISCONNECT)
        await stack.settle_until(lambda: job.state is JobState.WAITING)
        stack.stop(session)
        assert await stack.end(job) is Outcome.VERIFIED

    run(store, scenario)


def test_a_storm_without_an_end_holds_changes_back_for_ten_minutes_and_rejects_not_at_all(
    store: Store,
) -> None:
    async def scenario(stack: CoaStack) -> None:
        twin = await twin_of(stack)
        stack.storm = True
        change = stack.engine.submit(stack.session(1), CHANGE)
        reject = stack.engine.submit(stack.session(2), DISCONNECT)
        unsayable = stack.engine.submit(stack.session(3), replace(DISCONNECT, reason="data-changed"))
        await stack.settle_until(lambda: reject.state is JobState.VERIFYING)
        stack.stop(reject.session)
        await stack.clock.advance(MOST_HELD_S - 60)
        await stack.settle()
        assert twin.codes() == [DM]
        await stack.clock.advance(62)
        await stack.settle_until(lambda: change.state is JobState.VERIFYING, 2)
        await stack.settle_until(lambda: unsayable.state is JobState.VERIFYING, 2)
        await stack.clock.advance(3600)
        late = stack.engine.submit(stack.session(4), CHANGE)
        await stack.settle_until(lambda: late.state is JobState.VERIFYING, 2)
        stack.storm = False
        await stack.clock.advance(60)
        await stack.settle()
        stack.storm = True
        held = stack.engine.submit(stack.session(5), CHANGE)
        await stack.settle()
        assert held.state is JobState.QUEUED, "a new storm"

    run(store, scenario)


def test_what_awaits_its_effect_holds_no_task(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        await twin_of(stack)
        before = len(asyncio.all_tasks())
        changes = [stack.engine.submit(stack.session(n), CHANGE) for n in range(1, 51)]
        await stack.settle_until(lambda: all(each.state is JobState.VERIFYING for each in changes))
        await stack.settle()
        assert len(asyncio.all_tasks()) - before < 20
        assert stack.engine.job_counts() == {"verifying": 50}
        assert [each.id for each in stack.engine.jobs(limit=2, offset=3)] == [4, 5]

    run(store, scenario)


def test_a_kick_is_on_disk_before_the_thousands_that_were_there_first(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        await twin_of(stack)
        stack.storm = True
        for number in range(1, 3001):
            stack.engine.submit(stack.session(number), CHANGE)
        kick = stack.engine.submit(stack.session(5000), KICK)
        await stack.engine._book.durable(kick)
        assert len(await jobs.read_unfinished(store.engine)) <= 300
        await store.writer.drain()

    run(store, scenario)


def test_finished_jobs_are_shown_in_pages_from_the_store(store: Store) -> None:
    async def scenario(stack: CoaStack) -> None:
        await twin_of(stack, otherwise=nak(405))
        ended = [
            stack.engine.submit(stack.session(number), replace(CHANGE, may_end=False)) for number in (1, 2, 3)
        ]
        for job in ended:
            await stack.end(job)
            await stack.clock.advance(1)
        await store.writer.drain()
        search = Search(limit=1, offset=1)
        assert await jobs.count_finished(store.engine, search) == 3
        (row,) = await jobs.search_finished(store.engine, search)
        (shown,) = [each for each in stack.engine.jobs(finished=True) if each.id == row.id]
        assert row_view(row, shown.age_s + row.created_at) == shown
        assert row_view(row._replace(detail=b"?"), 0.0).outcome == ""

    run(store, scenario)
