"""The commands about addresses against a running daemon: what they print, how they leave, what they say of mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from daemon.cli.main import main
from radius.codes import Attr
from radius.packet import attribute
from tests.e2e.conftest import Daemon
from tests.e2e.nas import Nas
from tests.e2e.test_radclient import radclient

FAILURE, USAGE, DIFFERENCES, NOT_FOUND, UNREACHABLE = 1, 2, 3, 4, 6
WIDEST = 100
V4, PD = "100.64.0.1", "2001:db8:100::/56"
BEGUN = (
    "prefix add 100.64.0.0/16 --role customers --name shared",
    "pool add home --kind v4 --range 100.64.0.0/24 --exclude 100.64.0.0 --site north",
    "pool add spare --kind v4 --range 100.65.0.0/24 --order shuffled",
    "pool add home-pd --kind pd --range 2001:db8:100::/48",
    "pool add home-na --kind v6-na --range 2001:db8:200::1-2001:db8:200::ffff",
    "pool add access --kind svlan --range 100-199",
    "selector add home --pool v4=home,spare --pool pd=home-pd --pool v6-na=home-na",
    "selector add vlans --pool svlan=access --plan ipoe-50 --priority 10",
    "reservation add 100.64.0.7 carol --name webcam",
    "cgnat plan add pop1 --inside 100.96.0.0/22 --outside 198.51.100.0/26 --block-size 1000 --sharing 16",
)
ASK = f"who-had {V4} --at now --reason x"
SHOWN = (
    "pool list",
    "pool show home",
    "pool show access",
    "selector list",
    "selector test alice --nas lab",
    "lease list",
    f"lease show {V4}",
    "lease show 2001:db8:100::77",
    f"lease history {V4}",
    "lease history --subscriber alice --since 1h",
    "lease history --pool home",
    "reservation list",
    "prefix list",
    "prefix show 100.64.0.0/16",
    "prefix tree",
    "vlan list access",
    "vlan next access",
    "who-had key",
    ASK,
    "cgnat plan list",
    "cgnat plan show pop1",
    "cgnat ports 100.96.0.9",
    "ipam usage",
    "ipam usage --level site --kind v4",
    "ipam check --deep",
    "audit list",
)
STEADY = (
    "pool list",
    f"lease history {V4}",
    "prefix tree",
    "who-had key",
    "cgnat plan show pop1",
    "ipam usage",
)


@pytest.fixture(scope="module")
def edge(daemon: Daemon) -> Daemon:
    """A daemon with pools of all kinds, alice online, and frank, who has asked and not come."""
    for line in BEGUN:
        daemon.run(*line.split())
    with Nas(daemon) as nas:
        reply = nas.ask(daemon.auth, nas.login(b"alice", b"wonderland"))
        assert reply is not None
        echo = attribute(Attr.USER_NAME, b"alice")
        for kind in (Attr.CLASS, Attr.FRAMED_IP_ADDRESS, Attr.DELEGATED_IPV6_PREFIX):
            echo += attribute(kind, reply.find(kind) or b"")
        assert nas.is_acknowledged("live", echo)
        assert nas.is_accepted(b"00:53:00:aa:bb:cc", b"00:53:00:aa:bb:cc")
    return daemon


def run(edge: Daemon, *arguments: str) -> Result:
    """Run a command in this process, which is quicker, against a daemon."""
    return CliRunner(env=edge.environ).invoke(main, arguments, prog_name="dotmac-edge")


@pytest.mark.parametrize("command", SHOWN)
def test_is_shown_in_100_columns_or_as_one_document(edge: Daemon, command: str) -> None:
    shown = run(edge, *command.split())
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.strip()
    assert max(map(len, shown.stdout.splitlines())) <= WIDEST
    assert isinstance(json.loads(run(edge, *command.split(), "--output", "json").stdout), dict)


@pytest.mark.parametrize("command", STEADY)
def test_yaml_says_what_json_says(edge: Daemon, command: str) -> None:
    text = run(edge, *command.split(), "--output", "yaml").stdout
    assert yaml.safe_load(text) == edge.ask(*command.split())


@pytest.mark.parametrize(
    "command",
    [
        "pool show lost",
        "pool resize lost --add 10.0.0.0/24",
        "pool drain lost",
        "pool delete lost",
        "pool forecast lost",
        "selector delete lost",
        "selector test lost",
        "lease show 192.0.2.1",
        "lease release 192.0.2.1",
        "lease show svlan:4000",
        "reservation delete 192.0.2.1",
        "prefix show 192.0.2.0/24",
        "prefix delete 192.0.2.0/24",
        "vlan list lost",
        "vlan next lost",
        "who-had 192.0.2.1 --at 1s --reason x",
        "cgnat plan show lost",
        "cgnat plan end lost",
        "cgnat ports 192.0.2.1",
    ],
)
def test_what_is_not_there_leaves_with_4(edge: Daemon, command: str) -> None:
    done = run(edge, *command.split())
    assert done.exit_code == NOT_FOUND, done.output


# What is wrong in the command: the code that it leaves with, and words that tell the field and the remedy.
WRONG = {
    "pool add x --kind v4 --range 10.0.0.0/33": (USAGE, "10.0.0.0/33"),
    "pool add x --kind v4 --range 2001:db8::/64": (USAGE, "2001:db8::/64"),
    "pool add x --kind v4 --range 10.0.0.9-10.0.0.1": (USAGE, "10.0.0.9-10.0.0.1"),
    "pool add x --kind v9 --range 10.0.0.0/24": (USAGE, "'v9' is not one of"),
    "pool add x --kind v4": (USAGE, "--range"),
    "pool add x --kind pd --range 2001:db8::/48 --unit 40": (USAGE, "40"),
    "pool add x --kind svlan --range 1-5000": (USAGE, "5000"),
    "pool add x --kind v4 --range 10.0.0.0/24 --hold soon": (USAGE, "30s, 10m, 1h or 2d"),
    "pool add x --kind v4 --range 10.0.0.0/24 --low 120": (USAGE, "low_percent"),
    "pool add x --kind v4 --range 10.0.0.0/24 --fallback lost": (USAGE, "lost"),
    "pool add x --kind v4 --range 100.64.0.128/25": (FAILURE, "home"),
    "pool add home --kind v4 --range 10.0.0.0/24": (FAILURE, "home"),
    "pool resize home --add 100.65.0.0/25": (FAILURE, "spare"),
    "pool resize home --remove 10.0.0.0/24": (USAGE, "10.0.0.0/24"),
    "pool delete home": (FAILURE, "is named by"),
    "selector add x --pool v4": (USAGE, "KIND=POOL,POOL"),
    "selector add x --pool v4=lost": (USAGE, "lost"),
    "selector add x --pool pd=home": (USAGE, "home"),
    "selector add x --pool v4=home --attribute Connect-Info": (USAGE, "NAME=VALUE"),
    "lease show nonsense": (USAGE, "nonsense"),
    f"lease release {V4}": (FAILURE, "--disconnect"),
    "reservation add nonsense alice": (USAGE, "nonsense"),
    "reservation add 100.64.0.7 dave": (FAILURE, "carol"),
    "reservation add 203.0.113.10 erin": (FAILURE, "dave"),
    "prefix add 100.64.0.0/33": (USAGE, "100.64.0.0/33"),
    "prefix add --under 100.64.0.0/16 --length 8": (FAILURE, "no /8 is free"),
    "vlan next home": (USAGE, "home"),
    "who-had 100.64.0.1 --at now": (USAGE, "--reason"),
    "who-had 100.64.0.1 --at yesterday --reason x": (USAGE, "yesterday"),
    "who-had nonsense --at now --reason x": (USAGE, "nonsense"),
    "who-had 100.64.0.1:99999 --at now --reason x": (USAGE, "99999"),
    "who-had verify no-such-file.json": (FAILURE, "no-such-file.json"),
    "cgnat propose --subscribers 100000 --inside 100.96.0.0/22 --outside 203.0.113.0/30": (
        FAILURE,
        "add 98976 inside addresses",
    ),
    "ipam usage --level street": (USAGE, "'street' is not one of"),
}


@pytest.mark.parametrize("command", WRONG)
def test_a_mistake_is_named_with_its_remedy(edge: Daemon, command: str) -> None:
    code, said = WRONG[command]
    done = run(edge, *command.split())
    assert done.exit_code == code, done.output
    assert said in done.output


def test_mistakes_change_nothing(edge: Daemon) -> None:
    assert {each["name"] for each in edge.ask("pool", "list")["items"]} == {
        each.split()[2] for each in BEGUN if each.startswith("pool add")
    }
    edge.run("ipam", "check", "--deep")


@pytest.mark.parametrize(
    "command", ["pool list", "lease list", "ipam check", ASK, "who-had key", "audit list"]
)
def test_without_a_daemon_it_leaves_with_6(tmp_path: Path, command: str) -> None:
    done = Daemon(tmp_path).run(*command.split(), check=False)
    assert done.returncode == UNREACHABLE, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_radclient_reads_what_was_leased(edge: Daemon) -> None:
    told = radclient(edge.auth, "auth", 'User-Name = "carol"\nUser-Password = "christmas"').stdout
    items = edge.ask("lease", "list", "--subscriber", "carol")["items"]
    leased = {each["kind"]: each["address"] for each in items}
    assert set(leased) == {"v4", "pd"}, "MikroTik cannot be told of the others"
    assert leased["v4"] == "100.64.0.7", "what is set aside for her"
    assert f"Framed-IP-Address = {leased['v4']}" in told
    assert f"Delegated-IPv6-Prefix = {leased['pd']}" in told


def test_a_signed_answer_is_checked_without_a_daemon(edge: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "case.json"
    edge.run(*ASK.split(), "--export", str(file))
    key = edge.run("who-had", "key").stdout.strip()
    assert edge.run("who-had", "verify", str(file), "--key", key).returncode == 0
    signed = json.loads(file.read_text())
    file.write_text(json.dumps(signed).replace("alice", "mallo"))
    assert edge.run("who-had", "verify", str(file), "--key", key, check=False).returncode == FAILURE


def test_a_device_that_follows_another_plan_leaves_with_3(edge: Daemon, tmp_path: Path) -> None:
    (row, *_) = edge.ask("cgnat", "plan", "show", "pop1")["vectors"]
    file = tmp_path / "blocks.csv"
    line = [row["inside"], row["outside"], row["first_port"], row["last_port"]]
    file.write_text(",".join(map(str, line)) + "\n")
    edge.run("cgnat", "verify", "pop1", str(file))
    line[3] += 1
    file.write_text(",".join(map(str, line)) + "\n")
    assert edge.run("cgnat", "verify", "pop1", str(file), check=False).returncode == DIFFERENCES
