"""After any change the session is as a new login would make it, or the change says that it needs one."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from radius.codes import Code
from radius.errors import Unencodable
from radius.grant import Access, Grant, Rate
from radius.rates import MikrotikRate
from radius.vendors import names
from radius.vendors.base import differs
from radius.vendors.difference import NEVER_MATTERS
from tests.radius.vendors.live_session import ALC_PORTAL, LiveSession
from tests.radius.vendors.plans import BURST, COMMITTED, RATE, profile_of, told
from tests.radius.vendors.test_vendor_properties import GRANTS, thin

LOW = Rate(download_bps=50_000_000, upload_bps=10_000_000)
URLS = st.sampled_from([None, None, "https://a.example/", "https://b.example/"])
LIVELY = st.builds(
    Grant,
    access=st.sampled_from(Access),
    rate=st.sampled_from([None, RATE, RATE, LOW]),
    burst=st.sampled_from([None, None, BURST]),
    committed=st.sampled_from([None, None, COMMITTED]),
    priority=st.sampled_from([8, 1]),
    rate_text=st.sampled_from([None, None, None, "20M/100M", "10M/50M"]),  # swapped for accel-ppp below
    download_policy=st.sampled_from([None, None, "D1", "D2"]),
    upload_policy=st.sampled_from([None, None, "U1", "U2"]),
    qos_profile=st.sampled_from([None, None, "Q1", "Q2"]),
    services=st.lists(st.sampled_from(["A", "B({download_m})", "C"]), max_size=3, unique=True).map(tuple),
    group=st.sampled_from([None, "Loopback1", "Loopback2"]),
    address_list=st.sampled_from([None, "L1", "L2"]),
    filter_id=st.sampled_from([None, None, "Ingr-v4:20", "Ingr-v4:30"]),
    vrf=st.sampled_from([None, None, None, "1000", "2000"]),
    ipv4_pool=st.sampled_from([None, None, None, "P1"]),
    captive=st.sampled_from([False, False, True]),
    redirect_url=URLS,
    session_timeout_s=st.sampled_from([None, 300]),
    volume_octets=st.sampled_from([None, 1_000_000]),
)
CHANGEABLE = sorted(field.name for field in fields(Grant))
# What a CoA-Request of ours may hold; all else identifies, accounts or belongs to the login.
SPEAKABLE = {
    "standard": set(),
    "mikrotik": {(26, 14988, 8), (26, 14988, 19)},
    "cisco": {(26, 9, 1), (26, 9, 252)},
    "juniper": {(26, 4874, kind) for kind in (10, 11, 65, 66, 108)},
    "huawei": {(11,), *((26, 2011, kind) for kind in (2, 3, 5, 6, 31, 140))},
    "nokia": {(26, 6527, kind) for kind in (12, 13, 126, 134, 177, 238)},
    "accel-ppp": {(11,), (26, 55999, 1)},
    "wispr": {(26, 14122, kind) for kind in (5, 6, 7, 8)},
}
MANY = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", names())
@MANY
@given(data=st.data())
def test_a_changed_session_is_as_a_new_login_would_make_it(name: str, data: st.DataObject) -> None:
    profile = profile_of(name)
    lively = sorted(profile.changes | {"rate", "filter_id"})
    subset = st.sets(st.sampled_from(lively)) | st.sets(st.sampled_from(CHANGEABLE), max_size=6)
    applied = thin(data.draw(LIVELY), data.draw(subset) | {"rate"})
    other, changed = data.draw(LIVELY), data.draw(subset)
    wanted = replace(applied, **{field: getattr(other, field) for field in changed})
    if name != "mikrotik":
        text = {"20M/100M": "100000/20M", "10M/50M": "50M/10M"} if name == "accel-ppp" else {}
        applied = replace(applied, rate_text=text.get(applied.rate_text or ""))
        wanted = replace(wanted, rate_text=text.get(wanted.rate_text or ""))
    try:
        login, wished = profile.render(applied), profile.render(wanted)
    except Unencodable:
        return
    request = profile.change(applied, wanted)
    if request is None:
        event("a new login")
        assert profile.differs(applied, wanted)
        assert LiveSession(login).__dict__ != LiveSession(wished).__dict__
        return
    event("live" if request else "nothing to say")
    assert {each.oid for each in request} <= SPEAKABLE[name]
    assert {each.source for each in request} <= profile.changes
    told(request, Code.COA_REQUEST)
    session, expected = LiveSession(login), LiveSession(wished)
    session.change(request)
    if not wanted.captive and not wanted.redirect_url:
        session.settings.pop((ALC_PORTAL, ""), None)  # without effect outside the garden
    assert session.services == expected.services
    assert session.settings == expected.settings


@pytest.mark.parametrize("name", names())
@MANY
@given(grant=GRANTS, kept=st.sets(st.sampled_from(CHANGEABLE), max_size=8))
def test_a_grant_does_not_differ_from_itself(name: str, grant: Grant, kept: set[str]) -> None:
    grant = thin(grant, kept)
    assert differs(grant, grant) == ()
    assert profile_of(name).change(grant, grant) == ()


@MANY
@given(grant=GRANTS, other=GRANTS, changed=st.sets(st.sampled_from(CHANGEABLE), max_size=4))
def test_only_what_differs_is_named(grant: Grant, other: Grant, changed: set[str]) -> None:
    wanted = replace(grant, **{field: getattr(other, field) for field in changed})
    found = differs(grant, wanted)
    assert set(found) <= changed - NEVER_MATTERS
    assert found == differs(wanted, grant)
    assert all(getattr(grant, name) != getattr(wanted, name) for name in found)
    rates = {"rate", "burst", "committed", "priority", "rate_text"}
    unequal = {name for name in changed if getattr(grant, name) != getattr(wanted, name)}
    assert unequal - rates - NEVER_MATTERS <= set(found)


BPS = st.integers(1, 10**12)


@MANY
@given(upload=BPS, download=BPS)
def test_numbers_and_their_text_never_differ(upload: int, download: int) -> None:
    rate = Rate(download_bps=download, upload_bps=upload)
    text = MikrotikRate(rate=rate, minimum=rate).text()
    assert differs(Grant(rate=rate), Grant(rate_text=text)) == ()
    swapped = Grant(rate=Rate(download_bps=upload, upload_bps=download))
    assert bool(differs(swapped, Grant(rate_text=text))) == (upload != download)


@pytest.mark.parametrize("name", names())
def test_a_session_is_identified_by_what_accounting_shows(name: str) -> None:
    identities = profile_of(name).identities
    # User-Name, NAS-IP-Address, Framed-IP-Address, Calling-Station-Id, NAS-Identifier, Acct-Session-Id, NAS-Port-Id
    assert {kind for each in identities for kind in each} <= {1, 4, 8, 31, 32, 44, 87}
    assert all(len(set(each)) == len(each) for each in identities)
    assert len(set(identities)) == len(identities) > 0
    # NAS identification goes only to accel-ppp, which can demand it.
    assert any({4, 32} & set(each) for each in identities) is (name == "accel-ppp")
    assert (1,) not in identities  # it would hit every session of the subscriber
