"""`import freeradius` and `export freeradius` against a running daemon."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from daemon.cli import main
from tests.daemon.freeradius.server import ask, freeradius, installed
from tests.e2e.conftest import Daemon

CLIENTS = "client lab {\n\tipaddr = 127.0.0.0/8\n\tsecret = testing123\n\tnas_type = mikrotik\n}\n"
USERS = """
ann\tCleartext-Password := "wonder land"
\tFramed-IP-Address = 203.0.113.77,
\tX-Odd = 1,
\tFall-Through = Yes
bob\tCleartext-Password := builder, Login-Time := "Al0000-2359"
	Fall-Through = Yes
bad\tCleartext-Password := "enc:gAAAAB"
DEFAULT
\tMikrotik-Rate-Limit = "10M/50M",
\tService-Type = Framed-User,
\tFramed-Protocol = PPP
"""
LINES = ("NAS-IP-Address = 127.0.0.1", "Service-Type = Framed-User", "Framed-Protocol = PPP")


@pytest.fixture
def edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon with a tenant and nothing else."""
    home = tmp_path / "edge"
    home.mkdir()
    tenant = home / "tenant.yaml"
    tenant.write_text("kind: tenant\nid: demo\n")
    made_daemon = Daemon(home, **{"data.files": json.dumps([str(tenant)])})
    monkeypatch.setenv("DOTMAC_EDGE_CONFIG", str(made_daemon.config))
    made_daemon.start()
    try:
        yield made_daemon
    finally:
        made_daemon.end()


def run(*arguments: object) -> Result:
    """Run a command of ours."""
    return CliRunner().invoke(main.main, [str(each) for each in arguments])


def raddb(tmp_path: Path) -> Path:
    """Return a directory as FreeRADIUS has it."""
    home = tmp_path / "raddb"
    (home / "mods-config" / "files").mkdir(parents=True)
    (home / "mods-config" / "files" / "authorize").write_text(USERS)
    (home / "clients.conf").write_text(CLIENTS)
    return home


def test_a_directory_goes_in_and_comes_back_out(tmp_path: Path, edge: Daemon) -> None:
    home = raddb(tmp_path)
    dry = run("import", "freeradius", home, "--tenant", "demo", "--dry-run")
    assert dry.exit_code == 7, dry.output  # `bad` is left out
    assert "Dry run: nothing was changed." in dry.output
    assert "Left out: authorize:4: ann: X-Odd: no attribute of our dictionary" in dry.output
    assert "gAAAAB" not in dry.output
    assert max(map(len, dry.stdout.splitlines())) <= 100
    assert edge.ask("data", "export") == [] or all(
        each["kind"] == "tenant" for each in edge.ask("data", "export")
    )
    done = run("import", "freeradius", home, "--tenant", "demo", "--output", "json")
    assert done.exit_code == 7, done.output
    said = json.loads(done.stdout)
    assert said["added"] == {"nas": 1, "plan": 2, "subscriber": 2}
    assert {each["why"] for each in said["left_out"]} == {"unknown-attribute", "refused"}
    for name, password in (("ann", "wonder land"), ("bob", "builder")):
        assert (
            ask(edge.auth, f'User-Name = "{name}"', f'User-Password = "{password}"', *LINES).code
            == "Access-Accept"
        )
    back = tmp_path / "back"
    out = run("export", "freeradius", "--directory", back, "--interim", "600")
    assert out.exit_code == 0, out.output
    assert "2 users and 1 clients written" in out.output
    assert stat.S_IMODE((back / "users").stat().st_mode) == 0o600
    assert run("export", "freeradius", "--directory", back).exit_code == 2  # nothing is overwritten
    if installed():
        with freeradius(back, clients=(back / "clients.conf").read_text()) as port:
            answer = ask(port, "User-Name = ann", 'User-Password = "wonder land"', *LINES)
            assert answer.code == "Access-Accept"
            assert answer.attributes["Mikrotik-Rate-Limit"] == ['"10M/50M"']
            assert answer.attributes["Framed-IP-Address"] == ["203.0.113.77"]


def test_nothing_is_loaded_where_the_whole_cannot_be(tmp_path: Path, edge: Daemon) -> None:
    users = tmp_path / "users"
    users.write_text(
        "".join(
            f"{name}\tCleartext-Password := x\n\tFramed-IP-Address = 203.0.113.7\n"
            for name in ("a1", "a2", "a3")
        )
    )
    done = run("import", "freeradius", users, "--tenant", "demo")
    assert done.exit_code == 1, done.output
    assert "203.0.113.7" in done.output
    assert all(each["kind"] == "tenant" for each in edge.ask("data", "export"))


def test_a_file_to_look_at_first(tmp_path: Path, edge: Daemon) -> None:
    users = tmp_path / "users"
    users.write_text("a1\tCleartext-Password := x\n")
    done = run("import", "freeradius", users, "--write", tmp_path / "data.ndjson")
    assert done.exit_code == 0, done.output
    assert "2 objects written." in done.output
    edge.run("data", "load", str(tmp_path / "data.ndjson"), "--tenant", "demo")
    assert (
        run("import", "freeradius", tmp_path / "edge" / "tenant.yaml", "--write", tmp_path / "x").exit_code
        == 2
    )
    assert run("import", "freeradius", users, "--zone", "Nowhere").exit_code == 2


def test_the_only_tenant_need_not_be_named_and_one_of_several_must(tmp_path: Path, edge: Daemon) -> None:
    users = tmp_path / "users"
    users.write_text("a1\tCleartext-Password := x\n")
    done = run("import", "freeradius", users, "--dry-run")
    assert done.exit_code == 0, done.output
    other = tmp_path / "other.yaml"
    other.write_text("kind: tenant\nid: other\n")
    edge.run("data", "load", str(other))
    done = run("import", "freeradius", users, "--dry-run")
    assert done.exit_code == 2, done.output
    assert "name one with --tenant (demo, other)" in done.stderr


def test_what_cannot_be_written_is_said(tmp_path: Path, edge: Daemon) -> None:
    done = run("export", "freeradius", "--directory", "/proc/nope")
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("Error: /proc/nope: ")


def test_a_dump_that_was_cut_off_is_not_taken(tmp_path: Path, edge: Daemon) -> None:
    file = tmp_path / "radius.sql"
    file.write_text("INSERT INTO radcheck VALUES (1,'ann','Cleartext-Password',':=','x'),\n(2,'bob','Clear")
    done = run("import", "freeradius", file, "--tenant", "demo")
    assert done.exit_code == 2, done.output
    assert f"{file}:2: radcheck" in done.stderr
    assert all(each["kind"] == "tenant" for each in edge.ask("data", "export"))


def test_an_event_beyond_the_last_is_not_found(edge: Daemon) -> None:
    done = run("outbox", "tail", "sessions", "--from", "99999")
    assert done.exit_code == 4, done.output
    assert "sessions has no event 99999: the last is 0" in done.stderr
    for sink in ("", "a/b"):
        assert run("outbox", "replay", sink, "sessions", "--from", "1").exit_code == 4
