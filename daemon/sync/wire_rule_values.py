"""How single values of rules are read: amounts of octets, time spans, time zones, pages, treatments."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from typing import TypeVar
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from daemon.replica.rules import GARDEN, REJECTED, Act, Treatment
from daemon.sync.wire_types import ID_FORM, one_of, read_id, text, wrong

_Member = TypeVar("_Member", bound=StrEnum)
_MOST = 2**63 - 1
_UNITS = {"B": 1} | {
    prefix + unit: size ** (power + 1)
    for power, prefixes in enumerate(("kK", "M", "G", "T"))
    for prefix in prefixes
    for unit, size in (("B", 1000), ("iB", 1024))
}
_AMOUNT = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([A-Za-z]{0,8})")
_OCTETS_FORM = (
    "octets such as 500GB: kB, MB, GB and TB are powers of 1000, KiB, MiB, GiB and TiB of 1024; "
    "a number alone is octets"
)
_SPAN = re.compile(r"([0-9]{1,10})\s*([smhd])")
_SPAN_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN_FORM = "a time such as 90s, 30m, 12h or 7d; a number alone is seconds"
_TREATMENT_FORM = 'reject, captive, or another plan as "plan:ID"'
THEN_FORM = 'notify, reject, captive, another plan as "plan:ID", or a rate as {download, upload}'
_NOTIFIED = Treatment(act=Act.NOTIFY)


def member(of: type[_Member]) -> Callable[[object], _Member]:
    """Return a reader of the words of an enum; upper and lower case are the same."""
    read = one_of(tuple(each.value for each in of))
    return lambda value: of(read(value))


def octets(least: int) -> Callable[[object], int]:
    """Return a reader of amounts of octets, at least `least`: whole numbers, or texts with a unit."""

    def read(value: object) -> int:
        if isinstance(value, str):
            value = _amount(value.strip())
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MOST:
            raise wrong("bad-amount", f"{_OCTETS_FORM}; at least {least}")
        return value

    return read


def _amount(given: str) -> int | None:
    """Return the octets that a text says, None where it says no whole number of them."""
    match = _AMOUNT.fullmatch(given)
    if match is None:
        return None
    number, unit = match[1], match[2]
    if unit not in _UNITS and unit:
        letter = unit[0].upper()
        hint = ""
        if letter in "KMGT":
            hint = f'write "{number}{letter}B" (powers of 1000) or "{number}{letter}iB" (powers of 1024)'
        raise wrong("bad-amount", _OCTETS_FORM, hint)
    amount = Decimal(number) * _UNITS[unit or "B"]
    return int(amount) if amount == amount.to_integral_value() else None


def duration(value: object) -> int:
    """Read a time span into seconds: whole seconds, or a text with a unit."""
    if isinstance(value, str):
        match = _SPAN.fullmatch(value.strip())
        if match is not None:
            value = int(match[1]) * _SPAN_S[match[2]]
        elif re.fullmatch(r"[0-9]{1,10}", value):
            value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**32:
        raise wrong("bad-duration", _SPAN_FORM)
    return value


def timezone(value: object) -> str:
    """Read the name of a time zone that this machine knows; UTC is always known."""
    expected = "an IANA time zone such as Europe/Berlin"
    if value == "UTC":
        return "UTC"
    known = _timezones()
    if isinstance(value, str) and value in known:
        return value
    hint = ""
    if not known:
        hint = "this machine has no time zones: install tzdata"
    elif isinstance(value, str) and len(value) <= 64:
        by_word = {
            word: name for name in sorted(known) for word in (name.lower(), name.lower().split("/")[-1])
        }
        near = get_close_matches(value.lower().replace(" ", "_"), by_word, n=5)
        names = tuple(dict.fromkeys(by_word[word] for word in near))[:3]
        hint = f"did you mean {', '.join(names)}?" if names else ""
    raise wrong("unknown-timezone", expected, hint)


@cache  # it looks at some six hundred files
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def url(value: object) -> str:
    """Read the address of a page: http or https with a host, short enough for an attribute."""
    expected = "a page such as https://pay.example.net/, of at most 247 octets"
    given = text(247)(value)
    try:
        parts = urlsplit(given)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right or any(each.isspace() for each in given):
        raise wrong("bad-url", expected, "" if "://" in given else "say http:// or https:// first")
    return given


def treatment(value: object) -> Treatment:
    """Read what is done instead of a reject: a word, or another plan."""
    word = value.lower() if isinstance(value, str) else ""
    if word in (Act.REJECT, Act.CAPTIVE):
        return REJECTED if word == Act.REJECT else GARDEN
    if not isinstance(value, str) or not word.startswith("plan:"):
        raise wrong("unknown-word", _TREATMENT_FORM)
    plan = read_id(value[5:].strip())
    if plan is None:
        raise wrong("bad-id", f"plan: and {ID_FORM}")
    return Treatment(act=Act.PLAN, plan=plan)


def then(given: str) -> Treatment:
    """Read what happens once an allowance is used up, where it is a word: also `notify`."""
    word = given.lower()
    if word == Act.NOTIFY:
        return _NOTIFIED
    if word in (Act.REJECT, Act.CAPTIVE) or word.startswith("plan:"):
        return treatment(given)
    raise wrong("unknown-word", THEN_FORM)


def identifier(value: object) -> str:
    """Read the id of another object."""
    found = read_id(value)
    if found is None:
        raise wrong("bad-id", ID_FORM)
    return found
