"""Each vendor's reply for the reference plan, decoded a second time by pyrad, and as octets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from radius.grant import Access, Grant
from radius.vendors import PROFILES, find, names
from tests.radius.vendors import peer
from tests.radius.vendors.plans import COMMITTED, FIXED, POOLS, RATE, profile_of

COMMON: peer.Reply = {
    "Service-Type": [2],
    "Framed-Protocol": [1],
    "Session-Timeout": [86_400],
    "Idle-Timeout": [1_800],
    "Acct-Interim-Interval": [600],
}
ADDRESSES: peer.Reply = {
    "Framed-IP-Address": ["203.0.113.10"],
    "Framed-IP-Netmask": ["255.255.255.255"],
    "Framed-IPv6-Prefix": ["2001:db8:a:1::/64"],
    "Delegated-IPv6-Prefix": ["2001:db8:1000::/56"],
    "Framed-Route": ["198.51.100.0/29 0.0.0.0 1"],
    "Framed-IPv6-Route": ["2001:db8:2000::/56 :: 10"],
}
RFC_DNS: peer.Reply = {
    "MS-Primary-DNS-Server": ["192.0.2.53"],
    "MS-Secondary-DNS-Server": ["192.0.2.54"],
    "DNS-Server-IPv6-Address": ["2001:db8::53"],
}
RFC_POOLS: peer.Reply = {
    "Framed-Pool": ["POOL-RES"],
    "Framed-IPv6-Pool": ["V6-RES"],
    "Delegated-IPv6-Prefix-Pool": ["PD-RES"],
}
JUNIPER_DNS: peer.Reply = {
    "ERX-Primary-Dns": ["192.0.2.53"],
    "ERX-Secondary-Dns": ["192.0.2.54"],
    "ERX-Ipv6-Primary-Dns": ["2001:db8::53"],
}
HUAWEI_DNS: peer.Reply = {
    "Huawei-Primary-DNS": ["192.0.2.53"],
    "Huawei-Secondary-DNS": ["192.0.2.54"],
    "Huawei-DNS-Server-IPv6-address": ["2001:db8::53"],
}
NOKIA_DNS: peer.Reply = {
    "Alc-Primary-Dns": ["192.0.2.53"],
    "Alc-Secondary-Dns": ["192.0.2.54"],
    "Alc-Ipv6-Primary-Dns": ["2001:db8::53"],
}
WITHOUT_WAN_PREFIX = {name: value for name, value in ADDRESSES.items() if name != "Framed-IPv6-Prefix"}

FIXED_REPLIES: dict[str, tuple[Grant, peer.Reply]] = {
    "standard": (replace(FIXED, filter_id="RES-IN"), {"Filter-Id": ["RES-IN"], **ADDRESSES, **RFC_DNS}),
    "mikrotik": (
        replace(FIXED, vrf="CUST-A", group="ppp-residential", address_list="residential", filter_id="RES-IN"),
        {
            "Mikrotik-Rate-Limit": ["20M/100M 30M/150M 20M/100M 10/10"],
            "Mikrotik-Group": ["ppp-residential"],
            "Mikrotik-Address-List": ["residential"],
            "Filter-Id": ["RES-IN"],
            **ADDRESSES,
        },
    ),
    "cisco": (
        replace(FIXED, vrf="CUST-A", group="Loopback10"),
        {
            "Cisco-AVPair": [
                "ip:qos-policy-in=add-class(sub,(class-default),police(20000000))",
                "ip:qos-policy-out=add-class(sub,(class-default),shape(100000000))",
                "ip:vrf-id=CUST-A",
                "ip:ip-unnumbered=Loopback10",
            ],
            **ADDRESSES,
            **RFC_DNS,
        },
    ),
    "juniper": (
        replace(FIXED, vrf="CUST-A", upload_policy="UP-20M", committed=COMMITTED),
        {
            "ERX-CoS-Shaping-Pmt-Type": ["T02 100m", "T03 10m"],
            "ERX-Ingress-Policy-Name": ["UP-20M"],
            "ERX-Virtual-Router-Name": ["default:CUST-A"],
            "ERX-IPv6-NdRa-Prefix": ["2001:db8:a:1::/64"],
            **WITHOUT_WAN_PREFIX,
            **JUNIPER_DNS,
        },
    ),
    "huawei": (
        replace(FIXED, vrf="CUST-A", ipv6_address=IPv6Address("2001:db8:a:1::10")),
        {
            "Huawei-Input-Average-Rate": [20_000_000],
            "Huawei-Input-Peak-Rate": [30_000_000],
            "Huawei-Output-Average-Rate": [100_000_000],
            "Huawei-Output-Peak-Rate": [150_000_000],
            "Huawei-VPN-Instance": ["CUST-A"],
            "Huawei-Framed-IPv6-Address": ["2001:db8:a:1::10"],
            **ADDRESSES,
            **HUAWEI_DNS,
        },
    ),
    "nokia": (
        replace(FIXED, vrf="1000", group="RES", qos_profile="RES-100M", filter_id="Ingr-v4:20,Egr-v4:101"),
        {
            "Alc-Subsc-Prof-Str": ["RES"],
            "Alc-SLA-Prof-Str": ["RES-100M"],
            "Alc-Subscriber-QoS-Override": ["i:q:1:pir=20000", "e:r:rate=100000"],
            "Alc-Retail-Serv-Id": [1_000],
            "Alc-Subscriber-Filter": ["Ingr-v4:20,Egr-v4:101"],
            **ADDRESSES,
            **NOKIA_DNS,
        },
    ),
    "accel-ppp": (
        replace(FIXED, vrf="CUST-A"),
        {"Filter-Id": ["100000/20000"], "Accel-VRF-Name": ["CUST-A"], **ADDRESSES, **RFC_DNS},
    ),
    "wispr": (
        replace(FIXED, committed=COMMITTED),
        {
            "WISPr-Bandwidth-Max-Up": [20_000_000],
            "WISPr-Bandwidth-Max-Down": [100_000_000],
            "WISPr-Bandwidth-Min-Up": [2_000_000],
            "WISPr-Bandwidth-Min-Down": [10_000_000],
            **ADDRESSES,
            **RFC_DNS,
        },
    ),
}

POOL_REPLIES: dict[str, peer.Reply] = {
    "standard": {**RFC_POOLS, **RFC_DNS},
    "mikrotik": {
        "Mikrotik-Rate-Limit": ["20M/100M"],
        "Framed-Pool": ["POOL-RES"],
        "Framed-IPv6-Pool": ["V6-RES"],
        "Mikrotik-Delegated-IPv6-Pool": ["PD-RES"],
    },
    "cisco": {
        "Cisco-AVPair": [
            "ip:qos-policy-in=add-class(sub,(class-default),police(20000000))",
            "ip:qos-policy-out=add-class(sub,(class-default),shape(100000000))",
        ],
        **RFC_POOLS,
        **RFC_DNS,
    },
    "juniper": {
        "ERX-CoS-Shaping-Pmt-Type": ["T02 100m"],
        "Framed-Pool": ["POOL-RES"],
        "ERX-IPv6-NdRa-Pool-Name": ["V6-RES"],
        "ERX-IPv6-Delegated-Pool-Name": ["PD-RES"],
        **JUNIPER_DNS,
    },
    "huawei": {
        "Huawei-Input-Average-Rate": [20_000_000],
        "Huawei-Input-Peak-Rate": [20_000_000],
        "Huawei-Output-Average-Rate": [100_000_000],
        "Huawei-Output-Peak-Rate": [100_000_000],
        "Framed-Pool": ["POOL-RES"],
        "Framed-IPv6-Pool": ["V6-RES"],
        "Huawei-Delegated-IPv6-Prefix-Pool": ["PD-RES"],
        **HUAWEI_DNS,
    },
    "nokia": {
        "Alc-Subscriber-QoS-Override": ["i:q:1:pir=20000", "e:r:rate=100000"],
        "Framed-Pool": ["POOL-RES"],
        "Alc-SLAAC-IPv6-Pool": ["V6-RES"],
        "Alc-Delegated-IPv6-Pool": ["PD-RES"],
        **NOKIA_DNS,
    },
    "accel-ppp": {
        "Filter-Id": ["100000/20000"],
        "Framed-Pool": ["POOL-RES"],
        "Delegated-IPv6-Prefix-Pool": ["PD-RES"],
        **RFC_DNS,
    },
    "wispr": {
        "WISPr-Bandwidth-Max-Up": [20_000_000],
        "WISPr-Bandwidth-Max-Down": [100_000_000],
        **RFC_POOLS,
        **RFC_DNS,
    },
}

# The attributes that say the rate of the reference plan with its burst, as octets.
CISCO_UPLOAD = b"ip:qos-policy-in=add-class(sub,(class-default),police(20000000))"
CISCO_DOWNLOAD = b"ip:qos-policy-out=add-class(sub,(class-default),shape(100000000))"
RATE_OCTETS = {
    "standard": [],
    "mikrotik": ["1a2800003a8c0822" + b"20M/100M 30M/150M 20M/100M 10/10".hex()],
    "cisco": ["1a48000000090142" + CISCO_UPLOAD.hex(), "1a49000000090143" + CISCO_DOWNLOAD.hex()],
    "juniper": ["1a100000130a6c0a" + b"T02 100m".hex()],
    "huawei": [
        "1a0c000007db020601312d00",
        "1a0c000007db030601c9c380",
        "1a0c000007db050605f5e100",
        "1a0c000007db060608f0d180",
    ],
    "nokia": ["1a170000197f7e11" + b"i:q:1:pir=20000".hex(), "1a170000197f7e11" + b"e:r:rate=100000".hex()],
    "accel-ppp": ["0b0e" + b"100000/20000".hex()],
    "wispr": ["1a0c0000372a070601312d00", "1a0c0000372a080605f5e100"],
}


def test_profiles_are_found_by_their_names() -> None:
    assert names() == ("standard", "mikrotik", "cisco", "juniper", "huawei", "nokia", "accel-ppp", "wispr")
    assert [profile.name for profile in PROFILES] == list(names())
    assert find("netgear") is None


def test_only_ios_listens_on_another_coa_port() -> None:
    assert {profile.name: profile.coa_port for profile in PROFILES if profile.coa_port != 3799} == {
        "cisco": 1700
    }


def test_only_the_standard_profile_cannot_say_a_rate() -> None:
    assert [profile.name for profile in PROFILES if not profile.renders_rate] == ["standard"]


@pytest.mark.parametrize("name", names())
def test_pyrad_reads_the_reply_for_fixed_addresses(name: str) -> None:
    grant, expected = FIXED_REPLIES[name]
    assert peer.read(profile_of(name).render(grant)) == COMMON | expected


@pytest.mark.parametrize("name", names())
def test_pyrad_reads_the_reply_for_pools(name: str) -> None:
    assert peer.read(profile_of(name).render(POOLS)) == COMMON | POOL_REPLIES[name]


@pytest.mark.parametrize("name", names())
def test_the_rate_is_these_octets(name: str) -> None:
    rendered = profile_of(name).render(FIXED)
    assert [each.octets.hex() for each in rendered if each.source == "rate"] == RATE_OCTETS[name]


def test_a_whole_reply_is_these_octets() -> None:
    grant = replace(FIXED, routes=(), ipv4_netmask=None, burst=None, dns4=(), dns6=())
    assert [each.octets.hex() for each in profile_of("mikrotik").render(grant)] == [
        "060600000002",
        "070600000001",
        "1a1000003a8c080a" + b"20M/100M".hex(),
        "0806cb00710a",
        "6114004020010db8000a00010000000000000000",
        "7b14003820010db8100000000000000000000000",
        "1b0600015180",
        "1c0600000708",
        "550600000258",
    ]


@pytest.mark.parametrize("name", names())
def test_framed_protocol_is_for_ppp_only(name: str) -> None:
    reply = peer.read(profile_of(name).render(replace(POOLS, access=Access.IPOE)))
    assert reply["Service-Type"] == [2]
    assert "Framed-Protocol" not in reply


@pytest.mark.parametrize("name", names())
def test_an_empty_grant_says_how_the_session_is_framed_and_nothing_else(name: str) -> None:
    assert peer.read(profile_of(name).render(Grant())) == {"Service-Type": [2], "Framed-Protocol": [1]}
    assert profile_of(name).unsaid(Grant()) == ()


@pytest.mark.parametrize("name", ["standard", "wispr", "mikrotik"])
def test_a_vlan_is_three_tunnel_attributes(name: str) -> None:
    reply = peer.read(profile_of(name).render(Grant(access=Access.IPOE, vlan_id=120)))
    assert (reply["Tunnel-Type"], reply["Tunnel-Medium-Type"]) == ([13], [6])
    assert reply["Tunnel-Private-Group-Id"] == ["120"]


def test_mikrotik_says_a_committed_rate_in_the_long_form() -> None:
    grant = Grant(rate=replace(RATE, download_bps=50_000_000, upload_bps=10_000_000), committed=COMMITTED)
    reply = peer.read(profile_of("mikrotik").render(grant))
    assert reply["Mikrotik-Rate-Limit"] == ["10M/50M 0/0 0/0 0/0 8 2M/10M"]


def test_services_get_their_rates_and_replace_the_numbers() -> None:
    services = ("INTERNET({download_bps},{upload_bps})", "VOIP", "S{download_m}M{upload_kbps}K")
    filled = ["INTERNET(100000000,20000000)", "VOIP", "S100M20000K"]
    cisco = peer.read(profile_of("cisco").render(Grant(rate=RATE, services=services)))
    juniper = peer.read(profile_of("juniper").render(Grant(rate=RATE, services=services)))
    assert cisco["Cisco-Account-Info"] == [f"A{service}" for service in filled]
    assert juniper["ERX-Service-Activate"] == [
        bytes((tag,)) + service.encode() for tag, service in enumerate(filled, 1)
    ]
    assert "Cisco-AVPair" not in cisco
    assert "ERX-CoS-Shaping-Pmt-Type" not in juniper


def test_policy_names_replace_the_numbers_of_their_direction() -> None:
    grant = Grant(rate=RATE, download_policy="DOWN-100M")
    assert peer.read(profile_of("cisco").render(grant))["Cisco-AVPair"] == [
        "ip:qos-policy-in=add-class(sub,(class-default),police(20000000))",
        "ip:sub-qos-policy-out=DOWN-100M",
    ]
    reply = peer.read(profile_of("juniper").render(grant))
    assert reply["ERX-Egress-Policy-Name"] == ["DOWN-100M"]
    assert "ERX-CoS-Shaping-Pmt-Type" not in reply


@pytest.mark.parametrize(
    ("name", "attribute", "said"),
    [
        ("cisco", "Cisco-AVPair", ["ip:sub-qos-policy-in=res-100m", "ip:sub-qos-policy-out=res-100m"]),
        ("juniper", "ERX-CoS-Shaping-Pmt-Type", ["T06 res-100m"]),
        ("huawei", "Huawei-Qos-Profile-Name", ["res-100m"]),
    ],
)
def test_a_qos_profile_replaces_the_numbers(name: str, attribute: str, said: list[str]) -> None:
    rendered = profile_of(name).render(Grant(rate=RATE, qos_profile="res-100m"))
    assert peer.read(rendered)[attribute] == said
    assert "rate" not in {each.source for each in rendered}


def test_nokia_and_juniper_take_framed_ipv6_pool_for_dhcpv6_addresses() -> None:
    for name in ("nokia", "juniper"):
        reply = peer.read(profile_of(name).render(Grant(ipv6_address_pool="V6-NA")))
        assert reply["Framed-IPv6-Pool"] == ["V6-NA"]


@pytest.mark.parametrize(
    ("name", "unsaid"),
    [
        ("standard", ("rate", "burst")),
        ("mikrotik", ("dns4", "dns6")),
        ("cisco", ("burst",)),
        ("juniper", ("burst", "rate.upload_bps")),
        ("huawei", ()),
        ("nokia", ("burst",)),
        ("accel-ppp", ("burst",)),
        ("wispr", ("burst",)),
    ],
)
def test_each_profile_names_what_it_leaves_out(name: str, unsaid: tuple[str, ...]) -> None:
    assert profile_of(name).unsaid(FIXED) == unsaid
