"""Access lines and MAC addresses in the spellings of real NASes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius.line import Line, canonical_mac, read
from radius.packet import Packet, attribute, decode, header, vendor_attribute

CIRCUIT = b"dslam1 eth 2/1:100"
REMOTE = b"\x00\x01alice"


def request(*attributes: bytes) -> Packet:
    body = b"".join(attributes)
    return decode(header(1, 1, 20 + len(body), bytes(16)) + body)


@pytest.mark.parametrize(
    ("vendor", "circuit", "remote"),
    [(3561, 1, 2), (2352, 97, 96), (4874, 110, 182)],
    ids=["adsl-forum", "redback", "junos"],
)
def test_reads_the_line_of_each_vendor(vendor: int, circuit: int, remote: int) -> None:
    packet = request(vendor_attribute(vendor, circuit, CIRCUIT), vendor_attribute(vendor, remote, REMOTE))
    assert read(packet) == Line(CIRCUIT, REMOTE)


def test_reads_the_line_in_cisco_pairs() -> None:
    packet = request(
        vendor_attribute(9, 1, b"client-mac-address=0011.2233.4455"),
        vendor_attribute(9, 1, b"circuit-id-tag=000400320001"),
        vendor_attribute(9, 1, b"remote-id-tag=0106001cf09d7167"),
    )
    assert read(packet) == Line(b"000400320001", b"0106001cf09d7167")


def test_reads_two_sub_attributes_in_one_attribute() -> None:
    inner = bytes((1, len(CIRCUIT) + 2)) + CIRCUIT + bytes((2, len(REMOTE) + 2)) + REMOTE
    assert read(request(attribute(26, (3561).to_bytes(4, "big") + inner))) == Line(CIRCUIT, REMOTE)


def test_the_first_of_two_lines_wins() -> None:
    packet = request(vendor_attribute(3561, 1, b"first"), vendor_attribute(9, 1, b"circuit-id-tag=second"))
    assert read(packet) == Line(b"first", None)


@pytest.mark.parametrize(
    "attributes",
    [
        (),
        (attribute(1, b"alice"),),
        (vendor_attribute(9, 2, b"circuit-id-tag=no pair"),),
        (vendor_attribute(9, 1, b"circuit-id-tag="),),
        (attribute(26, (3561).to_bytes(4, "big") + b"\x01\x02"),),
    ],
    ids=["nothing", "no-vendor", "not-a-pair", "empty-pair", "empty-attribute"],
)
def test_no_line_is_none_and_never_empty(attributes: tuple[bytes, ...]) -> None:
    assert read(request(*attributes)) == Line(None, None)


@pytest.mark.parametrize(
    "text",
    [
        "aa:bb:cc:dd:ee:0f",
        "AA:BB:CC:DD:EE:0F",
        "AA-BB-CC-DD-EE-0F",
        "aabb.ccdd.ee0f",
        "AABBCCDDEE0F",
        "1:aa:bb:cc:dd:ee:f".replace(":f", ":0f"),
        "01:aa:bb:cc:dd:ee:0f",
        "1:aabb.ccdd.ee0f",
        "AA-BB-CC-DD-EE-0F:Guest WiFi: 2",
        "AA-BB-CC-DD-EE-0F:",
        "AA-BB-CC-DD-EE-0F:two\nlines",
        "aabbccddee0f:ssid",
        "AA:BB:CC:DD:EE:0F:ssid",
    ],
)
def test_every_spelling_of_a_mac_becomes_one(text: str) -> None:
    assert canonical_mac(text) == "aa:bb:cc:dd:ee:0f"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "aa:bb:cc:dd:ee",
        "aa:bb-cc:dd:ee:ff",
        "aa:bb:cc:dd:ee:fg",
        "aa:bb:cc:dd:ee:ff:00:11",
        "aabbccddeeff0",
        "2001:db8::1",
        " aa:bb:cc:dd:ee:ff",
        "aa:bb:cc:dd:ee:ff\n",
        "aa:bb:cc:dd:ee:f\u0666",
    ],
)
def test_what_is_no_mac_is_none(text: str) -> None:
    assert canonical_mac(text) is None


@given(st.binary(min_size=6, max_size=6))
def test_the_canonical_form_is_a_fixed_point(octets: bytes) -> None:
    canonical = octets.hex(":")
    assert canonical_mac(canonical) == canonical
    assert canonical_mac(octets.hex().upper()) == canonical


@given(st.text())
def test_any_text_is_a_mac_or_none(text: str) -> None:
    found = canonical_mac(text)
    assert found is None or len(found) == 17
