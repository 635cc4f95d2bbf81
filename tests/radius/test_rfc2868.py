"""Tags and salted values of tunnel attributes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius.dictionary import Dictionary, shipped
from radius.errors import Unencodable
from radius.hiding import hide_salted
from radius.packet import decode, header
from radius.tree import Attribute, encode
from radius.tree import decode as decode_tree

SECRET = b"xyzzy5461"
AUTHENTICATOR = bytes.fromhex("0f403f9473978057bd83d5cb98f4227a")
SALT = b"\x80\x01"
DICTIONARY: Dictionary = shipped()


def tree(octets: bytes, secret: bytes | None = SECRET) -> tuple[Attribute, ...]:
    packet = decode(header(1, 0, 20 + len(octets), AUTHENTICATOR) + octets)
    return decode_tree(packet, DICTIONARY, secret=secret)


def hidden(value: str, tag: int | None = None) -> bytes:
    return encode(
        "Tunnel-Password",
        value,
        DICTIONARY,
        tag=tag,
        secret=SECRET,
        authenticator=AUTHENTICATOR,
        salt=SALT,
    )


@pytest.mark.parametrize(
    ("name", "value", "tag", "octets"),
    [
        ("Tunnel-Type", "VLAN", 1, "40060100000d"),
        ("Tunnel-Type", 13, None, "40060000000d"),
        ("Tunnel-Medium-Type", "IEEE-802", 0x1F, "41061f000006"),
        ("Tunnel-Private-Group-Id", "120", 2, "51060231 3230"),
        ("Tunnel-Private-Group-Id", "120", None, "5105313230"),
        ("Tunnel-Private-Group-Id", "\n", None, "5104000a"),  # its first octet would be read as a tag
    ],
)
def test_writes_and_reads_tags(name: str, value: str | int, tag: int | None, octets: str) -> None:
    assert encode(name, value, DICTIONARY, tag=tag) == bytes.fromhex(octets)
    (attribute,) = tree(bytes.fromhex(octets))
    assert attribute.tag == tag
    assert encode(name, attribute.value, DICTIONARY, tag=attribute.tag) == bytes.fromhex(octets)


def test_a_tag_stands_behind_the_name() -> None:
    assert [each.text() for each in tree(bytes.fromhex("40060100000d 510602313230 5105313230"))] == [
        "Tunnel-Type:1 = VLAN",
        "Tunnel-Private-Group-Id:2 = 120",
        "Tunnel-Private-Group-Id = 120",
    ]


def test_an_octet_above_31_belongs_to_the_value() -> None:
    number, text = tree(bytes.fromhex("4006200000 0d 510420 41".replace(" ", "")))
    assert (number.tag, number.value) == (None, 0x2000000D)
    assert (text.tag, text.value) == (None, " A")


@pytest.mark.parametrize(
    ("name", "value", "tag", "message"),
    [
        ("Tunnel-Type", 13, 32, "a tag from 1 to 31 expected, not 32"),
        ("Tunnel-Preference", 1 << 24, 1, "a number up to 16777215 expected"),
        ("User-Name", "bob", 1, "it takes no tag"),
    ],
)
def test_refuses_a_tag_that_does_not_fit(name: str, value: str | int, tag: int, message: str) -> None:
    with pytest.raises(Unencodable, match=message):
        encode(name, value, DICTIONARY, tag=tag)


def test_a_tunnel_password_is_tag_salt_and_blocks() -> None:
    octets = hidden("geheim", tag=3)
    assert octets[:5] == b"\x45\x15\x03\x80\x01"
    assert octets[3:] == hide_salted(b"geheim", SECRET, AUTHENTICATOR, SALT)
    (attribute,) = tree(octets)
    assert (attribute.tag, attribute.value) == (3, "geheim")
    assert attribute.text() == "Tunnel-Password:3 = <hidden>"
    assert attribute.text(show_secrets=True) == "Tunnel-Password:3 = geheim"
    assert "geheim" not in repr(attribute)


def test_a_tunnel_password_without_a_tag_is_told_by_its_size() -> None:
    plain = hide_salted(b"geheim", SECRET, AUTHENTICATOR, SALT)
    (attribute,) = tree(bytes((69, len(plain) + 2)) + plain)
    assert (attribute.tag, attribute.value) == (None, "geheim")


def test_a_hidden_value_stays_octets_without_the_secret() -> None:
    (attribute,) = tree(hidden("geheim", tag=3), secret=None)
    assert attribute.concealed
    assert not attribute.invalid
    assert attribute.value == hide_salted(b"geheim", SECRET, AUTHENTICATOR, SALT)


def test_a_reply_is_revealed_by_the_authenticator_of_its_request() -> None:
    octets = hidden("geheim")
    reply = decode(header(2, 0, 20 + len(octets), bytes(16)) + octets)
    (alone,) = decode_tree(reply, DICTIONARY, secret=SECRET)
    (both,) = decode_tree(reply, DICTIONARY, secret=SECRET, request_authenticator=AUTHENTICATOR)
    assert alone.concealed
    assert both.value == "geheim"


def test_a_coa_hides_with_zeros_since_its_authenticator_comes_last() -> None:
    octets = encode("Tunnel-Password", "geheim", DICTIONARY, secret=SECRET, authenticator=bytes(16))
    (attribute,) = decode_tree(
        decode(header(43, 0, 20 + len(octets), AUTHENTICATOR) + octets), DICTIONARY, secret=SECRET
    )
    assert attribute.value == "geheim"


def test_a_wrong_secret_leaves_an_invalid_attribute() -> None:
    octets = hidden("geheim" * 10)
    packet = decode(header(1, 0, 20 + len(octets), AUTHENTICATOR) + octets)
    for secret in (b"wrong", b"other", b"third"):
        (attribute,) = decode_tree(packet, DICTIONARY, secret=secret)
        assert attribute.value != "geheim" * 10


def test_a_salt_is_drawn_with_its_high_bit_set() -> None:
    salts = {
        encode("MS-MPPE-Send-Key", b"k", DICTIONARY, secret=SECRET, authenticator=AUTHENTICATOR)[8:10]
        for _ in range(20)
    }
    assert len(salts) > 10
    assert all(salt[0] & 0x80 for salt in salts)


def test_hiding_needs_the_secret() -> None:
    with pytest.raises(Unencodable, match="the shared secret and an authenticator are needed"):
        encode("Tunnel-Password", "geheim", DICTIONARY)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Tunnel-Password", "p" * 240), ("User-Password", "p" * 129), ("Ascend-Send-Secret", "p" * 17)],
)
def test_a_secret_that_is_too_long_is_refused_by_name_and_not_shown(name: str, value: str) -> None:
    with pytest.raises(Unencodable, match=f"{name}: {len(value)} octets") as caught:
        encode(name, value, DICTIONARY, secret=SECRET, authenticator=AUTHENTICATOR)
    assert "pp" not in str(caught.value)


@given(value=st.text(max_size=59).map(lambda text: "p" + text), tag=st.none() | st.integers(1, 0x1F))
def test_tunnel_passwords_survive_the_wire(value: str, tag: int | None) -> None:
    (attribute,) = tree(hidden(value[:59], tag))
    assert (attribute.tag, attribute.value) == (tag, value[:59])
