"""What gives way when the disk fills: class C first, then interims that a newer one replaces; class A never.

When nothing of that is enough, accounting is not acknowledged any more: the NASes keep their records and send them
again. Logins go on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum

from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.store.size import Room
from daemon.sync.outbox.shipper import Tell

_EVERY_S = 5.0
_GO_ON_S = 0.1  # between two measurements while there is more that can be squeezed
_SAMPLED = 10  # from the first level on, one of so many events of class C is kept
_SHARE_EASED = 0.02  # below a threshold before its level is left again


class Level(IntEnum):
    """How full it is."""

    EASY = 0
    SAMPLE = 1  # class C is sampled, interims are coalesced
    DROP = 2  # the oldest of class C goes, and what is acknowledged is not kept for long
    FULL = 3  # class C is off, accounting is not acknowledged


_NAMES = {Level.EASY: "easy", Level.SAMPLE: "high", Level.DROP: "very-high", Level.FULL: "full"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PressureOptions:
    """Limits in octets: how large the database may become, 0 for any size, and what the disk must have left."""

    database_most_octets: int = 0
    disk_least_octets: int = 0
    sample_share: float = 0.70
    drop_share: float = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Valves:
    """What a level sets or does. `squeeze` makes room in the backlog, `drop` in class C.

    Both do so much as takes some seconds: `squeeze` says whether there is more to do, `drop` how much went.
    """

    sample: Callable[[int], None]  # one event of class C in so many is kept, 0 for none
    accept: Callable[[bool], None]  # whether accounting is taken
    spare: Callable[[bool], None]  # whether what is acknowledged goes early
    squeeze: Callable[[bool], Awaitable[bool]]  # True: look at all of it again
    drop: Callable[[], Awaitable[int]]


def level_of(room: Room, options: PressureOptions, before: Level) -> Level:
    """Return the level that a room means; one that was reached is left a little below where it begins."""
    share = 0.0
    if options.database_most_octets:
        share = room.used_octets / options.database_most_octets
    least = options.disk_least_octets
    found = Level.EASY
    for level, begins in (
        (Level.SAMPLE, options.sample_share),
        (Level.DROP, options.drop_share),
        (Level.FULL, 1.0),
    ):
        eased = _SHARE_EASED if before >= level else 0.0
        if share >= begins - eased:
            found = level
    if room.free_octets < least or (before is Level.FULL and room.free_octets < least * (1 + _SHARE_EASED)):
        found = Level.FULL
    return found


class Pressure:
    """Looks at the room there is, for ever, and turns the valves."""

    def __init__(
        self,
        clock: Clock,
        measure: Callable[[], Awaitable[Room | None]],
        options: PressureOptions,
        valves: Valves,
        tell: Tell,
    ) -> None:
        self._clock = clock
        self._measure = measure
        self._options = options
        self._valves = valves
        self._tell = tell
        self.level = Level.EASY
        self.room: Room | None = None
        self._more = False

    async def run(self) -> None:
        """Look for ever."""
        while True:
            with contextlib.suppress(StoreUnavailable):  # tried again; the level stands
                await self.turn()
            await self._clock.sleep(_GO_ON_S if self._more else _EVERY_S)

    async def turn(self) -> Level:
        """Look once, and act on it; return the level. Raises StoreUnavailable, but not before the valves are set."""
        self._more = False
        room = await self._measure()
        if room is None:
            return self.level
        self.room = room
        before, self.level = self.level, level_of(room, self._options, self.level)
        level = self.level
        self._valves.accept(level is not Level.FULL)
        self._valves.spare(level >= Level.DROP)
        self._valves.sample({Level.EASY: 1, Level.FULL: 0}.get(level, _SAMPLED))
        if level is not before:
            self._tell(
                "outbox-pressure",
                reason=_NAMES[level],
                before=_NAMES[before],
                used_octets=room.used_octets,
                free_octets=room.free_octets,
            )
        if level >= Level.SAMPLE:
            self._more = await self._valves.squeeze(level > before)
        if level >= Level.DROP:
            await self._valves.drop()
        return level

    def degraded(self) -> list[str]:
        """Return what is not well, a sentence each."""
        if self.level is Level.EASY or self.room is None:
            return []
        used, free = self.room.used_octets >> 20, self.room.free_octets >> 20
        said = f"the database has {used} MiB, and its disk {free} MiB left"
        if self.level is Level.FULL:
            return [f"accounting is not acknowledged, logins go on: {said}"]
        return [f"events that can be spared give way: {said}"]
