"""Logins, sessions and operators against the book, case by case."""

from __future__ import annotations

import pytest

from ipam.address import read_unit
from ipam.blocks import Block, Given, gain_block, give_block
from ipam.book import Book
from ipam.history import HistoryEvent, Party
from ipam.kinds import Cause, Kind, LeaseState, PoolState, Shortage
from ipam.lease import Bundle, Conflict, Exhausted, Observation, Origin, Request, Sighting, Wanted
from ipam.model import Pool, Reservation, lease_time
from ipam.register import Register
from ipam.resize import displaced, drain, grow, renumber
from ipam.restore import faults, restore
from ipam.steward import Steward
from tests.ipam.pools import TENANT, Disk, fixed, pool, request, units, v4

AT = 1_800_000_000.0
PD = Wanted(Kind.PD, ("delegated",))


class House:
    """A register with pools, its book and steward, and a disk; time goes on by `wait`."""

    def __init__(self, *pools: Pool, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self.register = Register("edge", self.disk.next_boot(), self.disk.chain_end("edge"))
        for each in pools:
            self.register.add_pool(each)
        self.book = Book(self.register)
        self.steward = Steward(self.register, self.book)
        self.now = 0.0
        restore(self.register, self.book, self.disk.rows.values(), self.now)

    @property
    def at(self) -> float:
        return AT + self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.book.expire_due(self.now, self.at, 1000)

    def take(self, owner: str, *wanted: Wanted) -> Bundle:
        got = self.book.take(owner, request(*wanted), self.now, self.at)
        assert isinstance(got, Bundle), got
        return got

    def refused(self, owner: str, *wanted: Wanted) -> Exhausted | Conflict:
        got = self.book.take(owner, request(*wanted), self.now, self.at)
        assert isinstance(got, Exhausted | Conflict), got
        return got

    def session(self, owner: str, *wanted: Wanted, name: str = "s1") -> Bundle:
        got = self.take(owner, *wanted)
        self.book.bind(got.id, name, self.now, self.at)
        return got

    def stop(self, bundle: Bundle, name: str = "s1") -> None:
        assert self.book.release(bundle.id, Cause.STOP, self.now, self.at, name) is not None

    def write(self) -> None:
        batch = self.register.batch()
        if batch is not None:
            self.disk.write(batch)
            self.register.ledger.confirm()

    def state(self, unit: str) -> LeaseState:
        found = self.register.locate(TENANT, "", read_unit(unit))
        assert found is not None
        shelf, slot = found
        cell = shelf.allocator.cell_at(slot)
        return LeaseState.FREE if cell < 0 else self.book.standing(shelf, cell, self.now, self.at).state

    def faults(self) -> tuple[str, ...]:
        return faults(self.register)

    def causes(self, unit: str) -> list[str]:
        self.write()
        return [event.change.cause for event in self.disk.events["edge"] if event.change.address == unit]


def small(**settings: object) -> Pool:
    return pool("home", Kind.V4, "10.0.0.0-10.0.0.1", **settings)


def test_a_bundle_is_all_or_nothing() -> None:
    house = House(small(), pool("delegated", Kind.PD, "2001:db8::/56"))
    assert units(house.take("ann", v4("home"), PD)) == ["10.0.0.0", "2001:db8::/56"]
    refused = house.refused("bob", v4("home"), PD)
    assert refused == Exhausted(Shortage.EXHAUSTED, Kind.PD, "delegated", None)
    usage = house.register.utilisation(TENANT, "home")
    assert usage is not None
    assert (usage.tentative, usage.free) == (1, 1)


def test_the_same_owner_gets_the_same_address_while_it_is_held() -> None:
    house = House(small())
    first = house.session("ann", v4("home"))
    house.stop(first)
    assert house.state("10.0.0.0") is LeaseState.HELD
    again = house.take("ann", v4("home"))
    assert units(again) == units(first)
    assert again.leases[0].origin is Origin.STICKY
    assert again.leases[0].lease_id != first.leases[0].lease_id


def test_nobody_else_gets_it_before_its_time_and_then_who_was_away_longest_loses_it() -> None:
    house = House(small())
    for owner in ("ann", "bob"):
        house.stop(house.session(owner, v4("home")))
        house.wait(1.0)
    refused = house.refused("cy", v4("home"))
    assert isinstance(refused, Exhausted)
    assert refused.reason is Shortage.WAITING
    assert refused.next_at == AT + 30.0  # ann's hold ends then
    house.wait(47.9)
    assert isinstance(house.refused("cy", v4("home")), Exhausted)
    house.wait(0.1 + 1.0)
    assert units(house.take("cy", v4("home"))) == ["10.0.0.0"]  # 50 s after ann's Stop
    assert units(house.take("bob", v4("home"))) == ["10.0.0.1"]


def test_a_login_that_never_begins_a_session_gives_its_lease_back_by_itself() -> None:
    house = House(small())
    taken = house.take("ann", v4("home"))
    house.wait(19.0)
    assert house.book.stands(taken.id)
    house.wait(2.0)
    assert not house.book.stands(taken.id)
    assert house.causes("10.0.0.0") == ["login", "tentative-over"]


def test_a_lease_ends_when_nothing_is_heard_and_interims_keep_it() -> None:
    house = House(small())
    taken = house.session("ann", v4("home"))
    house.wait(90.0)
    assert house.book.renew(taken.id, house.now)
    house.wait(90.0)
    assert house.book.stands(taken.id)
    house.wait(12.0)
    assert house.causes("10.0.0.0")[-1] == "lease-over"
    assert not house.book.renew(taken.id, house.now)


def test_a_lease_time_that_is_shorter_than_the_login_waited_for_its_session_is_kept() -> None:
    house = House(small(tentative_s=200.0, lease_s=20.0))
    taken = house.session("ann", v4("home"))
    house.wait(21.0)
    assert not house.book.stands(taken.id)


def test_a_second_login_does_not_take_the_address_from_a_live_session() -> None:
    house = House(small())
    first = house.session("ann", v4("home"))
    second = house.take("ann", v4("home"))
    assert units(second) == units(first)
    house.wait(30.0)  # no session came of the second login
    assert not house.book.stands(second.id)
    assert house.state("10.0.0.0") is LeaseState.BOUND
    assert house.book.stands(first.id)


def test_a_late_stop_of_a_dead_session_does_not_end_the_new_one() -> None:
    house = House(small())
    first = house.session("ann", v4("home"), name="old")
    second = house.session("ann", v4("home"), name="new")
    house.stop(first, "old")
    assert house.state("10.0.0.0") is LeaseState.BOUND
    assert house.book.release(second.id, Cause.STOP, house.now, house.at, "old") is None
    house.stop(second, "new")
    assert house.state("10.0.0.0") is LeaseState.HELD
    assert house.causes("10.0.0.0") == ["login", "start", "other-session", "stop"]


def test_the_earlier_session_is_named_again_when_the_later_one_ends() -> None:
    house = House(small())
    house.session("ann", v4("home"), name="old")
    second = house.session("ann", v4("home"), name="new")
    house.stop(second, "new")
    house.write()
    assert [event.change.session for event in house.disk.events["edge"]] == ["", "old", "new", "old"]


def test_nothing_is_durable_before_its_batch_is_confirmed_and_a_refused_batch_is_written_later() -> None:
    house = House(small())
    taken = house.take("ann", v4("home"))
    assert not house.book.durable(taken)
    assert house.register.batch() is not None
    house.register.ledger.refuse()
    assert not house.book.durable(taken)
    assert units(house.take("bob", v4("home"))) == ["10.0.0.1"]  # ann's is not handed out meanwhile
    house.write()
    assert house.book.durable(taken)
    assert [row.owner for row in house.disk.rows.values()] == ["ann", "bob"]


def test_no_lease_begins_while_the_store_is_behind_but_live_ones_are_told() -> None:
    house = House(small())
    live = house.session("ann", v4("home"))
    house.register.ledger.most = 2
    assert house.refused("bob", v4("home")) == Exhausted(Shortage.STORE_BEHIND, Kind.V4, "home")
    assert units(house.take("ann", v4("home"))) == units(live)
    assert house.book.expire_due(1e9, house.at, 100) == 0


def test_what_a_login_could_not_use_is_free_for_the_next() -> None:
    at = House(
        pool("home", Kind.V4, "10.0.0.1"),
        pool("delegated", Kind.PD, "2001:db8::/56", state=PoolState.DISABLED),
    )
    at.refused("ann", v4("home"), PD)
    with pytest.raises(ValueError, match="twice"):
        at.book.take("ann", request(v4("home"), v4("home")), at.now, at.at)
    assert units(at.take("bob", v4("home"))) == ["10.0.0.1"]
    assert at.faults() == ()


def test_bundles_of_one_owner_are_known_oldest_first_whichever_of_them_ends() -> None:
    at = House(pool("home", Kind.V4, "10.0.0.0/24"))
    first, second, third = (at.session("ann", v4("home"), name=f"s{number}") for number in range(3))
    assert at.book.bundles_of(TENANT, "ann") == (first.id, second.id, third.id)
    at.stop(second, "s1")
    assert at.book.bundles_of(TENANT, "ann") == (first.id, third.id)
    at.stop(first, "s0")
    assert at.book.bundles_of(TENANT, "ann") == (third.id,)
    at.stop(third, "s2")
    assert at.book.bundles_of(TENANT, "ann") == ()


def test_a_restart_knows_sessions_and_their_bundles_and_begins_all_waits_anew() -> None:
    pools = (small(), pool("delegated", Kind.PD, "2001:db8::/48"))
    house = House(*pools)
    kept = house.session("ann", v4("home"), PD)
    house.stop(house.session("bob", v4("home"), PD))
    house.wait(29.0)
    house.write()
    again = House(*pools, disk=house.disk)
    assert again.book.stands(kept.id)
    assert again.state("10.0.0.1") is LeaseState.HELD
    again.wait(49.0)
    assert isinstance(again.refused("cy", v4("home")), Exhausted)
    assert units(again.take("bob", v4("home"), PD)) == ["10.0.0.1", "2001:db8:0:100::/56"]
    assert again.book.release(kept.id, Cause.STOP, again.now, again.at, "s1") is not None
    assert again.state("2001:db8::/56") is LeaseState.HELD


def test_a_restart_returns_the_live_lease_of_an_owner_and_not_an_older_one() -> None:
    house = House(small(hold_s=0.0, quarantine_s=0.0, min_reuse_s=0.0))
    house.stop(house.session("ann", v4("home")))
    reservation = Reservation(tenant=TENANT, vrf="", unit=read_unit("10.0.0.0"), owner="bob")
    house.steward.reserve(reservation, house.at)
    assert units(house.session("ann", v4("home"))) == ["10.0.0.1"]
    house.steward.unreserve(reservation, house.now, house.at)
    house.write()
    again = House(small(), disk=house.disk)
    assert units(again.take("ann", v4("home"))) == ["10.0.0.1"]


def test_after_a_restart_who_was_away_longest_still_loses_his_address_first() -> None:
    soon: dict[str, object] = {"hold_s": 0.0, "quarantine_s": 0.0, "min_reuse_s": 0.0}
    house = House(pool("home", Kind.V4, "10.0.0.0/30", **soon))
    taken = [house.session(owner, v4("home")) for owner in ("ann", "bob", "cy", "dan")]
    for which in (3, 0, 2):
        house.wait(1.0)
        house.stop(taken[which])
    house.write()
    again = House(pool("home", Kind.V4, "10.0.0.0/30", **soon), disk=house.disk)
    assert units(again.take("ann", v4("home"))) == ["10.0.0.0"]
    assert [units(again.take(owner, v4("home"))) for owner in ("eve", "fay")] == [["10.0.0.3"], ["10.0.0.2"]]
    assert again.faults() == ()


def test_an_owner_with_two_live_slots_of_a_pool_has_both_after_a_restart() -> None:
    house = House(small())
    house.session("ann", v4("home"))
    house.session("bob", v4("home"), name="s2")
    house.write()
    rows = house.disk.rows
    rows[TENANT, "home", 1] = rows[TENANT, "home", 1]._replace(owner="ann")  # by another node, of its block
    again = House(small(), disk=house.disk)
    assert again.faults() == ()
    assert {again.state("10.0.0.0"), again.state("10.0.0.1")} == {LeaseState.BOUND}
    assert isinstance(again.refused("cy", v4("home")), Exhausted)


def test_only_a_named_fallback_is_used_and_its_user_is_told_so() -> None:
    house = House(
        small(fallbacks=("spare",)), pool("spare", Kind.V4, "10.5.0.0"), pool("other", Kind.V4, "10.6.0.0")
    )
    house.take("ann", v4("home"))
    house.take("bob", v4("home"))
    third = house.take("cy", v4("home"))
    assert (units(third), third.leases[0].fallback) == (["10.5.0.0"], True)
    assert isinstance(house.refused("dan", v4("home")), Exhausted)


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("nowhere", Kind.V4, Shortage.UNKNOWN_POOL),
        ("home", Kind.PD, Shortage.WRONG_KIND),
        ("closed", Kind.V4, Shortage.DISABLED),
        ("leaving", Kind.V4, Shortage.DRAINING),
    ],
)
def test_a_shortage_says_why(name: str, kind: Kind, reason: Shortage) -> None:
    closed = pool("closed", Kind.V4, "10.1.0.0", state=PoolState.DISABLED)
    leaving = pool("leaving", Kind.V4, "10.2.0.0", state=PoolState.DRAINING)
    house = House(small(), closed, leaving)
    refused = house.refused("ann", Wanted(kind, (name,)))
    assert isinstance(refused, Exhausted)
    assert (refused.reason, refused.pool) == (reason, name)


