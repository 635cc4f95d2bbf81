"""`dotmac-edge staff`: list, sessions, log."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.client import ask
from daemon.cli.output import Column, output_option, tenant_option
from daemon.cli.pages import show_page
from daemon.cli.times import duration, moment, when


@click.group("staff")
def group() -> None:
    """Look at who may log in to devices, and who did.

    Example: dotmac-edge staff log --since 7d
    """


@group.command("list")
@tenant_option
@output_option
@click.pass_context
def list_command(context: click.Context, tenant: str | None, output: str) -> None:
    """List who may log in to the NASes themselves, and what they may do there.

    Example: dotmac-edge staff list
    """
    columns = (
        Column("id", "Staff"),
        Column("username", "User name"),
        Column("privilege", "Privilege"),
        Column("enabled", "Enabled"),
        Column("places", "Where"),
        Column("until", "Until"),
        Column("logged_in", "Logged in", "right"),
    )

    def row(item: dict[str, Any]) -> dict[str, Any]:
        return item | {
            "places": item["nases"] + item["sites"] or "everywhere",
            "until": when(item["valid_until"]),
        }

    show_page(ask(context, "GET", "/api/v1/staff", params={"tenant": tenant}), columns, output, row)


@group.command()
@output_option
@click.pass_context
def sessions(context: click.Context, output: str) -> None:
    """List who is logged in to a device now, as far as its accounting tells.

    Example: dotmac-edge staff sessions
    """
    columns = (
        Column("username", "User name"),
        Column("staff", "Staff"),
        Column("nas", "NAS"),
        Column("source", "Device"),
        Column("calling_station_id", "From"),
        Column("port", "Port"),
        Column("started", "Since"),
    )

    def row(item: dict[str, Any]) -> dict[str, Any]:
        return item | {"started": when(item["started_at"])}

    show_page(ask(context, "GET", "/api/v1/staff-sessions"), columns, output, row)


@group.command()
@click.option("--staff", help="Records of this member of staff, by id.")
@click.option("--nas", help="Records of this NAS.")
@click.option("--since", callback=moment, metavar="TIME", help="Not before: a time, or a span such as 7d.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@output_option
@click.pass_context
def log(context: click.Context, /, output: str, **params: object) -> None:
    """List the accounting of logins to devices, the latest first; it is kept for `staff.keep_days`.

    Logins that were refused are events: `event list --kind staff-login`.

    Example: dotmac-edge staff log --nas lab --since 7d
    """
    columns = (
        Column("when", "When"),
        Column("status", "Record"),
        Column("username", "User name"),
        Column("staff", "Staff"),
        Column("nas", "NAS"),
        Column("source", "Device"),
        Column("calling_station_id", "From"),
        Column("lasted", "Lasted", "right"),
        Column("terminate_cause", "Ended by"),
    )

    def row(item: dict[str, Any]) -> dict[str, Any]:
        seconds = item["session_time_s"]
        return item | {"when": when(item["event_at"]), "lasted": "" if seconds is None else duration(seconds)}

    show_page(ask(context, "GET", "/api/v1/staff-records", params=params), columns, output, row)
