"""Is a packet from the NAS it claims, and by which of its keys? The rules of every port, as values.

A NAS has one shared secret, or two during a rotation; the key that verified the request signs the reply.
"""

from __future__ import annotations

from dataclasses import replace

from daemon.aaa import credentials
from daemon.aaa.credentials import Proof, Slow
from daemon.aaa.decision import Decision
from daemon.aaa.nas import Client
from daemon.aaa.reasons import Drop
from daemon.metrics import RequestCounts
from daemon.replica.records import Secret
from radius.authenticator import ZERO16, Key, message_is_authentic, request_is_authentic, sign_reply
from radius.codes import Attr, Code
from radius.errors import Unencodable
from radius.packet import Packet, attribute

_REJECT = int(Code.ACCESS_REJECT)
_STATUS_SERVER = int(Code.STATUS_SERVER)
_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)
_PROXY_STATE = int(Attr.PROXY_STATE)
_EAP_MESSAGE = int(Attr.EAP_MESSAGE)


def access_signer(client: Client, packet: Packet, peer: bytes) -> Key | Drop:
    """Return the key to sign the reply to an Access-Request with, or why it is dropped (RFC 3579 section 3.2).

    What is not signed is accepted where the NAS's entry allows it, and never with EAP; with Proxy-State only where
    the entry says so, too (CVE-2024-3596).
    """
    if _MESSAGE_AUTHENTICATOR in packet.spots:
        signer = _signer(client, packet, peer)
        if isinstance(signer, Key):
            client.signed += 1
        return signer
    if client.nas.require_message_authenticator:
        return Drop.NO_MESSAGE_AUTHENTICATOR
    if _EAP_MESSAGE in packet.spots:
        return Drop.EAP_UNSIGNED
    if _PROXY_STATE in packet.spots and client.nas.limit_proxy_state:
        return Drop.PROXY_STATE_UNSIGNED
    client.unsigned += 1
    return client.keys_for(peer)[0]


def accounting_signer(client: Client, packet: Packet, peer: bytes) -> Key | Drop:
    """Return the key that verifies an Accounting-Request, or why it is dropped (RFC 2866 section 3)."""
    for key in client.keys_for(peer):
        if request_is_authentic(packet, key):
            signed = _MESSAGE_AUTHENTICATOR in packet.spots
            if signed and not message_is_authentic(packet, key, ZERO16):
                return Drop.BAD_MESSAGE_AUTHENTICATOR
            client.prefer(peer, key)
            return key
    return Drop.BAD_REQUEST_AUTHENTICATOR


def status_signer(client: Client, packet: Packet, peer: bytes, misplaced: Code) -> Key | Drop:
    """Return the key to sign the reply to a Status-Server with, or why it is dropped (RFC 5997 section 3).

    For whatever comes to a port besides its own requests; `misplaced` is the code that belongs to the port beside it.
    """
    if packet.code != _STATUS_SERVER:
        return Drop.WRONG_PORT if packet.code == misplaced else Drop.UNKNOWN_CODE
    if _MESSAGE_AUTHENTICATOR not in packet.spots:
        return Drop.NO_MESSAGE_AUTHENTICATOR
    return _signer(client, packet, peer)


def prove(client: Client, packet: Packet, signer: Key, secret: Secret | None) -> Proof | Slow:
    """Check the request's password or response against `secret`; see `credentials.prove`.

    A NAS that does not sign may hide the password with the other of two valid secrets: then `signer` of the proof
    is that one. Raises Malformed where a password attribute has a length that its RFC does not allow.
    """
    proof = credentials.prove(packet, signer, secret)
    if len(client.keys) == 1 or _MESSAGE_AUTHENTICATOR in packet.spots:
        return proof
    other = next(key for key in client.keys if key is not signer)
    second = credentials.prove(packet, other, secret)
    if isinstance(proof, Slow) and isinstance(second, Slow):
        return Slow(proof.secret, proof.password, second.password, other)
    if isinstance(second, Proof) and second.reason is None and second.method == "pap":
        return replace(second, signer=other)
    return proof


def refuse(decision: Decision, attributes: bytes, delay_s: float, counts: RequestCounts) -> bytes | None:
    """Return the Access-Reject with `attributes`, or send it once `delay_s` have passed since the request came."""
    packet = decision.packet
    if _PROXY_STATE in packet.spots:
        attributes += proxy_states(packet)
    try:
        reply = sign_reply(_REJECT, packet.identifier, packet.authenticator, attributes, decision.signer)
    except Unencodable:  # the proxies' own state fills the packet
        counts.add(int(Code.ACCESS_REQUEST), decision.client.label, "drop", Drop.REPLY_TOO_LONG)
        return None
    delay_s -= decision.waited_s
    if delay_s <= 0:
        return reply
    waiting = decision.waiting()
    decision.endpoint.duplicates.keep(waiting.key, waiting.authenticator, b"")
    decision.endpoint.send_later(waiting, reply, delay_s)
    return None


def proxy_states(packet: Packet) -> bytes:
    """Return the Proxy-State attributes of a request, to be echoed in order (RFC 2865 section 5.33)."""
    return b"".join(attribute(_PROXY_STATE, value) for value in packet.all(_PROXY_STATE) if value)


def _signer(client: Client, packet: Packet, peer: bytes) -> Key | Drop:
    """Return the key of the Message-Authenticator of an Access-Request or Status-Server."""
    for key in client.keys_for(peer):
        if message_is_authentic(packet, key, packet.authenticator):
            client.prefer(peer, key)
            return key
    return Drop.BAD_MESSAGE_AUTHENTICATOR
