"""User-Password, salted values and Ascend's block."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius.digest import HmacMd5, md5
from radius.errors import Malformed, Unencodable
from radius.hiding import (
    ascend_hide,
    ascend_reveal,
    hide_password,
    hide_salted,
    reveal_password,
    reveal_salted,
)

SECRET = b"xyzzy5461"
AUTHENTICATOR = bytes.fromhex("0f403f9473978057bd83d5cb98f4227a")
SALT = b"\x80\x01"
AUTHENTICATORS = st.binary(min_size=16, max_size=16)
SALTS = st.tuples(st.integers(0x80, 0xFF), st.integers(0, 0xFF)).map(bytes)


def test_reveals_the_rfc_2865_7_1_password() -> None:
    hidden = bytes.fromhex("0dbe708d93d413ce3196e43f782a0aee")
    assert reveal_password(hidden, SECRET, AUTHENTICATOR) == b"arctangent"
    assert hide_password(b"arctangent", SECRET, AUTHENTICATOR) == hidden


@given(
    password=st.binary(max_size=128).filter(lambda each: not each.endswith(b"\0")),
    secret=st.binary(max_size=100),
    authenticator=AUTHENTICATORS,
)
def test_a_password_comes_back(password: bytes, secret: bytes, authenticator: bytes) -> None:
    hidden = hide_password(password, secret, authenticator)
    assert len(hidden) % 16 == 0
    assert 16 <= len(hidden) <= 128
    assert reveal_password(hidden, secret, authenticator) == password


def test_each_block_hangs_on_the_hidden_block_before_it() -> None:
    """RFC 2865 section 5.2, step by step and octet by octet."""
    password = bytes(range(1, 41))
    expected, previous = b"", AUTHENTICATOR
    for start in (0, 16, 32):
        mask = hashlib.md5(SECRET + previous).digest()
        previous = bytes(
            left ^ right for left, right in zip(password[start:].ljust(16, b"\0"), mask, strict=False)
        )
        expected += previous
    assert hide_password(password, SECRET, AUTHENTICATOR) == expected


def test_an_empty_password_is_one_block() -> None:
    assert reveal_password(hide_password(b"", SECRET, AUTHENTICATOR), SECRET, AUTHENTICATOR) == b""


@pytest.mark.parametrize("size", [0, 1, 15, 17, 31, 129, 144])
def test_a_password_attribute_of_no_whole_blocks_is_malformed(size: int) -> None:
    with pytest.raises(Malformed) as caught:
        reveal_password(bytes(size), SECRET, AUTHENTICATOR)
    assert caught.value.slug == "bad-password-attribute"


def test_a_password_above_128_octets_cannot_be_sent() -> None:
    with pytest.raises(Unencodable, match="129 octets"):
        hide_password(b"x" * 129, SECRET, AUTHENTICATOR)


@given(plain=st.binary(max_size=239), secret=st.binary(), authenticator=AUTHENTICATORS, salt=SALTS)
def test_a_salted_value_comes_back(plain: bytes, secret: bytes, authenticator: bytes, salt: bytes) -> None:
    hidden = hide_salted(plain, secret, authenticator, salt)
    assert hidden[:2] == salt
    assert len(hidden) <= 242
    assert reveal_salted(hidden, secret, authenticator) == plain


def test_a_salted_value_starts_from_secret_authenticator_and_salt() -> None:
    """RFC 2868 section 3.5: b(1) = MD5(S + R + A), c(1) = p(1) xor b(1)."""
    mask = hashlib.md5(SECRET + AUTHENTICATOR + SALT).digest()
    plain = b"\x05hello".ljust(16, b"\0")
    expected = SALT + bytes(left ^ right for left, right in zip(plain, mask, strict=True))
    assert hide_salted(b"hello", SECRET, AUTHENTICATOR, SALT) == expected


@pytest.mark.parametrize("salt", [b"", b"\x80", b"\x7f\xff", b"\x80\x00\x00"])
def test_a_salt_without_its_high_bit_or_of_another_size_is_refused(salt: bytes) -> None:
    with pytest.raises(Unencodable, match="salt"):
        hide_salted(b"hello", SECRET, AUTHENTICATOR, salt)


def test_a_salted_value_above_239_octets_cannot_be_sent() -> None:
    with pytest.raises(Unencodable, match="240 octets"):
        hide_salted(b"x" * 240, SECRET, AUTHENTICATOR, SALT)


@pytest.mark.parametrize("size", [0, 1, 2, 16, 17, 19, 33])
def test_a_salted_value_of_no_whole_blocks_is_malformed(size: int) -> None:
    with pytest.raises(Malformed) as caught:
        reveal_salted(bytes(size), SECRET, AUTHENTICATOR)
    assert caught.value.slug == "bad-salted-attribute"


def test_a_length_octet_beyond_the_value_is_malformed() -> None:
    mask = hashlib.md5(SECRET + AUTHENTICATOR + SALT).digest()
    with pytest.raises(Malformed, match="length octet says 16"):
        reveal_salted(SALT + bytes((mask[0] ^ 16,)) + mask[1:], SECRET, AUTHENTICATOR)


@given(st.binary(max_size=16).filter(lambda each: not each.endswith(b"\0")), st.binary(), AUTHENTICATORS)
def test_an_ascend_secret_comes_back(value: bytes, secret: bytes, authenticator: bytes) -> None:
    hidden = ascend_hide(value, secret, authenticator)
    assert len(hidden) == 16
    assert ascend_reveal(hidden, secret, authenticator) == value


def test_an_ascend_secret_hashes_the_authenticator_before_the_secret() -> None:
    assert ascend_hide(b"", SECRET, AUTHENTICATOR) == hashlib.md5(AUTHENTICATOR + SECRET).digest()


def test_an_ascend_secret_is_one_block() -> None:
    with pytest.raises(Unencodable):
        ascend_hide(b"x" * 17, SECRET, AUTHENTICATOR)
    with pytest.raises(Malformed):
        ascend_reveal(bytes(17), SECRET, AUTHENTICATOR)


@given(st.binary(), st.binary())
def test_hmac_md5_is_that_of_the_standard_library(key: bytes, message: bytes) -> None:
    assert HmacMd5(key).digest(message) == hmac.digest(key, message, "md5")


@pytest.mark.parametrize("size", [0, 63, 64, 65, 200])
def test_hmac_md5_keys_around_the_block_size(size: int) -> None:
    hmac_md5 = HmacMd5(b"k" * size)
    for message in (b"", b"one", b"two" * 100):
        assert hmac_md5.digest(message) == hmac.digest(b"k" * size, message, "md5")


def test_md5_is_md5_and_a_key_is_not_shown() -> None:
    assert md5(b"abc").hexdigest() == "900150983cd24fb0d6963f7d28e17f72"
    assert "hunter2" not in repr(HmacMd5(b"hunter2"))
