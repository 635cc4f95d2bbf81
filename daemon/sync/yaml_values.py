"""YAML as plain data, built from the parser's events: no constructors, no tags, no aliases."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import yaml

from daemon.sync.problems import Path, path_text, without_quotes

Yaml = Any  # a value made of None, bool, int, str, lists and dicts
Event = Any  # of PyYAML; its stubs do not say what its C parser gives

_LOADER: Any = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # libyaml is ten times as fast, where it is built in
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_DEEPEST = 64


class Refused(Exception):
    """What the text holds is no YAML, or YAML that is not read here; `line` and `column` count from 1."""

    def __init__(self, mark: Event, got: str, expected: str) -> None:
        super().__init__(got)
        self.line: int | None = None if mark is None else mark.line + 1
        self.column: int | None = None if mark is None else mark.column + 1
        self.got = got
        self.expected = expected


def read_yaml(text: str, repeated: Callable[[Refused], None]) -> list[Yaml]:
    """Return the values of the YAML documents in `text`; `repeated` is told of keys that a mapping has twice.

    Raises Refused for everything else that is not read.
    """
    return _Build(text, repeated, None).documents()


def yaml_lines(text: str) -> dict[Path, int]:
    """Return the line of each key and list item, by path; a path starts with the number of its document."""
    lines: dict[Path, int] = {}
    with suppress(Refused):  # what came before it has its lines
        _Build(text, lambda _: None, lines).documents()
    return lines


class _Build:
    """Turns events into values; with `lines`, notes where each value stands."""

    def __init__(self, text: str, repeated: Callable[[Refused], None], lines: dict[Path, int] | None) -> None:
        self._events = yaml.parse(text, Loader=_LOADER)
        self._repeated = repeated
        self._lines = lines

    def documents(self) -> list[Yaml]:
        values: list[Yaml] = []
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                values.append(self._value(self._next(), (len(values),)))
        return values

    def _next(self) -> Event:
        try:
            return next(self._events)
        except yaml.MarkedYAMLError as error:
            said = without_quotes(error.problem or "broken text")
            raise Refused(error.problem_mark, f"a syntax error: {said}", "YAML") from None
        except yaml.YAMLError:
            raise Refused(None, "a character that YAML does not allow", "YAML") from None

    def _value(self, event: Event, path: Path) -> Yaml:
        if isinstance(event, yaml.AliasEvent):
            raise Refused(event.start_mark, "an alias", "the value itself; aliases are not read")
        if event.tag is not None:
            raise Refused(event.start_mark, "a tag", "a plain value; tags are not read")
        if self._lines is not None:
            self._lines.setdefault(path, event.start_mark.line + 1)
        if isinstance(event, yaml.ScalarEvent):
            return event.value if event.style not in (None, "") else _plain(event.value)
        if len(path) > _DEEPEST:
            raise Refused(event.start_mark, f"more than {_DEEPEST} levels", "less deep nesting")
        return self._list(path) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(path)

    def _list(self, path: Path) -> list[Yaml]:
        values: list[Yaml] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            values.append(self._value(event, (*path, len(values))))
        return values

    def _mapping(self, path: Path) -> dict[str, Yaml]:
        values: dict[str, Yaml] = {}
        while True:
            event = self._next()
            if isinstance(event, yaml.MappingEndEvent):
                return values
            key = self._key(event, path)
            if key in values:
                named = path_text((*path, key)[1:])
                self._repeated(Refused(event.start_mark, f"the key {named} twice", "each key once"))
            values[key] = self._value(self._next(), (*path, key))

    def _key(self, event: Event, path: Path) -> str:
        if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
            raise Refused(event.start_mark, "a key that is no plain word", "a name as key")
        key: str = event.value
        if self._lines is not None:
            self._lines[(*path, key)] = event.start_mark.line + 1  # type: ignore[union-attr]  # events of a parser have marks
        return key


def _plain(text: str) -> Yaml:
    """Return the value of a scalar without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    return int(text) if _WHOLE.fullmatch(text) else text
