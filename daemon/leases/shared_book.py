"""What a node reads from a shared store when it begins, all before it takes up any of it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.leases import definitions_copy
from daemon.leases.definitions_copy import Definitions
from daemon.store.migrate import ADDRESS_BOOK, migrate
from ipam import heard_rows
from ipam.block_rows import blocks_of
from ipam.blocks import Block, gain_block
from ipam.book import Book
from ipam.history import Chain
from ipam.ledger import LeaseRow
from ipam.node_rows import load_fixed_rows, start_node
from ipam.register import Register
from ipam.restore import restore
from ipam.store import chain_end, load_block_rows

OwnBlock = tuple[Block, list[LeaseRow]]
"""A block, and its slots as they are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """All that a node begins with."""

    boot: int
    chain: Chain
    definitions: Definitions
    fixed: list[LeaseRow]
    blocks: list[OwnBlock]


async def join(engine: AsyncEngine, node: str, hint: str, at: float) -> Stored:
    """Let this daemon be the node of that name, and read what is the node's.

    From the first commit on, an earlier daemon of the name can store nothing, so what is read is the last word.
    Raises whatever the database or its driver does.
    """
    await migrate(engine, ADDRESS_BOOK)
    async with engine.begin() as connection:
        await heard_rows.create(connection)
        boot = await start_node(connection, node, hint, at)
    async with engine.connect() as connection:
        blocks = await blocks_of(connection, node)
        return Stored(
            boot=boot,
            chain=await chain_end(connection, node),
            definitions=await definitions_copy.read(connection),
            fixed=await load_fixed_rows(connection, node),
            blocks=[
                (
                    each,
                    await load_block_rows(
                        connection, each.tenant, each.pool, each.first_slot, each.last_slot
                    ),
                )
                for each in blocks
            ],
        )


def fill(
    register: Register, book: Book, stored: Stored, now: float, at: float, *, closed: bool = False
) -> int:
    """Fill an empty register; return how many stored slots are of no pool here."""
    for pool in stored.definitions.pools:
        register.add_pool(pool, divided=True)
    strangers = restore(register, book, stored.fixed, now)
    for block, rows in stored.blocks:
        if register.find(block.tenant, block.pool) is None:
            strangers += len(rows)
        else:
            strangers += gain_block(register, book, block, rows, now, at, closed=closed)
    return strangers
