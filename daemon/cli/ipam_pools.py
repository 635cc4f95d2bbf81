"""`dotmac-edge pool`: list, show, add, change, resize, drain, disable, exclude, include, next, delete and so on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from daemon.cli.client import Json, ask, place
from daemon.cli.ipam_forecast import forecast
from daemon.cli.ipam_next import next_command
from daemon.cli.ipam_options import bar, percent, send, span, units
from daemon.cli.output import Column, output_option, show, show_one, tenant_option
from daemon.cli.pages import show_page
from daemon.cli.times import duration

_Command = TypeVar("_Command", bound=Callable[..., Any])

_PATH = "/api/v1/ipam/pools"
_KINDS = ("v4", "v6-na", "v6-prefix", "pd", "svlan", "cvlan", "cgn-block")
_COLUMNS = (
    Column("name", "Pool"),
    Column("kind", "Kind"),
    Column("vrf", "VRF"),
    Column("site", "Site"),
    Column("state", "State"),
    Column("size", "Size", "right"),
    Column("used", "Used", "right"),
    Column("bar", ""),
    Column("free", "Free", "right"),
)
_RANGES = (
    Column("range", "Range"),
    Column("slots", "Units", "right"),
    Column("used", "Used", "right"),
    Column("note", "Note"),
)
_STATES = ("free", "tentative", "bound", "held", "quarantined", "declined", "reserved", "disabled")
_TIMES = ("hold_s", "quarantine_s", "min_reuse_s", "decline_s", "lease_s", "tentative_s")
_POLL_S = 1.0
_MOST_SLOTS = 1 << 62  # of one range; a larger one is cut when it is added


@click.group("pool")
def group() -> None:
    """Look at pools of addresses, prefixes and VLANs; add, resize and drain them while they are in use.

    Example: dotmac-edge pool add home --kind v4 --range 192.0.2.0/24
    """


def _row(item: dict[str, Any]) -> dict[str, Any]:
    use = item["use"]
    return item | {
        "vrf": item["vrf"] or "default",
        "size": units(use["size"]),
        "used": percent(use["used_percent"]),
        "bar": bar(use["used_percent"]),
        "free": units(use["free"]),
    }


@group.command("list")
@click.option("--kind", type=click.Choice(_KINDS), help="Only of this kind.")
@click.option("--vrf", help="Only in this VRF; `default` is the one without a name.")
@click.option("--site", help="Only at this site.")
@click.option("--state", type=click.Choice(["active", "draining", "disabled"]), help="Only in this state.")
@tenant_option
@click.option("--limit", default=1000, show_default=True)
@click.option("--offset", default=0)
@output_option
@click.pass_context
def list_command(context: click.Context, /, output: str, **params: object) -> None:
    """List pools and how full they are.

    Used is what cannot be given to somebody new now: leased, held, in quarantine, reserved.

    Example: dotmac-edge pool list --kind v4
    """
    show_page(ask(context, "GET", _PATH, params=params), _COLUMNS, output, _row)


@group.command("show")
@click.argument("name")
@tenant_option
@output_option
@click.pass_context
def show_command(context: click.Context, name: str, tenant: str | None, output: str) -> None:
    """Show one pool: its ranges, what is used of them, its times, and the nodes that share it.

    Example: dotmac-edge pool show home
    """
    _show(ask(context, "GET", place(_PATH, name), params={"tenant": tenant}), output)


def _show(found: Json, output: str) -> None:
    if output != "table":
        show_one(found, output)
        return
    use = found["use"]
    states = ", ".join(f"{use[state]} {state}" for state in _STATES if use[state])
    fields = {
        "name": found["name"],
        "tenant": found["tenant"],
        "kind": f"{found['kind']}, units of {_unit(found)}",
        "vrf": found["vrf"] or "default",
        "site": found["site"] or None,
        "state": found["state"],
        "defined by": found["origin"],
        "use": f"{percent(use['used_percent'])} of {use['size']}: {states or 'nothing'}",
        "order": f"{found['order']}, {'sticky' if found['sticky'] else 'not sticky'}",
        "times": ", ".join(f"{name[:-2].replace('_', ' ')} {duration(found[name])}" for name in _TIMES),
        "alarms": f"low {found['low_percent']:g} % free, critical {found['critical_percent']:g} % free",
        "fallbacks": ", ".join(found["fallbacks"]) or "none",
        "exclusions": ", ".join(found["exclusions"]) or None,
        "disconnecting": _disconnecting(found["disconnecting"]),
    }
    show_one(fields, output)
    if found["ranges"]:
        click.echo()
        show(
            [each | {"note": _note(each), "slots": units(each["slots"])} for each in found["ranges"]],
            _RANGES,
            output,
        )
    if found["blocks"]:
        click.echo()
        columns = (
            Column("node", "Node"),
            Column("blocks", "Blocks", "right"),
            Column("slots", "Units", "right"),
        )
        show([each | {"node": each["node"] or "(free)"} for each in found["blocks"]], columns, output)


def _unit(found: Json) -> str:
    return f"{found['unit_length']} ports" if found["kind"] == "cgn-block" else f"/{found['unit_length']}"


def _disconnecting(progress: Json) -> str | None:
    if progress is None:
        return None
    return (
        f"{progress['asked']} sessions asked to end, {progress['live']} leases left, "
        f"{progress['per_second']:g} a second"
    )


def _note(part: Json) -> str:
    if part["leaving"]:
        return "drains, and goes when it is empty"
    note = "drains" if part["draining"] else ""
    if part["slots"] >= _MOST_SLOTS:  # the rest of what was given is no part of the pool
        return f"{note}, the first units of what was given".removeprefix(", ")
    return note


# --- settings --------------------------------------------------------------------------------------


def _settings(command: _Command) -> _Command:
    """Give a command the options of what can be changed while a pool is in use."""
    for option in reversed(
        (
            click.option("--site", help="Where it is; selectors and utilisation go by it."),
            click.option("--sticky/--no-sticky", default=None, help="Whether owners get back what they had."),
            click.option(
                "--hold", "hold_s", callback=span, help="How long an ended lease is kept for its owner."
            ),
            click.option(
                "--quarantine", "quarantine_s", callback=span, help="Nobody else gets it for so long."
            ),
            click.option(
                "--min-reuse", "min_reuse_s", callback=span, help="As --quarantine; the longer counts."
            ),
            click.option(
                "--decline", "decline_s", callback=span, help="How long one found in use is kept back."
            ),
            click.option(
                "--lease", "lease_s", callback=span, help="Where the interim interval does not say it."
            ),
            click.option("--tentative", "tentative_s", callback=span, help="From the login to the Start."),
            click.option("--low", "low_percent", type=float, help="Per cent free, below which it is told."),
            click.option("--critical", "critical_percent", type=float, help="Per cent free: critical."),
            click.option("--fallback", "fallbacks", multiple=True, help="Pool to try next; may be repeated."),
        )
    ):
        command = option(command)
    return command


def _body(params: dict[str, Any]) -> dict[str, Any]:
    """Return what was given; an option that may be repeated and was not is not said."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in params.items()
        if value not in (None, ())
    }


