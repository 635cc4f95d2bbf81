"""A NAS in memory: makes real packets, hands them to the conductor, checks what comes back."""

from __future__ import annotations

import os
from ipaddress import ip_address

from daemon.aaa.conductor import Conductor
from daemon.aaa.endpoint import Endpoint
from radius.authenticator import Key, message_is_authentic
from radius.codes import Attr, Code
from radius.exchange import Request, access_request, accounting_request, check_reply, pap, status_server
from radius.packet import Packet, attribute


def peer_of(address: str, port: int = 50_000) -> bytes:
    """Return a peer as `radius.udp` makes it."""
    packed = ip_address(address).packed
    if len(packed) == 4:
        return b"\x02\x00" + port.to_bytes(2, "big") + packed + bytes(8)
    return b"\x0a\x00" + port.to_bytes(2, "big") + bytes(4) + packed + bytes(4)


class WireTwin:
    """Stands in for the socket: keeps what is sent later."""

    ipv4 = True

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, bytes]] = []

    def send(self, datagrams: list[tuple[bytes, bytes]]) -> None:
        """Keep datagrams."""
        self.sent += datagrams


class NasTwin:
    """Sends from one address with one secret."""

    def __init__(
        self,
        conductor: Conductor,
        auth: Endpoint,
        acct: Endpoint,
        address: str = "127.0.0.1",
        secret: bytes = b"testing123",
    ) -> None:
        self.conductor = conductor
        self.auth = auth
        self.acct = acct
        self.peer = peer_of(address)
        self.key = Key(secret)
        self.identifier = 0

    def next_identifier(self) -> int:
        """Return the identifier of the next request."""
        self.identifier = (self.identifier + 1) % 256
        return self.identifier

    def login(self, username: str, password: str, extra: bytes = b"", *, message: bool = True) -> Request:
        """Return an Access-Request with PAP."""
        authenticator = os.urandom(16)
        attributes = attribute(Attr.USER_NAME, username.encode()) + extra
        attributes += pap(password.encode(), authenticator, self.key)
        return access_request(self.next_identifier(), authenticator, attributes, self.key, message=message)

    def request(self, attributes: bytes, *, message: bool = True) -> Request:
        """Return an Access-Request with just these attributes."""
        return access_request(self.next_identifier(), os.urandom(16), attributes, self.key, message=message)

    def status(self) -> Request:
        """Return a Status-Server."""
        return status_server(self.next_identifier(), os.urandom(16), self.key)

    def account(self, attributes: bytes) -> Request:
        """Return an Accounting-Request."""
        return accounting_request(self.next_identifier(), attributes, self.key)

    def send(self, request: Request | bytes, endpoint: Endpoint | None = None) -> list[bytes]:
        """Hand a request in and return what is answered at once."""
        octets = request.octets if isinstance(request, Request) else request
        place = endpoint or (self.acct if octets[0:1] == b"\x04" else self.auth)
        place.socket.ipv4 = len(self.peer) == 16
        return [reply for reply, _ in self.conductor.handle(place, [(octets, self.peer)])]

    def ask(self, request: Request, endpoint: Endpoint | None = None) -> Packet | None:
        """Hand a request in and return its reply, verified; None where none came."""
        replies = self.send(request, endpoint)
        if not replies:
            return None
        (octets,) = replies
        reply = check_reply(request, octets, self.key)
        if request.code == Code.ACCESS_REQUEST:
            kind, _ = next(reply.attributes())
            assert kind == Attr.MESSAGE_AUTHENTICATOR, "it is the first attribute of every Access reply"
            assert message_is_authentic(reply, self.key, request.authenticator)
        return reply
