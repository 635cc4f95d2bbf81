"""When a session is suspect, when it is closed as a ghost, and when it is not."""

from __future__ import annotations

import asyncio
import time

import pytest

from daemon.aaa.reaper import EVERY_S, Confidence, Options, Reaper, box_text
from daemon.aaa.session import Closed, Session, State
from radius.grant import Grant
from tests.twins.boxes import INTERIM, START, STOP, BoxTwin, LineTwin, World
from tests.twins.clock import ClockTwin, settle

I_S = 300.0
SUSPECT_S = 2 * 1.1 * I_S + 10
CLOSED_S = 3 * 1.1 * I_S + 10


def village(sessions: int = 10, interval_s: float = I_S) -> tuple[World, BoxTwin, list[LineTwin]]:
    """A box whose sessions have been there for a while, at different phases."""
    world = World(jitter=0.0)
    box = BoxTwin("bras", "bras1")
    lines = []
    for _ in range(sessions):
        lines.append(world.begin(box, interval_s))
        world.run(interval_s / sessions)
    world.run(4 * interval_s)
    assert world.events == []
    return world, box, lines


def states(world: World) -> list[State]:
    return [session.state for session in world.table]


def test_a_session_is_suspect_after_two_missed_reports_and_closed_after_three() -> None:
    world, _, lines = village()
    ghost = lines[3]
    session = world.session_of(ghost)
    world.end(ghost, stop=False)
    silent_s = world.t + world.ahead - session.heard_at
    world.run(SUSPECT_S - silent_s - 5)
    assert session.state is State.ACTIVE
    world.run(5 + 2 * EVERY_S)
    assert session.state is State.SUSPECT
    assert world.kinds() == ["session-suspect"]
    world.run(CLOSED_S - SUSPECT_S - 2 * EVERY_S - 5)
    assert session.state is State.SUSPECT
    world.run(5 + I_S / 10 + 2 * EVERY_S)  # the others are heard of every tenth of an interval
    assert (session.state, session.closed_by, session.terminate_cause) == (
        State.CLOSED,
        Closed.GHOST,
        "lost-service",
    )
    assert session.closed_at == session.updated_at, "as of its last report"
    (fields,) = world.fields("session-ghost-closed")
    assert (fields["confidence"], fields["missed"], fields["interval_s"]) == (Confidence.HIGH, 3, 300)
    assert states(world).count(State.ACTIVE) == 9


def test_the_interval_is_that_of_the_session() -> None:
    world, box, _ = village()
    quick, slow = world.begin(box, 60.0), world.begin(box, 900.0)
    world.run(3000)
    world.end(quick, stop=False)
    world.end(slow, stop=False)
    world.run(3 * 66 + 10 + 60 + I_S / 10 + 2 * EVERY_S)
    assert world.session_of(quick).state is State.CLOSED
    assert world.session_of(slow).state is State.ACTIVE
    world.run(3 * 990 + 900)
    assert world.session_of(slow).state is State.CLOSED


def test_a_nas_that_is_slower_than_it_was_told_is_waited_for() -> None:
    world, box, _ = village()
    line = world.begin(box, 1800.0)
    world.session_of(line).applied = Grant(interim_interval_s=300)
    session = world.session_of(line)
    world.run(1900)
    world.events.clear()
    world.run(20 * 1800)
    assert world.fields("session-ghost-closed") == []
    assert session.interim_s == pytest.approx(1800, abs=1)


def test_a_young_session_on_a_box_slower_than_told_is_waited_for() -> None:
    world, box, lines = village(interval_s=1800.0)
    for line in lines:
        world.session_of(line).applied = Grant(interim_interval_s=300)
    young = world.begin(box, 1800.0)
    session = world.session_of(young)
    session.applied = Grant(interim_interval_s=300)
    world.run(5)
    world.arrive(young, INTERIM, world.t)  # as soon as the address is known
    world.run(5 * 1800)
    assert world.events == []