@group.command("add")
@click.argument("name")
@click.option("--kind", type=click.Choice(_KINDS), required=True, help="What it leases.")
@click.option("--range", "ranges", multiple=True, required=True, help="192.0.2.0/24, or first-last.")
@click.option("--vrf", help="Space of addresses of its own; for VLANs their domain.")
@click.option("--unit", "unit_length", type=int, help="Length of one prefix; ports of one port block.")
@click.option("--exclude", "exclusions", multiple=True, help="Never given out; may be repeated.")
@click.option("--order", type=click.Choice(["sequential", "shuffled"]), help="In which order, when new.")
@click.option("--first-port", type=int, help="Of port blocks.")
@click.option("--last-port", type=int, help="Of port blocks.")
@click.option("--any-length", is_flag=True, default=None, help="Let a prefix end inside a nibble.")
@_settings
@tenant_option
@output_option
@click.pass_context
def add(context: click.Context, /, output: str, **params: Any) -> None:
    """Add a pool. It is leased from as soon as a selector names it.

    Refused where it overlaps another pool, or what is somebody's own; both are named.

    Example: dotmac-edge pool add pd --kind pd --unit 56 --range 2001:db8::/40 --hold 1h
    """
    _show(send(context, "POST", _PATH, _body(params)), output)


@group.command("change")
@click.argument("name")
@_settings
@tenant_option
@output_option
@click.pass_context
def change(context: click.Context, /, name: str, tenant: str | None, output: str, **params: Any) -> None:
    """Change the settings of a pool: site, times, thresholds, fallbacks.

    Example: dotmac-edge pool change home --hold 2h --fallback spare
    """
    body = _body(params)
    if not body:
        raise click.UsageError("say what is to change, such as --hold 2h")
    _show(send(context, "PATCH", place(_PATH, name), body, params={"tenant": tenant}), output)


