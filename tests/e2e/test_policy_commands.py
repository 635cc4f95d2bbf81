"""The commands that say what would be: plans on the wire, candidate data, allowances."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from hashlib import pbkdf2_hmac
from pathlib import Path
from typing import Any

import pytest

from radius.codes import Attr
from radius.packet import attribute
from tests.e2e.box import Box
from tests.e2e.conftest import PROVIDER, Daemon
from tests.e2e.nas import Nas
from tests.e2e.test_live_commands import until

FAILURE, USAGE, DIFFERENCES, NOT_FOUND, DENIED = 1, 2, 3, 4, 5
WIDEST = 100
HOME_50 = """
- kind: plan
  id: home-100
  tenant: demo
  body:
    name: Home 100
    access: ppp
    download: 50M
    upload: 20M
    interim_interval_s: 300
    dns: [192.0.2.53, "2001:db8::53"]
"""
SAVER = """
- kind: subscriber
  id: alice
  tenant: demo
  body: {username: alice, password: wonderland, access_mode: active, plan: saver}
- kind: plan
  id: saver
  tenant: demo
  body:
    download: 30M
    upload: 5M
    allowances: [{name: monthly, octets: 500GB, then: {download: 2M, upload: 1M}}]
"""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that counts at once, with a live session and requests of alice, bob, carol and hugo."""
    running = Daemon(
        tmp_path_factory.mktemp("edge"), **{"accounting.session_flush_s": "0.1", "policy.sweep_s": "1"}
    )
    running.start()
    with Nas(running) as nas:
        assert nas.is_accepted()
        assert nas.is_accepted(b"carol", b"christmas")
        nas.ask(running.auth, nas.login(b"bob", b"builder"))
        assert nas.is_acknowledged("live", attribute(Attr.USER_NAME, b"alice"))
    yield running
    if running.process is not None:
        assert running.end() == 0, running.log.read_text()
    assert "Traceback" not in running.log.read_text(), running.log.read_text()


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def diff(edge: Daemon, file: str, *options: str, code: int = DIFFERENCES) -> Any:
    done = edge.run("policy", "diff", file, *options, "--output", "json", check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def moved(item: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["field"]: (each["before"], each["after"]) for each in item["moved"]}


def test_plans_are_listed_and_shown_in_the_words_of_the_data_file(edge: Daemon) -> None:
    plans = {each["id"]: each for each in edge.ask("plan", "list")["items"]}
    assert set(plans) == {"home-100", "business-500", "ipoe-50", "saver-30", "office-20"}
    assert plans["home-100"]["subscribers"] == 4
    saver = edge.ask("plan", "show", "saver-30")["body"]
    assert saver["allowances"][0]["octets"] == "500GB"
    assert saver["treatments"] == {"expired": "captive"}
    shown = edge.run("plan", "show", "office-20").stdout
    assert "mon-fri 07:00-20:00" in shown
    assert "sat 08:00-14:00" in shown
    assert max(map(len, shown.splitlines())) <= WIDEST
    assert max(map(len, edge.run("plan", "list").stdout.splitlines())) <= WIDEST
    assert edge.run("plan", "show", "nothing", check=False).returncode == NOT_FOUND


def test_a_plan_is_rendered_with_sources_and_octets(edge: Daemon) -> None:
    found = edge.ask("plan", "render", "home-100", "--nas", "lab")
    assert (found["answer"], found["vendor"], found["unsaid"]) == ("permit", "mikrotik", ["dns4", "dns6"])
    (rate,) = (each for each in found["attributes"] if each["source"] == "rate")
    assert rate["text"] == "Mikrotik-Rate-Limit = 20M/100M"
    assert bytes.fromhex(rate["hex"]).endswith(b"20M/100M")
    told = edge.run("plan", "render", "home-100", "--nas", "lab").stdout
    assert "Not said, because mikrotik has no words for it: dns4, dns6" in told
    assert rate["hex"] in told


def test_a_rendering_is_what_a_login_gets(edge: Daemon) -> None:
    with Nas(edge) as nas:
        reply = nas.ask(edge.auth, nas.login(b"dave", b"dragonfly"))
    assert reply is not None
    found = edge.ask(
        "plan", "render", "business-500", "--nas", "lab", "--subscriber", "dave", "--access", "ipoe"
    )
    for each in found["attributes"]:
        if "interim" not in each["source"]:  # timers are spread
            assert bytes.fromhex(each["hex"]) in reply.octets, each


def test_a_subscriber_a_time_or_the_garden_changes_a_rendering(edge: Daemon) -> None:
    def sources(*options: str) -> dict[str, str]:
        found = edge.ask("plan", "render", *options, "--nas", "lab")
        return {each["source"]: each["text"] for each in found["attributes"]}

    dave = sources("home-100", "--subscriber", "dave")
    assert dave["ipv4_address"] == "Framed-IP-Address = 203.0.113.10"
    by_day = sources("saver-30", "--at", "2026-11-21T12:00:00Z")
    by_night = sources("saver-30", "--at", "2026-11-21T23:30:00Z")
    assert by_day["rate"] == "Mikrotik-Rate-Limit = 5M/30M"
    assert by_night["rate"] == "Mikrotik-Rate-Limit = 20M/100M"
    garden = sources("home-100", "--captive")
    assert garden["address_list"] == "Mikrotik-Address-List = garden"
    assert garden["rate"] == "Mikrotik-Rate-Limit = 1M/1M"


def test_what_a_login_would_be_refused_is_not_rendered(edge: Daemon) -> None:
    words = ["plan", "render", "office-20", "--nas", "lab", "--at", "2026-11-22T12:00:00Z"]
    done = edge.run(*words, "--output", "json", check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["answer"], found["reason"]) == (DENIED, "reject", "outside-hours")
    assert found["attributes"] == []
    assert "does not allow a login at this hour" in edge.run(*words, check=False).stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("home-100 --nas nowhere", NOT_FOUND),
        ("nothing --nas lab", NOT_FOUND),
        ("home-100 --nas lab --subscriber nobody", NOT_FOUND),
        ("home-100 --nas lab --at soon", USAGE),
        ("home-100", USAGE),
    ],
)
def test_a_rendering_of_what_is_not_there_is_refused(edge: Daemon, words: str, code: int) -> None:
    done = edge.run("plan", "render", *words.split(), check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_the_same_data_change_nobody(edge: Daemon) -> None:
    found = diff(edge, str(PROVIDER), code=0)
    assert found["sessions"] == {**dict.fromkeys(found["sessions"], 0), "unchanged": 1}
    assert found["requests"]["unchanged"] >= 3
    assert (found["items"], found["count"]) == ([], 0)


def test_a_slower_plan_changes_its_sessions_and_logins_and_nothing_is_loaded(
    edge: Daemon, tmp_path: Path
) -> None:
    before = edge.run("data", "export").stdout
    file = write(tmp_path / "slower.yaml", HOME_50)
    found = diff(edge, file)
    assert (found["sessions"]["changed"], found["sessions"]["unchanged"]) == (1, 0)
    session = found["items"][0]
    assert (session["about"], session["subscriber"], session["change"]) == ("session", "alice", "changed")
    rate = ("100 Mbit/s down, 20 Mbit/s up", "50 Mbit/s down, 20 Mbit/s up")
    assert moved(session) == {"rate": rate}
    assert {each["subscriber"] for each in found["items"]} == {"alice"}, "the garden of carol is the same"
    assert edge.run("data", "export").stdout == before
    table = edge.run("policy", "diff", file, check=False)
    assert table.returncode == DIFFERENCES
    assert "alice" in table.stdout
    assert max(map(len, table.stdout.splitlines())) <= WIDEST
    assert len(diff(edge, file, "--limit", "1")["items"]) == 1
    assert sum(diff(edge, file, "--recorded", "0")["requests"].values()) == 0


def subscriber(name: str, **fields: str) -> str:
    body = ", ".join(f"{key}: {value}" for key, value in ({"username": name} | fields).items())
    return f"- {{kind: subscriber, id: {name}, tenant: demo, body: {{{body}}}}}\n"


@pytest.mark.parametrize(
    ("name", "fields", "change", "after"),
    [
        ("alice", {"access_mode": "reject", "password": "wonderland"}, "rejected", "reject (access-reject)"),
        (
            "alice",
            {"access_mode": "captive", "password": "wonderland"},
            "captive",
            "captive (access-captive)",
        ),
        ("carol", {"access_mode": "active", "password": "christmas"}, "permitted", "permit"),
        ("bob", {"access_mode": "active", "password": "builder"}, "permitted", "permit"),
        ("bob", {"access_mode": "active", "password": "another"}, None, "reject (wrong-password)"),
        ("alice", {"access_mode": "active", "password": "another"}, "rejected", "reject (wrong-password)"),
    ],
)
def test_who_is_refused_or_let_in_from_then_on_is_named(
    edge: Daemon, tmp_path: Path, name: str, fields: dict[str, str], change: str | None, after: str
) -> None:
    file = write(tmp_path / "one.yaml", subscriber(name, plan="home-100", **fields))
    found = diff(edge, file)
    requests = [each for each in found["items"] if each["about"] == "request"]
    assert {each["subscriber"] for each in requests} == {name}
    assert {each["after"] for each in requests} == {after}
    assert {each["change"] for each in requests} == {change or "changed"}


def test_a_new_hash_is_checked_against_the_recorded_password(edge: Daemon, tmp_path: Path) -> None:
    for password, code in (("wonderland", 0), ("another", DIFFERENCES)):
        derived = b64encode(pbkdf2_hmac("sha256", password.encode(), b"seasalt", 1000)).decode()
        hashed = f'"pbkdf2_sha256$1000$seasalt${derived}"'
        secret = f"{{kind: pbkdf2, value: {hashed}}}"
        text = subscriber("alice", plan="home-100", access_mode="active", secret=secret)
        found = diff(edge, write(tmp_path / "hash.yaml", text), code=code)
        assert found["requests"]["rejected"] == (0 if code == 0 else edge_logins(edge, "alice"))


def edge_logins(edge: Daemon, name: str) -> int:
    return len(edge.ask("why", name, "--last", "1000")["items"])


def test_removing_what_a_file_does_not_hold_is_told_too(edge: Daemon, tmp_path: Path) -> None:
    documents = PROVIDER.read_text().split("\n- kind: ")
    kept = [each for each in documents if "username: alice" not in each]
    file = write(tmp_path / "less.yaml", "\n- kind: ".join(kept))
    diff(edge, file, code=0)
    found = diff(edge, file, "--replace")
    assert {each["after"] for each in found["items"]} == {"reject (unknown-user)"}
    assert found["sessions"]["rejected"] == 1


def test_a_nas_that_moves_leaves_its_sessions_unanswered(edge: Daemon, tmp_path: Path) -> None:
    text = "- {kind: nas, id: lab, tenant: demo, body: {address: 192.0.2.9, secret: testing123, vendor: mikrotik}}"
    found = diff(edge, write(tmp_path / "moved.yaml", text))
    assert found["requests"]["unanswered"] >= 3
    assert {each["after"] for each in found["items"] if each["about"] == "request"} == {"none (unknown-nas)"}


def test_a_wrong_candidate_is_refused_like_a_load(edge: Daemon, tmp_path: Path) -> None:
    file = write(
        tmp_path / "bad.yaml", "- {kind: plan, id: x, tenant: demo, body: {download: 100, upload: 1M}}"
    )
    done = edge.run("policy", "diff", file, check=False)
    assert done.returncode == FAILURE
    assert "body.download" in done.stderr


def test_a_used_up_allowance_is_shown_and_slows_the_live_session(make_daemon: Any, tmp_path: Path) -> None:
    daemon: Daemon = make_daemon(**{"accounting.session_flush_s": "0.1"})
    daemon.start()
    with Box(daemon) as box:
        daemon.run("data", "load", write(tmp_path / "data.yaml", box.entry() + SAVER))
        box.connect("much", b"alice", b"wonderland")
        assert daemon.ask("subscriber", "usage", "alice")["allowances"][0]["left"] == 500 * 1000**3
        box.report("much", 60, 600 * 1000**3)
        usage = until(
            lambda: (
                (found := daemon.ask("subscriber", "usage", "alice"))["allowances"][0]["reached"] and found
            )
        )
        (monthly,) = usage["allowances"]
        assert (monthly["used"], monthly["left"], monthly["acts"]) == (600 * 1000**3, 0, True)
        assert monthly["then"] == "2 Mbit/s down, 1 Mbit/s up"
        windows = {each["window"]: each for each in usage["windows"]}
        assert windows["month"]["octets_download"] == 600 * 1000**3
        assert windows["total"]["ends_at"] is None
        shown = until(
            lambda: (found := daemon.ask("session", "show", "much"))["applied"]["rate"][0] == "2" and found
        )
        assert shown["deviation"] is None
        assert b"1M/2M" in box.requests[-1].octets
        assert "acts" in daemon.run("subscriber", "usage", "alice").stdout
        (event,) = daemon.ask("event", "list", "--kind", "allowance-reached")["items"]
        assert (event["subscriber"], event["fields"]["allowance"]) == ("alice", "monthly")
        rendered = daemon.ask("plan", "render", "saver", "--nas", "lab", "--subscriber", "alice")
        assert "Mikrotik-Rate-Limit = 1M/2M" in {each["text"] for each in rendered["attributes"]}


def test_usage_of_nobody_is_not_found(edge: Daemon) -> None:
    assert edge.run("subscriber", "usage", "nobody", check=False).returncode == NOT_FOUND
    assert edge.run("subscriber", "bindings", "alice", check=False).returncode == NOT_FOUND
