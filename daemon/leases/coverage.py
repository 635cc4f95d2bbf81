"""The heartbeat: it says afterwards when nothing was written down, so that an answer can tell its own gaps.

A run is a time without a gap. It ends with the daemon, when the store takes nothing for more than a beat, and when the
clock is set: of the seconds that it leaps over there is no record either.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.store import coverage_rows
from daemon.store.coverage_rows import Run
from daemon.store.writer import Writer
from ipam.cgnat_blocks import Gap

BEAT_S = 30.0
"""How often `beat` is to be called."""
_MISSED_S = 1.5 * BEAT_S  # one beat was missed


class Coverage:
    """The runs of this edge, in the edge's own store."""

    def __init__(self, writer: Writer, node: str) -> None:
        self._writer = writer
        self._node = node
        self.run = 0
        self._beat_at = 0.0  # the last one that is written

    async def begin(self, at: float) -> None:
        """A run begins at an epoch second: from now on things are written down. Raises StoreUnavailable."""

        async def write(connection: AsyncConnection) -> None:
            self.run = await coverage_rows.begin(connection, self._node, at)

        await self._writer.commit(write)
        self._beat_at = at

    async def beat(self, at: float) -> None:
        """The edge is alive; also to be called when it ends in order. Raises StoreUnavailable.

        It is another run where beats are missing before this one.
        """
        if abs(at - self._beat_at) > _MISSED_S:
            await self.begin(at)
            return

        async def write(connection: AsyncConnection) -> None:
            await coverage_rows.beat(connection, self.run, at)

        await self._writer.commit(write)
        self._beat_at = at

    async def gaps(self, connection: AsyncConnection, since: float, until: float) -> tuple[Gap, ...]:
        """Return when nothing was written down between two epoch seconds, in their order."""
        found = down_times(await coverage_rows.runs(connection, since), self._node)
        return tuple(each for each in found if each.until > since and each.since <= until)


def down_times(known: Sequence[Run], node: str) -> list[Gap]:
    """Return the times between runs. Up to `BEAT_S` at the beginning of each the edge may have lived."""
    found: list[Gap] = []
    reached = 0.0
    for one, other in pairwise(sorted(known, key=lambda each: each.start_at)):  # a clock may have been ahead
        reached = max(reached, one.last_at)
        if other.start_at > reached:
            found.append(Gap(reached, other.start_at, f"edge {node} was down or could not write"))
    return found
