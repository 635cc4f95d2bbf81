"""README.md is run: every command of its shell blocks, in order, against the daemon that `make run` starts."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import COMMAND, ROOT

EXAMPLE = "config/examples/edge.toml"
REFUSED = "dotmac-edge radius auth bob builder"
DIFFERENT = "dotmac-edge policy diff config/examples/quota.yaml"
EXPECTED = {REFUSED: 5, DIFFERENT: 3}  # the exit codes that the page says
README = (ROOT / "README.md").read_text()


def lines() -> list[str]:
    """Return the lines of all shell blocks, those that go on after a backslash joined."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a terminal beside the running example, whose state lies in a temporary directory."""
    state = tmp_path_factory.mktemp("readme")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DOTMAC_EDGE")}
    environ["DOTMAC_EDGE_EDGE__STATE_DIR"] = str(state)
    environ["DOTMAC_EDGE_API__ADMIN_SOCKET"] = str(state / "admin.sock")
    log = state / "log"
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            [COMMAND, "--config", EXAMPLE, "run"], env=environ, stdout=out, stderr=out, cwd=ROOT
        )
    try:
        end = time.monotonic() + 30
        while "Try in another terminal" not in log.read_text():
            assert daemon.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield environ
        daemon.terminate()
        assert daemon.wait(timeout=20) == 0, log.read_text()
    finally:
        daemon.kill()
        daemon.wait()


def run(arguments: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, env=environ, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )


@pytest.fixture(scope="module")
def background() -> Iterator[list[subprocess.Popen[str]]]:
    """What the page starts with an ampersand; ended with the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        with process:
            process.kill()


def treat(line: str, environ: dict[str, str], background: list[subprocess.Popen[str]]) -> None:
    """Do what a reader does with one line; fails on a line that nobody has thought of."""
    words = shlex.split(line)
    match words:
        case ["source", ".venv/bin/activate"]:
            environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
        case ["export", assignment]:
            name, _, value = assignment.partition("=")
            environ[name] = value
        case ["make", target]:
            done = run(["make", "--dry-run", target], environ)
            assert done.returncode == 0, f"{line}: {done.stderr}"
        case ["dotmac-edge", *_, "&"]:
            process = subprocess.Popen(words[:-1], env=environ, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            background.append(process)
            assert process.stdout is not None
            assert process.stdout.readline(), "it has begun to listen"
        case ["dotmac-edge", *_]:
            done = run(words, environ)
            expected = EXPECTED.get(line, 0)
            assert done.returncode == expected, f"{line}: {done.returncode}: {done.stdout}{done.stderr}"
            assert "Traceback" not in done.stderr, f"{line}: {done.stderr}"
        case _:
            raise AssertionError(f"a line of README.md that this test does not know: {line}")


def test_each_command_does_what_the_readme_says(
    environ: dict[str, str], background: list[subprocess.Popen[str]]
) -> None:
    todo = lines()
    assert set(EXPECTED) <= set(todo)
    assert len(todo) > 40
    for line in todo:
        treat(line, environ, background)


def test_the_readme_names_the_ports_of_the_example() -> None:
    example = (ROOT / EXAMPLE).read_text()
    for port in re.findall(r"\b18\d{3}\b", README):
        assert port in example
