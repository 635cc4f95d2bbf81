"""What a name in a request means: several tenants may use the same one, and then it is asked which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from fastapi import HTTPException

from daemon.api.services import Services
from daemon.replica.index import TenantIndex
from daemon.replica.records import Subscriber

Found = TypeVar("Found")


def tenants(services: Services, tenant: str | None) -> list[TenantIndex]:
    """Return the tenants to look in: the one that is named, else all. Raises HTTPException 404."""
    if tenant is None:
        return list(services.index.tenants.values())
    known = services.index.tenants.get(tenant)
    if known is None:
        raise HTTPException(404, f"no tenant has the id {tenant}")
    return [known]


def of_one_tenant(
    found: Sequence[Found], tenant_of: Callable[[Found], str], name: str, missing: str
) -> Sequence[Found]:
    """Return what was found under a name, at least one and all of one tenant.

    Raises HTTPException: 404 with the text `missing` for nothing, 409 where tenants share the name.
    """
    if not found:
        raise HTTPException(404, missing)
    owners = sorted({tenant_of(each) for each in found})
    if len(owners) > 1:
        raise HTTPException(
            409, f"several tenants have {name}: {', '.join(owners)}; say which one with --tenant"
        )
    return found


def find_subscriber(services: Services, name: str, tenant: str | None) -> tuple[TenantIndex, Subscriber]:
    """Return a subscriber by id or user name, and its tenant's index.

    Raises HTTPException: 404 for nobody, 409 where tenants share the name, or an id is another's user name.
    """
    named = [(owner, subscriber) for owner in tenants(services, tenant) for subscriber in _named(owner, name)]
    missing = f"no subscriber has the id or user name {name}"
    found = of_one_tenant(named, lambda pair: pair[1].tenant, name, missing)
    if len(found) > 1:
        (_, by_id), (_, by_username) = found
        raise HTTPException(
            409,
            f"{name} is the id of one subscriber and a user name of {by_username.id}: give "
            f"{by_username.id} for that one, or a user name of the first ({', '.join(by_id.usernames) or 'none'})",
        )
    return found[0]


def _named(owner: TenantIndex, name: str) -> list[Subscriber]:
    """Return the subscriber with that id, then the one with that user name if it is another."""
    by_id, by_username = owner.subscribers.get(name), owner.usernames.get(name.encode())
    if by_id is by_username:
        return [] if by_id is None else [by_id]
    return [each for each in (by_id, by_username) if each is not None]
