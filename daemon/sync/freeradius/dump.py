"""Dumps of the SQL schema: COPY and INSERT of pg_dump, INSERT of mysqldump. Anything else in them is passed over."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
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
_COMMA = re.compile(r"\s*,\s*")
_OF_USERS = frozenset({"radcheck", "radreply", "radusergroup"})
# How programs begin and end a dump; they write the second only after everything else.
_ENDS = (
    ("-- PostgreSQL database dump", "-- PostgreSQL database dump complete"),
    ("-- MySQL dump", "-- Dump completed"),
    ("-- MariaDB dump", "-- Dump completed"),
)
_BACKSLASH = re.compile(r"\\(.)", re.DOTALL)
_MEANS = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "Z": "\x1a", "f": "\f", "v": "\v"}


class DumpRow(NamedTuple):
    """One row: its values by column, in lower case; None is NULL."""

    table: str
    line: int
    values: Mapping[str, str | None]


@dataclass(slots=True)
class Damage:
    """What rows that cannot be read make unsafe: `users` have lost one, `whole` says what may have lost any."""

    users: set[str] = field(default_factory=set)
    whole: list[tuple[int, str]] = field(default_factory=list)  # line and what is wrong there


def is_dump(text: str) -> bool:
    """Tell whether a text is a dump of such tables."""
    return any(
        match["table"].lower() in STANDARD
        for form in (_COPY, _INSERT, _CREATE)
        for match in form.finditer(text)
    )


def rows(text: str, findings: Findings, damage: Damage) -> list[DumpRow]:
    """Return the rows of all tables of the schema, of each in the order of ids; the others go to `damage`."""
    found = list(_rows(text, findings, damage))
    _see_end(text, damage)

    def place(each: DumpRow) -> tuple[str, int]:
        key = each.values.get("id") or ""
        return each.table, int(key) if key.isdecimal() and len(key) <= 20 else 0

    return sorted(found, key=place)


def _see_end(text: str, damage: Damage) -> None:
    """Note where a dump has its beginning and not its end."""
    for first, last in _ENDS:
        if re.search(rf"^{first}\b", text[:5_000], re.MULTILINE) and last not in text[-5_000:]:
            damage.whole.append((text.count("\n") + 1, f"it ends without `{last}`"))


def _rows(text: str, findings: Findings, damage: Damage) -> Iterator[DumpRow]:
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
            end = yield from _copied(text, match.end(), _Table(table, names, findings, damage), line)
        else:
            of = _Table(table, names, findings, damage)
            end = yield from _inserted(text, match.end(), of, line, escapes)


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


class _Table(NamedTuple):
    name: str
    columns: tuple[str, ...]
    findings: Findings
    damage: Damage

    def row(self, line: int, values: list[str | None]) -> DumpRow | None:
        """Return a row, None where it has not the columns of its table."""
        if len(values) == len(self.columns):
            return DumpRow(self.name, line, dict(zip(self.columns, values, strict=True)))
        said = f"{len(values)} values; {len(self.columns)} expected"
        user = self._user(values)
        if user is None:
            self.broken(line, said)
        else:
            self.damage.users.add(user)
            self.findings.add(Why.SYNTAX, user, f"{self.name} line {line}", said, line)
        return None

    def _user(self, values: list[str | None]) -> str | None:
        """Return whose a row is that ends too early, None where that cannot be told."""
        place = self.columns.index("username") if "username" in self.columns else len(values)
        whose = values[place] if self.name in _OF_USERS and place + 1 < len(values) else None
        return whose if len(values) < len(self.columns) else None

    def broken(self, line: int, said: str) -> None:
        """Note what may have lost any row."""
        self.damage.whole.append((line, f"{self.name}: {said}"))
        self.findings.add(Why.SYNTAX, self.name, f"line {line}", said, line)


def _copied(text: str, at: int, table: _Table, line: int) -> Generator[DumpRow, None, int]:
    while at < len(text):
        stop = text.find("\n", at)
        ended, stop = stop >= 0, len(text) if stop < 0 else stop
        given = text[at:stop].rstrip("\r")
        at, line = stop + 1, line + 1
        if given == "\\.":
            return at
        if not ended:
            break  # the last row may be half of one
        made = table.row(line, [None if each == "\\N" else _unescaped(each) for each in given.split("\t")])
        if made is not None:
            yield made
    table.broken(line, "the rows end without `\\.`")
    return at


def _inserted(text: str, at: int, table: _Table, line: int, escapes: bool) -> Generator[DumpRow, None, int]:
    pattern = _ESCAPED if escapes else _PLAIN
    while text[at : at + 1] == "(":
        values: list[str | None] = []
        at += 1
        while (match := pattern.match(text, at)) is not None and match.end() > at:
            values.append(_value(match, escapes))
            at = match.end()
            if text[at : at + 1] != ",":
                break
            at += 1
        if text[at : at + 1] != ")" or len(values) != len(table.columns):
            table.broken(line, f"a row of {len(table.columns)} values was expected")
            return at
        yield DumpRow(table.name, line, dict(zip(table.columns, values, strict=True)))
        at += 1
        following = _COMMA.match(text, at)
        if following is None:
            if not text[at:].strip():
                table.broken(line, "the statement ends without `;`")
            return at
        line += text.count("\n", at, following.end())
        at = following.end()
    table.broken(line, "a row was expected")
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
