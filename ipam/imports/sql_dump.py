"""The rows of one table in an SQL dump: INSERT and REPLACE of MySQL and PostgreSQL, COPY of pg_dump."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ipam.imports.records import Source
from ipam.imports.sql_tokens import BrokenDump, Dump, Kind, Token

_NO_COLUMN = frozenset({"PRIMARY", "KEY", "UNIQUE", "CONSTRAINT", "INDEX", "CHECK", "FOREIGN", "FULLTEXT"})
_COPY_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_COPY_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(frozen=True, slots=True)
class SqlRow:
    """One row: its line, and its values beside the names of the columns in small letters; NULL is None."""

    line: int
    columns: tuple[str, ...]
    values: tuple[str | None, ...]

    def get(self, *names: str) -> str | None:
        """Return the value of the first of these columns that the table has."""
        for name in names:
            if name in self.columns:
                return self.values[self.columns.index(name)]
        return None


def table_rows(source: Source, table: str) -> Iterator[SqlRow]:
    """Yield the rows of `table`, whatever its schema; raises BrokenDump, also where the table is not there.

    Only literals are read: a dump has no others. Streams: one line is in memory, and of MySQL's long INSERTs one row.
    """
    dump = Dump(source)
    columns: tuple[str, ...] = ()
    seen = False
    while (token := dump.next()) is not None:
        word = token.word()
        if word == "CREATE" and _is_table(dump, table):
            columns, seen = _created(dump), True
        elif word in ("INSERT", "REPLACE") and _is_into(dump, table):
            seen = True
            yield from _inserted(dump, columns)
        elif word == "COPY":
            name = _name(dump)
            if name == table:
                seen = True
            yield from _copied(dump, columns, wanted=name == table)
        elif token.text != ";":
            _skip(dump)
    if dump.unfinished:
        remedy = "the dump is cut off: make it again"
        raise BrokenDump(dump.line, "the end of the file", "the remark that ends a dump", remedy)
    if not seen:
        raise BrokenDump(dump.line, "no such table", f"the table {table}", "is it another dump?")


def _skip(dump: Dump) -> None:
    while True:
        token = dump.need("the end of the statement")
        if token.kind is Kind.MARK and token.text == ";":
            return


def _name(dump: Dump) -> str:
    """Return the last part of a name: of "public"."radippool", and of public.radippool."""
    name = dump.need("a table").text.rpartition(".")[2]
    while (token := dump.peek()) is not None and token.kind is Kind.MARK and token.text == ".":
        dump.next()
        name = dump.need("a table").text
    return name.lower()


def _is_table(dump: Dump, table: str) -> bool:
    word = dump.need("what is created").word()
    while word in ("TEMPORARY", "UNLOGGED", "GLOBAL", "LOCAL"):
        word = dump.need("TABLE").word()
    if word != "TABLE":
        return False
    while (token := dump.peek()) is not None and token.word() in ("IF", "NOT", "EXISTS"):
        dump.next()
    return _name(dump) == table


def _is_into(dump: Dump, table: str) -> bool:
    while dump.need("INTO").word() != "INTO":
        pass
    return _name(dump) == table


def _created(dump: Dump) -> tuple[str, ...]:
    _mark(dump, "(")
    columns: list[str] = []
    depth, at_start = 1, True
    while depth:
        token = dump.need("the end of CREATE TABLE")
        is_mark = token.kind is Kind.MARK
        if is_mark and token.text in "()":
            depth += 1 if token.text == "(" else -1
        elif at_start and token.word() not in _NO_COLUMN:
            columns.append(token.text.lower())
        at_start = depth == 1 and is_mark and token.text == ","
    _skip(dump)
    return tuple(columns)


def _column_list(dump: Dump) -> tuple[str, ...]:
    _mark(dump, "(")
    columns: list[str] = []
    while True:
        columns.append(dump.need("a column").text.lower())
        token = dump.need("a comma or the end of the columns")
        if token.text == ")":
            return tuple(columns)


def _inserted(dump: Dump, created: tuple[str, ...]) -> Iterator[SqlRow]:
    token = dump.peek()
    columns = _column_list(dump) if token is not None and token.text == "(" else created
    while (token := dump.need("VALUES")).word() not in ("VALUES", "VALUE"):
        if token.word() == "SELECT" or token.text == ";":
            raise BrokenDump(dump.line, token.text, "VALUES")
    if not columns:
        raise BrokenDump(
            dump.line,
            "INSERT without the names of its columns",
            "them, or CREATE TABLE before it",
            "dump with --complete-insert, --column-inserts or with the schema",
        )
    while True:
        yield _row(dump, columns)
        token = dump.need("a comma or the end of INSERT")
        if token.text == ";":
            return
        if token.text != ",":
            _skip(dump)  # ON CONFLICT, ON DUPLICATE KEY
            return


def _row(dump: Dump, columns: tuple[str, ...]) -> SqlRow:
    _mark(dump, "(")
    line = dump.line
    values: list[str | None] = []
    while True:
        values.append(_value(dump))
        token = dump.need("a comma or the end of a row")
        if token.kind is Kind.MARK and token.text == ")":
            break
        if token.kind is not Kind.MARK or token.text != ",":
            raise BrokenDump(dump.line, token.text, "a comma or the end of a row")
    if len(values) != len(columns):
        raise BrokenDump(line, f"{len(values)} values", f"{len(columns)}: {', '.join(columns)}")
    return SqlRow(line, columns, tuple(values))


def _value(dump: Dump) -> str | None:
    token = dump.need("a value")
    word = token.word()
    following = dump.peek()
    if (
        word in ("E", "N", "_BINARY", "_UTF8", "_UTF8MB4")
        and following is not None
        and following.kind is Kind.TEXT
    ):
        token, word = dump.need("a string"), ""
    if token.kind is Kind.MARK or (following is not None and following.text == "(" and word):
        raise BrokenDump(dump.line, token.text, "a string, a number or NULL", "expressions cannot be read")
    while (following := dump.peek()) is not None and following.text == "::":
        _cast(dump)
    return None if word == "NULL" else token.text


def _cast(dump: Dump) -> None:
    """Pass over ::inet, ::timestamp without time zone, ::character varying(30)."""
    dump.next()
    while (token := dump.peek()) is not None and token.kind in (Kind.WORD, Kind.NAME):
        dump.next()


def _copied(dump: Dump, created: tuple[str, ...], *, wanted: bool) -> Iterator[SqlRow]:
    token = dump.peek()
    columns = _column_list(dump) if token is not None and token.text == "(" else created
    from_stdin = False
    while (token := dump.need("the end of COPY")).text != ";":
        from_stdin = from_stdin or token.word() == "STDIN"
        if wanted and token.word() in ("WITH", "CSV", "DELIMITER", "BINARY"):
            raise BrokenDump(dump.line, token.text, "COPY in the text format of pg_dump")
    if not from_stdin:
        return
    while (line := dump.plain_line()) is not None:
        text = line.rstrip("\r\n")
        if text == "\\.":
            return
        if wanted:
            yield _copy_row(dump.line, text, columns)
    raise BrokenDump(
        dump.line, "the end of the file", "\\. after the rows of COPY", "the dump is cut off: make it again"
    )


def _copy_row(line: int, text: str, columns: tuple[str, ...]) -> SqlRow:
    values = tuple(None if each == "\\N" else _copy_value(each) for each in text.split("\t"))
    if not columns:
        raise BrokenDump(line, "COPY without the names of its columns", "them, or CREATE TABLE before it")
    if len(values) != len(columns):
        raise BrokenDump(line, f"{len(values)} values", f"{len(columns)}: {', '.join(columns)}")
    return SqlRow(line, columns, values)


def _copy_value(text: str) -> str:
    return _COPY_ESCAPE.sub(lambda each: _COPY_ESCAPED.get(each[1], each[1]), text) if "\\" in text else text


def _mark(dump: Dump, text: str) -> Token:
    token = dump.need(text)
    if token.kind is not Kind.MARK or token.text != text:
        raise BrokenDump(dump.line, token.text, text)
    return token
