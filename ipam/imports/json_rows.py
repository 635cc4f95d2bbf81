"""Reads the objects of a large JSON export one by one: a list, or a list within an answer of an API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ipam.imports.records import Source

_LISTS = ("results", "data", "items")
_CHUNK = 65_536
_LONGEST_VALUE = 16 * 1024 * 1024  # an object this large is a broken file
_SPACE = " \t\r\n\ufeff"
_DECODER = json.JSONDecoder()


class BrokenJson(ValueError):
    """The text is no such JSON; says the line and what was expected there."""

    def __init__(self, line: int, expected: str) -> None:
        super().__init__(f"line {line}: {expected}")
        self.line = line
        self.expected = expected


@dataclass(slots=True)
class Envelope:
    """What stands around the list of an API's answer; None where it says nothing."""

    count: int | None = None  # how many objects there are in all (NetBox)
    next: str | None = None  # where the next page is (NetBox)
    success: bool | None = None  # (phpIPAM)
    message: str = ""


def objects(source: Source, envelope: Envelope) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each object with the line on which it begins, and fill `envelope`; raises BrokenJson."""
    text = _Text(iter(source.lines))
    opening = text.peek()
    if opening == "[":
        yield from _array(text)
    elif opening == "{":
        yield from _members(text, envelope)
    else:
        raise BrokenJson(text.line, "a list or an object")
    if text.peek():
        raise BrokenJson(text.line, "nothing after the end")


def _members(text: _Text, envelope: Envelope) -> Iterator[tuple[int, dict[str, Any]]]:
    found = False
    text.take("{")
    while text.peek() != "}":
        key = text.value()
        text.take(":")
        if key in _LISTS and text.peek() == "[":
            found = True
            yield from _array(text)
        else:
            _remember(envelope, key, text.value())
        if text.peek() != "}":
            text.take(",")
    text.take("}")
    if not found and envelope.success is not False:
        raise BrokenJson(text.line, f"a list under one of {', '.join(_LISTS)}")


def _remember(envelope: Envelope, key: Any, value: Any) -> None:
    if key == "count" and isinstance(value, int):
        envelope.count = value
    elif key == "next" and value:
        envelope.next = str(value)
    elif key == "success":
        envelope.success = value in (True, 1, "true", "1")
    elif key == "message":
        envelope.message = str(value)


def _array(text: _Text) -> Iterator[tuple[int, dict[str, Any]]]:
    text.take("[")
    while text.peek() != "]":
        line = text.line
        value = text.value()
        if not isinstance(value, dict):
            raise BrokenJson(line, "an object in the list")
        yield line, value
        if text.peek() == ",":
            text.take(",")
            if text.peek() == "]":
                raise BrokenJson(text.line, "an object after the comma")
        elif text.peek() != "]":
            raise BrokenJson(text.line, "a comma or the end of the list")
    text.take("]")


class _Text:
    """A window on the text: it reads ahead as far as one value needs."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._text = ""
        self._at = 0
        self.line = 1

    def peek(self) -> str:
        """Return the next character that is no space, without taking it; nothing at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._advance(self._at + 1)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def take(self, character: str) -> None:
        if self.peek() != character:
            raise BrokenJson(self.line, character)
        self._advance(self._at + 1)

    def value(self) -> Any:
        if not self.peek():
            raise BrokenJson(self.line, "a value, not the end of the file")
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > _LONGEST_VALUE or not self._fill():
                    line = self.line + self._text.count("\n", self._at, error.pos)
                    raise BrokenJson(line, f"JSON: {error.msg}") from None
                continue
            if end == len(self._text) and self._fill():  # a number may go on
                continue
            self._advance(end)
            return value

    def _advance(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end

    def _fill(self) -> bool:
        rest = self._text[self._at :]
        wanted = max(_CHUNK, len(rest))  # doubling keeps the repeated decoding of a long value cheap
        parts, length = [rest], 0
        for line in self._lines:
            parts.append(line)
            length += len(line)
            if length >= wanted:
                break
        self._text, self._at = "".join(parts), 0
        return length > 0
