"""`dotmac-edge pool forecast`: when pools run out, drawn and said."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from daemon.cli.client import ask, place
from daemon.cli.ipam_options import span
from daemon.cli.output import WIDTH, Column, escaped, output_option, show_one, tenant_option
from daemon.cli.pages import show_page
from daemon.cli.times import duration

_DAY_S = 86_400
_UNITS = {
    "v6-prefix": "prefixes",
    "pd": "prefixes",
    "svlan": "VLANs",
    "cvlan": "VLANs",
    "cgn-block": "port blocks",
}
_WHY = {
    "subscribers": "more subscribers are online at once",
    "holds": "more are kept for owners who left; a shorter hold frees them (try --hold)",
}
_STANDS = {
    "critical": "full",
    "far": "not within ten years",
    "stable": "does not grow",
    "shrinking": "shrinks",
    "too-little-data": "too little is known yet",
}
_COLUMNS = (
    Column("pool", "Pool"),
    Column("kind", "Kind"),
    Column("used", "Used now", "right"),
    Column("size", "Size", "right"),
    Column("when", "Runs out in"),
    Column("between", "Between (90 %)"),
    Column("confidence", "Confidence"),
    Column("driver", "Why"),
)


@click.command("forecast")
@click.argument("name", required=False)
@click.option(
    "--days", type=click.IntRange(7, 3650), default=90, show_default=True, help="Days ahead that are drawn."
)
@click.option(
    "--history",
    type=click.IntRange(7, 730),
    default=180,
    show_default=True,
    help="Days back that are looked at.",
)
@click.option(
    "--hold", metavar="SPAN", callback=span, help="How it would be with this hold time: 30m, 1h, 2d."
)
@click.option(
    "--add", metavar="RANGE", multiple=True, help="How it would be with this range, too: 192.0.2.0/24."
)
@tenant_option
@output_option
@click.pass_context
def forecast(
    context: click.Context,
    name: str | None,
    days: int,
    history: int,
    hold: float | None,
    add: tuple[str, ...],
    tenant: str | None,
    output: str,
) -> None:
    """Tell when a pool runs out, from the highest use of its days, and what would help.

    Without NAME all pools are listed, those first that run out first.

    Example: dotmac-edge pool forecast home --hold 1h --add 192.0.2.0/24
    """
    if name is None:
        if hold is not None or add:
            raise click.UsageError("--hold and --add need the NAME of a pool")
        show_page(
            ask(context, "GET", "/api/v1/ipam/forecasts", params={"tenant": tenant}), _COLUMNS, output, _row
        )
        return
    params = {"tenant": tenant, "history_days": history, "hold_s": hold, "add": ",".join(add) or None}
    made = ask(context, "GET", f"{place('/api/v1/ipam/pools', name)}/forecast", params=params)
    if output != "table":
        show_one(made, output)
        return
    for line in _picture(made, days):
        click.echo(line)
    for line in sentences(made, hold, add):
        click.echo(escaped(line))


def _row(item: dict[str, Any]) -> dict[str, Any]:
    growing = item["seconds"] is not None and item["outlook"] != "critical"
    return item | {
        "used": f"{item['used']:,}",
        "size": _count(item["size"]),
        "when": _when_told(item, growing=growing),
        "between": f"{_days(item['earliest_s'])} to {_days(item['latest_s'])}" if growing else "",
        "driver": "" if item["driver"] in (None, "none") else item["driver"],
    }


def _when_told(item: dict[str, Any], *, growing: bool) -> str:
    if item["draining"] == "wholly":
        return "drains"
    return _days(item["seconds"]) if growing else _STANDS[item["outlook"]]


def _picture(made: dict[str, Any], ahead_days: int) -> Iterator[str]:
    """Yield the chart and what its characters mean; nothing where too little is known, or all drains."""
    if made["trend"] is None or made["draining"] == "wholly":
        return
    from shutil import get_terminal_size  # noqa: PLC0415 - only for who looks at one pool

    from ipam.forecast import Confidence, Driver, Forecast, Outlook, Peak, Trend  # noqa: PLC0415
    from ipam.forecast_chart import chart  # noqa: PLC0415

    peaks = [Peak(**each) for each in made["points"]]
    shown = Forecast(
        Outlook(made["outlook"]),
        made["size"],
        made["seconds"],
        made["earliest_s"],
        made["latest_s"],
        Confidence(made["confidence"]),
        Driver(made["driver"]),
        Trend(**made["trend"] | {"season": tuple(made["trend"]["season"])}),
    )
    width = get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
    yield from chart(peaks, shown, width, ahead_days=ahead_days)
    yield "# highest of a day   * expected   . 90 % of days   - size of the pool"
    yield ""


def sentences(made: dict[str, Any], hold: float | None = None, add: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield what a forecast says, a sentence a line."""
    unit = _UNITS.get(made["kind"], "addresses")
    if made["draining"] == "wholly":
        yield (
            f"Pool {made['pool']} drains: {made['used']:,} of its {unit} are taken still, {made['held']:,} of them "
            f"held after a lease, and none is given out any more."
        )
        return
    taken = f"{made['used']:,} of {_count(made['size'])} {unit} are taken now"
    if made["draining"] == "partly":  # what is taken may be more than the rest has
        yield f"Ranges of pool {made['pool']} drain: without them it has {_count(made['size'])} {unit}."
        taken = f"{made['used']:,} {unit} are taken now, in all its ranges"
    yield f"Pool {made['pool']}: {taken}, {made['held']:,} of them held after a lease."
    if made["outlook"] == "too-little-data":
        yield _too_little(made)
        return
    yield from _when(made)
    if made["year_size"] is not None:
        yield _for_a_year(made, unit)
    if made["changed"] is not None:
        yield _changed(made["changed"], unit, hold, add)


