"""Interims in a storm: they wait a moment, so that of several of one session only the newest is journaled.

An interim gives way to a newer one only where the newer one says all that it said: the same octets in every
attribute but times and standard counters, and no counter or time that fell. Everything else is kept as a record of
its own: another address, other vendor attributes, counters that began again. Pure: time is an argument.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from radius.codes import Attr
from radius.packet import Packet

_EVENT_TIMESTAMP = int(Attr.EVENT_TIMESTAMP)
_RISING = (
    _EVENT_TIMESTAMP,
    int(Attr.ACCT_SESSION_TIME),
    int(Attr.ACCT_INPUT_PACKETS),
    int(Attr.ACCT_OUTPUT_PACKETS),
)
_OCTETS = (
    (int(Attr.ACCT_INPUT_GIGAWORDS), int(Attr.ACCT_INPUT_OCTETS)),
    (int(Attr.ACCT_OUTPUT_GIGAWORDS), int(Attr.ACCT_OUTPUT_OCTETS)),
)
_NUMBERS = frozenset(_RISING) | {kind for pair in _OCTETS for kind in pair}
_OF_THE_PACKET = frozenset(
    (int(Attr.ACCT_DELAY_TIME), int(Attr.PROXY_STATE), int(Attr.MESSAGE_AUTHENTICATOR))
)

Context = TypeVar("Context")


@dataclass(slots=True)
class Gathered(Generic[Context]):
    """What becomes one record: the newest interim, and those that are answered when it is on disk."""

    newest: Context
    others: list[Context] = field(default_factory=list)


@dataclass(slots=True)
class _Waiting(Generic[Context]):
    numbers: tuple[int, ...]
    due_at: float
    gathered: Gathered[Context]
    fingerprint: bytes


class InterimQueue(Generic[Context]):
    """Interims of all sessions; a context is whatever the caller needs to journal and answer one.

    An interim waits `wait_s` at the most, counted from the first of those that were put together. No more than
    `most` interims wait, answered ones included.
    """

    def __init__(self, wait_s: float, most: int) -> None:
        self._wait_s = wait_s
        self._most = most
        self._waiting: dict[bytes, _Waiting[Context]] = {}
        self._order: deque[_Waiting[Context]] = deque()  # in which they came, so also in which they are due
        self._count = 0
        self.coalesced = 0  # interims that gave way to a newer one, so far

    def __len__(self) -> int:
        return self._count

    @property
    def next_due_at(self) -> float | None:
        """When the next one is due, monotonic seconds; None when nothing waits."""
        return self._order[0].due_at if self._order else None

    def put(self, origin: bytes, packet: Packet, context: Context, now: float) -> bool:
        """Let an interim wait; False when too many do, then it is to be journaled at once.

        `origin` tells NAS entries, boxes and subscribers apart where the packet itself does not.
        """
        if self._count >= self._most:
            return False
        self._count += 1
        fingerprint, numbers = origin + _lasting(packet), _numbers(packet)
        known = self._waiting.get(fingerprint)
        if known is not None:
            gathered = known.gathered
            if all(new >= old for new, old in zip(numbers, known.numbers, strict=True)):
                gathered.others.append(gathered.newest)
                gathered.newest = context
                known.numbers = numbers
                self.coalesced += 1
                return True
            if all(new <= old for new, old in zip(numbers, known.numbers, strict=True)):
                gathered.others.append(context)  # overtaken on its way
                self.coalesced += 1
                return True
        waiting = _Waiting(numbers, now + self._wait_s, Gathered(context), fingerprint)
        self._waiting[fingerprint] = waiting
        self._order.append(waiting)
        return True

    def take_due(self, now: float, most: int) -> list[Gathered[Context]]:
        """Return those whose time has come, up to `most` records, in the order in which they came."""
        out: list[Gathered[Context]] = []
        while self._order and len(out) < most and self._order[0].due_at <= now:
            out.append(self._pop())
        return out

    def take_all(self) -> list[Gathered[Context]]:
        """Return everything: the storm is over, or the daemon stops."""
        return [self._pop() for _ in range(len(self._order))]

    def _pop(self) -> Gathered[Context]:
        waiting = self._order.popleft()
        if self._waiting.get(waiting.fingerprint) is waiting:
            del self._waiting[waiting.fingerprint]
        self._count -= 1 + len(waiting.gathered.others)
        return waiting.gathered


def _lasting(packet: Packet) -> bytes:
    """Return all that must be the same in two interims of which one gives way; for numbers, that they are there."""
    parts: list[bytes] = []
    for kind, value in packet.attributes():
        if kind in _OF_THE_PACKET:
            continue
        if kind in _NUMBERS and len(value) == 4:
            parts.append(bytes((kind, 0)))
        else:
            parts.append(bytes((kind, len(value) + 2)) + value)
    return b"".join(parts)


def _numbers(packet: Packet) -> tuple[int, ...]:
    """Return times and counters, none of which may fall; 0 where absent, which `_lasting` tells from a real 0."""
    octets = [(packet.find_int(high) or 0) << 32 | (packet.find_int(low) or 0) for high, low in _OCTETS]
    return (*(packet.find_int(kind) or 0 for kind in _RISING), *octets)
