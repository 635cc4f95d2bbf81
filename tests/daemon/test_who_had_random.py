"""Answers agree with a plain log of who had what, over random lives of leases."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipam.history_rows import Track, around
from ipam.kinds import Kind, LeaseState
from ipam.lease import Bundle, Wanted
from tests.daemon.who_had_stage import T0, Stage, stage
from tests.ipam.pools import request

NAMES = ("ann", "ben", "cat", "dan", "eve", "fay", "gus", "hal", "ida", "jon")
ADDRESSES = tuple(f"203.0.113.{number}" for number in range(8))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("login", "login", "start", "start", "stop", "wait", "disable", "release", "store")),
        st.sampled_from(NAMES),
        st.integers(0, 120),
    ),
    min_size=5,
    max_size=60,
)
QUESTIONS = st.lists(
    st.tuples(st.sampled_from(ADDRESSES), st.integers(0, 3000), st.sampled_from((0, 1, 30))), max_size=25
)


class Seen(NamedTuple):
    """Who had an address from a time on, by looking into the book itself."""

    at: float
    state: LeaseState
    owner: str
    session: str


class Log:
    """What the book said after each step, of every address."""

    def __init__(self) -> None:
        self.lines: dict[str, list[Seen]] = {address: [] for address in ADDRESSES}

    def look(self, stage: Stage) -> None:
        shelf = stage.register.shelves["acme", "home"]
        for slot, address in enumerate(ADDRESSES):
            cell = shelf.allocator.cell_at(slot)
            if cell < 0:
                continue
            standing = stage.book.standing(shelf, cell, stage.at, stage.at)
            seen = Seen(stage.at, standing.state, standing.owner, standing.session)
            line = self.lines[address]
            if not line or line[-1][1:] != seen[1:]:
                line.append(seen)

    def during(self, address: str, since: float, until: float) -> Iterable[Seen]:
        line = self.lines[address]
        for spot, seen in enumerate(line):
            over = line[spot + 1].at if spot + 1 < len(line) else float("inf")
            if seen.at <= until and over > since and seen.state in (LeaseState.TENTATIVE, LeaseState.BOUND):
                yield seen


class Life:
    """Takes the steps."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.sessions = 0

    async def step(self, what: str, name: str, number: int) -> None:
        stage = self.stage
        bundle = stage.bundles.get(name)
        if what == "login":
            self._login(name)
        elif what == "start" and bundle is not None:
            self.sessions += 1
            stage.book.bind(bundle.id, str(self.sessions), stage.at, stage.at)
        elif what == "stop" and bundle is not None:
            stage.stop(name)
        elif what == "wait":
            stage.at += number
            while stage.book.expire_due(stage.at, stage.at, 50) == 50:
                pass
        elif what == "release":
            unit = stage.register.shelves["acme", "home"].layout.unit(number % 8)
            stage.steward.release("acme", "", unit, stage.at, stage.at)
        elif what == "disable" and number % 4 == 0:
            unit = stage.register.shelves["acme", "home"].layout.unit(number % 8)
            if stage.steward.disable("acme", "", unit, stage.at) in (None, 0):
                stage.steward.enable("acme", "", unit, stage.at, stage.at)
        elif what == "store":
            await stage.stored()

    def _login(self, name: str) -> None:
        got = self.stage.book.take(
            name, request(Wanted(Kind.V4, ("home",)), party=None), self.stage.at, self.stage.at
        )
        if isinstance(got, Bundle):
            self.stage.bundles[name] = got


async def live(path: Path, steps: list[tuple[str, str, int]], asked: list[tuple[str, int, int]]) -> None:
    async with stage(path) as made:
        log, life = Log(), Life(made)
        log.look(made)
        for what, name, number in steps:
            made.at += 1 + number / 16
            await life.step(what, name, number)
            log.look(made)
        await made.stored()
        for address, at, skew_s in asked:
            answer = await made.ask(address, T0 + at, skew_s=float(skew_s))
            expected = list(log.during(address, T0 + at - skew_s, T0 + at + skew_s))
            sure = {each.session for each in answer.holders if each.claim == "had"}
            assert sure == {each.session for each in expected if each.state is LeaseState.BOUND}
            assert bool(answer.holders) == bool(expected)
            assert not any(each.notes and "altered" in str(each.notes) for each in answer.holders)
        for address in ADDRESSES:
            await no_overlap(made, address)


async def no_overlap(made: Stage, address: str) -> None:
    """An address is in one state at a time: each event begins where the one before it ended."""
    async with made.store.engine.connect() as connection:
        (got,) = await around(connection, [Track(address, 32, "acme", "", "edge")], 0.0, 1e12, 1, 1)
    assert all(
        earlier.change.new == later.change.old and earlier.change.at <= later.change.at
        for earlier, later in zip(got.events, got.events[1:], strict=False)
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, QUESTIONS)
def test_answers_agree_with_a_plain_log(
    steps: list[tuple[str, str, int]], asked: list[tuple[str, int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(live(Path(name), steps, asked))
