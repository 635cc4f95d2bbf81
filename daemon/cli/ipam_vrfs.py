"""`dotmac-edge vrf`: list, add, delete."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.client import ask, place
from daemon.cli.ipam_options import send
from daemon.cli.output import Column, output_option, show, show_one, tenant_option
from daemon.cli.pages import show_page

_PATH = "/api/v1/ipam/vrfs"
_COLUMNS = (
    Column("name", "VRF"),
    Column("distinguisher", "Route distinguisher"),
    Column("pools", "Pools", "right"),
)


@click.group("vrf")
def group() -> None:
    """Document VRFs: spaces of addresses of their own. Pools, plans and prefixes name them.

    Example: dotmac-edge vrf add business --distinguisher 64500:10
    """


def _row(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"name": item["name"] or "default", "distinguisher": item["distinguisher"] or ""}


@group.command("list")
@tenant_option
@output_option
@click.pass_context
def list_command(context: click.Context, tenant: str | None, output: str) -> None:
    """List VRFs: those that are documented, and those that pools or prefixes name.

    Example: dotmac-edge vrf list
    """
    show_page(ask(context, "GET", _PATH, params={"tenant": tenant}), _COLUMNS, output, _row)


@group.command("add")
@click.argument("name")
@click.option("--distinguisher", help="Route distinguisher, such as 64500:10.")
@tenant_option
@output_option
@click.pass_context
def add(
    context: click.Context, name: str, distinguisher: str | None, tenant: str | None, output: str
) -> None:
    """Document a VRF, or change what is known of it.

    Example: dotmac-edge vrf add business --distinguisher 64500:10
    """
    body = {"name": name, "distinguisher": distinguisher, "tenant": tenant}
    made = send(context, "PUT", _PATH, body)
    if output == "table":
        show([_row(made)], _COLUMNS, output)
    else:
        show_one(made, output)


@group.command("delete")
@click.argument("name")
@tenant_option
@click.pass_context
def delete(context: click.Context, name: str, tenant: str | None) -> None:
    """Forget a VRF in which there is no pool and no prefix.

    Example: dotmac-edge vrf delete business
    """
    ask(context, "DELETE", place(_PATH, name), params={"tenant": tenant})
    click.echo(f"VRF {name} is forgotten.")
