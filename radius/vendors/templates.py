"""Service names with rates in them: `INTERNET({download_bps},{upload_bps})`."""

from __future__ import annotations

from string import Formatter

from radius.errors import Unencodable
from radius.grant import Grant, Rate

_UNITS = {"bps": 1, "kbps": 1_000, "m": 1_000_000}
PLACEHOLDERS = tuple(f"{{{direction}_{unit}}}" for direction in ("download", "upload") for unit in _UNITS)


def services(grant: Grant, attribute_name: str) -> tuple[str, ...]:
    """Return the services of `grant` with their placeholders filled in.

    `{download_bps}`, `{download_kbps}` and `{download_m}` (whole Mbit/s), the same with `upload`, and
    doubled braces for braces. Raises Unencodable for any other placeholder, for one without a rate, and
    for a rate that is no whole number of the unit.
    """
    return tuple(_fill(template, grant.rate, attribute_name) for template in grant.services)


def _fill(template: str, rate: Rate | None, attribute_name: str) -> str:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise Unencodable(attribute_name, f"service {template!r}: {error}", _allowed()) from None
    filled = ""
    for literal, name, form, conversion in parts:
        filled += literal
        if name is None:
            continue
        if f"{{{name}}}" not in PLACEHOLDERS or form or conversion:
            raise Unencodable(
                attribute_name, f"service {template!r}: unknown placeholder {name!r}", _allowed()
            )
        if rate is None:
            raise Unencodable(attribute_name, f"service {template!r} needs a rate", "give the plan its rates")
        filled += _value(name, rate, attribute_name)
    return filled


def _value(name: str, rate: Rate, attribute_name: str) -> str:
    direction, _, unit = name.partition("_")
    bps = rate.download_bps if direction == "download" else rate.upload_bps
    whole, rest = divmod(bps, _UNITS[unit])
    if bps < 1 or rest:
        why = f"{bps} bit/s is no whole number for {{{name}}}"
        raise Unencodable(attribute_name, why, f"use {{{direction}_bps}}")
    return str(whole)


def _allowed() -> str:
    return "allowed are " + ", ".join(PLACEHOLDERS)
