"""MS-CHAP by the vectors of RFC 1320, RFC 2433, RFC 2759 and RFC 3079."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius import mschap
from radius.des import encrypt, with_parity
from radius.errors import Malformed
from radius.md4 import md4
from radius.mschap import ErrorCode, ResponseV1, ResponseV2

HASH = bytes.fromhex("44EBBA8D5312B8D611474411F56989AE")
CHALLENGE = bytes.fromhex("5B5D7C7D7B3F2F3E3C2C602132262628")
PEER_CHALLENGE = bytes.fromhex("21402324255E262A28295F2B3A337C7E")
NT_RESPONSE = bytes.fromhex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF")
PROOF = b"S=407A5589115FD0D6209F510FE9C04566932CDA56"


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"a", "bde52cb31de33e46245e05fbdbd6fb24"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"message digest", "d9130a8164549fe818874806e1c7014b"),
        (b"abcdefghijklmnopqrstuvwxyz", "d79e1c308aa5bbcdeea8ed63df412da9"),
        (
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            "043f8582f241db351ce627e153e7f0e4",
        ),
        (b"1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_md4_gives_the_digests_of_rfc_1320(message: bytes, digest: str) -> None:
    assert md4(message).hex() == digest


@pytest.mark.parametrize("size", [55, 56, 63, 64, 65, 119, 120])
def test_md4_pads_to_whole_blocks(size: int) -> None:
    assert len(md4(b"x" * size)) == 16


def test_the_des_keys_of_rfc_2759_9_3_get_odd_parity() -> None:
    assert with_parity(bytes.fromhex("FC156AF7EDCD6C")).hex() == "fd0b5b5e7f6e34d9"
    assert with_parity(bytes.fromhex("0EDDE3337D427F")).hex() == "0e6e796737ea08fe"


@given(st.binary(min_size=7, max_size=7))
def test_every_octet_of_a_des_key_has_odd_parity(key: bytes) -> None:
    assert all(octet.bit_count() % 2 for octet in with_parity(key))


def test_des_encrypts_the_lan_manager_constant() -> None:
    """The LM hash of an empty password, which everybody knows by sight."""
    assert encrypt(bytes(7), b"KGS!@#$%").hex() == "aad3b435b51404ee"


def test_version_1_gives_the_response_of_rfc_2433_b() -> None:
    password_hash = mschap.nt_hash("MyPw")
    assert password_hash.hex() == "fc156af7edcd6c0edde3337d427f4eac"
    response = mschap.challenge_response(bytes.fromhex("102DB5DF085D3041"), password_hash)
    assert response.hex() == "4e9d3c8f9cfd385d5bf4d3246791956ca4c351ab409a3d61"


def test_version_2_gives_every_step_of_rfc_2759_9_2() -> None:
    assert mschap.nt_hash("clientPass") == HASH
    assert md4(HASH).hex().upper() == "41C00C584BD2D91C4017A2A12FA59F3F"
    hashed = mschap.challenge_hash(b"User", CHALLENGE, PEER_CHALLENGE)
    assert hashed.hex().upper() == "D02E4386BCE91226"
    assert mschap.challenge_response(hashed, HASH) == NT_RESPONSE
    assert mschap.verify_v2(b"User", CHALLENGE, PEER_CHALLENGE, NT_RESPONSE, HASH) == PROOF


def test_the_domain_before_the_user_name_takes_no_part() -> None:
    assert mschap.verify_v2(b"ISP\\User", CHALLENGE, PEER_CHALLENGE, NT_RESPONSE, HASH) == PROOF
    assert mschap.verify_v2(b"User@ISP", CHALLENGE, PEER_CHALLENGE, NT_RESPONSE, HASH) is None


def test_any_wrong_part_proves_nothing_in_version_2() -> None:
    other = bytes(16)
    assert mschap.verify_v2(b"user", CHALLENGE, PEER_CHALLENGE, NT_RESPONSE, HASH) is None
    assert mschap.verify_v2(b"User", other, PEER_CHALLENGE, NT_RESPONSE, HASH) is None
    assert mschap.verify_v2(b"User", CHALLENGE, other, NT_RESPONSE, HASH) is None
    assert mschap.verify_v2(b"User", CHALLENGE, PEER_CHALLENGE, NT_RESPONSE[:-1] + b"\0", HASH) is None
    assert mschap.verify_v2(b"User", CHALLENGE, PEER_CHALLENGE, NT_RESPONSE, other) is None


def test_the_128_bit_keys_are_those_of_rfc_3079_3_5_3() -> None:
    send, receive = mschap.mppe_keys_v2(NT_RESPONSE, HASH)
    assert send.hex().upper() == "8B7CDC149B993A1BA118CB153F56DCCB"
    assert receive.hex().upper() == "D5F0E9521E3EA9589645E86051C82226"


def test_the_keys_of_version_1_start_from_the_hash_of_the_hash() -> None:
    assert mschap.mppe_keys_v1(HASH).hex().upper() == "0" * 16 + "41C00C584BD2D91C4017A2A12FA59F3F"


@given(
    st.integers(0, 255),
    st.text(max_size=40),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
)
def test_what_a_peer_sends_is_verified_after_the_wire(
    identifier: int, password: str, challenge: bytes, peer_challenge: bytes
) -> None:
    password_hash = mschap.nt_hash(password)
    sent, proof = mschap.respond_v2(identifier, b"bob", challenge, peer_challenge, password_hash)
    got = ResponseV2.decode(sent.encode())
    assert got == sent
    assert mschap.verify_v2(b"bob", challenge, got.peer_challenge, got.nt_response, password_hash) == proof


def test_version_1_proves_with_the_nt_half() -> None:
    challenge, password_hash = bytes(range(8)), mschap.nt_hash("hello")
    sent = ResponseV1(9, True, mschap.challenge_response(challenge, password_hash))
    got = ResponseV1.decode(sent.encode())
    assert got == sent
    assert mschap.verify_v1(challenge, got, password_hash)
    assert not mschap.verify_v1(challenge, got, mschap.nt_hash("hullo"))
    assert not mschap.verify_v1(bytes(8), got, password_hash)


def test_a_response_with_the_lan_manager_half_only_is_refused() -> None:
    challenge, password_hash = bytes(range(8)), mschap.nt_hash("hello")
    only_lm = ResponseV1(9, False, mschap.challenge_response(challenge, password_hash))
    assert not mschap.verify_v1(challenge, ResponseV1.decode(only_lm.encode()), password_hash)


@pytest.mark.parametrize("size", [0, 25, 49, 51])
def test_a_response_of_another_size_is_malformed(size: int) -> None:
    with pytest.raises(Malformed, match="bad-mschap-response"):
        ResponseV1.decode(bytes(size))
    with pytest.raises(Malformed, match="bad-mschap2-response"):
        ResponseV2.decode(bytes(size))


def test_a_challenge_of_another_size_is_malformed() -> None:
    with pytest.raises(Malformed, match="bad-mschap-challenge"):
        mschap.verify_v1(bytes(16), ResponseV1(0, True, bytes(24)), HASH)
    with pytest.raises(Malformed, match="bad-mschap-challenge"):
        mschap.verify_v2(b"User", bytes(8), PEER_CHALLENGE, NT_RESPONSE, HASH)


def test_failures_read_as_rfc_2759_prints_them() -> None:
    text = mschap.error(ErrorCode.AUTHENTICATION_FAILURE, CHALLENGE, message="wrong password")
    assert text == b"E=691 R=0 C=5B5D7C7D7B3F2F3E3C2C602132262628 V=3 M=wrong password"
    assert mschap.error(648, retry=True, version=2) == b"E=648 R=1 V=2"


def test_success_is_43_octets() -> None:
    assert mschap.success(5, PROOF) == b"\x05" + PROOF
    assert len(mschap.success(5, PROOF)) == 43


def test_a_password_outside_the_basic_plane_has_an_nt_hash() -> None:
    assert mschap.nt_hash("пароль\U0001f511") == md4("пароль\U0001f511".encode("utf-16-le"))


def test_responses_are_not_shown() -> None:
    assert NT_RESPONSE.hex() not in repr(ResponseV2(1, PEER_CHALLENGE, NT_RESPONSE))
    assert repr(NT_RESPONSE)[2:-1] not in repr(ResponseV2(1, PEER_CHALLENGE, NT_RESPONSE))
