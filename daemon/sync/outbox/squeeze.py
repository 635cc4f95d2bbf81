"""Makes room in what is not acknowledged: needless interims of the journal, the oldest events of class C."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.aaa import report
from daemon.aaa.report import Belief
from daemon.clock import Clock
from daemon.store import journal, outbox_pages
from daemon.store.journal import Told
from daemon.store.writer import Writer
from daemon.sync.outbox.coalesce import Coalescer
from daemon.sync.outbox.logs import fact_of_row
from daemon.sync.outbox.logs_accounting import ProfileOf
from daemon.sync.outbox.model import Stream
from radius.codes import AcctStatus, Attr
from radius.errors import Malformed
from radius.packet import decode

_PAGE = 500
_SLICE = 25  # records between two turns of others
_GATHER = (
    500_000  # needless records before rows are written anew: 4 MB; a report later than that changes nothing
)
_PAUSE_S = 0.01  # between two rows that are written anew: acknowledgements come in between
_OF_SESSIONS = (int(AcctStatus.START), int(AcctStatus.STOP), int(AcctStatus.INTERIM_UPDATE))
_MOST_S = 5.0  # that one call takes, about: then the room is measured again
_MOST_LOOKED = 20_000  # records that one call looks at
_AT_ONCE = 20_000  # needless records that are handed to the store at one time: a row has fewer
_DROP = 500  # events of class C in one transaction


class Squeeze:
    """Gives up what may be given up. `elided` and `dropped` count records and events, `saved_octets` what it gained.

    `more` says whether the last call of `interims` came to an end before it was done.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        writer: Writer,
        clock: Clock,
        profile_of: ProfileOf,
        belief: Callable[[], Belief],
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._clock = clock
        self._profile_of = profile_of
        self._belief = belief
        self._coalescer = Coalescer()
        self._reached = 0
        self._needless: Sequence[int] = ()  # found, and not elided yet but for the first `_done`
        self._done = 0
        self.more = False
        self.elided = 0
        self.dropped = 0
        self.saved_octets = 0

    def again(self) -> None:
        """Look at everything once more with the next turn, not only at what is new."""
        self._coalescer = Coalescer()
        self._reached = 0

    async def interims(self, after_seq: int, through_seq: int) -> int:
        """Elide needless interims after one number up to another; return how many went. Raises StoreUnavailable.

        Takes some seconds, and goes on with the next call where it ended. What was looked at before is not looked at
        again, but for the last report of each session.
        """
        end_s = self._clock.monotonic() + _MOST_S
        before, looked = self.elided, 0
        self.more = True
        while await self._elide(end_s):
            at = max(after_seq, self._reached)
            if at >= through_seq and not self._coalescer.found:
                self.more = False
                break
            if looked >= _MOST_LOOKED or self._clock.monotonic() >= end_s:
                break
            found = await self._look_on(at, through_seq)
            looked += found
            if not found:
                through_seq = at  # the journal ends here
        return self.elided - before

    async def _look_on(self, at: int, through_seq: int) -> int:
        """Look at a page after a number; return how many records it had. What is needless is set aside at the end."""
        page = await journal.page(self._engine, at, min(_PAGE, through_seq - at)) if at < through_seq else []
        for number, told in enumerate(page, 1):
            self._look(told)
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        self._reached = page[-1].seq if page else at
        if not page or self._reached >= through_seq or self._coalescer.found >= _GATHER:
            self._needless, self._done = self._coalescer.take(), 0
        return len(page)

    def _look(self, told: Told) -> None:
        record = told.record
        if record.elided:
            return
        try:
            packet = decode(record.octets)
        except Malformed:
            return
        if packet.find_int(Attr.ACCT_STATUS_TYPE) not in _OF_SESSIONS:
            return
        profile = self._profile_of(record.tenant, record.nas)
        self._coalescer.feed(report.read(told.seq, record, packet, profile, self._belief()))

    async def _elide(self, end_s: float) -> bool:
        """Write rows anew without what was found needless, one in a transaction; False where time is over first."""
        while self._done < len(self._needless):
            if self._clock.monotonic() >= end_s:
                return False
            last, gone, saved = await self._elide_row(self._needless[self._done : self._done + _AT_ONCE])
            self._done = bisect_right(self._needless, last, self._done)
            self.elided += gone
            self.saved_octets += saved
            await self._clock.sleep(_PAUSE_S)
        self._needless, self._done = (), 0
        return True

    async def _elide_row(self, seqs: Sequence[int]) -> tuple[int, int, int]:
        done: list[tuple[int, int, int]] = []

        async def elide(connection: AsyncConnection) -> None:
            done.append(await journal.elide_some(connection, seqs))

        await self._writer.commit(elide)
        return done[-1]

    async def drop_oldest(self, stream: Stream, after_seq: int) -> int:
        """Drop some of the oldest events of class C of a stream after a number; return how many.

        Raises StoreUnavailable.
        """
        rows = await outbox_pages.droppable(self._engine, stream, after_seq, _DROP)
        facts = [(row.seq, fact_of_row(row)) for row in rows]
        if facts:
            await self._writer.commit(lambda connection: outbox_pages.drop(connection, stream, facts))
        self.dropped += len(facts)
        return len(facts)
