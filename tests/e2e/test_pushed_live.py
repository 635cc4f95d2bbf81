"""Feeds that others bring: a platform that posts, and the tables of a FreeRADIUS that is there already."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.freeradius.databases import Database, postgres
from tests.e2e.box import Box
from tests.e2e.central import FEED, TENANT, digest_of, line, status
from tests.e2e.conftest import ROOT, Daemon
from tests.e2e.netns import until
from tests.e2e.test_radclient import radclient
from tests.e2e.test_sync_live import logs_in
from tests.ipam.postgres import bin_dir

PUSHED = {
    "data.files": "[]",
    f"feeds.{FEED}.source": '"push"',
    f"feeds.{FEED}.tenant": f'"{TENANT}"',
    f"feeds.{FEED}.brake_objects": "10",
}
OBJECTS: list[dict[str, Any]] = [
    {"kind": "tenant", "id": TENANT, "body": {"name": "Demo Fibre"}},
    {"kind": "nas", "id": "lab", "body": {"prefixes": ["127.0.0.0/8"], "secret": "testing123"}},
    {"kind": "plan", "id": "home", "body": {"download": "100M", "upload": "20M"}},
    *({"kind": "subscriber", "id": f"u{each}", "body": line(f"u{each}")} for each in range(20)),
]


@pytest.fixture
def pushed(make_daemon: Any) -> Daemon:
    edge: Daemon = make_daemon(**PUSHED)
    edge.start()
    return edge


def key_for(edge: Daemon, tenant: str) -> str:
    made = edge.ask("apikey", "create", "platform", "--scope", "provisioner", "--tenant", tenant)
    return str(made["secret"])


def curl(edge: Daemon, key: str, path: str, said: object = None) -> tuple[int, Any]:
    """Ask the API port with curl; return status and body."""
    words = ["curl", "--silent", "--write-out", "\n%{http_code}", "--header", f"X-Api-Key: {key}"]
    if said is not None:
        words += ["--header", "Content-Type: application/json", "--data-binary", json.dumps(said)]
    done = subprocess.run(
        [*words, f"http://127.0.0.1:{edge.api}/api/v1/{path}"], capture_output=True, text=True, check=True
    )
    body, _, code = done.stdout.rpartition("\n")
    return int(code), json.loads(body)


def push(edge: Daemon, key: str, objects: list[dict[str, Any]], directory: Path, rev: int) -> str:
    """Push a snapshot as the example in the documentation does; return what it prints."""
    file = directory / "objects.json"
    file.write_text(json.dumps(objects))
    words = [sys.executable, str(ROOT / "docs/examples/push_feed.py"), f"http://127.0.0.1:{edge.api}", FEED]
    done = subprocess.run(
        [*words, str(file), "--epoch", "e1", "--rev", str(rev)],
        env=os.environ | {"EDGE_KEY": key},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def batch(after: int, *items: dict[str, Any], **more: object) -> dict[str, Any]:
    to = after + len(items)
    said = [{"rev": after + number, **item} for number, item in enumerate(items, 1)]
    return {"feed": FEED, "epoch": "e1", "from": after, "to": to, "head": to, "items": said} | more


def test_a_platform_pushes_a_snapshot_and_changes(pushed: Daemon, tmp_path: Path) -> None:
    key = key_for(pushed, TENANT)
    path = f"sync/feeds/{FEED}/batches"
    early = curl(pushed, key, path, batch(0, {"k": "plan", "id": "p", "op": "del"}))
    assert (early[0], early[1]["code"]) == (409, "feed-epoch")
    assert push(pushed, key, OBJECTS, tmp_path, 7) == f"{FEED} is at e1:7\n"
    assert logs_in(pushed, "u3")
    done = curl(
        pushed, key, path, batch(7, {"k": "subscriber", "id": "new", "op": "put", "body": line("new")})
    )
    assert (done[0], done[1]["position"]) == (200, {"epoch": "e1", "rev": 8})
    assert logs_in(pushed, "new")
    code, gap = curl(pushed, key, path, batch(11, {"k": "subscriber", "id": "u1", "op": "del"}))
    assert (code, gap["code"], gap["details"]) == (409, "feed-gap", [{"position": {"epoch": "e1", "rev": 8}}])
    pushed.end(signal.SIGKILL)
    pushed.start()
    assert logs_in(pushed, "new")
    again = batch(7, {"k": "subscriber", "id": "new", "op": "put", "body": line("new")})
    assert curl(pushed, key, path, again)[1]["duplicate"] is True
    before = digest_of(pushed, FEED)
    assert push(
        pushed, key, [*OBJECTS, {"kind": "subscriber", "id": "new", "body": line("new")}], tmp_path, 9
    )
    assert digest_of(pushed, FEED) == before
    assert status(pushed)["state"] == "SYNCED"


def test_the_page_about_feeds_shows_what_works(pushed: Daemon, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "sync.md").read_text()
    (example,) = (
        each for each in re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if "curl" in each
    )
    (tmp_path / "objects.json").write_text(json.dumps(OBJECTS))
    example = example.replace("python docs", f"{sys.executable} {ROOT}/docs")
    edge, key = f"http://127.0.0.1:{pushed.api}", key_for(pushed, TENANT)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example],
        env=os.environ | {"EDGE": edge, "EDGE_KEY": key},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pop7 is at e1:7" in done.stdout
    assert radclient(pushed.auth, "auth", 'User-Name = "gina"\nUser-Password = "giraffe"').returncode == 0


def test_a_stranger_cannot_push(pushed: Daemon, tmp_path: Path) -> None:
    said = batch(0)
    path = f"sync/feeds/{FEED}/batches"
    assert curl(pushed, "k0.nothing", path, said)[0] == 401
    assert curl(pushed, key_for(pushed, "other"), path, said)[0] == 404
    reader = pushed.ask("apikey", "create", "reader", "--scope", "viewer", "--tenant", TENANT)["secret"]
    assert curl(pushed, reader, path, said)[0] == 403
    listed = {each["name"]: each for each in pushed.ask("apikey", "list")["items"]}
    pushed.run("apikey", "revoke", listed["reader"]["id"])
    assert curl(pushed, reader, f"sync/feeds/{FEED}")[0] == 401


def test_what_would_take_away_too_much_is_held(pushed: Daemon, tmp_path: Path) -> None:
    key = key_for(pushed, TENANT)
    push(pushed, key, OBJECTS, tmp_path, 1)
    gone = [{"k": "subscriber", "id": f"u{each}", "op": "del"} for each in range(15)]
    code, held = curl(pushed, key, f"sync/feeds/{FEED}/batches", batch(1, *gone))
    assert (code, held["code"], held["retryable"]) == (423, "feed-brake", True)
    assert logs_in(pushed, "u1")
    assert curl(pushed, key, f"sync/feeds/{FEED}/brake")[1]["brake"]["losses"] == 15
    pushed.run("sync", "brake", "release", FEED)
    assert not logs_in(pushed, "u1")
    assert logs_in(pushed, "u19")


@pytest.fixture(scope="module")
def tables() -> Iterator[Database]:
    if bin_dir() is None:
        pytest.skip("needs postgresql")
    with postgres() as found:
        yield found


P = "Cleartext-Password"
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "radcheck": [(f"u{each}", P, ":=", f"pw-u{each}") for each in range(30)],
    "radreply": [("u7", "Acme-Unknown-Thing", ":=", "1")],
    "radusergroup": [(f"u{each}", "gold", 1) for each in range(30)],
    "radgroupreply": [("gold", "Mikrotik-Rate-Limit", "=", "20M/100M")],
}


@pytest.fixture
def edge(make_daemon: Any, tables: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """A daemon with lines from the tables, and its boxes from a file."""
    tables.empty()
    tables.fill(ROWS)
    monkeypatch.setenv("RADIUS_DB", tables.url.replace("+asyncpg", ""))
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps(OBJECTS[:2]))
    feed = {
        "source": '"sql"',
        "tenant": f'"{TENANT}"',
        "database": '"env:RADIUS_DB"',
        "kinds": '["plan", "subscriber"]',
        "probe_s": "0.3",
        "compare_s": "2",
    }
    settings = {f"feeds.radius.{name}": value for name, value in feed.items()}
    running: Daemon = make_daemon(**{"data.files": json.dumps([str(boxes)])} | settings)
    running.start()
    until(lambda: status(running, "radius")["state"] == "SYNCED", "the tables are read", 20)
    return running


def test_rows_become_logins_and_a_changed_row_reaches_a_live_session(edge: Daemon, tables: Database) -> None:
    assert logs_in(edge, "u1")
    with Box(edge) as box:
        file = edge.directory / "box.yaml"
        file.write_text(box.entry())
        edge.run("data", "load", str(file))
        box.connect("s1", b"u1", b"pw-u1")
        box.connect("s2", b"u2", b"pw-u2")
        tables.run("UPDATE radgroupreply SET value = '5M/10M' WHERE attribute = 'Mikrotik-Rate-Limit';")
        rate = "10 Mbit/s down, 5 Mbit/s up"
        until(lambda: edge.ask("session", "show", "s1")["applied"]["rate"] == rate, "the new rate by CoA", 20)
        tables.run(
            "DELETE FROM radcheck WHERE username = 'u2'; DELETE FROM radusergroup WHERE username = 'u2';"
        )
        until(
            lambda: edge.ask("session", "show", "s2")["state"] == "closed", "who is gone is disconnected", 20
        )
    assert not logs_in(edge, "u2")
    tables.fill({"radcheck": [("late", P, ":=", "pw-late")]})
    until(lambda: logs_in(edge, "late"), "a new row logs in", 10)


def test_the_status_says_what_the_tables_are(edge: Daemon, tables: Database) -> None:
    (shown,) = edge.ask("sync", "status", "radius")
    assert (shown["mode"], shown["source"], shown["age"]) == ("sql", None, "fresh")
    assert (shown["sql"]["users"], shown["sql"]["error"]) == (30, "")
    assert shown["sql"]["unknown"] == {"Acme-Unknown-Thing": 1}
    assert len(shown["sql"]["digest"]) == 64
    said = edge.run("sync", "status").stdout
    assert "radius: 30 users in " in said
    assert "radius: attributes that are passed over: Acme-Unknown-Thing (1)" in said
    assert max(map(len, said.splitlines())) <= 100
    assert logs_in(edge, "u7")


def test_a_table_that_cannot_be_read_throws_nobody_out(edge: Daemon, tables: Database) -> None:
    tables.run("ALTER TABLE radcheck RENAME TO gone;")
    until(lambda: status(edge, "radius")["sql"]["error"], "the error is said", 20)
    assert logs_in(edge, "u1")
    tables.run("ALTER TABLE gone RENAME TO radcheck;")
    until(lambda: not status(edge, "radius")["sql"]["error"], "it is read again", 30)
