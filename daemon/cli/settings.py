"""`dotmac-edge config`: check, show, reload."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from daemon.cli.client import ask, load_settings
from daemon.cli.output import Column, ExitCode, fail, output_option, show, show_one


@click.group("config")
def group() -> None:
    """Check, show and reload the settings.

    Example: dotmac-edge config show
    """


@group.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Check the settings file, and the secrets and certificates that it names; each problem with file, line and key.

    What only the unit of systemd can see, its credentials, is passed over elsewhere.

    Example: dotmac-edge --config edge.toml config check
    """
    loaded = load_settings(context)
    _check_references(loaded)
    _check_relay_secrets(loaded.settings.coa.relay_clients)
    if loaded.settings.ipam.shared_store is not None:
        _check_shared_store(loaded.settings.ipam.shared_store)
    click.echo(f"{loaded.path or 'defaults'}: ok")


def _check_references(loaded: Any) -> None:
    """Leave where secrets or files of feeds, sinks or the API port cannot be used."""
    import os  # noqa: PLC0415

    from config.errors import ConfigInvalid  # noqa: PLC0415
    from daemon.options.check import check as try_all  # noqa: PLC0415

    try:
        try_all(loaded, os.environ)
    except ConfigInvalid as error:
        fail(str(error), ExitCode.USAGE)


def _check_relay_secrets(clients: tuple[str, ...]) -> None:
    """Leave where the secret of a relay client cannot be used. Credentials of systemd are seen in its unit only."""
    import os  # noqa: PLC0415

    from config.enforcement import read_relay_client, relay_secrets  # noqa: PLC0415
    from config.errors import SecretUnavailable  # noqa: PLC0415

    if "CREDENTIALS_DIRECTORY" not in os.environ:
        clients = tuple(each for each in clients if not read_relay_client(each)[2].startswith("credential:"))
    try:
        relay_secrets(clients, os.environ)
    except SecretUnavailable as error:
        fail(f"coa.relay_clients: {error}", ExitCode.USAGE)


def _check_shared_store(reference: str) -> None:
    """Leave where a start could not use the URL of the shared store; nothing is connected."""
    import os  # noqa: PLC0415

    from daemon.errors import DaemonError  # noqa: PLC0415
    from daemon.leases.shared_store import check_url  # noqa: PLC0415

    try:
        check_url(reference, os.environ)
    except DaemonError as error:
        fail(str(error), ExitCode.USAGE)


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
