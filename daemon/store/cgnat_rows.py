"""CGNAT in the store: versions of deterministic plans, and the port blocks that CGNs have reported.

Plans are facts that are only added: a version, and perhaps its end. A block is one row from its beginning on.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.sqlite import insert as insert_or_ignore
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.store.schema import METADATA
from ipam.cgnat_blocks import BlockLease, Ending

UNMATCHED = "unmatched"  # a block was given back that nobody is known to have had: `since` is `until`
_NEW = "new"  # never seen outside of the transaction that inserts it
_PAGE = 500
_SEQ = BigInteger().with_variant(Integer, "sqlite")

PLAN = Table(
    "cgnat_plan",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("valid_from", Float, nullable=False),
    Column("added_at", Float, nullable=False),
    Column("detail", LargeBinary, nullable=False),  # the numbers, JSON
)

PLAN_END = Table(
    "cgnat_plan_end",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("valid_until", Float, nullable=False),
    Column("added_at", Float, nullable=False),
)

# One row for each time a session had a block; `seq` and `ended_seq` are records of the journal.
BLOCK = Table(
    "cgnat_block",
    METADATA,
    Column("seq", _SEQ, primary_key=True, autoincrement=False),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("tenant", Text, nullable=False),
    Column("outside", Text, nullable=False),
    Column("first_port", Integer, nullable=False),
    Column("last_port", Integer, nullable=False),
    Column("transport", Integer, nullable=False),
    Column("inside", Text, nullable=False),  # empty where it was not reported
    Column("subscriber", Text, nullable=False),
    Column("session", BigInteger, nullable=False),
    Column("nas", Text, nullable=False),
    Column("since", Float, nullable=False),
    Column("until", Float),
    Column("ending", Text, nullable=False),
    Column("ended_seq", BigInteger),
)
# Only the rows of the week before a question are looked through; the few blocks held for longer have an own index.
_WEEK_S = 604_800.0
_LONG = or_(BLOCK.c.until.is_(None), BLOCK.c.until - BLOCK.c.since > literal(_WEEK_S, literal_execute=True))
Index("cgnat_block_by_outside_long", BLOCK.c.outside, BLOCK.c.since, BLOCK.c.until, sqlite_where=_LONG)
Index("cgnat_block_by_outside", BLOCK.c.outside, BLOCK.c.since, BLOCK.c.until)
Index("cgnat_block_by_inside", BLOCK.c.tenant, BLOCK.c.inside, BLOCK.c.since, BLOCK.c.until)
Index("cgnat_block_by_until", BLOCK.c.until)


class PlanRow(NamedTuple):
    """One version of a plan; `valid_until` is None until it has been ended."""

    tenant: str
    name: str
    version: int
    valid_from: float
    added_at: float
    detail: bytes
    valid_until: float | None = None


class BlockRow(NamedTuple):
    """One row of the table of blocks: a block was given out.

    `late` is not stored: its report is so old that only the rows can tell whether another session began to have
    these ports after it, by an earlier record.
    """

    seq: int
    ordinal: int
    tenant: str
    outside: str
    first_port: int
    last_port: int
    transport: int
    inside: str
    subscriber: str
    session: int
    nas: str
    since: float
    until: float | None = None
    ending: str = Ending.OPEN
    ended_seq: int | None = None
    late: bool = False


class BlockEnd(NamedTuple):
    """The end of the row with that number; of two ends the earlier counts, and a reported one before others."""

    seq: int
    ordinal: int
    at: float
    ending: Ending
    ended_seq: int


class BlockBegan(NamedTuple):
    """The row with that number began earlier than it says: a report of it came late."""

    seq: int
    ordinal: int
    since: float


class BlockGoesOn(NamedTuple):
    """The session whose end was taken for the end of the row lives on."""

    seq: int
    ordinal: int


Step = BlockRow | BlockEnd | BlockBegan | BlockGoesOn


async def add_plan(connection: AsyncConnection, row: PlanRow) -> None:
    """Add a version; its number must be new."""
    values = row._asdict()
    del values["valid_until"]
    await connection.execute(insert(PLAN).values(**values))


async def end_plan(
    connection: AsyncConnection, tenant: str, name: str, version: int, valid_until: float, added_at: float
) -> None:
    """Add the end of a version, which must not have one yet."""
    values = {"tenant": tenant, "name": name, "version": version}
    await connection.execute(insert(PLAN_END).values(**values, valid_until=valid_until, added_at=added_at))


async def read_plans(connection: AsyncConnection, tenant: str | None = None) -> list[PlanRow]:
    """Return every version of every plan, of one tenant or of all, in the order of name and version."""
    mine = and_(*(PLAN.c[key] == PLAN_END.c[key] for key in ("tenant", "name", "version")))
    query: Select[Any] = (
        select(*PLAN.c, PLAN_END.c.valid_until)
        .select_from(PLAN.outerjoin(PLAN_END, mine))
        .order_by(PLAN.c.tenant, PLAN.c.name, PLAN.c.version)
    )
    if tenant is not None:
        query = query.where(PLAN.c.tenant == tenant)
    return [PlanRow(*row) for row in await connection.execute(query)]


async def save_blocks(connection: AsyncConnection, steps: Sequence[Step]) -> None:
    """Write what happened to blocks, in its order. Saying the same again changes nothing."""
    rows = [each for each in steps if isinstance(each, BlockRow)]
    if rows:
        await _insert(connection, rows)
    # A row comes before whatever happens to it, and only an end and its undoing must stay in their order.
    begun = [_number(each) | {"begun_at": each.since} for each in steps if isinstance(each, BlockBegan)]
    if begun:
        await connection.execute(_BEGAN, begun)
    ends = [each for each in steps if isinstance(each, (BlockEnd, BlockGoesOn))]
    for kind, run in groupby(ends, type):
        await connection.execute(_END if kind is BlockEnd else _GO_ON, [_of_end(each) for each in run])


async def _insert(connection: AsyncConnection, rows: list[BlockRow]) -> None:
    """Insert rows that are not there; end those that are new, and late, where another holder's began after them."""
    late = [row for row in rows if row.late and row.until is None]
    marked = {(row.seq, row.ordinal) for row in late}
    values = [row._asdict() for row in rows]
    for row in values:
        del row["late"]
        if (row["seq"], row["ordinal"]) in marked:
            row["ending"] = _NEW
    await connection.execute(_INSERT, values)
    numbers = [_number(row) for row in late]
    if numbers:
        await connection.execute(_SUPERSEDE, numbers)
        await connection.execute(_OPEN, numbers)


