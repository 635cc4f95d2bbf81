"""Port blocks that a CGN gave out and took back, and who held a port at a time (port-block allocation).

Filled from what the CGN reports in RADIUS accounting. What was not reported is never guessed: an answer
carries the gaps in the reports that could have changed it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from ipam.cgnat import MAX_PORT


class Ending(StrEnum):
    """How we know when a block was given back."""

    OPEN = "open"  # no end was reported
    RELEASED = "released"
    SUPERSEDED = "superseded"  # no end was reported, but another holder: it ended then at the latest
    SESSION_ENDED = "session-ended"  # no end was reported, but that of its session: then at the latest


class NotHeld(StrEnum):
    """Why nobody is named."""

    NOT_KEPT = "not-kept"  # the records begin later
    IN_GAP = "in-gap"  # reports are missing that could name a holder
    UNKNOWN_OUTSIDE = "unknown-outside"  # no block of that address was ever reported
    FREE = "free"  # the reports are complete, and nobody held the port


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLease:
    """Ports of an outside address (both ends included) held from `since` until before `until` (epoch s).

    The holder is what was reported of it: an inside address, a session, a subscriber, or all of them.
    `transport` is the kind of ports as the CGN numbers them (RFC 8045 IP-Port-Type); 0 is all protocols.
    """

    outside: IPv4Address
    first_port: int
    last_port: int
    inside: IPv4Address | IPv6Address | None
    since: float
    until: float | None = None
    ending: Ending = Ending.OPEN
    source: str = ""  # who reported it, such as the NAS
    transport: int = 0
    session: str = ""
    subscriber: str = ""
    seq: int = 0  # the record that reported the beginning
    ended_seq: int = 0  # and the one that reported the end; 0 for none

    def __post_init__(self) -> None:
        if not 0 <= self.first_port <= self.last_port <= MAX_PORT:
            raise ValueError(f"ports {self.first_port} to {self.last_port} are no block")
        if (self.until is None) != (self.ending is Ending.OPEN):
            raise ValueError("a lease without an end is open, one with an end says how it came")

    @property
    def holder(self) -> tuple[IPv4Address | IPv6Address | None, str, str]:
        """Who had it: two reports with the same holder are of the same lease."""
        return self.inside, self.session, self.subscriber

    def holds(self, since: float, until: float) -> bool:
        """Tell whether the block was held at any time from `since` to `until` (both included)."""
        return self.since <= until and (self.until is None or since < self.until)


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """Reports of this time (epoch s) are missing."""

    since: float
    until: float
    why: str = field(compare=False)  # such as "edge was down"


@dataclass(frozen=True, slots=True)
class BlockAnswer:
    """Who held the port; several where the port is not known, the time uncertain or the reports contradict.

    `gaps` are those that could have changed the answer; `why` is set where there is no lease.
    """

    leases: tuple[BlockLease, ...]
    gaps: tuple[Gap, ...] = ()
    why: NotHeld | None = None


class _Block:
    """The leases of one block by their beginning; only the last one may have no end."""

    __slots__ = ("leases", "longest_s", "transport")

    def __init__(self, transport: int) -> None:
        self.transport = transport
        self.leases: list[BlockLease] = []
        self.longest_s = 0.0

    def add(self, lease: BlockLease) -> None:
        insort(self.leases, lease, key=_since)
        if lease.until is not None:
            self.longest_s = max(self.longest_s, lease.until - lease.since)

    def end(self, spot: int, until: float, ending: Ending) -> None:
        lease = self.leases[spot]
        self.leases[spot] = replace(lease, until=until, ending=ending)
        self.longest_s = max(self.longest_s, until - lease.since)

    def before(self, at: float) -> int:
        """Return the place of the last lease that began at or before an epoch second, -1 for none."""
        return bisect_right(self.leases, at, key=_since) - 1

    def held(self, since: float, until: float) -> list[BlockLease]:
        last = self.before(until)
        first = bisect_left(self.leases, since - self.longest_s, key=_since)
        if last >= 0 and self.leases[last].until is None:
            first = min(first, last)
        return [lease for lease in self.leases[first : last + 1] if lease.holds(since, until)]


class _Address:
    """The blocks of one outside address."""

    __slots__ = ("blocks", "order", "widest")

    def __init__(self) -> None:
        self.order: list[tuple[int, int, int]] = []
        self.blocks: dict[tuple[int, int, int], _Block] = {}
        self.widest = 0

    def block(self, first: int, last: int, transport: int) -> _Block:
        key = first, last, transport
        found = self.blocks.get(key)
        if found is None:
            found = self.blocks[key] = _Block(transport)
            insort(self.order, key)
            self.widest = max(self.widest, last - first)
        return found

    def touching(self, first: int, last: int) -> Iterator[_Block]:
        """Yield the blocks that share a port with `first` to `last`, of whatever protocol."""
        spot = bisect_left(self.order, (first - self.widest, 0, 0))
        while spot < len(self.order) and self.order[spot][0] <= last:
            if self.order[spot][1] >= first:
                yield self.blocks[self.order[spot]]
            spot += 1


class BlockIndex:
    """The reported leases by outside address; an answer costs the logarithm of a block's history."""

    def __init__(self, kept_since: float, leases: Iterable[BlockLease] = ()) -> None:
        """`kept_since` is the epoch second from which on the reports are kept."""
        self.kept_since = kept_since
        self._gaps: list[Gap] = []
        self._addresses: dict[IPv4Address, _Address] = {}
        for lease in leases:
            self.assigned(lease)

    def missing(self, gap: Gap) -> None:
        """Say that the reports of a time are missing."""
        insort(self._gaps, gap)

    def assigned(self, lease: BlockLease) -> bool:
        """Take the report that a block was given out; False for a repeat of what is known.

        Reports may come late and out of order. Other leases of the same ports that have no reported end are
        ended where the next one begins.
        """
        address = self._addresses.setdefault(lease.outside, _Address())
        own = address.block(lease.first_port, lease.last_port, lease.transport)
        spot = own.before(lease.since)
        if spot >= 0 and _repeats(own.leases[spot], lease):
            return False
        until, ending = lease.until, lease.ending
        for block in address.touching(lease.first_port, lease.last_port):
            if not same_ports(block.transport, lease.transport):
                continue  # it may be of other protocols: both holders are named then
            spot = block.before(lease.since)
            if spot >= 0 and _unending(block.leases[spot], lease.since):
                block.end(spot, lease.since, Ending.SUPERSEDED)
            later = block.leases[spot + 1].since if spot + 1 < len(block.leases) else None
            if later is not None and until is None:
                until, ending = later, Ending.SUPERSEDED
            elif later is not None and until is not None and ending is not Ending.RELEASED:
                until = min(until, later)
        own.add(replace(lease, until=until, ending=ending))
        return True

    def released(
        self, outside: IPv4Address, first_port: int, last_port: int, at: float, transport: int = 0
    ) -> bool:
        """Take the report that a block was given back at an epoch second; False where no lease fits it."""
        address = self._addresses.get(outside)
        block = address.blocks.get((first_port, last_port, transport)) if address else None
        spot = block.before(at) if block else -1
        if block is None or spot < 0:
            return False
        lease = block.leases[spot]
        if lease.ending is Ending.RELEASED or (lease.until is not None and lease.until < at):
            return False
        block.end(spot, at, Ending.RELEASED)
        return True

    def find(self, outside: IPv4Address, port: int | None, at: float, skew_s: float = 0.0) -> BlockAnswer:
        """Return who held a port of an outside address at an epoch second, give or take `skew_s`.

        Without a port everyone who held ports of the address is named.
        """
        since, until = at - skew_s, at + skew_s
        address = self._addresses.get(outside)
        first, last = (0, MAX_PORT) if port is None else (port, port)
        blocks = list(address.touching(first, last)) if address else []
        found = [lease for block in blocks for lease in block.held(since, until)]
        if found:
            found.sort(key=lambda lease: (lease.first_port, lease.since))
            # A reported end says that the holder was still the same, so gaps before it do not matter.
            begin = min(
                (lease.since for lease in found if lease.ending is not Ending.RELEASED), default=since
            )
            begin = self.kept_since if port is None else min(begin, since)
            return BlockAnswer(tuple(found), self._between(begin, until))
        heard = self.kept_since  # the last thing known of these ports before the question
        for block in blocks:
            spot = block.before(since)
            if spot >= 0:
                heard = max(heard, block.leases[spot].until or heard)
        gaps = self._between(min(heard, since), until)
        if until < self.kept_since:
            return BlockAnswer((), gaps, NotHeld.NOT_KEPT)
        if gaps:
            return BlockAnswer((), gaps, NotHeld.IN_GAP)
        return BlockAnswer((), (), NotHeld.UNKNOWN_OUTSIDE if address is None else NotHeld.FREE)

    def _between(self, since: float, until: float) -> tuple[Gap, ...]:
        return tuple(gap for gap in self._gaps if gap.since <= until and since < gap.until)


def same_ports(one: int, other: int) -> bool:
    """Tell whether ports of two kinds are certainly the same ports: equal kinds, or one is all protocols."""
    return one == other or not one or not other


def _since(lease: BlockLease) -> float:
    return lease.since


def _repeats(known: BlockLease, lease: BlockLease) -> bool:
    """Tell whether a report says again what is known: the same holder within the time of a lease."""
    return known.holder == lease.holder and known.holds(lease.since, lease.since)


def _unending(lease: BlockLease, at: float) -> bool:
    return lease.ending is not Ending.RELEASED and (lease.until is None or lease.until > at)
