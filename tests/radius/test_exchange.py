"""The client's side: what is sent, which replies count, when to send again."""

from __future__ import annotations

import hashlib
import hmac
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius import capture, exchange, mschap
from radius.authenticator import (
    ZERO16,
    Key,
    message_is_authentic,
    request_is_authentic,
    sign_plain_reply,
    sign_reply,
)
from radius.codes import Attr, Code, Vendor
from radius.errors import Malformed, NotAuthentic, Unencodable
from radius.exchange import Request, Schedule, check_reply
from radius.hiding import reveal_password
from radius.mschap import ResponseV1, ResponseV2
from radius.packet import attribute, decode

KEY = Key(b"testing123")
AUTHENTICATOR = bytes(range(16))
USER = attribute(Attr.USER_NAME, b"bob")


def _access() -> Request:
    return exchange.access_request(7, AUTHENTICATOR, USER, KEY)


def test_a_message_authenticator_is_first_in_an_access_request() -> None:
    request = _access()
    packet = decode(request.octets)
    assert [kind for kind, _ in packet.attributes()] == [Attr.MESSAGE_AUTHENTICATOR, Attr.USER_NAME]
    blank = request.octets[:22] + bytes(16) + request.octets[38:]
    assert packet.find(Attr.MESSAGE_AUTHENTICATOR) == hmac.digest(b"testing123", blank, "md5")


def test_an_access_request_for_an_old_server_has_none() -> None:
    request = exchange.access_request(7, AUTHENTICATOR, USER, KEY, message=False)
    assert request.octets == bytes((1, 7, 0, 25)) + AUTHENTICATOR + USER


@pytest.mark.parametrize("message", [False, True])
def test_an_accounting_request_is_authentic(*, message: bool) -> None:
    request = exchange.accounting_request(9, USER, KEY, message=message)
    packet = decode(request.octets)
    blank = request.octets[:4] + bytes(16) + request.octets[20:]
    assert packet.code == Code.ACCOUNTING_REQUEST
    assert request.authenticator == hashlib.md5(blank + b"testing123").digest()
    assert request_is_authentic(packet, KEY)
    if message:
        assert message_is_authentic(packet, KEY, ZERO16)


@pytest.mark.parametrize("code", [Code.DISCONNECT_REQUEST, Code.COA_REQUEST])
def test_a_dynamic_request_is_signed_over_a_zero_authenticator(code: Code) -> None:
    request = exchange.dynamic_request(code, 3, USER, KEY, message=True)
    packet = decode(request.octets)
    blank = request.octets[:4] + bytes(18 - 2) + b"\x50\x12" + bytes(16) + USER
    assert packet.code == code
    assert packet.find(Attr.MESSAGE_AUTHENTICATOR) == hmac.digest(b"testing123", blank, "md5")
    assert request_is_authentic(packet, KEY)


def test_a_request_above_4096_octets_is_refused() -> None:
    long = attribute(Attr.REPLY_MESSAGE, b"x" * 253) * 16
    with pytest.raises(Unencodable, match="4096"):
        exchange.access_request(1, AUTHENTICATOR, long, KEY)
    with pytest.raises(Unencodable, match="4096"):
        exchange.access_request(1, AUTHENTICATOR, long + USER, KEY, message=False)
    with pytest.raises(Unencodable, match="4096"):
        exchange.accounting_request(1, long + USER, KEY)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (_access(), Code.ACCESS_ACCEPT),
        (_access(), Code.ACCESS_REJECT),
        (_access(), Code.ACCESS_CHALLENGE),
        (_access(), Code.PROTOCOL_ERROR),
        (exchange.accounting_request(1, USER, KEY), Code.ACCOUNTING_RESPONSE),
        (exchange.status_server(1, AUTHENTICATOR, KEY), Code.ACCESS_ACCEPT),
        (exchange.status_server(1, AUTHENTICATOR, KEY), Code.ACCOUNTING_RESPONSE),
        (exchange.dynamic_request(Code.COA_REQUEST, 1, USER, KEY), Code.COA_NAK),
        (exchange.dynamic_request(Code.DISCONNECT_REQUEST, 1, USER, KEY), Code.DISCONNECT_ACK),
    ],
)
def test_a_reply_that_is_signed_counts(request_: Request, code: Code) -> None:
    for sign in (sign_reply, sign_plain_reply):
        octets = sign(code, request_.identifier, request_.authenticator, USER, KEY)
        assert check_reply(request_, octets, KEY).find(Attr.USER_NAME) == b"bob"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (_access(), Code.ACCOUNTING_RESPONSE),
        (_access(), Code.ACCESS_REQUEST),
        (exchange.accounting_request(7, USER, KEY), Code.ACCESS_ACCEPT),
        (exchange.dynamic_request(Code.COA_REQUEST, 7, USER, KEY), Code.DISCONNECT_ACK),
        (_access(), 200),
    ],
)
def test_a_reply_of_a_code_that_answers_another_request_does_not_count(request_: Request, code: int) -> None:
    octets = sign_reply(code, request_.identifier, request_.authenticator, b"", KEY)
    with pytest.raises(Malformed, match="unexpected-code"):
        check_reply(request_, octets, KEY)


