"""`dotmac-edge config`: check, show, reload."""

from __future__ import annotations

from dataclasses import asdict

import click

from daemon.cli.client import ask, load_settings
from daemon.cli.output import Column, output_option, show, show_one


@click.group("config")
def group() -> None:
    """Check, show and reload the settings."""


@group.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Check the settings file; every problem is named at once, with file, line and key.

    Example: dotmac-edge --config edge.toml config check
    """
    loaded = load_settings(context)
    click.echo(f"{loaded.path or 'defaults'}: ok")


@group.command("show")
@output_option
@click.pass_context
def show_command(context: click.Context, output: str) -> None:
    """Show every setting in force and where it comes from.

    Example: dotmac-edge config show
    """
    loaded = load_settings(context)
    from config.load import dump  # noqa: PLC0415

    rows = [asdict(row) for row in dump(loaded.settings, loaded.sources)]
    columns = (
        Column("name", "Setting"),
        Column("value", "Value"),
        Column("source", "From"),
        Column("live", "Reloads"),
    )
    show(rows, columns, output)


@group.command()
@output_option
@click.pass_context
def reload(context: click.Context, output: str) -> None:
    """Let the running daemon read its settings and data files again; a wrong file changes nothing.

    Example: dotmac-edge config reload
    """
    done = ask(context, "POST", "/api/v1/config/reload")
    if output != "table":
        show_one(done, output)
        return
    click.echo("In force now: " + (", ".join(done["live"]) or "nothing has changed"))
    if done["restart"]:
        click.echo("Takes a restart: " + ", ".join(done["restart"]))
