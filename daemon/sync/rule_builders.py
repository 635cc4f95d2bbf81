"""Rules of validated bodies into those of records; what no single field shows is checked here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from daemon.replica.rules import (
    REJECTED,
    Allowance,
    Direction,
    Garden,
    Measure,
    RateHours,
    Rules,
    Treatment,
)
from daemon.sync.faults import Faults
from daemon.sync.problems import Path
from daemon.sync.wire_base import RateBody
from daemon.sync.wire_rules import (
    OF_TENANTS_ONLY,
    TREATABLE,
    AllowanceBody,
    GardenBody,
    RateHoursBody,
    RulesBody,
    TreatmentsBody,
)
from radius.grant import Rate

_Item = TypeVar("_Item")
_WALLS = ("redirect_url", "address_list", "services", "filter_id")


def rules(body: RulesBody, faults: Faults) -> Rules:
    """Return the rules of a plan."""
    if body.bind_learn and not body.bind:
        faults.add(("bind_learn",), "missing", body.bind_learn, "`bind` beside it: what to tie to")
    for slug, _ in (ruled := treatments(body.treatments)):
        if slug in OF_TENANTS_ONLY:
            hint = "nobody is known then, and so no plan: rule on it in the tenant"
            faults.add(("treatments", slug), "tenant-only", slug, "a reason that a plan can rule on", hint)
    return Rules(
        login_hours=tuple(body.login_hours),
        nases=once(("nases",), body.nases, faults),
        sites=once(("sites",), body.sites, faults),
        simultaneous_use=body.simultaneous_use,
        simultaneous_mode=body.simultaneous_mode,
        bind=once(("bind",), body.bind, faults),
        bind_learn=body.bind_learn,
        line_policy=body.line_policy,
        allowances=_allowances(body.allowances, faults),
        rate_hours=tuple(_rate_hours(index, each, faults) for index, each in enumerate(body.rate_hours)),
        month_day=body.month_day,
        treatments=ruled,
    )


def treatments(body: TreatmentsBody | None) -> tuple[tuple[str, Treatment], ...]:
    """Return what is done, by reason, in the order of TREATABLE."""
    if body is None:
        return ()
    given = ((slug, getattr(body, slug.replace("-", "_"))) for slug in TREATABLE)
    return tuple((slug, treatment) for slug, treatment in given if treatment is not None)


def garden(path: Path, body: GardenBody, faults: Faults) -> Garden:
    """Return the walled garden of a tenant. One that walls nothing in is a fault."""
    if not any(getattr(body, name) for name in _WALLS):
        faults.add(path, "missing", None, f"at least one of {', '.join(_WALLS)}: what walls a session in")
    return Garden(
        redirect_url=body.redirect_url,
        address_list=body.address_list,
        services=once((*path, "services"), body.services, faults),
        filter_id=body.filter_id,
        ipv4_pool=body.ipv4_pool,
        rate=None if body.rate is None else _rate(body.rate),
        session_timeout_s=body.session_timeout_s,
        interim_interval_s=body.interim_interval_s,
    )


def once(path: Path, items: Sequence[_Item], faults: Faults) -> tuple[_Item, ...]:
    """Return the items; one that comes twice is a fault."""
    if len(set(items)) != len(items):
        faults.add(path, "repeated", items, "each entry once")
    return tuple(items)


def _allowances(bodies: Sequence[AllowanceBody], faults: Faults) -> tuple[Allowance, ...]:
    names: set[str] = set()
    made = []
    for index, body in enumerate(bodies):
        path: Path = ("allowances", index)
        if body.name in names:
            faults.add(
                (*path, "name"), "repeated", body.name, "a name that no other allowance of the plan has"
            )
        names.add(body.name)
        made.append(_allowance(path, body, faults))
    return tuple(made)


def _allowance(path: Path, body: AllowanceBody, faults: Faults) -> Allowance:
    amounts = {"octets": body.octets, "seconds": body.seconds, "time": body.time}
    said = [name for name, amount in amounts.items() if amount is not None]
    if not said:
        faults.add(path, "missing", None, "`octets`, `seconds` or `time`: how much")
    elif len(said) > 1:
        faults.add((*path, said[1]), "said-twice", amounts[said[1]], f"only one of it and `{said[0]}`")
    measure = Measure.OCTETS if "octets" in said or not said else Measure.SECONDS
    if measure is Measure.SECONDS and body.direction is not Direction.BOTH:
        hint = "time passes for both at once"
        faults.add(
            (*path, "direction"), "bad-direction", body.direction.value, "a direction of octets only", hint
        )
    return Allowance(
        name=body.name,
        most=amounts[said[0]] or 0 if said else 0,
        measure=measure,
        window=body.window,
        direction=body.direction,
        then=body.then or REJECTED,
        on_gap=body.on_gap,
    )


def _rate_hours(index: int, body: RateHoursBody, faults: Faults) -> RateHours:
    if not body.hours:
        faults.add(
            ("rate_hours", index, "hours"), "missing", None, "at least one entry: when the rate applies"
        )
    return RateHours(hours=tuple(body.hours), rate=_rate(body))


def _rate(body: RateBody) -> Rate:
    return Rate(download_bps=body.download, upload_bps=body.upload)
