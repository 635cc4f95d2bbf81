"""What all bodies of the feed are made of: no unknown names, pairs of rates, and objects with a short text form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetPydanticSchema
from pydantic_core import core_schema

from daemon.sync.wire_types import RATE, wrong

_Body = TypeVar("_Body", bound=BaseModel)
_Made = TypeVar("_Made")


class Body(BaseModel):
    """What all bodies share: a name that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class RateBody(Body):
    """A pair of rates, seen from the subscriber."""

    download: RATE
    upload: RATE


def text_or(
    body: type[_Body], read_text: Callable[[str], _Made], made: Callable[[_Body], _Made], slug: str, form: str
) -> GetPydanticSchema:
    """Return what makes a field take a text, read by `read_text`, or an object, checked as `body` and then `made`.

    Anything else is an error with `slug` that says `form`. Faults inside an object keep their own path.
    """

    def read(value: object, check: core_schema.ValidatorFunctionWrapHandler) -> _Made:
        if isinstance(value, str):
            return read_text(value)
        if isinstance(value, dict):
            return made(check(value))
        raise wrong(slug, form)

    def build(_source: Any, handler: Callable[[Any], core_schema.CoreSchema]) -> core_schema.CoreSchema:
        return core_schema.no_info_wrap_validator_function(read, handler(body))

    return GetPydanticSchema(build)