def test_a_reply_under_another_secret_is_not_authentic() -> None:
    octets = sign_reply(2, 7, AUTHENTICATOR, b"", Key(b"other"))
    with pytest.raises(NotAuthentic, match="bad-response-authenticator"):
        check_reply(_access(), octets, KEY)


def test_a_reply_to_another_request_is_not_authentic() -> None:
    octets = sign_reply(2, 7, bytes(16), b"", KEY)
    with pytest.raises(NotAuthentic, match="bad-response-authenticator"):
        check_reply(_access(), octets, KEY)


def test_a_false_message_authenticator_under_a_true_response_authenticator_is_noticed() -> None:
    octets = sign_plain_reply(2, 7, AUTHENTICATOR, attribute(Attr.MESSAGE_AUTHENTICATOR, bytes(16)), KEY)
    with pytest.raises(NotAuthentic, match="bad-message-authenticator"):
        check_reply(_access(), octets, KEY)


def test_a_caller_may_insist_on_a_message_authenticator() -> None:
    octets = sign_plain_reply(2, 7, AUTHENTICATOR, USER, KEY)
    with pytest.raises(NotAuthentic, match="no-message-authenticator"):
        check_reply(_access(), octets, KEY, message=True)
    signed = sign_reply(2, 7, AUTHENTICATOR, USER, KEY)
    assert check_reply(_access(), signed, KEY, message=True).code == Code.ACCESS_ACCEPT


@given(st.binary(max_size=80))
def test_noise_is_never_a_reply(octets: bytes) -> None:
    with pytest.raises((Malformed, NotAuthentic)):
        check_reply(_access(), octets, KEY)


@given(st.data())
def test_a_reply_with_one_octet_changed_never_counts(data: st.DataObject) -> None:
    octets = bytearray(sign_reply(2, 7, AUTHENTICATOR, USER, KEY))
    spot = data.draw(st.integers(0, len(octets) - 1))
    octets[spot] ^= data.draw(st.integers(1, 255))
    with pytest.raises((Malformed, NotAuthentic)):
        check_reply(_access(), bytes(octets), KEY)


def test_pap_and_chap_attributes_carry_their_password() -> None:
    hidden = exchange.pap(b"hello", AUTHENTICATOR, KEY)
    assert hidden[:2] == bytes((Attr.USER_PASSWORD, 18))
    assert reveal_password(hidden[2:], KEY.secret, AUTHENTICATOR) == b"hello"
    attributes = exchange.chap(5, b"hello", b"challenge")
    packet = decode(bytes((1, 1, 0, 20 + len(attributes))) + bytes(16) + attributes)
    assert packet.find(Attr.CHAP_CHALLENGE) == b"challenge"
    assert packet.find(Attr.CHAP_PASSWORD) == b"\x05" + hashlib.md5(b"\x05hellochallenge").digest()


def test_mschap_attributes_carry_their_responses() -> None:
    challenge = bytes(range(8))
    attributes = exchange.mschap_v1(5, "hello", challenge)
    packet = decode(bytes((1, 1, 0, 20 + len(attributes))) + bytes(16) + attributes)
    assert packet.find_vendor(Vendor.MICROSOFT, 11) == challenge
    response = ResponseV1.decode(packet.find_vendor(Vendor.MICROSOFT, 1) or b"")
    assert response.identifier == 5
    assert mschap.verify_v1(challenge, response, mschap.nt_hash("hello"))


