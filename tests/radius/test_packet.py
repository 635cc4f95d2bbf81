"""Packets: what is accepted, what is discarded and why."""

from __future__ import annotations

import random

import pytest

from radius.errors import Malformed, Unencodable
from radius.packet import attribute, decode, header, vendor_attribute


def packet(attributes: bytes, code: int = 1) -> bytes:
    return header(code, 7, 20 + len(attributes), bytes(range(16))) + attributes


def test_finds_attributes_and_keeps_wire_order() -> None:
    decoded = decode(
        packet(attribute(1, b"bob") + attribute(25, b"a") + attribute(99, b"?") + attribute(25, b"b"))
    )
    assert decoded.find(1) == b"bob"
    assert decoded.all(25) == [b"a", b"b"]
    assert list(decoded.attributes()) == [(1, b"bob"), (25, b"a"), (99, b"?"), (25, b"b")]
    assert decoded.find(44) is None


def test_octets_beyond_length_are_padding() -> None:
    octets = packet(attribute(1, b"bob"))
    assert decode(octets + b"\xff" * 30).octets == octets


@pytest.mark.parametrize(
    ("octets", "slug"),
    [
        (b"", "short-packet"),
        (bytes(19), "short-packet"),
        (header(1, 1, 19, bytes(16)), "bad-length"),
        (header(1, 1, 40, bytes(16)), "bad-length"),
        (header(1, 1, 20, bytes(16))[:2] + (4097).to_bytes(2, "big") + bytes(16 + 4077), "bad-length"),
        (packet(b"\x01\x00"), "bad-attribute"),
        (packet(b"\x01\x01"), "bad-attribute"),
        (packet(b"\x01\x05ab"), "bad-attribute"),
        (packet(b"\x01"), "bad-attribute"),
        (packet(attribute(1, b"x") * 201), "too-many-attributes"),
    ],
)
def test_discards_what_breaks_the_format(octets: bytes, slug: str) -> None:
    with pytest.raises(Malformed) as caught:
        decode(octets)
    assert caught.value.slug == slug


def test_two_hundred_attributes_are_accepted() -> None:
    assert len(decode(packet(attribute(1, b"x") * 200)).all(1)) == 200


def test_an_empty_attribute_is_tolerated_in_input_and_never_made() -> None:
    assert decode(packet(b"\x01\x02")).find(1) == b""
    with pytest.raises(Unencodable):
        attribute(1, b"")


def test_reads_several_vendor_attributes_from_one_vsa() -> None:
    both = bytes((26, 14)) + (311).to_bytes(4, "big") + b"\x0b\x04ab" + b"\x0c\x04cd"
    decoded = decode(packet(both + vendor_attribute(9, 1, b"ip:x=y")))
    assert list(decoded.vendor_attributes()) == [(311, 11, b"ab"), (311, 12, b"cd"), (9, 1, b"ip:x=y")]
    assert decoded.find_vendor(9, 1) == b"ip:x=y"
    assert decoded.find_vendor(9, 2) is None


def test_integers_of_a_wrong_length_are_absent() -> None:
    assert decode(packet(attribute(5, b"\0\0\1"))).find_int(5) is None
    assert decode(packet(attribute(5, b"\0\0\1\2"))).find_int(5) == 258


def test_text_that_is_not_utf8_becomes_escapes() -> None:
    assert decode(packet(attribute(1, b"bo\xffb"))).find_text(1) == "bo\\xffb"


def test_a_value_too_long_for_its_attribute_is_refused() -> None:
    assert len(attribute(1, b"x" * 253)) == 255
    with pytest.raises(Unencodable):
        attribute(1, b"x" * 254)
    assert len(vendor_attribute(9, 1, b"x" * 247)) == 255
    with pytest.raises(Unencodable):
        vendor_attribute(9, 1, b"x" * 248)


def test_a_million_mutated_packets_are_packets_or_malformed() -> None:
    dice = random.Random(5080)
    seed = packet(
        attribute(1, b"alice")
        + attribute(2, bytes(16))
        + vendor_attribute(311, 11, bytes(16))
        + attribute(80, bytes(16))
        + attribute(79, b"\2\1\0\5\1")
    )
    accepted = 0
    for turn in range(1_000_000):
        octets = bytearray(seed)
        for _ in range(1 + turn % 3):
            octets[dice.randrange(len(octets))] = dice.randrange(256)
        if turn % 7 == 0:
            del octets[dice.randrange(len(octets)) :]
        try:
            decoded = decode(bytes(octets))
        except Malformed:
            continue
        accepted += 1
        assert sum(len(value) + 2 for _, value in decoded.attributes()) == len(decoded.octets) - 20
    assert 200_000 < accepted < 900_000
