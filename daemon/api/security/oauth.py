"""The token endpoint: OAuth 2 client credentials, RFC 6749 4.4, and the keys that our tokens are checked with."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qs, unquote_plus

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from daemon.api.models import Failure, Model
from daemon.api.security.buckets import retry_after
from daemon.api.security.desk import Security
from daemon.api.security.keys import Known
from daemon.api.security.principals import ALL_TENANTS
from daemon.api.security.refusals import Refusal

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["grant_type"],
                    "properties": {
                        "grant_type": {"type": "string", "enum": ["client_credentials"]},
                        "client_id": {"type": "string"},
                        "client_secret": {"type": "string"},
                        "scope": {
                            "type": "string",
                            "description": "separated by spaces; none: all that it has",
                        },
                    },
                }
            }
        },
    }
}


class TokenView(Model):
    """A token, RFC 6749 5.1."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the type's name
    expires_in: int = Field(description="seconds")
    scope: str


class TokenFailure(Failure):
    """A refusal in our shape, with the error code of RFC 6749 5.2 for clients that know only that."""

    error: str
    error_description: str


class KeySetView(Model):
    """A JWKS, RFC 7517."""

    keys: list[dict[str, str]]


def add_oauth(router: APIRouter, security: Security) -> None:
    """Add `/oauth/token` and `/oauth/jwks`, which are open: the client shows its secret in the request itself."""

    @router.post(
        "/oauth/token",
        response_model=TokenView,
        responses={status: {"model": TokenFailure} for status in (400, 401, 429)},
        openapi_extra=_FORM,
    )
    async def token(request: Request) -> Response:
        fields = _fields(await request.body())
        source = "" if request.client is None else request.client.host
        if fields is None or fields.get("grant_type") != "client_credentials":
            code = "invalid_request" if not fields or "grant_type" not in fields else "unsupported_grant_type"
            return _refuse(
                request, Refusal(400, "invalid-request", "grant_type: client_credentials expected"), code
            )
        shown = _shown(request, fields)
        if shown is None:
            text = "client_id and client_secret expected, in the form or by Basic authentication"
            return _refuse(request, Refusal(401, "unauthenticated", text), "invalid_client")
        client = security.client(*shown, source)
        if isinstance(client, Refusal):
            return _refuse(request, client, "invalid_client")
        return _issue(request, security, client, fields.get("scope"))

    @router.get("/oauth/jwks")
    async def key_set() -> KeySetView:
        return KeySetView.model_validate(security.issuer.key_set())


def _issue(request: Request, security: Security, client: Known, wanted: str | None) -> Response:
    scopes = client.principal.scopes
    if wanted is not None and wanted.strip():
        asked = frozenset(wanted.split())
        if not asked <= scopes:
            text = f"scope: {client.row.id} has not got {', '.join(sorted(asked - scopes))[:500]}"
            return _refuse(request, Refusal(400, "invalid-request", text), "invalid_scope")
        scopes = asked
    row = client.row
    made = security.issuer.issue(row.id, row.tenant or ALL_TENANTS, scopes, security.clock.wall())
    view = TokenView(
        access_token=made, expires_in=int(security.issuer.valid_s), scope=" ".join(sorted(scopes))
    )
    return JSONResponse(view.model_dump(), headers={"Cache-Control": "no-store"})


def _fields(body: bytes) -> dict[str, str] | None:
    """Return the fields of a form, None where it is none or one comes twice."""
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=20)
    except ValueError:
        return None
    if any(len(values) > 1 for values in fields.values()):
        return None
    return {name: values[0] for name, values in fields.items()}


def _shown(request: Request, fields: dict[str, str]) -> tuple[str, str] | None:
    """Return client id and secret: by Basic (RFC 6749 2.3.1) or in the form, not by both."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None if scheme else _of_form(fields)
    if "client_secret" in fields:
        return None
    try:
        name, colon, secret = base64.b64decode(given.strip(), validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        return None
    return (unquote_plus(name), unquote_plus(secret)) if colon else None


def _of_form(fields: dict[str, str]) -> tuple[str, str] | None:
    if "client_id" not in fields or "client_secret" not in fields:
        return None
    return fields["client_id"], fields["client_secret"]


def _refuse(request: Request, refusal: Refusal, error: str) -> Response:
    failure = TokenFailure(
        code=refusal.code,
        message=refusal.message,
        request_id=getattr(request.state, "request_id", ""),
        retryable=refusal.status == 429,
        error=error,
        error_description=refusal.message,
    )
    headers = {"Cache-Control": "no-store"}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="dotmac-edge"'
    if refusal.wait_s:
        headers["Retry-After"] = retry_after(refusal.wait_s)
    return JSONResponse(failure.model_dump(), refusal.status, headers)
