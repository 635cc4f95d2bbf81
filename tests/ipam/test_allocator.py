"""The allocator: order, exclusions, memory, and that size costs nothing."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from ipam.allocator import FRESH, Allocator
from ipam.cells import NONE
from ipam.kinds import BOUND, DISABLED, FREE, TENTATIVE, Kind, Order
from ipam.register import Register
from ipam.segment import Segment
from ipam.shelf import Shelf
from tests.ipam.pools import TENANT, pool


def allocator(*segments: Segment, hold_s: float = 10.0, reuse_s: float = 20.0) -> Allocator:
    made = Allocator(sticky=True, hold_s=hold_s, reuse_s=reuse_s, shun_s=100.0)
    for segment in segments:
        made.add_segment(segment)
    return made


def give(made: Allocator, owner: str) -> int:
    """Return the slot that an owner gets, NONE where there is none."""
    cell = made.pick(owner)
    return NONE if cell == NONE else made.slots[made.claim(cell, owner)]


def test_a_pool_of_any_size_takes_the_same_memory_as_long_as_it_is_not_used() -> None:
    sizes = []
    for count in (1_000, 1 << 24, 1 << 60):
        made = allocator(Segment(0, count, key=b"k"))
        for number in range(100):
            assert give(made, f"owner{number}") != NONE
        sizes.append(len(made.slots) + len(made.by_owner))
    assert sizes == [sizes[0]] * 3
    assert sizes[0] < 300


def test_never_used_slots_go_first_and_then_the_one_that_was_free_longest() -> None:
    made = allocator(Segment(0, 3), hold_s=0.0, reuse_s=0.0)
    assert [give(made, name) for name in "abc"] == [0, 1, 2]
    assert made.pick("d") == NONE
    for owner in "bca":
        made.end(made.by_owner[owner], now=5.0)
    assert [give(made, name) for name in "de"] == [1, 2]


def test_freeing_and_taking_at_full_use_touches_one_slot() -> None:
    made = allocator(Segment(0, 100_000), hold_s=0.0, reuse_s=0.0)
    for number in range(100_000):
        give(made, f"owner{number}")
    made.end(made.by_owner["owner777"], now=1.0)
    assert give(made, "new") == 777


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=6),
    st.booleans(),
    st.lists(st.integers(0, 63), max_size=10),
)
def test_every_slot_that_is_not_excluded_is_given_out_once(
    spans: list[tuple[int, int]], shuffled: bool, carved: list[int]
) -> None:
    base = 0x0A000000
    exclusions = tuple((base + first, base + min(first + more, 63)) for first, more in spans)
    order = Order.SHUFFLED if shuffled else Order.SEQUENTIAL
    shelf = Shelf(
        pool("a", Kind.V4, "10.0.0.0/26", exclusions=exclusions, order=order, key=b"k"), 0, divided=False
    )
    shelf.open_slots(0, 63)
    made = shelf.allocator
    for slot in carved:
        cell = made.carve(slot)
        assert made.slots[cell] == slot
        assert made.carve(slot) == cell
    out = {slot for first, last in exclusions for slot in range(first - base, last - base + 1)}
    got = [give(made, f"owner{number}") for number in range(64 - len(out))]
    assert sorted(got) == sorted(set(range(64)) - out)
    assert made.pick("one more") == NONE
    assert made.counts[DISABLED] == len(out)
    assert made.counts[FREE] == 0


@given(st.integers(0, 63), st.integers(0, 20), st.integers(0, 64), st.booleans())
def test_excluding_while_in_use_keeps_the_counts_right(
    first: int, more: int, used: int, shuffled: bool
) -> None:
    last = min(first + more, 63)
    made = allocator(Segment(0, 64, key=b"k" if shuffled else b""))
    for number in range(used):
        give(made, f"owner{number}")
    segment = made.segments[0]
    inside = made.exclude(segment, first, last)
    for cell in inside:
        made.disable(cell)
    assert {made.slots[cell] for cell in inside} <= set(range(first, last + 1))
    for number in range(used, 64):
        slot = give(made, f"owner{number}")
        assert slot == NONE or not first <= slot <= last
    for owner in list(made.by_owner):
        made.end(made.by_owner[owner], now=0.0)
    while (cell := made.ripe(1e9)) != NONE:
        made.ripen(cell)
    assert made.counts[DISABLED] == last - first + 1
    assert made.counts[FREE] == 64 - made.counts[DISABLED]
    assert sum(made.counts) == 64


def test_a_picked_fresh_slot_is_not_picked_by_another() -> None:
    made = allocator(Segment(0, 2))
    assert made.pick("a") == FRESH
    cell = made.open_fresh()
    assert give(made, "b") == 1
    assert made.slots[made.claim(cell, "a")] == 0
    assert made.states[cell] == TENTATIVE


def test_cells_of_a_removed_segment_serve_again() -> None:
    made = allocator(Segment(0, 4), Segment(4, 4), Segment(8, 4))
    for number in range(12):
        made.bind(made.claim(made.pick(f"owner{number}"), f"owner{number}"))
    made.remove_segment(made.segments[1])
    assert sum(made.counts) == made.counts[BOUND] == 8
    assert made.slots[made.by_owner["owner9"]] == 9
    made.add_segment(Segment(4, 2))
    cells = len(made.slots)
    assert [give(made, "x"), give(made, "y"), give(made, "z")] == [4, 5, NONE]
    assert len(made.slots) == cells
    assert made.segment_of(made.by_owner["owner9"]).low == 8


def test_arrays_stay_plain_numbers() -> None:
    assert isinstance(allocator().slots, array)


def test_groups_count_what_their_pools_count() -> None:
    register = Register("edge", 1)
    register.add_pool(pool("a", Kind.V4, "10.0.0.0/24", site="north"))
    register.add_pool(pool("b", Kind.V4, "10.0.1.0/24", site="north"))
    register.add_pool(pool("c", Kind.V4, "10.0.2.0/24", site="south"))
    shelf = register.shelves[TENANT, "b"]
    give(shelf.allocator, "ann")
    north = register.utilisation_of("site", TENANT, "north", Kind.V4)
    every = register.utilisation_of("tenant", TENANT, "", Kind.V4)
    assert north is not None
    assert every is not None
    assert (north.size, north.tentative, every.size, every.free) == (512, 1, 768, 767)
    assert register.utilisation_of("site", TENANT, "east", Kind.V4) is None
