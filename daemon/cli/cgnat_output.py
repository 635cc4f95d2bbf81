"""How plans of a CGNAT are printed."""

from __future__ import annotations

from typing import Any

import click

from daemon.cli.output import WIDTH, Column, show, show_one
from daemon.cli.times import when

PLAN_COLUMNS = (
    Column("name", "Plan"),
    Column("version", "Version", "right"),
    Column("inside", "Inside"),
    Column("outside", "Outside"),
    Column("block_size", "Ports", "right"),
    Column("sharing", "Sharing", "right"),
    Column("span", "In force"),
)
PORTS_COLUMNS = (
    Column("source", "Source"),
    Column("ports", "Outside ports"),
    Column("said", "By"),
    Column("session", "Session"),
    Column("span", "Held"),
)
_ROW_COLUMNS = (Column("inside", "Inside"), Column("ports", "Outside ports"))
_DIFFERENCE_COLUMNS = (
    Column("line", "Line", "right"),
    Column("inside", "Inside"),
    Column("ports", "The device has"),
    Column("expected", "The plan says"),
    Column("why", "Difference"),
)


def ports_text(item: dict[str, Any]) -> str:
    """Return ports as `203.0.113.1:1024-2047`, with `/14` behind where it is every 14th."""
    last = "" if item["first_port"] == item["last_port"] else f"-{item['last_port']}"
    step = f"/{item['step']}" if item.get("step", 1) != 1 else ""
    return f"{item['outside']}:{item['first_port']}{last}{step}"


def plan_row(item: dict[str, Any]) -> dict[str, Any]:
    """Return a plan as the columns show it."""
    return item | {"span": _span(item["valid_from"] or None, item["valid_until"])}


def ports_row(item: dict[str, Any]) -> dict[str, Any]:
    """Return ports of an inside address as the columns show them."""
    said = item["nas"] or f"{item['plan']} version {item['version']}"
    return item | {
        "ports": ports_text(item),
        "said": said,
        "span": _span(item["since"], item["until"]) if item["source"] == "reported" else "",
    }


def print_plan(item: dict[str, Any]) -> None:
    """Print one version of a plan, rows to check a device against, and the configuration where it was asked for."""
    said = {
        "plan": f"{item['name']} version {item['version']} of {item['tenant']}",
        "in force": _span(item["valid_from"] or None, item["valid_until"]),
        "inside": item["inside"],
        "outside": item["outside"],
        "algorithm": item["algorithm"],
        "ports": f"{item['first_port']}-{item['last_port']}",
        "reserved ports": item["reserved_ports"] or None,
        "ports per subscriber": item["block_size"],
        "subscribers per outside address": item["sharing"],
        "ports per outside address not dealt out": item["overflow_ports"],
        "boundary addresses take part": item["boundaries"],
        "added": when(item["added_at"]),
    }
    show_one(said, "table")
    _print_rows(item["vectors"])
    print_snippet(item["snippet"])


def print_proposal(found: dict[str, Any]) -> None:
    """Print a proposal; where no plan fits, what is missing and what would help."""
    if found["plan"] is None:
        click.echo(click.wrap_text(f"No plan fits: {found['problem']}.", WIDTH))
        for each in found["alternatives"]:
            click.echo(f"  - {each}")
        return
    show_one({each["label"]: each["value"] for each in found["summary"]}, "table")
    for note in found["notes"]:
        click.echo(click.wrap_text(f"Note: {note}.", WIDTH))
    _print_rows(found["vectors"])
    print_snippet(found["snippet"])


def print_snippet(snippet: dict[str, Any] | None) -> None:
    """Print the configuration of a device, or why there is none."""
    if snippet is None:
        return
    click.echo("")
    if snippet["cannot"]:
        click.echo(
            f"No configuration for {snippet['device']}: {snippet['cannot']}. {_sentence(snippet['remedy'])}"
        )
        return
    for warning in snippet["warnings"]:
        click.echo(f"# Warning: {warning}")
    click.echo(snippet["text"], nl=False)


def print_verification(found: dict[str, Any]) -> None:
    """Print how an export compares with a plan."""
    plan = f"{found['name']} version {found['version']}"
    click.echo(
        f"{found['checked']} lines compared with {plan}: {found['different']} differ, "
        f"{found['unreadable']} could not be read."
    )
    if found["differences"]:
        rows = [each | {"ports": ports_text(each)} for each in found["differences"]]
        show(rows, _DIFFERENCE_COLUMNS, "table")
        rest = found["different"] - len(rows)
        if rest > 0:
            click.echo(f"{rest} more.")
    for each in found["problems"]:
        click.echo(f"line {each['line']}: {each['why']}", err=True)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    if rows:
        click.echo("")
        show([each | {"ports": ports_text(each)} for each in rows], _ROW_COLUMNS, "table")


def _span(since: float | None, until: float | None) -> str:
    begin = "always" if since is None else when(since)
    return f"from {begin}" if until is None else f"{begin} to {when(until)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