def test_a_fixed_address_inside_a_pool_is_given_to_its_owner_alone() -> None:
    house = House(small())
    taken = house.session("ann", fixed("10.0.0.0"))
    assert taken.leases[0].origin is Origin.FIXED
    assert house.refused("bob", fixed("10.0.0.0")) == Conflict(
        read_unit("10.0.0.0"), "home", LeaseState.BOUND, "ann"
    )
    assert units(house.take("bob", v4("home"))) == ["10.0.0.1"]
    house.stop(taken)
    assert units(house.take("ann", fixed("10.0.0.0"))) == ["10.0.0.0"]


def test_fixed_units_outside_of_all_pools_have_history_and_do_not_overlap() -> None:
    house = House(small())
    taken = house.session("ann", fixed("203.0.113.8/29"), fixed("203.0.113.1"))
    conflict = house.refused("bob", fixed("203.0.113.9"))
    assert isinstance(conflict, Conflict)
    assert units(house.take("ann", fixed("203.0.113.8/29"), fixed("203.0.113.1"))) == units(taken)
    assert isinstance(house.refused("bob", fixed("10.0.0.0/31")), Conflict)  # not a slot of the pool it is in
    assert house.causes("203.0.113.8") == ["login", "start"]
    again = House(small(), disk=house.disk)
    assert again.state("203.0.113.8/29") is LeaseState.BOUND
    assert isinstance(again.refused("bob", fixed("203.0.113.9")), Conflict)


