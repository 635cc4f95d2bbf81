"""Reading a stream by cursor: a cursor names a numbering and the last number that was seen.

Whoever is bound to a tenant sees its events only; the cursor goes on over those of others, so that nobody waits behind
them, and one request looks at a bounded number of events.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import NamedTuple

from daemon.sync.outbox.envelope import encode
from daemon.sync.outbox.model import Event, Incarnation, Log, Stream
from daemon.sync.outbox.outbox import Outbox

_PAGE = 200
_MOST_LOOKED_AT = 5_000


class BadCursor(ValueError):
    """That is no cursor of ours."""


class Gone(Exception):
    """What follows the cursor is not kept any more, or is of another numbering.

    `oldest` is the cursor from which everything that is kept is read, `latest` the one behind the newest event.
    """

    def __init__(self, why: str, oldest: str, latest: str) -> None:
        super().__init__(why)
        self.oldest = oldest
        self.latest = latest


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which events: None or empty leaves a field open."""

    tenant: str | None = None
    type: str = ""

    @property
    def some(self) -> bool:
        """Tell whether there may be events that do not fit."""
        return self.tenant is not None or bool(self.type)

    def fits(self, event: Event) -> bool:
        """Tell whether an event is to be shown."""
        return (self.tenant is None or event.tenant == self.tenant) and self.type in ("", event.type)


class Told(NamedTuple):
    """An event as it is told, with the cursor behind it."""

    cursor: str
    type: str
    text: str  # JSON


class Slice(NamedTuple):
    """What was found, and how far was looked, a number on the wire; `more`: there is more already."""

    items: list[Told]
    seen: int
    more: bool


class Reader:
    """One stream of the outbox, as it is numbered now."""

    def __init__(self, outbox: Outbox, stream: Stream) -> None:
        self._outbox = outbox
        self._log: Log = outbox.logs[stream]
        self.stream = stream
        self.incarnation: Incarnation = outbox.incarnation(stream)

    @property
    def last(self) -> int:
        """The highest number on the wire."""
        return self._outbox.head(self.stream) - self.incarnation.base_seq

    def cursor(self, seq: int) -> str:
        """Return the cursor behind a number on the wire."""
        return urlsafe_b64encode(f"{self.incarnation.name}:{seq}".encode()).decode().rstrip("=")

    def seq_of(self, cursor: str) -> int:
        """Return the number on the wire that a cursor is behind. Raises BadCursor."""
        name, seq = _parsed(cursor)
        return seq if name == self.incarnation.name else -1

    async def first(self) -> int:
        """Return the number before the first event that is kept."""
        kept = await self._log.read(self.incarnation.base_seq, 1)
        return kept[0].seq - self.incarnation.base_seq - 1 if kept else self.last

    async def read(self, after: int, wanted: Wanted, limit: int) -> Slice:
        """Return up to `limit` events behind a number on the wire. Raises Gone where some between are not kept."""
        base = self.incarnation.base_seq
        items: list[Told] = []
        seen, looked_at = after, 0
        while looked_at < _MOST_LOOKED_AT:
            last = self.last
            if after < 0 or seen > last:
                raise await self._gone()
            most = min(_PAGE, last - seen, _PAGE if wanted.some else limit - len(items))
            events = await self._log.read(base + seen, most) if most else []
            if (events and events[0].seq != base + seen + 1) or (not events and seen < last):
                raise await self._gone()
            for event in events:
                seen = event.seq - base
                if wanted.fits(event):
                    text = encode(self._outbox.edge, self.stream, self.incarnation, event)
                    items.append(Told(self.cursor(seen), event.type, text))
                    if len(items) == limit:
                        return Slice(items, seen, seen < self.last)
            looked_at += len(events)
            if seen >= self.last:
                return Slice(items, seen, more=False)
            await asyncio.sleep(0)
        return Slice(items, seen, more=True)

    async def wait(self, after: int, timeout_s: float) -> bool:
        """Return True as soon as there is something behind a number on the wire, False where time is over first."""
        return await self._outbox.wait(self.stream, self.incarnation.base_seq + after, timeout_s)

    def is_over(self) -> bool:
        """Tell whether another numbering has begun."""
        return self._outbox.incarnation(self.stream) != self.incarnation

    async def _gone(self) -> Gone:
        first = await self.first()
        why = (
            f"what follows the cursor is not kept in {self.stream}, or its numbering has ended; {first + 1} to"
            f" {self.last} are kept: begin again with one of the cursors given, or without one for all of them"
        )
        return Gone(why, self.cursor(first), self.cursor(self.last))


async def seq_since(log: Log, first: int, last: int, at: float) -> int | None:
    """Return the number in a log of the first event not before `at`, epoch seconds, from `first` to `last`; or None.

    Events are in the order in which they were written; their times may be off that by what a clock was corrected.
    """
    kept = await log.read(first - 1, 1)
    if not kept:
        return None
    low, high = kept[0].seq, last + 1
    while low < high:
        middle = (low + high) // 2
        (event,) = await log.read(middle - 1, 1)
        if event.at < at:
            low = middle + 1
        else:
            high = middle
    return low if low <= last else None


def _parsed(cursor: str) -> tuple[str, int]:
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        name, _, seq = text.rpartition(":")
        if name and seq.isdecimal() and len(seq) < 20:
            return name, int(seq)
    except ValueError:
        pass
    raise BadCursor(f"{cursor[:80]} is no cursor: take one from `next_cursor` or the id of an event")
