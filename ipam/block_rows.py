"""Who owns which block of a divided pool, in a store that several nodes share.

PostgreSQL: nodes that look for a block at the same time skip what another is just taking (FOR UPDATE SKIP LOCKED),
so none waits and no two get the same. On SQLite, which one node has to itself, the clause means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select, update
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


def _is(block: Block) -> tuple[Any, ...]:
    return BLOCK.c.tenant == block.tenant, BLOCK.c.pool == block.pool, BLOCK.c.first_slot == block.first_slot


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
