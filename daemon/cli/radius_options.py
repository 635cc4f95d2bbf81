"""Options that the commands of `dotmac-edge radius` share, and their types."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, TypeVar

import click

from daemon.cli.output import output_option

AUTH_PORT = 1812
ACCT_PORT = 1813
SECRET_VARIABLE = "DOTMAC_EDGE_RADIUS_SECRET"  # noqa: S105 - the name of a variable, no secret

Command = TypeVar("Command", bound=Callable[..., Any])


def address(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> IPv4Address | IPv6Address | None:
    """Read an option that is an IP address."""
    try:
        return None if value is None else ip_address(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no IP address") from None


def octets(_context: click.Context, _parameter: click.Parameter, value: str | None) -> bytes | None:
    """Read an option of octets in hex, with or without 0x."""
    try:
        return None if value is None else bytes.fromhex(value.removeprefix("0x"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no hex") from None


def server_options(command: Command) -> Command:
    """Options of every command that asks a server."""
    for option in (
        output_option,
        click.option("--tries", type=click.IntRange(1, 20), default=3, show_default=True, help="Most sends."),
        click.option(
            "--timeout",
            type=click.FloatRange(0.01, 60),
            default=3.0,
            show_default=True,
            help="Seconds to wait after each send.",
        ),
        click.option(
            "--secret",
            default="testing123",
            envvar=SECRET_VARIABLE,
            show_envvar=True,
            help="Shared secret.  [default: testing123]",
        ),
        click.option(
            "--server",
            metavar="HOST[:PORT]",
            help=f"Server; port {AUTH_PORT}, or {ACCT_PORT} for accounting, where only a host is given.  "
            "[default: the daemon that the settings describe]",
        ),
    ):
        command = option(command)
    return command


def nas_options(command: Command) -> Command:
    """Options that say what the NAS sends about itself and the line."""
    for option in (
        click.option(
            "--attribute",
            "attributes",
            multiple=True,
            metavar="NAME=VALUE",
            help="Another attribute by its dictionary name, NAME:TAG=VALUE with a tag; may repeat.",
        ),
        click.option("--calling-station", metavar="TEXT", help="Calling-Station-Id, mostly a MAC address."),
        click.option(
            "--nas-ip",
            callback=address,
            metavar="ADDRESS",
            default="127.0.0.1",
            show_default=True,
            help="The NAS's address.",
        ),
    ):
        command = option(command)
    return command
