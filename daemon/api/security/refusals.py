"""How a request is refused before any route sees it, in the shape that all failures have."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope, Send

from daemon.api.models import Failure
from daemon.api.security.buckets import retry_after


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request goes no further; `wait_s` is when it may be tried again."""

    status: int
    code: str
    message: str
    wait_s: float = 0.0


NOBODY = Refusal(401, "unauthenticated", "say who you are: with X-Api-Key, a Bearer token or a certificate")
NOT_GOOD = Refusal(
    401, "unauthenticated", "what was presented is not good: unknown, revoked, over, or not for here"
)
SEVERAL = Refusal(401, "unauthenticated", "give either X-Api-Key or a Bearer token, once")


def too_often(wait_s: float, what: str) -> Refusal:
    """Return the refusal of somebody who asks too often."""
    return Refusal(429, "too-many-requests", f"{what}; ask again after {retry_after(wait_s)} s", wait_s)


async def refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    """Answer with a refusal."""
    failure = Failure(
        code=refusal.code,
        message=refusal.message,
        request_id=scope.get("state", {}).get("request_id", ""),
        retryable=refusal.status in (429, 503),
    )
    headers = [(b"content-type", b"application/json")]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="dotmac-edge"'))
    if refusal.wait_s:
        headers.append((b"retry-after", retry_after(refusal.wait_s).encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": failure.model_dump_json().encode()})
