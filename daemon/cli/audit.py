"""`dotmac-edge audit`: list."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.client import ask
from daemon.cli.output import Column, output_option, tenant_option
from daemon.cli.pages import show_page
from daemon.cli.times import moment, when


@click.group("audit")
def group() -> None:
    """Look at who asked for personal data, when and why.

    Example: dotmac-edge audit list --since 7d
    """


@group.command("list")
@click.option("--actor", metavar="NAME", help="Only by this one, as the list shows it.")
@click.option("--action", metavar="NAME", help="Only this, such as who-had.")
@click.option("--since", callback=moment, metavar="TIME", help="Not before: a time, or a span such as 7d.")
@click.option("--until", callback=moment, metavar="TIME", help="Not after.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option("--offset", type=click.IntRange(0, 1_000_000), default=0, show_default=True)
@tenant_option
@output_option
@click.pass_context
def list_command(context: click.Context, /, output: str, **params: object) -> None:
    """List the audit, the latest first.

    Example: dotmac-edge audit list --action who-had --since 30d
    """
    columns = (
        Column("when", "When"),
        Column("actor", "Who"),
        Column("action", "Action"),
        Column("subject", "Of what"),
        Column("reason", "Reason"),
        Column("result", "Result"),
    )
    page = ask(context, "GET", "/api/v1/audit", params=params)
    shown = tuple(
        each for each in columns if each.key == "when" or any(item.get(each.key) for item in page["items"])
    )

    def row(item: dict[str, Any]) -> dict[str, Any]:
        return item | {"when": when(item["at"]), "action": item["action"].replace("/api/v1/", "/")}

    show_page(page, shown, output, row)
