"""Subscribers who log in, stay a while and leave, and what each was told: the truth to which a book is held.

One thread is the NAS. It keeps a window of requests outstanding and sends again, unchanged, what is not answered.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from heapq import heappop, heappush
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from radius.authenticator import Key
from radius.codes import AcctStatus, Attr, Code
from radius.errors import Malformed, NotAuthentic
from radius.exchange import Request, access_request, accounting_request, check_reply, pap
from radius.packet import Packet, attribute
from tests.e2e.nas import SECRET, number

PASSWORD = b"pw"
WINDOW = 32
_AGAIN_S = 0.25
_STAYS_S = 8.0  # the longest session
_REST_S = 1.0  # after which who was refused tries again
_STAYS = 0.6  # the share of those who log in that start a session
_FOREVER = float("inf")


def provider(path: Path, users: int) -> str:
    """Write a provider whose subscribers may be online once each; return the setting that names it."""
    body = {"password": PASSWORD.decode(), "access_mode": "active", "plan": "home"}
    plan = {"access": "ppp", "simultaneous_use": 1}
    objects: list[dict[str, Any]] = [
        {"kind": "tenant", "id": "demo"},
        {"kind": "nas", "id": "lab", "body": {"prefixes": ["127.0.0.0/8"], "secret": "testing123"}},
        {"kind": "plan", "id": "home", "body": plan},
    ]
    names = [f"user{each:04d}" for each in range(users)]
    objects += [{"kind": "subscriber", "id": name, "body": {"username": name, **body}} for name in names]
    path.write_text(json.dumps(objects))
    return json.dumps([str(path)])


@dataclass(slots=True)
class Told:
    """One Access-Accept. `until` is a time before which the lease cannot be over: that of the login or of the Stop."""

    user: str
    addresses: tuple[str, str]
    echo: bytes  # what accounting tells of the login: Class and both addresses
    asked_at: float
    told_at: float
    until: float
    session: str = ""
    bound: bool = False


@dataclass(slots=True)
class _Sent:
    request: Request
    port: int
    user: str
    first_at: float
    last_at: float
    told: Told | None = None
    stops: bool = False


@dataclass(slots=True)
class Truth:
    """What subscribers were told, by address and in order of time; and how many logins were refused."""

    by_address: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))
    by_user: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))
    accepted: int = 0
    refused: int = 0


class Subscribers(threading.Thread):
    """The NAS of `users`. A login is good for `tentative_s`, and what has ended is kept `reuse_s` from others."""

    def __init__(self, ports: tuple[int, int], users: int, tentative_s: float, reuse_s: float) -> None:
        super().__init__(daemon=True)
        self.truth = Truth()
        self.gate = threading.Lock()
        self.done = threading.Event()
        self._auth, self._acct = ports
        self._tentative_s, self._reuse_s = tentative_s, reuse_s
        self._away_s = 2 * (tentative_s + reuse_s)  # some come back in time for what they had, others do not
        self._dice = random.Random(2131)
        self._key = Key(SECRET)
        # Heaps: when somebody logs in, and when a session ends.
        self._resting = [(0.0, f"user{each:04d}") for each in range(users)]
        self._online: list[tuple[float, str, Told]] = []
        self._waiting: dict[tuple[int, int], _Sent] = {}
        self._sessions = 0
        self._sockets = {port: _connected(port) for port in ports}

    # --- the loop ----------------------------------------------------------------------------------

    def run(self) -> None:
        while not self.done.is_set() or self._waiting:
            with self.gate:
                self._fill()
                heard = [self._hear(port) for port in self._sockets]
                self._repeat()
            if not any(heard):
                time.sleep(0.002)
        for each in self._sockets.values():
            each.close()

    def _fill(self) -> None:
        now = time.monotonic()
        while not self.done.is_set() and len(self._waiting) < WINDOW:
            if self._online and self._online[0][0] < now:
                told = heappop(self._online)[2]
                told.until = now
                self._account(told, AcctStatus.STOP)
            elif self._resting and self._resting[0][0] < now:
                self._log_in(heappop(self._resting)[1])
            else:
                return

    def _rest(self, user: str, most_s: float) -> None:
        heappush(self._resting, (time.monotonic() + self._dice.uniform(0.2, most_s), user))

    # --- what is sent ------------------------------------------------------------------------------

    def _log_in(self, user: str) -> None:
        authenticator = os.urandom(16)
        attributes = attribute(Attr.USER_NAME, user.encode()) + pap(PASSWORD, authenticator, self._key)
        identifier = self._identifier(self._auth)
        request = access_request(identifier, authenticator, attributes, self._key)
        self._send(_Sent(request, self._auth, user, *_twice()))

    def _account(self, told: Told, status: AcctStatus) -> None:
        attributes = number(Attr.ACCT_STATUS_TYPE, status) + attribute(Attr.USER_NAME, told.user.encode())
        attributes += attribute(Attr.ACCT_SESSION_ID, told.session.encode())
        request = accounting_request(self._identifier(self._acct), attributes + told.echo, self._key)
        sent = _Sent(request, self._acct, told.user, *_twice(), told, status == AcctStatus.STOP)
        self._send(sent)

    def _identifier(self, port: int) -> int:
        while True:
            found = self._dice.randrange(256)
            if (port, found) not in self._waiting:
                return found

    def _send(self, sent: _Sent) -> None:
        self._waiting[sent.port, sent.request.octets[1]] = sent
        sent.last_at = time.monotonic()
        with contextlib.suppress(ConnectionRefusedError):  # the daemon is dead at the moment
            self._sockets[sent.port].send(sent.request.octets)

    def _repeat(self) -> None:
        now = time.monotonic()
        for sent in self._waiting.values():
            if now - sent.last_at > _AGAIN_S:
                self._send(sent)

    # --- what is heard -----------------------------------------------------------------------------

    def _hear(self, port: int) -> bool:
        try:
            octets = self._sockets[port].recv(4096)
        except (BlockingIOError, ConnectionRefusedError):
            return False
        sent = self._waiting.get((port, octets[1]))
        if sent is not None:
            try:
                reply = check_reply(sent.request, octets, self._key)
            except (Malformed, NotAuthentic):
                return True  # a second answer to an earlier request with that identifier
            del self._waiting[port, octets[1]]
            if sent.told is None:
                self._logged_in(sent, reply)
            else:
                self._accounted(sent, sent.told)
        return True

    def _logged_in(self, sent: _Sent, reply: Packet) -> None:
        if reply.code != Code.ACCESS_ACCEPT:
            self.truth.refused += 1
            self._rest(sent.user, _REST_S)
            return
        now = time.monotonic()
        addresses, echo = _addresses(reply)
        told = Told(sent.user, addresses, echo, sent.first_at, now, sent.first_at + self._tentative_s)
        self.truth.accepted += 1
        self.truth.by_user[told.user].append(told)
        for each in told.addresses:
            self.truth.by_address[each].append(told)
        if self._dice.random() < _STAYS:
            self._sessions += 1
            told.session = f"s{self._sessions:06d}"
            self._account(told, AcctStatus.START)
        else:
            self._rest(told.user, self._away_s)

    def _accounted(self, sent: _Sent, told: Told) -> None:
        if sent.stops:
            told.bound = False
            self._rest(told.user, self._away_s)
            return
        # Later than this it may have been leased to somebody else before the Start came.
        told.bound = time.monotonic() < told.until + self._reuse_s
        told.until = _FOREVER if told.bound else told.until
        heappush(self._online, (time.monotonic() + self._dice.uniform(0.1, _STAYS_S), told.session, told))


def _twice() -> tuple[float, float]:
    now = time.monotonic()
    return now, now


def _connected(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.connect(("127.0.0.1", port))
    made.setblocking(False)
    return made


def _addresses(reply: Packet) -> tuple[tuple[str, str], bytes]:
    """Return the address and the delegated prefix of an Access-Accept, and what accounting repeats of it."""
    kinds = Attr.CLASS, Attr.FRAMED_IP_ADDRESS, Attr.DELEGATED_IPV6_PREFIX
    echo, address, prefix = (reply.find(kind) or b"" for kind in kinds)
    repeated = zip(kinds, (echo, address, prefix), strict=True)
    shown = str(IPv4Address(address)), f"{IPv6Address(prefix[2:].ljust(16, bytes(1)))}/{prefix[1]}"
    return shown, b"".join(attribute(kind, value) for kind, value in repeated)
