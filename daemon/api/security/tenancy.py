"""Keeping a request with one tenant: its query parameter `tenant` is put there before any route sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlencode

from daemon.api.security.principals import Principal


@dataclass(frozen=True, slots=True)
class Pinned:
    """Who asks, narrowed to a tenant where one was named, and the query as routes shall see it."""

    principal: Principal
    query: bytes


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The request is about another tenant than the asker may see; `header`: X-Tenant-ID says so."""

    tenant: str
    header: bool


def pin(principal: Principal, header: str | None, query: bytes) -> Pinned | Elsewhere:
    """Narrow a request to the tenant of its token, or of X-Tenant-ID where the token is for all tenants."""
    if header:
        if principal.bound not in (None, header):
            return Elsewhere(header, header=True)
        principal = replace(principal, tenant=header)
    own = principal.bound
    if own is None:
        return Pinned(principal, query)
    pairs = parse_qsl(
        query.decode("latin-1"), keep_blank_values=True, encoding="utf-8", errors="surrogateescape"
    )
    for name, value in pairs:
        if name == "tenant" and value != own:
            return Elsewhere(value, header=False)
    kept = [(name, value) for name, value in pairs if name != "tenant"]
    return Pinned(principal, urlencode([*kept, ("tenant", own)], errors="surrogateescape").encode())
