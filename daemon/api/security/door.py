"""The two doors: the admin socket, where the kernel has said who asks, and the API port, where everybody shows it."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from daemon.api.connections import Connection
from daemon.api.security.desk import Security
from daemon.api.security.principals import Kind, Principal
from daemon.api.security.refusals import NOBODY, Refusal, refuse
from daemon.api.security.scopes import SCOPES
from daemon.api.security.tenancy import Elsewhere, pin

TOKEN_PATH = "/api/v1/oauth/token"  # noqa: S105 - a path
KEY_SET_PATH = "/api/v1/oauth/jwks"
_OPEN = frozenset({"/health", "/livez", "/readyz", TOKEN_PATH, KEY_SET_PATH})
_DOCS = frozenset({"/docs", "/docs/oauth2-redirect", "/openapi.json"})
_METRICS = "/metrics"
_ANYBODY_HERE = Principal(
    kind=Kind.LOCAL, name="somebody on this machine", scopes=frozenset({"metrics:read"})
)


class LocalDoor:
    """Lets in whom the admin socket has let in, with every scope; on a TCP port it lets in nobody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name who asks and hand the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif isinstance((scope.get("server") or ("", None))[1], int):
            await refuse(scope, send, NOBODY)
        else:
            name = str((scope.get("client") or ("unknown", 0))[0])
            principal = Principal(kind=Kind.LOCAL, name=name, scopes=frozenset(SCOPES))
            await _enter(self._app, scope, receive, send, principal)


class NetworkDoor:
    """Lets in who has shown a key, a token or a certificate; and anybody to the few paths that tell nothing."""

    def __init__(self, app: ASGIApp, security: Security) -> None:
        self._app = app
        self._security = security

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find out who asks, then hand the request on or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        principal = self._who(scope)
        if isinstance(principal, Refusal):
            await refuse(scope, send, principal)
        elif principal is None:
            await self._app(scope, receive, send)
        else:
            state = scope.setdefault("state", {})
            state["is_good"] = partial(self._security.is_good, principal)
            connection = state.get("connection")
            if isinstance(connection, Connection) and principal is not _ANYBODY_HERE:
                connection.let_in()
            await _enter(self._app, scope, receive, send, principal)

    def _who(self, scope: Scope) -> Principal | Refusal | None:
        """Return who asks, why that is nobody, or None where it does not matter."""
        path, options = scope["path"], self._security.options
        if path in _OPEN or (options.open_docs and path in _DOCS):
            return None
        source = str((scope.get("client") or ("", 0))[0])
        shown = _header(scope, b"x-api-key"), _header(scope, b"authorization")
        if path == _METRICS and options.open_metrics and is_loopback(source) and not any(shown):
            return _ANYBODY_HERE
        return self._security.authenticate(
            *shown, source, scope.get("state", {}).get("certificate_names", ())
        )


async def _enter(app: ASGIApp, scope: Scope, receive: Receive, send: Send, principal: Principal) -> None:
    """Hand a request on, kept with one tenant where its asker or X-Tenant-ID says so."""
    headers = _header(scope, b"x-tenant-id")
    if len(set(headers)) > 1:
        await refuse(scope, send, Refusal(403, "denied", "X-Tenant-ID: one expected"))
        return
    pinned = pin(principal, headers[0].strip() if headers else None, scope.get("query_string", b""))
    if isinstance(pinned, Elsewhere):
        await refuse(scope, send, _elsewhere(pinned, principal))
        return
    state = scope.setdefault("state", {})
    state["principal"], state["tenant"] = pinned.principal, pinned.principal.bound
    scope["query_string"] = pinned.query
    await app(scope, receive, send)


def _elsewhere(pinned: Elsewhere, principal: Principal) -> Refusal:
    if pinned.header:
        return Refusal(403, "denied", f"X-Tenant-ID: {principal.name} is of another tenant")
    return Refusal(404, "not-found", f"no tenant has the id {pinned.tenant}")


def _header(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for known, value in scope["headers"] if known == name]


def is_loopback(source: str) -> bool:
    """Tell whether an address is of this machine."""
    try:
        address = ip_address(source)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
