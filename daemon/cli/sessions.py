"""`dotmac-edge session`: list, show."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from daemon.cli.client import ask
from daemon.cli.output import Column, output_option, show_one
from daemon.cli.pages import show_page
from daemon.cli.times import size, when


@click.group("session")
def group() -> None:
    """Look at sessions."""


_COLUMNS = (
    Column("username", "User"),
    Column("nas", "NAS"),
    Column("acct_session_id", "Session"),
    Column("state", "State"),
    Column("framed_ip_address", "Address"),
    Column("upload", "Upload", "right"),
    Column("download", "Download", "right"),
    Column("started", "Started"),
    Column("cause", "Ended by"),
)


def _row(item: dict[str, Any]) -> dict[str, Any]:
    return item | {
        "upload": size(item["octets_upload"]),
        "download": size(item["octets_download"]),
        "started": when(item["started_at"]),
        "cause": item["terminate_cause"] or "",
    }


@group.command("list")
@click.option("--username", help="Sessions of this user name.")
@click.option("--nas", help="Sessions on this NAS.")
@click.option("--address", help="Sessions with this IPv4 address.")
@click.option("--state", type=click.Choice(["active", "closed"]), help="Only sessions in this state.")
@click.option("--limit", default=100, show_default=True)
@click.option("--offset", default=0)
@output_option
@click.pass_context
def list_command(context: click.Context, /, output: str, **params: object) -> None:
    """List sessions, the latest first; traffic is seen from the subscriber.

    Example: dotmac-edge session list --state active --nas lab
    """
    show_page(ask(context, "GET", "/api/v1/sessions", params=params), _COLUMNS, output, _row)


@group.command("show")
@click.argument("name")
@output_option
@click.pass_context
def show_command(context: click.Context, name: str, output: str) -> None:
    """Show one session by its number or its Acct-Session-Id.

    Example: dotmac-edge session show 8100000a
    """
    found = ask(context, "GET", f"/api/v1/sessions/{quote(name, safe='')}")
    if output == "table":
        for key in ("started_at", "updated_at", "closed_at"):
            found[key] = when(found[key]) or None
        for key in ("octets_upload", "octets_download"):
            found[key] = f"{found[key]} ({size(found[key])})"
    show_one(found, output)
