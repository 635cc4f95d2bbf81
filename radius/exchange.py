"""The client's side of RADIUS, sans IO: signed requests, checked replies, and when to send again.

Random octets and identifiers are arguments. RFC 2865, RFC 2866, RFC 3579 section 3.2, RFC 5176, RFC 5997;
the schedule is that of RFC 5080 section 2.2.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from radius.authenticator import (
    Key,
    message_is_authentic,
    response_is_authentic,
    sign_access,
    sign_request,
)
from radius.chap import chap_password
from radius.codes import Attr, Code, Vendor
from radius.errors import Malformed, NotAuthentic
from radius.hiding import hide_password
from radius.mschap import ResponseV1, challenge_response, nt_hash, respond_v2
from radius.packet import Packet, attribute, decode, header, vendor_attribute

_MS_CHAP_RESPONSE = 1
_MS_CHAP_CHALLENGE = 11
_MS_CHAP2_RESPONSE = 25
_MS_CHAP2_SUCCESS = 26
_REPLIES = {
    Code.ACCESS_REQUEST: {Code.ACCESS_ACCEPT, Code.ACCESS_REJECT, Code.ACCESS_CHALLENGE},
    Code.ACCOUNTING_REQUEST: {Code.ACCOUNTING_RESPONSE},
    # RFC 5997 section 4.2: Access-Accept from an authentication port, Accounting-Response from the other.
    Code.STATUS_SERVER: {Code.ACCESS_ACCEPT, Code.ACCOUNTING_RESPONSE},
    Code.DISCONNECT_REQUEST: {Code.DISCONNECT_ACK, Code.DISCONNECT_NAK},
    Code.COA_REQUEST: {Code.COA_ACK, Code.COA_NAK},
}


@dataclass(frozen=True, slots=True)
class Request:
    """One signed request, to be sent as often as needed without a change."""

    code: int
    identifier: int
    authenticator: bytes
    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to send again and when to give up (RFC 5080 section 2.2.1); 0 sets no limit."""

    first_s: float = 2.0  # IRT
    longest_s: float = 16.0  # MRT
    most_sends: int = 5  # MRC
    give_up_s: float = 30.0  # MRD

    def next_delay(
        self, sends: int, jitter: float, *, previous_s: float = 0.0, elapsed_s: float = 0.0
    ) -> float | None:
        """Return how many seconds to wait for a reply after the send number `sends`, or None to stop.

        `jitter` is random, evenly in -0.1 to 0.1; `previous_s` is what this gave before, `elapsed_s` the time
        since the first send. The wait never runs past `give_up_s`. The last send has its wait, too.
        """
        if self.most_sends and sends > self.most_sends:
            return None
        delay = self.first_s * (1 + jitter) if sends <= 1 else previous_s * (2 + jitter)
        if self.longest_s and delay > self.longest_s:
            delay = self.longest_s * (1 + jitter)
        if self.give_up_s:
            delay = min(delay, self.give_up_s - elapsed_s)
        return delay if delay > 0 else None


def access_request(
    identifier: int, authenticator: bytes, attributes: bytes, key: Key, *, message: bool = True
) -> Request:
    """Return an Access-Request; `authenticator` is 16 random octets, `attributes` come in wire form.

    With `message` a Message-Authenticator is the first attribute; without it only old servers are content.
    Raises Unencodable above 4096 octets.
    """
    code = Code.ACCESS_REQUEST
    if message:
        octets = sign_access(code, identifier, authenticator, attributes, key)
    else:
        octets = header(code, identifier, 20 + len(attributes), authenticator) + attributes
    return Request(code, identifier, authenticator, octets)


def status_server(identifier: int, authenticator: bytes, key: Key, attributes: bytes = b"") -> Request:
    """Return a Status-Server with its mandatory Message-Authenticator (RFC 5997 section 3)."""
    octets = sign_access(Code.STATUS_SERVER, identifier, authenticator, attributes, key)
    return Request(Code.STATUS_SERVER, identifier, authenticator, octets)


def accounting_request(identifier: int, attributes: bytes, key: Key, *, message: bool = False) -> Request:
    """Return an Accounting-Request; its authenticator covers the attributes (RFC 2866 section 3)."""
    return _signed(Code.ACCOUNTING_REQUEST, identifier, attributes, key, message=message)


