"""What commands print: a table for people, JSON or YAML for programs; and how they fail."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, NoReturn, TypeVar

import click

WIDTH = 100  # of a table that does not go to a terminal

_Command = TypeVar("_Command", bound=Callable[..., Any])


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    DIFFERENCES = 3
    NOT_FOUND = 4
    DENIED = 5
    UNREACHABLE = 6
    PARTIAL = 7


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: which key of a row, under which title."""

    key: str
    title: str
    justify: Literal["left", "right", "center"] = "left"


_TENANT = Column("tenant", "Tenant")  # of a table whose rows are of several


def output_option(command: _Command) -> _Command:
    """Give a command `--output table|json|yaml`; its parameter is `output`."""
    return click.option(
        "--output",
        type=click.Choice(["table", "json", "yaml"]),
        default="table",
        show_default=True,
        help="How to print the result.",
    )(command)


def tenant_option(command: _Command) -> _Command:
    """Give a command `--tenant`, for a name that several tenants use; its parameter is `tenant`."""
    return click.option("--tenant", metavar="ID", help="Only of this tenant.")(command)


def show(rows: Sequence[Mapping[str, object]], columns: Sequence[Column], output: str) -> None:
    """Print rows: a table of `columns`, or every key of every row as a JSON or YAML list.

    Where rows have `tenant` and are of several, that is a column, too.
    """
    if output == "table":
        several = len({row.get("tenant") for row in rows}) > 1
        _print_table(rows, (_TENANT, *columns) if several else columns, titles=True)
    else:
        _print_document(list(rows), output)


def show_one(fields: Mapping[str, object], output: str) -> None:
    """Print one thing: a line for each field that is not None, or a JSON or YAML object."""
    if output == "table":
        rows = [{"name": name, "value": value} for name, value in fields.items() if value is not None]
        _print_table(rows, (Column("name", "Field"), Column("value", "Value")), titles=False)
    else:
        _print_document(fields, output)


def fail(message: str, exit_code: ExitCode = ExitCode.FAILURE) -> NoReturn:
    """Print `message` on standard error and leave with `exit_code`."""
    click.echo(f"Error: {message}", err=True)
    raise click.exceptions.Exit(exit_code)


def _print_document(value: object, output: str) -> None:
    text = json.dumps(value, default=str, indent=2, ensure_ascii=False)
    if output == "yaml":
        import yaml  # noqa: PLC0415 - only for who asks for it

        # Through JSON, so that both print the same values and no Python type gets a tag.
        text = yaml.safe_dump(json.loads(text), sort_keys=False, allow_unicode=True).rstrip("\n")
    click.echo(text)


def _print_table(rows: Sequence[Mapping[str, object]], columns: Sequence[Column], *, titles: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - takes 50 ms to load, which JSON need not pay
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, show_header=titles, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.title, justify=column.justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column.key))) for column in columns))
    Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False).print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value)
    return escaped(str(value))


def escaped(text: str) -> str:
    """Return text with everything that could steer a terminal escaped: names come from strangers."""
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)
