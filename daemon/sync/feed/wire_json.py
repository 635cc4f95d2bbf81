"""JSON as a platform may send it: no key twice, no NaN, not too deep; each value read is checked, with its path."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn, TypeVar

from daemon.sync.feed.model import Json
from daemon.sync.problems import Path, got, path_text, without_quotes

DEEPEST = 32
_SPACE = re.compile(r"[ \t\r\n]*")
_LARGEST = 2**63 - 1
_SHORT = 4000  # digits and characters of a number, a cursor, a name
_Kind = TypeVar("_Kind")


@dataclass(frozen=True, slots=True)
class Malformed:
    """What came is not what the protocol says. `path` is such as items[3].rev; nothing here shows a body."""

    path: str
    came: str
    expected: str

    def __str__(self) -> str:
        return f"{self.path}: got {self.came}; expected {self.expected}"


class Wrong(Exception):
    """Raised while reading, and made a value by whoever reads a whole thing."""

    def __init__(self, path: Path, came: str, expected: str) -> None:
        super().__init__()
        self.malformed = Malformed(path_text(path) or "(all)", came, expected)


class _Refused(ValueError):
    """A value that JSON has no place for, or that is there twice."""


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Refused("a key twice in one object")
    return made


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Refused("a number out of range")
    return number


def _constant(_text: str) -> NoReturn:
    raise _Refused("NaN or Infinity")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_constant)


def text_of(octets: bytes, path: Path = ()) -> str:
    """Return octets as text. Raises Wrong where they are not UTF-8."""
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise Wrong(path, f"octet {octets[error.start]:#04x}", "JSON in UTF-8") from None


def skip(text: str, spot: int) -> int:
    """Return where the next character stands that is no space."""
    match = _SPACE.match(text, spot)
    assert match is not None
    return match.end()


def decode_at(text: str, spot: int, path: Path = ()) -> tuple[Json, int]:
    """Return the value that starts at `spot`, and where it ends. Raises Wrong."""
    try:
        value, end = _DECODER.raw_decode(text, spot)
    except _Refused as error:
        raise Wrong(path, str(error), "JSON") from None
    except json.JSONDecodeError as error:
        said = without_quotes(error.msg)
        raise Wrong(path, f"a syntax error ({said[:1].lower()}{said[1:]})", "JSON") from None
    except (ValueError, RecursionError):
        raise Wrong(path, "a number or a depth out of range", "JSON") from None
    _see_depth(text, spot, end, value, path)
    return value, end


def decode(octets: bytes, path: Path = ()) -> Json:
    """Return the value of a whole text. Raises Wrong."""
    text = text_of(octets, path)
    value, end = decode_at(text, skip(text, 0), path)
    if skip(text, end) != len(text):
        raise Wrong(path, "more behind the end of the value", "one JSON value")
    return value


def _see_depth(text: str, spot: int, end: int, value: Json, path: Path) -> None:
    if text.count("{", spot, end) + text.count("[", spot, end) > DEEPEST and depth(value) > DEEPEST:
        raise Wrong(path, "values nested too deeply", f"at most {DEEPEST} levels")


def depth(value: Json) -> int:
    """Return how deep lists and objects are nested in a value."""
    deepest = 0
    left = [(value, 1)]
    while left:
        each, level = left.pop()
        if isinstance(each, (dict, list)):
            deepest = max(deepest, level)
            inner = each.values() if isinstance(each, dict) else each
            left.extend((one, level + 1) for one in inner if isinstance(one, (dict, list)))
    return deepest


def an_object(value: Json, path: Path) -> dict[str, Json]:
    """Return an object. Raises Wrong, as all of these do."""
    return _typed(value, dict, path, "an object")


def a_list(value: Json, path: Path, most: int) -> list[Json]:
    """Return a list of up to `most`."""
    found: list[Json] = _typed(value, list, path, f"a list of at most {most}")
    if len(found) > most:
        raise Wrong(path, f"a list of {len(found)}", f"at most {most}")
    return found


def text(of: Mapping[str, Json], key: str, path: Path, *, most: int = 512, empty: bool = False) -> str:
    """Return the text under a key."""
    value = of.get(key)
    if type(value) is str and 0 < len(value) <= most and value.isascii():
        return value
    found: str = _typed(value, str, (*path, key), "a text")
    if len(found) > most or (not found and not empty):
        raise Wrong((*path, key), f"a text of {len(found)} characters", f"{0 if empty else 1} to {most}")
    if not found.isascii() and any("\ud800" <= each <= "\udfff" for each in found):
        raise Wrong((*path, key), "half of a surrogate pair", "text in Unicode")
    return found


def number(of: Mapping[str, Json], key: str, path: Path, default: int | None = None) -> int:
    """Return the whole number under a key, from 0 on."""
    value = of.get(key, default)
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise Wrong((*path, key), got(value), f"a whole number from 0 to {_LARGEST}")
    return value


def moment(of: Mapping[str, Json], key: str, path: Path) -> float | None:
    """Return a time as epoch seconds: a number, or ISO 8601 with a zone; None where there is none."""
    value = of.get(key)
    if value is None:
        return None
    if type(value) in (int, float) and abs(value) < 1e12:
        return float(value)
    if isinstance(value, str) and len(value) < 64:
        try:
            read = datetime.fromisoformat(value)
        except ValueError:
            read = None
        if read is not None and read.tzinfo is not None:
            return read.timestamp()
    raise Wrong(
        (*path, key), got(value), "epoch seconds, or a time with its zone such as 2026-07-01T20:00:00Z"
    )


def _typed(value: Json, kind: type[_Kind], path: Path, expected: str) -> _Kind:
    if type(value) is not kind:
        raise Wrong(path, got(value, hidden=True), expected)
    return value