def test_a_reservation_waits_for_the_lease_of_another_and_then_is_its_owners_alone() -> None:
    house = House(small())
    taken = house.session("ann", v4("home"))
    reservation = Reservation(tenant=TENANT, vrf="", unit=read_unit("10.0.0.0"), owner="bob")
    assert house.steward.reserve(reservation, house.at) == 0
    house.stop(taken)
    assert units(house.take("ann", v4("home"))) == ["10.0.0.1"]  # not hers again, though she had it last
    assert isinstance(house.refused("bob", v4("home")), Conflict)
    house.wait(51.0)
    assert house.state("10.0.0.0") is LeaseState.RESERVED
    got = house.session("bob", v4("home"))
    assert (units(got), got.leases[0].origin) == (["10.0.0.0"], Origin.RESERVED)
    house.stop(got)
    assert house.state("10.0.0.0") is LeaseState.RESERVED
    other = Reservation(tenant=TENANT, vrf="", unit=read_unit("10.0.0.0"), owner="cy")
    assert isinstance(house.steward.reserve(other, house.at), Conflict)


def test_a_reservation_inside_an_exclusion_is_given_and_never_becomes_free() -> None:
    first = read_unit("10.0.0.0").value
    house = House(small(exclusions=((first, first),)))
    house.steward.reserve(
        Reservation(tenant=TENANT, vrf="", unit=read_unit("10.0.0.0"), owner="ann"), house.at
    )
    assert units(house.take("bob", v4("home"))) == ["10.0.0.1"]
    assert units(house.take("ann", v4("home"))) == ["10.0.0.0"]
    assert isinstance(house.refused("cy", v4("home")), Exhausted)


