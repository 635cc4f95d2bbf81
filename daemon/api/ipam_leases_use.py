"""How full pools are, and all pools of a kind at a site, of a VRF or a tenant: sums that are kept, none is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

from daemon.api.ipam_lease_models import DEFAULT_VRF, UtilisationView
from daemon.leases.addresses import Addresses
from ipam.kinds import Kind
from ipam.lease import Utilisation

Level = Literal["pool", "site", "vrf", "tenant"]
AlarmOf = Callable[[str, str], str]
"""(tenant, pool) -> low, critical or nothing."""


def utilisations(
    addresses: Addresses[Any],
    level: Level,
    tenant: str | None,
    name: str | None,
    kind: Kind | None,
    alarm_of: AlarmOf,
) -> list[UtilisationView]:
    """Return the use of everything on a level, sorted; fixed addresses have no pool that could fill."""
    register = addresses.register
    seen: dict[tuple[str, str, Kind], Utilisation] = {}
    for shelf in register.shelves.values():
        pool = shelf.pool
        if pool.kind is Kind.FIXED or tenant not in (None, pool.tenant) or kind not in (None, pool.kind):
            continue
        if level == "pool":
            used = register.utilisation(pool.tenant, pool.name)
            found = pool.name
        else:
            found = {"site": pool.site, "vrf": pool.vrf, "tenant": ""}[level]
            used = register.utilisation_of(level, pool.tenant, found, pool.kind)
        if used is not None:
            seen[pool.tenant, found, pool.kind] = used
    views = [_view(level, *key, used, alarm_of) for key, used in sorted(seen.items())]
    return [each for each in views if name in (None, each.name)]


def _view(
    level: Level, tenant: str, name: str, kind: Kind, used: Utilisation, alarm_of: AlarmOf
) -> UtilisationView:
    shown = {"vrf": name or DEFAULT_VRF, "tenant": tenant}.get(level, name)
    return UtilisationView(
        level=level,
        tenant=tenant,
        name=shown,
        kind=kind.value,
        used_percent=round(used.used_percent, 2),
        alarm=alarm_of(tenant, name) if level == "pool" else "",
        **asdict(used),
    )
