"""What a name on the command line means: ours, the NAS's or a tenant's; and what is said where it is not clear."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from daemon.cli.main import main
from radius.codes import AcctStatus, Attr
from radius.packet import attribute
from tests.e2e.conftest import COMMAND, ROOT, Daemon
from tests.e2e.nas import Nas
from tests.e2e.test_docs import all_commands, parse

FAILURE, USAGE, NOT_FOUND = 1, 2, 4
WIDEST = 100
RIVAL = "127.9.0.1"
OTHER_TENANT = f"""
- {{kind: tenant, id: rival, body: {{name: Rival}}}}
- kind: nas
  id: lab
  tenant: rival
  body: {{address: {RIVAL}, secret: testing123, vendor: cisco, coa: false}}
- kind: plan
  id: home-100
  tenant: rival
  body: {{name: Rival Home, download: 10M, upload: 1M}}
- kind: subscriber
  id: alice
  tenant: rival
  body: {{username: alice, password: other, access_mode: active, plan: home-100}}
- kind: subscriber
  id: "77"
  tenant: rival
  body: {{username: seven, password: other, access_mode: active, plan: home-100}}
- kind: subscriber
  id: zed
  tenant: rival
  body: {{username: "77", password: other, access_mode: active, plan: home-100}}
"""
LAB = """
- kind: nas
  id: lab
  tenant: demo
  body: {prefixes: [127.0.0.0/8], secret: testing123, vendor: mikrotik, coa: false}
"""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with two tenants that use the same ids; their boxes take no CoA, so that a kick ends at once."""
    directory = tmp_path_factory.mktemp("edge")
    running = Daemon(directory)
    running.start()
    file = directory / "data.yaml"
    file.write_text(LAB + OTHER_TENANT)
    running.run("data", "load", str(file))
    yield running
    if running.process is not None:
        assert running.end() == 0, running.log.read_text()
    assert "Traceback" not in running.log.read_text(), running.log.read_text()


class Online:
    """Sessions of one test: user name and Acct-Session-Id by what the NAS at an address says."""

    def __init__(self, edge: Daemon) -> None:
        self._edge = edge
        self._begun: list[tuple[str, str, str]] = []

    def begin(self, username: str, session: str, source: str = "127.0.0.1") -> int:
        """Begin a session and return its number."""
        self._send(username, session, source, AcctStatus.START)
        self._begun.append((username, session, source))
        items = self._edge.ask("session", "list", "--username", username, "--limit", "1000")["items"]
        return max(int(each["uid"]) for each in items if each["acct_session_id"] == session)

    def end(self) -> None:
        """End them all."""
        for username, session, source in self._begun:
            self._send(username, session, source, AcctStatus.STOP)

    def _send(self, username: str, session: str, source: str, status: int) -> None:
        with Nas(self._edge, source=source) as nas:
            said = attribute(Attr.USER_NAME, username.encode())
            assert nas.ask(self._edge.acct, nas.record(session, said, status)) is not None


@pytest.fixture
def online(edge: Daemon) -> Iterator[Online]:
    sessions = Online(edge)
    yield sessions
    sessions.end()


def kicked(edge: Daemon, *words: str) -> list[str]:
    """Return the numbers of the sessions that a kick is for."""
    done = edge.run("session", "kick", *words, "--output", "json", check=False)
    assert done.stdout, done.stderr
    return [job["session"] for job in json.loads(done.stdout)]


def refused(edge: Daemon, *words: str, code: int) -> str:
    done = edge.run(*words, check=False)
    assert (done.returncode, done.stdout) == (code, ""), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_bare_number_is_never_the_number_of_a_session(edge: Daemon, online: Online) -> None:
    of_another = online.begin("dave", "far")
    mine = online.begin("alice", f"{of_another:08d}")
    assert kicked(edge, f"{of_another:08d}") == [str(mine)]
    by_user = online.begin(str(of_another), "user")
    assert kicked(edge, str(of_another)) == [str(by_user)]
    assert edge.ask("session", "show", str(of_another))["uid"] == str(by_user)
    assert edge.ask("session", "reconcile", str(of_another))["looked_at"] == 1
    assert edge.ask("session", "show", f"{of_another:08d}")["uid"] == str(mine)


@pytest.mark.parametrize("form", ["#{}", "--uid {}"])
def test_the_number_of_a_session_has_a_form_of_its_own(edge: Daemon, online: Online, form: str) -> None:
    number = online.begin("dave", f"far {form}")
    words = form.format(number).split()
    assert edge.ask("session", "show", *words)["acct_session_id"] == f"far {form}"
    assert kicked(edge, *words) == [str(number)]
    said = refused(edge, "session", "kick", str(number), code=NOT_FOUND)
    assert f"'#{number}'" in said, "the advice"


