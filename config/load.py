"""Reads the settings: defaults, then one TOML file, then environment variables. All problems come at once."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config import fields, lines
from config.errors import ConfigInvalid, Problem
from config.explain import explain, suggestion
from config.settings import Settings

PREFIX = "DOTMAC_EDGE_"
PATH_VARIABLE = "DOTMAC_EDGE_CONFIG"
DEFAULT_PATHS = (Path("edge.toml"), Path("/etc/dotmac-edge/edge.toml"))
_LARGEST = 1_048_576
_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")

Tables = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where each came from: `default`, `FILE:LINE` or `env NAME`, by names like `log.level`."""

    settings: Settings
    sources: Mapping[str, str]
    path: Path | None

    @property
    def data_files(self) -> tuple[Path, ...]:
        """The data files to load; relative ones are relative to the directory of the configuration file."""
        base = self.path.parent if self.path is not None else Path()
        return tuple(base / each for each in self.settings.data.files)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `config show`; `value` is text, a number, a list or None."""

    name: str
    value: object
    source: str
    live: bool


def find_path(option: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the configuration file: the option's, the environment's, else the first default that exists.

    A file that was asked for by name is returned whether or not it exists, so that `load` can complain.
    """
    if option is not None:
        return option
    named = environ.get(PATH_VARIABLE)
    if named:
        return Path(named)
    return next((each for each in DEFAULT_PATHS if _is_there(each)), None)


def load(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Return the settings of the file at `path` (None: only defaults) with the overrides of `environ`.

    Raises ConfigInvalid with everything that is wrong.
    """
    tables: Tables = {}
    places: lines.Places = {}
    problems: list[Problem] = []
    if path is not None:
        text = _read(path)
        tables = _parse(path, text)
        places = lines.find(text)
    variables = _override(tables, environ, problems)
    try:
        settings = Settings.model_validate(tables)
    except ValidationError as error:
        problems += explain(error, path, places, variables)
        settings = None
    if settings is None or problems:
        ordered = sorted(problems, key=lambda each: (each.line is None, each.line or 0, each.file, each.key))
        raise ConfigInvalid(tuple(ordered))
    return Loaded(settings, _sources(tables, path, places, variables), path)


def dump(settings: Settings, sources: Mapping[str, str]) -> tuple[Row, ...]:
    """Return every setting with its value and where that came from, in the order of the file."""
    values = settings.model_dump(mode="json")
    rows = [
        Row(name, values[each.section][each.key], sources.get(name, "default"), each.live)
        for name, each in fields.settings().items()
    ]
    for family, keys in fields.members().items():
        for table, said in values[family].items():
            names = {key: f"{family}.{table}.{key}" for key in keys}
            rows += [
                Row(name, said[key], sources.get(name, "default"), keys[key].live)
                for key, name in names.items()
            ]
    return tuple(rows)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a directory that we may not look into: reading the file will say so
        return True


def _read(path: Path) -> str:
    """Return the text of the file; line ends are those that TOML knows."""
    try:
        with path.open("rb") as file:
            octets = file.read(_LARGEST + 1)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise _refused(path, None, why, "a file that can be read") from None
    if len(octets) > _LARGEST:
        raise _refused(path, None, "a larger file", f"at most {_LARGEST} octets")
    try:
        return octets.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise _refused(path, line, "octets that are not UTF-8", "text in UTF-8") from None


def _parse(path: Path, text: str) -> Tables:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _PLACE.search(str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        column = int(found[2]) if found else None
        why = str(error)[: found.start()] if found else str(error).removesuffix(" (at end of document)")
        raise _refused(path, line, "text that is not TOML", "TOML 1.0", why, column) from None
    except RecursionError:
        raise _refused(path, None, "values within values without end", "TOML 1.0") from None


def _refused(
    path: Path, line: int | None, got: str, expected: str, hint: str = "", column: int | None = None
) -> ConfigInvalid:
    problem = Problem(file=str(path), line=line, key="", got=got, expected=expected, hint=hint, column=column)
    return ConfigInvalid((problem,))


def _override(tables: Tables, environ: Mapping[str, str], problems: list[Problem]) -> dict[str, str]:
    """Put environment variables into `tables`; returns the variable's name by the setting's name."""
    known = {_variable(each): each for each in fields.settings().values()}
    single = {name.replace("__", "_"): name for name in known}
    used: dict[str, str] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name == PATH_VARIABLE:
            continue
        setting = known.get(name)
        if setting is None:
            if "__" in name or name in single:
                hint = suggestion(name, known, 0.85) if "__" in name else f"did you mean {single[name]}?"
                problems.append(_unknown_variable(name, hint))
            continue
        table = tables.setdefault(setting.section, {})
        if isinstance(table, dict):  # else the file is wrong there, which validation will say
            table[setting.key] = _value(environ[name], setting.shape)
            used[setting.name] = name
    return used


def _variable(setting: fields.Setting) -> str:
    return f"{PREFIX}{setting.section}__{setting.key}".upper()


def _unknown_variable(name: str, hint: str) -> Problem:
    form = f"{PREFIX}<SECTION>__<KEY> of a setting"
    return Problem(file=name, line=None, key="", got="an unknown variable", expected=form, hint=hint)


def _value(text: str, shape: fields.Shape) -> object:
    """Return what the text stands for; where it does not fit the text itself, for validation to refuse."""
    if not (shape.is_list or shape.is_number):
        return text
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value


def _sources(
    tables: Tables, path: Path | None, places: lines.Places, variables: Mapping[str, str]
) -> dict[str, str]:
    out: dict[str, str] = {}
    for name, setting in fields.settings().items():
        if name in variables:
            out[name] = f"env {variables[name]}"
        elif setting.key in tables.get(setting.section, {}):
            line = places.get((setting.section, setting.key), places.get((setting.section,)))
            out[name] = os.fspath(path or "") if line is None else f"{path}:{line}"
        else:
            out[name] = "default"
    for family in fields.families():
        for table, said in tables.get(family, {}).items():
            for key in said:
                line = places.get((family, table, key), places.get((family, table)))
                out[f"{family}.{table}.{key}"] = f"{path}:{line}"
    return out