def test_a_declined_address_ends_its_bundle_and_is_nobodys_for_the_decline_time() -> None:
    house = House(small(), pool("delegated", Kind.PD, "2001:db8::/48"))
    taken = house.session("ann", v4("home"), PD)
    assert house.steward.decline(TENANT, "", read_unit("10.0.0.0"), house.now, house.at) == (taken.id,)
    assert house.state("2001:db8::/56") is not LeaseState.BOUND
    assert units(house.take("ann", v4("home"))) == ["10.0.0.1"]
    house.wait(199.0)
    assert house.state("10.0.0.0") is LeaseState.DECLINED
    house.wait(1.0)
    assert house.state("10.0.0.0") is LeaseState.FREE


def test_a_stranger_at_a_leased_address_is_recorded_and_the_address_rests_after_the_lease() -> None:
    house = House(small())
    taken = house.session("ann", v4("home"))
    unit = read_unit("10.0.0.0")
    for _ in range(2):
        seen = house.steward.observe(TENANT, "", unit, "mallory", "s7", house.now, house.at)
        assert (seen.sighting, seen.holder, seen.bundle_id) == (Sighting.CONFLICT, "ann", taken.id)
    assert house.book.stands(taken.id)
    house.stop(taken)
    assert house.state("10.0.0.0") is LeaseState.QUARANTINED
    assert units(house.take("ann", v4("home"))) == ["10.0.0.1"]
    assert house.causes("10.0.0.0") == ["login", "start", "conflict", "stop"]
    assert [event.change.seen for event in house.disk.events["edge"]][2] == "mallory"
    again = House(small(), disk=house.disk)
    again.wait(199.0)
    assert again.state("10.0.0.0") is LeaseState.QUARANTINED


