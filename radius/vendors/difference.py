"""What differs between two grants, as far as it matters to a session that is up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from radius.grant import Grant
from radius.rates import MikrotikRate, parse_mikrotik

# Limits that the daemon watches itself: the next login brings them, and none is worth a request of its own.
NEVER_MATTERS = frozenset({"session_timeout_s", "idle_timeout_s", "interim_interval_s", "volume_octets"})
RATE_FIELDS = frozenset({"rate", "burst", "committed", "priority", "rate_text"})

_NAMES = tuple(field.name for field in fields(Grant) if field.name not in NEVER_MATTERS)

Meaning = Callable[[Grant], object]


def mikrotik_meaning(grant: Grant) -> object:
    """Return what the rates of `grant` mean: numbers and a literal string of RouterOS become the same thing.

    None where nothing is said about rates, the text itself where it is no string of RouterOS.
    """
    if grant.rate_text is not None:
        try:
            return parse_mikrotik(grant.rate_text)
        except ValueError:
            return grant.rate_text
    rate, burst, committed = grant.rate, grant.burst, grant.committed
    if rate is None:
        return None if burst is None and committed is None else (burst, committed)
    return MikrotikRate(
        rate=rate,
        burst=burst.rate if burst else None,
        threshold=burst.threshold if burst else None,
        upload_burst_s=burst.seconds if burst else 0,
        download_burst_s=burst.seconds if burst else 0,
        priority=grant.priority if committed else 8,
        minimum=committed or rate,
    )


def differs(applied: Grant, wanted: Grant, meaning: Meaning = mikrotik_meaning) -> tuple[str, ...]:
    """Return the names of the fields of two grants that differ and matter to a live session.

    Rates compare by what they mean: `20M/100M` and 20,000k/100,000k are one, and so are a literal and the
    numbers. `meaning` reads the literal; its default is RouterOS's way, a profile brings its own.
    """
    if applied == wanted:
        return ()
    same_rates = meaning(applied) == meaning(wanted)
    return tuple(
        name
        for name in _NAMES
        if getattr(applied, name) != getattr(wanted, name) and not (same_rates and name in RATE_FIELDS)
    )
