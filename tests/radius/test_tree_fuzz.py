"""Random and damaged attributes: whatever `radius.packet` takes, `radius.tree` decodes."""

from __future__ import annotations

import random

from radius.dictionary import Dictionary, shipped
from radius.errors import RadiusError
from radius.packet import Packet, decode, header
from radius.tree import decode as decode_tree
from radius.tree import encode

AREAS = 20_000
SECRET = b"xyzzy5461"


def seeds(dictionary: Dictionary, rng: random.Random) -> list[bytes]:
    """Return one attribute of every kind that can be written: all types, vendors and formats."""
    found = []
    for definition in dictionary:
        value = rng.randbytes(rng.choice((1, 4, 20)))
        for each in (
            value,
            int.from_bytes(value[:1], "big"),
            "192.0.2.1",
            "2001:db8::/64",
            "0:0:0:1",
            "text",
        ):
            try:
                found.append(encode(definition, each, dictionary, secret=SECRET, authenticator=bytes(16)))
                break
            except RadiusError:
                continue
    return found


def random_attribute(rng: random.Random) -> bytes:
    kind = rng.choice((26, 26, 69, 79, 241, 242, 245, 246, rng.randrange(256)))
    body = rng.randbytes(rng.choice((0, 1, 2, 4, 5, 6, 16, 18, 19, rng.randrange(60))))
    if kind in (26, 241, 245) and rng.random() < 0.7:
        vendor = rng.choice((9, 311, 429, 529, 4846, 6527, 8164, 14988, 24757, 41112, 65535)).to_bytes(
            4, "big"
        )
        body = (b"" if kind == 26 else rng.choice((b"\x1a", b"\x1a\x80", b"\x1a\0"))) + vendor + body
    return bytes((kind, len(body) + 2)) + body


def damaged(octets: bytes, rng: random.Random) -> bytes:
    """Change some octets, but no length of a top-level attribute, which `radius.packet` would refuse."""
    area = bytearray(octets)
    lengths, spot = set(), 0
    while spot < len(area):
        lengths.add(spot + 1)
        spot += area[spot + 1]
    for _ in range(rng.randrange(4)):
        spot = rng.randrange(len(area))
        if spot not in lengths:
            area[spot] = rng.choice((0, 1, 2, 3, 255, area[spot] ^ 1 << rng.randrange(8)))
    return bytes(area)


def packet(area: bytes, code: int) -> Packet:
    return decode(header(code, 0, 20 + len(area), bytes(16)) + area)


def test_no_attribute_area_raises() -> None:
    rng = random.Random(6929)
    dictionary = shipped()
    whole = seeds(dictionary, rng)
    assert len(whole) > 2500
    invalid = 0
    for _ in range(AREAS):
        parts = [
            rng.choice(whole) if rng.random() < 0.6 else random_attribute(rng)
            for _ in range(rng.randint(1, 6))
        ]
        taken = packet(damaged(b"".join(parts), rng), rng.choice((1, 2, 4, 43)))
        secret = rng.choice((None, SECRET, b"wrong"))
        attributes = decode_tree(taken, dictionary, secret=secret)
        assert attributes
        assert all(each.text() and each.text(show_secrets=True) for each in attributes)
        invalid += any(each.invalid for each in attributes)
    assert AREAS / 10 < invalid < AREAS  # the damage reaches the decoder, and leaves something whole
