"""The prefixes of one VRF and space as a tree: each prefix is under the smallest one that contains it.

Prefixes are kept sorted by (first number, shorter first), which is the order of the tree read from top to
bottom. Parents are found by walking up, so that adding and removing one prefix moves no others.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ipam.address import Malformed, Unit
from ipam.kinds import BITS, Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """A prefix as an operator documents it. `unit` is its space, first number and length."""

    tenant: str
    vrf: str
    unit: Unit
    role: str = ""
    site: str = ""
    state: str = "active"  # container, active, reserved or deprecated
    name: str = ""


_Key = tuple[int, int]


class PrefixTree:
    """The prefixes of one tenant, VRF and space (IPv4 or IPv6)."""

    def __init__(self, space: Space, prefixes: Iterable[Prefix] = ()) -> None:
        self.space = space
        self._bits = BITS[space]
        self._prefixes: dict[_Key, Prefix] = {}
        self._keys: list[_Key] = []
        self._lengths: list[int] = [0] * (self._bits + 1)  # how many prefixes there are of each length
        for prefix in prefixes:
            self._enter(prefix)
        self._keys.sort()

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Prefix]:
        """Yield all prefixes, each before those under it."""
        return (self._prefixes[key] for key in self._keys)

    def _enter(self, prefix: Prefix) -> _Key:
        unit = prefix.unit
        if unit.space is not self.space or not 0 <= unit.length <= self._bits:
            raise Malformed(str(unit), f"a prefix of {self.space}")
        if unit.value & (self._size(unit.length) - 1):
            raise Malformed(str(unit), "a prefix without host bits")
        key = (unit.value, unit.length)
        if key not in self._prefixes:
            self._lengths[unit.length] += 1
            self._keys.append(key)
        self._prefixes[key] = prefix
        return key

    def add(self, prefix: Prefix) -> Prefix | None:
        """Add a prefix, or replace the equal one; return its parent, None at the top. Raises Malformed."""
        known = (prefix.unit.value, prefix.unit.length) in self._prefixes
        key = self._enter(prefix)
        if not known:
            self._keys.pop()
            insort(self._keys, key)
        return self.parent(prefix.unit)

    def remove(self, unit: Unit) -> bool:
        """Remove a prefix; those under it go to its parent. False where there is none."""
        key = (unit.value, unit.length)
        if self._prefixes.pop(key, None) is None:
            return False
        del self._keys[bisect_left(self._keys, key)]
        self._lengths[unit.length] -= 1
        return True

    def find(self, unit: Unit) -> Prefix | None:
        """Return exactly this prefix."""
        return self._prefixes.get((unit.value, unit.length))

    def longest_match(self, value: int, longest: int | None = None) -> Prefix | None:
        """Return the smallest prefix that contains a number; with `longest`, of that length at most."""
        length = self._bits if longest is None else longest
        while length >= 0:
            if self._lengths[length]:
                first = value & ~(self._size(length) - 1)
                prefix = self._prefixes.get((first, length))
                if prefix is not None:
                    return prefix
            length -= 1
        return None

    def parent(self, unit: Unit) -> Prefix | None:
        """Return the smallest prefix that contains this one and is not it."""
        return self.longest_match(unit.value, unit.length - 1)

    def children(self, unit: Unit | None) -> list[Prefix]:
        """Return the prefixes directly under one (which need not be in the tree), or those at the top."""
        if unit is None:
            key, last = (0, 0), (1 << self._bits) - 1
        else:
            key, last = (unit.value, unit.length + 1), unit.value + self._size(unit.length) - 1
        found: list[Prefix] = []
        index = bisect_left(self._keys, key)
        while index < len(self._keys) and self._keys[index][0] <= last:
            child = self._keys[index]
            found.append(self._prefixes[child])
            index = bisect_left(self._keys, (child[0] + self._size(child[1]), 0), index + 1)
        return found

    def under(self, unit: Unit) -> Iterator[Prefix]:
        """Yield every prefix inside this one, at any depth, without it."""
        last = unit.value + self._size(unit.length) - 1
        index = bisect_left(self._keys, (unit.value, unit.length + 1))
        while index < len(self._keys) and self._keys[index][0] <= last:
            yield self._prefixes[self._keys[index]]
            index += 1

    def next_available(self, unit: Unit, length: int) -> Unit | None:
        """Return the first prefix of `length` inside `unit` that no prefix of the tree lies in; None when full.

        Takes as many steps as `unit` has children, whatever their sizes.
        """
        if not unit.length <= length <= self._bits:
            return None
        size = self._size(length)
        end = unit.value + self._size(unit.length)
        first = unit.value
        for child in self.children(unit):
            if first + size <= child.unit.value:
                break
            after = child.unit.value + self._size(child.unit.length)
            first = max(first, -(-after // size) * size)
        return Unit(self.space, first, length) if first + size <= end else None

    def _size(self, length: int) -> int:
        return 1 << (self._bits - length)
