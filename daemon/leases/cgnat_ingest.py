"""Port blocks from accounting on their way to the store: what each report changes, in memory and in rows.

Sessions repeat their blocks in every interim, so what is held is known in memory and only changes are written.
Records may be folded in a second time after a crash: `restore` goes back to where the rows of the keeper's mark
were, so that the same records then make the same rows, which changes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from math import inf
from typing import NamedTuple, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store import cgnat_rows
from daemon.store.cgnat_rows import UNMATCHED, BlockBegan, BlockEnd, BlockGoesOn, BlockRow, Step
from daemon.store.writer import Writer
from ipam.cgnat_blocks import Ending, same_ports
from radius.port_ranges import PortRange, Reading, Told

_SLICE = 500  # steps in one transaction: an acknowledgement waits for no more than these
_LATE_S = 86_400.0  # a record may have been under way that long
_AHEAD_S = 600.0  # clocks of NASes are believed less far ahead than that
_MOST_ENDED = 20_000  # remembered, so that late reports of them are known as such

_Key = TypeVar("_Key")
_Time = tuple[float, float | None, str]  # since, until, ending


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


class _Block(NamedTuple):
    """A block of a session: what reports name it by."""

    tenant: str
    outside: str
    first_port: int
    last_port: int
    transport: int
    session: int

    def takes_from(self, other: _Block) -> bool:
        """Tell whether the other block cannot go on being held where this one is."""
        return (
            self.session != other.session
            and self.first_port <= other.last_port
            and other.first_port <= self.last_port
            and same_ports(self.transport, other.transport)
        )


@dataclass(slots=True)
class _Life:
    """A block that is held, or was lately, and its row."""

    seq: int
    ordinal: int
    since: float
    ended_at: float | None = None
    ending: Ending = Ending.OPEN


class Ingest:
    """The blocks that sessions have, and the steps that are not yet in the store.

    `unreadable` counts attributes that made no sense, `unmatched` blocks given back that nobody was known to have.
    """

    def __init__(self) -> None:
        self._held: dict[_Block, _Life] = {}
        self._of_session: dict[int, dict[_Block, None]] = {}
        self._of_outside: dict[tuple[str, str], dict[_Block, None]] = {}
        self._ended: OrderedDict[_Block, _Life] = OrderedDict()
        self._alone: OrderedDict[_Block, float] = OrderedDict()  # given back before they were given out
        self._latest: dict[tuple[str, str], float] = {}  # beginnings, by tenant and outside address
        self._before = inf  # and of what was stored before this start
        self._steps: list[Step] = []
        self._ordinal = 0
        self.unreadable = 0
        self.unmatched = 0

    def __len__(self) -> int:
        """Return how many blocks are held."""
        return len(self._held)

    @property
    def waiting(self) -> int:
        """How many steps are not in the store yet."""
        return len(self._steps)

    # --- what is reported ------------------------------------------------------------------------

    def take(self, report: PortReport) -> None:
        """Take what a record says, which must be in the journal. Repeats and wrong order do no harm."""
        self.unreadable += report.reading.unreadable
        self._ordinal = 0
        for each in report.reading.ranges:
            if each.told is Told.RELEASED_ALL:
                self._release_all(report, each)
                continue
            block = _block_of(report, each)
            if each.told is Told.RELEASED:
                self._release(report, each, block)
                continue
            if each.told is Told.REPLACES:
                self._release_others(report, each)
            self._hold(report, each, block)
        if report.closed_at is not None:
            self.ended(report.session, report.closed_at, report.seq)

    def ended(self, session: int, at: float, seq: int) -> None:
        """A session is over since an epoch second: none of its blocks is held longer than that.

        `seq` is the last record that was folded in. A look-up and no more where the session has no blocks.
        """
        for block in list(self._of_session.get(session, ())):
            self._end(block, max(at, self._held[block].since), Ending.SESSION_ENDED, seq)

    def settle(self, ended_at: Callable[[int], float | None], seq: int) -> None:
        """End the blocks of sessions that are over, once the journal has been folded in after a start.

        `ended_at` gives when a session ended, epoch seconds, None for one that is live.
        """
        for session in list(self._of_session):
            at = ended_at(session)
            if at is not None:
                self.ended(session, at, seq)

    def _hold(self, report: PortReport, said: PortRange, block: _Block) -> None:
        at, last, life = report.at, self._ended.get(block), self._held.get(block)
        if last is not None and last.ended_at is not None and last.since <= at <= last.ended_at:
            return  # overtaken by the report of the end
        released_at = self._alone.get(block)
        if released_at is not None and at <= released_at:
            del self._alone[block]
            self._add(report, said, block, (at, released_at, Ending.RELEASED))
        elif life is not None:
            if at < life.since:  # overtaken by a repeat
                life.since = at
                self._steps.append(BlockBegan(life.seq, life.ordinal, at))
        elif last is not None and self._may_go_on(report, block, last):
            self._go_on(block, last)
        else:
            taken_at = self._supersede(report, block)
            ending = Ending.OPEN if taken_at is None else Ending.SUPERSEDED
            self._add(report, said, block, (at, taken_at, ending))

    def _may_go_on(self, report: PortReport, block: _Block, last: _Life) -> bool:
        """Tell whether an end was only concluded from that of the session, which lives on."""
        if last.ending is not Ending.SESSION_ENDED or report.closed_at is not None or report.at < last.since:
            return False
        others = self._of_outside.get((block.tenant, block.outside), ())
        return not any(block.takes_from(other) for other in others)

    def _go_on(self, block: _Block, life: _Life) -> None:
        del self._ended[block]
        life.ended_at, life.ending = None, Ending.OPEN
        self._steps.append(BlockGoesOn(life.seq, life.ordinal))
        self._keep(block, life)

    def _supersede(self, report: PortReport, block: _Block) -> float | None:
        """End what others had of these ports; return when another took them, where this report came late."""
        taken_at: float | None = None
        for other in list(self._of_outside.get((block.tenant, block.outside), ())):
            if not block.takes_from(other):
                continue
            since = self._held[other].since
            if since <= report.at:
                self._end(other, report.at, Ending.SUPERSEDED, report.seq)
            else:
                taken_at = since if taken_at is None else min(taken_at, since)
        return taken_at

    def _release(self, report: PortReport, said: PortRange, block: _Block) -> None:
        life, last = self._held.get(block), self._ended.get(block)
        if life is not None and report.at >= life.since:
            self._end(block, report.at, Ending.RELEASED, report.seq)
        elif last is None or last.ended_at is None or report.at < last.since:
            self._release_alone(report, said, block)
        elif last.ending is not Ending.RELEASED and report.at <= last.ended_at:
            last.ended_at, last.ending = report.at, Ending.RELEASED
            self._steps.append(BlockEnd(last.seq, last.ordinal, report.at, Ending.RELEASED, report.seq))

    def _release_alone(self, report: PortReport, said: PortRange, block: _Block) -> None:
        """Remember a release whose assignment is not known: it may be under way."""
        if block in self._alone:
            return
        self.unmatched += 1
        self._alone[block] = report.at
        while len(self._alone) > _MOST_ENDED:
            self._alone.popitem(last=False)
        self._steps.append(self._row(report, said, block, (report.at, report.at, UNMATCHED)))

    def _release_all(self, report: PortReport, said: PortRange) -> None:
        for block in list(self._of_session.get(report.session, ())):
            whole = said.outside is None or str(said.outside) == block.outside
            if whole and same_ports(said.transport, block.transport):
                self._release(report, said, block)

    def _release_others(self, report: PortReport, said: PortRange) -> None:
        named = {_block_of(report, each) for each in report.reading.ranges}
        for block in list(self._of_session.get(report.session, ())):
            if block not in named and same_ports(said.transport, block.transport):
                self._release(report, said, block)

    # --- memory and rows -------------------------------------------------------------------------

    def _add(self, report: PortReport, said: PortRange, block: _Block, time: _Time) -> None:
        place = block.tenant, block.outside
        latest = self._latest.get(place, self._before)
        row = self._row(report, said, block, time)._replace(late=time[0] < latest)
        self._latest[place] = max(time[0], latest)
        self._steps.append(row)
        life = _life(row)
        if row.until is None:
            self._keep(block, life)
        else:
            self._remember(block, life)

    def _row(self, report: PortReport, said: PortRange, block: _Block, time: _Time) -> BlockRow:
        inside = said.inside or report.inside
        self._ordinal += 1
        since, until, ending = time
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
            since=since,
            until=until,
            ending=ending,
            ended_seq=None if until is None else report.seq,
        )

    def _keep(self, block: _Block, life: _Life) -> None:
        self._held[block] = life
        self._of_session.setdefault(block.session, {})[block] = None
        self._of_outside.setdefault((block.tenant, block.outside), {})[block] = None

    def _end(self, block: _Block, at: float, ending: Ending, seq: int) -> None:
        life = self._held.pop(block)
        _leave(self._of_session, block.session, block)
        _leave(self._of_outside, (block.tenant, block.outside), block)
        life.ended_at, life.ending = at, ending
        self._remember(block, life)
        self._steps.append(BlockEnd(life.seq, life.ordinal, at, ending, seq))

    def _remember(self, block: _Block, life: _Life) -> None:
        self._ended[block] = life
        self._ended.move_to_end(block)
        while len(self._ended) > _MOST_ENDED:
            self._ended.popitem(last=False)

    # --- the store -------------------------------------------------------------------------------

    async def restore(self, engine: AsyncEngine, mark: int, at: float) -> int:
        """Read back what was held after the record `mark`; return how many blocks. To be called before replay."""
        since = at - _LATE_S
        self._before = at + _AHEAD_S
        async with engine.connect() as connection:
            ended = await cgnat_rows.read_ended(connection, mark, since, _MOST_ENDED)
            held = await cgnat_rows.read_open(connection, mark, since)
        for row in ended:
            block = _block_of_row(row)
            if row.ending == UNMATCHED:
                self._alone[block] = row.since
            else:
                self._remember(block, _life(row))
        for row in held:
            self._keep(_block_of_row(row), _life(row))
        return len(self._held)

    async def flush(self, writer: Writer) -> None:
        """Write all steps that wait, in slices. To be called before the keeper's mark is moved on.

        Raises StoreUnavailable; then what is not written waits on.
        """
        while self._steps:
            steps = tuple(self._steps[:_SLICE])

            async def save(connection: AsyncConnection, steps: tuple[Step, ...] = steps) -> None:
                await cgnat_rows.save_blocks(connection, steps)

            await writer.commit(save)
            del self._steps[: len(steps)]

    def blocks(self, session: int) -> Iterator[tuple[IPv4Address, int, int]]:
        """Yield outside address, first and last port of each block that a session has now."""
        for block in self._of_session.get(session, ()):
            yield IPv4Address(block.outside), block.first_port, block.last_port


def _leave(index: dict[_Key, dict[_Block, None]], key: _Key, block: _Block) -> None:
    blocks = index[key]
    del blocks[block]
    if not blocks:
        del index[key]


def _block_of(report: PortReport, said: PortRange) -> _Block:
    return _Block(
        report.tenant, str(said.outside), said.first_port, said.last_port, said.transport, report.session
    )


def _block_of_row(row: BlockRow) -> _Block:
    return _Block(row.tenant, row.outside, row.first_port, row.last_port, row.transport, row.session)


def _life(row: BlockRow) -> _Life:
    return _Life(row.seq, row.ordinal, row.since, row.until, Ending(row.ending))
