"""`dotmac-edge lease`: list, show, release, decline, disable, enable, history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from daemon.cli.client import Json, ask, place
from daemon.cli.coa import JOB_COLUMNS, job_row
from daemon.cli.output import Column, ExitCode, output_option, show, show_one, tenant_option
from daemon.cli.times import moment, when

_Command = TypeVar("_Command", bound=Callable[..., Any])
_STATES = ("free", "tentative", "bound", "held", "quarantined", "declined", "reserved", "disabled")

_COLUMNS = (
    Column("address", "Address"),
    Column("state", "State"),
    Column("who", "Who"),
    Column("nas", "NAS"),
    Column("session", "Session", "right"),
    Column("pool", "Pool"),
    Column("since", "Since"),
)
_EVENT_COLUMNS = (
    Column("time", "When"),
    Column("address", "Address"),
    Column("change", "Change"),
    Column("cause", "Why"),
    Column("who", "Who"),
    Column("session", "Session", "right"),
    Column("nas", "NAS"),
)


@click.group("lease")
def group() -> None:
    """Look at leases of addresses, prefixes and VLANs; end them, keep single addresses from being given out.

    ADDRESS is an address, a prefix, an address inside of one, svlan:NUMBER, cvlan:NUMBER, ADDRESS:PORT of a CGNAT,
    or the number of a lease.

    Example: dotmac-edge lease list --pool home --state bound
    """


def _vrf_option(command: _Command) -> _Command:
    return click.option(
        "--vrf", metavar="NAME", help="Only in this VRF; 'default' for the one without a name."
    )(command)


def _row(item: dict[str, Any]) -> dict[str, Any]:
    return item | {"who": item["subscriber"] or item["owner"], "since": when(item["since_at"])}


def _event_row(item: dict[str, Any]) -> dict[str, Any]:
    plain = item["length"] in (32, 128) and "/" not in item["address"]
    address = item["address"] if plain or not _is_prefix(item) else f"{item['address']}/{item['length']}"
    change = item["new"] if item["old"] == item["new"] else f"{item['old']} -> {item['new']}"
    cause = item["cause"] + (f": {item['seen']}" if item["seen"] else "")
    who = item["subscriber"] or item["owner"]
    return item | {"time": when(item["at"]), "address": address, "change": change, "cause": cause, "who": who}


def _is_prefix(item: dict[str, Any]) -> bool:
    return item["kind"] in ("pd", "v6-prefix", "fixed")


def _pages(
    context: click.Context, path: str, params: dict[str, object], limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Return up to `limit` items, from as many pages as it takes, and the cursor of what follows."""
    items: list[dict[str, Any]] = []
    cursor = params.get("cursor")
    while True:
        most = min(limit - len(items), 1000)
        page = ask(context, "GET", path, params=params | {"cursor": cursor, "limit": most})
        items += page["items"]
        cursor = page["next"]
        if cursor is None or len(items) >= limit:
            return items, None if cursor is None else str(cursor)


