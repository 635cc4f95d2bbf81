"""`dotmac-edge vlan`: list, show, next, release."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.client import ask, place
from daemon.cli.ipam_options import send
from daemon.cli.output import Column, ExitCode, fail, output_option, show_one, tenant_option
from daemon.cli.pages import show_page
from daemon.cli.times import when

_PATH = "/api/v1/ipam/vlans"
_NEXT = "/api/v1/ipam/next-vlans"
_RESERVATIONS = "/api/v1/ipam/reservations"
_COLUMNS = (
    Column("vlan", "VLAN", "right"),
    Column("kind", "Kind"),
    Column("pool", "Pool"),
    Column("domain", "Domain"),
    Column("state", "State"),
    Column("who", "Who"),
    Column("nas", "NAS"),
    Column("since", "Since"),
)


@click.group("vlan")
def group() -> None:
    """Look at VLANs of pools: who has which, which is next. Ids are unique within a pool's VRF, its domain.

    Example: dotmac-edge vlan next access --for alice
    """


def _row(item: dict[str, Any]) -> dict[str, Any]:
    return item | {
        "domain": item["domain"] or "default",
        "who": item["subscriber"] or item["owner"],
        "since": when(item["since"]),
    }


@group.command("list")
@click.argument("pool", required=False)
@tenant_option
@output_option
@click.pass_context
def list_command(context: click.Context, pool: str | None, tenant: str | None, output: str) -> None:
    """List the VLANs that are not free, of POOL or of all.

    Example: dotmac-edge vlan list access
    """
    show_page(ask(context, "GET", _PATH, params={"pool": pool, "tenant": tenant}), _COLUMNS, output, _row)


@group.command("show")
@click.argument("pool")
@click.argument("vlan", type=click.IntRange(0, 4095))
@tenant_option
@output_option
@click.pass_context
def show_command(context: click.Context, pool: str, vlan: int, tenant: str | None, output: str) -> None:
    """Show who has a VLAN of POOL.

    Example: dotmac-edge vlan show access 100
    """
    page = ask(context, "GET", _PATH, params={"pool": pool, "tenant": tenant})
    found = next((item for item in page["items"] if item["vlan"] == str(vlan)), None)
    if found is None:
        fail(f"VLAN {vlan} of pool {pool} is nobody's, or not of that pool", ExitCode.NOT_FOUND)
    show_one(_row(found) if output == "table" else found, output)


@group.command("next")
@click.argument("pool")
@click.option("--for", "owner", metavar="SUBSCRIBER", help="Set it aside for this subscriber, by id.")
@click.option("--name", help="What for.")
@tenant_option
@output_option
@click.pass_context
def next_command(
    context: click.Context, pool: str, owner: str | None, name: str | None, tenant: str | None, output: str
) -> None:
    """Tell which VLAN of POOL is free next, and with --for set it aside.

    Example: dotmac-edge vlan next access --for alice
    """
    if owner is None:
        found = ask(context, "GET", _NEXT, params={"pool": pool, "tenant": tenant})
        vlan = found["vlan"]
    else:
        body = {"pool": pool, "owner": owner, "name": name, "tenant": tenant}
        found = send(context, "POST", _NEXT, body)
        vlan = found["unit"]
    if output == "table":
        click.echo(vlan)
    else:
        show_one(found, output)


@group.command("release")
@click.argument("pool")
@click.argument("vlan", type=click.IntRange(0, 4095))
@tenant_option
@click.pass_context
def release(context: click.Context, pool: str, vlan: int, tenant: str | None) -> None:
    """Set a VLAN of POOL aside for nobody any more. A lease of it goes on until its session ends.

    Example: dotmac-edge vlan release access 100
    """
    gone = ask(context, "DELETE", place(_RESERVATIONS, str(vlan)), params={"pool": pool, "tenant": tenant})
    click.echo(f"VLAN {vlan} of pool {pool} is no longer set aside for {gone['owner']}.")
    if gone["state"] in ("tentative", "bound"):
        click.echo("It is leased until its session ends; `lease release` ends it now.")
