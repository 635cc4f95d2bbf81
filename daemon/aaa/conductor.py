"""From datagrams to replies: what every request goes through, in one column.

NAS, duplicate, format; then the part of its port: `aaa.access` or `aaa.accounting`. Runs once for each batch of
datagrams and does not await.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from daemon.aaa.endpoint import Endpoint, Port
from daemon.aaa.nas import Client, Clients
from daemon.aaa.reasons import Drop
from daemon.metrics import RequestCounts
from radius.codes import Attr
from radius.errors import Malformed
from radius.packet import Packet, decode
from radius.udp import Datagram, source_octets

_NAS_IDENTIFIER = int(Attr.NAS_IDENTIFIER)


class Answer(Protocol):
    """The part of one kind of port."""

    def turn(self) -> None:
        """A batch begins: take up what has changed since the last one."""

    def answer(
        self, endpoint: Endpoint, client: Client, packet: Packet, peer: bytes, key: bytes, at: float
    ) -> bytes | None:
        """Return the reply; None when there is none, or none yet."""


class Conductor:
    """Leads every datagram to its answer."""

    def __init__(
        self,
        clients: Clients,
        answers: dict[Port, Answer],
        counts: RequestCounts,
        clock: tuple[Callable[[], float], Callable[[], float]],
        on_stranger: Callable[[bytes, int], None],
        on_fault: Callable[[int], None],
    ) -> None:
        """`on_fault` is called inside an exception handler, so that it can log the traceback."""
        self._clients = clients
        self._answers = answers
        self._counts = counts
        self._monotonic, self._wall = clock
        self._on_stranger = on_stranger
        self._on_fault = on_fault

    def handle(self, endpoint: Endpoint, datagrams: list[Datagram]) -> list[Datagram]:
        """Return the replies that can be sent at once."""
        began = self._monotonic()
        at = self._wall()
        clients, duplicates, counts = self._clients, endpoint.duplicates, self._counts
        answer = self._answers[endpoint.port]
        clients.turn()
        duplicates.turn(began)
        answer.turn()
        find_client, find_duplicate, reply_to = clients.find, duplicates.find, answer.answer
        replies: list[Datagram] = []
        ipv4 = endpoint.socket.ipv4
        for octets, peer in datagrams:
            client = find_client(peer[4:8] if ipv4 else peer[8:24])
            if client is None:
                self._stranger(octets, peer, at)
                continue
            key = peer + octets[1:2]
            authenticator = octets[4:20]
            reply = find_duplicate(key, authenticator)
            if reply is None:
                try:
                    packet = decode(octets)
                except Malformed as reason:
                    counts.add(octets[0] if octets else 0, client.label, "drop", reason.slug)
                    continue
                try:
                    reply = reply_to(endpoint, client, packet, peer, key, at)
                except Exception:  # noqa: BLE001 - a fault of ours in one request must not cost the others
                    counts.add(packet.code, client.label, "drop", Drop.INTERNAL_ERROR)
                    self._on_fault(packet.code)
                    continue
                if reply is not None:
                    duplicates.keep(key, authenticator, reply)
                    replies.append((reply, peer))
            elif not reply:
                counts.add(octets[0], client.label, "drop", Drop.IN_PROGRESS)
            else:
                counts.add(octets[0], client.label, "repeat", "duplicate")
                replies.append((reply, peer))
        counts.observe(endpoint.port, len(datagrams), self._monotonic() - began)
        return replies

    def _stranger(self, octets: bytes, peer: bytes, at: float) -> None:
        """Drop, count and remember a packet of a source that is no NAS of ours."""
        self._counts.add(octets[0] if octets else 0, "unknown", "drop", Drop.UNKNOWN_NAS)
        try:
            packet = decode(octets)
        except Malformed:
            return
        name = (packet.find_text(_NAS_IDENTIFIER) or "")[:64]
        if self._clients.note_stranger(source_octets(peer), packet.code, name, at):
            self._on_stranger(source_octets(peer), packet.code)
