"""`dotmac-edge data`: load, export, schema."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from daemon.cli.client import ask
from daemon.cli.output import Column, output_option, show, show_one


@click.group("data")
def group() -> None:
    """Load and export subscribers, plans, NASes, pools and selectors.

    Example: dotmac-edge data load config/examples/provider.yaml --dry-run
    """


@group.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--tenant", help="Tenant of objects that do not say whose they are.")
@click.option("--replace", is_flag=True, help="Remove what the file's tenants have besides.")
@click.option("--dry-run", is_flag=True, help="Check and compare only.")
@output_option
@click.pass_context
def load(
    context: click.Context,
    file: str,
    tenant: str | None,
    replace: bool,
    dry_run: bool,
    output: str,
) -> None:
    """Load FILE (YAML, JSON or NDJSON) into the running daemon; `-` reads standard input.

    The file is checked whole before anything is applied: if anything in it is wrong, every problem is
    named with its line, and the data in force stay.

    Example: dotmac-edge data load config/examples/provider.yaml
    """
    octets = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    params = {
        "name": "stdin" if file == "-" else click.format_filename(file),
        "tenant": tenant,
        "replace": replace,
        "dry_run": dry_run,
    }
    done = ask(context, "POST", "/api/v1/data", params=params, content=octets)
    if output != "table":
        show_one(done, output)
        return
    for warning in done["warnings"]:
        click.echo(f"Warning: {warning}", err=True)
    kinds = sorted({kind for what in _WHATS for kind in done[what]})
    rows = [{"kind": kind} | {what: done[what].get(kind, 0) for what in _WHATS} for kind in kinds]
    show(rows, (Column("kind", "Kind"), *(Column(what, what.title(), "right") for what in _WHATS)), output)
    if dry_run:
        click.echo("Dry run: nothing was changed.")


_WHATS = ("added", "changed", "unchanged", "removed")


@group.command()
@click.option("--secrets", is_flag=True, help="With passwords and shared secrets in clear.")
@click.option("--output", type=click.Choice(["ndjson", "json", "yaml"]), default="ndjson", show_default=True)
@click.pass_context
def export(context: click.Context, secrets: bool, output: str) -> None:
    """Print everything the replica holds, as `data load` reads it.

    Example: dotmac-edge data export --secrets > backup.ndjson
    """
    items = ask(context, "GET", "/api/v1/data", params={"secrets": secrets})["items"]
    if output == "ndjson":
        for item in items:
            click.echo(json.dumps(item, ensure_ascii=False))
    else:
        show(items, (), output)


@group.command()
@click.argument("kind", required=False)
def schema(kind: str | None) -> None:
    """Print the JSON Schema of KIND, or of every kind.

    Example: dotmac-edge data schema subscriber
    """
    from daemon.app import data_schemas  # noqa: PLC0415 - part of the program, so no daemon needs to run

    schemas = data_schemas()
    if kind is not None and kind not in schemas:
        raise click.UsageError(f"no kind {kind!r}; known are {', '.join(schemas)}")
    click.echo(json.dumps(schemas if kind is None else schemas[kind], indent=2, ensure_ascii=False))