def dynamic_request(
    code: int, identifier: int, attributes: bytes, key: Key, *, message: bool = False
) -> Request:
    """Return a Disconnect-Request (code 40) or CoA-Request (code 43), signed as RFC 5176 section 2.3 says."""
    return _signed(code, identifier, attributes, key, message=message)


def check_reply(request: Request, octets: bytes, key: Key, *, message: bool = False) -> Packet:
    """Return the reply in `octets` if it is one to `request` and authentic; `message` insists on its HMAC.

    Raises Malformed where it is no packet, has another identifier or a code that does not answer the
    request; NotAuthentic("bad-response-authenticator"), ("bad-message-authenticator") or
    ("no-message-authenticator") where it is forged or the secrets differ. Whoever waits for a reply drops
    such octets and goes on waiting.
    """
    reply = decode(octets)
    if reply.identifier != request.identifier:
        raise Malformed("other-identifier", f"{reply.identifier}, {request.identifier} expected")
    # RFC 7930 section 4 lets a Protocol-Error answer every request.
    if reply.code != Code.PROTOCOL_ERROR and reply.code not in _REPLIES[Code(request.code)]:
        raise Malformed("unexpected-code", f"code {reply.code} does not answer code {request.code}")
    if not response_is_authentic(reply, request.authenticator, key):
        raise NotAuthentic("bad-response-authenticator")
    if Attr.MESSAGE_AUTHENTICATOR in reply.spots:
        if not message_is_authentic(reply, key, request.authenticator):
            raise NotAuthentic("bad-message-authenticator")
    elif message:
        raise NotAuthentic("no-message-authenticator")
    return reply


def pap(password: bytes, authenticator: bytes, key: Key) -> bytes:
    """Return the User-Password attribute; `authenticator` is that of the Access-Request."""
    return attribute(Attr.USER_PASSWORD, hide_password(password, key.secret, authenticator))


def chap(identifier: int, password: bytes, challenge: bytes) -> bytes:
    """Return CHAP-Password and CHAP-Challenge for a random `challenge` (RFC 2865 sections 5.3 and 5.40)."""
    return attribute(Attr.CHAP_PASSWORD, chap_password(identifier, password, challenge)) + attribute(
        Attr.CHAP_CHALLENGE, challenge
    )


def mschap_v1(identifier: int, password: str, challenge: bytes) -> bytes:
    """Return MS-CHAP-Challenge and MS-CHAP-Response for 8 random octets (RFC 2548 section 2.1)."""
    response = ResponseV1(identifier, True, challenge_response(challenge, nt_hash(password)))
    return _microsoft(_MS_CHAP_CHALLENGE, challenge) + _microsoft(_MS_CHAP_RESPONSE, response.encode())


def mschap_v2(
    identifier: int, username: bytes, password: str, challenge: bytes, peer_challenge: bytes
) -> tuple[bytes, bytes]:
    """Return MS-CHAP-Challenge and MS-CHAP2-Response, and the value that MS-CHAP2-Success must have.

    Both challenges are 16 random octets (RFC 2548 section 2.3).
    """
    response, proof = respond_v2(identifier, username, challenge, peer_challenge, nt_hash(password))
    attributes = _microsoft(_MS_CHAP_CHALLENGE, challenge) + _microsoft(_MS_CHAP2_RESPONSE, response.encode())
    return attributes, bytes((identifier,)) + proof


def mschap_v2_success(reply: Packet) -> bytes | None:
    """Return the value of MS-CHAP2-Success; it may go on after the 43 octets of the proof with ` M=...`."""
    return reply.find_vendor(Vendor.MICROSOFT, _MS_CHAP2_SUCCESS)


def _signed(code: int, identifier: int, attributes: bytes, key: Key, *, message: bool) -> Request:
    octets = sign_request(code, identifier, attributes, key, message=message)
    return Request(code, identifier, octets[4:20], octets)


def _microsoft(kind: int, value: bytes) -> bytes:
    return vendor_attribute(Vendor.MICROSOFT, kind, value)
