"""Times and sizes for tables."""

from __future__ import annotations

from datetime import UTC, datetime


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
