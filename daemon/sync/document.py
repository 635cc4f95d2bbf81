"""Files of objects: YAML, JSON or one JSON object a line, each object with the line it came from.

YAML is read as data only. Plain scalars are text, except `null`, `true`, `false` and whole numbers without
leading zeros: a MAC address, a version, a date or the password `yes` stay what they look like. Anchors,
aliases, tags and repeated keys are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import Any

from daemon.sync.json_lines import json_lines
from daemon.sync.problems import Path, Problem, got, path_text, without_quotes
from daemon.sync.yaml_values import Refused, read_yaml, yaml_lines

_FORMATS: Mapping[str, str] = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
_OBJECTS = "objects `{kind, id, body}`: one, a list of them, or a list under `items`"

Json = Any  # a value as `json.loads` and `read_yaml` give it
Lines = Callable[[], Mapping[Path, int]]


@dataclass(frozen=True, slots=True)
class Document:
    """The objects of one file, as plain values; `problems` are those of its form: syntax, repeated keys."""

    name: str
    items: tuple[dict[str, Json], ...]
    problems: tuple[Problem, ...]
    _spots: tuple[Path, ...]  # where each item is in the file
    _lines: Lines  # costs a second reading, so it is called for errors only

    def line_of(self, index: int, path: Path = ()) -> int | None:
        """Return the line of what is at `path` in object `index`, or of the nearest thing around it."""
        lines = self._lines()
        spot = (*self._spots[index], *path)
        for end in range(len(spot), -1, -1):
            line = lines.get(spot[:end])
            if line is not None:
                return line
        return None


def of_objects(name: str, objects: Sequence[dict[str, Json]]) -> Document:
    """Return objects that did not come from a file, as a document without lines."""
    return Document(name, tuple(objects), (), tuple((index,) for index in range(len(objects))), dict)


def read(octets: bytes, name: str) -> Document:
    """Return the objects in the octets of a file; `name` tells the format by its ending, and errors show it.

    Without a known ending the content tells. Never raises for what is in the file: see `Document.problems`.
    """
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        problem = _syntax(name, line, None, f"octet {octets[error.start]:#04x}", "text in UTF-8")
        return _broken(name, [problem])
    form = _FORMATS.get(PurePath(name).suffix.lower()) or _guess(text)
    return {"yaml": _read_yaml, "json": _read_json, "ndjson": _read_ndjson}[form](text, name)


def _guess(text: str) -> str:
    start = text.lstrip()
    if start[:1] == "[":
        return "json"
    if start[:1] != "{":
        return "yaml"
    first, _, rest = start.partition("\n")
    try:
        json.loads(first)
    except ValueError:
        return "json"
    return "ndjson" if rest.strip() else "json"


def _read_yaml(text: str, name: str) -> Document:
    repeated: list[Refused] = []
    try:
        values = read_yaml(text, repeated.append)
    except Refused as error:
        repeated.append(error)
        values = []
    problems = [_syntax(name, each.line, each.column, each.got, each.expected) for each in repeated]
    lines = cache(lambda: yaml_lines(text))
    return _collect(name, [((index,), value) for index, value in enumerate(values)], problems, lines)


def _read_json(text: str, name: str) -> Document:
    repeated: list[str] = []
    try:
        value = _loads(text, repeated)
    except ValueError as error:
        return _broken(name, [_json_problem(name, error, 1)])
    lines = cache(lambda: json_lines(text, []))
    problems: list[Problem] = []
    if repeated:
        twice: list[tuple[Path, int]] = []
        json_lines(text, twice)
        problems = [_repeated_key(name, line, path_text(path[1:]), str(path[-1])) for path, line in twice]
    return _collect(name, [((0,), value)], problems, lines)


def _read_ndjson(text: str, name: str) -> Document:
    items: list[dict[str, Json]] = []
    numbers: list[int] = []
    problems: list[Problem] = []
    repeated: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.isspace():
            continue
        try:
            item = _loads(line, repeated)
        except ValueError as error:
            problems.append(_json_problem(name, error, number))
            continue
        if repeated:
            problems.extend(_repeated_key(name, number, "", key) for key in repeated)
            repeated.clear()
        if isinstance(item, dict):
            items.append(item)
            numbers.append(number)
        else:
            problems.append(_syntax(name, number, None, got(item), "an object `{kind, id, body}` a line"))
    spots = tuple((index,) for index in range(len(items)))
    return Document(
        name, tuple(items), tuple(problems), spots, lambda: dict(zip(spots, numbers, strict=True))
    )


def _loads(text: str, repeated: list[str]) -> Json:
    """Return the value of a JSON text and append the keys that an object has twice; raises ValueError."""

    def pairs(found: list[tuple[str, Json]]) -> dict[str, Json]:
        made = dict(found)
        if len(made) != len(found):
            left = list(made)
            for key, _ in found:
                if key in left:
                    left.remove(key)
                else:
                    repeated.append(key)
        return made

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _collect(name: str, roots: list[tuple[Path, Json]], problems: list[Problem], lines: Lines) -> Document:
    """Return the document whose objects are those of each root value."""
    items: list[dict[str, Json]] = []
    spots: list[Path] = []
    for root, value in roots:
        if value is None:
            continue  # an empty YAML document
        for spot, item in _objects(root, value):
            if isinstance(item, dict):
                items.append(item)
                spots.append(spot)
            else:
                line = lines().get(spot)
                problems.append(_syntax(name, line, None, got(item, hidden=True), _OBJECTS))
    return Document(name, tuple(items), tuple(problems), tuple(spots), lines)


def _objects(root: Path, value: Json) -> Iterator[tuple[Path, Json]]:
    if isinstance(value, dict) and "kind" not in value and isinstance(value.get("items"), list):
        root, value = (*root, "items"), value["items"]
    if isinstance(value, list):
        yield from (((*root, index), item) for index, item in enumerate(value))
    else:
        yield root, value


def _broken(name: str, problems: list[Problem]) -> Document:
    return Document(name, (), tuple(problems), (), dict)


def _json_problem(name: str, error: ValueError, line: int) -> Problem:
    if isinstance(error, json.JSONDecodeError):
        hint = "one object a line is NDJSON: name the file .ndjson" if error.msg == "Extra data" else ""
        return _syntax(name, line + error.lineno - 1, error.colno, _syntax_error(error.msg), "JSON", hint)
    return _syntax(name, line, None, "a number or depth out of range", "JSON")


def _repeated_key(name: str, line: int | None, path: str, key: str) -> Problem:
    return Problem(
        slug="repeated-key",
        file=name,
        line=line,
        path=path or path_text((key,)),
        got=f"the key {path_text((key,))} twice",
        expected="each key once",
    )


def _syntax_error(said: str) -> str:
    shown = without_quotes(said)
    return f"a syntax error: {shown[:1].lower()}{shown[1:]}"


def _syntax(
    name: str, line: int | None, column: int | None, came: str, expected: str, hint: str = ""
) -> Problem:
    return Problem(
        slug="syntax",
        file=name,
        line=line,
        column=column,
        path="(file)",
        got=came,
        expected=expected,
        hint=hint,
    )
