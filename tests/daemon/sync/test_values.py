"""Single values: what is accepted, what they become, and what an error says."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from daemon.replica.records import (
    AccessMode,
    AttributeEdit,
    EditOp,
    IdentitySource,
    Nas,
    Plan,
    Record,
    Secret,
    SecretKind,
    Service,
    Subscriber,
)
from daemon.sync.records import BodyInvalid
from radius.grant import Access, Burst, Rate, Route

Make = Callable[[str, dict[str, Any]], Record]
NT = "0cb6948805f797bf2a82807973b89537"


def subscriber(record: Make, **body: Any) -> Subscriber:
    made = record("subscriber", {"access_mode": "active"} | body)
    assert isinstance(made, Subscriber)
    return made


def plan(record: Make, **body: Any) -> Plan:
    made = record("plan", body)
    assert isinstance(made, Plan)
    return made


def nas(record: Make, **body: Any) -> Nas:
    made = record("nas", {"address": "192.0.2.1", "secret": "s"} | body)
    assert isinstance(made, Nas)
    return made


def refused(record: Make, kind: str, body: dict[str, Any]) -> list[tuple[str, tuple[str | int, ...]]]:
    with pytest.raises(BodyInvalid) as caught:
        record(kind, body)
    return [(each.slug, each.path) for each in caught.value.faults]


def test_a_subscriber_with_everything(record: Make) -> None:
    made = subscriber(
        record,
        username="alice",
        usernames=["alice", 100000010],
        password="wonderland",
        mac="AA-BB-CC-DD-EE-FF",
        macs=["aabb.ccdd.ee00"],
        circuit_id="olt-1 1/2/3",
        remote_id="node",
        status="Active",
        plan="home",
        ipv4_address="203.0.113.10",
        ipv6_address="2001:db8::10",
        ipv6_prefix="2001:db8:1::/64",
        delegated_prefix="2001:db8:1000::/56",
        routes=["198.51.100.0/24", {"prefix": "2001:db8:2::/48", "gateway": "2001:db8::1", "metric": 5}],
        vlan_id=100,
        inner_vlan_id="7",
        valid_from="2026-01-01T01:00:00+01:00",
        valid_until=1798761599,
        simultaneous_use=2,
        service={"download": "60M", "upload": "12M"},
        attributes="-Filter-Id",
    )
    assert made == Subscriber(
        tenant="demo",
        id="x",
        access_mode=AccessMode.ACTIVE,
        plan="home",
        usernames=("alice", "100000010"),
        secret=Secret(SecretKind.CLEARTEXT, b"wonderland"),
        macs=("aa:bb:cc:dd:ee:ff", "aa:bb:cc:dd:ee:00"),
        circuit_id="olt-1 1/2/3",
        remote_id="node",
        status="Active",
        valid_from=1767225600.0,
        valid_until=1798761599.0,
        ipv4_address=IPv4Address("203.0.113.10"),
        ipv6_address=IPv6Address("2001:db8::10"),
        ipv6_prefix=IPv6Network("2001:db8:1::/64"),
        ipv6_delegated=IPv6Network("2001:db8:1000::/56"),
        routes=(
            Route(prefix=IPv4Network("198.51.100.0/24")),
            Route(prefix=IPv6Network("2001:db8:2::/48"), gateway=IPv6Address("2001:db8::1"), metric=5),
        ),
        vlan_id=100,
        inner_vlan_id=7,
        simultaneous_use=2,
        service=Service(
            rate=Rate(download_bps=60_000_000, upload_bps=12_000_000),
            edits=(AttributeEdit(EditOp.REMOVE, "Filter-Id", (11,)),),
        ),
    )


def test_a_plan_with_everything(record: Make) -> None:
    made = plan(
        record,
        name="Home 100",
        access="ppp",
        download="100Mbps",
        upload_kbps=20_000,
        burst={"download": "150M", "upload": "40M", "threshold_download": "80M", "seconds": 8},
        committed={"download": "10M", "upload": "2M"},
        priority=3,
        mikrotik_rate_limit="20M/100M",
        services="gold({download_bps})",
        delegated_pool="pd",
        dns=["2001:db8::53", "192.0.2.53"],
        interim_interval_s=60,
    )
    assert made.access is Access.PPP
    assert made.service == Service(
        rate=Rate(download_bps=100_000_000, upload_bps=20_000_000),
        burst=Burst(
            rate=Rate(download_bps=150_000_000, upload_bps=40_000_000),
            threshold=Rate(download_bps=80_000_000, upload_bps=20_000_000),
            seconds=8,
        ),
        committed=Rate(download_bps=10_000_000, upload_bps=2_000_000),
        priority=3,
        rate_text="20M/100M",
        services=("gold({download_bps})",),
        ipv6_delegated_pool="pd",
        dns4=(IPv4Address("192.0.2.53"),),
        dns6=(IPv6Address("2001:db8::53"),),
        interim_interval_s=60,
    )


def test_a_nas_with_everything(record: Make) -> None:
    made = nas(
        record,
        prefixes=["192.0.2.0/24", "2001:db8::1"],
        previous_secret={"kind": "cleartext", "value": "env:literal"},
        vendor="MikroTik",
        coa_port=3800,
        require_message_authenticator="require",
        limit_proxy_state=False,
        identities=["circuit-id", "mac"],
        line_password="line",
        strip_realm=True,
    )
    assert made == Nas(
        tenant="demo",
        id="x",
        prefixes=(IPv4Network("192.0.2.1"), IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8::1")),
        secret=Secret(SecretKind.CLEARTEXT, b"s"),
        previous_secret=Secret(SecretKind.CLEARTEXT, b"env:literal"),
        vendor="mikrotik",
        coa_port=3800,
        require_message_authenticator=True,
        limit_proxy_state=False,
        identities=(IdentitySource.CIRCUIT, IdentitySource.MAC),
        line_password=Secret(SecretKind.CLEARTEXT, b"line"),
        strip_realm=True,
    )


def test_what_a_nas_does_not_say_is_the_default(record: Make) -> None:
    made = nas(record)
    assert (made.vendor, made.coa_port, made.require_message_authenticator) == ("standard", 3799, False)
    assert (made.limit_proxy_state, made.identities) == (True, (IdentitySource.USERNAME, IdentitySource.MAC))
    assert nas(record, vendor="cisco").coa_port == 1700
    assert nas(record, require_message_authenticator="observe").require_message_authenticator is False


@pytest.mark.parametrize(
    ("status", "mode"),
    [
        ("active", AccessMode.ACTIVE),
        ("ACTIVE", AccessMode.ACTIVE),
        *((word, AccessMode.REJECT) for word in ("suspended", "blocked", "stopped", "disabled")),
        *(
            (word, AccessMode.NONE)
            for word in (
                "prospect",
                "lead",
                "pending",
                "churned",
                "inactive",
                "cancelled",
                "canceled",
                "expired",
                "terminated",
            )
        ),
    ],
)
def test_access_mode_follows_from_status_where_it_is_not_said(
    record: Make, status: str, mode: AccessMode
) -> None:
    made = record("subscriber", {"status": status})
    assert isinstance(made, Subscriber)
    assert (made.access_mode, made.status) == (mode, status)


def test_access_mode_wins_over_status_and_an_unknown_status_alone_is_an_error(record: Make) -> None:
    assert subscriber(record, access_mode="captive", status="odd").access_mode is AccessMode.CAPTIVE
    assert refused(record, "subscriber", {"status": "odd"}) == [("unknown-status", ("status",))]
    assert refused(record, "subscriber", {}) == [("missing", ())]


@pytest.mark.parametrize(
    ("secret", "kind", "value"),
    [
        ({"kind": "cleartext", "value": "enc:x"}, SecretKind.CLEARTEXT, b"enc:x"),
        ({"kind": "nt-hash", "value": NT.upper()}, SecretKind.NT_HASH, bytes.fromhex(NT)),
        (
            {"kind": "crypt", "value": "$6$saltsalt$" + "a" * 86},
            SecretKind.CRYPT,
            b"$6$saltsalt$" + b"a" * 86,
        ),
        (
            {"kind": "ldap", "value": "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="},
            SecretKind.LDAP,
            b"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        ),
    ],
)
def test_secrets_of_every_kind(record: Make, secret: dict[str, str], kind: SecretKind, value: bytes) -> None:
    assert subscriber(record, secret=secret).secret == Secret(kind, value)


def test_a_raw_attribute_in_every_form(record: Make) -> None:
    hello = bytes((18, 7)) + b"hello"
    made = plan(
        record,
        attributes=[
            "Reply-Message = hello",
            "Reply-Message += hello",
            'Reply-Message := "hello"',
            "-Reply-Message",
            {"op": "add", "name": "Reply-Message", "value": "hello"},
            {"op": "replace", "name": "Reply-Message", "octets": hello.hex()},
            {"op": "remove", "name": "Reply-Message"},
        ],
    )
    add, replace, remove = (
        AttributeEdit(EditOp.ADD, "Reply-Message", (18,), hello),
        AttributeEdit(EditOp.REPLACE, "Reply-Message", (18,), hello),
        AttributeEdit(EditOp.REMOVE, "Reply-Message", (18,)),
    )
    assert made.service.edits == (add, add, replace, remove, add, replace, remove)


@pytest.mark.parametrize(
    ("kind", "body", "faults"),
    [
        ("subscriber", {"username": ""}, [("bad-length", ("username",))]),
        ("subscriber", {"username": " alice"}, [("white-space", ("username",))]),
        ("subscriber", {"username": "a\x00b"}, [("control-character", ("username",))]),
        ("subscriber", {"username": "\ud800"}, [("not-text", ("username",))]),
        ("subscriber", {"username": 1.5}, [("not-text", ("username",))]),
        ("subscriber", {"username": "a" * 254}, [("bad-length", ("username",))]),
        ("subscriber", {"usernames": ["a", "a"]}, [("repeated", ("usernames",))]),
        ("subscriber", {"password": True}, [("not-text", ("password",))]),
        ("subscriber", {"password": "a" * 129}, [("bad-length", ("password",))]),
        ("subscriber", {"password": "enc:gAAAA"}, [("not-a-password", ("password",))]),
        ("subscriber", {"password": "bao://kv/alice"}, [("not-a-password", ("password",))]),
        ("subscriber", {"password": "$6$salt$abcdefgh"}, [("not-a-password", ("password",))]),
        ("subscriber", {"password": "{SSHA}abcdefghij"}, [("not-a-password", ("password",))]),
        ("subscriber", {"password": "$pbkdf2-sha256$1"}, [("not-a-password", ("password",))]),
        ("subscriber", {"secret": {"kind": "md5", "value": "x"}}, [("unknown-word", ("secret", "kind"))]),
        ("subscriber", {"secret": {"kind": "nt-hash", "value": "12"}}, [("bad-secret", ("secret",))]),
        ("subscriber", {"secret": {"kind": "ldap", "value": "x"}}, [("bad-secret", ("secret",))]),
        ("subscriber", {"secret": {"kind": "pbkdf2", "value": "x"}}, [("bad-secret", ("secret",))]),
        ("subscriber", {"secret": {"value": "x"}}, [("missing", ("secret",))]),
        (
            "subscriber",
            {"password": "a", "secret": {"kind": "cleartext", "value": "b"}},
            [("said-twice", ("password",))],
        ),
        ("subscriber", {"mac": "00:11:22:33:44"}, [("bad-mac", ("mac",))]),
        ("subscriber", {"access_mode": "maybe"}, [("unknown-word", ("access_mode",))]),
        ("subscriber", {"ipv4_address": "0.0.0.0"}, [("bad-address", ("ipv4_address",))]),
        ("subscriber", {"ipv4_address": 5}, [("bad-address", ("ipv4_address",))]),
        ("subscriber", {"ipv4_address": "192.0.2.1/24"}, [("bad-address", ("ipv4_address",))]),
        ("subscriber", {"ipv6_address": "fe80::1%eth0"}, [("bad-address", ("ipv6_address",))]),
        ("subscriber", {"delegated_prefix": "2001:db8::1/56"}, [("host-bits", ("delegated_prefix",))]),
        ("subscriber", {"delegated_prefix": "2001:db8::"}, [("bad-prefix", ("delegated_prefix",))]),
        ("subscriber", {"delegated_prefix": "192.0.2.0/24"}, [("bad-prefix", ("delegated_prefix",))]),
        ("subscriber", {"routes": ["x"]}, [("bad-prefix", ("routes", 0, "prefix"))]),
        (
            "subscriber",
            {"routes": [{"prefix": "192.0.2.0/24", "gateway": "::1"}]},
            [("bad-address", ("routes", 0, "gateway"))],
        ),
        ("subscriber", {"vlan_id": 4095}, [("bad-number", ("vlan_id",))]),
        ("subscriber", {"vlan_id": True}, [("bad-number", ("vlan_id",))]),
        ("subscriber", {"inner_vlan_id": 5}, [("missing", ("inner_vlan_id",))]),
        ("subscriber", {"valid_from": "2026-01-01T00:00:00"}, [("no-zone", ("valid_from",))]),
        ("subscriber", {"valid_from": "soon"}, [("bad-time", ("valid_from",))]),
        ("subscriber", {"valid_from": 1767225600000}, [("bad-time", ("valid_from",))]),
        ("subscriber", {"valid_from": 5, "valid_until": 5}, [("bad-time", ("valid_until",))]),
        ("subscriber", {"simultaneous_use": 0}, [("bad-number", ("simultaneous_use",))]),
        ("subscriber", {"service": {"upload": "fast"}}, [("bad-rate", ("service", "upload"))]),
        ("subscriber", {"service": {"name": "x"}}, [("unknown-key", ("service", "name"))]),
        ("subscriber", {"service": "gold"}, [("wrong-shape", ("service",))]),
        ("plan", {"download": 100, "upload": "1M"}, [("bad-rate", ("download",))]),
        ("plan", {"download": "1M"}, [("missing", ("download",))]),
        (
            "plan",
            {"download": "1M", "download_kbps": 2, "upload": "1M"},
            [("said-twice", ("download_kbps",))],
        ),
        ("plan", {"burst": {"download": "1M", "upload": "1M", "seconds": 1}}, [("missing", ("burst",))]),
        ("plan", {"committed": {"download": "1M", "upload": "1M"}}, [("missing", ("committed",))]),
        (
            "plan",
            {"download": "9M", "upload": "9M", "burst": {"download": "1M", "upload": "9M", "seconds": 1}},
            [("bad-rate", ("burst", "download"))],
        ),
        (
            "plan",
            {"download": "1M", "upload": "1M", "committed": {"download": "1M", "upload": "2M"}},
            [("bad-rate", ("committed", "upload"))],
        ),
        ("plan", {"mikrotik_rate_limit": "fast"}, [("bad-rate", ("mikrotik_rate_limit",))]),
        ("plan", {"priority": 9}, [("bad-number", ("priority",))]),
        ("plan", {"interim_interval_s": 59}, [("bad-number", ("interim_interval_s",))]),
        ("plan", {"access": "pppoe"}, [("unknown-word", ("access",))]),
        ("plan", {"dns": ["resolver"]}, [("bad-address", ("dns", 0))]),
        ("plan", {"attributes": ["Reply-Mesage = x"]}, [("unknown-attribute", ("attributes", 0))]),
        ("plan", {"attributes": ["-User-Password"]}, [("attribute-not-allowed", ("attributes", 0))]),
        ("plan", {"attributes": ["words"]}, [("bad-attribute", ("attributes", 0))]),
        (
            "plan",
            {"attributes": [{"op": "add", "name": "Reply-Message"}]},
            [("bad-attribute", ("attributes", 0))],
        ),
        (
            "plan",
            {"attributes": [{"op": "add", "name": "Reply-Message", "octets": "0103"}]},
            [("bad-attribute", ("attributes", 0))],
        ),
        ("nas", {"secret": "s"}, [("missing", ())]),
        ("nas", {"address": "192.0.2.1"}, [("missing", ())]),
        ("nas", {"address": "10.0.0.1/24", "secret": "s"}, [("host-bits", ("address",))]),
        ("nas", {"address": "192.0.2.1", "secret": "env:SECRET"}, [("not-a-password", ("secret",))]),
        (
            "nas",
            {"address": "192.0.2.1", "secret": {"kind": "crypt", "value": "x"}},
            [("bad-secret", ("secret",))],
        ),
        ("nas", {"address": "192.0.2.1", "secret": "s", "vendor": "acme"}, [("unknown-vendor", ("vendor",))]),
        (
            "nas",
            {"address": "192.0.2.1", "secret": "s", "strip_realm": "no"},
            [("not-a-flag", ("strip_realm",))],
        ),
        ("nas", {"address": "192.0.2.1", "secret": "s", "coa_port": 0}, [("bad-number", ("coa_port",))]),
        ("tenant", {"title": "x"}, [("unknown-key", ("title",))]),
    ],
)
def test_what_is_refused_and_where(
    record: Make, kind: str, body: dict[str, Any], faults: list[tuple[str, tuple[str | int, ...]]]
) -> None:
    if kind == "subscriber":
        body = {"access_mode": "active"} | body
    assert refused(record, kind, body) == faults


def test_all_faults_of_a_body_come_at_once(record: Make) -> None:
    body = {"access_mode": "x", "mac": "x", "vlan_id": 0, "valid_from": "x", "nonsense": 1}
    assert [slug for slug, _ in refused(record, "subscriber", body)] == [
        "bad-mac",
        "unknown-word",
        "bad-number",
        "bad-time",
        "unknown-key",
    ]


@pytest.mark.parametrize(
    ("kind", "key", "hint"),
    [
        ("subscriber", "usernme", "did you mean username, usernames, radius_username?"),
        ("subscriber", "bandwith_up", "did you mean bandwidth_up, bandwidth_down?"),
        ("nas", "adress", "did you mean address, ip_address, coa_address?"),
        ("tenant", "q", "known are name, reject_message, timezone, garden, treatments"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(record: Make, kind: str, key: str, hint: str) -> None:
    body = {"address": "192.0.2.1", "secret": "s"} if kind == "nas" else {}
    with pytest.raises(BodyInvalid) as caught:
        record(kind, body | {key: "x"})
    assert [each.hint for each in caught.value.faults if each.slug == "unknown-key"] == [hint]


def test_hints_say_what_would_be_right(record: Make) -> None:
    def hint(kind: str, body: dict[str, Any]) -> str:
        with pytest.raises(BodyInvalid) as caught:
            record(kind, body)
        return caught.value.faults[0].hint

    active = {"access_mode": "active"}
    assert hint("nas", {"address": "10.0.0.1/24", "secret": "s"}) == "the prefix it lies in is 10.0.0.0/24"
    assert '"100M"' in hint("plan", {"download": 100, "upload": "1M"})
    assert hint("subscriber", active | {"ipv4_address": "192.0.2.1/24"}) == "leave out the length: 192.0.2.1"
    assert "milliseconds" in hint("subscriber", active | {"valid_from": 1767225600000})
    assert "kind: crypt" in hint("subscriber", active | {"password": "$2b$12$abcdefghijk"})
