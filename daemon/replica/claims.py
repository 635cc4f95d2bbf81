"""Who has which fixed address and routed block, and where pools lie: both found by number, none by a sweep.

One of each for a tenant. A claim costs one entry of a table for its length and one place in a sorted list; an owner
is its subscriber's own id. Looks from another thread while the loop changes a table see it before or after.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from daemon.replica.pools import PoolSpec, Span
from daemon.replica.records import Network, Subscriber
from ipam.address import Unit
from ipam.kinds import BITS, Kind, Space
from ipam.model import space_of
from radius.grant import Route

NO_UNITS = -1
"""The length of units of a span in which nobody may have a fixed address: outside addresses of port blocks."""

_CHUNK = 1024


class Fixed(NamedTuple):
    """What the platform gave to one subscriber; `field` and `place` say where its object has it."""

    field: str
    place: int  # among several
    unit: Unit


class Taken(NamedTuple):
    """A unit and the subscriber who has it."""

    unit: Unit
    owner: str


class Part(NamedTuple):
    """A range of a pool as numbers; `exclusions` are those of the pool, sorted and merged."""

    first: int
    last: int
    length: int  # of one unit, or NO_UNITS
    pool: str
    exclusions: tuple[Span, ...]

    def has_room_for(self, unit: Unit) -> bool:
        """Tell whether a unit may be somebody's own: it is exactly one slot of the pool, or excluded from it."""
        if unit.length == self.length and self.first <= unit.value and unit.last <= self.last:
            return True
        first, last = max(self.first, unit.value), min(self.last, unit.last)
        at = bisect_right(self.exclusions, first, key=_first) - 1
        return at >= 0 and last <= self.exclusions[at][1]


def fixed_of(subscriber: Subscriber) -> tuple[Fixed, ...]:
    """Return the fixed addresses, prefixes and routed blocks of a subscriber. A default route claims nothing."""
    if not subscriber.personal:
        return ()
    found: list[Fixed] = []
    if subscriber.ipv4_address is not None:
        found.append(Fixed("ipv4_address", 0, Unit(Space.IPV4, int(subscriber.ipv4_address), 32)))
    if subscriber.ipv6_address is not None:
        found.append(Fixed("ipv6_address", 0, Unit(Space.IPV6, int(subscriber.ipv6_address), 128)))
    if subscriber.ipv6_prefix is not None:
        found.append(Fixed("ipv6_prefix", 0, _unit(subscriber.ipv6_prefix)))
    if subscriber.ipv6_delegated is not None:
        found.append(Fixed("delegated_prefix", 0, _unit(subscriber.ipv6_delegated)))
    for index, route in enumerate(subscriber.routes):
        if _claims(route):
            found.append(Fixed("routes", index, _unit(route.prefix)))
    return tuple(found)


def own_vrf(subscriber: Subscriber) -> str | None:
    """Return the VRF that a subscriber's own service names; None: that of its plan, else the default, counts."""
    return None if subscriber.service is None else subscriber.service.vrf


def _claims(route: Route) -> bool:
    return route.prefix.prefixlen > 0


def _unit(network: Network) -> Unit:
    space = Space.IPV4 if network.version == 4 else Space.IPV6
    return Unit(space, int(network.network_address), network.prefixlen)


def _first(span: Span) -> int:
    return span[0]


def _last(chunk: list[int]) -> int:
    return chunk[-1]


class _Table:
    """All claims of one length: prefix -> owner (several where data before this check had it), and sorted."""

    __slots__ = ("_chunks", "owners")

    def __init__(self) -> None:
        self.owners: dict[int, str | tuple[str, ...]] = {}
        self._chunks: list[list[int]] = []

    def put(self, prefix: int, owner: str) -> None:
        had = self.owners.get(prefix)
        if had is None:
            self.owners[prefix] = owner
            self._insert(prefix)
        elif owner not in (mine := _all(had)):
            self.owners[prefix] = (*mine, owner)

    def remove(self, prefix: int, owner: str) -> None:
        left = tuple(each for each in _all(self.owners.get(prefix, ())) if each != owner)
        if left:
            self.owners[prefix] = left[0] if len(left) == 1 else left
        elif self.owners.pop(prefix, None) is not None:
            self._delete(prefix)

    def _insert(self, prefix: int) -> None:
        chunks = self._chunks
        if not chunks:
            chunks.append([prefix])
            return
        at = min(bisect_left(chunks, prefix, key=_last), len(chunks) - 1)
        chunk = chunks[at]
        insort(chunk, prefix)
        if len(chunk) > _CHUNK:
            # Data often come in the order of their numbers: then the left part stays as full as it is.
            cut = _CHUNK if at == len(chunks) - 1 and chunk[-1] == prefix else _CHUNK // 2
            chunks[at : at + 1] = [chunk[:cut], chunk[cut:]]

    def _delete(self, prefix: int) -> None:
        at = bisect_left(self._chunks, prefix, key=_last)
        chunk = self._chunks[at]
        if len(chunk) == 1:
            del self._chunks[at]
        else:
            del chunk[bisect_left(chunk, prefix)]

    def between(self, low: int, high: int) -> Iterator[int]:
        """Yield the prefixes from `low` to `high`, both included, in order."""
        if low == high:
            if low in self.owners:
                yield low
            return
        for chunk in self._chunks[bisect_left(self._chunks, low, key=_last) :]:
            found = chunk[bisect_left(chunk, low) : bisect_right(chunk, high)]
            if not found:
                return
            yield from found


