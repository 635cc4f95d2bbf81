"""Live sessions against the data: what differs, what is asked for, what is told, and what is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

import pytest

from daemon.aaa.coa.job import Intent, Kind
from daemon.aaa.reconcile import Reconciler, Unchangeable
from daemon.aaa.session import Closed, Session
from daemon.aaa.wanted import Difference, Wanted, difference
from daemon.events import Event, Events
from daemon.replica.records import AccessMode, Plan, Subscriber
from daemon.replica.rules import GARDEN as WALLED
from daemon.replica.rules import Act, RateHours, Rules, Treatment
from radius.grant import Grant, Rate
from tests.daemon.coa_stack import START, report
from tests.daemon.policy_stage import FULL_RATE, SLOW_RATE, PolicyStage, allowance, hours
from tests.daemon.stack import nas
from tests.twins.clock import ClockTwin

FULL = Grant(rate=FULL_RATE, address_list="full", interim_interval_s=600)


@dataclass(slots=True)
class JobTwin:
    """What is at work for a session; one that is under way is not stopped any more."""

    intent: Intent
    under_way: bool = False


class EnforcerTwin:
    """Takes intents down instead of carrying them out; `working` keeps them as jobs until a test ends them."""

    def __init__(self) -> None:
        self.intents: list[tuple[int, Intent]] = []
        self.withdrawn: list[int] = []
        self.jobs: dict[int, JobTwin] = {}
        self.working = False

    def submit(self, session: Session, intent: Intent) -> None:
        """Take an intent down."""
        self.intents.append((session.uid, intent))
        if self.working:
            self.jobs[session.uid] = JobTwin(intent)

    def find(self, session_uid: int) -> JobTwin | None:
        """Return what is at work for a session."""
        return self.jobs.get(session_uid)

    def withdraw(self, session_uid: int) -> None:
        """Take down that it was called, and let go of a job that has not begun."""
        self.withdrawn.append(session_uid)
        if not self.jobs[session_uid].under_way:
            del self.jobs[session_uid]


class Stage(PolicyStage):
    """A stage with live sessions of `sam` and the reconciler."""

    def __init__(self, rules: Rules | None = None, **fields: Any) -> None:
        super().__init__(rules, **fields)
        self.clock = ClockTwin(self.at)
        self.enforcer = EnforcerTwin()
        self.events = Events(1000, self.clock.wall, lambda _event, /, **_fields: None, self.clock.monotonic)
        self.reconciler = Reconciler(
            self.index,
            self.clients,
            self.books,
            self.replies,
            self.enforcer,
            self.events,
            self.clock,
            sweep_s=300.0,
            unchangeable=Unchangeable.DISCONNECT,
        )

    def session(self, number: int = 1, applied: Grant | None = FULL, subscriber: str = "SAM") -> Session:
        """Return a live session that was told `applied`, which is clean."""
        _, session = self.sessions.apply(
            report(number, START, number, self.at, username="sam", subscriber=subscriber)
        )
        session.applied = applied
        self.sessions.dirty.clear()
        return session

    def compare(self, session: Session) -> Difference | Wanted | None:
        """Return how a session differs now."""
        self.clients.turn()
        self.replies.turn(self.index.generation)
        client = self.clients.get("demo", session.nas)
        assert client is not None
        return difference(session, client, self.books, self.replies, self.clock.wall())

    def look(self, *sessions: Session) -> list[tuple[int, Intent]]:
        """Look at sessions and return what was asked for."""
        self.clients.turn()
        self.enforcer.intents.clear()
        for each in sessions:
            self.reconciler.look(each)
        return list(self.enforcer.intents)

    def story(self) -> list[tuple[str, str]]:
        """Return kind and reason of what was told."""
        return [(each.kind, each.reason) for each in self.told_events()]

    def told_events(self) -> list[Event]:
        """Return all events, oldest first."""
        return self.events.since(0)


def scene(play: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scene in an event loop, of which futures of sessions are."""
    asyncio.run(play())


# --- what differs --------------------------------------------------------------------------------------


def test_a_session_that_is_as_it_should_be_differs_in_nothing() -> None:
    stage = Stage()
    found = stage.compare(stage.session())
    assert isinstance(found, Wanted)
    assert (found.grant, found.reason, found.over) == (FULL, "", ())


