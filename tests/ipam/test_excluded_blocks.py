"""What a pool excludes: blocks that are somebody's own there, numbers that are given out again, port blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ipam import resize
from ipam.address import read_span, read_unit
from ipam.book import Book
from ipam.history import Party
from ipam.kinds import Cause, Kind, Order, Space
from ipam.lease import Bundle, Conflict, Exhausted, Wanted
from ipam.model import MOST_SLOTS, Pool, Reservation, range_of
from ipam.register import Register
from ipam.restore import faults
from ipam.steward import Steward
from tests.ipam.pools import TENANT, fixed, pool, request, units, v4


def _book(*pools: Pool) -> tuple[Register, Book]:
    register = Register("edge", 1)
    for each in pools:
        register.add_pool(each)
    return register, Book(register)


def _take(book: Book, owner: str, wanted: Wanted, now: float = 0.0) -> Bundle | Exhausted | Conflict:
    return book.take(owner, request(wanted, party=Party(owner)), now, now)


def _excluding(made: Pool, *spans: str) -> Pool:
    return replace(made, exclusions=tuple(read_span(Space.IPV4, each) for each in spans))


def test_a_routed_block_that_a_pool_excludes_is_its_owners() -> None:
    _, book = _book(_excluding(pool("home", Kind.V4, "10.0.0.0/24"), "10.0.0.0/28"))
    assert units(_take(book, "gina", fixed("10.0.0.0/28"))) == ["10.0.0.0/28"]
    assert isinstance(_take(book, "hugo", fixed("10.0.0.0/28")), Conflict)
    assert isinstance(_take(book, "hugo", fixed("10.0.0.16/28")), Conflict)
    assert units(_take(book, "hugo", v4("home"))) == ["10.0.0.16"]


@pytest.mark.parametrize("order", [Order.SEQUENTIAL, Order.SHUFFLED])
@pytest.mark.parametrize("from_the_start", [True, False])
def test_what_is_included_again_is_given_out_at_once(order: Order, from_the_start: bool) -> None:
    made = pool("home", Kind.V4, "10.0.0.0/29", order=order, key=b"k" * 16)
    out = read_span(Space.IPV4, "10.0.0.0-10.0.0.5")
    register, book = _book(_excluding(made, "10.0.0.0-10.0.0.5") if from_the_start else made)
    if not from_the_start:
        resize.exclude(register, TENANT, "home", *out, 0.0)
    assert {units(_take(book, each, v4("home")))[0] for each in "ab"} == {"10.0.0.6", "10.0.0.7"}
    assert isinstance(_take(book, "c", v4("home")), Exhausted)
    register.redefine(_excluding(made, "10.0.0.4-10.0.0.5"))
    resize.include(register, TENANT, "home", out[0], out[0] + 3, 0.0, 0.0)
    assert faults(register) == ()
    use = register.utilisation(TENANT, "home")
    assert use is not None
    assert (use.size, use.free, use.disabled) == (8, 4, 2)
    given = {units(_take(book, each, v4("home")))[0] for each in "cdef"}
    assert given == {"10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"}
    assert isinstance(_take(book, "g", v4("home")), Exhausted)
    assert faults(register) == ()


def test_an_address_that_was_leased_when_it_was_excluded_comes_back_after_its_quarantine() -> None:
    made = pool("home", Kind.V4, "10.0.0.0/31")
    register, book = _book(made)
    got = _take(book, "a", v4("home"))
    assert isinstance(got, Bundle)
    resize.exclude(register, TENANT, "home", *read_span(Space.IPV4, "10.0.0.0/31"), 0.0)
    book.release(got.id, Cause.STOP, 0.0, 0.0)
    while book.expire_due(500.0, 500.0, 100, lambda _name: True):
        pass
    assert isinstance(_take(book, "b", v4("home"), 500.0), Exhausted)
    register.redefine(made)
    resize.include(register, TENANT, "home", *read_span(Space.IPV4, "10.0.0.0/31"), 500.0, 500.0)
    assert units(_take(book, "b", v4("home"), 500.0)) == ["10.0.0.1"]
    while book.expire_due(600.0, 600.0, 100, lambda _name: True):
        pass
    assert units(_take(book, "c", v4("home"), 600.0)) == ["10.0.0.0"]
    assert faults(register) == ()


def test_an_outside_address_is_excluded_with_all_its_port_blocks() -> None:
    register, _ = _book(pool("cgn", Kind.CGN_BLOCK, "192.0.2.0/30", unit_length=16_000))
    whole = register.utilisation(TENANT, "cgn")
    resize.exclude(register, TENANT, "cgn", *read_span(Space.IPV4, "192.0.2.1"), 0.0)
    use = register.utilisation(TENANT, "cgn")
    assert whole is not None
    assert use is not None
    assert (use.disabled, use.free) == (whole.size // 4, whole.size - whole.size // 4)
    assert faults(register) == ()


def test_a_pool_that_goes_to_another_site_is_counted_there() -> None:
    made = pool("home", Kind.V4, "10.0.0.0/29", site="north")
    register, book = _book(made)
    _take(book, "a", v4("home"))
    register.redefine(replace(made, site="south"))
    _take(book, "b", v4("home"))
    north = register.utilisation_of("site", TENANT, "north", Kind.V4)
    south = register.utilisation_of("site", TENANT, "south", Kind.V4)
    assert north is not None
    assert south is not None
    assert (north.size, south.size, south.tentative) == (0, 8, 2)
    tenant = register.utilisation_of("tenant", TENANT, "", Kind.V4)
    assert tenant is not None
    assert (tenant.size, tenant.tentative) == (8, 2)


def test_of_a_range_with_more_units_than_slots_the_first_are_leased() -> None:
    made = pool("six", Kind.V6_NA)
    part = range_of("2001:db8::/64", made)
    assert part.slots == MOST_SLOTS
    register, book = _book(replace(made, ranges=(part,)))
    assert units(_take(book, "a", Wanted(Kind.V6_NA, ("six",)))) == ["2001:db8::"]
    assert faults(register) == ()


def test_a_reserved_block_is_no_address_for_a_login_and_another_reservation_outlives_it() -> None:
    register, book = _book(pool("home", Kind.V4, "10.0.0.0/29"))
    steward = Steward(register, book)
    block = Reservation(tenant=TENANT, vrf="", unit=read_unit("192.0.2.0/28"), owner="a")
    single = replace(block, unit=read_unit("192.0.2.99"))
    assert not isinstance(steward.reserve(block, 0.0), Conflict)
    assert units(_take(book, "a", v4("home"))) == ["10.0.0.0"]
    assert not isinstance(steward.reserve(single, 0.0), Conflict)
    steward.unreserve(block, 0.0, 0.0)
    assert register.set_aside == {(TENANT, "a", Kind.V4): ("", single.unit)}
