"""What goes into a batch where there is more than fits: whole slots, logins first, and nothing is told too early."""

from __future__ import annotations

from ipam.kinds import Cause, Kind
from ipam.lease import Bundle, Wanted
from ipam.ledger import Batch
from tests.ipam.pools import TENANT, fixed, pool, v4
from tests.ipam.test_book import House

PD = Wanted(Kind.PD, ("delegated",))


def house() -> House:
    return House(
        pool("home", Kind.V4, "10.0.0.0/24"),
        pool("delegated", Kind.PD, "2001:db8::/56", hold_s=0.0, quarantine_s=0.0, min_reuse_s=0.0),
    )


def write(house: House, most: int) -> list[tuple[str, str]]:
    """Store one batch; return owner and new state of its events."""
    batch = house.register.batch(most)
    assert isinstance(batch, Batch)
    house.disk.write(batch)
    house.register.ledger.confirm()
    return [(event.change.owner, event.change.new) for event in batch.events]


def online(house: House, *owners: str) -> list[Bundle]:
    """Let owners be online, all of it on disk."""
    bundles = [house.session(owner, v4("home")) for owner in owners]
    house.write()
    return bundles


def test_what_waits_of_a_slot_is_stored_together_and_its_row_says_what_is_true_then() -> None:
    at = house()
    first = at.session("ann", v4("home"))
    at.take("bob", v4("home"))
    at.stop(first)
    assert write(at, 1) == [("ann", "tentative"), ("ann", "bound"), ("ann", "held")]
    (row,) = at.disk.rows.values()
    assert (row.owner, row.state) == ("ann", "held")
    assert write(at, 1) == [("bob", "tentative")]


def test_logins_go_first_and_a_quarter_of_a_batch_is_left_to_what_nobody_waits_for() -> None:
    at = house()
    for bundle in online(at, *(f"old{number}" for number in range(10))):
        at.stop(bundle)
    for number in range(10):
        at.take(f"new{number}", v4("home"))
    first = write(at, 8)
    assert first == [
        ("old0", "held"),
        ("old1", "held"),
        *((f"new{number}", "tentative") for number in range(6)),
    ]
    assert len(write(at, 8)) == 8
    assert write(at, 8) == [(f"old{number}", "held") for number in range(6, 10)]
    assert at.register.batch(8) is None


def test_a_bundle_is_told_when_each_of_its_leases_is_on_disk_not_only_the_last() -> None:
    at = house()
    at.stop(at.session("ann", PD))
    taken = at.take("bob", v4("home"), PD)  # the prefix is ann's of before, whose end waits to be stored
    write(at, 1)
    assert [row.owner for row in at.disk.rows.values()] == ["bob"]
    assert not at.book.durable(taken)
    write(at, 1)
    assert at.book.durable(taken)


def test_the_end_of_a_fixed_lease_is_on_disk_before_a_later_login_from_a_pool() -> None:
    at = house()
    bundle = at.session("ann", fixed("10.9.0.1"))
    at.write()
    at.stop(bundle)
    at.take("bob", v4("home"))
    assert {owner for owner, _ in write(at, 1)} == {"ann"}


def test_a_batch_that_was_refused_goes_first_with_what_came_of_its_slots_meanwhile() -> None:
    at = house()
    first = at.take("ann", v4("home"))
    assert at.register.batch(1) is not None
    at.take("bob", v4("home"))
    at.book.bind(first.id, "s1", at.now, at.at)
    at.register.ledger.refuse()
    assert not at.book.durable(first)
    assert write(at, 1) == [("ann", "tentative"), ("ann", "bound")]
    assert at.book.durable(first)


def test_one_change_is_durable_when_it_is_stored_and_all_before_it_when_all_are() -> None:
    at = house()
    (bundle,) = online(at, "old")
    ended = at.book.release(bundle.id, Cause.STOP, at.now, at.at)
    assert ended is not None
    taken = at.take("new", v4("home"))
    ledger = at.register.ledger
    write(at, 1)
    assert ledger.durable(taken.serial)
    assert not ledger.durable(ended)
    assert ledger.durable_before() == ended
    write(at, 1)
    assert ledger.durable_before() > taken.serial


def test_what_is_forgotten_waits_no_more() -> None:
    at = house()
    at.take("ann", v4("home"))
    at.take("bob", PD)
    ledger = at.register.ledger
    assert ledger.holds(TENANT, "home", 0, 0)
    assert not ledger.holds(TENANT, "home", 1, 1)
    assert ledger.forget(TENANT, "home", 0, 255) == 1
    assert not ledger.holds(TENANT, "home", 0, 255)
    assert write(at, 8) == [("bob", "tentative")]
    at.take("carl", v4("home"))
    ledger.abandon()
    assert (ledger.waiting, at.register.batch()) == (0, None)
