"""Port blocks from accounting on their way to the store: what each report changes, in memory and in rows.

Sessions repeat their blocks in every interim, so what is held is known in memory and only changes are written.
What happened to a block is decided here alone; the store is told the outcome, and in the same transaction how
far it goes. After a crash memory is what the rows say, and a record that is in them already is passed over.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from math import inf
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.leases.cgnat_lives import Block, Life, Lives
from daemon.store import cgnat_rows, session_rows
from daemon.store.cgnat_rows import UNMATCHED, BlockBegan, BlockEnd, BlockGoesOn, BlockRow, Step
from daemon.store.writer import Writer
from ipam.cgnat_blocks import Ending, same_ports
from radius.port_ranges import PortRange, Reading, Told

BLOCKS_SEQ = "port-blocks-seq"  # the mark: rows of blocks go as far as this record
_SLICE = 500  # steps in one transaction: an acknowledgement waits for no more than these
_LATE_S = 86_400.0  # a record may have been under way that long
_MOST_ENDED = 20_000  # remembered, so that late reports of them are known as such


@dataclass(frozen=True, slots=True)
class PortReport:
    """What one accounting record says of port blocks, and of whom.

    `seq` is the record's number in the journal, `session` our number of the session, `inside` the address it
    has where that is known. `at` is the time of the event and `closed_at` when the session was over, if it is:
    epoch seconds.
    """

    seq: int
    tenant: str
    nas: str
    session: int
    subscriber: str
    inside: IPv4Address | IPv6Address | None
    at: float
    reading: Reading
    closed_at: float | None = None


class _Act(NamedTuple):
    """What one record or the end of one session changed; `outside` are the addresses that it is about."""

    seq: int
    steps: list[Step]
    outside: frozenset[str]


class Ingest:
    """The blocks that sessions have, and the steps that are not yet in the store.

    `unreadable` counts attributes that made no sense, `unmatched` blocks given back that nobody was known to have.
    """

    def __init__(self, most_ended: int = _MOST_ENDED, slice_steps: int = _SLICE) -> None:
        """Start with an empty store, until `restore`."""
        self._lives = Lives(most_ended)
        self._most_ended = most_ended
        self._slice_steps = slice_steps
        self._alone: OrderedDict[Block, float] = OrderedDict()  # given back before they were given out
        self._steps: list[Step] = []  # of the record or the end that is being taken
        self._concerned: set[str] = set()  # outside addresses of those
        self._acts: list[_Act] = []  # what waits: never stored in part
        self._together = 0  # so many acts go in one transaction: they are not in the order of their records
        self._newest = 0  # the highest record of an act
        self._stored_seq = 0
        self._restored_seq = 0
        self._ordinal = 0
        self.unreadable = 0
        self.unmatched = 0

    def __len__(self) -> int:
        """Return how many blocks are held."""
        return len(self._lives.held)

    @property
    def waiting(self) -> int:
        """How many steps are not in the store yet."""
        return sum(len(act.steps) for act in self._acts)

    def unwritten(self, outside: IPv4Address) -> int:
        """Return how many reports about an outside address are not in the store yet."""
        address = str(outside)
        return sum(address in act.outside for act in self._acts)

    # --- what is reported ------------------------------------------------------------------------

    def take(self, report: PortReport) -> None:
        """Take what a record says, which must be in the journal. Repeats and wrong order do no harm."""
        self.unreadable += report.reading.unreadable
        if report.seq <= self._restored_seq:
            return
        self._ordinal = 0
        try:
            for each in report.reading.ranges:
                self._take_range(report, each)
            if report.closed_at is not None:
                self._end_all(report.session, report.closed_at, report.seq)
        finally:
            self._act(report.seq)

    def ended(self, session: int, at: float, seq: int) -> None:
        """A session is over since an epoch second: none of its blocks is held longer than that.

        `seq` is the last record that was folded in. A look-up and no more where the session has no blocks.
        """
        if self._lives.of_session(session) is None or seq < self._restored_seq:
            return
        self._end_all(session, at, seq)
        self._act(seq)

    def settle(self, ended_at: Callable[[int], float | None], seq: int) -> None:
        """End the blocks of sessions that are over, once the journal has been folded in after a start.

        `ended_at` gives when a session ended, epoch seconds, None for one that is live.
        """
        for session in self._lives.sessions():
            at = ended_at(session)
            if at is not None:
                self._end_all(session, at, seq)
                self._act(seq)

    def blocks(self, session: int) -> Iterator[tuple[IPv4Address, int, int]]:
        """Yield outside address, first and last port of each block that a session has now."""
        for block in self._lives.of_session(session) or ():
            yield IPv4Address(block.outside), block.first_port, block.last_port

    def _take_range(self, report: PortReport, said: PortRange) -> None:
        if said.told is Told.RELEASED_ALL:
            self._release_all(report, said)
            return
        block = _block_of(report, said)
        if said.told is Told.RELEASED:
            self._release(report, said, block)
            return
        if said.told is Told.REPLACES:
            self._release_others(report, said)
        life = self._lives.held.get(block)
        if life is None or report.at < life.since:
            self._hold(report, said, block)
        elif not life.sure and report.at > self._lives.known_since:
            self._end(
                life, report.at, Ending.SUPERSEDED, report.seq
            )  # a row from here on, whatever became of it
            self._add(report, said, block)

    def _hold(self, report: PortReport, said: PortRange, block: Block) -> None:
        """Take the report of a block that is not known to have been held at that time."""
        at, lives = report.at, list(self._lives.touching(block, report.at))
        own = [each for each in lives if each.block == block]
        if any(each.since <= at for each in own):
            return  # overtaken by the report of the end
        others = [each for each in lives if each.block != block]
        taken_at = min((each.since for each in others if each.since > at), default=None)
        released_at = self._alone.get(block)
        goes_on = self._that_goes_on(report, block) if taken_at is None and not own else None
        for other in others:
            if other.since <= at and other.ending is not Ending.RELEASED and at < other.ended_at:
                self._end(other, at, Ending.SUPERSEDED, report.seq)
        if released_at is not None and at <= released_at:
            del self._alone[block]
            self._add(report, said, block, released_at, Ending.RELEASED)
        elif own and (taken_at is None or min(own, key=_since).since <= taken_at):
            life = min(own, key=_since)  # overtaken by a repeat
            life.since = at
            self._concerned.add(block.outside)
            self._steps.append(BlockBegan(life.seq, life.ordinal, at))
        elif goes_on is not None:
            self._lives.revive(goes_on)
            self._concerned.add(block.outside)
            self._steps.append(BlockGoesOn(goes_on.seq, goes_on.ordinal))
        else:
            self._add(report, said, block, taken_at, Ending.SUPERSEDED)

    def _that_goes_on(self, report: PortReport, block: Block) -> Life | None:
        """Return the life whose end was only concluded from that of the session, which lives on."""
        last = self._lives.last(block)
        if last is None or last.ending is not Ending.SESSION_ENDED or report.closed_at is not None:
            return None
        if not last.sure or last.ended_at <= self._lives.known_since:
            return None
        since = self._lives.touching(block, last.ended_at)
        return None if any(each is not last and each.ended_at > last.ended_at for each in since) else last

    def _release(self, report: PortReport, said: PortRange, block: Block) -> None:
        life, at = self._lives.held.get(block), report.at
        if life is not None and at >= life.since:
            self._end(life, at, Ending.RELEASED, report.seq)
            return
        lives = self._lives.touching(block, at)
        over = next((each for each in lives if each.block == block and each.covers(at)), None)
        last = self._lives.last(block)
        if over is not None:
            if over.ending is not Ending.RELEASED:
                self._end(over, at, Ending.RELEASED, report.seq)
        elif last is None or at < last.since:
            self._release_alone(report, said, block)

    def _release_alone(self, report: PortReport, said: PortRange, block: Block) -> None:
        """Remember a release whose assignment is not known: it may be under way."""
        if block in self._alone:
            return
        self.unmatched += 1
        self._alone[block] = report.at
        while len(self._alone) > self._most_ended:
            self._alone.popitem(last=False)
        row = self._row(report, said, block)
        self._steps.append(row._replace(until=report.at, ending=UNMATCHED, ended_seq=report.seq))

    def _release_all(self, report: PortReport, said: PortRange) -> None:
        for block in sorted(self._lives.of_session(report.session) or ()):
            whole = said.outside is None or str(said.outside) == block.outside
            if whole and same_ports(said.transport, block.transport):
                self._release(report, said, block)

    def _release_others(self, report: PortReport, said: PortRange) -> None:
        named = {_block_of(report, each) for each in report.reading.ranges}
        for block in sorted(self._lives.of_session(report.session) or ()):
            if block not in named and same_ports(said.transport, block.transport):
                self._release(report, said, block)

    # --- memory and rows -------------------------------------------------------------------------

    def _add(
        self,
        report: PortReport,
        said: PortRange,
        block: Block,
        until: float | None = None,
        ending: Ending = Ending.OPEN,
    ) -> None:
        """Begin a life; the store looks for an earlier end where memory does not go back so far."""
        row = self._row(report, said, block)
        sure = report.at > self._lives.known_since
        life = Life(block, row.seq, row.ordinal, row.since, sure=sure)
        if until is None:
            self._lives.hold(life)
            self._steps.append(row._replace(late=not sure))
            return
        life.ended_at, life.ending = until, ending
        self._lives.remember(life)
        if sure or ending is Ending.RELEASED:
            self._steps.append(row._replace(until=until, ending=ending, ended_seq=report.seq))
            return
        self._steps.append(row._replace(late=True))
        self._steps.append(BlockEnd(row.seq, row.ordinal, until, ending, report.seq))

    def _row(self, report: PortReport, said: PortRange, block: Block) -> BlockRow:
        inside = said.inside or report.inside
        self._concerned.add(block.outside)
        self._ordinal += 1
        return BlockRow(
            seq=report.seq,
            ordinal=self._ordinal - 1,
            tenant=block.tenant,
            outside=block.outside,
            first_port=block.first_port,
            last_port=block.last_port,
            transport=block.transport,
            inside="" if inside is None else str(inside),
            subscriber=report.subscriber,
            session=block.session,
            nas=report.nas,
            since=report.at,
        )

    def _end(self, life: Life, at: float, ending: Ending, seq: int) -> None:
        self._lives.end(life, at, ending)
        self._concerned.add(life.block.outside)
        self._steps.append(BlockEnd(life.seq, life.ordinal, at, ending, seq))

    def _end_all(self, session: int, at: float, seq: int) -> None:
        for block in list(self._lives.of_session(session) or ()):
            life = self._lives.held[block]
            self._end(life, max(at, life.since), Ending.SESSION_ENDED, seq)

    # --- the store -------------------------------------------------------------------------------

    def _act(self, seq: int) -> None:
        outside = frozenset(self._concerned)
        self._concerned.clear()
        if not self._steps:
            return
        self._acts.append(_Act(seq, self._steps, outside))
        self._steps = []
        if seq < self._newest:
            self._together = len(self._acts)
        self._newest = max(self._newest, seq)

    async def restore(self, engine: AsyncEngine, mark: int, at: float) -> int:
        """Read back what the rows say; return how many blocks are held. To be called before replay.

        `mark` is the record up to which all was flushed at least; records that are in the rows are passed over.
        """
        since = at - _LATE_S
        stored = int(await session_rows.read_mark(engine, BLOCKS_SEQ) or 0)
        self._stored_seq = self._restored_seq = self._newest = max(mark, stored)
        async with engine.connect() as connection:
            ended = await cgnat_rows.read_ended(connection, since, self._most_ended)
            held = await cgnat_rows.read_open(connection)
        oldest = ended[0].until if len(ended) == self._most_ended else None
        self._lives.known_since = since if oldest is None else oldest
        for row in held:
            self._lives.hold(_life(row))
        for row in ended:
            if row.ending != UNMATCHED:
                self._lives.remember(_life(row))
        for row in ended:
            if row.ending == UNMATCHED and not self._is_matched(row):
                self._alone[_block_of_row(row)] = row.since
        return len(self)

    def _is_matched(self, row: BlockRow) -> bool:
        block = _block_of_row(row)
        lives = self._lives.touching(block, row.since)
        return any(each.block == block and each.covers(row.since) for each in lives)

    async def flush(self, writer: Writer, through: float = inf) -> None:
        """Write what waits, in slices. To be called before the keeper's mark is moved on.

        `through` is the last record up to which all have been taken: what later ones changed waits on. Raises
        StoreUnavailable; then what is not written waits on, too.
        """
        while True:
            count, seq, steps = self._slice(through)
            if not count:
                return

            async def save(connection: AsyncConnection, seq: int = seq, steps: list[Step] = steps) -> None:
                await cgnat_rows.save_blocks(connection, steps)
                await session_rows.save_mark(connection, BLOCKS_SEQ, seq)

            await writer.commit(save)
            del self._acts[:count]
            self._together = max(0, self._together - count)
            self._stored_seq = seq

    def _slice(self, through: float) -> tuple[int, int, list[Step]]:
        """Return how many acts to store next, the record up to which the rows go then, and their steps."""
        steps: list[Step] = []
        count, seq = 0, self._stored_seq
        for of_seq, more, _ in self._acts:
            full = steps and len(steps) + len(more) > self._slice_steps
            if of_seq > through or (full and count >= self._together):
                break
            steps += more
            count, seq = count + 1, max(seq, of_seq)
        return count, seq, steps


def _since(life: Life) -> float:
    return life.since


def _block_of(report: PortReport, said: PortRange) -> Block:
    return Block(
        report.tenant, str(said.outside), said.first_port, said.last_port, said.transport, report.session
    )


def _block_of_row(row: BlockRow) -> Block:
    return Block(row.tenant, row.outside, row.first_port, row.last_port, row.transport, row.session)


def _life(row: BlockRow) -> Life:
    ended_at = inf if row.until is None else row.until
    return Life(_block_of_row(row), row.seq, row.ordinal, row.since, ended_at, Ending(row.ending))
