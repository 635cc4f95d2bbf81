"""Who owns which block of a divided pool, in a store that several nodes share.

PostgreSQL: nodes that look for a block at the same time skip what another is just taking (FOR UPDATE SKIP LOCKED),
so none waits and no two get the same. On SQLite, which one node has to itself, the clause means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ipam.blocks import Block
from ipam.schema import BLOCK


async def save_blocks(
    connection: AsyncConnection, tenant: str, pool: str, blocks: Sequence[tuple[int, int]]
) -> None:
    """Divide a pool, or slots that were added to it, into blocks of nobody: first and last slots."""
    rows = [
        {
            "tenant": tenant,
            "pool": pool,
            "first_slot": first,
            "last_slot": last,
            "owner": None,
            "generation": 0,
            "taken_at": 0.0,
        }
        for first, last in blocks
    ]
    if rows:
        await connection.execute(insert(BLOCK), rows)


async def claim_block(
    connection: AsyncConnection, tenant: str, pool: str, node: str, at: float
) -> Block | None:
    """Take a block that nobody owns; None where there is none. It is this node's once the transaction is committed."""
    free = (
        select(BLOCK)
        .where(BLOCK.c.tenant == tenant, BLOCK.c.pool == pool, BLOCK.c.owner.is_(None))
        .order_by(BLOCK.c.first_slot)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    found = (await connection.execute(free)).first()
    return None if found is None else await _take(connection, found, node, at)


async def claim_blocks(
    connection: AsyncConnection, tenant: str, pool: str, node: str, at: float, most: int
) -> list[Block]:
    """Take up to `most` blocks that nobody owns; they are this node's once the transaction is committed."""
    free = (
        select(BLOCK)
        .where(BLOCK.c.tenant == tenant, BLOCK.c.pool == pool, BLOCK.c.owner.is_(None))
        .order_by(BLOCK.c.first_slot)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    return await _take_all(connection, (await connection.execute(free)).all(), node, at)


async def take_over_blocks(
    connection: AsyncConnection, dead: str, node: str, at: float, most: int
) -> list[Block]:
    """Take up to `most` blocks from a node that is known to be dead.

    Should it live after all, its next batch is refused.
    """
    owned = (
        select(BLOCK)
        .where(BLOCK.c.owner == dead)
        .order_by(*BLOCK.primary_key.columns)
        .limit(most)
        .with_for_update()
    )
    return await _take_all(connection, (await connection.execute(owned)).all(), node, at)


async def take_over_block(
    connection: AsyncConnection, block: Block, dead: str, node: str, at: float
) -> Block | None:
    """Take a block from a node that is known to be dead; None where it is not `dead`'s in that generation any more.

    Should that node live after all, its next batch is refused.
    """
    owned = (
        select(BLOCK)
        .where(*_is(block), BLOCK.c.owner == dead, BLOCK.c.generation == block.generation)
        .with_for_update()
    )
    found = (await connection.execute(owned)).first()
    return None if found is None else await _take(connection, found, node, at)


async def release_block(connection: AsyncConnection, block: Block, node: str) -> bool:
    """Give a block back that `blocks.give_block` has let go; False where it was not this node's."""
    statement = update(BLOCK).where(
        *_is(block), BLOCK.c.owner == node, BLOCK.c.generation == block.generation
    )
    return int((await connection.execute(statement.values(owner=None))).rowcount) == 1


async def blocks_of(connection: AsyncConnection, node: str) -> list[Block]:
    """Return the blocks that a node owns."""
    rows = await connection.execute(
        select(BLOCK).where(BLOCK.c.owner == node).order_by(*BLOCK.primary_key.columns)
    )
    return [_block(row) for row in rows]


async def blocks_by_node(
    connection: AsyncConnection, of: tuple[str, str] | None = None
) -> list[tuple[str, str, str, int, int]]:
    """Return tenant, pool, node (empty: nobody), how many blocks and how many slots, sorted.

    `of` is the tenant and name of one pool; without it all are told.
    """
    slots = func.sum(BLOCK.c.last_slot - BLOCK.c.first_slot + 1)
    owner = func.coalesce(BLOCK.c.owner, "")
    found = (
        select(BLOCK.c.tenant, BLOCK.c.pool, owner, func.count(), slots)
        .group_by(BLOCK.c.tenant, BLOCK.c.pool, owner)
        .order_by(BLOCK.c.tenant, BLOCK.c.pool, owner)
    )
    if of is not None:
        found = found.where(BLOCK.c.tenant == of[0], BLOCK.c.pool == of[1])
    return [(row[0], row[1], row[2], int(row[3]), int(row[4])) for row in await connection.execute(found)]


def _is(block: Block) -> tuple[Any, ...]:
    return BLOCK.c.tenant == block.tenant, BLOCK.c.pool == block.pool, BLOCK.c.first_slot == block.first_slot


async def _take_all(connection: AsyncConnection, found: Sequence[Any], node: str, at: float) -> list[Block]:
    if not found:
        return []
    first = found[0]
    same_pool = all((each.tenant, each.pool) == (first.tenant, first.pool) for each in found)
    if not same_pool:
        return [await _take(connection, each, node, at) for each in found]
    values = {"owner": node, "generation": BLOCK.c.generation + 1, "taken_at": at}
    mine = BLOCK.c.first_slot.in_([each.first_slot for each in found])
    of_pool = BLOCK.c.tenant == first.tenant, BLOCK.c.pool == first.pool
    await connection.execute(update(BLOCK).where(*of_pool, mine).values(**values))
    return [replace(_block(each), generation=each.generation + 1) for each in found]


async def _take(connection: AsyncConnection, found: Any, node: str, at: float) -> Block:
    taken = Block(
        tenant=found.tenant,
        pool=found.pool,
        first_slot=found.first_slot,
        last_slot=found.last_slot,
        generation=found.generation + 1,
    )
    values = {"owner": node, "generation": taken.generation, "taken_at": at}
    await connection.execute(update(BLOCK).where(*_is(taken)).values(**values))
    return taken


def _block(row: Any) -> Block:
    return Block(
        tenant=row.tenant,
        pool=row.pool,
        first_slot=row.first_slot,
        last_slot=row.last_slot,
        generation=row.generation,
    )
