"""The commands that look at live sessions and act on them: sessions, CoA, events, storms, staff."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from radius.codes import Attr, Code
from radius.packet import attribute, decode
from tests.e2e.box import ADMINISTRATIVELY_PROHIBITED, SESSION_CONTEXT_NOT_FOUND, Box
from tests.e2e.conftest import COMMAND, PROVIDER, Daemon, free_port
from tests.e2e.nas import Nas

FAILURE, USAGE, DIFFERENCES, NOT_FOUND, DENIED, UNREACHABLE = 1, 2, 3, 4, 5, 6
WIDEST = 100
LIMITED = """
- kind: plan
  id: single
  tenant: demo
  body: {download: 10M, upload: 2M, simultaneous_use: 1, bind: [mac], bind_learn: true}
- kind: subscriber
  id: gina
  tenant: demo
  body: {username: gina, password: giraffe, access_mode: active, plan: single}
"""
SLOWER = """
- kind: plan
  id: home-100
  tenant: demo
  body:
    name: Home 100
    access: ppp
    download: 50M
    upload: 10M
    interim_interval_s: 300
    dns: [192.0.2.53, "2001:db8::53"]
"""


@pytest.fixture(scope="module")
def staff_ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory, staff_ports: tuple[int, int]) -> Iterator[Daemon]:
    """A daemon with ports for staff that writes and counts at once."""
    auth, acct = staff_ports
    running = Daemon(
        tmp_path_factory.mktemp("edge"),
        **{
            "accounting.session_flush_s": "0.1",
            "staff.auth_listen": f'["127.0.0.1:{auth}"]',
            "staff.acct_listen": f'["127.0.0.1:{acct}"]',
            "coa.verify_s": "1",
        },
    )
    running.start()
    yield running
    if running.process is not None:
        assert running.end() == 0, running.log.read_text()
    assert "Traceback" not in running.log.read_text(), running.log.read_text()


@pytest.fixture
def box(edge: Daemon, tmp_path: Path) -> Iterator[Box]:
    """A box that is the NAS `lab`; the plans are those of the sample provider again."""
    with Box(edge) as box:
        load(edge, tmp_path, PROVIDER.read_text())
        load(edge, tmp_path, box.entry())
        yield box
        box.nak, box.stops = None, True
        for each in live(edge):
            edge.run("session", "kick", "--uid", each["uid"], "--wait", check=False)
        assert live(edge) == []


def load(edge: Daemon, tmp_path: Path, text: str) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(text)
    edge.run("data", "load", str(file))


def live(edge: Daemon) -> list[dict[str, Any]]:
    items = edge.ask("session", "list", "--limit", "1000")["items"]
    return [each for each in items if each["state"] not in ("closed", "reserved")]


def until(done: Callable[[], Any], most_s: float = 10.0) -> Any:
    """Ask again until the answer is true, and return it."""
    end = time.monotonic() + most_s
    while not (found := done()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.1)
    return found


def test_a_session_shows_what_its_nas_was_told(edge: Daemon, box: Box) -> None:
    box.connect("told", b"alice", b"wonderland")
    shown = edge.ask("session", "show", "told")
    assert shown["applied"]["rate"] == "100 Mbit/s down, 20 Mbit/s up"
    assert (shown["state"], shown["deviation"], shown["suspect_since"]) == ("active", None, None)
    assert edge.ask("session", "list", "--subscriber", "alice", "--state", "active")["count"] == 1
    assert edge.ask("session", "list", "--subscriber", "dave", "--state", "active")["count"] == 0


def test_a_login_without_its_start_is_shown_as_reserved(edge: Daemon, box: Box, tmp_path: Path) -> None:
    load(edge, tmp_path, LIMITED)
    mac = attribute(Attr.CALLING_STATION_ID, b"02-00-00-00-00-07")
    reply = box.nas.ask(edge.auth, box.nas.login(b"gina", b"giraffe", mac))
    assert reply is not None
    (held,) = edge.ask("session", "list", "--state", "reserved")["items"]
    assert (held["subscriber"], held["state"], held["nas"]) == ("gina", "reserved", "lab")
    assert held["calling_station_id"] == "02:00:00:00:00:07"
    assert held["applied"]["rate"] == "10 Mbit/s down, 2 Mbit/s up"
    assert "gina" in edge.run("session", "list", "--state", "reserved").stdout
    (binding,) = edge.ask("subscriber", "bindings")["items"]
    assert (binding["subscriber"], binding["mac"]) == ("gina", "02:00:00:00:00:07")
    assert edge.ask("subscriber", "bindings", "gina") == binding
    edge.run("subscriber", "unbind", "gina")
    assert edge.ask("subscriber", "bindings")["items"] == []
    done = edge.run("subscriber", "unbind", "gina", check=False)
    assert done.returncode == NOT_FOUND


def test_a_kicked_session_ends_and_the_reason_is_kept(edge: Daemon, box: Box) -> None:
    box.connect("kicked", b"alice", b"wonderland")
    done = edge.run("session", "kick", "alice", "--reason", "ticket 4711", "--wait", "--output", "json")
    (job,) = json.loads(done.stdout)
    assert (job["kind"], job["outcome"], job["state"]) == ("disconnect", "verified", "finished")
    assert (job["reason"], job["why"]) == ("operator", "ticket 4711")
    assert [request.code for request in box.requests] == [Code.DISCONNECT_REQUEST]
    assert edge.ask("session", "show", "kicked")["closed_by"] == "stop"
    event = edge.ask("event", "list", "--kind", "coa-outcome", "--subscriber", "alice")["items"][0]
    assert (event["reason"], event["fields"]["why"], event["fields"]["outcome"]) == (
        "operator",
        "ticket 4711",
        "verified",
    )
    finished = edge.ask("coa", "list", "--finished")["items"]
    assert finished[0]["id"] == job["id"]
    assert edge.ask("coa", "list")["items"] == []


def test_a_kick_that_is_refused_leaves_with_1_and_stays_visible(edge: Daemon, box: Box) -> None:
    box.connect("stays", b"alice", b"wonderland")
    box.nak = ADMINISTRATIVELY_PROHIBITED
    done = edge.run("session", "kick", "stays", "--output", "json", check=False)
    assert done.returncode == FAILURE, done.stdout + done.stderr
    (job,) = json.loads(done.stdout)
    assert (job["outcome"], job["cause"]) == ("naked", "administratively-prohibited")
    assert "coa list" in done.stderr
    (waiting,) = edge.ask("coa", "list")["items"]
    assert waiting["id"] == job["id"]
    assert edge.ask("status")["coa_jobs"] == {waiting["state"]: 1}
    assert max(map(len, edge.run("coa", "list").stdout.splitlines())) <= WIDEST


def test_a_kick_of_a_session_that_its_nas_does_not_know_leaves_with_4(edge: Daemon, box: Box) -> None:
    box.connect("ghost", b"alice", b"wonderland")
    box.nak = SESSION_CONTEXT_NOT_FOUND
    done = edge.run("session", "kick", "ghost", "--output", "json", check=False)
    assert done.returncode == NOT_FOUND
    (job,) = json.loads(done.stdout)
    assert (job["outcome"], job["state"]) == ("no-session", "finished")
    assert "knows no such session" in done.stderr


def test_who_is_not_online_cannot_be_kicked(edge: Daemon) -> None:
    for name in ("nobody", "18446744073709551615"):
        done = edge.run("session", "kick", name, check=False)
        assert (done.returncode, done.stdout) == (NOT_FOUND, "")
        assert name in done.stderr


def test_a_changed_plan_reaches_the_live_session(edge: Daemon, box: Box, tmp_path: Path) -> None:
    box.connect("slower", b"alice", b"wonderland")
    edge.run("session", "reconcile", "--all")
    load(edge, tmp_path, SLOWER)
    until(lambda: edge.ask("session", "show", "slower")["applied"]["rate"].startswith("50 Mbit/s down"))
    assert Code.COA_REQUEST in {request.code for request in box.requests}
    assert edge.ask("session", "reconcile", "slower")["matching"] == 1


def test_a_session_that_its_nas_will_not_change_is_shown_as_deviating(
    edge: Daemon, box: Box, tmp_path: Path
) -> None:
    box.connect("stuck", b"alice", b"wonderland")
    edge.run("session", "reconcile", "--all")
    box.nak = ADMINISTRATIVELY_PROHIBITED
    load(edge, tmp_path, SLOWER)
    (shown,) = until(lambda: edge.ask("session", "list", "--deviating")["items"])
    assert shown["acct_session_id"] == "stuck"
    assert shown["deviation"]["fields"] == ["rate"]
    assert "should change: rate" in edge.run("session", "list", "--deviating").stdout
    assert "can be changed live" in edge.run("session", "show", "stuck").stdout
    done = edge.run("session", "reconcile", "alice", check=False)
    assert done.returncode == DIFFERENCES
    assert edge.ask("status")["deviating"] == 1
    assert 'dotmac_edge_deviating_sessions{nas="lab"} 1.0' in edge.metrics()
    assert edge.ask("event", "list", "--kind", "session-deviates")["items"]


@pytest.mark.parametrize("words", [["reconcile"], ["reconcile", "alice", "--all"]])
def test_reconcile_wants_one_or_all(edge: Daemon, words: list[str]) -> None:
    assert edge.run("session", *words, check=False).returncode == USAGE


def test_a_nas_that_takes_coa_passes_the_test(edge: Daemon, box: Box) -> None:
    found = edge.ask("coa", "test", "lab", "--address", "127.0.0.1")
    assert (found["verdict"], found["cause"], found["port"]) == ("ok", "session-context-not-found", box.port)
    assert found["rtt_ms"] > 0
    box.connect("tested", b"alice", b"wonderland")
    session = edge.ask("session", "show", "tested")["uid"]
    found = edge.ask("coa", "test", "lab", "--session", session)
    assert (found["verdict"], found["session"]) == ("ok", session)
    assert box.requests[-1].code == Code.COA_REQUEST
    assert edge.ask("session", "show", "tested")["state"] == "active"


def test_the_test_tells_a_wrong_secret_and_a_closed_port(edge: Daemon, box: Box, tmp_path: Path) -> None:
    load(edge, tmp_path, box.entry(coa_secret="another-one"))
    done = edge.run("coa", "test", "lab", "--address", "127.0.0.1", "--output", "json", check=False)
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (FAILURE, "wrong-secret")
    load(edge, tmp_path, box.entry(coa_port=free_port()))
    done = edge.run("coa", "test", "lab", "--address", "127.0.0.1", "--output", "json", check=False)
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (UNREACHABLE, "unreachable")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["coa", "test", "nowhere"], NOT_FOUND),
        (["coa", "test", "lab", "--address", "here"], USAGE),
        (["coa", "test", "lab", "--session", "999999"], NOT_FOUND),
        (["event", "list", "--kind", "gossip"], USAGE),
        (["event", "list", "--since", "yesterday"], USAGE),
    ],
)
def test_what_cannot_be_asked_is_said(edge: Daemon, words: list[str], code: int) -> None:
    done = edge.run(*words, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_events_are_filtered(edge: Daemon, box: Box) -> None:
    box.connect("noted", b"alice", b"wonderland")
    edge.run("session", "kick", "noted", "--wait")
    every = edge.ask("event", "list", "--limit", "1000")["items"]
    assert [each["seq"] for each in every] == sorted((each["seq"] for each in every), reverse=True)
    assert all(each["meaning"] for each in every)
    recent = edge.ask("event", "list", "--since", "1m", "--nas", "lab", "--kind", "coa-outcome")["items"]
    assert {each["kind"] for each in recent} == {"coa-outcome"}
    assert edge.ask("event", "list", "--since", "2100-01-01T00:00:00Z")["items"] == []
    assert edge.ask("event", "list", "--subscriber", "nobody")["items"] == []


def test_events_are_followed(edge: Daemon, box: Box) -> None:
    words = [
        COMMAND,
        "event",
        "list",
        "--follow",
        "--limit",
        "1",
        "--kind",
        "coa-outcome",
        "--output",
        "json",
    ]
    with subprocess.Popen(words, env=edge.environ, stdout=subprocess.PIPE, text=True) as follower:
        try:
            time.sleep(1.5)
            box.connect("followed", b"alice", b"wonderland")
            session = edge.ask("session", "show", "followed")["uid"]
            edge.run("session", "kick", "followed", "--wait")
            assert follower.stdout is not None
            lines = iter(follower.stdout.readline, "")
            assert any(json.loads(line)["session"] == session for line in lines)
        finally:
            follower.send_signal(signal.SIGINT)


def test_a_calm_edge_knows_no_storm(edge: Daemon) -> None:
    found = edge.ask("storm", "show")
    assert (found["active"], found["since"], found["reason"]) == (False, None, None)
    assert "storm" in edge.run("storm", "show").stdout


def test_staff_is_listed_followed_and_explained(edge: Daemon, staff_ports: tuple[int, int]) -> None:
    auth, acct = (f"127.0.0.1:{port}" for port in staff_ports)
    edge.run("radius", "auth", "nora", "northern-lights", "--server", auth)
    assert edge.run("radius", "auth", "nora", "wrong", "--server", auth, check=False).returncode == DENIED
    refused, permitted = edge.ask("why", "nora", "--last", "2")["items"]
    assert (refused["outcome"], refused["reason"], refused["staff"]) == ("reject", "wrong-password", "nora")
    assert permitted["meaning"] == "this member of staff may log in"
    assert permitted["reply"] == ["Mikrotik-Group = write  (privilege)"]
    assert [step["step"] for step in permitted["steps"]][-1] == "render"
    assert "(staff)" in edge.run("why", "nora").stdout
    edge.run("radius", "acct", "start", "nora", "--session-id", "vty1", "--server", acct)
    (session,) = edge.ask("staff", "sessions")["items"]
    assert (session["staff"], session["nas"], session["session_id"]) == ("nora", "lab", "vty1")
    (nora,) = edge.ask("staff", "list")["items"]
    assert (nora["privilege"], nora["enabled"], nora["logged_in"]) == ("write", True, 1)
    assert "northern-lights" not in json.dumps(nora)
    edge.run(
        "radius", "acct", "stop", "nora", "--session-id", "vty1", "--session-time", "9", "--server", acct
    )
    assert edge.ask("staff", "sessions")["items"] == []
    log = edge.ask("staff", "log", "--staff", "nora", "--since", "1h")["items"]
    assert [(each["status"], each["session_time_s"]) for each in log] == [("stop", 9), ("start", None)]
    assert edge.ask("staff", "log", "--nas", "lab-cisco")["items"] == []
    for words in (["staff", "list"], ["staff", "sessions"], ["staff", "log"]):
        assert max(map(len, edge.run(*words).stdout.splitlines())) <= WIDEST


def test_the_reply_in_why_is_what_was_sent(edge: Daemon) -> None:
    with Nas(edge) as nas:
        reply = nas.ask(edge.auth, nas.login(b"alice", b"wonderland"))
    assert reply is not None
    told = edge.ask("why", "alice")["items"][0]["reply"]
    sent = int.from_bytes(reply.find(Attr.ACCT_INTERIM_INTERVAL) or b"", "big")
    assert f"Acct-Interim-Interval = {sent}  (interim_interval_s)" in told


def test_a_nas_shows_its_site_and_coa(edge: Daemon, tmp_path: Path) -> None:
    load(
        edge,
        tmp_path,
        "- {kind: nas, id: far, tenant: demo, body: {address: 192.0.2.7, secret: a-long-one, vendor: cisco,"
        " site: north, coa_address: 198.51.100.9, coa_secret: yet-another, coa_event_timestamp: false}}\n"
        "- {kind: nas, id: deaf, tenant: demo, body: {address: 192.0.2.8, secret: a-long-one, coa: false}}\n",
    )
    shown = edge.ask("nas", "show", "far")
    assert (shown["site"], shown["coa_address"], shown["coa_secret"]) == ("north", "198.51.100.9", "own")
    assert (shown["coa"], shown["coa_event_timestamp"]) == (True, False)
    assert "yet-another" not in json.dumps(shown)
    assert edge.ask("nas", "show", "deaf")["coa"] is False
    assert max(map(len, edge.run("nas", "list").stdout.splitlines())) <= WIDEST


def test_the_metrics_are_named_as_prometheus_wants(edge: Daemon, box: Box) -> None:
    box.connect("measured", b"alice", b"wonderland")
    edge.run("session", "kick", "measured", "--wait")
    text = edge.metrics()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert re.fullmatch(r"dotmac_edge_[a-z][a-z0-9_]*", family.name), family.name
        assert family.documentation, family.name
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_milliseconds", "_minutes"))
        labels = {label for sample in family.samples for label in sample.labels}
        assert not labels & {"subscriber", "username", "mac", "address", "session"}, family.name
    assert "# TYPE dotmac_edge_storm_active gauge" in text
    totals = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
    ended = ("dotmac_edge_coa_outcomes_total", ("cause", ""), ("kind", "disconnect"), ("nas", "lab"))
    assert totals[(*ended, ("outcome", "verified"))] >= 1
    assert totals[("dotmac_edge_events_total", ("kind", "coa-outcome"))] >= 1
    decode(box.requests[-1].octets)


def test_a_relay_client_of_a_tenant_that_is_not_there_is_told(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    secret = tmp_path / "relay.secret"
    secret.write_text("relay-secret-42")
    secret.chmod(0o600)
    daemon = make_daemon(**{"coa.relay_clients": f'["nowhere 192.0.2.10 file:{secret}"]'})
    daemon.start()
    (told,) = [each for each in daemon.ask("status")["degraded"] if "relay" in each]
    assert "nowhere" in told
    assert "192.0.2.10" in told
    assert daemon.ask("storm", "show")["deaf"] == []
    daemon.end()
