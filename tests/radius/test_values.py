"""Values of each type: octets, Python values, text."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius import values
from radius.dictionary import AttributeDef, Type, shipped
from radius.errors import Malformed, Unencodable
from radius.values import Value

DICTIONARY = shipped()


def of(kind: Type, length: int | None = None) -> AttributeDef:
    return AttributeDef("Example", (200,), kind, length=length)


NUMBERS = AttributeDef(
    "Speed", (200,), Type.INTEGER, value_names={1: "Slow", 9: "10"}, value_numbers={"Slow": 1, "10": 9}
)

SAMPLES: list[tuple[Type, Value, str, str]] = [
    (Type.STRING, "zażółć", "7a61c5bcc3b3c582c487", "zażółć"),
    (Type.OCTETS, b"\x00\xff", "00ff", "0x00ff"),
    (Type.STRUCT, b"\x01", "01", "0x01"),
    (Type.INTEGER, 4294967295, "ffffffff", "4294967295"),
    (Type.BYTE, 255, "ff", "255"),
    (Type.SHORT, 258, "0102", "258"),
    (Type.SIGNED, -2, "fffffffe", "-2"),
    (Type.INTEGER64, 1 << 40, "0000010000000000", "1099511627776"),
    (Type.DATE, 1767225600, "6955b900", "2026-01-01T00:00:00Z"),
    (Type.IPADDR, IPv4Address("192.0.2.1"), "c0000201", "192.0.2.1"),
    (Type.IPV6ADDR, IPv6Address("2001:db8::1"), "20010db8" + "00" * 11 + "01", "2001:db8::1"),
    (Type.COMBO_IP, IPv4Address("192.0.2.1"), "c0000201", "192.0.2.1"),
    (Type.COMBO_IP, IPv6Address("::1"), "00" * 15 + "01", "::1"),
    (Type.IPV4PREFIX, IPv4Network("192.0.2.0/25"), "0019c0000200", "192.0.2.0/25"),
    (Type.IPV6PREFIX, IPv6Network("2001:db8::/56"), "003820010db8" + "00" * 12, "2001:db8::/56"),
    (Type.IFID, "0:0:0:1", "0000000000000001", "0:0:0:1"),
    (Type.ETHER, "02:00:5e:00:53:01", "02005e005301", "02:00:5e:00:53:01"),
]


@pytest.mark.parametrize(("kind", "value", "octets", "text"), SAMPLES)
def test_each_type_has_octets_and_text(kind: Type, value: Value, octets: str, text: str) -> None:
    definition = of(kind)
    assert values.encode(value, definition).hex() == octets
    assert values.decode(bytes.fromhex(octets), definition) == value
    assert values.text(value, definition) == text
    assert values.parse(text, definition) == value


STRATEGIES: dict[Type, st.SearchStrategy[Value]] = {
    Type.STRING: st.text(),
    Type.OCTETS: st.binary(),
    Type.STRUCT: st.binary(),
    Type.ABINARY: st.binary(),
    Type.INTEGER: st.integers(0, 0xFFFFFFFF),
    Type.DATE: st.integers(0, 0xFFFFFFFF),
    Type.BYTE: st.integers(0, 0xFF),
    Type.SHORT: st.integers(0, 0xFFFF),
    Type.SIGNED: st.integers(-(1 << 31), (1 << 31) - 1),
    Type.INTEGER64: st.integers(0, (1 << 64) - 1),
    Type.IPADDR: st.ip_addresses(v=4),
    Type.IPV6ADDR: st.ip_addresses(v=6),
    Type.COMBO_IP: st.ip_addresses(),
    Type.IPV4PREFIX: st.builds(
        lambda address, bits: IPv4Network((address, bits), strict=False),
        st.ip_addresses(v=4),
        st.integers(0, 32),
    ),
    Type.IPV6PREFIX: st.builds(
        lambda address, bits: IPv6Network((address, bits), strict=False),
        st.ip_addresses(v=6),
        st.integers(0, 128),
    ),
    Type.IFID: st.lists(st.integers(0, 0xFFFF), min_size=4, max_size=4).map(
        lambda groups: ":".join(f"{group:x}" for group in groups)
    ),
    Type.ETHER: st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":")),
}


@given(st.sampled_from(list(STRATEGIES)).flatmap(lambda kind: st.tuples(st.just(kind), STRATEGIES[kind])))
def test_every_value_survives_octets_and_text(sample: tuple[Type, Value]) -> None:
    kind, value = sample
    definition = of(kind)
    assert values.decode(values.encode(value, definition), definition) == value
    assert values.parse(values.text(value, definition), definition) == value


def test_every_type_of_a_value_is_tested() -> None:
    containers = {Type.TLV, Type.VSA, Type.EXTENDED, Type.LONG_EXTENDED, Type.EVS}
    assert set(STRATEGIES) | containers == set(Type)


@given(kind=st.sampled_from(list(Type)), octets=st.binary(max_size=20))
def test_octets_are_a_value_or_malformed(kind: Type, octets: bytes) -> None:
    definition = of(kind)
    with suppress(Malformed):
        value = values.decode(octets, definition)
        assert values.parse(values.text(value, definition), definition) == value


@pytest.mark.parametrize(
    ("octets", "prefix"),
    [
        ("0040 20010db800010000 0000000000000000", "2001:db8:1::/64"),
        ("0040 20010db800010000", "2001:db8:1::/64"),  # no more octets than needed
        ("0040 20010db80001", "2001:db8:1::/64"),  # fewer than needed: zeros
        ("0038 20010db8000100ff", "2001:db8:1::/56"),  # host bits set
        ("ff40 20010db8", "2001:db8::/64"),  # the reserved octet is ignored
        ("0000", "::/0"),
    ],
)
def test_reads_ipv6_prefixes_as_devices_send_them(octets: str, prefix: str) -> None:
    assert values.decode(bytes.fromhex(octets), of(Type.IPV6PREFIX)) == IPv6Network(prefix)


def test_ignores_reserved_and_host_bits_of_an_ipv4_prefix() -> None:
    assert values.decode(bytes.fromhex("01d8c00002ff"), of(Type.IPV4PREFIX)) == IPv4Network("192.0.2.0/24")


@pytest.mark.parametrize(
    ("kind", "octets", "message"),
    [
        (Type.INTEGER, "000001", "3 octets, 4 expected"),
        (Type.IPADDR, "c00002", "3 octets, 4 expected"),
        (Type.STRING, "ff", "UTF-8 expected"),
        (Type.COMBO_IP, "c000020100", "5 octets, 4 or 16 expected"),
        (Type.IPV6PREFIX, "00", "1 octets, 2 to 18 expected"),
        (Type.IPV6PREFIX, "0081", "prefix length 129, 0 to 128 expected"),
        (Type.IPV4PREFIX, "0021c0000200", "prefix length 33, 0 to 32 expected"),
    ],
)
def test_malformed_octets_are_named(kind: Type, octets: str, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        values.decode(bytes.fromhex(octets), of(kind))


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Type.BYTE, 256, "an integer from 0 to 255 expected, not '256'"),
        (Type.INTEGER, -1, "an integer from 0 to 4294967295 expected"),
        (Type.INTEGER, True, "an integer from 0 to 4294967295 expected"),
        (Type.SIGNED, 1 << 31, "an integer from -2147483648 to 2147483647 expected"),
        (Type.INTEGER, "1", "an integer from"),
        (Type.STRING, b"x", r"text \(str\) expected"),
        (Type.STRING, "\ud800", "text that UTF-8 can carry expected"),
        (Type.IPADDR, IPv6Address("::1"), "an IPv4 address expected, not '::1'"),
        (Type.IPV6PREFIX, IPv4Network("0.0.0.0/0"), "an IPv6 prefix such as"),
        (Type.IFID, "1:2", "an interface identifier"),
        (Type.ETHER, "02:00", "a MAC address"),
        (Type.OCTETS, "text", "octets"),
        (Type.IPADDR, b"\0\0\0\0", "an IPv4 address expected"),
    ],
)
def test_a_value_of_another_type_or_range_is_refused(kind: Type, value: Value, message: str) -> None:
    with pytest.raises(Unencodable, match=message):
        values.encode(value, of(kind))


def test_a_fixed_length_is_kept() -> None:
    assert values.encode(b"abc", of(Type.OCTETS, 3)) == b"abc"
    with pytest.raises(Unencodable, match="2 octets, exactly 3 expected"):
        values.encode(b"ab", of(Type.OCTETS, 3))
    with pytest.raises(Malformed, match="2 octets, 3 expected"):
        values.decode(b"ab", of(Type.OCTETS, 3))


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Type.INTEGER, " 0x10 ", 16),
        (Type.DATE, "2026-01-01T01:00:00+01:00", 1767225600),
        (Type.DATE, "2026-01-01", 1767225600),
        (Type.DATE, "1767225600", 1767225600),
        (Type.OCTETS, "hello", b"hello"),
        (Type.OCTETS, "0X0aFF", b"\x0a\xff"),
        (Type.ETHER, "02-00-5E-00-53-01", "02:00:5e:00:53:01"),
        (Type.ETHER, "0200.5e00.5301", "02:00:5e:00:53:01"),
        (Type.IFID, "0000:0000:0000:0001", "0:0:0:1"),
        (Type.IPV6PREFIX, "2001:db8::1/64", IPv6Network("2001:db8::/64")),
        (Type.IPV4PREFIX, "192.0.2.77/24", IPv4Network("192.0.2.0/24")),
        (Type.COMBO_IP, "2001:db8::1", IPv6Address("2001:db8::1")),
        (Type.STRING, " kept as it is ", " kept as it is "),
    ],
)
def test_parses_what_people_write(kind: Type, text: str, value: Value) -> None:
    assert values.parse(text, of(kind)) == value


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Type.INTEGER, "many", "an integer from 0 to 4294967295 expected, not 'many'"),
        (Type.INTEGER, "4294967296", "an integer from 0 to 4294967295 expected"),
        (Type.DATE, "tomorrow", "seconds since 1970"),
        (Type.DATE, "1969-01-01", "seconds since 1970"),
        (Type.OCTETS, "0xzz", "octets"),
        (Type.IPADDR, "192.0.2.256", "an IPv4 address expected"),
        (Type.IPV6PREFIX, "2001:db8::/129", "an IPv6 prefix"),
    ],
)
def test_says_what_a_text_should_have_been(kind: Type, text: str, message: str) -> None:
    with pytest.raises(Unencodable, match=message):
        values.parse(text, of(kind))


def test_uses_the_names_of_values() -> None:
    assert values.text(1, NUMBERS) == "Slow"
    assert values.parse("slow", NUMBERS) == 1
    assert values.text(2, NUMBERS) == "2"
    with pytest.raises(Unencodable, match="or a name: Slow, 10 expected, not 'Swift'"):
        values.parse("Swift", NUMBERS)


def test_a_number_whose_digits_name_another_is_printed_in_hexadecimal() -> None:
    assert values.text(9, NUMBERS) == "10"
    assert values.text(10, NUMBERS) == "0xa"
    assert values.parse(values.text(10, NUMBERS), NUMBERS) == 10


def test_every_named_value_that_ships_survives_its_text() -> None:
    for definition in DICTIONARY:
        for number in definition.value_names:
            assert values.parse(values.text(number, definition), definition) == number, definition.name


def test_an_error_about_a_secret_does_not_show_it() -> None:
    definition = DICTIONARY.by_name("MS-CHAP-MPPE-Keys")
    assert definition is not None
    with pytest.raises(Unencodable) as caught:
        values.parse("0xsecret", definition)
    assert "secret" not in str(caught.value)
