"""The commands against a running daemon: what they print, how they leave."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from daemon.cli.main import main
from radius.codes import AcctStatus, Attr, TerminateCause
from radius.packet import attribute
from tests.e2e.conftest import COMMAND, Daemon
from tests.e2e.nas import Nas, number
from tests.e2e.test_docs import all_commands

FAILURE, USAGE, NOT_FOUND, DENIED, UNREACHABLE = 1, 2, 4, 5, 6
WIDEST = 100
SLOWEST_HELP_S = 0.4
MAC = "00:53:00:aa:bb:cc"
ADDRESS = "100.64.0.7"
SESSION_KEYS = {
    "username",
    "nas",
    "acct_session_id",
    "state",
    "framed_ip_address",
    "octets_upload",
    "octets_download",
    "started_at",
    "updated_at",
    "closed_at",
    "terminate_cause",
    "class",
}
COMMANDS = dict(all_commands(main, click.Context(main)))


@pytest.fixture(scope="module")
def edge(daemon: Daemon) -> Daemon:
    """A daemon that has seen logins, a live session, a closed one and nothing else."""
    with Nas(daemon) as nas:
        assert nas.is_accepted()
        assert nas.is_accepted(MAC.encode(), MAC.encode())
        nas.ask(daemon.auth, nas.login(b"bob", b"builder"))
        common = attribute(Attr.USER_NAME, b"alice") + attribute(
            Attr.FRAMED_IP_ADDRESS, IPv4Address(ADDRESS).packed
        )
        traffic = number(Attr.ACCT_INPUT_OCTETS, 2000) + number(Attr.ACCT_OUTPUT_OCTETS, 90_000)
        assert nas.is_acknowledged("live", common)
        assert nas.is_acknowledged("over", attribute(Attr.USER_NAME, b"dave"))
        stop = traffic + number(Attr.ACCT_TERMINATE_CAUSE, TerminateCause.USER_REQUEST)
        last = nas.record("over", attribute(Attr.USER_NAME, b"dave") + stop, AcctStatus.STOP)
        assert nas.ask(daemon.acct, last) is not None
    return daemon


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example(name: str) -> None:
    done = CliRunner().invoke(main, [*name.split(), "--help"], prog_name="dotmac-edge")
    assert done.exit_code == 0
    assert "Example:" in done.output
    assert f"dotmac-edge {name}"[:20] in done.output
    assert max(map(len, done.output.splitlines())) <= WIDEST


def test_help_comes_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([COMMAND, "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    with capsys.disabled():
        sys.stdout.write(f"\ndotmac-edge --help: {statistics.median(times) * 1000:.0f} ms\n")
    assert statistics.median(times) < SLOWEST_HELP_S


def test_sessions_are_a_page_of_items_with_their_keys(edge: Daemon) -> None:
    page = edge.ask("session", "list")
    assert set(page) == {"items", "count", "limit", "offset"}
    assert (page["count"], page["limit"], page["offset"]) == (2, 100, 0)
    over, live = sorted(page["items"], key=lambda each: each["state"], reverse=True)
    assert set(over) >= SESSION_KEYS
    assert (over["acct_session_id"], over["state"], over["username"]) == ("over", "closed", "dave")
    assert (over["octets_upload"], over["octets_download"]) == (2000, 90_000)
    assert over["terminate_cause"] == "user-request"
    assert over["started_at"] <= over["closed_at"] <= over["updated_at"] <= time.time()
    assert (live["acct_session_id"], live["state"], live["nas"]) == ("live", "active", "lab")
    assert (live["framed_ip_address"], live["closed_at"], live["terminate_cause"]) == (ADDRESS, None, None)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("--username alice", ["live"]),
        ("--state closed", ["over"]),
        ("--address 100.64.0.7", ["live"]),
        ("--nas lab --limit 1 --offset 2", []),
        ("--nas other", []),
    ],
)
def test_sessions_are_filtered(edge: Daemon, options: str, found: list[str]) -> None:
    items = edge.ask("session", "list", *options.split())["items"]
    assert [each["acct_session_id"] for each in items] == found


@pytest.mark.parametrize(
    "command",
    ["session list", "session show live", "subscriber show alice", "nas list", "config show", "why bob"],
)
def test_yaml_says_what_json_says(edge: Daemon, command: str) -> None:
    text = edge.run(*command.split(), "--output", "yaml").stdout
    assert yaml.safe_load(text) == edge.ask(*command.split())


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "session list",
        "session show over",
        "nas list",
        "nas show lab",
        "subscriber list",
        "subscriber show dave",
        "why alice",
        "config show",
        "version",
        "journal count",
    ],
)
def test_tables_are_at_most_100_columns_wide(edge: Daemon, command: str) -> None:
    assert max(map(len, edge.run(*command.split()).stdout.splitlines())) <= WIDEST


@pytest.mark.parametrize("command", ["subscriber show", "session show", "nas show", "why"])
def test_what_is_not_there_leaves_with_4(edge: Daemon, command: str) -> None:
    done = edge.run(*command.split(), "nobody", check=False)
    assert (done.returncode, done.stdout) == (NOT_FOUND, "")
    assert "nobody" in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("status --last 3", "No such option"),
        ("sesion list", "Did you mean 'session'?"),
        ("session list --state maybe", "'maybe' is not one of"),
        ("why", "Missing argument 'SUBJECT'"),
        ("data load no-such-file.yaml", "no-such-file.yaml"),
        ("data schema lease", "no kind 'lease'"),
        ("radius acct start alice", "--session-id"),
    ],
)
def test_a_wrong_command_line_leaves_with_2(command: str, said: str) -> None:
    done = CliRunner().invoke(main, command.split(), prog_name="dotmac-edge")
    assert done.exit_code == USAGE
    assert said in done.stderr


@pytest.mark.parametrize("command", ["status", "session list", "why alice", "radius auth alice wonderland"])
def test_without_a_daemon_it_leaves_with_6(tmp_path: Path, command: str) -> None:
    done = Daemon(tmp_path).run(*command.split(), check=False)
    assert done.returncode == UNREACHABLE, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("subject", ["frank", MAC, "0053.00aa.bbcc", "00-53-00-AA-BB-CC"])
def test_why_knows_a_line_by_name_and_mac(edge: Daemon, subject: str) -> None:
    (decision,) = edge.ask("why", subject)["items"]
    assert (decision["outcome"], decision["subscriber"]) == ("accept", "frank")


@pytest.mark.parametrize("subject", ["alice", ADDRESS])
def test_why_knows_a_user_by_name_and_address(edge: Daemon, subject: str) -> None:
    (decision,) = edge.ask("why", subject)["items"]
    assert (decision["outcome"], decision["username"]) == ("accept", "alice")
    assert "Mikrotik-Rate-Limit = 20M/100M" in " ".join(decision["reply"])


def test_why_tells_the_step_that_failed(edge: Daemon) -> None:
    told = edge.run("why", "bob").stdout
    assert "REJECT, access-reject" in told
    assert "the platform has set the access mode to reject" in told


def test_the_metrics_have_the_names_and_labels_that_were_agreed(edge: Daemon) -> None:
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(edge.metrics()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    expected = {
        "dotmac_edge_radius_requests_total": {"code", "nas", "outcome", "reason"},
        "dotmac_edge_radius_request_seconds_count": {"port"},
        "dotmac_edge_sessions": {"nas", "state"},
        "dotmac_edge_journal_commit_seconds_count": set(),
        "dotmac_edge_replica_objects": {"kind"},
        "dotmac_edge_replica_age_seconds": set(),
    }
    assert {name: labels[name] for name in expected} == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell], prog_name="dotmac-edge")
    assert done.exit_code == 0
    assert "dotmac-edge" in done.output
    assert f"_DOTMAC_EDGE_COMPLETE={shell}_complete" in done.output


def test_a_shell_completes_commands() -> None:
    asked = {
        "_DOTMAC_EDGE_COMPLETE": "bash_complete",
        "COMP_WORDS": "dotmac-edge session l",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [COMMAND], env=os.environ | asked, capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout.split() == ["plain,list"]


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_bad_data_are_refused_whole_and_every_problem_is_named(edge: Daemon, tmp_path: Path) -> None:
    before = edge.run("data", "export").stdout
    file = write(
        tmp_path / "bad.yaml",
        "- {kind: plan, id: fast, tenant: demo, body: {download: 1G, upload: 1G}}\n"
        "- {kind: plan, id: slow, tenant: demo, body: {download: 100, upload: 10M}}\n"
        "- kind: subscriber\n"
        "  id: zoe\n"
        "  tenant: demo\n"
        "  body: {username: alice, mac: nothing, plan: lost, access_mode: perhaps}\n",
    )
    done = edge.run("data", "load", file, check=False)
    assert done.returncode == FAILURE
    for place in (f"{file}:2", f"{file}:6"):
        assert place in done.stderr
    for field in ("body.download", "body.mac", "body.access_mode"):
        assert field in done.stderr
    assert edge.run("data", "export").stdout == before
    with Nas(edge) as nas:
        assert nas.is_accepted()


def test_a_bad_settings_file_is_named_with_line_and_key(tmp_path: Path) -> None:
    file = write(
        tmp_path / "edge.toml",
        '[radius]\nreject_delay_s = "soon"\nreject_dely_s = 1\n\n[api]\nlisten = "nowhere"\n',
    )
    done = CliRunner().invoke(main, ["--config", file, "config", "check"], prog_name="dotmac-edge")
    assert done.exit_code == USAGE
    for line, key in ((2, "radius.reject_delay_s"), (3, "radius.reject_dely_s"), (6, "api.listen")):
        assert any(f"{file}:{line}" in said and key in said for said in done.stderr.splitlines()), done.stderr


def lab(address: str, secrets: str) -> str:
    return (
        f"- {{kind: nas, id: lab, tenant: demo, body: {{address: {address}, vendor: mikrotik, {secrets}}}}}\n"
    )


def works(daemon: Daemon, secret: bytes) -> tuple[bool, bool]:
    """Say whether login and accounting work with a secret."""
    with Nas(daemon, secret) as nas:
        user = attribute(Attr.USER_NAME, b"alice")
        return nas.is_accepted(wait_s=0.5), nas.is_acknowledged(f"with-{secret!r}", user, wait_s=0.5)


def test_a_nas_is_changed_while_it_runs(make_daemon: Any, tmp_path: Path) -> None:
    daemon: Daemon = make_daemon()
    daemon.start()
    yes, no = (True, True), (False, False)
    assert works(daemon, b"testing123") == yes
    for secrets, old, new in (
        ("secret: the-new-one, previous_secret: testing123", yes, yes),
        ("secret: the-new-one", no, yes),
    ):
        daemon.run("data", "load", write(tmp_path / "nas.yaml", lab("127.0.0.1", secrets)))
        assert works(daemon, b"testing123") == old
        assert works(daemon, b"the-new-one") == new
        assert daemon.ask("nas", "show", "lab")["rotating_secret"] is (old == yes)
    assert daemon.ask("nas", "candidates")["items"] == []
    with Nas(daemon, source="127.0.0.2") as stranger:
        stranger.ask(
            daemon.auth, stranger.login(b"alice", b"wonderland", attribute(32, b"new-box")), wait_s=0.2
        )
    (candidate,) = daemon.ask("nas", "candidates")["items"]
    assert (candidate["address"], candidate["nas_identifier"]) == ("127.0.0.2", "new-box")
    assert max(map(len, daemon.run("nas", "candidates").stdout.splitlines())) <= WIDEST
    assert 'nas="unknown",outcome="drop",reason="unknown-nas"' in daemon.metrics()


def rejected_after(daemon: Daemon) -> float:
    with Nas(daemon) as nas:
        began = time.monotonic()
        assert nas.ask(daemon.auth, nas.login(b"bob", b"builder")) is not None
        return time.monotonic() - began


def hang_up(daemon: Daemon, event: str) -> None:
    """Send SIGHUP and wait until the log tells of its outcome."""
    assert daemon.process is not None
    before = daemon.log.read_text().count(event)
    daemon.process.send_signal(1)
    end = time.monotonic() + 10
    while daemon.log.read_text().count(event) == before:
        assert time.monotonic() < end, daemon.log.read_text()
        time.sleep(0.02)


def test_a_reload_applies_what_is_live_and_a_wrong_file_changes_nothing(make_daemon: Any) -> None:
    daemon: Daemon = make_daemon()
    daemon.start()
    assert rejected_after(daemon) < 0.3
    settings = daemon.config.read_text()
    daemon.config.write_text(settings.replace("reject_delay_s = 0", "reject_delay_s = 0.8"))
    assert daemon.ask("config", "reload") == {"live": ["radius.reject_delay_s"], "restart": []}
    assert 0.7 < rejected_after(daemon) < 1.5
    daemon.config.write_text(settings.replace("reject_delay_s = 0", "reject_delay_s = -1"))
    hang_up(daemon, "reload-refused")
    assert 0.7 < rejected_after(daemon) < 1.5
    done = daemon.run("config", "check", check=False)
    assert done.returncode == USAGE
    assert "radius.reject_delay_s" in done.stderr
    daemon.config.write_text(settings)
    hang_up(daemon, '"reloaded"')
    assert rejected_after(daemon) < 0.3


def test_two_daemons_never_share_a_state_directory(make_daemon: Any) -> None:
    first: Daemon = make_daemon()
    second: Daemon = make_daemon()
    first.start()
    text = second.config.read_text()
    second.config.write_text(text.replace(str(second.directory / "state"), str(first.directory / "state")))
    done = second.run("run", "--quiet", check=False)
    assert done.returncode == FAILURE
    assert "Traceback" not in done.stderr
    assert "state" in done.stderr
    with Nas(first) as nas:
        assert nas.is_acknowledged("still")
    assert first.ask("status")["ready"] is True, "the socket of the first is still there"


def test_an_unusable_sealing_key_is_said_clearly(make_daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT_KEY", "short")
    daemon: Daemon = make_daemon(**{"secrets.sealing_key": '"env:SHORT_KEY"'})
    done = daemon.run("run", "--quiet", check=False)
    assert done.returncode == FAILURE
    assert "Traceback" not in done.stderr
    assert "env:SHORT_KEY" in done.stderr


def test_a_taken_port_is_said_clearly(edge: Daemon, make_daemon: Any) -> None:
    other: Daemon = make_daemon()
    other.config.write_text(other.config.read_text().replace(f":{other.auth}", f":{edge.auth}"))
    done = other.run("run", "--quiet", check=False)
    assert done.returncode == FAILURE
    assert "Traceback" not in done.stderr
    assert "cannot start" in done.stderr


def test_ipv6_is_served(make_daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon: Daemon = make_daemon()
    monkeypatch.setenv("DOTMAC_EDGE_RADIUS__AUTH_LISTEN", json.dumps([f"[::1]:{daemon.auth}"]))
    monkeypatch.setenv("DOTMAC_EDGE_RADIUS__ACCT_LISTEN", json.dumps([f"[::]:{daemon.acct}"]))
    daemon.start()
    with Nas(daemon, source="::1") as nas:
        assert nas.is_accepted()
        assert nas.is_acknowledged("six", attribute(Attr.USER_NAME, b"alice"))
        assert nas.is_told_alive(daemon.acct)
    assert daemon.run("radius", "auth", "alice", "wonderland").returncode == 0
    (decision,) = daemon.ask("why", "alice")["items"]
    assert decision["source"].startswith("[::1]:")
    assert daemon.ask("session", "show", "six")["nas"] == "lab"


def test_an_export_with_secrets_loads_again_without_a_change(edge: Daemon, tmp_path: Path) -> None:
    file = write(tmp_path / "all.ndjson", edge.run("data", "export", "--secrets").stdout)
    done = edge.ask("data", "load", file, "--replace")
    assert (done["added"], done["changed"], done["removed"]) == ({}, {}, {})
    assert done["unchanged"]["subscriber"] == 6
