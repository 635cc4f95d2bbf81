"""The policy from packet to packet: what a refused, walled-in or restricted login is sent, told and explained."""

from __future__ import annotations

import os
from ipaddress import IPv4Address
from typing import Any

import pytest

from daemon.aaa import token
from daemon.aaa.reasons import Deny
from daemon.replica.records import AccessMode, Service, Tenant
from daemon.replica.rules import (
    GARDEN as WALLED,
)
from daemon.replica.rules import (
    Act,
    Bound,
    Garden,
    LinePolicy,
    RateHours,
    Rules,
    SimultaneousMode,
    Treatment,
)
from radius import exchange
from radius.codes import Attr, Vendor
from radius.grant import Rate
from radius.packet import Packet, attribute, decode
from tests.daemon.policy_stage import (
    ACCEPT,
    GARDEN,
    MAC,
    OTHER_MAC,
    REJECT,
    PolicyStage,
    allowance,
    hours,
    shown,
)
from tests.daemon.stack import T0, nas, subscriber

NEVER = (hours(0, 1, 0),)
THIN = Treatment(act=Act.PLAN, plan="thin")
REFUSALS: dict[Deny, tuple[dict[str, Any], dict[str, Any], bytes, str]] = {
    Deny.ACCESS_REJECT: ({}, {"access_mode": AccessMode.REJECT}, b"", "access-mode"),
    Deny.ACCESS_NONE: ({}, {"access_mode": AccessMode.NONE}, b"", "access-mode"),
    Deny.NOT_YET_VALID: ({}, {"valid_from": T0 + 1}, b"", "validity"),
    Deny.EXPIRED: ({}, {"valid_until": T0 - 1}, b"", "validity"),
    Deny.NO_PLAN: ({}, {"plan": "gone"}, b"", "has-plan"),
    Deny.OUTSIDE_HOURS: ({"login_hours": NEVER}, {}, b"", "login-hours"),
    Deny.WRONG_NAS: ({"nases": ("x",)}, {}, b"", "place"),
    Deny.WRONG_SITE: ({"sites": ("x",)}, {}, b"", "place"),
    Deny.CIRCUIT_MISMATCH: (
        {"line_policy": LinePolicy.ENFORCE},
        {"circuit_id": "a"},
        shown(circuit=b"b"),
        "line",
    ),
    Deny.MAC_MISMATCH: (
        {"bind": (Bound.MAC,)},
        {"macs": ("02:00:00:00:00:01",)},
        shown(OTHER_MAC),
        "binding",
    ),
    Deny.VLAN_MISMATCH: ({"bind": (Bound.VLAN,)}, {"vlan_id": 1}, shown(port="vlan2"), "binding"),
    Deny.OCTETS_USED_UP: ({"allowances": (allowance(1),)}, {}, b"", "allowances"),
    Deny.TOO_MANY_SESSIONS: ({"simultaneous_use": 1}, {}, shown(MAC), "simultaneous-use"),
}


def rate(reply: Packet) -> bytes | None:
    return reply.find_vendor(Vendor.MIKROTIK, 8)


def address_list(reply: Packet) -> bytes | None:
    return reply.find_vendor(Vendor.MIKROTIK, 19)


def prepared(reason: Deny, **rules: Any) -> tuple[PolicyStage, bytes]:
    """Return a stage on which the next login has that reason against it, and what it shows."""
    of_plan, of_subscriber, extra, _ = REFUSALS[reason]
    stage = PolicyStage(Rules(**(of_plan | rules)), **of_subscriber)
    if reason is Deny.OCTETS_USED_UP:
        stage.use(1)
    if reason is Deny.TOO_MANY_SESSIONS:
        assert stage.login(shown(OTHER_MAC)).code == ACCEPT
    return stage, extra


@pytest.mark.parametrize("reason", list(REFUSALS))
def test_a_refusal_is_a_bare_reject_with_its_reason_in_count_trace_and_explanation(reason: Deny) -> None:
    stage, extra = prepared(reason)
    reply = stage.login(extra)
    assert (reply.code, [kind for kind, _ in reply.attributes()]) == (REJECT, [Attr.MESSAGE_AUTHENTICATOR])
    assert stage.reasons()[reason] == 1
    assert stage.decision().reason == reason
    steps = stage.steps()
    check = REFUSALS[reason][3]
    assert {name for name, (result, _) in steps.items() if result == "failed"} == {check, "treatment"}
    assert steps[check][1].startswith(f"{reason}: {reason.meaning}")
    assert steps["treatment"][1] == f"{reason}: reject"
    assert list(steps)[-2:] == [check, "treatment"], "what was not asked any more is not told"
    assert "render" not in steps


