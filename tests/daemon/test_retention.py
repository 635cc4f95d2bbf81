"""Evidence goes when it is old enough, and not because a clock says so that is set wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy import func, select, text

from daemon.errors import StoreUnavailable
from daemon.leases.coverage import BEAT_S
from daemon.leases.retention import Retention
from daemon.leases.settled_clock import Horizon, SettledClock
from daemon.store import audit_rows, session_addresses
from daemon.store.audit_rows import AUDIT, Entry
from daemon.store.session_addresses import SESSION_ADDRESS, AddressRow
from ipam.schema import EVENT
from tests.daemon.who_had_stage import DAY, T0, Stage, stage
from tests.twins.clock import ClockTwin

HOUR, YEAR = 3600.0, 365 * DAY
DAYS = 300
KEPT_S = 400 * DAY


def play(path: Path, scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def go() -> None:
        async with stage(path) as made:
            await scene(made)

    asyncio.run(go())


def report(uid: int, at: float) -> AddressRow:
    """Return what a session says that has ended at once."""
    who = ("demo", "", "bng-1", "S1", "alice", b"81a0", "", "")
    return AddressRow(uid, "framed-ip-address", "203.0.113.1", 32, *who, at, at, at, at)


class Keeping:
    """Three hundred days of evidence, one of each kind a day, and what prunes it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.clock = ClockTwin(T0 + DAYS * DAY)
        writer = stage.store.writer
        self.retention = Retention(writer, writer, stage.cgnat, "edge", self.clock, KEPT_S)

    async def fill(self) -> None:
        async with self.stage.store.engine.begin() as connection:
            for day in range(DAYS):
                at = self.stage.at = T0 + day * DAY
                self.stage.login("alice")
                self.stage.start("alice", str(day))
                self.stage.stop("alice")
                await session_addresses.save(connection, [report(day, at)])
                await audit_rows.save(connection, Entry(at, "me", "look", "", "it", "case 1", "told"))
        await self.stage.stored()

    async def days(self) -> list[int]:
        """Return how many days of reports, audit and leases are left."""
        async with self.stage.store.engine.connect() as connection:
            return [
                int((await connection.execute(select(func.count(func.distinct(age))))).scalar() or 0)
                for age in (SESSION_ADDRESS.c.closed_at, AUDIT.c.at, EVENT.c.at)
            ]

    async def live(self, seconds: float) -> None:
        """Let time pass as `Retention.run` sees it."""
        for _ in range(int(seconds / 60)):
            await self.clock.advance(60.0)
            while await self.retention.turn():
                pass


def test_a_clock_that_is_years_ahead_takes_no_evidence_within_the_hour(tmp_path: Path) -> None:
    async def scene(made: Stage) -> None:
        keeping = Keeping(made)
        await keeping.fill()
        keeping.clock.jump(3 * YEAR)  # before the start
        await keeping.live(0.9 * HOUR)
        keeping.clock.jump(-3 * YEAR)
        await keeping.live(2 * HOUR)
        keeping.clock.jump(3 * YEAR)  # and in the middle of a run
        await keeping.live(0.9 * HOUR)
        assert await keeping.days() == [DAYS] * 3

    play(tmp_path, scene)


def test_a_clock_that_stays_years_ahead_takes_a_day_of_evidence_an_hour(tmp_path: Path) -> None:
    async def scene(made: Stage) -> None:
        keeping = Keeping(made)
        await keeping.fill()
        keeping.clock.jump(3 * YEAR)
        await keeping.live(6.5 * HOUR)
        assert all(294 <= left <= 295 for left in await keeping.days())

    play(tmp_path, scene)


def test_what_is_too_old_goes_and_the_rest_stays(tmp_path: Path) -> None:
    async def scene(made: Stage) -> None:
        keeping = Keeping(made)
        await keeping.fill()
        keeping.clock.jump(103.5 * DAY)
        await keeping.live(6.5 * HOUR)
        assert await keeping.days() == [296] * 3

    play(tmp_path, scene)


def test_one_record_of_a_wrong_time_long_ago_holds_nothing_up() -> None:
    horizon = Horizon()
    assert horizon.move(T0, 0.0, 0.0) == 0.0
    assert 0.0 < horizon.move(T0 + 60, 60.0, 0.0) < DAY  # it goes, and the next one is of this age
    assert horizon.move(T0 + 120, 120.0, T0 - 100.0) == T0 - 100
    assert horizon.move(T0 + 180, 180.0, T0 - 100.0) == T0 + 180


def test_a_clock_that_drifts_is_settled_and_one_that_steps_is_not() -> None:
    clock, seen = SettledClock(), []
    for minute in range(180):
        drifted = T0 + minute * 60.03 - (300.0 if minute >= 100 else 0.0)
        seen.append(clock.settled(drifted, minute * 60.0))
    assert [minute for minute in range(180) if seen[minute]] == [*range(60, 100), *range(160, 180)]


# --- the heartbeat -----------------------------------------------------------------------------------


async def beat(made: Stage, seconds: float) -> None:
    """Let the edge live on; a store that fails is nothing that ends it."""
    end = made.at + seconds
    while made.at < end:
        made.at += BEAT_S
        with contextlib.suppress(StoreUnavailable):
            await made.coverage.beat(made.at)


async def gaps(made: Stage) -> list[tuple[float, float]]:
    async with made.store.engine.connect() as connection:
        found = await made.coverage.gaps(connection, T0 - DAY, T0 + DAY)
    return [(each.since - T0, each.until - T0) for each in found]


async def rename(made: Stage, old: str, new: str) -> None:
    async with made.store.engine.begin() as connection:
        await connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


def test_an_hour_of_a_failing_store_is_a_gap(tmp_path: Path) -> None:
    async def scene(made: Stage) -> None:
        made.at = T0
        await made.coverage.begin(T0)
        await beat(made, 300)
        await rename(made, "coverage", "gone")
        await beat(made, HOUR)
        await rename(made, "gone", "coverage")
        await beat(made, 300)
        assert (await gaps(made))[1:] == [(300.0, 300.0 + HOUR + BEAT_S)]

    play(tmp_path, scene)


def test_a_clock_that_was_years_ahead_for_a_while_hides_no_later_gap(tmp_path: Path) -> None:
    async def scene(made: Stage) -> None:
        made.at = T0
        await made.coverage.begin(T0)
        await beat(made, 300)
        made.at += 3 * YEAR
        await beat(made, 60)
        made.at -= 3 * YEAR
        await beat(made, 300)  # until T0 + 660
        made.at += 600.0  # down
        await made.coverage.begin(made.at)
        await beat(made, 60)
        assert (660.0, 1260.0) in await gaps(made)

    play(tmp_path, scene)
