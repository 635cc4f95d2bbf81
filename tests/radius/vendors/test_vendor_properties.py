"""Any grant either renders into a well-formed reply or is refused; directions never swap."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from ipaddress import IPv6Network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radius.errors import Unencodable
from radius.grant import Access, Burst, Grant, Rate, Rendered, Route
from radius.rates import parse_mikrotik
from radius.vendors import names
from radius.vendors.base import VendorProfile
from tests.radius.vendors import peer
from tests.radius.vendors.plans import profile_of, reply

BPS = st.one_of(st.integers(-1, 5_000_000_000), st.sampled_from([1, 1_000, 1_000_000_000, 2**32 - 1, 2**32]))
RATES = st.builds(Rate, download_bps=BPS, upload_bps=BPS)
NAMES = st.none() | st.text(max_size=40) | st.sampled_from(["RES", "1000", "Loopback1", "x" * 247, "x" * 248])
V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)
V6_NETWORKS = st.builds(
    lambda address, length: IPv6Network((int(address) >> (128 - length) << (128 - length), length)),
    V6,
    st.integers(0, 128),
)
SECONDS = st.none() | st.integers(-1, 2**33) | st.integers(60, 86_400)

GRANTS = st.builds(
    Grant,
    access=st.sampled_from(Access),
    rate=st.none() | RATES,
    burst=st.none() | st.builds(Burst, rate=RATES, threshold=RATES, seconds=st.integers(0, 60)),
    committed=st.none() | RATES,
    priority=st.integers(0, 9),
    rate_text=st.none() | st.sampled_from(["20M/100M", "1G/1G", "x"]),
    download_policy=NAMES,
    upload_policy=NAMES,
    qos_profile=NAMES,
    services=st.lists(st.sampled_from(["A", "B({download_bps})", "C({x})", ""]), max_size=3).map(tuple),
    group=NAMES,
    address_list=NAMES,
    filter_id=NAMES,
    vrf=NAMES,
    ipv4_address=st.none() | V4,
    ipv4_netmask=st.none() | V4,
    ipv4_pool=NAMES,
    ipv6_address=st.none() | V6,
    ipv6_prefix=st.none() | V6_NETWORKS,
    ipv6_delegated=st.none() | V6_NETWORKS,
    ipv6_pool=NAMES,
    ipv6_address_pool=NAMES,
    ipv6_delegated_pool=NAMES,
    routes=st.lists(st.builds(Route, prefix=V6_NETWORKS, gateway=st.none() | V6), max_size=3).map(tuple),
    dns4=st.lists(V4, max_size=3).map(tuple),
    dns6=st.lists(V6, max_size=3).map(tuple),
    vlan_id=st.none() | st.integers(0, 4096),
    session_timeout_s=SECONDS,
    idle_timeout_s=SECONDS,
    interim_interval_s=SECONDS,
    captive=st.booleans(),
    redirect_url=NAMES,
    volume_octets=st.none() | st.integers(-1, 2**65) | st.sampled_from([1, 1_023, 2**32, 2**42 - 1]),
)

REPEATED = {
    (22,),
    (99,),
    (169,),
    (26, 9, 1),
    (26, 9, 250),
    (26, 4874, 65),
    (26, 4874, 108),
    (26, 2011, 154),
    (26, 6527, 126),
}
GRANT_FIELDS = {field.name for field in fields(Grant)}
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def thin(grant: Grant, kept: set[str]) -> Grant:
    """Return the grant with only some fields: a grant that sets all of them is nearly always refused."""
    plain = Grant()
    return replace(grant, **{name: getattr(plain, name) for name in GRANT_FIELDS - kept})


def attempt(profile: VendorProfile, grant: Grant) -> tuple[Rendered, ...] | Unencodable:
    """Return the reply or the refusal."""
    try:
        return profile.render(grant)
    except Unencodable as error:
        return error


@pytest.mark.parametrize("name", names())
@SLOW
@given(grant=GRANTS, kept=st.sets(st.sampled_from(sorted(GRANT_FIELDS)), max_size=8))
def test_any_grant_renders_well_formed_or_is_refused(name: str, grant: Grant, kept: set[str]) -> None:
    profile = profile_of(name)
    grant = thin(grant, kept)
    rendered = attempt(profile, grant)
    if isinstance(rendered, Unencodable):
        assert rendered.attribute
        assert rendered.why
        return
    packet = reply(rendered)
    assert list(packet.attributes()) == [(each.octets[0], each.octets[2:]) for each in rendered]
    for each in rendered:
        assert each.octets[1] == len(each.octets)
        if each.oid[0] == 26:
            assert (int.from_bytes(each.octets[2:6], "big"), each.octets[6]) == each.oid[1:]
            assert each.octets[7] == len(each.octets) - 6
    for oid, times in Counter(each.oid for each in rendered).items():
        assert times == 1 or oid in REPEATED
    sources = {each.source for each in rendered}
    assert sources <= GRANT_FIELDS
    assert not sources & set(profile.unsaid(grant))
    for address, pool in (
        ("ipv4_address", "ipv4_pool"),
        ("ipv6_prefix", "ipv6_pool"),
        ("ipv6_address", "ipv6_address_pool"),
        ("ipv6_delegated", "ipv6_delegated_pool"),
    ):
        assert not (address in sources and pool in sources)
    assert profile.render(grant) == rendered
    peer.read(rendered)


GOOD = st.integers(1, 2**32 - 1)


@SLOW
@given(download=GOOD, upload=GOOD)
def test_upload_and_download_are_never_swapped(download: int, upload: int) -> None:
    grant = Grant(rate=Rate(download_bps=download, upload_bps=upload))
    read = {name: peer.read(profile_of(name).render(grant)) for name in names()}
    meant = parse_mikrotik(str(read["mikrotik"]["Mikrotik-Rate-Limit"][0]))
    down_kbps, up_kbps = -(-download // 1_000), -(-upload // 1_000)
    assert meant.rate == grant.rate
    assert read["huawei"]["Huawei-Input-Average-Rate"] == [upload]
    assert read["huawei"]["Huawei-Output-Average-Rate"] == [download]
    assert read["wispr"]["WISPr-Bandwidth-Max-Up"] == [upload]
    assert read["wispr"]["WISPr-Bandwidth-Max-Down"] == [download]
    assert read["accel-ppp"]["Filter-Id"] == [f"{down_kbps}/{up_kbps}"]
    assert read["nokia"]["Alc-Subscriber-QoS-Override"] == [f"i:q:1:pir={up_kbps}", f"e:r:rate={down_kbps}"]
    assert read["cisco"]["Cisco-AVPair"] == [
        f"ip:qos-policy-in=add-class(sub,(class-default),police({upload}))",
        f"ip:qos-policy-out=add-class(sub,(class-default),shape({download}))",
    ]
