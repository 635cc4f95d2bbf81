"""Live sessions that a node hears of while their addresses are of another node's blocks, as nodes tell each other.

A NAS may send its logins to one node and its accounting to another. The node that hears of such a session writes a
row; the owner of the block keeps the lease for as long as the row is there, or refuses, where the address is
somebody else's by its book. A row needs no refreshing: it is believed until the node that wrote it says otherwise
or is taken over.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    MetaData,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from ipam.blocks import Block
from ipam.schema import BLOCK

_CHUNK = 1_000
_LOCK = 0x69706D68  # of the database, for who makes the table


class Said(StrEnum):
    """What a row says, and to whom."""

    TOLD = "told"  # to the owner of the block: this session lives
    KEPT = "kept"  # to the node that told: the lease is kept
    REFUSED = "refused"  # to the node that told: the address is somebody else's
    OVER = "over"  # to the owner: the session is over
    LEFT = "left"  # to the owner: the node that told was taken over


SHARED = MetaData()
"""Tables that only a store has which nodes share."""

HEARD = Table(
    "ipam_heard",
    SHARED,
    Column("tenant", Text, primary_key=True),
    Column("pool", Text, primary_key=True),
    Column("slot", BigInteger, primary_key=True, autoincrement=False),
    Column("node", Text, primary_key=True),
    Column("session", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("subscriber", Text, nullable=False),
    Column("nas", Text, nullable=False),
    Column("circuit", Text, nullable=False),
    Column("mac", Text, nullable=False),
    Column("said", Text, nullable=False),
    Column("said_at", Double, nullable=False),  # by the database's clock
)
_FOR_OWNER = HEARD.c.said.in_((Said.TOLD.value, Said.OVER.value, Said.LEFT.value))
Index("ipam_heard_open", HEARD.c.tenant, HEARD.c.pool, HEARD.c.slot, postgresql_where=_FOR_OWNER)
Index("ipam_heard_by_node", HEARD.c.node)
_COLUMNS: Final = tuple(HEARD.c.keys())[:-1]

Key = tuple[str, str, int]
"""Tenant, pool and slot."""


class HeardRow(NamedTuple):
    """One row. `session` is the number that `node` has given it."""

    tenant: str
    pool: str
    slot: int
    node: str
    session: str
    owner: str
    subscriber: str
    nas: str
    circuit: str
    mac: str
    said: str

    @property
    def key(self) -> Key:
        """Which slot it is about."""
        return self.tenant, self.pool, self.slot


def _now() -> Any:
    return cast(func.extract("epoch", func.clock_timestamp()), Double)


def _at(row: HeardRow) -> dict[str, object]:
    return {
        f"at_{name}": getattr(row, name) for name in ("tenant", "pool", "slot", "node", "session", "said")
    }


_SAME = [
    HEARD.c[name] == bindparam(f"at_{name}") for name in ("tenant", "pool", "slot", "node", "session", "said")
]
_MINE = (BLOCK.c.tenant == HEARD.c.tenant, BLOCK.c.pool == HEARD.c.pool)
_INSIDE = HEARD.c.slot.between(BLOCK.c.first_slot, BLOCK.c.last_slot)


async def create(connection: AsyncConnection) -> None:
    """Make the table where there is none yet, one node at a time."""
    await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    await connection.run_sync(SHARED.create_all)


async def tell(connection: AsyncConnection, rows: Sequence[HeardRow]) -> None:
    """Write rows of this node, whatever they said before."""
    statement = insert(HEARD)
    changes: dict[str, Any] = {name: statement.excluded[name] for name in _COLUMNS[4:]}
    statement = statement.on_conflict_do_update(
        index_elements=["tenant", "pool", "slot", "node"], set_={**changes, "said_at": _now()}
    )
    ordered = sorted(rows)
    for start in range(0, len(ordered), _CHUNK):
        values = [{**row._asdict(), "said_at": 0.0} for row in ordered[start : start + _CHUNK]]
        await connection.execute(statement, values)


async def end(connection: AsyncConnection, node: str, keys: Sequence[Key]) -> None:
    """Tell the owners that this node has no session at these slots any more."""
    if keys:
        names = ("tenant", "pool", "slot")
        statement = update(HEARD).where(
            HEARD.c.node == node, *(HEARD.c[name] == bindparam(f"at_{name}") for name in names)
        )
        values = [dict(zip((f"at_{name}" for name in names), key, strict=True)) for key in sorted(keys)]
        await connection.execute(statement.values(said=Said.OVER.value, said_at=_now()), values)


async def open_for(connection: AsyncConnection, node: str, most: int) -> list[HeardRow]:
    """Return up to `most` rows that the owner of their blocks, `node`, has to look at."""
    wanted = (
        select(*(HEARD.c[name] for name in _COLUMNS))
        .join(BLOCK, (BLOCK.c.owner == node) & _MINE[0] & _MINE[1] & _INSIDE)
        .where(_FOR_OWNER)
        .order_by(HEARD.c.said_at)
        .limit(most)
    )
    return [HeardRow(*row) for row in await connection.execute(wanted)]


async def in_block(connection: AsyncConnection, block: Block, node: str) -> list[HeardRow]:
    """Return the live sessions that other nodes than `node` have told of in a block."""
    wanted = select(*(HEARD.c[name] for name in _COLUMNS)).where(
        HEARD.c.tenant == block.tenant,
        HEARD.c.pool == block.pool,
        HEARD.c.slot.between(block.first_slot, block.last_slot),
        HEARD.c.said != Said.OVER.value,
        HEARD.c.node != node,
    )
    return [HeardRow(*row) for row in await connection.execute(wanted)]


async def answer(connection: AsyncConnection, rows: Sequence[HeardRow], said: Said) -> None:
    """Answer rows that say still what they said when they were read."""
    if rows:
        statement = update(HEARD).where(*_SAME).values(said=said.value, said_at=_now())
        await connection.execute(statement, [_at(row) for row in sorted(rows)])


async def forget(connection: AsyncConnection, rows: Sequence[HeardRow]) -> None:
    """Delete rows that say still what they said when they were read."""
    if rows:
        await connection.execute(delete(HEARD).where(*_SAME), [_at(row) for row in sorted(rows)])


async def ask_again(connection: AsyncConnection, node: str) -> None:
    """Let the owner look at all rows of its blocks once more: its book has begun anew, or has more blocks."""
    answered = HEARD.c.said.in_((Said.KEPT.value, Said.REFUSED.value))
    block = select(BLOCK.c.owner).where(BLOCK.c.owner == node, *_MINE, _INSIDE).exists()
    await connection.execute(update(HEARD).where(answered, block).values(said=Said.TOLD.value))


async def kept_by(connection: AsyncConnection, node: str) -> set[tuple[str, str]]:
    """Return node and session of each row in the blocks of `node` that is not over."""
    wanted = select(HEARD.c.node, HEARD.c.session).join(
        BLOCK, (BLOCK.c.owner == node) & _MINE[0] & _MINE[1] & _INSIDE
    )
    found = await connection.execute(wanted.where(HEARD.c.said.in_((Said.TOLD.value, Said.KEPT.value))))
    return {(row[0], row[1]) for row in found}


async def leave(connection: AsyncConnection, dead: str) -> None:
    """A node was taken over: what it has told holds for one lease time more."""
    mine = update(HEARD).where(HEARD.c.node == dead, HEARD.c.said != Said.OVER.value)
    await connection.execute(mine.values(said=Said.LEFT.value, said_at=_now()))


async def refused(connection: AsyncConnection, node: str, most: int) -> list[HeardRow]:
    """Return what owners have refused to `node`."""
    wanted = select(*(HEARD.c[name] for name in _COLUMNS)).where(
        HEARD.c.node == node, HEARD.c.said == Said.REFUSED.value
    )
    found = await connection.execute(wanted.order_by(HEARD.c.said_at.desc()).limit(most))
    return [HeardRow(*row) for row in found]


def _still(node: str) -> tuple[Any, ...]:
    return HEARD.c.node == node, HEARD.c.said.not_in((Said.OVER.value, Said.LEFT.value))


async def count(connection: AsyncConnection, node: str) -> int:
    """Return how many live sessions the store knows from `node`."""
    return int((await connection.execute(select(func.count()).where(*_still(node)))).scalar_one())


async def told_by(connection: AsyncConnection, node: str) -> dict[Key, str]:
    """Return those, slot by slot: the session of each."""
    wanted = select(HEARD.c.tenant, HEARD.c.pool, HEARD.c.slot, HEARD.c.session).where(*_still(node))
    return {(row[0], row[1], row[2]): row[3] for row in await connection.execute(wanted)}


async def sweep(connection: AsyncConnection, node: str) -> None:
    """Delete what is over in blocks of nobody, who would never look at it."""
    owned = select(BLOCK.c.owner).where(BLOCK.c.owner.is_not(None), *_MINE, _INSIDE).exists()
    over = HEARD.c.node == node, HEARD.c.said == Said.OVER.value
    await connection.execute(delete(HEARD).where(*over, ~owned))
