"""What a session was given comes back from the disk as it was."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.aaa.grant_codec import from_json, to_json
from radius.grant import Access, Burst, Grant, Rate, Route

RATE = Rate(download_bps=100_000_000, upload_bps=20_000_000)
EVERYTHING = Grant(
    access=Access.IPOE,
    rate=RATE,
    burst=Burst(rate=RATE, threshold=RATE, seconds=8),
    committed=RATE,
    priority=3,
    rate_text="20M/100M",
    download_policy="d",
    upload_policy="u",
    qos_profile="q",
    services=("a", "b"),
    group="g",
    address_list="l",
    filter_id="f",
    vrf="v",
    ipv4_address=IPv4Address("203.0.113.1"),
    ipv4_netmask=IPv4Address("255.255.255.0"),
    ipv4_pool="p4",
    ipv6_address=IPv6Address("2001:db8::1"),
    ipv6_prefix=IPv6Network("2001:db8:1::/64"),
    ipv6_delegated=IPv6Network("2001:db8:2::/56"),
    ipv6_pool="p6",
    ipv6_address_pool="pa",
    ipv6_delegated_pool="pd",
    routes=(
        Route(prefix=IPv4Network("198.51.100.0/24"), gateway=IPv4Address("203.0.113.1"), metric=5),
        Route(prefix=IPv6Network("2001:db8:3::/48")),
    ),
    dns4=(IPv4Address("192.0.2.53"),),
    dns6=(IPv6Address("2001:db8::53"), IPv6Address("2001:db8::54")),
    vlan_id=100,
    inner_vlan_id=200,
    session_timeout_s=3600,
    idle_timeout_s=600,
    interim_interval_s=300,
    captive=True,
    redirect_url="https://pay.example.net/",
    volume_octets=1 << 40,
)
NAMES = [each.name for each in fields(Grant)]


def stored(grant: Grant) -> Grant:
    return from_json(json.loads(json.dumps(to_json(grant))))


def test_the_sample_says_everything() -> None:
    empty = Grant()
    assert [name for name in NAMES if getattr(EVERYTHING, name) == getattr(empty, name)] == []


@pytest.mark.parametrize("name", NAMES)
def test_each_field_alone_comes_back(name: str) -> None:
    grant = replace(Grant(), **{name: getattr(EVERYTHING, name)})
    assert list(to_json(grant)) == [name]
    found = stored(grant)
    assert found == grant
    assert type(getattr(found, name)) is type(getattr(grant, name))


@given(st.sets(st.sampled_from(NAMES)))
def test_any_fields_together_come_back(names: set[str]) -> None:
    some: dict[str, Any] = {name: getattr(EVERYTHING, name) for name in names}
    assert stored(Grant(**some)) == Grant(**some)


def test_what_says_nothing_takes_no_room_and_what_is_not_known_is_passed_over() -> None:
    assert to_json(Grant()) == {}
    assert from_json({"shoe_size": 44, "vlan_id": 7}) == Grant(vlan_id=7)
