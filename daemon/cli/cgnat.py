"""`dotmac-edge cgnat`: plan list, show, add, end; propose; ports; verify."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, TypeVar

import click

from daemon.cli import cgnat_output as shown
from daemon.cli.client import ask, place
from daemon.cli.output import ExitCode, output_option, show_one, tenant_option
from daemon.cli.pages import show_page
from daemon.cli.times import moment

_BASE = "/api/v1/ipam/cgnat"
_MAX_PORT = 65_535
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _ports(_context: click.Context, _option: click.Parameter, value: str | None) -> list[int]:
    """Return the ports of a list such as 5060,8000-8100."""
    ports: set[int] = set()
    for part in (value or "").replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not part:
            continue
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            raise click.BadParameter(f"{part!r} is no port and no range such as 8000-8100")
        run = range(int(first), int(last or first) + 1)
        if not run or run[0] < 1 or run[-1] > _MAX_PORT:
            raise click.BadParameter(
                f"{part!r}: ports run from 1 to {_MAX_PORT}, the first not above the last"
            )
        ports.update(run)
    return sorted(ports)


def _prefixes(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> list[str]:
    """Return IPv4 prefixes, checked."""
    for value in values:
        try:
            IPv4Network(value)
        except ValueError as error:
            raise click.BadParameter(f"{error}; expected an IPv4 prefix such as 100.64.0.0/22") from None
    return list(values)


def _numbers(command: _Command) -> _Command:
    """Give a command the options that a plan and a demand share."""
    for option in (
        click.option(
            "--last-port",
            type=click.IntRange(1, _MAX_PORT),
            default=_MAX_PORT,
            show_default=True,
            help="The highest port that is dealt out.",
        ),
        click.option(
            "--first-port",
            type=click.IntRange(1, _MAX_PORT),
            default=1024,
            show_default=True,
            help="The lowest port that is dealt out.",
        ),
        click.option(
            "--reserved-ports", callback=_ports, metavar="PORTS", help="Given to nobody: 5060,8000-8100."
        ),
        click.option(
            "--no-boundaries", is_flag=True, help="Leave out lowest and highest address of prefixes."
        ),
        click.option(
            "--algorithm",
            type=click.Choice(["sequential", "interleaved", "striped"]),
            default="sequential",
            show_default=True,
            help="How blocks are dealt out: one address after the other; every n-th port; as netmap does.",
        ),
        _prefix_option("--outside", "Public addresses of the CGN; may be repeated."),
        _prefix_option("--inside", "Addresses of the subscribers; may be repeated."),
    ):
        command = option(command)
    return command


def _prefix_option(name: str, text: str) -> Callable[[_Command], _Command]:
    return click.option(name, multiple=True, required=True, callback=_prefixes, metavar="PREFIX", help=text)


def _device(command: _Command) -> _Command:
    return click.option(
        "--device",
        type=click.Choice(["junos", "mikrotik", "nftables"]),
        help="Also print the configuration of such a device.",
    )(command)


@click.group("cgnat")
def group() -> None:
    """Plan a CGNAT, and tell which outside ports an inside address has.

    Who was behind an outside address and port is a question for `who-had`.

    Example: dotmac-edge cgnat ports 100.64.0.9 --at 2h
    """


@group.group("plan")
def plan_group() -> None:
    """Look at the plans, add versions, end them.

    A version is never changed: a change is a new version with its own time, so that old questions are answered
    with the plan that was in force then.

    Example: dotmac-edge cgnat plan list
    """


@plan_group.command("list")
@click.option("--all", "every", is_flag=True, help="Also versions that are over.")
@tenant_option
@output_option
@click.pass_context
def list_command(context: click.Context, every: bool, tenant: str | None, output: str) -> None:
    """List the plans in force and to come.

    Example: dotmac-edge cgnat plan list --all
    """
    page = ask(context, "GET", f"{_BASE}/plans", params={"tenant": tenant, "every": every})
    show_page(page, shown.PLAN_COLUMNS, output, shown.plan_row)


@plan_group.command("show")
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="The latest where it is left out.")
@click.option(
    "--rows", type=click.IntRange(0, 1_000_000), default=10, show_default=True, help="How many rows."
)
@_device
@tenant_option
@output_option
@click.pass_context
def show_command(context: click.Context, /, name: str, output: str, **params: object) -> None:
    """Show one plan, rows to check a device against, and with --device its configuration.

    With as many --rows as there are inside addresses it is the whole table.

    Example: dotmac-edge cgnat plan show pop1 --device nftables
    """
    found = ask(context, "GET", place(f"{_BASE}/plans", name), params=params)
    if output != "table":
        show_one(found, output)
    else:
        shown.print_plan(found)


@plan_group.command("add")
@click.argument("name")
@_numbers
@click.option("--block-size", type=click.IntRange(1), required=True, help="Ports of one subscriber.")
@click.option("--sharing", type=click.IntRange(1), required=True, help="Subscribers of one outside address.")
@click.option("--from", "valid_from", callback=moment, metavar="TIME", help="In force since; now by default.")
@tenant_option
@output_option
@click.pass_context
def add(context: click.Context, /, output: str, no_boundaries: bool, **body: Any) -> None:
    """Add a plan, or the next version of one that is there: that ends the version before.

    Example: dotmac-edge cgnat plan add pop1 --inside 100.64.0.0/22 --outside 203.0.113.0/26 \
