"""Turns what validation found into problems that name the line, what came, and what was expected."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config import fields, lines
from config.errors import Problem

_SHOWN = 60  # characters of a value that a message repeats


def explain(
    error: ValidationError,
    path: Path | None,
    places: lines.Places,
    variables: Mapping[str, str],
) -> list[Problem]:
    """Return one problem for each fault in `error`.

    `places` gives the lines of the file at `path`; `variables` names the environment variable by setting, for
    those that came from one.
    """
    problems: list[Problem] = []
    for fault in error.errors(include_url=False):
        depth = 3 if fault["loc"] and fault["loc"][0] in fields.families() else 2
        where = tuple(str(each) for each in fault["loc"][:depth])
        name = ".".join(where)
        if fault["type"] == "extra_forbidden":
            got, expected, hint = _unknown(where)
        elif fault["type"] == "missing":
            got, expected, hint = "nothing", fields.find(where).expected, ""
        elif len(where) < depth:
            got, expected, hint = _bad_table(name, fault)
        elif where[-1] == "[key]":
            got, expected, hint = "a name", "1 to 32 small letters, digits and dashes", ""
        else:
            got, expected, hint = _bad_value(where, fault["input"], _reason(fault), fault["loc"][depth:])
        variable = variables.get(name)
        file = variable or (str(path) if path is not None else "settings")
        spots = (places.get(where[:end]) for end in range(len(where), 0, -1))
        line = None if variable else next((each for each in spots if each is not None), None)
        problems.append(Problem(file=file, line=line, key=name, got=got, expected=expected, hint=hint))
    return problems


def suggestion(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """Return a hint that names what was probably meant, or nothing."""
    near = get_close_matches(name, list(known), n=1, cutoff=likeness)
    return f"did you mean {near[0]}?" if near else ""


def _bad_table(name: str, fault: Mapping[str, Any]) -> tuple[str, str, str]:
    """Say what is wrong with a table as a whole: it is none, or its keys do not go together."""
    if fault["type"] == "value_error":
        return (
            "what does not go together",
            f"a whole [{name}]" if name else "settings that agree",
            _reason(fault),
        )
    return _kind(fault["input"]), f"a table [{name}]", ""


def _unknown(where: tuple[str, ...]) -> tuple[str, str, str]:
    """Say what an unknown section or key could have been; its value may be anything and is not repeated."""
    if where[0] in fields.families():
        known = fields.members()[where[0]]
        return "an unknown key", "one of " + ", ".join(known), suggestion(where[-1], known)
    sections = {**fields.sections(), **fields.families()}
    if len(where) == 1:
        owners = [each.name for each in fields.settings().values() if each.key == where[0]]
        hint = f"{owners[0]} exists" if owners else suggestion(where[0], sections)
        return "an unknown section", "one of " + ", ".join(sections), hint
    section, key = where
    hint = suggestion(key, sections[section].model_fields)
    if not hint:
        owners = [each.name for each in fields.settings().values() if each.key == key]
        hint = f"{owners[0]} exists" if owners else ""
    return "an unknown key", "one of " + ", ".join(sections[section].model_fields), hint


def _bad_value(
    where: tuple[str, ...], value: object, reason: str, inside: tuple[int | str, ...]
) -> tuple[str, str, str]:
    setting = fields.find(where)
    got = "a hidden value" if setting.hidden else _got(value)
    if inside:
        got = f"{got} as item {inside[0]}" if isinstance(inside[0], int) else got
    return got, setting.expected, reason


def _reason(fault: Mapping[str, Any]) -> str:
    """Return what one of our own checks said; pydantic's own words would only repeat what is expected."""
    if fault["type"] != "value_error":
        return ""
    return str(fault["ctx"]["error"])


def _got(value: object) -> str:
    if isinstance(value, (list, tuple, dict)):
        return _kind(value)
    if isinstance(value, (str, int, float)):  # bool is an int
        text = json.dumps(value, ensure_ascii=True)
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
    return _kind(value)


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list() | tuple():
            return f"a list of {len(value)}"
        case dict():
            return "a table"
        case _:
            return f"a {type(value).__name__}"
