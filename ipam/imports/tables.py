"""Rows of a CSV or JSON export, with names of columns that do not depend on how a version spells them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ipam.imports.collector import Collector
from ipam.imports.json_rows import BrokenJson, Envelope, objects
from ipam.imports.records import Finding, Source

_DELIMITERS = (",", ";", "\t")
_BETWEEN = re.compile(r"[^a-z0-9]+")
# In an answer of an API a thing stands as an object: what names it best comes first.
_NAMES = ("value", "name", "address", "prefix", "slug", "display", "label", "id")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: where it stands and its fields as text; a field that is missing or null is empty."""

    file: str
    line: int
    names: tuple[str, ...]
    values: tuple[str, ...]

    def get(self, *names: str) -> str:
        """Return the first of these fields that is not empty."""
        for name in names:
            if name in self.names and (value := self.values[self.names.index(name)]):
                return value
        return ""

    def has(self, *names: str) -> bool:
        """Tell whether one of these fields is there, empty or not."""
        return any(name in self.names for name in names)

    def finding(self, field: str, expected: str, remedy: str = "", got: str | None = None) -> Finding:
        """Return a finding about a field of this row."""
        said = self.get(field) if got is None else got
        return Finding(
            file=self.file,
            line=self.line,
            field=field,
            got=said or "nothing",
            expected=expected,
            remedy=remedy,
        )


def begin(source: Source) -> tuple[str, Source]:
    """Return the first line that is not blank (nothing if there is none), and the source to read from its start.

    A byte order mark is dropped.
    """
    lines = iter(source.lines)
    read: list[str] = []
    for line in lines:
        read.append(line if read else line.lstrip("\ufeff"))
        if read[-1].strip():
            return read[-1], Source(source.name, chain(read, lines))
    return "", Source(source.name, read)


Needs = tuple[tuple[str, ...], ...]
"""The columns that must be there; of each inner tuple one is enough."""


def rows(source: Source, collector: Collector, needs: Needs) -> Iterator[Row]:
    """Yield the rows of a CSV text with a header (comma, semicolon or tab), or of JSON; problems go to `collector`.

    JSON is recognised by its first character. After a problem with the form of the file nothing more is read.
    """
    first, whole = begin(source)
    if not first:
        expected = "a CSV with a header, or JSON"
        collector.problem(
            Finding(file=source.name, line=None, field="", got="an empty file", expected=expected)
        )
        return
    if first.lstrip()[0] in "[{":
        yield from _json(whole, collector, needs)
    else:
        yield from _csv(whole, first, collector, needs)


def note_columns(row: Row, known: frozenset[str], collector: Collector) -> None:
    """Note the columns of a file that are not taken over."""
    left = [name for name in row.names if name not in known]
    if left:
        collector.note(
            Finding(
                file=row.file,
                line=None,
                field=", ".join(left),
                got="columns that have no place here",
                expected=f"some of {', '.join(sorted(known))}",
            )
        )


def _lacks(source: Source, line: int, names: tuple[str, ...], collector: Collector, needs: Needs) -> bool:
    missing = [need for need in needs if not any(name in names for name in need)]
    if missing:
        expected = " and ".join(f"a column {' or '.join(need)}" for need in missing)
        got = f"the columns {', '.join(names)}"
        remedy = "is it the right file?"
        collector.problem(
            Finding(file=source.name, line=line, field="", got=got, expected=expected, remedy=remedy)
        )
    return bool(missing)


def _csv(source: Source, first: str, collector: Collector, needs: Needs) -> Iterator[Row]:
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(source.lines, delimiter=delimiter, strict=True)

    def broken(got: str, expected: str, remedy: str) -> None:
        place = Finding(
            file=source.name, line=reader.line_num, field="", got=got, expected=expected, remedy=remedy
        )
        collector.problem(place)

    try:
        names = tuple(_name(each) for each in next(row for row in reader if row))
        if len(set(names)) != len(names):
            broken(first.strip(), "a header that names each column once", "rename one of the columns")
            return
        if _lacks(source, reader.line_num, names, collector, needs):
            return
        for values in filter(None, reader):
            if len(values) == len(names):
                yield Row(source.name, reader.line_num, names, tuple(value.strip() for value in values))
                continue
            remedy = "quote fields that hold the delimiter; is the file cut off?"
            broken(f"{len(values)} fields", f"{len(names)} fields as in the header", remedy)
    except csv.Error as error:
        broken(str(error), "CSV", "is the file cut off, or a quote not doubled?")


def _json(source: Source, collector: Collector, needs: Needs) -> Iterator[Row]:
    envelope = Envelope()
    count = 0
    try:
        for line, each in objects(source, envelope):
            count += 1
            names = tuple(map(_name, each))
            if _lacks(source, line, names, collector, needs):
                return
            yield Row(source.name, line, names, tuple(map(_text, each.values())))
    except BrokenJson as error:
        collector.problem(
            Finding(file=source.name, line=error.line, field="", got="broken JSON", expected=error.expected)
        )
        return
    if envelope.success is False:
        got = f"an answer without success: {envelope.message}"
        collector.problem(Finding(file=source.name, line=None, field="success", got=got, expected="true"))
    if envelope.next is not None or (envelope.count is not None and envelope.count != count):
        # One page of many looks complete, and would leave out most of the book.
        collector.problem(
            Finding(
                file=source.name,
                line=None,
                field="next" if envelope.next else "count",
                got=f"{count} of {'more' if envelope.count is None else envelope.count} objects",
                expected="all of them",
                remedy="export with limit=0, or join the pages",
            )
        )


def _name(text: Any) -> str:
    return _BETWEEN.sub("_", str(text).strip().lower()).strip("_")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        holder = value.get("device") or value.get("virtual_machine")
        if holder:  # an interface: its name alone is not unique
            return " ".join(filter(None, (_text(holder), _text(value.get("name")))))
        return next((_text(value[name]) for name in _NAMES if value.get(name) not in (None, "")), "")
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value).strip()
