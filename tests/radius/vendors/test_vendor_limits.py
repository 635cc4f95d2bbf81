"""What does not fit, contradicts or would do harm is refused: attribute, reason, way out."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from radius.errors import Unencodable
from radius.grant import Burst, Grant, Rate, Route
from radius.vendors import PROFILES, names
from tests.radius.vendors import peer
from tests.radius.vendors.plans import BURST, RATE, profile_of

MOST = 4_294_967_295


def refusal(name: str, grant: Grant) -> Unencodable:
    with pytest.raises(Unencodable) as caught:
        profile_of(name).render(grant)
    return caught.value


def both(bps: int) -> Rate:
    return Rate(download_bps=bps, upload_bps=bps)


@pytest.mark.parametrize(
    ("name", "attribute"), [("huawei", "Huawei-Input-Average-Rate"), ("wispr", "WISPr-Bandwidth-Max-Up")]
)
def test_bit_per_second_attributes_end_at_32_bits(name: str, attribute: str) -> None:
    assert peer.read(profile_of(name).render(Grant(rate=both(MOST))))[attribute] == [MOST]
    error = refusal(name, Grant(rate=both(MOST + 1)))
    assert error.attribute == attribute
    assert "4,294,967,295" in error.why
    assert "qos_profile" in error.remedy


def test_a_profile_name_is_the_way_beyond_32_bits() -> None:
    grant = Grant(rate=both(10_000_000_000), qos_profile="res-10g")
    assert peer.read(profile_of("huawei").render(grant))["Huawei-Qos-Profile-Name"] == ["res-10g"]


@pytest.mark.parametrize(
    ("bps", "mikrotik", "accel", "nokia", "juniper"),
    [
        (1_000, "1k/1k", "1/1", "e:r:rate=1", "T02 1k"),
        (1, "1/1", "1/1", "e:r:rate=1", "T02 1"),
        (1_500, "1500/1500", "2/2", "e:r:rate=2", "T02 1500"),
        (1_000_000_000, "1000M/1000M", "1000000/1000000", "e:r:rate=1000000", "T02 1000m"),
        (MOST + 1, "4294967296/4294967296", "4294968/4294968", "e:r:rate=4294968", "T02 4294967296"),
    ],
)
def test_units_are_exact_or_rounded_up(bps: int, mikrotik: str, accel: str, nokia: str, juniper: str) -> None:
    grant = Grant(rate=both(bps))
    assert peer.read(profile_of("mikrotik").render(grant))["Mikrotik-Rate-Limit"] == [mikrotik]
    assert peer.read(profile_of("accel-ppp").render(grant))["Filter-Id"] == [accel]
    assert peer.read(profile_of("nokia").render(grant))["Alc-Subscriber-QoS-Override"][1] == nokia
    assert peer.read(profile_of("juniper").render(grant))["ERX-CoS-Shaping-Pmt-Type"] == [juniper]


RATED = [profile.name for profile in PROFILES if profile.renders_rate]


@pytest.mark.parametrize("name", RATED)
@pytest.mark.parametrize(
    ("grant", "said"),
    [
        (Grant(rate=both(0)), "the rate is 0"),
        (Grant(rate=Rate(download_bps=1, upload_bps=-1)), "the rate is -1 bit/s upload"),
        (Grant(burst=BURST), "without a rate"),
        (Grant(committed=RATE), "without a rate"),
        (Grant(rate=both(200_000_000), burst=BURST), "the burst rate is"),
        (Grant(rate=RATE, burst=replace(BURST, threshold=both(0))), "threshold is 0"),
        (Grant(rate=RATE, burst=replace(BURST, threshold=both(10**9))), "threshold"),
        (Grant(rate=RATE, burst=replace(BURST, seconds=0)), "0 seconds"),
        (Grant(rate=RATE, committed=both(100_000_000)), "committed"),
        (Grant(rate=RATE, committed=both(1), priority=0), "priority 0"),
    ],
)
def test_contradictory_rates_are_refused(name: str, grant: Grant, said: str) -> None:
    assert said in refusal(name, grant).why


def test_a_text_of_247_octets_fits_into_a_vendor_attribute_and_248_do_not() -> None:
    fits = profile_of("mikrotik").render(Grant(address_list="x" * 247))
    assert len(fits[-1].octets) == 255
    error = refusal("mikrotik", Grant(address_list="x" * 248))
    assert (error.attribute, error.why) == (
        "Mikrotik-Address-List",
        "address_list has 248 octets, at most 247 fit",
    )


def test_what_stands_before_a_text_counts() -> None:
    profile_of("juniper").render(Grant(services=("x" * 246,)))
    assert "247 octets, at most 246" in refusal("juniper", Grant(services=("x" * 247,))).why
    assert "at most 247" in refusal("cisco", Grant(download_policy="x" * 240)).why


def test_octets_are_counted_and_not_characters() -> None:
    profile_of("standard").render(Grant(filter_id="é" * 126))
    assert "254 octets, at most 253" in refusal("standard", Grant(filter_id="é" * 127)).why


@pytest.mark.parametrize(
    ("grant", "attribute"),
    [
        (Grant(group="x" * 17), "Alc-Subsc-Prof-Str"),
        (Grant(qos_profile="x" * 17), "Alc-SLA-Prof-Str"),
        (Grant(ipv4_pool="x" * 33), "Framed-Pool"),
        (Grant(ipv6_delegated_pool="x" * 33), "Alc-Delegated-IPv6-Pool"),
        (Grant(ipv6_pool="x" * 33), "Alc-SLAAC-IPv6-Pool"),
        (Grant(vrf="CUST-A"), "Alc-Retail-Serv-Id"),
        (Grant(vrf="0"), "Alc-Retail-Serv-Id"),
        (Grant(vrf="\u0661"), "Alc-Retail-Serv-Id"),
        (Grant(ipv6_prefix=IPv6Network("2001:db8::/63")), "Framed-IPv6-Prefix"),
        (Grant(ipv6_delegated=IPv6Network("2001:db8::/47")), "Delegated-IPv6-Prefix"),
    ],
)
def test_nokia_limits_are_known(grant: Grant, attribute: str) -> None:
    assert refusal("nokia", grant).attribute == attribute


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.1"])
def test_an_address_that_is_none_is_never_sent(name: str, address: str) -> None:
    assert refusal(name, Grant(ipv4_address=IPv4Address(address))).attribute == "Framed-IP-Address"


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("address", ["255.255.255.254", "255.255.255.255"])
def test_the_choice_may_be_left_to_nas_or_user(name: str, address: str) -> None:
    reply = peer.read(profile_of(name).render(Grant(ipv4_address=IPv4Address(address))))
    assert reply["Framed-IP-Address"] == [address]


@pytest.mark.parametrize(
    ("grant", "attribute"),
    [
        (Grant(interim_interval_s=59), "Acct-Interim-Interval"),
        (Grant(session_timeout_s=0), "Session-Timeout"),
        (Grant(idle_timeout_s=2**32), "Idle-Timeout"),
        (Grant(vlan_id=4095), "Tunnel-Private-Group-Id"),
        (Grant(vlan_id=0), "Tunnel-Private-Group-Id"),
        (Grant(filter_id=""), "Filter-Id"),
        (Grant(filter_id="RES\n"), "Filter-Id"),
        (Grant(filter_id="\ud800"), "Filter-Id"),
        (Grant(ipv6_address=IPv6Address("::")), "Framed-IPv6-Address"),
        (Grant(ipv6_prefix=IPv6Network("::/0")), "Framed-IPv6-Prefix"),
        (Grant(ipv6_delegated=IPv6Network("ff00::/8")), "Delegated-IPv6-Prefix"),
        (Grant(dns4=(IPv4Address("192.0.2.1"),) * 3), "MS-Primary-DNS-Server"),
        (Grant(dns4=(IPv4Address(0),)), "MS-Primary-DNS-Server"),
        (Grant(dns6=(IPv6Address("ff02::1"),)), "DNS-Server-IPv6-Address"),
        (
            Grant(ipv4_address=IPv4Address("192.0.2.1"), ipv4_netmask=IPv4Address("255.0.255.0")),
            "Framed-IP-Netmask",
        ),
        (
            Grant(routes=(Route(prefix=IPv4Network("192.0.2.0/24"), gateway=IPv6Address("fe80::1")),)),
            "Framed-Route",
        ),
        (Grant(routes=(Route(prefix=IPv6Network("2001:db8::/48"), metric=-1),)), "Framed-IPv6-Route"),
        (Grant(vrf="CUST-A"), "vrf"),
        (Grant(rate_text="20M/100M"), "rate_text"),
    ],
)
def test_values_out_of_range_are_refused_by_name(grant: Grant, attribute: str) -> None:
    assert refusal("standard", grant).attribute == attribute


def test_a_reply_that_no_packet_holds_is_refused() -> None:
    routes = tuple(Route(prefix=IPv4Network((0x0A000000 + 256 * each, 24))) for each in range(180))
    error = refusal("standard", Grant(routes=routes))
    assert error.attribute == "reply"


@pytest.mark.parametrize("name", ["standard", "cisco", "juniper", "huawei", "nokia", "wispr"])
def test_vendors_without_a_rate_string_refuse_a_literal(name: str) -> None:
    error = refusal(name, Grant(rate_text="20M/100M", rate=RATE))
    assert (error.attribute, name in error.why) == ("rate_text", True)


def test_a_literal_replaces_the_numbers() -> None:
    grant = Grant(rate=RATE, rate_text="15M/80M 20M/90M")
    assert peer.read(profile_of("mikrotik").render(grant))["Mikrotik-Rate-Limit"] == ["15M/80M 20M/90M"]
    grant = Grant(rate=RATE, rate_text="3,80M/15000k")
    assert peer.read(profile_of("accel-ppp").render(grant))["Filter-Id"] == ["3,80M/15000k"]


@pytest.mark.parametrize(
    ("name", "literal"),
    [("mikrotik", "1G/1G"), ("mikrotik", "fast"), ("accel-ppp", "1G/1G"), ("accel-ppp", "20M")],
)
def test_a_literal_that_the_nas_cannot_read_is_refused(name: str, literal: str) -> None:
    assert "rate_text" in refusal(name, Grant(rate_text=literal)).why


@pytest.mark.parametrize(("name", "literal"), [("mikrotik", "100M/20M"), ("accel-ppp", "20M/100M")])
def test_a_literal_with_swapped_directions_is_refused(name: str, literal: str) -> None:
    assert "swapped" in refusal(name, Grant(rate=RATE, rate_text=literal)).why


@pytest.mark.parametrize("name", ["standard", "wispr", "mikrotik", "cisco"])
def test_a_vrf_is_never_dropped_in_silence(name: str) -> None:
    assert refusal(name, Grant(vrf="CUST-A")).remedy


def test_cisco_wants_an_interface_that_lends_its_address() -> None:
    assert "Loopback10" in refusal("cisco", Grant(vrf="CUST-A", group="ppp-residential")).remedy
    assert profile_of("cisco").unsaid(Grant(group="ppp-residential")) == ("group",)


def test_accel_ppp_would_take_a_leading_zero_for_removal() -> None:
    assert refusal("accel-ppp", Grant(vrf="0A")).attribute == "Accel-VRF-Name"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("X({speed})", "'speed'"),
        ("X({})", "''"),
        ("X({download_bps!r})", "'download_bps'"),
        ("X({download_bps:,})", "'download_bps'"),
        ("X({download_bps.__class__})", "'download_bps.__class__'"),
        ("X({download_bps", "service"),
    ],
)
def test_unknown_placeholders_are_refused_with_the_list_of_allowed_ones(template: str, said: str) -> None:
    for name in ("cisco", "juniper"):
        error = refusal(name, Grant(rate=RATE, services=(template,)))
        assert said in error.why
        assert "{download_bps}" in error.remedy
        assert "{upload_m}" in error.remedy


def test_a_placeholder_needs_a_rate_in_whole_units() -> None:
    assert "needs a rate" in refusal("juniper", Grant(services=("X({upload_m})",))).why
    grant = Grant(rate=Rate(download_bps=1_500_000, upload_bps=1_500_000), services=("X({upload_m})",))
    assert "{upload_bps}" in refusal("juniper", grant).remedy


def test_doubled_braces_are_braces() -> None:
    reply = peer.read(profile_of("cisco").render(Grant(services=("X{{1}}",))))
    assert reply["Cisco-Account-Info"] == ["AX{1}"]


def test_junos_has_31_tags() -> None:
    assert "31" in refusal("juniper", Grant(services=("X",) * 32)).why


def test_burst_fits_huawei_only_within_32_bits() -> None:
    grant = Grant(rate=both(MOST), burst=Burst(rate=both(MOST + 1), threshold=both(1), seconds=1))
    assert refusal("huawei", grant).attribute == "Huawei-Input-Peak-Rate"
