"""The outbox: events for the platform, numbered without gaps, written in the transaction of the fact itself.

Streams whose facts are numbered already, such as the journal, are no rows here: their log is their stream. Nothing
is deleted before everybody who has to has acknowledged it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, Table, Text, insert, select
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.store.schema import METADATA
from ipam.wide import WideInsert

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("stream", Text, primary_key=True),
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),  # when it happened, epoch seconds
    Column("type", Text, nullable=False),  # such as session.started
    Column("class", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("correlation", Text, nullable=False),  # what it belongs to: a session, a request
    Column("body", LargeBinary, nullable=False),  # JSON object
)

# One row for each stream. `incarnation` names this numbering for ever: another disk image begins another.
OUTBOX_STREAM = Table(
    "outbox_stream",
    METADATA,
    Column("stream", Text, primary_key=True),
    Column("incarnation", Text, nullable=False),
    Column("base_seq", BigInteger, nullable=False),  # of the log where this incarnation counts from 1
    Column("last_seq", BigInteger, nullable=False),  # of the rows in `outbox`; of other logs it is not used
)

# How far each sink has acknowledged each stream, in numbers of the log.
OUTBOX_MARK = Table(
    "outbox_mark",
    METADATA,
    Column("sink", Text, primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("incarnation", Text, nullable=False),  # the numbering that this sink is told
    Column("base_seq", BigInteger, nullable=False),
    Column("acked_seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),  # of the chain up to there
    Column("acked_at", Float, nullable=False),
)

# Hashes of the chain now and then, from which a replay goes on.
OUTBOX_HASH = Table(
    "outbox_hash",
    METADATA,
    Column("sink", Text, primary_key=True),
    Column("stream", Text, primary_key=True),
    Column("incarnation", Text, primary_key=True),
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)

# Sessions as a radacct table has them: the keys that were minted once, and which Acct-Session-Id it shows.
RADACCT_SESSION = Table(
    "radacct_session",
    METADATA,
    Column("sink", Text, primary_key=True),
    Column(
        "session_uid", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    ),
    Column("unique_id", Text, nullable=False),
    Column("shown_id", Text, nullable=False),
    Column("closed_at", Float),
)


class NewEvent(NamedTuple):
    """An event to append. `at` is when it happened, epoch seconds; `urgency` A, B or C; `body` a JSON object."""

    at: float
    type: str
    urgency: str
    tenant: str
    correlation: str
    body: bytes


_NAME_OCTETS = 12  # of an incarnation: nobody can guess it, and no two edges have the same
_INSERT = WideInsert(insert(OUTBOX))


def new_incarnation() -> str:
    """Return a name for a numbering that nobody has had before."""
    return secrets.token_hex(_NAME_OCTETS)


async def append(connection: AsyncConnection, stream: str, events: Sequence[NewEvent]) -> None:
    """Append events to a stream, inside the transaction of the caller: they are there exactly if it commits."""
    if not events:
        return
    mine = OUTBOX_STREAM.c.stream == stream
    last = (await connection.execute(select(OUTBOX_STREAM.c.last_seq).where(mine))).scalar()
    if last is None:
        await open_stream(connection, stream, new_incarnation())
        last = 0
    rows = [(stream, seq, *each) for seq, each in enumerate(events, last + 1)]
    await _INSERT.write(connection, rows)
    await connection.execute(OUTBOX_STREAM.update().where(mine).values(last_seq=last + len(events)))


async def open_stream(connection: AsyncConnection, stream: str, incarnation: str) -> None:
    """Make the row of a stream where there is none."""
    row = {"stream": stream, "incarnation": incarnation, "base_seq": 0, "last_seq": 0}
    await connection.execute(upsert(OUTBOX_STREAM).values(row).on_conflict_do_nothing())
