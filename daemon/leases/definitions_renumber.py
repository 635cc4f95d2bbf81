"""Sessions in draining ranges, ended at a pace, so that their subscribers have another address at the next login."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from daemon.leases.addresses import Addresses
from ipam.kinds import BOUND, TENTATIVE
from ipam.shelf import Shelf

_LOOKS = 2_000  # cells looked at in one turn
_END = "\x1f"  # no session is called so
_AGAIN_S = 120.0  # until a session that goes on is asked to end again

Key = tuple[str, str]
"""Tenant and name of a pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is: sessions asked to end since the beginning, live leases at the last look."""

    asked: int
    live: int
    per_second: float


class _Job:
    def __init__(self, shelf: Shelf, per_second: float, now: float) -> None:
        self.per_second = per_second
        self.allowance = per_second
        self.paid_at = now
        self.asked = 0
        self.live = 0
        self.seen = 0  # live leases of the walk under way
        self.walk = _sessions(shelf)
        self.asked_at: dict[str, float] = {}


class Renumbering:
    """The pools whose draining ranges are being emptied. After a restart it has to be asked for again.

    `end` is given the name of a session and the reason, and returns whether there is such a session, to be ended now.
    """

    def __init__(self, addresses: Addresses[Any]) -> None:
        self._addresses = addresses
        self._jobs: dict[Key, _Job] = {}
        self.end: Callable[[str, str], bool] = _nobody

    def begin(self, tenant: str, name: str, per_second: float) -> None:
        """End the sessions with leases in draining ranges of a pool, so many a second at the most.

        Raises KeyError where there is no such pool.
        """
        now = self._addresses.clock.monotonic()
        known = self._jobs.get((tenant, name))
        if known is None:
            shelf = self._addresses.register.shelves[tenant, name]
            self._jobs[tenant, name] = _Job(shelf, per_second, now)
        else:
            known.per_second = per_second

    def stop(self, tenant: str, name: str) -> bool:
        """End no more; False where nothing was under way."""
        return self._jobs.pop((tenant, name), None) is not None

    def progress(self, tenant: str, name: str) -> Progress | None:
        """Return how far it is; None where nothing is under way."""
        job = self._jobs.get((tenant, name))
        return None if job is None else Progress(asked=job.asked, live=job.live, per_second=job.per_second)

    def turn(self) -> None:
        """Ask as many sessions to end as may be. To be called about once a second."""
        now = self._addresses.clock.monotonic()
        for key, job in list(self._jobs.items()):
            shelf = self._addresses.register.find(*key)
            if shelf is None or not self._advance(job, shelf, now):
                del self._jobs[key]

    def _advance(self, job: _Job, shelf: Shelf, now: float) -> bool:
        """Ask some; False where no live lease is left."""
        job.allowance = min(job.allowance + (now - job.paid_at) * job.per_second, max(job.per_second, 1.0))
        job.paid_at = now
        looked = 0
        while looked < _LOOKS and job.allowance >= 1.0:
            looked += 1
            session = next(job.walk, _END)
            if session == _END:  # the next turn begins anew, because some may not have ended
                job.live, job.seen = job.seen, 0
                job.walk = _sessions(shelf)
                return job.live > 0
            if session is not None:
                job.seen += 1
                job.live = max(job.live, job.seen)
                self._ask(job, shelf, session, now)
        return True

    def _ask(self, job: _Job, shelf: Shelf, session: str, now: float) -> None:
        if not session or now - job.asked_at.get(session, -_AGAIN_S) < _AGAIN_S:
            return
        job.asked_at[session] = now
        why = f"its address is in a part of pool {shelf.pool.name} that is being drained"
        if self.end(session, why):
            job.asked += 1
            job.allowance -= 1.0


def _sessions(shelf: Shelf) -> Iterator[str | None]:
    """Yield the session of each lease in closed segments: empty before it has begun, None for no lease."""
    for segment in list(shelf.allocator.segments):
        if segment.closed and not segment.barred and segment.used:
            for cell in segment.cells():
                if TENTATIVE <= shelf.allocator.states[cell] <= BOUND:
                    tenure = shelf.tenures.get(cell)
                    yield "" if tenure is None else tenure.session
                else:
                    yield None


def _nobody(_session: str, _why: str) -> bool:
    return False
