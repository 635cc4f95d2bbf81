"""What of the outbox may go: what everybody has acknowledged, and what was kept long enough to be told again."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.leases.settled_clock import SettledClock
from daemon.store import outbox_pages
from daemon.store.outbox_pages import MarkRow
from daemon.store.writer import Writer
from daemon.sync.outbox.heads import FOREIGN
from daemon.sync.outbox.logs import ROWS
from daemon.sync.outbox.model import Log, Stream

HURRIED_S = 3600.0
_AHEAD_S = 86_400.0  # no row that a clock dated right is further ahead
_EVERY_S = 60.0
_PAUSE_S = 0.05  # between slices, so that logins and records come in between


class Retention:
    """Prunes rows of the outbox, and says of every stream up to where its log may be pruned."""

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        logs: Mapping[Stream, Log],
        marks: Mapping[tuple[str, Stream], MarkRow],
        carried: Sequence[tuple[str, Stream]],
        keep_s: float,
    ) -> None:
        """`carried` are the sinks and streams that are configured: others do not hold anything back."""
        self._writer = writer
        self._clock = clock
        self._logs = logs
        self._marks = marks
        self._carried = carried
        self._keep_s = keep_s
        self.hurried = False  # the disk fills: what is acknowledged is not kept for days

    def acknowledged(self, stream: Stream) -> int | None:
        """Return up to which number of its log all sinks have acknowledged a stream; None where none carries it."""
        return min(
            (
                self._marks[each].acked_seq
                for each in self._carried
                if each[1] is stream and each in self._marks
            ),
            default=None,
        )

    async def run(self) -> None:
        """Prune rows and the hashes of our own logs for ever."""
        await self._repeat(self.turn)

    async def run_foreign(self) -> None:
        """Prune the hashes of logs that may be in another store for ever: apart, for that may be slow or away."""
        await self._repeat(self.turn_foreign)

    async def _repeat(self, turn: Callable[[], Awaitable[int]]) -> None:
        settled = SettledClock()
        while True:
            await self._clock.sleep(_EVERY_S)
            if not settled.settled(self._clock.wall(), self._clock.monotonic()):
                continue
            with contextlib.suppress(StoreUnavailable):  # counted by the writer; tried again
                while await turn():
                    await self._clock.sleep(_PAUSE_S)

    async def turn(self) -> int:
        """Prune some; return how many went. Raises StoreUnavailable."""
        at = self._clock.wall()
        before_at = at - (min(self._keep_s, HURRIED_S) if self.hurried else self._keep_s)
        gone: list[int] = []

        async def prune(connection: AsyncConnection) -> None:
            for stream in ROWS:
                through = self.acknowledged(stream)
                if through is None:
                    through = 1 << 62
                gone.append(await outbox_pages.prune(connection, stream, through, before_at, at + _AHEAD_S))

        await self._writer.commit(prune)
        return sum(gone) + await self._hashes(foreign=False)

    async def turn_foreign(self) -> int:
        """Prune hashes of logs that may be in another store; return how many went. Raises StoreUnavailable."""
        return await self._hashes(foreign=True)

    async def _hashes(self, *, foreign: bool) -> int:
        """Prune the hashes of what is not in a log any more; a log that cannot be read keeps nothing else back."""
        oldest: dict[Stream, int] = {}
        for stream in {stream for _, stream in self._carried if (stream in FOREIGN) is foreign}:
            with contextlib.suppress(StoreUnavailable):  # looked at again with the next turn
                found = await self._logs[stream].read(0, 1)
                if found:
                    oldest[stream] = found[0].seq
        if not oldest:
            return 0
        gone: list[int] = []

        async def prune(connection: AsyncConnection) -> None:
            for sink, stream in self._carried:
                if stream in oldest:
                    gone.append(await outbox_pages.prune_hashes(connection, sink, stream, oldest[stream]))

        await self._writer.commit(prune)
        return sum(gone)
