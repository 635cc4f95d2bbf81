"""Dumps of the SQL schema: COPY and INSERT of pg_dump, INSERT of mysqldump. Anything else in them is passed over."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from typing import NamedTuple

from daemon.sync.freeradius.findings import Findings, Why

STANDARD: Mapping[str, tuple[str, ...]] = {
    "radcheck": ("id", "username", "attribute", "op", "value"),
    "radreply": ("id", "username", "attribute", "op", "value"),
    "radgroupcheck": ("id", "groupname", "attribute", "op", "value"),
    "radgroupreply": ("id", "groupname", "attribute", "op", "value"),
    "radusergroup": ("id", "username", "groupname", "priority"),
    "nas": ("id", "nasname", "shortname", "type", "ports", "secret", "server", "community", "description"),
}

_TABLE = r'(?:[`"]?[\w-]+[`"]?\.)?[`"]?(?P<table>\w+)[`"]?'
_COPY = re.compile(rf"COPY\s+{_TABLE}\s*\((?P<columns>[^)]*)\)\s+FROM\s+stdin;\s*", re.IGNORECASE)
_INSERT = re.compile(
    rf"INSERT\s+(?:IGNORE\s+)?INTO\s+{_TABLE}\s*(?:\((?P<columns>[^)]*)\))?\s*VALUES\s*", re.IGNORECASE
)
_CREATE = re.compile(rf"CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{_TABLE}\s*\(", re.IGNORECASE)
_COLUMN = re.compile(r'\s*[`"]?(?P<name>\w+)[`"]?\s+\w')
_NO_COLUMN = frozenset({"primary", "key", "unique", "constraint", "index", "check", "foreign", "fulltext"})
_PLAIN = re.compile(r"\s*(?:[eE]?'(?P<text>(?:[^']|'')*)'|(?P<word>[^\s,()']+))\s*")
_ESCAPED = re.compile(r"\s*(?:[eE]?'(?P<text>(?:[^'\\]|\\.|'')*)'|(?P<word>[^\s,()']+))\s*", re.DOTALL)
_BACKSLASH = re.compile(r"\\(.)", re.DOTALL)
_MEANS = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "Z": "\x1a", "f": "\f", "v": "\v"}


class DumpRow(NamedTuple):
    """One row: its values by column, in lower case; None is NULL."""

    table: str
    line: int
    values: Mapping[str, str | None]


def is_dump(text: str) -> bool:
    """Tell whether a text is a dump of such tables."""
    return any(
        match["table"].lower() in STANDARD
        for form in (_COPY, _INSERT, _CREATE)
        for match in form.finditer(text)
    )


def rows(text: str, findings: Findings) -> list[DumpRow]:
    """Return the rows of all tables of the schema, of each in the order of ids."""
    found = list(_rows(text, findings))

    def place(each: DumpRow) -> tuple[str, int]:
        key = each.values.get("id") or ""
        return each.table, int(key) if key.isdecimal() else 0

    return sorted(found, key=place)


def _rows(text: str, findings: Findings) -> Iterator[DumpRow]:
    columns = dict(STANDARD)
    escapes = bool(re.search(r"-- (?:MySQL|MariaDB) dump|/\*!\d{5}|INTO `", text[:20_000] + text[-2_000:]))
    starts = sorted(
        (match.start(), form, match)
        for form, pattern in (("copy", _COPY), ("insert", _INSERT), ("create", _CREATE))
        for match in pattern.finditer(text)
        if match.start() == 0 or text[match.start() - 1] in "\n\r ;\t/"
    )
    end, line, counted = 0, 1, 0
    for start, form, match in starts:
        table = match["table"].lower()
        if start < end or table not in STANDARD:
            continue  # inside a value of another statement
        line += text.count("\n", counted, start)
        counted = start
        if form == "create":
            columns[table] = tuple(_created(text, match.end())) or columns[table]
            continue
        named = match["columns"]
        names = columns[table] if named is None else tuple(_bare(each) for each in named.split(","))
        if form == "copy":
            end = yield from _copied(text, match.end(), table, names, line)
        else:
            end = yield from _inserted(text, match.end(), table, names, line, escapes, findings)


def _created(text: str, at: int) -> Iterator[str]:
    """Yield the names of the columns of a CREATE TABLE whose bracket opens before `at`."""
    depth, piece = 1, ""
    while at < len(text) and depth:
        char = text[at]
        depth += (char == "(") - (char == ")")
        if (char == "," and depth == 1) or depth == 0:
            match = _COLUMN.match(piece)
            if match is not None and match["name"].lower() not in _NO_COLUMN:
                yield match["name"].lower()
            piece = ""
        else:
            piece += char
        at += 1


def _copied(
    text: str, at: int, table: str, names: tuple[str, ...], line: int
) -> Generator[DumpRow, None, int]:
    while at < len(text):
        stop = text.find("\n", at)
        stop = len(text) if stop < 0 else stop
        given = text[at:stop].rstrip("\r")
        at, line = stop + 1, line + 1
        if given == "\\.":
            break
        values = [None if each == "\\N" else _unescaped(each) for each in given.split("\t")]
        if len(values) == len(names):
            yield DumpRow(table, line, dict(zip(names, values, strict=True)))
    return at


def _inserted(
    text: str, at: int, table: str, names: tuple[str, ...], line: int, escapes: bool, findings: Findings
) -> Generator[DumpRow, None, int]:
    pattern = _ESCAPED if escapes else _PLAIN
    while at < len(text) and text[at] == "(":
        values: list[str | None] = []
        at += 1
        while (match := pattern.match(text, at)) is not None and match.end() > at:
            values.append(_value(match, escapes))
            at = match.end()
            if text[at : at + 1] != ",":
                break
            at += 1
        if text[at : at + 1] != ")" or len(values) != len(names):
            findings.add(Why.SYNTAX, table, "INSERT", f"a row of {len(names)} values was expected", line)
            return at
        yield DumpRow(table, line, dict(zip(names, values, strict=True)))
        at += 1
        following = re.compile(r"\s*,\s*").match(text, at)
        if following is None:
            break
        line += text.count("\n", at, following.end())
        at = following.end()
    return at


def _value(match: re.Match[str], escapes: bool) -> str | None:
    word = match["word"]
    if word is not None:
        return None if word.upper() == "NULL" else word
    value = match["text"].replace("''", "'")
    return _unescaped(value) if escapes else value


def _unescaped(value: str) -> str:
    if "\\" not in value:
        return value
    return _BACKSLASH.sub(lambda match: _MEANS.get(match[1], match[1]), value)


def _bare(name: str) -> str:
    return name.strip().strip('`"').lower()
