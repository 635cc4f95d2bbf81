"""An edge that hears accounting and delivers its events, and kills itself where it is told to.

`python -m tests.daemon.outbox.crash_child DIRECTORY POINT COUNT`: at the COUNT-th time that POINT is passed. Points
are commit-before, commit-after, deliver-before, deliver-after; any other is never passed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from daemon.store.writer import Writer
from daemon.sync.outbox.envelope import encode
from daemon.sync.outbox.model import Acked, Delivery, Diverged, Expected, Incarnation, Receipt, Stream
from daemon.sync.outbox.outbox import OutboxOptions
from daemon.sync.outbox.shipper import ShipOptions
from tests.daemon.outbox.conftest import PlacedStore
from tests.daemon.outbox.stage import Stage
from tests.daemon.stack import T0
from tests.daemon.test_accounting import Running, record

STREAMS = frozenset((Stream.ACCOUNTING, Stream.SESSIONS))
_SCHEMA = """
create table if not exists mark(stream, incarnation, acked, hash, primary key (stream, incarnation));
create table if not exists event(stream, incarnation, seq, body, primary key (stream, incarnation, seq));
"""


class Points:
    """Counts how often a point is passed, and ends everything at the right time."""

    def __init__(self, wanted: str, count: int) -> None:
        self._wanted, self._left = wanted, count

    def passed(self, point: str) -> None:
        if point == self._wanted:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)


class Sink:
    """A receiver in a database of its own: mark and events change in one transaction."""

    name = "platform"
    streams = STREAMS
    portions = 1

    def __init__(self, path: Path, points: Points) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(_SCHEMA)
        self._points = points

    async def deliver(self, delivery: Delivery) -> Receipt:
        self._points.passed("deliver-before")
        key = delivery.stream.value, delivery.incarnation
        self._db.execute("begin immediate")
        query = "select acked, hash from mark where stream = ? and incarnation = ?"
        acked, held = self._db.execute(query, key).fetchone() or (0, bytes(32))
        receipt: Receipt = Acked(acked)
        if delivery.last > acked:
            if delivery.first > acked + 1:
                receipt = Expected(acked + 1)
            elif delivery.first == acked + 1 and delivery.before_hash != held:
                receipt = Diverged("hash")
            else:
                receipt = self._take(key, acked, delivery)
        self._db.execute("commit")
        self._points.passed("deliver-after")
        return receipt

    def _take(self, key: tuple[str, str], acked: int, delivery: Delivery) -> Receipt:
        incarnation = Incarnation(delivery.incarnation, delivery.events[0].seq - delivery.first)
        for number, event in enumerate(delivery.events, delivery.first):
            if number > acked:
                body = encode(delivery.edge, delivery.stream, incarnation, event)
                self._db.execute("insert into event values (?, ?, ?, ?)", (*key, number, body))
        self._db.execute("replace into mark values (?, ?, ?, ?)", (*key, delivery.last, delivery.hash))
        return Acked(delivery.last)


def watched(writer: Writer, points: Points) -> None:
    """Let the writer pass a point before and after each transaction."""
    transaction: Any = writer._transaction

    async def passing(connection: Any, works: Any) -> Any:
        points.passed("commit-before")
        done = await transaction(connection, works)
        points.passed("commit-after")
        return done

    writer._transaction = passing  # type: ignore[method-assign]


async def live(directory: Path, points: Points) -> None:
    """Come up, hear a few reports of a few sessions, deliver, and go."""
    store = PlacedStore(directory / "edge.db")
    async with store.running():
        watched(store.writer, points)
        edge = Running(store)
        stage = Stage(
            store,
            Sink(directory / "receiver.db", points),
            options=OutboxOptions(ship=ShipOptions(most_events=3, hash_every=3)),
            stack=edge.stack,
        )
        await stage.outbox.open()
        last = await stage.outbox.logs[Stream.ACCOUNTING].last_seq()
        edge.journal.last_seq = last
        edge.stack.at = T0 + 60 * last
        await edge.keeper.restore(edge.stack.clients, lambda _: None)
        twin = edge.stack.nas()
        for step in range(last + 1, last + 7):
            edge.stack.at = T0 + 60 * step
            status = (1, 3, 2)[step % 3] if step > 2 else 1
            name = b"%04d" % (step // 3)
            await edge.answers(
                twin, twin.account(record(status, session=name, after_s=60 * step, upload=step))
            )
            await edge.keeper._work_off_late()
            if step % 2:
                await edge.keeper.flush()
            for stream in STREAMS:
                await stage.drain(stream)
        await edge.keeper.flush()
        for stream in STREAMS:
            await stage.drain(stream)


if __name__ == "__main__":
    asyncio.run(live(Path(sys.argv[1]), Points(sys.argv[2], int(sys.argv[3]))))