@pytest.mark.parametrize("reason", [each for each in REFUSALS if each is not Deny.NO_PLAN])
def test_any_reason_may_lead_into_the_garden(reason: Deny) -> None:
    allowances = {"allowances": (allowance(1, then=WALLED),)} if reason is Deny.OCTETS_USED_UP else {}
    stage, extra = prepared(reason, treatments=((str(reason), WALLED),), **allowances)
    reply = stage.login(extra)
    assert (reply.code, rate(reply), address_list(reply)) == (ACCEPT, b"500k/1M", b"garden")
    assert reply.find_int(Attr.SESSION_TIMEOUT) == 300
    assert stage.reasons()[reason] == 1, "counted under its reason, as an accept"
    assert stage.decision().reason == ""
    steps = stage.steps()
    assert steps[REFUSALS[reason][3]][0] == "failed"
    assert steps["treatment"] == ("passed", f"{reason}: captive")
    assert "walled garden" in steps["grant"][1]


@pytest.mark.parametrize("reason", [Deny.EXPIRED, Deny.WRONG_SITE, Deny.OUTSIDE_HOURS])
def test_any_reason_may_lead_to_a_restricted_plan(reason: Deny) -> None:
    stage, extra = prepared(reason, treatments=((str(reason), THIN),))
    reply = stage.login(extra)
    assert (reply.code, rate(reply), address_list(reply)) == (ACCEPT, b"500k/1M", None)
    assert stage.steps()["treatment"] == ("passed", f"{reason}: restricted plan thin")
    stage.rule(treatments=((str(reason), Treatment(act=Act.PLAN, plan="gone")),))
    assert stage.login(extra).code == REJECT, "a restricted plan that is not there gives nothing"
    assert stage.decision().reason == reason


def test_a_restricted_plan_outweighs_the_subscribers_own_rate_but_leaves_its_address() -> None:
    own = Service(rate=Rate(download_bps=900_000_000, upload_bps=900_000_000), address_list="vip")
    address = IPv4Address("203.0.113.9")
    stage = PolicyStage(
        Rules(treatments=(("expired", THIN),)), service=own, ipv4_address=address, valid_until=T0
    )
    reply = stage.login()
    assert (rate(reply), address_list(reply)) == (b"500k/1M", None)
    assert reply.find(Attr.FRAMED_IP_ADDRESS) == address.packed


def test_captive_without_a_garden_is_a_reject_that_says_so() -> None:
    stage = PolicyStage(None, Tenant(id="demo"), access_mode=AccessMode.CAPTIVE)
    assert stage.login().code == REJECT
    assert stage.decision().reason == Deny.CAPTIVE_UNSUPPORTED
    assert stage.steps()["access-mode"][0] == "failed"


@pytest.mark.parametrize("vendor", ["accel-ppp", "standard"])
def test_a_garden_that_the_vendor_cannot_build_is_a_reject_that_says_why(vendor: str) -> None:
    stage = PolicyStage(access_mode=AccessMode.CAPTIVE)
    stage.index.put(nas(vendor=vendor))
    assert stage.login().code == REJECT
    assert stage.decision().reason == Deny.CAPTIVE_UNSUPPORTED
    result, why = stage.steps()["render"]
    assert (result, vendor in why) == ("failed", True)


def test_the_garden_gives_nothing_of_the_plan_but_keeps_a_fixed_address() -> None:
    garden = Garden(address_list="garden", ipv4_pool="walled", session_timeout_s=120)
    stage = PolicyStage(None, Tenant(id="demo", garden=garden), access_mode=AccessMode.CAPTIVE)
    reply = stage.login()
    assert (rate(reply), reply.find(Attr.FRAMED_POOL)) == (None, b"walled")
    assert reply.find_int(Attr.SESSION_TIMEOUT) == 120
    stage.change(ipv4_address=IPv4Address("203.0.113.9"))
    reply = stage.login()
    assert reply.find(Attr.FRAMED_IP_ADDRESS) == bytes((203, 0, 113, 9))
    assert Attr.FRAMED_POOL not in reply.spots


# --- who has not proven to be anybody ------------------------------------------------------------------


