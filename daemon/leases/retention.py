"""Forgets, slowly, who had what longer ago than the settings say: leases, reports of sessions, port blocks, audit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.leases.cgnat import Cgnat
from daemon.leases.settled_clock import Horizon, SettledClock
from daemon.store import audit_rows, oldest_rows, session_addresses
from daemon.store.writer import Writer
from ipam import history_rows, store

_EVERY_S = 60.0
_PAUSE_S = 0.05  # between slices, so that logins and records come in between
_EVENTS = 500  # of the history, in one slice


class Retention:
    """Prunes what is older than `history_s`: of the edge's own store, and of its chain in that of the leases.

    `audit_through` and `leases_through` say up to which number of the audit and of the history everybody who is told
    of it has acknowledged it; None where nobody is told. What is behind that stays, however old it is.
    """

    def __init__(
        self, own: Writer, leases: Writer, cgnat: Cgnat, node: str, clock: Clock, history_s: float
    ) -> None:
        self._own = own
        self._leases = leases
        self._cgnat = cgnat
        self._node = node
        self._clock = clock
        self._history_s = history_s
        self.audit_through: Callable[[], int | None] = _nobody_is_told
        self.leases_through: Callable[[], int | None] = _nobody_is_told
        self._settled = SettledClock()
        self._of_own = Horizon()
        self._of_leases = Horizon()

    async def run(self) -> None:
        """Prune for ever; to be started once."""
        while True:
            await self._clock.sleep(_EVERY_S)
            with contextlib.suppress(StoreUnavailable):  # the writer has counted it
                while await self.turn():
                    await self._clock.sleep(_PAUSE_S)

    async def turn(self) -> int:
        """Forget some; return how many rows went. Raises StoreUnavailable."""
        at, now = self._clock.wall(), self._clock.monotonic()
        if not self._settled.settled(at, now):
            return 0
        wanted = at - self._history_s
        gone: list[int] = []

        async def own(connection: AsyncConnection) -> None:
            before = self._of_own.move(wanted, now, await oldest_rows.oldest(connection))
            gone.append(await session_addresses.prune(connection, before))
            gone.append(await audit_rows.prune(connection, before, self.audit_through()))
            gone.append(await self._cgnat.prune(connection, before))

        async def leases(connection: AsyncConnection) -> None:
            oldest = await history_rows.oldest_of(connection, self._node)
            before = self._of_leases.move(wanted, now, oldest)
            through = self.leases_through()
            gone.append(await store.prune(connection, self._node, before, _EVENTS, through))

        await self._own.commit(own)
        await self._leases.commit(leases)
        return sum(gone)


def _nobody_is_told() -> int | None:
    return None