@pytest.mark.parametrize(
    ("text", "equal"),
    [
        ("4M/20M", True),
        ("4000k/20000k", True),
        ("4000000/20000000", True),
        ("20M/4M", False),
        ("5M/20M", False),
        ("4M/20M 8M/40M 4M/20M 8/8", False),
    ],
)
def test_rate_strings_compare_by_what_they_mean(text: str, equal: bool) -> None:
    stage = Stage()
    found = stage.compare(stage.session(applied=replace(FULL, rate=None, rate_text=text)))
    assert isinstance(found, Wanted if equal else Difference)


@pytest.mark.parametrize(
    "name", ["session_timeout_s", "idle_timeout_s", "interim_interval_s", "volume_octets"]
)
def test_timers_and_limits_are_left_to_the_next_login(name: str) -> None:
    stage = Stage()
    fields: dict[str, Any] = {name: 77}
    session = stage.session(applied=replace(FULL, **fields))
    assert isinstance(stage.compare(session), Wanted)
    stage.look(session)
    assert session.applied is not None
    assert getattr(session.applied, name) == 77, "that is what its NAS has been told"


def test_a_session_of_nobody_is_not_ours_to_judge() -> None:
    stage = Stage()
    assert stage.compare(stage.session(subscriber="")) is None


def test_a_session_of_a_subscriber_that_is_no_more_must_end() -> None:
    stage = Stage()
    session = stage.session()
    stage.index.remove(Subscriber, "demo", "SAM")
    found = stage.compare(session)
    assert isinstance(found, Difference)
    assert (found.wanted.grant, found.wanted.reason) == (None, "unknown-user")


def test_where_it_is_not_known_what_was_granted_good_standing_is_taken_for_it() -> None:
    stage = Stage()
    session = stage.session(applied=None)
    assert isinstance(stage.compare(session), Wanted)
    stage.change(access_mode=AccessMode.CAPTIVE)
    found = stage.compare(session)
    assert isinstance(found, Difference)
    assert found.live
    stage.change(access_mode=AccessMode.REJECT)
    found = stage.compare(session)
    assert isinstance(found, Difference)
    assert found.wanted.grant is None


@pytest.mark.parametrize(
    ("vendor", "reason", "ends"),
    [("mikrotik", "access-captive", False), ("accel-ppp", "captive-unsupported", True)],
)
def test_a_garden_is_a_change_where_the_vendor_can_and_the_end_where_it_cannot(
    vendor: str, reason: str, ends: bool
) -> None:
    stage = Stage(access_mode=AccessMode.CAPTIVE)
    stage.index.put(nas(vendor=vendor))
    found = stage.compare(stage.session())
    assert isinstance(found, Difference)
    assert (found.wanted.reason, found.wanted.grant is None, found.live) == (reason, ends, not ends)


# --- what is asked for ---------------------------------------------------------------------------------


def test_a_difference_is_changed_live() -> None:
    async def play() -> None:
        stage = Stage()
        session = stage.session(applied=replace(FULL, rate=SLOW_RATE))
        ((uid, intent),) = stage.look(session)
        assert (uid, intent.kind, intent.wanted, intent.reason) == (
            session.uid,
            Kind.CHANGE,
            FULL,
            "data-changed",
        )
        assert intent.why == "differs in rate"
        assert not intent.urgent

    scene(play)


def test_what_cannot_be_changed_live_ends_the_session_or_waits_as_the_operator_wants() -> None:
    async def play() -> None:
        stage = Stage()
        session = stage.session(applied=replace(FULL, ipv4_pool="old-pool"))
        assert [intent.kind for _, intent in stage.look(session)] == [Kind.DISCONNECT]
        stage.reconciler.unchangeable = Unchangeable.NEXT_LOGIN
        assert stage.look(session) == []
        assert stage.reconciler.deviations[session.uid].live is False, "it stays visible"

    scene(play)


@pytest.mark.parametrize("fields", [{"access_mode": AccessMode.REJECT}, {"valid_until": 1.0}])
def test_who_may_not_be_online_does_not_wait_for_the_next_login(fields: dict[str, Any]) -> None:
    async def play() -> None:
        stage = Stage(**fields)
        stage.reconciler.unchangeable = Unchangeable.NEXT_LOGIN
        ((_, intent),) = stage.look(stage.session())
        assert (intent.kind, intent.why) == (Kind.DISCONNECT, "may not be online")
        assert intent.reason in ("access-reject", "expired")

    scene(play)