def open_to(*reasons: str, treatment: Treatment = WALLED) -> PolicyStage:
    return PolicyStage(
        None,
        Tenant(id="demo", garden=GARDEN, treatments=tuple((each, treatment) for each in reasons)),
        ipv4_address=IPv4Address("203.0.113.9"),
    )


@pytest.mark.parametrize(
    ("name", "password", "reason"),
    [("sam", "wrong", "wrong-password"), ("stranger", "x", "unknown-user")],
)
def test_a_stranger_in_the_garden_gets_nothing_of_the_subscriber(
    name: str, password: str, reason: str
) -> None:
    stage = open_to("wrong-password", "unknown-user")
    reply = stage.login(shown(MAC), name, password)
    assert (reply.code, address_list(reply)) == (ACCEPT, b"garden")
    assert Attr.FRAMED_IP_ADDRESS not in reply.spots
    value = reply.find(Attr.CLASS) or b""
    assert token.belongs(value, "")
    assert not token.belongs(value, "SAM")
    assert stage.reasons() == {reason: 1}


def strangers_start(stage: PolicyStage) -> Packet:
    """Return the Start of somebody in the garden who has used the subscriber's name."""
    class_octets = stage.login(name="sam", password="wrong").find(Attr.CLASS) or b""
    start = attribute(1, b"sam") + attribute(40, b"\0\0\0\1") + attribute(44, b"1")
    return decode(stage.nas().account(start + attribute(Attr.CLASS, class_octets)).octets)


def test_a_strangers_session_belongs_to_nobody() -> None:
    stage = open_to("wrong-password")
    packet = strangers_start(stage)
    client = stage.clients.find(bytes((127, 0, 0, 1)))
    assert client is not None
    assert stage.accounting._subscriber(packet, client, stage.at) == ""


def test_a_strangers_session_still_belongs_to_nobody_after_a_restart() -> None:
    stage = open_to("wrong-password")
    packet = strangers_start(stage)
    stage.books.reservations.young.clear()
    client = stage.clients.find(bytes((127, 0, 0, 1)))
    assert client is not None
    assert stage.accounting._subscriber(packet, client, stage.at) == ""


def test_a_stranger_may_get_a_restricted_plan() -> None:
    stage = open_to("unknown-user", treatment=THIN)
    reply = stage.login(name="stranger", password="x")
    assert (reply.code, rate(reply)) == (ACCEPT, b"500k/1M")


@pytest.mark.parametrize("method", ["chap", "mschap", "mschapv2"])
def test_only_a_method_in_which_the_server_proves_nothing_leads_a_stranger_into_the_garden(
    method: str,
) -> None:
    stage = open_to("wrong-password")
    twin = stage.nas()
    attributes = attribute(1, b"sam")
    if method == "chap":
        attributes += exchange.chap(1, b"wrong", os.urandom(16))
    elif method == "mschap":
        attributes += exchange.mschap_v1(1, "wrong", os.urandom(8))
    else:
        attributes += exchange.mschap_v2(1, b"sam", "wrong", os.urandom(16), os.urandom(16))[0]
    reply = twin.ask(twin.request(attributes))
    assert reply is not None
    assert reply.code == (ACCEPT if method == "chap" else REJECT)
    assert stage.reasons() == {"wrong-password": 1}


def test_a_stranger_is_refused_where_nobody_says_otherwise_or_the_garden_cannot_be_built() -> None:
    stage = open_to("expired")
    assert stage.login(password="wrong").code == REJECT
    assert stage.decision().reason == "wrong-password"
    stage = open_to("wrong-password")
    stage.index.put(nas(vendor="accel-ppp"))
    assert stage.login(password="wrong").code == REJECT
    assert stage.decision().reason == "captive-unsupported"


def test_no_other_failure_of_a_credential_opens_the_garden() -> None:
    stage = open_to("no-secret", "no-password", "secret-unusable", "wrong-password")
    stage.index.put(subscriber("keyless", None))
    assert stage.login(name="keyless", password="x").code == REJECT
    twin = stage.nas()
    none = twin.ask(twin.request(attribute(1, b"sam")))
    assert none is not None
    assert none.code == REJECT


def test_a_wrong_password_in_the_garden_is_explained() -> None:
    stage = open_to("wrong-password")
    stage.login(password="wrong")
    steps = stage.steps()
    assert steps["credential"][0] == "failed"
    assert steps["treatment"] == ("passed", "wrong-password: captive")
    assert "walled garden" in steps["grant"][1]


