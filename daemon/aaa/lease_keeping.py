"""What accounting tells the address book: leases are bound at the Start, released with their session, and compared
with the addresses that sessions report.

The session table decides when a session is over, and the lease lives as long as the session. So a lease is not ended
because nothing was heard for a while, as it would be if each interim had to renew it: the link to a NAS may be down
for hours, with every subscriber behind it online.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from daemon.aaa.lease_owner import equipment_key, equipment_of_session, has_one_session, has_own, vrf_of
from daemon.aaa.lease_reports import party_of, reported_units
from daemon.aaa.leasing import Held
from daemon.aaa.reservations import Permit
from daemon.aaa.session import Closed, Had, Session
from daemon.aaa.wanted import access_of
from daemon.leases.addresses import Addresses
from daemon.replica.index import Index
from daemon.replica.records import Plan, Subscriber
from ipam.address import Unit
from ipam.blocks import is_remote
from ipam.book import Live
from ipam.heard_rows import Key
from ipam.history import Party
from ipam.kinds import Cause
from ipam.lease import Observation, Sighting
from ipam.model import Pool, Range, space_of, span_of
from ipam.shelf import Tenure

_CAUSES = {
    Closed.STOP: Cause.STOP,
    Closed.NAS_REBOOT: Cause.NAS_RESTART,
}  # the others are conclusions of ours
_CONFLICT = Sighting.CONFLICT
_DISPUTE_S = 10.0  # until an address in dispute is looked at again
_DISPUTES_AT_ONCE = 50
_SLICE = 200
_CLOCKS_S = 60.0  # by which the clock of a NAS may be behind, for a session to be that of a login before

_Unclaimed = dict[tuple[str, str, str], list[int]]
"""Bundles that are no session's yet, by tenant, subscriber and NAS; the latest first."""

OnSession = Callable[[str, Session, str], None]
"""(kind, session, text): something about a session that others act on."""


