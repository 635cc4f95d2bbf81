"""Authenticators against the examples that RFC 5997 prints, and against tampering."""

from __future__ import annotations

import hmac

import pytest

from radius.authenticator import (
    ZERO16,
    Key,
    message_is_authentic,
    request_is_authentic,
    response_is_authentic,
    sign_access,
    sign_plain_reply,
    sign_reply,
    sign_request,
)
from radius.codes import Attr, Code
from radius.packet import attribute, decode

KEY = Key(b"xyzzy5461")
AUTH_STATUS = bytes.fromhex(
    "0cda00268a54f4686fb394c52866e302185d0623 5012 5a665e2e1e8411f3e243822097c84fa3".replace(" ", "")
)
ACCT_STATUS = bytes.fromhex(
    "0cb30026925f6b66dd5fed571fcb1db7ad388260 5012 e8d6eabda910875cd91fdade26367858".replace(" ", "")
)


@pytest.mark.parametrize("octets", [AUTH_STATUS, ACCT_STATUS])
def test_rfc_5997_status_servers_are_authentic(octets: bytes) -> None:
    packet = decode(octets)
    assert message_is_authentic(packet, KEY, packet.authenticator)
    assert not message_is_authentic(packet, Key(b"other"), packet.authenticator)


def test_rfc_5997_section_6_1_reply_is_made_to_the_octet() -> None:
    request = decode(AUTH_STATUS)
    reply = sign_plain_reply(Code.ACCESS_ACCEPT, request.identifier, request.authenticator, b"", KEY)
    assert reply == bytes.fromhex("02da0014ef0d552a4bf2d693ec2b6fe8b5411d66")


def test_a_status_server_is_signed_as_the_rfc_prints_it() -> None:
    request = decode(AUTH_STATUS)
    assert sign_access(12, 0xDA, request.authenticator, b"", KEY) == AUTH_STATUS


def test_replies_carry_a_message_authenticator_first_and_verify() -> None:
    request = bytes(range(16))
    reply = decode(sign_reply(2, 9, request, attribute(18, b"hello"), KEY))
    assert next(reply.attributes())[0] == Attr.MESSAGE_AUTHENTICATOR
    assert message_is_authentic(reply, KEY, request)
    assert response_is_authentic(reply, request, KEY)
    expected = hmac.digest(
        KEY.secret, reply.octets[:4] + request + b"\x50\x12" + ZERO16 + attribute(18, b"hello"), "md5"
    )
    assert reply.find(80) == expected


def test_requests_verify_and_one_flipped_bit_does_not() -> None:
    octets = sign_request(4, 3, attribute(40, b"\0\0\0\1") + attribute(1, b"bob"), KEY, message=True)
    packet = decode(octets)
    assert request_is_authentic(packet, KEY)
    assert message_is_authentic(packet, KEY, ZERO16)
    broken = decode(octets[:-1] + bytes((octets[-1] ^ 1,)))
    assert not request_is_authentic(broken, KEY)
    assert not message_is_authentic(broken, KEY, ZERO16)


def test_a_message_authenticator_of_another_length_is_not_authentic() -> None:
    octets = sign_request(4, 3, attribute(80, bytes(15)), KEY)
    assert not message_is_authentic(decode(octets), KEY, ZERO16)


def test_a_key_does_not_show_its_secret() -> None:
    assert "xyzzy" not in repr(KEY) + str(KEY)
