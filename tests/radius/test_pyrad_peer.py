"""pyrad, which we did not write, reads what we encode and writes what we decode."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from pyrad import dictionary as pyrad_dictionary
from pyrad import packet as pyrad_packet

from radius.dictionary import Dictionary, read
from radius.packet import decode
from radius.tree import Attribute, encode
from radius.tree import decode as decode_tree
from radius.values import Value

SECRET = b"xyzzy5461"
AUTHENTICATOR = bytes.fromhex("0f403f9473978057bd83d5cb98f4227a")
FILTER = "ip in forward dstip 192.0.2.0/24 tcp dstport = 80"

COMMON = """
ATTRIBUTE Text 1 string
ATTRIBUTE Address 4 ipaddr
ATTRIBUTE Number 5 integer
ATTRIBUTE Named 6 integer
VALUE Named Framed 2
ATTRIBUTE Octets 25 octets
ATTRIBUTE When 55 date
ATTRIBUTE Tagged-Number 64 integer has_tag
ATTRIBUTE Tagged-Secret 69 string has_tag,encrypt=2
ATTRIBUTE Tagged-Text 81 string has_tag
ATTRIBUTE Identifier 96 ifid
ATTRIBUTE Prefix 97 ipv6prefix
ATTRIBUTE Address6 168 ipv6addr
ATTRIBUTE Octet 200 byte
ATTRIBUTE Short 201 short
ATTRIBUTE Signed 202 signed
ATTRIBUTE Big 203 integer64
ATTRIBUTE Mac 204 ether
ATTRIBUTE Filter 205 abinary
ATTRIBUTE Group 206 tlv
ATTRIBUTE Member 206.1 integer
VENDOR Maker 14988
BEGIN-VENDOR Maker
ATTRIBUTE Maker-Text 8 string
ATTRIBUTE Maker-Key 16 octets encrypt=2
ATTRIBUTE Maker-Group 20 tlv
ATTRIBUTE Maker-Member 20.1 string
END-VENDOR Maker
"""

# name, our value, pyrad's when we encode and when pyrad does
SAMPLES: list[tuple[str, Value, object, object]] = [
    ("Text", "zażółć", "zażółć", "zażółć"),
    ("Address", IPv4Address("192.0.2.1"), "192.0.2.1", "192.0.2.1"),
    ("Number", 4294967295, 4294967295, 4294967295),
    ("Named", 2, "Framed", "Framed"),
    ("Octets", b"\x00\xff", b"\x00\xff", b"\x00\xff"),
    ("When", 1767225600, 1767225600, 1767225600),
    ("Identifier", "0:0:0:1", "0:0:0:1", "0:0:0:1"),
    ("Prefix", IPv6Network("2001:db8::/56"), "2001:db8::/56", "2001:db8::/56"),
    ("Address6", IPv6Address("2001:db8::1"), "2001:db8::1", "2001:db8::1"),
    ("Octet", 255, 255, 255),
    ("Short", 65535, 65535, 65535),
    ("Signed", -2, -2, -2),
    ("Big", 1 << 40, 1 << 40, 1 << 40),
    ("Mac", "02:00:5e:00:53:01", "02:00:5e:00:53:01", "02:00:5e:00:53:01"),
    ("Maker-Text", "10M/50M", "10M/50M", "10M/50M"),
    ("Maker-Key", b"k" * 32, b"k" * 32, b"k" * 32),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("pyrad") / "dictionary"
    path.write_text(COMMON)
    return path


@pytest.fixture(scope="module")
def ours(file: Path) -> Dictionary:
    return read(file)


@pytest.fixture(scope="module")
def theirs(file: Path) -> pyrad_dictionary.Dictionary:
    return pyrad_dictionary.Dictionary(str(file))


def pyrad_reads(octets: bytes, theirs: pyrad_dictionary.Dictionary) -> pyrad_packet.Packet:
    raw = bytes((1, 7)) + (20 + len(octets)).to_bytes(2, "big") + AUTHENTICATOR + octets
    return pyrad_packet.AuthPacket(packet=raw, dict=theirs, secret=SECRET)


def pyrad_writes(
    name: str, value: object, theirs: pyrad_dictionary.Dictionary, ours: Dictionary
) -> tuple[Attribute, ...]:
    packet = pyrad_packet.AuthPacket(dict=theirs, secret=SECRET, authenticator=AUTHENTICATOR, id=7)
    packet.AddAttribute(name, value)
    return decode_tree(decode(packet.RequestPacket()), ours, secret=SECRET)


@pytest.mark.parametrize(("name", "value", "read_by_pyrad", "written_by_pyrad"), SAMPLES)
def test_pyrad_and_we_understand_each_other(
    name: str,
    value: Value,
    read_by_pyrad: object,
    written_by_pyrad: object,
    ours: Dictionary,
    theirs: pyrad_dictionary.Dictionary,
) -> None:
    octets = encode(name, value, ours, secret=SECRET, authenticator=AUTHENTICATOR)
    assert pyrad_reads(octets, theirs)[name] == [read_by_pyrad]
    (attribute,) = pyrad_writes(name, written_by_pyrad, theirs, ours)
    assert (attribute.definition.name, attribute.value) == (name, value)


@pytest.mark.parametrize("tag", [1, 31])
@pytest.mark.parametrize(
    ("name", "value"), [("Tagged-Number", 13), ("Tagged-Text", "120"), ("Tagged-Secret", "geheim" * 5)]
)
def test_tags_are_the_same_to_pyrad(
    name: str, value: Value, tag: int, ours: Dictionary, theirs: pyrad_dictionary.Dictionary
) -> None:
    octets = encode(name, value, ours, tag=tag, secret=SECRET, authenticator=AUTHENTICATOR)
    packet = pyrad_reads(octets, theirs)
    shown = value.encode() if name == "Tagged-Secret" and isinstance(value, str) else value
    assert packet[f"{name}:{tag}"] in ([value], [shown])
    (attribute,) = pyrad_writes(f"{name}:{tag}", value, theirs, ours)
    assert (attribute.definition.name, attribute.tag, attribute.value) == (name, tag, value)


@pytest.mark.parametrize(
    ("group", "member", "value"), [("Group", "Member", 23), ("Maker-Group", "Maker-Member", "x")]
)
def test_tlvs_are_the_same_to_pyrad(
    group: str, member: str, value: Value, ours: Dictionary, theirs: pyrad_dictionary.Dictionary
) -> None:
    octets = encode(member, value, ours)
    assert pyrad_reads(octets, theirs)[group] == {member: [value]}
    (attribute,) = pyrad_writes(member, value, theirs, ours)
    assert [(child.definition.name, child.value) for child in attribute.children] == [(member, value)]


def test_ascend_filters_are_the_same_to_pyrad(ours: Dictionary, theirs: pyrad_dictionary.Dictionary) -> None:
    theirs_text = "family=ipv4 action=accept direction=in dst=192.0.2.0/24 proto=6 dport=80 dportq=2"
    (attribute,) = pyrad_writes("Filter", theirs_text, theirs, ours)
    assert attribute.text() == f"Filter = {FILTER}"
    assert pyrad_reads(encode("Filter", FILTER, ours), theirs)["Filter"] == [attribute.value]
