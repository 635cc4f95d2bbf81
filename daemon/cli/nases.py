"""`dotmac-edge nas`: list, show, candidates."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.client import ask, place
from daemon.cli.output import Column, output_option, show_one, tenant_option
from daemon.cli.pages import show_page
from daemon.cli.times import when


@click.group("nas")
def group() -> None:
    """Look at NASes, and at unknown sources.

    Example: dotmac-edge nas list
    """


@group.command("list")
@tenant_option
@output_option
@click.pass_context
def list_command(context: click.Context, tenant: str | None, output: str) -> None:
    """List the NASes of the replica.

    Example: dotmac-edge nas list
    """
    columns = (
        Column("id", "NAS"),
        Column("prefixes", "Addresses"),
        Column("vendor", "Vendor"),
        Column("site", "Site"),
        Column("takes_coa", "CoA"),
        Column("message_authenticator", "Message-Auth."),
        Column("sessions", "Sessions", "right"),
        Column("signed_requests", "Signed", "right"),
        Column("unsigned_requests", "Unsigned", "right"),
    )

    def row(item: dict[str, Any]) -> dict[str, Any]:
        port = item["coa_port"]
        return item | {"takes_coa": f"port {port}" if item["coa"] else "no"}

    show_page(ask(context, "GET", "/api/v1/nas", params={"tenant": tenant}), columns, output, row)


@group.command("show")
@click.argument("name")
@tenant_option
@output_option
@click.pass_context
def show_command(context: click.Context, name: str, tenant: str | None, output: str) -> None:
    """Show one NAS, and what its requests advise to change.

    Example: dotmac-edge nas show lab
    """
    show_one(ask(context, "GET", place("/api/v1/nas", name), params={"tenant": tenant}), output)


@group.command()
@output_option
@click.pass_context
def candidates(context: click.Context, output: str) -> None:
    """List sources that send RADIUS and are no NAS of ours, latest first.

    Example: dotmac-edge nas candidates
    """
    columns = (
        Column("address", "Address"),
        Column("nas_identifier", "NAS-Identifier"),
        Column("code", "Sends"),
        Column("packets", "Packets", "right"),
        Column("first", "First"),
        Column("last", "Last"),
    )

    def row(item: dict[str, Any]) -> dict[str, Any]:
        return item | {"first": when(item["first_at"]), "last": when(item["last_at"])}

    page = ask(context, "GET", "/api/v1/nas-candidates")
    show_page(page, columns, output, row)
    if page["items"] and output == "table":
        click.echo("To admit one, load an object of kind nas with its address and the shared secret.")
