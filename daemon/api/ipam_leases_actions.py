"""What operators do to single leases: release, decline, disable, enable. Answered when it is on disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from fastapi import HTTPException, Request
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.aaa.coa.job import Intent, Job, Kind, view
from daemon.aaa.session import Session
from daemon.api.actor import actor_of
from daemon.api.ipam_lease_models import ActionView
from daemon.api.ipam_leases_listing import lease_view
from daemon.api.live_models import JobView
from daemon.api.security.audited import noted
from daemon.api.services import Services
from daemon.leases.addresses import Addresses
from daemon.leases.places import Place, settled, standing
from daemon.store import audit_rows
from daemon.store.audit_rows import Entry
from daemon.store.writer import Writer
from ipam.book import Live
from ipam.cells import NONE
from ipam.kinds import BOUND, TENTATIVE, LeaseState

_OPERATOR = "operator"
_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Desk:
    """Where wishes about leases come in; `writer` is of the edge's own store, where the audit is."""

    services: Services
    writer: Writer

    @property
    def addresses(self) -> Addresses[Any]:
        """The book of leases and its store."""
        return self.services.aaa.addresses

    # --- release ---------------------------------------------------------------------------------

    async def release(self, place: Place, *, disconnect: bool, force: bool, why: str) -> ActionView:
        """End the bundles that a slot is in.

        A lease of a live session is not taken from under it: its NAS is asked to end the session, and the lease ends
        with that, or it is released by force. Raises HTTPException 409 where neither was asked for.
        """
        bundles = self._bundles(place)
        if not bundles:
            return self._view(place, done=False, says="nothing to release: nobody has it")
        sessions = [each for live in bundles if (each := self._session(live)) is not None]
        if sessions and disconnect:
            return await self._disconnect(place, sessions, why)
        if sessions and not force:
            named = ", ".join(f"#{each.uid} ({each.subscriber or each.username})" for each in sessions)
            raise HTTPException(
                409,
                f"{place.unit} is in use by session {named}; --disconnect ends the session and with it the lease, "
                "--force releases the lease and leaves the session, which then uses an address that is not its own",
            )
        clock, pool = self.services.clock, place.shelf.pool
        self.addresses.steward.release(pool.tenant, pool.vrf, place.unit, clock.monotonic(), clock.wall())
        members = {
            Place(shelf, shelf.allocator.slots[cell]) for live in bundles for shelf, cell, _ in live.members
        }
        for member in members:
            await settled(self.addresses, member)
        return self._view(place, done=True, says=_released(len(members) - 1))

    def _bundles(self, place: Place) -> list[Live]:
        """Return the bundles that a slot is in."""
        book, shelf, cell = self.addresses.book, place.shelf, place.cell
        tenure = shelf.tenures.get(cell)
        if cell == NONE or tenure is None or not TENTATIVE <= shelf.allocator.states[cell] <= BOUND:
            return []
        of_owner = [book.find(each) for each in book.bundles_of(shelf.pool.tenant, tenure.owner)]
        return [live for live in of_owner if live is not None and (shelf, cell, tenure) in live.members]

    def _session(self, live: Live) -> Session | None:
        if not live.session.isdigit():
            return None
        session = self.services.aaa.sessions.find_uid(int(live.session))
        return session if session is not None and session.closed_at is None else None

    async def _disconnect(self, place: Place, sessions: list[Session], why: str) -> ActionView:
        """Ask the NASes to end the sessions, and wait a moment for that."""
        self.services.aaa.clients.turn()
        engine = self.services.aaa.enforcement.engine
        intent = Intent(kind=Kind.DISCONNECT, reason=_OPERATOR, why=why, urgent=True)
        jobs = [engine.submit(each, intent) for each in sessions]
        ends = [asyncio.shield(each.ended) for each in jobs]
        await asyncio.wait(ends, timeout=_WAIT_S)
        for each in ends:
            each.cancel()
        if self._bundles(place):
            says = "not released yet: the lease ends with its session, which its NAS was asked to end"
            return self._view(place, done=False, says=says, jobs=jobs)
        await settled(self.addresses, place)
        return self._view(place, done=True, says="released: its session has ended", jobs=jobs)

    # --- single slots ----------------------------------------------------------------------------

    async def decline(self, place: Place) -> ActionView:
        """Somebody else was found at the address: keep it from everybody for the pool's decline time.

        Raises HTTPException 409 where it is declined or disabled already.
        """
        steward, clock, pool = self.addresses.steward, self.services.clock, place.shelf.pool
        if standing(self.addresses, place).state in (LeaseState.DECLINED, LeaseState.DISABLED):
            raise HTTPException(409, f"{place.unit} is {standing(self.addresses, place).state} already")
        ended = steward.decline(pool.tenant, pool.vrf, place.unit, clock.monotonic(), clock.wall())
        await settled(self.addresses, place)
        says = "declined" + (", its login's leases were released" if ended else "")
        return self._view(place, done=True, says=says)

    async def disable(self, place: Place) -> ActionView:
        """Take a slot out, at once or when its lease is over."""

        def change(at: float) -> int | None:
            return self.addresses.steward.disable(pool.tenant, pool.vrf, place.unit, at)

        pool = place.shelf.pool
        return await self._change(place, change, "disabled", "will be disabled when its lease is over")

    async def enable(self, place: Place) -> ActionView:
        """Bring a slot back that was disabled."""

        def change(at: float) -> int | None:
            now = self.services.clock.monotonic()
            return self.addresses.steward.enable(pool.tenant, pool.vrf, place.unit, now, at)

        pool = place.shelf.pool
        return await self._change(place, change, "", "enabled; it is quarantined first")

    async def _change(
        self, place: Place, change: Callable[[float], int | None], says: str, later: str
    ) -> ActionView:
        serial = change(self.services.clock.wall())
        await settled(self.addresses, place)
        if not serial:
            return self._view(place, done=False, says="nothing to do: it is so already")
        off = standing(self.addresses, place).state is LeaseState.DISABLED
        return self._view(place, done=True, says=says if off and says else later)

    # --- what is told ----------------------------------------------------------------------------

    def _view(self, place: Place, *, done: bool, says: str, jobs: list[Job] | None = None) -> ActionView:
        lease = lease_view(standing(self.addresses, place), place.shelf.pool.vrf)
        return ActionView(lease=lease, done=done, says=says, jobs=[self._job(each) for each in jobs or ()])

    def _job(self, job: Job) -> JobView:
        shown = view(job, self.services.clock.wall())
        return JobView.model_validate(asdict(shown) | {"session": str(shown.session)})

    async def note(
        self, request: Request, action: str, tenant: str, subject: str, why: str, result: str
    ) -> None:
        """Write down who has done what. Raises StoreUnavailable."""
        entry = Entry(self.services.clock.wall(), actor_of(request), action, tenant, subject, why, result)

        async def write(connection: AsyncConnection) -> None:
            await audit_rows.save(connection, entry)

        await self.writer.commit(write)
        noted(request)


def _released(others: int) -> str:
    if not others:
        return "released"
    return (
        "released, with "
        + ("the other lease" if others == 1 else f"the {others} other leases")
        + " of its login"
    )
