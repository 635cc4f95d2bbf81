"""What a field of the settings says about itself: unit, limits, whether it changes live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Literal, Union, cast, get_args, get_origin

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic.fields import FieldInfo

from config.base import Section
from config.settings import Settings

REQUIRED = object()
"""The default of a setting that has none."""
_UNITS = ("seconds", "days", "octets", "records", "pages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One key; `expected` says in words what it takes."""

    section: str
    key: str
    expected: str
    default: object
    description: str
    live: bool
    hidden: bool  # what came must not be repeated in an error
    shape: Shape

    @property
    def name(self) -> str:
        """Section and key, such as `radius.reject_delay_s`."""
        return f"{self.section}.{self.key}"


@dataclass(frozen=True, slots=True)
class Shape:
    """How the text of an environment variable becomes a value."""

    is_list: bool
    is_number: bool


def sections() -> dict[str, type[Section]]:
    """Return the model of each section by its name, in the order of the file; tables of tables are `families`."""
    found = {name: info.annotation for name, info in Settings.model_fields.items()}
    return {
        name: cast("type[Section]", model) for name, model in found.items() if get_origin(model) is not dict
    }


def families() -> dict[str, type[Section]]:
    """Return the model of the tables in each table of tables, such as `feeds`."""
    found = {name: info.annotation for name, info in Settings.model_fields.items()}
    return {name: get_args(model)[1] for name, model in found.items() if get_origin(model) is dict}


@cache
def settings() -> Mapping[str, Setting]:
    """Return every setting by its name, in the order of the file."""
    found = (each for section, model in sections().items() for each in _walk(section, model))
    return MappingProxyType({each.name: each for each in found})


@cache
def members() -> Mapping[str, Mapping[str, Setting]]:
    """Return the settings of the tables in each table of tables, by key."""
    return MappingProxyType(
        {
            name: {each.key: each for each in _walk(f"{name}.NAME", model)}
            for name, model in families().items()
        }
    )


def find(where: tuple[str, ...]) -> Setting:
    """Return the setting at a path: section and key, or a table of tables, a name and a key."""
    return members()[where[0]][where[2]] if where[0] in members() else settings()[".".join(where)]


def _walk(section: str, model: type[Section]) -> Iterator[Setting]:
    for key, info in model.model_fields.items():
        extra = info.json_schema_extra
        assert isinstance(extra, dict), f"{section}.{key} does not say whether it is live"
        yield Setting(
            section=section,
            key=key,
            expected=_expected(key, info, str(extra.get("expected", ""))),
            default=REQUIRED if info.is_required() else info.default,
            description=info.description or "",
            live=bool(extra["live"]),
            hidden=bool(extra.get("hidden", False)),
            shape=_shape(info.annotation),
        )


def _expected(key: str, info: FieldInfo, said: str) -> str:
    kind = _bare(info.annotation)
    limits = {type(each): each for each in info.metadata}
    if said and kind not in (int, float):
        return said
    if get_origin(kind) is Literal:
        return " or ".join(str(each) for each in get_args(kind))
    if kind in (int, float):
        low, high = limits.get(Ge), limits.get(Le)
        assert isinstance(low, Ge), f"{key} has no lower limit"
        assert isinstance(high, Le), f"{key} has no upper limit"
        number = "a whole number" if kind is int else "a number"
        return f"{said or _unit(key, number)}, {low.ge} to {high.le}"
    least, most = limits.get(MinLen), limits.get(MaxLen)
    if isinstance(least, MinLen) and isinstance(most, MaxLen):
        return f"text of {least.min_length} to {most.max_length} characters"
    return "text"


def _unit(key: str, number: str) -> str:
    if key.endswith("_s"):
        return "seconds" if number == "a number" else "whole seconds"
    last = key.rpartition("_")[2]
    return f"a number of {last}" if last in _UNITS else number


def _bare(annotation: object) -> object:
    """Return a type without Annotated and without `| None`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        (one,) = (each for each in get_args(annotation) if each is not NoneType)
        return _bare(one)
    return annotation


def _shape(annotation: object) -> Shape:
    kind = _bare(annotation)
    return Shape(is_list=get_origin(kind) is tuple, is_number=kind in (int, float))
