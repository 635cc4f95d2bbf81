"""Sends CoA- and Disconnect-Requests and waits for the answers (RFC 5176, retransmission of RFC 5080).

There is a connected UDP socket for each destination, so that the kernel tells of ICMP errors, and each socket
has identifiers of its own. A request is repeated octet by octet; the next one gets the next identifier, so
that a late reply finds nobody. Nothing blocks, and whoever waits may be cancelled.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Any

from daemon.aaa.coa.timers import Timers
from daemon.aaa.coa.wire import cause_of
from daemon.clock import Clock
from radius.authenticator import Key
from radius.codes import Attr, Code
from radius.errors import Malformed, NotAuthentic
from radius.exchange import Request, Schedule, check_reply, dynamic_request
from radius.packet import LONGEST, Packet

Address = IPv4Address | IPv6Address
_ACKS = (Code.DISCONNECT_ACK, Code.COA_ACK)
_IDENTIFIERS = 256


class Answer(StrEnum):
    """How one request ended."""

    ACK = "ack"
    NAK = "nak"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    MOOT = "moot"  # what we wanted has come about before an answer did


@dataclass(frozen=True, slots=True)
class Target:
    """Where the requests for a box go and how they are signed; `keys` are valid there, the first is tried first."""

    address: Address
    port: int
    keys: tuple[Key, ...]
    message: bool = True  # with Message-Authenticator
    stamp: bool = True  # with Event-Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a request ended; `bad_replies` came from the right place and were not authentic.

    `key` is the place in `Target.keys` of the one that verified the answer. `said` is the Reply-Message.
    """

    answer: Answer
    cause: int | None = None
    sends: int = 0
    rtt_s: float | None = None
    bad_replies: int = 0
    local: bool = False  # it did not even leave this machine; `said` is then what the system says
    key: int | None = None
    said: str = ""

    @property
    def heard(self) -> bool | None:
        """Whether the NAS answers; None where the request ended before that was known."""
        if self.answer is Answer.MOOT:
            return None
        return self.answer in (Answer.ACK, Answer.NAK)


class _Waiter:
    """One request under way."""

    __slots__ = ("bad_replies", "ended", "keys", "request")

    def __init__(self, request: Request, keys: tuple[Key, ...]) -> None:
        self.request = request
        self.keys = keys
        self.bad_replies = 0
        self.ended: asyncio.Future[tuple[Packet, int] | Answer] = asyncio.get_running_loop().create_future()

    def offer(self, octets: bytes) -> bool:
        """Take a datagram; False where it does not answer the request."""
        for place, key in enumerate(self.keys):
            try:
                reply = check_reply(self.request, octets, key)
            except Malformed:
                return False
            except NotAuthentic:
                continue
            if not self.ended.done():
                self.ended.set_result((reply, place))
            return True
        self.bad_replies += 1
        return False

    def end(self, answer: Answer) -> None:
        if not self.ended.done():
            self.ended.set_result(answer)


