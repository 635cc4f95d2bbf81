"""How a page of the API is printed: the rows as a table, or the whole page as JSON or YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from daemon.cli.output import Column, show, show_one


def show_page(
    page: Mapping[str, Any],
    columns: Sequence[Column],
    output: str,
    row: Callable[[dict[str, Any]], dict[str, Any]] = lambda item: item,
) -> None:
    """Print a page; `row` makes an item ready for the table."""
    if output != "table":
        show_one(page, output)
        return
    items = page["items"]
    if not items:
        click.echo("None.")
        return
    show([row(item) for item in items], columns, output)
    rest = page["count"] - page["offset"] - len(items)
    if rest > 0:
        click.echo(f"{rest} more of {page['count']}: --offset {page['offset'] + len(items)}")
