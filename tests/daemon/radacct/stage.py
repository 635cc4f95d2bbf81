"""A radacct table as Debian's FreeRADIUS makes it, in a real database, and sessions of ours that go there."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa.session_codec import to_row
from daemon.aaa.sessions import SessionTable
from daemon.aaa.telling import news_of
from daemon.replica.index import Index
from daemon.store import session_rows
from daemon.sync.outbox.model import Delivery, Event, Receipt, Stream, Urgency
from daemon.sync.outbox.radacct_engine import open_table_engine
from daemon.sync.outbox.radacct_sessions import SessionFinder
from daemon.sync.outbox.radacct_sink import RadacctOptions, RadacctSink
from tests.daemon import mariadb
from tests.daemon.conftest import Store
from tests.daemon.stack import nas, provider, subscriber
from tests.daemon.test_sessions import Line
from tests.ipam.postgres import bin_dir, postgresql
from tests.twins.clock import ClockTwin

SCHEMAS = Path("/etc/freeradius/3.0/mods-config/sql/main")
NOW = float(int(time.time()))


class Database:
    """A server with the tables of FreeRADIUS; `run` is its own client, which is not ours."""

    def __init__(self, url: str, run: Callable[[str], str]) -> None:
        self.url = url
        self.run = run

    @property
    def mysql(self) -> bool:
        return self.url.startswith("mysql")

    def rows(
        self, columns: str = "acctsessionid, acctinputoctets, acctterminatecause", where: str = "1=1"
    ) -> list[list[str]]:
        """Return rows in the order of their ids, each value as the client prints it."""
        said = self.run(f"SELECT {columns} FROM radacct WHERE {where} ORDER BY radacctid")
        return [line.split("\t") for line in said.splitlines()]

    def value(self, what: str, where: str = "1=1") -> str:
        """Return one value of the only row."""
        ((value,),) = self.rows(what, where)
        return value

    def epoch(self, column: str) -> str:
        """Return the SQL that reads a time as epoch seconds."""
        return f"UNIX_TIMESTAMP({column})" if self.mysql else f"CAST(EXTRACT(epoch FROM {column}) AS bigint)"

    def at(self, epoch_s: float) -> str:
        """Return the SQL that writes epoch seconds as a time."""
        return f"FROM_UNIXTIME({epoch_s:.0f})" if self.mysql else f"to_timestamp({epoch_s:.0f})"


@contextmanager
def database(kind: str) -> Iterator[Database]:
    """Start a server of that kind with FreeRADIUS's tables in it."""
    if kind == "postgresql":
        where = bin_dir()
        assert where is not None
        with postgresql(where) as url:
            host = parse_qs(urlsplit(url).query)["host"][0]

            def psql(script: str) -> str:
                command = [
                    str(where / "psql"),
                    "-h",
                    host,
                    "-U",
                    "edge",
                    "-d",
                    "postgres",
                    "-qAt",
                    "-F",
                    "\t",
                ]
                done = subprocess.run(
                    [*command, "-v", "ON_ERROR_STOP=1"],
                    input=script,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                return done.stdout

            psql((SCHEMAS / "postgresql/schema.sql").read_text())
            yield Database(url, psql)
    else:
        with mariadb.mariadb() as (url, socket):
            mariadb.execute(socket, (SCHEMAS / "mysql/schema.sql").read_text())
            yield Database(url, lambda script: mariadb.execute(socket, script))


class Stage:
    """Sessions of alice (S1), who is known, and what was delivered of them."""

    def __init__(self, database: Database, store: Store, engine: AsyncEngine, **options: Any) -> None:
        self.database = database
        self.store = store
        self.clock = ClockTwin(NOW)
        self.sessions = SessionTable()
        self.index = Index()
        for record in provider():
            self.index.put(record)
        self.index.put(nas(id="lab", prefixes=(ip_network("127.0.0.1/32"),)))
        self.index.put(subscriber("alice", "secret", id="S1"))
        self.said: list[dict[str, Any]] = []
        self.seq = 0
        self._engine, self._options = engine, options
        self.sink = self.again()

    def again(self) -> RadacctSink:
        """Return a sink as it is after a restart."""
        store = self.store
        self.sink = RadacctSink(
            RadacctOptions(name="central", **self._options),
            self._engine,
            store.engine,
            store.writer,
            SessionFinder(store.engine, self.sessions, self.index),
            self.clock,
            lambda event, /, **fields: self.said.append({"event": event, **fields}),
        )
        return self.sink

    def report(self, line: Line, status: int, after_s: int, upload: int = 0, **more: Any) -> Event:
        """Take a packet in, and return the event that tells of it."""
        line.seq = self.seq  # numbers are of the journal, not of a line
        _, session = self.sessions.apply(line.report(status, after_s, upload, **more))
        return self.event(session.uid)

    def event(self, uid: int | None, data: dict[str, Any] | None = None) -> Event:
        """Return an event about a session."""
        self.seq += 1
        self.sessions.folded_seq = max(self.sessions.folded_seq, self.seq)
        correlation = "" if uid is None else str(uid)
        return Event(
            self.seq, NOW, "accounting.interim", Urgency.B, "demo", correlation, json.dumps(data or {}), b""
        )

    async def keep(self) -> None:
        """Write every session to the store, as the keeper does."""
        rows = []
        for session in self.sessions.snapshot():
            session.told, _ = news_of(session)
            rows.append(to_row(session))
        await self.store.writer.commit(lambda connection: session_rows.save(connection, rows))

    async def deliver(self, *events: Event, stream: Stream = Stream.ACCOUNTING) -> Receipt:
        """Deliver a run of events."""
        first, last = events[0].seq, events[-1].seq
        return await self.sink.deliver(
            Delivery(
                edge="edge",
                stream=stream,
                incarnation="one",
                first=first,
                last=last,
                before_hash=b"",
                hash=b"",
                events=events,
            )
        )


@asynccontextmanager
async def stage(database: Database, store: Store, **options: Any) -> AsyncIterator[Stage]:
    """Set the stage on an empty table."""
    database.run("DELETE FROM radacct;")
    engine = open_table_engine(database.url)
    try:
        async with store.running():
            yield Stage(database, store, engine, **options)
    finally:
        await engine.dispose()


def play(database: Database, store: Store, acts: Callable[[Stage], Any], **options: Any) -> None:
    """Run a play."""

    async def go() -> None:
        async with stage(database, store, **options) as made:
            await acts(made)

    asyncio.run(go())


def lines(count: int, **fields: Any) -> Sequence[Line]:
    """Return lines that began some minutes ago, each with an Acct-Session-Id of its own."""
    return [Line(session_id=b"%04d" % number, began=NOW - 600, **fields) for number in range(count)]
