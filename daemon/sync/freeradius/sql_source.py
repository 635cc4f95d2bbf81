"""A feed from the SQL tables of FreeRADIUS: no id, order or time there is a version, so digests tell what changed.

Every pass is one read-only snapshot of the database. The first comes to the feed as a snapshot, unless the feed has
the same already; later ones as batches of what differs. The revisions are our own.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

from sqlalchemy import func, make_url, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.sync.feed.model import (
    Applied,
    Batch,
    Feed,
    Item,
    Op,
    Position,
    Refusal,
    Refused,
    Staging,
    Superseded,
)
from daemon.sync.feed.wake import Wake, Woken
from daemon.sync.freeradius.findings import Findings, Why
from daemon.sync.freeradius.projection import Projection
from daemon.sync.freeradius.semantics import Made
from daemon.sync.freeradius.sql_options import SqlOptions, SqlStatus
from daemon.sync.freeradius.sql_rows import Mark, Schema, open_tables
from daemon.sync.freeradius.sweep import Put, Sweep
from radius.dictionary import Dictionary

_REST = 4.0  # times as long as a pass took
_FEW = 20  # that many may go in a batch; more, and more than a twentieth of all, go as a snapshot that says it all


class SqlSource:
    """Keeps one feed up to date from one database. Implements `FeedSource`.

    `random` returns numbers in [0, 1). Kinds that the feed does not have are not read.
    """

    def __init__(
        self,
        feed: Feed,
        options: SqlOptions,
        dictionary: Dictionary,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self.name = f"sql {feed.name}"
        self._feed = feed
        self._options = options
        self._dictionary = dictionary
        self._clock = clock
        self._random = random
        url = make_url(options.url)
        self._fold = url.get_backend_name() != "postgresql" if options.fold is None else options.fold
        source = repr((url.set(password=None).render_as_string(), options.tables, options.users))
        self.epoch = f"sql-{sha256(source.encode()).hexdigest()[:16]}"
        self._engine: AsyncEngine | None = None
        self._schema: Schema | None = None
        self._known: Projection | None = None  # what the feed has
        self._held: tuple[Position, Projection] | None = None  # what its brake holds
        self._mark: Mark | None = None
        self._compare_at = 0.0  # monotonic
        self._resync = False
        self._refusal = ""  # why the feed has not taken what was read last
        self._wake = Wake()
        self.findings = Findings()
        self.status = SqlStatus()

    def __repr__(self) -> str:
        return f"<SqlSource {self._feed.name}>"

    def resync(self) -> None:
        """Read everything again as soon as possible, and hand it over whole."""
        self._resync = True
        self._wake.ring()

    async def run(self) -> None:
        """Keep the feed up to date, for ever."""
        try:
            while True:
                pause_s = self._options.probe_s
                try:
                    began = self._clock.monotonic()
                    await self.turn()
                    # A large table is not read all the time, however often its platform writes.
                    pause_s = max(pause_s, _REST * (self._clock.monotonic() - began))
                except (SQLAlchemyError, OSError, TimeoutError, StoreUnavailable, Superseded) as error:
                    failures = self.status.failures + 1
                    self.status = replace(self.status, failures=failures, error=_said(error))
                    pause_s = self._options.backoff.pause_s(failures, self._random())
                    await self._close()
                try:
                    async with self._wake.held():
                        await self._clock.sleep(pause_s)
                except Woken:
                    pass
        finally:
            await self._close()

    async def turn(self) -> None:
        """Look whether something has changed, and bring it to the feed. Raises what the database does."""
        asked_at = self._clock.wall()
        if self._engine is None:
            self._engine = open_tables(self._options.url, connect_timeout_s=self._options.connect_timeout_s)
        async with asyncio.timeout(self._options.connect_timeout_s * 2), self._engine.connect() as connection:
            if self._schema is None:
                self._schema = await Schema.look(connection, self._options.tables, fold=self._fold)
            mark = await self._schema.mark(connection)
            now = await connection.scalar(select(func.current_timestamp()))
        self._adopt()
        due = self._resync or self._known is None or self._clock.monotonic() >= self._compare_at
        if due or mark != self._mark or (await self._feed.status()).wants_snapshot:
            await self._bring()
            self._mark = mark
            self._compare_at = self._clock.monotonic() + self._options.compare_s
        self.status = replace(self.status, failures=0, error=self._refusal)
        position = self._feed.position
        if position is not None and position.epoch == self.epoch:
            server_time = now.timestamp() if now is not None and now.tzinfo is not None else None
            await self._feed.contact(position.rev, server_time, asked_at, self._clock.wall())

    def _adopt(self) -> None:
        """Take what was held for what the feed has, once somebody has released it."""
        if self._held is not None and self._feed.brake is None:
            position, projection = self._held
            if self._feed.position == position:
                self._known = projection
            self._held = None
            self._mark = None

    async def _bring(self) -> None:
        """Read everything and bring the feed what is new in it."""
        position = self._feed.position
        wanted = self._resync or (await self._feed.status()).wants_snapshot
        self._resync = False
        if position is None or position.epoch != self.epoch or wanted:
            await self._snapshot()
        elif self._known is None:
            made = await self._pass(Projection(), _ignore)
            if made.root() == (await self._feed.digests()).root:
                self._known = made
            elif self._new(made):
                await self._snapshot()
        else:
            await self._differences(position, self._known)

    async def _differences(self, position: Position, known: Projection) -> None:
        items: list[Item] = []

        async def gather(made: Made) -> None:
            if len(items) <= self._options.batch_most:  # one more says that there are too many
                items.append(Item(made.kind, made.id, position.rev + 1, Op.PUT, made.body, 1, 1))

        made = await self._pass(known, gather)
        lost = list(made.gone(known))
        if len(items) + len(lost) > self._options.batch_most or len(lost) > max(
            _FEW, len(known.logins) // 20
        ):
            return await self._snapshot() if self._new(made) else None
        items += [Item(kind, key, position.rev + 1, Op.DELETE, None) for kind, key in lost]
        if not items:
            self._known = made
            return None
        to = position.rev + 1
        batch = Batch(
            feed=self._feed.name, epoch=self.epoch, after=position.rev, to=to, head=to, items=tuple(items)
        )
        if self._new(made):
            self._taken(await self._feed.apply(batch), made)
        return None

    async def _snapshot(self) -> None:
        position = self._feed.position
        rev = position.rev + 1 if position is not None and position.epoch == self.epoch else 1
        staging = await self._fresh(rev)
        page: list[Item] = []
        pages = 0

        async def gather(made: Made) -> None:
            nonlocal pages
            page.append(Item(made.kind, made.id, rev, Op.PUT, made.body, 1, 1))
            if len(page) >= self._options.page:
                pages += 1
                await staging.add(tuple(page), str(pages))
                page.clear()

        self.findings = Findings()
        made = await self._pass(Projection(), gather)
        if page:
            await staging.add(tuple(page), str(pages + 1))
        self._taken(await staging.finish(made.trailer()), made)

    async def _fresh(self, rev: int) -> Staging:
        """Begin a snapshot. One that was under way is of another moment of the database."""
        staging = await self._feed.snapshot(self.epoch, rev)
        if staging.resume_at or staging.start_rev != rev:
            await staging.drop()
            staging = await self._feed.snapshot(self.epoch, rev)
        return staging

    async def _pass(self, earlier: Projection, put: Put) -> Projection:
        """Return what the tables amount to now."""
        assert self._engine is not None
        assert self._schema is not None
        sweep = Sweep(self._options, self._dictionary, self.findings, self._feed.kinds, earlier, put)
        async with asyncio.timeout(self._options.sweep_limit_s):
            async with self._engine.connect() as connection:
                try:
                    await sweep.read(connection, self._schema, fold=self._fold)
                except BaseException:
                    await (
                        connection.invalidate()
                    )  # rows that nobody reads any more would be read to their end
                    raise
            await sweep.close(_resolve)
        self._note(sweep)
        return sweep.made

    def _note(self, sweep: Sweep) -> None:
        made, at = sweep.made, self._clock.wall()
        digest = made.root().hex()
        findings = self.findings
        self.status = SqlStatus(
            swept_at=at,
            changed_at=self.status.changed_at if digest == self.status.digest else at,
            users=len(made.logins),
            rows=made.rows,
            objects=tuple(sorted(made.counts.items())),
            skipped=sweep.skipped,
            unusable_passwords=sum(count for _, count in findings.by_name(Why.PASSWORD)),
            duplicates=sum(count for _, count in findings.by_name(Why.DUPLICATE)),
            unknown=findings.by_name(Why.UNKNOWN),
            digest=digest,
            held=self._held is not None,
            failures=self.status.failures,
            error=self.status.error,
        )

    def _new(self, made: Projection) -> bool:
        """Tell whether this is something else than what the brake holds."""
        return self._held is None or self._held[1].root() != made.root()

    def _taken(self, outcome: Applied | Refused, made: Projection) -> None:
        """Note what became of it. What is refused stays as it is there, and is tried again with the next pass."""
        if isinstance(outcome, Applied):
            self._known, self._held = made, None
        elif outcome.why is Refusal.BRAKE and self._feed.brake is not None:
            brake = self._feed.brake
            self._held = (Position(brake.epoch, brake.rev), made)
        else:
            self._known = None
        self._refusal = "" if isinstance(outcome, Applied) else f"{outcome.why}: {outcome.detail}"
        self.status = replace(self.status, held=self._held is not None)

    async def _close(self) -> None:
        engine, self._engine, self._schema = self._engine, None, None
        if engine is not None:
            await engine.dispose()


async def _ignore(_made: Made) -> None:
    pass


async def _resolve(host: str) -> Sequence[str]:
    """Return the addresses of a host; the resolver runs in a thread."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    return [str(each[4][0]) for each in found]


def _said(error: BaseException) -> str:
    """Return an error in one line without the statement: its first line is what the database says."""
    inner = getattr(error, "orig", None) or error
    text = str(inner).strip().splitlines()
    return f"{type(inner).__name__}: {text[0][:300]}" if text else type(inner).__name__
