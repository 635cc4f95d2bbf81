"""docs/addresses.md is run: every command of its shell blocks, in order, against a daemon."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from click.testing import CliRunner, Result

from daemon.cli.main import main
from tests.e2e.conftest import ROOT, Daemon

PAGE = (ROOT / "docs" / "addresses.md").read_text()
SOCKET = "/var/lib/dotmac-edge/admin.sock"
NOBODY = {4, 7}  # nobody had it, and there may be gaps: the edge has only just begun
CONNECTIONS = "100.64.0.0,198.51.100.0,1024\n"


def lines() -> list[str]:
    """Return the lines of all shell blocks, those that go on after a backslash joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def run(edge: Daemon, line: str, given: str | None = None) -> Result:
    """Run a command of ours in this process, which is quicker, against a daemon."""
    arguments = shlex.split(line.partition(" > ")[0])[1:]
    return CliRunner(env=edge.environ).invoke(main, arguments, input=given, prog_name="dotmac-edge")


def test_each_command_of_the_page_does_what_the_page_says(daemon: Daemon, tmp_path: Path) -> None:
    given = {"case-17.json": str(tmp_path / "case-17.json")}
    for written in lines():
        line = written
        for name, path in given.items():
            line = line.replace(name, path)
        if line.startswith("curl "):
            answer = ask(daemon, line)
            assert answer.startswith("{"), answer
            assert '"code"' not in answer, answer
        elif line.startswith("conntrack "):
            done = run(daemon, line.partition(" | ")[2], CONNECTIONS)
            assert done.exit_code == 0, done.output
        else:
            done = run(daemon, line)
            expected = NOBODY if "who-had" in line and "--at" in line else {0}
            assert done.exit_code in expected, f"{line}: {done.output}"


def ask(daemon: Daemon, line: str) -> str:
    """Run a curl command on the daemon's own socket; return the answer."""
    words = shlex.split(line.replace(SOCKET, str(daemon.directory / "state" / "admin.sock")))
    done = subprocess.run(
        [words[0], "-sS", *words[1:]], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_is_short() -> None:
    assert len(PAGE.splitlines()) <= 250
