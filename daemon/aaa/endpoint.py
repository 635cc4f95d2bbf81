"""One listening port: takes datagrams, gives them to the conductor, sends what is answered now or later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from heapq import heappop, heappush

from daemon.aaa.reasons import Drop
from radius.duplicates import Duplicates
from radius.udp import BatchSocket, Datagram


class Port(StrEnum):
    """What a listening port is for."""

    AUTH = "auth"
    ACCT = "acct"


class Waiting:
    """A request that is answered later: who asked, and which request it was."""

    __slots__ = ("authenticator", "endpoint", "key", "peer")

    def __init__(self, endpoint: Endpoint, peer: bytes, key: bytes, authenticator: bytes) -> None:
        self.endpoint = endpoint
        self.peer = peer
        self.key = key
        self.authenticator = authenticator


class Endpoint:
    """A socket, the requests seen on it lately, and the replies that wait for their time."""

    def __init__(
        self,
        port: Port,
        sock: BatchSocket,
        duplicates: Duplicates,
        handle: Callable[[Endpoint, list[Datagram]], list[Datagram]],
        count_drop: Callable[[Drop], None],
    ) -> None:
        self.port = port
        self.socket = sock
        self.duplicates = duplicates
        self._handle = handle
        self._count_drop = count_drop
        self._delayed: list[tuple[float, int, Waiting, bytes]] = []  # a heap
        self._delayed_count = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to take datagrams."""
        asyncio.get_running_loop().add_reader(self.socket.fileno(), self._readable)

    def stop(self) -> None:
        """Take no more datagrams; what is still owed may be sent."""
        asyncio.get_running_loop().remove_reader(self.socket.fileno())

    def close(self) -> None:
        """Close the socket."""
        if self._timer is not None:
            self._timer.cancel()
        self.socket.close()

    def _readable(self) -> None:
        datagrams = self.socket.receive()
        if datagrams:
            replies = self._handle(self, datagrams)
            if replies:
                self.socket.send(replies)

    def finish(self, waiting: Waiting, reply: bytes) -> Datagram | None:
        """Keep the reply of a pending request and return what to send; None when a newer one superseded it."""
        if self.duplicates.finish(waiting.key, waiting.authenticator, reply):
            return reply, waiting.peer
        self._count_drop(Drop.SUPERSEDED)
        return None

    def send_later(self, waiting: Waiting, reply: bytes, delay_s: float) -> None:
        """Send a reply after a delay; nobody waits behind it."""
        loop = asyncio.get_running_loop()
        self._delayed_count += 1
        heappush(self._delayed, (loop.time() + delay_s, self._delayed_count, waiting, reply))
        first = self._delayed[0][0]
        if self._timer is None or self._timer.when() > first:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(first, self._send_due)

    def _send_due(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time() + 0.001
        due: list[Datagram] = []
        while self._delayed and self._delayed[0][0] <= now:
            _, _, waiting, reply = heappop(self._delayed)
            datagram = self.finish(waiting, reply)
            if datagram is not None:
                due.append(datagram)
        self._timer = loop.call_at(self._delayed[0][0], self._send_due) if self._delayed else None
        if due:
            self.socket.send(due)