def test_a_session_at_a_free_address_is_adopted_and_at_an_unknown_one_is_foreign() -> None:
    house = House(small())
    seen = house.steward.observe(TENANT, "", read_unit("10.0.0.1"), "ann", "s4", house.now, house.at)
    assert isinstance(seen, Observation)
    assert seen.sighting is Sighting.ADOPTED
    assert house.book.stands(seen.bundle_id)
    assert units(house.take("ann", v4("home"))) == ["10.0.0.1"]
    assert isinstance(house.refused("bob", fixed("10.0.0.1")), Conflict)
    foreign = house.steward.observe(TENANT, "", read_unit("192.0.2.1"), "ann", "s4", house.now, house.at)
    assert foreign.sighting is Sighting.FOREIGN


def test_a_pool_is_renumbered_while_sessions_live() -> None:
    house = House(small())
    old = house.session("ann", v4("home"))
    grown = grow(house.register, TENANT, "home", "10.7.0.0/30")
    assert isinstance(grown, Pool)
    drain(house.register, TENANT, "home", 0)
    assert units(house.take("bob", v4("home"))) == ["10.7.0.0"]
    assert units(house.take("ann", v4("home"))) == ["10.0.0.0"]  # hers goes on while she uses it
    assert [str(unit) for unit in displaced(house.register, TENANT, "home", 10)] == ["10.0.0.0"]
    assert old.id in renumber(house.register, house.book, TENANT, "home", house.now, house.at, 10)
    assert units(house.take("ann", v4("home"))) == ["10.7.0.1"]


def test_growing_into_another_pool_is_refused_with_its_name() -> None:
    house = House(small(), pool("office", Kind.V4, "10.8.0.0/24"))
    problems = grow(house.register, TENANT, "home", "10.8.0.128/25")
    assert isinstance(problems, tuple)
    assert problems[0].names == ("pool office", "pool home")


def test_what_the_network_says_is_stored_as_something_that_can_be_printed() -> None:
    house = House(small())
    party = Party("sub-1", "nas-1", "circuit\x00\x1b[31m", "aa:bb:cc:dd:ee:ff")
    got = house.book.take("ann\x1f", request(v4("home"), party=party), house.now, house.at)
    assert isinstance(got, Bundle)
    house.book.bind(got.id, "s\x00", house.now, house.at)
    house.write()
    row = next(iter(house.disk.rows.values()))
    assert (row.owner, row.session, row.circuit) == ("ann\\u{1f}", "s\\u{0}", "circuit\\u{0}\\u{1b}[31m")
    assert house.book.bundles_of(TENANT, "ann\x1f") == (got.id,)


def test_a_tenant_cannot_lease_from_anothers_pool() -> None:
    house = House(small())
    wanted = Request(tenant="rival", wanted=(v4("home"),))
    got = house.book.take("ann", wanted, house.now, house.at)
    assert isinstance(got, Exhausted)
    assert got.reason is Shortage.OTHER_TENANT


