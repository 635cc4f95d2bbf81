"""The edge's half of the outbox benchmark: a journal on disk, its stream, and the way to the receiver.

Run by `outbox.py` on a core of its own; prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.aaa.rejects import Rejects
from daemon.aaa.report import Belief
from daemon.clock import SystemClock
from daemon.store.engine import open_engine
from daemon.store.journal import Record, pack
from daemon.store.migrate import migrate
from daemon.store.schema import JOURNAL
from daemon.store.writer import Writer
from daemon.sync.outbox.model import Stream
from daemon.sync.outbox.outbox import Outbox, OutboxOptions, Sources
from daemon.sync.outbox.platform_sink import PlatformOptions, PlatformSink
from daemon.sync.outbox.shipper import ShipOptions
from radius.codes import AcctStatus, Attr, Code
from radius.packet import attribute
from radius.vendors import find

EDGE = "bench"
_AT = 1_750_000_000.0
_ROW = 500  # records of one group commit
_OF_SESSION = 5  # a start, three interims, a stop


def _when(number: int) -> float:
    """Return when a record came: sessions begin a millisecond after each other, and report every five minutes."""
    session, step = divmod(number, _OF_SESSION)
    return _AT + session / 1000 + step * 300


def packet(number: int) -> bytes:
    """Return the octets of the accounting record of that number: what a PPPoE concentrator says."""
    session, step = divmod(number, _OF_SESSION)
    last = step == _OF_SESSION - 1
    status = AcctStatus.STOP if last else AcctStatus.INTERIM_UPDATE if step else AcctStatus.START
    said = [
        attribute(Attr.USER_NAME, f"user{session:07d}".encode()),
        attribute(Attr.ACCT_STATUS_TYPE, int(status).to_bytes(4, "big")),
        attribute(Attr.ACCT_SESSION_ID, f"{session:08x}".encode()),
        attribute(Attr.NAS_IP_ADDRESS, bytes((192, 0, 2, 1))),
        attribute(Attr.NAS_PORT_ID, b"ge-0/0/1:100"),
        attribute(Attr.CALLING_STATION_ID, b"02:00:%02X:%02X:%02X:01" % tuple(session.to_bytes(3, "big"))),
        attribute(Attr.FRAMED_IP_ADDRESS, bytes((100, 64)) + (session % 65536).to_bytes(2, "big")),
        attribute(Attr.EVENT_TIMESTAMP, int(_when(number)).to_bytes(4, "big")),
        attribute(Attr.ACCT_SESSION_TIME, (step * 300).to_bytes(4, "big")),
        attribute(Attr.ACCT_INPUT_OCTETS, (step * 1_000_000).to_bytes(4, "big")),
        attribute(Attr.ACCT_OUTPUT_OCTETS, (step * 90_000_000).to_bytes(4, "big")),
        attribute(Attr.ACCT_INPUT_PACKETS, (step * 9_000).to_bytes(4, "big")),
        attribute(Attr.ACCT_OUTPUT_PACKETS, (step * 80_000).to_bytes(4, "big")),
    ]
    body = b"".join(said)
    head = bytes((Code.ACCOUNTING_REQUEST, number % 256)) + (20 + len(body)).to_bytes(2, "big")
    return head + bytes(16) + body


async def fill(writer: Writer, records: int) -> None:
    """Write a journal as the daemon does."""
    peer = bytes((192, 0, 2, 1)) + (1813).to_bytes(2, "big")
    for first in range(0, records, _ROW):
        numbers = range(first, min(first + _ROW, records))
        row = {
            "first_seq": first + 1,
            "last_seq": numbers[-1] + 1,
            "written_at": _AT + first / 1000,
            "records": b"".join(
                pack(Record(_when(i), peer, "bench", "load", f"s{i // _OF_SESSION:07d}", packet(i)))
                for i in numbers
            ),
        }

        async def save(connection: AsyncConnection, row: dict[str, object] = row) -> None:
            await connection.execute(insert(JOURNAL), row)

        await writer.commit(save)


async def ship(asked: argparse.Namespace) -> dict[str, float]:
    """Deliver the journal; return how many events, in how many seconds, at which CPU time of ours."""
    clock = SystemClock()
    path = asked.directory / "edge.db"
    engine = open_engine(path, busy_timeout_s=5.0, wal_checkpoint_pages=1000)
    await migrate(engine)
    writer = Writer(engine, clock.monotonic, lambda _seconds, _durable: None)
    profile = find("mikrotik")
    assert profile is not None
    sources = Sources(
        leases=engine,
        book=EDGE,
        profile_of=lambda _tenant, _nas: profile,
        session_of=lambda _report: None,
        belief=lambda: Belief(1e9, 60.0),
        applied_seq=lambda: 0,
        accept=lambda _open: None,
        spare=lambda _wanted: None,
        rejects=Rejects(),
    )
    options = PlatformOptions(base_url=asked.url, signing_key=EDGE, streams=frozenset({Stream.ACCOUNTING}))
    sink = PlatformSink(options, clock.wall)
    shipping = ShipOptions(linger_s=0.01, most_events=asked.delivery)
    outbox = Outbox(
        EDGE,
        engine,
        writer,
        clock,
        sources,
        [sink],
        lambda kind, **fields: print(kind, fields, file=sys.stderr),
        path,
        OutboxOptions(ship=shipping),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        stack.push_async_callback(sink.close)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        running = [group.create_task(writer.run())]
        await fill(writer, asked.records)
        await outbox.open()
        began, cpu = time.perf_counter(), time.process_time()
        running += [group.create_task(run()) for _, run in outbox.tasks()]  # type: ignore[arg-type]
        while outbox.backlog()[0].events:
            await clock.sleep(0.01)
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        for task in running:
            task.cancel()
    return {"events": asked.records, "took_s": took_s, "cpu_s": cpu_s}


def main() -> None:
    """Fill, deliver, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--delivery", type=int, required=True)
    print(json.dumps(asyncio.run(ship(parser.parse_args()))))


if __name__ == "__main__":
    main()
