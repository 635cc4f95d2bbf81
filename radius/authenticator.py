"""Request, Response and Message-Authenticator: sign and verify, on octets as they are on the wire.

RFC 2865 section 3, RFC 2866 section 3, RFC 3579 section 3.2, RFC 5176 section 2.3, RFC 5997. Nothing is
encoded again to be verified, and every comparison takes constant time.
"""

from __future__ import annotations

from hmac import compare_digest

from radius.codes import Attr
from radius.digest import HmacMd5, md5
from radius.errors import Unencodable
from radius.packet import HEADER, LONGEST, Packet

ZERO16 = bytes(16)
_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)
_MA_HEAD = bytes((_MESSAGE_AUTHENTICATOR, 18))
_MA_BLANK = _MA_HEAD + ZERO16
_MA_SIZE = len(_MA_BLANK)


class Key:
    """A shared secret made ready for use; its text form does not show it."""

    __slots__ = ("hmac", "secret")

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.hmac = HmacMd5(secret)

    def __repr__(self) -> str:
        return "Key(<hidden>)"


def request_is_authentic(packet: Packet, key: Key) -> bool:
    """Verify the Request Authenticator of an Accounting-, CoA- or Disconnect-Request (RFC 2866 section 3)."""
    octets = packet.octets
    expected = md5(octets[:4] + ZERO16 + octets[HEADER:] + key.secret).digest()
    return compare_digest(expected, packet.authenticator)


def message_is_authentic(packet: Packet, key: Key, authenticator: bytes) -> bool:
    """Verify the Message-Authenticator of a packet that has one (RFC 3579 section 3.2).

    `authenticator` is what the sender hashed in the header's place: the packet's own for an Access-Request
    or Status-Server, 16 zeros for other requests, the request's for a reply. A Message-Authenticator of a
    length other than 18 is not authentic; of two, the last one covers the first.
    """
    octets = packet.octets
    spot = packet.spots[_MESSAGE_AUTHENTICATOR]
    if octets[spot + 1] != _MA_SIZE:
        return False
    value = spot + 2
    expected = key.hmac.digest(
        octets[:4] + authenticator + octets[HEADER:value] + ZERO16 + octets[value + 16 :]
    )
    return compare_digest(expected, octets[value : value + 16])


def sign_reply(code: int, identifier: int, authenticator: bytes, attributes: bytes, key: Key) -> bytes:
    """Return a reply with its Message-Authenticator first (CVE-2024-3596) and its Response Authenticator.

    `authenticator` is the request's. Raises Unencodable where the packet would be above 4096 octets.
    """
    length = HEADER + _MA_SIZE + len(attributes)
    if length > LONGEST:
        raise Unencodable("packet", f"{length} octets, at most {LONGEST} fit")
    start = bytes((code, identifier, length >> 8, length & 0xFF))
    head = start + authenticator
    body = _MA_HEAD + key.hmac.digest(head + _MA_BLANK + attributes) + attributes
    return start + md5(head + body + key.secret).digest() + body


def sign_plain_reply(code: int, identifier: int, authenticator: bytes, attributes: bytes, key: Key) -> bytes:
    """Return a reply without Message-Authenticator, as Accounting-Response is (RFC 2866 section 4.2)."""
    length = HEADER + len(attributes)
    if length > LONGEST:
        raise Unencodable("packet", f"{length} octets, at most {LONGEST} fit")
    start = bytes((code, identifier, length >> 8, length & 0xFF))
    return start + md5(start + authenticator + attributes + key.secret).digest() + attributes


def response_is_authentic(reply: Packet, request_authenticator: bytes, key: Key) -> bool:
    """Verify the Response Authenticator of a reply to a request of ours (RFC 2865 section 3)."""
    octets = reply.octets
    expected = md5(octets[:4] + request_authenticator + octets[HEADER:] + key.secret).digest()
    return compare_digest(expected, reply.authenticator)


def sign_request(code: int, identifier: int, attributes: bytes, key: Key, *, message: bool = False) -> bytes:
    """Return an Accounting-, CoA- or Disconnect-Request with its Request Authenticator.

    With `message` a Message-Authenticator comes first, computed over a zero authenticator (RFC 5176 section 3.3).
    """
    if message:
        length = HEADER + _MA_SIZE + len(attributes)
        start = bytes((code, identifier, length >> 8, length & 0xFF))
        attributes = _MA_HEAD + key.hmac.digest(start + ZERO16 + _MA_BLANK + attributes) + attributes
    length = HEADER + len(attributes)
    if length > LONGEST:
        raise Unencodable("packet", f"{length} octets, at most {LONGEST} fit")
    start = bytes((code, identifier, length >> 8, length & 0xFF))
    return start + md5(start + ZERO16 + attributes + key.secret).digest() + attributes


def sign_access(code: int, identifier: int, authenticator: bytes, attributes: bytes, key: Key) -> bytes:
    """Return an Access-Request or Status-Server with Message-Authenticator first (RFC 3579, RFC 5997)."""
    length = HEADER + _MA_SIZE + len(attributes)
    if length > LONGEST:
        raise Unencodable("packet", f"{length} octets, at most {LONGEST} fit")
    head = bytes((code, identifier, length >> 8, length & 0xFF)) + authenticator
    return head + _MA_HEAD + key.hmac.digest(head + _MA_BLANK + attributes) + attributes
