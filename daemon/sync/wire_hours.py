"""Hours of the week as people write them: `mon-fri 08:00-20:00`, or the same as an object."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema

from daemon.replica.rules import Hours
from daemon.sync.wire_base import Body, text_or
from daemon.sync.wire_types import LIST, wrong

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = tuple(range(7))
HOURS_FORM = 'hours such as "mon-fri 08:00-20:00", "sat,sun 10:00-14:00", "22:00-06:00" or {days, from, to}'

_DAY_MIN = 24 * 60
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_TEXT = re.compile(r"(?:([a-z][a-z,\s-]*)\s)?\s*([0-9:]{4,5})\s*-\s*([0-9:]{4,5})")
_DAYS_FORM = f"days of the week: {', '.join(DAYS)}, or a range such as mon-fri"


def read_days(value: object) -> tuple[int, ...]:
    """Read a day, a range of days, or several: as a list, or with commas between them; Monday is 0."""
    found: set[int] = set()
    given = value if isinstance(value, list) else [value]
    pieces = [
        piece for each in given for piece in (each.lower().split(",") if isinstance(each, str) else [""])
    ]
    for piece in pieces or [""]:
        first, dash, last = (each.strip() for each in piece.partition("-"))
        if first not in DAYS or (dash and last not in DAYS):
            raise wrong("bad-hours", _DAYS_FORM)
        start = DAYS.index(first)
        length = (DAYS.index(last) - start) % 7 if dash else 0
        found.update((start + each) % 7 for each in range(length + 1))
    return tuple(sorted(found))


def read_start(value: object) -> int:
    """Read a time of day into minutes since midnight, 00:00 to 23:59."""
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        raise wrong("bad-hours", "a time of day, 00:00 to 23:59")
    return int(match[1]) * 60 + int(match[2])


def read_end(value: object) -> int:
    """Read the time of day at which a span ends; 24:00 is midnight, as 00:00 is."""
    return 0 if value == "24:00" else read_start(value)


def read_hours(given: str) -> Hours:
    """Read hours in their text form; without days they are of every day."""
    match = _TEXT.fullmatch(given.strip().lower())
    if match is None:
        alone = re.fullmatch(r"[a-z,\s-]+", given.strip().lower())
        hint = "an entry that holds a comma needs quotes" if alone else ""
        raise wrong("bad-hours", HOURS_FORM, hint)
    days = EVERY_DAY if match[1] is None else read_days(match[1])
    return Hours(days=days, start_min=read_start(match[2]), end_min=read_end(match[3]))


_DAYS_SCHEMA = WithJsonSchema({"type": ["array", "string"], "examples": [["mon-fri"], "sat,sun"]})
_CLOCK_SCHEMA = WithJsonSchema({"type": "string", "examples": ["08:00", "24:00"]})


class HoursBody(Body):
    """A time of day on some days of the week; one that ends at or before its start goes on past midnight."""

    days: Annotated[tuple[int, ...], PlainValidator(read_days), _DAYS_SCHEMA] = Field(
        default_factory=lambda: EVERY_DAY, description="absent: every day"
    )
    start: Annotated[int, PlainValidator(read_start), _CLOCK_SCHEMA] = Field(alias="from")
    end: Annotated[int, PlainValidator(read_end), _CLOCK_SCHEMA] = Field(alias="to")


def _hours(body: HoursBody) -> Hours:
    return Hours(days=body.days, start_min=body.start, end_min=body.end)


_SCHEMA = {
    "anyOf": [
        HoursBody.model_json_schema(),
        {"type": "string", "examples": ["mon-fri 08:00-20:00", "sat,sun 10:00-14:00", "22:00-06:00"]},
    ]
}
HOURS = Annotated[
    Hours, text_or(HoursBody, read_hours, _hours, "bad-hours", HOURS_FORM), WithJsonSchema(_SCHEMA)
]
HOURS_LIST = Annotated[list[HOURS], LIST]
