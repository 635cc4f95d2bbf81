"""CoA and Disconnect requests of the central platform's RADIUS client, relayed to the session's NAS (RFC 5176).

The askers are configured clients, not NASes. A request is answered ACK only after the NAS has said so, or the session
to be disconnected was seen to close meanwhile; else NAK with the cause. Nothing here changes the replica: a change
that contradicts what the replica wants is relayed all the same, and undone when sessions are next reconciled.

The NAS may take longer than the asker waits: repeats stay unanswered until then, and the reply is sent when it is
known and kept for further repeats.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from daemon.aaa.authentic import proxy_states
from daemon.aaa.coa.wire import ErrorCause, cause_slug
from daemon.aaa.endpoint import Endpoint, Waiting
from daemon.aaa.reasons import Drop
from daemon.aaa.relay.clients import RelayClient, RelayClients, RelayDrop, prove
from daemon.aaa.relay.find import Finder, Found
from daemon.aaa.session import CONCLUDED, Session
from daemon.events import Events
from daemon.metrics import RequestCounts
from radius.authenticator import Key, sign_plain_reply, sign_reply
from radius.codes import Attr, Code
from radius.errors import Malformed, Unencodable
from radius.packet import Packet, attribute, decode
from radius.udp import Datagram, source_octets

_DISCONNECT = int(Code.DISCONNECT_REQUEST)
_CHANGE = int(Code.COA_REQUEST)
_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)
_REPLIES = {
    _DISCONNECT: (int(Code.DISCONNECT_ACK), int(Code.DISCONNECT_NAK)),
    _CHANGE: (int(Code.COA_ACK), int(Code.COA_NAK)),
}
_REQUESTS = {_DISCONNECT: "disconnect", _CHANGE: "change"}


class Outcome(Protocol):
    """What became of a request to a NAS."""

    @property
    def ok(self) -> bool:
        """The NAS has acknowledged it, or the session was read back as gone."""
        ...

    @property
    def cause(self) -> int | None:
        """Error-Cause, of the NAS or of whoever could not reach it; None where nobody gave one."""
        ...

    @property
    def answered(self) -> bool:
        """The NAS has answered at all."""
        ...


class Engine(Protocol):
    """Sends to NASes. Both return when the outcome is known; they may be cancelled."""

    async def disconnect(self, session: Session, requested_by: str) -> Outcome:
        """End a session."""
        ...

    async def forward(self, session: Session, attributes: bytes, requested_by: str) -> Outcome:
        """Send a CoA-Request with our identification of the session and these attributes, in wire form."""
        ...


class _Verdict(NamedTuple):
    """What is answered, and why."""

    ok: bool
    cause: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """An authentic request."""

    packet: Packet
    client: RelayClient
    signer: Key
    waiting: Waiting


class Relay:
    """What the relay's port does."""

    def __init__(
        self,
        clients: RelayClients,
        finder: Finder,
        engine: Engine,
        counts: RequestCounts,
        events: Events,
        spawn: Callable[[Coroutine[Any, Any, object], str], None],
        clock: tuple[Callable[[], float], Callable[[], float]],
        on_fault: Callable[[int], None],
        *,
        most_pending: int = 1000,
        give_up_s: float = 60.0,
    ) -> None:
        """`clock` is monotonic and wall time; `on_fault` is called inside an exception handler.

        A request that is under way for `give_up_s` is answered as one that the NAS did not answer.
        """
        self._clients = clients
        self._finder = finder
        self._engine = engine
        self._counts = counts
        self._events = events
        self._spawn = spawn
        self._monotonic, self._wall = clock
        self._on_fault = on_fault
        self._most_pending = most_pending
        self._give_up_s = give_up_s
        self._pending: set[tuple[Endpoint, bytes, bytes]] = set()

    @property
    def pending(self) -> int:
        """How many requests wait for their NAS."""
        return len(self._pending)

    def handle(self, endpoint: Endpoint, datagrams: list[Datagram]) -> list[Datagram]:
        """Return the replies that can be sent at once."""
        began = self._monotonic()
        at = self._wall()
        endpoint.duplicates.turn(began)
        replies: list[Datagram] = []
        for octets, peer in datagrams:
            code = octets[0] if octets else 0
            try:
                reply = self._take(endpoint, octets, peer, at)
            except Exception:  # noqa: BLE001 - a fault of ours in one request must not cost the others
                self._counts.add(code, "unknown", "drop", Drop.INTERNAL_ERROR)
                self._on_fault(code)
                continue
            if reply is not None:
                replies.append((reply, peer))
        self._counts.observe(endpoint.port, len(datagrams), self._monotonic() - began)
        return replies

    def _take(self, endpoint: Endpoint, octets: bytes, peer: bytes, at: float) -> bytes | None:
        """Return the reply to one datagram; None where there is none, or none yet."""
        code = octets[0] if octets else 0
        clients = self._clients.find(source_octets(peer))
        if not clients:
            self._counts.add(code, "unknown", "drop", RelayDrop.UNKNOWN_CLIENT)
            return None
        label = clients[0].name
        key, authenticator = peer + octets[1:2], octets[4:20]
        kept = endpoint.duplicates.find(key, authenticator)
        if kept:
            self._counts.add(code, label, "repeat", "duplicate")
            return kept
        # A NAS may take longer than the window of the duplicates: what is under way is known here, too.
        if kept is not None or (endpoint, key, authenticator) in self._pending:
            self._counts.add(code, label, "drop", Drop.IN_PROGRESS)
            return None
        try:
            packet = decode(octets)
        except Malformed as reason:
            self._counts.add(code, label, "drop", reason.slug)
            return None
        proven = prove(clients, packet, at)
        if not isinstance(proven, tuple):
            self._counts.add(code, label, "drop", proven)
            return None
        client, signer = proven
        asked = _Asked(packet, client, signer, Waiting(endpoint, peer, key, authenticator))
        return self._begin(asked)

    def _begin(self, asked: _Asked) -> bytes | None:
        """Answer a request that goes to no NAS; send others on their way."""
        waiting = asked.waiting
        duplicates = waiting.endpoint.duplicates
        found = self._finder.find(asked.client.tenant, asked.packet)
        if isinstance(found, Found) and len(self._pending) < self._most_pending:
            duplicates.keep(waiting.key, waiting.authenticator, b"")
            self._pending.add((waiting.endpoint, waiting.key, waiting.authenticator))
            self._spawn(self._work(asked, found), "coa-relay")
            return None
        cause = ErrorCause.RESOURCES_UNAVAILABLE if isinstance(found, Found) else found
        reply = self._answer(asked, (), _Verdict(False, int(cause), cause.slug))
        if reply is not None:
            duplicates.keep(waiting.key, waiting.authenticator, reply)
        return reply

    async def _work(self, asked: _Asked, found: Found) -> None:
        """Ask the NAS and send the reply."""
        waiting = asked.waiting
        try:
            try:
                async with asyncio.timeout(self._give_up_s):
                    verdict = await self._ask(asked, found)
            except TimeoutError:
                verdict = _settled(found.sessions, asked.packet.code, _SILENT)
            reply = self._answer(asked, found.sessions, verdict)
            if reply is not None:
                datagram = waiting.endpoint.finish(waiting, reply)
                if datagram is not None:
                    waiting.endpoint.socket.send([datagram])
        finally:
            self._pending.discard((waiting.endpoint, waiting.key, waiting.authenticator))

    async def _ask(self, asked: _Asked, found: Found) -> _Verdict:
        """Return what the NAS of each session says, taken together: yes only if all do."""
        code, client = asked.packet.code, asked.client.name
        if code == _CHANGE:
            (session,) = found.sessions
            return await self._one(session, code, self._engine.forward(session, found.service, client))
        verdicts = await asyncio.gather(
            *(self._one(each, code, self._engine.disconnect(each, client)) for each in found.sessions)
        )
        return next((each for each in verdicts if not each.ok), verdicts[0])

    async def _one(self, session: Session, code: int, asking: Coroutine[Any, Any, Outcome]) -> _Verdict:
        try:
            verdict = _verdict(await asking)
        except Exception:  # noqa: BLE001 - the asker is told that it was our fault
            self._on_fault(code)
            verdict = _FAULT
        return _settled((session,), code, verdict)

    def _answer(self, asked: _Asked, sessions: tuple[Session, ...], verdict: _Verdict) -> bytes | None:
        """Return the signed reply, and tell of it; None where it would be too long."""
        code, label = asked.packet.code, asked.client.name
        try:
            reply = _signed(asked, verdict)
        except Unencodable:
            self._counts.add(code, label, "drop", Drop.REPLY_TOO_LONG)
            return None
        self._counts.add(code, label, "ack" if verdict.ok else "nak", verdict.reason)
        for session in sessions or (None,):
            self._events.add(
                "relay-request",
                tenant=asked.client.tenant,
                subscriber="" if session is None else session.subscriber,
                session=None if session is None else session.uid,
                nas="" if session is None else session.nas,
                reason=verdict.reason,
                client=label,
                request=_REQUESTS[code],
                answer="ack" if verdict.ok else "nak",
                cause=verdict.cause,
            )
        return reply


