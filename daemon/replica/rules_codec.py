"""Rules as JSON: read from their durable form, and written the way the sync feed spells them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from daemon.replica.rules import (
    Act,
    Allowance,
    Bound,
    Direction,
    Garden,
    Hours,
    LinePolicy,
    Measure,
    RateHours,
    Rules,
    SimultaneousMode,
    Treatment,
    Window,
)
from radius import rates
from radius.grant import Rate

Json = Any  # JSON as `json.loads` gives it

DATACLASSES = (Rules, Garden, Treatment, Hours, RateHours, Allowance)
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_AMOUNTS = tuple((f"{prefix}B", 1000**power) for power, prefix in ((4, "T"), (3, "G"), (2, "M"), (1, "k")))


def load_rules(said: Json) -> Rules:
    """Return rules from their durable form; raises what building them raises where it is damaged."""
    return Rules(**_loaded(said, _RULES))


def load_garden(said: Json) -> Garden:
    """Return a walled garden from its durable form."""
    return Garden(**_loaded(said, _GARDEN))


def load_treatments(said: Json) -> tuple[tuple[str, Treatment], ...]:
    """Return treatments by reason from their durable form."""
    return tuple([(slug, _treatment(each)) for slug, each in said])


def _loaded(said: dict[str, Json], loaders: Mapping[str, Callable[[Json], Any]]) -> dict[str, Any]:
    return {name: loaders[name](value) if name in loaders else value for name, value in said.items()}


def _rate(said: Json) -> Rate:
    return Rate(**said)


def _treatment(said: Json) -> Treatment:
    return Treatment(**_loaded(said, {"act": Act, "rate": _rate}))


def _hours(said: Json) -> tuple[Hours, ...]:
    return tuple([Hours(**_loaded(each, {"days": tuple})) for each in said])


def _allowances(said: Json) -> tuple[Allowance, ...]:
    return tuple([Allowance(**_loaded(each, _ALLOWANCE)) for each in said])


def _rate_hours(said: Json) -> tuple[RateHours, ...]:
    return tuple([RateHours(hours=_hours(each["hours"]), rate=_rate(each["rate"])) for each in said])


def _bounds(said: Json) -> tuple[Bound, ...]:
    return tuple([Bound(each) for each in said])


_ALLOWANCE: Mapping[str, Callable[[Json], Any]] = {
    "measure": Measure,
    "window": Window,
    "direction": Direction,
    "then": _treatment,
}
_RULES: Mapping[str, Callable[[Json], Any]] = {
    "login_hours": _hours,
    "nases": tuple,
    "sites": tuple,
    "simultaneous_mode": SimultaneousMode,
    "bind": _bounds,
    "line_policy": LinePolicy,
    "allowances": _allowances,
    "rate_hours": _rate_hours,
    "treatments": load_treatments,
}
_GARDEN: Mapping[str, Callable[[Json], Any]] = {"services": tuple, "rate": _rate}


# -- as the feed spells them


def wire_rate(rate: Rate) -> Json:
    """Return a pair of rates as the feed spells it."""
    return {"download": rates.text(rate.download_bps), "upload": rates.text(rate.upload_bps)}


def wire_treatment(treatment: Treatment) -> Json:
    """Return a treatment as the feed spells it: a word, `plan:ID`, or a rate."""
    if treatment.act is Act.PLAN:
        return f"plan:{treatment.plan}"
    return treatment.act.value if treatment.rate is None else wire_rate(treatment.rate)


def wire_hours(hours: Hours) -> str:
    """Return hours as text: `mon-fri 08:00-20:00`."""
    end = "24:00" if hours.end_min == 0 else _clock(hours.end_min)
    span = f"{_clock(hours.start_min)}-{end}"
    return span if len(hours.days) == len(_DAYS) else f"{_days(hours.days)} {span}"


def wire_allowance(allowance: Allowance) -> Json:
    """Return an allowance as the feed spells it."""
    octets = allowance.measure is Measure.OCTETS
    return {
        "name": allowance.name,
        **({"octets": _amount(allowance.most)} if octets else {"seconds": allowance.most}),
        "window": allowance.window.value,
        **({"direction": allowance.direction.value} if octets else {}),
        "then": wire_treatment(allowance.then),
        "on_gap": allowance.on_gap,
    }


def wire_rate_hours(rate_hours: RateHours) -> Json:
    """Return a rate at some hours as the feed spells it."""
    return {"hours": [wire_hours(each) for each in rate_hours.hours]} | wire_rate(rate_hours.rate)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _days(days: tuple[int, ...]) -> str:
    """Return days as text, three or more in a row as a range."""
    runs: list[list[int]] = []
    for day in days:
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    words = [
        f"{_DAYS[run[0]]}-{_DAYS[run[-1]]}" if len(run) > 2 else ",".join(_DAYS[day] for day in run)
        for run in runs
    ]
    return ",".join(words)


def _amount(octets: int) -> Json:
    """Return octets with the largest unit that says them exactly."""
    for unit, size in _AMOUNTS:
        if octets % size == 0:
            return f"{octets // size}{unit}"
    return octets
