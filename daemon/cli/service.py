"""Commands about the daemon itself: run, status, version, completion, journal."""

from __future__ import annotations

import sys

import click

from daemon.cli.client import ask, load_settings
from daemon.cli.output import ExitCode, fail, output_option, show_one
from daemon.cli.times import when


@click.command()
@click.option("--quiet", is_flag=True, help="Do not print what to try next.")
@click.pass_context
def run(context: click.Context, quiet: bool) -> None:
    """Run the daemon in the foreground until it is told to stop.

    Example: dotmac-edge --config config/examples/edge.toml run
    """
    loaded = load_settings(context)
    from config.errors import ConfigError, ConfigInvalid  # noqa: PLC0415
    from daemon import app  # noqa: PLC0415
    from daemon.errors import DaemonError  # noqa: PLC0415

    def announce(_edge: app.Edge) -> None:
        if not quiet:
            click.echo(_welcome(loaded), err=True)

    try:
        well = app.run(loaded, announce)
    except ConfigInvalid as error:
        fail(f"cannot start:\n{error}" if len(error.problems) > 1 else f"cannot start: {error}")
    except (OSError, ConfigError, DaemonError) as error:
        fail(f"cannot start: {error}")
    if not well:
        sys.exit(ExitCode.FAILURE)


def _welcome(loaded: object) -> str:
    from config.load import Loaded  # noqa: PLC0415

    assert isinstance(loaded, Loaded)
    radius, api = loaded.settings.radius, loaded.settings.api
    config = f"--config {loaded.path} " if loaded.path else ""
    return f"""
DotMac Edge serves authentication on {", ".join(radius.auth_listen)}, accounting on \
{", ".join(radius.acct_listen)}, health and metrics on http://{api.listen}/metrics
Try in another terminal:
  dotmac-edge {config}status
  dotmac-edge {config}radius auth alice wonderland
  dotmac-edge {config}why alice
  dotmac-edge {config}session list
Stop with Ctrl-C."""


@click.command()
@output_option
@click.pass_context
def status(context: click.Context, output: str) -> None:
    """Show the running daemon at a glance.

    Example: dotmac-edge status --output json
    """
    found = ask(context, "GET", "/api/v1/status")
    if output != "table":
        show_one(found, output)
        return
    show_one(
        {
            "name": found["name"],
            "version": found["version"],
            "up since": when(found["started_at"]),
            "ready": found["ready"],
            "degraded": "; ".join(found["degraded"]) or "no",
            "replica": ", ".join(f"{count} {kind}" for kind, count in found["replica"].items()),
            "replica changed": when(found["replica_changed_at"]),
            "sessions": ", ".join(f"{count} {state}" for state, count in found["sessions"].items()) or "none",
            "deviating": f"{found['deviating']} sessions are not what the data want",
            "coa jobs": ", ".join(f"{count} {state}" for state, count in found["coa_jobs"].items()) or "none",
            "journal": f"{found['journal_last_seq']} records, {found['journal_pending']} waiting for the disk",
            "tasks": ", ".join(f"{task['name']} {task['state']}" for task in found["tasks"]),
        },
        output,
    )


@click.command("version")
@output_option
def version_command(output: str) -> None:
    """Show the version of DotMac Edge and of what it stands on.

    Example: dotmac-edge version
    """
    import platform  # noqa: PLC0415
    import sqlite3  # noqa: PLC0415
    from importlib.metadata import version  # noqa: PLC0415

    show_one(
        {
            "dotmac-edge": version("dotmac-edge"),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            "system": f"{platform.system()} {platform.release()}",
        },
        output,
    )


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes commands in SHELL.

    Example: dotmac-edge completion bash > ~/.local/share/bash-completion/completions/dotmac-edge
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    from daemon.cli.main import main  # noqa: PLC0415

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "dotmac-edge", "_DOTMAC_EDGE_COMPLETE").source())


@click.group()
def journal() -> None:
    """Look at the accounting journal.

    Example: dotmac-edge journal count
    """


@journal.command()
@output_option
@click.pass_context
def count(context: click.Context, output: str) -> None:
    """Count the accounting records that were ever acknowledged.

    Example: dotmac-edge journal count --output json
    """
    show_one(ask(context, "GET", "/api/v1/journal/count"), output)
