"""What pools have in the address book, whatever the data say: told to whoever checks new data."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from daemon.leases.definitions_edits import merged
from daemon.leases.definitions_pools import Pools
from daemon.replica.claims import NO_UNITS, Part
from daemon.replica.standing import Standing
from ipam.definition_rows import DefinedBy
from ipam.kinds import Kind, Space
from ipam.model import Pool, Range, space_of, span_of

_IPV4: Final = Space.IPV4


def standing_of(pools: Pools, *, shared: bool) -> Iterator[Standing]:
    """Yield the ranges of all pools. Only reads; in a shared store each range of the platform counts as in use."""
    for key, known in list(pools.known.items()):
        pool, by_operator = known.pool, known.by is DefinedBy.OPERATOR
        used = [] if by_operator or shared else pools.used_slots(key)
        for part in pool.ranges:
            at = bisect_left(used, part.first_slot)
            busy = by_operator or shared or (at < len(used) and used[at] < part.first_slot + part.slots)
            for space, where in _places(pool, part):
                yield Standing(pool.tenant, pool.vrf, space, where, by_operator, busy)


def _places(pool: Pool, part: Range) -> Iterator[tuple[Space, Part]]:
    first, last = span_of(pool, part)
    exclusions = merged(pool.exclusions)
    yield space_of(pool), Part(first, last, pool.unit_length, pool.name, exclusions)
    if pool.kind is Kind.CGN_BLOCK:
        yield _IPV4, Part(first >> 16, last >> 16, NO_UNITS, pool.name, exclusions)
