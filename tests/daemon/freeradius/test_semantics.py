"""What FreeRADIUS's rows mean: operators, order, times, passwords, rates; and how few plans come of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from daemon.sync.freeradius import fields
from daemon.sync.freeradius.conditions import Unkept
from daemon.sync.freeradius.findings import Findings, Why
from daemon.sync.freeradius.items import Block, Login, Row, row
from daemon.sync.freeradius.merge import move
from daemon.sync.freeradius.rendering import login_time
from daemon.sync.freeradius.safe_names import meant, written
from daemon.sync.freeradius.semantics import Made, Reading, Translator, object_id
from daemon.sync.freeradius.times import read_expiration, read_login_time
from daemon.sync.wire_hours import read_hours
from tests.daemon.freeradius.feed_twin import DICTIONARY

CLEAR = ("Cleartext-Password", ":=", "x")
BERLIN = ZoneInfo("Europe/Berlin")
Item = tuple[str, str, str]


def made_rows(*items: Item) -> tuple[Row, ...]:
    found = [row(*each) for each in items]
    assert None not in found
    return tuple(each for each in found if each is not None)


def block(label: str, checks: Sequence[Item] = (), replies: Sequence[Item] = (), **more: Any) -> Block:
    return Block(label, made_rows(*checks), made_rows(*replies), **more)


def user(name: str, checks: Sequence[Item] = (CLEAR,), replies: Sequence[Item] = (), *groups: Block) -> Login:
    return Login(name, (block(name, checks, replies, goes_on=True), *groups))


def translate(*logins: Login, **reading: Any) -> tuple[dict[tuple[str, str], Any], Findings]:
    findings = Findings()
    translator = Translator(Reading(**reading), DICTIONARY, findings, {"192.0.2.1": "bng-1"})
    made: list[Made] = [each for login in logins for each in translator.login(login)]
    assert len({(each.kind, each.id) for each in made}) == len(made)
    return {(each.kind, each.id): each.body for each in made}, findings


@pytest.mark.parametrize(
    ("there", "new", "then"),
    [
        (["a"], [(":=", "b")], ["b"]),
        (["a", "c"], [(":=", "b")], ["b", "c"]),
        (["a", "c"], [(":=", "b"), (":=", "d")], ["b", "d"]),
        ([], [(":=", "b"), (":=", "d")], ["b", "d"]),
        (["a"], [("=", "b")], ["a"]),
        ([], [("=", "b"), ("=", "c")], ["b", "c"]),
        (["a"], [("+=", "b")], ["a", "b"]),
        (["a", "b"], [("-=", "b")], ["a"]),
        (["a", "b"], [("==", "b")], ["b"]),
        ([], [("==", "b")], []),
        (["a", "b"], [("!*", "")], []),
        (["10"], [("<=", "9")], ["9"]),
        (["10"], [(">=", "9")], ["10", "9"]),
        ([], [("<=", "9")], ["9"]),
        (["a"], [("!=", "a")], ["a"]),
    ],
)
def test_each_operator_acts_on_what_was_there_before_its_block(
    there: list[str], new: list[tuple[str, str]], then: list[str]
) -> None:
    target = list(made_rows(*(("Class", "+=", each) for each in there)))
    moved = move(target, made_rows(*(("class", op, value) for op, value in new)))
    assert [each.value for each in moved] == then


def test_a_group_is_a_plan_whoever_is_in_it() -> None:
    gold = block("gold", [("Simultaneous-Use", ":=", "2")], [("Idle-Timeout", ":=", "60")], shared=True)
    logins = [
        user(f"u{i}", [CLEAR], [("Framed-IP-Address", ":=", f"10.0.0.{i + 1}")], gold) for i in range(50)
    ]
    found, _ = translate(*logins)
    assert [key for key in found if key[0] == "plan"] == [("plan", "gold")]
    assert found["plan", "gold"] == {"idle_timeout_s": 60, "simultaneous_use": 2, "name": "gold"}
    assert all("service" not in body and "attributes" not in body for body in found.values())


def test_those_without_a_group_share_plans_by_what_they_get() -> None:
    logins = [
        user(f"u{i}", [CLEAR], [("Mikrotik-Rate-Limit", ":=", rate), ("Session-Timeout", ":=", str(i + 1))])
        for i, rate in enumerate(["1M/2M", "1M/2M", "3M/4M"])
    ]
    found, _ = translate(*logins)
    assert len([key for key in found if key[0] == "plan"]) == 2
    assert found["subscriber", "u0"]["plan"] == found["subscriber", "u1"]["plan"]
    assert found["subscriber", "u2"]["service"] == {"session_timeout_s": 3}


def test_hours_of_a_user_make_a_plan_beside_its_groups() -> None:
    gold = block("gold", [], [("Idle-Timeout", ":=", "60")], shared=True)
    found, _ = translate(
        user("day", [CLEAR, ("Login-Time", ":=", "Wk0800-1959")], [], gold), user("all", [CLEAR], [], gold)
    )
    plan = found["subscriber", "day"]["plan"]
    assert plan.startswith("gold:")
    assert found["plan", plan]["login_hours"] == ["mon,tue,wed,thu,fri 08:00-20:00"]
    assert "login_hours" not in found["plan", "gold"]


def test_a_condition_on_the_nas_is_kept_and_another_refuses_or_is_ignored() -> None:
    there = user("there", [CLEAR, ("NAS-IP-Address", "==", "192.0.2.1")])
    line = user("line", [CLEAR, ("Calling-Station-Id", "==", "aa")])
    found, findings = translate(there, line)
    assert found["subscriber", "there"]["nases"] == ["bng-1"]
    assert "password" not in found["subscriber", "line"]
    assert findings.by_name(Why.CONDITION) == (("Calling-Station-Id", 1),)
    found, _ = translate(line, unkept=Unkept.IGNORE)
    assert found["subscriber", "line"]["password"] == "x"


def test_a_mac_address_that_is_accepted_is_a_line() -> None:
    found, _ = translate(user("00-53-00-AA-BB-CC", [("Auth-Type", ":=", "Accept")]))
    assert found["subscriber", "00-53-00-AA-BB-CC"]["mac"] == "00:53:00:aa:bb:cc"


def test_what_cannot_be_used_as_a_password_leaves_the_last_good_one() -> None:
    found, findings = translate(
        user("odd", [("NT-Password", ":=", "nonsense")]), user("empty", [("Cleartext-Password", ":=", "")])
    )
    # An empty password is refused where objects are read.
    assert [found["subscriber", name]["password"] for name in ("odd", "empty")] == ["", ""]
    assert len(findings.by_name(Why.PASSWORD)) == 2


def test_attributes_of_several_vendors_stay_raw_as_they_do_when_asked_for() -> None:
    mixed = [("Mikrotik-Rate-Limit", ":=", "1M/2M"), ("Cisco-AVPair", "+=", "a=b")]
    found, _ = translate(user("mixed", [CLEAR], mixed), user("one", [CLEAR], mixed[:1]), typed=True)
    plans = {name: found["plan", found["subscriber", name]["plan"]] for name in ("mixed", "one")}
    assert "download" not in plans["mixed"]
    assert plans["one"] == {"download": "2 Mbit/s", "upload": "1 Mbit/s"}
    found, _ = translate(user("one", [CLEAR], mixed[:1]), typed=False)
    ((_, plan),) = [each for each in found.items() if each[0][0] == "plan"]
    assert plan == {"attributes": [{"op": "replace", "name": "Mikrotik-Rate-Limit", "value": "1M/2M"}]}


@pytest.mark.parametrize(
    "text", ["0/0", "10M/0", "1M/2M 2M/4M 1M/2M 8/9", "10M/50M 5M/5M", "fast", "1M/2M 0/0 0/0 0/0 8 2M/2M"]
)
def test_rate_strings_that_no_field_says_stay_as_they_are(text: str) -> None:
    assert fields.rate(text) is None


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("Any", []),
        ("Al0000-2359", []),
        (
            "Wk0855-2305,Sa,Su2305-1655",
            ["mon,tue,wed,thu,fri 08:55-23:06", "sat 00:00-24:00", "sun 00:00-16:56", "sun 23:05-24:00"],
        ),
        ("Mo-We0900-1000", ["mon,tue,wed 09:00-10:01"]),
        ("SaSu", ["sun,sat 00:00-24:00"]),
        ("0800-1200", ["08:00-12:01"]),
        ("Never", None),
        ("", None),
    ],
)
def test_login_time(text: str, hours: list[str] | None) -> None:
    assert read_login_time(text) == hours
    for each in hours or ():
        read_hours(each)


def test_login_time_goes_back_as_it_came() -> None:
    for text in ("Wk0855-2305,Sa0000-2359", "Su0000-1655,Su2305-2359", "Al0800-1159"):
        hours = [read_hours(each) for each in read_login_time(text) or ()]
        again = read_login_time(login_time(hours))
        assert again == read_login_time(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("24 Dec 2026 18:00:00", 1_798_131_600),
        ("December 24 2026 18:00", 1_798_131_600),
        ("24 Dec 2026", 1_798_066_800),
        ("1798131600", 1_798_131_600),
        ("2026-12-24T17:00:00Z", 1_798_131_600),
        ("soon", None),
        ("31 Feb 2026", None),
    ],
)
def test_expiration_is_local_to_the_server(text: str, at: int | None) -> None:
    assert read_expiration(text, BERLIN) == at


def test_names_as_queries_have_them() -> None:
    for name in ("o'neil", "a+b", "plain.name@example.net", "größe", "x=y", "=27"):
        assert meant(written(name)) == name
    assert written("o'neil") == "o=27neil"
    assert meant("1=2") == "1=2"


def test_ids_are_the_names_where_they_can_be() -> None:
    assert object_id("alice@example.net") == "alice@example.net"
    odd = {object_id(name) for name in ("a b", "a  b", "a/b", "é", "a'b", "x" * 200, "=:=")}
    assert len(odd) == 7
    assert all(len(each) <= 128 for each in odd)
