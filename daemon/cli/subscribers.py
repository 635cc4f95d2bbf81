"""`dotmac-edge subscriber`: list, show."""

from __future__ import annotations

from urllib.parse import quote

import click

from daemon.cli.client import ask
from daemon.cli.output import Column, output_option, show_one
from daemon.cli.pages import show_page


@click.group("subscriber")
def group() -> None:
    """Look at subscribers."""


_COLUMNS = (
    Column("id", "Subscriber"),
    Column("usernames", "User names"),
    Column("access_mode", "Access"),
    Column("plan", "Plan"),
    Column("ipv4_address", "IPv4"),
    Column("macs", "MACs"),
    Column("online", "Online", "right"),
)


@group.command("list")
@click.option("--search", help="Part of an id, user name or MAC.")
@click.option("--plan", help="Subscribers of this plan.")
@click.option("--access-mode", help="active, captive, reject or none.")
@click.option("--limit", default=100, show_default=True)
@click.option("--offset", default=0)
@output_option
@click.pass_context
def list_command(context: click.Context, /, output: str, **params: object) -> None:
    """List subscribers.

    Example: dotmac-edge subscriber list --access-mode reject
    """
    show_page(ask(context, "GET", "/api/v1/subscribers", params=params), _COLUMNS, output)


@group.command("show")
@click.argument("name")
@output_option
@click.pass_context
def show_command(context: click.Context, name: str, output: str) -> None:
    """Show one subscriber by id or user name; the secret is never shown.

    Example: dotmac-edge subscriber show alice
    """
    show_one(ask(context, "GET", f"/api/v1/subscribers/{quote(name, safe='')}"), output)
