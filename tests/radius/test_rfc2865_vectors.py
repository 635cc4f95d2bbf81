"""The packets that RFC 2865 section 7 and RFC 5997 section 6 print, by bytes."""

from __future__ import annotations

import pytest

from radius import chap
from radius.authenticator import Key, message_is_authentic
from radius.codes import Attr, Code
from radius.errors import Malformed, NotAuthentic
from radius.exchange import Request, access_request, check_reply, pap, status_server
from radius.hiding import reveal_password
from radius.packet import attribute, decode

SECRET = b"xyzzy5461"
KEY = Key(SECRET)
NAS = bytes.fromhex("0406c0a80110")

NEMO = bytes.fromhex(
    "010000380f403f9473978057bd83d5cb98f4227a01066e656d6f02120dbe708d93d413ce3196e43f782a0aee0406c0a80110050600000003"
)
NEMO_ACCEPT = bytes.fromhex("0200002686fe220e7624ba2a1005f6bf9b55e0b20606000000010f06000000000e06c0a80103")
FLOPSY = bytes.fromhex(
    "010100472aee86f08d0d55969ca5978e0d3367a20108666c6f7073790313"
    "16e97557c316185895f293ff63440772750406c0a80110050600000014060600000002070600000001"
)
FLOPSY_ACCEPT = bytes.fromhex(
    "0201003815efbc7dab26cfa3dc34d9c03c8601a40606000000020706000000010806fffffffe0a06000000020d0600000001"
    "0c06000005dc"
)
MOPSY = bytes.fromhex(
    "01020039f3a47a1f6a6d76710b947ab93041a03901076d6f70737902123365757377"
    "8289b570885e15084825c50406c0a80110050600000007"
)
MOPSY_CHALLENGE = bytes.fromhex(
    "0b02004e36f3c8764ae8c71157403c0c71ff9c451230"
    + b"Challenge 32769430.  Enter response at prompt.".hex()
    + "180a3332373639343330"
)
MOPSY_AGAIN = bytes.fromhex(
    "01030043b122556d428a13d0d6253807c457ecf001076d6f7073790212692c1f205fc081b919b95195f561a581"
    "0406c0a80110050600000007180a3332373639343330"
)
MOPSY_REJECT = bytes.fromhex("03030014a42f4fca45916c4e09c8340f9e746aa0")
STATUS = bytes.fromhex("0cda00268a54f4686fb394c52866e302185d062350125a665e2e1e8411f3e243822097c84fa3")
STATUS_ACCEPT = bytes.fromhex("02da0014ef0d552a4bf2d693ec2b6fe8b5411d66")
STATUS_ACCT = bytes.fromhex("0cb30026925f6b66dd5fed571fcb1db7ad3882605012e8d6eabda910875cd91fdade26367858")
STATUS_VERBOSE = bytes.fromhex(
    "0c47002cbf58de56ae408ad3b70c8513f9b03fbe0406c00002105012852d6fec61e7ed74b8e32dac2f2a5fb2"
)
STATUS_VERBOSE_ACCEPT = bytes.fromhex(
    "0247003446f43e62fd0354424cbbebfd6d214e061220" + b"RADIUS Server up 2 days, 18:40".hex()
)


def _sent(octets: bytes) -> Request:
    return Request(octets[0], octets[1], octets[4:20], octets)


def test_builds_the_request_of_7_1_byte_for_byte() -> None:
    authenticator = NEMO[4:20]
    attributes = (
        attribute(Attr.USER_NAME, b"nemo")
        + pap(b"arctangent", authenticator, KEY)
        + NAS
        + attribute(Attr.NAS_PORT, bytes((0, 0, 0, 3)))
    )
    assert access_request(0, authenticator, attributes, KEY, message=False).octets == NEMO


def test_reveals_the_password_of_7_1() -> None:
    packet = decode(NEMO)
    assert (
        reveal_password(packet.find(Attr.USER_PASSWORD) or b"", SECRET, packet.authenticator) == b"arctangent"
    )


def test_accepts_the_reply_of_7_1() -> None:
    assert check_reply(_sent(NEMO), NEMO_ACCEPT, KEY).code == Code.ACCESS_ACCEPT


def test_verifies_the_chap_login_of_7_2_against_the_request_authenticator() -> None:
    packet = decode(FLOPSY)
    value = packet.find(Attr.CHAP_PASSWORD) or b""
    assert chap.verify(value, b"arctangent", packet.authenticator)
    assert not chap.verify(value, b"arctangenT", packet.authenticator)


def test_accepts_the_reply_of_7_2_with_the_printed_framed_routing() -> None:
    assert check_reply(_sent(FLOPSY), FLOPSY_ACCEPT, KEY).find_int(10) == 2


def test_the_prose_of_7_2_does_not_verify() -> None:
    """It says Framed-Routing None, which is 0; the authenticator was made with 2."""
    prose = FLOPSY_ACCEPT.replace(bytes.fromhex("0a0600000002"), bytes.fromhex("0a0600000000"))
    with pytest.raises(NotAuthentic, match="bad-response-authenticator"):
        check_reply(_sent(FLOPSY), prose, KEY)


def test_follows_the_challenge_of_7_3_to_its_reject() -> None:
    first, again = decode(MOPSY), decode(MOPSY_AGAIN)
    challenge = check_reply(_sent(MOPSY), MOPSY_CHALLENGE, KEY)
    assert reveal_password(first.find(Attr.USER_PASSWORD) or b"", SECRET, first.authenticator) == b"challenge"
    assert challenge.code == Code.ACCESS_CHALLENGE
    assert challenge.find(Attr.STATE) == again.find(Attr.STATE) == b"32769430"
    assert reveal_password(again.find(Attr.USER_PASSWORD) or b"", SECRET, again.authenticator) == b"99101462"
    assert check_reply(_sent(MOPSY_AGAIN), MOPSY_REJECT, KEY).code == Code.ACCESS_REJECT


def test_builds_the_status_server_packets_of_rfc_5997() -> None:
    for printed in (STATUS, STATUS_ACCT):
        assert status_server(printed[1], printed[4:20], KEY).octets == printed


def test_accepts_the_status_reply_of_an_authentication_port() -> None:
    assert check_reply(_sent(STATUS), STATUS_ACCEPT, KEY).code == Code.ACCESS_ACCEPT


def test_the_status_reply_of_an_accounting_port_verifies_with_code_5_only() -> None:
    """RFC 5997 section 6.2 prints code 2 by mistake."""
    printed = bytes.fromhex("02b300140f6f92145f107e2f504e860a4860669c")
    assert check_reply(_sent(STATUS_ACCT), b"\5" + printed[1:], KEY).code == Code.ACCOUNTING_RESPONSE
    with pytest.raises(NotAuthentic):
        check_reply(_sent(STATUS_ACCT), printed, KEY)


def test_verifies_the_verbose_status_server_of_6_3_whose_message_authenticator_is_not_first() -> None:
    packet = decode(STATUS_VERBOSE)
    assert message_is_authentic(packet, KEY, packet.authenticator)
    reply = check_reply(_sent(STATUS_VERBOSE), STATUS_VERBOSE_ACCEPT, KEY)
    assert reply.find_text(Attr.REPLY_MESSAGE) == "RADIUS Server up 2 days, 18:40"


def test_a_reply_under_another_identifier_is_not_taken() -> None:
    with pytest.raises(Malformed, match="other-identifier"):
        check_reply(_sent(STATUS), STATUS_VERBOSE_ACCEPT, KEY)
