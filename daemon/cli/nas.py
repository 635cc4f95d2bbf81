"""A NAS of one request: sends it, sends it again, and waits for the reply that counts."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

from radius.authenticator import Key
from radius.errors import Malformed, NotAuthentic
from radius.exchange import Request, Schedule, check_reply
from radius.packet import Packet

_LARGEST_DATAGRAM = 65_535


@dataclass(frozen=True, slots=True)
class Server:
    """Where a request goes."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, port: int) -> Server:
        """Return the parts of `HOST`, `HOST:PORT`, `[IPV6]:PORT` or an IPv6 address; raises ValueError."""
        if text.startswith("["):
            host, closed, rest = text[1:].partition("]")
            if not closed or (rest and not rest.startswith(":")):
                raise ValueError(f"{text!r} is no [IPV6]:PORT")
            given = rest[1:]
        elif text.count(":") > 1:
            host, given = text, ""
        else:
            host, _, given = text.partition(":")
        if not host:
            raise ValueError(f"{text!r} names no host")
        if given and not (given.isdecimal() and 0 < int(given) < 65536):
            raise ValueError(f"{given!r} is no port, expected 1 to 65535")
        return cls(host, int(given) if given else port)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: `reply` None means that nothing came that counts."""

    reply: Packet | None
    latency_s: float  # from the last send to the reply
    sends: int
    dropped: str | None = None  # why the last octets that came did not count
    refused: bool = False  # the host said that nobody listens on the port


def identifier() -> int:
    """Return a random packet identifier."""
    return os.urandom(1)[0]


def ask(request: Request, server: Server, key: Key, schedule: Schedule) -> Answer:
    """Send `request` as the schedule says until a reply counts (RFC 5080 section 2.2.1).

    Octets that are no authentic reply are dropped and remembered. A host that says that nobody listens ends
    it at once. Raises OSError where the host has no address or there is no way to it.
    """
    places = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = places[0]
    dropped: str | None = None
    delay = 0.0
    sends = 0
    started = time.perf_counter()
    with socket.socket(family, kind, protocol) as sock:
        sock.connect(address)
        while True:
            sent = time.perf_counter()
            wait = schedule.next_delay(sends + 1, 0.0, previous_s=delay, elapsed_s=sent - started)
            if wait is None:
                return Answer(None, 0.0, sends, dropped)
            delay, sends = wait, sends + 1
            try:
                sock.send(request.octets)
                while (left := sent + delay - time.perf_counter()) > 0:
                    sock.settimeout(left)
                    octets = sock.recv(_LARGEST_DATAGRAM)
                    came = time.perf_counter()
                    try:
                        return Answer(check_reply(request, octets, key), came - sent, sends, dropped)
                    except (Malformed, NotAuthentic) as error:
                        dropped = error.slug
            except TimeoutError:
                continue
            except ConnectionRefusedError:
                return Answer(None, 0.0, sends, dropped, refused=True)