def test_mschap_version_2_says_how_the_server_must_prove_itself() -> None:
    challenge, peer_challenge = bytes(range(16)), bytes(range(16, 32))
    attributes, success = exchange.mschap_v2(5, b"bob", "hello", challenge, peer_challenge)
    packet = decode(bytes((1, 1, 0, 20 + len(attributes))) + bytes(16) + attributes)
    response = ResponseV2.decode(packet.find_vendor(Vendor.MICROSOFT, 25) or b"")
    proof = mschap.verify_v2(
        b"bob", challenge, response.peer_challenge, response.nt_response, mschap.nt_hash("hello")
    )
    assert proof is not None
    assert mschap.success(5, proof) == success


def test_waits_double_up_to_the_longest_until_the_last_send() -> None:
    schedule = Schedule(first_s=2, longest_s=16, most_sends=6, give_up_s=0)
    waits: list[float] = []
    for send in range(1, 8):
        wait = schedule.next_delay(send, 0.0, previous_s=waits[-1] if waits else 0.0)
        if wait is None:
            break
        waits.append(wait)
    assert waits == [2, 4, 8, 16, 16, 16]


def test_the_last_wait_ends_when_it_is_time_to_give_up() -> None:
    schedule = Schedule(first_s=2, longest_s=16, most_sends=0, give_up_s=30)
    assert schedule.next_delay(4, 0.0, previous_s=8, elapsed_s=14) == 16
    assert schedule.next_delay(5, 0.0, previous_s=16, elapsed_s=25) == 5
    assert schedule.next_delay(6, 0.0, previous_s=16, elapsed_s=30) is None


@given(st.floats(-0.1, 0.1), st.integers(1, 30))
def test_jitter_moves_a_wait_by_a_tenth_at_most(jitter: float, send: int) -> None:
    schedule = Schedule(first_s=2, longest_s=16, most_sends=0, give_up_s=0)
    first = schedule.next_delay(1, jitter)
    assert first == pytest.approx(2 * (1 + jitter))
    later = schedule.next_delay(send + 1, jitter, previous_s=16)
    assert later is not None
    assert math.isclose(later, 16 * (1 + jitter))


def test_a_capture_gives_its_radius_packets_on_any_port(tmp_path: Path) -> None:
    pytest.importorskip("scapy", reason="the capture extra is not installed")
    from scapy.layers import inet, inet6, l2
    from scapy.utils import wrpcap, wrpcapng

    octets = _access().octets
    there, back = "00:00:5e:00:53:01", "00:00:5e:00:53:02"
    ether = l2.Ether(src=there, dst=back)
    frames = [
        ether / inet.IP(src="192.0.2.1", dst="192.0.2.2") / inet.UDP(sport=5000, dport=1812) / octets,
        ether / inet.IP(src="192.0.2.1", dst="192.0.2.2") / inet.UDP(sport=5000, dport=53) / b"not radius",
        ether / inet.IP(src="192.0.2.1", dst="192.0.2.2") / inet.TCP() / octets,
        ether
        / l2.Dot1Q(vlan=7)
        / inet6.IPv6(src="2001:db8::1", dst="2001:db8::2")
        / inet.UDP(sport=5000, dport=3799)
        / octets,
    ]
    for at, frame in enumerate(frames):
        frame.time = 1_700_000_000.5 + at
    expected = [
        capture.Captured(1_700_000_000.5, ("192.0.2.1", 5000), ("192.0.2.2", 1812), octets),
        capture.Captured(1_700_000_003.5, ("2001:db8::1", 5000), ("2001:db8::2", 3799), octets),
    ]
    wrpcap(str(tmp_path / "a.pcap"), frames)
    wrpcapng(str(tmp_path / "a.pcapng"), frames)
    assert list(capture.read(tmp_path / "a.pcap")) == expected
    assert list(capture.read(tmp_path / "a.pcapng")) == expected


def test_a_file_that_is_no_capture_is_named(tmp_path: Path) -> None:
    pytest.importorskip("scapy", reason="the capture extra is not installed")
    path = tmp_path / "notes.txt"
    path.write_text("this is no capture file, only some words")
    for wrong in (path, tmp_path / "missing"):
        with pytest.raises(capture.CaptureError, match=wrong.name) as caught:
            list(capture.read(wrong))
        assert caught.value.slug == "bad-capture"


def test_without_scapy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "scapy.error", None)
    with pytest.raises(capture.CaptureError, match=r"pip install dotmac-edge\[capture\]") as caught:
        list(capture.read(tmp_path / "a.pcap"))
    assert caught.value.slug == "no-scapy"