async def find_block_leases(
    connection: AsyncConnection, tenant: str | None, outside: IPv4Address, since: float, until: float
) -> list[tuple[str, BlockLease]]:
    """Return who had ports of an outside address at any time from `since` to `until`, both included.

    Each with its tenant; of every tenant where None is asked for.
    """
    query = _lasting(since).where(BLOCK.c.outside == str(outside))
    if tenant is not None:
        query = query.where(BLOCK.c.tenant == tenant)
    week = query.where(BLOCK.c.since.between(since - _WEEK_S, until))
    found: set[BlockRow] = set()
    for part in (week, query.where(_LONG)):  # no time in the latter: else SQLite takes the large index for it
        rows = await connection.execute(part)
        found.update(row for row in (BlockRow(*each) for each in rows) if row.since <= until)
    return [(row.tenant, _lease(row)) for row in sorted(found, key=lambda row: (row.since, row.seq))]


async def find_last_ends(
    connection: AsyncConnection, outside: IPv4Address, before: float
) -> list[tuple[str, BlockLease]]:
    """Return each block of an outside address as it was last given back before an epoch second, within a week.

    Each with its tenant; who had it is left out.
    """
    key = (BLOCK.c.tenant, BLOCK.c.first_port, BLOCK.c.last_port, BLOCK.c.transport)
    query = (
        select(*key, func.max(BLOCK.c.since), func.max(BLOCK.c.until))
        .where(
            BLOCK.c.outside == str(outside),
            BLOCK.c.since.between(before - _WEEK_S, before),
            BLOCK.c.until <= before,
            BLOCK.c.ending != UNMATCHED,
        )
        .group_by(*key)
    )
    return [
        (
            tenant,
            BlockLease(
                outside=outside,
                first_port=first,
                last_port=last,
                inside=None,
                since=since,
                until=until,
                ending=Ending.RELEASED,
                transport=transport,
            ),
        )
        for tenant, first, last, transport, since, until in await connection.execute(query)
    ]


async def find_inside_leases(
    connection: AsyncConnection, tenant: str, inside: str, since: float, until: float
) -> list[BlockLease]:
    """Return the ports that an inside address had at any time from `since` to `until`, both included."""
    mine = and_(BLOCK.c.tenant == tenant, BLOCK.c.inside == inside, BLOCK.c.since <= until)
    query = _lasting(since).where(mine)
    return [_lease(BlockRow(*row)) for row in await connection.execute(query.order_by(BLOCK.c.since))]