def test_a_session_that_never_sent_an_interim_is_closed_with_low_confidence() -> None:
    world, box, _ = village()
    world.end(world.begin(box, I_S), stop=False)
    world.run(CLOSED_S + I_S / 10 + 2 * EVERY_S)
    (fields,) = world.fields("session-ghost-closed")
    assert fields["confidence"] is Confidence.LOW


def test_sessions_of_a_box_that_sends_no_interims_are_never_suspected() -> None:
    world = World()
    box = BoxTwin("bras", "old", interims=False)
    for _ in range(20):
        world.begin(box, I_S)
        world.run(I_S)
    assert world.events == []
    assert world.reaper.without_interims == 19


def test_an_interim_that_only_tells_the_address_makes_no_box_that_sends_interims() -> None:
    world = World()
    box = BoxTwin("bras", "newinfo", interims=False)
    for _ in range(20):
        line = world.begin(box, I_S)
        world.run(2)
        world.arrive(line, INTERIM, world.t)
        world.run(I_S)
    assert world.events == []
    assert world.reaper.without_interims > 15


def test_a_silent_nas_is_told_once_and_its_sessions_are_suspect_but_not_closed() -> None:
    world, box, _ = village()
    box.up = False
    world.run(100 * I_S)
    assert set(states(world)) == {State.SUSPECT}
    assert world.kinds().count("nas-silent") == 1
    assert world.fields("session-ghost-closed") == []
    (fields,) = world.fields("nas-silent")
    assert (fields["tenant"], fields["nas"], fields["box"], fields["sessions"]) == (
        "demo",
        "bras",
        "bras1",
        10,
    )
    assert world.reaper.silent_boxes == 1


def test_after_a_silent_nas_is_back_its_sessions_have_three_intervals_to_report() -> None:
    world, box, lines = village()
    box.up = False
    world.run(20 * I_S)
    gone = lines[4]
    world.end(gone, stop=False)
    for line in lines[5:]:
        line.alive = False  # they report again, but late
    box.up = True
    back = world.t
    world.run(SUSPECT_S)
    assert world.kinds().count("nas-back") == 1
    assert world.reaper.silent_boxes == 0
    for line in lines[5:]:
        line.alive = True
        world.send(line, INTERIM)
        world._next_interim(line)
    world.run(back + CLOSED_S - world.t)
    assert world.fields("session-ghost-closed") == []
    world.run(2 * I_S)  # it is heard of less often than before, which might have been a fault of the link
    closed = [world.line_of(s) for kind, s, _ in world.events if kind == "session-ghost-closed" and s]
    assert closed == [gone]


def test_a_box_is_heard_of_by_other_signs_than_reports_too() -> None:
    world, box, (line,) = village(1)
    session = world.session_of(line)
    world.end(line, stop=False)
    world.run(20 * I_S)
    assert session.state is State.SUSPECT, "the only session: users left, or the box is silent"
    assert "nas-silent" not in world.kinds()
    for _ in range(40):
        world.reaper.heard_box(box.key, world.t + world.ahead)  # logins are refused
        world.run(30)
    assert session.state is State.CLOSED


def test_one_session_of_another_interval_heard_of_does_not_close_those_that_a_broken_link_kept_back() -> None:
    world, box, _ = village(2, interval_s=60.0)
    world.begin(box, 900.0)
    world.run(900 - 250)
    box.up = False
    world.run(240)
    box.up = True
    world.run(2000)
    assert world.fields("session-ghost-closed") == []
    assert "nas-silent" not in world.kinds(), "the slow session had not missed anything"


@pytest.mark.parametrize("sessions", [2, 8, 60])
def test_a_link_that_fails_for_any_time_closes_nobody(sessions: int) -> None:
    world, box, _ = village(sessions)
    for number in range(sessions):
        world.begin(box, (60.0, 200.0, 900.0)[number % 3])
    world.run(2000)
    for down_s in range(20, 3100, 190):
        box.up = False
        world.run(down_s)
        box.up = True
        world.run(1000)  # the slowest session reports within this time
        assert set(states(world)) == {State.ACTIVE}
    assert world.fields("session-ghost-closed") == []


