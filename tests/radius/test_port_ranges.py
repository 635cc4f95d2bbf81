"""Port blocks of a CGN: RFC 8045 as FreeRADIUS encodes it, and what Nokia and Huawei send."""

from __future__ import annotations

import shutil
import socket
import subprocess
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius.codes import AcctStatus, Attr, Code, Vendor
from radius.packet import Packet, attribute, decode, header, vendor_attribute
from radius.port_ranges import PortRange, Reading, Told, may_report, read

OUTSIDE = IPv4Address("203.0.113.1")


def packet(attributes: bytes, status: AcctStatus = AcctStatus.INTERIM_UPDATE) -> Packet:
    octets = attribute(Attr.ACCT_STATUS_TYPE, int(status).to_bytes(4, "big")) + attributes
    return decode(header(Code.ACCOUNTING_REQUEST, 1, 20 + len(octets), bytes(16)) + octets)


def tlv(kind: int, value: int | bytes) -> bytes:
    body = value.to_bytes(4, "big") if isinstance(value, int) else value
    return bytes((kind, len(body) + 2)) + body


def port_range(*tlvs: bytes) -> bytes:
    return attribute(241, b"\x06" + b"".join(tlvs))


def block(alloc: int = 1, first: int = 1_024, last: int = 2_047) -> tuple[bytes, ...]:
    return tlv(8, alloc), tlv(3, OUTSIDE.packed), tlv(9, first), tlv(10, last)


def nokia(text: str) -> bytes:
    return vendor_attribute(Vendor.NOKIA_SR, 121, text.encode())


def huawei(kind: int, value: int | bytes) -> bytes:
    body = value.to_bytes(4, "big") if isinstance(value, int) else value
    return vendor_attribute(Vendor.HUAWEI, kind, body)


def test_a_block_is_given_out_and_given_back() -> None:
    found = read(packet(port_range(*block()) + port_range(*block(2, 4_096, 4_607))), "standard")
    assert found == Reading(
        (
            PortRange(Told.HELD, OUTSIDE, 1_024, 2_047),
            PortRange(Told.RELEASED, OUTSIDE, 4_096, 4_607),
        ),
        0,
    )


def test_what_the_attribute_says_of_protocol_and_inside_is_kept() -> None:
    (found,) = read(
        packet(port_range(tlv(1, 3), *block(), tlv(4, IPv4Address("100.64.0.1").packed))), "standard"
    ).ranges
    assert (found.transport, found.inside) == (3, IPv4Address("100.64.0.1"))
    (found,) = read(packet(port_range(*block(), tlv(5, IPv6Address("2001:db8::1").packed))), "x").ranges
    assert found.inside == IPv6Address("2001:db8::1")


def test_a_deallocation_without_ports_is_of_all_blocks() -> None:
    found = read(packet(port_range(tlv(8, 2)) + port_range(tlv(8, 2), tlv(3, OUTSIDE.packed))), "x")
    assert found.ranges == (
        PortRange(Told.RELEASED_ALL, None, 0, 65_535),
        PortRange(Told.RELEASED_ALL, OUTSIDE, 0, 65_535),
    )


@pytest.mark.parametrize(
    "octets",
    [
        port_range(tlv(8, 1), tlv(3, OUTSIDE.packed)),  # an allocation of which ports?
        port_range(tlv(8, 1), tlv(9, 1_024), tlv(10, 2_047)),  # of which address?
        port_range(*block(0)),  # neither given out nor given back
        port_range(*block()[1:]),
        port_range(*block(1, 2_048, 1_024)),
        port_range(*block(1, 1_024, 65_536)),
        port_range(tlv(8, 2), tlv(9, 1_024)),
        port_range(tlv(8, 2), tlv(9, b"\x01"), tlv(10, b"\x01")),
        port_range(tlv(8, 1), tlv(3, bytes(4)), tlv(9, 1_024), tlv(10, 2_047)),
        port_range(b"\x08\x09\x01"),
        port_range(),
    ],
)
def test_what_makes_no_sense_is_counted_and_left_out(octets: bytes) -> None:
    assert read(packet(octets), "standard") == Reading((), 1)


def test_other_attributes_of_the_space_are_none_of_ours() -> None:
    limit = attribute(241, b"\x05" + tlv(2, 2_000))
    assert read(packet(limit), "standard") == Reading((), 0)
    assert read(packet(b""), "nokia") == Reading((), 0)


def test_a_packet_without_such_attributes_is_not_looked_into() -> None:
    plain = packet(vendor_attribute(Vendor.MIKROTIK, 10, b"x"))
    assert not may_report(plain, "mikrotik")
    assert not may_report(packet(b""), "huawei")
    assert may_report(packet(port_range()), "mikrotik")


