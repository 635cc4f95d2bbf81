"""Pools that several nodes share: each node gives out only slots of blocks that it owns.

Blocks are disjoint stretches of slots. The store says who owns one and in which generation (`ipam.block_rows`); a
generation is counted up each time that a block gets another owner, and is checked with every batch, so that a node
that does not know yet that it has lost a block cannot store a lease of it.

A live lease is told again without being stored again. So a node must ask the store which blocks it owns more often
than the shortest lease time (`outdated`), and end the sessions of the bundles that `lose_block` returns: the new
owner of the block keeps the addresses for their owners for one whole lease time and the quarantine, no longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ipam.book import Book
from ipam.cells import NONE
from ipam.kinds import Cause
from ipam.ledger import LeaseRow
from ipam.register import Register
from ipam.restore import restore
from ipam.shelf import Shelf

_MOST_BLOCKS = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Slots `first_slot` to `last_slot` of a pool, owned in that generation."""

    tenant: str
    pool: str
    first_slot: int
    last_slot: int
    generation: int


class Given(StrEnum):
    """What became of a block that was to be given back."""

    GIVEN = "given"  # this node will use it no more: let the store know
    BUSY = "busy"  # it drains now; ask again
    UNKNOWN = "unknown"


def divide(slots: int, size: int) -> tuple[tuple[int, int], ...]:
    """Return first and last slots of the blocks of a pool; larger ones than `size` where there would be too many."""
    size = max(size, -(-slots // _MOST_BLOCKS))
    return tuple((first, min(first + size, slots) - 1) for first in range(0, slots, size))


def gain_block(
    register: Register,
    book: Book,
    block: Block,
    rows: Iterable[LeaseRow],
    now: float,
    at: float,
    *,
    closed: bool = False,
) -> int:
    """Begin to use a block that the store has given to this node; return how many rows could not be restored.

    `rows` are all slots of it that are stored. Their waits and lease times begin anew. What this node may still
    know of the block from an earlier generation is lost first, so no batch may be under way then. With `closed`,
    no lease begins in it before `keep_block`.
    """
    shelf = register.shelves[block.tenant, block.pool]
    assert shelf.divided, "a pool that is not divided is all this node's"
    lose_block(register, book, block.tenant, block.pool, block.first_slot, now, at)
    shelf.open_slots(block.first_slot, block.last_slot, block=block.first_slot, fence=block.generation)
    if closed:
        for segment in shelf.allocator.segments:
            if segment.block == block.first_slot:
                shelf.allocator.close(segment)
    return restore(register, book, [_of_another(row, block) for row in rows], now)


def _of_another(row: LeaseRow, block: Block) -> LeaseRow:
    """Return a row whose session is no session of this node's where an earlier owner of the block wrote it.

    Each node numbers its own sessions, so a number alone could be of another one here.
    """
    if not row.session or row.fence == block.generation or "@" in row.session or is_remote(row.session):
        return row
    return row._replace(session=f"{row.session}@{row.fence}")


def remote_name(node: str, session: str) -> str:
    """Return how the book calls a session of which another node tells; `session` is its number there."""
    return f"{node}#{session}"


def is_remote(name: str, node: str | None = None) -> bool:
    """Tell whether a session goes on as long as another node, or a certain one, does not say otherwise."""
    told_by, mark, number = name.partition("#")
    return bool(mark) and number.isdigit() and node in (None, told_by)


def give_block(register: Register, tenant: str, pool: str, first_slot: int) -> Given:
    """Stop to use a block, when nothing in it is leased, held or in quarantine any more; until then it drains.

    After GIVEN the store must be told; before that, nobody else can get it.
    """
    shelf = register.shelves[tenant, pool]
    segments = [each for each in shelf.allocator.segments if each.block == first_slot]
    if not segments:
        return Given.UNKNOWN
    for segment in segments:
        if not segment.closed:
            shelf.allocator.close(segment)
    last = max(each.low + each.count for each in segments) - 1
    if any(each.used for each in segments) or register.ledger.holds(tenant, pool, first_slot, last):
        return Given.BUSY
    for segment in segments:
        for cell in shelf.allocator.remove_segment(segment):
            shelf.tenures.pop(cell, None)
    return Given.GIVEN


def keep_block(register: Register, tenant: str, pool: str, first_slot: int) -> None:
    """Use a block again that was draining in order to be given back."""
    shelf = register.shelves[tenant, pool]
    for segment in shelf.allocator.segments:
        if segment.block == first_slot:
            shelf.allocator.close(segment, closed=False)
    shelf.close_as_defined()


def held_blocks(register: Register) -> set[tuple[str, str, int, int]]:
    """Return the blocks that this node uses: tenant, pool, first slot, generation."""
    return {
        (tenant, pool, segment.block, segment.fence)
        for (tenant, pool), shelf in register.shelves.items()
        if shelf.divided
        for segment in shelf.allocator.segments
    }


def sessions_in(
    register: Register, book: Book, tenant: str, pool: str, first_slot: int | None = None
) -> tuple[str, ...]:
    """Return the names of the sessions that have leases in a block, or in all blocks of a pool."""
    shelf = register.shelves[tenant, pool]
    found: dict[str, None] = {}
    for segment in shelf.allocator.segments:
        if first_slot not in (None, segment.block):
            continue
        for cell in segment.cells():
            tenure = shelf.tenures.get(cell)
            for number in book.bundles_of(tenant, tenure.owner) if tenure is not None else ():
                live = book.find(number)
                if live is not None and live.session and (shelf, cell, tenure) in live.members:
                    found[live.session] = None
    return tuple(found)


def outdated(register: Register, owned: Iterable[Block]) -> tuple[tuple[str, str, int], ...]:
    """Return the blocks that this node uses and does not own by the store: tenant, pool, first slot."""
    store = {(each.tenant, each.pool, each.first_slot, each.generation) for each in owned}
    return tuple(sorted((tenant, pool, first) for tenant, pool, first, _ in held_blocks(register) - store))


def lose_block(
    register: Register, book: Book, tenant: str, pool: str, first_slot: int, now: float, at: float
) -> tuple[int, ...]:
    """The store says that another node has a block: forget all of it; return the bundles that ended by this.

    What was not stored of it never will be, and nobody was told. Other leases of those bundles end in the ordinary
    way. No batch may be under way.
    """
    shelf = register.shelves[tenant, pool]
    ended: list[int] = []
    segments = [each for each in shelf.allocator.segments if each.block == first_slot]
    for segment in segments:
        register.ledger.forget(tenant, pool, segment.low, segment.low + segment.count - 1)
        for cell in segment.cells():
            ended.extend(_lose(shelf, book, cell, now, at))
        shelf.allocator.remove_segment(segment)
    return tuple(ended)


def _lose(shelf: Shelf, book: Book, cell: int, now: float, at: float) -> tuple[int, ...]:
    tenure = shelf.tenures.pop(cell, None)
    if tenure is None or cell == NONE:
        return ()
    return book.end_all(shelf, tenure, Cause.FENCED, now, at)
