"""On which line each value of a JSON text stands; only read when there is an error to report."""

from __future__ import annotations

import json
import re

from daemon.sync.problems import Path

_SPACE = re.compile(r"[ \t\n\r]*")
_WORD = re.compile(r"[^ \t\n\r,\]}]+")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_DEEPEST = 64  # below this the values of an object have the line of what holds them


def json_lines(text: str, repeated: list[tuple[Path, int]]) -> dict[Path, int]:
    """Return the line of each key and list item of a valid JSON text, by path; paths start with 0.

    `repeated` gets each key that its object has already had, with its line.
    """
    walk = _Walk(text, repeated)
    walk.value(_space(text, 0), (0,))
    return walk.lines


class _Walk:
    """Goes through a text from its start to its end once, so that lines are counted only once."""

    def __init__(self, text: str, repeated: list[tuple[Path, int]]) -> None:
        self._text = text
        self._repeated = repeated
        self._counted = 0
        self._line = 1
        self._skip = json.JSONDecoder().raw_decode
        self.lines: dict[Path, int] = {}

    def _note(self, path: Path, spot: int) -> None:
        self._line += self._text.count("\n", self._counted, spot)
        self._counted = spot
        if path in self.lines:
            self._repeated.append((path, self._line))
        self.lines[path] = self._line

    def value(self, spot: int, path: Path) -> int:
        """Note what is in the value that starts at `spot`; return where it ends."""
        if path not in self.lines:
            self._note(path, spot)
        start = self._text[spot]
        if start not in "{[":
            return _end(_STRING if start == '"' else _WORD, self._text, spot)
        if len(path) > _DEEPEST:
            return self._skip(self._text, spot)[1]
        return self._members(spot, path) if start == "{" else self._items(spot, path)

    def _members(self, spot: int, path: Path) -> int:
        text = self._text
        spot = _space(text, spot + 1)
        while text[spot] != "}":
            end = _end(_STRING, text, spot)
            key = json.loads(text[spot:end])
            self._note((*path, key), spot)
            spot = _space(text, self.value(_space(text, _space(text, end) + 1), (*path, key)))
            if text[spot] == ",":
                spot = _space(text, spot + 1)
        return spot + 1

    def _items(self, spot: int, path: Path) -> int:
        text = self._text
        spot = _space(text, spot + 1)
        index = 0
        while text[spot] != "]":
            spot = _space(text, self.value(spot, (*path, index)))
            index += 1
            if text[spot] == ",":
                spot = _space(text, spot + 1)
        return spot + 1


def _space(text: str, spot: int) -> int:
    return _end(_SPACE, text, spot)


def _end(pattern: re.Pattern[str], text: str, spot: int) -> int:
    """Return where the match at `spot` ends; the text is valid JSON, so there is one."""
    match = pattern.match(text, spot)
    assert match is not None
    return match.end()
