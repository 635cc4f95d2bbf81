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
_NARROW = 4  # a column that is less than this on average is of no use
_GAP = 2  # columns between two of a table

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
        told = any(column.key == _TENANT.key for column in columns)
        several = not told and len({row.get("tenant") for row in rows}) > 1
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
    """Print `message` on standard error and leave with `exit_code`; each of its lines is made safe."""
    click.echo("Error: " + "\n".join(map(escaped, message.split("\n"))), err=True)
    raise click.exceptions.Exit(exit_code)


def _print_document(value: object, output: str) -> None:
    click.echo(json_text(value, indent=2) if output == "json" else yaml_text(value))


def _print_table(rows: Sequence[Mapping[str, object]], columns: Sequence[Column], *, titles: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - takes 50 ms to load, which JSON need not pay
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    cells = [[_cell(row.get(column.key)) for column in columns] for row in rows]
    widths = _widths([column.title if titles else "" for column in columns], cells, console.width)
    table = Table(box=None, show_header=titles, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column.title, justify=column.justify, overflow="fold", width=width)
    for row_cells in cells:
        table.add_row(*map(Text, row_cells))
    console.print(table)


def _widths(titles: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> list[int | None]:
    """Return widths of columns in which no word is parted, or those of the widest only; None: nothing folds."""
    from rich.cells import cell_len  # noqa: PLC0415

    columns = [[title, *cells] for title, *cells in zip(titles, *rows, strict=True)]
    full = [max(cell_len(line) for cell in each for line in cell.split("\n")) for each in columns]
    least = [max((cell_len(word) for cell in each for word in cell.split()), default=0) for each in columns]
    room = most - _GAP * len(columns)
    if sum(full) <= room or room < _NARROW * len(columns):
        return [None] * len(columns)
    level = max(least)
    while sum(min(low, level) for low in least) > room:
        level -= 1
    least = [min(low, level) for low in least]
    spare, wanted = room - sum(least), sum(full) - sum(least)
    return [low + spare * (high - low) // wanted for low, high in zip(least, full, strict=True)]


def json_text(value: object, *, indent: int | None = None) -> str:
    """Return a value as JSON in which nothing can steer a terminal; it reads back as the same value."""
    text = json.dumps(value, default=str, indent=indent, ensure_ascii=False)
    return "".join(each if each.isprintable() or each == "\n" else _of_json(each) for each in text)


def _of_json(char: str) -> str:
    return json.dumps(char)[1:-1] if not char.isascii() else f"\\u{ord(char):04x}"


def yaml_text(value: object, *, start: bool = False) -> str:
    """Return a value as YAML in which nothing can steer a terminal; `start` writes `---` before it."""
    import yaml  # noqa: PLC0415 - only for who asks for it

    # Through JSON, so that both print the same values and no Python type gets a tag.
    plain = json.loads(json.dumps(value, default=str))
    for unicode in (
        True,
        False,
    ):  # where a character is left that YAML itself thinks harmless, all are escaped
        text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=unicode, explicit_start=start)
        if all(each.isprintable() or each == "\n" for each in text):
            break
    return text.rstrip("\n")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value)
    if isinstance(value, Lines):
        return "\n".join(map(escaped, value.split("\n")))
    return escaped(str(value))


class Lines(str):
    """A text of several lines of our own in one cell; a line end in any other text is escaped."""

    __slots__ = ()


def escaped(text: str) -> str:
    """Return text with everything that could steer a terminal escaped, line ends as well: names come from strangers."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
