"""Extended attributes: the octets that RFC 6929 section 9 prints, and the fragments of long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from radius.dictionary import SHIPPED, Dictionary, read
from radius.errors import Unencodable
from radius.packet import decode, header
from radius.tree import Attribute, encode
from radius.tree import decode as decode_tree

EXAMPLES = """
$INCLUDE {shipped}
VENDOR Example 1
ATTRIBUTE Short-Text 241.1 string
ATTRIBUTE Short-Group 241.2 tlv
ATTRIBUTE Short-Number 241.2.1 integer
ATTRIBUTE Short-Other 241.2.2 integer
ATTRIBUTE Short-Inner 241.2.3 tlv
ATTRIBUTE Short-Deep 241.2.3.1 integer
ATTRIBUTE Long-Text 245.1 string
ATTRIBUTE Long-Octets 245.4 octets
BEGIN-VENDOR Example format=Extended-Vendor-Specific-1
ATTRIBUTE Example-Text 4 string
ATTRIBUTE Example-Group 5 tlv
ATTRIBUTE Example-Number 5.3 integer
END-VENDOR Example
BEGIN-VENDOR Example parent=Extended-Vendor-Specific-5
ATTRIBUTE Example-Long-Text 4 string
END-VENDOR Example
"""


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory: pytest.TempPathFactory) -> Dictionary:
    path: Path = tmp_path_factory.mktemp("rfc6929") / "dictionary"
    path.write_text(EXAMPLES.format(shipped=SHIPPED))
    return read(path)


def tree(octets: bytes, dictionary: Dictionary) -> tuple[Attribute, ...]:
    return decode_tree(decode(header(1, 0, 20 + len(octets), bytes(16)) + octets), dictionary)


@pytest.mark.parametrize(
    ("name", "value", "octets"),
    [
        ("Short-Text", "bob", "f10601626f62"),
        ("Short-Number", 23, "f10902010600000017"),
        ("Short-Deep", 23, "f10b020308010600000017"),
        ("Example-Text", "test", "f10c1a000000010474657374"),
        ("Example-Number", 23, "f10e1a0000000105030600000017"),
        ("Long-Text", "bob", "f5070100626f62"),
        ("Example-Long-Text", "test", "f50d1a00000000010474657374"),
    ],
)
def test_encodes_the_octets_of_section_9(
    name: str, value: str | int, octets: str, dictionary: Dictionary
) -> None:
    assert encode(name, value, dictionary).hex() == octets
    (attribute,) = tree(bytes.fromhex(octets), dictionary)
    while attribute.children:
        (attribute,) = attribute.children
    assert (attribute.definition.name, attribute.value) == (name, value)


def test_puts_several_members_into_one_tlv(dictionary: Dictionary) -> None:
    octets = encode("Short-Group", [("Short-Number", 23), ("Short-Other", 45)], dictionary)
    assert octets.hex() == "f10f020106000000170206" + "0000002d"
    (group,) = tree(octets, dictionary)
    assert group.text() == "Short-Group = { Short-Number = 23, Short-Other = 45 }"


def test_splits_a_long_value_after_251_octets_with_the_more_bit(dictionary: Dictionary) -> None:
    value = b"\xaa" * 251 + b"\xbb" * 15
    octets = encode("Long-Octets", value, dictionary)
    assert octets == b"\xf5\xff\x04\x80" + b"\xaa" * 251 + b"\xf5\x13\x04\x00" + b"\xbb" * 15
    (attribute,) = tree(octets, dictionary)
    assert attribute.value == value
    assert not attribute.invalid


def test_a_long_vendor_value_names_its_vendor_only_in_the_first_fragment(dictionary: Dictionary) -> None:
    octets = encode("Example-Long-Text", "a" * 246 + "b" * 10, dictionary)
    assert octets == b"\xf5\xff\x1a\x80\0\0\0\x01\x04" + b"a" * 246 + b"\xf5\x0e\x1a\x00" + b"b" * 10
    (attribute,) = tree(octets, dictionary)
    assert attribute.value == "a" * 246 + "b" * 10


def test_fragments_of_one_attribute_end_where_the_more_bit_does(dictionary: Dictionary) -> None:
    first, second = encode("Long-Text", "a" * 300, dictionary), encode("Long-Text", "b", dictionary)
    assert [each.value for each in tree(first + second, dictionary)] == ["a" * 300, "b"]


def test_a_last_fragment_that_never_comes_leaves_an_invalid_attribute(dictionary: Dictionary) -> None:
    octets = encode("Long-Text", "a" * 300, dictionary)[:255]
    for end in (b"", encode("User-Name", "bob", dictionary)):
        attribute = tree(octets + end, dictionary)[0]
        assert attribute.invalid
        assert attribute.value == b"a" * 251


def test_an_unknown_extended_attribute_is_named_by_its_numbers(dictionary: Dictionary) -> None:
    octets = bytes.fromhex("f204 0501" + "f1091a000000090401" + "f50501 00 62")
    assert [each.text() for each in tree(octets, dictionary)] == [
        "Attr-242.5 = 0x01",
        "Attr-241.26.9.4 = 0x01",
        "Long-Text = b",
    ]


@pytest.mark.parametrize("octets", ["f102", "f503 01", "f10a1a00000001 0101", "f507 1a00 000001"])
def test_what_is_too_short_to_be_extended_is_kept_as_octets(octets: str, dictionary: Dictionary) -> None:
    raw = bytes.fromhex(octets)
    raw = raw[:1] + bytes((len(raw),)) + raw[2:]
    (attribute,) = tree(raw, dictionary)
    kept = attribute.value
    assert isinstance(kept, bytes)
    assert raw.endswith(kept)


def test_a_short_extended_attribute_holds_252_octets(dictionary: Dictionary) -> None:
    assert len(encode("Short-Text", "a" * 252, dictionary)) == 255
    with pytest.raises(Unencodable, match="253 octets, at most 252 fit one attribute"):
        encode("Short-Text", "a" * 253, dictionary)
