"""The book of leases: bundles are taken at login, bound at Start, renewed by interims, ended by Stop or by time.

A bundle belongs to one login. When an owner logs in again while a session is live, the new bundle shares the slots
of the old one, and a slot is given up only when no bundle has it any more: a second login that never becomes a
session cannot take the address from the first, nor can the late Stop of a dead session.

Nothing here waits, so nothing can come between looking for a slot and taking it. What must be durable before an
answer leaves is in `ipam.ledger`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ipam.address import Unit
from ipam.bundles import Live, Member, Owner, Owners
from ipam.choose import Pick, choose, foresee, give_up, ripen
from ipam.history import Party, clean, clean_party
from ipam.kinds import BOUND, FREE, RESERVED, STATES, TENTATIVE, Cause, Shortage
from ipam.lease import (
    Bundle,
    Conflict,
    Exhausted,
    Lease,
    Origin,
    Request,
    Standing,
    Wanted,
    new_bundle,
    new_lease,
)
from ipam.register import Register
from ipam.shelf import Shelf, Tenure
from ipam.shelf_listing import standing_of
from ipam.wheel import Wheel

__all__ = ("Book", "Live")

_Ask = Callable[[], Party]


class Book:
    """The bundles of one node, over the pools of its register."""

    def __init__(self, register: Register) -> None:
        self.register = register
        self._bundles: dict[int, Live] = {}
        self._owners = Owners()
        self._wheel: Wheel[Live] = Wheel()

    def __len__(self) -> int:
        """How many bundles are live."""
        return len(self._bundles)

    # --- login -----------------------------------------------------------------------------------

    def take(
        self, owner: str, request: Request, now: float, at: float, party: _Ask | None = None
    ) -> Bundle | Exhausted | Conflict:
        """Return a bundle with everything that is wanted, tentatively, or why there is none; then nothing is taken.

        The same owner asking again gets the same: live leases first, then what it had last. Do not answer the
        subscriber before `durable(bundle)`. `party` says who and where instead of the request, and is asked only
        when a lease begins.
        """
        owner = clean(owner)
        picks: list[Pick] = []
        for wanted in request.wanted:
            pick = choose(self.register, request.tenant, owner, wanted, now, at)
            if not isinstance(pick, Pick):
                give_up(picks)
                return pick
            for each in picks:
                if pick.shelf is each.shelf and (pick.cell == each.cell or pick.key == each.key):
                    give_up([*picks, pick])
                    raise ValueError(f"pool {pick.shelf.pool.name} is wanted twice in one bundle")
            picks.append(pick)
        if self.register.ledger.behind and not all(pick.origin is Origin.LIVE for pick in picks):
            give_up(picks)
            return Exhausted(Shortage.STORE_BEHIND, picks[0].kind, picks[0].shelf.pool.name)
        key = (request.tenant, owner)
        live = self._same(key, picks)
        due = now + _longest([pick.shelf.pool.tentative_s for pick in picks])
        if live is None:
            live = self._begin(key, request, picks, at, party)
            self._wheel.put(live, due)
        else:
            live.logins += 1
        live.due = due
        tenures = live.tenures
        leases = [_lease(pick, tenures[number]) for number, pick in enumerate(picks)]
        return new_bundle(Bundle, (live.id, owner, tuple(leases), live.serial))

    def peek(self, owner: str, wanted: Wanted, tenant: str, now: float) -> Unit | None:  # noqa: ARG002 - as `take`
        """Return the unit that `take` would give this owner for sure: live, reserved, what it had last, fixed.

        None: a new one, or none at all. Nothing is changed; for dry runs.
        """
        return foresee(self.register, tenant, clean(owner), wanted)

    def _same(self, key: Owner, picks: list[Pick]) -> Live | None:
        """Return the owner's bundle that is not a session yet and has exactly these slots."""
        live = self._owners.oldest(key)
        while live is not None:
            if not live.session and len(live.tenures) == len(picks):
                for number, pick in enumerate(picks):
                    tenure = live.tenures[number]
                    if tenure.cell != pick.cell or tenure.shelf != pick.shelf.number:
                        break
                else:
                    return live
            live = live.younger
        return None

    def _begin(self, key: Owner, request: Request, picks: list[Pick], at: float, ask: _Ask | None) -> Live:
        register = self.register
        lease_s = request.lease_s or _longest([pick.shelf.pool.lease_s for pick in picks])
        live = Live(register.new_id(), key, lease_s, register.numbered)
        party: Party | None = None
        for pick in picks:
            shelf = pick.shelf
            allocator = shelf.allocator
            old = allocator.states[pick.cell]
            cell = allocator.claim(pick.cell, pick.key)
            tenure = shelf.tenures.get(cell)
            if not TENTATIVE <= old <= BOUND or tenure is None:
                if party is None:
                    party = clean_party(request.party if ask is None else ask())
                tenure = Tenure(register.new_id(), shelf.unit(cell), key[1], party, at)
                tenure.bundle_id = live.id
                shelf.tenures[cell] = tenure
                tenure.serial = register.record(shelf, cell, old, Cause.LOGIN, at, seen=pick.earlier)
                tenure.shelf, tenure.cell = shelf.number, cell
            tenure.claims += 1
            live.tenures += (tenure,)
            if tenure.serial > live.serial:
                live.serial = tenure.serial
        self._enter(live)
        return live

    def _enter(self, live: Live) -> None:
        self._bundles[live.id] = live
        self._owners.enter(live)

    def durable(self, bundle: Bundle) -> bool:
        """Tell whether a bundle may be told to its subscriber: it is on disk and still stands."""
        live = self._bundles.get(bundle.id)
        if live is None:
            return False
        ledger = self.register.ledger
        return all([ledger.durable(tenure.serial) for tenure in live.tenures])  # noqa: C419 - without a generator

    def stands(self, bundle_id: int) -> bool:
        """Tell whether a bundle has not ended."""
        return bundle_id in self._bundles

    # --- session ---------------------------------------------------------------------------------

    def bind(
        self, bundle_id: int, session: str, now: float, at: float, party: Party | None = None
    ) -> int | None:
        """A session uses the bundle; return the serial to wait for, None where there is no such bundle (any more).

        A Start that comes again renews. `party` is better knowledge than that of the login, if there is any.
        """
        live = self._bundles.get(bundle_id)
        if live is None:
            return None
        session = clean(session)
        live.session = session
        self._renew(live, now)
        for tenure in live.tenures:
            shelf, cell = live.shelves[tenure.shelf], tenure.cell
            old = shelf.allocator.states[cell]
            if old == BOUND and tenure.session == session:
                continue
            tenure.session = session
            tenure.bundle_id = live.id
            if party is not None:
                tenure.party = clean_party(party)
            if old == TENTATIVE:
                shelf.allocator.bind(cell)
            cause = Cause.START if old == TENTATIVE else Cause.OTHER_SESSION
            live.serial = self.register.record(shelf, cell, old, cause, at)
        return live.serial

    def renew(self, bundle_id: int, now: float) -> bool:
        """An interim was heard; False where there is no such bundle. Nothing is written: a restart renews all."""
        live = self._bundles.get(bundle_id)
        if live is None:
            return False
        self._renew(live, now)
        return True

    def _renew(self, live: Live, now: float) -> None:
        due = now + live.lease_s
        if due < live.due:  # the wheel would look too late
            self._wheel.put(live, due)
        live.due = due

    def share(self, live: Live) -> Live:
        """Begin a bundle over the slots of one that another session has, to be bound at once.

        The slots are given up only when neither has them.
        """
        other = Live(self.register.new_id(), live.key, live.lease_s, live.shelves)
        other.tenures, other.serial, other.due = live.tenures, live.serial, live.due
        for tenure in other.tenures:
            tenure.claims += 1
        self._enter(other)
        self._wheel.put(other, other.due)
        return other

    def give_back(self, bundle_id: int, now: float, at: float) -> None:
        """A login was not answered: end its bundle, unless another login was given it or a session has it."""
        live = self._bundles.get(bundle_id)
        if live is None or live.session:
            return
        live.logins -= 1
        if live.logins <= 0:
            self._end(live, Cause.REFUSED, now, at)

    def release(
        self, bundle_id: int, cause: Cause, now: float, at: float, session: str | None = None
    ) -> int | None:
        """End a bundle; return the serial to wait for, None where there is no such bundle.

        With `session`, only if the bundle is that session's or none's: a Stop names its own.
        """
        live = self._bundles.get(bundle_id)
        if live is None or (session is not None and live.session not in ("", clean(session))):
            return None
        self._end(live, cause, now, at)
        return live.serial

    def _end(self, live: Live, cause: Cause, now: float, at: float) -> None:
        live.ended = True
        del self._bundles[live.id]
        self._owners.leave(live)
        for tenure in live.tenures:
            shelf, cell = live.shelves[tenure.shelf], tenure.cell
            tenure.claims -= 1
            if shelf.tenures.get(cell) is not tenure:
                continue
            if tenure.claims == 0:
                live.serial = self.end_lease(shelf, cell, cause, now, at)
            elif tenure.bundle_id == live.id:
                self._hand_over(shelf, cell, tenure, at)

    def _hand_over(self, shelf: Shelf, cell: int, tenure: Tenure, at: float) -> None:
        """A slot goes on in another bundle of its owner, which may be of a session that began earlier."""
        heirs = [
            each for each in self._owners.all_of((shelf.pool.tenant, tenure.owner)) if tenure in each.tenures
        ]
        heir = next((each for each in heirs if each.session), heirs[0])
        tenure.bundle_id = heir.id
        if heir.session and heir.session != tenure.session:
            tenure.session = heir.session
            heir.serial = self.register.record(shelf, cell, BOUND, Cause.OTHER_SESSION, at)

    def end_lease(self, shelf: Shelf, cell: int, cause: Cause, now: float, at: float) -> int:
        """End one lease that no bundle has any more; return the serial."""
        old = shelf.allocator.states[cell]
        new = shelf.allocator.end(cell, now)
        serial = self.register.record(shelf, cell, old, cause, at)
        if new == FREE or new >= RESERVED:
            del shelf.tenures[cell]
        return serial

    # --- time ------------------------------------------------------------------------------------

    def expire_due(self, now: float, at: float, most: int, lives: Callable[[str], bool] | None = None) -> int:
        """End what is over and let waiting slots go on, `most` steps in all; return how many there were.

        As many as `most` means that there is more. Does nothing while the store is behind. `lives` says whether a
        session goes on by those who know sessions: then its bundle is renewed instead, though nothing was heard,
        because only they may end a session.
        """
        done = 0
        if self.register.ledger.behind:
            return 0
        for live in self._wheel.due(now, most):
            done += 1
            if live.ended:
                continue
            if live.due > now:
                self._wheel.put(live, live.due)
            elif live.session and lives is not None and lives(live.session):
                live.due = now + live.lease_s
                self._wheel.put(live, live.due)
            else:
                cause = Cause.LEASE_OVER if live.session else Cause.TENTATIVE_OVER
                self._end(live, cause, now, at)
        return done + ripen(self.register, now, at, most - done)

    # --- looking ---------------------------------------------------------------------------------

    def find(self, bundle_id: int) -> Live | None:
        """Return a bundle that has not ended."""
        return self._bundles.get(bundle_id)

    def bundles(self) -> tuple[Live, ...]:
        """Return all bundles that have not ended; for a start and for checks, not for the request path."""
        return tuple(self._bundles.values())

    def bundles_of(self, tenant: str, owner: str) -> tuple[int, ...]:
        """Return the ids of an owner's live bundles, oldest first."""
        return tuple([live.id for live in self._owners.all_of((tenant, clean(owner)))])

    def bundle_of(self, shelf: Shelf, cell: int) -> Live | None:
        """Return the live bundle that a slot is in; of several the one that bound it."""
        tenure = shelf.tenures.get(cell)
        if tenure is None or not tenure.claims:
            return None
        live = self._bundles.get(tenure.bundle_id)
        if live is not None:
            return live
        for each in self._owners.all_of((shelf.pool.tenant, tenure.owner)):
            if tenure in each.tenures:
                return each
        return None

    def standing(self, shelf: Shelf, cell: int, now: float, at: float) -> Standing:
        """Return one slot as a listing shows it."""
        live = self.bundle_of(shelf, cell)
        if live is None:
            return standing_of(shelf, cell, 0, None)
        return standing_of(shelf, cell, live.id, at + live.due - now)

    # --- for loading and for operators -----------------------------------------------------------

    def adopt(self, number: int, key: Owner, members: Iterable[Member], session: str, now: float) -> Live:
        """Take up a bundle that has its slots already; it has its whole time from now on."""
        live = Live(number, key, 0.0, self.register.numbered)
        live.session = session
        live.due = now
        for each in members:
            self._add(live, each, now)
        self._enter(live)
        self._wheel.put(live, live.due)
        return live

    def adopt_member(self, number: int, member: Member, now: float) -> None:
        """Take up one slot of a bundle, of which others may have been taken up already."""
        shelf, _, tenure = member
        live = self._bundles.get(number)
        if live is None:
            self.adopt(number, (shelf.pool.tenant, tenure.owner), (member,), tenure.session, now)
            return
        live.session = live.session or tenure.session
        self._add(live, member, now)

    def _add(self, live: Live, member: Member, now: float) -> None:
        shelf, cell, tenure = member
        tenure.shelf, tenure.cell = shelf.number, cell
        tenure.claims += 1
        live.tenures += (tenure,)
        if shelf.pool.lease_s > live.lease_s:
            live.lease_s = shelf.pool.lease_s
        due = now + (live.lease_s if live.session else shelf.pool.tentative_s)
        if due > live.due:  # the wheel finds out when it comes to it
            live.due = due

    def end_all(self, shelf: Shelf, tenure: Tenure, cause: Cause, now: float, at: float) -> tuple[int, ...]:
        """End every bundle that one tenure of a slot is in; return their ids."""
        owned = self._owners.all_of((shelf.pool.tenant, tenure.owner))
        found = [live for live in owned if tenure in live.tenures]
        for live in found:
            self._end(live, cause, now, at)
        return tuple(live.id for live in found)


def _longest(seconds: list[float]) -> float:
    return seconds[0] if len(seconds) == 1 else max(seconds, default=0.0)


def _lease(pick: Pick, tenure: Tenure) -> Lease:
    shelf = pick.shelf
    state = STATES[shelf.allocator.states[tenure.cell]]
    fields = (tenure.lease_id, shelf.pool.name, pick.kind, tenure.unit, state, pick.origin, pick.fallback)
    return new_lease(Lease, fields)
