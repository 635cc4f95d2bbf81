"""The routes about keys and clients of the API. The secret is told once, in the answer that makes the key."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import Field

from daemon.api.actor import actor_of
from daemon.api.models import Model, Page
from daemon.api.security.audited import note_about
from daemon.api.security.desk import Security
from daemon.api.security.guard import Reach, principal_of, scope, tenant_of, whose
from daemon.api.security.keys import NewKey, Purpose
from daemon.api.security.principals import ALL_TENANTS, Principal
from daemon.api.security.scopes import expand
from daemon.store.key_rows import KeyRow

_Limit = Annotated[int, Query(ge=1, le=10_000)]
_Offset = Annotated[int, Query(ge=0, le=1_000_000)]
_SHOWN = 20
_MOST_S = 10 * 366 * 86_400.0


class KeyWish(Model):
    """A new key or client."""

    name: str = Field(
        min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$", description="what it is for"
    )
    scopes: list[Annotated[str, Field(max_length=50)]] = Field(
        min_length=1, max_length=100, description="scopes and roles; no more than the asker has"
    )
    tenant: str = Field(
        default=ALL_TENANTS, min_length=1, max_length=255, description="an id; *: all tenants"
    )
    purpose: Purpose = Field(default=Purpose.KEY, description="client: to ask for tokens with")
    expires_s: float | None = Field(
        default=None,
        gt=0,
        le=_MOST_S,
        allow_inf_nan=False,
        description="seconds from now; none: never. It ends with the key that asks, at the latest",
    )
    rate_per_s: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="requests a second; no more than the key that asks",
    )


class ApiKeyView(Model):
    """A key or client, without its secret. Times are epoch seconds."""

    id: str
    name: str
    purpose: Purpose
    scopes: list[str] = Field(description="as they were given: scopes and roles")
    tenant: str
    state: str = Field(description="good, expired or revoked")
    rate_per_s: float | None
    created_at: float
    created_by: str
    parent: str = Field(description="id of the key that made it: it ends with that one; empty: no key did")
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None
    uses: int
    refusals: int = Field(description="requests with it that were refused")


class NewKeyView(ApiKeyView):
    """A key that was just made."""

    secret: str = Field(description="to be presented as X-Api-Key, or as client_secret; it is told only now")
    notes: list[str] = Field(description="what may not be as it was meant")


def add_keys(
    router: APIRouter, security: Security, tenants: Callable[[], Collection[str]] = frozenset
) -> None:
    """Add the routes under `/api-keys`; `tenants` are the ids of those that there are."""
    at = security.clock.wall

    @router.get("/api-keys", dependencies=[scope("keys:read")])
    async def keys(tenant: str | None = None, limit: _Limit = 100, offset: _Offset = 0) -> Page[ApiKeyView]:
        every = [each for each in security.keys.listed() if tenant in (None, each.tenant)]
        items = [_view(each, at()) for each in every[offset : offset + limit]]
        return Page(items=items, count=len(every), limit=limit, offset=offset)

    @router.post("/api-keys", status_code=201, dependencies=[scope("keys:write", Reach.OWN)])
    async def create(request: Request, wish: KeyWish) -> NewKeyView:
        asker = principal_of(request)
        tenant = whose(request, None if wish.tenant == ALL_TENANTS else wish.tenant)
        _see_scopes(asker, wish.scopes)
        wanted = NewKey(
            name=wish.name,
            scopes=tuple(wish.scopes),
            tenant=tenant or ALL_TENANTS,
            purpose=wish.purpose,
            expires_at=None if wish.expires_s is None else at() + wish.expires_s,
            rate_per_s=wish.rate_per_s,
            parent=asker.key,
        )
        row, secret = await security.keys.create(wanted, actor_of(request))
        note_about(
            request, f"{row.kind} {row.id} {row.name!r}: {row.scopes}; tenant {row.tenant or ALL_TENANTS}"
        )
        notes = _notes(row.tenant, tenants())
        return NewKeyView(**_view(row, at()).model_dump(), secret=secret, notes=notes)

    @router.delete("/api-keys/{key}", dependencies=[scope("keys:write", Reach.OWN)])
    async def revoke(request: Request, key: str) -> ApiKeyView:
        known = security.keys.find(key)
        own = tenant_of(request)
        if known is None or own not in (None, known.row.tenant):
            raise HTTPException(404, f"no key has the id {key}; see `apikey list`")
        gone = await security.keys.revoke(key)
        assert gone is not None, "it was there just now"
        return _view(gone, at())


def _notes(tenant: str, known: Collection[str]) -> list[str]:
    """Say that there is no such tenant: it may come with the data yet, or be a slip."""
    if not tenant or tenant in known:
        return []
    shown = [*sorted(known)[:_SHOWN], *(["..."] if len(known) > _SHOWN else [])]
    return [f"no tenant has the id {tenant} now; there are {', '.join(shown) or 'none'}"]


def _see_scopes(asker: Principal, scopes: list[str]) -> None:
    """Refuse scopes that there are not, or that the asker has not. Raises HTTPException 422, 403."""
    try:
        wanted = expand(scopes)
    except ValueError as error:
        raise HTTPException(422, f"scopes: {error}") from None
    more = sorted(wanted - asker.scopes)
    if more:
        raise HTTPException(403, f"scopes: nobody can give what it has not: {', '.join(more)}")


def _view(row: KeyRow, at: float) -> ApiKeyView:
    over = row.expires_at is not None and at >= row.expires_at
    return ApiKeyView(
        id=row.id,
        name=row.name,
        purpose=Purpose(row.kind),
        scopes=row.scopes.split(),
        tenant=row.tenant or ALL_TENANTS,
        state="revoked" if row.revoked_at is not None else "expired" if over else "good",
        rate_per_s=row.rate_per_s,
        created_at=row.created_at,
        created_by=row.created_by,
        parent=row.parent,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        uses=row.uses,
        refusals=row.refusals,
    )
