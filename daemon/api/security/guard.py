"""What a route asks of a request: a scope, and that it stays with the tenant of whoever asks.

A route says `dependencies=[scope("ipam:write")]`. One that lists or finds by a `tenant` query parameter needs nothing
more: for whoever is bound to a tenant the door has put that tenant there. Others say how far they reach.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from fastapi import HTTPException, Request, Security, params
from fastapi.security import APIKeyHeader, HTTPBearer

from daemon.api.security.principals import Principal
from daemon.api.security.scopes import SCOPES

API_KEY = APIKeyHeader(name="X-Api-Key", scheme_name="ApiKey", auto_error=False, description="`id.secret`")
BEARER = HTTPBearer(scheme_name="Bearer", bearerFormat="JWT", auto_error=False)


class Reach(Enum):
    """How a route keeps tenants apart."""

    TENANT = "by its query parameter `tenant`"
    OWN = "by itself, with `tenant_of` or `whose`"
    EDGE = "not at all: it is about the whole edge, so it takes a token for all tenants"
    OPEN = "not at all: it tells nothing about any tenant"


class Guard:
    """Lets through who has the scope and may reach as far as the route does."""

    def __init__(self, scope: str, reach: Reach) -> None:
        if scope not in SCOPES:
            raise ValueError(f"no scope {scope}; scopes are {', '.join(SCOPES)}")
        self.scope = scope
        self.reach = reach

    async def __call__(
        self,
        request: Request,
        _key: Annotated[object, Security(API_KEY)] = None,
        _bearer: Annotated[object, Security(BEARER)] = None,
    ) -> None:
        """Raise HTTPException: 401 for nobody, 403 without the scope or beyond the tenant."""
        principal = principal_of(request)
        if self.scope not in principal.scopes:
            raise HTTPException(403, f"{principal.name} lacks the scope {self.scope}")
        if principal.bound is None or self.reach in (Reach.OWN, Reach.OPEN):
            return
        if self.reach is Reach.EDGE or not takes_tenant(request.scope.get("route")):
            text = f"this is about the whole edge: {principal.name} may see the tenant {principal.bound} only"
            raise HTTPException(403, text)


def scope(name: str, reach: Reach = Reach.TENANT) -> params.Depends:
    """Return what a route lists in its `dependencies`: who asks must have that scope."""
    return params.Security(Guard(name, reach), scopes=[name])


def guards_of(route: object) -> list[Guard]:
    """Return the guards that a route has declared."""
    given = (each.dependency for each in getattr(route, "dependencies", ()))
    return [each for each in given if isinstance(each, Guard)]


async def declared(request: Request) -> None:
    """Refuse a route that has declared no scope; to be a dependency of whole routers. Raises HTTPException 403."""
    if not guards_of(request.scope.get("route")):
        raise HTTPException(403, "this route has declared no scope, so nobody may use it")


def takes_tenant(route: object) -> bool:
    """Tell whether a route has the query parameter `tenant`, by itself, in a model or in a dependency."""
    dependant = getattr(route, "dependant", None)
    return dependant is not None and _takes_tenant(dependant)


def _takes_tenant(dependant: object) -> bool:
    for field in getattr(dependant, "query_params", ()):
        if field.alias == "tenant" or "tenant" in getattr(field.field_info.annotation, "model_fields", ()):
            return True
    return any(_takes_tenant(each) for each in getattr(dependant, "dependencies", ()))


def principal_of(request: Request) -> Principal:
    """Return who asks. Raises HTTPException 401 where no door has found out."""
    principal = getattr(request.state, "principal", None)
    if not isinstance(principal, Principal):
        raise HTTPException(
            401, "say who you are: X-Api-Key or a Bearer token", {"WWW-Authenticate": "Bearer"}
        )
    return principal


def holds_on(request: Request) -> bool:
    """Tell whether whoever asks may still be answered: neither key nor token has ended meanwhile."""
    good = getattr(request.state, "is_good", None)
    return good is None or bool(good())


def tenant_of(request: Request) -> str | None:
    """Return the tenant that the request is about, by the token or X-Tenant-ID; None: whoever asks may see all."""
    bound = principal_of(request).bound
    return bound if bound is not None else getattr(request.state, "tenant", None)


def whose(request: Request, named: str | None) -> str | None:
    """Return the tenant that a body or path names, narrowed to what the asker may see.

    Raises HTTPException 404 where that is another tenant's: to the asker there is none of that id.
    """
    own = tenant_of(request)
    if own is None or named is None:
        return named if own is None else own
    if named != own:
        raise HTTPException(404, f"no tenant has the id {named}")
    return named