def _all(owners: str | tuple[str, ...]) -> tuple[str, ...]:
    return (owners,) if isinstance(owners, str) else owners


class Claims:
    """The fixed addresses and routed blocks of one tenant, by VRF."""

    __slots__ = ("_tables",)

    def __init__(self) -> None:
        self._tables: dict[tuple[str, Space], dict[int, _Table]] = {}  # by length, the shortest first

    def put(self, vrf: str, unit: Unit, owner: str) -> None:
        """Note that a subscriber has a unit."""
        tables = self._tables.get((vrf, unit.space))
        if tables is None:
            tables = self._tables[vrf, unit.space] = {}
        table = tables.get(unit.length)
        if table is None:
            table = _Table()
            self._tables[vrf, unit.space] = dict(sorted({**tables, unit.length: table}.items()))
        table.put(unit.value >> (BITS[unit.space] - unit.length), owner)

    def remove(self, vrf: str, unit: Unit, owner: str) -> None:
        """Forget it; nothing happens where it is not known."""
        tables = self._tables.get((vrf, unit.space), {})
        table = tables.get(unit.length)
        if table is not None:
            table.remove(unit.value >> (BITS[unit.space] - unit.length), owner)

    def vrfs(self, space: Space) -> tuple[str, ...]:
        """Return the VRFs in which somebody has something of a space, or had."""
        return tuple(vrf for vrf, known in self._tables if known is space)

    def overlapping(
        self, vrf: str, space: Space, first: int, last: int, but: int | None = None
    ) -> Iterator[Taken]:
        """Yield every claim that shares a number with `first` to `last`, shorter prefixes first.

        Those of the length `but` are passed over. Costs a look for each length in use, and what is found.
        """
        tables = self._tables.get((vrf, space))
        if not tables:
            return
        bits = BITS[space]
        for length, table in tables.items():
            if length == but:
                continue
            shift = bits - length
            low, high = first >> shift, last >> shift
            if low == high and low not in table.owners:
                continue
            for prefix in table.between(low, high):
                for owner in _all(table.owners.get(prefix, ())):
                    yield Taken(Unit(space, prefix << shift, length), owner)


class Spans:
    """Where the pools of one tenant lie, by VRF."""

    __slots__ = ("_odd", "_parts")

    def __init__(self, pools: Iterable[PoolSpec] = ()) -> None:
        self._parts: dict[tuple[str, Space], list[Part]] = {}  # sorted; none overlaps another
        self._odd: dict[tuple[str, Space], list[Part]] = {}  # what overlaps those; there should be nothing
        for pool in pools:
            self.add(pool)

    def add(self, pool: PoolSpec) -> None:
        """Note where a pool lies."""
        for _, space, part in parts_of(pool):
            group = pool.pool.vrf, space
            clear = next(self.overlapping(*group, part.first, part.last), None) is None
            insort((self._parts if clear else self._odd).setdefault(group, []), part)

    def remove(self, pool: PoolSpec) -> None:
        """Forget a pool; nothing happens where it is not known."""
        for _, space, part in parts_of(pool):
            for parts in (self._parts, self._odd):
                if part in (group := parts.get((pool.pool.vrf, space), [])):
                    group.remove(part)

    def overlapping(self, vrf: str, space: Space, first: int, last: int) -> Iterator[Part]:
        """Yield every range that shares a number with `first` to `last`."""
        parts = self._parts.get((vrf, space))
        if parts is not None:
            at = max(0, bisect_right(parts, first, key=_first_of) - 1)
            while at < len(parts) and parts[at].first <= last:
                if parts[at].last >= first:
                    yield parts[at]
                at += 1
        for part in self._odd.get((vrf, space), ()):
            if part.first <= last and first <= part.last:
                yield part


def _first_of(part: Part) -> int:
    return part.first


def parts_of(pool: PoolSpec) -> Iterator[tuple[int, Space, Part]]:
    """Yield where a pool lies: the place in its ranges, the space, the part of it.

    Of port blocks these are the ports, and their outside addresses too.
    """
    exclusions = _merged(pool.pool.exclusions)
    kind, name = pool.pool.kind, pool.pool.name
    for place, (first, last) in enumerate(pool.spans):
        yield place, space_of(pool.pool), Part(first, last, pool.pool.unit_length, name, exclusions)
        if kind is Kind.CGN_BLOCK:
            yield place, Space.IPV4, Part(first >> 16, last >> 16, NO_UNITS, name, exclusions)


def _merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return tuple(merged)