def test_a_name_that_means_different_sessions_is_refused_with_their_numbers(
    edge: Daemon, online: Online
) -> None:
    by_id, by_user = online.begin("dave", "500"), online.begin("500", "s500")
    for words in (["kick", "500"], ["show", "500"], ["reconcile", "500"]):
        said = refused(edge, "session", *words, code=FAILURE)
        assert f"#{by_id} (user dave" in said
        assert f"#{by_user} (user 500" in said
    assert edge.ask("coa", "list")["items"] == []


def test_all_sessions_of_a_user_are_kicked_but_not_shown(edge: Daemon, online: Online) -> None:
    numbers = {str(online.begin("alice", f"a{i}")) for i in range(2)}
    assert set(kicked(edge, "alice")) == numbers
    assert "#" in refused(edge, "session", "show", "alice", code=FAILURE)


@pytest.mark.parametrize(
    "number", ["#99999", "#" + "9" * 5000, "9" * 5000, "#18446744073709551615", "#", "#-1"]
)
def test_a_number_of_no_session_is_not_found(edge: Daemon, number: str) -> None:
    refused(edge, "session", "show", number, code=NOT_FOUND)
    refused(edge, "session", "kick", number, code=NOT_FOUND)


@pytest.mark.parametrize(
    "words",
    [
        "show",
        "kick",
        "show alice --uid 3",
        "show --uid x",
        "reconcile --all --uid 3",
        "reconcile alice --all",
    ],
)
def test_a_session_is_named_in_one_way(edge: Daemon, words: str) -> None:
    refused(edge, "session", *words.split(), code=USAGE)


def test_a_kick_stays_in_the_tenant_that_is_named(edge: Daemon, online: Online) -> None:
    demo, rival = online.begin("alice", "same"), online.begin("alice", "same", RIVAL)
    for name in ("alice", "same"):
        for command in ("kick", "show", "reconcile"):
            said = refused(edge, "session", command, name, code=FAILURE)
            assert "demo, rival" in said
            assert "--tenant" in said
    assert edge.ask("coa", "list")["items"] == []
    assert edge.ask("session", "show", "same", "--tenant", "rival")["uid"] == str(rival)
    assert edge.ask("session", "reconcile", "alice", "--tenant", "demo")["looked_at"] == 1
    assert edge.ask("session", "reconcile", "--all", "--tenant", "rival")["looked_at"] == 1
    assert kicked(edge, "alice", "--tenant", "rival") == [str(rival)]
    assert kicked(edge, "same", "--tenant", "demo") == [str(demo)]
    refused(edge, "session", "show", f"#{rival}", "--tenant", "demo", code=NOT_FOUND)
    items = edge.ask("session", "list", "--tenant", "rival", "--username", "alice", "--state", "active")[
        "items"
    ]
    assert [each["tenant"] for each in items] == ["rival"]


@pytest.mark.parametrize(
    "words",
    [
        "plan show home-100",
        "plan render home-100 --nas lab",
        "nas show lab",
        "subscriber show alice",
        "subscriber usage alice",
        "subscriber bindings alice",
        "subscriber unbind alice",
    ],
)
def test_a_name_that_tenants_share_wants_the_tenant(edge: Daemon, words: str) -> None:
    said = refused(edge, *words.split(), code=FAILURE)
    assert "demo, rival" in said
    for tenant in ("demo", "rival"):
        done = edge.run(*words.split(), "--tenant", tenant, check=False)
        if done.returncode:
            assert (done.returncode, done.stderr) == (NOT_FOUND, "Error: alice is tied to nothing\n")
        elif "bindings" not in words:
            assert edge.ask(*words.split(), "--tenant", tenant)["tenant"] == tenant
    assert "no tenant has the id nowhere" in refused(
        edge, *words.split(), "--tenant", "nowhere", code=NOT_FOUND
    )


def test_an_id_that_is_anothers_user_name_is_refused(edge: Daemon) -> None:
    said = refused(edge, "subscriber", "show", "77", code=FAILURE)
    assert "zed" in said
    assert "seven" in said
    assert edge.ask("subscriber", "show", "seven")["id"] == "77"
    assert edge.ask("subscriber", "show", "zed")["id"] == "zed"


@pytest.mark.parametrize("command", ["plan list", "nas list", "subscriber list"])
def test_a_table_of_several_tenants_says_whose(edge: Daemon, command: str) -> None:
    lines = edge.run(*command.split()).stdout.splitlines()
    assert any(line.startswith("Tenant ") for line in lines)
    assert max(map(len, lines)) <= WIDEST
    assert "Tenant " not in edge.run(*command.split(), "--tenant", "rival").stdout
    assert {each["tenant"] for each in edge.ask(*command.split(), "--tenant", "rival")["items"]} == {"rival"}


