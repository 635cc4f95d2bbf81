"""Carries one stream to one sink: in order, one delivery at a time, from the mark on; what the answer says decides."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from random import Random
from typing import Protocol

from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.store.outbox_pages import MarkRow
from daemon.sync.outbox.heads import Heads
from daemon.sync.outbox.marks import GENESIS, Marks, follow, links
from daemon.sync.outbox.model import (
    Acked,
    Delivery,
    Diverged,
    Event,
    Expected,
    Later,
    Log,
    OutboxSink,
    Receipt,
    Stream,
)

_HEAD_OCTETS = 320  # of an envelope without its data


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipOptions:
    """How events are carried. Pauses after a failure are random between 0 and a limit that doubles.

    `most_events` and `most_octets` are of a portion: a sink may take several of them in one delivery.
    """

    linger_s: float = 0.2
    most_events: int = 500
    most_octets: int = 512 * 1024
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    hash_every: int = 2_000  # events between two hashes that are kept to replay from


class Tell(Protocol):
    """Takes an event of the daemon, as `events.Events.add` does."""

    def __call__(self, kind: str, /, **fields: object) -> object: ...


class Shipper:
    """One sink's way through one stream. `run` is a task; it may be started again after a fault."""

    def __init__(
        self,
        edge: str,
        sink: OutboxSink,
        log: Log,
        heads: Heads,
        marks: Marks,
        mark: MarkRow,
        clock: Clock,
        random: Random,
        tell: Tell,
        options: ShipOptions,
    ) -> None:
        self._edge = edge
        self.sink = sink
        self.stream: Stream = log.stream
        self._log = log
        self._heads = heads
        self._marks = marks
        self._clock = clock
        self._random = random
        self._tell = tell
        self._options = options
        self.mark = mark
        self._at, self._hash = mark.acked_seq, mark.hash  # what goes next follows this; see `_ahead`
        self._most_events = options.most_events * sink.portions
        self._most_octets = options.most_octets * sink.portions
        self._ready: list[Event] = []  # read while the sink was busy
        self._kept_at = mark.acked_seq
        self._failures = 0
        self._odd = 0  # answers in a row that moved us about
        self._wish: tuple[int, str] | None = None  # an operator's: deliver again what comes after, and whose
        self.failing = ""
        self.oldest_at: float | None = None
        self.delivered = 0
        self.mean_octets = 1_000.0  # of an event on the wire, smoothed

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            try:
                busy = await self.turn()
            except StoreUnavailable as error:  # the log cannot be read, or the mark not written
                await self._later(Later(f"store: {error}"))
                continue
            if not busy:
                await self._heads.wait(self.stream, self._at)

    async def turn(self) -> bool:
        """Deliver what there is, at most one delivery; False where there is nothing. Raises StoreUnavailable."""
        if self._wish is not None:
            (before, by), self._wish = self._wish, None
            await self._back(before, f"asked to deliver again from {before + 1 - self.mark.base_seq} on", by)
        events = await self._next()
        if not events:
            self.oldest_at = None
            return False
        self.oldest_at = events[0].at
        if events[0].seq != self._at + 1:
            await self._gap(events[0].seq)
            return True
        events = self._fitting(events)
        base = self.mark.base_seq
        hashes = await links(self._hash, events)
        delivery = Delivery(
            edge=self._edge,
            stream=self.stream,
            incarnation=self.mark.incarnation,
            first=events[0].seq - base,
            last=events[-1].seq - base,
            before_hash=self._hash,
            hash=hashes[-1],
            events=events,
            hashes=hashes,
        )
        receipt, _ = await asyncio.gather(self.sink.deliver(delivery), self._look_ahead(events[-1].seq))
        await self._take(delivery, receipt)
        return True

    async def _next(self) -> list[Event]:
        """Return what comes next, as far as a delivery goes."""
        ready, self._ready = self._ready, []
        if ready and ready[0].seq == self._at + 1:
            return ready
        return await self._log.read(self._at, self._most_events)

    async def _look_ahead(self, after: int) -> None:
        """Read what comes next while the sink is busy with what is before it, if there is more already."""
        if self._heads.last(self.stream) > after:
            with contextlib.suppress(StoreUnavailable):  # the next turn meets it again
                self._ready = await self._log.read(after, self._most_events)

    def _fitting(self, events: list[Event]) -> list[Event]:
        """Return as many of the events as a delivery may have, one at least."""
        octets = 0
        for number, event in enumerate(events):
            octets += _HEAD_OCTETS + len(event.body)
            if octets > self._most_octets and number:
                return events[:number]
        self.mean_octets += (octets / len(events) - self.mean_octets) / 8
        return events

    async def _take(self, delivery: Delivery, receipt: Receipt) -> None:
        match receipt:
            case Acked(seq) if delivery.first <= seq <= delivery.last:
                await self._acked(delivery, seq)
                return
            case Later():
                await self._later(receipt)
                return
            case Acked(seq):
                await self._expected(delivery, seq + 1)
            case Expected(seq):
                await self._expected(delivery, max(seq, 1))
            case Diverged(detail):
                await self._anew(self.mark.acked_seq, f"the receiver has other events: {detail}")
        self._odd += 1
        if self._odd > 1:  # to and fro: not at full speed
            await self._later(Later("the receiver's numbers do not settle"))

    async def _acked(self, delivery: Delivery, seq: int) -> None:
        """Up to there the effect is there for good: go on behind it."""
        count = seq - delivery.first + 1
        reached, held = seq + self.mark.base_seq, delivery.hashes[count - 1]
        keep = reached - self._kept_at >= self._options.hash_every
        self.mark = await self._marks.acked(self.mark._replace(acked_seq=reached, hash=held), keep=keep)
        if keep:
            self._kept_at = reached
        self._at, self._hash = reached, held
        self.delivered += count
        self._failures = self._odd = 0
        self.failing = ""

    async def _expected(self, delivery: Delivery, seq: int) -> None:
        """The receiver is elsewhere: behind us, ahead of us, or further than we have ever been."""
        if seq == delivery.first:
            await self._later(Later(f"the receiver wants {seq}, and does not take it"))
            return
        before = seq - 1 + self.mark.base_seq
        if before > await self._log.last_seq():
            why = f"the receiver has {seq - 1} events, and this edge fewer: it was set back"
            await self._anew(self.mark.acked_seq, why)
        elif seq > delivery.first:
            await self._ahead(before)
        else:
            await self._back(before, f"the receiver asks for {seq} again")

    async def _ahead(self, before: int) -> None:
        """The receiver has more than it has told: go on behind that, and believe it with the next delivery.

        Its hash shows then whether those are our events. Until they do, the mark stays.
        """
        held = await follow(self._log, self._at, self._hash, before)
        if held is None:
            await self._anew(before, "events that the receiver has are not kept here any more")
            return
        why = f"the receiver has {before - self.mark.base_seq} already"
        await self._marks.moved(self.mark, "outbox.skip", why)
        self._at, self._hash = before, held

    async def _back(self, before: int, why: str, by: str = "outbox") -> None:
        """Deliver again what the receiver has lost, from what is kept of it."""
        before = max(before, self.mark.base_seq)
        held = await self._marks.hash_at(self.mark, self._log, before)
        first = await self._log.read(before, 1)
        if held is None or not first or first[0].seq != before + 1:
            oldest = first[0].seq if first else before + 1
            await self._anew(max(oldest - 1, before), f"{why}, and what is kept begins later")
            return
        self.mark = self.mark._replace(acked_seq=before, hash=held)
        await self._marks.moved(self.mark, "outbox.replay", why, by)
        self._at, self._hash, self._kept_at = before, held, before
        self._tell("outbox-replay", reason=why, sink=self.sink.name, stream=self.stream.value)

    async def _gap(self, first: int) -> None:
        """What comes next was pruned: a new numbering begins behind the hole. One that is all new lacks nothing."""
        unheard = self.mark.acked_at == 0.0 and self.mark.acked_seq == self.mark.base_seq
        why = f"records {self._at + 1} to {first - 1} are not kept any more"
        await self._anew(first - 1, why, alarm=not unheard)

    async def _anew(self, base_seq: int, why: str, *, alarm: bool = True) -> None:
        self.mark = await self._marks.anew(self.mark, base_seq, why)
        self._at, self._hash, self._kept_at = base_seq, GENESIS, base_seq
        if alarm:
            self._tell("outbox-incarnation", reason=why, sink=self.sink.name, stream=self.stream.value)

    async def _later(self, receipt: Later) -> None:
        """Wait: a random time up to a limit that doubles, and as long as the receiver has asked for."""
        self.failing = receipt.detail or "the receiver asks to wait"
        options = self._options
        limit = min(options.longest_pause_s, options.first_pause_s * 2 ** min(self._failures, 16))
        self._failures += 1
        await self._clock.sleep(max(self._random.uniform(0.0, limit), receipt.after_s or 0.0))

    async def replay(self, seq: int, by: str) -> int:
        """Deliver again from a number on the wire on, soon; return it. Raises ValueError where that cannot be."""
        acked = self.mark.acked_seq - self.mark.base_seq
        if not 1 <= seq <= acked:
            raise ValueError(f"{self.sink.name} has acknowledged 1 to {acked} of {self.stream}, not {seq}")
        before = seq - 1 + self.mark.base_seq
        first = await self._log.read(before, 1)
        if not first or first[0].seq != before + 1 or await self._hash_of(before) is None:
            kept = first[0].seq - self.mark.base_seq if first else acked + 1
            raise ValueError(f"{self.stream} is kept from about {kept} on, not from {seq}")
        self._wish = (before, by)
        self._heads.nudge(self.stream)
        return seq

    async def _hash_of(self, seq: int) -> bytes | None:
        return await self._marks.hash_at(self.mark, self._log, seq)
