"""A NAS on a real socket, and the counters that its requests move."""

from __future__ import annotations

import os
import socket
import time
from types import TracebackType

from prometheus_client.parser import text_string_to_metric_families

from radius.authenticator import Key
from radius.codes import AcctStatus, Attr, Code
from radius.errors import Malformed, NotAuthentic
from radius.exchange import Request, access_request, accounting_request, check_reply, pap, status_server
from radius.packet import Packet, attribute
from tests.e2e.conftest import Daemon

SECRET = b"testing123"


def number(kind: int, value: int) -> bytes:
    """Return an attribute of four octets."""
    return attribute(kind, value.to_bytes(4, "big"))


class Nas:
    """Sends from one address with one secret; a context manager."""

    def __init__(self, daemon: Daemon, secret: bytes = SECRET, source: str = "127.0.0.1") -> None:
        self.daemon = daemon
        self.key = Key(secret)
        self._identifier = 0
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((source, 0))
        self._host = "::1" if ":" in source else "127.0.0.1"

    def __enter__(self) -> Nas:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def identifier(self) -> int:
        """Return the identifier of the next request."""
        self._identifier = (self._identifier + 1) % 256
        return self._identifier

    def login(self, username: bytes, password: bytes, extra: bytes = b"", *, message: bool = True) -> Request:
        """Return an Access-Request with PAP."""
        authenticator = os.urandom(16)
        attributes = attribute(Attr.USER_NAME, username) + extra + pap(password, authenticator, self.key)
        return access_request(self.identifier(), authenticator, attributes, self.key, message=message)

    def record(self, session: str, extra: bytes = b"", status: int = AcctStatus.START) -> Request:
        """Return an Accounting-Request."""
        attributes = number(Attr.ACCT_STATUS_TYPE, status) + attribute(Attr.ACCT_SESSION_ID, session.encode())
        return accounting_request(self.identifier(), attributes + extra, self.key)

    def send(self, port: int, octets: bytes) -> None:
        """Send a datagram."""
        self._socket.sendto(octets, (self._host, port))

    def ask(self, port: int, request: Request, wait_s: float = 3.0) -> Packet | None:
        """Send a request once; return its authentic reply, None where none comes in time."""
        self.send(port, request.octets)
        end = time.monotonic() + wait_s
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                return check_reply(request, self._socket.recv(4096), self.key)
            except TimeoutError:
                return None
            except (Malformed, NotAuthentic, ConnectionRefusedError):
                continue  # an answer to an earlier request
        return None

    def is_accepted(
        self, username: bytes = b"alice", password: bytes = b"wonderland", wait_s: float = 3.0
    ) -> bool:
        """Log in and say whether that worked."""
        reply = self.ask(self.daemon.auth, self.login(username, password), wait_s)
        return reply is not None and reply.code == Code.ACCESS_ACCEPT

    def is_acknowledged(self, session: str, extra: bytes = b"", wait_s: float = 3.0) -> bool:
        """Send a Start and say whether it was acknowledged."""
        return self.ask(self.daemon.acct, self.record(session, extra), wait_s) is not None

    def is_told_alive(self, port: int, wait_s: float = 3.0) -> bool:
        """Send a Status-Server and say whether it was answered."""
        request = status_server(self.identifier(), os.urandom(16), self.key)
        return self.ask(port, request, wait_s) is not None


def counted(daemon: Daemon, **labels: str) -> float:
    """Return how many RADIUS requests with these labels were counted."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(daemon.metrics())
        for sample in family.samples
        if sample.name == "dotmac_edge_radius_requests_total" and labels.items() <= sample.labels.items()
    )