class LeaseKeeping:
    """The address book as accounting sees it."""

    def __init__(self, addresses: Addresses[Held], index: Index, on_session: OnSession) -> None:
        """`on_session` is told of "lease-adopted", and of "address-conflict": the address is not the session's own."""
        self._addresses = addresses
        self._index = index
        self._on_session = on_session
        self._disputed: dict[Session, tuple[float, tuple[Unit, ...]]] = {}  # looked at again when
        self._unclaimed: _Unclaimed = {}  # from before the start
        addresses.notes.serve(self._look_again, self._refused)

    # --- a session's life ------------------------------------------------------------------------

    def begun(self, session: Session, permit: Permit | None) -> None:
        """A session has begun, or was heard of for the first time."""
        bundle_id = 0 if permit is None else permit.bundle_id
        if bundle_id and session.closed_at is None:
            self._bind(session, bundle_id)
        self._hear(session, bundle_id)

    def heard(self, session: Session) -> None:
        """A live session has reported; what it says of its addresses is looked at when that has changed."""
        self._hear(session, 0)

    def _hear(self, session: Session, bundle_id: int) -> None:
        """`bundle_id` is what its login was given, be it over."""
        addresses = self._addresses
        if addresses.replaying or not addresses.register.shelves:
            return  # what the journal tells at a start is older than the book; `settle` looks at what came of it
        shown = session.addresses
        if shown == session.shown or session.closed_at is not None:
            return
        first, session.shown = not session.shown, shown
        self._forget_notes(session)
        kept = self._regain(session) if first else ()
        _, told = self._disputed.pop(session, (0.0, ()))
        units = dict.fromkeys((*kept, *reported_units(shown)))
        self._compare(session, tuple(units), (*kept, *told))
        if first and not session.bundles:
            self._find_lost(session, bundle_id)

    def ended(self, session: Session) -> None:
        """A session is closed, or concluded to be gone."""
        bundles, session.bundles = session.bundles, ()
        session.shown = ()  # looked at again, should it be heard of again
        self._disputed.pop(session, None)
        self._forget_notes(session)
        if bundles:
            book, clock = self._addresses.book, self._addresses.clock
            now, at = clock.monotonic(), clock.wall()
            if session.closed_by is not Closed.STOP:
                ending = [live for each in bundles if (live := book.find(each)) is not None]
                session.had = tuple(had for live in ending for had in _members_of(live))
            for bundle_id in bundles:
                cause = _CAUSES.get(session.closed_by, Cause.REAPER)
                book.release(bundle_id, cause, now, at, session=str(session.uid))

    def turn(self) -> None:
        """Look at addresses in dispute again, some at a time: they are nobody else's while a session has them."""
        now = self._addresses.clock.monotonic()
        for session, (due, units) in list(islice(self._disputed.items(), _DISPUTES_AT_ONCE)):
            if due > now:
                break
            del self._disputed[session]
            self._compare(session, units, units)

    async def cover(self, sessions: Sequence[Session], pool: Pool, parts: tuple[Range, ...]) -> None:
        """A pool gets ranges: lease what live sessions report of them to those, before another can get it.

        Raises StoreUnavailable.
        """
        addresses, space = self._addresses, space_of(pool)
        spans = [span_of(pool, part) for part in parts]
        serial = 0
        for number, session in enumerate(sessions, 1):
            if session.closed_at is None and session.tenant == pool.tenant:
                units = [unit for unit in reported_units(session.addresses) if unit.space is space]
                if any(first <= each.last and each.value <= last for first, last in spans for each in units):
                    self._look_again(session)
                    found = [addresses.book.find(each) for each in session.bundles]
                    serial = max([serial, *(live.serial for live in found if live is not None)])
            if number % _SLICE == 0:
                if addresses.register.ledger.waiting > _SLICE:  # let the store keep up
                    await addresses.lessor.stored(serial)
                await asyncio.sleep(0)

    def lives(self, sessions: Callable[[int], Session | None], name: str) -> bool:
        """Tell whether the session that the book calls `name` is live."""
        if is_remote(name):
            return True  # until its node says otherwise
        session = sessions(int(name)) if name.isdigit() else None
        return session is not None and session.closed_at is None

    # --- a start of the daemon -------------------------------------------------------------------

    def settle(self, sessions: Callable[[int], Session | None], live: Iterator[Session]) -> int:
        """Make the book and the sessions agree after a start, when both have been read back.

        What a crash has kept from the disk is done again: leases of sessions that are over are released, those of
        live ones are bound. Returns how many bundles were released.
        """
        self._addresses.replaying = False
        book, clock = self._addresses.book, self._addresses.clock
        now, at = clock.monotonic(), clock.wall()
        released = 0
        online = list(live)
        for session in online:
            session.bundles = ()  # of an earlier reading of the book
        for bundle in book.bundles():
            if not bundle.session.isdigit():  # none, or that of a node whose block was taken over
                continue
            owner = sessions(int(bundle.session))
            if owner is not None and owner.closed_at is None:
                owner.bundles = (*owner.bundles, bundle.id)
                continue
            closed_by = Closed.NOT if owner is None else owner.closed_by
            book.release(bundle.id, _CAUSES.get(closed_by, Cause.REAPER), now, at)
            released += 1
        self._disputed.clear()
        self._unclaimed = _unclaimed(book.bundles())
        notes = self._addresses.notes
        notes.clear()
        notes.beginning = True
        for session in online:
            session.shown = ()
            self.heard(session)
        notes.beginning = False
        return released

    # --- addresses of other nodes ----------------------------------------------------------------

    def _note(self, session: Session, vrf: str, unit: Unit, owner: str, party: Party) -> None:
        """Have the node asked whose slot it is: its login may have been there."""
        place = self._addresses.register.locate(session.tenant, vrf, unit)
        if place is not None and place[0].divided:
            key = session.tenant, place[0].pool.name, place[1]
            self._addresses.notes.add(key, str(session.uid), owner, party, session)

    def _forget_notes(self, session: Session) -> None:
        notes = self._addresses.notes
        if notes.by_session:
            notes.drop(str(session.uid))

    def _look_again(self, session: Session) -> None:
        session.shown = ()
        self.heard(session)

    def _refused(self, session: Session, key: Key) -> None:
        text = (
            f"the session reports an address of pool {key[1]} that another node has leased to somebody else"
        )
        self._on_session("address-conflict", session, text)

    # --- one address -----------------------------------------------------------------------------

    def _bind(self, session: Session, bundle_id: int) -> bool:
        """Let a session have a bundle; where another has it already, a bundle of its own over the same slots."""
        addresses, name = self._addresses, str(session.uid)
        live = addresses.book.find(bundle_id)
        if live is not None and live.session not in ("", name):
            live = addresses.book.share(live)
        if live is None:
            return False
        addresses.book.bind(live.id, name, addresses.clock.monotonic(), addresses.clock.wall())
        if live.id not in session.bundles:
            session.bundles = (*session.bundles, live.id)
        addresses.lessor.wake()
        return True

    def _compare(self, session: Session, units: tuple[Unit, ...], told: tuple[Unit, ...]) -> None:
        """Look at addresses of a session; those of another's are looked at again, told once (not those `told`)."""
        disputed = [unit for unit in units if self._look(session, unit, told=unit in told) is _CONFLICT]
        if disputed:
            due = self._addresses.clock.monotonic() + _DISPUTE_S
            self._disputed[session] = due, tuple(disputed)

    def _look(
        self, session: Session, unit: Unit, had: Had | None = None, *, told: bool = False
    ) -> Sighting | None:
        """Compare one address with the book, and put the book right, or tell of the conflict.

        Returns what it is to the book, None where the session has it leased already. `had` says what lease of it
        the session has had.
        """
        addresses = self._addresses
        if any(self._has(bundle_id, unit) for bundle_id in session.bundles):
            return None
        subscriber, plan = self._subscriber(session)
        vrf = had[0] if had is not None else _vrf(session, subscriber, plan)
        tenure = self._tenure(session.tenant, vrf, unit)
        owner = had[2] if had is not None else self._owner(session, subscriber, plan, tenure)
        party = party_of(session)
        now, at = addresses.clock.monotonic(), addresses.clock.wall()
        rest = self._left_with(session.tenant, owner, tenure)
        name = str(session.uid)
        seen = addresses.steward.observe(session.tenant, vrf, unit, owner, name, now, at, party)
        if seen.sighting is Sighting.KNOWN:
            self._bind(session, seen.bundle_id)
        elif seen.sighting is Sighting.ADOPTED:
            session.bundles = (*session.bundles, seen.bundle_id)
            self._on_session("lease-adopted", session, f"the session reports {unit}, which nobody had")
        elif seen.sighting is Sighting.FOREIGN:
            self._note(session, vrf, unit, owner, party)
        elif seen.sighting is _CONFLICT and not told:
            self._on_session("address-conflict", session, _conflict_text(unit, seen))
        for where, each in rest if seen.sighting is Sighting.ADOPTED else ():
            self._look(session, each, (where, each, owner))
        return seen.sighting

    # --- what accounting does not tell -----------------------------------------------------------

    def _regain(self, session: Session) -> tuple[Unit, ...]:
        """Let a session that we gave up too early have all of its leases again, also those that it never reports.

        Returns what another has now.
        """
        had, session.had = session.had, ()
        return tuple(each[1] for each in had if self._look(session, each[1], each) is _CONFLICT)

    def _left_with(self, tenant: str, owner: str, tenure: Tenure | None) -> tuple[tuple[str, Unit], ...]:
        """Return what ended with a lease of this owner, and waits as well."""
        if tenure is None or tenure.claims or tenure.owner != owner:
            return ()
        return self._addresses.steward.left(tenant, owner, tenure.bundle_id, tenure.session)

    def _find_lost(self, session: Session, bundle_id: int) -> None:
        """Find the leases of a session whose NAS reports none: what its login left, or has from before a start."""
        if bundle_id or session.reopened_from:
            subscriber, plan = self._subscriber(session)
            owner = self._owner(session, subscriber, plan, None)
            name = str(session.uid) if session.reopened_from else ""
            for where, unit in self._addresses.steward.left(session.tenant, owner, bundle_id, name):
                self._look(session, unit, (where, unit, owner))
        if session.bundles or not session.start_seen or not session.subscriber:
            return
        calling = party_of(session).mac
        for number in self._unclaimed.get((session.tenant, session.subscriber, session.nas), ()):
            live = self._addresses.book.find(number)
            if live is not None and not live.session and _may_be_of(live.members[0][2], session, calling):
                self._bind(session, number)
                return

    def _has(self, bundle_id: int, unit: Unit) -> bool:
        bundle = self._addresses.book.find(bundle_id)
        return bundle is not None and any(tenure.unit == unit for _, _, tenure in bundle.members)

    def _subscriber(self, session: Session) -> tuple[Subscriber | None, Plan | None]:
        tenant = self._index.tenants.get(session.tenant)
        subscriber = None if tenant is None else tenant.subscribers.get(session.subscriber)
        if tenant is None or subscriber is None:
            return None, None
        return subscriber, tenant.plans.get(subscriber.plan or "")

    def _tenure(self, tenant: str, vrf: str, unit: Unit) -> Tenure | None:
        """Return who has, or had, a unit by the book."""
        place = self._addresses.register.locate(tenant, vrf, unit)
        return None if place is None else place[0].tenures.get(place[0].allocator.cell_at(place[1]))

    def _owner(
        self, session: Session, subscriber: Subscriber | None, plan: Plan | None, tenure: Tenure | None
    ) -> str:
        """Return by what the book knows the owner of an address that a session reports.

        The permit may be forgotten, and accounting tells less of the line than a login. So where the book has the
        address leased to this subscriber, it is by whatever key that was done.
        """
        if tenure is not None and session.subscriber and tenure.subscriber == session.subscriber:
            return tenure.owner
        if subscriber is not None:
            good = not session.applied_reason
            if (good and has_one_session(subscriber, plan)) or has_own(subscriber, self._addresses.register):
                return subscriber.id
        shown = equipment_of_session(session)
        username = "" if session.subscriber else session.username
        key = equipment_key(session.subscriber, access_of(session, plan), shown, username)
        return key or f"/{session.uid}"