def test_nokia_lists_the_blocks_of_an_address() -> None:
    text = "203.0.113.1 37674-37723,38507-38556 router base"
    two = (
        PortRange(Told.HELD, OUTSIDE, 37_674, 37_723),
        PortRange(Told.HELD, OUTSIDE, 38_507, 38_556),
    )
    assert read(packet(nokia(text)), "nokia") == Reading(two, 0)
    assert read(packet(nokia(text)), "standard") == Reading((), 0)
    stopped = read(packet(nokia(text), AcctStatus.STOP), "nokia").ranges
    assert [each.told for each in stopped] == [Told.RELEASED] * 2
    more = read(packet(nokia("203.0.113.1 1-2 router base") + nokia("203.0.113.2 3-4 vprn 7")), "nokia")
    assert [(str(each.outside), each.first_port) for each in more.ranges] == [
        ("203.0.113.1", 1),
        ("203.0.113.2", 3),
    ]


def test_nokia_says_that_an_interim_frees_a_block() -> None:
    freed = vendor_attribute(Vendor.NOKIA_SR, 163, (19).to_bytes(4, "big"))
    (found,) = read(packet(nokia("203.0.113.1 1024-1055 router base") + freed), "nokia").ranges
    assert found.told is Told.RELEASED
    regular = vendor_attribute(Vendor.NOKIA_SR, 163, (1).to_bytes(4, "big"))
    (found,) = read(packet(nokia("203.0.113.1 1024-1055 router base") + regular), "nokia").ranges
    assert found.told is Told.HELD


@pytest.mark.parametrize(
    "text", ["", "router base", "203.0.113.1", "203.0.113.999 1-2 router base", "203.0.113.1 9-1", "1-2"]
)
def test_nokia_text_that_is_no_block_is_counted(text: str) -> None:
    assert read(packet(nokia(text or " ")), "nokia") == Reading((), 1)


def test_huawei_names_address_and_ports() -> None:
    held = huawei(161, OUTSIDE.packed) + huawei(162, 1_024) + huawei(163, 2_047)
    (found,) = read(packet(held), "huawei").ranges
    assert found == PortRange(Told.HELD, OUTSIDE, 1_024, 2_047)
    for update, told in ((0, Told.HELD), (1, Told.RELEASED), (3, Told.REPLACES)):
        (found,) = read(packet(held + huawei(165, update)), "huawei").ranges
        assert found.told is told
    (found,) = read(packet(held, AcctStatus.STOP), "huawei").ranges
    assert found.told is Told.RELEASED


def test_huawei_may_name_several_blocks() -> None:
    pairs = huawei(162, 1_024) + huawei(163, 2_047) + huawei(162, 4_096) + huawei(163, 4_607)
    found = read(packet(huawei(161, OUTSIDE.packed) + pairs + huawei(165, 3)), "huawei").ranges
    assert [(each.told, each.first_port) for each in found] == [(Told.REPLACES, 1_024), (Told.HELD, 4_096)]
    assert read(packet(huawei(161, OUTSIDE.packed) + huawei(162, 1_024)), "huawei") == Reading((), 1)
    assert read(packet(huawei(161, OUTSIDE.packed)), "huawei") == Reading((), 0)  # one to one


@given(
    st.binary(max_size=240), st.binary(min_size=1, max_size=240), st.sampled_from(["nokia", "huawei", "x"])
)
def test_no_octets_stop_the_reader(extended: bytes, vendor: bytes, profile: str) -> None:
    octets = attribute(241, b"\x06" + extended) + nokia(vendor.decode("latin-1")[:100])
    octets += vendor_attribute(Vendor.HUAWEI, 162, vendor)
    for each in read(packet(octets), profile).ranges:
        assert 0 <= each.first_port <= each.last_port <= 65_535


def test_freeradius_encodes_what_we_read() -> None:
    """radclient builds the attribute from its own dictionary of RFC 8045; its packet is decoded here."""
    if shutil.which("radclient") is None:
        pytest.skip("needs radclient")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        port = sock.getsockname()[1]
        sent = (
            "Acct-Status-Type = Interim-Update\n"
            "IP-Port-Range-Ext-IPv4-Addr = 203.0.113.1\n"
            "IP-Port-Range-Int-IPv4-Addr = 100.64.0.1\n"
            "IP-Port-Range-Alloc = Allocation\n"
            "IP-Port-Range-Range-Start = 1024\n"
            "IP-Port-Range-Range-End = 2047\n"
            'Alc-Nat-Port-Range = "203.0.113.1 1024-2047 router base"\n'
        )
        with subprocess.Popen(
            ["radclient", "-r", "1", "-t", "1", f"127.0.0.1:{port}", "acct", "secret"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as client:
            assert client.stdin is not None
            client.stdin.write(sent.encode())
            client.stdin.close()
            octets = sock.recv(4096)
            client.kill()
    came = decode(octets)
    inside = IPv4Address("100.64.0.1")
    assert read(came, "standard") == Reading((PortRange(Told.HELD, OUTSIDE, 1_024, 2_047, 0, inside),), 0)
    assert PortRange(Told.HELD, OUTSIDE, 1_024, 2_047) in read(came, "nokia").ranges
