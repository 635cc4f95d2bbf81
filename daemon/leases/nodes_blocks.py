"""The blocks of one node: gained and lost in the book, claimed and given back in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from daemon.errors import StoreUnavailable
from daemon.leases.addresses import Addresses
from daemon.leases.definitions_apply import SetAside
from daemon.leases.nodes_heard import HeardKeeper
from daemon.leases.nodes_plan import Demand, empty_blocks, free_slots, takes_blocks
from daemon.leases.shared_store import SharedWriter
from ipam import heard_rows
from ipam.block_rows import claim_blocks, release_block
from ipam.blocks import (
    Block,
    Given,
    gain_block,
    give_block,
    held_blocks,
    keep_block,
    lose_block,
    outdated,
    sessions_in,
)
from ipam.heard_rows import HeardRow
from ipam.kinds import Kind
from ipam.ledger import LeaseRow
from ipam.model import Pool, Range, blocks_per_address, step
from ipam.register import Register
from ipam.store import load_block_rows

_GIVE_AT_ONCE = 16
_IDLE_TRIES = 1000
_IDLE_STEP_S = 0.002

_Key = tuple[str, str]
"""Tenant and pool."""


@dataclass(slots=True)
class Counts:
    """How many blocks came and went since the start."""

    claimed: int = 0
    given: int = 0
    lost: int = 0
    taken_over: int = 0


class BlockKeeper:
    """What `Nodes` does to blocks; one operation at a time. All raise StoreUnavailable."""

    def __init__(
        self,
        addresses: Addresses[Any],
        block_slots: int,
        ahead_s: float,
        counts: Counts,
        set_aside: SetAside | None,
        remote: HeardKeeper,
    ) -> None:
        assert isinstance(addresses.writer, SharedWriter)
        self._addresses = addresses
        self._writer: SharedWriter = addresses.writer
        self._clock = addresses.clock
        self._block_slots = block_slots
        self._ahead_s = ahead_s
        self._counts = counts
        self._set_aside = set_aside
        self._remote = remote
        self._demands: dict[_Key, Demand] = {}
        self._none_left: set[_Key] = set()
        self._dry: set[_Key] = set()  # the same, as it was after the last look

    @property
    def _register(self) -> Register:
        return self._addresses.register

    def begin(self) -> None:
        """The book has begun anew."""
        self._demands.clear()
        self._none_left.clear()
        self._dry.clear()

    def low_water(self, key: _Key) -> int:
        """Return how many free slots of a pool are too few; 0 where the store has no block left."""
        if key in self._none_left:
            return 0
        return self._demand(key).wanted

    def is_dry(self, key: _Key) -> bool:
        """Tell whether no more of a pool can be had, as far as is known."""
        shelf = self._register.find(*key)
        return shelf is None or not takes_blocks(shelf) or key in self._dry

    def _demand(self, key: _Key) -> Demand:
        found = self._demands.get(key)
        if found is None:
            found = self._demands[key] = Demand(self._block_slots, self._ahead_s)
        return found

    # --- the store against the book --------------------------------------------------------------

    async def agree(self, owned: Sequence[Block]) -> tuple[str, ...]:
        """Use what this node owns, and nothing else; return the names of sessions that have lost their address."""
        names: dict[str, None] = {}
        lost = outdated(self._register, owned)
        if lost and await self._is_idle():
            for each in lost:
                names.update(dict.fromkeys(self.lose(*each)))
        used = held_blocks(self._register)
        await self.gain(
            [each for each in owned if (each.tenant, each.pool, each.first_slot, each.generation) not in used]
        )
        return tuple(names)

    def lose(self, tenant: str, pool: str, first_slot: int) -> tuple[str, ...]:
        """Forget a block that is another node's; return the sessions with leases in it. No batch may be under way."""
        register, book = self._register, self._addresses.book
        if register.find(tenant, pool) is None:
            return ()
        names = sessions_in(register, book, tenant, pool, first_slot)
        lose_block(register, book, tenant, pool, first_slot, self._clock.monotonic(), self._clock.wall())
        self._counts.lost += 1
        return names

    async def _is_idle(self) -> bool:
        """Wait until no batch is under way; False where that takes too long, because the store refuses."""
        for _ in range(_IDLE_TRIES):
            if self._addresses.lessor.idle:
                return True
            await self._clock.sleep(_IDLE_STEP_S)
        return False

    async def gain(self, blocks: Sequence[Block]) -> None:
        """Begin to use blocks that the store says are this node's."""
        known = [each for each in blocks if self._register.find(each.tenant, each.pool) is not None]
        rows: dict[int, list[LeaseRow]] = {}
        heard: dict[int, list[HeardRow]] = {}
        used = [number for number, each in enumerate(known) if each.generation > 1]
        if used:
            async with self._writer.transaction() as connection:
                for number in used:
                    each = known[number]
                    rows[number] = await load_block_rows(
                        connection, each.tenant, each.pool, each.first_slot, each.last_slot
                    )
                    heard[number] = await heard_rows.in_block(connection, each, self._writer.node)
            self._remote.gained()
        for number, each in enumerate(known):
            await self._gain(each, rows.get(number, []), heard.get(number, []))

    async def _gain(self, block: Block, rows: list[LeaseRow], heard: list[HeardRow]) -> None:
        key = block.tenant, block.pool
        shelf = self._register.find(*key)
        known = shelf is not None and shelf.allocator.segment_at(block.first_slot) is not None
        if known and not await self._is_idle():
            return  # what is known of it from earlier cannot be lost now; the next comparison finds it again
        if self._register.find(*key) is None:
            return
        closed = self._set_aside is not None
        now, at = self._clock.monotonic(), self._clock.wall()
        gain_block(self._register, self._addresses.book, block, rows, now, at, closed=closed)
        self._remote.take_up(heard)  # before a lease can begin there
        self._addresses.notes.regained(*key, block.first_slot, block.last_slot)
        if self._set_aside is not None:
            pool = self._register.shelves[key].pool
            parts = [_part_of(pool, part, block) for part in pool.ranges if _touches(part, block)]
            await self._set_aside(pool, tuple(parts))
            if self._register.find(*key) is None:
                return
            keep_block(self._register, *key, block.first_slot)
        slots = block.last_slot - block.first_slot + 1
        self._demand(key).moved(max(slots - len(rows), 0))

    def open_all(self) -> None:
        """Let leases begin in all blocks that were gained while the book was made anew."""
        for (tenant, pool), shelf in list(self._register.shelves.items()):
            for block in {each.block for each in shelf.allocator.segments} if shelf.divided else ():
                keep_block(self._register, tenant, pool, block)

    # --- claims ----------------------------------------------------------------------------------

    def retry(self) -> None:
        """Ask again for blocks of pools that had none left."""
        self._none_left.clear()

    async def supply(self) -> None:
        """Claim blocks of the pools that have too few free slots here."""
        for key, shelf in list(self._register.shelves.items()):
            if not takes_blocks(shelf) or key in self._none_left:
                continue
            demand = self._demand(key)
            demand.look(free_slots(shelf), self._clock.monotonic())
            most = demand.claim()
            if not most:
                continue
            at = self._clock.wall()
            async with self._writer.transaction() as connection:
                blocks = await claim_blocks(connection, *key, self._writer.node, at, most)
            if len(blocks) < most:
                self._none_left.add(key)
            self._counts.claimed += len(blocks)
            await self.gain(blocks)
        self._dry = set(self._none_left)

    async def give_back(self, after_s: float) -> None:
        """Give blocks back that were empty and not needed for so long."""
        now = self._clock.monotonic()
        for key, shelf in list(self._register.shelves.items()):
            if not shelf.divided:
                continue
            spare = self._demand(key).spare(now, after_s) if takes_blocks(shelf) else _GIVE_AT_ONCE
            blocks = empty_blocks(shelf)[: min(spare, _GIVE_AT_ONCE)] if spare else []
            if blocks:
                await self._give(key, blocks)

    async def _give(self, key: _Key, blocks: Sequence[int]) -> None:
        generations = {each[2]: each[3] for each in held_blocks(self._register) if each[:2] == key}
        given: list[Block] = []
        for first in blocks:
            if give_block(self._register, *key, first) is Given.GIVEN:
                given.append(
                    Block(
                        tenant=key[0],
                        pool=key[1],
                        first_slot=first,
                        last_slot=first,
                        generation=generations[first],
                    )
                )
            else:
                keep_block(self._register, *key, first)
        try:
            async with self._writer.transaction() as connection:
                for each in given:
                    await release_block(connection, each, self._writer.node)
        except StoreUnavailable:
            return  # they are still ours in the store, or not: the next comparison says which
        self._counts.given += len(given)
        self._demand(key).moved(-len(given) * self._block_slots)


def _touches(part: Range, block: Block) -> bool:
    return part.first_slot <= block.last_slot and block.first_slot < part.first_slot + part.slots


def _part_of(pool: Pool, part: Range, block: Block) -> Range:
    """Return what a block has of a range, as a range."""
    low = max(part.first_slot, block.first_slot)
    high = min(part.first_slot + part.slots - 1, block.last_slot)
    passed = low - part.first_slot
    ports = pool.kind is Kind.CGN_BLOCK
    first = part.first + (passed // blocks_per_address(pool) if ports else passed * step(pool))
    return Range(first=first, slots=high - low + 1, first_slot=low, draining=part.draining)
