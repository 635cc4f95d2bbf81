"""A NAS with sessions on real sockets: it logs in, accounts, and takes CoA and Disconnects."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType

from radius.authenticator import Key, request_is_authentic, sign_plain_reply
from radius.codes import AcctStatus, Attr, Code
from radius.packet import Packet, attribute, decode
from tests.e2e.conftest import Daemon
from tests.e2e.nas import SECRET, Nas, number

SESSION_CONTEXT_NOT_FOUND = 503
ADMINISTRATIVELY_PROHIBITED = 501


class Box:
    """One box on 127.0.0.1; a context manager. `nak` is the Error-Cause of its refusals, None: it agrees.

    It answers a Disconnect-Request, then sends the Stop, unless `stops` is False.
    """

    def __init__(self, daemon: Daemon, secret: bytes = SECRET) -> None:
        self.daemon = daemon
        self.key = Key(secret)
        self.nas = Nas(daemon)
        self.nak: int | None = None
        self.stops = True
        self.requests: list[Packet] = []
        self._online: dict[bytes, bytes] = {}  # Acct-Session-Id -> what its accounting says
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Box:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join(5)
        self._socket.close()
        self.nas.__exit__(kind, error, trace)

    def entry(self, **more: object) -> str:
        """Return the NAS entry of this box as a data file has it."""
        said = {
            "prefixes": "[127.0.0.0/8]",
            "secret": "testing123",
            "vendor": "mikrotik",
            "coa_port": self.port,
        }
        body = ", ".join(f"{name}: {value}" for name, value in (said | more).items())
        return f"- {{kind: nas, id: lab, tenant: demo, body: {{{body}}}}}\n"

    def connect(self, session: str, username: bytes, password: bytes, extra: bytes = b"") -> None:
        """Log in and begin a session, with the Class that the answer carries."""
        reply = self.nas.ask(self.daemon.auth, self.nas.login(username, password, extra))
        assert reply is not None
        assert reply.code == Code.ACCESS_ACCEPT
        class_octets = reply.find(Attr.CLASS)
        assert class_octets is not None
        said = attribute(Attr.USER_NAME, username) + attribute(Attr.CLASS, class_octets) + extra
        assert self.nas.is_acknowledged(session, said)
        self._online[session.encode()] = said

    def report(self, session: str, seconds: int, octets_download: int) -> None:
        """Send an Interim-Update."""
        traffic = (
            number(Attr.ACCT_SESSION_TIME, seconds)
            + number(Attr.ACCT_OUTPUT_OCTETS, octets_download & 0xFFFF_FFFF)
            + number(Attr.ACCT_OUTPUT_GIGAWORDS, octets_download >> 32)
        )
        said = self._online[session.encode()] + traffic
        request = self.nas.record(session, said, AcctStatus.INTERIM_UPDATE)
        assert self.nas.ask(self.daemon.acct, request) is not None

    def _serve(self) -> None:
        while True:
            octets, asker = self._socket.recvfrom(4096)
            if not octets:
                return
            request = decode(octets)
            if not request_is_authentic(request, self.key):
                continue
            self.requests.append(request)
            self._answer(request, lambda reply, to=asker: self._socket.sendto(reply, to))

    def _answer(self, request: Packet, send: Callable[[bytes], object]) -> None:
        session = request.find(Attr.ACCT_SESSION_ID) or b""
        cause = self.nak if session in self._online else SESSION_CONTEXT_NOT_FOUND
        code = request.code + 1 if cause is None else request.code + 2
        attributes = b"" if cause is None else number(Attr.ERROR_CAUSE, cause)
        send(sign_plain_reply(code, request.identifier, request.authenticator, attributes, self.key))
        if cause is None and request.code == Code.DISCONNECT_REQUEST and self.stops:
            last = self.nas.record(session.decode(), self._online.pop(session), AcctStatus.STOP)
            self.nas.ask(self.daemon.acct, last)