async def read_open(connection: AsyncConnection) -> list[BlockRow]:
    """Return the blocks that are held, in the order of their records."""
    query = select(BLOCK).where(BLOCK.c.until.is_(None)).order_by(BLOCK.c.seq, BLOCK.c.ordinal)
    return [BlockRow(*row) for row in await connection.execute(query)]


async def read_ended(connection: AsyncConnection, ended_after: float, most: int) -> list[BlockRow]:
    """Return the `most` latest blocks that were over after that epoch second, the latest last."""
    query = select(BLOCK).where(BLOCK.c.until > ended_after)
    found = await connection.execute(query.order_by(BLOCK.c.until.desc()).limit(most))
    return [BlockRow(*row) for row in found][::-1]


async def prune(connection: AsyncConnection, before: float) -> int:
    """Delete some of the blocks given back before that time; return how many went: call again while above 0."""
    key = tuple_(BLOCK.c.seq, BLOCK.c.ordinal)
    old = select(BLOCK.c.seq, BLOCK.c.ordinal).where(BLOCK.c.until < before).limit(_PAGE)
    return int((await connection.execute(delete(BLOCK).where(key.in_(old)))).rowcount)


def _lasting(since: float) -> Select[Any]:
    return select(BLOCK).where(
        or_(BLOCK.c.until.is_(None), BLOCK.c.until > since), BLOCK.c.ending != UNMATCHED
    )


def _lease(row: BlockRow) -> BlockLease:
    return BlockLease(
        outside=IPv4Address(row.outside),
        first_port=row.first_port,
        last_port=row.last_port,
        inside=ip_address(row.inside) if row.inside else None,
        since=row.since,
        until=row.until,
        ending=Ending(row.ending),
        source=row.nas,
        transport=row.transport,
        session=str(row.session),
        subscriber=row.subscriber,
        seq=row.seq,
        ended_seq=row.ended_seq or 0,
    )


def _number(row: Step) -> dict[str, object]:
    return {"of_seq": row.seq, "of_ordinal": row.ordinal}


def _of_end(step: BlockEnd | BlockGoesOn) -> dict[str, object]:
    if isinstance(step, BlockGoesOn):
        return _number(step)
    return _number(step) | {"end_at": step.at, "end_as": step.ending, "end_seq": step.ended_seq}


def _supersede() -> Any:
    """Return the statement that ends a row, late as its report came, where another holder's began after it."""
    other = BLOCK.alias("other")
    same_ports = or_(other.c.transport == BLOCK.c.transport, other.c.transport == 0, BLOCK.c.transport == 0)
    next_since = (
        select(func.min(other.c.since))
        .where(
            other.c.tenant == BLOCK.c.tenant,
            other.c.outside == BLOCK.c.outside,
            other.c.since > BLOCK.c.since,
            other.c.seq < BLOCK.c.seq,
            other.c.first_port <= BLOCK.c.last_port,
            other.c.last_port >= BLOCK.c.first_port,
            other.c.session != BLOCK.c.session,
            other.c.ending != UNMATCHED,
            same_ports,
        )
        .correlate(BLOCK)
        .scalar_subquery()
    )
    return (
        update(BLOCK)
        .where(_THIS, BLOCK.c.ending == _NEW, next_since.is_not(None))
        .values(until=next_since, ending=Ending.SUPERSEDED.value, ended_seq=BLOCK.c.seq)
    )


_THIS = and_(BLOCK.c.seq == bindparam("of_seq"), BLOCK.c.ordinal == bindparam("of_ordinal"))
_INSERT = insert_or_ignore(BLOCK).on_conflict_do_nothing()
_SUPERSEDE = _supersede()
_OPEN = update(BLOCK).where(_THIS, BLOCK.c.ending == _NEW).values(ending=Ending.OPEN.value)
_END = (
    update(BLOCK)
    .where(
        _THIS,
        or_(
            BLOCK.c.until.is_(None),
            BLOCK.c.until > bindparam("end_at"),
            and_(
                BLOCK.c.until == bindparam("end_at"),
                BLOCK.c.ending != Ending.RELEASED.value,
                bindparam("end_as", type_=Text) == Ending.RELEASED.value,
            ),
        ),
    )
    .values(until=bindparam("end_at"), ending=bindparam("end_as"), ended_seq=bindparam("end_seq"))
)
_BEGAN = update(BLOCK).where(_THIS, BLOCK.c.since > bindparam("begun_at")).values(since=bindparam("begun_at"))
_GO_ON = (
    update(BLOCK)
    .where(_THIS, BLOCK.c.ending == Ending.SESSION_ENDED.value)
    .values(until=None, ending=Ending.OPEN.value, ended_seq=None)
)
