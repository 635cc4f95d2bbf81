"""A relay with live sessions, an engine whose answers a test writes, and a platform that asks."""

from __future__ import annotations

import asyncio
import dataclasses
import traceback
from collections.abc import Awaitable, Callable
from ipaddress import ip_address, ip_network
from typing import Any, cast

from daemon.aaa.endpoint import Endpoint, Port
from daemon.aaa.live import Live
from daemon.aaa.relay.answers import Relay
from daemon.aaa.relay.clients import RelayClient, RelayClients
from daemon.aaa.relay.find import Finder
from daemon.aaa.session import TRACKED, Closed, Report, Session
from daemon.aaa.sessions import place
from daemon.events import Events
from daemon.metrics import RequestCounts
from daemon.replica.index import Index
from daemon.replica.records import Nas, Secret, SecretKind, Tenant
from daemon.supervise import Supervisor
from radius.authenticator import Key
from radius.codes import Attr, Code
from radius.duplicates import Duplicates
from radius.exchange import Request, check_reply, dynamic_request
from radius.packet import Packet, attribute
from radius.udp import BatchSocket
from tests.twins.clock import ClockTwin, settle
from tests.twins.nas import WireTwin, peer_of

SECRET = b"platform-secret"
T0 = 1_800_000_000.0
_FIELDS = set(Report._fields)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an engine tells."""

    ok: bool
    cause: int | None = None
    answered: bool = True


class EngineTwin:
    """Answers as the test has written; `during` runs while a request is under way."""

    def __init__(self) -> None:
        self.answer = Outcome(ok=True)
        self.answers: dict[int, Outcome] = {}  # by session, where they differ
        self.during: Callable[[Session], Awaitable[None]] | None = None
        self.disconnects: list[tuple[int, str]] = []
        self.changes: list[tuple[int, bytes, str]] = []

    async def disconnect(self, session: Session, requested_by: str) -> Outcome:
        self.disconnects.append((session.uid, requested_by))
        return await self._outcome(session)

    async def forward(self, session: Session, attributes: bytes, requested_by: str) -> Outcome:
        self.changes.append((session.uid, attributes, requested_by))
        return await self._outcome(session)

    async def _outcome(self, session: Session) -> Outcome:
        if self.during is not None:
            await self.during(session)
        return self.answers.get(session.uid, self.answer)


def tracked(**values: bytes) -> tuple[bytes | None, ...]:
    """Return the values of a report, by the names of attributes."""
    held = {int(Attr[name.upper()]): value for name, value in values.items()}
    return tuple(held.get(kind) for kind in TRACKED)


def client(**fields: Any) -> RelayClient:
    base: dict[str, Any] = {
        "name": "platform",
        "tenant": "demo",
        "networks": (ip_network("127.0.0.0/8"), ip_network("192.0.2.0/24")),
        "keys": (Key(SECRET),),
    }
    return RelayClient(**(base | fields))


class Stage:
    """Everything, with a wire twin in the place of the socket unless one is given."""

    def __init__(self, *, most_pending: int = 100, give_up_s: float = 60.0, window_s: float = 15.0) -> None:
        self.clock = ClockTwin(T0)
        self.index = Index()
        for tenant in ("demo", "other"):
            self.index.put(Tenant(id=tenant))
            self.index.put(
                Nas(
                    tenant=tenant,
                    id="lab",
                    prefixes=(ip_network("10.9.0.0/24"),),
                    secret=Secret(SecretKind.CLEARTEXT, b"nas-secret"),
                )
            )
        self.live = Live()
        self.engine = EngineTwin()
        self.counts = RequestCounts()
        self.logged: list[tuple[str, dict[str, object]]] = []
        self.events = Events(100, self.clock.wall, self._log, self.clock.monotonic)
        self.faults: list[str] = []
        self.supervisor = Supervisor(self.clock, self._log)
        self.clients = RelayClients([client()])
        self.relay = Relay(
            self.clients,
            Finder(self.index, self.live),
            self.engine,
            self.counts,
            self.events,
            self.supervisor.spawn,
            (self.clock.monotonic, self.clock.wall),
            lambda _code: self.faults.append(traceback.format_exc()),
            most_pending=most_pending,
            give_up_s=give_up_s,
        )
        self.window_s = window_s
        self.wire = WireTwin()
        self.endpoint = self.endpoint_on(cast("BatchSocket", self.wire))
        self._uids = 0

    def endpoint_on(self, sock: BatchSocket) -> Endpoint:
        """Return the relay's endpoint on a socket."""
        return Endpoint(
            Port.RELAY,
            sock,
            Duplicates(self.window_s, self.clock.monotonic()),
            self.relay.handle,
            lambda drop: self.counts.add(0, "unknown", "drop", drop),
        )

    def _log(self, event: str, /, **fields: object) -> None:
        self.logged.append((event, fields))

    def session(self, session_id: str, username: str = "alice", **fields: Any) -> Session:
        """Return a live session; `fields` are those of a report, or tracked attributes by name."""
        told = {name: fields.pop(name) for name in list(fields) if name not in _FIELDS}
        self._uids += 1
        base: dict[str, Any] = {
            "seq": self._uids,
            "tenant": "demo",
            "nas": "lab",
            "box": b"\x04" + ip_address("10.9.0.1").packed,
            "acct_session_id": session_id.encode(),
            "status": 1,
            "at": T0 - 100.0,
            "heard_at": T0 - 100.0,
            "began_at": T0 - 100.0,
            "username": username,
            "subscriber": username.upper(),
            "class_octets": None,
            "uid": None,
            "session_time_s": None,
            "sample": None,
            "ipv6_octets": None,
            "tracked": tracked(**told),
            "terminate_cause": None,
        }
        base |= fields
        base["key"] = place(base["tenant"], base["nas"], base["box"]) + b"\0" + base["acct_session_id"]
        report = Report(**base)
        session = Session(report, self._uids)
        session.fold(report, start=True, stop=False)
        self.live.add(session)
        return session

    def close(self, session: Session, by: Closed = Closed.STOP) -> None:
        """Let a Stop come in, or a conclusion be drawn, as `aaa.sessions` would."""
        self.live.remove(session)
        assert session.conclude(by, "admin-reset")

    def send(self, octets: bytes, address: str = "127.0.0.1", port: int = 50_000) -> list[bytes]:
        """Hand a datagram in and return what is answered at once."""
        return [reply for reply, _ in self.relay.handle(self.endpoint, [(octets, peer_of(address, port))])]

    async def ask(self, request: Request, key: bytes = SECRET, address: str = "127.0.0.1") -> Packet | None:
        """Send a request and return its reply, verified, whenever it comes; None where none does."""
        self.wire.sent.clear()
        replies = self.send(request.octets, address)
        await settle()
        replies += [octets for octets, _ in self.wire.sent]
        assert len(replies) <= 1
        return check_reply(request, replies[0], Key(key)) if replies else None

    def reasons(self) -> dict[str, int]:
        """Return how often each outcome and reason was counted."""
        out: dict[str, int] = {}
        for (_, label, outcome, reason), count in self.counts.requests.items():
            out[f"{label} {outcome} {reason}"] = count
        return out


def play(stage: Stage, scene: Callable[[Stage], Awaitable[None]]) -> Stage:
    """Run a scene to its end; a fault in the relay fails the test."""

    async def whole() -> None:
        try:
            await scene(stage)
        finally:
            await stage.supervisor.stop(1.0)

    asyncio.run(whole())
    assert stage.faults == []
    return stage


def disconnect(
    *attributes: bytes, identifier: int = 1, key: bytes = SECRET, message: bool = False
) -> Request:
    """Return a Disconnect-Request."""
    return dynamic_request(
        Code.DISCONNECT_REQUEST, identifier, b"".join(attributes), Key(key), message=message
    )


def change(*attributes: bytes, identifier: int = 1, key: bytes = SECRET) -> Request:
    """Return a CoA-Request."""
    return dynamic_request(Code.COA_REQUEST, identifier, b"".join(attributes), Key(key))


def user(name: str = "alice") -> bytes:
    return attribute(Attr.USER_NAME, name.encode())


def sid(text: str) -> bytes:
    return attribute(Attr.ACCT_SESSION_ID, text.encode())


def address(text: str) -> bytes:
    return attribute(Attr.FRAMED_IP_ADDRESS, ip_address(text).packed)
