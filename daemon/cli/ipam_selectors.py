"""`dotmac-edge selector`: list, add, delete, test."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.client import ask, place
from daemon.cli.ipam_options import send, tell_notes
from daemon.cli.output import Column, output_option, show, show_one, tenant_option
from daemon.cli.pages import show_page

_PATH = "/api/v1/ipam/selectors"
_COLUMNS = (
    Column("priority", "Order", "right"),
    Column("name", "Selector"),
    Column("logins", "Logins of"),
    Column("takes", "Pools"),
    Column("origin", "Defined by"),
)


@click.group("selector")
def group() -> None:
    """Say which logins are served from which pools.

    Example: dotmac-edge selector add home --plan home-100 --pool v4=home,spare --pool pd=pd
    """


def _row(item: dict[str, Any]) -> dict[str, Any]:
    match = item["match"]
    said = [f"{name} {match[name]}" for name in ("plan", "nas", "site") if match[name] is not None]
    if match["attribute"] is not None:
        said.append("=".join(match["attribute"]))
    takes = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in item["pools"].items())
    return item | {"logins": ", ".join(said) or "everybody", "takes": takes}


@group.command("list")
@tenant_option
@output_option
@click.pass_context
def list_command(context: click.Context, tenant: str | None, output: str) -> None:
    """List selectors in the order in which they are asked.

    Example: dotmac-edge selector list
    """
    show_page(ask(context, "GET", _PATH, params={"tenant": tenant}), _COLUMNS, output, _row)


def _pools(_context: click.Context, _option: click.Parameter, value: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in value:
        kind, equals, names = each.partition("=")
        if not equals or not names:
            raise click.BadParameter(f"{each!r} is not KIND=POOL,POOL such as v4=home,spare")
        found[kind] = [name.strip() for name in names.split(",")]
    return found


def _attribute(_context: click.Context, _option: click.Parameter, value: str | None) -> list[str] | None:
    if value is None:
        return None
    name, equals, text = value.partition("=")
    if not equals:
        raise click.BadParameter(f"{value!r} is not NAME=VALUE such as Connect-Info=fibre")
    return [name, text]


@group.command("add")
@click.argument("name")
@click.option("--pool", "pools", multiple=True, required=True, callback=_pools, help="v4=home,spare by kind.")
@click.option("--plan", help="Only logins with this plan.")
@click.option("--nas", help="Only logins at this NAS.")
@click.option("--site", help="Only logins at NASes of this site.")
@click.option("--attribute", callback=_attribute, help="Only with this attribute, NAME=VALUE.")
@click.option("--priority", default=100, show_default=True, help="The lowest is asked first.")
@tenant_option
@output_option
@click.pass_context
def add(
    context: click.Context,
    /,
    name: str,
    pools: dict[str, list[str]],
    priority: int,
    tenant: str | None,
    output: str,
    **match: Any,
) -> None:
    """Add a selector, or replace it. For each kind the first selector that matches a login decides.

    Example: dotmac-edge selector add home --plan home-100 --pool v4=home,spare --pool pd=pd
    """
    body = {"name": name, "tenant": tenant, "priority": priority, "match": match, "pools": pools}
    made = send(context, "POST", _PATH, body)
    if output != "table":
        show_one(made, output)
    else:
        show([_row(made)], _COLUMNS, output)
    tell_notes(made)


@group.command("delete")
@click.argument("name")
@tenant_option
@click.pass_context
def delete(context: click.Context, name: str, tenant: str | None) -> None:
    """Delete a selector. Leases stay; the next logins are served by the others.

    Example: dotmac-edge selector delete home
    """
    ask(context, "DELETE", place(_PATH, name), params={"tenant": tenant})
    click.echo(f"Selector {name} is deleted.")


@group.command("test")
@click.argument("subscriber")
@click.option("--nas", help="As if at this NAS.")
@click.option("--attribute", help="As if with this attribute, NAME=VALUE.")
@tenant_option
@output_option
@click.pass_context
def test(
    context: click.Context,
    subscriber: str,
    nas: str | None,
    attribute: str | None,
    tenant: str | None,
    output: str,
) -> None:
    """Tell which pools a login of SUBSCRIBER would be served from, in which order, and by which selector.

    Nothing is leased. `why SUBSCRIBER` tells of a login that took place.

    Example: dotmac-edge selector test alice --nas lab
    """
    params = {"subscriber": subscriber, "nas": nas, "attribute": attribute, "tenant": tenant}
    found = ask(context, "GET", "/api/v1/ipam/selections", params=params)
    if output != "table":
        show_one(found, output)
        return
    where = f" at {found['nas']}" if found["nas"] else ""
    click.echo(f"{found['subscriber']} with plan {found['plan'] or '(none)'}{where}")
    if found["fixed"]:
        click.echo(f"Given by the data, from no pool: {', '.join(found['fixed'])}")
    if not found["pools"]:
        click.echo("No selector names a pool for this login.")
        return
    columns = (
        Column("kind", "Kind"),
        Column("pool", "Pool"),
        Column("free", "Free", "right"),
        Column("selector", "Selector"),
        Column("note", "Note"),
    )
    rows = [
        each | {"note": each["note"] or ("only if those above are full" if each["fallback"] else "")}
        for each in found["pools"]
    ]
    show(rows, columns, output)
