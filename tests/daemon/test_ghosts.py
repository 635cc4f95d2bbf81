"""A provider in virtual time: no live session is ever closed, and no ghost stays."""

from __future__ import annotations

from random import Random
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.aaa.reaper import Options
from daemon.aaa.session import Closed, Session, State
from tests.twins.boxes import INTERIM, START, STOP, BoxTwin, LineTwin, World

INTERVALS_S = (60.0, 120.0, *[300.0] * 6, *[600.0] * 6, *[900.0] * 6)
HOUR_S = 3600.0


class Provider:
    """Boxes that fail, sessions that come and go, packets that are lost, an edge that restarts, a clock that steps."""

    def __init__(self, seed: int, boxes: int, sessions: int) -> None:
        self.world = World(Options(default_interim_s=600.0), Random(seed), look_s=75.0)
        self.world.watch = self.judge
        self.dice = self.world.dice
        self.boxes = [
            BoxTwin(f"nas{number // 4}", f"bras{number}", self.dice.uniform(0.1, 0.3), stamps=number % 3 > 0)
            for number in range(boxes)
        ]
        self.living: dict[BoxTwin, list[LineTwin]] = {box: [] for box in self.boxes}
        self.wrong: list[LineTwin] = []
        self.ghosts = 0
        self.calm = False  # nothing fails any more
        self.disturbed_t = 0.0  # when the edge or its clock last was
        for number in range(sessions):
            box = self.boxes[number % boxes]
            self.world.after(self.dice.uniform(0, 900), lambda box=box: self.come(box))
        for box in self.boxes:
            self.world.after(self.dice.expovariate(1 / (2 * HOUR_S)), lambda box=box: self.fail(box))

    def judge(self, kind: str, session: Session | None) -> None:
        """Be told what the reaper says."""
        if kind == "session-ghost-closed" and session is not None:
            self.ghosts += 1
            line = self.world.line_of(session)
            if line.alive:
                self.wrong.append(line)

    def come(self, box: BoxTwin) -> None:
        """Let a subscriber connect, which takes a login."""
        world, dice = self.world, self.dice
        if not (box.up and world.running):
            world.after(60, lambda: self.come(box))
            return
        line = world.begin(box, dice.choice(INTERVALS_S), told=dice.random() < 0.9)
        self.living[box].append(line)
        world.after(dice.expovariate(1 / (3 * HOUR_S)), lambda: self.go(line))

    def go(self, line: LineTwin, *, again: bool = True) -> None:
        """Let a subscriber disconnect; now and then the NAS forgets to say so."""
        if not line.alive or (self.calm and again):
            return
        self.world.end(line, stop=again and self.dice.random() < 0.8)
        self.living[line.box].remove(line)
        self.world.after(self.dice.uniform(5, 600), lambda: self.come(line.box))

    def fail(self, box: BoxTwin) -> None:
        """Cut a box off for minutes to hours; some come back after a reboot."""
        if self.calm:
            return
        box.up = False
        long = self.dice.random() < 0.3
        silent_s = self.dice.uniform(1800, 7200) if long else self.dice.uniform(30, 1200)
        if self.dice.random() < 0.3:
            for line in list(self.living[box]):
                self.go(line, again=False)
        self.world.after(silent_s, lambda: self.recover(box))

    def recover(self, box: BoxTwin) -> None:
        """Bring a box back; one that has rebooted may say so."""
        box.up = True
        box.back_at = self.world.t
        if not self.living[box] and self.dice.random() < 0.5 and self.world.running:
            self.world.reboot(box)
        self.world.after(self.dice.expovariate(1 / (2 * HOUR_S)), lambda: self.fail(box))

    def restart(self, down_s: float) -> None:
        """Stop the edge, and start it again from its rows."""
        world = self.world
        world.running = False
        world.run(down_s)
        world.start_edge()
        self.disturbed_t = max(self.disturbed_t, world.t)

    def step(self, seconds: float) -> None:
        """Correct the wall clock; back means that its times come twice, and nothing is judged until then."""
        self.world.ahead += seconds
        self.disturbed_t = max(self.disturbed_t, self.world.t) + max(0.0, -seconds)

    def left_behind(self, more_s: float = 60.0) -> list[Session]:
        """Return the ghosts that should have been closed: their boxes have been well for four of their intervals."""
        world, left = self.world, []
        for sessions in world.table.boxes().values():
            for session in sessions:
                line = world.line_of(session)
                since = max(line.died, line.box.back_at, self.disturbed_t)
                patience_s = 4 * self.interval_s(session, line) + more_s
                if not line.alive and line.box.up and world.t - since > patience_s:
                    left.append(session)
        return left

    def interval_s(self, session: Session, line: LineTwin) -> float:
        """Return the interval of a session as the edge can know it; that of a young one is told by its box."""
        own = max(line.interval_s if line.told else 600.0, session.interim_s)
        seen = [each.interim_s for each in self.world.table.boxes()[line.box.key] if each.interim_s]
        usual = 1.2 * median(seen) if seen else 0.0
        return max(own, usual) if session.updated_at - session.started_at < 3 * usual else own

    def live_but_closed(self) -> list[LineTwin]:
        """Return those that are connected, have been heard of, and are not in the table of live sessions."""
        known = {session.acct_session_id for each in self.world.table.boxes().values() for session in each}
        closed = {session.acct_session_id for session in self.world.table} - known
        lines = [line for lines in self.living.values() for line in lines]
        return [line for line in lines if b"%08x" % line.number in closed]


