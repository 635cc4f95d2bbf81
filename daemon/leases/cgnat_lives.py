"""The port blocks that sessions hold, and those that were given back lately, in memory.

Everything is found by the block, the session or the outside address: what a look-up costs does not grow with
the history. `known_since` says from when on no block that was given back is missing here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from ipam.cgnat_blocks import Ending, same_ports


class Block(NamedTuple):
    """A block of a session: what reports name it by."""

    tenant: str
    outside: str
    first_port: int
    last_port: int
    transport: int
    session: int

    def touches(self, other: Block) -> bool:
        """Tell whether two blocks of an outside address have ports in common."""
        return (
            self.first_port <= other.last_port
            and other.first_port <= self.last_port
            and same_ports(self.transport, other.transport)
        )


@dataclass(slots=True, eq=False)
class Life:
    """A block that is held, or was lately, and its row. Times are epoch seconds.

    `sure` is False where the row may have been ended by rows that are not in memory.
    """

    block: Block
    seq: int
    ordinal: int
    since: float
    ended_at: float = inf  # for one that is held
    ending: Ending = Ending.OPEN
    sure: bool = True

    def covers(self, at: float) -> bool:
        """Tell whether an epoch second is within the life, both ends included."""
        return self.since <= at <= self.ended_at


class _Place:
    """The blocks of one outside address: those held by their ports, the others by when they were given back."""

    __slots__ = ("ended", "held", "widest")

    def __init__(self) -> None:
        self.held: list[Life] = []
        self.ended: list[Life] = []
        self.widest = 0


class Lives:
    """The lives of blocks. No more than `most_ended` of those that are over are remembered."""

    def __init__(self, most_ended: int) -> None:
        """Nothing was ever held before: `known_since` is to be set where that is not so."""
        self.known_since = -inf
        self.held: dict[Block, Life] = {}
        self._most_ended = most_ended
        self._of_session: dict[int, dict[Block, None]] = {}
        self._places: dict[tuple[str, str], _Place] = {}
        self._ended: OrderedDict[tuple[int, int], Life] = OrderedDict()
        self._last: dict[Block, Life] = {}

    def of_session(self, session: int) -> dict[Block, None] | None:
        """Return the blocks that a session holds, None for none: one look-up."""
        return self._of_session.get(session)

    def sessions(self) -> list[int]:
        """Return the sessions that hold blocks."""
        return list(self._of_session)

    def last(self, block: Block) -> Life | None:
        """Return the last life of a block that is over."""
        return self._last.get(block)

    def touching(self, block: Block, at: float) -> Iterator[Life]:
        """Yield the lives that share ports with a block and were not over before an epoch second.

        Of its own session only those of the very block. Nothing may be changed meanwhile.
        """
        place = self._places.get((block.tenant, block.outside))
        if place is None:
            return
        ended, held = place.ended, place.held
        for spot in range(bisect_left(ended, at, key=_ended_at), len(ended)):
            if _concerns(ended[spot].block, block):
                yield ended[spot]
        for spot in range(bisect_left(held, block.first_port - place.widest, key=_first_port), len(held)):
            if held[spot].block.first_port > block.last_port:
                return
            if _concerns(held[spot].block, block):
                yield held[spot]

    def hold(self, life: Life) -> None:
        """Take up a life that is held; its block must not be."""
        block = life.block
        self.held[block] = life
        self._of_session.setdefault(block.session, {})[block] = None
        place = self._place(block)
        insort(place.held, life, key=_first_port)
        place.widest = max(place.widest, block.last_port - block.first_port)

    def end(self, life: Life, at: float, ending: Ending) -> None:
        """End a life that is held, or give another end to one that is over."""
        if life.ending is Ending.OPEN:
            self._drop_held(life)
            life.ended_at, life.ending = at, ending
            self.remember(life)
        else:
            place = self._place(life.block)
            _take_out(place.ended, life)
            life.ended_at, life.ending = at, ending
            insort(place.ended, life, key=_ended_at)

    def remember(self, life: Life) -> None:
        """Take up a life that is over, and forget the oldest where they are too many."""
        self._ended[life.seq, life.ordinal] = life
        insort(self._place(life.block).ended, life, key=_ended_at)
        last = self._last.get(life.block)
        if last is None or _order(last) <= _order(life):
            self._last[life.block] = life
        while len(self._ended) > self._most_ended:
            oldest = next(iter(self._ended.values()))
            self.known_since = max(self.known_since, oldest.ended_at)
            self._forget(oldest)

    def revive(self, life: Life) -> None:
        """Hold again what was over."""
        self._forget(life)
        life.ended_at, life.ending = inf, Ending.OPEN
        self.hold(life)
        before = [each for each in self._place(life.block).ended if each.block == life.block]
        if before:
            self._last[life.block] = max(before, key=_order)

    def _place(self, block: Block) -> _Place:
        key = block.tenant, block.outside
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = _Place()
        return place

    def _forget(self, life: Life) -> None:
        block = life.block
        del self._ended[life.seq, life.ordinal]
        place = self._place(block)
        _take_out(place.ended, life)
        if self._last.get(block) is life:
            del self._last[block]
        if not place.held and not place.ended:
            del self._places[block.tenant, block.outside]

    def _drop_held(self, life: Life) -> None:
        block = life.block
        del self.held[block]
        mine = self._of_session[block.session]
        del mine[block]
        if not mine:
            del self._of_session[block.session]
        place = self._place(block)
        spot = bisect_left(place.held, block.first_port, key=_first_port)
        while place.held[spot] is not life:
            spot += 1
        del place.held[spot]


def _concerns(other: Block, block: Block) -> bool:
    return other == block or (other.session != block.session and other.touches(block))


def _take_out(ended: list[Life], life: Life) -> None:
    spot = bisect_left(ended, life.ended_at, key=_ended_at)
    while ended[spot] is not life:
        spot += 1
    del ended[spot]


def _ended_at(life: Life) -> float:
    return life.ended_at


def _first_port(life: Life) -> int:
    return life.block.first_port


def _order(life: Life) -> tuple[float, int, int]:
    return life.since, life.seq, life.ordinal
