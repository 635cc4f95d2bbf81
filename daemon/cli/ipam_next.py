"""`dotmac-edge pool next`: addresses out of a pool for one owner, once, however often it is asked."""

from __future__ import annotations

import json
import uuid

import click

from daemon.cli.client import ask, place
from daemon.cli.output import Column, output_option, show, show_one, tenant_option
from daemon.cli.times import when

_PATH = "/api/v1/ipam/pools"
_COLUMNS = (Column("address", "Address"), Column("owner", "For"), Column("until", "Held until"))


@click.command("next")
@click.argument("name")
@click.option("--owner", required=True, metavar="SUBSCRIBER", help="For whom, by id.")
@click.option("--count", type=click.IntRange(1, 100), default=1, show_default=True, help="How many.")
@click.option("--hold", type=click.Choice(["reservation", "lease"]), default="reservation", show_default=True)
@click.option("--key", help="Idempotency-Key: the same brings the same addresses again. Default: a new one.")
@tenant_option
@output_option
@click.pass_context
def next_command(
    context: click.Context,
    name: str,
    owner: str,
    count: int,
    hold: str,
    key: str | None,
    tenant: str | None,
    output: str,
) -> None:
    """Take the next free units of a pool for one owner: reserved, or leased for a short time.

    The key is printed. Repeat a command that was interrupted with its --key: nothing is taken twice.

    Example: dotmac-edge pool next home --owner alice --key order-4711
    """
    key = key or str(uuid.uuid4())
    click.echo(f"Idempotency-Key: {key}", err=True)
    body = {"owner": owner, "count": count, "hold": hold}
    found = ask(
        context,
        "POST",
        f"{place(_PATH, name)}/next-available",
        params={"tenant": tenant},
        content=json.dumps(body).encode(),
        headers={"Idempotency-Key": key},
        remedy=f"Is the daemon running? Then ask again with --key {key}",
    )
    if output != "table":
        show_one(found, output)
        return
    rows = [each | {"until": when(each["expires_at"])} for each in found["items"]]
    show(rows, _COLUMNS, output)
