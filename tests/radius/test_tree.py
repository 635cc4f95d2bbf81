"""Typed attributes of packets: order, names, formats, secrets, and what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from radius.dictionary import AttributeDef, Dictionary, Type, read, shipped
from radius.errors import Unencodable
from radius.formats import split_tlvs
from radius.packet import decode, header
from radius.tree import Attribute, encode
from radius.tree import decode as decode_tree
from radius.values import Value
from tests.radius.test_values import STRATEGIES

SECRET = b"xyzzy5461"
AUTHENTICATOR = bytes.fromhex("0f403f9473978057bd83d5cb98f4227a")
DICTIONARY: Dictionary = shipped()


def tree(
    octets: bytes | str, dictionary: Dictionary = DICTIONARY, secret: bytes | None = None
) -> tuple[Attribute, ...]:
    octets = bytes.fromhex(octets) if isinstance(octets, str) else octets
    packet = decode(header(1, 0, 20 + len(octets), AUTHENTICATOR) + octets)
    return decode_tree(packet, dictionary, secret=secret)


def texts(octets: bytes | str) -> list[str]:
    return [attribute.text() for attribute in tree(octets)]


def write(name: str, value: Value) -> bytes:
    return encode(name, value, DICTIONARY, secret=SECRET, authenticator=AUTHENTICATOR)


def get(name: str) -> AttributeDef:
    definition = DICTIONARY.by_name(name)
    assert definition is not None
    return definition


def test_names_and_types_attributes_in_wire_order() -> None:
    octets = b"".join(
        [
            write("User-Name", "bob@isp.example"),
            write("NAS-IP-Address", IPv4Address("192.0.2.1")),
            write("Service-Type", "Framed-User"),
            write("Mikrotik-Rate-Limit", "10M/50M"),
            write("Delegated-IPv6-Prefix", IPv6Network("2001:db8:1::/56")),
            write("Event-Timestamp", 1767225600),
            write("Class", b"\x01\x02"),
            write("User-Name", "again"),
        ]
    )
    assert texts(octets) == [
        "User-Name = bob@isp.example",
        "NAS-IP-Address = 192.0.2.1",
        "Service-Type = Framed-User",
        "Mikrotik-Rate-Limit = 10M/50M",
        "Delegated-IPv6-Prefix = 2001:db8:1::/56",
        "Event-Timestamp = 2026-01-01T00:00:00Z",
        "Class = 0x0102",
        "User-Name = again",
    ]


def test_takes_text_of_every_type() -> None:
    assert write("Framed-IP-Address", "192.0.2.7") == write("Framed-IP-Address", IPv4Address("192.0.2.7"))
    assert write("NAS-Port-Type", "ethernet") == write("NAS-Port-Type", 15)
    assert write("Class", "0x0102") == write("Class", b"\x01\x02")


def test_one_vendor_specific_may_hold_several_attributes() -> None:
    assert texts("1a11 00003a8c 0805 31304d 0303 76 0b03 31") == [
        "Mikrotik-Rate-Limit = 10M",
        "Mikrotik-Group = v",
        "Mikrotik-Mark-Id = 1",
    ]


@pytest.mark.parametrize(
    ("name", "value", "octets"),
    [
        ("Mikrotik-Rate-Limit", "1M", "1a0a 00003a8c 0804 314d"),
        ("USR-Last-Number-Dialed-Out", "12", "1a0c 000001ad 00000066 3132"),
        ("Lucent-Max-Shared-Users", 2, "1a0d 000012ee 0002 07 00000002"),
        ("SN-VPN-Name", "v", "1a0b 00001fe4 0002 0005 76"),
        ("WiMAX-Session-Continue", 1, "1a0d 000060b5 1507 00 00000001"),
        ("WiMAX-Release", "1.2", "1a0e 000060b5 0108 00 0105 312e32"),
        ("Alc-Subsc-ID-Str", "s", "1a09 0000197f 0b03 73"),
    ],
)
def test_writes_and_reads_the_formats_of_vendors(name: str, value: Value, octets: str) -> None:
    definition = get(name)
    assert encode(name, value, DICTIONARY) == bytes.fromhex(octets)
    (attribute,) = tree(octets)
    while attribute.children:
        (attribute,) = attribute.children
    assert (attribute.definition, attribute.value) == (definition, value)


@pytest.mark.parametrize("form", ["1,0", "2,0", "4,1", "4,2", "1,2"])
def test_writes_and_reads_the_rarer_formats(form: str, tmp_path: Path) -> None:
    path = tmp_path / "dictionary"
    path.write_text(f"VENDOR V 99 format={form}\nBEGIN-VENDOR V\nATTRIBUTE Thing 7 string\nEND-VENDOR V\n")
    dictionary = read(path)
    type_size, length_size = map(int, form.split(","))
    octets = encode("Thing", "abc", dictionary)
    size = (type_size + length_size + 3).to_bytes(length_size, "big") if length_size else b""
    assert octets[6:] == (7).to_bytes(type_size, "big") + size + b"abc"
    assert [each.text() for each in tree(octets, dictionary)] == ["Thing = abc"]


def test_wimax_values_continue_in_the_next_attribute() -> None:
    value = bytes(range(256)) * 2
    octets = write("WiMAX-AAA-Session-Id", value)
    assert octets[:9] == bytes.fromhex("1aff 000060b5 04f9 80")
    assert octets.count(bytes.fromhex("000060b5 04")) == 3
    (attribute,) = tree(octets)
    assert attribute.value == value


def test_a_wimax_value_that_ends_too_soon_is_invalid() -> None:
    octets = write("WiMAX-AAA-Session-Id", b"x" * 300)[:255] + write("User-Name", "bob")
    first, second = tree(octets)
    assert first.invalid
    assert second.value == "bob"


def test_joins_an_eap_message_and_splits_it_again() -> None:
    value = b"\x02\x01\x02\x58\x01" + b"x" * 595
    octets = write("EAP-Message", value)
    assert [octets[spot : spot + 2] for spot in (0, 255, 510)] == [b"\x4f\xff", b"\x4f\xff", b"\x4f\x60"]
    attributes = tree(octets + write("User-Name", "bob"))
    assert [each.value for each in attributes] == [value, "bob"]


def test_what_no_dictionary_knows_is_named_by_numbers() -> None:
    assert texts("e003 01 1a09 0000ffff 0703 02 1a08 00003a8c fe02 1a07 0000ffff 05") == [
        "Attr-224 = 0x01",
        "Attr-26.65535.7 = 0x02",
        "Attr-26.14988.254 = 0x",
        "Attr-26.65535 = 0x05",  # octets of an unknown vendor in a format of its own
    ]


@pytest.mark.parametrize(
    "name",
    ["Attr-224", "Attr-26.65535.7", "Attr-26.65535", "Attr-241.200", "Attr-245.26.9.4", "Attr-2", "attr-1"],
)
def test_numbers_serve_as_names(name: str) -> None:
    (attribute,) = tree(encode(name, b"\x07", DICTIONARY))
    assert ".".join(map(str, attribute.definition.oid)) == name[5:]


def test_octets_that_do_not_fit_their_type_are_kept() -> None:
    number, text = tree("0605 000002 0104 6fff")
    assert (number.invalid, number.value, number.text()) == (True, b"\0\0\x02", "Service-Type = 0x000002")
    assert (text.invalid, text.value, text.text()) == (True, b"o\xff", "User-Name = 0x6fff")


def test_a_broken_vendor_attribute_keeps_what_stood_before() -> None:
    whole, rest = tree("1a0b 00003a8c 0803 31 0809")
    assert whole.text() == "Mikrotik-Rate-Limit = 1"
    assert (rest.definition.oid, rest.value, rest.invalid) == ((26, 14988), b"\x08\x09", True)
    assert rest.text() == "Attr-26.14988 = <hidden>"  # a password might stand in there
    assert rest.text(show_secrets=True) == "Attr-26.14988 = 0x0809"


def test_a_vendor_specific_without_a_vendor_is_kept() -> None:
    (attribute,) = tree("1a05 000001")
    assert (attribute.value, attribute.invalid) == (b"\0\0\x01", True)


def test_a_broken_tlv_is_kept() -> None:
    (attribute,) = tree("1a0d 000060b5 0107 00 0109 3132")
    assert attribute.definition.name == "WiMAX-Capability"
    assert (attribute.invalid, attribute.value, attribute.children) == (True, b"\x01\x0912", ())


def test_an_array_becomes_several_attributes(tmp_path: Path) -> None:
    path = tmp_path / "dictionary"
    path.write_text("ATTRIBUTE Servers 200 ipaddr array\n")
    attributes = tree("c80a c0000201 c0000202", read(path))
    assert [each.text() for each in attributes] == ["Servers = 192.0.2.1", "Servers = 192.0.2.2"]


def test_reveals_the_password_of_rfc_2865_7_1() -> None:
    octets = "02120dbe708d93d413ce3196e43f782a0aee"
    (closed,) = tree(octets)
    (opened,) = tree(octets, secret=SECRET)
    assert (closed.concealed, closed.text()) == (True, "User-Password = <hidden>")
    assert opened.value == "arctangent"
    assert opened.text() == "User-Password = <hidden>"
    assert opened.text(show_secrets=True) == "User-Password = arctangent"
    assert "arctangent" not in repr(opened)
    assert write("User-Password", "arctangent").hex() == octets


def test_a_fixed_length_brings_back_the_zeros_of_hidden_octets() -> None:
    keys = bytes(8) + b"k" * 8 + bytes(8)
    (attribute,) = tree(write("MS-CHAP-MPPE-Keys", keys), secret=SECRET)
    assert attribute.value == keys


def test_hides_ascend_secrets_by_their_own_method() -> None:
    (attribute,) = tree(write("Ascend-Send-Secret", "geheim"), secret=SECRET)
    assert attribute.value == "geheim"


def test_hidden_octets_of_the_wrong_size_are_invalid() -> None:
    (attribute,) = tree("0205 010203", secret=SECRET)
    assert (attribute.invalid, attribute.value) == (True, b"\x01\x02\x03")


def test_control_characters_stay_on_the_line() -> None:
    assert texts(write("Reply-Message", "one\ntwo\x1b[2J\u202e")) == [
        "Reply-Message = one\\ntwo\\x1b[2J\\u202e"
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "Reply-Message",
            "x" * 254,
            "Reply-Message: 254 octets, at most 253 fit one attribute; a shorter value",
        ),
        ("Mikrotik-Rate-Limit", "x" * 248, "248 octets, at most 247 fit"),
        ("SN-VPN-Name", "x" * 246, "246 octets, at most 245 fit"),
        ("WiMAX-Release", "x" * 254, "254 octets, at most 253 fit"),
        ("User-Name", "", "an empty value has no place in a packet; leave the attribute out"),
        ("Framed-IP-Adress", "192.0.2.1", "no such attribute; did you mean Framed-IP-Address"),
        ("Attr-300", b"x", "no packet carries number 300, 0 to 255 expected"),
        ("Attr-26.9.256", b"x", "number 256 does not fit 1 octets of Cisco"),
        ("Attr-241.256", b"x", "no packet carries number 256"),
        ("Attr-241.26.9.256", b"x", "no packet carries number 256"),
        ("Attr-26.4294967296.1", b"x", "no such attribute"),
        ("Service-Type", "Framed", "an integer from 0 to 4294967295, or a name: .*, not 'Framed'"),
    ],
)
def test_says_what_would_fit(name: str, value: Value, message: str) -> None:
    with pytest.raises(Unencodable, match=message):
        encode(name, value, DICTIONARY)


@pytest.mark.parametrize(
    ("name", "members", "message"),
    [
        ("User-Name", [("Class", b"x")], "only a tlv has members"),
        ("WiMAX-Capability", [("User-Name", "bob")], "User-Name is no member of it"),
    ],
)
def test_refuses_members_that_do_not_belong(
    name: str, members: Sequence[tuple[str, Value]], message: str
) -> None:
    with pytest.raises(Unencodable, match=message):
        encode(name, members, DICTIONARY)


ENCODABLE = [each for each in DICTIONARY if each.type in STRATEGIES and DICTIONARY.by_oid(each.oid) == each]


def fits(definition: AttributeDef, value: Value) -> bool:
    """Tell what the wire cannot carry unchanged: NULs that hiding pads with, numbers beside a tag."""
    if definition.encrypt in (1, 3) and definition.length is None:
        octets = value.encode() if isinstance(value, str) else value
        return isinstance(octets, bytes) and not octets.endswith(b"\0") and len(octets) <= 16
    if definition.has_tag and isinstance(value, int):
        return value < 1 << 24
    return True


@settings(max_examples=1000)
@given(data=st.data(), definition=st.sampled_from(ENCODABLE))
def test_every_attribute_that_ships_survives_the_wire(data: st.DataObject, definition: AttributeDef) -> None:
    strategy: st.SearchStrategy[Value] = STRATEGIES[definition.type]
    if definition.length is not None:
        strategy = st.binary(min_size=definition.length, max_size=definition.length)
    value = data.draw(strategy.filter(lambda value: value not in ("", b"") and fits(definition, value)))
    assume(not isinstance(value, str | bytes) or len(value) <= 50)
    tag = data.draw(st.none() | st.integers(1, 0x1F)) if definition.has_tag else None
    octets = encode(definition, value, DICTIONARY, tag=tag, secret=SECRET, authenticator=AUTHENTICATOR)
    (attribute,) = tree(octets, secret=SECRET)
    while attribute.children:
        (attribute,) = attribute.children
    assert (attribute.definition, attribute.value, attribute.tag) == (definition, value, tag)
    assert not attribute.invalid


LONG = [get("EAP-Message"), get("WiMAX-AAA-Session-Id"), get("EAPoL-Announcement")]


@given(definition=st.sampled_from(LONG), value=st.binary(min_size=1, max_size=1500))
def test_long_values_survive_their_fragments(definition: AttributeDef, value: bytes) -> None:
    (attribute,) = tree(encode(definition, value, DICTIONARY))
    assert attribute.value == value


@given(st.binary(max_size=60))
def test_tlvs_are_taken_apart_whole_or_not_at_all(octets: bytes) -> None:
    parts = split_tlvs(octets)
    if parts is not None:
        assert b"".join(bytes((kind, len(value) + 2)) + value for kind, value in parts) == octets


def test_no_attribute_that_ships_is_of_a_type_untested() -> None:
    containers = {Type.TLV, Type.VSA, Type.EXTENDED, Type.LONG_EXTENDED, Type.EVS}
    assert {each.type for each in DICTIONARY} <= set(STRATEGIES) | containers