def _too_little(made: dict[str, Any]) -> str:
    known, needed = made["days"], made["needed_days"]
    days = "no whole day" if not known else "one day" if known == 1 else f"{known} days"
    more = needed - known
    return (
        f"That is too little for a forecast: the peaks of {days} are known and {needed} are needed. "
        f"Ask again in {'a day' if more == 1 else f'{more} days'}."
    )


def _when(made: dict[str, Any]) -> Iterator[str]:
    growth = f"{made['trend']['slope']:+,.1f} a day" if made["trend"] else ""
    outlook = made["outlook"]
    if outlook == "critical":
        yield "It is full: its last peak used everything it has."
    elif outlook == "growing":
        yield (
            f"It runs out in {_days(made['seconds'])}, on {_date(made['at'] + made['seconds'])}; with 90 % between "
            f"{_days(made['earliest_s'])} and {_days(made['latest_s'])}."
        )
    elif outlook == "far":
        yield f"It grows ({growth}), but does not run out within ten years."
    else:
        yield (
            "It shrinks and does not run out."
            if outlook == "shrinking"
            else ("It does not grow as far as can be told from chance, so no end is in sight.")
        )
        if made["earliest_s"] is not None:
            yield f"It cannot be ruled out that it runs out in {_days(made['earliest_s'])}."
    if made["driver"] in _WHY and outlook != "far":
        yield f"Why: {_WHY[made['driver']]} ({growth})."
    yield f"Confidence: {made['confidence']}, from the peaks of {made['days']} days."


def _for_a_year(made: dict[str, Any], unit: str) -> str:
    lacking = made["year_size"] - made["size"]
    if lacking > 0:
        return f"To last a year it should have {made['year_size']:,} {unit}: {lacking:,} more."
    return "It is large enough for a year."


def _changed(changed: dict[str, Any], unit: str, hold: float | None, add: tuple[str, ...]) -> str:
    wished = [] if hold is None else [f"a hold of {duration(hold)}"]
    wished += [f"{' and '.join(add)} ({_count(changed['size'])} {unit} in all)"] if add else []
    said = {
        "critical": "it would be full all the same",
        "growing": f"it would run out in {_days(changed['seconds'])}, with 90 % between "
        f"{_days(changed['earliest_s'])} and {_days(changed['latest_s'])}",
        "far": "it would not run out within ten years",
    }
    return f"With {' and '.join(wished)} {said.get(changed['outlook'], 'no end would be in sight')}."


def _days(seconds: float | None) -> str:
    """Return a time that nobody knows to the hour."""
    if seconds is None:
        return "never"
    days = seconds / _DAY_S
    return "less than a day" if days < 1 else f"{days:.0f} d" if days < 730 else f"{days / 365:.1f} years"


def _date(at: float) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def _count(number: int) -> str:
    return f"{number:,}" if number < 1_000_000_000 else f"~2^{number.bit_length() - 1}"