--block-size 4032 --sharing 16
    """
    _save(context, body | {"boundaries": not no_boundaries}, output)


@plan_group.command()
@click.argument("name")
@click.option("--at", callback=moment, metavar="TIME", help="When it is over; now by default.")
@tenant_option
@output_option
@click.pass_context
def end(context: click.Context, /, name: str, output: str, **params: object) -> None:
    """End the latest version of a plan. It stays: questions about its time are answered with it.

    Example: dotmac-edge cgnat plan end pop1 --at 2026-07-01T04:00:00Z
    """
    found = ask(context, "POST", place(f"{_BASE}/plans", name) + "/end", params=params)
    _show_plan(found, output)


@group.command()
@click.option("--subscribers", type=click.IntRange(1), required=True, help="How many there are to be.")
@_numbers
@click.option(
    "--peak",
    "peak_share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="The part of them that is online at the peak.",
)
@click.option(
    "--ports",
    "ports_per_subscriber",
    type=click.IntRange(1),
    default=2_000,
    show_default=True,
    help="The least for each subscriber.",
)
@click.option(
    "--reserve",
    "reserve_percent",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Per cent to add for growth.",
)
@click.option(
    "--overflow",
    "overflow_share",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Shares of an outside address left for heavy users; the CGN has to report their use.",
)
@_device
@click.option("--save", metavar="NAME", help="Store the plan under this name.")
@click.option("--from", "valid_from", callback=moment, metavar="TIME", help="In force since; for --save.")
@tenant_option
@output_option
@click.pass_context
def propose(
    context: click.Context,
    /,
    output: str,
    no_boundaries: bool,
    device: str | None,
    save: str | None,
    valid_from: float | None,
    tenant: str | None,
    **demand: Any,
) -> None:
    """Make the plan with the largest blocks that the outside addresses allow, or say what is missing.

    Leaves with 1 where no plan fits.

    Example: dotmac-edge cgnat propose --subscribers 900 --inside 100.64.0.0/22 --outside 203.0.113.0/26 \
--device junos --save pop1
    """
    body = demand | {"boundaries": not no_boundaries} | ({"name": save} if save else {})
    params = {"device": device}
    found = ask(context, "POST", f"{_BASE}/plan-proposals", params=params, content=_octets(body))
    if output != "table":
        show_one(found, output)
    else:
        shown.print_proposal(found)
    if found["plan"] is None:
        raise click.exceptions.Exit(ExitCode.FAILURE)
    if save is not None:
        numbers = {key: found["plan"][key] for key in _KEPT}
        saved = _store(context, numbers | {"name": save, "tenant": tenant, "valid_from": valid_from})
        click.echo(f"Stored: {saved['name']} version {saved['version']} of {saved['tenant']}.", err=True)


@group.command()
@click.argument("inside")
@click.option("--at", callback=moment, metavar="TIME", help="Then; now by default.")
@tenant_option
@output_option
@click.pass_context
def ports(context: click.Context, inside: str, at: float | None, tenant: str | None, output: str) -> None:
    """Tell which outside ports an inside address has: by the plans, and as CGNs have reported.

    Leaves with 4 where it has none.

    Example: dotmac-edge cgnat ports 100.64.0.7 --at 2h
    """
    now = datetime.now(UTC).timestamp()
    params = {"inside": inside, "at": now if at is None else at, "tenant": tenant}
    page = ask(context, "GET", f"{_BASE}/ports", params=params)
    show_page(page, shown.PORTS_COLUMNS, output, shown.ports_row)
    if not page["items"]:
        raise click.exceptions.Exit(ExitCode.NOT_FOUND)


@group.command()
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--version", type=click.IntRange(1), help="The latest where it is left out.")
@tenant_option
@output_option
@click.pass_context
def verify(context: click.Context, /, name: str, file: Path, output: str, **params: object) -> None:
    """Compare what a device does with a plan.

    FILE has lines `inside,outside,first port,last port`, or `inside,outside,port` for connections, or is the output
    of `conntrack -L`; - is standard input. Leaves with 3 where something differs, 7 where only some lines could be
    read, 1 where none could.

    Example: dotmac-edge cgnat verify pop1 -
    """
    with click.open_file(str(file), "rb") as opened:
        octets = opened.read()
    found = ask(
        context, "POST", place(f"{_BASE}/plans", name) + "/verifications", params=params, content=octets
    )
    if output != "table":
        show_one(found, output)
    else:
        shown.print_verification(found)
    if found["different"]:
        raise click.exceptions.Exit(ExitCode.DIFFERENCES)
    if not found["checked"]:
        raise click.exceptions.Exit(ExitCode.FAILURE)
    if found["unreadable"]:
        raise click.exceptions.Exit(ExitCode.PARTIAL)


_KEPT = (
    *("inside", "outside", "block_size", "sharing", "first_port", "last_port"),
    *("reserved_ports", "algorithm", "boundaries"),
)


def _octets(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def _store(context: click.Context, body: dict[str, Any]) -> dict[str, Any]:
    stored: dict[str, Any] = ask(context, "POST", f"{_BASE}/plans", content=_octets(body))
    return stored


def _save(context: click.Context, body: dict[str, Any], output: str) -> None:
    _show_plan(_store(context, body), output)


def _show_plan(found: dict[str, Any], output: str) -> None:
    if output != "table":
        show_one(found, output)
    else:
        shown.print_plan(found | {"vectors": [], "snippet": None})
