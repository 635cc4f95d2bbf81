"""Sealing: only the right key and the right object open a secret; the key file is private and whole."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.store.seal import KeyUnusable, SealBroken, Sealer, context, load_or_create_key, parse_key

KEY = bytes(range(32))
BOUND = context("subscriber", "demo", "alice")


@given(st.binary(max_size=600), st.binary(max_size=100))
def test_opens_what_it_sealed(plain: bytes, bound: bytes) -> None:
    sealer = Sealer(KEY)
    assert sealer.open(sealer.seal(plain, bound), bound) == plain


def test_sealed_form_is_format_nonce_ciphertext_and_tag() -> None:
    assert len(Sealer(KEY).seal(b"wonderland", BOUND)) == 1 + 12 + len(b"wonderland") + 16


def test_same_secret_never_looks_the_same_twice() -> None:
    sealer = Sealer(KEY)
    assert len({sealer.seal(b"wonderland", BOUND) for _ in range(50)}) == 50


def test_another_object_cannot_open_it() -> None:
    sealer = Sealer(KEY)
    sealed = sealer.seal(b"wonderland", BOUND)
    with pytest.raises(SealBroken) as caught:
        sealer.open(sealed, context("subscriber", "demo", "bob"))
    assert caught.value.slug == "seal-broken"
    assert "subscriber/demo/bob" in str(caught.value)


def test_another_key_cannot_open_it() -> None:
    with pytest.raises(SealBroken):
        Sealer(bytes(32)).open(Sealer(KEY).seal(b"wonderland", BOUND), BOUND)


def test_every_changed_octet_is_noticed() -> None:
    sealer = Sealer(KEY)
    sealed = sealer.seal(b"wonderland", BOUND)
    for spot in range(len(sealed)):
        changed = bytearray(sealed)
        changed[spot] ^= 1
        with pytest.raises(SealBroken):
            sealer.open(bytes(changed), BOUND)


@pytest.mark.parametrize("length", [0, 1, 12, 28])
def test_cut_off_octets_are_broken_not_a_crash(length: int) -> None:
    sealer = Sealer(KEY)
    with pytest.raises(SealBroken):
        sealer.open(sealer.seal(b"wonderland", BOUND)[:length], BOUND)


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33])
def test_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(KeyUnusable):
        Sealer(bytes(length))


@pytest.mark.parametrize("form", [KEY, KEY.hex().encode() + b"\n", base64.b64encode(KEY) + b"\n"])
def test_key_may_be_raw_hex_or_base64(form: bytes) -> None:
    assert parse_key(form, "somewhere") == KEY


def test_unreadable_key_names_its_source_and_not_itself() -> None:
    with pytest.raises(KeyUnusable) as caught:
        parse_key(b"canary-key", "env:KEY")
    assert str(caught.value) == "env:KEY: 32 octets expected, raw, in hex or in base64"


def test_missing_key_is_made_private_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "seal.key"
    key = load_or_create_key(path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create_key(path) == key
    assert [each.name for each in tmp_path.iterdir()] == ["seal.key"]


def test_key_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_or_create_key(tmp_path / "seal.key")
    finally:
        os.umask(before)
    assert (tmp_path / "seal.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "seal.key"
    load_or_create_key(path)
    path.chmod(mode)
    with pytest.raises(KeyUnusable) as caught:
        load_or_create_key(path)
    assert "0600" in caught.value.why


def test_broken_key_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "seal.key"
    path.write_bytes(b"short")
    path.chmod(0o600)
    with pytest.raises(KeyUnusable):
        load_or_create_key(path)
    assert path.read_bytes() == b"short"


def test_missing_directory_and_a_directory_as_key_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent" / "seal.key", tmp_path):
        with pytest.raises(KeyUnusable) as caught:
            load_or_create_key(path)
        assert caught.value.where == str(path)
