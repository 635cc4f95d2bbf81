"""Is it really them? PAP, CHAP, MS-CHAP and the methods' own reply attributes.

The result is a value. A password that must be checked against a slow hash is handed back as `Slow`, to be
checked off the event loop.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from hmac import compare_digest

from daemon.aaa.reasons import Deny
from daemon.replica.records import Nas, Secret, SecretKind
from radius import chap, mschap, passwords
from radius.authenticator import Key
from radius.codes import Attr, Vendor
from radius.errors import RadiusError
from radius.hiding import hide_blocks, hide_salted, reveal_password
from radius.packet import Packet, attribute, vendor_attribute

_USER_NAME = int(Attr.USER_NAME)
_USER_PASSWORD = int(Attr.USER_PASSWORD)
_CHAP_PASSWORD = int(Attr.CHAP_PASSWORD)
_CHAP_CHALLENGE = int(Attr.CHAP_CHALLENGE)
_EAP_MESSAGE = int(Attr.EAP_MESSAGE)
_VENDOR_SPECIFIC = int(Attr.VENDOR_SPECIFIC)
_MICROSOFT = int(Vendor.MICROSOFT)
_MS_CHAP_RESPONSE = 1
_MS_CHAP_ERROR = 2
_MS_MPPE_ENCRYPTION_POLICY = 7
_MS_MPPE_ENCRYPTION_TYPES = 8
_MS_CHAP_CHALLENGE = 11
_MS_CHAP_MPPE_KEYS = 12
_MS_MPPE_SEND_KEY = 16
_MS_MPPE_RECV_KEY = 17
_MS_CHAP2_RESPONSE = 25
_MS_CHAP2_SUCCESS = 26


@dataclass(frozen=True, slots=True)
class Proof:
    """How it went: `reason` is None when proven; `attributes` are then the method's own part of the reply."""

    method: str
    reason: Deny | None = None
    attributes: bytes = b""
    signer: Key | None = None  # where it was not the key that the request was tried with first


@dataclass(frozen=True, slots=True)
class Slow:
    """A PAP password to be checked against a hash that takes milliseconds.

    `other_password` is what the password is if it was hidden with `other`, during a rotation of secrets.
    """

    secret: Secret
    password: bytes = field(repr=False)
    other_password: bytes | None = field(default=None, repr=False)
    other: Key | None = None

    def check(self) -> Proof:
        """Check it; blocks, so call it in a thread. A stored value that cannot be checked is a denial of its own."""
        try:
            if passwords.check_pap(self.secret.kind, self.secret.value, self.password):
                return _OK
            if self.other_password is not None and passwords.check_pap(
                self.secret.kind, self.secret.value, self.other_password
            ):
                return Proof("pap", signer=self.other)
        except RadiusError:  # of a form or cost that is refused, or no libcrypt on this system
            return _UNUSABLE
        return _WRONG


_OK = Proof("pap")
_WRONG = Proof("pap", Deny.WRONG_PASSWORD)
_UNUSABLE = Proof("pap", Deny.SECRET_UNUSABLE)
_CHAP_OK = Proof("chap")
_CHAP_WRONG = Proof("chap", Deny.WRONG_PASSWORD)
_LINE_OK = Proof("line")


def prove(packet: Packet, key: Key, secret: Secret | None) -> Proof | Slow:
    """Check the request's password or response against the subscriber's secret.

    Raises Malformed where a password attribute has a length that its RFC does not allow.
    """
    if secret is None:
        return Proof(method_of(packet), Deny.NO_SECRET)
    hidden = packet.find(_USER_PASSWORD)
    if hidden is not None:
        password = reveal_password(hidden, key.secret, packet.authenticator)
        if secret.kind is SecretKind.CLEARTEXT:
            return _OK if compare_digest(password, secret.value) else _WRONG
        check = Slow(secret, password)
        return check if passwords.slow(secret.kind, secret.value) else check.check()
    response = packet.find(_CHAP_PASSWORD)
    if response is not None:
        if secret.kind is not SecretKind.CLEARTEXT:
            return Proof("chap", Deny.SECRET_UNUSABLE)
        challenge = packet.find(_CHAP_CHALLENGE) or packet.authenticator
        return _CHAP_OK if chap.verify(response, secret.value, challenge) else _CHAP_WRONG
    if _VENDOR_SPECIFIC in packet.spots:
        proof = _prove_mschap(packet, key, secret)
        if proof is not None:
            return proof
    if _EAP_MESSAGE in packet.spots:
        return Proof("eap", Deny.METHOD_UNSUPPORTED)
    return Proof("none", Deny.NO_PASSWORD)


def method_of(packet: Packet) -> str:
    """Return the name of the method that a request uses, for people."""
    if _USER_PASSWORD in packet.spots:
        return "pap"
    if _CHAP_PASSWORD in packet.spots:
        return "chap"
    if _EAP_MESSAGE in packet.spots:
        return "eap"
    for vendor, kind, _ in packet.vendor_attributes():
        if vendor == _MICROSOFT and kind in (_MS_CHAP_RESPONSE, _MS_CHAP2_RESPONSE):
            return "mschap" if kind == _MS_CHAP_RESPONSE else "mschapv2"
    return "none"


