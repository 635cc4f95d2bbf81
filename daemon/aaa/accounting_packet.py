"""An Accounting-Request as it is kept, and what answers it."""

from __future__ import annotations

from daemon.aaa import authentic
from radius.authenticator import Key, sign_plain_reply
from radius.codes import Attr, Code
from radius.packet import HEADER, Packet

_ACCOUNTING_RESPONSE = int(Code.ACCOUNTING_RESPONSE)
_PROXY_STATE = int(Attr.PROXY_STATE)
NEVER_KEPT = (int(Attr.USER_PASSWORD), int(Attr.CHAP_PASSWORD))


def reply_to(packet: Packet, signer: Key) -> bytes:
    """Return the Accounting-Response. It has no Message-Authenticator: peers disagree on how it would be computed."""
    attributes = b""
    if _PROXY_STATE in packet.spots:
        attributes = authentic.proxy_states(packet)
    return sign_plain_reply(_ACCOUNTING_RESPONSE, packet.identifier, packet.authenticator, attributes, signer)


def without_passwords(packet: Packet) -> bytes:
    """Return the packet without password attributes, which RFC 2866 section 4.1 forbids in accounting."""
    kept = b"".join(
        bytes((kind, len(value) + 2)) + value for kind, value in packet.attributes() if kind not in NEVER_KEPT
    )
    length = HEADER + len(kept)
    return packet.octets[:2] + length.to_bytes(2, "big") + packet.authenticator + kept
