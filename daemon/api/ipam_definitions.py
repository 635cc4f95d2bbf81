"""The routes under `/ipam` about definitions; what they have in common is here."""

from __future__ import annotations

from fastapi import APIRouter

from daemon.api.idempotency import Idempotency
from daemon.api.ipam_definitions_other import add_reservations, add_selectors
from daemon.api.ipam_definitions_pools import add_pools
from daemon.api.ipam_definitions_prefixes import add_prefixes
from daemon.api.ipam_definitions_vlans import add_vlans
from daemon.api.services import Services
from daemon.leases.definitions import Definitions


def definitions_router(services: Services, definitions: Definitions, keys: Idempotency) -> APIRouter:
    """Return the routes about pools, prefixes, VRFs, selectors and reservations.

    They are on the admin socket, where no browser is: a body need not say that it is JSON.
    """
    router = APIRouter(prefix="/ipam", strict_content_type=False)
    add_pools(router, services, definitions)
    add_prefixes(router, services, definitions, keys)
    add_selectors(router, services, definitions)
    add_reservations(router, services, definitions)
    add_vlans(router, services, definitions)
    return router
