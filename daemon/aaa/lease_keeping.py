"""What accounting tells the address book: leases are bound at the Start, released with their session, and compared
with the addresses that sessions report.

The session table decides when a session is over, and the lease lives as long as the session. So a lease is not ended
because nothing was heard for a while, as it would be if each interim had to renew it: the link to a NAS may be down
for hours, with every subscriber behind it online.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv6Network

from daemon.aaa.attachment import of_session
from daemon.aaa.leasing import Held, owner_key, vrf_of
from daemon.aaa.reservations import Permit
from daemon.aaa.session import Closed, Session
from daemon.aaa.wanted import access_of
from daemon.leases.addresses import Addresses
from daemon.replica.index import Index
from daemon.replica.records import Plan, Subscriber
from ipam.address import Unit
from ipam.choose import kind_of
from ipam.history import Party
from ipam.kinds import BITS, Cause, Space
from ipam.lease import Bundle, Observation, Request, Sighting, Wanted
from radius.codes import Attr

_CAUSES = {
    Closed.STOP: Cause.STOP,
    Closed.NAS_REBOOT: Cause.NAS_RESTART,
}  # the others are conclusions of ours
_V4_OCTETS = 4
_V6_OCTETS = 16

OnSession = Callable[[str, Session, str], None]
"""(kind, session, text): something about a session that others act on."""


class LeaseKeeping:
    """The address book as accounting sees it."""

    def __init__(self, addresses: Addresses[Held], index: Index, on_session: OnSession) -> None:
        """`on_session` is told of "lease-adopted", and of "address-conflict": the address is not the session's own."""
        self._addresses = addresses
        self._index = index
        self._on_session = on_session

    # --- a session's life ------------------------------------------------------------------------

    def begun(self, session: Session, permit: Permit | None) -> None:
        """A session has begun, or was heard of for the first time."""
        if permit is not None and permit.bundle_id and session.closed_at is None:
            self._bind(session, permit.bundle_id)
        self.heard(session)

    def heard(self, session: Session) -> None:
        """A live session has reported; what it says of its addresses is looked at when that has changed."""
        if not self._addresses.register.shelves:
            return
        shown = session.addresses
        if shown == session.shown or session.closed_at is not None:
            return
        session.shown = shown
        for unit in reported_units(shown):
            self._look(session, unit)

    def ended(self, session: Session) -> None:
        """A session is closed, or concluded to be gone."""
        bundles, session.bundles = session.bundles, ()
        session.shown = ()  # looked at again, should it be heard of again
        if bundles:
            book, clock = self._addresses.book, self._addresses.clock
            now, at = clock.monotonic(), clock.wall()
            for bundle_id in bundles:
                cause = _CAUSES.get(session.closed_by, Cause.REAPER)
                book.release(bundle_id, cause, now, at, session=str(session.uid))

    def lives(self, sessions: Callable[[int], Session | None], name: str) -> bool:
        """Tell whether the session that the book calls `name` is live."""
        session = sessions(int(name)) if name.isdigit() else None
        return session is not None and session.closed_at is None

    # --- a start of the daemon -------------------------------------------------------------------

    def settle(self, sessions: Callable[[int], Session | None], live: Iterator[Session]) -> int:
        """Make the book and the sessions agree after a start, when both have been read back.

        What a crash has kept from the disk is done again: leases of sessions that are over are released, those of
        live ones are bound. Returns how many bundles were released.
        """
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
        for session in online:
            session.shown = ()
            self.heard(session)
        return released

    # --- one address -----------------------------------------------------------------------------

    def _bind(self, session: Session, bundle_id: int) -> bool:
        clock = self._addresses.clock
        serial = self._addresses.book.bind(bundle_id, str(session.uid), clock.monotonic(), clock.wall())
        if serial is not None and bundle_id not in session.bundles:
            session.bundles = (*session.bundles, bundle_id)
        return serial is not None

    def _look(self, session: Session, unit: Unit) -> None:
        """Compare one address with the book, and put the book right, or tell of the conflict."""
        addresses = self._addresses
        if any(self._has(bundle_id, unit) for bundle_id in session.bundles):
            return
        subscriber, plan = self._subscriber(session)
        vrf = vrf_of(subscriber, plan) if subscriber is not None else ""
        tenant = session.tenant
        party = _party(session)
        owner = self._owner(session, subscriber, plan, vrf, unit)
        now, at = addresses.clock.monotonic(), addresses.clock.wall()
        seen = addresses.steward.observe(tenant, vrf, unit, owner, str(session.uid), now, at, party)
        if seen.sighting is Sighting.KNOWN:
            bundle = addresses.book.find(seen.bundle_id)
            if bundle is not None and not bundle.session and self._bind(session, bundle.id):
                return
            # It is its owner's by a bundle of another session: this one has a share of it now.
            wanted = Wanted(kind_of(unit), unit=unit, vrf=vrf)
            taken = addresses.book.take(owner, Request(tenant=tenant, wanted=(wanted,), party=party), now, at)
            if isinstance(taken, Bundle):
                self._bind(session, taken.id)
        elif seen.sighting is Sighting.ADOPTED:
            session.bundles = (*session.bundles, seen.bundle_id)
            self._on_session("lease-adopted", session, f"the session reports {unit}, which nobody had")
        elif seen.sighting is Sighting.CONFLICT:
            self._on_session("address-conflict", session, _conflict_text(unit, seen))

    def _has(self, bundle_id: int, unit: Unit) -> bool:
        bundle = self._addresses.book.find(bundle_id)
        return bundle is not None and any(tenure.unit == unit for _, _, tenure in bundle.members)

    def _subscriber(self, session: Session) -> tuple[Subscriber | None, Plan | None]:
        tenant = self._index.tenants.get(session.tenant)
        subscriber = None if tenant is None else tenant.subscribers.get(session.subscriber)
        if tenant is None or subscriber is None:
            return None, None
        return subscriber, tenant.plans.get(subscriber.plan or "")

    def _owner(
        self, session: Session, subscriber: Subscriber | None, plan: Plan | None, vrf: str, unit: Unit
    ) -> str:
        """Return by what the book knows the owner of an address that a session reports.

        The permit may be forgotten, and accounting tells less of the line than a login. So where the book has the
        address leased to this subscriber, it is by whatever key that was done.
        """
        place = self._addresses.register.locate(session.tenant, vrf, unit)
        if place is not None:
            shelf, slot = place
            tenure = shelf.tenures.get(shelf.allocator.cell_at(slot))
            if tenure is not None and session.subscriber and tenure.party.subscriber == session.subscriber:
                return tenure.owner
        mine = of_session(session)
        if subscriber is None:
            return f"/{mine.mac or session.username}"
        circuit = "" if mine.circuit is None else mine.circuit.decode("utf-8", "backslashreplace")
        return owner_key(subscriber, plan, access_of(session, plan), mine.mac or "", circuit)


