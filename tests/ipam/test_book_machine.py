"""Any history of logins, sessions, operators, refused writes and crashes keeps the promises of the address book.

The machine knows what was told to whom: a bundle is told when its batch is on disk. It checks after every step that
no address is told to two owners, or to another owner too early, that every change of state has one event on disk,
and that the counters are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ipam.address import Unit, read_unit, text
from ipam.book import Book
from ipam.history import Chain, broken
from ipam.kinds import SPACE_OF, Cause, Kind, LeaseState, Order, PoolState
from ipam.lease import Bundle, Conflict, Exhausted, Observation, Origin, Sighting, Wanted
from ipam.ledger import ALL
from ipam.model import Pool, Reservation
from ipam.register import Register
from ipam.resize import Resized, drain, exclude, grow, remove, renumber, set_state
from ipam.restore import faults, restore
from ipam.steward import Steward
from tests.ipam.pools import TENANT, Disk, pool, request

OWNERS = st.sampled_from([f"owner{number}" for number in range(5)])
UNITS = st.sampled_from([read_unit(f"10.0.0.{last}") for last in range(8)] + [read_unit("10.9.0.1")])
EXACT = [
    (Wanted(Kind.V4, unit=read_unit("10.9.0.1")),),
    (Wanted(Kind.V4, unit=read_unit("10.0.0.3")),),
    (Wanted(Kind.V4, unit=read_unit("10.0.0.1")),),
]
WANTED = st.sampled_from(
    [
        (Wanted(Kind.V4, ("main",)),),
        (Wanted(Kind.V4, ("main",)), Wanted(Kind.PD, ("delegated",))),
        (Wanted(Kind.V4, ("main",)), Wanted(Kind.V6_NA, ("addresses",)), Wanted(Kind.PD, ("delegated",))),
        (Wanted(Kind.V4, ("loose",)),),
        (Wanted(Kind.PD, ("delegated",)), Wanted(Kind.SVLAN, ("outer",))),
        *EXACT,
    ]
)
MOST = st.sampled_from([1, 2, 5, ALL])  # changes in a batch
LIVE = (LeaseState.TENTATIVE, LeaseState.BOUND)


def definitions() -> list[Pool]:
    return [
        pool("main", Kind.V4, "10.0.0.0-10.0.0.1", fallbacks=("spare",)),
        pool("spare", Kind.V4, "10.0.0.6", order=Order.SHUFFLED, key=b"k", site="north"),
        pool("loose", Kind.V4, "10.1.0.0-10.1.0.1", sticky=False),
        pool("addresses", Kind.V6_NA, "2001:db8::/126", order=Order.SHUFFLED, key=b"k", hold_s=80.0),
        pool("delegated", Kind.PD, "2001:db8:8000::/54", hold_s=0.0),
        pool("outer", Kind.SVLAN, "100-101", quarantine_s=0.0, hold_s=0.0),
    ]


@dataclass
class Told:
    """The last owner who was told a unit, by which lease, and when that was last seen to be its own."""

    owner: str
    lease_id: int
    reuse_s: float
    last: float


class LoginMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()
        self.pools = {each.name: each for each in definitions()}  # what the operator has stored
        self.reservations: dict[Unit, Reservation] = {}
        self.true_now = 0.0  # never begins anew
        self.now = 500.0
        self.at = 1_800_000_000.0
        self.told: dict[tuple[str, Unit], Told] = {}
        self.waiting: list[Bundle] = []
        self.bundles: list[tuple[int, str]] = []

    @initialize()
    def start(self) -> None:
        self._boot(100.0)

    def _boot(self, now: float) -> None:
        self.now = now
        self.register = Register("edge", self.disk.next_boot(), self.disk.chain_end("edge"))
        self.book = Book(self.register)
        self.steward = Steward(self.register, self.book)
        for each in self.pools.values():
            self.register.add_pool(each)
        restore(self.register, self.book, self.disk.rows.values(), self.now)
        for reservation in self.reservations.values():
            self.steward.reserve(reservation, self.at)
        self.waiting = []
        self.bundles = [(live, "") for live in self.book._bundles]

    # --- logins and sessions ---

    @rule(owner=OWNERS, wanted=WANTED, then=st.sampled_from(["wait", "write", "start", "start and stop"]))
    def take(self, owner: str, wanted: tuple[Wanted, ...], then: str) -> None:
        ahead = [self.book.peek(owner, each, TENANT, self.now) for each in wanted]
        got = self.book.take(owner, request(*wanted), self.now, self.at)
        if isinstance(got, Bundle):
            for foreseen, lease in zip(ahead, got.leases, strict=True):
                new = lease.origin in (Origin.FRESH, Origin.REUSED)
                assert foreseen == (None if new else lease.unit), "another than a look ahead said"
            assert [lease.kind for lease in got.leases] == [each.kind for each in wanted]
            again = self.book.take(owner, request(*wanted), self.now, self.at)
            assert isinstance(again, Bundle)
            assert [each.unit for each in again.leases] == [each.unit for each in got.leases]
            self.waiting += [got, again]
            self.bundles += [(got.id, owner)]
            if then != "wait":
                self.write()
            if then in ("start", "start and stop"):
                self.book.bind(got.id, "s0", self.now, self.at)
            if then == "start and stop":
                self.write()
                self.book.release(got.id, Cause.STOP, self.now, self.at, "s0")
        else:
            assert isinstance(got, Exhausted | Conflict)
            if isinstance(got, Exhausted) and got.next_at is not None:
                assert got.next_at >= self.at

    @precondition(lambda self: self.bundles)
    @rule(data=st.data(), session=st.sampled_from(["s1", "s2", "s\x003"]))
    def bind(self, data: st.DataObject, session: str) -> None:
        self.book.bind(self._bundle(data), session, self.now, self.at)

    @precondition(lambda self: self.bundles)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        number = self._bundle(data)
        assert self.book.renew(number, self.now) == self.book.stands(number)

    @precondition(lambda self: self.bundles)
    @rule(data=st.data(), session=st.sampled_from([None, "s1", "s2"]))
    def release(self, data: st.DataObject, session: str | None) -> None:
        self.book.release(self._bundle(data), Cause.STOP, self.now, self.at, session)

    def _bundle(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(self.bundles))[0]

    @rule(
        seconds=st.sampled_from([1.0, 11.0, 21.0, 51.0, 101.0, 201.0]),
        most=st.sampled_from([1, 3, 100]),
        alive=st.sampled_from(["", "s0", "s1"]),
    )
    def advance(self, seconds: float, most: int, alive: str = "") -> None:
        """Time goes on; the session `alive` lives by those who know sessions, though nothing is heard of it."""
        self._see()
        live = [each.id for each in self.book._bundles.values() if alive and each.session == alive]
        self.true_now += seconds
        self.now += seconds
        self.at += seconds
        assert self.book.expire_due(self.now, self.at, most, alive.__eq__) <= most
        assert all(self.book.stands(each) for each in live)

    @rule(
        owners=st.permutations([f"owner{number}" for number in range(5)]),
        name=st.sampled_from(["main", "main", "loose"]),
        ages=st.lists(st.sampled_from([1.0, 21.0, 31.0, 101.0]), max_size=3),
        then=st.sampled_from(["write", "start and stop", "start and stop", "crash"]),
    )
    def everybody_comes(self, owners: list[str], name: str, ages: list[float], then: str) -> None:
        for seconds in ages:
            self.advance(seconds, 100)
        for owner in owners:
            self.take(owner, (Wanted(Kind.V4, (name,)),), "write" if then == "crash" else then)
        if then == "crash":
            self.crash("idle", 0.0)

    @rule(seconds=st.sampled_from([-5000.0, -1.0, 90_000.0]))
    def step_the_wall_clock(self, seconds: float) -> None:
        self.at += seconds

    # --- the disk ---

    @rule(most=MOST)
    def write(self, most: int = ALL) -> None:
        batch = self.register.batch(most)
        if batch is not None:
            self.disk.write(batch)
            self.register.ledger.confirm()
        self._tell()

    @rule(most=MOST)
    def refuse(self, most: int) -> None:
        batch = self.register.batch(most)
        if batch is not None:
            self.register.ledger.refuse()
        self._tell()

    @rule(stored=st.booleans(), most=MOST)
    def lose_the_answer_of_the_disk(self, stored: bool, most: int) -> None:
        batch = self.register.batch(most)
        if batch is not None and stored:
            self.disk.write(batch)
        if batch is not None:
            assert self.register.ledger.settle(self.disk.chain_end("edge").seq) is stored
        self._tell()

    @rule(
        when=st.sampled_from(["before the commit", "after the commit", "idle"]),
        now=st.sampled_from([0.0, 9e6]),
        most=MOST,
    )
    def crash(self, when: str, now: float, most: int = ALL) -> None:
        self._see()
        if when != "idle":
            batch = self.register.batch(most)
            if batch is not None and when == "after the commit":
                self.disk.write(batch)
        self._boot(now)

    # --- what must hold ---

    def _tell(self) -> None:
        """Answer the logins whose bundles are on disk."""
        for bundle in [each for each in self.waiting if self.book.durable(each)]:
            self.waiting.remove(bundle)
            for lease in bundle.leases:
                self._tell_one(bundle.owner, lease.pool, lease.unit, lease.lease_id)

    def _tell_one(self, owner: str, name: str, unit: Unit, lease_id: int) -> None:
        shelf = self.register.shelves[TENANT, name]
        known = self.told.get((name, unit))
        if known is not None and known.owner != owner and not self._was_forced(lease_id):
            assert self.true_now - known.last >= known.reuse_s, "another owner got it too early"
        self.told[name, unit] = Told(owner, lease_id, max(shelf.pool.quarantine_s, 10.0), self.true_now)
        row = self.disk.rows[TENANT, name, shelf.slot_of(unit)]
        assert row.state in LIVE
        assert row.owner == owner

    def _was_forced(self, lease_id: int) -> bool:
        """Tell whether the history says from whom the platform's word took what it gave by this lease."""
        events = [each.change for each in self.disk.events["edge"] if each.change.lease_id == lease_id]
        exact = {str(wanted.unit) for each in EXACT for wanted in each}
        return events[0].cause == Cause.LOGIN and events[0].seen != "" and events[0].address in exact

    def _see(self) -> None:
        """Note which told leases are live now."""
        for (name, unit), told in self.told.items():
            if (name, unit) in self._live_now(told.lease_id):
                told.last = self.true_now

    def _live_now(self, lease_id: int) -> list[tuple[str, Unit]]:
        return [
            (shelf.pool.name, shelf.unit(cell))
            for shelf in self.register.shelves.values()
            for cell, tenure in shelf.tenures.items()
            if tenure.lease_id == lease_id and tenure.claims
        ]

    def _live_told(self) -> list[tuple[Unit, Told]]:
        return [(unit, told) for (name, unit), told in self.told.items() if self._live_now(told.lease_id)]

    @invariant()
    def the_book_agrees_with_itself(self) -> None:
        if hasattr(self, "register"):
            self._see()
            assert faults(self.register) == ()

    @invariant()
    def no_address_has_two_owners(self) -> None:
        if not hasattr(self, "register"):
            return
        live: dict[tuple[Any, str], str] = {}
        for shelf in self.register.shelves.values():
            for cell, tenure in shelf.tenures.items():
                if tenure.claims:
                    unit = shelf.unit(cell)
                    where = (unit.space, text(unit.space, unit.value))
                    assert where not in live
                    live[where] = tenure.owner

    @invariant()
    def each_change_has_one_event(self) -> None:
        """The events of each slot follow each other, and the stored slot is what the last one says."""
        events = self.disk.events.get("edge", [])
        assert broken(events, Chain("edge")) is None
        state: dict[tuple[str, int], str] = {}
        for _, _, change, _, _ in events:
            where = (change.pool, change.slot)
            free = (LeaseState.FREE, LeaseState.DISABLED) if change.pool == "loose" else (LeaseState.FREE,)
            assert change.old in ((state[where],) if where in state else free)
            state[where] = change.new
        for (_, name, slot), row in self.disk.rows.items():
            assert row.state == state[name, slot]

    @invariant()
    def the_times_of_two_leases_of_an_address_do_not_overlap(self) -> None:
        """Over all pools that the address was ever in, by the order of the events."""
        using: dict[tuple[str, str, int], tuple[str, int]] = {}
        for event in self.disk.events.get("edge", []):
            change = event.change
            where = (change.vrf, change.address, change.length)
            if change.old in LIVE or (change.new in LIVE and where in using):
                assert using.pop(where) == (change.pool, change.slot)
            if change.new in LIVE:
                using[where] = (change.pool, change.slot)

    @invariant()
    def counters_add_up(self) -> None:
        if not hasattr(self, "register"):
            return
        for kind in SPACE_OF:
            shelves = [each for each in self.register.shelves.values() if each.pool.kind is kind]
            all_of = self.register.utilisation_of("tenant", TENANT, "", kind)
            if all_of is not None:
                assert all_of.size == sum(each.pool.slots for each in shelves)
                assert all_of.bound == sum(each.allocator.counts[2] for each in shelves)


