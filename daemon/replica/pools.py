"""Pools and selectors as the replica holds them: `ipam`'s own definitions, with the texts of their ranges."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from ipam.address import read_span, text
from ipam.kinds import BITS, SPACE_OF, Kind, Space
from ipam.model import Pool, Range, Selector, range_of, span_of

UNIT_LENGTHS: Final = {
    Kind.V4: 32,
    Kind.V6_NA: 128,
    Kind.V6_PREFIX: 64,
    Kind.PD: 56,
    Kind.SVLAN: 12,
    Kind.CVLAN: 12,
}
"""The length of one unit where a pool does not say it; port blocks have none."""

Span = tuple[int, int]
"""The first and the last number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """A pool as the platform defines it. `pool` has no ranges: which slots they get is for the address book.

    A shuffled order has no key either: whoever stores the pool draws it. `ranges` are canonical texts, `spans` the
    numbers of each (of port blocks of all ports of the outside addresses). Raises `ipam.address.Malformed`.
    """

    pool: Pool
    ranges: tuple[str, ...]
    spans: tuple[Span, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the ranges once."""
        spans = tuple(span_of(self.pool, part) for part in self.parts())
        object.__setattr__(self, "spans", spans)

    @property
    def tenant(self) -> str:
        """Whose pool it is."""
        return self.pool.tenant

    @property
    def id(self) -> str:
        """The name of the pool."""
        return self.pool.name

    @property
    def exclusions(self) -> tuple[str, ...]:
        """What is never given out, as canonical texts."""
        space = range_space(self.pool.kind)
        return tuple(span_text(space, first, last) for first, last in self.pool.exclusions)

    def parts(self) -> tuple[Range, ...]:
        """Return the ranges of a new pool: their slots are numbered in the order in which they are written."""
        found: list[Range] = []
        next_slot = 0
        for given in self.ranges:
            part = replace(range_of(given, self.pool), first_slot=next_slot)
            found.append(part)
            next_slot += part.slots
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorSpec:
    """A selector as a record, with the names that all records have."""

    selector: Selector

    @property
    def tenant(self) -> str:
        """Whose logins it is for."""
        return self.selector.match.tenant

    @property
    def id(self) -> str:
        """The name of the selector."""
        return self.selector.name


def range_space(kind: Kind) -> Space:
    """Return the space in which the ranges and exclusions of a pool are written: of port blocks outside addresses."""
    return Space.IPV4 if kind is Kind.CGN_BLOCK else SPACE_OF[kind]


def span_text(space: Space, first: int, last: int) -> str:
    """Return a span of addresses or VLANs as `192.0.2.0/24` where it is one prefix, else as `first-last`."""
    if first == last:
        return text(space, first)
    size = last - first + 1
    if space in (Space.IPV4, Space.IPV6) and size & (size - 1) == 0 and first % size == 0:
        return f"{text(space, first)}/{BITS[space] - size.bit_length() + 1}"
    return f"{text(space, first)}-{text(space, last)}"


def canonical(space: Space, given: str) -> str:
    """Return a range as `span_text` writes it. Raises Malformed."""
    return span_text(space, *read_span(space, given))
