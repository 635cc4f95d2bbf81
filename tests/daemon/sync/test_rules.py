"""Rules of plans and tenants, and staff: what is accepted, what it becomes, and what an error says."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Any

import pytest

from daemon.replica.records import Nas, Plan, Record, Secret, SecretKind, Staff, Subscriber, Tenant
from daemon.replica.rules import (
    GARDEN,
    NO_RULES,
    REJECTED,
    Act,
    Allowance,
    Bound,
    Direction,
    Garden,
    Hours,
    LinePolicy,
    Measure,
    RateHours,
    Rules,
    SimultaneousMode,
    Treatment,
    Window,
)
from daemon.sync.faults import Fault
from daemon.sync.records import BodyInvalid
from daemon.sync.wire_rules import TREATABLE, TreatmentsBody
from radius.grant import Privilege, Rate

Make = Callable[[str, dict[str, Any]], Record]
EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)
SLOW = Rate(download_bps=2_000_000, upload_bps=512_000)


def rules(record: Make, **body: Any) -> Rules:
    made = record("plan", body)
    assert isinstance(made, Plan)
    return made.rules


def allowance(record: Make, **fields: Any) -> Allowance:
    (made,) = rules(record, allowances={"name": "a"} | fields).allowances
    return made


def fault(record: Make, kind: str, body: dict[str, Any]) -> Fault:
    with pytest.raises(BodyInvalid) as caught:
        record(kind, body)
    (one,) = caught.value.faults
    return one


def test_a_plan_with_every_rule(record: Make) -> None:
    made = rules(
        record,
        login_hours=["mon-fri 08:00-20:00", {"days": ["sat"], "from": "10:00", "to": "14:00"}],
        nases=["bng-1", 2],
        sites="north",
        simultaneous_use=2,
        simultaneous_mode="kick-old",
        bind=["mac", "circuit"],
        bind_learn=True,
        line_policy="enforce",
        allowances=[
            {"name": "fair", "octets": "500GB", "then": {"download": "2M", "upload": "512k"}},
            {
                "name": "hours",
                "time": "30h",
                "window": "week",
                "then": "plan:slow",
                "on_gap": True,
            },
            {"name": "down", "octets": 5, "direction": "download", "window": "total", "then": "notify"},
        ],
        rate_hours={"hours": "23:00-07:00", "download": "2M", "upload": "512k"},
        month_day=31,
        treatments={"octets-used-up": "plan:slow", "expired": "captive", "wrong-nas": "reject"},
    )
    slow = Treatment(act=Act.PLAN, plan="slow")
    assert made == Rules(
        login_hours=(
            Hours(days=(0, 1, 2, 3, 4), start_min=480, end_min=1200),
            Hours(days=(5,), start_min=600, end_min=840),
        ),
        nases=("bng-1", "2"),
        sites=("north",),
        simultaneous_use=2,
        simultaneous_mode=SimultaneousMode.KICK_OLD,
        bind=(Bound.MAC, Bound.CIRCUIT),
        bind_learn=True,
        line_policy=LinePolicy.ENFORCE,
        allowances=(
            Allowance(name="fair", most=500_000_000_000, then=Treatment(act=Act.RATE, rate=SLOW)),
            Allowance(
                name="hours",
                most=108_000,
                measure=Measure.SECONDS,
                window=Window.WEEK,
                then=slow,
                on_gap=True,
            ),
            Allowance(
                name="down",
                most=5,
                window=Window.TOTAL,
                direction=Direction.DOWNLOAD,
                then=Treatment(act=Act.NOTIFY),
            ),
        ),
        rate_hours=(RateHours(hours=(Hours(days=EVERY_DAY, start_min=1380, end_min=420),), rate=SLOW),),
        month_day=31,
        treatments=(("expired", GARDEN), ("wrong-nas", REJECTED), ("octets-used-up", slow)),
    )


def test_a_plan_without_rules_has_none(record: Make) -> None:
    made = record("plan", {})
    assert isinstance(made, Plan)
    assert made.rules == NO_RULES
    assert made.plain


def test_a_tenant_with_everything(record: Make) -> None:
    made = record(
        "tenant",
        {
            "timezone": "Europe/Berlin",
            "garden": {
                "redirect_url": "https://pay.example.net/?a=b",
                "address_list": "garden",
                "services": "GARDEN",
                "filter_id": "walled",
                "ipv4_pool": "garden",
                "rate": {"download": "2M", "upload": "512k"},
                "session_timeout_s": 600,
                "interim_interval_s": 120,
            },
            "treatments": {"unknown-user": "captive", "wrong-password": "plan:try"},
        },
    )
    assert made == Tenant(
        id="x",
        timezone="Europe/Berlin",
        garden=Garden(
            redirect_url="https://pay.example.net/?a=b",
            address_list="garden",
            services=("GARDEN",),
            filter_id="walled",
            ipv4_pool="garden",
            rate=SLOW,
            session_timeout_s=600,
            interim_interval_s=120,
        ),
        treatments=(
            ("unknown-user", GARDEN),
            ("wrong-password", Treatment(act=Act.PLAN, plan="try")),
        ),
    )


def test_a_member_of_staff_with_everything(record: Make) -> None:
    made = record(
        "staff",
        {
            "username": "nora",
            "password": "northern-lights",
            "privilege": "full",
            "enabled": False,
            "groups": {"MikroTik": "noc", "accel_ppp": "x", "juniper": "OP"},
            "nases": ["bng-1"],
            "sites": ["north"],
            "valid_until": 1798761599,
        },
    )
    assert made == Staff(
        tenant="demo",
        id="x",
        username="nora",
        secret=Secret(SecretKind.CLEARTEXT, b"northern-lights"),
        privilege=Privilege.FULL,
        enabled=False,
        groups=(("accel-ppp", "x"), ("juniper", "OP"), ("mikrotik", "noc")),
        nases=("bng-1",),
        sites=("north",),
        valid_until=1798761599.0,
    )


def test_what_a_nas_and_a_subscriber_say_for_the_rules(record: Make) -> None:
    nas = record(
        "nas",
        {
            "address": "192.0.2.1",
            "secret": "s",
            "site": "north",
            "coa": False,
            "coa_address": "2001:db8::1",
            "coa_secret": "other",
            "coa_message_authenticator": False,
            "coa_event_timestamp": False,
        },
    )
    assert isinstance(nas, Nas)
    assert (nas.site, nas.coa, nas.coa_address) == ("north", False, IPv6Address("2001:db8::1"))
    assert nas.coa_secret == Secret(SecretKind.CLEARTEXT, b"other")
    assert (nas.coa_message_authenticator, nas.coa_event_timestamp) == (False, False)
    line = record(
        "subscriber",
        {
            "access_mode": "active",
            "nases": "bng-1",
            "sites": ["north", "south"],
            "option82_policy": "ignore",
            "bonus_octets": "20GiB",
        },
    )
    assert isinstance(line, Subscriber)
    assert (line.nases, line.sites) == (("bng-1",), ("north", "south"))
    assert (line.line_policy, line.bonus_octets) == (LinePolicy.IGNORE, 20 * 1024**3)


def test_the_policy_of_lines_has_two_spellings(record: Make) -> None:
    assert rules(record, option82_policy="enforce").line_policy is LinePolicy.ENFORCE
    assert rules(record, line_policy="LOG", option82_policy="LOG").line_policy is LinePolicy.LOG
    twice = fault(record, "plan", {"line_policy": "log", "option82_policy": "ignore"})
    assert (twice.slug, twice.path) == ("said-twice", ("option82_policy",))
    wrong = fault(record, "plan", {"option82_policy": "maybe"})
    assert (wrong.slug, wrong.path) == ("unknown-word", ("option82_policy",))


@pytest.mark.parametrize(
    ("written", "octets"),
    [
        (1, 1),
        ("123", 123),
        (5_000_000_000, 5_000_000_000),
        ("1B", 1),
        ("1kB", 1000),
        ("1KB", 1000),
        ("2 MB", 2_000_000),
        ("500GB", 500_000_000_000),
        ("1.5TB", 1_500_000_000_000),
        ("1KiB", 1024),
        ("2MiB", 2 * 1024**2),
        ("500GiB", 500 * 1024**3),
        ("4TiB", 4 * 1024**4),
        (2**63 - 1, 2**63 - 1),
    ],
)
def test_amounts_of_octets(record: Make, written: object, octets: int) -> None:
    assert allowance(record, octets=written).most == octets


@pytest.mark.parametrize(
    "written",
    [
        0,
        -1,
        True,
        1.5,
        "",
        "GB",
        "0GB",
        "1.5",
        "0.3B",
        "1e9",
        "-5GB",
        "500G",
        "500Gb",
        "500gb",
        "9999999TB",
        "٣GB",
    ],
)
def test_what_is_no_amount_of_octets(record: Make, written: object) -> None:
    wrong = fault(record, "plan", {"allowances": [{"name": "a", "octets": written}]})
    assert (wrong.slug, wrong.path) == ("bad-amount", ("allowances", 0, "octets"))
    assert "powers of 1000" in wrong.expected
    assert "1024" in wrong.expected


@pytest.mark.parametrize("written", ["500G", "500Gb", "500g"])
def test_a_prefix_without_its_unit_is_answered_with_both(record: Make, written: str) -> None:
    wrong = fault(record, "plan", {"allowances": [{"name": "a", "octets": written}]})
    assert wrong.hint == 'write "500GB" (powers of 1000) or "500GiB" (powers of 1024)'


def test_bonus_octets_may_be_none_and_not_less(record: Make) -> None:
    assert fault(record, "subscriber", {"status": "active", "bonus_octets": -1}).slug == "bad-amount"
    made = record("subscriber", {"status": "active", "bonus_octets": 0})
    assert isinstance(made, Subscriber)
    assert made.bonus_octets == 0


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(1, 1), ("90", 90), ("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("2 h", 7200)],
)
def test_time_spans(record: Make, written: object, seconds: int) -> None:
    assert allowance(record, time=written).most == seconds
    assert allowance(record, seconds=written).measure is Measure.SECONDS


@pytest.mark.parametrize("written", [0, "0s", -1, True, 1.5, "", "h", "1h30", "1w", "99999d", "1.5h"])
def test_what_is_no_time_span(record: Make, written: object) -> None:
    wrong = fault(record, "plan", {"allowances": [{"name": "a", "time": written}]})
    assert (wrong.slug, wrong.path) == ("bad-duration", ("allowances", 0, "time"))


@pytest.mark.parametrize(
    ("written", "days", "start", "end"),
    [
        ("08:00-20:00", EVERY_DAY, 480, 1200),
        ("8:00 - 20:00", EVERY_DAY, 480, 1200),
        ("00:00-24:00", EVERY_DAY, 0, 0),
        ("22:00-06:00", EVERY_DAY, 1320, 360),
        ("Mon-Fri 08:00-20:00", (0, 1, 2, 3, 4), 480, 1200),
        ("sat,sun 10:00-14:00", (5, 6), 600, 840),
        ("sat, sun 10:00-14:00", (5, 6), 600, 840),
        ("sat-mon 10:00-24:00", (0, 5, 6), 600, 0),
        ("wed-wed 10:00-14:00", (2,), 600, 840),
        ("mon-tue,fri,mon 23:59-00:00", (0, 1, 4), 1439, 0),
        ({"from": "8:00", "to": "20:00"}, EVERY_DAY, 480, 1200),
        ({"days": "mon-fri", "from": "8:00", "to": "20:00"}, (0, 1, 2, 3, 4), 480, 1200),
        ({"days": ["sun", "mon-tue"], "from": "8:00", "to": "24:00"}, (0, 1, 6), 480, 0),
    ],
)
def test_hours(record: Make, written: object, days: tuple[int, ...], start: int, end: int) -> None:
    assert rules(record, login_hours=[written]).login_hours == (
        Hours(days=days, start_min=start, end_min=end),
    )


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("", ()),
        ("08:00", ()),
        ("mon-fri", ()),
        ("24:00-08:00", ()),
        ("08:60-09:00", ()),
        ("08:00-24:01", ()),
        ("mo-fr 08:00-20:00", ()),
        ("mon- 08:00-20:00", ()),
        (", 08:00-20:00", ()),
        (7, ()),
        ({"days": [], "from": "8:00", "to": "20:00"}, ("days",)),
        ({"days": [1], "from": "8:00", "to": "20:00"}, ("days",)),
        ({"days": "mon", "from": 8, "to": "20:00"}, ("from",)),
        ({"days": "mon", "from": "8:00", "to": "25:00"}, ("to",)),
    ],
)
def test_what_are_no_hours(record: Make, written: object, path: tuple[str, ...]) -> None:
    wrong = fault(record, "plan", {"login_hours": [written]})
    assert (wrong.slug, wrong.path) == ("bad-hours", ("login_hours", 0, *path))


def test_days_that_lost_their_hours_to_a_comma_are_told_of_quotes(record: Make) -> None:
    wrong = fault(record, "plan", {"login_hours": ["sat", "sun 10:00-14:00"]})
    assert wrong.hint == "an entry that holds a comma needs quotes"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("new york", "America/New_York"),
    ],
)
def test_an_unknown_time_zone_is_answered_with_the_nearest(record: Make, name: str, hint: str) -> None:
    wrong = fault(record, "tenant", {"timezone": name})
    assert (wrong.slug, wrong.path) == ("unknown-timezone", ("timezone",))
    assert wrong.hint.startswith(f"did you mean {hint}")


@pytest.mark.parametrize("name", ["", 1, None, "../UTC", "/etc/localtime", "right/UTC", "x" * 1000, "\ud800"])
def test_what_is_no_time_zone(record: Make, name: object) -> None:
    assert fault(record, "tenant", {"timezone": name}).slug == "unknown-timezone"


@pytest.mark.parametrize(
    ("garden", "slug", "path"),
    [
        ({}, "missing", ("garden",)),
        ({"ipv4_pool": "x", "rate": {"download": "1M", "upload": "1M"}}, "missing", ("garden",)),
        ({"redirect_url": "pay.example.net"}, "bad-url", ("garden", "redirect_url")),
        ({"redirect_url": "ftp://pay.example.net"}, "bad-url", ("garden", "redirect_url")),
        ({"redirect_url": "https://"}, "bad-url", ("garden", "redirect_url")),
        ({"redirect_url": "https://[::1"}, "bad-url", ("garden", "redirect_url")),
        ({"redirect_url": "https://a b/"}, "bad-url", ("garden", "redirect_url")),
        ({"redirect_url": "https://a:99999/"}, "bad-url", ("garden", "redirect_url")),
        ({"redirect_url": "https://" + "a" * 240}, "bad-length", ("garden", "redirect_url")),
        ({"address_list": "x", "rate": {"download": "1M"}}, "missing", ("garden", "rate")),
        ({"address_list": "x", "interim_interval_s": 5}, "bad-number", ("garden", "interim_interval_s")),
        ({"services": ["x", "x"]}, "repeated", ("garden", "services")),
        ("captive", "wrong-shape", ("garden",)),
    ],
)
def test_what_is_no_garden(record: Make, garden: object, slug: str, path: tuple[str, ...]) -> None:
    wrong = fault(record, "tenant", {"garden": garden})
    assert (wrong.slug, wrong.path) == (slug, path)


def test_every_reason_can_be_treated_in_a_tenant_and_all_but_two_in_a_plan(record: Make) -> None:
    given = dict.fromkeys(reversed(TREATABLE), "captive")
    made = record("tenant", {"treatments": given})
    assert isinstance(made, Tenant)
    assert made.treatments == tuple((slug, GARDEN) for slug in TREATABLE)
    assert {name.replace("_", "-") for name in TreatmentsBody.model_fields} == set(TREATABLE)
    with pytest.raises(BodyInvalid) as caught:
        record("plan", {"treatments": given})
    assert [(each.slug, each.path) for each in caught.value.faults] == [
        ("tenant-only", ("treatments", "unknown-user")),
        ("tenant-only", ("treatments", "wrong-password")),
    ]


def test_an_unknown_reason_is_answered_with_the_nearest(record: Make) -> None:
    wrong = fault(record, "plan", {"treatments": {"expird": "captive"}})
    assert (wrong.slug, wrong.path) == ("unknown-key", ("treatments", "expird"))
    assert wrong.hint == "did you mean expired?"
    assert fault(record, "tenant", {"treatments": {"access_reject": "captive"}}).slug == "unknown-key"


@pytest.mark.parametrize(
    "word", ["notify", "captiv", "", 1, None, {"download": "1M", "upload": "1M"}, "plan"]
)
def test_what_is_no_treatment(record: Make, word: object) -> None:
    if word is None:
        assert rules(record, treatments={"expired": None}) == NO_RULES
        return
    wrong = fault(record, "plan", {"treatments": {"expired": word}})
    assert (wrong.slug, wrong.path) == ("unknown-word", ("treatments", "expired"))


@pytest.mark.parametrize(
    ("fields", "slug", "path"),
    [
        ({"name": "a"}, "missing", ()),
        ({"octets": 1}, "missing", ()),
        ({"name": " a", "octets": 1}, "white-space", ("name",)),
        ({"name": "a", "octets": 1, "time": 1}, "said-twice", ("time",)),
        ({"name": "a", "seconds": 1, "time": 1}, "said-twice", ("time",)),
        ({"name": "a", "time": 1, "direction": "upload"}, "bad-direction", ("direction",)),
        ({"name": "a", "octets": 1, "window": "year"}, "unknown-word", ("window",)),
        ({"name": "a", "octets": 1, "then": "slow"}, "unknown-word", ("then",)),
        ({"name": "a", "octets": 1, "then": "plan:"}, "bad-id", ("then",)),
        ({"name": "a", "octets": 1, "then": 5}, "unknown-word", ("then",)),
        ({"name": "a", "octets": 1, "then": {"download": "1M"}}, "missing", ("then",)),
        (
            {"name": "a", "octets": 1, "then": {"download": 1, "upload": "1M"}},
            "bad-rate",
            ("then", "download"),
        ),
        ({"name": "a", "octets": 1, "on_gap": "yes"}, "not-a-flag", ("on_gap",)),
        ({"name": "a", "octets": 1, "reset": 1}, "unknown-key", ("reset",)),
    ],
)
def test_what_is_no_allowance(
    record: Make, fields: dict[str, object], slug: str, path: tuple[str, ...]
) -> None:
    wrong = fault(record, "plan", {"allowances": [fields]})
    assert (wrong.slug, wrong.path) == (slug, ("allowances", 0, *path))


@pytest.mark.parametrize(
    ("body", "slug", "path"),
    [
        (
            {"allowances": [{"name": "a", "octets": 1}, {"name": "a", "time": 1}]},
            "repeated",
            ("allowances", 1, "name"),
        ),
        ({"bind_learn": True}, "missing", ("bind_learn",)),
        ({"bind": ["mac", "mac"]}, "repeated", ("bind",)),
        ({"bind": "ip"}, "unknown-word", ("bind", 0)),
        ({"nases": ["a b"]}, "bad-id", ("nases", 0)),
        ({"nases": ["a", "a"]}, "repeated", ("nases",)),
        ({"month_day": 0}, "bad-number", ("month_day",)),
        ({"month_day": 32}, "bad-number", ("month_day",)),
        ({"simultaneous_mode": "kick"}, "unknown-word", ("simultaneous_mode",)),
        (
            {"rate_hours": {"hours": [], "download": "1M", "upload": "1M"}},
            "missing",
            ("rate_hours", 0, "hours"),
        ),
        ({"rate_hours": {"hours": "08:00-09:00", "download": "1M"}}, "missing", ("rate_hours", 0)),
    ],
)
def test_rules_that_are_refused(
    record: Make, body: dict[str, object], slug: str, path: tuple[str | int, ...]
) -> None:
    wrong = fault(record, "plan", body)
    assert (wrong.slug, wrong.path) == (slug, path)


@pytest.mark.parametrize(
    ("body", "slug", "path"),
    [
        ({"username": "n"}, "missing", ()),
        ({"password": "p"}, "missing", ()),
        ({"username": "n", "password": "enc:x"}, "not-a-password", ("password",)),
        ({"username": "n", "password": "p", "privilege": "root"}, "unknown-word", ("privilege",)),
        ({"username": "n", "password": "p", "groups": {"acme": "x"}}, "unknown-vendor", ("groups", "acme")),
        ({"username": "n", "password": "p", "groups": {"cisco": 1.5}}, "not-text", ("groups", "cisco")),
        (
            {"username": "n", "password": "p", "groups": {"zte": "a", "other": "b"}},
            "said-twice",
            ("groups", "other"),
        ),
    ],
)
def test_staff_that_is_refused(
    record: Make, body: dict[str, object], slug: str, path: tuple[str, ...]
) -> None:
    wrong = fault(record, "staff", body)
    assert (wrong.slug, wrong.path) == (slug, path)