class _Line:
    """One connected socket with its identifiers."""

    def __init__(self, source: Address | None, target: Target, on_stray: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_stray = on_stray
        self._last = -1
        self.waiters: dict[int, _Waiter] = {}
        self.used_at = 0.0
        self.watched = False  # a timer looks whether it is idle
        family = socket.AF_INET if target.address.version == 4 else socket.AF_INET6
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if source is not None:
                self._socket.bind((str(source), 0))
            self._socket.connect((str(target.address), target.port))
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def _listen(self) -> None:
        """Listen anew: libuv stops to poll a socket that has had an error, though it has recovered."""
        self._loop.remove_reader(self._socket.fileno())
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def take_identifier(self) -> int | None:
        """Return the identifier after the last one that is free, None where none is."""
        for step in range(1, _IDENTIFIERS + 1):
            identifier = (self._last + step) % _IDENTIFIERS
            if identifier not in self.waiters:
                self._last = identifier
                return identifier
        return None

    def send(self, octets: bytes) -> None:
        """Send; an error of an earlier datagram, which the kernel tells now, is put aside once."""
        for last in (False, True):
            try:
                self._socket.send(octets)
            except BlockingIOError:
                return  # as good as lost on the way
            except OSError:
                self._listen()
                if last:
                    self._fail()
            else:
                return

    def _readable(self) -> None:
        while True:
            try:
                octets = self._socket.recv(LONGEST + 1)
            except BlockingIOError:
                return
            except OSError:  # ICMP: nobody listens on that port
                self._listen()
                self._fail()
                return
            waiter = self.waiters.get(octets[1]) if len(octets) > 1 else None
            if waiter is None or not waiter.offer(octets):
                self._on_stray()

    def _fail(self) -> None:
        for waiter in self.waiters.values():
            waiter.end(Answer.UNREACHABLE)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._fail()


class CoaClient:
    """The client. `sources` are the addresses to send from, at most one of each family.

    A NAS takes CoA only from the address that it knows as its RADIUS server, so a machine with several needs
    them. `strays` counts datagrams that answered nothing: late, repeated, forged or broken ones.
    """

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        random: Random,
        schedule: Schedule | None = None,
        sources: tuple[Address, ...] = (),
        idle_s: float = 60.0,
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._random = random
        self._schedule = schedule or Schedule()
        self._sources = {source.version: source for source in sources}
        self._idle_s = idle_s
        self._lines: dict[tuple[Address, int], list[_Line]] = {}
        self._liked: dict[tuple[Address, int], bytes] = {}  # the secret that was answered, during a rotation
        self.strays = 0

    @property
    def open_sockets(self) -> int:
        """How many sockets are open."""
        return sum(len(lines) for lines in self._lines.values())

    async def ask(
        self,
        target: Target,
        code: Code,
        attributes: bytes,
        *,
        until: asyncio.Future[Any] | None = None,
        schedule: Schedule | None = None,
    ) -> Result:
        """Send a Disconnect- or CoA-Request and return how it ended; it takes as long as the schedule.

        Where two secrets are valid and the first is met with silence, the second has its turn: a NAS drops
        what it cannot verify. `until` ends the wait with MOOT when it is done. Raises Unencodable above
        4096 octets.
        """
        place = target.address, target.port
        keys = list(enumerate(target.keys))
        if len(keys) > 1 and self._liked.get(place) == keys[1][1].secret:
            keys.reverse()
        total = Result(answer=Answer.TIMEOUT)
        for _, key in keys:
            result = await self._ask_with(target, key, code, attributes, until, schedule or self._schedule)
            total = replace(
                result,
                sends=total.sends + result.sends,
                bad_replies=total.bad_replies + result.bad_replies,
            )
            if result.answer is not Answer.TIMEOUT:
                break
        if total.key is not None and len(keys) > 1:
            self._liked[place] = target.keys[total.key].secret
        return total

    async def _ask_with(
        self,
        target: Target,
        key: Key,
        code: Code,
        attributes: bytes,
        until: asyncio.Future[Any] | None,
        schedule: Schedule,
    ) -> Result:
        try:
            line, identifier = self._take_line(target)
        except OSError as error:  # no route, no such address of ours
            return Result(answer=Answer.UNREACHABLE, said=error.strerror or type(error).__name__, local=True)
        began = self._clock.monotonic()
        try:
            request = dynamic_request(code, identifier, attributes, key, message=target.message)
            waiter = line.waiters[identifier] = _Waiter(request, target.keys)

            def moot(_: object) -> None:
                waiter.end(Answer.MOOT)

            if until is not None:
                until.add_done_callback(moot)
            try:
                sends = await self._repeat(line, waiter, schedule, began)
            finally:
                if until is not None:
                    until.remove_done_callback(moot)
        finally:
            line.waiters.pop(identifier, None)
            self._used(target, line)
        return self._result(waiter, sends, self._clock.monotonic() - began)

    async def _repeat(self, line: _Line, waiter: _Waiter, schedule: Schedule, began: float) -> int:
        """Send until it has ended or the schedule has; return how often."""
        sends, delay = 0, schedule.next_delay(1, self._jitter())
        while delay is not None and not waiter.ended.done():
            line.send(waiter.request.octets)
            sends += 1
            if await self._timers.wait(delay, waiter.ended):
                break
            delay = schedule.next_delay(
                sends + 1,
                self._jitter(),
                previous_s=delay,
                elapsed_s=self._clock.monotonic() - began,
            )
        return sends

    def _result(self, waiter: _Waiter, sends: int, took_s: float) -> Result:
        ended = waiter.ended.result() if waiter.ended.done() else Answer.TIMEOUT
        if isinstance(ended, Answer):
            return Result(answer=ended, sends=sends, bad_replies=waiter.bad_replies)
        reply, place = ended
        return Result(
            answer=Answer.ACK if reply.code in _ACKS else Answer.NAK,
            cause=cause_of(reply),
            sends=sends,
            rtt_s=took_s,
            bad_replies=waiter.bad_replies,
            key=place,
            said=reply.find_text(Attr.REPLY_MESSAGE) or "",
        )

    def _jitter(self) -> float:
        return self._random.uniform(-0.1, 0.1)

    def _take_line(self, target: Target) -> tuple[_Line, int]:
        """Return a socket to the target and a free identifier of it; a second socket where the first is full."""
        lines = self._lines.setdefault((target.address, target.port), [])
        for line in lines:
            identifier = line.take_identifier()
            if identifier is not None:
                return line, identifier
        try:
            line = _Line(self._sources.get(target.address.version), target, self._stray)
        except OSError:
            if not lines:
                del self._lines[(target.address, target.port)]
            raise
        lines.append(line)
        return line, line.take_identifier() or 0

    def _stray(self) -> None:
        self.strays += 1

    def _used(self, target: Target, line: _Line) -> None:
        """Close the socket once it has been idle for long enough."""
        line.used_at = self._clock.monotonic()
        if not line.watched:
            line.watched = True
            self._timers.at(line.used_at + self._idle_s, lambda: self._close_if_idle(target, line))

    def _close_if_idle(self, target: Target, line: _Line) -> None:
        place = target.address, target.port
        lines = self._lines.get(place, [])
        if line not in lines:
            return
        idle_at = line.used_at + self._idle_s
        if line.waiters or idle_at > self._clock.monotonic():
            again_at = max(idle_at, self._clock.monotonic() + self._idle_s / 2)
            self._timers.at(again_at, lambda: self._close_if_idle(target, line))
            return
        line.close()
        lines.remove(line)
        if not lines:
            del self._lines[place]
            self._liked.pop(place, None)

    def close(self) -> None:
        """Close all sockets; what is under way ends as unreachable."""
        for lines in self._lines.values():
            for line in lines:
                line.close()
        self._lines.clear()