def test_ten_thousand_sessions_through_a_bad_day() -> None:
    provider = Provider(seed=7, boxes=20, sessions=10_000)
    world = provider.world
    world.run(0.6 * HOUR_S)
    provider.restart(240)
    world.run(0.4 * HOUR_S)
    provider.step(5400)
    world.run(0.5 * HOUR_S)
    provider.step(-1200)
    world.run(0.4 * HOUR_S)
    provider.restart(900)
    world.run(0.9 * HOUR_S)
    assert provider.left_behind() == []
    provider.calm = True
    world.run(1.1 * HOUR_S)  # the slowest ghosts of the last failure, too
    assert provider.wrong == []
    assert provider.live_but_closed() == []
    assert provider.left_behind() == []
    assert provider.ghosts > 500
    assert {"nas-silent", "nas-back"} <= set(world.kinds())


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_a_small_provider_through_any_day(seed: int) -> None:
    provider = Provider(seed, boxes=3, sessions=120)
    world, dice = provider.world, Random(seed)
    for _ in range(6):
        world.run(dice.uniform(600, 3000))
        match dice.randrange(4):
            case 0:
                provider.restart(dice.uniform(10, 1200))
            case 1:
                provider.step(dice.choice([-3000, -600, -7, -4, 4, 7, 600, 90_000]))
            case 2:
                world.hindered = True
                world.run(dice.uniform(10, 600))
                world.hindered = False
                provider.disturbed_t = max(provider.disturbed_t, world.t)
            case _:
                pass
        assert provider.wrong == []
        # On a small box any gap between two reports may be a fault of the link: it takes longer to be sure.
        assert provider.left_behind(900.0) == []


@pytest.mark.parametrize("heard_again", [False, True])
@given(
    steps=st.lists(
        st.sampled_from(["wait", "interim", "old-interim", "start", "stop", "reboot"]),
        min_size=1,
        max_size=14,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_order_of_reports_and_conclusions_leaves_counts_and_state_right(
    steps: list[str], heard_again: bool
) -> None:
    world = World(jitter=0.0)
    box = BoxTwin("bras", "bras1")
    others = [world.begin(box, 100.0) for _ in range(3)]
    world.run(1000)
    line = world.begin(box, 300.0)
    world.run(2)
    line.alive = False
    stopped_at, last = None, world.t
    for step in steps:
        match step:
            case "wait":
                world.run(700)
            case "interim":
                world.arrive(line, INTERIM, world.t)
                last = world.t
            case "old-interim":
                world.arrive(line, INTERIM, line.began + 1)
            case "start":
                world.arrive(line, START, line.began)
            case "stop":
                world.arrive(line, STOP, last)
                stopped_at = last if stopped_at is None else stopped_at
            case "reboot":
                world.table.close_some(10)
        world.run(1)
        session = world.session_of(line)
        counts = world.table.counts()
        for state in (State.ACTIVE, State.SUSPECT, State.CLOSED):
            real = sum(each.state is state for each in world.table)
            assert counts.get(("demo", "bras", state), 0) == real
        live = {each for sessions in world.table.boxes().values() for each in sessions}
        assert (session in live) == (session.closed_at is None)
        if stopped_at is not None:
            assert session.closed_by is Closed.STOP
            assert session.closed_at == pytest.approx(stopped_at + world.ahead)
        elif session.state is State.CLOSED:
            assert session.closed_by is Closed.GHOST
            assert session.closed_at == session.updated_at
    if heard_again and stopped_at is None:
        world.arrive(line, INTERIM, world.t)
        assert world.session_of(line).state is State.ACTIVE
    assert all(world.session_of(other).state is State.ACTIVE for other in others)
