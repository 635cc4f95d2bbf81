"""Which nodes share a PostgreSQL store, which daemon has each node's name, and when it was last heard of.

Times are the database's, so that the clocks of the nodes need not agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Float, cast, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ipam.ledger import LeaseRow, new_row
from ipam.schema import BLOCK, LEASE, NODE
from ipam.store import next_boot


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """A node as the store knows it. `silent_s`: how long ago it was heard of; `hint`: where it is, for people."""

    node: str
    boot: int
    silent_s: float
    hint: str
    blocks: int = 0


def _now() -> Any:
    return cast(func.extract("epoch", func.clock_timestamp()), Float)


async def start_node(connection: AsyncConnection, node: str, hint: str, at: float) -> int:
    """Let this daemon have a node's name, whoever had it before; return its boot.

    Once that is committed, nobody with an earlier boot can store anything (`has_name`), and what such a one has
    stored can be read.
    """
    boot = await next_boot(connection, node, at)
    known = select(NODE.c.boot).where(NODE.c.node == node).with_for_update()
    if (await connection.execute(known)).first() is None:
        await connection.execute(insert(NODE).values(node=node, boot=boot, seen_at=_now(), hint=hint))
    else:
        values = {"boot": boot, "seen_at": _now(), "hint": hint}
        await connection.execute(update(NODE).where(NODE.c.node == node).values(**values))
    return boot


async def beat(connection: AsyncConnection, node: str, boot: int) -> bool:
    """Tell that the node is alive; False where another daemon has its name now."""
    mine = update(NODE).where(NODE.c.node == node, NODE.c.boot == boot)
    return int((await connection.execute(mine.values(seen_at=_now()))).rowcount) == 1


async def has_name(connection: AsyncConnection, node: str, boot: int) -> bool:
    """Tell whether this daemon has the node's name still, and let nobody have it before this transaction ends.

    To be asked in each transaction that writes; a heartbeat does not wait for it.
    """
    mine = select(NODE.c.boot).where(NODE.c.node == node, NODE.c.boot == boot)
    return (await connection.execute(mine.with_for_update(read=True, key_share=True))).first() is not None


async def nodes(connection: AsyncConnection) -> list[NodeRow]:
    """Return all nodes that there ever were, by name."""
    owned = select(func.count()).where(BLOCK.c.owner == NODE.c.node).scalar_subquery()
    found = select(NODE, _now() - NODE.c.seen_at, owned).order_by(NODE.c.node)
    return [
        NodeRow(node=row[0], boot=row[1], hint=row[3], silent_s=max(float(row[4]), 0.0), blocks=int(row[5]))
        for row in await connection.execute(found)
    ]


async def lock_node(connection: AsyncConnection, node: str) -> NodeRow | None:
    """Return a node whose next heartbeat waits until this transaction ends; None where there is none."""
    wanted = select(NODE, _now() - NODE.c.seen_at).where(NODE.c.node == node).with_for_update()
    row = (await connection.execute(wanted)).first()
    return None if row is None else NodeRow(node=row[0], boot=row[1], hint=row[3], silent_s=float(row[4]))


async def load_fixed_rows(connection: AsyncConnection, node: str) -> list[LeaseRow]:
    """Return the stored fixed units of a node: of its pools `fixed:VRF:NODE`."""
    of_node = LEASE.c.pool.startswith("fixed:", autoescape=True) & LEASE.c.pool.endswith(
        f":{node}", autoescape=True
    )
    return [new_row(LeaseRow, tuple(row)) for row in await connection.execute(select(LEASE).where(of_node))]
