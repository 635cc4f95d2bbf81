"""How much a request may bring: what is read into memory must not keep the daemon from serving RADIUS.

A body is read as a whole before it is looked at, so the limit is small. Routes that take a whole document have one
of their own, and so has the import of an address book, which is read line by line.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.api.models import Failure

MIB = 1024 * 1024
MOST = MIB
_PREFIX = "/api/v1"
_LARGER = {
    f"{_PREFIX}/data": 1024 * MIB,  # two million subscribers and more
    f"{_PREFIX}/policy-diffs": 1024 * MIB,
    f"{_PREFIX}/ipam/imports": 4096 * MIB,
}
_EXPORTS = 16 * MIB  # what a device shows of its port blocks


def limit_of(path: str) -> int:
    """Return how many octets a request to a path may bring."""
    if path.startswith(f"{_PREFIX}/ipam/cgnat/plans/") and path.endswith("/verifications"):
        return _EXPORTS
    return _LARGER.get(path.rstrip("/"), MOST)


class BodyLimit:
    """Refuses larger bodies with 413 and the limit: by what they say at once, else as soon as they are too long."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on unless it says that it is too long."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = limit_of(scope["path"])
        if _said(scope) > limit:
            await _refuse(scope, limit, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(413, _text(limit))
            return message

        await self._app(scope, counted, send)


def _said(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _text(limit: int) -> str:
    return (
        f"the body is too long: at most {limit // MIB} MiB ({limit} octets) are read here; send it in parts"
    )


async def _refuse(scope: Scope, limit: int, send: Send) -> None:
    failure = Failure(
        code="too-large", message=_text(limit), request_id=scope.get("state", {}).get("request_id", "")
    )
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": failure.model_dump_json().encode()})