@pytest.mark.parametrize(
    "words",
    [
        "subscriber list --access-mode foo",
        "subscriber list --limit 0",
        "session list --address 1.2.3",
        "event list --kind gossip",
        "coa list --limit 0",
    ],
)
def test_what_cannot_be_asked_for_is_a_wrong_command_line(edge: Daemon, words: str) -> None:
    refused(edge, *words.split(), code=USAGE)


@pytest.mark.parametrize(
    "command", ["nas show", "session kick", "why", "session list --username", "radius auth x"]
)
def test_an_argument_that_is_no_text_is_a_wrong_command_line(edge: Daemon, command: str) -> None:
    done = subprocess.run(
        [COMMAND, *command.split(), b"\xff\xfe"],
        env=edge.environ,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == USAGE, done.stderr
    assert b"Traceback" not in done.stderr


def test_events_are_followed_as_yaml_documents(edge: Daemon, online: Online) -> None:
    online.begin("dave", "noted")
    edge.run("session", "kick", "noted", check=False)
    words: list[str | Path] = [COMMAND, "event", "list", "--follow", "--limit", "1", "--output", "yaml"]
    with subprocess.Popen(words, env=edge.environ, stdout=subprocess.PIPE, text=True) as follower:
        try:
            assert follower.stdout is not None
            lines = [follower.stdout.readline() for _ in range(4)]
        finally:
            follower.terminate()
    assert lines[0] == "---\n"
    assert "seq" in yaml.safe_load("".join(lines))


@pytest.mark.parametrize("body", [b"Internal Server Error", b"", b"[1]", b'{"detail": 1}', b"\xff"])
def test_an_answer_that_cannot_be_read_is_a_failure_and_no_traceback(tmp_path: Path, body: bytes) -> None:
    daemon = Daemon(tmp_path)
    (tmp_path / "state").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "state" / "admin.sock"))
        listening.listen()
        thread = threading.Thread(target=answer_once, args=(listening, body))
        thread.start()
        done = daemon.run("status", check=False)
        thread.join()
    assert (done.returncode, done.stdout) == (FAILURE, "")
    assert "answers with 500" in done.stderr
    assert "Traceback" not in done.stderr


def answer_once(listening: socket.socket, body: bytes) -> None:
    peer, _ = listening.accept()
    with peer:
        peer.recv(4096)
        peer.sendall(
            b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
        )


def groups() -> list[str]:
    """Return the names of the groups of commands."""
    names = {name.split()[0] for name, _ in all_commands(main, click.Context(main)) if " " in name}
    return sorted(names)


@pytest.mark.parametrize("name", groups())
def test_each_group_shows_an_example_that_parses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    shown = CliRunner().invoke(main, [name, "--help"]).output
    _, _, example = shown.partition("Example: ")
    line = example.partition("\n")[0]
    assert line.startswith(f"dotmac-edge {name} ")
    parse(line)


def config_check(make_daemon: Any, clients: list[str]) -> tuple[int, str]:
    daemon: Daemon = make_daemon(**{"coa.relay_clients": json.dumps(clients)})
    done = daemon.run("config", "check", check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_relay_clients_that_cannot_work_fail_the_check(make_daemon: Any, tmp_path: Path) -> None:
    for name, text in (("good", "one\n"), ("same", "one"), ("other", "two"), ("empty", ""), ("blank", "\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    good, same, other, empty, blank = (
        f"file:{tmp_path}/{name}" for name in ("good", "same", "other", "empty", "blank")
    )
    assert config_check(make_daemon, [f"demo 10.0.0.1 {good}", f"rival 10.0.0.1 {other}"]) == (0, "")
    assert config_check(make_daemon, [f"demo 10.0.0.0/8 {good}", f"demo 10.0.0.1 {good}"]) == (0, "")
    assert config_check(make_daemon, ["demo 10.0.0.1 credential:relay"]) == (0, "")
    for clients, said in (
        ([f"demo 10.0.0.1 {empty}"], "it is empty"),
        ([f"demo 10.0.0.1 {blank}"], "it is empty"),
        ([f"demo 10.0.0.1 {good}", f"rival 10.0.0.1 {good}"], "10.0.0.1/32"),
        ([f"demo 10.0.0.1 {good}", f"rival 10.0.0.1/32 {same}"], "10.0.0.1/32"),
    ):
        code, errors = config_check(make_daemon, clients)
        assert code == USAGE
        assert said in errors