class OperatorMachine(LoginMachine):
    """As above, while operators change pools and single slots, and accounting reports what it likes."""

    # --- operators and reports ---

    @rule(unit=UNITS, owner=OWNERS)
    def observe(self, unit: Unit, owner: str) -> None:
        seen = self.steward.observe(TENANT, "", unit, owner, "s9", self.now, self.at)
        assert isinstance(seen, Observation)
        if seen.sighting is Sighting.ADOPTED:
            assert self.book.stands(seen.bundle_id)
            self.bundles.append((seen.bundle_id, owner))
        if seen.sighting is Sighting.KNOWN:
            assert seen.holder == owner

    @rule(unit=UNITS)
    def decline(self, unit: Unit) -> None:
        self.steward.decline(TENANT, "", unit, self.now, self.at)

    @rule(unit=UNITS)
    def disable(self, unit: Unit) -> None:
        self.steward.disable(TENANT, "", unit, self.at)

    @rule(unit=UNITS)
    def enable(self, unit: Unit) -> None:
        self.steward.enable(TENANT, "", unit, self.now, self.at)

    @rule(unit=UNITS, owner=OWNERS)
    def reserve(self, unit: Unit, owner: str) -> None:
        reservation = Reservation(tenant=TENANT, vrf="", unit=unit, owner=owner)
        if not isinstance(self.steward.reserve(reservation, self.at), Conflict):
            self.reservations[unit] = reservation

    @precondition(lambda self: self.reservations)
    @rule(data=st.data())
    def unreserve(self, data: st.DataObject) -> None:
        unit = data.draw(st.sampled_from(sorted(self.reservations)))
        reservation = self.reservations.pop(unit)
        assert self.steward.unreserve(reservation, self.now, self.at) is not None

    # --- pools that change ---

    @rule()
    def grow(self) -> None:
        given = f"10.0.{len(self.pools['main'].ranges)}.64-10.0.{len(self.pools['main'].ranges)}.65"
        grown = grow(self.register, TENANT, "main", given)
        if isinstance(grown, Pool):
            self.pools["main"] = grown

    @rule(draining=st.booleans(), data=st.data())
    def drain(self, draining: bool, data: st.DataObject) -> None:
        part = data.draw(st.sampled_from(self.pools["main"].ranges))
        drained = drain(self.register, TENANT, "main", part.first_slot, draining=draining)
        assert drained is not None
        self.pools["main"] = drained

    @precondition(lambda self: len(self.pools["main"].ranges) > 1)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        part = data.draw(st.sampled_from(self.pools["main"].ranges))
        drain(self.register, TENANT, "main", part.first_slot)
        part = next(each for each in self.register.shelves[TENANT, "main"].pool.ranges if each.draining)
        self.pools["main"] = self.register.shelves[TENANT, "main"].pool
        last = part.first_slot + part.slots
        inside = [
            unit
            for unit, told in self._live_told()
            if unit.value in range(part.first, part.first + part.slots)
        ]
        if remove(self.register, TENANT, "main", part.first_slot) is Resized.GONE:
            assert not inside
            self.pools["main"] = self.register.shelves[TENANT, "main"].pool
            for slot in range(part.first_slot, last):
                self.disk.rows.pop((TENANT, "main", slot), None)
            for unit in [*self.reservations]:
                if unit.value in range(part.first, part.first + part.slots):
                    del self.reservations[unit]
                    self.told.pop((self.register.fixed_name(""), unit), None)

    @rule(state=st.sampled_from(list(PoolState)))
    def set_state(self, state: PoolState) -> None:
        self.pools["spare"] = set_state(self.register, TENANT, "spare", state)

    @rule()
    def renumber(self) -> None:
        renumber(self.register, self.book, TENANT, "main", self.now, self.at, most=2)

    @precondition(lambda self: not self.pools["loose"].exclusions)
    @rule()
    def exclude(self) -> None:
        last = read_unit("10.1.0.2").value
        self.pools["loose"] = exclude(self.register, TENANT, "loose", last, last, self.at)


class FullLedger(LoginMachine):
    """Logins with a ledger that is soon full: nothing new may begin while too much waits."""

    def _boot(self, now: float) -> None:
        super()._boot(now)
        self.register.ledger.most = 6

    @invariant()
    def what_waits_is_bounded(self) -> None:
        if hasattr(self, "register"):
            assert self.register.ledger.waiting < 200


_SETTINGS = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLogins = LoginMachine.TestCase
TestLogins.settings = _SETTINGS
TestOperators = OperatorMachine.TestCase
TestOperators.settings = _SETTINGS
TestFullLedger = FullLedger.TestCase
TestFullLedger.settings = settings(_SETTINGS, max_examples=20)
