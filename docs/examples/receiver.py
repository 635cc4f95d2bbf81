"""A receiver of the outbox: every event of every edge has its effect here exactly once. Run it, or read it.

    RECEIVER_KEYS='{"pop7": "a long random text"}' python docs/examples/receiver.py --database sqlite+aiosqlite:///events.db

The edge sends the events of a stream in runs, numbered without gaps from 1, and sends a run again until it is told that
it is here for good. So one row for each stream of each edge, the watermark, says how far we are; it moves in the
transaction that stores the events. Nothing else is needed: no window of time, no table of message ids.
"""  # noqa: INP001 - an example, in no package

from __future__ import annotations

import argparse
import hmac
import json
import os
import secrets
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

START = "00" * 32  # the hash before the first event of an incarnation
MOST_OCTETS, MOST_UNPACKED = (
    1 << 20,
    16 << 20,
)  # of a request; the edge sends one MiB, unpacked, at most
SLACK_S = 3600.0  # between the edge's clock and ours; a repeat changes nothing, so this may be generous

_HEAD_ENDS = '"events":['  # the events are what comes last in a body
_DECODE = json.JSONDecoder().raw_decode
TABLES = sa.MetaData()
Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def table(name: str, key: Sequence[str], numbers: Sequence[str], *texts: str) -> sa.Table:
    """Return a table whose `key` is its primary key."""
    columns = [
        sa.Column(each, Number if each in numbers else sa.Text, primary_key=each in key, nullable=False)
        for each in (*key, *(each for each in numbers if each not in key), *texts)
    ]
    return sa.Table(name, TABLES, *columns, sqlite_with_rowid=False)


# How far we are with the incarnation in force, empty at first; then, for audit, where those before it had come to.
WATERMARK = table("watermark", ("edge", "stream"), ("acked_seq",), "hash", "incarnation")
PAST = table("watermark_past", ("edge", "stream", "incarnation"), ("acked_seq", "ended_at"), "hash")
EVENT = table("event", ("edge", "stream", "incarnation", "seq"), ("seq",), "body")
# What events come to: here accounting records. What an edge that was set back tells again is known by this key.
BUSINESS_KEY = ("edge", "tenant", "nas", "box", "session", "type", "at")
RECORD = table("accounting_record", BUSINESS_KEY, ("octets_from_subscriber", "octets_to_subscriber"))


class Run(BaseModel):
    """A run of events as it is posted; hashes are hexadecimal."""

    model_config = ConfigDict(strict=True)
    edge: str
    stream: str
    incarnation: str = Field(min_length=1)
    first_seq: int = Field(ge=1)
    last_seq: int
    prev_hash: str = Field(pattern="^[0-9a-f]{64}$")
    hash: str = Field(pattern="^[0-9a-f]{64}$")
    events: list[Any] = Field(min_length=1)
    texts: list[str]  # of the events, as they came


class Mark(NamedTuple):
    """A watermark."""

    incarnation: str
    acked_seq: int
    hash: str


Answer = tuple[int, dict[str, object]]  # status and body
Row = tuple[object, ...]  # a value for each column


async def receive(database: AsyncEngine, run: Run, at: float) -> Answer:
    """Give a run its effect, or say why not; one transaction, and the watermark moves with the events."""
    async with database.begin() as connection:
        stored = mark = await _lock(connection, run)
        if run.incarnation != stored.incarnation:  # another numbering: it begins at 1
            wanted = sa.select(PAST).where(*_of(PAST, run), PAST.c.incarnation == run.incarnation)
            if (await connection.execute(wanted)).first() is not None:
                return 409, {"diverged": f"the incarnation {run.incarnation} has ended here"}
            mark = Mark(run.incarnation, 0, START)
        if run.last_seq <= mark.acked_seq:  # a repeat: our answer was lost
            if run.last_seq == mark.acked_seq and run.hash != mark.hash:
                return 409, {"diverged": f"{run.last_seq} is another event here"}
            return 200, {"acked_seq": mark.acked_seq, "hash": mark.hash}
        if run.first_seq > mark.acked_seq + 1:  # a gap, or we were restored from a backup
            return 409, {"expected": mark.acked_seq + 1}
        if run.first_seq <= mark.acked_seq and not await _is_known(connection, run, mark.acked_seq):
            return 409, {"expected": mark.acked_seq + 1}  # the hash of what comes then tells
        if run.first_seq == mark.acked_seq + 1 and run.prev_hash != mark.hash:
            return 409, {"diverged": f"{mark.acked_seq} is another event here"}
        if stored.incarnation not in ("", run.incarnation):
            row = stored._asdict() | {"edge": run.edge, "stream": run.stream, "ended_at": int(at)}
            await connection.execute(PAST.insert(), row)
        await _store(connection, run, mark.acked_seq + 1 - run.first_seq)
        reached = Mark(run.incarnation, run.last_seq, run.hash)
        await connection.execute(sa.update(WATERMARK).where(*_of(WATERMARK, run)), reached._asdict())
    return 200, {"acked_seq": reached.acked_seq, "hash": reached.hash}


async def _lock(connection: AsyncConnection, run: Run) -> Mark:
    """Return the watermark; who comes second waits here until the first has committed."""
    await _insert(connection, WATERMARK, [(run.edge, run.stream, 0, START, "")])  # SQLite locks with a write
    wanted = sa.select(WATERMARK.c.incarnation, WATERMARK.c.acked_seq, WATERMARK.c.hash)
    return Mark(*(await connection.execute(wanted.where(*_of(WATERMARK, run)).with_for_update())).one())


