"""`dotmac-edge prefix`: tree, list, show, add, delete."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from daemon.cli.client import Json, ask, place
from daemon.cli.ipam_options import bar, percent, send
from daemon.cli.output import Column, escaped, output_option, show_one, tenant_option
from daemon.cli.pages import show_page

_PATH = "/api/v1/ipam/prefixes"
_STATES = ("container", "active", "reserved", "deprecated")
_MOST = 10_000
_COLUMNS = (
    Column("prefix", "Prefix"),
    Column("name", "Name"),
    Column("role", "Role"),
    Column("site", "Site"),
    Column("state", "State"),
    Column("vrf", "VRF"),
    Column("slots", "Units", "right"),
    Column("used", "Used", "right"),
)
_TREE_WIDTH = 46


@click.group("prefix")
def group() -> None:
    """Document prefixes as a tree, and find free ones.

    Example: dotmac-edge prefix tree
    """


def _row(item: dict[str, Any]) -> dict[str, Any]:
    used = percent(item["used_percent"]) if item["slots"] else ""
    return item | {"vrf": item["vrf"] or "default", "used": used}


@group.command("list")
@click.option("--vrf", help="Only in this VRF; `default` is the one without a name.")
@click.option("--under", help="Only inside this prefix.")
@tenant_option
@click.option("--limit", default=1000, show_default=True)
@click.option("--offset", default=0)
@output_option
@click.pass_context
def list_command(context: click.Context, /, output: str, **params: object) -> None:
    """List prefixes. Units are those of the pools inside.

    Example: dotmac-edge prefix list --under 2001:db8::/32
    """
    show_page(ask(context, "GET", _PATH, params=params), _COLUMNS, output, _row)


@group.command("tree")
@click.option("--vrf", help="Only in this VRF; `default` is the one without a name.")
@click.option("--under", help="Only inside this prefix.")
@tenant_option
@output_option
@click.pass_context
def tree(context: click.Context, vrf: str | None, under: str | None, tenant: str | None, output: str) -> None:
    """Draw prefixes as a tree, with the pools in them as leaves and how much of each is used.

    Example: dotmac-edge prefix tree
    """
    params = {"tenant": tenant, "vrf": vrf, "under": under, "limit": _MOST}
    page = ask(context, "GET", _PATH, params=params)
    if output != "table":
        show_one(page, output)
        return
    if not page["items"]:
        click.echo("None. `prefix add` documents one.")
    where = None
    for item in page["items"]:
        if (item["tenant"], item["vrf"]) != where:
            where = item["tenant"], item["vrf"]
            click.echo(escaped(f"Tenant {item['tenant']}, VRF {item['vrf'] or 'default'}"))
        for line in _lines(item):
            click.echo(escaped(line))
    rest = page["count"] - len(page["items"])
    if rest > 0:
        click.echo(f"{rest} more: see a part with --under")


def _lines(item: Json) -> Iterable[str]:
    """Yield the line of a prefix and those of the pools directly in it."""
    indent = "  " * (item["depth"] + 1)
    about = " ".join(
        each for each in (item["role"], item["site"] and f"at {item['site']}", item["name"]) if each
    )
    state = "" if item["state"] == "active" else f" ({item['state']})"
    yield _line(f"{indent}{item['prefix']}{state}", item, about)
    for pool in item["pools"]:
        yield _line(f"{indent}  pool {pool['name']} ({pool['kind']})", pool, "")


def _line(left: str, use: Json, about: str) -> str:
    shown = f"{bar(use['used_percent'])} {percent(use['used_percent']):>8}" if use["slots"] else " " * 19
    return f"{left:<{_TREE_WIDTH}} {shown}  {about}".rstrip()[:100]


@group.command("show")
@click.argument("prefix")
@click.option("--vrf", help="In which VRF.")
@tenant_option
@output_option
@click.pass_context
def show_command(
    context: click.Context, prefix: str, vrf: str | None, tenant: str | None, output: str
) -> None:
    """Show one prefix, with what lies in it.

    Example: dotmac-edge prefix show 192.0.2.0/24
    """
    found = ask(context, "GET", place(_PATH, prefix), params={"tenant": tenant, "vrf": vrf})
    _show(found, output)


def _show(found: Json, output: str) -> None:
    if output == "table":
        found["vrf"] = found["vrf"] or "default"
        found["used_percent"] = percent(found["used_percent"])
        found["pools"] = [f"{pool['name']} ({percent(pool['used_percent'])})" for pool in found["pools"]]
        found = {name: value for name, value in found.items() if value not in ("", [])}
    show_one(found, output)


@group.command("add")
@click.argument("prefix", required=False)
@click.option("--under", help="Instead of PREFIX: the next free one under this prefix.")
@click.option("--length", type=click.IntRange(0, 128), help="Of the next free one.")
@click.option("--role", help="What it is for: infrastructure, customers, ...")
@click.option("--site", help="Where it is.")
@click.option("--state", type=click.Choice(_STATES), help="active by default.")
@click.option("--name", help="What people call it.")
@click.option("--vrf", help="In which VRF.")
@tenant_option
@output_option
@click.pass_context
def add(
    context: click.Context,
    /,
    prefix: str | None,
    under: str | None,
    length: int | None,
    output: str,
    vrf: str | None,
    tenant: str | None,
    **about: Any,
) -> None:
    """Document PREFIX, or the next free one under another. Its place in the tree is found by itself.

    Free is what neither a prefix nor a pool lies in.

    Example: dotmac-edge prefix add --under 2001:db8::/32 --length 40
    """
    if (prefix is None) is (under is None) or (under is None) is not (length is None):
        raise click.UsageError("give a PREFIX, or --under PREFIX with --length")
    if under is None:
        body = {"prefix": prefix, "vrf": vrf, "tenant": tenant} | about
        made = send(context, "POST", _PATH, body)
    else:
        path = f"{place(_PATH, under)}/next-available"
        made = send(context, "POST", path, {"length": length} | about, params={"tenant": tenant, "vrf": vrf})
    _show(made, output)


@group.command("delete")
@click.argument("prefix")
@click.option("--vrf", help="In which VRF.")
@tenant_option
@click.pass_context
def delete(context: click.Context, prefix: str, vrf: str | None, tenant: str | None) -> None:
    """Forget a prefix; those under it go to the one above it. Pools stay.

    Example: dotmac-edge prefix delete 192.0.2.0/24
    """
    ask(context, "DELETE", place(_PATH, prefix), params={"tenant": tenant, "vrf": vrf})
    click.echo(f"Prefix {prefix} is forgotten.")
