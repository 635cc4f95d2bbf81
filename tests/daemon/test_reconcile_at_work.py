"""The reconciler beside loads, requests, jobs of the engine, the platform's own CoA, and faults of ours."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.aaa.attachment import Attachment
from daemon.aaa.coa.job import Intent, Kind
from daemon.aaa.reconcile import Unchangeable
from daemon.aaa.wanted import Difference
from daemon.replica.records import AccessMode, Subscriber
from daemon.replica.rules import Act, Bound, Rules, Treatment
from radius.grant import Grant
from tests.daemon.policy_stage import GARDEN, SLOW_RATE, allowance
from tests.daemon.test_reconcile import FULL, Stage, Watch, scene
from tests.twins.clock import ClockTwin

SLOWER = replace(FULL, rate=SLOW_RATE)


class TickingClock(ClockTwin):
    """A clock that moves by a tenth of a millisecond whenever it is asked, as if work took time."""

    def monotonic(self) -> float:
        """Return seconds."""
        self._now += 0.0001
        return self._now


# --- beside loads and requests -------------------------------------------------------------------------


def test_a_load_halts_a_sweep_and_loses_nothing_of_it() -> None:
    async def play() -> None:
        stage = Stage()
        sessions = [stage.session(number, applied=SLOWER) for number in range(1, 1001)]
        stage.reconciler.mark_all()
        task = asyncio.create_task(stage.reconciler.run())
        for _ in range(3):
            await asyncio.sleep(0)
        begun = len(stage.enforcer.intents)
        assert 0 < begun < len(sessions)
        stage.index.begin_load()
        await stage.clock.advance(60)
        assert len(stage.enforcer.intents) == begun, "nothing is judged by half a load"
        stage.index.end_load()
        await stage.clock.advance(0)
        assert {uid for uid, _ in stage.enforcer.intents} == {each.uid for each in sessions}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    scene(play)


def test_load_after_load_lets_a_sweep_come_to_its_end() -> None:
    async def play() -> None:
        stage = Stage()
        sessions = [stage.session(number, applied=SLOWER) for number in range(1, 1001)]
        stage.reconciler.mark_all()
        task = asyncio.create_task(stage.reconciler.run())
        for _ in range(20):
            stage.index.begin_load()
            for _ in range(5):
                await asyncio.sleep(0)
            stage.index.end_load()
            await asyncio.sleep(0)  # all that `Apply` leaves between two
        assert {uid for uid, _ in stage.enforcer.intents} == {each.uid for each in sessions}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    scene(play)


def test_requests_have_their_turn_every_two_milliseconds_of_a_sweep() -> None:
    async def play() -> None:
        stage = Stage()
        stage.reconciler._clock = TickingClock(stage.at)
        for number in range(1, 101):
            stage.session(number, applied=SLOWER)
        stage.reconciler.mark_all()
        task = asyncio.create_task(stage.reconciler.run())
        seen = []
        for _ in range(200):
            before = len(stage.enforcer.intents)
            await asyncio.sleep(0)
            seen.append(len(stage.enforcer.intents) - before)
        assert sum(seen) == 100
        assert max(seen) <= 25
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    scene(play)


def test_who_is_marked_during_a_sweep_does_not_wait_for_its_end() -> None:
    async def play() -> None:
        stage = Stage()
        for number in range(1, 1001):
            stage.session(number, applied=SLOWER)
        alice = stage.session(2000, applied=SLOWER, subscriber="ALICE")
        stage.reconciler.mark_all()
        task = asyncio.create_task(stage.reconciler.run())
        for _ in range(3):
            await asyncio.sleep(0)
        begun = len(stage.enforcer.intents)
        stage.reconciler.mark([("demo", "ALICE")])
        await asyncio.sleep(0)
        assert alice.uid in [uid for uid, _ in stage.enforcer.intents[begun : begun + 2]]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    scene(play)


def test_a_fault_in_one_look_does_not_cost_the_others() -> None:
    async def play() -> None:
        stage = Stage()
        no_plan: Any = ["home"]  # what no dictionary takes cannot be looked up
        stage.index.put(Subscriber(tenant="demo", id="BAD", access_mode=AccessMode.ACTIVE, plan=no_plan))
        whose = ("SAM", "BAD", "SAM", "BAD", "SAM")
        sessions = [
            stage.session(number, applied=SLOWER, subscriber=name) for number, name in enumerate(whose, 1)
        ]
        async with Watch(stage) as watch:
            stage.reconciler.faults = 0
            stage.reconciler.mark_all()
            with capture_logs() as told:
                assert await watch.asked() == {sessions[each].uid for each in (0, 2, 4)}
            assert stage.reconciler.faults == 2
            assert [each["event"] for each in told] == ["look-fault"]

    scene(play)


# --- beside jobs ---------------------------------------------------------------------------------------


def test_what_is_not_wanted_any_more_is_withdrawn() -> None:
    async def play() -> None:
        stage = Stage(access_mode=AccessMode.REJECT)
        stage.enforcer.working = True
        session = stage.session()
        stage.look(session)
        stage.change(access_mode=AccessMode.ACTIVE)
        stage.look(session)
        assert stage.enforcer.withdrawn == [session.uid]
        assert (stage.enforcer.jobs, stage.reconciler.deviations) == ({}, {})
        assert stage.story() == [("session-deviates", "access-reject"), ("session-matches", "")]

    scene(play)


def test_a_job_of_before_a_restart_is_withdrawn_where_the_data_have_gone_back() -> None:
    async def play() -> None:
        stage = Stage()
        session = stage.session()
        stage.enforcer.working = True
        stage.enforcer.submit(session, Intent(kind=Kind.DISCONNECT, reason="expired"))
        stage.look(session)
        assert stage.enforcer.withdrawn == [session.uid]

    scene(play)


def test_what_somebody_asked_for_urgently_is_not_withdrawn() -> None:
    async def play() -> None:
        stage = Stage()
        session = stage.session()
        stage.enforcer.working = True
        stage.enforcer.submit(session, Intent(kind=Kind.DISCONNECT, reason="operator", urgent=True))
        stage.look(session)
        assert stage.enforcer.withdrawn == []

    scene(play)


def test_a_session_deviates_until_its_job_has_seen_the_effect() -> None:
    async def play() -> None:
        stage = Stage()
        stage.enforcer.working = True
        session = stage.session(applied=SLOWER)
        stage.look(session)
        stage.enforcer.jobs[session.uid].under_way = True
        stage.reconciler.applied(session, FULL)  # the NAS said yes
        assert stage.story() == [("session-deviates", "")]
        assert session.uid in stage.reconciler.deviations
        assert stage.enforcer.withdrawn == [], "it is at what is wanted"
        async with Watch(stage) as watch:
            del stage.enforcer.jobs[session.uid]
            stage.reconciler.job_ended(session)
            assert await watch.asked() == set()
            assert stage.story() == [("session-deviates", ""), ("session-matches", "")]
            assert stage.reconciler.deviations == {}

    scene(play)


def test_what_is_at_work_already_is_not_asked_for_again() -> None:
    async def play() -> None:
        stage = Stage()
        stage.enforcer.working = True
        session = stage.session(applied=SLOWER)
        assert len(stage.look(session)) == 1
        assert stage.look(session) == []
        stage.change(access_mode=AccessMode.CAPTIVE)
        assert len(stage.look(session)) == 1, "that is something else"
        stage.enforcer.jobs.clear()  # it has ended, without success
        assert len(stage.look(session)) == 1

    scene(play)


@pytest.mark.parametrize(
    ("unchangeable", "mode", "may_end"),
    [
        (Unchangeable.NEXT_LOGIN, AccessMode.ACTIVE, False),
        (Unchangeable.NEXT_LOGIN, AccessMode.CAPTIVE, True),
        (Unchangeable.DISCONNECT, AccessMode.ACTIVE, True),
    ],
)
def test_a_change_may_end_a_session_only_where_that_is_better_than_leaving_it(
    unchangeable: Unchangeable, mode: AccessMode, may_end: bool
) -> None:
    async def play() -> None:
        stage = Stage(access_mode=mode)
        stage.reconciler.unchangeable = unchangeable
        ((_, intent),) = stage.look(stage.session(applied=SLOWER))
        assert (intent.kind, intent.may_end) == (Kind.CHANGE, may_end)

    scene(play)


# --- beside the platform's own CoA ---------------------------------------------------------------------


def test_what_somebody_else_has_told_a_nas_is_said_anew() -> None:
    async def play() -> None:
        stage = Stage()
        session = stage.session()
        stage.reconciler.overridden(session)
        assert (session.applied_reason, session in stage.sessions.dirty) == ("relay", True)
        ((_, intent),) = stage.look(session)
        assert (intent.kind, intent.wanted) == (Kind.CHANGE, FULL)
        stage.reconciler.applied(session, FULL)
        assert (session.applied, session.applied_reason) == (FULL, "")
        assert stage.look(session) == []

    scene(play)


def test_what_somebody_else_has_told_a_nas_ends_no_session() -> None:
    async def play() -> None:
        stage = Stage()
        session = stage.session()
        stage.reconciler.overridden(session)
        client = stage.clients.get("demo", session.nas)
        found = stage.compare(session)
        assert isinstance(found, Difference)
        assert client is not None
        assert client.profile.changes.issuperset(found.fields)
        unlively = replace(found, live=False)
        stage.reconciler._enforce(session, unlively, client)
        assert stage.enforcer.intents == []

    scene(play)


# --- what is remembered of allowances ------------------------------------------------------------------


def _quota() -> Stage:
    return Stage(Rules(allowances=(allowance(100, then=Treatment(act=Act.RATE, rate=SLOW_RATE)),)))


def _reached(stage: Stage) -> int:
    return len([kind for kind, _ in stage.story() if kind == "allowance-reached"])


def test_an_allowance_reached_before_a_restart_is_not_told_anew() -> None:
    async def play() -> None:
        stage = _quota()
        session = stage.session()
        session.started_at -= 3600
        stage.use(150)
        async with Watch(stage):
            assert _reached(stage) == 0
            stage.change(bonus_octets=100)
            stage.look(session)
            assert ("allowance-restored", "") in stage.story()

    scene(play)


@pytest.mark.parametrize("before", [0, 3600])
def test_an_allowance_reached_after_the_start_is_told(before: int) -> None:
    async def play() -> None:
        stage = _quota()
        session = stage.session()
        session.started_at -= before
        async with Watch(stage):
            stage.use(150)
            stage.look(session)
            assert _reached(stage) == 1

    scene(play)


def test_what_is_known_of_a_removed_subscriber_is_forgotten() -> None:
    async def play() -> None:
        stage = _quota()
        session = stage.session()
        stage.use(150)
        shown = Attachment(mac="02-00-00-00-00-01")
        stage.books.bindings.learn("demo", "SAM", (Bound.MAC,), shown, stage.at)
        async with Watch(stage):
            stage.look(session)
            assert _reached(stage) == 1
            stage.reconciler.changed([("demo", "subscriber", "SAM")])
            await stage.clock.advance(1)
            assert stage.reconciler._over._names, "it is still there"
            assert stage.books.bindings.find("demo", "SAM") is not None
            stage.index.remove(Subscriber, "demo", "SAM")
            stage.reconciler.changed([("demo", "subscriber", "SAM")])
            await stage.clock.advance(1)
            assert stage.reconciler._over._names == {}
            assert stage.books.bindings.find("demo", "SAM") is None

    scene(play)


def test_a_garden_that_is_as_wanted_needs_no_rendering() -> None:
    async def play() -> None:
        stage = Stage(access_mode=AccessMode.CAPTIVE)
        walled = Grant(
            captive=True, address_list=GARDEN.address_list, rate=GARDEN.rate, interim_interval_s=600
        )
        session = stage.session(applied=walled)
        assert stage.look(session) == []
        assert stage.replies._kept == {}

    scene(play)
