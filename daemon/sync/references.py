"""What records say about others: plans, pools and NASes that are not there, a walled garden that nobody has built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from daemon.replica.pools import PoolSpec, SelectorSpec
from daemon.replica.records import AccessMode, Plan, Record, Staff, Subscriber, Tenant
from daemon.replica.rules import Act, Treatment
from daemon.sync.faults import Fault
from daemon.sync.outlook import Outlook
from daemon.sync.problems import Path, got
from ipam.kinds import Kind

NO_GARDEN = "`garden` in the tenant: without one these logins are rejected"


def unknown_references(record: Record, outlook: Outlook) -> Iterator[Fault]:
    """Yield the plans and pools that a record names and its tenant will not have; such a record cannot be applied."""
    for path, plan in _plans(record):
        tenant = _owner(record)
        if not outlook.exists(("plan", tenant, plan)):
            hint = _near(plan, outlook.ids("plan", tenant))
            yield Fault(path, "unknown-plan", got(plan), f"a plan of tenant {tenant}", hint)
    for path, kind, name in _pools(record):
        tenant = _owner(record)
        if not outlook.exists(("pool", tenant, name)):
            hint = _near(name, outlook.ids("pool", tenant))
            yield Fault(path, "unknown-pool", got(name), f"a pool of tenant {tenant}", hint)
        elif (known := outlook.pool(tenant, name)) is not None and known.pool.kind is not kind:
            came = f"{got(name)}, which leases {known.pool.kind}"
            yield Fault(path, "pool-of-other-kind", came, f"a pool of kind {kind}")


def odd_references(record: Record, outlook: Outlook) -> Iterator[Fault]:
    """Yield what a record names that may come later: NASes and sites that are not there yet, a walled garden."""
    tenant = _owner(record)
    nases, sites = _places(record)
    path: Path
    for name in nases:
        if not outlook.exists(("nas", tenant, name)):
            hint = _near(name, outlook.ids("nas", tenant))
            path = ("match", "nas") if isinstance(record, SelectorSpec) else ("nases",)
            yield Fault(path, "unknown-nas", got(name), f"a NAS of tenant {tenant}", hint)
    for name in sites:
        if name not in (known := outlook.sites(tenant)):
            expected = f"a site that a NAS of tenant {tenant} has"
            path = ("match", "site") if isinstance(record, SelectorSpec) else ("sites",)
            yield Fault(path, "unknown-site", got(name), expected, _near(name, sorted(known)))
    if isinstance(record, (Tenant, Plan)) and lacks_garden(tenant, outlook):
        for path, treatment in _treatments(record):
            if treatment.act is Act.CAPTIVE:
                yield Fault(path, "no-garden", got("captive"), NO_GARDEN)
    if _lacks_secret(record):
        expected = "`password` or `secret`: without one every login by user name is denied"
        yield Fault((), "no-secret", got(None), expected)


def names(record: Record) -> Iterator[tuple[str, str]]:
    """Yield kind and id of the plans and pools that a record names."""
    for _, plan in _plans(record):
        yield "plan", plan
    for _, _, pool in _pools(record):
        yield "pool", pool


def lacks_garden(tenant: str, outlook: Outlook) -> bool:
    """Tell whether a tenant will have no walled garden; False where its object is wrong."""
    record = outlook.tenant(tenant)
    return record is not None and record.garden is None


def _lacks_secret(record: Record) -> bool:
    return (
        isinstance(record, Subscriber)
        and record.secret is None
        and bool(record.usernames)
        and record.access_mode is AccessMode.ACTIVE
    )


def _owner(record: Record) -> str:
    return record.id if isinstance(record, Tenant) else record.tenant


def _plans(record: Record) -> Iterator[tuple[Path, str]]:
    if isinstance(record, Subscriber):
        if record.plan is not None:
            yield ("plan",), record.plan
        return
    if isinstance(record, SelectorSpec):
        if record.selector.match.plan is not None:
            yield ("match", "plan"), record.selector.match.plan
        return
    for path, treatment in _treatments(record):
        if treatment.plan is not None:
            yield path, treatment.plan


def _pools(record: Record) -> Iterator[tuple[Path, Kind, str]]:
    """Yield the pools that a record names, with what each has to lease."""
    if isinstance(record, PoolSpec):
        for index, name in enumerate(record.pool.fallbacks):
            yield ("fallbacks", index), record.pool.kind, name
    elif isinstance(record, SelectorSpec):
        for kind, names in record.selector.pools:
            for index, name in enumerate(names):
                yield ("pools", kind.value, index), kind, name


def _treatments(record: Record) -> Iterator[tuple[Path, Treatment]]:
    if isinstance(record, Plan):
        for index, allowance in enumerate(record.rules.allowances):
            yield ("allowances", index, "then"), allowance.then
    if isinstance(record, (Plan, Tenant)):
        ruled = record.rules.treatments if isinstance(record, Plan) else record.treatments
        for slug, treatment in ruled:
            yield ("treatments", slug), treatment


def _places(record: Record) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the NASes and the sites that a record names."""
    if isinstance(record, (Subscriber, Staff)):
        return record.nases, record.sites
    if isinstance(record, Plan):
        return record.rules.nases, record.rules.sites
    if isinstance(record, SelectorSpec):
        match = record.selector.match
        return tuple(filter(None, (match.nas,))), tuple(filter(None, (match.site,)))
    return (), ()


def _near(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=3)
    return f"did you mean {', '.join(near)}?" if near else ""
