"""What of the outbox may go: what everybody has acknowledged, and what was kept long enough to be told again."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.leases.settled_clock import SettledClock
from daemon.store import outbox_pages
from daemon.store.outbox_pages import MarkRow
from daemon.store.writer import Writer
from daemon.sync.outbox.logs import ROWS
from daemon.sync.outbox.model import Log, Stream

HURRIED_S = 3600.0
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
        self._settled = SettledClock()

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
        """Prune for ever."""
        while True:
            await self._clock.sleep(_EVERY_S)
            if not self._settled.settled(self._clock.wall(), self._clock.monotonic()):
                continue
            with contextlib.suppress(StoreUnavailable):  # counted by the writer; tried again
                while await self.turn():
                    await self._clock.sleep(_PAUSE_S)

    async def turn(self) -> int:
        """Prune some; return how many rows went. Raises StoreUnavailable."""
        before_at = self._clock.wall() - (min(self._keep_s, HURRIED_S) if self.hurried else self._keep_s)
        oldest = {stream: await self._logs[stream].read(0, 1) for stream in self._logs}
        gone: list[int] = []

        async def prune(connection: AsyncConnection) -> None:
            for stream in ROWS:
                through = self.acknowledged(stream)
                if through is None:
                    through = 1 << 62
                gone.append(await outbox_pages.prune(connection, stream, through, before_at))
            for sink, stream in self._carried:
                if oldest[stream]:
                    first = oldest[stream][0].seq
                    gone.append(await outbox_pages.prune_hashes(connection, sink, stream, first))

        await self._writer.commit(prune)
        return sum(gone)
