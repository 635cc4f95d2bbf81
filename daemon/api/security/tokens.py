"""Checking JWTs (RFC 7519): whose they are, that they are meant for us and good now.

The algorithm is the one of the key that is tried, never the one that the token asks for: RFC 8725 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from daemon.api.security.key_set import VerifyKey
from daemon.api.security.principals import Kind, Principal
from daemon.api.security.scopes import known_scopes

LONGEST = 16 * 1024
"""Octets of a token at the most."""
_LATEST_AT = 2.0**53


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are taken: `keys` of a monotonic time; each must name this issuer and this audience."""

    name: str
    audience: str
    keys: Callable[[float], Sequence[VerifyKey]]
    leeway_s: float = 0.0
    ours: bool = False
    """Its tokens name the client of ours that they were given to."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A good token. `client` is the client of ours that it was given to, else empty."""

    principal: Principal
    client: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A token that is not taken; `why` is a slug for the log, and says nothing of the token's content."""

    why: str


def verify(token: str, issuers: Sequence[Issuer], now: float, at: float) -> Accepted | Rejected:
    """Check a token against the issuers; `now` is monotonic, `at` epoch seconds."""
    if len(token) > LONGEST:
        return Rejected("token-too-long")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        return Rejected("token-malformed")
    if "crit" in header:
        return Rejected("token-critical-header")  # RFC 7515 4.1.11: we understand none
    kid = header.get("kid", "")
    worst = Rejected("token-key-unknown")
    for issuer in issuers:
        for key in issuer.keys(now):
            if key.algorithm.value != header.get("alg") or (kid and key.kid and kid != key.kid):
                continue
            found = _decode(token, issuer, key, at)
            if isinstance(found, Accepted):
                return found
            worst = found
    return worst


def _decode(token: str, issuer: Issuer, key: VerifyKey, at: float) -> Accepted | Rejected:
    try:
        claims = jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm.value],
            issuer=issuer.name,
            audience=issuer.audience,
            # Times are compared with our clock below, not with the one that the library reads.
            options={
                "require": ["exp", "iss", "aud", "sub"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except jwt.InvalidSignatureError:
        return Rejected("token-signature")
    except jwt.InvalidAudienceError:
        return Rejected("token-audience")
    except jwt.InvalidIssuerError:
        return Rejected("token-issuer")
    except jwt.MissingRequiredClaimError as error:
        return Rejected(f"token-without-{error.claim}")
    except (jwt.InvalidTokenError, ValueError, TypeError):
        return Rejected("token-malformed")
    return _timely(claims, issuer.leeway_s, at) or _principal(claims, issuer)


def _timely(claims: dict[str, Any], leeway_s: float, at: float) -> Rejected | None:
    for name in ("exp", "nbf", "iat"):
        value = claims.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LATEST_AT:
            return Rejected("token-malformed")
        if name == "exp":
            if at >= value + leeway_s:
                return Rejected("token-expired")
        elif value > at + leeway_s:
            return Rejected("token-not-yet-valid")
    return None


def _principal(claims: dict[str, Any], issuer: Issuer) -> Accepted | Rejected:
    """Return who the claims say it is; a token that does not say of which tenant is of none."""
    subject, tenant = claims["sub"], claims.get("tenant")
    if not isinstance(subject, str) or not subject.strip():
        return Rejected("token-without-sub")
    if not isinstance(tenant, str) or not tenant:
        return Rejected("token-without-tenant")
    given = claims.get("scopes", claims.get("scope", []))
    words = given.split() if isinstance(given, str) else given
    if not isinstance(words, list) or not all(isinstance(each, str) for each in words):
        return Rejected("token-malformed")
    client = str(claims.get("client_id", "")) if issuer.ours else ""
    principal = Principal(
        kind=Kind.TOKEN,
        name=f"token {_short(subject)}",
        scopes=known_scopes(words),
        tenant=tenant,
        key=client,
        expires_at=claims["exp"] + issuer.leeway_s,
    )
    return Accepted(principal, client)


def _short(text: str) -> str:
    shown = "".join(each if each.isprintable() else "?" for each in text)
    return shown if len(shown) <= 100 else f"{shown[:100]}..."
