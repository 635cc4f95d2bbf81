"""A snapshot that gathers in a generation of its own, page by page, and is compared and served at its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.store import feed_rows
from daemon.store.schema import OBJECT
from daemon.sync.feed.ledger import Ledger
from daemon.sync.feed.model import (
    Applied,
    Item,
    Lines,
    Op,
    Refused,
    SnapshotUnreadable,
    Superseded,
    Trailer,
)
from daemon.sync.feed.rows import Rows
from daemon.sync.feed.state import Gathering, to_row
from daemon.sync.feed.wire_lines import count_of
from daemon.sync.feed.workshop import Given, Here, Workshop, WorkshopLost

Finish = Callable[[Gathering, Trailer | None, Workshop], Awaitable[Applied | Refused]]

_SLICE = 256  # rows of one transaction
_SMALL = 1000  # items: a snapshot that is not larger needs no process of its own
_COLUMNS = [each.name for each in OBJECT.c]
_KIND, _ID = _COLUMNS.index("kind"), _COLUMNS.index("id")


class Snapshot:
    """One snapshot under way; implements `LineStaging`."""

    def __init__(
        self,
        ledger: Ledger,
        gathering: Gathering,
        here: Here,
        beside: Callable[[int], Workshop] | None,
        finish: Finish,
    ) -> None:
        """`beside` makes what reads large snapshots into a generation; without it they are read here."""
        self._ledger = ledger
        self._mine = gathering.generation
        self._start_rev = gathering.start_rev
        self._here = here
        self._beside = beside
        self._workshop: Workshop = here
        self._finish = finish
        self._taken = 0
        self._refused = bool(gathering.cursor)  # whether anything of it may be refused so far
        self._given: list[tuple[Given, str]] = []  # pages that are not written yet
        self._unreadable: SnapshotUnreadable | None = None

    @property
    def start_rev(self) -> int:
        """The revision from where changes will be read."""
        return self._start_rev

    @property
    def resume_at(self) -> str:
        """The cursor of the last page that is durable."""
        return self._gathering().cursor

    def _gathering(self) -> Gathering:
        mine = self._ledger.state.staging
        if mine is None or mine.generation != self._mine:
            raise Superseded(f"feed {self._ledger.name}: another snapshot has begun")
        return mine

    async def add(self, items: Sequence[Item], cursor: str) -> None:
        """Take a page: it is read while the one before it is written. Raises StoreUnavailable and Superseded."""
        start_rev = self._gathering().start_rev
        stamped = [item if item.rev else item._replace(rev=start_rev) for item in items if item.op is Op.PUT]
        await self._add(stamped, len(stamped), cursor)

    async def add_lines(self, lines: Lines, cursor: str) -> None:
        """Take a page as it came; see `LineStaging`. Raises as `add`, and SnapshotUnreadable."""
        start_rev = lines.start_rev or self._gathering().start_rev
        await self._add(lines._replace(start_rev=start_rev), count_of(lines.octets), cursor)

    async def _add(self, given: Given, count: int, cursor: str) -> None:
        gathering = self._gathering()
        self._taken += count
        if self._workshop is self._here and self._beside is not None and self._taken > _SMALL:
            self._workshop = self._beside(gathering.generation)
        self._given.append((given, cursor))
        behind = 0
        if self._workshop is not self._here:
            await self._workshop.give(given, self._ledger.clock.wall())
            behind = 1
        while len(self._given) > behind:
            await self._write_next()

    async def _read(self, given: Given) -> Rows:
        if self._workshop is not self._here:
            try:
                return await self._workshop.take()
            except WorkshopLost:  # what it was given is read here, and after a while another one is tried
                self._workshop, self._taken = self._here, 0
        return await self._here.rows(given, self._ledger.at(self._mine), self._ledger.clock.wall())

    async def _write_next(self) -> None:
        """Make a page durable in small transactions; the last one has the cursor."""
        if self._unreadable is not None:
            raise self._unreadable
        given, cursor = self._given.pop(0)
        try:
            objects, nacks = await self._read(given)
        except SnapshotUnreadable as error:
            self._unreadable = (
                error  # nothing behind it may become durable, for it would not be asked for again
            )
            raise
        size = max(1, len(objects), len(nacks))
        for start in range(0, size, _SLICE):
            end = start + _SLICE
            async with self._ledger.turn:
                some = Rows(objects[start:end], nacks[start:end])
                await self._store(some, cursor if end >= size else None)

    async def _store(self, rows: Rows, cursor: str | None) -> None:
        ledger, gathering = self._ledger, self._gathering()
        staged, served = ledger.at(self._mine), ledger.place
        state = ledger.state
        if cursor is not None:
            state = replace(state, staging=replace(gathering, cursor=cursor))
        objects, nacks = rows
        row = to_row(ledger.name, ledger.tenant, state, ledger.contact_at)

        async def write(connection: AsyncConnection) -> None:
            bad = [(each.kind, each.id) for each in nacks]
            if self._refused:  # a page may come again, with other content: the last word counts
                good = [(each[_KIND], each[_ID]) for each in objects]
                await feed_rows.delete_objects(connection, staged, good, nacks_only=True)
            await feed_rows.save_objects(connection, objects)
            if bad:
                await feed_rows.delete_objects(connection, staged, bad)
                await feed_rows.save_nacks(connection, staged, nacks)
                await feed_rows.keep_last_good(connection, served, staged, bad)
            if cursor is not None:
                await feed_rows.save_feed(connection, row)

        self._refused = self._refused or bool(nacks)
        await ledger.writer.commit(write)
        if cursor is not None and ledger.state.staging == gathering:
            ledger.state = replace(ledger.state, staging=state.staging)

    async def finish(self, trailer: Trailer | None) -> Applied | Refused:
        """Write what is left, compare with the trailer, and serve it. Raises StoreUnavailable and Superseded."""
        try:
            while self._given:
                await self._write_next()
            if self._unreadable is not None:
                raise self._unreadable
            return await self._finish(self._gathering(), trailer, self._workshop)
        finally:
            await self.close()

    async def drop(self) -> None:
        """Give it up. Raises StoreUnavailable."""
        await self.close()
        async with self._ledger.turn:
            state = self._ledger.state
            if state.staging is not None and state.staging.generation == self._mine:
                await self._ledger.save(replace(state, staging=None))

    async def close(self) -> None:
        """Let go of the process that reads; what is durable stays."""
        self._given.clear()
        workshop, self._workshop = self._workshop, self._here
        await workshop.close()
