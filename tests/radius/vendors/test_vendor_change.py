"""What a CoA-Request says to each vendor, and which changes need a new login."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from radius.codes import Code
from radius.errors import Unencodable
from radius.grant import Access, Burst, Grant, Rate
from radius.vendors import PROFILES, names
from radius.vendors.base import differs
from tests.radius.vendors.plans import BURST, COMMITTED, FIXED, RATE, octets, profile_of, told
from tests.radius.vendors.test_vendor_captive import FILTERED, GARDENS, LISTED, NOKIA, PORTAL, SERVICED

FASTER = Rate(download_bps=200_000_000, upload_bps=20_000_000)
PLAN = Grant(rate=RATE)
UPGRADED = Grant(rate=FASTER)
SERVICE = "INTERNET({download_m},{upload_m})"
ALWAYS = (SERVICE, "VOIP")


def said(name: str, applied: Grant, wanted: Grant) -> list[str] | None:
    change = profile_of(name).change(applied, wanted)
    return None if change is None else told(change, Code.COA_REQUEST)


FASTER_OCTETS: dict[str, list[str]] = {
    "mikrotik": ["1a1000003a8c080a" + b"20M/200M".hex()],
    "cisco": [
        "1a49000000090143" + b"ip:qos-policy-out=add-class(sub,(class-default),shape(200000000))".hex(),
    ],
    "juniper": ["1a100000130a6c0a" + b"T02 200m".hex()],
    "huawei": [
        "1a0c000007db020601312d00",
        "1a0c000007db030601312d00",
        "1a0c000007db05060bebc200",
        "1a0c000007db06060bebc200",
    ],
    "nokia": ["1a170000197f7e11" + b"e:r:rate=200000".hex()],
    "accel-ppp": ["0b0e" + b"200000/20000".hex()],
    "wispr": ["1a0c0000372a08060bebc200"],
}


@pytest.mark.parametrize("name", sorted(FASTER_OCTETS))
def test_a_faster_download_is_these_octets(name: str) -> None:
    change = profile_of(name).change(PLAN, UPGRADED)
    assert change is not None
    assert octets(change) == FASTER_OCTETS[name]


def test_a_faster_upload_goes_the_other_way() -> None:
    wanted = Grant(rate=replace(RATE, upload_bps=50_000_000))
    assert said("cisco", PLAN, wanted) == [
        "Cisco-AVPair = ip:qos-policy-in=add-class(sub,(class-default),police(50000000))"
    ]
    assert said("nokia", PLAN, wanted) == ["Alc-Subscriber-QoS-Override = i:q:1:pir=50000,cir=-2"]
    assert said("wispr", PLAN, wanted) == ["WISPr-Bandwidth-Max-Up = 50000000"]
    assert said("mikrotik", PLAN, wanted) == ["Mikrotik-Rate-Limit = 50M/100M"]
    # CoS on Junos shapes downloads only, so nothing can be said of an upload, at a login neither.
    assert said("juniper", PLAN, wanted) == []


def test_only_the_standard_profile_changes_nothing_live() -> None:
    assert [profile.name for profile in PROFILES if not profile.changes] == ["standard"]
    assert said("standard", Grant(filter_id="RES"), Grant(filter_id="SLOW")) is None
    assert said("standard", PLAN, UPGRADED) == []  # it could not say a rate at the login either


@pytest.mark.parametrize(
    ("name", "applied", "wanted", "expected"),
    [
        (
            "mikrotik",
            replace(PLAN, address_list="residential"),
            LISTED,
            ["Mikrotik-Rate-Limit = 256k/1M", "Mikrotik-Address-List = suspended"],
        ),
        (
            "mikrotik",
            LISTED,
            replace(PLAN, address_list="residential"),
            ["Mikrotik-Rate-Limit = 20M/100M", "Mikrotik-Address-List = residential"],
        ),
        (
            "cisco",
            replace(PLAN, services=ALWAYS),
            SERVICED,
            [
                r"Cisco-Command-Code = \x0cINTERNET(100,20)",
                r"Cisco-Command-Code = \x0cVOIP",
                r"Cisco-Command-Code = \x0bGARDEN(1)",
            ],
        ),
        (
            "juniper",
            replace(PLAN, services=ALWAYS),
            replace(SERVICED, services=("GARDEN", "VOIP")),
            ["ERX-Service-Deactivate = INTERNET(100,20)", "ERX-Service-Activate:1 = GARDEN"],
        ),
        (
            "juniper",
            SERVICED,
            replace(PLAN, services=ALWAYS),
            [
                "ERX-Service-Deactivate = GARDEN(1)",
                "ERX-Service-Activate:1 = INTERNET(100,20)",
                "ERX-Service-Activate:2 = VOIP",
            ],
        ),
        (
            "huawei",
            PLAN,
            FILTERED,
            [
                "Huawei-Input-Average-Rate = 256000",
                "Huawei-Input-Peak-Rate = 256000",
                "Huawei-Output-Average-Rate = 1000000",
                "Huawei-Output-Peak-Rate = 1000000",
                "Filter-Id = GARDEN",
                f"Huawei-HTTP-Redirect-URL = {PORTAL}",
            ],
        ),
        (
            "nokia",
            PLAN,
            NOKIA,
            [
                "Alc-Subscriber-QoS-Override = i:q:1:pir=256,cir=-2",
                "Alc-Subscriber-QoS-Override = e:r:rate=1000",
                "Alc-Subscriber-Filter = Ingr-v4:20,Ingr-v6:21",
                f"Alc-Portal-Url = {PORTAL}",
            ],
        ),
        (
            "nokia",
            NOKIA,
            Grant(qos_profile="RES-100M"),
            [
                "Alc-Remove-Override = 26.6527.126",
                "Alc-Remove-Override = 26.6527.134",
                "Alc-SLA-Prof-Str = RES-100M",
            ],
        ),
    ],
)
def test_into_the_garden_and_out_of_it(name: str, applied: Grant, wanted: Grant, expected: list[str]) -> None:
    assert said(name, applied, wanted) == expected


def test_services_start_and_stop_with_these_octets() -> None:
    applied, wanted = Grant(services=("A",)), Grant(services=("B",))
    cisco, juniper = (
        profile_of("cisco").change(applied, wanted),
        profile_of("juniper").change(applied, wanted),
    )
    assert cisco is not None
    assert juniper is not None
    assert octets(cisco) == ["1a0a00000009fc040c41", "1a0a00000009fc040b42"]
    assert octets(juniper) == ["1a090000130a420341", "1a0a0000130a41040142"]


@pytest.mark.parametrize(("name", "applied"), [("huawei", FILTERED), ("mikrotik", LISTED)])
def test_a_wall_that_only_a_new_login_takes_down(name: str, applied: Grant) -> None:
    assert said(name, applied, PLAN) is None


@pytest.mark.parametrize("name", ["standard", "wispr"])
def test_a_wall_that_only_a_new_login_puts_up(name: str) -> None:
    assert said(name, PLAN, FILTERED) is None


@pytest.mark.parametrize("name", names())
def test_a_garden_without_a_wall_is_refused_live_too(name: str) -> None:
    with pytest.raises(Unencodable, match="captive"):
        profile_of(name).change(PLAN, replace(PLAN, captive=True, redirect_url=PORTAL))


@pytest.mark.parametrize("name", sorted(GARDENS))
def test_a_wall_that_is_there_already_needs_no_words(name: str) -> None:
    inside = GARDENS[name][0]
    assert said(name, replace(inside, captive=False), inside) == []


SETTLED = replace(FIXED, burst=None)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize(
    "wanted",
    [
        replace(SETTLED, ipv4_address=IPv4Address("203.0.113.11")),
        replace(SETTLED, ipv4_address=None, ipv4_netmask=None),
        replace(SETTLED, ipv6_delegated=None),
        replace(SETTLED, access=Access.IPOE),
        replace(SETTLED, routes=()),
        replace(SETTLED, rate=FASTER, routes=()),
    ],
    ids=["address", "pool", "delegated", "access", "routes", "rate-and-routes"],
)
def test_what_is_agreed_on_at_the_login_needs_a_new_one(name: str, wanted: Grant) -> None:
    assert said(name, SETTLED, wanted) is None


@pytest.mark.parametrize("name", names())
def test_a_pool_behind_a_fixed_address_is_no_reason_to_end_a_session(name: str) -> None:
    assert said(name, SETTLED, replace(SETTLED, ipv4_pool="OTHER")) == []


@pytest.mark.parametrize("name", sorted(FASTER_OCTETS))
def test_a_rate_for_no_rate_needs_words_that_only_nokia_has(name: str) -> None:
    expected = ["Alc-Remove-Override = 26.6527.126"] if name == "nokia" else None
    assert said(name, PLAN, Grant()) == expected


@pytest.mark.parametrize(
    ("name", "applied", "wanted"),
    [
        ("cisco", Grant(rate=RATE, download_policy="D"), PLAN),
        ("cisco", replace(PLAN, vrf="A", group="Loopback1"), replace(PLAN, vrf="B", group="Loopback1")),
        ("cisco", Grant(filter_id="A"), Grant(filter_id="B")),
        ("juniper", Grant(rate=RATE, qos_profile="gold"), PLAN),
        ("juniper", Grant(rate=RATE, committed=COMMITTED), PLAN),
        ("juniper", Grant(vrf="A"), Grant(vrf="B")),
        ("huawei", PLAN, Grant(qos_profile="gold")),
        ("huawei", Grant(vrf="A"), Grant(vrf="B")),
        ("nokia", Grant(group="RES"), Grant()),
        ("nokia", Grant(vrf="1"), Grant(vrf="2")),
        ("nokia", NOKIA, replace(NOKIA, redirect_url=None)),
        ("mikrotik", Grant(group="RES"), Grant(group="BIZ")),
        ("mikrotik", Grant(filter_id="A"), Grant(filter_id="B")),
        ("wispr", Grant(rate=RATE, committed=COMMITTED), PLAN),
        ("accel-ppp", Grant(vrf="A"), Grant(vrf="B")),
        ("accel-ppp", Grant(vrf="A"), Grant()),
    ],
)
def test_where_there_are_no_words_the_session_has_to_end(name: str, applied: Grant, wanted: Grant) -> None:
    assert said(name, applied, wanted) is None


def test_accel_ppp_moves_an_ipoe_session_to_another_vrf() -> None:
    a, b, none = (Grant(access=Access.IPOE, vrf=vrf) for vrf in ("A", "B", None))
    assert said("accel-ppp", a, b) == ["Accel-VRF-Name = B"]
    assert said("accel-ppp", b, none) == ["Accel-VRF-Name = 0"]


def test_names_take_the_place_of_names() -> None:
    gold, silver = Grant(qos_profile="gold"), Grant(qos_profile="silver")
    assert said("huawei", gold, silver) == ["Huawei-Qos-Profile-Name = silver"]
    assert said("juniper", gold, silver) == ["ERX-CoS-Shaping-Pmt-Type = T06 silver"]
    assert said("nokia", gold, silver) == ["Alc-SLA-Prof-Str = silver"]
    assert said("nokia", gold, Grant()) == ["Alc-Remove-Override = 26.6527.13"]
    policies = ["ip:sub-qos-policy-in=silver", "ip:sub-qos-policy-out=silver"]
    assert said("cisco", gold, silver) == [f"Cisco-AVPair = {policy}" for policy in policies]


def test_a_service_with_new_rates_is_another_instance_of_it() -> None:
    applied, wanted = replace(PLAN, services=ALWAYS), replace(UPGRADED, services=ALWAYS)
    assert said("juniper", applied, wanted) == [
        "ERX-Service-Deactivate = INTERNET(100,20)",
        "ERX-Service-Activate:1 = INTERNET(200,20)",
    ]


def test_the_order_of_services_is_no_difference_to_the_router() -> None:
    applied, wanted = Grant(services=("A", "B")), Grant(services=("B", "A"))
    assert said("juniper", applied, wanted) == []
    assert said("cisco", applied, wanted) == []


def test_a_committed_rate_that_is_gone_is_taken_back_on_sr_os() -> None:
    assert said("nokia", Grant(rate=RATE, committed=COMMITTED), PLAN) == [
        "Alc-Subscriber-QoS-Override = i:q:1:pir=20000,cir=-2"
    ]


def test_what_a_session_has_by_rules_of_another_day_is_not_built_upon() -> None:
    assert said("mikrotik", Grant(rate_text="fast"), PLAN) is None


BEYOND = Rate(download_bps=10_000_000_000, upload_bps=10_000_000_000)


@pytest.mark.parametrize("name", ["huawei", "wispr"])
def test_a_change_to_more_than_32_bits_is_refused_with_the_alternative(name: str) -> None:
    with pytest.raises(Unencodable, match=r"4,294,967,295 bit/s.*qos_profile"):
        profile_of(name).change(PLAN, Grant(rate=BEYOND))


@pytest.mark.parametrize(
    ("wanted", "mikrotik", "accel", "nokia"),
    [
        (Rate(download_bps=1_000, upload_bps=1_000), "1k/1k", "1/1", "e:r:rate=1"),
        (Rate(download_bps=10**9, upload_bps=1_000), "1k/1000M", "1000000/1", "e:r:rate=1000000"),
        (BEYOND, "10000M/10000M", "10000000/10000000", "e:r:rate=10000000"),
    ],
)
def test_units_at_the_edges(wanted: Rate, mikrotik: str, accel: str, nokia: str) -> None:
    grant = Grant(rate=wanted)
    assert said("mikrotik", PLAN, grant) == [f"Mikrotik-Rate-Limit = {mikrotik}"]
    assert said("accel-ppp", PLAN, grant) == [f"Filter-Id = {accel}"]
    assert (said("nokia", PLAN, grant) or [])[-1] == f"Alc-Subscriber-QoS-Override = {nokia}"


def test_limits_that_the_daemon_watches_make_no_difference() -> None:
    other = replace(
        FIXED, session_timeout_s=60, idle_timeout_s=None, interim_interval_s=900, volume_octets=1_000
    )
    assert differs(FIXED, other) == ()
    for profile in PROFILES:
        assert profile.change(FIXED, other) == ()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("20M/100M", PLAN),
        ("20000k/100000000", PLAN),
        ("20M/100M 30M/150M 20M/100M 10/10", Grant(rate=RATE, burst=BURST)),
        ("20M/100M 30000k/150000k 20M/100M 10", Grant(rate=RATE, burst=BURST)),
        ("20M/100M 0/0 0/0 0/0 8 2M/10M", Grant(rate=RATE, committed=COMMITTED)),
        ("20M/100M 0/0 0/0 0/0 3 2M/10M", Grant(rate=RATE, committed=COMMITTED, priority=3)),
    ],
)
def test_a_literal_is_the_numbers_that_it_means(text: str, numbers: Grant) -> None:
    literal = Grant(rate_text=text)
    assert differs(literal, numbers) == differs(numbers, literal) == ()
    assert profile_of("mikrotik").change(literal, numbers) == ()
    assert differs(literal, replace(numbers, rate=FASTER)) == tuple(
        name
        for name in ("rate", "burst", "committed", "priority", "rate_text")
        if getattr(literal, name) != getattr(replace(numbers, rate=FASTER), name)
    )


def test_a_burst_of_another_length_is_another_rate() -> None:
    longer = Burst(rate=BURST.rate, threshold=BURST.threshold, seconds=20)
    applied, wanted = Grant(rate=RATE, burst=BURST), Grant(rate=RATE, burst=longer)
    assert differs(applied, wanted) == ("burst",)
    assert said("mikrotik", applied, wanted) == ["Mikrotik-Rate-Limit = 20M/100M 30M/150M 20M/100M 20/20"]


def test_a_priority_without_a_committed_rate_means_nothing() -> None:
    assert differs(PLAN, replace(PLAN, priority=1)) == ()
    applied = Grant(rate=RATE, committed=COMMITTED)
    assert differs(applied, replace(applied, priority=1)) == ("priority",)


def test_accel_ppp_reads_the_same_text_the_other_way_round_and_in_kilobits() -> None:
    profile = profile_of("accel-ppp")
    assert profile.differs(Grant(rate_text="100M/20000"), PLAN) == ()
    plain, suffixed = Grant(rate_text="1000/1000"), Grant(rate_text="1k/1k")
    assert (differs(plain, suffixed), profile.differs(plain, suffixed)) == ((), ("rate_text",))
    # As RouterOS reads it, this would be the plan: 20 Mbit/s up, 100 Mbit/s down.
    assert differs(Grant(rate_text="20M/100M"), PLAN) == ()
    assert profile.differs(Grant(rate_text="20M/100M"), PLAN) == ("rate", "rate_text")
    assert said("accel-ppp", Grant(rate_text="20M/100M"), PLAN) == ["Filter-Id = 100000/20000"]
    assert profile.differs(Grant(rate_text="3,100M/20M"), PLAN) == ("rate", "rate_text")


def test_a_difference_is_named_in_the_order_of_the_grant() -> None:
    wanted = replace(FIXED, rate=FASTER, ipv6_address=IPv6Address("2001:db8::1"), captive=True, burst=None)
    assert differs(FIXED, wanted) == ("rate", "burst", "ipv6_address", "captive")


SOME = {
    "rate": (RATE, FASTER),
    "committed": (COMMITTED, Rate(download_bps=5_000_000, upload_bps=1_000_000)),
    "burst": (BURST, replace(BURST, seconds=20, rate=Rate(download_bps=300_000_000, upload_bps=60_000_000))),
    "priority": (8, 1),
    "rate_text": ("20M/100M", "10M/50M"),
    "download_policy": ("A", "B"),
    "upload_policy": ("A", "B"),
    "qos_profile": ("a", "b"),
    "services": (("A",), ("B",)),
    "group": ("A", "B"),
    "address_list": ("A", "B"),
    "filter_id": ("Ingr-v4:20", "Ingr-v4:30"),
    "vrf": ("A", "B"),
    "redirect_url": ("https://a.example/", PORTAL),
}
# These are said together with a rate; the others would hide them.
WITH_A_RATE = {"burst": ("rate",), "committed": ("rate",), "priority": ("rate", "committed")}


@pytest.mark.parametrize(
    ("name", "field"),
    [(profile.name, field) for profile in PROFILES for field in sorted(profile.changes - {"captive"})],
)
def test_each_field_that_changes_live_is_said(name: str, field: str) -> None:
    beside = {each: SOME[each][0] for each in WITH_A_RATE.get(field, ())}
    before, after = SOME[field]
    applied = replace(Grant(access=Access.IPOE), **beside, **{field: before})
    wanted = replace(applied, **{field: after})
    assert profile_of(name).differs(applied, wanted) == (field,)
    assert said(name, applied, wanted)
