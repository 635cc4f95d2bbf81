"""What platforms publish today is taken as it is."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from daemon.replica.records import Nas, Plan, Record, Service, Subscriber
from daemon.sync.normalise import SPELLINGS, normalise
from daemon.sync.records import BodyInvalid
from radius.grant import Rate, Route

Make = Callable[[str, dict[str, Any]], Record]


def test_published_credentials_become_a_subscriber(record: Make) -> None:
    made = record(
        "subscriber",
        {
            "radius_username": "100000010",
            "radius_password": "k3ysecret",
            "nas_port_type": "Ethernet",
            "service_type": "Framed-User",
            "vlan_id": 100,
            "bandwidth_up": "100Mbps",
            "bandwidth_down": "1Gbps",
            "static_ip": "203.0.113.10",
            "dns_servers": ["192.0.2.53"],
            "radius_profile_id": 42,
            "status": "active",
        },
    )
    assert isinstance(made, Subscriber)
    assert made.usernames == ("100000010",)
    assert made.secret is not None
    assert made.secret.value == b"k3ysecret"
    assert (made.vlan_id, made.plan, made.ipv4_address) == (100, "42", IPv4Address("203.0.113.10"))
    assert made.service == Service(
        rate=Rate(download_bps=1_000_000_000, upload_bps=100_000_000), dns4=(IPv4Address("192.0.2.53"),)
    )


_VALUES: dict[str, tuple[Any, str, Any]] = {
    "radius_username": ("a", "usernames", ("a",)),
    "login": ("a", "usernames", ("a",)),
    "mac_address": ("aabb.ccdd.eeff", "macs", ("aa:bb:cc:dd:ee:ff",)),
    "static_ip": ("192.0.2.1", "ipv4_address", IPv4Address("192.0.2.1")),
    "framed_ip_address": ("192.0.2.1", "ipv4_address", IPv4Address("192.0.2.1")),
    "additional_routes": (
        [{"cidr": "192.0.2.0/24", "metric": 3}],
        "routes",
        (Route(prefix=IPv4Network("192.0.2.0/24"), metric=3),),
    ),
    "service_vlan": (5, "vlan_id", 5),
    "expires_at": ("2026-01-01T00:00:00Z", "valid_until", 1767225600.0),
    "plan_id": ("p", "plan", "p"),
    "offer_id": (7, "plan", "7"),
    "radius_profile_id": ("p", "plan", "p"),
    "lifecycle_state": ("lead", "status", "lead"),
}


@pytest.mark.parametrize("spelled", _VALUES)
def test_each_spelling_of_a_subscriber_has_its_field(record: Make, spelled: str) -> None:
    given, field, value = _VALUES[spelled]
    assert getattr(record("subscriber", {"access_mode": "active", spelled: given}), field) == value


@pytest.mark.parametrize(
    ("spelled", "given", "field", "value"),
    [
        ("dns_servers", ["192.0.2.53"], "dns4", (IPv4Address("192.0.2.53"),)),
        ("ip_pool_name", "home", "ipv4_pool", "home"),
        ("ipv6_pool_name", "home6", "ipv6_pool", "home6"),
        ("mikrotik_address_list", "walled", "address_list", "walled"),
        ("session_timeout", 3600, "session_timeout_s", 3600),
        ("idle_timeout", 600, "idle_timeout_s", 600),
    ],
)
def test_each_spelling_of_a_service_serves_plans_and_subscribers(
    record: Make, spelled: str, given: Any, field: str, value: Any
) -> None:
    plan = record("plan", {spelled: given})
    line = record("subscriber", {"access_mode": "active", spelled: given})
    assert isinstance(plan, Plan)
    assert isinstance(line, Subscriber)
    assert line.service is not None
    assert getattr(plan.service, field) == getattr(line.service, field) == value


@pytest.mark.parametrize("spelled", ["address", "nas_ip", "ip_address"])
def test_each_spelling_of_a_nas_address(record: Make, spelled: str) -> None:
    made = record("nas", {spelled: "192.0.2.0/28", "shared_secret": "s"})
    assert isinstance(made, Nas)
    assert made.prefixes == (IPv4Network("192.0.2.0/28"),)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("mikrotik", "mikrotik"),
        ("Huawei", "huawei"),
        ("ubiquiti", "wispr"),
        ("cambium", "wispr"),
        ("zte", "standard"),
        ("other", "standard"),
    ],
)
def test_each_vendor_of_the_platform_has_a_profile(record: Make, theirs: str, ours: str) -> None:
    made = record("nas", {"address": "192.0.2.1", "secret": "s", "vendor": theirs})
    assert isinstance(made, Nas)
    assert made.vendor == ours


def test_every_spelling_of_the_table_leads_to_a_field() -> None:
    for kind, table in SPELLINGS.items():
        for spelled, steps in table.items():
            place: Any = normalise(kind, {spelled: "value"}).body
            for step in steps:
                place = place[step]
            assert place == "value"


def test_another_service_type_is_answered(record: Make) -> None:
    made = record("subscriber", {"access_mode": "active", "service_type": "Login-User"})
    assert isinstance(made, Subscriber)
    assert made.service is not None
    (edit,) = made.service.edits
    assert (edit.op, edit.oid) == ("replace", (6,))


def test_two_spellings_may_agree_and_must_not_differ(record: Make) -> None:
    body = {"access_mode": "active", "username": "a", "radius_username": "a"}
    made = record("subscriber", body)
    assert isinstance(made, Subscriber)
    assert made.usernames == ("a",)
    with pytest.raises(BodyInvalid) as caught:
        record("subscriber", body | {"radius_username": "b", "login": "c"})
    assert [(each.slug, each.path, each.got) for each in caught.value.faults] == [
        ("said-twice", ("radius_username",), "another value than in `username`"),
        ("said-twice", ("login",), "another value than in `username`"),
    ]


def test_an_error_names_the_spelling_that_was_used(record: Make) -> None:
    with pytest.raises(BodyInvalid) as caught:
        record("subscriber", {"access_mode": "active", "bandwidth_up": "fast", "static_ip": "x"})
    assert [each.path for each in caught.value.faults] == [("static_ip",), ("bandwidth_up",)]


def test_the_body_that_was_given_stays_as_it_was() -> None:
    body = {"bandwidth_up": "1M", "service": {"vrf": "x"}, "routes": [{"cidr": "192.0.2.0/24"}]}
    normalise("subscriber", body)
    assert body == {"bandwidth_up": "1M", "service": {"vrf": "x"}, "routes": [{"cidr": "192.0.2.0/24"}]}
