"""What commands about definitions have in common: spans of time as options, bodies of requests."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from daemon.cli.client import Json, ask

_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhd]?)", re.ASCII)
_MANY = 1_000_000_000
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def span(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of an option such as 30s, 10m, 1h or 2d; a plain number is seconds."""
    if value is None:
        return None
    found = _SPAN.fullmatch(value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no span of time such as 30s, 10m, 1h or 2d")
    return float(found[1]) * _SECONDS[found[2]]


def send(
    context: click.Context,
    method: str,
    path: str,
    body: dict[str, Any],
    *,
    params: dict[str, object] | None = None,
) -> Json:
    """Send a body and return the answer; what is None is left out."""
    said = {name: value for name, value in body.items() if value is not None}
    return ask(context, method, path, params=params, content=json.dumps(said).encode())


def tell_notes(made: Json) -> None:
    """Say on standard error what is odd about something that was made all the same."""
    for each in made.get("notes", ()):
        click.echo(f"Note: {each}", err=True)


def percent(value: float) -> str:
    """Return a share as it stands in tables."""
    return f"{value:.1f} %" if 0 < value < 99.95 or value in (0, 100) else f"{value:.2f} %"


def bar(value: float, width: int = 10) -> str:
    """Return a share of a hundred as a bar of characters."""
    full = round(value / 100 * width)
    if value > 0 and full == 0:
        full = 1
    return "█" * full + "·" * (width - full)


def units(number: int) -> str:
    """Return how many units there are, short where that is a very great number."""
    if number < _MANY:
        return str(number)
    short = float(number)
    for sign in ("", "k", "M", "G", "T", "P"):
        if short < 1000:
            return f"{short:.1f} {sign}"
        short /= 1000
    return f"{short:.1f} E"
