"""What becomes of a kick is what the command leaves with."""

from __future__ import annotations

from typing import Any

import click
import pytest

from daemon.cli.coa import job_row, leave_with
from daemon.cli.output import ExitCode


def job(outcome: str, state: str = "waiting", **fields: Any) -> dict[str, Any]:
    base = {
        "kind": "disconnect",
        "rung": "disconnect",
        "cause": "",
        "reason": "operator",
        "why": "",
        "age_s": 65,
    }
    return base | {"outcome": outcome, "state": state} | fields


def code_of(*jobs: dict[str, Any]) -> int:
    try:
        leave_with(jobs)
    except click.exceptions.Exit as left:
        return left.exit_code
    return ExitCode.OK


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ("verified", ExitCode.OK),
        ("acked", ExitCode.OK),
        ("no-session", ExitCode.NOT_FOUND),
        ("timeout", ExitCode.UNREACHABLE),
        ("unreachable", ExitCode.UNREACHABLE),
        ("naked", ExitCode.FAILURE),
        ("unverified", ExitCode.FAILURE),
        ("unable", ExitCode.FAILURE),
        ("failed", ExitCode.FAILURE),
    ],
)
def test_each_outcome_has_its_exit_code(outcome: str, code: ExitCode) -> None:
    assert code_of(job(outcome)) == code


def test_several_sessions_of_which_some_ended_leave_with_7() -> None:
    assert code_of(job("verified"), job("timeout")) == ExitCode.PARTIAL
    assert code_of(job("timeout"), job("unreachable")) == ExitCode.UNREACHABLE


@pytest.mark.parametrize(("state", "again"), [("waiting", True), ("finished", False)])
def test_it_is_said_whether_it_is_tried_again(
    capsys: pytest.CaptureFixture[str], state: str, again: bool
) -> None:
    code_of(job("timeout", state))
    assert ("tried again" in capsys.readouterr().err) is again


def test_a_job_that_went_down_the_ladder_says_both_rungs() -> None:
    row = job_row(job("naked", kind="change", why="differs in rate", cause="unsupported-attribute"))
    assert row["what"] == "change, now disconnect"
    assert (row["result"], row["asked"]) == ("naked: unsupported-attribute", "operator: differs in rate")
    assert row["age"] == "1 min 5 s"
