"""`dotmac-edge reservation`: list, add, delete."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.client import ask, place
from daemon.cli.ipam_options import send, tell_notes
from daemon.cli.output import Column, output_option, show_one, tenant_option
from daemon.cli.pages import show_page

_PATH = "/api/v1/ipam/reservations"
_COLUMNS = (
    Column("unit", "Address"),
    Column("owner", "For"),
    Column("name", "Name"),
    Column("pool", "Pool"),
    Column("vrf", "VRF"),
    Column("state", "State"),
    Column("origin", "Defined by"),
)


@click.group("reservation")
def group() -> None:
    """Set addresses and prefixes aside for one subscriber.

    Example: dotmac-edge reservation add 192.0.2.7 alice
    """


def row(item: dict[str, Any]) -> dict[str, Any]:
    """Return a reservation as a row of a table."""
    shown = item | {"vrf": item["vrf"] or "default", "pool": item["pool"] or "(none)"}
    return {name: value for name, value in shown.items() if name != "notes"}


@group.command("list")
@click.option("--pool", help="Only in this pool.")
@click.option("--owner", help="Only for this subscriber.")
@click.option("--vrf", help="Only in this VRF; `default` is the one without a name.")
@tenant_option
@click.option("--limit", default=100, show_default=True)
@click.option("--offset", default=0)
@output_option
@click.pass_context
def list_command(context: click.Context, /, output: str, **params: object) -> None:
    """List what is set aside: by operators, and, inside pools, by the data as fixed addresses of subscribers.

    Example: dotmac-edge reservation list --pool home
    """
    show_page(ask(context, "GET", _PATH, params=params), _COLUMNS, output, row)


@group.command("add")
@click.argument("unit")
@click.argument("owner")
@click.option("--name", help="What for.")
@click.option("--pool", help="Of which pool; needed for VLANs, which are numbers only.")
@click.option("--vrf", help="In which VRF; default is the one without a name, or that of --pool.")
@tenant_option
@output_option
@click.pass_context
def add(context: click.Context, /, output: str, **params: Any) -> None:
    """Set UNIT, an address or a prefix, aside for OWNER, the id of a subscriber.

    If somebody else has it leased, that lease goes on, and the reservation holds when it is over.

    Example: dotmac-edge reservation add 192.0.2.7 alice --name "mail server"
    """
    made = send(context, "POST", _PATH, params)
    show_one(row(made) if output == "table" else made, output)
    tell_notes(made)


@group.command("delete")
@click.argument("unit")
@click.option("--pool", help="Of which pool; needed for VLANs, which are numbers only.")
@click.option("--vrf", help="In which VRF.")
@tenant_option
@click.pass_context
def delete(context: click.Context, unit: str, pool: str | None, vrf: str | None, tenant: str | None) -> None:
    """Give up a reservation. A lease of its owner goes on.

    Example: dotmac-edge reservation delete 192.0.2.7
    """
    params = {"tenant": tenant, "vrf": vrf, "pool": pool}
    gone = ask(context, "DELETE", place(_PATH, unit), params=params)
    click.echo(f"{gone['unit']} is no longer set aside for {gone['owner']}.")
