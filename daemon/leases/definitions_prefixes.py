"""The prefix tree and the VRFs, as operators document them; and which prefix under one is free."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.leases.definitions_desk import Desk
from daemon.leases.definitions_edits import Problems, merged, problem
from daemon.replica.pools import Span
from ipam import definition_rows
from ipam.address import Unit
from ipam.kinds import BITS, Kind, Space
from ipam.model import Pool, Vrf, space_of, span_of
from ipam.shelf import Shelf
from ipam.tree import Prefix, PrefixTree

Scope = tuple[str, str, Space]
"""Tenant, VRF, space."""

Also = Callable[[AsyncConnection, Prefix], Awaitable[None]]
"""Writes something beside a prefix."""

_SHOWN = 5

STATES = ("container", "active", "reserved", "deprecated")


class Use(NamedTuple):
    """How many slots of pools lie somewhere, and how many of these are used or wait after it."""

    slots: int
    used: int

    @property
    def percent(self) -> float:
        """How much of it is used."""
        return 100.0 * self.used / self.slots if self.slots else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A prefix in its tree: its parent, how deep it is, what the pools inside it use."""

    prefix: Prefix
    parent: Unit | None
    depth: int
    use: Use


class Prefixes:
    """The documented prefixes by tenant, VRF and space, and the VRFs."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._trees: dict[Scope, PrefixTree] = {}
        self._vrfs: dict[tuple[str, str], Vrf] = {}

    async def load(self, connection: AsyncConnection) -> None:
        """Begin with what the store has."""
        prefixes = await definition_rows.load_prefixes(connection)
        vrfs = await definition_rows.load_vrfs(connection)
        self._trees = {}
        for each in prefixes:
            self._tree(_scope(each.tenant, each.vrf, each.unit)).add(each)
        self._vrfs = {(each.tenant, each.name): each for each in vrfs}

    def _tree(self, scope: Scope) -> PrefixTree:
        tree = self._trees.get(scope)
        if tree is None:
            tree = self._trees[scope] = PrefixTree(scope[2])
        return tree

    # --- what there is ---------------------------------------------------------------------------

    def find(self, tenant: str, vrf: str, unit: Unit) -> Placed | None:
        """Return exactly this prefix."""
        scope = _scope(tenant, vrf, unit)
        found = self._trees[scope].find(unit) if scope in self._trees else None
        return None if found is None else self._placed(scope, found)

    def listed(self, tenant: str | None = None, vrf: str | None = None) -> Iterator[Placed]:
        """Yield prefixes as their trees are read, each before those under it; a snapshot."""
        for scope, tree in sorted(self._trees.items(), key=lambda pair: pair[0]):
            if tenant in (None, scope[0]) and vrf in (None, scope[1]):
                for each in list(tree):
                    yield self._placed(scope, each)

    def place_of(self, prefix: Prefix) -> Placed:
        """Return where a prefix of a tree is. Raises KeyError where there is no such tree."""
        return self._placed(_scope(prefix.tenant, prefix.vrf, prefix.unit), prefix)

    def _placed(self, scope: Scope, prefix: Prefix) -> Placed:
        tree = self._trees[scope]
        above = tree.parent(prefix.unit)
        parent, depth = above, 0
        while above is not None:
            depth, above = depth + 1, tree.parent(above.unit)
        use = self.use_inside(prefix.tenant, prefix.vrf, prefix.unit)
        return Placed(prefix=prefix, parent=None if parent is None else parent.unit, depth=depth, use=use)

    def use_inside(self, tenant: str, vrf: str, unit: Unit) -> Use:
        """Return what the pools inside a prefix have and use, as far as the slots are this node's."""
        slots = used = 0
        for shelf in self._shelves(tenant, vrf, unit.space):
            for segment in shelf.allocator.segments:
                part = None if segment.barred else shelf.range_at(segment.low)
                if part is not None and _is_inside(span_of(shelf.pool, part), unit):
                    slots += segment.count
                    used += segment.used
        return Use(slots, used)

    def _shelves(self, tenant: str, vrf: str, space: Space) -> list[Shelf]:
        return [
            shelf
            for (owner, _), shelf in self._desk.addresses.register.shelves.items()
            if owner == tenant
            and shelf.pool.vrf == vrf
            and shelf.pool.kind is not Kind.FIXED
            and space_of(shelf.pool) is space
        ]

    def pools_inside(self, tenant: str, vrf: str, unit: Unit) -> list[tuple[Pool, Use]]:
        """Return the pools with ranges directly in a prefix, in none under it, with what they use there."""
        tree = self._trees.get(_scope(tenant, vrf, unit))
        found: list[tuple[Pool, Use]] = []
        for shelf in self._shelves(tenant, vrf, unit.space):
            mine = [
                part
                for part in shelf.pool.ranges
                if _is_inside(span_of(shelf.pool, part), unit)
                and (tree is None or _home(tree, span_of(shelf.pool, part)) == unit)
            ]
            slots = {part.first_slot for part in mine}
            inside = [
                segment
                for segment in shelf.allocator.segments
                if not segment.barred
                and (part := shelf.range_at(segment.low)) is not None
                and part.first_slot in slots
            ]
            if mine:
                use = Use(sum(each.count for each in inside), sum(each.used for each in inside))
                found.append((shelf.pool, use))
        return found

    def vrfs(self, tenant: str | None = None) -> list[Vrf]:
        """Return the VRFs that somebody named: documented, or used by a pool or prefix."""
        found = dict(self._vrfs)
        used = [
            (shelf.pool.tenant, shelf.pool.vrf) for shelf in self._desk.addresses.register.shelves.values()
        ]
        for owner, name in (
            *used,
            *((scope[0], scope[1]) for scope, tree in self._trees.items() if len(tree)),
        ):
            found.setdefault((owner, name), Vrf(tenant=owner, name=name))
        return [each for key, each in sorted(found.items()) if tenant in (None, key[0])]

    # --- what operators do -----------------------------------------------------------------------

    async def add(self, prefix: Prefix) -> Placed | Problems:
        """Add a prefix, or replace the equal one. Raises StoreUnavailable."""
        return await self._desk.alone(lambda: self._add(prefix))

    async def add_next(self, prefix: Prefix, length: int, also: Also | None = None) -> Placed | Problems:
        """Add the first free prefix of a length under `prefix.unit`, with the rest as in `prefix`.

        Free is what neither a prefix nor a pool lies in. `also` writes something in the same transaction.
        Raises StoreUnavailable.
        """

        async def take() -> Placed | Problems:
            unit = self.next_free(prefix.tenant, prefix.vrf, prefix.unit, length)
            if unit is None:
                text = f"no /{length} is free under {prefix.unit} in VRF {prefix.vrf or 'default'}"
                return problem("prefix-full", (str(prefix.unit),), text)
            return await self._add(replace(prefix, unit=unit), also)

        return await self._desk.alone(take)

    async def delete(self, tenant: str, vrf: str, unit: Unit) -> Placed | Problems:
        """Delete a prefix; those under it go to its parent. Returns what it was. Raises StoreUnavailable."""
        return await self._desk.alone(lambda: self._delete(tenant, vrf, unit))

    async def save_vrf(self, vrf: Vrf) -> Vrf:
        """Add a VRF, or replace it. Raises StoreUnavailable."""

        async def save() -> Vrf:
            async def write(connection: AsyncConnection) -> None:
                await definition_rows.save_vrf(connection, vrf)

            await self._desk.commit(write)
            self._vrfs[vrf.tenant, vrf.name] = vrf
            return vrf

        return await self._desk.alone(save)

    async def delete_vrf(self, tenant: str, name: str) -> Vrf | Problems:
        """Forget a VRF in which nothing is; return what it was. Raises StoreUnavailable."""

        async def delete() -> Vrf | Problems:
            known = next((each for each in self.vrfs(tenant) if each.name == name), None)
            if known is None:
                text = f"tenant {tenant} has no VRF {name or 'default'}; see `vrf list`"
                return problem("no-such-vrf", (name,), text)
            inside = self._inside_vrf(tenant, name)
            if inside:
                text = f"VRF {name or 'default'} has {', '.join(inside)}: delete these first"
                return problem("vrf-busy", (name, *inside), text)

            async def write(connection: AsyncConnection) -> None:
                await definition_rows.delete_vrf(connection, tenant, name)

            await self._desk.commit(write)
            self._vrfs.pop((tenant, name), None)
            return known

        return await self._desk.alone(delete)

    def _inside_vrf(self, tenant: str, name: str) -> list[str]:
        """Return what is in a VRF, for people: some of it."""
        shelves = self._desk.addresses.register.shelves.values()
        found = [
            f"pool {each.pool.name}"
            for each in shelves
            if (each.pool.tenant, each.pool.vrf) == (tenant, name) and each.pool.kind is not Kind.FIXED
        ]
        for (owner, vrf, _), tree in self._trees.items():
            if (owner, vrf) == (tenant, name):
                found += [f"prefix {each.unit}" for each in list(tree)[:_SHOWN]]
        return found[:_SHOWN]

    async def _add(self, prefix: Prefix, also: Also | None = None) -> Placed | Problems:
        if prefix.state not in STATES:
            text = f"prefix {prefix.unit}: state {prefix.state!r} is none of {', '.join(STATES)}"
            return problem("prefix-state", (str(prefix.unit),), text)
        if prefix.unit.space not in (Space.IPV4, Space.IPV6):
            return problem("prefix-space", (str(prefix.unit),), f"{prefix.unit} is no prefix of IPv4 or IPv6")

        async def write(connection: AsyncConnection) -> None:
            await definition_rows.save_prefix(connection, prefix)
            if also is not None:
                await also(connection, prefix)

        await self._desk.commit(write)
        scope = _scope(prefix.tenant, prefix.vrf, prefix.unit)
        self._tree(scope).add(prefix)
        return self._placed(scope, prefix)

    async def _delete(self, tenant: str, vrf: str, unit: Unit) -> Placed | Problems:
        known = self.find(tenant, vrf, unit)
        if known is None:
            text = f"tenant {tenant} has no prefix {unit} in VRF {vrf or 'default'}; see `prefix tree`"
            return problem("no-such-prefix", (str(unit),), text)

        async def write(connection: AsyncConnection) -> None:
            await definition_rows.delete_prefix(connection, tenant, vrf, unit)

        await self._desk.commit(write)
        self._trees[_scope(tenant, vrf, unit)].remove(unit)
        return known

    def next_free(self, tenant: str, vrf: str, unit: Unit, length: int) -> Unit | None:
        """Return the first prefix of a length inside another in which neither a prefix nor a pool lies."""
        if not unit.length <= length <= BITS[unit.space]:
            return None
        tree = self._trees.get(_scope(tenant, vrf, unit))
        taken: list[Span] = (
            [] if tree is None else [(each.unit.value, each.unit.last) for each in tree.children(unit)]
        )
        for shelf in self._shelves(tenant, vrf, unit.space):
            taken += (span_of(shelf.pool, part) for part in shelf.pool.ranges)
        size, first = 1 << (BITS[unit.space] - length), unit.value
        for begin, end in merged(taken):
            if end < first:
                continue
            if first + size <= begin:
                break
            first = -(-(end + 1) // size) * size
        return Unit(unit.space, first, length) if first + size - 1 <= unit.last else None


def _scope(tenant: str, vrf: str, unit: Unit) -> Scope:
    return tenant, vrf, unit.space


def _is_inside(span: Span, unit: Unit) -> bool:
    return unit.value <= span[0] and span[1] <= unit.last


def _home(tree: PrefixTree, span: Span) -> Unit | None:
    """Return the smallest prefix that a range lies in as a whole."""
    found = tree.longest_match(span[0])
    while found is not None and not _is_inside(span, found.unit):
        found = tree.parent(found.unit)
    return None if found is None else found.unit