def prove_line(packet: Packet, key: Key, nas: Nas) -> Proof:
    """Check what a NAS sends with a MAC or a line: its line password, else the user name again, or nothing.

    The NAS vouches for the line; the shared secret vouches for the NAS.
    """
    expected = [nas.line_password.value] if nas.line_password else [packet.find(_USER_NAME) or b"", b""]
    hidden = packet.find(_USER_PASSWORD)
    if hidden is not None:
        password = reveal_password(hidden, key.secret, packet.authenticator)
        known = any(compare_digest(password, each) for each in expected)
        return _LINE_OK if known else Proof("line", Deny.WRONG_PASSWORD)
    response = packet.find(_CHAP_PASSWORD)
    if response is not None:
        challenge = packet.find(_CHAP_CHALLENGE) or packet.authenticator
        known = any(chap.verify(response, each, challenge) for each in expected)
        return _LINE_OK if known else Proof("line", Deny.WRONG_PASSWORD)
    if nas.line_password is not None:
        return Proof("line", Deny.NO_PASSWORD)
    return _LINE_OK if method_of(packet) == "none" else Proof("line", Deny.METHOD_UNSUPPORTED)


def _prove_mschap(packet: Packet, key: Key, secret: Secret) -> Proof | None:
    """Return the outcome of MS-CHAP version 1 or 2, None when the request carries neither."""
    challenge = packet.find_vendor(_MICROSOFT, _MS_CHAP_CHALLENGE)
    if challenge is None:
        return None
    second = packet.find_vendor(_MICROSOFT, _MS_CHAP2_RESPONSE)
    first = packet.find_vendor(_MICROSOFT, _MS_CHAP_RESPONSE) if second is None else None
    method = "mschap" if second is None else "mschapv2"
    if second is None and first is None:
        return None
    nt_hash = _nt_hash(secret)
    if nt_hash is None:
        return Proof(method, Deny.SECRET_UNUSABLE)
    if second is not None:
        return _prove_mschap2(packet, key, nt_hash, challenge, second)
    assert first is not None
    return _prove_mschap1(packet, key, nt_hash, challenge, first)


def _prove_mschap1(packet: Packet, key: Key, nt_hash: bytes, challenge: bytes, value: bytes) -> Proof:
    response = mschap.ResponseV1.decode(value)
    if not mschap.verify_v1(challenge, response, nt_hash):
        return Proof("mschap", Deny.WRONG_PASSWORD)
    keys = hide_blocks(mschap.mppe_keys_v1(nt_hash), key.secret, packet.authenticator)
    return Proof("mschap", None, vendor_attribute(_MICROSOFT, _MS_CHAP_MPPE_KEYS, keys) + _MPPE_ALLOWED)


def _prove_mschap2(packet: Packet, key: Key, nt_hash: bytes, challenge: bytes, value: bytes) -> Proof:
    response = mschap.ResponseV2.decode(value)
    name = packet.find(_USER_NAME) or b""
    proof = mschap.verify_v2(name, challenge, response.peer_challenge, response.nt_response, nt_hash)
    if proof is None:
        return Proof("mschapv2", Deny.WRONG_PASSWORD)
    send, receive = mschap.mppe_keys_v2(response.nt_response, nt_hash)
    salt = int.from_bytes(os.urandom(2), "big") | 0x8000
    hidden = [
        hide_salted(each, key.secret, packet.authenticator, (salt ^ i).to_bytes(2, "big"))
        for i, each in enumerate((send, receive))
    ]
    return Proof(
        "mschapv2",
        None,
        vendor_attribute(_MICROSOFT, _MS_CHAP2_SUCCESS, mschap.success(response.identifier, proof))
        + vendor_attribute(_MICROSOFT, _MS_MPPE_SEND_KEY, hidden[0])
        + vendor_attribute(_MICROSOFT, _MS_MPPE_RECV_KEY, hidden[1])
        + _MPPE_ALLOWED,
    )


def _nt_hash(secret: Secret) -> bytes | None:
    if secret.kind is SecretKind.NT_HASH:
        return secret.value if len(secret.value) == 16 else bytes.fromhex(secret.value.decode())
    if secret.kind is SecretKind.CLEARTEXT:
        return mschap.nt_hash(secret.value.decode("utf-8", "surrogateescape"))
    return None


def failure(packet: Packet) -> bytes:
    """Return what the request's method demands in a reject, whatever its reason: E=691, EAP-Failure, or nothing."""
    if _EAP_MESSAGE in packet.spots:
        return _eap_failure(packet)
    if _VENDOR_SPECIFIC in packet.spots:
        for vendor, kind, value in packet.vendor_attributes():
            if vendor == _MICROSOFT and kind in (_MS_CHAP_RESPONSE, _MS_CHAP2_RESPONSE) and value:
                first = kind == _MS_CHAP_RESPONSE
                error = mschap.error(
                    mschap.ErrorCode.AUTHENTICATION_FAILURE,
                    b"" if first else os.urandom(16),
                    version=2 if first else 3,
                )
                return vendor_attribute(_MICROSOFT, _MS_CHAP_ERROR, value[:1] + error)
    return b""


def _eap_failure(packet: Packet) -> bytes:
    """Return the EAP-Failure that a reject of EAP must carry (RFC 3579 section 2.6.3)."""
    message = packet.all(_EAP_MESSAGE)[0]
    return attribute(_EAP_MESSAGE, bytes((4, message[1] if len(message) > 1 else 0, 0, 4)))


# Encryption allowed, with 40 or 128 bit keys (RFC 2548 sections 2.4.4 and 2.4.5)
_MPPE_ALLOWED = vendor_attribute(
    _MICROSOFT, _MS_MPPE_ENCRYPTION_POLICY, (1).to_bytes(4, "big")
) + vendor_attribute(_MICROSOFT, _MS_MPPE_ENCRYPTION_TYPES, (6).to_bytes(4, "big"))
