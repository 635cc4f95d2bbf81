"""Counters of accounting packets: directions, gigawords, and what each vendor adds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius.packet import Packet, attribute, decode, header, vendor_attribute
from radius.usage import Usage, read
from radius.vendors import PROFILES, find


def interim(*attributes: bytes) -> Packet:
    body = b"".join(attributes)
    return decode(header(4, 1, 20 + len(body), bytes(16)) + body)


def integer(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(4, "big"))


def vendor_integer(vendor: int, kind: int, value: int) -> bytes:
    return vendor_attribute(vendor, kind, value.to_bytes(4, "big"))


COUNTERS = (integer(46, 3_600), integer(42, 5), integer(43, 7), integer(47, 11), integer(48, 13))


def usage_of(name: str, packet: Packet) -> Usage:
    profile = find(name)
    assert profile is not None
    return profile.usage(packet)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_acct_input_is_the_upload(profile: object) -> None:
    usage = usage_of(profile.name, interim(*COUNTERS))  # type: ignore[attr-defined]  # a VendorProfile
    assert usage == Usage(3_600, 5, 7, 11, 13)


def test_gigawords_are_folded_in() -> None:
    usage = read(interim(*COUNTERS, integer(52, 2), integer(53, 3)))
    assert usage == Usage(3_600, (2 << 32) + 5, (3 << 32) + 7, 11, 13, gigawords=True)


def test_a_zero_gigaword_is_still_there() -> None:
    assert read(interim(*COUNTERS, integer(52, 0))) == Usage(3_600, 5, 7, 11, 13, gigawords=True)


def test_absent_counters_are_none_and_not_zero() -> None:
    assert read(interim(integer(40, 1))) == Usage()
    assert read(interim(integer(53, 1))) == Usage(gigawords=True)


def test_a_counter_of_a_wrong_length_is_none() -> None:
    assert read(interim(attribute(42, b"\0" * 8), attribute(46, b"\1"), attribute(52, b"\1"))) == Usage()


def test_a_packet_that_ends_in_a_short_counter_is_read() -> None:
    assert read(interim(attribute(43, b"\1"))) == Usage()


@given(
    st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)
)
def test_directions_are_never_swapped(
    upload: int, download: int, upload_high: int, download_high: int
) -> None:
    packet = interim(
        integer(42, upload), integer(43, download), integer(52, upload_high), integer(53, download_high)
    )
    usage = read(packet)
    assert usage.upload_octets == upload_high << 32 | upload
    assert usage.download_octets == download_high << 32 | download


@pytest.mark.parametrize(
    ("name", "vendor", "kinds"),
    [
        ("juniper", 4874, (151, 152, 155, 156)),
        ("huawei", 2011, (144, 145, 148, 149)),
        ("nokia", 6527, (195, 198, 196, 199)),
    ],
)
def test_reads_the_ipv6_counters_of_a_vendor(name: str, vendor: int, kinds: tuple[int, ...]) -> None:
    packet = interim(
        *COUNTERS,
        *(vendor_integer(vendor, kind, value) for kind, value in zip(kinds, (17, 19, 1, 2), strict=True)),
    )
    assert usage_of(name, packet) == Usage(
        3_600, 5, 7, 11, 13, ipv6_upload_octets=(1 << 32) + 17, ipv6_download_octets=(2 << 32) + 19
    )


def test_ipv6_counters_of_another_vendor_are_not_read() -> None:
    packet = interim(*COUNTERS, vendor_integer(9, 151, 17), vendor_integer(9, 152, 19))
    assert usage_of("juniper", packet) == Usage(3_600, 5, 7, 11, 13)


def test_one_ipv6_counter_leaves_the_other_unknown() -> None:
    usage = usage_of("huawei", interim(*COUNTERS, vendor_integer(2011, 144, 17)))
    assert (usage.ipv6_upload_octets, usage.ipv6_download_octets) == (17, None)


QUEUES = (
    vendor_attribute(6527, 19, bytes.fromhex("000200000000000001f4")),  # ingress queue 2, 500 octets
    vendor_attribute(6527, 20, bytes.fromhex("800300000000000003e8")),  # ingress policer 3, 1000 octets
    vendor_attribute(6527, 21, bytes.fromhex("00010000000100000000")),  # egress queue 1, 4 GiB
    vendor_attribute(6527, 22, bytes.fromhex("0002000000000000000a")),  # egress queue 2, 10 octets
)


def test_nokia_queue_counters_are_summed_where_the_standard_ones_are_absent() -> None:
    assert usage_of("nokia", interim(integer(46, 60), *QUEUES)) == Usage(60, 1_500, (1 << 32) + 10)


def test_nokia_queue_counters_do_not_count_twice() -> None:
    assert usage_of("nokia", interim(*COUNTERS, *QUEUES)) == Usage(3_600, 5, 7, 11, 13)


def test_nokia_counters_of_applications_and_odd_lengths_are_left_out() -> None:
    application = vendor_attribute(6527, 21, bytes.fromhex("40020000000000651d26"))
    odd = vendor_attribute(6527, 19, bytes.fromhex("0002000001f4"))
    assert usage_of("nokia", interim(application, odd)) == Usage()