def test_a_sign_of_life_between_two_failures_of_a_link_does_not_make_ghosts_of_them() -> None:
    world, box, _ = village(20, interval_s=900.0)
    for _ in range(4):
        world.begin(box, 60.0)  # together
    world.run(3000)
    box.up = False
    world.run(1092)  # the repeats of the quick sessions have just been lost
    box.up = True
    world.run(45)  # one of the slow sessions reports
    box.up = False
    world.run(435)
    box.up = True
    world.run(900)
    assert world.fields("session-ghost-closed") == []
    assert set(states(world)) == {State.ACTIVE}


def test_a_nas_that_never_sends_a_stop_is_tidied_up_all_the_same() -> None:
    world = World(jitter=0.0)
    box = BoxTwin("ap", "ap1")
    for _ in range(30):
        line = world.begin(box, I_S)
        world.run(600)
        world.end(line, stop=False)
        world.run(300)
    assert states(world).count(State.CLOSED) >= 26


def test_part_of_a_box_that_falls_silent_is_judged_session_by_session() -> None:
    world, _, lines = village(20)
    for line in lines[:18]:
        world.end(line, stop=False)
    world.run(6 * I_S)
    assert "nas-silent" not in world.kinds()
    assert states(world).count(State.CLOSED) == 18


def test_a_reported_session_is_active_again_and_a_closed_one_is_opened_again() -> None:
    world, _, lines = village()
    session = world.session_of(lines[0])
    world.end(lines[0], stop=False)
    world.run(SUSPECT_S + 2 * EVERY_S)
    assert session.state is State.SUSPECT
    world.arrive(lines[0], INTERIM, world.t)
    assert session.state is State.ACTIVE
    world.run(2 * CLOSED_S)  # it seems to report less often than it was told
    assert session.state is State.CLOSED
    world.arrive(lines[0], INTERIM, world.t)
    assert (session.state, session.terminate_cause, world.reopened) == (State.ACTIVE, None, 1)


def test_a_delayed_older_interim_does_not_open_a_ghost_again() -> None:
    world, _, lines = village()
    session = world.session_of(lines[0])
    world.end(lines[0], stop=False)
    died = world.t
    world.run(5 * I_S)
    assert session.state is State.CLOSED
    world.arrive(lines[0], INTERIM, died - I_S)
    assert session.state is State.CLOSED


def test_a_real_stop_wins_over_the_close_of_a_ghost_and_stays() -> None:
    world, _, lines = village()
    session = world.session_of(lines[0])
    world.end(lines[0], stop=False)
    died = world.t
    world.run(5 * I_S)
    world.arrive(lines[0], STOP, died)
    assert (session.closed_by, session.terminate_cause) == (Closed.STOP, "user-request")
    assert session.closed_at == pytest.approx(died + world.ahead)
    world.arrive(lines[0], INTERIM, world.t)
    assert session.closed_by is Closed.STOP


def test_while_reports_may_get_lost_on_our_side_nothing_counts_as_missed() -> None:
    world, _, lines = village()
    world.end(lines[0], stop=False)
    session = world.session_of(lines[0])
    world.hindered = True
    world.run(10 * I_S)
    assert world.events == []
    world.hindered = False
    world.run(CLOSED_S - 5)
    assert session.state is State.SUSPECT
    world.run(I_S / 10 + 2 * EVERY_S + 5)
    assert session.state is State.CLOSED


@pytest.mark.parametrize("down_s", [30, 7200])
def test_after_a_restart_every_session_has_its_three_intervals(down_s: int) -> None:
    world, _, lines = village()
    world.end(lines[0], stop=False)
    world.running = False
    world.run(down_s)
    world.start_edge()
    session = world.session_of(lines[0])
    world.run(CLOSED_S - 5)
    assert "session-ghost-closed" not in world.kinds()
    world.run(I_S / 10 + 2 * EVERY_S + 5)
    assert session.state is State.CLOSED
    assert states(world).count(State.ACTIVE) == 9


