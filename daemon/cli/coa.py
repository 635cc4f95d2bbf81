"""`dotmac-edge coa`: list, test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from daemon.cli.client import ask
from daemon.cli.output import Column, ExitCode, output_option, show_one, tenant_option
from daemon.cli.pages import show_page
from daemon.cli.times import duration

JOB_COLUMNS = (
    Column("id", "Job", "right"),
    Column("subscriber", "Subscriber"),
    Column("nas", "NAS"),
    Column("what", "What"),
    Column("state", "State"),
    Column("result", "Outcome"),
    Column("attempts", "Tries", "right"),
    Column("age", "Age", "right"),
    Column("asked", "Why"),
)
_CODES = {
    "acked": ExitCode.OK,
    "verified": ExitCode.OK,
    "no-session": ExitCode.NOT_FOUND,
    "timeout": ExitCode.UNREACHABLE,
    "unreachable": ExitCode.UNREACHABLE,
}
_SAYS = {
    "verified": "The session has ended.",
    "acked": "The NAS agreed.",
    "no-session": "The NAS knows no such session.",
    "timeout": "The NAS does not answer",
    "unreachable": "Nobody listens at the NAS's CoA port",
}


@click.group("coa")
def group() -> None:
    """Look at CoA and Disconnect jobs; test a NAS.

    Example: dotmac-edge coa list
    """


def job_row(job: dict[str, Any]) -> dict[str, Any]:
    """Return a job as the columns show it."""
    what = job["kind"] if job["rung"] == job["kind"] else f"{job['kind']}, now {job['rung']}"
    result = job["outcome"] + (f": {job['cause']}" if job["cause"] else "")
    asked = f"{job['reason']}: {job['why']}" if job["why"] else job["reason"]
    return job | {"what": what, "result": result, "age": duration(job["age_s"]), "asked": asked}


def leave_with(jobs: Sequence[dict[str, Any]]) -> None:
    """Say on standard error what became of Disconnects, and leave with the code of the worst."""
    codes = [_CODES.get(job["outcome"], ExitCode.FAILURE) for job in jobs]
    for job in jobs:
        said = _SAYS.get(job["outcome"], f"The NAS refused or could not be asked ({job['outcome']})")
        later = (
            "" if job["state"] == "finished" or said.endswith(".") else "; it is tried again: see `coa list`"
        )
        click.echo(said if said.endswith(".") else f"{said}{later}.", err=True)
    wrong = [code for code in codes if code is not ExitCode.OK]
    if wrong:
        raise click.exceptions.Exit(wrong[0] if len(wrong) == len(codes) else ExitCode.PARTIAL)


@group.command("list")
@click.option("--finished", is_flag=True, help="Those that ended lately instead, the latest first.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0)
@output_option
@click.pass_context
def list_command(context: click.Context, /, output: str, **params: object) -> None:
    """List the jobs at work, the oldest first. One that waits is tried again until its session is as wanted.

    Example: dotmac-edge coa list --finished
    """
    show_page(ask(context, "GET", "/api/v1/coa-jobs", params=params), JOB_COLUMNS, output, job_row)


@group.command("test")
@click.argument("nas")
@click.option(
    "--session", metavar="NUMBER", type=int, help="Tell this live session its own settings once more."
)
@click.option("--address", help="Where to ask, if the NAS has no live session and no coa_address.")
@tenant_option
@output_option
@click.pass_context
def test_command(context: click.Context, /, output: str, **params: object) -> None:
    """Find out whether a NAS takes CoA and Disconnects from this edge, and what to set where it does not.

    It is asked to end a session that cannot exist, which changes nothing. Takes up to 15 seconds. Leaves with 0
    when all is well, 6 when nothing comes back, 1 otherwise.

    Example: dotmac-edge coa test lab
    """
    found = ask(context, "POST", "/api/v1/coa-tests", params=params)
    show_one({name: value for name, value in found.items() if value != "" or output != "table"}, output)
    if found["verdict"] in ("unreachable", "silent"):
        raise click.exceptions.Exit(ExitCode.UNREACHABLE)
    if found["verdict"] != "ok":
        raise click.exceptions.Exit(ExitCode.FAILURE)
