"""A BNG in the manner of RouterOS on real sockets: logs subscribers in, keeps their sessions, obeys CoA, accounts."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any, NamedTuple

from radius.authenticator import Key
from radius.codes import AcctStatus, Attr, Code, TerminateCause, Vendor
from radius.exchange import Request, access_request, accounting_request, check_reply, pap
from radius.packet import Packet, attribute, vendor_attribute
from tests.twins.dae import Answer, DaeTwin, ack, nak

RATE_LIMIT, ADDRESS_LIST = 8, 19
_SESSION_CONTEXT_NOT_FOUND = 503
_REPLY_S = 5.0  # of real time


class Told(NamedTuple):
    """What a CoA- or Disconnect-Request has said to the BNG."""

    code: Code
    username: str
    rate: str | None = None
    address_list: str | None = None


@dataclass(eq=False)
class CpeTwin:
    """A subscriber's equipment on its line, and what the BNG has set for its session."""

    username: str
    password: str
    mac: str = "02-00-00-00-00-01"
    port: str = "vlan101"
    online: bool = False
    session_id: bytes = b""
    address: IPv4Address = field(default_factory=lambda: IPv4Address("100.64.0.1"))
    delegated: bytes | None = None  # as in Delegated-IPv6-Prefix
    stubborn: bool = False  # goes on with its own address, whatever the reply says
    class_octets: bytes | None = None
    rate: str = ""
    address_list: str = ""
    session_timeout_s: int | None = None
    started_at: float = 0.0
    upload_octets: int = 0
    download_octets: int = 0
    logins: int = 0