def _vrf(session: Session, subscriber: Subscriber | None, plan: Plan | None) -> str:
    """Return the VRF that a session is in: as it was granted, else as planned."""
    if session.applied is not None:
        return session.applied.vrf or ""
    return "" if subscriber is None else vrf_of(subscriber, plan)


def _members_of(live: Live) -> tuple[Had, ...]:
    return tuple((shelf.pool.vrf, tenure.unit, tenure.owner) for shelf, _, tenure in live.members)


def _unclaimed(bundles: Sequence[Live]) -> _Unclaimed:
    found: _Unclaimed = {}
    for live in bundles:
        if not live.session and live.members:
            tenure = live.members[0][2]
            found.setdefault((live.key[0], tenure.subscriber, tenure.nas), []).insert(0, live.id)
    return found


def _may_be_of(tenure: Tenure, session: Session, calling: str) -> bool:
    """Tell whether a lease may be of the login of a session: it is of that equipment, and not later."""
    same = not tenure.mac or not calling or tenure.mac == calling
    return same and tenure.since_at <= min(session.heard_at, session.started_at + _CLOCKS_S)


def _conflict_text(unit: Unit, seen: Observation) -> str:
    holder = f"is leased to {seen.holder}" if seen.holder else "is not to be used"
    return f"the session reports {unit}, which by pool {seen.pool} {holder}"
