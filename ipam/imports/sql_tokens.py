"""The words of an SQL dump of MySQL, MariaDB or PostgreSQL, read line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from ipam.imports.records import Source


class BrokenDump(ValueError):
    """The dump cannot be read; says the line, what stands there and what was expected."""

    def __init__(self, line: int, got: str, expected: str, remedy: str = "") -> None:
        super().__init__(f"line {line}: got {got}; expected {expected}")
        self.line = line
        self.got = got
        self.expected = expected
        self.remedy = remedy


class Kind(IntEnum):
    """What a token is."""

    WORD = 0  # a keyword, a plain name or a number
    NAME = 1  # a quoted name
    TEXT = 2  # a string
    MARK = 3  # punctuation


class Token(NamedTuple):
    """A token: names and strings without quotes and escapes."""

    kind: Kind
    text: str

    def word(self) -> str:
        """Return a keyword in capitals; nothing for what is none."""
        return self.text.upper() if self.kind is Kind.WORD else ""


_TOKEN = re.compile(
    r"(?P<space>\s+|--[^\n]*|\#[^\n]*)"
    r"|(?P<comment>/\*)"
    r"|(?P<dollar>\$[A-Za-z_]*\$)"
    r"|(?P<word>[-+]?[0-9A-Za-z_.][0-9A-Za-z_$.+]*)"
    r"|(?P<quote>['\"`])"
    r"|(?P<mark>::|.)",
    re.DOTALL,
)
# A run of a string without its quote; the second form takes MySQL's escapes along.
_RUNS = {
    (quote, escapes): re.compile(
        rf"(?:[^{quote}\\]|\\.|{quote}{quote})*" if escapes else rf"(?:[^{quote}]|{quote}{quote})*", re.DOTALL
    )
    for quote in ("'", '"', "`")
    for escapes in (False, True)
}
# Both programs say where a dump begins and ends, so a cut between two statements can be told.
_HEADERS = ("-- MySQL dump", "-- MariaDB dump", "-- PostgreSQL database dump")
_FOOTERS = ("-- Dump completed", "-- PostgreSQL database dump complete")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "Z": "\x1a", "b": "\b"}


class Dump:
    """The tokens and, for COPY, the plain lines of a dump; both from one place that moves on."""

    def __init__(self, source: Source) -> None:
        self._lines = iter(source.lines)
        self._ahead: Token | None = None
        self._tokens = self._read()
        self.line = 0
        self.unfinished = False  # the beginning of a dump was seen, and not its end
        self.mysql = False  # backslashes escape; known from what only its dumps hold

    def next(self) -> Token | None:
        """Return the next token, None at the end; raises BrokenDump."""
        if self._ahead is not None:
            token, self._ahead = self._ahead, None
            return token
        return next(self._tokens, None)

    def peek(self) -> Token | None:
        """Return the next token without taking it."""
        if self._ahead is None:
            self._ahead = next(self._tokens, None)
        return self._ahead

    def need(self, expected: str) -> Token:
        """Return the next token; raises BrokenDump at the end of the file."""
        token = self.next()
        if token is None:
            raise BrokenDump(self.line, "the end of the file", expected, "the dump is cut off: make it again")
        return token

    def plain_line(self) -> str | None:
        """Return the next line as it is; only at the end of a statement that ends its line."""
        return self._line()

    def _line(self) -> str | None:
        line = next(self._lines, None)
        if line is not None:
            self.line += 1
        return line

    def _read(self) -> Iterator[Token]:
        while (line := self._line()) is not None:
            if line.startswith("\\"):
                continue  # a command of psql, such as \restrict
            if line.startswith("--"):
                self._remark(line)
            yield from self._of_line(line)

    def _remark(self, line: str) -> None:
        if line.startswith(_FOOTERS):
            self.unfinished = False
        elif line.startswith(_HEADERS):
            self.unfinished = True
            self.mysql = "PostgreSQL" not in line

    def _of_line(self, line: str) -> Iterator[Token]:
        at = 0
        while at < len(line):
            found = _TOKEN.match(line, at)
            assert found is not None  # the last alternative takes anything
            group, at = found.lastgroup, found.end()
            if group == "quote":
                token, line, at = self._quoted(line, at, found[0])
                yield token
            elif group == "mark" or (group == "dollar" and self.mysql):
                yield Token(Kind.MARK, found[0])
            elif group == "word":
                yield Token(Kind.WORD, found[0])
            elif group == "comment":
                line, at = self._comment(line, at)
            elif group == "dollar":
                line, at = self._until(line, at, found[0])  # the body of a function

    def _comment(self, line: str, at: int) -> tuple[str, int]:
        if line.startswith("!", at):
            self.mysql = True  # an order for MySQL alone; none of them holds rows
        return self._until(line, at, "*/")

    def _until(self, line: str, at: int, end: str) -> tuple[str, int]:
        """Pass over what ends with `end`, on whatever line; return that line and the place behind."""
        begin = self.line
        while (found := line.find(end, at)) < 0:
            more = self._line()
            if more is None:
                raise BrokenDump(begin, "text without an end", end, "the dump is cut off: make it again")
            line, at = more, 0
        return line, found + len(end)

    def _quoted(self, line: str, at: int, quote: str) -> tuple[Token, str, int]:
        if quote == "`":
            self.mysql = True
        escapes = self.mysql and quote != "`"
        begin = self.line
        while True:
            # By position: MySQL writes lines of many megabytes, and a copy of the rest for each string is too slow.
            found = _RUNS[quote, escapes].match(line, at)
            assert found is not None  # it may be empty
            if found.end() < len(line) and line[found.end()] == quote:
                break
            more = self._line()
            if more is None:
                raise BrokenDump(
                    begin, "a string without an end", quote, "the dump is cut off: make it again"
                )
            line, at = line[at:] + more, 0
        value = found[0]
        if quote in value:
            value = value.replace(quote * 2, quote)
        if escapes and "\\" in value:
            value = _ESCAPE.sub(lambda each: _ESCAPED.get(each[1], each[1]), value)
        is_name = quote == "`" or (quote == '"' and not self.mysql)
        return Token(Kind.NAME if is_name else Kind.TEXT, value), line, found.end() + 1