def _party(session: Session) -> Party:
    mine = of_session(session)
    calling = session.find(Attr.CALLING_STATION_ID) or b""
    circuit = b"" if mine.circuit is None else mine.circuit
    return Party(
        session.subscriber,
        session.nas,
        circuit.decode("utf-8", "backslashreplace"),
        calling.decode("utf-8", "backslashreplace"),
    )


def reported_units(shown: tuple[bytes | None, ...]) -> Iterator[Unit]:
    """Yield the addresses and prefixes in reported values; what is malformed names none."""
    for value, of_prefix in zip(shown, (False, False, True, True), strict=True):
        if value is None:
            continue
        if not of_prefix:
            space = Space.IPV4 if len(value) == _V4_OCTETS else Space.IPV6
            number = int.from_bytes(value, "big")
            if len(value) in (_V4_OCTETS, _V6_OCTETS) and number:  # 0.0.0.0: not known yet
                yield Unit(space, number, BITS[space])
        elif 2 <= len(value) <= 2 + _V6_OCTETS and value[1] <= BITS[Space.IPV6]:
            prefix = IPv6Network((value[2:].ljust(_V6_OCTETS, b"\0"), value[1]), strict=False)
            yield Unit(Space.IPV6, int(prefix.network_address), prefix.prefixlen)


def _conflict_text(unit: Unit, seen: Observation) -> str:
    holder = f"is leased to {seen.holder}" if seen.holder else "is not to be used"
    return f"the session reports {unit}, which by pool {seen.pool} {holder}"
