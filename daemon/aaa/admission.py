"""Fair turns under backlog: what waits is served NAS by NAS, so that a mad one starves no other.

Only used while more datagrams wait than one batch takes and more than one NAS is about; otherwise the order of
arrival is as good, and the kernel's buffer is the queue.
"""

from __future__ import annotations

from collections import deque

from daemon.aaa.nas import Client
from radius.udp import Datagram

WAITING_MOST = 8192
"""Datagrams that may wait at one port: two BRASes with 4,000 requests outstanding each lose nothing."""

_ABOUT_S = 2.0


class FairQueue:
    """The datagrams that wait at one port, by NAS."""

    __slots__ = ("_most", "_queues", "_waiting")

    def __init__(self, most: int = WAITING_MOST) -> None:
        self._most = most
        self._queues: dict[Client, deque[Datagram]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def put(self, client: Client, datagram: Datagram) -> bool:
        """Let a datagram wait; False when the queue is full and this NAS has its share of it already."""
        queue = self._queues.get(client)
        if queue is None:
            queue = self._queues[client] = deque()
        elif self._waiting >= self._most and len(queue) >= self._most // len(self._queues):
            return False
        queue.append(datagram)
        self._waiting += 1
        return True

    def take(self, most: int) -> list[Datagram]:
        """Return up to `most` datagrams: each NAS gets the same share, and what one leaves the others get.

        Of one NAS in the order of arrival; the NASes take turns in being first.
        """
        out: list[Datagram] = []
        queues = self._queues
        while queues and len(out) < most:
            left = most - len(out)
            share = max(1, left // len(queues))
            for client in list(queues)[:left]:
                queue = queues.pop(client)
                out += [queue.popleft() for _ in range(min(share, len(queue)))]
                if queue:
                    queues[client] = queue
        self._waiting -= len(out)
        return out

    def clear(self) -> None:
        """Forget what waits; its senders will ask again."""
        self._queues.clear()
        self._waiting = 0


class About:
    """Which NASes have sent something lately: within the last two to four seconds."""

    __slots__ = ("_old", "_turn_at", "_young")

    def __init__(self) -> None:
        self._young: dict[Client, int] = {}
        self._old: dict[Client, int] = {}
        self._turn_at = 0.0

    def note(self, now: float, tally: dict[Client, int]) -> None:
        """Take note of those that a batch came from."""
        if now >= self._turn_at:
            self._old = self._young if now < self._turn_at + _ABOUT_S else {}
            self._young = {}
            self._turn_at = now + _ABOUT_S
        self._young.update(tally)

    @property
    def several(self) -> bool:
        """Tell whether there is more than one."""
        young, old = self._young, self._old
        return len(young) > 1 or len(old) > 1 or (len(young) == len(old) == 1 and young.keys() != old.keys())