async def _is_known(connection: AsyncConnection, run: Run, upto: int) -> bool:
    """Tell whether the part of a run that should be here already is what it brings."""
    mine = EVENT.c.incarnation == run.incarnation, EVENT.c.seq.between(run.first_seq, upto)
    wanted = sa.select(EVENT.c.body).where(*_of(EVENT, run), *mine).order_by(EVENT.c.seq)
    known = list((await connection.execute(wanted)).scalars())
    return [json.loads(each) for each in known] == run.events[: upto + 1 - run.first_seq]


async def _store(connection: AsyncConnection, run: Run, skip: int) -> None:
    """Store all but the first events of a run, and their effect: two statements, however many they are."""
    events, numbered = run.events[skip:], enumerate(run.texts[skip:], run.first_seq + skip)
    where = run.edge, run.stream, run.incarnation
    await _insert(connection, EVENT, [(*where, seq, text) for seq, text in numbered])
    if run.stream == "accounting" and (
        records := [_record(run.edge, each) for each in events if each["data"]]
    ):
        await _insert(connection, RECORD, records)


def _record(edge: str, event: Mapping[str, Any]) -> Row:
    """Return a row of RECORD. PostgreSQL takes no NUL in a text, and a NAS may send one."""
    data = event["data"]
    box, session = data.get("box", "").replace("\0", ""), data.get("acct_session_id", "").replace("\0", "")
    octets = data.get("octets_from_subscriber", 0), data.get("octets_to_subscriber", 0)
    return (edge, event["tenant_id"], data["nas"], box, session, event["type"], event["occurred_at"], *octets)


async def _insert(connection: AsyncConnection, into: sa.Table, rows: Sequence[Row]) -> None:
    """Add rows, in the order of the table's columns, and leave alone what is there: nothing looks at each."""
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(into).on_conflict_do_nothing().compile(dialect=connection.dialect)
    await connection.exec_driver_sql(str(statement), list(rows))


def _of(what: sa.Table, run: Run) -> tuple[Any, Any]:
    return what.c.edge == run.edge, what.c.stream == run.stream


def application(url: str, keys: Mapping[str, str]) -> FastAPI:
    """Return the application; `keys` are the secrets of the edges, by their names."""
    database = create_async_engine(url, hide_parameters=True)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with database.begin() as connection:
            await connection.run_sync(TABLES.create_all)
        yield
        await database.dispose()

    app = FastAPI(title="Receiver of the outbox", lifespan=lifespan)

    @app.post("/v1/edge/streams/{stream}/events")
    async def events(stream: str, request: Request) -> JSONResponse:
        at = datetime.now(UTC).timestamp()
        octets = bytearray()
        async for part in request.stream():
            octets += part
            if len(octets) > MOST_OCTETS:
                raise HTTPException(413, f"at most {MOST_OCTETS} octets")
        edge = request.headers.get("x-dotmac-edge", "")
        prove(request.headers, bytes(octets), keys.get(edge) or secrets.token_hex(), at)
        run = unpacked(bytes(octets), request.headers.get("content-encoding", ""))
        if (run.edge, run.stream) != (edge, stream):
            raise HTTPException(422, "header and path name another edge or stream than the body")
        status, body = await receive(database, run, at)
        return JSONResponse(body, status)

    return app


def prove(headers: Mapping[str, str], octets: bytes, key: str, at: float) -> None:
    """Refuse what the edge has not signed: the body as it came over the wire, and when it was sent."""

    def right(what: bytes, header: str) -> bool:
        made = "sha256=" + hmac.digest(key.encode(), what, "sha256").hex()
        return hmac.compare_digest(made.encode(), headers.get(header, "").encode())

    sent_at, signed = headers.get("x-dotmac-timestamp", ""), headers.get("x-dotmac-signature-256", "")
    timed = right(f"{sent_at}.{signed}".encode(), "x-dotmac-timestamp-signature-256")
    if not (right(octets, "x-dotmac-signature-256") and timed):
        raise HTTPException(401, "the signature is not that of this edge")
    if not (sent_at.isdecimal() and abs(at - int(sent_at)) <= SLACK_S):
        raise HTTPException(401, f"sent at {sent_at}, it is {at:.0f}: set the clock, or this is a recording")


def unpacked(octets: bytes, encoding: str) -> Run:
    """Return the run in a body; HTTPException 413 or 422 where it is none."""
    try:
        if encoding == "gzip":
            unpacker = zlib.decompressobj(wbits=31)
            octets = unpacker.decompress(octets, MOST_UNPACKED)
            if not unpacker.eof:
                raise HTTPException(413, f"cut short, or more than {MOST_UNPACKED} octets")
        run = _run(octets.decode())
        dense = [each["seq"] for each in run.events] == list(range(run.first_seq, run.last_seq + 1))
    except (ValueError, KeyError, TypeError, RecursionError, zlib.error) as wrong:
        raise HTTPException(422, f"no run of events: {wrong}") from None
    if not dense:
        raise HTTPException(422, "the events are not those from first_seq to last_seq")
    return run


def _run(text: str) -> Run:
    """Return the run in a text; each event is kept as it came, and need not be written again."""
    head, _, events = text.partition(_HEAD_ENDS)
    found, texts, at = [], [], 0
    while at < len(events) and events[at] != "]":
        event, end = _DECODE(events, at)
        found.append(event)
        texts.append(events[at:end])
        at = end + events.startswith(",", end)
    return Run.model_validate(json.loads(head + _HEAD_ENDS + events[at:]) | {"events": found, "texts": texts})


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description="A receiver of the outbox.")
    parser.add_argument("--database", default="sqlite+aiosqlite:///events.db")
    parser.add_argument("--port", type=int, default=8300)
    asked = parser.parse_args()
    keys = json.loads(os.environ["RECEIVER_KEYS"])  # edge: secret
    uvicorn.run(application(asked.database, keys), host="127.0.0.1", port=asked.port, access_log=False)


if __name__ == "__main__":
    main()