# No answer from the NAS: of the causes that a relay may give, 502 is the one that says the request did not get to
# the NAS. 503 would claim that the session is gone, 506 that the NAS refused for want of resources; 505 is left for
# faults of our own. An engine that knows better gives its own cause.
_SILENT = _Verdict(False, int(ErrorCause.PROXY_REQUEST_NOT_ROUTABLE), "no-answer")
_FAULT = _Verdict(False, int(ErrorCause.PROXY_PROCESSING_ERROR), Drop.INTERNAL_ERROR)
_GONE = _Verdict(True, None, "gone")
_GONE_UNCHANGED = _Verdict(
    False, int(ErrorCause.SESSION_CONTEXT_NOT_FOUND), ErrorCause.SESSION_CONTEXT_NOT_FOUND.slug
)


def _verdict(outcome: Outcome) -> _Verdict:
    """Return what an outcome means for the asker; the cause of the NAS goes through as it is."""
    if outcome.ok:
        return _Verdict(True, None, "acked")
    if outcome.cause is not None:
        return _Verdict(False, outcome.cause, cause_slug(outcome.cause))
    return _Verdict(False, None, "no-cause") if outcome.answered else _SILENT


def _settled(sessions: tuple[Session, ...], code: int, verdict: _Verdict) -> _Verdict:
    """Return the verdict in the light of what accounting has said meanwhile: all the sessions may be over.

    Only what their NAS has told makes a Disconnect a success; that we have concluded it, from the NAS's 503 perhaps,
    does not.
    """
    if verdict.ok or any(each.closed_at is None for each in sessions):
        return verdict
    if code != _DISCONNECT:
        return _GONE_UNCHANGED
    return verdict if any(each.closed_by in CONCLUDED for each in sessions) else _GONE


def _signed(asked: _Asked, verdict: _Verdict) -> bytes:
    """Return the reply; it has a Message-Authenticator where the request has one. Raises Unencodable."""
    packet = asked.packet
    attributes = b""
    if verdict.cause is not None:
        attributes = attribute(Attr.ERROR_CAUSE, verdict.cause.to_bytes(4, "big"))
    attributes += proxy_states(packet)
    sign = sign_reply if _MESSAGE_AUTHENTICATOR in packet.spots else sign_plain_reply
    ack, nak = _REPLIES[packet.code]
    code = ack if verdict.ok else nak
    return sign(code, packet.identifier, packet.authenticator, attributes, asked.signer)
