"""From datagrams to replies: what every request goes through, in one column.

NAS, duplicate, format; then the part of its port: `aaa.access` or `aaa.accounting`. Runs once for each batch of
datagrams and does not await. Under backlog a batch is a fair choice of what waits (`aaa.admission`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from daemon.aaa.admission import About
from daemon.aaa.endpoint import Endpoint, Port
from daemon.aaa.nas import Client, Clients
from daemon.aaa.reasons import Drop
from daemon.aaa.storm import Limits, Storm
from daemon.metrics import RequestCounts
from radius.codes import AcctStatus, Attr, Code
from radius.errors import Malformed
from radius.packet import Packet, decode
from radius.udp import BATCH, Datagram, source_octets

_NAS_IDENTIFIER = int(Attr.NAS_IDENTIFIER)
_STATUS_TYPE = int(Attr.ACCT_STATUS_TYPE)
_ACCOUNTING_REQUEST = int(Code.ACCOUNTING_REQUEST)
_OF_BOXES = (int(AcctStatus.ACCOUNTING_ON), int(AcctStatus.ACCOUNTING_OFF))
_READ_AHEAD = 16  # batches taken off the socket before one is chosen: a flood is passed over quickly


class Answer(Protocol):
    """The part of one kind of port."""

    def turn(self) -> None:
        """A batch begins: take up what has changed since the last one."""

    def answer(
        self, endpoint: Endpoint, client: Client, packet: Packet, peer: bytes, key: bytes, at: float
    ) -> bytes | None:
        """Return the reply; None when there is none, or none yet."""


class Conductor:
    """Leads every datagram to its answer, and tells `storm` how many there were."""

    def __init__(
        self,
        clients: Clients,
        answers: dict[Port, Answer],
        counts: RequestCounts,
        clock: tuple[Callable[[], float], Callable[[], float]],
        on_stranger: Callable[[bytes, int], None],
        on_fault: Callable[[int], None],
        storm: Storm | None = None,
    ) -> None:
        """`on_fault` is called inside an exception handler, so that it can log the traceback."""
        self._clients = clients
        self._answers = answers
        self._counts = counts
        self._monotonic, self._wall = clock
        self._on_stranger = on_stranger
        self._on_fault = on_fault
        self.storm = Storm(Limits(), lambda _label: 0) if storm is None else storm
        self._about = About()

    def handle(self, endpoint: Endpoint, datagrams: list[Datagram]) -> list[Datagram]:
        """Return the replies that can be sent at once."""
        began = self._monotonic()
        at = self._wall()
        self._clients.turn()
        endpoint.duplicates.turn(began)
        self._answers[endpoint.port].turn()
        if len(datagrams) >= BATCH or len(endpoint.queue):
            datagrams = self._choose(endpoint, datagrams, at)
        replies: list[Datagram] = []
        tally: dict[Client, int] = {}
        repeats: dict[Client, int] = {}
        self._reply_to_all(endpoint, datagrams, at, replies, tally, repeats)
        self._note(endpoint, began, tally, repeats)
        self._counts.observe(endpoint.port, len(datagrams), self._monotonic() - began)
        return replies

    def _reply_to_all(
        self,
        endpoint: Endpoint,
        datagrams: list[Datagram],
        at: float,
        replies: list[Datagram],
        tally: dict[Client, int],
        repeats: dict[Client, int],
    ) -> None:
        """Add the replies, and how many datagrams came of each NAS and how many of them were seen before."""
        clients, duplicates, counts = self._clients, endpoint.duplicates, self._counts
        find_client, find_duplicate = clients.find, duplicates.find
        ipv4 = endpoint.socket.ipv4
        answer = self._answers[endpoint.port]
        for octets, peer in datagrams:
            client = find_client(peer[4:8] if ipv4 else peer[8:24])
            if client is None:
                self._stranger(octets, peer, at)
                continue
            tally[client] = tally.get(client, 0) + 1
            key = peer + octets[1:2]
            authenticator = octets[4:20]
            reply = find_duplicate(key, authenticator)
            if reply is None:
                reply = self._answer(answer, endpoint, client, octets, peer, key, at)
                if reply is not None:
                    duplicates.keep(key, authenticator, reply)
                    replies.append((reply, peer))
                continue
            repeats[client] = repeats.get(client, 0) + 1
            if reply:
                counts.add(octets[0], client.label, "repeat", "duplicate")
                replies.append((reply, peer))
            else:
                counts.add(octets[0], client.label, "drop", Drop.IN_PROGRESS)

    def _answer(
        self,
        answer: Answer,
        endpoint: Endpoint,
        client: Client,
        octets: bytes,
        peer: bytes,
        key: bytes,
        at: float,
    ) -> bytes | None:
        """Return the reply to a request that is new; None when there is none, or none yet."""
        try:
            packet = decode(octets)
        except Malformed as reason:
            self._counts.add(octets[0] if octets else 0, client.label, "drop", reason.slug)
            return None
        try:
            reply = answer.answer(endpoint, client, packet, peer, key, at)
        except Exception:  # noqa: BLE001 - a fault of ours in one request must not cost the others
            self._counts.add(packet.code, client.label, "drop", Drop.INTERNAL_ERROR)
            self._on_fault(packet.code)
            return None
        if packet.code == _ACCOUNTING_REQUEST and packet.find_int(_STATUS_TYPE) in _OF_BOXES:
            self._note_reboot(endpoint, client, packet, key)
        return reply

    def _choose(self, endpoint: Endpoint, datagrams: list[Datagram], at: float) -> list[Datagram]:
        """Return the batch to answer now, when more than that waits.

        With one NAS about it is the batch that came. With several, more is read, so that those behind a flood
        are seen, and each NAS gets its share; what is beyond the share and the room to wait is dropped.
        """
        queue = endpoint.queue
        if not len(queue) and not self._about.several:
            return datagrams
        find_client = self._clients.find
        ipv4 = endpoint.socket.ipv4
        for ahead in range(_READ_AHEAD):
            for datagram in datagrams:
                octets, peer = datagram
                client = find_client(peer[4:8] if ipv4 else peer[8:24])
                if client is None:
                    self._stranger(octets, peer, at)
                elif not queue.put(client, datagram):
                    code = octets[0] if octets else 0
                    self._counts.add(code, client.label, "drop", Drop.NAS_OVERLOAD)
            if len(datagrams) < BATCH or ahead == _READ_AHEAD - 1:
                break
            datagrams = endpoint.socket.receive()
        return queue.take(BATCH)

    def _note_reboot(self, endpoint: Endpoint, client: Client, packet: Packet, key: bytes) -> None:
        """Tell the storm of an Accounting-On or -Off that was taken; one that is not authentic never is."""
        if endpoint.duplicates.find(key, packet.authenticator) is not None:
            self.storm.note_reboot(client.label, self._monotonic())

    def _note(
        self, endpoint: Endpoint, now: float, tally: dict[Client, int], repeats: dict[Client, int]
    ) -> None:
        """Remember who is about, and tell the storm how much came."""
        if not tally:
            return
        self._about.note(now, tally)
        login = endpoint.port is Port.AUTH
        for client, count in tally.items():
            self.storm.note(now, client.label, count, count if login else 0, repeats.get(client, 0))

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
