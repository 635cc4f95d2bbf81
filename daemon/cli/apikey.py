"""`dotmac-edge apikey`: create, list, revoke."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from daemon.cli.client import ask, place
from daemon.cli.output import Column, escaped, output_option, show_one, tenant_option
from daemon.cli.pages import show_page
from daemon.cli.times import when

_SPAN = re.compile(r"(\d{1,6})([smhdwy])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_ID_FIRST = ("id", "name", "purpose", "scopes", "tenant", "state")


def span(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """Return seconds for an option such as 90d; None where it was not given, or is `never`."""
    if value is None or value == "never":
        return None
    found = _SPAN.fullmatch(value)
    if found is None or not int(found[1]):
        raise click.BadParameter(f"{value!r} is no span such as 12h, 90d or 1y, and not `never`")
    return float(int(found[1]) * _UNITS[found[2]])


@click.group("apikey")
def group() -> None:
    """Look after keys and clients of the API.

    Example: dotmac-edge apikey create billing --scope viewer --tenant demo --expires 90d
    """


@group.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="SCOPE",
    help="A scope such as sessions:read, or a role: viewer, operator, provisioner, auditor, admin. Repeatable.",
)
@click.option("--tenant", metavar="ID", help="It sees and changes only this tenant.")
@click.option("--all-tenants", is_flag=True, help="It sees and changes all of them.")
@click.option(
    "--expires", callback=span, metavar="SPAN", default="1y", show_default=True, help="90d, or never."
)
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Requests a second at most."
)
@click.option("--client", is_flag=True, help="For OAuth 2 client credentials: it asks for tokens.")
@output_option
@click.pass_context
def create(context: click.Context, /, name: str, output: str, **given: Any) -> None:
    """Make a key, and show its secret this one time.

    Example: dotmac-edge apikey create billing --scope sessions:read --tenant demo --expires 90d --rate 50
    """
    if bool(given["tenant"]) == given["all_tenants"]:
        raise click.UsageError("say whose data it may touch: either --tenant ID or --all-tenants", context)
    wish = {
        "name": name,
        "scopes": list(given["scopes"]),
        "tenant": given["tenant"] or "*",
        "purpose": "client" if given["client"] else "key",
        "expires_s": given["expires"],
        "rate_per_s": given["rate"],
    }
    body = json.dumps(wish).encode()
    headers = {"Content-Type": "application/json"}
    made = ask(context, "POST", "/api/v1/api-keys", content=body, headers=headers)
    for note in made["notes"]:
        click.echo(f"Note: {escaped(note)}", err=True)
    if output != "table":
        show_one(made, output)
        return
    show_one(
        {each: made[each] for each in _ID_FIRST} | {"expires": when(made["expires_at"]) or "never"}, output
    )
    click.echo(f"\n{made['secret']}\n")
    how = "client_id is what stands before the dot" if given["client"] else "present it as X-Api-Key"
    click.echo(f"This is shown only now; {how}.", err=True)


@group.command("list")
@tenant_option
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option("--offset", type=click.IntRange(0, 1_000_000), default=0, show_default=True)
@output_option
@click.pass_context
def list_command(context: click.Context, /, output: str, **params: object) -> None:
    """List keys and clients, those that are over too.

    Example: dotmac-edge apikey list
    """
    columns = (
        Column("id", "Key"),
        Column("name", "Name"),
        Column("purpose", "For"),
        Column("tenant", "Tenant"),
        Column("scopes", "Scopes"),
        Column("state", "State"),
        Column("expires", "Expires"),
        Column("used", "Last used"),
        Column("uses", "Uses", "right"),
    )

    def row(item: dict[str, Any]) -> dict[str, Any]:
        return item | {"expires": _day(item["expires_at"]) or "never", "used": _day(item["last_used_at"])}

    show_page(ask(context, "GET", "/api/v1/api-keys", params=params), columns, output, row)


def _day(at: float | None) -> str:
    return when(at)[:10]


@group.command()
@click.argument("key")
@output_option
@click.pass_context
def revoke(context: click.Context, key: str, output: str) -> None:
    """Make a key useless at once, with the tokens that were given to it.

    Example: dotmac-edge apikey revoke k1f2e3d4c5b6a
    """
    gone = ask(context, "DELETE", place("/api/v1/api-keys", key.partition(".")[0]))
    shown = gone if output != "table" else {each: gone[each] for each in _ID_FIRST}
    show_one(shown, output)
