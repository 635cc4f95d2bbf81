"""Slots and numbers: which unit a slot of a pool is, and back.

Kinds that lease single numbers or prefixes count by the size of a unit; port blocks count ports within an outside
address first. Fixed units follow no rule, so theirs are listed.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

from ipam.address import Unit, new_unit
from ipam.kinds import Kind, Space
from ipam.model import Pool, Range, blocks_per_address, space_of, step
from ipam.tree import Prefix, PrefixTree

NO_SLOT = -1


class Layout(Protocol):
    """How one pool counts."""

    def unit(self, slot: int) -> Unit:
        """Return what that slot is."""

    def slot(self, value: int) -> int:
        """Return the slot that a number lies in, NO_SLOT where it is none of the pool's."""


class Counted:
    """The layout of an ordinary pool."""

    __slots__ = ("_by_first", "_by_slot", "_firsts", "_length", "_slots", "_space", "_step")

    def __init__(self, pool: Pool) -> None:
        self._space = space_of(pool)
        self._length = pool.unit_length
        self._step = step(pool)
        self._by_slot: list[Range] = sorted(pool.ranges, key=lambda each: each.first_slot)
        self._slots = [each.first_slot for each in self._by_slot]
        self._by_first = sorted(pool.ranges, key=lambda each: each.first)
        self._firsts = [each.first for each in self._by_first]

    def unit(self, slot: int) -> Unit:
        parts = self._by_slot
        part = parts[0] if len(parts) == 1 else parts[bisect_right(self._slots, slot) - 1]
        value = part.first + (slot - part.first_slot) * self._step
        return new_unit(Unit, (self._space, value, self._length))

    def slot(self, value: int) -> int:
        index = bisect_right(self._firsts, value) - 1
        if index < 0:
            return NO_SLOT
        part = self._by_first[index]
        offset = (value - part.first) // self._step
        return part.first_slot + offset if offset < part.slots else NO_SLOT


class PortBlocks:
    """The layout of a pool of port blocks: numbers are an outside address and a port."""

    __slots__ = ("_per_address", "_pool", "_ranges")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._per_address = blocks_per_address(pool)
        self._ranges: list[Range] = sorted(pool.ranges, key=lambda each: each.first_slot)

    def unit(self, slot: int) -> Unit:
        slots = [each.first_slot for each in self._ranges]
        part = self._ranges[bisect_right(slots, slot) - 1]
        address, block = divmod(slot - part.first_slot, self._per_address)
        port = self._pool.first_port + block * self._pool.unit_length
        return Unit(space_of(self._pool), (part.first + address) << 16 | port, self._pool.unit_length)

    def slot(self, value: int) -> int:
        address, port = value >> 16, value & 0xFFFF
        block = (port - self._pool.first_port) // self._pool.unit_length
        if not 0 <= block < self._per_address:
            return NO_SLOT
        for part in self._ranges:
            offset = (address - part.first) * self._per_address + block
            if 0 <= offset < part.slots and address >= part.first:
                return part.first_slot + offset
        return NO_SLOT


class Listed:
    """The layout of fixed units: numbered in the order in which they became known."""

    __slots__ = ("_slots", "_trees", "next_slot", "units")

    def __init__(self) -> None:
        self.next_slot = 0
        self.units: dict[int, Unit] = {}
        self._slots: dict[Unit, int] = {}
        self._trees: dict[Space, PrefixTree] = {}

    def unit(self, slot: int) -> Unit:
        return self.units[slot]

    def slot(self, value: int) -> int:  # noqa: ARG002 - a number alone does not say which unit
        return NO_SLOT

    def find(self, unit: Unit) -> int:
        """Return the slot of exactly this unit, NO_SLOT where it is not known."""
        return self._slots.get(unit, NO_SLOT)

    def add(self, unit: Unit, slot: int) -> None:
        """Give a unit its slot."""
        self.units[slot] = unit
        self._slots[unit] = slot
        self.next_slot = max(self.next_slot, slot + 1)
        if unit.space in (Space.IPV4, Space.IPV6):
            tree = self._trees.setdefault(unit.space, PrefixTree(unit.space))
            tree.add(Prefix(tenant="", vrf="", unit=unit))

    def overlapping(self, unit: Unit) -> list[int]:
        """Return the slots of the other units that share a number with this one."""
        tree = self._trees.get(unit.space)
        if tree is None:
            return []
        found = [each.unit for each in tree.under(unit)]
        above = tree.parent(unit)
        while above is not None:
            found.append(above.unit)
            above = tree.parent(above.unit)
        return [self._slots[each] for each in found]


def layout_of(pool: Pool) -> Counted | PortBlocks | Listed:
    """Return the layout of a pool."""
    if pool.kind is Kind.FIXED:
        return Listed()
    return PortBlocks(pool) if pool.kind is Kind.CGN_BLOCK else Counted(pool)
