"""`dotmac-edge ipam`: check, usage."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import click

from daemon.cli.client import ask, socket_path
from daemon.cli.ipam_import import import_command
from daemon.cli.ipam_nodes import nodes, takeover
from daemon.cli.ipam_probe import probe
from daemon.cli.output import Column, ExitCode, fail, output_option, show, show_one, tenant_option
from daemon.cli.pages import show_page

_BAR = 8
_USE_COLUMNS = (
    Column("name", "Name"),
    Column("kind", "Kind"),
    Column("bar", "Use"),
    Column("used", "%", "right"),
    Column("size", "Size", "right"),
    Column("free", "Free", "right"),
    Column("bound", "Bound", "right"),
    Column("waiting", "Waiting", "right"),
    Column("out", "Kept", "right"),
    Column("alarm", ""),
)
_FINDING_COLUMNS = (
    Column("rule", "Rule"),
    Column("text", "Found"),
    Column("remedy", "Remedy"),
)


@click.group("ipam")
def group() -> None:
    """Look after the address book: is it sound, how full are its pools.

    Example: dotmac-edge ipam check
    """


# --- usage -----------------------------------------------------------------------------------------


@group.command()
@click.option(
    "--level",
    type=click.Choice(["pool", "site", "vrf", "tenant"]),
    default="pool",
    show_default=True,
    help="Of what: all pools of a kind are summed up but for pool.",
)
@click.option("--kind", metavar="KIND", help="Only pools of this kind: v4, pd, ...")
@click.option("--name", metavar="NAME", help="Only this pool, site or VRF.")
@tenant_option
@output_option
@click.pass_context
def usage(context: click.Context, /, output: str, **params: object) -> None:
    """Show how full pools are. What is used cannot be given to somebody new now: bound, or waiting.

    Waiting: held for its owner, in quarantine or declined. Kept: reserved, disabled or excluded.

    Example: dotmac-edge ipam usage --level site --kind v4
    """
    show_page(ask(context, "GET", "/api/v1/ipam/utilisations", params=params), _USE_COLUMNS, output, _use_row)


def _use_row(item: dict[str, Any]) -> dict[str, Any]:
    return item | {
        "bar": bar(item["used_percent"]),
        "used": f"{item['used_percent']:.1f}",
        "size": _count(item["size"]),
        "free": _count(item["free"]),
        "waiting": _count(item["held"] + item["quarantined"] + item["declined"]),
        "out": _count(item["reserved"] + item["disabled"]),
        "bound": _count(item["bound"] + item["tentative"]),
    }


def bar(percent: float) -> str:
    """Return a share as a bar in eighths of a character; anything above nothing shows."""
    eighths = min(round(percent / 100 * _BAR * 8), _BAR * 8) or (1 if percent > 0 else 0)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(_BAR, "·")


def _count(number: int) -> str:
    """Return a number that people can read: up to a million exactly, beyond a billion as a power of two."""
    if number < 1_000_000:
        return f"{number:,}"
    if number < 1_000_000_000:
        return f"{number / 1e6:.4g} M"
    return f"2^{number.bit_length() - 1}" if number.bit_count() == 1 else f"~2^{number.bit_length() - 1}"


# --- check -----------------------------------------------------------------------------------------


@group.command()
@click.option("--deep", is_flag=True, help="Recompute the hash of every event of the history, too.")
@click.option(
    "--repair",
    is_flag=True,
    help="Release leases without a session, lease addresses that sessions report and nobody has.",
)
@output_option
@click.pass_context
def check(context: click.Context, deep: bool, repair: bool, output: str) -> None:
    """Check that the address book agrees with itself, its store, live sessions, the data and its history.

    Nothing is held up by it, however much there is. Leaves with 0 when all is well or was repaired, 3 with findings.

    Example: dotmac-edge ipam check --deep
    """
    result = _run(context, {"deep": deep, "repair": repair, "stream": True})
    left = result["count"] - result["repaired"]
    if output != "table":
        show_one(result, output)
    else:
        if result["findings"]:
            show([_finding_row(each) for each in result["findings"]], _FINDING_COLUMNS, output)
        if result["count"] > len(result["findings"]):
            click.echo(f"... and {result['count'] - len(result['findings'])} more.")
        looked = ", ".join(f"{count:,} {what}" for what, count in _summed(result["looked_at"]).items())
        click.echo(f"Looked at {looked}.")
        click.echo(_verdict(result["count"], result["repaired"]))
    if left:
        raise click.exceptions.Exit(ExitCode.DIFFERENCES)


def _verdict(count: int, repaired: int) -> str:
    if not count:
        return "All is well."
    said = f"{count} {'finding' if count == 1 else 'findings'}"
    return f"{said}, {repaired} repaired." if repaired else f"{said}."


def _finding_row(finding: dict[str, Any]) -> dict[str, Any]:
    return finding | {"remedy": "repaired" if finding["repaired"] else finding["remedy"]}


def _summed(looked_at: dict[str, int]) -> dict[str, int]:
    """Return how much was looked at, rows of all pools together."""
    found: dict[str, int] = {}
    for stage, count in looked_at.items():
        what = "rows" if stage.startswith("rows of ") else stage
        found[what] = found.get(what, 0) + count
    return found


def _run(context: click.Context, params: dict[str, object]) -> dict[str, Any]:
    """Return the result, and show on a terminal how far it is."""
    import httpx  # noqa: PLC0415 - 80 ms that help need not pay

    where = socket_path(context)
    query = {name: str(value) for name, value in params.items()}
    url = "http://edge/api/v1/ipam/checks"
    try:
        with (
            httpx.Client(transport=httpx.HTTPTransport(uds=str(where)), timeout=600.0) as client,
            client.stream("POST", url, params=query) as answer,
        ):
            if answer.is_success:
                return _follow(answer.iter_lines())
            failure = json.loads(answer.read())
    except httpx.TransportError as error:
        fail(
            f"no daemon answers on {where} ({error}). Is it running? Start it with: dotmac-edge run",
            ExitCode.UNREACHABLE,
        )
    except ValueError:
        fail(f"the daemon on {where} answers with nothing that can be read; see its log")
    return fail(str(failure["message"]), ExitCode.DENIED if failure["code"] == "denied" else ExitCode.FAILURE)


def _follow(lines: Iterable[str]) -> dict[str, Any]:
    shown = sys.stderr.isatty()
    for line in lines:
        said = json.loads(line)
        if "progress" in said and shown:
            far = said["progress"]
            click.echo(f"\r\x1b[K{far['stage']}: {far['done']:,} of {far['total']:,}", nl=False, err=True)
        elif "failure" in said:
            fail(f"the check could not be finished: {said['failure']}")
        elif "result" in said:
            if shown:
                click.echo("\r\x1b[K", nl=False, err=True)
            result: dict[str, Any] = said["result"]
            return result
    return fail("the daemon has ended in the middle of the check")


for _command in (probe, import_command, nodes, takeover):
    group.add_command(_command)
