"""`dotmac-edge event list` and `dotmac-edge storm show`."""

from __future__ import annotations

import time
from typing import Any

import click

from daemon.cli.client import ask
from daemon.cli.output import Column, escaped, json_text, output_option, show, show_one, yaml_text
from daemon.cli.times import moment, when

_EVERY_S = 1.0
_COLUMNS = (
    Column("when", "When"),
    Column("kind", "Event"),
    Column("subscriber", "Subscriber"),
    Column("nas", "NAS"),
    Column("reason", "Reason"),
    Column("details", "Details"),
)


@click.group("event")
def group() -> None:
    """Look at what happened lately.

    Example: dotmac-edge event list --since 1h
    """


@group.command("list")
@click.option("--kind", help="Only of this kind; a wrong one names them all.")
@click.option("--subscriber", help="Only about this subscriber.")
@click.option("--nas", help="Only about this NAS.")
@click.option("--since", callback=moment, metavar="TIME", help="Not before: a time, or a span such as 15m.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option("--follow", is_flag=True, help="Go on with what happens, a line each, until stopped.")
@output_option
@click.pass_context
def list_command(
    context: click.Context,
    /,
    since: float | None,
    limit: int,
    follow: bool,
    output: str,
    **wanted: str | None,
) -> None:
    """List events: suspects and ghosts, deviating sessions, CoA outcomes, allowances, storms, staff logins.

    They are kept in memory, 10,000 of them.

    Example: dotmac-edge event list --kind coa-outcome --since 1h
    """
    page = ask(context, "GET", "/api/v1/recent-events", params={"since": since, "limit": limit, **wanted})
    if follow:
        _follow(context, page, wanted, output)
    if output != "table":
        show_one(page, output)
    elif page["items"]:
        show([_row(item) for item in page["items"]], _COLUMNS, output)
    else:
        click.echo("None.")


def _row(item: dict[str, Any]) -> dict[str, Any]:
    details = ", ".join(f"{name} {value}" for name, value in item["fields"].items() if value != "")
    return item | {"when": when(item["at"]), "details": details}


def _follow(context: click.Context, page: dict[str, Any], wanted: dict[str, str | None], output: str) -> None:
    """Print events for ever, the oldest first; JSON is one object a line then, YAML one document each."""
    items = page["items"][::-1]
    while True:
        for item in items:
            click.echo(_followed(item, output))
        time.sleep(_EVERY_S)
        page = ask(context, "GET", "/api/v1/recent-events", params={"after_seq": page["last_seq"], **wanted})
        items = page["items"]


def _followed(item: dict[str, Any], output: str) -> str:
    if output == "table":
        return _line(item)
    if output == "json":
        return json_text(item)
    return yaml_text(item, start=True)


def _line(item: dict[str, Any]) -> str:
    row = _row(item)
    about = [row[name] for name in ("subscriber", "nas", "reason", "details") if row[name]]
    return escaped("  ".join((row["when"], row["kind"], *about)))


@click.group()
def storm() -> None:
    """Tell whether subscribers come back in a storm.

    Example: dotmac-edge storm show
    """


@storm.command("show")
@output_option
@click.pass_context
def storm_show(context: click.Context, output: str) -> None:
    """Show whether many more logins come than usual, since when and why, and what waits meanwhile.

    Example: dotmac-edge storm show
    """
    found = ask(context, "GET", "/api/v1/storm")
    if output != "table":
        show_one(found, output)
        return
    show_one(
        {
            "storm": f"since {when(found['since'])} ({found['reason']})" if found["active"] else "no",
            "most from": found["nas"],
            "logins": f"{found['access_per_s']:.1f} a second, usual are {found['usual_per_s']:.1f}",
            "repeats": f"{found['repeats_share']:.0%} of all datagrams",
            "do not hear us": ", ".join(found["deaf"]) or "none",
            "interims held": found["interims_held"],
            "interims put together": found["interims_coalesced"],
        },
        output,
    )
