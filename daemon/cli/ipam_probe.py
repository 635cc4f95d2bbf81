"""`dotmac-edge ipam probe`."""

from __future__ import annotations

import re

import click

from daemon.cli.client import ask
from daemon.cli.output import ExitCode, output_option, show_one

_CODES = {
    "silent": ExitCode.OK,
    "in-use": ExitCode.DIFFERENCES,
    "no-permission": ExitCode.DENIED,
    "switched-off": ExitCode.DENIED,
    "no-interface": ExitCode.NOT_FOUND,
    "interface-down": ExitCode.UNREACHABLE,
    "helper-ended": ExitCode.UNREACHABLE,
    "helper-silent": ExitCode.UNREACHABLE,
}
_SPAN = re.compile(r"(\d{1,5}(?:\.\d{1,3})?)(ms|s|)", re.ASCII)


def _seconds(_context: click.Context, _option: click.Parameter, value: str) -> float:
    """Return seconds for a time such as 1s, 0.5s or 200ms."""
    span = _SPAN.fullmatch(value)
    if span is None:
        raise click.BadParameter(f"{value!r} is no time, expected for example 1s or 200ms")
    return float(span[1]) / (1000 if span[2] == "ms" else 1)


@click.command("probe")
@click.argument("address")
@click.option(
    "--interface", metavar="NAME", required=True, help="Of the machine that the daemon runs on: see ip link."
)
@click.option(
    "--method",
    type=click.Choice(["auto", "arp", "nd", "icmp"]),
    default="auto",
    show_default=True,
    help="arp and nd ask on the link, icmp sends an echo; auto does both, as far as it can.",
)
@click.option("--count", type=click.IntRange(1, 10), default=2, show_default=True, help="How often to ask.")
@click.option(
    "--wait",
    "wait_s",
    metavar="TIME",
    default="1s",
    show_default=True,
    callback=_seconds,
    help="How long to wait for an answer each time: 1s, 200ms.",
)
@output_option
@click.pass_context
def probe(context: click.Context, /, output: str, **params: object) -> None:
    """Find out whether somebody is at an address, as it is done before an address is given out again.

    Asks as RFC 5227 and RFC 4862 do, so that no cache of anybody changes. Leaves with 0 when nobody answers, 3 when
    somebody does, and 1, 4, 5 or 6 when it could not be asked.

    Example: dotmac-edge ipam probe 198.51.100.23 --interface eth1
    """
    found = ask(context, "POST", "/api/v1/ipam/probes", params=params)
    show_one(found, output)
    code = _CODES.get(found["reason"] or found["verdict"], ExitCode.FAILURE)
    if code is not ExitCode.OK:
        raise click.exceptions.Exit(code)
