"""`dotmac-edge why`: the last decisions about somebody, step by step."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.client import ask
from daemon.cli.output import Column, ExitCode, escaped, fail, output_option, show, show_one
from daemon.cli.times import when

_MARKS = {"passed": "ok", "failed": "NO"}


@click.command()
@click.argument("subject")
@click.option("--last", "limit", default=1, show_default=True, help="How many decisions.")
@output_option
@click.pass_context
def why(context: click.Context, subject: str, limit: int, output: str) -> None:
    """Tell why SUBJECT (user name, id, MAC or IP address) was accepted or rejected.

    Logins of subscribers, and of staff to devices.

    Example: dotmac-edge why alice --last 3
    """
    page = ask(context, "GET", "/api/v1/decisions", params={"subject": subject, "limit": limit})
    if output != "table":
        show_one(page, output)
    elif page["items"]:
        for decision in reversed(page["items"]):
            _print(decision)
    if not page["items"]:
        fail(
            f"no decision about {subject} is recorded since the daemon started; "
            "did the request arrive? see: dotmac-edge nas candidates",
            ExitCode.NOT_FOUND,
        )


def _print(decision: dict[str, Any]) -> None:
    staff = "" if decision["staff"] is None else " (staff)"
    click.echo(
        f"{when(decision['at'])}  {escaped(decision['username']) or '(no user name)'}{staff} from {decision['nas']} "
        f"({decision['source']}): {decision['outcome'].upper()}, {decision['reason']}"
    )
    click.echo(f"  {decision['meaning']}")
    rows = [
        {"mark": _MARKS[step["result"]], "step": step["step"], "detail": step["detail"]}
        for step in decision["steps"]
    ]
    show(rows, (Column("mark", ""), Column("step", "Step"), Column("detail", "What was found")), "table")
    for title in ("request", "reply"):
        if decision[title]:
            click.echo(f"  {title}:")
            for line in decision[title]:
                click.echo(f"    {line}")
    click.echo()
