"""Bodies that come too slowly: each request has a grace and then a least average rate, so that nobody holds us up."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.api.security.options import PortOptions


class SlowBody:
    """Ends a request with 408 when its body comes slower than the port allows."""

    def __init__(self, app: ASGIApp, options: PortOptions) -> None:
        self._app = app
        self._options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on with a deadline on each piece of its body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        loop, options = asyncio.get_running_loop(), self._options
        deadline = loop.time() + options.body_grace_s
        whole = False

        async def timed() -> Message:
            nonlocal deadline, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the body comes too slowly; send it again, faster") from None
            deadline += len(message.get("body", b"")) / options.body_least_octets_per_s
            whole = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        await self._app(scope, timed, send)
