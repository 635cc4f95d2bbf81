"""A NAS that takes CoA and Disconnects on a real UDP socket on loopback, and answers as its script says."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import cast

from radius.authenticator import Key, message_is_authentic, request_is_authentic, sign_plain_reply, sign_reply
from radius.codes import Attr, Code
from radius.packet import Packet, attribute, decode

Answer = Callable[["DaeTwin", Packet], list[bytes]]
"""Makes the datagrams that answer a request, at once; none for silence."""


def ack(twin: DaeTwin, request: Packet) -> list[bytes]:
    """Say yes."""
    return [twin.reply(request, request.code + 1)]


def nak(cause: int | None) -> Answer:
    """Say no, with this Error-Cause or with none."""
    attributes = b"" if cause is None else attribute(Attr.ERROR_CAUSE, cause.to_bytes(4, "big"))
    return lambda twin, request: [twin.reply(request, request.code + 2, attributes)]


def silence(_twin: DaeTwin, _request: Packet) -> list[bytes]:
    """Say nothing."""
    return []


def twice(twin: DaeTwin, request: Packet) -> list[bytes]:
    """Say yes, and again."""
    return ack(twin, request) * 2


def forged(twin: DaeTwin, request: Packet) -> list[bytes]:
    """Say yes with another secret."""
    return [
        sign_plain_reply(request.code + 1, request.identifier, request.authenticator, b"", Key(b"forged"))
    ]


def told(call: Callable[[Packet], None], answer: Answer = ack) -> Answer:
    """Call something first, as a NAS that sends its Stop before its answer."""

    def answered(twin: DaeTwin, request: Packet) -> list[bytes]:
        call(request)
        return answer(twin, request)

    return answered


class DaeTwin(asyncio.DatagramProtocol):
    """The NAS. `script` has an answer for each datagram that comes, `otherwise` the one for all that follow.

    It is silent where the request does not verify with its secret, as real ones are.
    """

    def __init__(self, *script: Answer, secret: bytes = b"testing123", otherwise: Answer = ack) -> None:
        self.script = deque(script)
        self.otherwise = otherwise
        self.key = Key(secret)
        self.message = False  # answers with Message-Authenticator
        self.datagrams: list[bytes] = []
        self.requests: list[Packet] = []  # those that verify, repeats included
        self.refused = 0
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> DaeTwin:
        """Listen."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, (host, port))
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]
        return self

    async def stop(self) -> None:
        """Listen no more; the port then answers with ICMP."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None
            await asyncio.sleep(0)

    @property
    def address(self) -> IPv4Address:
        """Where it listens."""
        return IPv4Address("127.0.0.1")

    def kinds(self) -> list[tuple[int, tuple[int, ...]]]:
        """Return code and attribute types of each request, without Message-Authenticator and Event-Timestamp."""
        plain = (Attr.MESSAGE_AUTHENTICATOR, Attr.EVENT_TIMESTAMP)
        return [
            (request.code, tuple(kind for kind, _ in request.attributes() if kind not in plain))
            for request in self.requests
        ]

    def codes(self) -> list[Code]:
        """Return the codes of the requests."""
        return [Code(request.code) for request in self.requests]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Check a request and answer it."""
        self.datagrams.append(data)
        request = decode(data)
        authentic = request_is_authentic(request, self.key)
        if authentic and Attr.MESSAGE_AUTHENTICATOR in request.spots:
            authentic = message_is_authentic(request, self.key, bytes(16))
        answer = self.script.popleft() if self.script else self.otherwise
        if not authentic and answer is not forged:
            self.refused += 1
            return
        self.requests.append(request)
        for octets in answer(self, request):
            self.send(octets, addr)

    def send(self, octets: bytes, addr: tuple[str, int]) -> None:
        """Send a datagram."""
        assert self._transport is not None
        self._transport.sendto(octets, addr)

    def reply(self, request: Packet, code: int, attributes: bytes = b"") -> bytes:
        """Return a signed reply."""
        sign = sign_reply if self.message else sign_plain_reply
        return sign(code, request.identifier, request.authenticator, attributes, self.key)
