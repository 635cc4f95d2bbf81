"""`dotmac-edge import freeradius` and `export freeradius`: from there, and back.

The files are read and written here, not by the daemon; the objects go over its API as those of any data file do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from daemon.cli.client import ask
from daemon.cli.output import Column, ExitCode, escaped, fail, output_option, show, show_one

_SHOWN = 20
_WHATS = ("added", "changed", "unchanged", "removed")
_VENDOR = click.option(
    "--vendor", default="", metavar="NAME", help="Vendor of NASes that do not say theirs; else inferred."
)
_ZONE = click.option("--zone", default="UTC", show_default=True, help="Time zone of FreeRADIUS's clock.")
Findings = Sequence[Any]


@click.group("import")
def import_group() -> None:
    """Take over users and NASes from another system.

    Example: dotmac-edge import freeradius /etc/freeradius/3.0 --tenant demo --dry-run
    """


@click.group("export")
def export_group() -> None:
    """Write users and NASes for another system.

    Example: dotmac-edge export freeradius --directory /tmp/raddb
    """


@import_group.command("freeradius")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--tenant", metavar="ID", help="Whose they are; needed where there are several tenants.")
@_VENDOR
@_ZONE
@click.option(
    "--conditions",
    type=click.Choice(["refuse", "ignore"]),
    default="refuse",
    show_default=True,
    help="Users with a condition on the request that is not kept.",
)
@click.option("--raw", is_flag=True, help="Keep rates and the like as raw attributes, for every NAS alike.")
@click.option(
    "--write", type=click.Path(dir_okay=False, path_type=Path), help="Write a data file; load nothing."
)
@click.option("--dry-run", is_flag=True, help="Check and report only.")
@output_option
@click.pass_context
def import_freeradius(
    context: click.Context,
    paths: tuple[Path, ...],
    tenant: str | None,
    vendor: str,
    zone: str,
    conditions: str,
    raw: bool,
    write: Path | None,
    dry_run: bool,
    output: str,
) -> None:
    """Load PATH...: `users`, `clients.conf`, SQL dumps, or the directory of FreeRADIUS's configuration.

    What cannot be mapped is told with file and line. All that can be is checked whole by the daemon before anything
    of it is used. The exit code is 7 where a user or a NAS had to be left out.

    Example: dotmac-edge import freeradius radius.sql --tenant demo --dry-run
    """
    from daemon.app import freeradius_import  # noqa: PLC0415 - part of the program, and slow to import
    from daemon.errors import DaemonError  # noqa: PLC0415

    try:
        found = freeradius_import(paths, vendor=vendor, timezone=zone, conditions=conditions, raw=raw)
    except DaemonError as error:
        fail(str(error), ExitCode.USAGE)
    content = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in found.objects).encode()
    done: dict[str, Any] = {}
    if write is not None:
        _write(write, content.decode())
    else:
        tenant = tenant or _only_tenant(context)
        params = {"name": "freeradius.ndjson", "tenant": tenant, "dry_run": dry_run}
        done = ask(context, "POST", "/api/v1/data", params=params, content=content)
    _report(done, found, output, dry_run=dry_run)
    if any(each.why == "refused" for each in found.findings):
        raise click.exceptions.Exit(ExitCode.PARTIAL)


def _only_tenant(context: click.Context) -> str:
    """Return the tenant where there is one only, else leave with those that there are."""
    items = ask(context, "GET", "/api/v1/data")["items"]
    known = sorted(each["id"] for each in items if each["kind"] == "tenant")
    if not known:
        fail("there is no tenant yet: load one first, with `dotmac-edge data load`", ExitCode.USAGE)
    if len(known) > 1:
        shown = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
        fail(f"there are several tenants: name one with --tenant ({shown})", ExitCode.USAGE)
    return str(known[0])


def _report(done: dict[str, Any], found: Any, output: str, *, dry_run: bool) -> None:
    left_out = [_row(each) for each in found.findings]
    if output != "table":
        show_one(done | {"objects": len(found.objects), "left_out": left_out}, output)
        return
    _left_out(left_out)
    for warning in done.get("warnings", ()):
        click.echo(f"Warning: {escaped(warning)}", err=True)
    if done:
        kinds = sorted({kind for what in _WHATS for kind in done[what]})
        rows = [{"kind": kind} | {what: done[what].get(kind, 0) for what in _WHATS} for kind in kinds]
        columns = (Column("kind", "Kind"), *(Column(what, what.title(), "right") for what in _WHATS))
        show(rows, columns, output)
    else:
        click.echo(f"{len(found.objects)} objects written.")
    if dry_run:
        click.echo("Dry run: nothing was changed.")


def _row(finding: Any) -> dict[str, object]:
    place = f"{Path(finding.file).name}:{finding.line}" if finding.line else Path(finding.file).name
    return {
        "place": place,
        "owner": finding.owner,
        "attribute": finding.attribute,
        "why": str(finding.why),
        "text": finding.text,
    }


def _left_out(rows: list[dict[str, object]]) -> None:
    """Print what was left out on standard error, the first of them."""
    for each in rows[:_SHOWN]:
        place = f"{each['place']}: " if each["place"] else ""
        click.echo(
            escaped(f"Left out: {place}{each['owner']}: {each['attribute']}: {each['text']}"), err=True
        )
    if len(rows) > _SHOWN:
        click.echo(f"... and {len(rows) - _SHOWN} more; --output json has all.", err=True)


@export_group.command("freeradius")
@click.option(
    "--directory", required=True, type=click.Path(file_okay=False, path_type=Path), help="Where to write."
)
@click.option("--tenant", metavar="ID", help="Whose; needed where there are several tenants.")
@click.option(
    "--sql", is_flag=True, help="INSERTs for the standard tables, instead of `users` and clients.conf."
)
@click.option("--vendor", default="mikrotik", show_default=True, help="In whose words replies are written.")
@_ZONE
@click.option(
    "--interim", default=600, show_default=True, help="Interim interval of plans that say none, seconds."
)
@output_option
@click.pass_context
def export_freeradius(
    context: click.Context,
    directory: Path,
    tenant: str | None,
    sql: bool,
    vendor: str,
    zone: str,
    interim: int,
    output: str,
) -> None:
    """Write what the running daemon has as files that FreeRADIUS reads: the way back.

    Files that are there are not overwritten. They hold passwords in clear and are for their owner only.

    Example: dotmac-edge export freeradius --directory /tmp/raddb --sql
    """
    from daemon.app import freeradius_export  # noqa: PLC0415 - part of the program, and slow to import
    from daemon.errors import DaemonError  # noqa: PLC0415

    items = ask(context, "GET", "/api/v1/data", params={"secrets": True, "tenant": tenant})["items"]
    tenants = {each.get("tenant", each["id"] if each["kind"] == "tenant" else "") for each in items}
    if len(tenants) > 1:
        fail(
            f"there are several tenants: name one with --tenant ({', '.join(sorted(tenants))})",
            ExitCode.USAGE,
        )
    try:
        made = freeradius_export(items, vendor=vendor, timezone=zone, interim_s=interim, sql=sql)
    except DaemonError as error:
        fail(str(error), ExitCode.USAGE)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"{directory}: {error.strerror or type(error).__name__}; name a directory that can be made")
    there = [name for name in made.files if (directory / name).exists()]
    if there:
        fail(f"{directory / there[0]} is there already; name another directory", ExitCode.USAGE)
    for name, text in made.files.items():
        _write(directory / name, text)
    left_out = [_row(each) for each in made.findings]
    files = [str(directory / name) for name in made.files]
    if output != "table":
        counts = {"users": made.users, "clients": made.clients, "files": files}
        show_one(counts | {"left_out": left_out}, output)
        return
    _left_out(left_out)
    click.echo(f"{made.users} users and {made.clients} clients written: {', '.join(files)}")


def _write(path: Path, text: str) -> None:
    """Write a file that nobody else may read."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
