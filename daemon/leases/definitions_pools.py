"""Pools: added, changed, resized, drained and deleted, by operators and by the platform."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.errors import StoreUnavailable
from daemon.leases import definitions_apply
from daemon.leases import definitions_edits as edits
from daemon.leases import definitions_refusals as refusals
from daemon.leases.definitions_apply import SetAside, span_slots
from daemon.leases.definitions_check import not_yours, pool_problems, unknown
from daemon.leases.definitions_desk import Desk
from daemon.leases.definitions_edits import Problems
from daemon.replica.claims import Claims
from daemon.replica.pools import range_space
from ipam import definition_rows
from ipam.address import read_span
from ipam.block_rows import save_blocks
from ipam.blocks import divide
from ipam.definition_rows import DefinedBy, Definition
from ipam.kinds import Order, PoolState
from ipam.model import Pool, Range

Key = tuple[str, str]
"""Tenant and name."""

Edit = Callable[[Definition], Definition | Problems]

NamedBy = Callable[[str, str], tuple[str, ...]]
"""(tenant, pool): what else names the pool, for people."""

_KEY_OCTETS = 16


class Pools:
    """The definitions of pools. `known` is what is stored; the register follows it."""

    def __init__(
        self, desk: Desk, reserved: Callable[[str], Claims], set_aside: SetAside, named_by: NamedBy
    ) -> None:
        """`reserved` gives the operators' reservations of a tenant, `named_by` the selectors that name a pool."""
        self._desk = desk
        self._named_by = named_by
        self._reserved = reserved
        self._set_aside = set_aside
        self.known: dict[Key, Definition] = {}
        self._unsettled: set[Key] = set()  # the register could not follow yet

    def find(self, tenant: str, name: str) -> Definition | None:
        """Return the definition of a pool."""
        return self.known.get((tenant, name))

    # --- what operators do -----------------------------------------------------------------------

    async def add(
        self, pool: Pool, ranges: Sequence[str], by: DefinedBy = DefinedBy.OPERATOR
    ) -> Pool | Problems:
        """Add a pool of ranges given as text. Raises Malformed, StoreUnavailable."""
        if pool.order is Order.SHUFFLED and not pool.key:
            pool = replace(pool, key=secrets.token_bytes(_KEY_OCTETS))
        wanted = edits.grown(Definition(pool=replace(pool, ranges=()), by=by), ranges)
        return await self._desk.alone(lambda: self.put_new(wanted))

    async def change(self, tenant: str, name: str, edit: Callable[[Pool], Pool]) -> Pool | Problems:
        """Change the settings of a pool: times, thresholds, fallbacks, site. Raises StoreUnavailable."""
        return await self._edit(tenant, name, lambda known: replace(known, pool=edit(known.pool)))

    async def resize(
        self, tenant: str, name: str, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> Pool | Problems:
        """Add ranges, and let others drain and go when they are empty. Raises Malformed, StoreUnavailable."""

        def edit(known: Definition) -> Definition | Problems:
            parts = edits.find_parts(known.pool, remove)
            if isinstance(parts, tuple):
                return parts
            return edits.grown(edits.left(known, parts), add)

        changed = await self._edit(tenant, name, edit)
        known = self.find(tenant, name)
        if isinstance(changed, tuple) or known is None or not remove:
            return changed
        with suppress(StoreUnavailable):  # it is stored already that they are to go: a later turn does it
            await self._desk.alone(lambda: self._shear((tenant, name)))
        return self.known[tenant, name].pool

    async def drain(
        self, tenant: str, name: str, ranges: Sequence[str] = (), *, draining: bool = True
    ) -> Pool | Problems:
        """Let no lease begin in some ranges, or in none of a pool; or let them begin again.

        Raises Malformed, StoreUnavailable.
        """

        def edit(known: Definition) -> Definition | Problems:
            if not ranges:
                return (not draining and refusals.still_draining(known)) or edits.in_state(
                    known, PoolState.DRAINING if draining else PoolState.ACTIVE
                )
            parts = edits.find_parts(known.pool, ranges)
            return parts if isinstance(parts, tuple) else edits.drained(known, parts, draining=draining)

        return await self._edit(tenant, name, edit)

    async def set_state(self, tenant: str, name: str, state: PoolState) -> Pool | Problems:
        """Let a whole pool be active, draining or disabled. Raises StoreUnavailable."""
        return await self._edit(tenant, name, lambda known: edits.in_state(known, state))

    async def exclude(self, tenant: str, name: str, ranges: Sequence[str]) -> Pool | Problems:
        """Give out nothing of some ranges any more. Raises Malformed, StoreUnavailable."""

        def edit(known: Definition) -> Definition | Problems:
            space = range_space(known.pool.kind)
            spans = [read_span(space, given) for given in ranges]
            return refusals.outside(known.pool, spans) or edits.excluded(known, spans)

        return await self._edit(tenant, name, edit)

    async def include(self, tenant: str, name: str, ranges: Sequence[str]) -> Pool | Problems:
        """Let ranges be given out again that were excluded. Raises Malformed, StoreUnavailable."""

        def edit(known: Definition) -> Definition:
            space = range_space(known.pool.kind)
            return edits.included(known, [read_span(space, given) for given in ranges])

        return await self._edit(tenant, name, edit)

    async def delete(self, tenant: str, name: str, by: DefinedBy = DefinedBy.OPERATOR) -> Problems:
        """Delete a pool of which nothing is in use; nothing where it is gone. Raises StoreUnavailable.

        Its history stays.
        """
        return await self._desk.alone(lambda: self.drop((tenant, name), by))

    async def _edit(self, tenant: str, name: str, edit: Edit) -> Pool | Problems:
        return await self._desk.alone(lambda: self.put((tenant, name), DefinedBy.OPERATOR, edit))

    # --- one at a time: to be called by who is alone at the desk ----------------------------------

    async def put_new(self, wanted: Definition) -> Pool | Problems:
        """Store a new pool and open it."""
        pool = wanted.pool
        key = pool.tenant, pool.name
        known = self.known.get(key)
        if known is not None:
            return refusals.exists(wanted, known)
        refused = [self._check(wanted, None)]
        if refused[0]:
            return refused[0]

        async def write(connection: AsyncConnection) -> None:
            if self._desk.shared:
                stored = await definition_rows.lock_definitions(connection)
                refused[0] = refusals.exists(wanted, _of(stored, key)) or self._check(wanted, None, stored)
            if not refused[0]:
                await definition_rows.save_definition(connection, wanted)
                await self._save_blocks(connection, pool, pool.ranges)

        await self._desk.commit(write)
        if refused[0]:
            self._desk.doubtful = True  # what another node has defined is to be learned
            return refused[0]
        await self._follow(key, wanted)
        return pool

    async def put(self, key: Key, by: DefinedBy, edit: Edit) -> Pool | Problems:
        """Store what an edit makes of a pool, and let the register follow.

        In a shared store the edit is made again with the pool as it is there.
        """
        known = self.known.get(key)
        if known is None:
            return unknown(*key)
        if known.by is not by:
            return not_yours(known)
        decided = self._decide(known, edit)
        if isinstance(decided, tuple):
            return decided
        if decided == known and not self._desk.shared:
            return known.pool
        outcome: list[Definition | Problems] = [decided]

        async def write(connection: AsyncConnection) -> None:
            base: Definition | None = known
            if self._desk.shared:
                stored = await definition_rows.lock_definitions(connection)
                base = _of(stored, key)
                outcome[0] = unknown(*key) if base is None else self._decide(base, edit, stored)
            await self._write(connection, base, outcome[0])

        await self._desk.commit(write)
        settled = outcome[0]
        if isinstance(settled, tuple):
            return settled
        await self._follow(key, settled)
        return settled.pool

    def _decide(
        self, known: Definition, edit: Edit, stored: Sequence[Definition] | None = None
    ) -> Definition | Problems:
        wanted = edit(known)
        return wanted if isinstance(wanted, tuple) else self._check(wanted, known.pool, stored) or wanted

    def _check(
        self, wanted: Definition, known: Pool | None, stored: Sequence[Definition] | None = None
    ) -> Problems:
        """Return why a pool cannot be so beside those that are stored, by default those of the register."""
        desk, register = self._desk, self._desk.addresses.register
        shelves = register.shelves.values()
        pools = [each.pool for each in shelves if stored is None] + [each.pool for each in stored or ()]
        reserved = self._reserved(wanted.pool.tenant)
        return pool_problems(register, pools, desk.index, reserved, wanted, known)

    async def _write(
        self, connection: AsyncConnection, base: Definition | None, wanted: Definition | Problems
    ) -> None:
        if base is None or isinstance(wanted, tuple):
            return
        await definition_rows.save_definition(connection, wanted)
        slots = {each.first_slot for each in base.pool.ranges}
        fresh = [each for each in wanted.pool.ranges if each.first_slot not in slots]
        await self._save_blocks(connection, wanted.pool, fresh)

    async def _save_blocks(self, connection: AsyncConnection, pool: Pool, fresh: Sequence[Range]) -> None:
        """Divide new ranges among the nodes; a block never crosses from one range into another."""
        for part in fresh if self._desk.shared else ():
            blocks = [
                (part.first_slot + first, part.first_slot + last)
                for first, last in divide(part.slots, self._desk.block_slots)
            ]
            await save_blocks(connection, pool.tenant, pool.name, blocks)

    async def drop(self, key: Key, by: DefinedBy) -> Problems:
        """Delete a pool and what is stored of its slots, unless something of it is in use."""
        known = self.known.get(key)
        if known is None:
            return unknown(*key)
        if known.by is not by:
            return not_yours(known)
        others = () if by is DefinedBy.PLATFORM else self._naming(key)
        if others:
            return refusals.named(known.pool, others)
        if self.is_busy(key):
            return refusals.busy(known.pool)
        if known.pool.state is PoolState.ACTIVE:  # so that no login comes in between
            await self.put(key, by, lambda each: edits.in_state(each, PoolState.DRAINING))
        refused = [False]

        async def write(connection: AsyncConnection) -> None:
            refused[0] = await self._forget(connection, key, known.pool.ranges)
            if not refused[0]:
                await definition_rows.delete_pool(connection, *key)

        await self._desk.commit(write)
        if refused[0]:
            return refusals.busy(known.pool)
        await self._follow(key, None)
        return ()

    def _naming(self, key: Key) -> tuple[str, ...]:
        tenant, name = key
        pools = [each.pool for each in self.known.values() if each.pool.tenant == tenant]
        fallbacks = [f"pool {each.name} as a fallback" for each in pools if name in each.fallbacks]
        return (*self._named_by(tenant, name), *fallbacks)

    async def _forget(self, connection: AsyncConnection, key: Key, parts: Sequence[Range]) -> bool:
        """Delete what is stored of some ranges; True, and nothing is deleted, where another node uses one."""
        for part in parts if self._desk.shared else ():
            if await definition_rows.is_used(connection, *key, *span_slots(part)):
                return True
        for part in parts:
            await definition_rows.forget_slots(connection, *key, *span_slots(part))
        return False

    def is_busy(self, key: Key, parts: Sequence[Range] | None = None) -> bool:
        """Tell whether a slot of a pool, or of some ranges, is leased, waits after it, or waits to be stored."""
        register = self._desk.addresses.register
        shelf = register.find(*key)
        if shelf is None:
            return False
        spans = [span_slots(part) for part in (shelf.pool.ranges if parts is None else parts)]
        used = any(
            segment.used and any(first <= segment.low <= last for first, last in spans)
            for segment in shelf.allocator.segments
        )
        return used or any(register.ledger.holds(*key, first, last) for first, last in spans)

    def used_slots(self, key: Key) -> list[int]:
        """Return, in order, the first slots of the stretches of a pool of which something is used."""
        shelf = self._desk.addresses.register.find(*key)
        return sorted(each.low for each in list(shelf.allocator.segments) if each.used) if shelf else []

    # --- following what is stored ----------------------------------------------------------------

    async def _follow(self, key: Key, wanted: Definition | None) -> None:
        """Take over what is stored now, None where the pool is gone."""
        known = self.known.get(key)
        self._unsettled.add(key)
        if wanted is None:
            self.known.pop(key, None)
            shelf = self._desk.addresses.register.find(*key)
            pool = shelf.pool if shelf is not None else None if known is None else known.pool
            done = pool is None or await definitions_apply.remove(self._desk.addresses, pool, self._set_aside)
        else:
            self.known[key] = wanted
            done = await definitions_apply.apply(self._desk.addresses, wanted, self._set_aside)
        if done:
            self._unsettled.discard(key)

    def take_stored(self, definitions: Sequence[Definition]) -> None:
        """Begin with what the store has and the register was opened with."""
        self._unsettled.clear()
        self.known = {(each.pool.tenant, each.pool.name): each for each in definitions}

    async def refresh(self, definitions: Sequence[Definition]) -> None:
        """Follow the store, which another node has changed, or of which it was not known what it had."""
        stored = {(each.pool.tenant, each.pool.name): each for each in definitions}
        for key in [*self.known, *stored]:
            if self.known.get(key) != stored.get(key):
                await self._follow(key, stored.get(key))

    async def turn(self) -> None:
        """Take away what was to go and is empty now. Raises StoreUnavailable."""
        for key in list(self._unsettled):
            await self._desk.alone(lambda key=key: self._follow(key, self.known.get(key)))  # type: ignore[misc]
        for key, known in list(self.known.items()):
            if known.leaving and self._ready(key, known):
                await self._desk.alone(lambda key=key: self._shear(key))  # type: ignore[misc]

    def _ready(self, key: Key, known: Definition) -> list[Range]:
        """Return the ranges that are to go and are used no more."""
        leaving = [each for each in known.pool.ranges if each.first_slot in known.leaving]
        return [each for each in leaving if not self.is_busy(key, [each])]

    async def _shear(self, key: Key) -> None:
        """Take away the ranges that are to go and are used no more, with what is stored of them."""
        known = self.known.get(key)
        parts = [] if known is None else self._ready(key, known)
        if known is None or not parts:
            return
        settled: list[Definition] = []

        async def write(connection: AsyncConnection) -> None:
            base = known
            if self._desk.shared:
                found = _of(await definition_rows.lock_definitions(connection), key)
                if found is None:
                    return
                base = found
            if await self._forget(connection, key, parts):
                return
            settled[:] = [edits.shorn(base, (each.first_slot for each in parts))]
            await definition_rows.save_definition(connection, settled[0])

        await self._desk.commit(write)
        if settled:
            await self._follow(key, settled[0])


def _of(definitions: Sequence[Definition], key: Key) -> Definition | None:
    return next((each for each in definitions if (each.pool.tenant, each.pool.name) == key), None)