class BngTwin(DaeTwin):
    """The BNG at one loopback address. `answers` is what it does with a request once the script is through.

    `deaf` says yes to a CoA and does nothing; `tells` puts what is in force into accounting, too.
    """

    def __init__(self, host: str, wall: Callable[[], float], secret: bytes = b"testing123") -> None:
        super().__init__(secret=secret, otherwise=obey)
        self.host = host
        self.deaf = False
        self.tells = False
        self.cpes: list[CpeTwin] = []
        self.auth_port = self.acct_port = 0
        self.unanswered: dict[int, Request] = {}
        self.late: list[bytes] | None = None  # accounting that is held back, where it is
        self._wall = wall
        self._identifier = 0
        self._sessions = 0
        self._login_socket = self._bound()
        self._acct_socket = self._bound()

    def _bound(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.bind((self.host, 0))
        return sock

    async def begin(self) -> BngTwin:
        """Listen for CoA, and for answers to accounting."""
        await self.start(self.host)
        asyncio.get_running_loop().add_reader(self._acct_socket, self._acknowledged)
        return self

    async def end(self) -> None:
        """Let go of the sockets."""
        asyncio.get_running_loop().remove_reader(self._acct_socket)
        self._acct_socket.close()
        self._login_socket.close()
        await self.stop()

    def cpe(self, username: str, password: str, **fields: Any) -> CpeTwin:
        """Return new equipment at this BNG, offline."""
        cpe = CpeTwin(username, password, **fields)
        cpe.address += len(self.cpes)
        self.cpes.append(cpe)
        return cpe

    async def login(self, cpe: CpeTwin) -> Packet:
        """Let equipment log in; where it is let in its session begins, with a Start."""
        self._sessions += 1
        session_id = b"%08x" % self._sessions
        authenticator = os.urandom(16)
        attributes = attribute(Attr.USER_NAME, cpe.username.encode()) + self._place(cpe, session_id)
        attributes += attribute(Attr.FRAMED_PROTOCOL, (1).to_bytes(4, "big"))
        attributes += pap(cpe.password.encode(), authenticator, self.key)
        request = access_request(self._next_identifier(), authenticator, attributes, self.key)
        loop = asyncio.get_running_loop()
        await loop.sock_sendto(self._login_socket, request.octets, (self.host_of_edge, self.auth_port))
        async with asyncio.timeout(_REPLY_S):
            octets = await loop.sock_recv(self._login_socket, 4096)
        reply = check_reply(request, octets, self.key, message=True)
        if reply.code == Code.ACCESS_ACCEPT:
            self._open(cpe, session_id, reply)
        return reply

    host_of_edge = "127.0.0.1"

    def _open(self, cpe: CpeTwin, session_id: bytes, reply: Packet) -> None:
        cpe.online = True
        cpe.logins += 1
        cpe.session_id = session_id
        cpe.class_octets = reply.find(Attr.CLASS)
        cpe.delegated = reply.find(Attr.DELEGATED_IPV6_PREFIX)
        given = reply.find(Attr.FRAMED_IP_ADDRESS)
        if given is not None and not cpe.stubborn:
            cpe.address = IPv4Address(given)
        cpe.rate = _vendor_text(reply, RATE_LIMIT) or ""
        cpe.address_list = _vendor_text(reply, ADDRESS_LIST) or ""
        cpe.session_timeout_s = reply.find_int(Attr.SESSION_TIMEOUT)
        cpe.started_at = self._wall()
        cpe.upload_octets = cpe.download_octets = 0
        self._account(cpe, AcctStatus.START)

    def interim(self, cpe: CpeTwin, upload_octets: int = 0, download_octets: int = 0) -> None:
        """Report a session, after more traffic."""
        cpe.upload_octets += upload_octets
        cpe.download_octets += download_octets
        self._account(cpe, AcctStatus.INTERIM_UPDATE)

    def hang_up(self, cpe: CpeTwin, cause: TerminateCause = TerminateCause.USER_REQUEST) -> None:
        """End a session, with a Stop."""
        cpe.online = False
        self._account(
            cpe, AcctStatus.STOP, attribute(Attr.ACCT_TERMINATE_CAUSE, int(cause).to_bytes(4, "big"))
        )

    def reboot(self) -> None:
        """Forget every session, without a Stop, and say that accounting begins."""
        for cpe in self.cpes:
            cpe.online = False
        attributes = attribute(Attr.ACCT_STATUS_TYPE, int(AcctStatus.ACCOUNTING_ON).to_bytes(4, "big"))
        attributes += attribute(Attr.EVENT_TIMESTAMP, int(self._wall()).to_bytes(4, "big"))
        self._send(attributes)

    def _account(self, cpe: CpeTwin, status: AcctStatus, more: bytes = b"") -> None:
        def number(kind: Attr, value: int) -> bytes:
            return attribute(kind, value.to_bytes(4, "big"))

        at = self._wall()
        attributes = number(Attr.ACCT_STATUS_TYPE, int(status)) + attribute(
            Attr.USER_NAME, cpe.username.encode()
        )
        attributes += self._place(cpe, cpe.session_id) + number(Attr.EVENT_TIMESTAMP, int(at))
        attributes += attribute(Attr.FRAMED_IP_ADDRESS, cpe.address.packed)
        if cpe.delegated is not None:
            attributes += attribute(Attr.DELEGATED_IPV6_PREFIX, cpe.delegated)
        if cpe.class_octets is not None:
            attributes += attribute(Attr.CLASS, cpe.class_octets)
        if status is not AcctStatus.START:
            attributes += number(Attr.ACCT_SESSION_TIME, int(at - cpe.started_at))
            for low, high, octets in (
                (Attr.ACCT_INPUT_OCTETS, Attr.ACCT_INPUT_GIGAWORDS, cpe.upload_octets),
                (Attr.ACCT_OUTPUT_OCTETS, Attr.ACCT_OUTPUT_GIGAWORDS, cpe.download_octets),
            ):
                attributes += number(low, octets % (1 << 32)) + number(high, octets >> 32)
        if self.tells and cpe.rate:
            attributes += vendor_attribute(Vendor.MIKROTIK, RATE_LIMIT, cpe.rate.encode())
        self._send(attributes + more)

    def send_late(self) -> None:
        """Send the accounting that was held back, and all that follows at once."""
        held, self.late = self.late or [], None
        for attributes in held:
            self._send(attributes)

    def _send(self, attributes: bytes) -> None:
        if self.late is not None:
            self.late.append(attributes)
            return
        request = accounting_request(self._next_identifier(), attributes, self.key)
        self.unanswered[request.identifier] = request
        self._acct_socket.sendto(request.octets, (self.host_of_edge, self.acct_port))

    def _place(self, cpe: CpeTwin, session_id: bytes) -> bytes:
        return (
            attribute(Attr.CALLING_STATION_ID, cpe.mac.encode())
            + attribute(Attr.NAS_PORT_ID, cpe.port.encode())
            + attribute(Attr.ACCT_SESSION_ID, session_id)
        )

    def _next_identifier(self) -> int:
        self._identifier = (self._identifier + 1) % 256
        return self._identifier

    def _acknowledged(self) -> None:
        octets = self._acct_socket.recv(4096)
        request = self.unanswered.pop(octets[1], None)
        if request is not None:
            check_reply(request, octets, self.key)

    def find(self, request: Packet) -> CpeTwin | None:
        """Return whose session a request names: all that it says of it must be right."""
        named = (Attr.USER_NAME, Attr.ACCT_SESSION_ID, Attr.FRAMED_IP_ADDRESS)
        for cpe in self.cpes:
            has = dict(zip(named, (cpe.username.encode(), cpe.session_id, cpe.address.packed), strict=True))
            said = {kind: value for kind in named if (value := request.find(kind)) is not None}
            if cpe.online and said and all(has[kind] == value for kind, value in said.items()):
                return cpe
        return None

    def told(self) -> list[Told]:
        """Return what verified requests have said, in order, each sending of them once."""
        return [
            Told(
                Code(request.code),
                request.find_text(Attr.USER_NAME) or "",
                _vendor_text(request, RATE_LIMIT),
                _vendor_text(request, ADDRESS_LIST),
            )
            for request in self.requests
        ]

    def rekey(self, secret: bytes) -> None:
        """Use another secret from now on."""
        self.key = Key(secret)


def obey(twin: DaeTwin, request: Packet) -> list[bytes]:
    """Do what is asked, and say so; 503 for a session that is not here."""
    assert isinstance(twin, BngTwin)
    cpe = twin.find(request)
    if cpe is None:
        return nak(_SESSION_CONTEXT_NOT_FOUND)(twin, request)
    if request.code == Code.DISCONNECT_REQUEST:
        twin.hang_up(cpe, TerminateCause.ADMIN_RESET)
    elif not twin.deaf:
        cpe.rate = _vendor_text(request, RATE_LIMIT) or cpe.rate
        cpe.address_list = _vendor_text(request, ADDRESS_LIST) or cpe.address_list
    return ack(twin, request)


def lose(answer: Answer = obey) -> Answer:
    """Do something, but let the answer get lost."""

    def lost(twin: DaeTwin, request: Packet) -> list[bytes]:
        answer(twin, request)
        return []

    return lost


def _vendor_text(packet: Packet, kind: int) -> str | None:
    value = packet.find_vendor(Vendor.MIKROTIK, kind)
    return None if value is None else value.decode()
