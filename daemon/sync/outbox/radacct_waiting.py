"""Sessions that were acknowledged and have no row in a radacct table yet: they survive a restart, and stay bounded.

Two reasons there are to wait. As many new rows as an importer reads in a minute are there: those form a queue. Or
the login is unknown: importers skip such rows for good, so they are held until it is known, or long enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.clock import Clock
from daemon.store import radacct_rows
from daemon.store.writer import Writer
from daemon.sync.outbox.radacct_merge import SessionFacts

MOST = 100_000
"""Sessions that may wait; what is beyond is not acknowledged."""
_LOOKED_AT = 500  # held sessions whose logins are looked for in one go
_MINUTE_S = 60.0


class Pace:
    """How many new rows there may be now."""

    def __init__(self, per_min: int, clock: Clock) -> None:
        self._per_min = per_min
        self._clock = clock
        self._room, self._at = float(per_min), clock.monotonic()

    @property
    def room(self) -> int:
        """Return how many rows there is room for."""
        now, most = self._clock.monotonic(), float(self._per_min)
        self._room = min(most, self._room + (now - self._at) * most / _MINUTE_S)
        self._at = now
        return max(0, int(self._room))

    def take(self, count: int) -> None:
        """Note that so many rows were added."""
        self._room -= count


class Waiting:
    """Who waits in one sink. `load` before anything else; every change is in the store before it is known here."""

    def __init__(
        self, sink: str, store: AsyncEngine, writer: Writer, clock: Clock, hold_s: float, most: int = MOST
    ) -> None:
        self._sink = sink
        self._store = store
        self._writer = writer
        self._clock = clock
        self._hold_s = hold_s
        self._most = most
        self._loaded = False
        self.queue: dict[int, float] = {}  # when the session ended, or else began
        self.held: dict[int, float] = {}  # since when, the first one first

    def __len__(self) -> int:
        return len(self.queue) + len(self.held)

    async def load(self) -> None:
        """Take over what waited before a restart, once."""
        if not self._loaded:
            self.held = await radacct_rows.waiting(self._store, self._sink)
            self._loaded = True

    @property
    def since(self) -> float | None:
        """Return a time before which no session that waits has ended, None where none waits."""
        return min((*self.queue.values(), *self.held.values()), default=None)

    def is_due(self, facts: SessionFacts) -> bool:
        """Tell whether a session may have its row."""
        if facts.known or facts.closed_at is not None or facts.of_event or facts.uid in self.queue:
            return True
        now = self._clock.wall()
        return now - self.held.get(facts.uid, now) >= self._hold_s

    def next(self, room: int) -> tuple[list[int], list[int]]:
        """Return whose turn it is, and whom to look at."""
        return list(islice(self.queue, room)), list(islice(self.held, _LOOKED_AT))

    async def add(self, queued: Sequence[SessionFacts], held: Sequence[SessionFacts]) -> set[int]:
        """Let sessions wait; return those for which there is no room. Raises StoreUnavailable."""
        now = self._clock.wall()
        fresh_queue = {each.uid: _ended(each) for each in queued if each.uid not in self.held}
        fresh_held = {each.uid: now for each in held if each.uid not in self.held}
        room = max(0, self._most - len(self))
        fresh = {**fresh_queue, **fresh_held}
        taken = dict(islice(fresh.items(), room))
        await self._note(taken)
        self.queue |= {uid: at for uid, at in fresh_queue.items() if uid in taken}
        self.held |= {uid: at for uid, at in fresh_held.items() if uid in taken}
        return fresh.keys() - taken.keys()

    def promote(self, facts: Sequence[SessionFacts]) -> None:
        """Let held sessions have their turns."""
        for each in facts:
            if self.held.pop(each.uid, None) is not None:
                self.queue[each.uid] = _ended(each)

    async def done(self, uids: Sequence[int]) -> None:
        """These have their rows, or will never have any. Raises StoreUnavailable."""
        gone = [uid for uid in uids if uid in self.queue or uid in self.held]
        if not gone:
            return

        async def drop(connection: AsyncConnection) -> None:
            await radacct_rows.drop_waiting(connection, self._sink, gone)

        await self._writer.commit(drop)
        for uid in gone:
            self.queue.pop(uid, None)
            self.held.pop(uid, None)

    async def _note(self, since: Mapping[int, float]) -> None:
        if not since:
            return

        async def wait(connection: AsyncConnection) -> None:
            await radacct_rows.wait(connection, self._sink, since)

        await self._writer.commit(wait)


def _ended(facts: SessionFacts) -> float:
    return facts.started_at if facts.closed_at is None else facts.closed_at
