"""All routes about addresses: definitions, leases, who had what, CGNAT, probes, forecasts."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException

from daemon.api.cgnat import add_cgnat
from daemon.api.idempotency import Idempotency
from daemon.api.ipam_definitions import definitions_router
from daemon.api.ipam_forecast import add_forecasts
from daemon.api.ipam_import import add_imports, login_key
from daemon.api.ipam_leases import add_leases
from daemon.api.ipam_leases_actions import Desk
from daemon.api.lookup import tenants
from daemon.api.nodes import add_nodes
from daemon.api.probe import add_probe
from daemon.api.services import Services
from daemon.api.who_had import LookUps, add_who_had
from daemon.leases.import_job import Importer


def add_addresses(router: APIRouter, services: Services) -> None:
    """Add the routes under `/ipam`, and `/audit`."""
    work, clock = services.work, services.clock
    keys = Idempotency(services.engine, services.writer, clock)

    def tenant_of(name: str | None) -> str:
        """Return the tenant that is meant. Raises HTTPException: 404 for none, 409 where it must be said."""
        found = [each.tenant.id for each in tenants(services, name)]
        if len(found) != 1:
            raise HTTPException(409, f"there are several tenants, say which: {', '.join(sorted(found))}")
        return found[0]

    add_forecasts(router, services, work.addresses, work.outlooks)  # their paths lie below those of pools
    router.include_router(definitions_router(services, work.definitions, keys))
    desk = Desk(services, services.writer)
    add_leases(router, desk, keys, work.offers, work.watch)
    add_imports(router, desk, Importer(work.definitions, services.index, login_key, work.spawn))
    add_who_had(router, LookUps(work.who_had, work.exporter, services.engine, services.writer, clock))
    add_cgnat(router, work.cgnat, tenant_of, clock.wall)
    add_probe(router, work.prober)
    add_nodes(router, work.nodes)
