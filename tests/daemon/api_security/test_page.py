"""The page about the API: its tables are those of the code, its examples run; the OpenAPI file is of this code."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from daemon.api.document import text
from daemon.api.security.scopes import ROLES, SCOPES
from tests.daemon.api_security.stage import Stage

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_tables_of_scopes_and_roles_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+:[a-z]+)` \| (.+) \|$", PAGE, re.MULTILINE))
    assert rows == dict(SCOPES)
    roles = dict(re.findall(r"^\| `([a-z]+)` \| (all of them|`.+`) \|$", PAGE, re.MULTILINE))
    assert set(roles) == set(ROLES)
    for role, said in roles.items():
        named = set(SCOPES) if said == "all of them" else set(re.findall(r"`([^`]+)`", said))
        assert named == ROLES[role], role


@pytest.mark.parametrize("place", range(len(EXAMPLES)))
def test_the_examples_do_what_the_page_says(filled: Stage, place: int) -> None:
    client, _, secret = filled.keys["alpha-client"].partition(".")
    environ = {
        **os.environ,
        "EDGE": filled.url,
        "KEY": filled.keys["alpha"],
        "CLIENT_ID": client,
        "CLIENT_SECRET": secret,
        "POOL": "alpha-v4",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", EXAMPLES[place]],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"items"' in done.stdout


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 3


def test_the_openapi_file_is_of_this_code() -> None:
    kept = (ROOT / "docs" / "openapi.json").read_text()
    assert kept == text(), (
        "docs/openapi.json is of another version of the code: write it again with `make docs`"
    )