def test_a_time_in_which_nobody_looked_does_not_count() -> None:
    world, _, _ = village()
    world.running = False  # the machine was suspended: no packet was taken either
    world.run(20 * I_S)
    world.running = True
    world.run(2 * I_S)
    assert world.events == []


@pytest.mark.parametrize("step_s", [7200.0, 600.0, -600.0, -7200.0])
@pytest.mark.parametrize("stamps", [True, False])
def test_a_step_of_the_wall_clock_makes_no_ghosts(step_s: float, stamps: bool) -> None:
    world, box, lines = village()
    box.stamps = stamps
    world.ahead += step_s
    world.run(abs(step_s) + 10 * I_S)
    assert world.events == []
    world.end(lines[0], stop=False)
    world.run(12 * 7200)
    assert [world.line_of(s) for kind, s, _ in world.events if kind == "session-ghost-closed" and s] == [
        lines[0]
    ]


def test_after_a_step_back_old_times_are_no_signs_of_life() -> None:
    world, box, _ = village(interval_s=900.0)
    world.ahead -= 7200.0
    world.run(2 * EVERY_S)
    world.begin(box, 60.0)
    world.run(600)
    box.up = False
    world.run(7200 + 30 * I_S)
    assert world.fields("session-ghost-closed") == []
    assert "nas-back" not in world.kinds()


def test_a_look_works_in_slices_and_ends() -> None:
    world, _, lines = village(50)
    world.end(lines[0], stop=False)
    world.running = False
    world.run(60)
    at, now = world.t + world.ahead, world.t
    assert [world.reaper.look(at, now, 7) for _ in range(8)] == [True] * 7 + [False]


def test_sessions_that_go_during_a_look_do_no_harm() -> None:
    world, _, lines = village(50)
    world.running = False
    world.run(60)
    at, now = world.t + world.ahead, world.t
    assert world.reaper.look(at, now, 10)
    for line in lines:
        world.arrive(line, STOP, world.t)
    while world.reaper.look(at, now, 10):
        pass
    assert world.events == []
    assert not world.table.boxes()


def test_the_task_looks_every_quarter_of_a_minute() -> None:
    world, _, lines = village()
    clock = ClockTwin(world.t + world.ahead)
    told: list[str] = []

    def tell(kind: str, session: Session | None, /, **fields: object) -> None:
        told.append(kind)

    reaper = Reaper(world.table, Options(default_interim_s=600.0), tell, lambda: False)

    async def scenario() -> None:
        task = asyncio.create_task(reaper.run(clock))
        for _ in range(100):
            await clock.advance(I_S / 10)
            for line in lines[1:]:
                line_at = clock.wall() - world.ahead
                world.t = line_at
                world.arrive(line, INTERIM, line_at)
        task.cancel()
        await settle()

    asyncio.run(scenario())
    assert told == ["session-suspect", "session-ghost-closed"]


def test_a_hundred_thousand_sessions_of_one_box_are_looked_at_without_a_long_pause() -> None:
    world = World()
    box = BoxTwin("bras", "big")
    for _ in range(100_000):
        line = LineTwin(box, len(world.lines) + 1, I_S, world.t)
        world.lines[line.number] = line
        world.arrive(line, START, world.t)
    at, now, longest_s, slices = world.ahead, 0.0, 0.0, 0
    for round_ in range(3):
        more = True
        while more:
            began = time.perf_counter()
            more = world.reaper.look(at + 15.0 * round_, now + 15.0 * round_, 500)
            longest_s = max(longest_s, time.perf_counter() - began)
            slices += 1
    assert slices > 400
    assert longest_s < 0.5, "some milliseconds on a machine with nothing else to do"


@pytest.mark.parametrize(
    ("box", "text"),
    [(b"\x20bras1", "bras1"), (b"\x04\xc0\x00\x02\x01", "192.0.2.1"), (b"\0" + bytes(15) + b"\x01", "::1")],
)
def test_a_box_is_told_by_name_or_address(box: bytes, text: str) -> None:
    assert box_text(box) == text
