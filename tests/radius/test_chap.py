"""CHAP with MD5."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius import chap
from radius.errors import Malformed


def test_the_response_is_md5_of_identifier_password_and_challenge() -> None:
    assert chap.chap_response(7, b"hello", b"challenge") == hashlib.md5(b"\x07hellochallenge").digest()


@given(st.integers(0, 255), st.binary(), st.binary(min_size=1))
def test_a_response_proves_its_password_and_no_other(
    identifier: int, password: bytes, challenge: bytes
) -> None:
    value = chap.chap_password(identifier, password, challenge)
    assert len(value) == 17
    assert chap.verify(value, password, challenge)
    assert not chap.verify(value, password + b"x", challenge)
    assert not chap.verify(value, password, challenge + b"x")


@pytest.mark.parametrize("size", [0, 1, 16, 18])
def test_another_size_is_malformed(size: int) -> None:
    with pytest.raises(Malformed) as caught:
        chap.verify(bytes(size), b"hello", b"challenge")
    assert caught.value.slug == "bad-chap-password"
