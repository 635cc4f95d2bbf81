"""`dotmac-edge plan`: list, show, render."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.client import ask, place
from daemon.cli.output import Column, ExitCode, Lines, output_option, show, show_one, tenant_option
from daemon.cli.pages import show_page
from daemon.cli.times import moment

_COLUMNS = (
    Column("id", "Plan"),
    Column("name", "Name"),
    Column("download", "Download", "right"),
    Column("upload", "Upload", "right"),
    Column("rules", "Rules"),
    Column("subscribers", "Subscribers", "right"),
)
_RULES = (
    "login_hours",
    "nases",
    "sites",
    "simultaneous_use",
    "bind",
    "allowances",
    "rate_hours",
    "treatments",
)


@click.group("plan")
def group() -> None:
    """Look at plans, and at what they say on the wire.

    Example: dotmac-edge plan render home-100 --nas lab
    """


@group.command("list")
@tenant_option
@output_option
@click.pass_context
def list_command(context: click.Context, tenant: str | None, output: str) -> None:
    """List the plans of the replica, with the names of the rules that each has.

    Example: dotmac-edge plan list
    """

    def row(item: dict[str, Any]) -> dict[str, Any]:
        body = item["body"]
        said = {name: body.get(name) for name in ("name", "download", "upload")}
        return item | said | {"rules": [name for name in _RULES if name in body]}

    show_page(ask(context, "GET", "/api/v1/plans", params={"tenant": tenant}), _COLUMNS, output, row)


@group.command("show")
@click.argument("name")
@tenant_option
@output_option
@click.pass_context
def show_command(context: click.Context, name: str, tenant: str | None, output: str) -> None:
    """Show one plan with all its rules, in the words of the data file, and what NASes cannot be told of it.

    Example: dotmac-edge plan show saver-30
    """
    found = ask(context, "GET", place("/api/v1/plans", name), params={"tenant": tenant})
    if output != "table":
        show_one(found, output)
        return
    fields = {"id": found["id"], "tenant": found["tenant"], "subscribers": found["subscribers"]}
    lines = {name: _lines(value) for name, value in found["body"].items()}
    unsaid = {f"not said to {nas}": ", ".join(names) for nas, names in found["unsaid"].items()}
    show_one(fields | lines | unsaid, output)


def _lines(value: object) -> str:
    """Return a value of the data file on lines of their own for each of a list's entries."""
    if isinstance(value, list):
        return Lines("\n".join(_lines(each) for each in value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(each)}" for name, each in value.items())
    return _short(value)


def _short(value: object) -> str:
    if isinstance(value, dict):
        return "(" + _lines(value) + ")"
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return {True: "yes", False: "no"}.get(value, "") if isinstance(value, bool) else str(value)


@group.command()
@click.argument("plan")
@click.option("--nas", required=True, help="The NAS it is said to; its vendor decides on the attributes.")
@click.option("--subscriber", help="As if this subscriber had the plan, by id or user name.")
@click.option("--captive", is_flag=True, help="The walled garden instead of the plan.")
@click.option(
    "--access",
    type=click.Choice(["ppp", "ipoe"]),
    default="ppp",
    show_default=True,
    help="How the subscriber connects, for a plan that leaves it to the request.",
)
@click.option(
    "--at", callback=moment, metavar="TIME", help="As of that time: rates by the hour, login hours."
)
@tenant_option
@output_option
@click.pass_context
def render(context: click.Context, /, output: str, **params: object) -> None:
    """Print the attributes that PLAN puts on the wire, where each comes from, and what stays unsaid.

    With --subscriber or --at the rules of the plan are asked, too: allowances, hours, places. Timers are as planned;
    at a login they are spread. Leaves with 5 where a login would be refused.

    Example: dotmac-edge plan render home-100 --nas lab --subscriber dave
    """
    found = ask(context, "GET", "/api/v1/renderings", params=params)
    if output != "table":
        show_one(found, output)
    else:
        _print(found)
    if found["answer"] == "reject":
        raise click.exceptions.Exit(ExitCode.DENIED)


def _print(found: dict[str, Any]) -> None:
    who = f" for {found['subscriber']}" if found["subscriber"] else ""
    reason = f", {found['reason']}" if found["reason"] else ""
    click.echo(f"{found['plan']}{who} on {found['nas']} ({found['vendor']}): {found['answer']}{reason}")
    click.echo(f"  {found['meaning']}")
    if found["attributes"]:
        columns = (Column("text", "Attribute"), Column("source", "From"), Column("hex", "Octets"))
        show(found["attributes"], columns, "table")
    if found["unsaid"]:
        click.echo(f"Not said, because {found['vendor']} has no words for it: {', '.join(found['unsaid'])}")