@group.command("resize")
@click.argument("name")
@click.option("--add", multiple=True, help="Range to add; may be repeated.")
@click.option("--remove", multiple=True, help="Range to take away; may be repeated.")
@tenant_option
@output_option
@click.pass_context
def resize(
    context: click.Context,
    name: str,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    tenant: str | None,
    output: str,
) -> None:
    """Add ranges to a pool, and take ranges away, while it is in use.

    A range that is in use drains, and goes by itself when nothing of it is leased or waits any more.

    Example: dotmac-edge pool resize home --add 192.0.2.0/25 --remove 198.51.100.0/24
    """
    if not add and not remove:
        raise click.UsageError("say what to --add or to --remove")
    body = {"add": list(add), "remove": list(remove)}
    _show(send(context, "POST", f"{place(_PATH, name)}/resize", body, params={"tenant": tenant}), output)


@group.command("drain")
@click.argument("name")
@click.option("--range", "ranges", multiple=True, help="Only this range; may be repeated.")
@click.option("--disconnect", is_flag=True, help="End the sessions there, so that they get another address.")
@click.option("--rate", default=5.0, show_default=True, help="Sessions ended a second, at the most.")
@click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait with --disconnect until it is done."
)
@tenant_option
@output_option
@click.pass_context
def drain(
    context: click.Context,
    name: str,
    ranges: tuple[str, ...],
    disconnect: bool,
    rate: float,
    wait: bool,
    tenant: str | None,
    output: str,
) -> None:
    """Let no lease begin in a pool, or in some of its ranges; leases there stay until they end.

    With --disconnect the sessions there are ended at a pace, and their subscribers get another address at their next
    login. That goes on when this command is interrupted; `pool undrain` stops it.

    Example: dotmac-edge pool drain home --range 192.0.2.0/24 --disconnect
    """
    body = {"ranges": list(ranges), "disconnect": disconnect, "per_second": rate}
    found = send(context, "POST", f"{place(_PATH, name)}/drain", body, params={"tenant": tenant})
    if disconnect and wait:
        found = _wait(context, name, tenant)
    _show(found, output)


def _wait(context: click.Context, name: str, tenant: str | None) -> Json:
    """Show how far it is until no lease is left in what drains."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"Sessions in {name}", total=None)
        most = 0
        while True:
            found = ask(context, "GET", place(_PATH, name), params={"tenant": tenant})
            state = found["disconnecting"]
            if state is None:
                return found
            most = max(most, state["live"])
            progress.update(task, total=most or None, completed=most - state["live"])
            time.sleep(_POLL_S)


@group.command("undrain")
@click.argument("name")
@click.option("--range", "ranges", multiple=True, help="Only this range; may be repeated.")
@tenant_option
@output_option
@click.pass_context
def undrain(
    context: click.Context, name: str, ranges: tuple[str, ...], tenant: str | None, output: str
) -> None:
    """Let leases begin again in a pool, or in ranges of it, that drained.

    Example: dotmac-edge pool undrain home
    """
    body = {"ranges": list(ranges)}
    _show(send(context, "POST", f"{place(_PATH, name)}/undrain", body, params={"tenant": tenant}), output)


def _state_command(verb: str, state: str, text: str) -> None:
    @group.command(verb, help=f"{text}\n\nExample: dotmac-edge pool {verb} home")
    @click.argument("name")
    @tenant_option
    @output_option
    @click.pass_context
    def command(context: click.Context, name: str, tenant: str | None, output: str) -> None:
        path = place(_PATH, name)
        _show(send(context, "PATCH", path, {"state": state}, params={"tenant": tenant}), output)


_state_command("disable", "disabled", "Let no login rely on a pool; its leases stay until they end.")
_state_command("enable", "active", "Let leases begin again in a pool that was disabled or drained.")


def _exclusion_command(verb: str, field: str, text: str) -> None:
    @group.command(verb, help=f"{text}\n\nExample: dotmac-edge pool {verb} home 192.0.2.1-192.0.2.9")
    @click.argument("name")
    @click.argument("ranges", nargs=-1, required=True)
    @tenant_option
    @output_option
    @click.pass_context
    def command(
        context: click.Context, name: str, ranges: tuple[str, ...], tenant: str | None, output: str
    ) -> None:
        path = f"{place(_PATH, name)}/exclusions"
        _show(send(context, "POST", path, {field: list(ranges)}, params={"tenant": tenant}), output)


_exclusion_command(
    "exclude", "add", "Give out nothing of some ranges any more; leases of them end in their time."
)
_exclusion_command(
    "include",
    "remove",
    "Give out again what was excluded, at once; what was leased there waits as after any lease first.",
)


@group.command("delete")
@click.argument("name")
@tenant_option
@click.pass_context
def delete(context: click.Context, name: str, tenant: str | None) -> None:
    """Delete a pool of which nothing is in use. Who had its addresses stays in the history.

    Example: dotmac-edge pool delete old
    """
    ask(context, "DELETE", place(_PATH, name), params={"tenant": tenant})
    click.echo(f"Pool {name} is deleted.")


group.add_command(forecast)
group.add_command(next_command)