def _show_items(
    items: list[dict[str, Any]],
    following: str | None,
    columns: tuple[Column, ...],
    output: str,
    row: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    if output != "table":
        show_one({"items": items, "next": following}, output)
        return
    if not items:
        click.echo("None.")
        return
    show([row(item) for item in items], columns, output)
    if following is not None:
        click.echo(f"There are more: --limit NUMBER, or go on with --cursor {following}")


_LIMIT = click.option("--limit", type=click.IntRange(1, 1_000_000), default=100, show_default=True)
_CURSOR = click.option("--cursor", metavar="TEXT", help="Go on where a list ended that said so.")


@group.command("list")
@click.option("--pool", metavar="NAME", help="Only of this pool.")
@click.option("--state", type=click.Choice(_STATES), help="Only in this state; all but free without it.")
@click.option("--subscriber", metavar="ID", help="Only of this subscriber.")
@click.option("--owner", metavar="KEY", help="Only of this owner key, as `lease show` tells it.")
@click.option("--nas", metavar="ID", help="Only of logins at this NAS.")
@click.option("--session", metavar="NUMBER", help="Only of this session.")
@click.option("--prefix", metavar="PREFIX", help="Only inside this prefix.")
@tenant_option
@_vrf_option
@_LIMIT
@_CURSOR
@output_option
@click.pass_context
def list_command(context: click.Context, /, output: str, limit: int, **params: object) -> None:
    """List leases by pool, in the order in which their addresses were first used.

    Example: dotmac-edge lease list --pool home --state held --limit 1000
    """
    items, following = _pages(context, "/api/v1/ipam/leases", params, limit)
    _show_items(items, following, _COLUMNS, output, _row)


@group.command("show")
@click.argument("address")
@tenant_option
@_vrf_option
@output_option
@click.pass_context
def show_command(
    context: click.Context, address: str, tenant: str | None, vrf: str | None, output: str
) -> None:
    """Show one lease: whose it is, what else its login has, and the latest of its history.

    Example: dotmac-edge lease show 203.0.113.7
    """
    where = place("/api/v1/ipam/leases", address)
    found = ask(context, "GET", where, params={"tenant": tenant, "vrf": vrf})
    if output != "table":
        show_one(found, output)
        return
    show_one(_lease_fields(found["lease"], found["with_it"]), output)
    if found["history"]:
        click.echo("")
        show([_event_row(each) for each in found["history"]], _EVENT_COLUMNS, output)


def _lease_fields(lease: dict[str, Any], with_it: list[dict[str, Any]]) -> dict[str, Any]:
    fields = {name: value for name, value in lease.items() if value not in ("", "0", None)}
    for name in ("since_at", "expires_at"):
        if name in fields:
            fields[name] = when(fields[name])
    if with_it:
        fields["with_it"] = ", ".join(each["address"] for each in with_it)
    return fields


@group.command()
@click.argument("address")
@click.option("--disconnect", is_flag=True, help="End a live session, and with it the lease.")
@click.option("--force", is_flag=True, help="Release it though its session lives and goes on using it.")
@click.option("--reason", metavar="TEXT", help="Why, for the audit and events.")
@tenant_option
@_vrf_option
@output_option
@click.pass_context
def release(context: click.Context, /, address: str, output: str, **params: object) -> None:
    """End a lease, and with it all leases of the same login.

    The address is kept for its owner, and from others, for the times that its pool says. Leaves with 1 where a live
    session has it and neither --disconnect nor --force is given, 7 where the session has not ended yet.

    Example: dotmac-edge lease release 203.0.113.7 --disconnect --reason "ticket 4711"
    """
    done = _act(context, address, "release", params)
    _say(done, output)
    if done["jobs"] and not done["done"]:
        raise click.exceptions.Exit(ExitCode.PARTIAL)


def _act(context: click.Context, address: str, action: str, params: dict[str, object]) -> Json:
    path = f"{place('/api/v1/ipam/leases', address)}/{action}"
    return ask(context, "POST", path, params=params)


def _say(done: dict[str, Any], output: str) -> None:
    if output != "table":
        show_one(done, output)
        return
    click.echo(f"{done['lease']['address']}: {done['says']}.")
    if done["jobs"]:
        show([job_row(job) for job in done["jobs"]], JOB_COLUMNS, output)


def _single(name: str, text: str) -> None:
    """Add a command that does one thing to one address."""

    @group.command(name, help=text)
    @click.argument("address")
    @click.option("--reason", metavar="TEXT", help="Why, for the audit.")
    @tenant_option
    @_vrf_option
    @output_option
    @click.pass_context
    def command(context: click.Context, /, address: str, output: str, **params: object) -> None:
        _say(_act(context, address, name, params), output)


_single(
    "decline",
    """Say that somebody else uses an address: its lease ends, and nobody gets it for the pool's decline time.

    Example: dotmac-edge lease decline 203.0.113.7 --reason "answers to ARP, no session"
    """,
)
_single(
    "disable",
    """Keep an address from being given out: at once, or when its lease is over.

    Example: dotmac-edge lease disable 203.0.113.7 --reason "blacklisted"
    """,
)
_single(
    "enable",
    """Let an address be given out again that was disabled; it is quarantined first.

    Example: dotmac-edge lease enable 203.0.113.7
    """,
)


@group.command()
@click.argument("address", required=False)
@click.option("--subscriber", metavar="ID", help="Of this subscriber, instead of an address.")
@click.option("--pool", metavar="NAME", help="Of this pool, instead of an address.")
@click.option("--since", callback=moment, metavar="TIME", help="Not before: a time, or a span such as 7d.")
@click.option("--until", callback=moment, metavar="TIME", help="Not after.")
@tenant_option
@_vrf_option
@_LIMIT
@_CURSOR
@output_option
@click.pass_context
def history(
    context: click.Context, /, address: str | None, output: str, limit: int, **params: object
) -> None:
    """Show what happened to an address, a subscriber's leases or a pool, the latest first.

    An address is found at once; for a subscriber or pool the whole history is read backwards, so give --since.
    Who had an address at a time, with evidence: who-had.

    Example: dotmac-edge lease history 203.0.113.7 --since 7d
    """
    if address is None and params["subscriber"] is None and params["pool"] is None:
        raise click.UsageError("give an address, --subscriber or --pool")
    params["address"] = address
    items, following = _pages(context, "/api/v1/ipam/history", params, limit)
    _show_items(items, following, _EVENT_COLUMNS, output, _event_row)
