"""Times and sizes: for tables, and as people give them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

_SPAN = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def when(at: float | None) -> str:
    """Return epoch seconds as local date and time, empty for None."""
    if at is None:
        return ""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(octets: int) -> str:
    """Return octets with a binary unit: 1.5 GiB."""
    number = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def moment(_context: click.Context, _option: click.Parameter, value: str | None) -> float | None:
    """Return epoch seconds for an option: ISO 8601 (local without a zone), so long ago (15m, 2h, 7d), or `now`."""
    if value is None:
        return None
    span = _SPAN.fullmatch(value)
    try:
        if value == "now":
            return datetime.now(UTC).timestamp()
        if span is not None:
            ago = timedelta(**{_UNITS[span[2]]: int(span[1])})
            return (datetime.now(UTC) - ago).timestamp()
        return datetime.fromisoformat(value).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is no time such as 2026-07-01T20:00:00Z, and no span such as 15m, 2h or 7d"
        ) from None


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: 2 d 3 h, 4 min 5 s."""
    whole = round(seconds)
    parts: list[str] = []
    for unit, size_s in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if whole >= size_s or (unit == "s" and not parts):
            parts.append(f"{whole // size_s} {unit}")
            whole %= size_s
    return " ".join(parts[:2])
