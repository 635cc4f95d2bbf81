"""`dotmac-edge subscriber`: list, show, usage, bindings, unbind."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.client import ask, place
from daemon.cli.output import Column, output_option, show, show_one, tenant_option
from daemon.cli.pages import show_page
from daemon.cli.times import duration, size, when


@click.group("subscriber")
def group() -> None:
    """Look at subscribers: data, use, bindings.

    Example: dotmac-edge subscriber show alice
    """


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
@click.option("--access-mode", type=click.Choice(["active", "captive", "reject", "none"]))
@tenant_option
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
@tenant_option
@output_option
@click.pass_context
def show_command(context: click.Context, name: str, tenant: str | None, output: str) -> None:
    """Show one subscriber by id or user name; the secret is never shown.

    Example: dotmac-edge subscriber show alice
    """
    show_one(ask(context, "GET", place("/api/v1/subscribers", name), params={"tenant": tenant}), output)


_WINDOWS = (
    Column("window", "Window"),
    Column("since", "Since"),
    Column("upload", "Upload", "right"),
    Column("download", "Download", "right"),
    Column("online", "Online", "right"),
    Column("gap", "Gap"),
)
_ALLOWANCES = (
    Column("name", "Allowance"),
    Column("window", "Window"),
    Column("used", "Used", "right"),
    Column("most", "Of", "right"),
    Column("left", "Left", "right"),
    Column("state", "State"),
    Column("then", "Then"),
)


@group.command()
@click.argument("name")
@tenant_option
@output_option
@click.pass_context
def usage(context: click.Context, name: str, tenant: str | None, output: str) -> None:
    """Show what a subscriber has used in each window, and how it stands with the allowances of its plan.

    A gap says why a number may not be complete. Reports count within `accounting.session_flush_s`.

    Example: dotmac-edge subscriber usage alice
    """
    found = ask(context, "GET", place("/api/v1/subscriber-usages", name), params={"tenant": tenant})
    if output != "table":
        show_one(found, output)
        return
    click.echo(f"{found['subscriber']}, plan {found['plan'] or 'none'}, counted until: {_counted(found)}")
    show([_window(each) for each in found["windows"]], _WINDOWS, output)
    if found["allowances"]:
        click.echo()
        show([_allowance(each) for each in found["allowances"]], _ALLOWANCES, output)


def _counted(found: dict[str, Any]) -> str:
    return when(found["counted_until"]) or "never online here"


def _window(item: dict[str, Any]) -> dict[str, Any]:
    return item | {
        "since": when(item["starts_at"] or None),
        "upload": size(item["octets_upload"]),
        "download": size(item["octets_download"]),
        "online": duration(item["seconds"]),
    }


def _allowance(item: dict[str, Any]) -> dict[str, Any]:
    text = size if item["measure"] == "octets" else duration
    state = "acts" if item["acts"] else "used up, but the count has gaps" if item["reached"] else ""
    amounts = {name: text(item[name]) for name in ("used", "most", "left")}
    return item | amounts | {"state": state or item["gap"]}


@group.command()
@click.argument("name", required=False)
@tenant_option
@output_option
@click.pass_context
def bindings(context: click.Context, name: str | None, tenant: str | None, output: str) -> None:
    """List what first logins have tied subscribers to, or show that of one.

    Example: dotmac-edge subscriber bindings alice
    """
    columns = tuple(
        Column(key, key.title()) for key in ("subscriber", "mac", "circuit", "vlan", "port", "learned")
    )

    def row(item: dict[str, Any]) -> dict[str, Any]:
        return item | {"learned": when(item["learned_at"])}

    if name is None:
        page = ask(context, "GET", "/api/v1/subscriber-bindings", params={"tenant": tenant})
        show_page(page, columns, output, row)
        return
    found = ask(context, "GET", place("/api/v1/subscriber-bindings", name), params={"tenant": tenant})
    show_one(row(found) if output == "table" else found, output)


@group.command()
@click.argument("name")
@tenant_option
@click.pass_context
def unbind(context: click.Context, name: str, tenant: str | None) -> None:
    """Forget what a subscriber is tied to: its next login is learned anew, for example after a new router.

    Example: dotmac-edge subscriber unbind alice
    """
    ask(context, "DELETE", place("/api/v1/subscriber-bindings", name), params={"tenant": tenant})
    click.echo(f"{name} is tied to nothing; the next login is learned.")