def test_a_fixed_address_is_given_though_it_is_kept_for_the_owner_before_and_the_event_names_him() -> None:
    for seconds, state in ((0.0, LeaseState.HELD), (35.0, LeaseState.QUARANTINED)):
        house = House(small())
        house.stop(house.session("bob", v4("home")))
        house.wait(seconds)
        assert house.state("10.0.0.0") is state
        taken = house.take("ann", fixed("10.0.0.0"))
        assert (units(taken), taken.leases[0].origin) == (["10.0.0.0"], Origin.FIXED)
        house.write()
        last = house.disk.events["edge"][-1].change
        assert (last.cause, last.owner, last.seen) == (Cause.LOGIN, "ann", "bob")
        assert units(house.take("bob", v4("home"))) == ["10.0.0.1"]
        assert house.faults() == ()


def test_a_fixed_address_is_refused_where_more_than_an_ended_lease_is_in_the_way() -> None:
    house = House(small(), pool("away", Kind.V4, "10.2.0.0-10.2.0.3"))
    unit = [read_unit(f"10.2.0.{last}") for last in range(4)]
    house.session("bob", v4("away"))  # live
    house.steward.reserve(Reservation(tenant=TENANT, vrf="", unit=unit[1], owner="bob"), house.at)
    house.stop(house.session("cy", v4("away")))
    house.steward.conflict(TENANT, "", unit[2], "mallory", house.now, house.at)
    leaving = house.session("dan", v4("away"))
    house.steward.disable(TENANT, "", unit[3], house.at)
    house.stop(leaving)
    assert house.state("10.2.0.3") is LeaseState.QUARANTINED  # it becomes disabled after that
    states = []
    for each in unit:
        refused = house.refused("ann", fixed(str(each)))
        assert isinstance(refused, Conflict)
        states.append(refused.state)
    assert states == [
        LeaseState.BOUND,
        LeaseState.RESERVED,
        LeaseState.QUARANTINED,
        LeaseState.QUARANTINED,
    ]
    assert isinstance(house.refused("dan", fixed("10.2.0.3")), Conflict)  # an operator took it out


def test_what_a_session_reports_is_not_taken_from_the_owner_for_whom_it_is_kept() -> None:
    house = House(small())
    house.stop(house.session("bob", v4("home")))
    seen = house.steward.observe(TENANT, "", read_unit("10.0.0.0"), "ann", "s9", house.now, house.at)
    assert seen.sighting is Sighting.CONFLICT


def test_a_look_ahead_names_what_the_login_will_get_and_changes_nothing() -> None:
    house = House(
        small(fallbacks=("spare",)), pool("spare", Kind.V4, "10.5.0.0"), pool("other", Kind.V4, "10.6.0.0")
    )
    house.session("ann", v4("home"))
    house.stop(house.session("bob", v4("home")))
    house.session("cy", v4("home"))
    reservation = Reservation(tenant=TENANT, vrf="", unit=read_unit("10.6.0.0"), owner="dan")
    house.steward.reserve(reservation, house.at)
    house.write()

    def peek(owner: str, wanted: Wanted) -> str | None:
        found = house.book.peek(owner, wanted, TENANT, house.now)
        return None if found is None else str(found)

    before = len(house.register.shelves)
    asked = [
        ("ann", v4("home"), "10.0.0.0"),  # live
        ("bob", v4("home"), "10.0.0.1"),  # what he had last
        ("cy", v4("home"), "10.5.0.0"),  # of the fallback
        ("dan", v4("home"), "10.6.0.0"),  # reserved
        ("eve", v4("home"), None),
        ("eve", v4("nowhere"), None),
        ("eve", fixed("203.0.113.9"), "203.0.113.9"),
        ("eve", fixed("10.0.0.0"), None),  # ann uses it
        ("eve", fixed("10.0.0.0/31"), None),  # not a slot of the pool that it is in
    ]
    assert [(owner, wanted, peek(owner, wanted)) for owner, wanted, _ in asked] == asked
    assert peek("eve", fixed("10.0.0.1")) == "10.0.0.1"  # kept for bob, but the platform's word is stronger
    assert len(house.register.shelves) == before
    assert house.register.batch() is None
    for owner, wanted, expected in asked:
        if expected is not None:
            assert units(house.take(owner, wanted)) == [expected]
    assert peek("mallory", fixed("203.0.113.8/29")) is None  # eve has an address in it