def test_a_nas_that_takes_no_coa_is_asked_nothing_and_its_session_stays_visible() -> None:
    async def play() -> None:
        stage = Stage(access_mode=AccessMode.REJECT)
        stage.index.put(nas(coa=False))
        session = stage.session()
        assert stage.look(session) == []
        assert list(stage.reconciler.deviations) == [session.uid]

    scene(play)


def test_a_session_of_a_nas_that_is_no_more_is_left_alone() -> None:
    async def play() -> None:
        stage = Stage(access_mode=AccessMode.REJECT)
        session = stage.session()
        session.nas = "gone"
        assert stage.look(session) == []

    scene(play)


# --- what is told and remembered -----------------------------------------------------------------------


def test_a_deviation_is_told_once_keeps_its_begin_and_ends_with_the_match() -> None:
    async def play() -> None:
        stage = Stage()
        session = stage.session(applied=replace(FULL, rate=SLOW_RATE))
        began = stage.clock.wall()
        for _ in range(3):
            stage.look(session)
            await stage.clock.advance(60)
        assert stage.reconciler.deviations[session.uid].since == began
        stage.reconciler.applied(session, FULL)
        assert stage.reconciler.deviations == {}
        assert stage.story() == [("session-deviates", ""), ("session-matches", "")]

    scene(play)


def test_a_deviation_ends_with_its_session() -> None:
    async def play() -> None:
        stage = Stage(access_mode=AccessMode.REJECT)
        sessions = [stage.session(number) for number in (1, 2)]
        stage.look(*sessions)
        stage.sessions.conclude(sessions[0], Closed.GHOST, "lost-service")
        await asyncio.sleep(0)
        assert list(stage.reconciler.deviations) == [sessions[1].uid]

    scene(play)


def test_what_is_wanted_otherwise_by_then_is_asked_for_at_once() -> None:
    async def play() -> None:
        stage = Stage()
        session = stage.session(applied=replace(FULL, rate=SLOW_RATE))
        ((_, first),) = stage.look(session)
        stage.change(access_mode=AccessMode.CAPTIVE)
        stage.enforcer.intents.clear()
        assert first.wanted is not None
        stage.reconciler.applied(session, first.wanted)
        ((_, second),) = stage.enforcer.intents
        assert second.wanted is not None
        assert second.wanted.captive
        assert session.uid in stage.reconciler.deviations

    scene(play)


def test_the_reason_why_a_session_has_less_follows_what_is_in_force() -> None:
    async def play() -> None:
        stage = Stage(Rules(treatments=(("expired", WALLED),)), access_mode=AccessMode.CAPTIVE)
        session = stage.session()
        ((_, intent),) = stage.look(session)
        assert intent.wanted is not None
        stage.reconciler.applied(session, intent.wanted)
        assert session.applied_reason == "access-captive"
        stage.change(access_mode=AccessMode.ACTIVE, valid_until=1.0)
        assert stage.look(session) == [], "the garden is the garden"
        assert session.applied_reason == "expired"
        stage.change(valid_until=None)
        ((_, intent),) = stage.look(session)
        stage.reconciler.applied(session, FULL)
        assert session.applied_reason == ""

    scene(play)


def test_a_look_at_sessions_that_match_writes_nothing() -> None:
    async def play() -> None:
        stage = Stage(Rules(login_hours=(hours(0, 24 * 60, 0, 1, 2, 3, 4, 5),)))
        sessions = [stage.session(number) for number in range(1, 5)]
        for _ in range(3):
            stage.index.put(Plan(tenant="demo", id="another"))
            await stage.clock.advance(60)
            assert stage.look(*sessions) == []
        assert stage.sessions.dirty == set()

    scene(play)


def test_allowances_are_told_when_they_are_reached_and_when_they_count_anew() -> None:
    async def play() -> None:
        slower = Treatment(act=Act.RATE, rate=SLOW_RATE)
        stage = Stage(
            Rules(allowances=(allowance(100, then=slower), allowance(200, name="more", then=slower)))
        )
        sessions = [stage.session(number) for number in (1, 2)]
        stage.use(150)
        for _ in range(2):
            stage.look(*sessions)
        stage.use(50)
        stage.look(*sessions)
        stage.change(bonus_octets=70)
        stage.look(*sessions)
        told = [
            (each.kind, dict(each.fields)["allowance"])
            for each in stage.told_events()
            if "allow" in each.kind
        ]
        assert told == [
            ("allowance-reached", "quota"),
            ("allowance-reached", "more"),
            ("allowance-restored", "more"),
        ]

    scene(play)