def test_an_unknown_user_in_the_garden_is_explained() -> None:
    stage = open_to("unknown-user")
    stage.login(name="stranger", password="x")
    steps = stage.steps()
    assert steps["identity"][0] == "failed"
    assert "walled garden" in steps["grant"][1]


# --- replies that were prepared before -----------------------------------------------------------------


def test_two_rates_of_the_hours_are_two_replies() -> None:
    night, evening = (Rate(download_bps=bps, upload_bps=bps) for bps in (9_000_000, 5_000_000))
    rules = Rules(
        rate_hours=(
            RateHours(hours=(hours(22 * 60, 24 * 60),), rate=night),
            RateHours(hours=(hours(18 * 60, 22 * 60),), rate=evening),
        )
    )
    stage = PolicyStage(rules)  # at 22:13 UTC
    assert rate(stage.login()) == b"9M/9M"
    stage.at = T0 - 3600
    assert rate(stage.login()) == b"5M/5M"
    stage.at = T0 - 8 * 3600
    assert rate(stage.login()) == b"4M/20M"


def test_a_reply_with_a_clock_in_it_is_not_served_again() -> None:
    stage = PolicyStage(Rules(login_hours=(hours(22 * 60, 23 * 60),)))
    first = stage.login().find_int(Attr.SESSION_TIMEOUT)
    stage.at += 600
    second = stage.login().find_int(Attr.SESSION_TIMEOUT)
    assert (first, second) == (2800, 2200)


def test_what_is_left_of_a_quota_goes_out_as_a_limit() -> None:
    stage = PolicyStage(Rules(allowances=(allowance(6 << 30),)))
    stage.use(1 << 30)
    reply = stage.login()
    low, high = (reply.find_vendor(Vendor.MIKROTIK, kind) or b"" for kind in (17, 18))
    assert (int.from_bytes(high, "big") << 32) + int.from_bytes(low, "big") == 5 << 30


# --- events --------------------------------------------------------------------------------------------


def test_events_of_a_login_are_told_once_its_reason_is_known() -> None:
    stage = PolicyStage(Rules(simultaneous_use=1))
    stage.login(shown(MAC))
    stage.login(shown(OTHER_MAC))
    ((kind, about, _),) = stage.told
    assert kind == "simultaneous-denied"
    assert getattr(about, "reason", None) == "too-many-sessions"


def test_the_first_login_teaches_and_a_later_one_from_elsewhere_is_refused() -> None:
    stage = PolicyStage(Rules(bind=(Bound.MAC, Bound.VLAN, Bound.PORT), bind_learn=True))
    assert stage.login(shown(MAC, "vlan7")).code == ACCEPT
    assert [(kind, text) for kind, _, text in stage.told] == [("binding-learned", "mac, vlan, port")]
    assert stage.login(shown(MAC, "vlan7")).code == ACCEPT
    for extra, reason in (
        (shown(OTHER_MAC, "vlan7"), "mac-mismatch"),
        (shown(MAC, "vlan8"), "vlan-mismatch"),
        (shown(MAC, "olt 1/7 vlan7"), "port-mismatch"),
    ):
        assert stage.login(extra).code == REJECT
        assert stage.decision().reason == reason
    assert stage.books.bindings.forget("demo", "SAM")
    assert stage.login(shown(OTHER_MAC, "vlan8")).code == ACCEPT
    assert len(stage.told) == 2


def test_without_learning_nothing_is_tied() -> None:
    stage = PolicyStage(Rules(bind=(Bound.MAC,)))
    assert [stage.login(shown(mac)).code for mac in (MAC, OTHER_MAC)] == [ACCEPT, ACCEPT]


def test_nothing_is_learned_from_who_is_walled_in() -> None:
    rules = Rules(bind=(Bound.MAC, Bound.PORT), bind_learn=True, treatments=(("mac-mismatch", WALLED),))
    stage = PolicyStage(rules, macs=("02:00:00:00:00:01",))
    assert address_list(stage.login(shown(OTHER_MAC, "vlan666"))) == b"garden"
    assert stage.books.bindings.find("demo", "SAM") is None
    reply = stage.login(shown(MAC, "vlan7"))
    assert (reply.code, address_list(reply)) == (ACCEPT, b"full")


def test_a_refused_login_teaches_nothing() -> None:
    stage = PolicyStage(Rules(bind=(Bound.MAC,), bind_learn=True, simultaneous_mode=SimultaneousMode.REPORT))
    stage.change(access_mode=AccessMode.REJECT)
    stage.login(shown(MAC))
    assert stage.books.bindings.find("demo", "SAM") is None
