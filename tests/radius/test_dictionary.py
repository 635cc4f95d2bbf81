"""The dictionary reader: what each statement means, and what it says about bad lines."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from radius.dictionary import AttributeDef, Dictionary, Type, Vendor, read, shipped
from radius.errors import DictionaryError


def load(folder: Path, text: str, base: Dictionary | None = None) -> Dictionary:
    path = folder / "dictionary"
    path.write_text(text)
    return read(path, base)


def get(dictionary: Dictionary, name: str) -> AttributeDef:
    definition = dictionary.by_name(name)
    assert definition is not None
    return definition


def test_reads_numbers_types_and_flags(tmp_path: Path) -> None:
    dictionary = load(
        tmp_path,
        """
        # a comment
        ATTRIBUTE Plain 1 String # another
        ATTRIBUTE Hexadecimal 0x1f integer
        ATTRIBUTE Tagged 69 string has_tag,encrypt=2
        ATTRIBUTE Spaced 12 octets[24]  encrypt=1
        ATTRIBUTE Joined 79 octets concat
        ATTRIBUTE Several 3 ipaddr array,virtual,future=1
        ATTRIBUTE Wide 4 uint32 secret
        """,
    )
    assert get(dictionary, "plain") == AttributeDef("Plain", (1,), Type.STRING)
    assert get(dictionary, "Hexadecimal").oid == (31,)
    assert get(dictionary, "Tagged") == AttributeDef("Tagged", (69,), Type.STRING, has_tag=True, encrypt=2)
    assert (get(dictionary, "Spaced").length, get(dictionary, "Spaced").encrypt) == (24, 1)
    assert get(dictionary, "Joined").concat
    assert get(dictionary, "Several").array
    assert get(dictionary, "Several").flags == ("virtual", "future=1")
    assert get(dictionary, "Wide").type is Type.INTEGER
    assert get(dictionary, "Wide").sensitive


def test_reads_vendors_with_their_formats(tmp_path: Path) -> None:
    dictionary = load(
        tmp_path,
        """
        VENDOR Usual 9
        VENDOR Wide 429 format=4,0
        VENDOR Continued 24757 format=1,1,c
        BEGIN-VENDOR Wide
        ATTRIBUTE Wide-Thing 0xbf38 integer
        END-VENDOR Wide
        ATTRIBUTE Old-Form 7 string Usual
        """,
    )
    assert dictionary.vendor(9) == Vendor("Usual", 9)
    assert dictionary.vendor_by_name("WIDE") == Vendor("Wide", 429, 4, 0)
    assert dictionary.vendor(24757) == Vendor("Continued", 24757, continuation=True)
    assert get(dictionary, "Wide-Thing").oid == (26, 429, 0xBF38)
    assert get(dictionary, "Old-Form").oid == (26, 9, 7)
    assert get(dictionary, "Old-Form").vendor == Vendor("Usual", 9)


def test_nests_tlvs_by_dots_and_by_blocks(tmp_path: Path) -> None:
    dictionary = load(
        tmp_path,
        """
        VENDOR Maker 9
        BEGIN-VENDOR Maker
        ATTRIBUTE Outer 1 tlv
        ATTRIBUTE Dotted 1.2 integer
        BEGIN-TLV Outer
        ATTRIBUTE Inner 3 tlv
        BEGIN-TLV Inner
        ATTRIBUTE Deep 4 byte
        END-TLV Inner
        END-TLV Outer
        ATTRIBUTE After 5 byte
        END-VENDOR Maker
        """,
    )
    assert get(dictionary, "Dotted").oid == (26, 9, 1, 2)
    assert get(dictionary, "Deep").oid == (26, 9, 1, 3, 4)
    assert get(dictionary, "After").oid == (26, 9, 5)


@pytest.mark.parametrize("key", ["format", "parent"])
def test_puts_a_vendor_block_into_the_extended_space(key: str, tmp_path: Path) -> None:
    dictionary = load(
        tmp_path,
        f"""
        VENDOR Maker 6527
        BEGIN-VENDOR Maker {key}=Extended-Vendor-Specific-1
        ATTRIBUTE Maker-Thing 88 string
        END-VENDOR Maker
        ATTRIBUTE Maker-Other 241.26.6527.89 string
        """,
        shipped(),
    )
    assert get(dictionary, "Maker-Thing").oid == (241, 26, 6527, 88)
    assert get(dictionary, "Maker-Other").vendor == Vendor("Maker", 6527)


def test_flags_hold_until_the_end_of_the_file(tmp_path: Path) -> None:
    dictionary = load(
        tmp_path, "ATTRIBUTE Sent 1 string\nFLAGS internal\nATTRIBUTE Kept 1000 string virtual\n"
    )
    assert get(dictionary, "Sent").flags == ()
    assert get(dictionary, "Kept").flags == ("internal", "virtual")


def test_joins_values_with_attributes_wherever_they_stand(tmp_path: Path) -> None:
    dictionary = load(
        tmp_path,
        """
        VALUE Speed Slow 1
        ATTRIBUTE Speed 200 integer
        VALUE speed Fast 0x10
        VALUE Speed Sluggish 1
        """,
    )
    assert dict(get(dictionary, "Speed").value_numbers) == {"Slow": 1, "Fast": 16, "Sluggish": 1}
    assert dict(get(dictionary, "Speed").value_names) == {1: "Sluggish", 16: "Fast"}


def test_includes_files_beside_the_including_one(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "one").write_text("ATTRIBUTE One 1 string\n$INCLUDE two\n$INCLUDE- missing\n")
    (tmp_path / "sub" / "two").write_bytes(b"# caf\xe9\nATTRIBUTE Two 2 string\n")
    dictionary = load(tmp_path, "$INCLUDE sub/one\n")
    assert [each.name for each in dictionary] == ["One", "Two"]


def test_the_later_of_two_names_for_a_number_is_shown(tmp_path: Path) -> None:
    dictionary = load(tmp_path, "ATTRIBUTE Old 4 ipaddr\nATTRIBUTE New 4 ipaddr\n")
    named = dictionary.by_oid((4,))
    assert named is not None
    assert named.name == "New"
    assert get(dictionary, "Old").oid == (4,)


def test_a_site_adds_to_the_shipped_dictionary(tmp_path: Path) -> None:
    text = "ATTRIBUTE Our-Thing 225 string\nVALUE Service-Type Our-Service 99\n"
    dictionary = load(tmp_path, text, shipped())
    assert get(dictionary, "Service-Type").value_numbers["Our-Service"] == 99
    assert get(dictionary, "Service-Type").value_numbers["Framed-User"] == 2
    assert "Our-Service" not in get(shipped(), "Service-Type").value_numbers
    assert get(dictionary, "Our-Thing").oid == (225,)
    assert len(dictionary) == len(shipped()) + 1


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("ATRIBUTE X 1 string", 1, "ATTRIBUTE, VALUE, VENDOR.* expected, not ATRIBUTE"),
        ("\nATTRIBUTE X 1", 2, "ATTRIBUTE name number type .flags. expected, 2 words follow"),
        ("ATTRIBUTE X one string", 1, "a decimal or 0x number expected, not one"),
        ("ATTRIBUTE X 1 strng", 1, "a type such as string expected, not strng"),
        ("ATTRIBUTE X 1 octets[254]", 1, "octets of 1 to 253 octets expected, not 254"),
        ("ATTRIBUTE X 1 string encrypt=4", 1, "encrypt=1, encrypt=2 or encrypt=3 expected"),
        ("ATTRIBUTE X 1 string\nATTRIBUTE X 2 string", 2, "X is already attribute 1, another name"),
        ("ATTRIBUTE X 1.2 string", 1, "1 of type tlv, extended or evs expected .*; there is none"),
        ("ATTRIBUTE X 1 byte\nATTRIBUTE Y 1.2 byte", 2, "1 of type tlv.*; X is byte"),
        ("ATTRIBUTE Caf\u00e9 1 string", 1, "a name of letters, digits"),
        ("VALUE X Y", 1, "VALUE attribute name number expected"),
        ("ATTRIBUTE Speed 1 byte\n\nVALUE Sped Y 1", 3, "ATTRIBUTE Sped expected.*did you mean Speed"),
        ("ATTRIBUTE X 1 byte\nVALUE X Y 1\nVALUE X Y 2", 3, "X Y is already 1, another name expected"),
        ("VENDOR X 9 format=3,1", 1, "format=t,l .* expected, not format=3,1"),
        ("VENDOR X 9 format=2,1,c", 1, "format=t,l .* expected"),
        ("VENDOR X 0", 1, "a vendor number from 1 to 4294967295 expected, not 0"),
        ("VENDOR X 9\nVENDOR X 10", 2, "vendor X is already 9, another name expected"),
        ("BEGIN-VENDOR X", 1, "VENDOR X expected before BEGIN-VENDOR"),
        ("VENDOR X 9\nBEGIN-VENDOR X format=User-Name", 2, "name of an attribute of type evs expected"),
        ("VENDOR X 9\nBEGIN-VENDOR X\nBEGIN-VENDOR X", 3, "END-VENDOR X expected before another"),
        ("VENDOR X 9\nBEGIN-VENDOR X\nEND-VENDOR Y", 3, "END-VENDOR X expected, not END-VENDOR Y"),
        ("END-VENDOR X", 1, "BEGIN-VENDOR expected, not END-VENDOR X"),
        ("VENDOR X 9\nBEGIN-VENDOR X\n", 2, "END-VENDOR X expected before the end of the file"),
        ("BEGIN-TLV X", 1, "the name of an attribute of type tlv expected, not X"),
        ("ATTRIBUTE X 1 tlv\nBEGIN-TLV X\nEND-TLV Y", 3, "END-TLV X expected, not END-TLV Y"),
        ("END-TLV X", 1, "BEGIN-TLV expected, not END-TLV X"),
        ("\n$INCLUDE nowhere", 2, "nowhere cannot be read: No such file"),
        ("$INCLUDE dictionary", 1, "at most 16 expected: a circle"),
    ],
)
def test_a_bad_line_is_named_with_what_was_expected(
    text: str, line: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DictionaryError, match=message) as caught:
        load(tmp_path, text)
    if "circle" not in message:
        assert (caught.value.file, caught.value.line) == (str(tmp_path / "dictionary"), line)


def test_an_error_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("\n\nATTRIBUTE\n")
    with pytest.raises(DictionaryError) as caught:
        load(tmp_path, "$INCLUDE other")
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "other"), 3)


def test_a_missing_dictionary_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(DictionaryError, match="cannot be read: No such file"):
        read(tmp_path / "nothing")


def test_suggests_near_names() -> None:
    assert shipped().suggest("Framed-IP-Adress")[0] == "Framed-IP-Address"
    assert shipped().suggest("zzzzzzzz") == []


@pytest.mark.parametrize(
    ("name", "sensitive"),
    [
        ("User-Password", True),
        ("CHAP-Password", True),
        ("CHAP-Challenge", False),
        ("Tunnel-Password", True),
        ("MS-CHAP-Response", True),
        ("MS-CHAP2-Response", True),
        ("MS-CHAP-Challenge", False),
        ("MS-CHAP-MPPE-Keys", True),
        ("MS-MPPE-Send-Key", True),
        ("MS-MPPE-Encryption-Policy", False),
        ("EAP-Message", False),
        ("User-Name", False),
        ("ERX-Tunnel-Password", True),
        ("Mikrotik-Wireless-PSK", True),
        ("Password-Retry", False),
        ("Digest-Response", True),
    ],
)
def test_knows_what_must_not_be_shown(name: str, sensitive: bool) -> None:
    assert get(shipped(), name).sensitive is sensitive


def test_definitions_cannot_be_changed() -> None:
    definition = get(shipped(), "Service-Type")
    with pytest.raises(TypeError):
        definition.value_numbers["Mine"] = 1  # type: ignore[index]  # that is the point
    with pytest.raises(dataclasses.FrozenInstanceError):
        definition.name = "Mine"  # type: ignore[misc]  # that is the point
