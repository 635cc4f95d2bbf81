"""`dotmac-edge policy diff`: who would change with a data file, before it is loaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from daemon.cli.client import ask
from daemon.cli.output import Column, ExitCode, output_option, show, show_one
from daemon.cli.times import when

_KINDS = ("unchanged", "changed", "rejected", "permitted", "captive", "unanswered")
_COLUMNS = (
    Column("who", "Subscriber"),
    Column("nas", "NAS"),
    Column("what", "What"),
    Column("change", "Becomes"),
    Column("how", "How"),
)


@click.group("policy")
def group() -> None:
    """Tell who would change, before data are loaded.

    Example: dotmac-edge policy diff config/examples/provider.yaml
    """


@group.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--tenant", help="Tenant of objects that do not say whose they are.")
@click.option("--replace", is_flag=True, help="As if what the file's tenants have besides were removed.")
@click.option(
    "--recorded",
    type=click.IntRange(0, 100_000),
    default=1000,
    show_default=True,
    help="How many of the latest requests are asked again.",
)
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Most that are listed."
)
@output_option
@click.pass_context
def diff(
    context: click.Context,
    file: str,
    tenant: str | None,
    replace: bool,
    recorded: int,
    limit: int,
    output: str,
) -> None:
    """Ask the data of FILE what every live session and the latest requests would get, and say who changes and how.

    Nothing is loaded. Both the data in force and those with FILE are asked the same questions, as of now. Leaves
    with 3 where anything differs, 0 where not, 1 where the file is wrong.

    Example: dotmac-edge policy diff config/examples/provider.yaml --output json
    """
    octets = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    params = {
        "name": "stdin" if file == "-" else click.format_filename(file),
        "tenant": tenant,
        "replace": replace,
        "recorded": recorded,
        "limit": limit,
    }
    found = ask(context, "POST", "/api/v1/policy-diffs", params=params, content=octets)
    if output != "table":
        show_one(found, output)
    else:
        _print(found)
    if found["count"]:
        raise click.exceptions.Exit(ExitCode.DIFFERENCES)


def _print(found: dict[str, Any]) -> None:
    for warning in found["warnings"]:
        click.echo(f"Warning: {warning}", err=True)
    rows = [{"about": about} | found[about] for about in ("sessions", "requests")]
    show(rows, (Column("about", ""), *(Column(kind, kind.title(), "right") for kind in _KINDS)), "table")
    if found["items"]:
        click.echo()
        show([_row(item) for item in found["items"]], _COLUMNS, "table")
    rest = found["count"] - len(found["items"])
    if rest > 0:
        click.echo(f"{rest} more: --limit {found['count']}")


def _row(item: dict[str, Any]) -> dict[str, Any]:
    about = f"session {item['session']}" if item["session"] else f"request of {when(item['at'])}"
    how = [f"{each['field']}: {each['before']} -> {each['after']}" for each in item["moved"]]
    if item["before"] != item["after"]:
        how.insert(0, f"{item['before']} -> {item['after']}")
    return item | {"who": item["subscriber"] or item["username"], "what": about, "how": "; ".join(how)}