def test_a_lease_of_a_session_that_lives_goes_on_though_its_nas_was_silent() -> None:
    house = House(small())
    taken = house.session("ann", v4("home"), name="7")
    lost = house.session("bob", v4("home"), name="8")
    house.now += 101.0
    assert house.book.expire_due(house.now, house.at, 10, {"7"}.__contains__) == 2
    assert (house.book.stands(taken.id), house.book.stands(lost.id)) == (True, False)
    house.now += 99.0
    house.book.expire_due(house.now, house.at, 10)
    assert house.book.stands(taken.id)  # it had its whole time again
    house.wait(2.0)
    assert not house.book.stands(taken.id)


def test_a_login_without_a_session_ends_whatever_lives() -> None:
    house = House(small())
    taken = house.take("ann", v4("home"))
    house.now += 21.0
    house.book.expire_due(house.now, house.at, 10, lambda session: True)
    assert not house.book.stands(taken.id)


def test_the_prefix_of_a_link_and_a_delegated_one_are_reserved_by_the_pool_they_are_in() -> None:
    links = pool("links", Kind.V6_PREFIX, "2001:db8:1::/48")
    house = House(links, pool("delegated", Kind.PD, "2001:db8::/48"))
    link = Wanted(Kind.V6_PREFIX, ("links",))
    reservation = Reservation(tenant=TENANT, vrf="", unit=read_unit("2001:db8:1:5::/64"), owner="ann")
    assert house.steward.reserve(reservation, house.at)
    assert units(house.take("ann", link, PD)) == ["2001:db8:1:5::/64", "2001:db8::/56"]
    assert units(house.take("bob", link)) == ["2001:db8:1::/64"]
    assert house.steward.unreserve(reservation, house.now, house.at) is not None
    assert house.register.set_aside == {}


def test_every_pool_has_its_turn_though_each_look_does_little() -> None:
    house = House(*(pool(f"p{number}", Kind.V4, f"10.{number}.0.0/28") for number in range(3)))
    for number in range(30):
        house.stop(house.session(f"owner{number}", v4(f"p{number % 3}")))
    house.wait(25.0)
    house.now += 6.0  # all holds are over
    ends: list[int] = []
    for _ in range(3):
        assert house.book.expire_due(house.now, house.at, 4) == 4
        ends.append(len({each.change.pool for each in _events_since(house, "hold-over")}))
    assert ends == [1, 2, 3]
    while house.book.expire_due(house.now, house.at, 4):
        pass
    house.wait(20.0)
    assert [usage.free for name in range(3) if (usage := house.register.utilisation(TENANT, f"p{name}"))] == [
        16
    ] * 3
    assert house.register.waiting == {}


def _events_since(house: House, cause: str) -> list[HistoryEvent]:
    house.write()
    return [each for each in house.disk.events["edge"] if each.change.cause == cause]


def test_expiry_does_a_bounded_amount_of_work() -> None:
    house = House(pool("home", Kind.V4, "10.0.0.0/24"))
    for number in range(100):
        house.take(f"owner{number}", v4("home"))
    house.now += 25.0
    assert house.book.expire_due(house.now, house.at, 30) == 30
    assert len(house.book) == 70
    done = 0
    while step := house.book.expire_due(house.now, house.at, 30):
        done += step
    assert len(house.book) == 0
    assert done == 70


def test_the_lease_time_follows_the_interim_interval() -> None:
    assert lease_time(300) == 660


def test_a_block_is_given_back_only_when_nothing_of_it_lives_or_waits_to_be_written() -> None:
    house = House()
    house.register.add_pool(pool("shared", Kind.V4, "10.0.0.0-10.0.0.7"), divided=True)
    block = Block(tenant=TENANT, pool="shared", first_slot=0, last_slot=3, generation=1)
    house.disk.blocks["shared", 0] = "edge", block
    gain_block(house.register, house.book, block, (), house.now, house.at)

    def give() -> Given:
        return give_block(house.register, TENANT, "shared", 0)

    taken = house.session("ann", v4("shared"))
    assert give() is Given.BUSY
    house.write()
    assert isinstance(house.refused("bob", v4("shared")), Exhausted)  # it drains
    house.stop(taken)
    house.wait(31.0)
    house.wait(20.0)
    assert house.state("10.0.0.0") is LeaseState.FREE
    assert give() is Given.BUSY  # its history is not on disk yet
    house.write()
    assert give() is Given.GIVEN
    assert give() is Given.UNKNOWN
    refused = house.refused("ann", v4("shared"))
    assert isinstance(refused, Exhausted)
    assert refused.reason is Shortage.NO_BLOCK
