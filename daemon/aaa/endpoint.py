"""One listening port: takes datagrams, gives them to the conductor, sends what is answered now or later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from heapq import heappop, heappush

from daemon.aaa.admission import FairQueue
from daemon.aaa.reasons import Drop
from radius.duplicates import Duplicates
from radius.udp import BATCH, BatchSocket, Datagram

_BATCHES_BEFORE = 4  # of a port that goes first: nobody gets so far ahead that accounting stands still


class Port(StrEnum):
    """What a listening port is for."""

    AUTH = "auth"
    ACCT = "acct"
    STAFF_AUTH = "staff-auth"
    STAFF_ACCT = "staff-acct"
    RELAY = "coa-relay"


class Waiting:
    """A request that is answered later: who asked, and which request it was."""

    __slots__ = ("authenticator", "endpoint", "key", "peer")

    def __init__(self, endpoint: Endpoint, peer: bytes, key: bytes, authenticator: bytes) -> None:
        self.endpoint = endpoint
        self.peer = peer
        self.key = key
        self.authenticator = authenticator


class Endpoint:
    """A socket, the requests seen on it lately, and the replies that wait for their time.

    `before` are the ports that are served first: logins go before accounting, because a subscriber waits for them.
    `queue` is filled by `handle` under backlog; what it holds is served in turns of its own.
    """

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
        self.before: tuple[Endpoint, ...] = ()
        self.queue = FairQueue()
        self._handle = handle
        self._count_drop = count_drop
        self._delayed: list[tuple[float, int, Waiting, bytes]] = []  # a heap
        self._delayed_count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._again: asyncio.Handle | None = None

    def start(self) -> None:
        """Begin to take datagrams."""
        asyncio.get_running_loop().add_reader(self.socket.fileno(), self._readable)

    def stop(self) -> None:
        """Take no more datagrams; what is still owed may be sent."""
        asyncio.get_running_loop().remove_reader(self.socket.fileno())
        self._rest()

    def close(self) -> None:
        """Close the socket."""
        if self._timer is not None:
            self._timer.cancel()
        self._rest()
        self.socket.close()

    def _rest(self) -> None:
        """Forget what waits; its senders will ask again."""
        self.queue.clear()
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def _readable(self) -> None:
        for other in self.before:
            for _ in range(_BATCHES_BEFORE):
                if not other.serve():
                    break
        self.serve()

    def serve(self) -> bool:
        """Answer one batch of what waits, without waiting; True when there may be more."""
        datagrams = self.socket.receive()
        if not datagrams and not self.queue:
            return False
        replies = self._handle(self, datagrams)
        if replies:
            self.socket.send(replies)
        # The event loop does not see what has been taken off the socket already.
        if self.queue and self._again is None:
            self._again = asyncio.get_running_loop().call_soon(self._serve_again)
        return len(datagrams) >= BATCH or bool(self.queue)

    def _serve_again(self) -> None:
        self._again = None
        self._readable()

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