def test_a_suspension_does_not_restore_an_allowance() -> None:
    async def play() -> None:
        stage = Stage(Rules(allowances=(allowance(100, then=WALLED),)))
        session = stage.session()
        stage.use(100)
        stage.look(session)
        stage.change(access_mode=AccessMode.REJECT)
        stage.look(session)
        stage.change(access_mode=AccessMode.ACTIVE)
        stage.look(session)
        assert [kind for kind, _ in stage.story() if kind.startswith("allowance")] == ["allowance-reached"]

    scene(play)


# --- when it looks -------------------------------------------------------------------------------------


class Watch:
    """Runs the reconciler of a stage meanwhile, and tells which sessions it has asked something about."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def __aenter__(self) -> Watch:
        """Begin, past the sweep of the start."""
        self._task = asyncio.create_task(self.stage.reconciler.run())
        await self.stage.clock.advance(6)
        self.stage.enforcer.intents.clear()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def asked(self, seconds: float = 0.0) -> set[int]:
        """Return about which sessions something was asked in that time."""
        await self.stage.clock.advance(seconds)
        found = {uid for uid, _ in self.stage.enforcer.intents}
        self.stage.enforcer.intents.clear()
        return found


def test_the_start_sweeps_over_what_was_restored() -> None:
    async def play() -> None:
        stage = Stage(access_mode=AccessMode.REJECT)
        session = stage.session()
        task = asyncio.create_task(stage.reconciler.run())
        await stage.clock.advance(6)
        assert {uid for uid, _ in stage.enforcer.intents} == {session.uid}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    scene(play)


def test_a_mark_looks_at_that_subscriber_at_once_and_at_nobody_else() -> None:
    async def play() -> None:
        stage = Stage()
        one, other = stage.session(1), stage.session(2, subscriber="ALICE")
        other.applied = Grant(
            rate=Rate(download_bps=100_000_000, upload_bps=20_000_000), interim_interval_s=600
        )
        async with Watch(stage) as watch:
            for each in (one, other):
                each.applied = replace(FULL, rate=SLOW_RATE)
            assert await watch.asked() == set()
            stage.reconciler.mark([("demo", "ALICE")])
            assert await watch.asked() == {other.uid}
            stage.reconciler.mark_all()
            assert await watch.asked() == {one.uid, other.uid}

    scene(play)


def test_a_slow_sweep_brings_what_no_change_announces() -> None:
    async def play() -> None:
        night = RateHours(hours=(hours(22 * 60 + 15, 23 * 60),), rate=SLOW_RATE)
        stage = Stage(Rules(rate_hours=(night,)))  # it is 22:13:20
        session = stage.session()
        async with Watch(stage) as watch:
            assert await watch.asked(90) == set()
            assert await watch.asked(300) == {session.uid}

    scene(play)


def test_changed_objects_are_looked_at_as_far_as_they_reach() -> None:
    async def play() -> None:
        stage = Stage()
        one, other = stage.session(1), stage.session(2, subscriber="ALICE")
        async with Watch(stage) as watch:
            for each in (one, other):
                each.applied = replace(FULL, rate=SLOW_RATE)
            stage.reconciler.changed([("demo", "staff", "nora")])
            assert await watch.asked() == set()
            stage.reconciler.changed([("demo", "subscriber", "SAM"), ("demo", "staff", "nora")])
            assert await watch.asked() == {one.uid}
            stage.reconciler.changed([("demo", "subscriber", "SAM"), ("demo", "plan", "ruled")])
            assert await watch.asked() == {one.uid, other.uid}

    scene(play)


def test_half_a_load_ends_nobody() -> None:
    async def play() -> None:
        stage = Stage()
        session = stage.session()
        async with Watch(stage) as watch:
            stage.index.begin_load()
            sam = stage.sam
            stage.index.remove(Subscriber, "demo", "SAM")
            stage.reconciler.mark_all()
            assert await watch.asked(30) == set()
            stage.index.put(sam)
            stage.index.end_load()
            assert await watch.asked(2) == set()
            assert (stage.reconciler.deviations, session.closed_at) == ({}, None)

    scene(play)
